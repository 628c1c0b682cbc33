#!/usr/bin/env bash
# A member whose program is stopped reads nothing. It is cut, with a reason, and the others notice nothing but that.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/chat_lib.sh"

TEXT=$(printf 'x%.0s' {1..1000})
batches=0

# say_much: ann says 64 KB, and tom has read all of it. So nobody but who is stopped can fall behind.
say_much() {
    batches=$((batches + 1))
    local i lines=()
    for ((i = 0; i < 64; i++)); do lines+=("$batches $i $TEXT"); done
    types ann "${lines[@]}" "$batches is over"
    wait_until 20 sees tom "ann: $batches is over"
}

# say_much_until CONDITION…: at most 32 MB
say_much_until() {
    local i
    for ((i = 0; i < 500; i++)); do
        if "$@"; then return; fi
        if ! say_much; then return 1; fi
    done
    return 1
}

# Sooner than the others are told, who see it below what they have read.
is_closed() {
    has_logged 'INFO  closed .* reason="too slow: '
}

# all_is_there FILE: what a member was shown, from the first batch to the last, has no gap
all_is_there() {
    awk -v last="$batches" '/^ann: [0-9]+ [0-9]+ x+$/ { if ($2 * 64 + $3 != ++lines + 63 || length != length($2 $3) + 1007) exit 1 }
        END { exit lines != last * 64 }' "$1"
}

# begins_whole FILE: what somebody was shown until they were cut ends amid the batches, and has no gap up to there
begins_whole() {
    awk '/^ann: [0-9]+ [0-9]+ x+$/ { if ($2 * 64 + $3 != ++lines + 63) exit 1 } END { exit lines < 10 }' "$1"
}

slow_reader() {
    local title=$1
    nc_person ann
    nc_person tom
    person sam nc.openbsd 127.0.0.1 "$PORT"
    told "$title: sam comes" sam '~\* welcome, you are guest[0-9]+; 3 people are here' '~\* you are in lobby;.*'
    guest=$(sed -nE 's/.*you are (guest[0-9]+);.*/\1/p' "${SHOWN[sam]}")
    kill -STOP "${PROGRAM[sam]}"
}

shows_the_end() {
    local title=$1
    LOOKED[tom]=0 # amid what was said
    told "$title: the others are told why a member left" tom "* $guest left (read too slowly)"
    types tom 'is sam gone?'
    told "$title: and go on" ann "~\* $guest left \(read too slowly\)" 'tom: is sam gone?'
    check "$title: who reads has got all that was said meanwhile" all_is_there "${SHOWN[tom]}"
    same "$title: the log has one line for it" 1 "$(logged 'INFO  closed .* reason="too slow: ')"
    types ann '/who'
    told "$title: the name is free again" ann '* 2 people are in lobby:' '* ann, tom'

    kill -CONT "${PROGRAM[sam]}"
    told "$title: when the program goes on, it shows the reason" sam '* you read too slowly, closing'
    same "$title: as the last line" '* you read too slowly, closing' "$(tail -n 1 "${SHOWN[sam]}")"
    check "$title: on a line of its own, below what was said until then, without a gap" begins_whole "${SHOWN[sam]}"
    types ann '/quit'
    types tom '/quit'
    leave_in_peace "$title"
}

# ---- more waits for it than may

title="a stopped nc with too much to read"
chat --message-rate 0
slow_reader "$title"
check "$title: it is cut while another floods" say_much_until is_closed
shows_the_end "$title"

# ---- less, but too long

title="a stopped nc with too little time"
batches=0
chat --message-rate 0 --max-outbox 128MiB --write-timeout 1s
slow_reader "$title"
# More than any kernel takes for it
for ((i = 0; i < 256; i++)); do
    if is_closed || ! say_much; then break; fi
done
check "$title: it is cut after the write timeout" wait_until 10 is_closed
shows_the_end "$title"
finish
