#!/usr/bin/env bash
# A name is bound whole or not at all, and a socket option that the kernel does not know is a warning. Shown with strace,
# which makes bind, socket and setsockopt fail, and with an address that another program has.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need strace strace

# What is put before a command for which `localhost` has an address of IPv4 and one of IPv6, whatever it has here.
both=()
if (($(getent ahosts localhost | awk '{ print $1 }' | sort -u | wc -l) != 2)); then
    if ! unshare --mount true 2>/dev/null; then
        fail "localhost has two addresses" "put \"::1 localhost\" into /etc/hosts, or run this as root"
        exit 1
    fi
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$TMP/hosts"
    chmod 644 "$TMP/hosts"
    # shellcheck disable=SC2016 # the inner shell expands it
    both=(unshare --mount sh -c 'mount --bind "$0" /etc/hosts && exec "$@"' "$TMP/hosts")
fi

# on_localhost PORT COMMAND…: a server of `localhost`
on_localhost() {
    local port=$1
    shift
    launch "${both[@]}" "$@" "localhost:$port"
    PORT=''
    wait_until 20 localhost_is_known
}
localhost_is_known() {
    PORT=$(sed -nE 's/^listening on (127\.0\.0\.1|\[::1\]):([0-9]+).*/\2/p' "$OUT")
    [[ -n $PORT ]] || is_over "$PID"
}

start "$ACCEPTD"
taken=$PORT
launch "${both[@]}" "$ACCEPTD" "localhost:$taken"
ended_within 20 "$PID"
check "a name of which one address is in use: the exit code is 1" test "$CODE" = 1
check "a name of which one address is in use: the line names the address" has_logged "127.0.0.1:$taken.*in use"
check "a name of which one address is in use: nothing is served" test ! -s "$OUT"

on_localhost 0 strace -D -f -qq -o "$TMP/trace" -e trace=bind -e inject=bind:error=EADDRINUSE:when=2 "$ACCEPTD"
check "port 0 that is taken on the second address: another port is tried" grep -q ' and ' "$OUT"
check "port 0 that is taken on the second address: it did fail once" test "$(grep -c INJECTED "$TMP/trace")" -eq 1

on_localhost 0 strace -D -f -qq -o "$TMP/trace" -e trace=bind -e inject=bind:error=EADDRINUSE:when=2+2 "$ACCEPTD"
ended_within 20 "$PID"
check "port 0 that is always taken on the second address: the exit code is 1" test "$CODE" = 1
check "port 0 that is always taken: it is tried a bounded number of times" \
    test "$(grep -c INJECTED "$TMP/trace")" -le 32

for fault in bind:error=EADDRNOTAVAIL socket:error=EAFNOSUPPORT; do
    # The resolver and others open sockets too: the one that fails is the first for TCP over IPv6.
    call=${fault%%:*}
    : >"$TMP/trace"
    on_localhost 0 strace -D -f -qq -o "$TMP/trace" -e "trace=$call" "$ACCEPTD"
    which=$(grep -E "^[0-9]+ +$call\\(" "$TMP/trace" | grep -nE 'AF_INET6.*(SOCK_STREAM|htons)' | head -n 1 | cut -d: -f1)
    stop
    on_localhost 0 strace -D -f -qq -o "$TMP/trace" -e "trace=$call" -e "inject=$fault:when=$which" "$ACCEPTD"
    check "a machine without IPv6 (${fault#*=}) serves a name's IPv4 address" grep -qx 'listening on 127.0.0.1:[0-9]*' "$OUT"
    check "a machine without IPv6 (${fault#*=}): a client is served" serves
    stop
done

launch strace -D -f -qq -o /dev/null -e trace=socket -e inject=socket:error=EAFNOSUPPORT:when=1 "$ACCEPTD" '[::]:0'
ended_within 20 "$PID"
check "a machine without IPv6 and an IPv6 address alone: the exit code is 1" test "$CODE" = 1
check "a machine without IPv6 and an IPv6 address alone: the line says what to do" has_logged 'no IPv6, use .*0\.0\.0\.0'

# ---- socket options that the kernel does not know

start strace -D -f -qq -o "$TMP/trace" -e trace=setsockopt "$ACCEPTD"
options=$(grep -oE '(SO|TCP|IPV6)_[A-Z0-9_]+' "$TMP/trace" | grep -vE '^(SO_LINGER|SOL_.*)$')
stop
number=0
for option in $options; do
    number=$((number + 1))
    inject="inject=setsockopt:error=ENOPROTOOPT:when=$number"
    if [[ $option == SO_RCVTIMEO* ]]; then
        launch strace -D -f -qq -o /dev/null -e trace=setsockopt -e "$inject" "$ACCEPTD" 127.0.0.1:0
        ended_within 20 "$PID"
        check "a kernel without $option, on which deadlines rest: the exit code is 1" test "$CODE" = 1
        check "a kernel without $option: the line names it" has_logged "${option%_OLD}"
        continue
    fi
    start strace -D -f -qq -o /dev/null -e trace=setsockopt -e "$inject" "$ACCEPTD"
    check "a kernel without $option: a client is served" serves
    check "a kernel without $option: one warning names it" test "$(logged " WARN .*$option")" -eq 1
    stop
done
check "there are options to be refused" test "$number" -ge 8
finish
