# shellcheck shell=bash
# What scripts with a running convoyd share: the daemon's life, its counters, and checks. Source it
# after (or instead of) lib.sh, which it brings along.
#
#   source tests/guest/daemon.sh
#   test_begin iperf3 jq              # skips where something is missing; a network namespace of its own
#   daemon_start <<'END'              # what follows run-dir in convoy.yaml
#   ports:
#     - name: vm1
#   END
#   guest_uml_start vm1 "$DAEMON_RUN/vm1.sock" ip=10.0.0.1/24
#   check "vm1 is served" daemon_await_state vm1 running
#   test_end
#
# Environment: CONVOYD and CONVOY, the daemon and the client to use.
#
# The daemon's folder is $DAEMON_DIR: convoy.yaml, log, pid (of `timeout`, which ends a daemon that
# outlives its script), own_pid, and run, which is $DAEMON_RUN and holds the sockets.

# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# --- the daemon -----------------------------------------------------------------------------------

convoy() {
    "$CONVOY" --socket "$DAEMON_RUN/control.sock" "$@"
}

daemon_ready_or_gone() {
    grep -q ' is ready: ' "$DAEMON_DIR/log" || daemon_gone
}

daemon_gone() {
    ! kill -0 "$(<"$DAEMON_DIR/pid")" 2>/dev/null
}

# Starts convoyd with the configuration on standard input and waits until it is ready; returns 1,
# with its log, when it does not get there.
daemon_start() {
    DAEMON_DIR=$GUEST_WORK/daemon
    DAEMON_RUN=$DAEMON_DIR/run
    mkdir -p "$DAEMON_DIR"
    { echo "run-dir: $DAEMON_RUN" && cat; } >"$DAEMON_DIR/convoy.yaml"
    daemon_start_again
}

# Starts it with the configuration that it had.
daemon_start_again() {
    : >"$DAEMON_DIR/log"
    timeout -k 5 "$GUEST_LIFE_S" "$CONVOYD" --config "$DAEMON_DIR/convoy.yaml" </dev/null \
        >>"$DAEMON_DIR/log" 2>&1 &
    echo $! >"$DAEMON_DIR/pid"
    guest_await 20 daemon_ready_or_gone || true
    if grep -q ' is ready: ' "$DAEMON_DIR/log" && ! daemon_gone; then
        convoy --json status | jq .pid >"$DAEMON_DIR/own_pid"
        return 0
    fi
    guest_say "convoyd does not come up; it said:"
    cat "$DAEMON_DIR/log" >&2
    return 1
}

# Prints the number of the daemon's own process.
daemon_pid() {
    cat "$DAEMON_DIR/own_pid"
}

# Ends it as an operator would, and returns its exit status.
daemon_stop() {
    local pid status=0
    pid=$(<"$DAEMON_DIR/pid")
    kill -TERM "$pid" 2>/dev/null || true
    wait "$pid" || status=$?
    rm -f "$DAEMON_DIR/pid"
    return "$status"
}

# Ends it as a crash would.
daemon_kill() {
    kill -KILL "$(daemon_pid)"
    { wait "$(<"$DAEMON_DIR/pid")" || true; } 2>/dev/null
}

daemon_cleanup() {
    [[ -n ${DAEMON_DIR:-} && -s $DAEMON_DIR/pid ]] || return 0
    daemon_stop || true
}

# --- what it tells --------------------------------------------------------------------------------

# `port_value PORT FILTER` prints one value of a port, such as .counters.to_packets.
port_value() {
    convoy --json port show "$1" | jq -r "$2"
}

port_has_state() { # PORT STATE
    [[ $(port_value "$1" .state 2>/dev/null) == "$2" ]]
}

# Waits until a port is waiting, connected or running: `daemon_await_state PORT STATE [SECONDS]`.
daemon_await_state() {
    guest_await "${3:-10}" port_has_state "$1" "$2" && return
    guest_say "port $1 is '$(port_value "$1" .state)' and does not become '$2'"
    return 1
}

# Prints the processor time of all the daemon's threads in nanoseconds.
daemon_cpu_ns() {
    cat /proc/"$(daemon_pid)"/task/*/schedstat | awk '{sum += $1} END {printf "%.0f\n", sum}'
}

# Prints the daemon's own memory in KiB: what it shares with guests is not counted.
daemon_memory_kib() {
    awk '$1 == "RssAnon:" {print $2}' "/proc/$(daemon_pid)/status"
}

# --- a script's frame -----------------------------------------------------------------------------

# Begins a test: it is skipped where we are not root or a program is missing, and goes on in a
# network namespace of its own, so that names and addresses are free.
test_begin() { # PROGRAM...
    local program
    if ((EUID != 0)); then
        echo "skipped: needs root, for guests, TAP devices and a network namespace"
        exit 77
    fi
    for program in "$@"; do
        if ! command -v "$program" >/dev/null; then
            echo "skipped: $program is not installed"
            exit 77
        fi
    done
    if [[ ${TEST_IN_NAMESPACE:-} != "$0" ]]; then
        TEST_IN_NAMESPACE=$0 exec unshare --net "$0"
    fi
    : "${CONVOYD:?must be the path of convoyd}" "${CONVOY:?must be the path of convoy}"
    passed=0 failed=0 test_begin_s=$SECONDS
    GUEST_WORK=
    trap test_cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # Ours, so that it lasts until the daemon has ended.
    GUEST_WORK=$(mktemp -d /tmp/convoy-guest.XXXXXX)
    guest_init
    ip link set lo up
}

# Runs at every end, also after an error or an interrupt.
test_cleanup() {
    local status=$?
    trap '' INT TERM
    if ((status != 0)) && [[ -n ${DAEMON_DIR:-} && -e $DAEMON_DIR/log ]]; then
        echo "the log of convoyd ends with:"
        tail -n 30 "$DAEMON_DIR/log"
    fi
    guest_cleanup || true
    daemon_cleanup
    [[ -n $GUEST_WORK ]] && rm -rf "$GUEST_WORK"
    return 0
}

# Ends a test with its count; the daemon must end cleanly.
test_end() {
    if [[ -n ${DAEMON_DIR:-} && -s $DAEMON_DIR/pid ]]; then
        check "convoyd ends when it is asked to" daemon_stop
    fi
    echo "$passed passed, $failed failed in $((SECONDS - test_begin_s)) s"
    ((failed == 0))
    exit
}

# `check WHAT COMMAND...` counts whether the command succeeds.
check() {
    local what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok: $what"
    else
        failed=$((failed + 1))
        echo "NOT OK: $what"
    fi
}

# `holds "TEXT OF AN ARITHMETIC CONDITION"`: for check; prints the condition when it is false.
holds() {
    (($1)) || {
        echo "  does not hold: $1"
        return 1
    }
}
