"""The machine, the programs and the circumstances of a study: machine.json, beside points.csv."""

import hashlib
import json
import os
import platform
import shlex
import subprocess
from datetime import datetime, timezone
from pathlib import Path

from . import cores
from .study import Study

FILE = "machine.json"


def describe(study: Study, experiments: list[str], done: list[str],
             runs: int, arguments: list[str]) -> dict[str, object]:
    """Everything that a reader of the figures must know. `done`: experiments that had all their runs."""
    first = read(study.out)
    started = first.get("date") or datetime.now(timezone.utc).isoformat(timespec="seconds")
    old_features = first.get("features")
    features = {**(old_features if isinstance(old_features, dict) else {}),
                **dict(study.facts.get("features", {}))}  # type: ignore[call-overload]
    return {
        "command": shlex.join(["./study", *arguments]), "kind": "quick" if study.quick else "full",
        "date": started, "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processor": _processor(), "cores": os.cpu_count(), "memory_bytes": _memory_bytes(),
        "kernel": f"{platform.system()} {platform.release()}", "system": _system(),
        "switch_processor": study.cpus.switch, "guest_processors": study.cpus.guests,
        "shared_cores": _siblings(study.cpus.switch), "watch": cores.describe(study),
        "runs": runs, "seconds": study.seconds, "warm_up": study.warm_up,
        "versions": _versions(study), "build_id": build_id(study), "features": features,
        "peers": study.peers, "missing": study.missing, "failed": study.failed,
        "experiments": experiments, "done": done,
    }


def read(out: Path) -> dict[str, object]:
    """machine.json of a folder; empty where there is none that can be read."""
    try:
        found = json.loads((out / FILE).read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def write(out: Path, facts: dict[str, object]) -> None:
    """All of it or nothing, so that an interruption leaves the one before."""
    part = out / (FILE + ".part")
    part.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    part.replace(out / FILE)


def build_id(study: Study) -> str:
    """Tells builds of convoyd and convoy-bench apart: figures of two builds do not belong together."""
    digest = hashlib.sha256()
    for program in ("src/convoyd", "bench/convoy-bench"):
        try:
            digest.update((study.build / program).read_bytes())
        except OSError:
            digest.update(b"missing")
    return digest.hexdigest()[:16]


def said(command: list[str | Path]) -> str:
    """The first line that a program prints; empty where it cannot be run."""
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0].strip() if lines and done.returncode == 0 else ""


def _versions(study: Study) -> dict[str, str]:
    versions = {"convoyd": said([study.build / "src/convoyd", "--version"]),
                "convoy-bench": said([study.build / "bench/convoy-bench", "--version"])}
    if "testpmd" in study.peers:
        versions["testpmd"] = "DPDK " + said(["dpkg-query", "-W", "-f", "${Version}", "dpdk-dev"])
    if "ovs-dpdk" in study.peers:
        versions["ovs-dpdk"] = str(study.facts.get("ovs_version", ""))
    return versions


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _system() -> str:
    for line in Path("/etc/os-release").read_text(errors="replace").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.split("=", 1)[1].strip('"')
    return ""


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _siblings(cpu: int) -> str:
    """Processors that share a core with this one, as the kernel lists them; empty where it does not say."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return ""
