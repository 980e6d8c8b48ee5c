# shellcheck shell=bash disable=SC2034 # the lists are used by those who source this
# What the project needs of Debian 12, by purpose, and how it gets there. Sourced by the two
# commands at the root.

# shellcheck disable=SC2034 # used by whoever sources this
PACKAGES_BUILD=(gcc libc6-dev meson ninja-build pkg-config libyaml-dev libjansson-dev libcmocka-dev
    libpcap-dev)
# shellcheck disable=SC2034
PACKAGES_GUESTS=(user-mode-linux busybox-static iperf3 sockperf ethtool iproute2 cpio gzip procps jq
    iputils-ping)
# DPDK with testpmd, and what Open vSwitch with DPDK, which is unpacked only, needs besides.
# shellcheck disable=SC2034
PACKAGES_PEERS=(dpdk-dev libunbound8 libbpf1 libcap-ng0 libnuma1 libxdp1)
# shellcheck disable=SC2034
PACKAGES_CHECK=(clang llvm libclang-rt-14-dev clang-format clang-tidy cppcheck mandoc shellcheck git
    qemu-system-x86 dpdk-dev iputils-ping chromium)

# `packages_need NAME...` installs what is missing and says so.
packages_need() {
    local missing=() name
    for name in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed ||
            missing+=("$name")
    done
    ((${#missing[@]})) || return 0
    echo "Installing with apt: ${missing[*]}"
    if ((EUID != 0)); then
        echo "error: this needs root. Run this command as root, or install the packages first." >&2
        return 1
    fi
    local log
    log=$(mktemp)
    if ! { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y \
        --no-install-recommends install "${missing[@]}"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "error: apt could not install them; the end of its output is above." >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}
