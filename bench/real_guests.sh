#!/bin/bash
# What the study measures with real guests (User Mode Linux) and the host's own network: one word per
# measurement, one line `key=value` per result, and at the end `done`, or `failed` and a sentence.
#
#   bench/real_guests.sh WORD [KEY=VALUE]...     one measurement
#   bench/real_guests.sh                         words from standard input, one line each, until its
#                                                end; guests and switches stay up between them
#
#   tcp      contestant= streams=1 write=131072 workers=1 seconds=3
#            TCP between two guests; write: bytes that iperf3 writes and reads at a time. A system call of
#            User Mode Linux costs tens of microseconds: with small ones the guests are all the limit.
#            workers: threads of convoyd that move packets; for another number it is started anew
#   within   streams=1 write=131072 seconds=3           TCP within one guest, over its loopback: what its own
#                                                       TCP takes of one processor, with no switch
#   rr       contestant= seconds=3                      64-byte ping-pong between two guests, over TCP
#   classic  contestant= place=native|driver|guest direction=transmit|receive frames=super|1500
#            seconds=3                                  TCP between such a place and the far host
#   line     contestant= line=1gbit guests=1 direction=transmit|receive seconds=3
#            TCP between guests and the far host behind a line of that rate (TBF)
#   mixed    contestant= beside=none|other|same|flood|stopped seconds=3
#            ping-pong between guest 1 and the far host, beside a bulk transfer of guest 2, beside one
#            to guest 1 itself, beside guest 2 sending 64-byte datagrams without end, beside guest 2
#            standing still while the far host sends to it without end
#   tools                                               does nothing: whether all of it could start
#
# Contestants: convoy-off, convoy-natural, convoy-adaptive, convoy-fixed, bridge+tap, native; and
# ovs-dpdk and testpmd for tcp and rr. Guests of all convoy modes are the same: only the ports' policy
# changes. A switch that polls is stopped (SIGSTOP) while it is not its turn. What a session needs of
# Open vSwitch must be in GUEST_CACHE before (ovs_fetch of bench/ovs.sh); a single word fetches it.
#
#     guests 1-4 --vhost-user-- convoyd --TAP-- br-convoy -- convoy0 = convoy1 --+
#     host process --TAP convoy-dom --+                                          |
#     guests 1-4 -------------- TAPs ---------- br-tap ----- tap0 = tap1 --------+-- far (namespace)
#     near (namespace) ------------------------ near0 =========== near1 ---------+
#     guests 1-2 --vhost-user-- testpmd;   guests 1-2 --vhost-user-- Open vSwitch with DPDK
#
# Everything runs in network, mount and process namespaces of its own and ends with this script. Needs
# root. BUILD: folder with convoyd (default build/gcc). CPUS: three processors, for guests 1 and 3,
# for guests 2 and 4 and the far host, and for a switch that polls; convoyd runs where it likes.
set -u

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
source tests/guest/lib.sh
source bench/ovs.sh
source bench/lib.sh

if ((EUID == 0)) && [[ ${REAL_IN_NAMESPACE:-} != 1 ]]; then
    # Packages come over the host's network, which a session has not.
    if [[ " $* " == *" contestant=ovs-dpdk "* ]]; then
        (guest_init && ovs_fetch; status=$?; guest_cleanup; exit "$status") >&2 ||
            { echo "failed Open vSwitch cannot be fetched"; exit 1; }
    fi
    REAL_IN_NAMESPACE=1 exec unshare --net --mount --pid --fork --kill-child --mount-proc \
        "$PWD/bench/real_guests.sh" "$@"
fi

BUILD=${BUILD:-build/gcc}
GUEST_LIFE_S=${GUEST_LIFE_S:-7200}
CPUS=${CPUS:-0 1 1}
read -r CPU_A CPU_B CPU_SWITCH <<<"$CPUS"
export OVS_LIFE_S=$GUEST_LIFE_S

RR_PORT=11111 FLOOD_PORT=11112
# What sockperf 3.7 takes for its preparations before it sends; and a 0.4 s of its own time warms up.
SOCKPERF_LEAD_S=2.2
declare -A NET=([convoy]=10.6.0 [tap]=10.7.0 [testpmd]=10.8.0 [ovs]=10.9.0)

