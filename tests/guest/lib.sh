# shellcheck shell=bash source-path=SCRIPTDIR
# Boots real guests for tests, the demo and measurements: source this file, do not run it.
#
#   source tests/guest/lib.sh
#   guest_init                        # before all else; needs root
#   trap guest_cleanup EXIT           # ends everything that was started, also after an interrupt
#   guest_uml_start vm1 /run/x/vm1.sock ip=10.0.0.1/24
#   guest_uml_start vm2 /run/x/vm2.sock ip=10.0.0.2/24
#   guest_wait_ready vm1 vm2
#   guest_run vm1 ping -c 3 10.0.0.2  # prints what the command prints, returns what it returns
#   guest_kill vm1
#
# How it works. Every guest is a session and process group of its own, so that one signal ends all
# of User Mode Linux's processes. (It calls setsid() for itself where it is not a leader already: no
# wrapper such as timeout may stand before it, or the group is not the one we know.) Its second serial line is a pair of FIFOs: commands go in, one
# line each, and answers come out (see ./init). One reader per guest takes the answers and hands
# each to the guest_run that waits for it. All state is in files below $GUEST_WORK/NAME, so that
# guests can be used from subshells:
#
#   group                 process group   console   what the guest's console said
#   to_guest, from_guest  FIFOs           ready     exists once the guest serves commands
#   ack, answer.ID        FIFOs           gone      exists once all processes of the guest ended
#   output.ID                             no_nic    exists when it came up without a NIC
#
# Environment: GUEST_WORK (default: a fresh folder, removed by guest_cleanup; a given one is kept),
# GUEST_CACHE (built things to be used again; default /var/tmp/convoy-guest), GUEST_LIFE_S (no
# guest outlives this, whatever happens to the script; default 900), GUEST_XSTATE (a ready
# libumlxstate.so, else it is compiled), GUEST_ADD (a program of the host to put into all guests).

GUEST_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

source "$GUEST_DIR/qemu.sh"
source "$GUEST_DIR/dpdk.sh"

guest_say() {
    printf 'guest: %s\n' "$*" >&2
}

# --- set-up and the end ---------------------------------------------------------------------------

guest_init() {
    if ((EUID != 0)); then
        guest_say "guests, TAP devices and namespaces need root: run this with sudo"
        return 1
    fi
    GUEST_CACHE=${GUEST_CACHE:-/var/tmp/convoy-guest}
    GUEST_LIFE_S=${GUEST_LIFE_S:-900}
    GUEST_WORK_IS_OURS=0
    if [[ -z ${GUEST_WORK:-} ]]; then
        GUEST_WORK=$(mktemp -d /tmp/convoy-guest.XXXXXX)
        GUEST_WORK_IS_OURS=1
    fi
    # The reader of every guest must find them whatever shell starts it.
    export GUEST_WORK GUEST_CACHE GUEST_LIFE_S
    mkdir -p "$GUEST_WORK" "$GUEST_CACHE"
    # What is found there is preloaded and booted as root.
    if [[ ! -O $GUEST_CACHE || -L $GUEST_CACHE ]]; then
        guest_say "$GUEST_CACHE belongs to somebody else: set GUEST_CACHE to a folder of your own"
        return 1
    fi
}

