# shellcheck shell=bash
# What the scripts beside this one share: servers on free ports, clients, waits with a deadline, and sentences that are
# ok or FAILED. Source it first; call `finish` last.
#
# Everything that is started here is ended here, by its pid, when the script exits.

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
ACCEPTD=$(realpath -m "${ACCEPTD:-$ROOT/target/release/acceptd}")
TMP=$(mktemp -d)

# What a server would take from the environment is not what is to be shown.
unset RUST_LOG "${!ACCEPTD_@}"

PIDS=()      # all that was started and has not been waited for
CLIENTS=()   # descriptors of the clients that this shell holds
PID='' PORT='' OUT='' LOG=''   # the server that was started last
CODE='' TOOK=''                # what `ended_within` found
REPLY_LINE=''                  # what `hear` heard
failures=0
launched=0
set -o errtrace
trap clean_up EXIT
trap 'if ((BASH_SUBSHELL == 0)); then printf "        broke off at line %s: %s\n" "$LINENO" "$BASH_COMMAND"; fi' ERR
trap 'exit 143' TERM
trap 'exit 130' INT

clean_up() {
    local status=$? pid
    exec 2>/dev/null # where the shell would report whom it has killed
    for pid in "${PIDS[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$TMP"
    exit "$status"
}

# ---- sentences

pass() {
    printf 'ok      %s\n' "$1"
}

# fail SENTENCE [DETAIL…]: the details and the end of the log are shown below it
fail() {
    local detail
    failures=$((failures + 1))
    printf 'FAILED  %s\n' "$1"
    shift
    for detail in "$@"; do printf '        %s\n' "$detail"; done
    if [[ -s ${LOG:-} ]]; then tail -n 6 "$LOG" | sed 's/^/        log: /'; fi
}

# check SENTENCE COMMAND…: the sentence holds if the command succeeds
check() {
    local sentence=$1
    shift
    if "$@"; then pass "$sentence"; else fail "$sentence" "this does not hold: $*"; fi
}

finish() {
    exit $((failures > 0))
}

# need TOOL PACKAGE: without the tool nothing can be shown, which is a failure and not a reason to be quiet
need() {
    if ! command -v "$1" >/dev/null; then missing "$1" "$2"; fi
}

missing() {
    fail "$1 is installed" "install it with: apt-get install $2"
    exit 1
}

if [[ ! -x $ACCEPTD ]]; then
    fail "there is a server to test" "$ACCEPTD is not there: cargo build --release, or set ACCEPTD"
    exit 1
fi

# ---- time

now_ms() {
    echo $((${EPOCHREALTIME/[.,]/} / 1000))
}

# wait_until SECONDS COMMAND…: asks again and again until the command succeeds; fails when the time is over
wait_until() {
    local deadline=$(($(now_ms) + $1 * 1000))
    shift
    if ! type -t "$1" >/dev/null; then
        echo "        there is no command $1 to wait for"
        exit 1
    fi
    until "$@"; do
        if (($(now_ms) >= deadline)); then return 1; fi
        sleep 0.02
    done
}

# ---- servers

# track PID: it is the one talked about from now on, and is ended with this script
track() {
    PID=$1
    PIDS+=("$1")
}

# launch COMMAND…: in the background, its two outputs in $OUT and $LOG
launch() {
    launched=$((launched + 1))
    OUT=$TMP/$launched.out
    LOG=$TMP/$launched.log
    : >"$OUT"
    : >"$LOG"
    (
        close_clients
        # In a script's background jobs SIGINT is ignored, and would stay so.
        exec env --default-signal=INT,HUP,TERM "$@"
    ) </dev/null >"$OUT" 2>"$LOG" &
    track $!
}

# start COMMAND…: a server on a free port, which is $PORT. The address is added, so the flags of acceptd come last.
start() {
    launch "$@" 127.0.0.1:0
    PORT=''
    if ! wait_until 20 port_is_known; then
        fail "a server starts" "no line \"listening on\" came from: $*"
        exit 1
    fi
}

port_is_known() {
    PORT=$(sed -n 's/^listening on 127\.0\.0\.1:\([0-9]*\)$/\1/p' "$OUT")
    [[ -n $PORT ]]
}

