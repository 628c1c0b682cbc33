# shellcheck shell=bash
# What the scripts beside this one share: stores on free ports. Servers, waits with a deadline and sentences are those of
# the faults.

# shellcheck source=tests/faults/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../faults/lib.sh"
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# serve [OPTION…]: starts a store that is empty, with the engine that this run is for
serve() {
    local options
    read -ra options <<<"${ENGINE_OPTIONS:-}"
    start "$ACCEPTD" --handler kv "${options[@]/#NEW/$(mktemp -u -p "$TMP")}" "$@"
}

# serve_with_password FILE: the same, for clients that give what is in the file
serve_with_password() {
    (umask 077 && printf 'correct horse battery staple\n' >"$1")
    serve --password-file "$1"
}

# leave_in_peace CLIENT: the server has nothing to complain of after these clients, and ends when it is told to. Shown
# last, since a panic, a client that broke the protocol or one that had to be cut would be in the log.
leave_in_peace() {
    signal TERM
    ended_within 10 "$PID"
    check "$1: the server ends with 0 when it is told to, and nobody had to be cut" is_peaceful
    check "$1: the server's log has no warning and no error" is_quiet
}

is_peaceful() {
    [[ $CODE == 0 ]] && has_logged 'cut 0;.* 0 panicked'
}

is_quiet() {
    [[ -s $LOG ]] && ((0 == $(logged ' (WARN|ERROR) |panicked at')))
}

# same SENTENCE WANTED GOT: two texts are equal; shows where they differ if not
same() {
    local difference
    if difference=$(diff --label wanted --label got -u <(printf '%s\n' "$2") <(printf '%s\n' "$3") | cat -v) &&
        [[ -z $difference ]]; then
        pass "$1"
    else
        fail "$1" "${difference//$'\n'/$'\n'        }"
    fi
}
