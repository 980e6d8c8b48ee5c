#!/bin/bash
# The figures that the project claims, measured in one run on one machine: each is a ratio against a
# peer or against native, the contestants take turns, and the median of the runs counts.
#
#   bench/figures.sh [tcp] [loop] [calls] [idle]     all of them without words
#
# RUNS (default 3) repetitions of SECONDS_EACH (default 4) seconds. BUILD: folder with convoyd
# (default build/gcc). Needs root, and an otherwise idle machine: nothing else may run meanwhile.
set -u

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
BUILD=${BUILD:-build/gcc}
RUNS=${RUNS:-3}
SECONDS_EACH=${SECONDS_EACH:-4}
source tests/guest/lib.sh
source bench/ovs.sh

source bench/lib.sh

NATIVE=0

cleanup() {
    ovs_stop
    bench_cleanup
    ip netns del convoy-a 2>/dev/null
    ip netns del convoy-b 2>/dev/null
    ip link del convoy-br 2>/dev/null
}

# --- TCP between two guests, against native and the kernel's TAP -----------------------------------

# Each guest has a processor, as a virtual machine with one virtual processor has: User Mode Linux
# is several processes that hand over to each other, and across processors that costs wake-ups.

iperf_gbps() { jq -r '.end.sum_received.bits_per_second / 1e9'; }

native_start() {
    ip link add convoy-br type bridge
    ip link set convoy-br up
    local side
    for side in a b; do
        ip netns add "convoy-$side"
        ip link add "convoy-v$side" type veth peer name eth0 netns "convoy-$side"
        ip link set "convoy-v$side" master convoy-br up
        ip -n "convoy-$side" link set eth0 up
        ip -n "convoy-$side" link set lo up
    done
    ip -n convoy-a addr add 10.9.0.1/24 dev eth0
    ip -n convoy-b addr add 10.9.0.2/24 dev eth0
}

native_run() {
    timeout -k 5 60 ip netns exec convoy-b iperf3 -s -1 >/dev/null 2>&1 &
    guest_await 10 ip netns exec convoy-b sh -c 'ss -ltn | grep -q :5201'
    timeout -k 5 60 ip netns exec convoy-a iperf3 -J -c 10.9.0.2 -t "$SECONDS_EACH" | iperf_gbps
    wait $!
}

guest_tcp_run() { # FROM TO-ADDRESS
    guest_run "$1" "iperf3 -J -c $2 -t $SECONDS_EACH" | iperf_gbps
}

guest_rtt_us() { # FROM TO-ADDRESS: median of a ping-pong
    guest_run "$1" "sockperf ping-pong -i $2 -t 3 --tcp 2>&1" |
        awk '/percentile 50.000/ {print $NF}'
}

figure_tcp() {
    local i
    say "== TCP, iperf3, one stream, ${SECONDS_EACH} s, median of $RUNS, Gbit/s"
    native_start
    daemon_start "ports: [{name: c1}, {name: c2}]" || return 1
    guest_uml_start c1 "$RUN_DIR/c1.sock" ip=10.1.0.1/24 cpus=0
    guest_uml_start c2 "$RUN_DIR/c2.sock" ip=10.1.0.2/24 cpus=1
    guest_wait_ready c1 c2 || return 1
    guests_serve c2 || return 1
    ip link add convoy-tb type bridge
    ip link set convoy-tb up
    guest_uml_start_tap t1 convoy-t1 bridge=convoy-tb ip=10.2.0.1/24 cpus=0
    guest_uml_start_tap t2 convoy-t2 bridge=convoy-tb ip=10.2.0.2/24 cpus=1
    guest_wait_ready t1 t2 || return 1
    guests_serve t2 || return 1
    for ((i = 0; i < RUNS; i++)); do
        native_run >>"$GUEST_WORK/tcp_native"
        guest_tcp_run c1 10.1.0.2 >>"$GUEST_WORK/tcp_convoy"
        guest_tcp_run t1 10.2.0.2 >>"$GUEST_WORK/tcp_tap"
    done
    for ((i = 0; i < RUNS; i++)); do
        guest_rtt_us c1 10.1.0.2 >>"$GUEST_WORK/rtt_convoy"
        guest_rtt_us t1 10.2.0.2 >>"$GUEST_WORK/rtt_tap"
    done
    NATIVE=$(median <"$GUEST_WORK/tcp_native")
    local convoy tap
    convoy=$(median <"$GUEST_WORK/tcp_convoy")
    tap=$(median <"$GUEST_WORK/tcp_tap")
    say "native (two namespaces, bridge)   $NATIVE    runs: $(xargs <"$GUEST_WORK/tcp_native")"
    say "guests over convoyd               $convoy    runs: $(xargs <"$GUEST_WORK/tcp_convoy")"
    say "guests over TAP and kernel bridge $tap    runs: $(xargs <"$GUEST_WORK/tcp_tap")"
    say "convoyd / native $(ratio "$convoy" "$NATIVE"), TAP / native $(ratio "$tap" "$NATIVE")"
    say "half a round trip, median us: convoyd $(median <"$GUEST_WORK/rtt_convoy"), TAP $(median <"$GUEST_WORK/rtt_tap")"
    guest_kill c1 c2 t1 t2
    daemon_stop
    ip link del convoy-tb
}

