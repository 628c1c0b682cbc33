#!/usr/bin/env bash
# Promises 1 and 8: a server that runs out of descriptors says so, spares the processor, keeps its clients, and recovers
# by itself. Shown with a low limit from the start (prlimit --nofile), and with a limit that is lowered below what a running
# server needs, so that accept really fails (EMFILE), and is raised again.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need prlimit util-linux
need python3 python3

# ---- a low limit from the start

start prlimit --nofile=64 "$ACCEPTD"
check "with 64 descriptors, the log warns that fewer clients are served, and says how to serve more" \
    has_logged 'WARN +serving at most [0-9]+ clients at once, not 1024: .*descriptors.*ulimit -n'
limit=$(sed -nE 's/.*serving at most ([0-9]+) clients.*/\1/p' "$LOG")
limit=${limit:-0}

for manners in listen speak; do
    fates=$(crowd 100 "$manners")
    check "of 100 clients that $manners first, as many as the log said are served, the others are refused, none is reset" \
        test "${fates%%$'\n'*}" = "served=$limit refused=$((100 - limit)) reset=0 silent=0 other=0"
    check "clients that $manners first and are refused are all told why, in the same words" \
        test "${fates#*$'\n'}" = "ERROR too many connections (the limit is $limit), try again later"
    check "when the clients that $manners first have left, a new one is served" wait_until 10 serves
done
check "the log has a line for dozens of refusals at once, and not one for each" test "$(logged 'refusing clients')" -le 3
stop

# ---- none left while it runs (EMFILE)

in_trouble() {
    # Clients wait, and go on waiting: nobody accepts them.
    local look
    for look in 1 2 3 4; do
        if (($(in_backlog "$PORT") == 0)); then return 1; fi
        if ((look < 4)); then sleep 0.05; fi
    done
}

# lower, raise: the soft limit only, which its owner may raise again
usual=$(ulimit -Sn)
lower() {
    prlimit --pid "$PID" --nofile="$(free_fd "$PID")":
}
raise() {
    prlimit --pid "$PID" --nofile="$usual":
}

start "$ACCEPTD"
old=()
for _ in 1 2 3; do
    connect
    old+=("$CLIENT")
    check "a client is served before the trouble" echoes "$CLIENT"
done
lower
new=()
for _ in {1..10}; do
    connect
    new+=("$CLIENT")
    say "$CLIENT" "are you there?"
done
check "without descriptors, clients wait to be accepted, and the log says what to raise" \
    wait_until 10 has_logged "WARN .*can't take in clients.*ulimit -n"
check "without descriptors, they go on waiting" wait_until 10 in_trouble

# Six seconds are what is measured, not waited for.
ticks=$(cpu_ticks "$PID")
since=$(now_ms)
served=0
for _ in {1..6}; do
    sleep 1
    for fd in "${old[@]}"; do
        if echoes "$fd"; then served=$((served + 1)); fi
    done
done
took=$(($(now_ms) - since))
ticks=$(($(cpu_ticks "$PID") - ticks))
check "while descriptors are short, existing clients are still served" test "$served" -eq 18
check "while descriptors are short, the processor is busy for less than 5 % of the time" \
    test $((ticks * 1000 * 100)) -lt $((5 * took * $(getconf CLK_TCK)))
check "while descriptors are short, the trouble goes on" in_trouble

apart() {
    local line at last=0
    while read -r line _; do
        at=$(date -d "$line" +%s%3N)
        if ((at - last < 5000)); then return 1; fi
        last=$at
    done < <(grep "can't take in clients" "$LOG")
}
check "while descriptors are short, the log has a line about it every 5 seconds at the most" apart

since=$(now_ms)
raise
answered=0
for fd in "${new[@]}"; do
    if hear "$fd" 5 && [[ $REPLY_LINE == "are you there?" ]]; then answered=$((answered + 1)); fi
done
took=$(($(now_ms) - since))
check "with descriptors again, those who waited are served" test "$answered" -eq 10
check "with descriptors again, that takes less than a second" test "$took" -lt 1000
check "with descriptors again, a new client is served" serves

lower
for _ in {1..5}; do connect; done
check "without descriptors once more, clients wait again" wait_until 10 in_trouble
signal TERM
ended_within 10 "$PID"
check "without descriptors, SIGTERM ends the server within a second" test "$TOOK" -lt 1000
check "without descriptors, SIGTERM is a drain: the exit code is 0" test "$CODE" = 0
finish
