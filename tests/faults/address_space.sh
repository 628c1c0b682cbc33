#!/usr/bin/env bash
# Under limits on address space (ulimit -v, ulimit -d) clients beyond what there is room for are refused in words, and
# nothing is aborted; where not even the first threads can be started, the limit is named.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need python3 python3
need prlimit util-linux
need setpriv util-linux

# lowered: to how many clients; 1024 if nothing was
lowered() {
    local number
    number=$(sed -nE 's/.* WARN +serving at most ([0-9]+) clients at once.*/\1/p' "$LOG")
    echo "${number:-1024}"
}

# under LIMIT KIBIBYTES LEAST: a server under `ulimit LIMIT KIBIBYTES`, which is to serve at least so many
under() {
    local most crowd fates
    start bash -c 'ulimit "$1" "$2"; shift 2; exec "$0" "$@"' "$ACCEPTD" "$1" "$2"
    most=$(lowered)
    check "under ulimit $1 $2, at least $3 clients may come" test "$most" -ge "$3"
    crowd=$((most + 100))
    fates=$(crowd "$crowd")
    check "under ulimit $1 $2, $most of $crowd clients are served and the others refused, none is lost" \
        test "${fates%%$'\n'*}" = "served=$most refused=100 reset=0 silent=0 other=0"
    crowd 200 >/dev/null
    check "under ulimit $1 $2, it goes on when they have left" is_alive "$PID"
    check "under ulimit $1 $2, a new client is served then" wait_until 10 serves
    if ((most < 1024)); then
        check "under ulimit $1 $2, the log names the limit" has_logged "serving at most .*ulimit $1"
        check "under ulimit $1 $2, refusals name it too" has_logged "refusing clients: the limit of $most is reached, .*ulimit $1"
    fi
    signal TERM
    ended_within 20 "$PID"
    check "under ulimit $1 $2, SIGTERM drains: the exit code is 0" test "$CODE" = 0
}

under -v 100000 50
under -v 150000 200
under -v 600000 900
under -v 1048576 1024
under -d 150000 200

# ---- not even the first threads

program=$ACCEPTD
somebody=()
if ((EUID == 0)); then
    somebody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    program=$TMP/acceptd
    cp "$ACCEPTD" "$program"
    chmod 755 "$TMP" "$program"
    start prlimit --nproc=10 "$ACCEPTD"
    check "the limit on processes does not bind root, and lowers nothing" test "$(logged 'serving at most')" -eq 0
    stop
fi
for threads in 1 2 3 4; do
    launch "${somebody[@]}" prlimit --nproc="$threads" "$program" --handler kv 127.0.0.1:0
    ended_within 20 "$PID"
    check "with ulimit -u $threads, the exit code is 1" test "$CODE" = 1
    check "with ulimit -u $threads, the last line names the limit" \
        test "$(tail -n 1 "$LOG" | grep -cE '^acceptd: .*ulimit -u')" -eq 1
    check "with ulimit -u $threads, it is not said that the address can't be listened on" \
        test "$(logged "can't listen")" -eq 0
done
launch bash -c 'ulimit -n 16; exec "$0" 127.0.0.1:0' "$ACCEPTD"
wait_until 20 port_is_known || fail "a server starts with 16 descriptors"
check "with 16 descriptors, a client is served" serves
finish
