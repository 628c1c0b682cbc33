#!/usr/bin/env bash
# redis-benchmark: every test runs to its end, with no word of complaint, and leaves in the store what it should.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

REQUESTS=20000
TESTS=(PING_INLINE PING_MBULK SET GET INCR 'MSET (10 keys)')

# benchmark NAME OPTION…: shows that it works with these options
benchmark() {
    local name="redis-benchmark $1" status=0
    shift
    timeout 60 redis-cli -p "$PORT" FLUSHALL >"$TMP/output" 2>&1
    timeout 60 redis-benchmark -p "$PORT" -t ping,set,get,incr,mset -n "$REQUESTS" --csv "$@" \
        >"$TMP/rates" 2>"$TMP/complaints" || status=$?
    same "$name: it ends with 0, and complains of nothing" "exit code 0: " "exit code $status: $(cat "$TMP/complaints")"
    # A line for each test: its name, and first of all numbers the requests per second, which must not be 0.
    same "$name: every test tells its rate, and there is no other line" \
        "$(printf '%s\n' test "${TESTS[@]}")" \
        "$(sed -nE 's/^"(test)","rps".*/\1/p; t; s/^"([^"]+)","[0-9]*[1-9][0-9]*\.[0-9]+"(,"[0-9.]+")+$/\1/p; t; p' "$TMP/rates")"
    same "$name: every INCR has counted" "$REQUESTS" "$(timeout 10 redis-cli -p "$PORT" GET counter:__rand_int__)"
    same "$name: SET and MSET have left a key" 2 "$(timeout 10 redis-cli -p "$PORT" DBSIZE)"
}

serve
benchmark "-P 1" -P 1
benchmark "-P 16" -P 16
benchmark "-3 -P 16 -c 200" -3 -P 16 -c 200
benchmark "--threads 2 -d 1000" --threads 2 -d 1000
leave_in_peace redis-benchmark
finish
