#!/bin/bash
# Goal: QEMU's guests work with convoyd in both socket modes and with two queue pairs, talk to a
# User Mode Linux guest and to each other, and get over the death and the return of convoyd.
# Method: three guests; then convoyd is killed, and ended, while two of them exchange a stream.
#
#     vm1 (User Mode Linux) --+
#     q1  (reconnect=1) ------+-- convoyd --client-- q2 (server=on, two queue pairs)
set -euo pipefail

# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/daemon.sh"

test_prepare() {
    export GUEST_CACHE=${GUEST_CACHE:-/var/tmp/convoy-guest}
    mkdir -p "$GUEST_CACHE"
    if ! guest_qemu_kernel_fetch >/dev/null; then
        echo "skipped: no kernel for QEMU's guests"
        exit 77
    fi
}

test_begin linux.uml qemu-system-x86_64 iperf3 busybox jq cc

start_all() {
    daemon_start <<END
ports:
  - name: vm1
  - name: q1
  - {name: q2, mode: client, queues: 2, socket: $GUEST_WORK/q2.sock}
END
    guest_qemu_start q1 "$DAEMON_RUN/q1.sock" reconnect=1 packed=on ip=10.0.0.11/24
    guest_qemu_start q2 "$GUEST_WORK/q2.sock" server=on queues=2 ip=10.0.0.12/24
    guest_uml_start vm1 "$DAEMON_RUN/vm1.sock" ip=10.0.0.1/24
    guest_wait_ready vm1 q1 q2
    serve_iperf vm1 q1 q2
}

all_run() {
    daemon_await_state q1 running && daemon_await_state q2 running
}

agreed() { # PORT FEATURE
    jq -e --arg feature "$2" 'index($feature)' <<<"$(port_value "$1" .features)" >/dev/null
}

falls_back_to_split() {
    ! agreed q1 RING_PACKED && agreed q1 VERSION_1
}

pairs_in_guest() { # NUMBER
    [[ $(guest_run q2 'ethtool -l eth0' | awk '/Combined:/ {n = $2} END {print n}') == "$1" ]]
}

runs_pairs() { # NUMBER
    [[ $(port_value q2 .queues_running) == "$1" ]]
}

# Fewer pairs and more again, while frames flow. A queue that is switched off may still be told to
# QEMU as there; the guest must get its frames whatever it is.
pairs_can_change() {
    local pairs
    for pairs in 1 2; do
        guest_run q2 "ethtool -L eth0 combined $pairs" && pairs_in_guest "$pairs" &&
            pings vm1 10.0.0.12 50 && pings q2 10.0.0.1 50 || return 1
    done
}

# Several flows, so that both pairs are used.
flows_spread() {
    snapshot flows
    moves q2 10.0.0.1 20 -P 4 && moves vm1 10.0.0.12 20 -P 4 && lost_only flows queue_full stalled
}

received_bytes() { # GUEST
    guest_run "$1" 'cat /sys/class/net/eth0/statistics/rx_bytes'
}

more_than() { # GUEST BYTES
    (($(received_bytes "$1") > $2))
}

# The stream is one TCP connection: it must go on by itself, and the daemon's counters begin anew.
stream_outlives() { # COMMAND THAT ENDS THE DAEMON
    local stream before
    guest_run -t 60 q1 'iperf3 -c 10.0.0.12 -t 7 >/tmp/stream 2>&1' &
    stream=$!
    before=$(received_bytes q2)
    guest_await 10 more_than q2 $((before + 5000000)) || return 1
    "$1" && daemon_start_again && all_run || return 1
    before=$(received_bytes q2)
    guest_await 10 more_than q2 $((before + 5000000)) || return 1
    wait "$stream"
}

start_all
check "the ports run" all_run
check "packed rings are declined, split ones agreed on" falls_back_to_split
check "two queue pairs are agreed on" agreed q2 MQ
check "and run" guest_await 5 runs_pairs 2
check "the guest uses both" pairs_in_guest 2
check "ping QEMU to User Mode Linux" pings q1 10.0.0.1 100
check "ping User Mode Linux to QEMU" pings vm1 10.0.0.12 100
check "ping QEMU to QEMU" pings q1 10.0.0.12 100
snapshot tcp
check "TCP QEMU to User Mode Linux" moves q1 10.0.0.1 20
check "TCP User Mode Linux to QEMU" moves vm1 10.0.0.11 20
check "TCP QEMU to QEMU" moves q2 10.0.0.11 20
check "numbered frames arrive, QEMU to User Mode Linux" frames_arrive q1 vm1 50000 60
check "numbered frames arrive, User Mode Linux to QEMU" frames_arrive vm1 q2 50000 1514
check "no unexplained loss" lost_only tcp queue_full stalled
check "flows spread over two queue pairs" flows_spread
check "the number of queue pairs can change" pairs_can_change
check "no fault was seen" holds "$(convoy --json status | jq .totals.counters.faults) == 0"
guest_kill vm1
check "a stream outlives convoyd's death" stream_outlives daemon_kill
check "a stream outlives convoyd's restart" stream_outlives daemon_stop
check "ping after that" pings q2 10.0.0.11 50
test_end
