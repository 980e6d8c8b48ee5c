"""Whether the processors stay what they seem while something is measured on them.

A virtual machine's processors are moved about by its host: to two threads of one core, or far apart. That
changes a throughput more than most of what is compared here, so bench/core-watch looks during every
measurement, and one that was disturbed is made again. What is kept is the measurement that was disturbed
least, whatever it says, of whichever contestant.
"""

import json
import math
import subprocess
import time
from typing import Callable

from . import processes
from .study import Study, StudyError

SLOWDOWN_MOST = 1.25  # work on one processor while the other works; 1: two cores, 2: two threads of one
FAR_TIMES = 1.6  # a cache line's round trip, against the shortest of this study
MISSED_MOST = 0.5  # of the looks: a processor was not there
TRIES, TRIES_QUICK = 3, 2  # of a measurement
IN_VAIN_MOST = 10  # measurements in a row that no try helped: then it is the machine, and one try has to do
PAUSE_S = 0.3  # before it is made again
FIRST_LOOK_S = 0.3

Metrics = dict[str, float | None]


def steady(study: Study, measure: Callable[[], Metrics]) -> Metrics:
    """Measures, and again while the processors are disturbed; adds what was seen of them.

    `repeats`: measurements that were thrown away; `disturbance`: of the one that was kept.
    """
    if "nearest_ns" not in study.facts:
        study.facts["nearest_ns"] = nearest_of(study)
        disturbance(study, Watch(study).end_after(FIRST_LOOK_S))
    in_vain = int(str(study.facts.get("in_vain", 0)))
    tries = 1 if in_vain >= IN_VAIN_MOST else TRIES_QUICK if study.quick else TRIES
    best: Metrics = {}
    least = math.inf
    for repeats in range(tries):
        watch = Watch(study)
        try:
            metrics = measure()
        except StudyError:
            if best:
                break
            raise
        finally:
            seen = watch.end()
        how = disturbance(study, seen)
        if not best or how < least:
            best, least = {**metrics, **seen, "disturbance": how if how < math.inf else None}, how
        best["repeats"] = repeats
        if how <= 1:
            break
        if repeats < tries - 1:
            time.sleep(PAUSE_S)
    study.facts["in_vain"] = in_vain + 1 if least > 1 else 0
    return best


def nearest_of(study: Study) -> float | None:
    """The shortest round trip between two cores that this study has seen so far."""
    return min((metrics["round_trip_ns"] for metrics in study.points.all_metrics()
                if "round_trip_ns" in metrics and metrics.get("slowdown", math.inf) <= SLOWDOWN_MOST),
               default=None)


def disturbance(study: Study, seen: Metrics) -> float:
    """How far from two near cores: above 1 it counts. 0 where nobody looks, infinite where nothing was seen."""
    if "unwatched" in study.facts:
        return 0
    trip_ns, slowdown = seen.get("round_trip_ns"), seen.get("slowdown")
    if not trip_ns or not slowdown:
        return math.inf
    nearest_ns = study.facts.get("nearest_ns") or math.inf
    assert isinstance(nearest_ns, float)
    if slowdown <= SLOWDOWN_MOST:  # threads of one core are nearer than any two cores
        study.facts["nearest_ns"] = nearest_ns = min(nearest_ns, trip_ns)
    return max(slowdown / SLOWDOWN_MOST, trip_ns / nearest_ns / FAR_TIMES)


def describe(study: Study) -> dict[str, object]:
    """For machine.json."""
    if "unwatched" in study.facts:
        return {"not looked at": study.facts["unwatched"]}
    found = list(study.points.all_metrics())
    nearest_ns = study.facts.get("nearest_ns") or nearest_of(study)
    return {"shortest round trip of a cache line, in ns": nearest_ns,
            "measurements made again": int(sum(metrics.get("repeats", 0) for metrics in found)),
            "disturbed all the same": sum(_is_disturbed(metrics, nearest_ns) for metrics in found)}


def _is_disturbed(metrics: dict[str, float], nearest_ns: object) -> bool:
    """By what is known at the end: a study may find out late what is near."""
    if "repeats" not in metrics or not isinstance(nearest_ns, float):
        return False
    return metrics.get("slowdown", math.inf) > SLOWDOWN_MOST or \
        metrics.get("round_trip_ns", math.inf) > FAR_TIMES * nearest_ns


class Watch:
    """A running core-watch, between the first guests' processor and the switch's."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.process: subprocess.Popen | None = None
        if not study.facts.get("unwatched"):
            self.process = processes.start(
                [study.build / "bench/core-watch", str(study.cpus.guests[0]), str(study.cpus.switch)],
                study.work / "core-watch.log", stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def end(self) -> Metrics:
        """What it has seen: round_trip_ns and slowdown; nothing where it could not look."""
        if self.process is None:
            return {}
        try:
            said, _ = self.process.communicate(timeout=5)
            if self.process.returncode:  # as a rule it is not allowed to: CAP_SYS_NICE
                self.study.facts["unwatched"] = processes.last_words(self.study.work / "core-watch.log")
                return {}
            seen = json.loads(said)
            if seen["missed"] > MISSED_MOST * (seen["looks"] + seen["missed"]):
                return {}
            return {name: float(seen[name]) for name in ("round_trip_ns", "slowdown")}
        except (subprocess.TimeoutExpired, ValueError, KeyError):
            return {}
        finally:
            processes.kill(self.process)

    def end_after(self, seconds: float) -> Metrics:
        """Looks for a while without anything else to do."""
        time.sleep(seconds)
        return self.end()
