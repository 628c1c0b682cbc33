#!/usr/bin/env bash
# P35: what was acknowledged as stored is there after `kill -9`, whenever that comes. KILLS sets how often (200).
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"
need python3 python3

kills=${KILLS:-200}
store=$TMP/store
record=$TMP/record
failed=0
for ((n = 0; n < kills; n++)); do
    start "$ACCEPTD" -q --handler kv --store "$store"
    if ((n > 0)) && ! python3 "$HERE/history.py" check "$PORT" "$record" >"$TMP/checked"; then
        failed=$((failed + 1))
        cat "$TMP/checked"
    fi
    python3 "$HERE/history.py" write "$PORT" "$record" &
    writer=$!
    PIDS+=("$writer")
    # From just after the first connection to some hundreds of commits later.
    sleep "0.$(printf '%03d' $((60 + RANDOM % 240)))"
    kill -KILL "$PID"
    wait "$PID" 2>/dev/null || true
    wait "$writer"
done
start "$ACCEPTD" -q --handler kv --store "$store"
if ! python3 "$HERE/history.py" check "$PORT" "$record" >"$TMP/checked"; then failed=$((failed + 1)); fi
sed 's/^/        /' "$TMP/checked"
check "after each of $kills kills, what was acknowledged is there, nothing is torn, and the file opens" test "$failed" -eq 0
writes=$(sed -n 's/.* clients, \([0-9]*\) writes.*/\1/p' "$TMP/checked")
check "there was something to lose: more writes than kills" test "${writes:-0}" -gt "$kills"
finish
