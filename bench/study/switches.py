"""Switches to measure: convoyd in its modes, and peers. One runs at a time, on a processor of its own.

    with switches.running(study, "convoy natural", guests=2) as switch:
        generator.run(study, switch, size=64)
"""

import json
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator

from . import processes
from .study import Study, StudyError

# How packets depart in each mode where an experiment asks for nothing else (convoy.yaml(5)).
HOLDS = {"convoy off": "off", "convoy natural": "natural", "convoy adaptive": "adaptive",
         "convoy fixed": "fixed:32,50us"}
CONTROL_S = 20  # until convoyd answers its client
START_S = 30  # seconds until a switch serves; DPDK's take a few


@dataclass
class Switch:
    contestant: str
    pid: int  # whose processor time and memory are the switch's
    sockets: list[str]
    run_dir: Path
    process: subprocess.Popen  # it, or the helper that runs it
    convoy: list[str] = field(default_factory=list)  # convoyd's client; empty for peers

    def check(self) -> None:
        """StudyError where it does not run any more."""
        if self.process.poll() is None and Path(f"/proc/{self.pid}").exists():
            return
        words = processes.last_words(self.run_dir / "log")
        raise StudyError(f"{self.contestant} ended while it was measured, "
                         f"with status {self.process.returncode}: {words}")

    def control(self, *words: str) -> str:
        """What `convoy` answers. StudyError with its words where it fails."""
        try:
            done = subprocess.run([*self.convoy, *words], capture_output=True, text=True, timeout=CONTROL_S)
        except subprocess.TimeoutExpired:
            raise StudyError(f"convoy {' '.join(words)} has no answer within {CONTROL_S} s") from None
        if done.returncode:
            raise StudyError(f"convoy {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def port(self, guest: int) -> dict:
        """What convoyd says of a guest's port. StudyError where that is no object."""
        said = self.control("--json", "port", "show", f"g{guest}")
        try:
            port = json.loads(said)
        except ValueError:
            port = None
        if not isinstance(port, dict):
            raise StudyError(f"convoy port show g{guest} answers no JSON object but {said[:100]!r}")
        return port

    def set(self, **settings: object) -> None:
        """Settings of all ports, such as hold="fixed:8,50us", delay_budget="50us"."""
        words = [f"{name.replace('_', '-')}={value}" for name, value in settings.items()]
        for number in range(len(self.sockets)):
            self.control("port", "set", f"g{number}", *words)

    def tuning(self, guest: int) -> dict:
        """What convoyd knows of the load towards a guest's first queue: rule, predicted, measured."""
        port = self.port(guest)
        try:
            return port["tuning"]["queues"][0]["to"] or {}
        except (KeyError, IndexError, TypeError):
            return {}


@contextmanager
def running(study: Study, contestant: str, guests: int, **settings: object) -> Iterator[Switch]:
    """A switch with a socket for each guest, and what it needs; ended at the end, whatever happens.

    Settings are convoyd's, of every port; `tso` is testpmd's.
    """
    folder = Path(tempfile.mkdtemp(prefix="switch.", dir=study.work))
    starters = {"ovs-dpdk": _start_ovs, "testpmd": _start_testpmd}
    start = starters.get(contestant, _start_convoyd)
    switch = start(study, contestant, folder, guests, settings)
    try:
        yield switch
    finally:
        processes.stop(switch.process)
        shutil.rmtree(folder, ignore_errors=True)


def _await(what: str, process: subprocess.Popen, folder: Path, files: list[str]) -> None:
    try:
        processes.await_state(f"{what} does not start", START_S,
                              lambda: all(Path(file).is_socket() for file in files), process, folder / "log")
    except StudyError:
        processes.stop(process)
        raise


def convoyd_settings(folder: Path, cpu: int, hold: str, guests: int, settings: dict[str, object]) -> str:
    """convoyd's configuration: a port g0, g1, ... for each guest."""
    words = {"hold": hold, **{name.replace("_", "-"): value for name, value in settings.items()}}
    port = "".join(f', {name}: "{value}"' for name, value in words.items())
    ports = "".join(f"  - {{name: g{number}{port}}}\n" for number in range(guests))
    return f"run-dir: {folder}\nworkers: {{count: 1, cpus: [{cpu}]}}\nports:\n{ports}"


def _start_convoyd(study: Study, contestant: str, folder: Path, guests: int,
                   settings: dict[str, object]) -> Switch:
    if contestant not in HOLDS:
        raise StudyError(f"there is no contestant {contestant} for synthetic guests")
    known = {name: value for name, value in settings.items() if name != "tso"}
    config = folder / "convoy.yaml"
    config.write_text(convoyd_settings(folder, study.cpus.switch, HOLDS[contestant], guests, known))
    sockets = [str(folder / f"g{number}.sock") for number in range(guests)]
    process = processes.start([study.build / "src/convoyd", "--config", config], folder / "log")
    _await("convoyd", process, folder, [*sockets, str(folder / "control.sock")])
    client = [str(study.build / "cli/convoy"), "--socket", str(folder / "control.sock")]
    return Switch(contestant, process.pid, sockets, folder, process, client)


def _start_testpmd(study: Study, contestant: str, folder: Path, guests: int,
                   settings: dict[str, object]) -> Switch:
    cpu = study.cpus.switch
    sockets = [str(folder / f"g{number}.sock") for number in range(guests)]
    tso = ",tso=1" if settings.get("tso") else ""
    vdevs = [word for number, path in enumerate(sockets)
             for word in ("--vdev", f"net_vhost{number},iface={path},queues=1{tso}")]
    command = ["stdbuf", "-oL", "dpdk-testpmd", "--no-pci", "--no-telemetry", "--no-huge", "-m", "1024",
               "--no-shconf", "--file-prefix", f"study-{os.getpid()}",
               "--lcores", f"0@{cpu},1@{cpu}", *vdevs,
               "--", "-i", "--disable-link-check", f"--total-num-mbufs={65536 + 4096 * guests}",
               "--nb-cores=1", "--forward-mode=io", "--auto-start"]
    log = folder / "log"
    process = processes.start(command, log, stdin=subprocess.PIPE, env=_environment(RUNTIME_DIRECTORY=folder))
    _await("testpmd", process, folder, sockets)
    try:
        processes.await_state("testpmd does not reach its prompt", START_S,
                              lambda: "testpmd> " in log.read_text(errors="replace"), process, log)
    except StudyError:
        processes.stop(process)
        raise
    return Switch(contestant, process.pid, sockets, folder, process)


def _start_ovs(study: Study, contestant: str, folder: Path, guests: int,
               settings: dict[str, object]) -> Switch:
    names = [f"g{number}" for number in range(guests)]
    command = [study.root / "bench/study/ovs.sh", folder, study.cpus.switch, *names]
    process = processes.start(command, folder / "log", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              env=_environment(GUEST_CACHE=guest_cache(study)))
    assert process.stdout
    words = process.stdout.readline().split(maxsplit=2)
    if len(words) != 3 or words[0] != "ready":
        processes.stop(process)
        raise StudyError(f"Open vSwitch does not start: {processes.last_words(folder / 'log')}")
    run_dir = Path(words[2].strip())
    return Switch(contestant, int(words[1]), [str(run_dir / name) for name in names], run_dir, process)


def guest_cache(study: Study) -> Path:
    """Where what real guests and peers need is kept; ./demo keeps its own there, too."""
    return Path(os.environ.get("GUEST_CACHE", study.root / "build/demo/guest"))


def _environment(**more: object) -> dict[str, str]:
    return {**os.environ, **{name: str(value) for name, value in more.items()}}
