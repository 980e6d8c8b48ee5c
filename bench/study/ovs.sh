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

# The end of its input or a signal ends the wait below, and nothing else: tidying up is not interrupted.
trap ':' INT TERM HUP
# shellcheck disable=SC2317 # called by the trap
cleanup() {
    trap '' INT TERM HUP
    ovs_stop
    guest_cleanup
}

guest_init || exit 1
trap cleanup EXIT
dpdk_hugepages_setup 1024 || exit 1
ovs_start "$cpu" "$@" >&2 || exit 1
# Without --no-wait it returns when the daemon has done all that was asked for; who connects earlier waits.
timeout -k 5 30 "$OVS_ROOT/usr/bin/ovs-vsctl" "--db=unix:$OVS_RUNDIR/db.sock" \
    set Open_vSwitch . external_ids:ready=yes >&2 || exit 1
# It runs below `timeout`.
echo "ready $(pgrep -P "$OVS_PID" | head -n 1) $OVS_RUNDIR"
cat <&0 >/dev/null &
wait $!
