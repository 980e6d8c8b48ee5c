#!/bin/bash
# What convoys bring: merging, holding, and the model that tunes them. All figures of one run come
# from one machine in one sitting; contestants take turns, and the median of the runs counts. Every
# table ends with the command that repeats it.
#
#   bench/convoys.sh [merge] [small] [lone] [budget] [static] [step] [mixed]     all without words
#
#   merge   a host's TCP stream of 1500-byte packets through a TAP uplink into a guest, by mode; the
#           same guest's limit with 64 KiB super-packets; and what bounds it: the same stream between
#           two namespaces on the same two processors, with no switch and no guest
#   small   64-byte packets between guests that poll, by mode
#   lone    100 packets a second: the delay that adaptive adds to natural's
#   budget  loads of 1 % to 95 % of what is measured to be the capacity, by delay budgets: mean added
#           delay and packets per call against the daemon's own prediction; Poisson arrivals, then
#           constant, on/off and recorded ones
#   static  adaptive against a grid of fixed K,T at each load: what the best of those that delay no
#           more carries
#   step    a step in load: time until K and T have settled
#   mixed   64-byte requests and answers beside a bulk transfer into the same guest
#
# RUNS (default 3) repetitions of SECONDS_EACH (default 4) seconds. BUILD: folder with convoyd
# (default build/gcc). WEIGHT: the delay-weight of budget, static and step (default 0.001: a guest
# that polls is called cheaply, and with 0.1 waiting would rarely be worth its while). LOADS,
# BUDGETS_US, GRID_K, GRID_T_US, CAPTURE: see below. PRIO="chrt -f 1" takes the processors from
# others on a machine that is not idle, for what a look is worth there. Needs root, two processors, and an otherwise
# idle machine: nothing else may run meanwhile.
set -u

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
BUILD=${BUILD:-build/gcc}
RUNS=${RUNS:-3}
SECONDS_EACH=${SECONDS_EACH:-4}
WEIGHT=${WEIGHT:-0.001}
LOADS=${LOADS:-1 5 10 25 50 75 95}       # percent of the capacity
BUDGETS_US=${BUDGETS_US:-10 25 50 100}
GRID_K=${GRID_K:-2 4 8 16 32 64}
GRID_T_US=${GRID_T_US:-5 10 25 50 100}
CAPTURE=${CAPTURE:-tests/data/tcp_arrivals.pcap}
GUEST_CPU=0 SWITCH_CPU=1

if ((EUID == 0)) && [[ ${CONVOYS_IN_NAMESPACE:-} != 1 ]]; then
    # What is left behind in spite of all care, such as a TAP interface, ends with the namespace.
    CONVOYS_IN_NAMESPACE=1 exec unshare --net --mount "$PWD/bench/convoys.sh" "$@"
fi

source tests/guest/lib.sh
source bench/lib.sh

repeat() { # FIGURE
    say "   repeat: RUNS=$RUNS SECONDS_EACH=$SECONDS_EACH BUILD=$BUILD WEIGHT=$WEIGHT bench/convoys.sh $1"
    say ""
}

# --- synthetic guests -----------------------------------------------------------------------------------

# One thread is both guests, on a processor of its own; the switch has the other.
traffic_start() { # [SETTINGS-OF-c2]
    daemon_start "workers: {count: 1, cpus: [$SWITCH_CPU]}
ports:
  - {name: c1, hold: natural, merge: off}
  - {name: c2, merge: off${1:+, $1}}"
}

# `traffic ARGUMENT...`: the result line goes to $GUEST_WORK/line, what the daemon says of the
# receiving port to $GUEST_WORK/tuning.
traffic() {
    # shellcheck disable=SC2086
    ${PRIO:-} timeout -k 5 $((SECONDS_EACH * 10 + 60)) taskset -c "$GUEST_CPU" \
        "$BUILD/tests/lib/convoy-traffic" --ring 1024 \
        --finally "'$BUILD/cli/convoy' --socket '$RUN_DIR/control.sock' --json port show c2 >'$GUEST_WORK/port'" \
        "$@" "$RUN_DIR/c1.sock" "$RUN_DIR/c2.sock" >"$GUEST_WORK/said"
    local status=$?
    grep ^result "$GUEST_WORK/said" >"$GUEST_WORK/line" || {
        cat "$GUEST_WORK/said" >&2
        return 1
    }
    jq '.tuning.queues[0].to // {}' "$GUEST_WORK/port" >"$GUEST_WORK/tuning"
    ((status == 0)) || say "   (exit status $status: $(<"$GUEST_WORK/line"))" >&2
    return 0
}

