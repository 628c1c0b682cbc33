#!/usr/bin/env bash
# P36, P37: a full disk, a disk that fails, and two servers that want the same file. Nothing is acknowledged that is not
# there afterwards, reads go on, and so do writes when the disk is well again.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"
need python3 python3
need strace strace
need nc.openbsd netcat-openbsd

# ask LINE…: the replies of the server that was started last
ask() {
    printf '%s\n' "$@" | nc.openbsd -N -w 10 127.0.0.1 "$PORT"
}

# fill PREFIX: values of 1,000 bytes until one is refused; COUNT were acknowledged, REFUSAL is why the next was not
fill() {
    local value
    value=$(printf 'x%.0s' {1..1000})
    for ((COUNT = 0; COUNT < 20000; COUNT += 100)); do
        mapfile -t replies < <(for ((i = 0; i < 100; i++)); do echo "SET $1:$((COUNT + i)) $value"; done | nc.openbsd -N -w 10 127.0.0.1 "$PORT")
        for ((i = 0; i < ${#replies[@]}; i++)); do
            if [[ ${replies[i]} != OK ]]; then
                REFUSAL=${replies[i]}
                COUNT=$((COUNT + i))
                return
            fi
        done
    done
    REFUSAL=none
}

# all_there PREFIX COUNT: that many values can be read
all_there() {
    local lengths
    lengths=$(for ((i = 0; i < $2; i++)); do echo "STRLEN $1:$i"; done | nc.openbsd -N -w 10 127.0.0.1 "$PORT" | grep -c '^1000$' || true)
    [[ $lengths == "$2" ]]
}

# ---- full

disk=$TMP/disk
mkdir "$disk"
if ! mount -t tmpfs -o size=2m tmpfs "$disk" 2>/dev/null; then
    fail "a disk of 2 MiB can be made" "mount needs root"
    exit 1
fi
unmount() { umount -l "$disk" 2>/dev/null || true; }
trap 'unmount; clean_up' EXIT

start "$ACCEPTD" --handler kv --store "$disk/store"
fill full
acknowledged=$COUNT
check "a write that does not fit on the disk is refused as Redis refuses it" test "${REFUSAL#ERROR }" != "${REFUSAL#ERROR MISCONF}"
check "some were acknowledged before" test "$acknowledged" -gt 100
check "reads go on while the disk is full" all_there full "$acknowledged"
check "also in a transaction that only reads" test "$(ask MULTI 'STRLEN full:0' EXEC | tail -n 1)" == 1000
check "and the server lives" is_alive "$PID"
mount -o remount,size=16m "$disk"
writes() { [[ $(ask 'SET after x') == OK ]]; }
check "writes go on when there is room again, without a restart" wait_until 10 writes
signal KILL
wait "$PID" 2>/dev/null || true
start "$ACCEPTD" --handler kv --store "$disk/store"
check "all that was acknowledged on the full disk is there after kill -9" all_there full "$acknowledged"
check "and what was written when it had room" test "$(ask 'GET after')" == x
stop

# ---- failing

# For a while every request to the disk fails, then none.
store=$TMP/store
launch strace -f -qq -o /dev/null -e trace=fsync,fdatasync -e inject=fsync,fdatasync:error=EIO:when=8..11 \
    "$ACCEPTD" --handler kv --store "$store" 127.0.0.1:0
wait_until 20 port_is_known
refused=0
acknowledged=()
for ((n = 0; n < 40; n++)); do
    reply=$(ask "SET key:$n value:$n")
    case $reply in
        OK) acknowledged+=("$n") ;;
        'ERROR MISCONF'*) refused=$((refused + 1)) ;;
        *) fail "a reply is OK or MISCONF" "$reply" ;;
    esac
    if ((refused == 1 && ${#acknowledged[@]} > 0)); then
        first=${acknowledged[0]}
        during=$(ask "GET key:$first")
    fi
done
check "writes are refused while the disk fails" test "$refused" -gt 0
check "reads go on then" test "${during:-}" == "value:${first:-none}"
written() { [[ $(ask 'SET well again') == OK ]]; }
check "writes go on when it is well again, without a restart" wait_until 20 written
check "the log says so, once" test "$(logged "ERROR .*store can't be written to")" -eq 1
check "and says when it is over" has_logged 'WARN .*store can be written to again'
kept() {
    local n
    for n in "${acknowledged[@]}"; do [[ $(ask "GET key:$n") == "value:$n" ]] || return 1; done
}
check "all that was acknowledged can be read" kept
pkill -KILL -P "$PID" 2>/dev/null || true
kill -KILL "$PID" 2>/dev/null || true
wait "$PID" 2>/dev/null || true
start "$ACCEPTD" --handler kv --store "$store"
check "and is there after kill -9" kept

# ---- taken

owner=$PID
code=0
said=$("$ACCEPTD" --handler kv --store "$store" 127.0.0.1:0 2>&1) || code=$?
check "a second server on the same file ends with 1" test "$code" -eq 1
check "in one line" test "$(wc -l <<<"$said")" -eq 1
check "that says who has the file" grep -q "process $owner " <<<"$said"
check "and the first one goes on" test "$(ask 'SET still here')" == OK

# ---- failing, with nobody waiting for the disk

# The same without a wait for each write: a failed one must not keep the processor busy, nor keep readers waiting.
launch strace -f -qq -o /dev/null -e trace=fsync,fdatasync -e inject=fsync,fdatasync:error=EIO:when=12+ \
    "$ACCEPTD" --handler kv --fsync everysec --store "$TMP/lazy" 127.0.0.1:0
wait_until 20 port_is_known
fails() { [[ $(ask 'INCR n') == 'ERROR MISCONF'* ]]; }
check "with --fsync everysec, writes are refused soon after the disk has failed" wait_until 20 fails
check "the log says what that may have cost" has_logged 'acknowledged in the last second may be lost'
daemon=$(pgrep -P "$PID")
before=$(cpu_ticks "$daemon")
sleep 2
check "and the processor is at rest meanwhile" test $(($(cpu_ticks "$daemon") - before)) -lt 50
check "and readers are answered" test "$(ask 'GET nothing')" == NOT_FOUND
pkill -KILL -P "$PID" 2>/dev/null || true
finish
