#!/usr/bin/env bash
# irssi, in a terminal of tmux: ivy talks with bob, who has nc. What irssi shows in all of its windows is in its log.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/chat_lib.sh"

TMUX_SOCKET=$TMP/tmux
CONFIG=$TMP/irssi

# tmux of this script, and no other
terminal() {
    tmux -u -S "$TMUX_SOCKET" -f /dev/null "$@"
}

# irssi_person: ivy comes with irssi. It would otherwise wait between commands, and take quick ones for a pasted text.
irssi_person() {
    mkdir "$CONFIG"
    cat >"$CONFIG/config" <<END
servers = ( { address = "127.0.0.1"; chatnet = "chat"; port = "$PORT"; autoconnect = "yes"; } );
chatnets = { chat = { type = "IRC"; }; };
settings = {
    core = { nick = "ivy"; user_name = "ivy"; real_name = "Ivy Green"; log_timestamp = "| "; rawlog_lines = "10000"; };
    "irc/core" = { cmds_max_at_once = "1000"; cmd_queue_speed = "10ms"; };
    "fe-common/core" = { autolog = "no"; };
    "fe-text" = { paste_detect_time = "0"; paste_join_multiline = "no"; };
};
logs = { "$CONFIG/log" = { auto_open = "yes"; level = "ALL"; }; };
END
    watch ivy "$CONFIG/log"
    terminal new-session -d -x 120 -y 40 env LC_ALL=C.UTF-8 irssi --home="$CONFIG"
    PIDS+=("$(terminal display-message -p '#{pid}')" "$(terminal display-message -p '#{pane_pid}')")
}

# enters LINE…: types it in irssi's window
enters() {
    local line
    for line; do
        terminal send-keys -l -- "$line"
        terminal send-keys Enter
    done
}

# on_screen TEXT: it is in the terminal now
on_screen() {
    [[ $(terminal capture-pane -p) == *"$1"* ]]
}

# screen_shows SENTENCE TEXT
screen_shows() {
    if wait_until 10 on_screen "$2"; then
        pass "$1"
    else
        fail "$1" "this is not on the screen: $2" "$(terminal capture-pane -p)"
    fi
}

chat
nc_person bob

# ---- comes

irssi_person
told "irssi: connects, and agrees on the capabilities that it knows" ivy \
    '~.*Capabilities supported: echo-message server-time' '~.*Capabilities acknowledged: server-time'
told "irssi: is welcomed, with what the server can do and its message of the day" ivy \
    '| -!- Welcome to the chat, ivy' '~.* NETWORK=acceptd .*CHANTYPES=# PREFIX=\(o\)@.*' '| -!- There are 2 users on 1 server' \
    '| -!- End of MOTD'
types bob '/topic tea and cake'
told "nc: sets a topic" bob '* bob set the topic: tea and cake'
enters '/join #lobby'
told "irssi: joins #lobby, where the nc user is, and is told its topic" ivy \
    '| -!- ivy [~ivy@chat] has joined #lobby' '| -!- Topic for #lobby: tea and cake' '~.*Topic set by bob.*' \
    '| -!- Irssi: #lobby: Total of 2 nicks [1 ops, 0 halfops, 0 voices, 1 normal]'
told "nc: sees who joined with irssi" bob '* ivy joined'
screen_shows "irssi: the topic is at the top of its screen" 'tea and cake'

# ---- talks

enters 'hello from irssi'
told "irssi: what is typed reaches the nc user" bob 'ivy: hello from irssi'
types bob 'hello from nc'
told "irssi: shows what the nc user says" ivy '| #lobby: <@bob> hello from nc'
screen_shows "irssi: it is on the screen, in the window of #lobby" '<@bob> hello from nc'
not_told "nc: one's own words are not repeated to oneself" bob 'bob: hello from nc'
enters 'Grüße, мир, 世界'
told "irssi: text of any language reaches the nc user as it was" bob 'ivy: Grüße, мир, 世界'
types bob 'Grüße zurück, 世界'
told "irssi: and that of the nc user is shown as it was" ivy '| #lobby: <@bob> Grüße zurück, 世界'
enters '/me waves'
told "irssi: /me is shown as done" bob '* ivy waves'
types bob '/me waves back'
told "irssi: shows what the nc user does" ivy '~\| #lobby:  ?\* bob waves back'
enters '/notice #lobby take note'
told "irssi: /notice reaches the nc user" bob 'ivy: take note'
enters '/topic #lobby more cake'
told "irssi: /topic reaches the nc user" bob '* ivy set the topic: more cake'
told "irssi: and is confirmed" ivy '| -!- ivy changed the topic of #lobby to: more cake'
types bob '/topic no cake'
told "irssi: shows a topic that the nc user sets" ivy '| -!- bob changed the topic of #lobby to: no cake'
enters '/msg * /help'
told "irssi: what begins with a slash for the nc user is no command" bob 'ivy: /help'
types bob '//help'
told "irssi: and the other way" ivy '| #lobby: <@bob> /help'

# ---- in private

types bob '/msg ivy psst'
told "irssi: shows what the nc user says in private, in a window of its own" ivy '~\| .*bob.*psst'
enters '/msg bob psst yourself'
told "irssi: /msg reaches the nc user" bob 'ivy (private): psst yourself'
enters '/msg nobody hello'
told "irssi: is told if there is nobody of that name" ivy '~.*nobody: No such nick.*'
enters '/window goto #lobby'

# ---- who is here

