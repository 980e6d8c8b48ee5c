"""What every experiment of the study is given: where things are, how much is asked for, who takes part.

An experiment is a function that takes a Study and measures what is not measured yet:

    for run in range(study.runs):
        for contestant in study.take_part(4, ("convoy off", "ovs-dpdk")):
            if not study.points.has(4, contestant, "guests=2", run):
                with study.attempt(4, contestant):
                    ...
                    study.points.add(4, contestant, "guests=2", run, {"received_pps": 1.5e6})

so contestants take turns inside each run, a study that was interrupted goes on where it stopped, and a
contestant that fails is named and left out of the rest of that experiment, while the study goes on.
"""

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterable, Iterator

from .points import Points

MODES = ("convoy off", "convoy natural", "convoy adaptive", "convoy fixed")
SYNTHETIC_PEERS = ("ovs-dpdk", "testpmd")  # have vhost-user sockets for convoy-bench's guests
PEERS = SYNTHETIC_PEERS + ("bridge+tap", "native")


class StudyError(Exception):
    """Something that the study cannot do, as a sentence for whoever reads it."""


@dataclass
class Cpus:
    """Processors by work. On two processors guests have the first and the switch the last."""

    guests: list[int]  # of the generator or of real guests; never empty
    switch: int


@dataclass
class Study:
    out: Path  # results: points.csv, machine.json, report.html
    build: Path  # meson's build folder, with src/convoyd, cli/convoy, bench/convoy-bench
    root: Path  # of the repository
    work: Path  # for sockets and passing files; emptied and removed at the end
    quick: bool
    runs: int  # of everything, so far: experiments are called once for each run, and skip what is there
    seconds: float  # measured part of one run
    warm_up: float  # seconds before it
    cpus: Cpus
    points: Points
    peers: list[str]  # of PEERS, those that can take part
    say: Callable[[str], None]  # a line for whoever watches
    missing: dict[str, str] = field(default_factory=dict)  # peers that cannot take part, and why
    failed: dict[str, str] = field(default_factory=dict)  # "experiment contestant [part]": what went wrong
    facts: dict[str, object] = field(default_factory=dict)  # for machine.json, e.g. features negotiated

    def contestants(self, kinds: Iterable[str] = MODES + SYNTHETIC_PEERS) -> list[str]:
        """Those of `kinds` that can take part: our modes always, peers where they are available."""
        return [kind for kind in kinds if kind in MODES or kind in self.peers]

    def is_out(self, experiment: int, contestant: str, part: str = "") -> bool:
        """Whether a contestant has failed in this experiment, or in a part of it."""
        return any(f"{experiment} {contestant} {word}".strip() in self.failed for word in {"", part})

    def take_part(self, experiment: int, kinds: Iterable[str] = MODES + SYNTHETIC_PEERS) -> Iterator[str]:
        """The contestants, one after the other, without those that have failed in this experiment."""
        for contestant in self.contestants(kinds):
            if not self.is_out(experiment, contestant):
                yield contestant

    def leave_out(self, experiment: int, contestant: str, why: str, part: str = "") -> None:
        """Names a contestant that failed; the rest of this experiment, or of a part, goes on without it."""
        self.failed[f"{experiment} {contestant} {part}".strip()] = why
        where = f"experiment {experiment}" + (f", {part}" if part else "")
        self.say(f"{where}: {contestant} is left out from here on: {why}")

    @contextmanager
    def attempt(self, experiment: int, contestant: str, part: str = "") -> Iterator[None]:
        """What fails inside (StudyError, OSError) leaves the contestant out instead of ending the study."""
        try:
            yield
        except (StudyError, OSError) as error:
            self.leave_out(experiment, contestant, str(error), part)
