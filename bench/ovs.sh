# shellcheck shell=bash
# Open vSwitch with DPDK as a peer to measure against. It is unpacked into a folder and run from
# there, never installed: its packages start services. Sourced after tests/guest/lib.sh.
#
#   ovs_start CPU NAME...   a bridge with a dpdkvhostuser port per NAME; sockets $OVS_RUNDIR/NAME
#   ovs_stop
#
# Set before, if wanted: OVS_LIFE_S, after which it ends in any case (default 900); OVS_PRELOAD, a
# library to preload, for guests that cannot do all that it offers (tests/guest/ovsfeatures.c).

ovs_fetch() {
    OVS_ROOT=$GUEST_CACHE/ovs
    [[ -x $OVS_ROOT/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk ]] && return 0
    local debs
    debs=$(mktemp -d)
    (cd "$debs" && apt-get -q download openvswitch-switch-dpdk openvswitch-switch openvswitch-common) \
        >"$debs/log" 2>&1 || {
        cat "$debs/log" >&2
        return 1
    }
    # Aside first: a folder that was cut off would be taken for a whole one.
    local deb part=$OVS_ROOT.part
    rm -rf "$part" && mkdir -p "$part" || return 1
    for deb in "$debs"/*.deb; do
        dpkg-deb -x "$deb" "$part" || return 1
    done
    rm -rf "$debs" "$OVS_ROOT"
    mv "$part" "$OVS_ROOT"
}

ovs_ctl() {
    timeout -k 5 60 "$OVS_ROOT/usr/bin/ovs-vsctl" --no-wait "--db=unix:$OVS_RUNDIR/db.sock" "$@"
}

ovs_start() {
    local cpu=$1 name
    shift
    ovs_fetch || return 1
    export OVS_RUNDIR=$GUEST_WORK/ovs OVS_LOGDIR=$GUEST_WORK/ovs OVS_DBDIR=$GUEST_WORK/ovs
    export OVS_SYSCONFDIR=$GUEST_WORK/ovs OVS_PKGDATADIR=$OVS_ROOT/usr/share/openvswitch
    mkdir -p "$OVS_RUNDIR"
    OVS_HAD_NETDEV=0
    [[ ! -e /sys/class/net/ovs-netdev ]] || OVS_HAD_NETDEV=1
    rm -f "$OVS_RUNDIR/conf.db"
    "$OVS_ROOT/usr/bin/ovsdb-tool" create "$OVS_RUNDIR/conf.db" "$OVS_PKGDATADIR/vswitch.ovsschema"
    timeout -k 5 "${OVS_LIFE_S:-900}" "$OVS_ROOT/usr/sbin/ovsdb-server" "$OVS_RUNDIR/conf.db" \
        "--remote=punix:$OVS_RUNDIR/db.sock" >"$OVS_RUNDIR/ovsdb.log" 2>&1 &
    OVS_DB_PID=$!
    guest_await 10 test -S "$OVS_RUNDIR/db.sock" || return 1
    ovs_ctl init
    ovs_ctl set Open_vSwitch . other_config:dpdk-init=true \
        "other_config:dpdk-hugepage-dir=$GUEST_WORK/huge" other_config:dpdk-socket-mem=512 \
        other_config:dpdk-lcore-mask=0x1 "other_config:pmd-cpu-mask=$(printf '0x%x' $((1 << cpu)))"
    timeout -k 5 "${OVS_LIFE_S:-900}" env LD_PRELOAD="${OVS_PRELOAD:-}" \
        "$OVS_ROOT/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk" \
        "unix:$OVS_RUNDIR/db.sock" >"$OVS_RUNDIR/vswitchd.log" 2>&1 &
    OVS_PID=$!
    ovs_ctl add-br convoy-ovs -- set bridge convoy-ovs datapath_type=netdev
    for name in "$@"; do
        ovs_ctl add-port convoy-ovs "$name" -- set Interface "$name" type=dpdkvhostuser
    done
    for name in "$@"; do
        guest_await 30 test -S "$OVS_RUNDIR/$name" || {
            tail -n 20 "$OVS_RUNDIR/vswitchd.log" >&2
            return 1
        }
    done
}

ovs_stop() {
    local pid
    [[ -n ${OVS_PID:-}${OVS_DB_PID:-} ]] || return 0
    for pid in ${OVS_PID:-} ${OVS_DB_PID:-}; do kill "$pid" 2>/dev/null; done
    for pid in ${OVS_PID:-} ${OVS_DB_PID:-}; do wait "$pid" 2>/dev/null; done
    OVS_PID='' OVS_DB_PID=''
    # The user-space datapath leaves its TAP devices behind.
    ip link del convoy-ovs 2>/dev/null
    ((OVS_HAD_NETDEV)) || ip link del ovs-netdev 2>/dev/null
}
