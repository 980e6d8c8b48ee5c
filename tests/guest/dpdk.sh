# shellcheck shell=bash
# DPDK's testpmd as a guest (virtio-user, the front end) and as a peer to compare with (net_vhost,
# the back end): part of lib.sh, which sources this file.
#
# An instance has a name like any guest, and guest_kill, guest_cpu_ms and guest_cleanup work on it.
# Its folder has the same layout; commands go to testpmd's prompt instead of a shell.

# --- huge pages -----------------------------------------------------------------------------------

# Gives the host MIB more huge pages (default 1024) and mounts them at $GUEST_WORK/huge. testpmd
# needs them as a guest, because it shares its memory; the switch needs none. Taken back by
# dpdk_hugepages_teardown, relative to what is there then: others may have changed it meanwhile.
dpdk_hugepages_setup() {
    local pages=$((${1:-1024} / 2)) file=/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
    local before after
    [[ -e $GUEST_WORK/hugepages ]] && return 0
    if [[ ! -e $file ]]; then
        guest_say "this kernel has no huge pages of 2 MiB: virtio-user cannot run"
        return 1
    fi
    before=$(<$file)
    echo $((before + pages)) >$file
    after=$(<$file)
    echo $((after - before)) >"$GUEST_WORK/hugepages"
    mkdir -p "$GUEST_WORK/huge"
    mount -t hugetlbfs -o pagesize=2M none "$GUEST_WORK/huge" || return 1
    if ((after - before < pages)); then
        guest_say "only $((after - before)) of $pages huge pages to be had: free some memory"
        dpdk_hugepages_teardown
        return 1
    fi
}

dpdk_hugepages_teardown() {
    local file=/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages now added
    [[ -e $GUEST_WORK/hugepages ]] || return 0
    if mountpoint -q "$GUEST_WORK/huge" && ! umount "$GUEST_WORK/huge"; then
        guest_say "$GUEST_WORK/huge is still in use: its huge pages stay until it is unmounted"
        return 1
    fi
    now=$(<$file) added=$(<"$GUEST_WORK/hugepages")
    echo $((now > added ? now - added : 0)) >$file
    rm -f "$GUEST_WORK/hugepages"
}

# --- running testpmd ------------------------------------------------------------------------------

# `dpdk_testpmd_launch NAME CPU PRELOAD EAL-ARGUMENTS... -- TESTPMD-ARGUMENTS...`: testpmd at its
# prompt, both of its logical cores on one processor. PRELOAD may be empty.
dpdk_testpmd_launch() {
    local name=$1 cpu=$2 preload=$3 dir=$GUEST_WORK/$1
    shift 3
    guest_prepare "$name" || return 1
    mkdir -p "$dir/dpdk"
    # stdbuf: what testpmd prints would else wait in its buffer. The FIFO becomes its prompt.
    # shellcheck disable=SC2016
    guest_launch "$name" '' bash -c 'exec "$@" <&3' testpmd \
        env RUNTIME_DIRECTORY="$dir" LD_PRELOAD="$preload" stdbuf -oL \
        dpdk-testpmd --no-pci --no-telemetry --file-prefix "guest-$name" --lcores "0@$cpu,1@$cpu" \
        "$@"
}

dpdk_at_prompt_or_gone() {
    [[ -e $GUEST_WORK/$1/gone ]] || grep -aq 'testpmd> ' "$GUEST_WORK/$1/console"
}

# Waits for testpmd's prompt. A virtio-user port in server mode gets there only when the switch has
# connected.
dpdk_wait_ready() {
    local name
    for name in "$@"; do
        guest_await "${GUEST_BOOT_S:-60}" dpdk_at_prompt_or_gone "$name" || true
        if [[ -e $GUEST_WORK/$name/gone ]] || ! dpdk_at_prompt_or_gone "$name"; then
            guest_say "$name does not reach its prompt; it said at last:"
            tail -n 20 "$GUEST_WORK/$name/console" >&2
            return 1
        fi
    done
}

# What testpmd said from a byte offset of its console on, if it has answered the marker or ended.
dpdk_answered() { # NAME OFFSET MARKER
    [[ -e $GUEST_WORK/$1/gone ]] ||
        tail -c "+$(($2 + 1))" "$GUEST_WORK/$1/console" | grep -aq "^Invalid port $3"
}

# `dpdk_command NAME COMMAND...` types a command at testpmd's prompt and prints its answer.
dpdk_command() {
    local name=$1 dir=$GUEST_WORK/$1 offset marker
    shift
    offset=$(stat -c %s "$dir/console")
    # A question about a port that cannot exist is answered when the command is done.
    marker=$((40000 + RANDOM % 20000))
    guest_send_line "$name" "$*"
    guest_send_line "$name" "show port info $marker"
    guest_await 30 dpdk_answered "$name" "$offset" "$marker" || {
        guest_say "$name does not answer '$*'"
        return 124
    }
    if [[ -e $dir/gone ]]; then
        guest_say "$name ended"
        return 125
    fi
    tail -c "+$((offset + 1))" "$dir/console" | tr -d '\r' | awk -v typed="$*" -v port="$marker" '
        $0 == typed || /testpmd> / {next}
        $1 == "Invalid" && $3 == port {exit}
        {print}'
}

# `dpdk_port_stats NAME PORT` prints five numbers on a line: packets received, packets sent, bytes
# received, bytes sent, packets missed for want of a buffer. All from the start of the instance.
dpdk_port_stats() {
    dpdk_command "$1" "show port stats $2" | awk '
        {for (i = 1; i < NF; i++) if ($i ~ /:$/) value[$i] = $(i + 1)}
        END {
            if (!("RX-packets:" in value)) exit 1
            print value["RX-packets:"], value["TX-packets:"], value["RX-bytes:"],
                value["TX-bytes:"], value["RX-missed:"]
        }'
}

