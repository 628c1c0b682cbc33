#!/usr/bin/env bash
# Promise 6: a limit above what the system allows is lowered at start, and the log says to what, why, and how to raise it.
# Shown by asking for 100,000 clients under low limits on descriptors and processes (prlimit), and under the usual ones,
# where the expected number is worked out here from /proc.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need prlimit util-linux
need setpriv util-linux
need ps procps
need python3 python3

# The limit on processes does not bind root, so the server is nobody's where that is possible; it must be able to read
# its own program then.
somebody=()
program=$ACCEPTD
if ((EUID == 0)); then
    somebody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    program=$TMP/acceptd
    cp "$ACCEPTD" "$program"
    chmod 755 "$TMP" "$program"
fi

# lowered: to how many clients; 0 if the log does not say
lowered() {
    local number
    number=$(sed -nE 's/.* WARN +serving at most ([0-9]+) clients at once, not 100000: .*/\1/p' "$LOG")
    echo "${number:-0}"
}

# between LEAST MOST: the number in the log is
between() {
    test "$(lowered)" -ge "$1" -a "$(lowered)" -le "$2"
}

start prlimit --nofile=200 "$ACCEPTD" -m 100000
check "with 200 descriptors, the log says a number below 200" between 1 199
check "with 200 descriptors, most of them are for clients" between 150 200
check "with 200 descriptors, the log says that they are to be raised with ulimit -n" \
    has_logged 'serving at most .*RLIMIT_NOFILE.*ulimit -n'
check "with 200 descriptors, a client is served" serves
stop

start prlimit --nofile=200:400 "$ACCEPTD" -m 100000
check "a soft limit of 200 descriptors is raised to the hard one, 400, and the number is below that" between 201 399
stop

# Threads of the same user count together: room for those of others who are nobody, and, without root, for this script's.
others=$(ps -eL -o uid= | awk -v uid="$((EUID == 0 ? 65534 : EUID))" '$1 == uid' | wc -l)
processes=$((others + 60))
start "${somebody[@]}" prlimit --nproc="$processes" "$program" -m 100000
check "with few processes allowed, the log says a number below that" between 1 $((processes - 1))
check "with few processes allowed, most of them are for clients" between $((processes * 3 / 4)) "$processes"
check "with few processes allowed, the log says that they are to be raised with ulimit -u" \
    has_logged 'serving at most .*RLIMIT_NPROC.*ulimit -u'
# Not many more: where other programs of this user have threads too, the last ones are refused for want of a thread, two a
# second.
fates=$(crowd $((processes + 5)))
read -r served refused rest <<<"${fates%%$'\n'*}"
check "with few processes allowed, of more clients some are served, all others are refused, none is reset" \
    test "$((${served#*=} + ${refused#*=})) $rest" = "$((processes + 5)) reset=0 silent=0 other=0"
check "with few processes allowed, as many as the log said are served, but for those whose threads other programs have" \
    between "${served#*=}" $((${served#*=} + others + 10))
stop

# ---- the usual limits

# lowest NUMBER…: "max", "unlimited" and what is empty are no numbers, and no limits
lowest() {
    printf '%s\n' "$@" | grep -E '^[0-9]+$' | sort -n | head -n 1
}
maps=$(cat /proc/sys/vm/max_map_count)
most=$(lowest "$(ulimit -Hn)" "$(ulimit -Su)" "$(cat /proc/sys/kernel/threads-max)" "$(cat /proc/sys/kernel/pid_max)" $((maps / 5)))

start "$ACCEPTD" -m 100000
if ((most < 100000)); then
    check "with the usual limits, the log says how to raise the lowest" has_logged 'serving at most .* raise it with .+'
    # What is kept from clients is a few dozen; a control group may allow less than all of these, and says so.
    least=$((most - 100))
    if has_logged 'control group'; then least=1; fi
    check "with the usual limits, the number is the lowest of them, but for a few dozen" between "$least" "$most"
    check "with the usual limits, the number is at most a fifth of vm.max_map_count" between 1 $((maps / 5))
else
    check "with limits that allow 100000 clients, nothing is lowered" test "$(logged 'serving at most')" -eq 0
fi
check "with the usual limits, a client is served" serves
stop

start "$ACCEPTD" -m 10
check "a limit that the system allows is not lowered, and not talked about" test "$(logged 'serving at most')" -eq 0
check "a limit that the system allows is kept" test "$(crowd 12 | head -n 1)" = "served=10 refused=2 reset=0 silent=0 other=0"
finish
