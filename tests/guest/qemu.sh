# shellcheck shell=bash
# QEMU guests, without hardware virtualisation: part of lib.sh, which sources this file.
#
# They run the kernel of Debian's linux-image-cloud-amd64, which is unpacked into $GUEST_CACHE and
# never installed. They are slow, and what libvirt's users run: use them for compatibility,
# reconnection, several queues, packed rings.

# Prints the folder with the unpacked kernel package, fetched at the first call.
guest_qemu_kernel_fetch() {
    local dir=$GUEST_CACHE/kernel part=$GUEST_CACHE/kernel.part.$BASHPID package
    if [[ ! -d $dir ]]; then
        package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/ {print $2}')
        if [[ -z $package ]]; then
            guest_say "apt knows no linux-image-cloud-amd64: run apt-get update first"
            return 1
        fi
        guest_say "fetching $package into $GUEST_CACHE (it will not be installed)"
        mkdir -p "$part"
        # The sandbox user of apt cannot write there; it warns of it on the standard output.
        if ! (cd "$part" && apt-get -qq -o APT::Sandbox::User=root download "$package" >&2 &&
            dpkg-deb -x ./*.deb . && rm -rf ./*.deb usr); then
            guest_say "cannot fetch $package"
            rm -rf "$part"
            return 1
        fi
        # Somebody else may have been faster.
        mv -T "$part" "$dir" 2>/dev/null || rm -rf "$part"
    fi
    echo "$dir"
}

# `guest_qemu_start NAME SOCKET [OPTION]...` boots a QEMU guest with one vhost-user NIC. Returns at
# once: see guest_wait_ready.
#   ip= ip6= gw= mtu= mac= run=   as in guest_uml_start; mac is the device's
#   mem=256M  cpus=LIST (host processors)  wait_s=5 (for the socket to appear)
#   server=on       QEMU listens at SOCKET and the switch connects
#   reconnect=N     QEMU connects again N seconds after it lost the switch (not with server=on)
#   queues=N        N queue pairs and N virtual processors
#   packed=on       packed rings
#   device=WORDS    more properties of virtio-net-pci, separated by commas
#   args=WORDS      more arguments of QEMU, separated by blanks
# vectors=0 stands in every command line because QEMU 7.2 without KVM crashes when a vhost-user NIC
# uses MSI-X. A QMP socket waits at $GUEST_WORK/NAME/qmp.
guest_qemu_start() {
    local name=$1 socket=$2 mem=256M cpus='' wait_s=5 server='' reconnect='' queues=1 device=''
    local option mac='' args='' words=() word
    shift 2
    for option in "$@"; do
        case $option in
        mem=*) mem=${option#*=} ;;
        cpus=*) cpus=${option#*=} ;;
        wait_s=*) wait_s=${option#*=} ;;
        server=on) server=,server=on ;;
        reconnect=*) reconnect=,$option ;;
        queues=*) queues=${option#*=} ;;
        packed=*) device+=,$option ;;
        device=*) device+=,${option#*=} ;;
        mac=*) mac=,$option ;;
        args=*) args=${option#*=} ;;
        *)
            if ! word=$(guest_word "$option"); then
                guest_say "guest_qemu_start: unknown option '$option'"
                return 1
            fi
            words+=("$word")
            ;;
        esac
    done
    [[ -n $mac ]] || mac=,mac=$(guest_mac "$name")
    if ((queues > 1)); then
        words+=("guest.queues=$queues")
        device+=,mq=on
    fi
    if [[ -z $server ]]; then
        guest_await_socket "$name" "$socket" "$wait_s" || return 1
    fi
    guest_qemu_boot "$name" "$cpus" "$mem" "$queues" "path=$socket$server$reconnect" \
        "vectors=0$mac$device" "$args" "${words[*]}"
}

guest_qemu_boot() { # NAME CPUS MEM QUEUES CHARDEV DEVICE ARGS WORDS
    local name=$1 cpus=$2 mem=$3 queues=$4 dir=$GUEST_WORK/$1 initramfs kernel args
    kernel=$(guest_qemu_kernel_fetch) || return 1
    initramfs=$(guest_initramfs qemu) || return 1
    guest_prepare "$name" || return 1
    # The names that QEMU derives from the path of a pipe.
    ln -s to_guest "$dir/line.in"
    ln -s from_guest "$dir/line.out"
    read -r -a args <<<"$7"
    # The console goes to a file that QEMU opens itself.
    guest_launch "$name" "$cpus" qemu-system-x86_64 -name "$name" -M q35,accel=tcg \
        -m "$mem" -object "memory-backend-memfd,id=m,size=$mem,share=on" -machine memory-backend=m \
        -smp "$queues" -nodefaults -no-user-config -display none -no-reboot \
        -kernel "$kernel"/boot/vmlinuz-* -initrd "$initramfs" \
        -append "console=ttyS0 quiet panic=-1 guest.name=$name $8" \
        -chardev "file,id=console,path=$dir/console,append=on" -serial chardev:console \
        -chardev "pipe,id=line,path=$dir/line" -serial chardev:line \
        -qmp "unix:$dir/qmp,server=on,wait=off" \
        -chardev "socket,id=c,$5" -netdev "vhost-user,id=n,chardev=c,queues=$queues" \
        -device "virtio-net-pci,netdev=n,$6" "${args[@]}"
}