# --- a guest --------------------------------------------------------------------------------------

# `dpdk_virtio_user_start NAME [OPTION]... VDEV...` starts testpmd with one virtio-user port for
# each VDEV, such as path=SOCK,mac=02:00:00:00:00:01,queues=1,queue_size=1024 and further
# server=1, packed_vq=1, mrg_rxbuf=0, in_order=1. It does not forward until told to by
# dpdk_command NAME start. Needs dpdk_hugepages_setup. Returns at once: see dpdk_wait_ready.
#   cpu=N        host processor (default 0)
#   mem=256      MiB of huge pages
#   args=WORDS   more arguments of testpmd, separated by blanks
dpdk_virtio_user_start() {
    local name=$1 cpu=0 mem=256 args=() option port=0 vdevs=()
    shift
    for option in "$@"; do
        case $option in
        cpu=*) cpu=${option#*=} ;;
        mem=*) mem=${option#*=} ;;
        args=*) read -r -a args <<<"${option#*=}" ;;
        path=*)
            # A socket left by an instance that was killed would be in the way of a listener.
            [[ $option == *,server=1* ]] && guest_remove_socket "${option#path=}"
            vdevs+=(--vdev "net_virtio_user$port,$option")
            port=$((port + 1))
            ;;
        *)
            guest_say "dpdk_virtio_user_start: unknown option '$option'"
            return 1
            ;;
        esac
    done
    dpdk_testpmd_launch "$name" "$cpu" '' -m "$mem" --single-file-segments \
        --huge-dir "$GUEST_WORK/huge" "${vdevs[@]}" \
        -- -i --disable-link-check --total-num-mbufs=16384 "${args[@]}"
}

# Prints the words of a device with those defaults added that it does not set: DPDK would take the
# first of two.
dpdk_with_defaults() { # WORDS NAME=VALUE...
    local words=$1 default
    shift
    for default in "$@"; do
        [[ ,$words == *",${default%=*}="* ]] || words=$default${words:+,$words}
    done
    echo "$words"
}

# Two virtio-user ports whose packets go round for ever through the switch, which a learning bridge
# forwards correctly: `dpdk_loop_start NAME SOCK1 SOCK2 [OPTION]...`, with the options of
# dpdk_virtio_user_start and vdev=WORDS for both devices. Set going by dpdk_loop_go.
dpdk_loop_start() {
    local name=$1 first=$2 second=$3 option rest=() vdev='' more=''
    local mac1=02:c0:00:00:00:01 mac2=02:c0:00:00:00:02
    shift 3
    for option in "$@"; do
        case $option in
        vdev=*) vdev=${option#*=} ;;
        args=*) more=${option#*=} ;;
        *) rest+=("$option") ;;
        esac
    done
    vdev=$(dpdk_with_defaults "$vdev" queues=1 queue_size=1024)
    dpdk_virtio_user_start "$name" "path=$first,mac=$mac1,$vdev" "path=$second,mac=$mac2,$vdev" \
        "args=--forward-mode=io --eth-peer=0,$mac2 --eth-peer=1,$mac1 $more" "${rest[@]}"
}

# `dpdk_loop_go NAME [BURSTS] [BYTES]` sends BURSTS (default 4) bursts of 32 packets from each port.
dpdk_loop_go() {
    dpdk_command "$1" "set txpkts ${3:-64}" >/dev/null || return
    dpdk_command "$1" "start tx_first ${2:-4}" >/dev/null
}

# --- a peer ---------------------------------------------------------------------------------------

# `peer_testpmd_vhost_start NAME SOCK1 SOCK2 [OPTION]...` starts testpmd as the back end of two
# front ends, which it joins like a cable: the floor of what DPDK's vhost library takes. It listens
# at both sockets when the function returns. (With packed=on in QEMU, DPDK 22.11 does not find its
# place in the ring again after it was killed.)
#   cpu=N     host processor (default 0); it polls, and takes the whole of it
#   uml=on    the front ends are User Mode Linux: does not offer what they cannot do
#   vdev=WORDS  more words for both net_vhost devices, such as tso=1, queues=2 or client=1
#   args=WORDS  more arguments of testpmd, such as --rxq=2 --txq=2
peer_testpmd_vhost_start() {
    local name=$1 first=$2 second=$3 cpu=0 preload='' vdev='' option args=()
    shift 3
    for option in "$@"; do
        case $option in
        cpu=*) cpu=${option#*=} ;;
        uml=on) preload=$(guest_preload ovsfeatures) || return 1 ;;
        vdev=*) vdev=${option#*=} ;;
        args=*) read -r -a args <<<"${option#*=}" ;;
        *)
            guest_say "peer_testpmd_vhost_start: unknown option '$option'"
            return 1
            ;;
        esac
    done
    vdev=$(dpdk_with_defaults "$vdev" queues=1)
    if [[ $vdev != *client=1* ]]; then
        guest_remove_socket "$first"
        guest_remove_socket "$second"
    fi
    dpdk_testpmd_launch "$name" "$cpu" "$preload" --no-huge -m 512 --no-shconf \
        --vdev "net_vhost0,iface=$first,$vdev" --vdev "net_vhost1,iface=$second,$vdev" \
        -- -i --disable-link-check --total-num-mbufs=65536 --forward-mode=io --auto-start \
        "${args[@]}" || return 1
    dpdk_wait_ready "$name"
}
