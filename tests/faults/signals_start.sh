#!/usr/bin/env bash
# Signals that other programs have had a hand in: two that belong to one event, those that were ignored at the start, and
# one for PID 1 of a container before it serves. Shown with a client that holds a drain up, with nohup, a script's
# background job, `timeout` and a new PID namespace (unshare).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need python3 python3
need unshare util-linux
need strace strace

# ---- one event, two signals

for signals in "TERM HUP" "HUP HUP" "INT TERM"; do
    read -r first second <<<"$signals"
    start "$ACCEPTD" --handler line --write-timeout 60s --drain-timeout 2s
    hold_up
    signal "$first"
    # Signals of one kind that are sent at once are one anyway.
    sleep 0.01
    signal "$second"
    ended_within 20 "$PID"
    check "SIG$first and SIG$second at once are one drain: the exit code is 0" test "$CODE" = 0
    check "SIG$first and SIG$second at once: the drain takes all of its 2 s" test "$TOOK" -ge 1800
done

codes=''
for _ in {1..10}; do
    code=0
    timeout --preserve-status 0.2 env --default-signal=INT,HUP,TERM "$ACCEPTD" -qqq 127.0.0.1:0 >/dev/null || code=$?
    codes+="$code "
done
check "timeout, which signals twice, ends ten of ten servers with exit code 0" test "$codes" = "0 0 0 0 0 0 0 0 0 0 "

# ---- ignored at the start

launch bash -c "trap '' HUP; exec \"\$0\" 127.0.0.1:0" "$ACCEPTD"
wait_until 20 port_is_known || fail "a server starts with SIGHUP ignored"
signal HUP
check "with SIGHUP ignored at the start, as nohup does, it serves on after it" serves
signal TERM
ended_within 20 "$PID"
check "with SIGHUP ignored at the start, SIGTERM drains: the exit code is 0" test "$CODE" = 0

# Here nothing takes the shell's own disposition back, as `launch` does.
: >"$TMP/job.out"
sh -c '"$0" 127.0.0.1:0 >"$1" 2>"$2" & echo $!' "$ACCEPTD" "$TMP/job.out" "$TMP/job.log" >"$TMP/job.pid"
job=$(cat "$TMP/job.pid")
PIDS+=("$job")
OUT=$TMP/job.out LOG=$TMP/job.log
wait_until 20 port_is_known || fail "a background job of a script starts"
kill -INT "$job"
check "a script's background job, with SIGINT ignored, serves on after it" serves
kill -TERM "$job"
check "a script's background job ends with SIGTERM" wait_until 20 is_over "$job"

# ---- PID 1, before it serves

# child OF: the process in the new namespace, as this one knows it
child() {
    INNER=$(cat "/proc/$1/task/$1/children" 2>/dev/null) && INNER=${INNER%% *} && [[ -n $INNER ]]
}

# catches PID SIGNAL-NUMBER: it has a handler
catches() {
    local set
    set=$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null) && [[ -n $set ]] && ((0x$set >> ($2 - 1) & 1))
}

if unshare --pid --fork true 2>/dev/null; then
    mkfifo "$TMP/password"
    launch unshare --pid --fork --kill-child "$ACCEPTD" --handler kv --password-file "$TMP/password" 127.0.0.1:0
    if wait_until 20 child "$PID" && wait_until 20 catches "$INNER" 15; then
        kill -TERM "$INNER"
        ended_within 5 "$PID"
        check "PID 1 that waits for its store ends with SIGTERM, exit code 0" test "$CODE" = 0
        check "PID 1 that waits for its store says why it ended" has_logged 'ended by a signal before clients could connect'
        check "PID 1 that waits for its store has not served" test ! -s "$OUT"
    else
        fail "PID 1 handles SIGTERM before it opens its store"
    fi
else
    fail "a new PID namespace can be had" "unshare --pid needs root"
fi

# The same while it binds, for which strace takes four seconds.
launch strace -D -f -qq -o /dev/null -e trace=bind -e inject=bind:delay_enter=4000000 "$ACCEPTD" 127.0.0.1:0
if wait_until 20 catches "$PID" 15; then
    signal TERM
    check "SIGTERM during bind is obeyed at once" wait_until 2 has_logged 'ended by a signal before clients could connect'
    # strace keeps even what is killed until its delay is over.
    ended_within 20 "$PID"
    check "SIGTERM during bind: exit code 0, and nothing was served" test "$CODE" = 0 -a ! -s "$OUT"
else
    fail "SIGTERM is handled before it binds"
fi
finish
