"""Which peers can take part: each is started once, since nothing else tells so surely."""

import os
import shutil
from pathlib import Path

from . import machine, switches
from .study import SYNTHETIC_PEERS, Study, StudyError


def find(study: Study, wanted: bool) -> None:
    """Fills study.peers and study.missing. The kernel's own always take part where they can."""
    for peer in SYNTHETIC_PEERS:
        why = _missing(study, peer) if wanted else "not asked for: ./study --peers"
        if why:
            study.missing[peer] = why
        else:
            study.peers.append(peer)
    why = _kernel_missing()
    for peer in ("bridge+tap", "native"):
        if why:
            study.missing[peer] = why
        else:
            study.peers.append(peer)
    if "ovs-dpdk" in study.peers:
        daemon = switches.guest_cache(study) / "ovs/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
        study.facts["ovs_version"] = machine.said([daemon, "--version"])
    for peer, why in study.missing.items():
        study.say(f"{peer} is left out: {why}")


def _missing(study: Study, peer: str) -> str:
    """Why a peer cannot be started; empty where it can."""
    if peer == "testpmd" and not shutil.which("dpdk-testpmd"):
        return "dpdk-testpmd is not installed (package dpdk-dev)"
    if os.geteuid() != 0:
        return "it needs root"
    study.say(f"trying whether {peer} starts")
    try:
        with switches.running(study, peer, 2):
            return ""
    except (StudyError, OSError) as error:
        return str(error)


def _kernel_missing() -> str:
    if os.geteuid() != 0:
        return "namespaces and real guests need root"
    if not shutil.which("ip"):
        return "ip is not installed (package iproute2)"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun: load the module tun (modprobe tun)"
    return ""
