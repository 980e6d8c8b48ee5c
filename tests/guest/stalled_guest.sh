#!/bin/bash
# Goal: a guest that stops while it is flooded costs nobody but itself: its flooder's talk with a
# third guest keeps its rate, and every frame that is lost is counted.
# Method: one guest floods another and streams to a third; the other is stopped with SIGSTOP and
# continued in turn, so that both rates are measured under the same load of the machine.
#
#     vm1 --(UDP flood)--> vm2 (stopped and continued)
#      +----(TCP)--------> vm3
set -euo pipefail

# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/daemon.sh"
test_begin linux.uml iperf3 busybox jq cc

ROUNDS_MIN=3 ROUNDS_MAX=9

# Neither ARP nor IPv6 may multiply frames: what goes in must come out once, or be counted.
no_broadcasts() {
    local name other
    for name in vm1 vm2 vm3; do
        for other in vm1 vm2 vm3; do
            [[ $name == "$other" ]] || guest_run "$name" \
                "arp -s 10.0.0.${other#vm} $(port_value "$other" .config.mac)"
        done
        guest_run "$name" 'echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6'
    done
}

start_all() {
    local name
    daemon_start <<'END'
ports:
  - {name: vm1, mac: "52:54:00:00:00:01"}
  - {name: vm2, mac: "52:54:00:00:00:02"}
  - {name: vm3, mac: "52:54:00:00:00:03"}
END
    for name in vm1 vm2 vm3; do
        guest_uml_start "$name" "$DAEMON_RUN/$name.sock" "ip=10.0.0.${name#vm}/24"
    done
    guest_wait_ready vm1 vm2 vm3
    serve_iperf vm2 vm3
    no_broadcasts
}

# Its kernel alone: the processes that it traces stand still without it, and it would not
# understand if they were stopped by others.
signal_vm2() { # SIGNAL
    kill "-$1" "$(<"$GUEST_WORK/vm2/group")"
}

# The flood needs no answers once it runs: a stopped receiver does not end it.
start_flood() {
    snapshot flood
    guest_run -t 60 vm1 'iperf3 -c 10.0.0.2 -u -b 50M -l 1400 -t 60' >/dev/null 2>&1 &
    flood=$!
    guest_await 10 flooded flood 5000
}

end_flood() {
    guest_run vm1 'killall -KILL iperf3' >/dev/null || true
    wait "$flood" || true
}

# Whether so many frames were meant for vm2 since a snapshot, delivered or dropped.
flooded() { # SNAPSHOT FRAMES
    (($(grown "$1" vm2 .counters.to_packets) + $(grown "$1" vm2 .dropped) > $2))
}

loses() { # SNAPSHOT FRAMES
    (($(grown "$1" vm2 .dropped) > $2))
}

# Prints the middle one of the lines of standard input, the lower of two.
median() {
    sort -n | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'
}

# Streams to vm3 while vm2 runs and while it does not, in turn. A busy machine makes single streams
# several times slower or faster, so the median of the pairs' ratios is what counts, and while it is
# too low more pairs are measured: chance cannot keep it low for long.
third_keeps_rate() {
    local running stopped percents='' keeps=0
    for ((round = 1; round <= ROUNDS_MAX && (round <= ROUNDS_MIN || keeps < 80); round++)); do
        running=$(iperf_mbit vm1 10.0.0.3) || return 1
        snapshot stopped
        signal_vm2 STOP
        guest_await 20 loses stopped 100 || return 1
        stopped=$(iperf_mbit vm1 10.0.0.3) || return 1
        signal_vm2 CONT
        echo "    vm1 -> vm3: $running Mbit/s while vm2 runs, $stopped while it is stopped"
        percents+=$((stopped * 100 / (running + 1)))$'\n'
        keeps=$(printf %s "$percents" | median)
    done
    holds "$keeps >= 80"
}

nothing_waits() {
    [[ $(convoy --json port list | jq '[.ports[].frames_waiting] | add') == 0 ]]
}

# Over all ports: what came in went out or was counted.
all_are_counted() {
    local ports
    guest_await 10 nothing_waits || return 1
    ports=$(convoy --json port list | jq -c --slurpfile before "$GUEST_WORK/snapshot.$1" '
        def sums: [([.ports[].counters.from_packets] | add), ([.ports[].counters | .to_packets + .to_merged] | add),
            ([.ports[].dropped] | add)];
        [sums, ($before[0] | sums)] | transpose | map(.[0] - .[1])')
    echo "    came in, went out, dropped: $ports"
    jq -e '.[0] == .[1] + .[2] and .[2] > 0' <<<"$ports" >/dev/null
}

only_vm2_lost() {
    holds "$(grown flood vm3 .drops.queue_full) == 0" && lost_only flood queue_full stalled
}

wakes_up() {
    guest_await 20 guest_run vm2 true && pings vm1 10.0.0.2 50 && moves vm1 10.0.0.2 100
}

start_all
check "ping" pings vm1 10.0.0.2
check "a flood runs" start_flood
check "the third guest's stream keeps its rate" third_keeps_rate
end_flood
check "every frame arrived or is counted" all_are_counted flood
check "the losses are the stopped guest's own" only_vm2_lost
check "no fault was seen" holds "$(convoy --json status | jq .totals.counters.faults) == 0"
guest_run vm2 'killall -KILL iperf3'
serve_iperf vm2
check "the stopped guest goes on where it was" wakes_up
test_end