# is_over PID: it has ended, whether it was waited for or not
is_over() {
    local stat
    if ! stat=$(cat "/proc/$1/stat" 2>/dev/null); then return 0; fi
    stat=${stat##*) }
    [[ ${stat%% *} == [ZX] ]]
}

is_alive() {
    ! is_over "$1"
}

# ended_within SECONDS PID: sets CODE to what the process ended with, TOOK to the milliseconds it needed. A process that
# goes on leaves CODE at "none".
ended_within() {
    local since pid keep=()
    since=$(now_ms)
    CODE=none
    if wait_until "$1" is_over "$2"; then
        CODE=0
        wait "$2" || CODE=$?
        for pid in "${PIDS[@]}"; do [[ $pid == "$2" ]] || keep+=("$pid"); done
        PIDS=("${keep[@]}")
    fi
    # shellcheck disable=SC2034 # the scripts use it
    TOOK=$(($(now_ms) - since))
}

# signal NAME: to the server that was started last, if it is still there
signal() {
    kill -"$1" "$PID" 2>/dev/null || true
}

# stop: ends the server that was started last, for a script that goes on with another
stop() {
    close_clients
    signal TERM
    ended_within 20 "$PID"
    if [[ $CODE == none ]]; then
        fail "a server can be ended" "SIGTERM did not end it in 20 s"
        exit 1
    fi
}

# ---- what the kernel tells about a process

# cpu_ticks PID: user and system time, in clock ticks (getconf CLK_TCK a second)
cpu_ticks() {
    local stat
    stat=$(cat "/proc/$1/stat")
    read -ra stat <<<"${stat##*) }"
    echo $((stat[11] + stat[12]))
}

# threads PID: how many it has
threads() {
    sed -n 's/^Threads:[[:space:]]*//p' "/proc/$1/status"
}

# free_fd PID: the descriptor that it would get next
free_fd() {
    local fd=0
    while [[ -e /proc/$1/fd/$fd || -L /proc/$1/fd/$fd ]]; do fd=$((fd + 1)); done
    echo "$fd"
}

# in_backlog PORT: connections that the server has not accepted yet
in_backlog() {
    local hex
    hex=$(printf ':%04X' "$1")
    awk -v port="$hex" '$4 == "0A" && substr($2, 9) == port { split($5, queue, ":"); waiting = queue[2] } END { print waiting }' \
        /proc/net/tcp | { read -r count && echo $((16#${count:-0})); }
}

# ---- the log

# logged REGEX: how many lines of the log match
logged() {
    grep -cE -- "$1" "$LOG" || true
}

has_logged() {
    grep -qE -- "$1" "$LOG"
}

# ---- clients: a few are descriptors of this shell, many are a matter for clients.py

# connect: a client, as the descriptor CLIENT
connect() {
    exec {CLIENT}<>"/dev/tcp/127.0.0.1/$PORT"
    CLIENTS+=("$CLIENT")
}

# close_oldest COUNT: of the clients that this shell holds
close_oldest() {
    local fd
    for fd in "${CLIENTS[@]:0:$1}"; do exec {fd}>&-; done
    CLIENTS=("${CLIENTS[@]:$1}")
}

close_clients() {
    close_oldest "${#CLIENTS[@]}"
}

# say FD LINE. In a process of its own, since a connection that is gone would end this one (SIGPIPE).
say() {
    (printf '%s\n' "$2" >&"$1") 2>/dev/null
}

# hear FD [SECONDS]: the next line, as REPLY_LINE. Fails at the end, and when nothing comes.
hear() {
    REPLY_LINE=''
    IFS= read -r -t "${2:-10}" -u "$1" REPLY_LINE
}

# echoes FD: the server sends back to this client what it says
echoes() {
    local line="hello, it is $RANDOM"
    say "$1" "$line" && hear "$1" && [[ $REPLY_LINE == "$line" ]]
}

# has_ended FD: nothing more comes from the server, and it says so
has_ended() {
    local status=0
    IFS= read -r -t 10 -u "$1" REPLY_LINE || status=$?
    ((status == 1))
}

# serves: a new client is served
serves() {
    local fd status=0
    # In a shell of its own, since a refused connection would be an error of this one.
    (exec {fd}<>"/dev/tcp/127.0.0.1/$PORT" && echoes "$fd") 2>/dev/null || status=$?
    return "$status"
}

# crowd ARGUMENTS OF clients.py…: many clients at once; what became of them is on one line
crowd() {
    timeout 60 python3 "$HERE/clients.py" crowd "$PORT" "$@"
}

# hold_up: a client that asks for help without end and never reads, until the server's thread is stuck in writing to it. (An
# echo would not do: the rest of what has arrived may still fit into the kernel's buffer when the drain begins.)
hold_up() {
    : >"$TMP/stuck"
    python3 "$HERE/clients.py" stuck "$PORT" >"$TMP/stuck" &
    PIDS+=($!)
    if ! wait_until 20 grep -q stuck "$TMP/stuck"; then
        fail "a client that sends and never reads gets stuck"
        exit 1
    fi
}
