#!/usr/bin/env bash
# An idle server costs nothing: no thread of it runs, not for a moment, until somebody comes. Shown by what the kernel
# counts: a thread that makes a system call, or wakes for any other reason, has been switched to (context switches), and
# has used processor time.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need python3 python3

# activity: all that the threads of the server have done so far, in one line; a thread that comes or goes shows as well
activity() {
    local switches
    switches=$(cat /proc/"$PID"/task/*/status | sed -n 's/^\(Pid\|.*ctxt_switches\)://p' | tr -s '\t\n ' ' ')
    echo "switches$switches ticks $(cpu_ticks "$PID")"
}

has_threads() {
    test "$(threads "$PID")" -eq "$1"
}

# settled THREADS: parked threads have ended, buffers are given back, and nothing has happened for a second and a half
settled() {
    local before
    if ! has_threads "$1"; then return 1; fi
    before=$(activity)
    sleep 1.5
    test "$(activity)" = "$before"
}

# is_idle WHEN: five seconds are what is measured here, not waited for
is_idle() {
    local before after
    before=$(activity)
    sleep 5
    after=$(activity)
    if [[ $before == "$after" ]]; then
        pass "$1, no thread of the server runs for five seconds"
    else
        fail "$1, no thread of the server runs for five seconds" "before: $before" "after:  $after"
    fi
}

start "$ACCEPTD"
if ! wait_until 20 settled "$(threads "$PID")"; then fail "a server without clients comes to rest"; fi
own=$(threads "$PID")
is_idle "with no client yet"
stop

# said FD BYTES: the client says so much in one line, and hears something
said() {
    say "$1" "ECHO $(head -c "$2" /dev/zero | tr '\0' x)" && hear "$1"
}

for handler in echo line; do
    start "$ACCEPTD" --handler "$handler"
    # Ten leave when all are there, so that their threads are parked; some say more than fits in a small buffer.
    for _ in {1..110}; do connect; done
    answered=0
    for fd in "${CLIENTS[@]}"; do
        if said "$fd" $((1 + answered * 200)); then answered=$((answered + 1)); fi
    done
    check "$handler answers 110 clients" test "$answered" -eq 110
    close_oldest 10
    check "when ten of them have left, and a while has passed, $handler has a thread for each of the others, and no more" \
        wait_until 20 has_threads $((own + 100))
    if ! wait_until 20 settled $((own + 100)); then fail "with 100 silent clients, $handler comes to rest"; fi
    is_idle "with 100 silent clients of $handler"
    check "after that, $handler still answers them" said "${CLIENTS[99]}" 10
    stop
done
finish
