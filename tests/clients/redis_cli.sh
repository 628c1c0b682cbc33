#!/usr/bin/env bash
# redis-cli: typed at in a terminal, and as it is used in scripts.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

KEYS=100000

# cli ARGUMENT…: what redis-cli says; fails if it fails or hangs
cli() {
    timeout 30 redis-cli -p "$PORT" "$@" 2>&1
}

# one_line COMMAND…: its output, without the line ends
one_line() {
    "$@" | tr -s '\n\r' ' ' | sed 's/ $//'
}

# sets PREFIX: as many SETs as there are keys, in RESP
sets() {
    LC_ALL=C awk -v count="$KEYS" -v prefix="$1" 'BEGIN {
        for (i = 0; i < count; i++) {
            key = prefix i
            printf "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\nvalue:%d\r\n", length(key), key, length("value:" i), i
        }
    }'
}

serve
timeout 60 python3 "$HERE/redis_cli_typed.py" "$PORT" || failures=1
cli FLUSHALL >"$TMP/output"
timeout 60 python3 "$HERE/redis_cli_typed.py" "$PORT" -3 || failures=1
cli FLUSHALL >"$TMP/output"

# ---- a mass of commands

sets key: >"$TMP/sets"
cli --pipe <"$TMP/sets" >"$TMP/output" || true
same "redis-cli --pipe: 100,000 SETs get 100,000 replies, none of them an error" \
    "errors: 0, replies: $KEYS" "$(tail -n 1 "$TMP/output")"
same "redis-cli --pipe: all of the keys are there" "$KEYS" "$(cli DBSIZE)"
same "redis-cli --pipe: the last key has its value" "value:$((KEYS - 1))" "$(cli GET "key:$((KEYS - 1))")"

for protocol in -2 -3; do
    cli "$protocol" --scan >"$TMP/keys" || true
    seq -f 'key:%.0f' 0 $((KEYS - 1)) | LC_ALL=C sort >"$TMP/wanted"
    check "redis-cli $protocol --scan: each of 100,000 keys is shown once" \
        cmp -s "$TMP/wanted" <(LC_ALL=C sort "$TMP/keys")
done
same "redis-cli --scan: a pattern chooses" "key:4242" "$(cli --scan --pattern 'key:*424[2]' | grep -x '.\{8\}')"

cli SET big "$(printf '%05000d' 0)" >"$TMP/output"
cli --bigkeys >"$TMP/output" || true
check "redis-cli --bigkeys: it has sampled all keys and found the biggest" \
    grep -qF "Biggest string found '\"big\"' has 5000 bytes" "$TMP/output"
check "redis-cli --bigkeys: it has counted all of them as strings" \
    grep -qE "^$((KEYS + 1)) strings with [0-9]+ bytes \(100\.00% of keys" "$TMP/output"
printf '*2\r\n$4\r\nINCR\r\n$3\r\nbig\r\n*2\r\n$4\r\nINCR\r\n$5\r\nkey:0\r\n*1\r\n$4\r\nPING\r\n' >"$TMP/odd"
same "redis-cli --pipe: it counts what is refused" "errors: 2, replies: 3" "$(cli --pipe <"$TMP/odd" | tail -n 1)"

# ---- in scripts

same "redis-cli: FLUSHALL leaves nothing" "OK 0" "$(one_line cli FLUSHALL) $(cli DBSIZE)"
same "redis-cli -x: the value comes from a file, whatever is in it" "$(sha256sum <"$TMP/sets")" \
    "$(cli -x SET file <"$TMP/sets" >"$TMP/output" && redis-cli -p "$PORT" --raw GET file | head -c -1 | sha256sum)"
same "redis-cli -3: a map is a map" '1# "maxmemory" => "0"' "$(cli -3 --no-raw CONFIG GET maxmemory)"
same "redis-cli -2: a map is an array" '1) "maxmemory" 2) "0"' "$(one_line cli -2 --no-raw CONFIG GET maxmemory)"
same "redis-cli -3: nothing is nil" '(nil)' "$(cli -3 --no-raw GET nothing)"
same "redis-cli --json: a reply is JSON" '{"maxmemory":"0"}' "$(cli --json CONFIG GET maxmemory)"
same "redis-cli --csv: a reply is a line of CSV" '"1",NULL' "$(cli SET a 1 >"$TMP/output" && cli --csv MGET a nothing)"
same "redis-cli -r: a command is repeated on one connection" "1 2 3 4 5" "$(one_line cli -r 5 INCR n)"
same "redis-cli: commands come on lines from another program" "OK value (error) ERR value is not an integer or out of range" \
    "$(printf 'set k value\nget k\nincr k\n' | one_line cli --no-raw | sed 's/"//g')"
same "redis-cli -e: an error is an exit code" "1" "$(cli -e INCR k >"$TMP/output" || echo $?)"
same "redis-cli -u: a URL is an address" "PONG" "$(timeout 10 redis-cli -u "redis://127.0.0.1:$PORT/0" PING 2>&1)"
leave_in_peace redis-cli

# ---- with a password, and where lines are answered in RESP

serve_with_password "$TMP/password"
same "redis-cli: nothing goes without the password" "(error) NOAUTH Authentication required." \
    "$(cli --no-raw GET k | grep -v '^$')"
PASSWORD=$(<"$TMP/password")
same "redis-cli: everything goes with the password" "OK" "$(REDISCLI_AUTH=$PASSWORD cli SET k v)"
same "redis-cli -3: everything goes with the password" "v" "$(REDISCLI_AUTH=$PASSWORD cli -3 GET k)"
same "redis-cli: another password is told to be wrong" \
    "AUTH failed: WRONGPASS invalid username-password pair or user is disabled." \
    "$(REDISCLI_AUTH=wrong cli PING | head -n 1)"
stop

serve --kv-protocol resp
seq -f 'SET key:%.0f value' 1 1000 | sed 's/$/\r/' >"$TMP/lines"
same "redis-cli --pipe: lines go with --kv-protocol resp" "errors: 0, replies: 1000" \
    "$(cli --pipe <"$TMP/lines" | tail -n 1)"
same "redis-cli --pipe: the keys of those lines are there" 1000 "$(cli DBSIZE)"
finish