enters '/names'
told "irssi: /names has both, and who was first" ivy '~\| \[Users #lobby\]' '~.*\[@bob\].*\[ ivy\].*'
types bob '/who'
told "nc: /who has both" bob '* 2 people are in lobby:' '* bob, ivy'
enters '/who #lobby'
told "irssi: /who tells of both" ivy '~.*#lobby +bob +H@ +0 +~guest[0-9]+@chat \[.*\]' '~.*#lobby +ivy +H +0 +~ivy@chat \[Ivy Green\]' '~.*End of /?WHO list'
enters '/whois bob'
told "irssi: /whois tells of the nc user" ivy '~\| -!- bob \[~guest[0-9]+@chat\]' '~.* channels +: @#lobby' '~.* server +: acceptd .*' '~.* idle +: .*' '| -!- End of WHOIS'
enters '/list -yes'
told "irssi: /list has the room, how many are in it, and its topic" ivy '| -!- #lobby 2 no cake' '| -!- End of LIST'
enters '/mode #lobby'
told "irssi: /mode tells the modes of the room" ivy '| -!- mode/#lobby [+n]'

# ---- away, and another name

enters '/away drinking tea'
told "irssi: /away is confirmed" ivy '~.*You have been marked as being away'
types bob '/msg ivy are you there?' '/who'
told "nc: is told why somebody does not answer" bob '* ivy is away: drinking tea' '* bob, ivy (away)'
enters '/away'
told "irssi: and so is being back" ivy '~.*You are no longer marked as being away'
types bob '/away eating cake'
told "nc: can be away as well" bob '~\* you are away.*'
enters '/msg bob still there?'
told "irssi: is told so" ivy '~.*bob is away: eating cake'
types bob '/away'
enters '/window goto #lobby' '/nick BOB'
told "irssi: a name that is taken is refused, whatever its case" ivy '~.*Nick BOB is already in use'
enters '/nick iris'
told "irssi: /nick is confirmed" ivy "| -!- You're now known as iris"
told "nc: hears of the new name" bob '* ivy is now iris'
types bob '/name rob'
told "irssi: hears of an nc user's new name" ivy '| -!- bob is now known as rob'

# ---- comes and goes

enters '/part #lobby just a moment'
told "nc: sees why somebody left the room" bob '* iris left (just a moment)'
enters '/join #lobby'
told "nc: sees them come back" bob '* iris joined'
enters '/kick rob'
told "irssi: who was not first can't kick" ivy "~.*not the channel's operator"

nc_person dan
told "irssi: sees an nc user come" ivy '~\| -!- guest[0-9]+ \[.*\] has joined #lobby' '~.*is now known as dan'
types dan '/quit so long'
told "irssi: sees an nc user quit, and why" ivy '~\| -!- dan \[.*\] has quit \[so long\]'
nc_person dan
kill_program dan
told "irssi: sees an nc user whose program was killed leave" ivy '~.*is now known as dan' '~\| -!- dan \[.*\] has quit \[.*\]'

types bob '/join kitchen'
told "irssi: sees an nc user go to another room" ivy '~\| -!- rob \[.*\] has left #lobby.*'
told "irssi: who is first now is the room's operator" ivy '| -!- ServerMode/#lobby [+o iris] by acceptd'
enters '/join #kitchen'
told "irssi: comes to that room too" ivy '~.* has joined #kitchen'
enters 'hello in the kitchen'
told "nc: in that room hears what is said there" bob '* iris joined' 'iris: hello in the kitchen'
types bob '/leave'
told "nc: goes back to the lobby" bob '~\* you are in lobby;.*'
told "irssi: sees an nc user leave the one room and join the other" ivy '~\| -!- rob \[.*\] has left #kitchen.*' \
    '~\| -!- rob \[.*\] has joined #lobby'
enters '/window goto #lobby' '/kick rob out with you'
told "nc: is told by whom and why it was kicked out of a room" bob '* iris kicked rob (out with you)'
told "irssi: and sees that it worked" ivy '~\| -!- rob was kicked from #lobby by iris \[out with you\]'
types bob 'anybody?' '/join lobby'
told "nc: is told that nobody hears it then, and can come back" bob '* you are in no room; /join lobby' \
    '~\* you are in lobby; 2 people are here'
types bob 'back again'
told "irssi: sees them come back" ivy '~.*rob \[.*\] has joined #lobby' '~\| #lobby: < ?rob> back again'

# ---- what went over the wire

enters "/rawlog save $CONFIG/wire"
wait_until 10 test -s "$CONFIG/wire" || true
# irssi begins with an empty JOIN, which is an error that it expects.
errors=$(sed -nE 's/^>> (@[^ ]* )?:acceptd ([45][0-9][0-9]) .*/\2/p' "$CONFIG/wire" | sort | uniq -c | sed 's/^ *//')
same "irssi: got no error but for what was refused here on purpose" $'1 401\n1 433\n1 451\n1 482' "$errors"
check "irssi: the server-time that it asked for is on what others say" \
    grep -qE '^>> @time=[0-9-]{10}T[0-9:]{8}\.[0-9]{3}Z :bob!~guest1@chat PRIVMSG #lobby :hello from nc' "$CONFIG/wire"
same "irssi: no line of the server was longer than 512 bytes without its tags" "" \
    "$(sed -nE 's/^>> (@[^ ]* )?//p' "$CONFIG/wire" | LC_ALL=C awk 'length > 510')"

# ---- goes

enters '/quit tea is over'
told "nc: sees that and why somebody quit" bob '* iris left (tea is over)'
types bob '/quit'
leave_in_peace irssi
finish
