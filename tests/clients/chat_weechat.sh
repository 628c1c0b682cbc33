#!/usr/bin/env bash
# WeeChat, without a terminal: wes talks with bob, who has nc. What WeeChat shows is in its logs, one for each buffer.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/chat_lib.sh"

HOME_OF_WEECHAT=$TMP/weechat

# weechat_person: wes comes with WeeChat
weechat_person() {
    local settings=(
        '/set logger.file.flush_delay 0'
        '/set logger.file.time_format "|"'
        '/set logger.level.irc 9'
        '/set irc.look.smart_filter off'
        "/server add chat 127.0.0.1/$PORT -notls -nicks=wes -username=wes"
        '/set irc.server.chat.realname "Wes Brown"'
        '/set irc.server.chat.autojoin "#lobby"'
        '/set irc.server.chat.anti_flood_prio_high 0'
        '/set irc.server.chat.anti_flood_prio_low 0'
        '/connect chat'
    )
    local options=() setting
    for setting in "${settings[@]}"; do options+=(-r "$setting"); done
    # By these names WeeChat calls what is said with the server, in the room, and with bob alone.
    mkdir -p "$HOME_OF_WEECHAT/logs"
    watch server "$HOME_OF_WEECHAT/logs/irc.server.chat.weechatlog"
    watch room "$HOME_OF_WEECHAT/logs/irc.chat.#lobby.weechatlog"
    watch private "$HOME_OF_WEECHAT/logs/irc.chat.bob.weechatlog"
    LC_ALL=C.UTF-8 weechat-headless -d "$HOME_OF_WEECHAT" "${options[@]}" </dev/null &>"$TMP/weechat.output" &
    PROGRAM[wes]=$!
    PIDS+=($!)
    PIPE=$HOME_OF_WEECHAT/weechat_fifo_$!
}

# enters BUFFER LINE…: types it in one of its buffers
enters() {
    local buffer=$1 line
    shift
    for line; do printf '%s *%s\n' "$buffer" "$line" >"$PIPE"; done
}

in_room() {
    enters 'irc.chat.#lobby' "$@"
}

chat
nc_person bob
types bob '/topic tea and cake'
weechat_person
told "WeeChat: connects, and agrees on the capability that it knows" server '~.*server supports: echo-message server-time' \
    '~.*requesting: server-time' '~.*enabled: server-time'
told "WeeChat: is welcomed" server '~.*Welcome to the chat, wes' '~.*End of MOTD.*'
told "nc: sees who joined with WeeChat" bob '* wes joined'
told "WeeChat: joins #lobby, where the nc user is, and is told its topic" room '~.*Topic for #lobby is "tea and cake"' \
    '~.*2 nicks \(1 op,.*'

in_room 'hello from WeeChat'
told "WeeChat: what is said reaches the nc user" bob 'wes: hello from WeeChat'
told "WeeChat: and is shown in its window" room '~\|[[:space:]]wes[[:space:]]hello from WeeChat'
types bob 'hello from nc, Grüße'
told "WeeChat: shows what the nc user says" room '~\|[[:space:]]@bob[[:space:]]hello from nc, Grüße'
not_told "nc: one's own words are not repeated to oneself" bob 'bob: hello from nc, Grüße'
in_room '/me waves'
told "WeeChat: /me is shown as done" bob '* wes waves'
types bob '/me waves back'
told "WeeChat: shows what the nc user does" room '~.*bob waves back'
in_room '/topic no cake'
told "WeeChat: /topic reaches the nc user" bob '* wes set the topic: no cake'
types bob '/msg wes psst'
told "WeeChat: shows what the nc user says in private" private '~\|[[:space:]]bob[[:space:]]psst'
in_room '/msg bob psst yourself'
told "WeeChat: /msg reaches the nc user" bob 'wes (private): psst yourself'
in_room '/whois bob'
told "WeeChat: /whois tells of the nc user" server '~.*\[bob\] \(~guest1@chat\): .*' '~.*\[bob\] @#lobby' '~.*\[bob\] End of WHOIS.*'
in_room '/nick bob'
told "WeeChat: a name that is taken is refused" server '~.*bob: Nickname is already in use'
in_room '/nick wesley'
told "WeeChat: /nick reaches the nc user" bob '* wes is now wesley'
told "WeeChat: and is confirmed" room '~.*You are now known as wesley'
nc_person dan
types dan '/quit so long'
told "WeeChat: sees an nc user come, quit, and why" room '~.*guest[0-9]+ .*has joined #lobby' '~.*is now known as dan' \
    '~.*dan .*has quit \(so long\)'
in_room '/part just a moment'
told "nc: sees why somebody left the room" bob '* wesley left (just a moment)'
enters 'irc.server.chat' '/join #lobby'
told "nc: sees them come back" bob '* wesley joined'
same "WeeChat: one's own words are shown once" 1 "$(grep -c 'hello from WeeChat' "${SHOWN[room]}")"
LOOKED[server]=0
not_told "WeeChat: got no error but for what was refused here on purpose" server '~.*(nknown|enough|denied|rror|o such|no modes).*'

enters core.weechat '/quit tea is over'
told "nc: sees that and why somebody quit" bob '* wesley left (tea is over)'
ended_within 10 "${PROGRAM[wes]}"
same "WeeChat: ends by itself then" 0 "$CODE"
types bob '/quit'
leave_in_peace WeeChat
finish
