# shellcheck shell=bash
# What the scripts about the chat share: a server with nobody in it, and people, each of whom types to a program and looks
# at what it shows.

# shellcheck source=tests/clients/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

declare -A TYPED=()    # by name: the descriptor of what somebody types, for whom `person` has started a program
declare -A SHOWN=()    # the file that has what is shown to them
declare -A LOOKED=()   # how many lines of it they have looked at
declare -A PROGRAM=()  # the pid of their program

# chat [OPTION…]: starts a chat server
chat() {
    start "$ACCEPTD" --handler chat "$@"
}

# person NAME PROGRAM…: somebody comes, with this program for a terminal
person() {
    local name=$1 fd
    shift
    rm -f "$TMP/$name".{typed,shown}
    mkfifo "$TMP/$name.typed"
    exec {fd}<>"$TMP/$name.typed"
    TYPED[$name]=$fd
    watch "$name" "$TMP/$name.shown"
    (
        # What is typed has to end when this shell closes it.
        for fd in "${TYPED[@]}"; do exec {fd}>&-; done
        exec "$@" <"$TMP/$name.typed"
    ) >"$TMP/$name.shown" 2>&1 &
    PROGRAM[$name]=$!
    PIDS+=($!)
}

# watch NAME FILE: somebody looks at this file, from its beginning
watch() {
    SHOWN[$1]=$2
    LOOKED[$1]=0
    : >>"$2"
}

# nc_person NAME: somebody comes with nc, and calls themselves so
nc_person() {
    person "$1" nc.openbsd 127.0.0.1 "$PORT"
    types "$1" "/name $1"
    if ! wait_until 10 sees "$1" "* you are now $1"; then
        fail "$1 comes with nc" "$(unseen "$1")"
        exit 1
    fi
}

# types NAME LINE…
types() {
    local fd=${TYPED[$1]}
    shift
    printf '%s\n' "$@" >&"$fd"
}

# types_no_more NAME: ends what this person types
types_no_more() {
    local fd=${TYPED[$1]}
    exec {fd}>&-
    unset "TYPED[$1]"
}

# sees NAME LINE: the line is among those that this person has not looked at yet; all up to it are then. A line that
# begins with ~ is an extended regular expression for a whole line.
sees() {
    local how=-xF line=$2 found
    if [[ $line == '~'* ]]; then how=-xE line=${line#'~'}; fi
    found=$(tail -n +"$((LOOKED[$1] + 1))" "${SHOWN[$1]}" | tr -d '\r' | grep -na "$how" -- "$line") || return 1
    LOOKED[$1]=$((LOOKED[$1] + ${found%%:*}))
}

# unseen NAME: what this person has not looked at, to be shown in a failure
unseen() {
    echo "$1 sees:"
    tail -n +"$((LOOKED[$1] + 1))" "${SHOWN[$1]}" | tail -n 20 | cut -c 1-200 | cat -v | sed 's/^/            /'
}

# told SENTENCE NAME LINE…: this person sees these lines soon, in this order
told() {
    local sentence=$1 name=$2 line
    shift 2
    for line; do
        if ! wait_until 10 sees "$name" "$line"; then
            fail "$sentence" "$name does not see: $line" "$(unseen "$name")"
            return
        fi
    done
    pass "$sentence"
}

# not_told SENTENCE NAME LINE: nothing of the kind is shown; to be asked after something else was, that came later
not_told() {
    if sees "$2" "$3"; then
        fail "$1" "$2 sees: $3"
    else
        pass "$1"
    fi
}

# kill_program NAME: the program is gone from one moment to the next
kill_program() {
    kill -KILL "${PROGRAM[$1]}"
    wait "${PROGRAM[$1]}" 2>/dev/null || true
}
