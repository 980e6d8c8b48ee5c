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

# Remembers the counters of all ports: `snapshot NAME`.
snapshot() {
    convoy --json port list >"$GUEST_WORK/snapshot.$1"
}

# `grown NAME PORT FILTER` prints by how much a number of a port has grown since a snapshot.
grown() {
    local before
    before=$(jq -r --arg port "$2" ".ports[] | select(.name == \$port) | $3" \
        "$GUEST_WORK/snapshot.$1")
    echo $(($(port_value "$2" "$3") - before))
}

# `losses NAME REASON...` prints what was dropped since a snapshot, at any port, for other reasons
# than these, a line each: port, number, reason.
losses() {
    local name=$1
    shift
    convoy --json port list | jq -r --slurpfile before "$GUEST_WORK/snapshot.$name" '
        ($before[0].ports | map({key: .name, value: .drops}) | from_entries) as $old |
        .ports[] | .name as $port | .drops | to_entries[] |
        .value -= ($old[$port][.key] // 0) | select(.value > 0 and
            (.key | IN($ARGS.positional[]) | not)) | "\($port) \(.value) \(.key)"' --args "$@"
}

# Whether nothing was dropped for other reasons than these; says what was: `lost_only NAME
# REASON...`.
lost_only() {
    local lost
    lost=$(losses "$@")
    [[ -z $lost ]] || {
        echo "  dropped: $lost"
        return 1
    }
}

# Drops that are counted where a frame came from; all others are where it was going.
DROPS_AT_SOURCE='[.drops | .malformed, .bad_offload, .link_local, .same_port, .no_destination,
    .queue_disabled, .no_memory] | add'

# Whether a port has grown by exactly as many frames as another port's guest has sent, dropped ones
# counted: `conserved NAME FROM TO`. Only for two ports that nobody else sends to.
conserved() {
    local sent arrived
    sent=$(grown "$1" "$2" .counters.from_packets)
    arrived=$(($(grown "$1" "$3" '.counters | .to_packets + .to_merged') + $(port_value "$3" .frames_waiting) +
        $(grown "$1" "$3" ".dropped - ($DROPS_AT_SOURCE)") + $(grown "$1" "$2" "$DROPS_AT_SOURCE")))
    holds "$sent == $arrived"
}

# --- traffic --------------------------------------------------------------------------------------

# Starts servers in guests and waits until they listen: iperf3 at port 5201.
serve_iperf() { # GUEST...
    local name
    for name in "$@"; do
        guest_run "$name" 'iperf3 -s -D >/dev/null
            until cat /proc/net/tcp* | grep -q :1451.*:0000.0A; do usleep 10000; done'
    done
}

# `iperf_mbit GUEST ADDRESS [ARGUMENT]...` sends for a second, unless told otherwise, and prints
# Mbit/s as the receiver saw them.
iperf_mbit() {
    local name=$1 address=$2 out
    shift 2
    out=$(guest_run "$name" "iperf3 -c $address -t 1 -J $*") &&
        jq -e '.end | (.sum_received // .sum).bits_per_second / 1e6 | floor' <<<"$out" && return
    guest_say "iperf3 from $name to $address failed: $(jq -r .error <<<"$out" 2>/dev/null)"
    echo 0
    return 1
}

# Whether iperf3 moves at least so much: `moves GUEST ADDRESS MBIT [ARGUMENT]...`. Floors are low,
# because the machine may be busy: they tell a path that works from one that limps.
moves() {
    local mbit name=$1 address=$2 floor=$3
    shift 3
    mbit=$(iperf_mbit "$name" "$address" "$@") || return 1
    echo "    $name -> $address $*: $mbit Mbit/s"
    holds "$mbit >= $floor"
}

# Pings as fast as answers come; none may be lost, and none doubled: `pings GUEST ADDRESS [COUNT]
# [ARGUMENT]...`.
pings() {
    local name=$1 address=$2 count=${3:-20} out
    shift "$(($# > 3 ? 3 : $#))"
    out=$(guest_run "$name" "ping -A -q -c $count -w 50 $* $address") || true
    if [[ $out != *"$count packets transmitted, $count packets received, 0% packet loss"* ]]; then
        echo "  $out"
        return 1
    fi
}

# Sends numbered frames from a guest to another, in which every byte is checked:
# `frames_arrive FROM TO COUNT SIZE`. None may be doubled, reordered or altered, and none lost but
# those that the switch, or the socket in the guest, says it has dropped.
frames_arrive() {
    local from=$1 to=$2 mac receiving report lost said drops
    mac=$(guest_run "$to" 'cat /sys/class/net/eth0/address')
    snapshot frames
    guest_run -t 60 "$to" "framecheck receive eth0 $3 15" >"$GUEST_WORK/framecheck" &
    receiving=$!
    guest_run -t 60 "$from" "framecheck send eth0 $mac $3 $4" >"$GUEST_WORK/framecheck.sent" || true
    wait "$receiving" || true
    report=$(<"$GUEST_WORK/framecheck")
    echo "    $from -> $to: ${report%%$'\n'*}"
    if [[ ! $report =~ ^received\ [0-9]+\ lost\ ([0-9]+)\ doubled\ 0\ reordered\ 0\ altered\ 0\ \
socket_drops\ ([0-9]+)\  ]]; then
        echo "  $report; the sender: $(<"$GUEST_WORK/framecheck.sent")"
        return 1
    fi
    lost=${BASH_REMATCH[1]} said=${BASH_REMATCH[2]}
    drops=$(($(grown frames "$from" .dropped) + $(grown frames "$to" .dropped)))
    ((lost == 0)) || echo "    dropped by the switch: $(losses frames | paste -sd,)"
    holds "$lost <= $said + $drops" && lost_only frames queue_full stalled
}

# --- a script's frame -----------------------------------------------------------------------------

# Begins a test: it is skipped where we are not root or a program is missing, and goes on in a
# network namespace of its own, so that names and addresses are free. A script may define
# test_prepare for what needs the host's network before that.
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
        if declare -F test_prepare >/dev/null; then test_prepare; fi
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

# Runs at every end, also after an error or an interrupt; a script may define test_at_end to end
# what it has started besides.
test_cleanup() {
    local status=$?
    trap '' INT TERM
    if ((status != 0)) && [[ -n ${DAEMON_DIR:-} && -e $DAEMON_DIR/log ]]; then
        echo "the log of convoyd ends with:"
        tail -n 30 "$DAEMON_DIR/log"
    fi
    if declare -F test_at_end >/dev/null; then test_at_end || true; fi
    guest_cleanup || true
    daemon_cleanup
    [[ -n $GUEST_WORK ]] && rm -rf "$GUEST_WORK"
    return 0
}

# The last command of a test: its count; the daemon must end cleanly.
test_end() {
    if [[ -n ${DAEMON_DIR:-} && -s $DAEMON_DIR/pid ]]; then
        check "convoyd ends when it is asked to" daemon_stop
    fi
    echo "$passed passed, $failed failed in $((SECONDS - test_begin_s)) s"
    ((failed == 0))
}

# `check WHAT COMMAND...` counts whether the command succeeds.
# An emulated serial line may stand still for a minute, and the command with it: then, and only then,
# the check is made once more.
check() {
    local what=$1 ok=0
    shift
    rm -f "$GUEST_WORK/silent"
    "$@" || ok=$?
    if ((ok != 0)) && [[ -e $GUEST_WORK/silent ]]; then
        echo "again: $what ($(<"$GUEST_WORK/silent") did not answer)"
        ok=0
        "$@" || ok=$?
    fi
    if ((ok == 0)); then
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