WHY='' # a measurement did not succeed
give_up() { # SENTENCE
    WHY=$1
    return 1
}

# --- the network --------------------------------------------------------------------------------------

# A cable from a device to the far host, whose end there is called NAME1.
cable_add() { # NAME NAMESPACE FAR-ADDRESS
    ip -n "$2" link add "${1}0" type veth peer name "${1}1" netns far &&
        ip -n "$2" link set "${1}0" up &&
        ip -n far addr add "$3/24" dev "${1}1" &&
        ip -n far link set "${1}1" up
}

network_start() {
    local kind
    mkdir -p /run/netns && mount -t tmpfs none /run/netns || return 1
    ip netns attach host $$ && ip netns add near && ip netns add far || return 1
    for kind in convoy tap; do
        ip link add "br-$kind" type bridge && ip link set "br-$kind" up &&
            cable_add "$kind" host "${NET[$kind]}.254" && ip link set "${kind}0" master "br-$kind" || return 1
    done
    cable_add near near 10.5.0.254 && ip -n near addr add 10.5.0.1/24 dev near0 || return 1
    ip link set lo up && ip -n near link set lo up && ip -n far link set lo up || return 1
    far_serve
}

listens() { # PORT: whether the far host has a TCP server there
    ip netns exec far ss -Hltn "sport = :$1" | grep -q .
}

# One iperf3 server for each guest, because one serves one client at a time.
far_serve() {
    local i
    for i in 1 2 3 4; do
        ip netns exec far taskset -c "$CPU_B" iperf3 -s -p $((5200 + i)) >/dev/null 2>&1 &
    done
    ip netns exec far taskset -c "$CPU_B" sockperf server --tcp -p "$RR_PORT" >/dev/null 2>&1 &
    ip netns exec far taskset -c "$CPU_B" sockperf server -p "$FLOOD_PORT" >/dev/null 2>&1 &
    for i in 5201 5202 5203 5204 "$RR_PORT"; do
        guest_await 10 listens "$i" || return 1
    done
}

# --- guests and switches --------------------------------------------------------------------------------

kind_of() { # CONTESTANT
    case $1 in
    convoy-*) echo convoy ;;
    bridge+tap) echo tap ;;
    ovs-dpdk) echo ovs ;;
    *) echo "$1" ;;
    esac
}

cpu_of() { (($1 % 2)) && echo "$CPU_A" || echo "$CPU_B"; } # GUEST-NUMBER

