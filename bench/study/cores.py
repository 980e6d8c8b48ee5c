"""Whether the processors stay what they seem while something is measured on them.

A virtual machine's processors are moved about by its host: to two threads of one core, or far apart. That
changes a throughput more than most of what is compared here, so bench/core-watch looks during every
measurement, and one that was disturbed is made again. What is kept is the measurement that was disturbed
least, whatever it says, of whichever contestant.
"""

import json
import subprocess
import time
from typing import Callable

from . import processes
from .study import Study

SLOWDOWN_MOST = 1.25  # work on one processor while the other works; 1: two cores, 2: two threads of one
FAR_TIMES = 1.6  # a cache line's round trip, against the shortest of this study
TRIES, TRIES_QUICK = 5, 2  # of a measurement
PAUSE_S = 0.3  # before it is made again
FIRST_LOOK_S = 0.3
NOT_ALLOWED = 3  # core-watch's status

Metrics = dict[str, float | None]


def steady(study: Study, measure: Callable[[], Metrics]) -> Metrics:
    """Measures, and again while the processors are disturbed; adds what was seen of them.

    `repeats`: measurements that were thrown away; `disturbed`: 1 where the one that was kept is, too.
    """
    if "nearest_ns" not in study.facts:
        study.facts["nearest_ns"] = Watch(study).end_after(FIRST_LOOK_S).get("round_trip_ns")
    tries = TRIES_QUICK if study.quick else TRIES
    best: Metrics = {}
    for repeats in range(tries):
        watch = Watch(study)
        try:
            metrics = measure()
        finally:
            seen = watch.end()
        how = disturbance(study, seen)
        if not best or how < _disturbance_of(best):
            best = {**metrics, **seen, "disturbance": how}
        best["repeats"] = repeats
        if how <= 1:
            break
        if repeats < tries - 1:
            time.sleep(PAUSE_S)
    return {**best, "disturbed": float(_disturbance_of(best) > 1)}


def describe(study: Study) -> dict[str, object]:
    """For machine.json."""
    if "unwatched" in study.facts:
        return {"not looked at": study.facts["unwatched"]}
    nearest_ns = study.facts.get("nearest_ns")
    return {"shortest round trip of a cache line, in ns": nearest_ns,
            "measurements made again": int(study.points.sum_of("repeats")),
            "disturbed all the same": int(study.points.sum_of("disturbed"))}


def _disturbance_of(metrics: Metrics) -> float:
    return metrics["disturbance"] or 0


def disturbance(study: Study, seen: Metrics) -> float:
    """How far from two near cores: above 1 it counts. 0 where nothing is known."""
    trip_ns, slowdown = seen.get("round_trip_ns"), seen.get("slowdown")
    if not trip_ns or not slowdown:
        return 0
    nearest_ns = study.facts.get("nearest_ns") or trip_ns
    assert isinstance(nearest_ns, float)
    if slowdown <= SLOWDOWN_MOST:  # threads of one core are nearer than any two cores
        study.facts["nearest_ns"] = nearest_ns = min(nearest_ns, trip_ns)
    return max(slowdown / SLOWDOWN_MOST, trip_ns / nearest_ns / FAR_TIMES)


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
            seen = json.loads(said)
            return {name: float(seen[name]) for name in ("round_trip_ns", "slowdown")}
        except (subprocess.TimeoutExpired, ValueError, KeyError):
            if self.process.poll() == NOT_ALLOWED:
                self.study.facts["unwatched"] = processes.last_words(self.study.work / "core-watch.log")
            return {}
        finally:
            processes.kill(self.process)

    def end_after(self, seconds: float) -> Metrics:
        """Looks for a while without anything else to do."""
        time.sleep(seconds)
        return self.end()
