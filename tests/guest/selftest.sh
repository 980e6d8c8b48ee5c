#!/bin/bash
# Goal: the library that boots guests does what tests rely on, and leaves nothing behind.
# Method: two User Mode Linux guests on a kernel bridge, in a network namespace of their own; the
# switch takes no part.
#
#     vm1 --- tap1 --- bridge0 --- tap2 --- vm2
#  10.0.0.1/24                           10.0.0.2/24
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if ((EUID != 0)); then
    echo "skipped: needs root, for TAP devices and a network namespace"
    exit 77
fi
for program in linux.uml iperf3 busybox cc; do
    if ! command -v "$program" >/dev/null; then
        echo "skipped: needs $program (packages user-mode-linux iperf3 busybox-static gcc)"
        exit 77
    fi
done
if [[ -z ${GUEST_SELFTEST_NAMESPACE:-} ]]; then
    GUEST_SELFTEST_NAMESPACE=1 exec unshare --net "${BASH_SOURCE[0]}"
fi

# shellcheck source-path=SCRIPTDIR
source "$here/lib.sh"
passed=0 failed=0

# `check WHAT COMMAND...` counts whether the command succeeds.
check() {
    local what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok: $what"
    else
        failed=$((failed + 1))
        echo "NOT OK: $what"
    fi
}

returns() { # STATUS COMMAND...
    local want=$1 got=0
    shift
    "$@" >/dev/null 2>&1 || got=$?
    [[ $got == "$want" ]] || {
        echo "  returned $got instead of $want: $*"
        return 1
    }
}

prints() { # TEXT COMMAND...
    local want=$1 got
    shift
    got=$("$@" 2>&1) || true
    [[ $got == "$want" ]] || {
        echo "  printed '${got:0:200}' instead of '${want:0:200}'"
        return 1
    }
}

boots_pair() {
    guest_uml_start_tap vm1 tap1 bridge=bridge0 ip=10.0.0.1/24 ip6=fd00::1/64 mtu=1400 \
        run='echo written at boot >/tmp/mark' &&
        guest_uml_start_tap vm2 tap2 bridge=bridge0 ip=10.0.0.2/24 ip6=fd00::2/64 &&
        guest_wait_ready vm1 vm2
}

long_command_arrives() {
    local word
    word=$(printf 'x%.0s' {1..20000})
    prints "$word" guest_run vm1 "echo $word"
}

output_is_exact() {
    diff <(guest_run vm1 'seq 1 50000') <(seq 1 50000) >/dev/null
}

# Each of the commands waits for the next one's file, so that they end only if all run at once.
commands_run_side_by_side() {
    local i pids=() pid
    for i in 1 2 3 4; do
        prints "$i" guest_run -t 20 vm1 "touch /tmp/side$i
            while ! [ -e /tmp/side$((i % 4 + 1)) ]; do usleep 10000; done; echo $i" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || return 1
    done
}

late_command_is_ended() {
    returns 124 guest_run -t 2 vm1 'sleep 4321' && returns 1 guest_run vm1 'pidof sleep'
}

# Two seconds of a guest that has nothing to do but sleep.
idle_costs_nothing() {
    local before_ms after_ms
    before_ms=$(guest_cpu_ms vm1)
    guest_run vm1 'sleep 2'
    after_ms=$(guest_cpu_ms vm1)
    ((after_ms - before_ms < 300)) || {
        echo "  used $((after_ms - before_ms)) ms of processor time"
        return 1
    }
}

transfer_works() {
    guest_run vm2 'iperf3 -s -D' && guest_run vm1 'iperf3 -c 10.0.0.2 -n 50M' | grep -q receiver
}

# Kills a guest while a command runs in it.
kill_is_noticed() {
    local pid group got=0
    group=$(<"$GUEST_WORK/vm2/group")
    guest_run vm2 'echo >/dev/ttyS0; sleep 60' >/dev/null 2>&1 &
    pid=$!
    guest_await 10 guest_run vm2 'pidof sleep >/dev/null' || return 1
    guest_kill vm2
    wait "$pid" || got=$?
    ((got == 125)) && guest_group_ended "$group" && returns 125 guest_run vm2 true
}

