#!/usr/bin/env bash
# Promises 1 and 8, for chat: a member takes two descriptors, the socket and the event descriptor by which others wake its thread. With
# few of them fewer members are served, and who is served has both; where a running server can have the socket and not the
# event descriptor, that one client is closed, and all others go on.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need prlimit util-linux

# greeted FD: a member, whom the chat has told so. A first line decides about the dialect, so nobody waits.
greeted() {
    say "$1" "/me" && hear "$1" && [[ $REPLY_LINE == '* welcome, you are guest'* ]]
}

# hears FD TEXT: among what comes is a line that ends with this
hears() {
    while hear "$1"; do
        if [[ $REPLY_LINE == *"$2" ]]; then return 0; fi
    done
    return 1
}

joins() {
    local fd status=0
    (exec {fd}<>"/dev/tcp/127.0.0.1/$PORT" && greeted "$fd") 2>/dev/null || status=$?
    return "$status"
}

# ---- a low limit from the start

start prlimit --nofile=64 "$ACCEPTD" --handler chat
check "with 64 descriptors, the log warns that fewer members are served, and says how to serve more" \
    has_logged 'WARN +serving at most [0-9]+ clients at once, not 1024: .*descriptors.*ulimit -n'
limit=$(sed -nE 's/.*serving at most ([0-9]+) clients.*/\1/p' "$LOG")
limit=${limit:-0}
check "each member counts for two descriptors" test $((limit * 2)) -le 64 -a "$limit" -ge 10

members=()
refused=0
for _ in {1..40}; do
    connect
    if greeted "$CLIENT"; then
        members+=("$CLIENT")
    elif [[ $REPLY_LINE == "ERROR :Closing link: too many connections"* ]]; then
        refused=$((refused + 1))
    fi
done
check "as many as the log said are members, and all others are told why they are not" \
    test "${#members[@]} $refused" = "$limit $((40 - limit))"
check "no event descriptor was missing" test "$(logged 'closed .*(descriptor|open files)')" -eq 0
say "${members[0]}" "hello, all"
heard=0
for fd in "${members[@]:1}"; do
    if hears "$fd" ": hello, all"; then heard=$((heard + 1)); fi
done
check "with the last descriptor in use, every member hears what one says" test "$heard" -eq $((limit - 1))
close_clients
check "when they have left, somebody new can join" wait_until 10 joins
stop

# ---- one left while it runs: enough for a socket, and not for its event descriptor

usual=$(ulimit -Sn)
start "$ACCEPTD" --handler chat
connect
alice=$CLIENT
check "a member is there before the trouble" greeted "$alice"
connect
bob=$CLIENT
check "another one is there" greeted "$bob"
prlimit --pid "$PID" --nofile="$(($(free_fd "$PID") + 1))":
connect
late=$CLIENT
say "$late" "/me"
ended_in_time() {
    # What it is told before, if anything, is not what matters.
    while hear "$1" 10; do :; done
    has_ended "$1"
}
check "a client whose event descriptor can't be had is closed at once, and does not hang" ended_in_time "$late"
check "the log says why" wait_until 5 has_logged 'closed id=3 .*(descriptor|open files)'
say "$alice" "are you there, bob?"
check "the others go on talking" hears "$bob" ": are you there, bob?"
say "$bob" "yes"
check "in both directions" hears "$alice" ": yes"
prlimit --pid "$PID" --nofile="$usual":
check "with descriptors again, somebody new can join" wait_until 10 joins
signal TERM
ended_within 10 "$PID"
check "SIGTERM is a drain: the exit code is 0" test "$CODE" = 0
finish
