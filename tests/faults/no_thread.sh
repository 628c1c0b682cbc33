#!/usr/bin/env bash
# Promise 3: a client for whom there is no thread is told so, and only this one. Shown by strace, which makes the system
# call that creates a thread fail with EAGAIN, as it does at the limits on processes and threads.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need strace strace
need python3 python3

trace=$TMP/trace
tracing() {
    start strace -D -f -qq -o "$trace" -e trace=clone,clone3 "$@" "$ACCEPTD"
}

has_failed() {
    test "$(grep -c INJECTED "$trace")" -eq "$1"
}

# Which call creates a thread, and how many threads the server has before its first client: both are learned.
tracing
connect
echoes "$CLIENT"
calls=$(grep -cE ' clone3?\(' "$trace")
call=$(sed -nE 's/.* (clone3?)\(.*/\1/p' "$trace" | tail -n 1)
stop

# The first client gets a thread, the second and the third get none.
: >"$trace"
tracing -e "inject=$call:error=EAGAIN:when=$((calls + 1))..$((calls + 2))"
connect
first=$CLIENT
check "a client for whom there is a thread is served" echoes "$first"
for manners in listen speak; do
    fates=$(crowd 1 "$manners")
    check "a client for whom there is no thread, and who would $manners first, is told so, and then comes the end" \
        test "$fates" = "$(printf 'served=0 refused=1 reset=0 silent=0 other=0\n%s' \
            'ERROR the server has no thread left, try again later')"
done
check "creating a thread did fail twice" wait_until 5 has_failed 2
check "the client from before that is still served" echoes "$first"
check "the next new client is served" serves
check "the log warns, and says what to raise" has_logged "WARN +can't take in clients, .*threads.*ulimit -u"
signal TERM
ended_within 10 "$PID"
check "after the trouble with threads, SIGTERM drains: the exit code is 0" test "$CODE" = 0
check "the summary counts two refused clients" has_logged ' 2 served, 2 refused'

# No thread at all, for as long as it takes: everybody is told, and the server does not busy itself with it.
: >"$trace"
tracing -e "inject=$call:error=EAGAIN:when=$calls+"
fates=$(crowd 20)
check "while there is no thread for anybody, twenty of twenty clients are told so" \
    test "$fates" = "$(printf 'served=0 refused=20 reset=0 silent=0 other=0\n%s' \
        'ERROR the server has no thread left, try again later')"
signal TERM
ended_within 10 "$PID"
check "while there is no thread for anybody, SIGTERM ends the server with exit code 0" test "$CODE" = 0
finish