word() { grep -o " $1=[^ ]*" "$GUEST_WORK/line" | cut -d= -f2; }     # NAME, of the result line
number() { jq -r "($1) // 0" "$GUEST_WORK/tuning" 2>/dev/null || echo 0; } # JQ-PATH

open_loop() { # ARRIVALS [ARGUMENT]...
    local arrivals=$1
    shift
    traffic --arrivals "$arrivals" --seconds "$SECONDS_EACH" --warm-up 0.5 "$@"
}

# The largest rate of Poisson arrivals that sender, switch and receiver sustain without holding: what
# they offer arrives, in time, and half of it within 100 us. Found by doubling and halving.
CAPACITY=0
keeps_up() { # RATE
    traffic --arrivals "poisson:$1" --seconds 1 --warm-up 0.2 --allow-loss || return 1
    holds "$(word received) >= 0.995 * $(word sent) && $(word late) <= 0.1 * $(word measured) &&
        $(word delay_p50_us) <= 100"
}

measure_capacity() {
    local low=50000 high i middle
    ((CAPACITY == 0)) || return 0
    traffic_start "hold: natural" || return 1
    while keeps_up $((low * 2)) && ((low < 50000000)); do low=$((low * 2)); done
    high=$((low * 2))
    for ((i = 0; i < 5; i++)); do
        middle=$(((low + high) / 2))
        if keeps_up "$middle"; then low=$middle; else high=$middle; fi
    done
    daemon_stop
    CAPACITY=$low
    say "capacity: $CAPACITY packets a second, Poisson, 60 bytes, natural, one worker"
}

load_rate() { calc "$CAPACITY * $1 / 100" 0; } # PERCENT

# --- merge ------------------------------------------------------------------------------------------------

iperf_gbps() { jq -r '.end.sum_received.bits_per_second / 1e9'; }

busy_ticks() { awk -v cpu="cpu$1" '$1 == cpu {print $2 + $3 + $4 + $7 + $8 + $9}' /proc/stat; } # CPU

# Gbit/s from the host, and the shares of the switch's and of the guest's processor that were busy.
host_tcp_run() { # ADDRESS
    local gbps switch guest
    switch=$(busy_ticks $SWITCH_CPU) guest=$(busy_ticks $GUEST_CPU)
    gbps=$(timeout -k 5 $((SECONDS_EACH + 30)) taskset -c "$SWITCH_CPU" \
        iperf3 -J -c "$1" -t "$SECONDS_EACH" | iperf_gbps)
    echo "$gbps $(calc "($(busy_ticks $SWITCH_CPU) - $switch) / 100.0 / $SECONDS_EACH")" \
        "$(calc "($(busy_ticks $GUEST_CPU) - $guest) / 100.0 / $SECONDS_EACH")"
}

# A receiver without a guest: a namespace behind a veth pair.
native_start() {
    native_stop
    ip netns add convoy-native && ip link add convoy-veth type veth peer name eth0 netns convoy-native || return 1
    ip addr add 10.5.0.254/24 dev convoy-veth
    ip link set convoy-veth up
    ip -n convoy-native addr add 10.5.0.1/24 dev eth0
    ip -n convoy-native link set eth0 up
    ethtool -K convoy-veth tso off gso off >/dev/null
    ip netns exec convoy-native taskset -c "$GUEST_CPU" timeout -k 5 900 iperf3 -s >/dev/null 2>&1 &
    NATIVE_PID=$!
    guest_await 10 ip netns exec convoy-native sh -c 'ss -ltn | grep -q :5201'
}

native_stop() {
    [[ -z ${NATIVE_PID:-} ]] || kill "$NATIVE_PID" 2>/dev/null
    NATIVE_PID=''
    ip netns del convoy-native 2>/dev/null
    ip link del convoy-veth 2>/dev/null
}

