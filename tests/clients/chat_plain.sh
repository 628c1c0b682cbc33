#!/usr/bin/env bash
# nc, ncat, socat and telnet: people talk in lines, whichever program they have.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/chat_lib.sh"

chat

# ---- who comes is greeted, and alone

person ann nc.openbsd 127.0.0.1 "$PORT"
told "nc: who comes is told their name, how many are here, and how to get help" ann \
    '~\* welcome, you are guest[0-9]+; 1 person is here' '~\* .*/help.*' '* you are in lobby; 1 person is here'
types ann '/name ann' '/frobnicate'
told "nc: a new name is confirmed, and an unknown command is answered with where to look" ann \
    '* you are now ann' '* there is no command /frobnicate; /help lists them'

# ---- each of the programs talks with nc

# talks TITLE NAME PROGRAM…: all that a person does with this program
talks() {
    local title=$1 name=$2
    shift 2
    person "$name" "$@"
    told "$title: who comes is greeted" "$name" '~\* welcome, you are guest[0-9]+; 2 people are here' \
        '* you are in lobby; 2 people are here'
    told "nc: hears that a user of $title joined" ann '~\* guest[0-9]+ joined'
    types "$name" "/name $name"
    told "$title: can take a name" "$name" "* you are now $name"
    told "nc: hears of that name" ann "~\* guest[0-9]+ is now $name"

    types "$name" "hello from $title"
    told "$title: what is typed reaches the others, with the name" ann "$name: hello from $title"
    types ann "hello to $title"
    told "$title: shows what the others say" "$name" "ann: hello to $title"
    types "$name" '/me waves'
    told "$title: /me is shown as done" ann "* $name waves"
    types "$name" '/msg ann psst'
    told "$title: /msg is private" ann "$name (private): psst"
    types ann "/msg $name psst yourself"
    told "$title: is answered in private" "$name" 'ann (private): psst yourself'
    types "$name" '/who'
    told "$title: /who has both" "$name" '* 2 people are in lobby:' "* ann, $name"
    types "$name" 'Grüße, мир, 世界'
    told "$title: text of any language arrives as it was" ann "$name: Grüße, мир, 世界"
    types "$name" "/name ANN"
    told "$title: a name that is taken is refused, whatever its case" "$name" \
        '* ANN is taken; choose another name'
    types "$name" '/topic all about tea'
    told "$title: a topic reaches the others" ann "* $name set the topic: all about tea"
    types "$name" '/history'
    told "$title: /history has what was said, with its time" "$name" \
        "~[0-9]{2}:[0-9]{2}:[0-9]{2} $name: hello from $title" "~[0-9:]{8} ann: hello to $title"
    not_told "$title: one's own words are not repeated to oneself" "$name" "$name: hello from $title"

    kill_program "$name"
    told "$title: when it is killed, the others see that its user left" ann "~\* $name left( \(connection lost\))?"
}

talks nc bob nc.openbsd 127.0.0.1 "$PORT"
talks "nc -C" carl nc.openbsd -C 127.0.0.1 "$PORT"
talks ncat dora ncat 127.0.0.1 "$PORT"
talks socat emil socat - "TCP:127.0.0.1:$PORT"
# On a terminal, as telnet wants to be: without one it takes some letters for control characters.
talks telnet fay socat - "EXEC:telnet 127.0.0.1 $PORT,pty,setsid,ctty"


# Ctrl-C: telnet shows nothing more until the server has answered that it has seen the mark (RFC 860).
person fay socat - "EXEC:telnet 127.0.0.1 $PORT,pty,setsid,ctty"
told "telnet: comes again" fay '~\* you are in lobby;.*'
printf '\003' >&"${TYPED[fay]}"
types fay '/who'
told "telnet: goes on to show what comes after Ctrl-C" fay '* 2 people are in lobby:'
kill_program fay
told "telnet: is gone again" ann '~\* guest[0-9]+ left( \(connection lost\))?'

# ---- who says goodbye, or just closes the terminal

nc_person bob
types bob '/quit tea is ready'
told "nc: /quit is confirmed" bob '* goodbye'
told "nc: /quit tells the others why" ann '* bob left (tea is ready)'
person gus socat - "TCP:127.0.0.1:$PORT"
types gus '/name gus'
told "socat: comes as well" gus '* you are now gus'
types_no_more gus
told "socat: when it has no more to say, its user leaves" ann '* gus left'
ended_within 10 "${PROGRAM[gus]}"
same "socat: ends by itself then" 0 "$CODE"

# ---- lines from a pipe: all is answered before the connection ends

# piped PROGRAM…: what is answered to the lines on standard input; ends when the server ends the connection
piped() {
    timeout 20 "$@" | sed '1,/^\* topic: /d'
}

for program in "nc.openbsd -N 127.0.0.1 $PORT" "ncat 127.0.0.1 $PORT" "socat -t 10 - TCP:127.0.0.1:$PORT"; do
    read -ra command <<<"$program"
    title=${command[0]%.openbsd}
    same "$title: lines from a pipe are answered" $'* you are now hal\n* 2 people are in lobby:\n* ann, hal' \
        "$(printf '/name hal\n/who\n' | piped "${command[@]}")"
    told "$title: the others have seen such a visitor" ann '~\* guest[0-9]+ is now hal' '* hal left'
    same "$title: who ends amid a line is told that it was not said" \
        '* your last line was not complete; it was not said' "$(printf 'half a li' | timeout 20 "${command[@]}")"
    not_told "$title: and the others have not heard it" ann '~.*: half a li.*'
    # 20 lines at once, and 10 a second after that
    text=$(seq -f 'line %g of a pasted text' 35)
    printf '/name hal\n%s\n' "$text" | piped "${command[@]}" >"$TMP/piped"
    told "$title: all lines of a pasted text reach the others in their order, although they come too fast" ann \
        '~\* guest[0-9]+ is now hal' "~hal: line 1 of .*" "~hal: line 20 of .*" "~hal: line 21 of .*" "~hal: line 35 of .*" '* hal left'
    same "$title: all of the text is there" "$(sed 's/^/hal: /' <<<"$text")" \
        "$(tr -d '\r' <"${SHOWN[ann]}" | grep '^hal: line' | tail -n 35)"
done

# ---- the end

nc_person bob
types_no_more ann
told "nc: who closes standard input stays, and still sees the others" ann '~\* guest[0-9]+ is now bob'
types bob 'still there?'
told "nc: hears what is said then, too" ann 'bob: still there?'
signal TERM
told "nc: all are told when the server ends" bob '* the server is shutting down'
told "nc: those who only listen as well" ann '* the server is shutting down'
ended_within 10 "$PID"
check "nc: the server ends with 0 although people are there, and nobody had to be cut" is_peaceful
check "nc: the server's log has no warning and no error" is_quiet
finish
