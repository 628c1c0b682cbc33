#!/usr/bin/env bash
# nc: the text dialect as a person types it. In `transcript`, > is before what is typed, < before what is answered.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

TRANSCRIPT=$(<"$HERE/transcript")
TYPED=$(sed -n 's/^> \?//p' <<<"$TRANSCRIPT")
ANSWERS=$(sed -n 's/^< //p' <<<"$TRANSCRIPT")

# run_dialogue LINE_END OPTION OF nc…: the transcript of a person who types each line after having read the answer to the one
# before. How long an answer is, is known from the transcript; a line too few or too many moves all that follow.
run_dialogue() {
    local line_end=$1 line answer nc in out
    shift
    coproc NC { exec timeout 30 nc.openbsd "$@" 127.0.0.1 "$PORT"; }
    nc=$NC_PID in=${NC[1]} out=${NC[0]}
    while IFS= read -r line; do
        if [[ $line == '>'* ]]; then
            printf '%s\n' "$line"
            line=${line#>}
            printf '%s\n' "${line# }" >&"$in"
        elif IFS= read -r -t 5 -u "$out" answer; then
            printf '< %s\n' "${answer%"$line_end"}"
            if [[ $answer != *"$line_end" ]]; then echo "its end is not that of the client's lines"; fi
        else
            echo "no answer came"
            break
        fi
    done <<<"$TRANSCRIPT"
    # The last line is QUIT. nc itself would go on until the end of what is typed.
    if ! wait_until 5 nobody_is_connected; then echo "the server keeps the connection after QUIT"; fi
    exec {in}>&-
    if IFS= read -r -t 5 -u "$out" answer; then printf 'one more line came: %s\n' "$answer"; fi
    wait "$nc" || true
}

nobody_is_connected() {
    [[ $(timeout 5 redis-cli -p "$PORT" CLIENT LIST | grep -c '^id=') == 1 ]]
}

# paste_all LINE_END OPTION OF nc…: all lines at once, and what is answered; ends when the server ends the connection
paste_all() {
    local line_end=$1
    shift
    printf '%s\n' "$TYPED" | timeout 30 nc.openbsd "$@" 127.0.0.1 "$PORT" | sed "s/\$/<END>/; s/$line_end<END>\$//"
}

# ask LINE…: types these lines, says that nothing more comes, and shows the answers
ask() {
    printf '%s\n' "$@" | timeout 30 nc.openbsd -N 127.0.0.1 "$PORT"
}

serve
same "nc: a person who types line by line gets each answer, on lines that end in LF" \
    "$TRANSCRIPT" "$(run_dialogue '')"
same "nc -C: one whose lines end in CRLF gets the same, on lines that end in CRLF" \
    "$TRANSCRIPT" "$(run_dialogue $'\r' -C)"
same "nc: all lines at once get the same answers, and QUIT ends the connection" "$ANSWERS" "$(paste_all '')"
same "nc -C: all lines at once get the same answers, on lines that end in CRLF" "$ANSWERS" "$(paste_all '\r' -C)"

# Without QUIT, and without the end of the last line
same "nc -N: who ends without QUIT gets all answers" $'OK\n1' "$(ask 'SET k 1' 'GET k')"
printf 'SET k 2\nSET k 3' | timeout 30 nc.openbsd -N 127.0.0.1 "$PORT" >"$TMP/unfinished"
check "nc -N: who ends amid a line is told that it was not carried out" \
    grep -q 'ERROR the last request was not complete and was not carried out' "$TMP/unfinished"
same "nc: what was said on one connection, up to its last line end, is known on the next" "2" "$(ask 'GET k')"

# HELP is for people, and has a line for each command that there is.
ask HELP >"$TMP/help"
check "nc: HELP explains each command on a line of its own" \
    awk 'NF < 2 || $1 !~ /^[A-Z]+$/ || seen[$1]++ { bad = 1 } END { exit bad || NR < 50 }' "$TMP/help"
same "nc: HELP has the commands that COMMAND LIST has" \
    "$(ask 'COMMAND LIST' | LC_ALL=C sort)" "$(sed 's/ .*//' "$TMP/help" | tr '[:upper:]' '[:lower:]' | LC_ALL=C sort)"
while read -r name; do
    if [[ $(ask "$name") == "ERROR unknown command"* ]]; then echo "$name"; fi
done < <(sed 's/ .*//' "$TMP/help") >"$TMP/unknown"
same "nc: every command that HELP names is known" "" "$(<"$TMP/unknown")"
leave_in_peace nc

# ---- programs that take the port for something else

serve
# http LINE: what the server says to it and to more lines; ends when the server ends the connection
http() {
    printf '%s\r\n' "$1" 'SET smuggled 1' '' | timeout 30 nc.openbsd 127.0.0.1 "$PORT" | tr -d '\r'
}

for request in 'GET / HTTP/1.1' 'POST /set HTTP/1.1' 'Host: 127.0.0.1'; do
    same "nc: after \"$request\" the connection is closed, before a second line is executed" \
        "This port does not speak HTTP. It is a key-value store: connect with redis-cli, or with nc or telnet, and type HELP." \
        "$(http "$request" | tail -n 1)"
done
same "nc: none of these lines was executed" "NOT_FOUND" "$(ask 'GET smuggled')"
stop

# ---- the same port for programs and for people

serve
same "nc: a person and redis-cli share the keys" "from a program" \
    "$(redis-cli -p "$PORT" SET k "from a program" >"$TMP/output" && ask 'GET k')"
printf '*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n' |
    timeout 30 nc.openbsd -N 127.0.0.1 "$PORT" >"$TMP/output"
same "nc: arrays of RESP get answers of RESP" $'$14\r\nfrom a program\r\n:1\r' "$(<"$TMP/output")"
stop

serve_with_password "$TMP/password"
same "nc: nothing goes without the password, and everything with it" \
    "$(printf '%s\n' 'ERROR NOAUTH this store has a password: write AUTH and the password' \
        'ERROR WRONGPASS that is not the password; put quotes around a password with spaces' OK OK v)" \
    "$(ask 'GET k' 'AUTH wrong' "AUTH \"$(<"$TMP/password")\"" 'SET k v' 'GET k')"
finish