native_tcp_run() { # on|off: whether the receiver's kernel merges
    ip netns exec convoy-native ethtool -K eth0 gro "$1" >/dev/null
    host_tcp_run 10.5.0.1
}

# The host cuts its stream into 1500-byte packets, or sends super-packets.
host_cuts() { # on|off
    local offload
    offload=$([[ $1 == on ]] && echo off || echo on)
    ethtool -K convoy-up tso "$offload" gso "$offload" >/dev/null
}

uplink_start() { # the guest is v1
    ip link set lo up
    daemon_start "workers: {count: 1, cpus: [$SWITCH_CPU]}
ports: [{name: v1}, {name: up, type: tap, interface: convoy-up}]" || return 1
    ip addr add 10.4.0.254/24 dev convoy-up
    ip link set convoy-up up
    guest_uml_start v1 "$RUN_DIR/v1.sock" ip=10.4.0.1/24 cpus=$GUEST_CPU
    guest_wait_ready v1
}

merge_line() { # LABEL FILE
    say "$(printf '%-40s %6.2f Gbit/s, processors busy: %.2f %.2f' "$1" "$(median_of 1 "$2")" "$(median_of 2 "$2")" "$(median_of 3 "$2")")    runs: $(awk '{printf "%.2f ", $1}' "$GUEST_WORK/$2")"
}
median_of() { awk -v f="$1" '{print $f}' "$GUEST_WORK/$2" | median; } # FIELD FILE

figure_merge() {
    local i contestant mode merge cut off best limit native pieces whole goal
    say "== TCP from the host, one stream, ${SECONDS_EACH} s, median of $RUNS; sender and switch on the first processor, receiver on the second"
    uplink_start && native_start || return 1
    guest_run v1 'iperf3 -s -D >/dev/null 2>&1' >/dev/null
    for ((i = 0; i < RUNS; i++)); do
        for contestant in off/off/on natural/off/on natural/on/on adaptive/on/on natural/off/off; do
            IFS=/ read -r mode merge cut <<<"$contestant"
            port_set v1 "hold=$mode" "merge=$merge" || return 1
            host_cuts "$cut"
            host_tcp_run 10.4.0.1 >>"$GUEST_WORK/merge.${contestant//\//-}"
        done
        native_tcp_run off >>"$GUEST_WORK/merge.native"
        native_tcp_run on >>"$GUEST_WORK/merge.native-gro"
    done
    off=$(median_of 1 merge.off-off-on) best=$(median_of 1 merge.adaptive-on-on)
    limit=$(median_of 1 merge.natural-off-off) native=$(median_of 1 merge.native)
    merge_line "1500-byte packets, off, not merged" merge.off-off-on
    merge_line "1500-byte packets, natural, not merged" merge.natural-off-on
    merge_line "1500-byte packets, natural, merged" merge.natural-on-on
    merge_line "1500-byte packets, adaptive, merged" merge.adaptive-on-on
    merge_line "64 KiB super-packets from the host" merge.natural-off-off
    merge_line "1500-byte packets, native, not merged" merge.native
    merge_line "1500-byte packets, native, merged (GRO)" merge.native-gro
    say "adaptive merged / off: $(ratio "$best" "$off"); / the guest's limit: $(ratio "$best" "$limit"); / native: $(ratio "$best" "$native")"
    native_stop
    guest_kill v1
    daemon_stop
    # What the sender's processor leaves to a switch, and what a switch cannot do without.
    read -r pieces whole <<<"$(taskset -c "$SWITCH_CPU" "$BUILD/bench/tap-read" convoy-bare)"
    say "reading a packet from TAP and nothing else: $pieces ns in pieces, $whole ns whole; at the rate of"
    for goal in "$best" "$(calc "$off * 3")" "$(calc "$limit * 0.9")"; do
        say "$(printf '   %.2f Gbit/s a native sender leaves %.0f ns for each' "$goal" \
            "$(calc "(1 - $goal / $(median_of 1 merge.native-gro)) * 12112 / $goal")")"
    done
    repeat merge
}

