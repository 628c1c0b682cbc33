#!/usr/bin/env bash
# Promise 2: no error of accept ends the server or costs a client. Shown by strace, which makes accept4 fail while a client
# waits: four times in a row, then every other time, then always.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need strace strace

# failing ERROR WHEN: a server whose calls of accept fail so; strace writes to $TMP/trace what it did. With -D the server is
# this shell's child, and strace a bystander that ends with it.
failing() {
    : >"$TMP/trace"
    start strace -D -f -qq -o "$TMP/trace" -e trace=accept4 -e "inject=accept4:error=$1:when=$2" "$ACCEPTD"
}

# has_failed COUNT: at least as often; strace writes a little later than it acts
has_failed() {
    test "$(grep -c INJECTED "$TMP/trace")" -ge "$1"
}

# The peer's fault: the next client may be there already, and there is nothing to tell a person. The others may last.
peers=" ECONNABORTED EINTR EPROTO "

for error in ECONNABORTED EINTR EPROTO EPERM ENETDOWN ENOBUFS ENOMEM EMFILE ENFILE; do
    # The first call finds nobody, and the server goes to wait; a client comes, and the next four calls fail.
    failing "$error" 2..5
    connect
    check "after accept has failed four times with $error, the client who waited is served" echoes "$CLIENT"
    check "after $error, the next client is served" serves
    check "$error did come four times" wait_until 5 has_failed 4
    if [[ $peers == *" $error "* ]]; then
        check "$error is the peer's affair: the log does not warn" test "$(logged ' (WARN|ERROR) ')" -eq 0
    else
        check "$error is the system's affair: the log warns once, and says what to make of it" \
            test "$(logged "WARN +can't take in clients, will try again: .*; .+")" -eq 1
    fi
    stop

    failing "$error" 2+2
    served=0
    for _ in {1..10}; do
        if serves; then served=$((served + 1)); fi
    done
    check "while every other accept fails with $error, ten of ten clients are served" test "$served" -eq 10
    check "$error did come at least ten times" wait_until 5 has_failed 10
    stop
done

# EINTR is not among them: std itself tries again after it, and no system interrupts for ever.
for error in ECONNABORTED EPROTO EPERM ENETDOWN ENOBUFS ENOMEM EMFILE; do
    failing "$error" 1+
    connect
    if ! wait_until 10 has_failed 3; then fail "$error did come at least three times"; fi
    if [[ $peers != *" $error "* ]]; then
        before=$(grep -c INJECTED "$TMP/trace")
        sleep 2
        check "while accept always fails with $error, it is tried a few times a second" \
            test $(($(grep -c INJECTED "$TMP/trace") - before)) -lt 100
    fi
    signal TERM
    ended_within 10 "$PID"
    check "while accept always fails with $error, SIGTERM ends the server with exit code 0" test "$CODE" = 0
done
finish
