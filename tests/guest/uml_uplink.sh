#!/bin/bash
# Goal: guests and the host's network reach each other over a TAP uplink, with all offloads, TCP and
# UDP, also through an existing Linux bridge, and with a TAP interface made before by somebody else.
# Method: two User Mode Linux guests, two uplinks, and a second host in a network namespace behind
# the bridge.
#
#     vm1 --+          +-- upl0 -- br0 -- veth0 -- veth1 (namespace of its own)
#  10.0.0.1 |          |      10.0.0.253          10.0.0.100
#           +- convoyd-+
#     vm2 --+          +-- upl1 (made before with ip tuntap)
#  10.0.0.2                   10.0.1.254: vm2 has 10.0.1.2 too
set -euo pipefail

# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/daemon.sh"
test_begin linux.uml iperf3 busybox ip jq cc

make_network() {
    ip link add br0 type bridge
    ip link set br0 up
    ip tuntap add upl1 mode tap vnet_hdr
    # The far host lives as long as the one process in its namespace.
    unshare --net sleep "$GUEST_LIFE_S" &
    far=$!
    FAR=(nsenter --target "$far" --net)
    guest_await 5 far_has_namespace
    ip link add veth0 type veth peer name veth1 netns "$far"
    ip link set veth0 master br0 up
    "${FAR[@]}" ip addr add 10.0.0.100/24 dev veth1
    "${FAR[@]}" ip link set veth1 up
    ip addr add 10.0.0.253/24 dev br0
}

far_has_namespace() {
    [[ $(readlink "/proc/$far/ns/net") != "$(readlink /proc/self/ns/net)" ]]
}