# --- small ------------------------------------------------------------------------------------------------

small_report() { # NAME
    local mode
    for mode in off natural adaptive; do
        say "$1, $mode: $(median <"$GUEST_WORK/small.$mode") Mpps    runs: $(runs_of "small.$mode")"
    done
    for mode in natural adaptive; do
        say "$1, $mode / off: $(ratio "$(median <"$GUEST_WORK/small.$mode")" "$(median <"$GUEST_WORK/small.off")")"
    done
    rm -f "$GUEST_WORK"/small.*
}

small_testpmd() {
    local i mode
    dpdk_hugepages_setup 2048 || return 1
    for ((i = 0; i < RUNS; i++)); do
        for mode in off natural adaptive; do
            daemon_start "workers: {count: 1, cpus: [$SWITCH_CPU]}
ports: [{name: c1, hold: \"$mode\"}, {name: c2, hold: \"$mode\"}]" || return 1
            loop_mpps "$RUN_DIR/c1.sock" "$RUN_DIR/c2.sock" >>"$GUEST_WORK/small.$mode"
            daemon_stop
        done
    done
    dpdk_hugepages_teardown
    small_report "testpmd, both directions"
}

figure_small() {
    local i mode
    say "== 64-byte packets between guests that poll, switch on a core of its own, median of $RUNS"
    small_testpmd || say "testpmd could not be used"
    for ((i = 0; i < RUNS; i++)); do
        for mode in off natural adaptive; do
            traffic_start "hold: \"$mode\"" || return 1
            traffic --one-way --busy --window 512 --size 64 --frames $((SECONDS_EACH * 500000)) ||
                return 1
            word mpps >>"$GUEST_WORK/small.$mode"
            daemon_stop
        done
    done
    small_report "synthetic guests, one direction"
    repeat small
}

# --- lone -------------------------------------------------------------------------------------------------

figure_lone() {
    local i mode quantity added
    say "== 100 packets a second, each alone, $((SECONDS_EACH * 5)) s, median of $RUNS, us until the guest is called"
    traffic_start || return 1
    for ((i = 0; i < RUNS; i++)); do
        for mode in natural adaptive; do
            port_set c2 "hold=$mode" delay-budget=50us delay-weight=0.1 || return 1
            traffic --arrivals constant:100 --seconds $((SECONDS_EACH * 5)) --warm-up 1 || return 1
            for quantity in mean p50 p99; do
                word "call_delay_${quantity}_us" >>"$GUEST_WORK/lone.$mode.$quantity"
            done
            jq '.tuning.histograms.added_delay_ns.p99 / 1000' "$GUEST_WORK/port" >>"$GUEST_WORK/lone.$mode.added"
        done
    done
    for mode in natural adaptive; do
        say "$mode: mean $(median <"$GUEST_WORK/lone.$mode.mean"), p50 $(median <"$GUEST_WORK/lone.$mode.p50"), p99 $(median <"$GUEST_WORK/lone.$mode.p99")    runs of p99: $(runs_of "lone.$mode.p99")"
        added=$(median <"$GUEST_WORK/lone.$mode.added")
        say "$mode: added by holding, by the daemon, in all its runs so far: p99 $added us    runs: $(runs_of "lone.$mode.added")"
    done
    say "p99 of adaptive - p99 of natural: $(calc "$(median <"$GUEST_WORK/lone.adaptive.p99") - $(median <"$GUEST_WORK/lone.natural.p99")") us"
    daemon_stop
    repeat lone
}

# --- budget -----------------------------------------------------------------------------------------------

# One cell: runs adaptive with a budget, appends its figures to $GUEST_WORK/cell.*.
budget_cell() { # ARRIVALS BUDGET_US
    local name
    port_set c2 hold=adaptive "delay-budget=${2}us" "delay-weight=$WEIGHT" || return 1
    open_loop "$1" || return 1
    word call_delay_mean_us >>"$GUEST_WORK/cell.delay"
    word packets_per_call >>"$GUEST_WORK/cell.per_call"
    printf "%s\n" "$(calc "$(word late) * 100 / $(word measured)" 1)" >>"$GUEST_WORK/cell.late"
    number .measured.mean_size >>"$GUEST_WORK/cell.size"
    number .predicted.mean_size >>"$GUEST_WORK/cell.size_predicted"
    for name in measured predicted; do
        number "(.$name.mean_wait_s // 0) * 1e6" >>"$GUEST_WORK/cell.wait_$name"
    done
    number '"\(.rule.packets_max),\(.rule.time_max_ns / 1e3)"' >>"$GUEST_WORK/cell.rule"
}

# The delay without holding: what the way and the wake-ups take.
budget_base() { # ARRIVALS
    port_set c2 hold=natural || return 1
    open_loop "$1" || return 1
    word call_delay_mean_us >>"$GUEST_WORK/cell.base"
}

cell() { median <"$GUEST_WORK/cell.$1"; } # NAME

budget_row() { # LABEL BUDGET_US
    local added size_error wait_error
    added=$(calc "$(cell delay) - $(cell base)" 1)
    size_error=$(calc "$(cell size_predicted) ? ($(cell size) / $(cell size_predicted) - 1) * 100 : 0" 0)
    wait_error=$(calc "$(cell wait_predicted) ? ($(cell wait_measured) / $(cell wait_predicted) - 1) * 100 : 0" 0)
    printf '%-18s %4d  %-12s %7.2f %7.2f %5d %%  %7.1f %7.1f %5d %%  %7.1f %7.1f  %7.2f  %5.1f %%\n' "$1" "$2" \
        "$(tail -n 1 "$GUEST_WORK/cell.rule")" "$(cell size_predicted)" "$(cell size)" "$size_error" \
        "$(cell wait_predicted)" "$(cell wait_measured)" "$wait_error" "$(cell delay)" "$added" \
        "$(cell per_call)" "$(cell late)"
    echo "$1|$2|$added|$(cell wait_measured)|$size_error" >>"$GUEST_WORK/budget.rows"
}

budget_measure() { # LABEL ARRIVALS BUDGET_US...
    local label=$1 arrivals=$2 i budget
    shift 2
    rm -f "$GUEST_WORK/cell.base"
    for ((i = 0; i < RUNS; i++)); do budget_base "$arrivals" || return 1; done
    for budget in "$@"; do
        rm -f "$GUEST_WORK"/cell.{delay,per_call,late,size,size_predicted,wait_measured,wait_predicted,rule}
        for ((i = 0; i < RUNS; i++)); do budget_cell "$arrivals" "$budget" || return 1; done
        budget_row "$label" "$budget"
    done
}

figure_budget() {
    local load
    measure_capacity || return 1
    say "== delay budgets: adaptive, weight $WEIGHT, median of $RUNS runs of ${SECONDS_EACH} s"
    say "   E[B]: packets of a group, predicted and measured by the daemon; E[W]: their mean wait in us,"
    say "   likewise; delay: mean until the guest was called, as it saw it, and what of it is more than with"
    say "   natural; packets per call; share of packets that were sent late"
    say "load                D    K,T us          E[B]                      E[W]                    delay   added  per call   late"
    rm -f "$GUEST_WORK/budget.rows"
    traffic_start || return 1
    for load in $LOADS; do
        # shellcheck disable=SC2086
        budget_measure "$load %" "poisson:$(load_rate "$load")" $BUDGETS_US || return 1
    done
    awk -F'|' '{d = $3 / $2; w = $4 / $2; e = ($5 < 0 ? -$5 : $5)
                if (d > md) {md = d; at = $1 " of load, D " $2} if (w > mw) mw = w; if (e > me) {me = e; ea = $1 " of load, D " $2}}
                END {printf "Poisson: largest added delay / D %.2f as the guest saw it (%s), %.2f by the daemon; largest error of E[B] %d %% (%s)\n", md, at, mw, me, ea}' \
        "$GUEST_WORK/budget.rows"
    budget_measure "constant, 25 %" "constant:$(load_rate 25)" 50 || return 1
    budget_measure "on/off, 25 % on" "onoff:$(load_rate 25),1ms,3ms" 50 || return 1
    budget_measure "recorded TCP" "trace:$CAPTURE" 50 || return 1
    budget_measure "recorded TCP, x10" "trace:$CAPTURE,10" 50 || return 1
    daemon_stop
    repeat budget
}

# --- static -----------------------------------------------------------------------------------------------

# One run under a rule: "RULE delay received-per-second ns-of-the-switch-per-packet packets-per-call"
static_run() { # RULE ARRIVALS SETTING...
    local rule=$1 arrivals=$2 cpu0 cpu1
    shift 2
    port_set c2 "$@" || return 1
    cpu0=$(daemon_cpu_ms)
    open_loop "$arrivals" --allow-loss || return 1
    cpu1=$(daemon_cpu_ms)
    echo "$rule $(word call_delay_mean_us) $(calc "$(word received) / $SECONDS_EACH" 0) $(calc "($cpu1 - $cpu0) * 1e6 / $(word received)" 1) $(word packets_per_call)" \
        >>"$GUEST_WORK/static.runs"
}

# Medians by rule, then adaptive beside the best of those whose mean delay is no more than 5 % above
# its own: by packets carried, by processor time a packet, by packets a call.
static_report() { # LABEL
    sort "$GUEST_WORK/static.runs" | awk -v label="$1" -v runs="$RUNS" '
        function median(list,   v, n, i, j, t) {
            n = split(list, v, " ")
            for (i = 2; i <= n; i++) for (j = i; j > 1 && v[j - 1] > v[j]; j--) {t = v[j]; v[j] = v[j - 1]; v[j - 1] = t}
            return v[int((n + 1) / 2)] + 0
        }
        {d[$1] = d[$1] " " $2; r[$1] = r[$1] " " $3; c[$1] = c[$1] " " $4; b[$1] = b[$1] " " $5}
        END {
            da = median(d["adaptive"]); ra = median(r["adaptive"]); ca = median(c["adaptive"]); ba = median(b["adaptive"])
            for (rule in d) {
                if (rule == "adaptive" || median(d[rule]) > da * 1.05 + 0.5) continue
                if (median(r[rule]) > rb) {rb = median(r[rule]); rr = rule}
                if (cb == 0 || median(c[rule]) < cb) {cb = median(c[rule]); cr = rule}
                if (median(b[rule]) > bb) {bb = median(b[rule]); br = rule}
            }
            printf "%-8s adaptive: delay %6.1f us, %8d pps, %6.1f ns, %6.2f per call | best at no more delay: %8d pps (%s), %6.1f ns (%s), %6.2f per call (%s) | adaptive / best: pps %.3f, packets per processor time %.3f\n",
                label, da, ra, ca, ba, rb, rr, cb, cr, bb, br, (rb ? ra / rb : 0), (ca ? cb / ca : 0)
        }'
}

figure_static() {
    local load i k t arrivals
    measure_capacity || return 1
    say "== adaptive (50 us, weight $WEIGHT) against fixed K,T: K of $GRID_K; T of $GRID_T_US us; off; natural"
    say "   median of $RUNS runs of ${SECONDS_EACH} s each, Poisson; beyond 100 % the switch is saturated"
    traffic_start || return 1
    for load in ${STATIC_LOADS:-10 25 50 75 95 130}; do
        arrivals=poisson:$(load_rate "$load")
        rm -f "$GUEST_WORK/static.runs"
        for ((i = 0; i < RUNS; i++)); do
            static_run adaptive "$arrivals" hold=adaptive delay-budget=50us "delay-weight=$WEIGHT" || return 1
            static_run off "$arrivals" hold=off || return 1
            static_run natural "$arrivals" hold=natural || return 1
            for k in $GRID_K; do
                for t in $GRID_T_US; do
                    static_run "$k,${t}us" "$arrivals" "hold=fixed:$k,${t}us" || return 1
                done
            done
        done
        static_report "$load %"
    done
    daemon_stop
    repeat static
}

# --- step -------------------------------------------------------------------------------------------------

# From lines "ns rate K T ...": how long after the step K and T came within 25 % of where they end
# (the medians of the last 300 ms) and stayed there for 30 ms, in ms: longer, and a sender that loses
# its processor for a moment makes a step of its own. One packet more or less, and 1 us, is no
# difference.
settled_ms() { # STEP-NS
    awk -v step="$1" '
        {at[NR] = $1; k[NR] = $3; t[NR] = $4}
        function median_of(v, from, n,   i, j, x, s, m) {
            m = 0
            for (i = from; i <= n; i++) s[++m] = v[i]
            for (i = 2; i <= m; i++) for (j = i; j > 1 && s[j - 1] > s[j]; j--) {x = s[j]; s[j] = s[j - 1]; s[j - 1] = x}
            return s[int((m + 1) / 2)]
        }
        function far(value, goal, slack) {return value > goal * 1.25 + slack || value < goal * 0.75 - slack}
        END {
            for (last = NR; last > 1 && at[NR] - at[last] < 3e8; last--) ;
            kg = median_of(k, last, NR); tg = median_of(t, last, NR); settled = 0
            for (i = 1; i <= NR; i++) {
                if (at[i] <= step) continue
                if (far(k[i], kg, 1) || far(t[i], tg, 1)) settled = 0
                else if (!settled) settled = at[i]
                if (settled && at[i] - settled >= 3e7) break
            }
            if (!settled) settled = at[NR]
            printf "%.0f %d %.1f\n", (settled - step) / 1e6, kg, tg
        }'
}

step_run() { # FROM-PERCENT TO-PERCENT NAME
    local watch ms k t
    "$BUILD/tests/lib/convoy-watch" "$RUN_DIR" c2 2 $((SECONDS_EACH + 1)) >"$GUEST_WORK/watched" &
    watch=$!
    open_loop "poisson:$(load_rate "$1")" --then "poisson:$(load_rate "$2")" || return 1
    wait "$watch"
    # What it says after the traffic is over is of no interest.
    awk -v end="$(calc "$(word step_ns) + $SECONDS_EACH * 5e8 - 2e7" 0)" '$1 <= end' "$GUEST_WORK/watched" \
        >"$GUEST_WORK/steps"
    read -r ms k t <<<"$(settled_ms "$(word step_ns)" <"$GUEST_WORK/steps")"
    echo "$ms" >>"$GUEST_WORK/step.$3"
    echo "$k,$t" >>"$GUEST_WORK/step.$3.rule"
}

figure_step() {
    local i step from to
    measure_capacity || return 1
    say "== a step in load, Poisson, adaptive (50 us, weight $WEIGHT): ms until K and T are within 25 % of where"
    say "   they end for 30 ms, asked for every 2 ms, median of $RUNS"
    traffic_start "hold: adaptive, delay-budget: 50us, delay-weight: $WEIGHT" || return 1
    for step in 5/50 50/5 1/90 90/1 25/50; do
        IFS=/ read -r from to <<<"$step"
        for ((i = 0; i < RUNS; i++)); do step_run "$from" "$to" "$from-$to" || return 1; done
        say "$from % to $to %: $(median <"$GUEST_WORK/step.$from-$to") ms, then K,T $(tail -n 1 "$GUEST_WORK/step.$from-$to.rule") us    runs: $(runs_of "step.$from-$to")"
    done
    daemon_stop
    repeat step
}

# --- mixed ------------------------------------------------------------------------------------------------

# Requests of 64 bytes from the host, beside its own bulk transfer into the same guest.
mixed_run() { # NAME BULK [ADDRESS]
    local bulk='' address=${3:-10.4.0.1}
    if [[ $2 == beside ]]; then
        host_tcp_run "$address" | cut -d' ' -f1 >"$GUEST_WORK/mixed.bulk" &
        bulk=$!
        sleep 1
    fi
    timeout -k 5 60 taskset -c "$SWITCH_CPU" sockperf ping-pong -i "$address" -p 11112 -m 64 \
        -t "$((SECONDS_EACH - 1))" >"$GUEST_WORK/mixed.said" 2>&1 || {
        tail -n 5 "$GUEST_WORK/mixed.said" >&2
        return 1
    }
    grep -q 'percentile 50' "$GUEST_WORK/mixed.said" || { tail -n 5 "$GUEST_WORK/mixed.said" >&2; return 1; }
    awk '/percentile 50.000/ {print $NF}' "$GUEST_WORK/mixed.said" >>"$GUEST_WORK/mixed.$1.p50"
    awk '/percentile 99.000/ {print $NF}' "$GUEST_WORK/mixed.said" >>"$GUEST_WORK/mixed.$1.p99"
    [[ -z $bulk ]] || { wait "$bulk" && cat "$GUEST_WORK/mixed.bulk" >>"$GUEST_WORK/mixed.$1.gbps"; }
}

# A guest as v1, at the kernel's own TAP: what of a delay is the guest's doing.
plain_tap_start() { # the guest is t1
    guest_uml_start_tap t1 convoy-tap ip=10.4.1.1/24 cpus=$GUEST_CPU || return 1
    ip addr add 10.4.1.254/24 dev convoy-tap
    guest_wait_ready t1 && guest_await 10 ping -c 1 -w 1 10.4.1.1 >/dev/null
}

figure_mixed() {
    local i contestant mode merge alone
    say "== 64-byte requests and answers beside a bulk TCP transfer of 1500-byte packets, host to one guest,"
    say "   median of $RUNS runs of ${SECONDS_EACH} s: half a round trip in us, bulk in Gbit/s"
    uplink_start && plain_tap_start || return 1
    guest_run v1 'iperf3 -s -D >/dev/null 2>&1; sockperf server -i 10.4.0.1 -p 11112 >/dev/null 2>&1 &' >/dev/null
    guest_run t1 'sockperf server -i 10.4.1.1 -p 11112 >/dev/null 2>&1 &' >/dev/null
    host_cuts on
    for ((i = 0; i < RUNS; i++)); do
        for contestant in off/off natural/on adaptive/on; do
            IFS=/ read -r mode merge <<<"$contestant"
            port_set v1 "hold=$mode" "merge=$merge" || return 1
            mixed_run "$mode-alone" alone || return 1
            mixed_run "$mode" beside || return 1
            host_tcp_run 10.4.0.1 | cut -d' ' -f1 >>"$GUEST_WORK/mixed.$mode.bulk_alone"
        done
        # A datagram that the guest loses there ends a ping-pong, and says nothing of Convoy.
        mixed_run tap alone 10.4.1.1 || say "   (this run has no figure of the kernel's TAP)"
    done
    [[ ! -s $GUEST_WORK/mixed.tap.p50 ]] || say "kernel TAP, past Convoy: alone p50 $(median <"$GUEST_WORK/mixed.tap.p50"), p99 $(median <"$GUEST_WORK/mixed.tap.p99")"
    for mode in off natural adaptive; do
        alone=$(median <"$GUEST_WORK/mixed.$mode.bulk_alone")
        say "$mode: alone p50 $(median <"$GUEST_WORK/mixed.$mode-alone.p50"), p99 $(median <"$GUEST_WORK/mixed.$mode-alone.p99"); beside bulk p50 $(median <"$GUEST_WORK/mixed.$mode.p50"), p99 $(median <"$GUEST_WORK/mixed.$mode.p99"); bulk $(median <"$GUEST_WORK/mixed.$mode.gbps"), alone $alone"
    done
    say "p99 adaptive / off: $(ratio "$(median <"$GUEST_WORK/mixed.adaptive.p99")" "$(median <"$GUEST_WORK/mixed.off.p99")"); adaptive's bulk beside requests / alone: $(ratio "$(median <"$GUEST_WORK/mixed.adaptive.gbps")" "$(median <"$GUEST_WORK/mixed.adaptive.bulk_alone")")"
    guest_kill v1 t1
    daemon_stop
    repeat mixed
}

((EUID == 0)) || { say "this measures real guests and needs root"; exit 1; }
guest_init || exit 1
trap 'native_stop; bench_cleanup' EXIT
(($#)) || set -- merge small lone budget static step mixed
for figure in "$@"; do
    if ! declare -F "figure_$figure" >/dev/null; then
        say "there is no figure \"$figure\": merge, small, lone, budget, static, step, mixed"
        exit 2
    fi
done
for figure in "$@"; do
    "figure_$figure" || { say "figure $figure could not be measured"; exit 1; }
done
