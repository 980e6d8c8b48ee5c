#!/bin/bash
# Goal: an operator's whole dealings with convoyd: start it, add and look at ports, plug a VMM in
# with the words that --print gives, make mistakes, end it; each answer and exit status as promised.
# Method: the real daemon and the real client in a folder of their own, no network. QEMU is used
# where it is installed, and root where we are root; what is left out says so.
#   control_test.sh CONVOYD CONVOY
set -u

convoyd=$(realpath "$1")
convoy=$(realpath "$2")
dir=$(mktemp -d /tmp/convoy-control.XXXXXX)
run=$dir/run
failures=0
daemon=0
qemu=0

# shellcheck disable=SC2317 # called by the trap
finish() {
    ((qemu)) && kill -TERM "$qemu" 2>/dev/null # the timeout that it runs under passes it on
    ((daemon)) && kill -KILL "$daemon" 2>/dev/null
    rm -rf "$dir"
}
trap finish EXIT

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# expect STATUS TEXT COMMAND...: the exit status, and a text within all that is said.
expect() {
    local status=$1 text=$2 said got
    shift 2
    said=$(timeout -k 5 60 "$@" 2>&1 </dev/null)
    got=$?
    echo "+ ${*#"$dir/"} -> $got"
    [[ $got == "$status" ]] || fail "exit status $got instead of $status: $said"
    [[ $said == *"$text"* ]] || fail "no \"$text\" in: $said"
}

ask() {
    expect "$1" "$2" "$convoy" --socket "$run/control.sock" "${@:3}"
}

# Starts the daemon and returns once it has said that it is ready.
start() {
    local line
    exec {log}< <(exec "$convoyd" --run-dir "$run" "$@" 2>&1)
    daemon=$!
    while read -r -t 30 -u "$log" line; do
        echo "  convoyd: $line"
        [[ $line == *"is ready"* ]] && return
    done
    fail "convoyd did not become ready"
}

# Ends the daemon with a signal; its exit status is checked against the one given.
stop() {
    local status line
    kill "-$1" "$daemon"
    while read -r -t 30 -u "$log" line; do
        echo "  convoyd: $line"
    done
    exec {log}<&-
    wait "$daemon"
    status=$?
    daemon=0
    [[ $status == "$2" ]] || fail "convoyd ended with $status instead of $2 after SIG$1"
}

# Waits until a port is in a state; the daemon's log is what moves when it changes.
await_state() {
    local line said
    while :; do
        said=$("$convoy" --socket "$run/control.sock" --json port show "$1")
        [[ $said == *"\"state\": \"$2\""* ]] && return 0
        read -r -t 60 -u "$log" line || break
        echo "  convoyd: $line"
    done
    fail "port $1 is not $2: $said"
}

echo "--- command lines and configurations"
expect 0 "convoyd " "$convoyd" --version
expect 0 "--run-dir" "$convoyd" --help
expect 2 "unrecognized" "$convoyd" --prot
expect 2 "nothing to do with the argument x" "$convoyd" x
expect 2 "absolute path" "$convoyd" --run-dir here
expect 1 "$dir/none.yaml" "$convoyd" --config "$dir/none.yaml"
printf 'ports:\n  - name: vm1\n    queus: 2\n' >"$dir/bad.yaml"
expect 1 "bad.yaml:3" "$convoyd" --check --config "$dir/bad.yaml"
printf 'ports:\n  - name: vm1\n  - name: vm2\n    socket: %s/own.sock\n' "$dir" >"$dir/good.yaml"
expect 0 "no errors, 2 ports" "$convoyd" --check --config "$dir/good.yaml"
[[ -e $run ]] && fail "--check has made $run"

echo "--- no daemon"
ask 1 "convoyd is not running: there is no socket" status
expect 1 "is not a socket" "$convoy" -s "$dir/good.yaml" status
expect 2 "which command?" "$convoy"
expect 2 'did you mean "status"?' "$convoy" stauts
expect 2 'did you mean "remove"?' "$convoy" port remvoe vm1
expect 2 "too few words" "$convoy" port show
expect 2 "--print goes with" "$convoy" status --print qemu
expect 2 'did you mean "qemu"?' "$convoy" port show vm1 --print qmeu

