#!/usr/bin/env bash
# One recv and one send for each batch of requests, and nothing else, in both dialects of the key-value store.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"
need strace strace
need python3 python3

trace=$TMP/trace
launch strace -f -qq -o "$trace" "$ACCEPTD" -q --handler kv 127.0.0.1:0
wait_until 20 port_is_known
python3 - "$PORT" <<'PYTHON'
import socket, sys

for request, reply in [(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n", b"+OK\r\n"), (b"SET k v\n", b"OK\n")]:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10) as client:
        for _ in range(200):
            client.sendall(request * 16)
            wanted = len(reply) * 16
            while wanted:
                wanted -= len(client.recv(wanted))
PYTHON
# The threads of the two clients: those that have received.
calls() {
    grep -E "^$1 " "$trace" | grep -vE 'resumed>' | grep -cE " $2\(" || true
}
for thread in $(grep -oE '^[0-9]+ +recvfrom\(' "$trace" | grep -oE '^[0-9]+' | sort -u); do
    received=$(calls "$thread" recvfrom)
    sent=$(calls "$thread" sendto)
    # Others receive too: the thread of the signals, from its own pipe.
    ((sent)) || continue
    served=$((${served:-0} + 1))
    # One thread may have served both clients, one after the other; each ends with a recv of nothing.
    batches=$((sent / 200 * 200))
    check "200 batches of 16 requests are 200 sends" test "$sent" -eq "$batches"
    check "and as many recvs, and one for the end" test "$received" -eq $((sent + sent / 200))
    rest=$(grep -E "^$thread " "$trace" | grep -vE 'resumed>| (recvfrom|sendto)\(' | wc -l)
    check "beside $((sent + received)) of these, next to nothing" test "$rest" -lt 100
done
check "the threads that served the clients were found" test "${served:-0}" -ge 1
pkill -KILL -P "$PID" 2>/dev/null || true
finish
