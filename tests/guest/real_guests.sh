#!/bin/bash
# Goal: what the study measures with real guests is what it says: a line of 1 Gbit/s carries no more, half
# a round trip is half, a mode of convoyd is the mode that was asked for, a guest that stood still lives
# on; what cannot be is a sentence; and nothing is left behind.
# Method: one session of bench/real_guests.sh with short measurements, and one that is interrupted.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/daemon.sh"
test_begin linux.uml iperf3 sockperf busybox ip tc jq cc unshare

HELPER=$GUEST_DIR/../../bench/real_guests.sh
BUILD=$(cd "$(dirname "$CONVOYD")/.." && pwd)
export BUILD
SESSION=$GUEST_WORK/session

# Asks all at once; answers go to $SESSION.N, from 1.
ask_all() { # LINE...
    printf '%s\n' "$@" | GUEST_WORK=$SESSION timeout -k 30 150 "$HELPER" >"$GUEST_WORK/answers" || return 1
    awk -v base="$SESSION" 'BEGIN {n = 1} {print >(base "." n)} $1 == "done" || $1 == "failed" {n++}' \
        "$GUEST_WORK/answers"
}

value() { # ANSWER KEY
    awk -F= -v key="$2" '$1 == key {print $2; found = 1} END {exit !found}' "$SESSION.$1"
}

# `true_of ANSWER CONDITION`: in the condition, names of keys stand for their values.
true_of() {
    awk -F= -v OFS= 'NF == 2 {print "k[\"", $1, "\"] = ", $2}' "$SESSION.$1" >"$GUEST_WORK/set"
    # shellcheck disable=SC2001 # a word with its limits
    awk "BEGIN {$(<"$GUEST_WORK/set")
        exit !($(sed 's/\b\([a-z][a-z0-9_]*\)\b/k["\1"]/g' <<<"$2"))}" && return
    echo "  does not hold: $2; the answer is: $(xargs <"$SESSION.$1")"
    return 1
}

refused() { # ANSWER WORDS
    grep -q "^failed .*$2" "$SESSION.$1"
}

processes_left() { # whether any process still works in a session's folder
    local found
    # Some end while they are looked at.
    found=$(grep -alF "$SESSION/" /proc/[0-9]*/cmdline 2>/dev/null || true)
    [[ -n $found ]]
}

nothing_left() {
    guest_await 20 none_left && [[ -z $(ip netns list) ]] && [[ $(ip -o link | wc -l) == 1 ]]
}

none_left() {
    ! processes_left
}

# The session's guest 2 was booted once: a guest that ended is booted anew when it is needed next.
still_there() {
    [[ $(grep -c '^v2: a front end has connected' "$SESSION/convoy/log") == 1 ]]
}

interrupted() {
    local session fifo=$GUEST_WORK/lines lines
    rm -rf "$SESSION"
    mkdir "$SESSION"
    mkfifo "$fifo"
    GUEST_WORK=$SESSION setsid "$HELPER" <"$fifo" >/dev/null 2>&1 &
    session=$!
    exec {lines}>"$fifo"
    echo "tcp contestant=convoy-natural seconds=50" >&"$lines"
    guest_await 30 test -e "$SESSION/said" || return 1
    processes_left && [[ -n $(ps -o pid= --ppid "$session") ]] || return 1
    kill -KILL "$session"
    wait "$session" || true
    exec {lines}>&-
}

mkdir -p "$SESSION"
check "a session answers all that it is asked" ask_all \
    "line contestant=native line=1gbit seconds=2" \
    "rr contestant=convoy-natural seconds=1" \
    "tcp contestant=convoy-off seconds=1" \
    "tcp contestant=convoy-natural seconds=1 streams=8" \
    "mixed contestant=convoy-natural beside=stopped seconds=1" \
    "tcp contestant=nobody" \
    "line contestant=convoy-natural line=1gbit guests=2 direction=receive seconds=2" \
    "tcp contestant=native streams=one" \
    "within streams=2 seconds=1"
# Headers and what the shaper's burst lets through: the line carries 95 % of payload, and never more than itself.
check "a line of 1 Gbit/s carries no more" true_of 1 'goodput_bps > 0.1e9 && goodput_bps < 1.05e9 && line_share < 1.1'
check "delays are halves of round trips" true_of 2 \
    'delay_p50_us > 0 && delay_p50_us <= delay_p99_us && delay_p99_us <= delay_max_us &&
    delay_mean_us * round_trips_per_second > 0.4e6 && delay_mean_us * round_trips_per_second < 0.6e6'
check "off calls for each packet" true_of 3 'received_bps > 50e6 && calls_per_packet > 0.99'
check "natural does not" true_of 4 'received_bps > 50e6 && calls_per_packet < 0.9'
check "a quiet guest is answered beside one that stands still" true_of 5 'round_trips_per_second > 20'
check "the guest that stood still has not ended" still_there
check "an unknown contestant is a sentence" refused 6 'no contestant "nobody"'
check "the guest that stood still shares a line afterwards" true_of 7 \
    'goodput_bps > 0.1e9 && goodput_bps < 1.1e9 && fairness > 0.55 && host_cpu_share <= 1'
check "nonsense is a sentence" refused 8 'iperf3 measured nothing'
check "a guest talks to itself without any switch" true_of 9 'received_bps > 50e6'
check "nothing is left of the session" nothing_left
check "a session is interrupted by SIGKILL" interrupted
check "nothing is left of it either" nothing_left
test_end