# --- 64-byte packets between DPDK ports, against Open vSwitch with DPDK -----------------------------

figure_loop() {
    local i vdev
    say "== 64-byte packets round between two virtio-user ports, switch on a core of its own,"
    say "   median of $RUNS, Mpps of both directions"
    dpdk_hugepages_setup 2048 || return 1
    for vdev in mrg_rxbuf=1 mrg_rxbuf=0; do
        rm -f "$GUEST_WORK"/{loop_convoy,loop_ovs}
        for ((i = 0; i < RUNS; i++)); do
            daemon_start "workers: {count: 1, cpus: [1]}
ports: [{name: c1}, {name: c2}]" || return 1
            loop_mpps "$RUN_DIR/c1.sock" "$RUN_DIR/c2.sock" "vdev=$vdev" >>"$GUEST_WORK/loop_convoy"
            daemon_stop
            ovs_start 1 o1 o2 || return 1
            loop_mpps "$OVS_RUNDIR/o1" "$OVS_RUNDIR/o2" "vdev=$vdev" >>"$GUEST_WORK/loop_ovs"
            ovs_stop
        done
        local convoy ovs
        convoy=$(median <"$GUEST_WORK/loop_convoy")
        ovs=$(median <"$GUEST_WORK/loop_ovs")
        say "$vdev: convoyd $convoy (runs: $(xargs <"$GUEST_WORK/loop_convoy")), OVS-DPDK $ovs (runs: $(xargs <"$GUEST_WORK/loop_ovs")), ratio $(ratio "$convoy" "$ovs")"
    done
    dpdk_hugepages_teardown
}

# --- calls per packet and throughput, natural against off -------------------------------------------

