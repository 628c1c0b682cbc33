#!/usr/bin/env bash
# The log: what any peer can cause is bounded, the last lines arrive at a reader that is late, and a file at its limit
# (ulimit -f) ends nothing. Shown with probes that speak HTTP, with a reader that pauses, and with low limits.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need python3 python3

# probes COUNT: so many clients, one after the other, that are closed for what they said
probes() {
    timeout 60 python3 - "$PORT" "$1" <<'PYTHON'
import socket, sys
for _ in range(int(sys.argv[2])):
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while client.recv(4096):
            pass
PYTHON
}

# ---- floods

start "$ACCEPTD" --handler line
check "one line says what was started" \
    has_logged "INFO +acceptd [0-9.]+: line on 127.0.0.1:$PORT, at most 1024 clients, idle timeout 300s"
since=$(now_ms)
probes 500
seconds=$((($(now_ms) - since) / 1000 + 2))
signal TERM
ended_within 20 "$PID"
lines=$(logged 'INFO +closed ')
check "500 probes are at most ten lines a second" test "$lines" -le $((10 * seconds))
suppressed=$(sed -nE 's/.*\(([0-9]+) more like it.*|.* INFO +([0-9]+) more like this.*/\1\2/p' "$LOG" | paste -sd+)
check "500 probes are all there, as lines and in counts" test $((lines + ${suppressed:-0})) -eq 500
check "the summary is the last line" test "$(tail -n 1 "$LOG" | grep -c 'in all 500 served')" -eq 1

start "$ACCEPTD" -m 1
connect
echoes "$CLIENT"
crowd 3 >/dev/null
check "the warning of refusals names the option" has_logged 'WARN +refusing clients: the limit of 1 is reached, .*--max-connections'
close_clients
stop

# ---- a reader that is late

mkfifo "$TMP/pipe"
(
    exec env --default-signal=INT,HUP,TERM "$ACCEPTD" -v 127.0.0.1:0
) >"$TMP/late.out" 2>"$TMP/pipe" </dev/null &
track $!
OUT=$TMP/late.out
# Opens the pipe at once, and reads when it is told to.
(
    until [[ -e $TMP/read-on ]]; do sleep 0.05; done
    cat
) <"$TMP/pipe" >"$TMP/late.log" &
reader=$!
PIDS+=("$reader")
wait_until 20 port_is_known || fail "a server starts"
crowd 500 >/dev/null
crowd 500 >/dev/null
crowd 500 >/dev/null
server=$PID
signal TERM
touch "$TMP/read-on"
ended_within 20 "$server"
check "a late reader: the exit code is 0" test "$CODE" = 0
ended_within 20 "$reader"
LOG=$TMP/late.log
lines=$(logged '^20')
missing=$(sed -nE 's/^\(([0-9]+) lines? .* missing here.*/\1/p' "$LOG" | paste -sd+)
check "a late reader misses no line that is not counted" test $((lines + ${missing:-0})) -eq 3004
check "a late reader gets the summary" test "$(tail -n 1 "$LOG" | grep -c 'in all 1500 served')" -eq 1

# ---- a file at its limit

launch bash -c 'ulimit -f 40; exec "$0" --handler line -v 127.0.0.1:0' "$ACCEPTD"
wait_until 20 port_is_known || fail "a server starts with a limit on its log"
connect
probes 400
check "a log at ulimit -f: the log is as long as it may be" test "$(stat -c %s "$LOG")" -eq 40960
check "a log at ulimit -f: nobody is cut" test "$(say "$CLIENT" "ECHO hi" && hear "$CLIENT" && echo "$REPLY_LINE")" = hi
signal TERM
ended_within 20 "$PID"
check "a log at ulimit -f: SIGTERM drains, exit code 0" test "$CODE" = 0
close_clients

launch bash -c 'ulimit -f 4096; exec "$0" --handler kv --store "$1" 127.0.0.1:0' "$ACCEPTD" "$TMP/store"
wait_until 20 port_is_known || fail "a server starts with a limit on its store"
replies=$(timeout 60 python3 - "$PORT" <<'PYTHON'
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10) as client:
    lines = client.makefile("rb")
    for number in range(20):
        client.sendall(b"*3\r\n$3\r\nSET\r\n$3\r\nk%02d\r\n$524288\r\n" % number + b"v" * 524288 + b"\r\n")
        print(lines.readline().split()[0].decode())
    client.sendall(b"*2\r\n$6\r\nSTRLEN\r\n$3\r\nk00\r\n")
    print(lines.readline().decode().strip())
PYTHON
) || true
check "a store at ulimit -f takes what fits" grep -q '^+OK' <<<"$replies"
check "a store at ulimit -f refuses more with MISCONF" grep -q '^-MISCONF' <<<"$replies"
check "a store at ulimit -f is still read" test "$(tail -n 1 <<<"$replies")" = ":524288"
signal TERM
ended_within 20 "$PID"
check "a store at ulimit -f: SIGTERM drains, exit code 0" test "$CODE" = 0
finish