# Boots the first COUNT guests of a kind where they do not run yet, with servers for iperf3 and sockperf.
guests_up() { # KIND COUNT
    local i new=()
    for ((i = 1; i <= $2; i++)); do
        [[ -e $GUEST_WORK/$1$i/ready && ! -e $GUEST_WORK/$1$i/gone ]] && continue
        guest_kill "$1$i"
        new+=("$1$i")
        "guest_start_$1" "$1$i" "$i" "ip=${NET[$1]}.$i/24" "cpus=$(cpu_of "$i")" || break
    done
    ((${#new[@]})) || return 0
    guest_wait_ready "${new[@]}" && guests_serve "${new[@]}" && return
    for i in "${new[@]}"; do [[ -e $GUEST_WORK/$i/ready && ! -e $GUEST_WORK/$i/gone ]] || break; done
    give_up "guest $i did not boot or serves nothing; its console ends with: $(last_said "$GUEST_WORK/$i/console")"
}

# What failed may have left them in any state: the next measurement boots them anew.
guests_down() { # KIND
    local i
    for i in 1 2 3 4; do guest_kill "$1$i"; done
}

last_said() { # FILE
    local line
    line=$(grep -a . "$1" 2>/dev/null | tail -n 1 | head -c 200)
    echo "${line:-nothing}"
}

guest_start_convoy() { guest_uml_start "$1" "$RUN_DIR/v$2.sock" "${@:3}"; }
guest_start_tap() { guest_uml_start_tap "$1" "t$2" bridge=br-tap "${@:3}"; }
guest_start_testpmd() { guest_uml_start "$1" "$GUEST_WORK/testpmd-$2.sock" "${@:3}"; }
guest_start_ovs() { guest_uml_start "$1" "$OVS_RUNDIR/o$2" "${@:3}"; }

switch_up_tap() { :; }
switch_up_native() { :; }

has_interface() { ip link show dev "$1" >/dev/null 2>&1; } # INTERFACE

switch_up_convoy() {
    if [[ -n $DAEMON_PID ]]; then
        kill -0 "$DAEMON_PID" 2>/dev/null ||
            WHY="convoyd has ended by itself; its log ends with: $(last_said "$RUN_DIR/log")"
        [[ -n $WHY || $DAEMON_WORKERS != "$workers" ]] || return 0
        guests_down convoy
        daemon_stop
        [[ -z $WHY ]] || return
    fi
    DAEMON_WORKERS=$workers
    daemon_start "workers: $workers
ports:
  - {name: v1}
  - {name: v2}
  - {name: v3}
  - {name: v4}
  - {name: dom, type: tap, interface: convoy-dom}
  - {name: up, type: tap, interface: convoy-up, bridge: br-convoy}" ||
        give_up "convoyd does not start" || return
    # Its interfaces come a moment after its socket.
    guest_await 10 has_interface convoy-up && guest_await 10 has_interface convoy-dom &&
        ip addr add "${NET[convoy]}.100/24" dev convoy-dom && ip link set convoy-dom up && return
    daemon_stop
    give_up "convoyd's TAP interfaces cannot be used; its log ends with: $(last_said "$RUN_DIR/log")"
}

switch_up_testpmd() {
    [[ ! -e $GUEST_WORK/pmd/group || -e $GUEST_WORK/pmd/gone ]] || return 0
    guest_kill pmd
    peer_testpmd_vhost_start pmd "$GUEST_WORK/testpmd-1.sock" "$GUEST_WORK/testpmd-2.sock" \
        cpu="$CPU_SWITCH" uml=on && return
    guest_kill pmd
    give_up "testpmd's vhost ports do not start"
}

switch_up_ovs() {
    [[ -z ${OVS_PID:-} ]] || return 0
    # For ovs_start, which does not want it in everybody's environment.
    # shellcheck disable=SC2034
    OVS_PRELOAD=$(guest_preload ovsfeatures) && dpdk_hugepages_setup 1024 &&
        ovs_start "$CPU_SWITCH" o1 o2 && return
    ovs_stop
    give_up "Open vSwitch with DPDK does not start"
}

# The processes of a kind's switch; none where the kernel is the switch.
switch_pids() { # KIND
    case $1 in
    convoy) echo "$DAEMON_PID" ;;
    testpmd) [[ ! -e $GUEST_WORK/pmd/group ]] || pgrep -g "$(<"$GUEST_WORK/pmd/group")" ;;
    ovs) [[ -z ${OVS_PID:-} ]] || pgrep -P "$OVS_PID" ;;
    esac
}

# A polling switch takes a whole processor: it runs only while it is measured.
poller_signal() { # SIGNAL KIND...
    local signal=$1 kind pids
    shift
    for kind in "$@"; do
        pids=$(switch_pids "$kind")
        # shellcheck disable=SC2086
        [[ -z $pids ]] || kill "-$signal" $pids
    done
}

convoy_policy() { # MODE
    local port hold=$1 merge=on
    [[ $1 == fixed ]] && hold=fixed:32,50us
    [[ $1 == off ]] && merge=off
    for port in v1 v2 v3 v4 dom up; do
        port_set "$port" "hold=$hold" "merge=$merge" || give_up "convoyd does not take hold=$hold" || return
    done
}

# Has a contestant ready, with so many guests, and everybody else quiet.
take_turn() { # CONTESTANT GUESTS
    local kind
    kind=$(kind_of "$1")
    declare -F "switch_up_$kind" >/dev/null || give_up "there is no contestant \"$1\"" || return
    poller_signal STOP testpmd ovs
    "switch_up_$kind" || return
    poller_signal CONT "$kind"
    [[ $kind != convoy ]] || convoy_policy "${1#convoy-}" || return
    [[ $kind == native ]] || guests_up "$kind" "$2"
}

# --- what runs on either side ---------------------------------------------------------------------------