figure_calls() {
    local mode i calls0 calls1 packets0 packets1 cpu0 cpu1 line
    say "== natural against off: synthetic guests, 64-byte UDP, window of 512 frames, median of $RUNS"
    daemon_start "workers: {count: 1, cpus: [1]}
ports: [{name: c1}, {name: c2}]" || return 1
    for ((i = 0; i < RUNS; i++)); do
        for mode in off natural; do
            port_set c2 "hold=$mode" merge=off
            port_set c1 "hold=$mode" merge=off
            calls0=$(counters c2 to_calls) packets0=$(counters c2 to_packets) cpu0=$(daemon_cpu_ms)
            line=$(timeout -k 5 60 taskset -c 0 "$BUILD/tests/lib/convoy-traffic" --frames 2000000 \
                --one-way --window 512 --size 64 "$RUN_DIR/c1.sock" "$RUN_DIR/c2.sock" | grep ^result)
            calls1=$(counters c2 to_calls) packets1=$(counters c2 to_packets) cpu1=$(daemon_cpu_ms)
            grep -o 'mpps=[0-9.]*' <<<"$line" | cut -d= -f2 >>"$GUEST_WORK/mpps_$mode"
            awk -v c=$((calls1 - calls0)) -v p=$((packets1 - packets0)) \
                'BEGIN {printf "%.5f\n", p ? c / p : 0}' >>"$GUEST_WORK/calls_$mode"
            echo $((cpu1 - cpu0)) >>"$GUEST_WORK/cpu_$mode"
        done
    done
    daemon_stop
    for mode in off natural; do
        say "$mode: $(median <"$GUEST_WORK/mpps_$mode") Mpps, $(median <"$GUEST_WORK/calls_$mode") calls per packet, $(median <"$GUEST_WORK/cpu_$mode") ms of daemon time for 2 million frames"
    done
    say "throughput natural / off $(ratio "$(median <"$GUEST_WORK/mpps_natural")" "$(median <"$GUEST_WORK/mpps_off")"), calls per packet off / natural $(ratio "$(median <"$GUEST_WORK/calls_off")" "$(median <"$GUEST_WORK/calls_natural")")"

    say "== the same with real guests: iperf3 TCP, User Mode Linux"
    daemon_start "ports: [{name: c1}, {name: c2}]" || return 1
    guest_uml_start c1 "$RUN_DIR/c1.sock" ip=10.1.0.1/24 cpus=0
    guest_uml_start c2 "$RUN_DIR/c2.sock" ip=10.1.0.2/24 cpus=1
    guest_wait_ready c1 c2 || return 1
    guests_serve c2 || return 1
    rm -f "$GUEST_WORK"/{mpps,calls}_*
    for ((i = 0; i < RUNS; i++)); do
        for mode in off natural; do
            port_set c2 "hold=$mode" merge=off
            port_set c1 "hold=$mode" merge=off
            calls0=$(($(counters c2 to_calls) + $(counters c1 to_calls)))
            packets0=$(($(counters c2 to_packets) + $(counters c1 to_packets)))
            guest_tcp_run c1 10.1.0.2 >>"$GUEST_WORK/mpps_$mode"
            calls1=$(($(counters c2 to_calls) + $(counters c1 to_calls)))
            packets1=$(($(counters c2 to_packets) + $(counters c1 to_packets)))
            awk -v c=$((calls1 - calls0)) -v p=$((packets1 - packets0)) \
                'BEGIN {printf "%.5f\n", p ? c / p : 0}' >>"$GUEST_WORK/calls_$mode"
        done
    done
    for mode in off natural; do
        say "$mode: $(median <"$GUEST_WORK/mpps_$mode") Gbit/s, $(median <"$GUEST_WORK/calls_$mode") calls per packet"
    done
    say "throughput natural / off $(ratio "$(median <"$GUEST_WORK/mpps_natural")" "$(median <"$GUEST_WORK/mpps_off")"), calls per packet off / natural $(ratio "$(median <"$GUEST_WORK/calls_off")" "$(median <"$GUEST_WORK/calls_natural")")"
    guest_kill c1 c2
    daemon_stop
}

# --- idle ---------------------------------------------------------------------------------------------

figure_idle() {
    local i names=() lines='ports:' cpu0 cpu1
    for ((i = 1; i <= 64; i++)); do lines+=$'\n'"  - {name: c$i}"; done
    daemon_start "$lines" || return 1
    for ((i = 1; i <= 8; i++)); do
        guest_uml_start "c$i" "$RUN_DIR/c$i.sock" "ip=10.1.0.$i/24"
        names+=("c$i")
    done
    guest_wait_ready "${names[@]}" || return 1
    sleep 5
    cpu0=$(daemon_cpu_ms)
    sleep 20
    cpu1=$(daemon_cpu_ms)
    say "== idle: 64 ports, 8 guests connected, 20 s"
    say "processor time $((cpu1 - cpu0)) ms of 20000: $(awk -v n=$((cpu1 - cpu0)) 'BEGIN {printf "%.2f", n / 200}') % of a core"
    say "memory of its own $(awk '/^RssAnon/ {print $2}' "/proc/$DAEMON_PID/status") kB anonymous, $(awk '/^RssFile/ {print $2}' "/proc/$DAEMON_PID/status") kB of its program and libraries"
    guest_kill "${names[@]}"
    daemon_stop
}

((EUID == 0)) || { say "this measures real guests and needs root"; exit 1; }
guest_init || exit 1
trap cleanup EXIT
(($#)) || set -- tcp loop calls idle
for figure in "$@"; do
    "figure_$figure" || { say "figure $figure could not be measured"; exit 1; }
done