test_at_end() {
    ((${#servers[@]})) && kill "${servers[@]}" 2>/dev/null
    [[ -z $far ]] || kill "$far" 2>/dev/null
}
servers=()

start_all() {
    daemon_start <<'END'
ports:
  - name: vm1
  - name: vm2
  - {name: uplink, type: tap, interface: upl0, bridge: br0}
END
    guest_uml_start vm1 "$DAEMON_RUN/vm1.sock" ip=10.0.0.1/24
    guest_uml_start vm2 "$DAEMON_RUN/vm2.sock" ip=10.0.0.2/24 gw=10.0.0.253
    guest_wait_ready vm1 vm2
    serve_iperf vm1 vm2
    guest_run vm2 'ip addr add 10.0.1.2/24 dev eth0'
    iperf3 -s >/dev/null 2>&1 &
    servers+=($!)
    "${FAR[@]}" iperf3 -s >/dev/null 2>&1 &
    servers+=($!)
}

joined_bridge() { # INTERFACE
    [[ $(ip -j link show "$1" | jq -r '.[0].master') == br0 ]]
}

has_no_interface() { # INTERFACE
    ! ip link show "$1" >/dev/null 2>&1
}

# `host_moves [far] ADDRESS MBIT [ARGUMENT]...`: iperf3 from the host, or the one behind the bridge.
host_moves() {
    local prefix=() from=host out mbit address floor
    if [[ $1 == far ]]; then
        prefix=("${FAR[@]}") from=far
        shift
    fi
    address=$1 floor=$2
    shift 2
    out=$("${prefix[@]}" timeout 20 iperf3 -c "$address" -t 1 -J "$@") || {
        echo "  $(jq -r .error <<<"$out")"
        return 1
    }
    mbit=$(jq '.end | (.sum_received // .sum).bits_per_second / 1e6 | floor' <<<"$out")
    echo "    $from -> $address $*: $mbit Mbit/s"
    holds "$mbit >= $floor"
}

# UDP at a rate that everybody keeps up with: how many datagrams were lost of how many.
udp_arrives() { # GUEST ADDRESS
    local out lost
    out=$(guest_run "$1" "iperf3 -c $2 -u -b 10M -l 1400 -t 1 -J")
    lost=$(jq -r '.end.sum | "\(.lost_packets) of \(.packets)"' <<<"$out")
    echo "    $1 -> $2, UDP: $lost datagrams lost"
    jq -e '.end.sum | .packets > 500 and .lost_packets * 100 <= .packets' <<<"$out" >/dev/null
}

# The super-packets of TCP must cross whole in both directions: that is what the offloads are for.
super_packets_cross() { # FROM TO
    local packets bytes
    packets=$(grown tcp "$2" .counters.to_packets) bytes=$(grown tcp "$2" .counters.to_bytes)
    echo "    $1 -> $2: $((bytes / packets)) bytes in a packet"
    holds "$bytes > 3000 * $packets" && holds "$(grown tcp "$2" .counters.segmented) == 0"
}

# A host that cuts its streams itself: convoyd merges the segments again, and only where it may.
segments_are_merged() { # on|off
    local merged
    convoy port set vm1 merge="$1" >/dev/null || return 1
    "${FAR[@]}" ethtool -K veth1 tso off gso off >/dev/null
    snapshot merge
    host_moves far 10.0.0.1 20 || return 1
    "${FAR[@]}" ethtool -K veth1 tso on gso on >/dev/null
    merged=$(grown merge vm1 .counters.to_merged)
    echo "    merge=$1: $merged packets travelled as part of another"
    if [[ $1 == on ]]; then
        holds "$merged > 1000" && holds "$(grown merge vm1 .counters.merges) >= $merged"
    else
        holds "$merged == 0"
    fi
}

# What the guest's stack has put together again is what was sent.
merged_bytes_are_the_same() {
    local sent arrived
    "${FAR[@]}" ethtool -K veth1 tso off gso off >/dev/null
    guest_run vm1 'sleep 60 | nc -l -p 6000 | sha256sum >/tmp/got & echo >/dev/null'
    head -c 20000000 /dev/urandom >"$GUEST_WORK/sent"
    sleep 0.3
    snapshot merge
    "${FAR[@]}" timeout 30 busybox nc 10.0.0.1 6000 <"$GUEST_WORK/sent" >/dev/null || true
    guest_await 20 guest_run vm1 '! pidof nc >/dev/null' || return 1
    guest_run vm1 'killall sleep' || true
    sent=$(sha256sum <"$GUEST_WORK/sent")
    guest_await 10 guest_run vm1 '[ -s /tmp/got ]' || return 1
    arrived=$(guest_run vm1 'cat /tmp/got')
    "${FAR[@]}" ethtool -K veth1 tso on gso on >/dev/null
    echo "    $(grown merge vm1 .counters.to_merged) packets merged"
    [[ $sent == "$arrived" ]] && holds "$(grown merge vm1 .counters.to_merged) > 1000"
}

takes_over_by_name() {
    convoy port add given type=tap interface=upl1 >/dev/null && daemon_await_state given running &&
        ip addr add 10.0.1.254/24 dev upl1 && ip link set upl1 up && pings vm2 10.0.1.254
}

second_user_is_refused() {
    local said
    ! said=$(convoy port add again type=tap interface=upl1 2>&1) && echo "    $said"
}

survives_removal() {
    convoy port remove given >/dev/null && ip link show upl1 >/dev/null
}

far=''
make_network
start_all
check "the uplink joined the bridge" joined_bridge upl0
check "ping guest to host" pings vm1 10.0.0.253
check "ping guest to a host behind the bridge" pings vm1 10.0.0.100
check "ping from there to a guest" "${FAR[@]}" busybox ping -A -q -c 20 -w 10 10.0.0.2
check "ping guest to guest" pings vm1 10.0.0.2
snapshot tcp
check "TCP guest to host" moves vm1 10.0.0.253 300
check "super-packets cross to the host" super_packets_cross vm1 uplink
snapshot tcp
check "TCP host to guest" host_moves 10.0.0.1 300
check "super-packets cross to the guest" super_packets_cross uplink vm1
check "TCP guest to the host behind the bridge" moves vm2 10.0.0.100 300
check "TCP from there to a guest" host_moves far 10.0.0.2 300
check "segments are merged for a guest that takes super-packets" segments_are_merged on
check "the bytes are those that were sent" merged_bytes_are_the_same
check "nothing is merged where the port says so" segments_are_merged off
check "UDP guest to host" udp_arrives vm1 10.0.0.253
check "UDP guest to the host behind the bridge" udp_arrives vm2 10.0.0.100
check "UDP host to guest" host_moves far 10.0.0.1 9 -u -b 10M -l 1400
check "no unexplained loss" lost_only tcp queue_full stalled
check "a TAP interface made by somebody else is taken over" takes_over_by_name
check "one that is in use is refused" second_user_is_refused
check "it outlives its port" survives_removal
guest_kill vm1 vm2
check "convoyd ends" daemon_stop
check "the interface that convoyd made is gone" has_no_interface upl0
test_end