# The near side is a guest, the namespace "near" or the host itself; commands there are alike.
on() { # SIDE LIMIT-S COMMAND
    local cpu=$CPU_A
    [[ $1 != far ]] || cpu=$CPU_B
    case $1 in
    near | far) timeout -k 5 "$2" ip netns exec "$1" taskset -c "$cpu" sh -c "$3" ;;
    host) timeout -k 5 "$2" taskset -c "$cpu" sh -c "$3" ;;
    *) guest_run -t "$2" "$1" "$3" ;;
    esac
}

# Prints the receiver's bits per second from what iperf3 says with -f k.
iperf_bps() {
    awk '/receiver/ {for (i = 2; i <= NF; i++) if ($i == "Kbits/sec") bps = $(i - 1) * 1000}
        END {if (bps == "") exit 1; printf "%.0f\n", bps}'
}

# Only the lines with the result leave a guest, whose console is slow.
iperf_command() { # ADDRESS PORT SECONDS ARGUMENTS...
    echo "iperf3 -c $1 -p $2 -t $3 -i 0 -f k ${*:4} | grep -E 'SUM|receiver|error' | tail -n 4"
}

transfer() { # SIDE ADDRESS PORT SECONDS ARGUMENTS...
    on "$1" $(($4 + 30)) "$(iperf_command "${@:2}")"
}

ping_pong() { # SIDE ADDRESS SECONDS
    on "$1" $(($3 + 20)) "sockperf ping-pong --tcp -i $2 -p $RR_PORT -m 64 -t $3 2>&1"
}

# Prints half a round trip in microseconds and the round trips per second from what sockperf says.
ping_pong_keys() { # FILE
    awk '/Latency is|avg-lat/ {for (i = 1; i < NF; i++) if ($i == "is") mean = $(i + 1)}
        /percentile 50.000/ {p50 = $NF} /percentile 99.000/ {p99 = $NF}
        /percentile 99.900/ {p999 = $NF} /<MAX> observation/ {max = $NF}
        /Valid Duration/ {split($0, part, /[=; ]+/)
            for (i in part) {
                if (part[i] == "RunTime") time = part[i + 1]
                if (part[i] == "ReceivedMessages") n = part[i + 1]
            }
        }
        END {
            if (p50 == "" || !(time > 0)) exit 1
            printf "delay_mean_us=%s\ndelay_p50_us=%s\ndelay_p99_us=%s\ndelay_p999_us=%s\ndelay_max_us=%s\n",
                mean, p50, p99, p999, max
            printf "round_trips_per_second=%.0f\n", n / time
        }' "$1"
}

reaches() { # SIDE ADDRESS
    on "$1" 10 "ping -c 1 -w 1 $2 >/dev/null 2>&1"
}

must_reach() { # SIDE ADDRESS
    guest_await 15 reaches "$1" "$2" || give_up "$1 cannot reach $2"
}

# --- what it costs ----------------------------------------------------------------------------------------

moment() { echo "$1 ${EPOCHREALTIME/[.,]/}"; } # NAME: of what is read next, in microseconds

# All counters, a line each, to $GUEST_WORK/taken.NAME. DEVICE is at the far host; the last two name the
# one whose shaper is read.
take() { # NAME KIND [DEVICE [SHAPED-NAMESPACE SHAPED-DEVICE]]
    local pids
    {
        moment wall
        awk '/^cpu / {
            print "busy", $2 + $3 + $4 + $7 + $8
            print "all", $2 + $3 + $4 + $5 + $6 + $7 + $8 + $9
        }' /proc/stat
        pids=$(switch_pids "$2")
        # shellcheck disable=SC2086
        [[ -z $pids ]] || echo "switch $(processes_cpu_ns $pids)"
        [[ $2 != convoy ]] || convoy --json port list | jq -r '
            [.ports[] | select(.name | test("^v")) | .counters] |
            "packets \(map(.to_packets) | add)\ncalls \(map(.to_calls) | add)"'
        moment far_wall
        [[ -z ${3:-} ]] || ip -n far -s -j link show dev "$3" |
            jq -r '.[0].stats64 | "rx \(.rx.bytes)\ntx \(.tx.bytes)"'
        moment shaped_wall
        [[ -z ${5:-} ]] || tc -n "$4" -s -j qdisc show dev "$5" root | jq -r '"shaped \(.[0].bytes)"'
    } >"$GUEST_WORK/taken.$1"
}