echo "--- a configuration, moved to another run directory"
start --config "$dir/good.yaml"
[[ -S $run/vm1.sock ]] || fail "vm1.sock is not in the run directory"
[[ -S $dir/own.sock ]] || fail "the socket that the configuration names is not in its place"
[[ $(stat -c %a "$run/control.sock") == 660 ]] || fail "the control socket's mode is not 0660"
ask 0 "$dir/good.yaml" status
expect 1 "another convoyd answers on $run/control.sock (pid $daemon)" "$convoyd" --run-dir "$run"
ask 0 "vm1" port list
kill -HUP "$daemon"
ask 0 "2 of at most" status
stop TERM 0
[[ -z $(ls -A "$run") && ! -e $dir/own.sock ]] || fail "left behind: $(ls "$run" "$dir")"

echo "--- a daemon that was killed leaves sockets, which the next one clears away"
start --config "$dir/good.yaml"
stop KILL 137
ask 1 "was left over" status
start --config "$dir/good.yaml"
ask 0 "2 of at most" status
stop INT 0

echo "--- a port that cannot come up: nothing is served"
mkdir "$dir/own.sock"
expect 1 "$dir/own.sock" "$convoyd" --run-dir "$run" --config "$dir/good.yaml"
[[ -z $(ls -A "$run") ]] || fail "left behind: $(ls "$run")"
rmdir "$dir/own.sock"

echo "--- ports"
start --config /dev/null
ask 0 "There is no port" port list
ask 0 "listens on $run/vm1.sock" port add vm1
ask 1 "already" port add vm1
ask 2 'did you mean "queues"?' port add vm2 queus=2
ask 2 "expected KEY=VALUE" port add vm2 queues
ask 2 "given twice" port add vm2 mtu=1500 mtu=9000
ask 2 "not a number from 1 to 8" port add vm2 queues=9
ask 1 'did you mean "vm1"?' port show vm2
ask 0 "adaptive; delay budget 50us, delay weight 0.1" port show vm1
ask 0 "hold fixed:32,50us, merge on" port set vm1 hold=fixed:32,50us
ask 0 "kept: they count with hold=adaptive only" port set vm1 delay-budget=20us delay-weight=0.25
ask 0 "delay-budget 20us, delay-weight 0.25" port set vm1 hold=fixed:32,50us merge=off
ask 2 "delay-budget: \"1s\" is not a time from 1us to 100ms" port set vm1 hold=off delay-budget=1s
ask 2 "delay-weight: \"0\" is not a number from 0.001 to 1000" port set vm1 delay-weight=0
ask 2 "hold: \"quick\" is not adaptive, natural, off, or fixed:PACKETS,TIME" port set vm1 hold=quick
ask 2 "mtu: cannot be changed while the port exists" port set vm1 mtu=9000
ask 2 "too few words" port set vm1
ask 1 'did you mean "vm1"?' port set vm2 merge=on
ask 2 'did you mean "hold"?' port set vm1 hodl=off
ask 0 '"hold": "fixed:32,50us"' --json port show vm1
ask 0 '"delay-weight": 0.25,' --json port show vm1
ask 0 '"p99_9": null' --json port show vm1
ask 0 "No guest is plugged into vm1" explain vm1
ask 1 'did you mean "vm1"?' explain vm2
ask 2 "too few words" explain
ask 2 'did you mean "explain"?' explian vm1
ask 0 "hold adaptive, merge on" port set vm1 hold=adaptive merge=on
ask 0 "adaptive; delay budget 20us, delay weight 0.25" port show vm1
ask 0 "convoys to the port:" port show vm1
ask 1 '"code": -32001' --json port show vm2
ask 0 "no frame was dropped" port show vm1
ask 0 "is bound to port vm1" mac add 52:54:00:aa:bb:cc vm1
ask 0 "52:54:00:aa:bb:cc  vm1      static" mac list vm1
ask 0 "not bound any more" mac remove 52:54:00:aa:bb:cc
ask 2 "not a MAC address" mac remove 52:54:00
ask 1 "" mac remove 52:54:00:aa:bb:cc
ask 0 "port vm1 removed" port remove vm1
[[ -e $run/vm1.sock ]] && fail "vm1.sock was left behind"

