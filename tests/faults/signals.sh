#!/usr/bin/env bash
# Promises 10, 29 and 32: SIGINT, SIGTERM and SIGHUP drain; a drain ends at its deadline, and at once with a second signal; a
# server that cannot listen says so in one line. Shown with signals, and with a client that holds a drain up: it asks
# for much and never reads.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need python3 python3

# ---- a drain

all_have_ended() {
    local fd
    for fd in "${CLIENTS[@]}"; do has_ended "$fd" || return 1; done
}

for name in INT TERM HUP; do
    start "$ACCEPTD"
    for _ in 1 2 3; do
        connect
        echoes "$CLIENT"
    done
    signal "$name"
    ended_within 20 "$PID"
    check "SIG$name drains: the exit code is 0" test "$CODE" = 0
    check "SIG$name: who is idle holds nothing up" test "$TOOK" -lt 2000
    check "SIG$name: the log says what is to be drained, and how long that may take" \
        has_logged 'INFO +draining 3 connections, at most 5 s$'
    check "SIG$name: the last line of the log sums up" test "$(tail -n 1 "$LOG" |
        grep -cE 'INFO +drained 3, cut 0; in all 3 served, 0 refused, 0 panicked, [0-9]+ bytes in, [0-9]+ bytes out, up [0-9.]+ s$')" -eq 1
    check "SIG$name: each client sees the end" all_have_ended
    close_clients
done

# ---- a drain that is held up

for signals in "TERM INT" "HUP HUP"; do
    read -r first second <<<"$signals"
    start "$ACCEPTD" --handler line --write-timeout 60s --drain-timeout 60s
    hold_up
    signal "$first"
    check "SIG$first with a client that never reads: the drain begins" \
        wait_until 10 has_logged 'draining 1 connection, at most 60 s'
    # More than the second in which signals are one event.
    sleep 1.2
    check "SIG$first with a client that never reads: the drain waits for it" is_alive "$PID"
    signal "$second"
    ended_within 20 "$PID"
    check "SIG$second a second after SIG$first cuts at once" test "$TOOK" -lt 1000
    check "SIG$second after SIG$first: the exit code is 130" test "$CODE" = 130
    check "SIG$second after SIG$first: the summary counts who was cut" has_logged 'drained 0, cut 1; in all 1 served'
done

# log_ms REGEX: how long after the beginning of the drain that line was written; nothing if it was not
log_ms() {
    local from to
    from=$(grep -m 1 ' draining ' "$LOG") && to=$(grep -m 1 -- "$1" "$LOG") || return 0
    echo $(($(date -d "${to%% *}" +%s%3N) - $(date -d "${from%% *}" +%s%3N)))
}

start "$ACCEPTD" --handler line --write-timeout 60s --drain-timeout 2s
hold_up
signal TERM
ended_within 20 "$PID"
drained=$(log_ms ' drained 0, cut 1')
check "a client that never reads is cut at the drain deadline of 2 s, give or take 100 ms" \
    test "${drained:-0}" -ge 1900 -a "${drained:-0}" -le 2100
check "a client that never reads is cut at the drain deadline, and the process ends right after that" test "$TOOK" -lt 3000
check "a drain that ends at its deadline is a drain: the exit code is 0" test "$CODE" = 0

# ---- a server that cannot listen

# refuses_to_start WHAT: the server that was launched last has ended as it should, naming $address
refuses_to_start() {
    ended_within 20 "$PID"
    check "$1: the exit code is 1" test "$CODE" = 1
    check "$1: it is said in one line on standard error" test "$(wc -l <"$LOG")" -eq 1
    check "$1: the line names the address" has_logged "$address"
    check "$1: the line says what to do" has_logged "$2"
    check "$1: standard output stays empty" test ! -s "$OUT"
}

start "$ACCEPTD"
address=127.0.0.1:$PORT
launch "$ACCEPTD" "$address"
refuses_to_start "a port in use" "in use.*choose another port"

# Port 80 is for root, unless net.ipv4.ip_unprivileged_port_start is low; then the kernel's answer is put in by strace.
address=127.0.0.1:80
if (($(cat /proc/sys/net/ipv4/ip_unprivileged_port_start) > 80)); then
    if ((EUID == 0)); then
        need setpriv util-linux
        cp "$ACCEPTD" "$TMP/acceptd"
        chmod 755 "$TMP" "$TMP/acceptd"
        launch setpriv --reuid=65534 --regid=65534 --clear-groups "$TMP/acceptd" "$address"
    else
        launch "$ACCEPTD" "$address"
    fi
else
    need strace strace
    launch strace -D -f -qq -o "$TMP/trace" -e trace=bind -e inject=bind:error=EACCES "$ACCEPTD" "$address"
fi
refuses_to_start "no permission" "ermission denied.*choose a higher one"
finish