# Runs a command, whose output goes to $GUEST_WORK/said, and takes the counters twice meanwhile: when 3
# tenths of its time are over, and when 9 are. Costs are rates between the two. LEAD: seconds that the
# command takes before it sends anything.
observe() { # SECONDS LEAD "TAKE'S ARGUMENTS" COMMAND...
    local seconds=$1 lead=$2 what=$3 running
    shift 3
    "$@" >"$GUEST_WORK/said" &
    running=$!
    sleep "$(calc "$lead + $seconds * 0.3")"
    # shellcheck disable=SC2086
    take before $what
    sleep "$(calc "$seconds * 0.6")"
    # shellcheck disable=SC2086
    take after $what
    wait "$running"
}

# Calls only where guests have got packets worth counting: the driver domain's pass them by.
cost_keys() {
    awk 'NR == FNR {old[$1] = $2; next} {grown[$1] = $2 - old[$1]}
        END {
            printf "host_cpu_share=%.4f\n", grown["busy"] / grown["all"]
            if ("switch" in grown) printf "cpu_share=%.4f\n", grown["switch"] / 1000 / grown["wall"]
            if (grown["packets"] >= 100) printf "calls_per_packet=%.5f\n", grown["calls"] / grown["packets"]
        }' "$GUEST_WORK/taken.before" "$GUEST_WORK/taken.after"
}

bits_per_second() { # COUNTER ITS-MOMENT
    awk -v name="$1" -v moment="$2" 'NR == FNR {old[$1] = $2; next} {grown[$1] = $2 - old[$1]}
        END {if (!(name in grown)) exit 1; printf "%.0f\n", grown[name] * 8e6 / grown[moment]}' \
        "$GUEST_WORK/taken.before" "$GUEST_WORK/taken.after"
}

# --- the words ------------------------------------------------------------------------------------------------

word_tools() { :; }

# Sets `side` and `address` for a contestant's pair: guest 1 and guest 2, or near and far.
pair_of() { # CONTESTANT
    take_turn "$1" 2 || return
    kind=$(kind_of "$1") side=${kind}1 address=${NET[$kind]:-}.2
    [[ $kind != native ]] || side=near address=10.5.0.254
    must_reach "$side" "$address"
}

throughput_keys() {
    local bps
    bps=$(iperf_bps <"$GUEST_WORK/said") || give_up "iperf3 measured nothing; it said: $(last_said "$GUEST_WORK/said")" || return
    echo "received_bps=$bps"
    cost_keys
}

word_tcp() {
    local kind side address
    pair_of "$contestant" || return
    observe "$seconds" 0 "$kind" transfer "$side" "$address" 5201 "$seconds" -P "$streams" -l "$write"
    throughput_keys
}

word_within() {
    take_turn convoy-natural 2 || return
    on convoy1 10 'ip link set lo up' || give_up "convoy1 has no loopback" || return
    observe "$seconds" 0 native transfer convoy1 127.0.0.1 5201 "$seconds" -P "$streams" -l "$write"
    throughput_keys
}

word_rr() {
    local kind side address
    pair_of "$contestant" || return
    observe "$seconds" "$SOCKPERF_LEAD_S" "$kind" ping_pong "$side" "$address" "$seconds"
    ping_pong_keys "$GUEST_WORK/said" || give_up "sockperf measured nothing; it said: $(last_said "$GUEST_WORK/said")" || return
    cost_keys
}

# Sets `side`, `address` (of the far host), `device` (there) and `kind` for guest 1 or another place.
place_of() { # CONTESTANT PLACE GUESTS
    kind=$(kind_of "$1") side=${kind}1 address=${NET[$kind]:-}.254 device=${kind}1
    [[ $kind != native ]] || side=near address=10.5.0.254 device=near1
    [[ $2 != driver ]] || side=host
    [[ $2 != driver || $kind == convoy ]] || give_up "a process of the host behind $1 is not measured" || return
    take_turn "$1" "$([[ $2 == driver ]] && echo 0 || echo "$3")" || return
    must_reach "$side" "$address"
}

