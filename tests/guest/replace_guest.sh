#!/bin/bash
# Goal: a guest that is killed in the middle of a transfer is replaced by a new one, a port can be
# removed and added again under traffic, and nobody else notices.
# Method: two User Mode Linux guests are killed, replaced and unplugged in turn, while a pair of
# front ends exchanges frames of which every byte is checked.
#
#     vm1 --+             +-- a == convoy-traffic, verified, all the time
#           +-- convoyd --+-- b
#     vm2 --+             +-- c == convoy-traffic, whose port d comes and goes
#                         +-- d
set -euo pipefail

# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/daemon.sh"
test_begin linux.uml iperf3 busybox jq cc

daemon_start <<'END'
ports:
  - name: vm1
  - name: vm2
  - name: a
  - name: b
  - name: c
  - name: d
END

boot() { # GUEST...
    local name
    for name in "$@"; do
        guest_uml_start "$name" "$DAEMON_RUN/$name.sock" "ip=10.0.0.${name#vm}/24"
    done
    guest_wait_ready "$@" && serve_iperf "$@"
}

# --- the pair that must not notice ----------------------------------------------------------------

# Runs after each other, until told to stop; writes a line for each.
verified_runs() {
    while [[ ! -e $GUEST_WORK/stop ]]; do
        if "$CONVOY_TRAFFIC" --verify --frames 200000 --size 60-1514 --time-limit 20 \
            "$DAEMON_RUN/a.sock" "$DAEMON_RUN/b.sock" >"$GUEST_WORK/verified.last" 2>&1; then
            echo ok >>"$GUEST_WORK/verified"
        else
            echo bad >>"$GUEST_WORK/verified"
            cat "$GUEST_WORK/verified.last" >>"$GUEST_WORK/verified.bad"
        fi
    done
}

verified_count() {
    grep -c ok "$GUEST_WORK/verified" || true
}

# Whether another whole run ends now: the pair's traffic goes on.
pair_goes_on() {
    local before
    before=$(verified_count)
    guest_await 40 test_more_runs $((before + 1))
}

test_more_runs() { # COUNT
    (($(verified_count) > $1))
}

pair_never_lost() {
    if [[ -e $GUEST_WORK/verified.bad ]]; then
        cat "$GUEST_WORK/verified.bad"
        return 1
    fi
    echo "    $(verified_count) runs of 2 times 200000 frames, every byte as it was sent"
}

test_at_end() {
    : >"$GUEST_WORK/stop"
    wait
}

# --- guests that come and go ----------------------------------------------------------------------

moved_since() { # SNAPSHOT PORT BYTES
    (($(grown "$1" "$2" .counters.to_bytes) > $3))
}

# Starts a transfer from vm1 to vm2 and waits until it is well under way.
start_transfer() {
    snapshot transfer
    guest_run -t 40 vm1 'iperf3 -c 10.0.0.2 -t 30' >/dev/null 2>&1 &
    transfer=$!
    guest_await 15 moved_since transfer vm2 50000000
}

# Ends what the transfer left behind in the guest that still runs.
end_transfer() { # GUEST
    guest_run "$1" 'killall -KILL iperf3' >/dev/null || true
    serve_iperf "$1"
    wait "$transfer" || true
}

talks_again() {
    pings vm1 10.0.0.2 50 && moves vm1 10.0.0.2 100 -t 1
}

receiver_is_replaced() {
    start_transfer && guest_kill vm2 && daemon_await_state vm2 waiting &&
        holds "$(port_value vm2 .guest_memory_bytes) == 0" && boot vm2 &&
        end_transfer vm1 && talks_again
}

sender_is_replaced() {
    start_transfer && guest_kill vm1 && daemon_await_state vm1 waiting && boot vm1 &&
        end_transfer vm2 && talks_again
}

port_is_gone() {
    ! convoy port show "$1" >/dev/null 2>&1 && [[ ! -e $DAEMON_RUN/$1.sock ]]
}

port_is_replaced() {
    start_transfer && convoy port remove vm2 >/dev/null && port_is_gone vm2 &&
        guest_kill vm2 && convoy port add vm2 >/dev/null && boot vm2 && end_transfer vm1 &&
        talks_again
}

# Removes and adds a port while frames are on their way to it and from it, again and again.
port_comes_and_goes() {
    local running
    for _ in {1..10}; do
        snapshot round
        "$CONVOY_TRAFFIC" --first 2 --frames 100000000 --time-limit 20 "$DAEMON_RUN/c.sock" \
            "$DAEMON_RUN/d.sock" >/dev/null 2>&1 &
        running=$!
        guest_await 10 moved_since round d 5000000 || return 1
        convoy port remove d >/dev/null && port_is_gone d || return 1
        kill "$running"
        wait "$running" || true
        convoy port add d >/dev/null && daemon_await_state c waiting || return 1
    done
    "$CONVOY_TRAFFIC" --first 2 --verify --frames 50000 --time-limit 20 "$DAEMON_RUN/c.sock" \
        "$DAEMON_RUN/d.sock" >/dev/null
}

open_files() {
    local files=("/proc/$(daemon_pid)/fd"/*)
    echo ${#files[@]}
}

mappings() {
    wc -l <"/proc/$(daemon_pid)/maps"
}

ports_wait() {
    daemon_await_state vm1 waiting && daemon_await_state vm2 waiting && daemon_await_state a waiting
}

pid=$(daemon_pid) files_before=$(open_files)
verified_runs &
boot vm1 vm2
check "the guests talk" talks_again
check "a receiver killed in mid-transfer is replaced" receiver_is_replaced
check "the other pair goes on" pair_goes_on
check "a sender killed in mid-transfer is replaced" sender_is_replaced
check "the other pair goes on" pair_goes_on
check "a port is removed and added again under a guest's traffic" port_is_replaced
check "a port is removed and added again under a flood" port_comes_and_goes
check "the other pair goes on" pair_goes_on
: >"$GUEST_WORK/stop"
wait %verified_runs 2>/dev/null || true
check "the other pair lost nothing" pair_never_lost
guest_kill vm1 vm2
check "all ports wait for guests" ports_wait
check "the daemon is the same" holds "$(daemon_pid) == $pid"
check "no file was left open" holds "$(open_files) <= $files_before"
test_end