# Ends every guest, peer and device that this library started, and gives huge pages back. May be
# called twice, and at any moment after guest_init.
guest_cleanup() {
    local dir
    [[ -n ${GUEST_WORK:-} && -d $GUEST_WORK ]] || return 0
    for dir in "$GUEST_WORK"/*/; do
        [[ -e $dir/group ]] && { guest_kill "$(basename "$dir")" || true; }
    done
    guest_tap_remove_all
    dpdk_hugepages_teardown
    if ((GUEST_WORK_IS_OURS)); then
        rm -rf "$GUEST_WORK"
    fi
    return 0
}

# --- waiting for states ---------------------------------------------------------------------------

# Runs a command until it succeeds: `guest_await SECONDS COMMAND...`. Returns 1 when time is up.
# (Not `read -t` for the pause, which saves a process: bash 5.2 destroys its stack when a trap that
# interrupted it runs longer than its time.)
guest_await() {
    local seconds=$1 end_us
    shift
    end_us=$((${EPOCHREALTIME/[.,]/} + seconds * 1000000))
    until "$@"; do
        ((${EPOCHREALTIME/[.,]/} < end_us)) || return 1
        sleep 0.01
    done
}

# Whether the process group still has a process that is more than a zombie. A zombie with threads
# ("l") is still giving back its memory and sockets.
guest_group_lives() {
    kill -0 -- "-$1" 2>/dev/null || return 1
    ps -e -o pgid=,stat= | awk -v group="$1" '
        $1 == group && ($2 !~ /^Z/ || $2 ~ /l/) {live = 1}
        END {exit !live}'
}

guest_group_ended() {
    ! guest_group_lives "$1"
}

guest_ready_or_gone() {
    [[ -e $GUEST_WORK/$1/ready || -e $GUEST_WORK/$1/gone ]]
}

# Waits until the named guests serve commands; on failure shows the end of the guest's console.
guest_wait_ready() {
    local name
    for name in "$@"; do
        guest_await "${GUEST_BOOT_S:-60}" guest_ready_or_gone "$name" || true
        if [[ ! -e $GUEST_WORK/$name/ready || -e $GUEST_WORK/$name/gone ]]; then
            guest_say "$name did not come up; its console ends with:"
            tail -n 20 "$GUEST_WORK/$name/console" >&2
            return 1
        fi
        if [[ -e $GUEST_WORK/$name/no_nic ]]; then
            guest_say "$name found no network interface; its kernel says:"
            guest_run "$name" 'dmesg | tail -n 10' >&2
            return 1
        fi
    done
}

# --- processes ------------------------------------------------------------------------------------

# Makes $GUEST_WORK/NAME with the FIFOs. A name that ended may be used again.
guest_prepare() {
    local dir=$GUEST_WORK/$1
    if [[ -e $dir/group ]]; then
        guest_say "a guest named $1 exists already: end it with guest_kill first"
        return 1
    fi
    rm -rf "$dir"
    mkdir -p "$dir"
    mkfifo "$dir/to_guest" "$dir/from_guest" "$dir/ack"
}

# Starts a command line as a session of its own with console and FIFOs in place:
# `guest_launch NAME CPUS COMMAND...`; CPUS may be empty. Descriptor 3 reads commands, 4 answers.
guest_launch() {
    local dir=$GUEST_WORK/$1 cpus=$2 pin=()
    shift 2
    [[ -n $cpus ]] && pin=(taskset -c "$cpus")
    guest_reader "$dir" "$GUEST_LIFE_S" </dev/null >>"$dir/console" 2>&1 &
    disown
    # The shell that becomes the guest writes its own number: setsid may fork before. Disowned, so
    # that the calling shell does not report how the guest ended.
    # shellcheck disable=SC2016
    setsid bash -c 'echo $$ >"$0/group.part"; mv "$0/group.part" "$0/group"; exec "$@"' "$dir" \
        "${pin[@]}" "$@" \
        3<>"$dir/to_guest" 4>"$dir/from_guest" </dev/null >>"$dir/console" 2>&1 &
    disown
    guest_await 10 test -s "$dir/group"
}

# Takes a guest's answers, one line each, until its last process has ended. It is also the watchdog
# that ends a guest whose time is up, when perhaps nobody else is left to do it.
guest_reader() {
    local dir=$1 end_s=$((SECONDS + $2)) id status output fifo
    while true; do
        status=0
        read -r -t $((end_s > SECONDS ? end_s - SECONDS : 1)) id status output || status=end:$?
        case $status in
        end:1) break ;;
        end:*)
            echo "the guest's time is up"
            kill -KILL -- "-$(<"$dir/group")"
            continue
            ;;
        esac
        [[ $id =~ ^@[0-9]+$ && $status =~ ^([0-9]+|[+])$ ]] || continue
        id=${id#@}
        if [[ $status == + ]]; then
            # Opened for both, because a reader that has given up must not hold this one.
            echo "$id" 1<>"$dir/ack"
        elif [[ $id == 0 ]]; then
            base64 -d <<<"$output" >"$dir/ready.part"
            [[ $status == 0 ]] || : >"$dir/no_nic"
            mv "$dir/ready.part" "$dir/ready"
        elif [[ -p $dir/answer.$id ]]; then
            base64 -d <<<"$output" >"$dir/output.$id" || true
            echo "$status" 1<>"$dir/answer.$id"
        fi
    done <"$dir/from_guest"
    : >"$dir/gone"
    for fifo in "$dir"/answer.* "$dir/ack"; do
        [[ -p $fifo ]] && echo gone 1<>"$fifo"
    done
    return 0
}

# Ends guests at once, as a crash would: `guest_kill NAME...`. Returns when all their processes
# are gone.
guest_kill() {
    local name dir group
    for name in "$@"; do
        dir=$GUEST_WORK/$name
        [[ -s $dir/group ]] || continue
        group=$(<"$dir/group")
        kill -KILL -- "-$group" 2>/dev/null || true
        if ! guest_await 10 guest_group_ended "$group"; then
            guest_say "$name (process group $group) does not end"
            return 1
        fi
        rm -f "$dir/group"
    done
}

# Prints the processor time that a guest's processes have used, in milliseconds.
guest_cpu_ms() {
    local group
    group=$(<"$GUEST_WORK/$1/group")
    # A process may end between the listing and the reading.
    { cat /proc/[0-9]*/stat 2>/dev/null || true; } | sed 's/^.*) //' |
        awk -v group="$group" -v hertz="$(getconf CLK_TCK)" \
            '$3 == group {ticks += $12 + $13} END {printf "%d\n", ticks * 1000 / hertz}'
}

