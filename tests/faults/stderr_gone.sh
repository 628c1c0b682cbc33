#!/usr/bin/env bash
# Promise 28: a server whose outputs nobody takes any more serves on. Shown with a reader of both outputs that leaves after
# one line (`2>&1 | head -1`), with a full disk in its place (/dev/full), and with outputs that are closed from the start.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need find findutils
need python3 python3

# listens: where the server that was started last does, as the kernel knows it, since its own words may be lost
listens() {
    local inodes
    inodes=$(find "/proc/$PID/fd" -lname 'socket:*' -printf '%l\n' 2>/dev/null | tr -dc '0-9\n' | paste -sd ' ')
    PORT=$(awk -v inodes=" $inodes " '$4 == "0A" && index(inodes, " " $10 " ") { print substr($2, 10) }' /proc/net/tcp)
    PORT=${PORT:+$((16#$PORT))}
    [[ -n $PORT ]]
}

# shows WHAT: that the server serves and ends, with what is said of its outputs
shows() {
    if ! wait_until 20 listens; then
        fail "$1, a server starts"
        return
    fi
    check "$1, 50 clients are served" test "$(crowd 50 | head -n 1)" = "served=50 refused=0 reset=0 silent=0 other=0"
    check "$1, 50 more are served, one after the other" one_by_one
    signal TERM
    ended_within 10 "$PID"
    check "$1, SIGTERM ends the server with exit code 0" test "$CODE" = 0
}

one_by_one() {
    local _
    for _ in {1..50}; do serves || return 1; done
}

# What is launched with its own outputs has no log to be shown.
mkfifo "$TMP/pipe"
head -n 1 <"$TMP/pipe" >"$TMP/head" &
head=$!
"$ACCEPTD" -v 127.0.0.1:0 >"$TMP/pipe" 2>&1 </dev/null &
track $!
server=$PID
ended_within 20 "$head"
check "the reader of both outputs leaves after the first line" test "$(wc -l <"$TMP/head")" -eq 1
PID=$server
shows "after the reader of both outputs has left"

"$ACCEPTD" -vv 127.0.0.1:0 >/dev/full 2>&1 </dev/null &
track $!
shows "with both outputs on a full disk"

"$ACCEPTD" -v 127.0.0.1:0 >&- 2>"$TMP/log" </dev/null &
track $!
shows "with standard output closed"
check "with standard output closed, the log is written" test "$(grep -c ' closed id=' "$TMP/log")" -ge 100
check "with standard output closed, nothing else gets into the log" test "$(grep -vcE '^[0-9T:.Z-]+ [A-Z]+ +' "$TMP/log")" -eq 0

"$ACCEPTD" -v 127.0.0.1:0 >"$TMP/out" 2>&- </dev/null &
track $!
shows "with standard error closed"
check "with standard error closed, standard output has its one line and nothing else" \
    test "$(sed 's/:[0-9]*$//' "$TMP/out")" = "listening on 127.0.0.1"

"$ACCEPTD" -v 127.0.0.1:0 >&- 2>&- <&- &
track $!
shows "with standard input, output and error closed"
finish
