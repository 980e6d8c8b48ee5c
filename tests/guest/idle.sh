#!/bin/bash
# Goal: a switch with eight guests that have nothing to say costs nothing: less than 0.5 % of a
# processor, no wake-ups; and with 64 ports it needs less than 32 MiB of its own memory.
# Method: eight User Mode Linux guests, two of them ping each other now and then and are then left
# alone; front ends exchange verified frames over the other 56 ports meanwhile, to have them used.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/daemon.sh"
test_begin linux.uml busybox jq cc

GUESTS=8
PORTS=64
IDLE_S=10

start_all() {
    local i names=()
    daemon_start < <(echo 'ports:' && seq -f '  - name: vm%g' "$PORTS")
    for ((i = 1; i <= GUESTS; i++)); do
        names+=("vm$i")
        guest_uml_start "vm$i" "$DAEMON_RUN/vm$i.sock" mem=128M "ip=10.0.0.$i/24"
    done
    guest_wait_ready "${names[@]}"
    for ((i = 1; i <= GUESTS; i++)); do
        # Its kernel's own talk (router solicitations) would be counted as ours.
        guest_run "vm$i" 'echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6'
    done
}

ports_running() { # NUMBER
    [[ $(convoy --json status | jq .ports.running) == "$1" ]]
}

memory_is_small() { # WHEN
    local kib
    kib=$(daemon_memory_kib)
    echo "    $((kib / 1024)) MiB of its own, $1"
    holds "$kib < 32 * 1024"
}

# The 56 others exchange frames, every byte checked, and stay connected until the traffic is done.
all_ports_at_work() {
    local i sockets=() traffic
    for ((i = GUESTS + 1; i <= PORTS; i++)); do
        sockets+=("$DAEMON_RUN/vm$i.sock")
    done
    "$CONVOY_TRAFFIC" --verify --frames 20000 --size 60-1514 --time-limit 60 "${sockets[@]}" \
        >"$GUEST_WORK/traffic" 2>&1 &
    traffic=$!
    guest_await 30 ports_running "$PORTS" && memory_is_small "with $PORTS ports running" || return 1
    wait "$traffic" || {
        cat "$GUEST_WORK/traffic"
        return 1
    }
}

rounds() {
    convoy --json status | jq '[.workers[].rounds] | add'
}

idle_is_free() {
    local cpu_ns before_rounds=0 after_rounds=0 start_us
    before_rounds=$(rounds)
    cpu_ns=$(daemon_cpu_ns) start_us=${EPOCHREALTIME/[.,]/}
    # Not a state that could be awaited: the measurement is of a time in which nothing happens.
    sleep "$IDLE_S"
    cpu_ns=$(($(daemon_cpu_ns) - cpu_ns)) after_rounds=$(rounds)
    echo "    $((cpu_ns / 1000)) us of processor time in $(((${EPOCHREALTIME/[.,]/} - start_us) / \
        1000)) ms, $((after_rounds - before_rounds)) rounds of the worker"
    holds "$cpu_ns < $IDLE_S * 1000000000 / 1000 * 5"
}

start_all
check "eight guests run" ports_running "$GUESTS"
check "guests talk" pings vm1 10.0.0.8 200
check "memory is small with guests" memory_is_small "with $GUESTS guests"
check "all ports at work" all_ports_at_work
check "the others have gone" guest_await 10 ports_running "$GUESTS"
check "idle guests cost nothing" idle_is_free
check "guests talk after that" pings vm8 10.0.0.1 200
check "memory is small at the end" memory_is_small "after all that"
test_end