# Senders hand over super-packets, or cut them to 1500 bytes themselves.
frames_set() { # FRAMES SIDE FAR-DEVICE
    local offload near_device=eth0
    offload=$([[ $1 == super ]] && echo on || echo off)
    case $2 in
    near) near_device=near0 ;;
    host) near_device=convoy-dom ;;
    esac
    if ! on "$2" 20 "ethtool -K $near_device tso $offload gso $offload" >/dev/null ||
        ! on far 20 "ethtool -K $3 tso $offload gso $offload" >/dev/null; then
        give_up "$2 cannot switch its offloads $offload"
    fi
}

word_classic() {
    local kind side address device reverse=''
    place_of "$contestant" "$place" 1 && frames_set "$frames" "$side" "$device" || return
    [[ $direction == receive ]] && reverse=-R
    # shellcheck disable=SC2086
    observe "$seconds" 0 "$kind" transfer "$side" "$address" 5201 "$seconds" $reverse
    frames_set super "$side" "$device"
    throughput_keys
}

# Transfers of guests 1 to COUNT at the same time, or COUNT of one place that is not a guest; a line each.
transfers() { # KIND SIDE ADDRESS COUNT SECONDS ARGUMENTS...
    local i pids=()
    for ((i = 1; i <= $4; i++)); do
        transfer "$([[ $1 == native ]] && echo near || echo "$1$i")" "$3" $((5200 + i)) "${@:5}" >"$GUEST_WORK/said.$i" &
        pids+=($!)
    done
    wait "${pids[@]}"
    for ((i = 1; i <= $4; i++)); do
        iperf_bps <"$GUEST_WORK/said.$i" || echo nothing
    done
}

# From bits per second of each guest, a line each: Jain's index, and their sum.
sum_keys() {
    awk '$1 !~ /^[0-9]+$/ {exit bad = 1} {sum += $1; squares += $1 * $1; n++}
        END {if (bad || !(sum > 0)) exit 1
            printf "goodput_bps=%.0f\nfairness=%.4f\n", sum, sum * sum / (n * squares)}' "$1"
}

# The shaper is at the sending end of the cable to the far host.
word_line() {
    local kind side address device reverse='' shaped status
    place_of "$contestant" guest "$guests" || return
    shaped="host ${kind}0"
    [[ $kind != native ]] || shaped="near near0"
    [[ $direction == receive ]] && reverse=-R shaped="far $device"
    # A burst holds super-packets whole, and is 2 ms of the slower line.
    # shellcheck disable=SC2086
    set -- $shaped
    tc -n "$1" qdisc replace dev "$2" root tbf rate "$line" burst 256kb latency 5ms ||
        give_up "this kernel has no TBF to make a line with" || return
    # shellcheck disable=SC2086
    observe "$seconds" 0 "$kind $device $shaped" transfers "$kind" "$side" "$address" "$guests" "$seconds" $reverse
    tc -n "$1" qdisc del dev "$2" root
    line_keys && cost_keys
}

line_keys() {
    local counter=rx line_bps
    [[ $direction == receive ]] && counter=tx
    sum_keys "$GUEST_WORK/said" || give_up "iperf3 measured nothing at one of the guests" || return
    line_bps=$(numfmt --from=si "$(sed 's/kbit/K/; s/mbit/M/; s/gbit/G/' <<<"$line")")
    echo "received_bps=$(bits_per_second "$counter" far_wall)"
    echo "line_share=$(calc "$(bits_per_second shaped shaped_wall) / $line_bps" 4)"
}

flood() { # SIDE ADDRESS BYTES SECONDS
    on "$1" $(($4 + 20)) "sockperf throughput -i $2 -p $FLOOD_PORT -m $3 -t $4" >"$GUEST_WORK/said.beside" 2>&1
}

# What a measurement of mixed has going beside it, from before it until after it; nothing for none.
beside_start() { # BESIDE KIND SIDE ADDRESS SECONDS
    local other=${2}2 time=$(($5 + 4))
    [[ $2 != native ]] || other=near
    case $1 in
    none) ;;
    other) transfer "$other" "$4" 5202 "$time" >"$GUEST_WORK/said.beside" & ;;
    same) transfer "$3" "$4" 5201 "$time" -R >"$GUEST_WORK/said.beside" & ;;
    flood) flood "$other" "$4" 64 "$time" & ;;
    stopped) stopped_start "$2" "$time" || return ;;
    *) give_up "there is no beside=$1" || return ;;
    esac
    [[ $1 == none ]] || beside_pid=$!
}