# --- commands -------------------------------------------------------------------------------------

# `guest_run [-t SECONDS] NAME COMMAND...` runs a shell command in a guest, prints its output (both
# streams) and returns its status: 124 when it took longer than SECONDS (default 60), 125 when the
# guest is gone. Several may run in one guest at a time.
guest_run() {
    local limit_s=60 name dir id status fd
    if [[ $1 == -t ]]; then
        limit_s=$2
        shift 2
    fi
    name=$1 dir=$GUEST_WORK/$1
    shift
    if [[ ! -e $dir/ready || -e $dir/gone ]]; then
        guest_say "$name does not run"
        return 125
    fi
    id=${EPOCHREALTIME/[.,]/}$BASHPID
    mkfifo "$dir/answer.$id"
    exec {fd}<>"$dir/answer.$id"
    if guest_send_command "$name" "$id" "$limit_s" "$*"; then
        read -r -t $((limit_s + 10)) -u "$fd" status || status=silent
    else
        status=silent
    fi
    # The reader tells those that wait, but it may have gone before the FIFO was there.
    [[ -e $dir/gone && $status == silent ]] && status=gone
    exec {fd}<&-
    guest_run_result "$name" "$id" "$status"
}

# Writes a line to a guest as it is.
guest_send_line() { # NAME LINE
    # Opened for both, because a FIFO whose guest has ended would block.
    echo "$2" 1<>"$GUEST_WORK/$1/to_guest"
}

# Sends a command in pieces, each when the guest has taken the one before (see ./init). Returns 1
# if it does not.
guest_send_command() { # NAME ID LIMIT_S COMMAND
    local dir=$GUEST_WORK/$1 text piece part taken=0 lock ack
    text=$(base64 -w0 <<<"$4")
    exec {lock}>"$dir/lock" {ack}<>"$dir/ack"
    flock "$lock"
    while [[ -n $text && $taken == 0 ]]; do
        piece=${text:0:1000}
        text=${text:1000}
        part=$([[ -n $text ]] && echo + || echo .)
        guest_send_line "$1" "$2 $3 $part $piece"
        guest_take_ack "$dir" "$ack" "$2" || taken=1
    done
    exec {lock}>&- {ack}<&-
    return "$taken"
}