name_can_be_used_again() {
    guest_uml_start_tap vm2 tap2 bridge=bridge0 ip=10.0.0.2/24 && guest_wait_ready vm2 &&
        guest_run vm1 'ping -c 1 -w 5 10.0.0.2' >/dev/null
}

watchdog_ends_guest() {
    local group
    GUEST_LIFE_S=1 guest_uml_start_tap vm3 tap3 || return 1
    group=$(<"$GUEST_WORK/vm3/group")
    guest_await 20 guest_group_ended "$group" && guest_await 5 test -e "$GUEST_WORK/vm3/gone"
}

has_no_tap() { # NAME-PATTERN
    ! ip -o link show | grep -q ": $1"
}

# A script is interrupted while it waits for a guest's command: its guest, its TAP device and its
# folder must go.
interrupt_leaves_nothing() {
    local note=$GUEST_WORK/note pid group work
    # The default signal, because a shell's background commands ignore the interrupt.
    # shellcheck disable=SC2016
    GUEST_WORK='' env --default-signal=INT bash -c '
        set -euo pipefail
        source "$0/lib.sh"
        guest_init
        trap guest_cleanup EXIT
        trap "exit 130" INT
        guest_uml_start_tap vm4 tap4
        guest_wait_ready vm4
        echo "$(<"$GUEST_WORK/vm4/group") $GUEST_WORK" >"$1.part"
        mv "$1.part" "$1"
        guest_run vm4 "sleep 60"' "$here" "$note" &
    pid=$!
    guest_await 30 test -s "$note" || return 1
    read -r group work <"$note"
    guest_group_lives "$group" && [[ -d $work ]] || return 1
    kill -INT "$pid"
    returns 130 wait "$pid" && guest_group_ended "$group" && [[ ! -e $work ]] &&
        has_no_tap tap4
}

cleanup_leaves_nothing() {
    local group1 group2
    group1=$(<"$GUEST_WORK/vm1/group")
    group2=$(<"$GUEST_WORK/vm2/group")
    guest_cleanup
    guest_group_ended "$group1" && guest_group_ended "$group2" && [[ ! -e $GUEST_WORK ]] &&
        has_no_tap tap
}

# --- the tests ------------------------------------------------------------------------------------

unset GUEST_WORK
guest_init
trap guest_cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
ip link set lo up
ip link add bridge0 type bridge
ip link set bridge0 up

guest_initramfs uml >/dev/null
started_us=${EPOCHREALTIME/[.,]/}
check "two guests boot" boots_pair
echo "    in $(((${EPOCHREALTIME/[.,]/} - started_us) / 1000)) ms"
check "a command's output is printed" prints vm1 guest_run vm1 hostname
check "a command's status is returned" returns 7 guest_run vm1 'exit 7'
check "a command may have several lines and quotes" \
    prints "a 'b' \"c\" \$d" guest_run vm1 $'x=a\necho "$x \'b\' \\"c\\" \\$d"'
check "a long command arrives" long_command_arrives
check "long output is exact" output_is_exact
check "commands run side by side" commands_run_side_by_side
check "a command that takes too long is ended" late_command_is_ended
check "run= runs at boot" prints 'written at boot' guest_run vm1 'cat /tmp/mark'
check "mtu= is set" prints 1400 guest_run vm1 'cat /sys/class/net/eth0/mtu'
check "ping" guest_run vm1 'ping -c 2 -i 0.1 10.0.0.2 >/dev/null'
check "ping with IPv6" guest_run vm1 'ping -6 -c 2 -i 0.1 fd00::2 >/dev/null'
check "iperf3" transfer_works
check "an idle guest costs nothing" idle_costs_nothing
check "an unknown option is refused" returns 1 guest_uml_start vm9 /nowhere colour=red
check "a missing socket is refused" returns 1 guest_uml_start vm9 /nowhere wait_s=0
check "a name in use is refused" returns 1 guest_uml_start_tap vm1 tap9
check "a command notices that its guest was killed" kill_is_noticed
check "a killed guest can be replaced" name_can_be_used_again
check "the watchdog ends a forgotten guest" watchdog_ends_guest
check "an interrupted script leaves nothing behind" interrupt_leaves_nothing
check "guest_cleanup leaves nothing behind" cleanup_leaves_nothing

echo "$passed passed, $failed failed"
((failed == 0))
