# shellcheck shell=bash source-path=SCRIPTDIR
# What the measuring scripts share: the daemon, its client, and numbers. Sourced after
# tests/guest/lib.sh, with BUILD set and guest_init done; call bench_cleanup at the end.

DAEMON_PID=''

say() { printf '%s\n' "$*"; }
median() { sort -g | awk '{v[NR] = $1} END {if (NR) print v[int((NR + 1) / 2)]}'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN {printf "%.2f", (b ? a / b : 0)}'; }
calc() { awk "BEGIN {printf \"%.${2:-2}f\", ($1)}"; } # EXPRESSION [DIGITS]
holds() { awk "BEGIN {exit !($1)}"; }
runs_of() { xargs <"$GUEST_WORK/$1"; } # FILE

daemon_stop() {
    [[ -n $DAEMON_PID ]] || return 0
    kill "$DAEMON_PID" 2>/dev/null
    wait "$DAEMON_PID" 2>/dev/null
    DAEMON_PID=''
}

# `daemon_start "YAML LINES"`: convoyd with these settings; sockets in $RUN_DIR.
daemon_start() {
    RUN_DIR=$GUEST_WORK/convoy
    mkdir -p "$RUN_DIR"
    rm -f "$RUN_DIR/control.sock"
    printf 'run-dir: %s\n%s\n' "$RUN_DIR" "$1" >"$RUN_DIR/convoy.yaml"
    # shellcheck disable=SC2086
    ${PRIO:-} "$BUILD/src/convoyd" --config "$RUN_DIR/convoy.yaml" 2>"$RUN_DIR/log" &
    DAEMON_PID=$!
    guest_await 10 test -S "$RUN_DIR/control.sock" || {
        cat "$RUN_DIR/log" >&2
        return 1
    }
}

convoy() { "$BUILD/cli/convoy" --socket "$RUN_DIR/control.sock" "$@"; }
port_set() { convoy port set "$@" >/dev/null; }             # PORT KEY=VALUE...
counters() { convoy --json port show "$1" | jq ".counters.$2 // 0"; } # PORT COUNTER
daemon_cpu_ms() { awk '{print ($14 + $15) * 10}' "/proc/$DAEMON_PID/stat"; }

# Prints the processor time of all threads of these processes, in nanoseconds.
processes_cpu_ns() { # PID...
    local pid
    # A thread may end between the listing and the reading.
    { for pid in "$@"; do cat "/proc/$pid"/task/*/schedstat 2>/dev/null || true; done; } |
        awk '{sum += $1} END {printf "%.0f\n", sum}'
}

# Starts servers in guests: iperf3 at its port, 5201, and sockperf for TCP at its own, 11111.
guests_serve() { # GUEST...
    local name
    for name in "$@"; do
        guest_run "$name" 'iperf3 -s -D >/dev/null 2>&1; sockperf server --tcp >/dev/null 2>&1 &
            until cat /proc/net/tcp* | grep -q :1451.*:0000.0A && cat /proc/net/tcp* | grep -q :2B67.*:0000.0A
            do usleep 10000; done' >/dev/null || return 1
    done
}

# --- 64-byte packets round between two virtio-user ports of testpmd ---------------------------------

loop_packets() { # both ports' received packets
    local a b
    read -r a _ <<<"$(dpdk_port_stats loop 0)"
    read -r b _ <<<"$(dpdk_port_stats loop 1)"
    echo $((a + b))
}

loop_mpps() { # SOCK1 SOCK2 OPTIONS...
    local before after t0 t1
    dpdk_loop_start loop "$@" cpu=0 >/dev/null || return 1
    dpdk_wait_ready loop || return 1
    dpdk_loop_go loop 4 "${LOOP_BYTES:-64}" || return 1
    sleep 1
    before=$(loop_packets) t0=$(date +%s%N)
    sleep "$SECONDS_EACH"
    after=$(loop_packets) t1=$(date +%s%N)
    guest_kill loop
    awk -v n=$((after - before)) -v t=$((t1 - t0)) 'BEGIN {printf "%.2f\n", n * 1000 / t}'
}

# --- the end -------------------------------------------------------------------------------------------

bench_cleanup() {
    daemon_stop
    guest_cleanup
}
