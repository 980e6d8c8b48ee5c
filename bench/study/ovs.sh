#!/bin/bash
# Open vSwitch with DPDK for as long as standard input is open: ovs.sh WORK CPU NAME...
# Says "ready PID FOLDER" when a socket for each NAME is in FOLDER. WORK: a folder for its files; see
# ../ovs.sh, which fetches it into $GUEST_CACHE and runs it from there. Needs root and a mount
# namespace of the caller's own.
set -u

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export GUEST_WORK=$1
cpu=$2
shift 2
source "$repository/tests/guest/lib.sh"
source "$repository/bench/ovs.sh"

# What ends it is its input, also when whoever started it is killed.
trap '' INT
trap 'exit 143' TERM HUP
cleanup() {
    trap '' TERM HUP
    ovs_stop
    guest_cleanup
}

guest_init || exit 1
trap cleanup EXIT
dpdk_hugepages_setup 1024 || exit 1
ovs_start "$cpu" "$@" >&2 || exit 1
# It runs below `timeout`.
echo "ready $(pgrep -P "$OVS_PID" | head -n 1) $OVS_RUNDIR"
# Waited for, because a trap would not run before a program in the foreground ends.
cat <&0 >/dev/null &
wait $!
