#!/usr/bin/env bash
# Promise 34: deadlines are kept by a clock that nobody sets, so nobody is cut when the wall clock jumps by a year. Shown
# with libfaketime, which gives the server another wall clock (and leaves the monotonic one alone): what it shows is in a
# file that is rewritten here. TIME tells what the server believes.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need find findutils

library=$(find /usr/lib /usr/local/lib -name libfaketimeMT.so.1 2>/dev/null | head -n 1)
if [[ -z $library ]]; then missing libfaketime faketime; fi

# jump OFFSET: such as "+1y"; the file is replaced as a whole, as the server reads it at any moment
jump() {
    printf '%s\n' "$1" >"$TMP/offset.new"
    mv "$TMP/offset.new" "$TMP/offset"
}
jump +0
start env LD_PRELOAD="$library" FAKETIME_TIMESTAMP_FILE="$TMP/offset" FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 \
    "$ACCEPTD" --handler line --idle-timeout 10s --request-timeout 4s

# days_off FD: how far the server's wall clock is from the real one, in days
days_off() {
    if ! say "$1" TIME || ! hear "$1"; then return; fi
    # Rounded, so that a second more or less does not make a day.
    echo $((($(date -d "$REPLY_LINE" +%s) - $(date +%s) + 43200 + 86400 * 1000) / 86400 - 1000))
}

# answers FD
answers() {
    say "$1" "UPPER abc" && hear "$1" && [[ $REPLY_LINE == ABC ]]
}

# serves_line: a new client is served
serves_line() {
    connect
    answers "$CLIENT"
}

connect
before=$CLIENT
check "before the jump, the server's clock is right" test "$(days_off "$before")" = 0

for offset in +1y -1y +0; do
    connect
    half=$CLIENT
    (printf 'UPPER half a' >&"$half")
    connect
    quiet=$CLIENT
    check "before a jump to $offset, a client is served" answers "$quiet"
    jump "$offset"
    case $offset in
        +1y) days=365 ;;
        -1y) days=-365 ;;
        *) days=0 ;;
    esac
    check "after a jump to $offset, the server's wall clock is $days days off" test "$(days_off "$before")" = "$days"
    check "after a jump to $offset, the client from before is served" answers "$before"
    check "after a jump to $offset, a client that was quiet during it is served" answers "$quiet"
    (printf ' line\n' >&"$half")
    hear "$half" || true
    check "after a jump to $offset, a request that was begun before it is answered as a whole" test "$REPLY_LINE" = "HALF A LINE"
    check "after a jump to $offset, a new client is served" serves_line
done

# A deadline that runs while the clock jumps keeps its length: two clients begin a request, one before a jump forward and
# one before a jump back, and do not go on.
since=$(now_ms)
slow=()
for offset in +1y -1y; do
    connect
    slow+=("$CLIENT")
    (printf 'UPPER never comp' >&"$CLIENT")
    # The server has most likely seen it once it has answered another client.
    check "before a jump to $offset, other clients are served" answers "$before"
    jump "$offset"
done
for fd in "${slow[@]}"; do
    hear "$fd" 20 || true
    took=$(($(now_ms) - since))
    check "a request that stays incomplete is ended in words, however the clock jumps" \
        test "${REPLY_LINE%%,*}" = "ERROR the request was not complete after 4s"
    check "it is ended after the 4 seconds that are allowed, neither at once nor much later" \
        test "$took" -ge 3900 -a "$took" -lt 9000
done
signal TERM
ended_within 20 "$PID"
check "in another year, SIGTERM drains: the exit code is 0" test "$CODE" = 0
check "nobody was cut for being idle" test "$(logged 'idle too long')" -eq 0
finish
