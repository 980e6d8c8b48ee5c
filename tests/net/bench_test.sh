#!/bin/bash
# Goal: convoy-bench as its users run it, with a real switch: results reach people, JSON and CSV and
# agree, what was asked for is what was done, an interrupted run still reports, and a switch that
# stops in the middle is an error in time, not a hang. No figure is judged: the machine may be busy.
# Method: convoyd with two ports, and the program with short runs.
#   bench_test.sh CONVOYD CONVOY_BENCH
set -u

convoyd=$(realpath "${1:?usage: bench_test.sh CONVOYD CONVOY_BENCH}")
bench=$(realpath "$2")
dir=$(mktemp -d /tmp/convoy-bench-test.XXXXXX)
daemon=0
failures=0

command -v jq >/dev/null || {
    echo "SKIP: there is no jq"
    exit 77
}

# shellcheck disable=SC2317 # called by the trap
finish() {
    ((daemon)) && kill -KILL "$daemon" && wait "$daemon"
    rm -rf "$dir"
}
trap 'finish 2>/dev/null' EXIT
cd "$dir" || exit 1

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# expect JQ-CONDITION FILE
expect() {
    if [[ ! -s $2 ]] || ! jq -e "$1" "$2" >/dev/null; then
        fail "not so: $1, in $(<"$2")"
    fi
}

# run STATUSES WORD...: short, with both sockets; what it says is in out and err.
run() {
    local wanted=$1 status
    shift
    timeout -k 5 120 "$bench" --seconds 0.3 --warm-up 0.1 "$@" run/a.sock run/b.sock >out 2>err
    status=$?
    [[ " $wanted " == *" $status "* ]] || fail "$*: exit status $status, not $wanted: $(<out) $(<err)"
}

printf 'ports: [{name: a}, {name: b}]\n' >convoy.yaml
"$convoyd" --config convoy.yaml --run-dir "$dir/run" >log 2>&1 &
daemon=$!
for ((i = 0; i < 100; i++)); do
    [[ -S run/a.sock && -S run/b.sock ]] && break
    sleep 0.1
done

echo "== for people"
run 0 --label hello --switch-pid "$daemon"
for word in 'hello: 2 guests' 'sent ' 'received ' 'lost ' 'delay ' 'switch ' 'VERSION_1'; do
    grep -q "$word" out || fail "the report has no \"$word\": $(<out)"
done
[[ ! -s err ]] || fail "progress without a terminal: $(<err)"

echo "== for programs"
echo 'this was here before' >a.json
run 0 --arrivals poisson:20000 --sample 1 --json a.json --csv a.csv --switch-pid "$daemon"
grep -q 'packets/s' out || fail "people are told nothing: $(<out)"
(($(wc -l <a.json) == 1)) || fail "JSON has more than a line"
expect '.sent > 0 and .received > 0 and .offered_pps == 20000' a.json
expect '.delay_ns.count > 0 and .delay_ns.p50 <= .delay_ns.max' a.json
expect '.switch.cpu_ns > 0 and .switch.rss_bytes > 1000000' a.json
expect '.guests | length == 2' a.json
expect '.interrupted == false and .search == null and .altered == null' a.json
run 0 --csv a.csv --label 'another, "quoted"'
(($(wc -l <a.csv) == 3)) || fail "CSV is not a head and two lines: $(<a.csv)"
head -n 1 a.csv | grep -q '^label,seconds,' || fail "no head: $(<a.csv)"
tail -n 1 a.csv | grep -q '^"another, ""quoted""",' || fail "a label lost its quotes: $(<a.csv)"
[[ $(sed -n 2p a.csv | cut -d, -f4) == "$(jq .sent a.json)" ]] || fail "CSV and JSON differ"
run 0 --json - --quiet
jq -e '.received > 0' out >/dev/null || fail "standard output is not JSON alone: $(<out)"

echo "== what is sent"
for words in '--kind tcp4 --offloads --size 1514' '--kind udp6 --no-mergeable' \
    '--kind tcp6 --size 9014 --offloads' '--size imix --pattern both --flows 64 --verify' \
    '--receive call --pairs 1 --arrivals constant:5000 --then constant:10000'; do
    # shellcheck disable=SC2086 # words
    run 0 $words --json b.json
    expect '.received > 0' b.json
done
expect '.step_ns > 0 and .options.then == "constant:10000"' b.json

# A rate holds only when no other program keeps the senders from it: whether one does is not judged.
echo "== a search"
run '0 1' --search --loss-max 1 --arrivals constant:1000 --json s.json --seconds 0.2
expect '.search.rate_pps <= 1000 and .search.loss_max == 1 and .offered_pps > 0' s.json
expect '.search.rate_pps == 0 or (.offered_pps - .search.rate_pps | fabs) < 1' s.json
run '0 1' --search --loss-max 1 --seconds 0.2
grep -q 'lost' out || fail "the search has said nothing: $(<out)"

echo "== interrupted"
# In a group of its own: bash lets programs in the background ignore SIGINT.
timeout -k 5 120 env --default-signal=INT "$bench" --seconds 60 --warm-up 0 --json i.json \
    run/a.sock run/b.sock >out 2>err &
waiting=$!
sleep 2
kill -INT "$(pgrep -P "$waiting")" || fail "nothing runs that could be interrupted"
wait "$waiting"
status=$?
((status == 1)) || fail "interrupted: exit status $status, not 1: $(<err)"
expect '.interrupted and .seconds > 0 and .seconds < 30 and .received > 0' i.json
grep -q '(interrupted)' out || fail "the report does not say that it was interrupted: $(<out)"


echo "== a switch that stops"
timeout -k 5 120 "$bench" --seconds 60 --warm-up 0 --timeout 1 run/a.sock run/b.sock >out 2>err &
waiting=$!
sleep 2
kill -STOP "$daemon"
wait "$waiting"
status=$?
kill -CONT "$daemon"
((status == 1)) || fail "a switch that stops: exit status $status, not 1: $(<out) $(<err)"
grep -q 'run/[ab].sock' err || fail "the guest that hangs is not named: $(<err)"

echo "$failures failures"
exit $((failures > 0))
