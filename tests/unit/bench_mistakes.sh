#!/bin/bash
# Goal: whoever makes a mistake with convoy-bench is told so at once, in one sentence that names the
# word, its value and what is allowed; nothing is started, nothing is written, and the exit status
# is 2. Method: the program itself, with sockets that nobody listens on: had it begun, it would have
# complained about those instead.
#   bench_mistakes.sh CONVOY_BENCH
set -u

bench=$(realpath "${1:?usage: bench_mistakes.sh CONVOY_BENCH}")
dir=$(mktemp -d /tmp/convoy-bench-mistakes.XXXXXX)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failures=0

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# refused SENTENCE WORD...: the sentence is all that is said, on standard error.
refused() {
    local sentence=$1 status
    shift
    timeout -k 5 20 "$bench" "$@" >out 2>err
    status=$?
    ((status == 2)) || fail "$*: exit status $status, not 2"
    [[ ! -s out ]] || fail "$*: standard output has $(<out)"
    (($(wc -l <err) == 1)) || fail "$*: not one line: $(<err)"
    [[ $(<err) == "convoy-bench: "*"$sentence"* ]] || fail "$*: \"$(<err)\" does not say \"$sentence\""
}

refused '--size "30" is none of: 60 to 65549 bytes' --size 30 a b
refused '--arrivals: "foo" is none of poisson:RATE' --arrivals foo a b
refused 'trace:FILE[,SPEED], max' --arrivals foo a b
refused 'there is no option "--frobnicate"' --frobnicate a b
refused 'did you mean "verify"?' --verfy a b
refused '"a" is the only socket; one guest has nobody to send to' a
refused 'which sockets? Two guests at least'
refused '--loss-max "2" is not a share from 0 to 1' --search --loss-max 2 a b
refused '--seconds needs a value: --seconds S' a b --seconds
refused '--switch-pid: there is no process 4194304' --switch-pid 4194304 a b
refused '--switch-pid "x" is not a whole number from 1 to 4194304' --switch-pid x a b
refused 'cannot write /nonexistent/results: No such file or directory' --json /nonexistent/results a b
refused '--size: ./capture cannot be read as a capture' --size pcap:./capture a b
refused '--pattern pairs needs an even number of sockets, not 3' a b c

# A switch that is not there is a matter of set-up too, and is named; what a file had, it keeps.
echo before >kept.json
refused "$dir/a" --timeout 0.2 --json kept.json "$dir/a" "$dir/b"
[[ $(<kept.json) == before ]] || fail "a run that did not begin has written: $(<kept.json)"

# What is asked for is no mistake.
timeout -k 5 20 "$bench" --help >out 2>err || fail "--help: exit status $?"
[[ ! -s err && $(<out) == "Usage: convoy-bench "* ]] || fail "--help: $(head -n 3 out err)"
timeout -k 5 20 "$bench" --version >out 2>err || fail "--version: exit status $?"
[[ $(<out) =~ ^convoy-bench\ [0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "--version: $(<out)"
timeout -k 5 20 "$bench" --help >/dev/full 2>err
(($? == 2)) || fail "--help to a full disk is no success"

echo "$failures failures"
exit $((failures > 0))