# Guest 2 stands still; the far host still knows its address, and sends.
stopped_start() { # KIND SECONDS
    local guest=${1}2 address=${NET[$1]:-}.2 mac
    [[ $1 != native ]] || give_up "there is no guest to stop with native" || return
    mac=$(guest_run "$guest" 'cat /sys/class/net/eth0/address') || give_up "$guest does not answer" || return
    ip -n far neigh replace "$address" lladdr "$mac" dev "${1}1" nud permanent
    # Its kernel's process only: the others are stopped and set going by that one all the time.
    kill -STOP "$(<"$GUEST_WORK/$guest/group")"
    flood far "$address" 1400 "$2" &
}

beside_stop() { # BESIDE KIND
    [[ -z $beside_pid ]] || wait "$beside_pid"
    [[ $1 == stopped && -e $GUEST_WORK/${2}2/group ]] || return 0
    kill -CONT "$(<"$GUEST_WORK/${2}2/group")"
    ip -n far neigh del "${NET[$2]}.2" dev "${2}1"
}

word_mixed() {
    local kind side address device beside_pid='' status bps
    place_of "$contestant" guest 2 && beside_start "$beside" "$kind" "$side" "$address" "$seconds" || return
    observe "$seconds" "$SOCKPERF_LEAD_S" "$kind" ping_pong "$side" "$address" "$seconds"
    status=$?
    beside_stop "$beside" "$kind"
    ((status == 0)) && ping_pong_keys "$GUEST_WORK/said" ||
        give_up "sockperf measured nothing; it said: $(last_said "$GUEST_WORK/said")" || return
    cost_keys
    [[ $beside == other || $beside == same ]] || return 0
    bps=$(iperf_bps <"$GUEST_WORK/said.beside") || give_up "the bulk transfer moved nothing" || return
    echo "bulk_bps=$bps"
}

# --- one line after another ---------------------------------------------------------------------------------

# The results of a word are printed only when all of it has succeeded.
answer() { # WORD KEY=VALUE...
    local word=$1 pair contestant='' streams=1 write=131072 workers=1 seconds=3
    local place=guest direction=transmit frames=super
    local line=1gbit guests=1 beside=none
    shift
    for pair in "$@"; do
        [[ $pair =~ ^(contestant|streams|write|workers|seconds|place|direction|frames|line|guests|beside)=[a-z0-9+-]+$ ]] ||
            { echo "failed there is no \"$pair\"" >&8 && return 1; }
        printf -v "${pair%%=*}" %s "${pair#*=}"
    done
    declare -F "word_$word" >/dev/null || { echo "failed there is no word \"$word\"" >&8 && return 1; }
    WHY=''
    if "word_$word" >"$GUEST_WORK/keys"; then
        grep -E '^[a-z0-9_]+=[0-9.]+$' "$GUEST_WORK/keys" >&8
        echo "done" >&8
    else
        echo "failed ${WHY:-$word did not succeed}" >&8
        guests_down "$(kind_of "$contestant")"
        return 1
    fi
}

answer_lines() {
    local words
    while read -r -a words <&9; do
        ((${#words[@]})) && answer "${words[@]}"
    done
    return 0
}

clean_up() {
    trap '' INT TERM HUP PIPE
    poller_signal CONT testpmd ovs
    ovs_stop
    bench_cleanup
}

((EUID == 0)) || { echo "failed this measures real guests and needs root"; exit 1; }
# Results go to descriptor 8, and lines come from 9; everybody else says what it says to the error output.
exec 9<&0 8>&1 </dev/null >&2
trap 'exit 130' INT
trap 'exit 143' TERM HUP PIPE
guest_init || { echo "failed the guests' folder cannot be used" >&8; exit 1; }
trap clean_up EXIT
network_start || { echo "failed the namespaces and bridges cannot be made" >&8; exit 1; }
if (($#)); then answer "$@"; exit; else answer_lines; exit; fi