guest_take_ack() { # DIR DESCRIPTOR ID
    local id=''
    # Whoever waited before may have given up and left its acknowledgement behind.
    until [[ $id == "$3" ]]; do
        [[ ! -e $1/gone ]] && read -r -t 20 -u "$2" id && [[ $id != gone ]] || return 1
    done
}

guest_run_result() { # NAME ID STATUS
    local dir=$GUEST_WORK/$1
    [[ -e $dir/output.$2 ]] && cat "$dir/output.$2"
    rm -f "$dir/answer.$2" "$dir/output.$2"
    case $3 in
    gone)
        guest_say "$1 ended while it ran a command"
        return 125
        ;;
    silent)
        guest_say "$1 does not answer"
        echo "$1" >"$GUEST_WORK/silent" # see check in daemon.sh
        return 124
        ;;
    *) return "$3" ;;
    esac
}

# --- User Mode Linux ------------------------------------------------------------------------------

# Builds once, in the cache, what every guest of a kind needs, and prints its path. Anything older
# than its source is built again.
guest_initramfs() { # uml | qemu
    local out=$GUEST_CACHE/initramfs-$1${GUEST_ADD:+-${GUEST_ADD##*/}}.gz options=() source
    if [[ $1 == qemu ]]; then
        options=(--qemu "$(guest_qemu_kernel_fetch)") || return 1
    fi
    [[ -z ${GUEST_ADD:-} ]] || options+=(--add "$GUEST_ADD")
    for source in "$GUEST_DIR/init" "$GUEST_DIR/initramfs.sh" ${GUEST_ADD:+"$GUEST_ADD"}; do
        [[ $out -nt $source ]] || rm -f "$out"
    done
    [[ -e $out ]] || "$GUEST_DIR/initramfs.sh" "${options[@]}" "$out" || return 1
    echo "$out"
}

# Prints the path of a preloaded library, compiled when it is older than its source.
guest_preload() { # NAME, for tests/guest/NAME.c
    local out=$GUEST_CACHE/lib$1.so source=$GUEST_DIR/$1.c
    if [[ ! $out -nt $source ]]; then
        cc -D_GNU_SOURCE -std=gnu11 -O2 -fPIC -shared -o "$out.$$" "$source" -ldl || return 1
        mv "$out.$$" "$out"
    fi
    echo "$out"
}

# Turns the options that the guest's own init understands into words of its kernel command line,
# one a line; returns 1 for any other option.
guest_word() {
    case $1 in
    ip=* | ip6=* | mtu=* | mac=* | gw=*) echo "guest.$1" ;;
    run=*) echo "guest.run=$(base64 -w0 <<<"${1#run=}")" ;;
    *) return 1 ;;
    esac
}

# Prints the MAC address that a guest of this name has by default: User Mode Linux would take
# another at each start, and QEMU the same for every guest.
guest_mac() { # NAME
    local sum
    sum=$(cksum <<<"$1")
    printf '02:9e:%02x:%02x:%02x:%02x\n' $((${sum%% *} >> 24 & 255)) $((${sum%% *} >> 16 & 255)) \
        $((${sum%% *} >> 8 & 255)) $((${sum%% *} & 255))
}

# `guest_uml_start NAME SOCKET [OPTION]...` boots a guest whose NIC is the vhost-user socket at
# SOCKET, where the switch must listen (or soon will). Returns at once: see guest_wait_ready.
#   ip=A.B.C.D/N ip6= gw= mtu= mac= run='shell command'     for the guest's init; without mac=,
#                 the guest takes what the switch tells it, or one at random
#   mem=256M  cpus=LIST (host processors)  wait_s=5 (for the socket to appear)
guest_uml_start() {
    local name=$1 socket=$2
    shift 2
    guest_uml_boot "$name" "$socket" "virtio_uml.device=$socket:1" "$@"
}

