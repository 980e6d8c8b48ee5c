#!/bin/bash
# Goal: DPDK's virtio-user, a front end of others, plugs into convoyd as client and as server, with
# and without mergeable buffers, in order, and with two queue pairs; no packet is lost on the way.
# Method: testpmd has two ports and sends whatever it receives at one out at the other, so that
# packets go round for ever through the switch. Then it stops, and both sides' numbers must agree.
#
#     testpmd port 0 ---vhost-user--- convoyd ---vhost-user--- testpmd port 1
#         ^-----------------------------io-----------------------------^
set -euo pipefail

# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/daemon.sh"
test_begin dpdk-testpmd jq
if ! dpdk_hugepages_setup 512; then
    echo "skipped: testpmd needs huge pages for itself"
    exit 77
fi

ROUND_PACKETS=200000
# Of each packet, or of its pieces.
BYTES=64

went_round() { # SNAPSHOT
    (($(grown "$1" p2 .counters.to_packets) > ROUND_PACKETS))
}

# Prints what testpmd's ports have received, sent and missed: "R0 S0 M0 R1 S1 M1".
testpmd_numbers() {
    local port numbers=()
    for port in 0 1; do
        read -r -a stats < <(dpdk_port_stats loop "$port")
        numbers+=("${stats[0]}" "${stats[1]}" "${stats[4]}")
    done
    echo "${numbers[*]}"
}

nothing_waits() {
    [[ $(port_value p1 .frames_waiting) == 0 && $(port_value p2 .frames_waiting) == 0 ]]
}

# testpmd stops forwarding with what it has in hand already sent; the switch then has taken all that
# it will. What testpmd sent is what the switch took, and all of that was delivered or counted.
numbers_agree() {
    local r0 s0 m0 r1 s1 m1 took
    read -r r0 s0 m0 r1 s1 m1 <<<"$(testpmd_numbers)"
    echo "    testpmd sent $s0 and $s1, received $r0 and $r1, missed $m0 and $m1"
    took="$(grown loop p1 .counters.from_packets) $(grown loop p2 .counters.from_packets)"
    [[ $took == "$s0 $s1" ]] || {
        echo "  the switch took $took"
        return 1
    }
    conserved loop p1 p2 && conserved loop p2 p1
}

has_features() { # PORT FEATURE... (with "-" in front: not)
    local agreed feature
    agreed=" $(port_value "$1" '.features | join(" ")') "
    shift
    for feature in "$@"; do
        if [[ $feature == -* && $agreed == *" ${feature#-} "* ]] ||
            [[ $feature != -* && $agreed != *" $feature "* ]]; then
            echo "  agreed:$agreed"
            return 1
        fi
    done
}

# One combination: `loop MODE VDEV-WORDS QUEUES FEATURE...`, where MODE is convoyd's.
loop() {
    local mode=$1 more=$2 queues=$3 name server='' options=()
    shift 3
    echo "# convoyd $mode, testpmd ${more:-as it is}, $queues queue pairs, $BYTES bytes"
    [[ $mode == client ]] && server=,server=1
    ((queues > 1)) && options=("args=--rxq=$queues --txq=$queues")
    for name in p1 p2; do
        convoy port add "$name" mode="$mode" queues="$queues" >/dev/null
    done
    dpdk_loop_start loop "$DAEMON_RUN/p1.sock" "$DAEMON_RUN/p2.sock" \
        "vdev=queue_size=1024,queues=$queues$more$server" "${options[@]}"
    dpdk_wait_ready loop
    check "both ports run" both_run
    check "all queues run" holds "$(port_value p1 .queues_running) == $queues"
    check "agreed: $*" has_features p1 "$@"
    snapshot loop
    dpdk_loop_go loop 4 "$BYTES"
    check "packets go round" guest_await 30 went_round loop
    dpdk_command loop stop >/dev/null
    check "nothing waits in the switch" guest_await 5 nothing_waits
    check "no packet is lost unseen" numbers_agree
    check "nothing was dropped without reason" lost_only loop queue_full stalled
    guest_kill loop
    check "the ports wait" daemon_await_state p1 waiting
    for name in p1 p2; do
        convoy port remove "$name" >/dev/null
    done
}

both_run() {
    daemon_await_state p1 running && daemon_await_state p2 running
}

daemon_start </dev/null
loop server '' 1 MRG_RXBUF IN_ORDER VERSION_1 -RING_PACKED
loop client '' 1 MRG_RXBUF IN_ORDER VERSION_1
loop server ,in_order=0 1 MRG_RXBUF -IN_ORDER
loop server ,mrg_rxbuf=0,in_order=0 1 -MRG_RXBUF -IN_ORDER
loop client ,mrg_rxbuf=0,in_order=1 1 -MRG_RXBUF IN_ORDER
loop server ,packed_vq=1 1 -RING_PACKED
BYTES=1500
loop server '' 1 MRG_RXBUF
BYTES=54,700,700
loop server ,in_order=0 1 MRG_RXBUF
check "convoyd ends" daemon_stop
echo "# two workers"
BYTES=64
daemon_start <<<'workers: 2'
loop server '' 2 MQ
loop client '' 2 MQ
test_end
