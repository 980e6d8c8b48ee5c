#!/bin/bash
# Goal: two real guests reach each other through convoyd in every convoy mode, nothing is lost that
# is not counted, and the modes can be switched while they talk.
# Method: two User Mode Linux guests; once with one worker, once with two.
#
#     vm1 ---vhost-user--- convoyd ---vhost-user--- vm2
#  10.0.0.1/24                                   10.0.0.2/24
set -euo pipefail

# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/daemon.sh"
test_begin linux.uml iperf3 busybox jq cc

MODES=(off natural 'fixed:16,50us' adaptive)

boot_pair() { # WORKERS
    daemon_start <<END
workers: $1
ports:
  - {name: vm1, mtu: 9000}
  - {name: vm2, mtu: 9000}
END
    guest_uml_start vm1 "$DAEMON_RUN/vm1.sock" ip=10.0.0.1/24 ip6=fd00::1/64
    guest_uml_start vm2 "$DAEMON_RUN/vm2.sock" ip=10.0.0.2/24 ip6=fd00::2/64
    guest_wait_ready vm1 vm2
    serve_iperf vm1 vm2
}

set_hold() { # MODE
    convoy port set vm1 hold="$1" >/dev/null && convoy port set vm2 hold="$1" >/dev/null
}

guest_has_mtu() { # GUEST MTU
    [[ $(guest_run "$1" 'cat /sys/class/net/eth0/mtu') == "$2" ]]
}

mtu_is_the_limit() {
    ! guest_run vm1 'ip link set eth0 mtu 9001' >/dev/null 2>&1
}

# A frame as long as the MTU allows travels whole: one request and one answer.
longest_frame_travels() {
    snapshot longest
    pings vm1 10.0.0.2 10 -s 8972 && holds "$(grown longest vm2 .counters.to_bytes) >= 10 * 9014" &&
        holds "$(grown longest vm2 .counters.to_packets) < 20"
}

# What a mode promises of the notifications, where vm2 receives a stream.
calls_fit() { # MODE
    local frames calls
    frames=$(grown mode vm2 .counters.to_packets) calls=$(grown mode vm2 .counters.to_calls)
    echo "    $1: $calls calls for $frames frames to vm2"
    case $1 in
    off) holds "$frames == $calls" ;;
    # Half of what was seen on a quiet machine, so that a busy one does not fail.
    *) holds "$calls * 10 < $frames * 8" ;;
    esac
}

test_mode() { # MODE
    check "hold=$1 is taken" set_hold "$1"
    check "ping in mode $1" pings vm1 10.0.0.2 100
    snapshot mode
    check "TCP vm1 to vm2 in mode $1" moves vm1 10.0.0.2 200
    check "calls in mode $1" calls_fit "$1"
    check "TCP vm2 to vm1 in mode $1" moves vm2 10.0.0.1 200
    # A guest that had no processor for long enough loses what waits; that is counted.
    check "numbered frames arrive in mode $1" frames_arrive vm1 vm2 100000 60
    check "large ones too" frames_arrive vm2 vm1 50000 1514
    check "no unexplained loss in mode $1" lost_only mode queue_full stalled
    check "every frame from vm1 was delivered or counted" conserved mode vm1 vm2
    check "every frame from vm2 was delivered or counted" conserved mode vm2 vm1
}

# `switching_under COMMAND...`: switches modes as fast as it goes while the command runs.
switching_under() {
    local traffic status=0 switched=0 mode
    "$@" &
    traffic=$!
    while kill -0 "$traffic" 2>/dev/null; do
        for mode in "${MODES[@]}"; do
            set_hold "$mode" || status=1
        done
        switched=$((switched + ${#MODES[@]}))
    done
    wait "$traffic" || status=1
    echo "    switched $switched times"
    ((status == 0)) && holds "$switched > 10"
}

test_pair() { # WORKERS
    echo "# $1 workers"
    boot_pair "$1"
    check "both ports run" holds "$(convoy --json status | jq .ports.running) == 2"
    check "the MTU is told to the guest" guest_has_mtu vm1 9000
    check "the guest may not exceed it" mtu_is_the_limit
    check "frames of the MTU travel" longest_frame_travels
    check "IPv6" pings vm2 fd00::1 20 -6
    guest_run vm1 'ip link set eth0 mtu 1500'
    guest_run vm2 'ip link set eth0 mtu 1500'
}

end_pair() {
    guest_kill vm1 vm2
    check "vm1's port waits for the next guest" daemon_await_state vm1 waiting
    check "convoyd ends" daemon_stop
}

test_pair 1
for mode in "${MODES[@]}"; do
    test_mode "$mode"
done
check "switching modes loses, doubles, reorders nothing" \
    switching_under frames_arrive vm1 vm2 200000 60
snapshot stream
check "switching modes keeps a stream going" switching_under moves vm1 10.0.0.2 200 -t 2
check "of which everything is delivered or counted" conserved stream vm1 vm2
end_pair
test_pair 2
test_mode adaptive
check "switching modes loses, doubles, reorders nothing" \
    switching_under frames_arrive vm1 vm2 200000 60
end_pair
test_end
