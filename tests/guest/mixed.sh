#!/bin/bash
# Goal: any guest can talk to any guest: one that was offered nothing (no checksum, no segmentation,
# no mergeable buffers) exchanges TCP and UDP with one that has it all, and with the host.
# Method: three User Mode Linux guests and an uplink; files are compared by checksum at the end.
#
#     full  (all offloads) ----------+
#     plain (none, no mergeable) ----+-- convoyd -- TAP -- host (all offloads)
#     small (offloads, no mergeable)-+
set -euo pipefail

# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/daemon.sh"
test_begin linux.uml iperf3 busybox jq cc

daemon_start <<'END'
ports:
  - name: full
  - {name: plain, offloads: off, mergeable: off}
  - {name: small, mergeable: off}
  - {name: uplink, type: tap, interface: up0}
END

declare -A ADDRESS=([full]=10.0.0.1 [plain]=10.0.0.2 [small]=10.0.0.3 [host]=10.0.0.254)

boot_all() {
    local name
    for name in full plain small; do
        guest_uml_start "$name" "$DAEMON_RUN/$name.sock" "ip=${ADDRESS[$name]}/24" \
            "ip6=fd00::${ADDRESS[$name]##*.}/64"
    done
    guest_wait_ready full plain small
    ip addr add "${ADDRESS[host]}/24" dev up0
    ip link set up0 up
    serve_iperf full plain small
    iperf3 -s >/dev/null 2>&1 &
    server=$!
}

test_at_end() {
    [[ -z $server ]] || kill "$server"
}

has_none_of() { # PORT FEATURE...
    local agreed feature
    agreed=" $(port_value "$1" '.features | join(" ")') "
    shift
    for feature in "$@"; do
        [[ $agreed != *" $feature "* ]] || {
            echo "  agreed:$agreed"
            return 1
        }
    done
}

# Frames that were too large for what the receiver takes were cut for it, and checksums made.
was_done_for() { # PORT COUNTER...
    local port=$1 counter
    shift
    for counter in "$@"; do
        holds "$(grown tcp "$port" ".counters.$counter") > 0" || return 1
    done
}

host_sends() { # GUEST MBIT
    local mbit
    mbit=$(timeout 20 iperf3 -c "${ADDRESS[$1]}" -t 1 -J | jq '.end.sum_received.bits_per_second / 1e6 | floor')
    echo "    host -> $1: $mbit Mbit/s"
    holds "$mbit >= $2"
}

# 20 MB of random bytes in one guest reach another unchanged.
bytes_arrive() { # FROM TO
    local sent arrived
    # busybox's nc ends when the other side has sent all of its own: let the receiver never do so.
    guest_run "$2" 'sleep 60 | nc -l -p 6000 >/tmp/got &
        until cat /proc/net/tcp* | grep -q :1770; do usleep 10000; done' >/dev/null
    sent=$(guest_run "$1" "dd if=/dev/urandom of=/tmp/sent bs=1M count=20 2>/dev/null
        nc ${ADDRESS[$2]} 6000 </tmp/sent; sha256sum </tmp/sent")
    guest_await 10 guest_run "$2" '! pidof nc >/dev/null'
    arrived=$(guest_run "$2" 'sha256sum </tmp/got')
    [[ $sent == "$arrived" ]] || {
        echo "  sent $sent, arrived $arrived"
        return 1
    }
}

# Datagrams that fill several frames are put together at the other end only if every part is right.
large_datagrams_arrive() { # FROM TO
    pings "$1" "${ADDRESS[$2]}" 20 -s 20000
}

server=''
boot_all
check "plain was offered nothing" has_none_of plain CSUM GUEST_CSUM HOST_TSO4 HOST_TSO6 GUEST_TSO4 \
    GUEST_TSO6 GUEST_ECN HOST_ECN HOST_USO GUEST_USO4 GUEST_USO6 MRG_RXBUF
check "small was offered no mergeable buffers" has_none_of small MRG_RXBUF
snapshot tcp
check "TCP full to plain" moves full "${ADDRESS[plain]}" 50
check "frames were cut for plain, with checksums" was_done_for plain segmented
check "TCP plain to full" moves plain "${ADDRESS[full]}" 50
check "TCP full to small" moves full "${ADDRESS[small]}" 50
check "TCP small to plain" moves small "${ADDRESS[plain]}" 50
check "TCP over IPv6 full to plain" moves full fd00::2 50
check "TCP over IPv6 plain to small" moves plain fd00::3 50
check "TCP plain to host" moves plain "${ADDRESS[host]}" 50
check "TCP host to plain" host_sends plain 50
check "UDP full to plain" moves full "${ADDRESS[plain]}" 5 -u -b 10M -l 1400
check "checksums were made for plain" was_done_for plain checksummed
check "no unexplained loss" lost_only tcp queue_full stalled
check "bytes arrive as they were, full to plain" bytes_arrive full plain
check "bytes arrive as they were, plain to full" bytes_arrive plain full
check "large datagrams arrive, full to plain" large_datagrams_arrive full plain
check "large datagrams arrive, plain to full" large_datagrams_arrive plain full
test_end
