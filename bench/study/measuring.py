"""Points of experiments with synthetic guests: what is missing of a list is measured and kept."""

from dataclasses import dataclass, field
from functools import partial
from typing import Callable, Sequence

from . import cores, generator, switches
from .points import parameters_text
from .study import Study, StudyError

SETTLE_S, SETTLE_PPS = 0.5, 1000

# What a point adds to or takes from convoy-bench's answer, while the switch still runs.
Extra = Callable[[Study, switches.Switch, "Point"], dict[str, float | None]]


@dataclass(frozen=True)
class Point:
    parameters: dict[str, object]  # its name in points.csv
    words: dict[str, object]  # options of convoy-bench
    settings: dict[str, object] = field(default_factory=dict)  # of convoyd's ports
    part: str = ""  # a contestant that fails here is left out of this part only
    guests: int = 0  # of the switch's sockets, those that take part; 0: all

    def text(self) -> str:
        return parameters_text(**self.parameters)


def missing(study: Study, experiment: int, contestant: str, run: int, points: Sequence[Point]) -> list[Point]:
    """Those points that are not measured yet, and that the contestant still takes part in."""
    return [point for point in points
            if not study.points.has(experiment, contestant, point.text(), run)
            and not study.is_out(experiment, contestant, point.part)]


def measure(study: Study, switch: switches.Switch, point: Point) -> dict[str, float | None]:
    """One run of convoy-bench for a point: its metrics."""
    if point.settings and switch.convoy:
        switch.set(**point.settings)
    sockets = switch.sockets[:point.guests] if point.guests else None
    result = generator.run(study, switch, sockets, **point.words)
    note_features(study, switch.contestant, result)
    return generator.metrics(result)


def note_features(study: Study, contestant: str, result: dict) -> None:
    """Keeps for machine.json what this contestant and the synthetic guests have agreed on."""
    known = study.facts.setdefault("features", {})
    assert isinstance(known, dict)
    known.setdefault(contestant, result.get("features") or [])


def take(study: Study, experiment: int, contestant: str, run: int, guests: int, points: Sequence[Point],
         how: Extra = measure, **settings: object) -> None:
    """A contestant's turn: starts it with so many guests' sockets and measures what is missing."""
    todo = missing(study, experiment, contestant, run, points)
    if not todo:
        return
    study.say(f"experiment {experiment}, run {run + 1}: {contestant}, "
              f"{len(todo)} {'point' if len(todo) == 1 else 'points'}")
    with study.attempt(experiment, contestant, todo[0].part if len({p.part for p in todo}) == 1 else ""):
        with switches.running(study, contestant, guests, **settings) as switch:
            settle_in(study, switch, guests)
            for point in todo:
                if study.is_out(experiment, contestant, point.part):
                    continue
                with study.attempt(experiment, contestant, point.part):
                    try:
                        found = cores.steady(study, partial(how, study, switch, point))
                    except StudyError:
                        switch.check()  # which tells more than what the guests noticed of it
                        raise
                    switch.check()
                    study.points.add(experiment, contestant, point.text(), run, found)


def settle_in(study: Study, switch: switches.Switch, guests: int) -> None:
    """Lets a peer built on DPDK see its guests once: it deals its queues out to its threads only then, and
    moves nothing for a while. What a short run says of that is of no interest."""
    if not switch.convoy:
        try:
            generator.run(study, switch, switch.sockets[:guests], size=64, receive="poll",
                          arrivals=f"constant:{SETTLE_PPS}", seconds=SETTLE_S, warm_up=0.1)
        except StudyError as error:
            study.say(f"{switch.contestant} has not settled in: {error}")


FLAT_OUT = Point({"load": "max", "size": 64}, {"size": 64, "receive": "call", "arrivals": "max"})


def reference_rate(study: Study) -> float:
    """What `convoy natural` carries of 64-byte packets between two guests, packets per second.

    Loads in percent are of this rate where all contestants are given the same. Measured once a study.
    """
    if not study.points.has(7, "convoy natural", FLAT_OUT.text(), 0):
        with switches.running(study, "convoy natural", 2) as switch:
            found = cores.steady(study, partial(measure, study, switch, FLAT_OUT))
            study.points.add(7, "convoy natural", FLAT_OUT.text(), 0, found)
    rate = study.points.get(7, "convoy natural", FLAT_OUT.text(), 0)["received_pps"]
    if rate <= 0:
        raise StudyError("convoyd carried nothing")
    return rate
