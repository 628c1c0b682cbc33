#!/usr/bin/env bash
# Promise 17: a client that closes its side after its last request gets all its answers. Shown with the programs that people
# use for it: nc -N, socat and ncat, which close their side at the end of their input.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need nc netcat-openbsd
need socat socat
need ncat ncat
need cmp diffutils
need python3 python3
if [[ $(nc -h 2>&1 || true) != *-*N* ]]; then missing "an nc that knows -N" netcat-openbsd; fi

# The three ways; bounded, so that a lost end is a failure and not a wait. socat would otherwise leave half a second after
# the end of its input.
by_nc() { timeout 30 nc -N 127.0.0.1 "$PORT"; }
by_socat() { timeout 30 socat -t 20 - "TCP:127.0.0.1:$PORT"; }
by_ncat() { timeout 30 ncat 127.0.0.1 "$PORT"; }

# gets WAY EXPECTED: for what is on standard input; line ends are shown as |
gets() {
    local got
    got=$("by_$1" | tr '\n' '|') && test "$got" = "$2"
}

start "$ACCEPTD"
for way in nc socat ncat; do
    check "echo gives two lines back to $way, which has closed its side" \
        gets "$way" "a|b|" < <(printf 'a\nb\n')
    check "echo gives bytes without a line end back to $way" gets "$way" "no end" < <(printf 'no end')
    check "echo gives nothing back to $way for nothing, and ends" gets "$way" "" </dev/null
done
head -c 10000000 /dev/urandom >"$TMP/random"
for way in nc socat ncat; do
    "by_$way" <"$TMP/random" >"$TMP/back" || true
    check "echo gives 10 MB of random bytes back to $way, each of them" cmp "$TMP/random" "$TMP/back"
done
stop

start "$ACCEPTD" --handler line
for way in nc socat ncat; do
    check "line answers two requests of $way, which has closed its side" \
        gets "$way" "A|cb|" < <(printf 'UPPER a\nREVERSE bc\n')
    check "line answers the whole request of $way before one without an end, and says what became of that" \
        gets "$way" $'A|ERROR the last request was not complete and was not carried out\r|' < <(printf 'UPPER a\nUPPER b')
    check "line answers $way up to QUIT and ends, whatever is sent after it" \
        gets "$way" "A|BYE|" < <(printf 'UPPER a\nQUIT\nUPPER b\nUPPER c\n')
done
for count in 1 100 100000; do
    check "the words before the end arrive although $count lines follow QUIT, and no reset comes instead" \
        test "$(timeout 60 python3 "$HERE/clients.py" after-quit "$PORT" "$count")" = "A|BYE|end"
done
for _ in {1..2000}; do printf 'UPPER a line that is longer than a few bytes\n'; done >"$TMP/requests"
for _ in {1..2000}; do printf 'A LINE THAT IS LONGER THAN A FEW BYTES\n'; done >"$TMP/expected"
for way in nc socat ncat; do
    "by_$way" <"$TMP/requests" >"$TMP/back" || true
    check "line answers 2000 requests of $way at once, each of them" cmp "$TMP/expected" "$TMP/back"
done
finish
