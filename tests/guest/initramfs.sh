#!/bin/bash
# Builds the initramfs of the test guests from what is installed, as `cpio | gzip`.
#
# Everything in it comes from Debian packages (busybox-static, iperf3, sockperf, ethtool and the
# libraries they name) and from ./init. User Mode Linux takes its modules from its own package;
# for QEMU they come from an unpacked kernel package.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# busybox has no flock here.
programs=(/usr/bin/iperf3 /usr/bin/sockperf /usr/sbin/ethtool /usr/bin/flock)
# Modules by name; what they need is found in modules.dep and loaded before them.
modules=(ipv6 virtio_net 8021q)

usage() {
    cat >&2 <<'END'
usage: initramfs.sh [--add FILE]... OUT.gz                      for User Mode Linux
       initramfs.sh --qemu KERNELDIR [--add FILE]... OUT.gz     for QEMU
KERNELDIR is a folder with lib/modules/VERSION in it. --add puts a program of the host, with its
libraries, into the guest's /bin.
END
    exit 2
}

fail() {
    echo "initramfs.sh: $*" >&2
    exit 1
}

require_files() {
    local file
    for file in "$@"; do
        [[ -e $file ]] || fail "$file is missing: install the packages" \
            "user-mode-linux busybox-static iperf3 sockperf ethtool"
    done
}

copy_program() { # FILE TARGET
    local library
    install -D -m 755 "$1" "$root/$2"
    # ldd fails on a static program, which needs nothing.
    { ldd "$1" 2>/dev/null || true; } | { grep -o '/[^ ]*' || true; } | while read -r library; do
        [[ -e $root/$library ]] || install -D -m 755 "$library" "$root/$library"
    done
}

# Prints the module's dependencies and then itself, as paths below the modules folder.
module_with_needs() { # NAME
    local row
    row=$(grep -m1 -E "(^|/)$1\.ko:" "$modules_dir/modules.dep") || return 0
    # The file lists what is needed from the nearest to the farthest: load in reverse.
    tr ' ' '\n' <<<"${row/:/}" | grep . | tac
}

copy_modules() {
    local module path
    for module in "${module_names[@]}"; do
        module_with_needs "$module"
    done | awk '!seen[$0]++' | while read -r path; do
        install -D -m 644 "$modules_dir/$path" "$root/lib/modules/${path##*/}"
        echo "/lib/modules/${path##*/}"
    done >"$root/modules.list"
    grep -q '/virtio_net.ko$' "$root/modules.list" || fail "no virtio_net.ko under $modules_dir"
}

# The folder with the modules of the kernel; a package that was only unpacked has no modules.dep.
find_modules() {
    local base=$1 found
    for found in "$base"/*/; do
        modules_dir=${found%/}
    done
    require_files "$modules_dir"
    [[ -e $modules_dir/modules.dep ]] && return
    busybox depmod -b "${base%/lib/modules}" "${modules_dir##*/}"
}

fill_root() {
    local program applet
    mkdir -p "$root"/{bin,sbin,proc,sys,dev,tmp,host,lib/modules,usr/bin,usr/sbin,etc}
    install -m 755 "$here/init" "$root/init"
    install -m 755 /bin/busybox "$root/bin/busybox"
    for applet in $(busybox --list); do
        [[ $applet == busybox ]] || ln -s /bin/busybox "$root/bin/$applet"
    done
    for program in "${programs[@]}"; do
        copy_program "$program" "/bin/${program##*/}"
    done
    echo root:x:0:0::/:/bin/sh >"$root/etc/passwd"
    echo 127.0.0.1 localhost >"$root/etc/hosts"
}

modules_base=/usr/lib/uml/modules
module_names=("${modules[@]}")
out=
while (($# > 0)); do
    case $1 in
    --qemu)
        (($# > 1)) || usage
        modules_base=$2/lib/modules
        module_names=(virtio_pci "${modules[@]}")
        shift
        ;;
    --add)
        (($# > 1)) || usage
        programs+=("$2")
        shift
        ;;
    -*) usage ;;
    *)
        [[ -z $out ]] || usage
        out=$1
        ;;
    esac
    shift
done
[[ -n $out ]] || usage
require_files /bin/busybox "${programs[@]}" "$modules_base"

root=$(mktemp -d)
trap 'rm -rf "$root" "$out.part.$$"' EXIT
find_modules "$modules_base"
fill_root
copy_modules
# Written beside the target and renamed, so that a reader never meets half a file.
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1 >"$out.part.$$"
mv "$out.part.$$" "$out"