echo "--- what is printed fits 100 columns and a shell"
ask 0 "added" port add a-name-of-thirty-one-characters queues=8 mtu=65535
for words in status "port list" "port show a-name-of-thirty-one-characters" "mac list" --help \
    "explain a-name-of-thirty-one-characters"; do
    # shellcheck disable=SC2086
    "$convoy" -s "$run/control.sock" $words | grep -n '.\{101\}' && fail "$words is too wide"
done
"$convoy" -s "$run/control.sock" explain a-name-of-thirty-one-characters | grep -n '.\{81\}' &&
    fail "explain is too wide"
ask 0 "virtio_uml.device=$run/u.sock:1" port add u --print uml
ask 0 "<source type='unix' path='$run/u.sock' mode='client'>" port show u --print libvirt
ask 0 "num_queues=16,mtu=65535" port show a-name-of-thirty-one-characters -p cloud-hypervisor
ask 0 "mq=on,vectors=18,host_mtu=65535" port show a-name-of-thirty-one-characters -p qemu
ask 0 "<driver queues='8'/>" port show a-name-of-thirty-one-characters -p libvirt
ask 0 "added" port add odd "socket=$run/a,b & 'c'.sock"
ask 0 "path=$run/a,,b & '\\''c'\\''.sock,reconnect=1'" port show odd --print qemu
ask 0 "path='$run/a,b &amp; &apos;c&apos;.sock'" port show odd --print libvirt
ask 1 "no socket with a comma" port show odd --print cloud-hypervisor
ask 0 "virtio_uml.device=$run/a,b & '\\''c'\\''.sock:1'" port show odd --print uml
ask 0 "vhost_mode=server" port add c mode=client --print cloud-hypervisor
ask 0 "mode='server'/>" port show c --print libvirt
ask 1 "needs mode=server" port show c --print uml

# qemu_in PORT: a QEMU that is given what --print says, its guest never started.
qemu_in() {
    local words
    words=$("$convoy" -s "$run/control.sock" port show "$1" --print qemu --memory 64M 2>/dev/null)
    # shellcheck disable=SC2086 # each word is one
    timeout -k 5 120 qemu-system-x86_64 -M q35,accel=tcg -nodefaults -display none -S \
        $words </dev/null >"$dir/qemu.log" 2>&1 &
    qemu=$!
    echo "+ qemu-system-x86_64 ... ${words//$'\n'/ }"
    await_state "$1" connected
    kill -TERM "$qemu"
    wait "$qemu" 2>/dev/null
    qemu=0
    await_state "$1" waiting
    [[ -s $dir/qemu.log ]] && sed 's/^/  qemu: /' "$dir/qemu.log"
}

if command -v qemu-system-x86_64 >/dev/null; then
    echo "--- QEMU takes what is printed for it"
    ask 0 "added" port add q queues=2 mtu=9000
    qemu_in u
    qemu_in q
    qemu_in c
    rm -f "$run/c.sock" # QEMU's own
else
    echo "left out: QEMU is not installed"
fi

if ((EUID == 0)); then
    echo "--- somebody who may not"
    chmod 755 "$dir"
    expect 1 "run convoy as root" setpriv --reuid=65534 --regid=65534 --clear-groups \
        "$convoy" -s "$run/control.sock" status
else
    echo "left out: not root, so nobody else can be tried"
fi
stop TERM 0
[[ -z $(ls -A "$run") ]] || fail "left behind: $(ls "$run")"

((failures == 0)) && echo "all as promised"
exit $((failures > 0))