# The same with a TAP device of the host instead of a vhost-user socket: the kernel's own path, to
# compare with. TAP is made if it does not exist, and joins bridge= if given.
#   bridge=NAME  and the options of guest_uml_start
guest_uml_start_tap() {
    local name=$1 tap=$2 bridge='' option rest=()
    shift 2
    for option in "$@"; do
        case $option in
        bridge=*) bridge=${option#*=} ;;
        *) rest+=("$option") ;;
        esac
    done
    guest_tap_add "$tap" "$bridge" || return 1
    guest_uml_boot "$name" '' "vec0:transport=tap,ifname=$tap,depth=128,gro=1" \
        "mac=$(guest_mac "$name")" "${rest[@]}"
}

# Removes a socket that nobody needs any more; PATH may have options behind a comma.
guest_remove_socket() { # PATH[,...]
    [[ -S ${1%%,*} ]] && rm -f "${1%%,*}"
    return 0
}

guest_await_socket() { # NAME SOCKET SECONDS
    guest_await "$3" test -S "$2" && return
    guest_say "$1: no socket at $2: the switch must listen there before the guest boots"
    return 1
}

guest_uml_boot() { # NAME SOCKET NIC-WORD OPTION...
    local name=$1 socket=$2 nic=$3 mem=256M cpus='' wait_s=5 initramfs preload option words=() word
    shift 3
    for option in "$@"; do
        case $option in
        mem=*) mem=${option#*=} ;;
        cpus=*) cpus=${option#*=} ;;
        wait_s=*) wait_s=${option#*=} ;;
        *)
            if ! word=$(guest_word "$option"); then
                guest_say "guest_uml_start: unknown option '$option'"
                return 1
            fi
            words+=("$word")
            ;;
        esac
    done
    initramfs=$(guest_initramfs uml) || return 1
    preload=${GUEST_XSTATE:-$(guest_preload xstate)} || return 1
    if [[ -n $socket ]]; then
        guest_await_socket "$name" "$socket" "$wait_s" || return 1
    fi
    guest_prepare "$name" || return 1
    # TMPDIR: the guest's memory is a file there. uml_dir: its pid file must end with our folder.
    guest_launch "$name" "$cpus" env TMPDIR=/dev/shm HOME="$GUEST_WORK/$name" LD_PRELOAD="$preload" \
        linux.uml "mem=$mem" "initrd=$initramfs" "uml_dir=$GUEST_WORK/$name/" "umid=uml" \
        con=null con0=null,fd:1 ssl=null ssl1=fd:3,fd:4 quiet "$nic" \
        "guest.name=$name" "${words[@]}"
}

# --- TAP devices ----------------------------------------------------------------------------------

# Makes a TAP device that guest_cleanup removes, and puts it into a bridge, which must exist.
guest_tap_add() { # TAP [BRIDGE]
    # Not by /sys, which may show another network namespace.
    if ! ip link show dev "$1" >/dev/null 2>&1; then
        ip tuntap add "$1" mode tap vnet_hdr || return 1
        echo "$1" >>"$GUEST_WORK/taps"
    fi
    if [[ -n ${2:-} ]]; then
        ip link set "$1" master "$2" || return 1
    fi
    ip link set "$1" up
}

guest_tap_remove_all() {
    local tap taps
    [[ -e $GUEST_WORK/taps ]] || return 0
    # Not `read`, because this may run from a trap in the middle of guest_run's.
    mapfile -t taps <"$GUEST_WORK/taps"
    for tap in "${taps[@]}"; do
        ip link del "$tap" 2>/dev/null || true
    done
    rm -f "$GUEST_WORK/taps"
}
