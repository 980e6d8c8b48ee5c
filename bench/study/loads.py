"""Experiments about loads that are not flat out: 7, 8, 9 and 10. See synthetic.py for the others.

What is held back at the receiver is as a rule the call, not the packet: so the guests here wait for
calls, as Linux does. A synthetic guest is called cheaply, and by default convoyd would rarely find
that waiting for company pays; `adaptive` runs here with a delay-weight that makes it wait.
"""

import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from struct import pack
from typing import Callable

from . import generator, processes
from .measuring import FLAT_OUT, Point, measure, note_features, reference_rate, take
from .settling import Seen, read_watch, settle
from .study import MODES, SYNTHETIC_PEERS, Study, StudyError
from .switches import Switch

WEIGHT = 0.001  # delay-weight of `adaptive`; a hundredth of the default
OVER = 1.2  # times the budget: what is above that counts as over it
BUDGET_US = 50  # delay-budget where it is not what is compared
K_MOST = 256  # of fixed K,T where T is what is compared
RAMP_RECORDS_MAX = 400_000  # of a made capture


def experiments() -> dict[str, Callable[[Study], None]]:
    return {"7": delay_by_load, "8": predictions, "9": changes_of_load, "10": beside_others}


def adaptive(budget_us: int) -> dict[str, object]:
    return {"hold": "adaptive", "delay_budget": f"{budget_us}us", "delay_weight": WEIGHT}


# --- 7: delay and jitter against load -------------------------------------------------------------------

def delay_by_load(study: Study) -> None:
    """The frontier of delay and throughput: the same rates for all, in percent of what `natural` carries."""
    rate = reference_rate(study)
    loads = (10, 50) if study.quick else (5, 25, 50, 75, 90)
    times_us = (10, 100) if study.quick else (1, 10, 50, 100, 300)
    budgets_us = (25,) if study.quick else (10, 25, 50)
    for run in range(study.runs):
        for contestant in study.take_part(7, MODES if study.quick else MODES + SYNTHETIC_PEERS):
            settings: list[tuple[dict[str, object], dict[str, object]]] = [({}, {})]
            if contestant == "convoy fixed":
                settings = [({"t_us": t}, {"hold": f"fixed:{K_MOST},{t}us"}) for t in times_us]
            elif contestant == "convoy adaptive":
                settings = [({"d_us": budget, "weight": WEIGHT}, adaptive(budget)) for budget in budgets_us]
            take(study, 7, contestant, run, 2,
                 [Point({**FLAT_OUT.parameters, "load": load, **name},
                        {**FLAT_OUT.words, "arrivals": f"poisson:{rate * load / 100:.0f}"}, setting)
                  for name, setting in settings for load in loads])


# --- 8: predictions -------------------------------------------------------------------------------------

def predictions(study: Study) -> None:
    """What convoyd said of its groups and what they were, by arrival process."""
    rate = reference_rate(study)
    loads = (10,) if study.quick else (5, 25, 50)
    seconds = max(study.seconds, 1.0)  # it accounts for the groups of the last second
    capture = study.root / "tests/data/tcp_arrivals.pcap"
    kinds: list[tuple[dict[str, object], str]] = []
    for load in loads:
        share = rate * load / 100
        kinds += [({"arrivals": "poisson", "load": load}, f"poisson:{share:.0f}"),
                  ({"arrivals": "constant", "load": load}, f"constant:{share:.0f}"),
                  ({"arrivals": "onoff", "load": load}, f"onoff:{share * 4:.0f},1ms,3ms")]
    kinds += [({"arrivals": "trace", "speed": speed}, f"trace:{capture},{speed}") for speed in (1, 10)]
    rules: dict[str, tuple[dict[str, object], dict[str, object]]] = {
        "convoy adaptive": ({"d_us": BUDGET_US, "weight": WEIGHT}, adaptive(BUDGET_US)),
        "convoy fixed": ({"k": 16, "t_us": 50}, {"hold": "fixed:16,50us"})}
    for run in range(study.runs):
        for contestant in study.take_part(8, ("convoy adaptive",) if study.quick else tuple(rules)):
            name, setting = rules[contestant]
            take(study, 8, contestant, run, 2,
                 [Point({**kind, **name, "size": 64}, {"size": 64, "receive": "call", "arrivals": arrivals,
                                                       "seconds": seconds, "sample": 1}, setting)
                  for kind, arrivals in kinds], _measure_prediction)


def _measure_prediction(study: Study, switch: Switch, point: Point) -> dict[str, float | None]:
    """The convoys to the second guest, asked for while the packets still come."""
    switch.set(**point.settings)
    run = generator.start(study, switch, **point.words)
    answers: list[dict] = []
    try:
        while run.process.poll() is None:
            answers.append(switch.tuning(1))
            time.sleep(0.1)
    finally:
        result = generator.finish(run)
    note_features(study, switch.contestant, result)
    return {**generator.metrics(result), **prediction_errors(answers)}


def prediction_errors(answers: list[dict]) -> dict[str, float | None]:
    """Medians of the later half of convoyd's answers; a share of error is measured / predicted - 1.

    None where convoyd held nothing back, or had no group yet.
    """
    whole = [answer for answer in answers if answer.get("predicted") and answer.get("measured")]
    late = whole[len(whole) // 2:]

    def middle(kind: str, member: str, factor: float = 1.0) -> float | None:
        values = [answer[kind][member] * factor for answer in late if answer[kind].get(member) is not None]
        return median(values) if values else None

    def error(measured: float | None, predicted: float | None) -> float | None:
        return measured / predicted - 1 if measured is not None and predicted else None

    sizes = middle("measured", "mean_size"), middle("predicted", "mean_size")
    waits = middle("measured", "mean_wait_s", 1e6), middle("predicted", "mean_wait_s", 1e6)
    return {"size_measured": sizes[0], "size_predicted": sizes[1], "size_error": error(*sizes),
            "wait_measured_us": waits[0], "wait_predicted_us": waits[1], "wait_error": error(*waits),
            "answers": float(len(late))}


# --- 9: steps, ramps and bursts of load -----------------------------------------------------------------

def changes_of_load(study: Study) -> None:
    """How fast `adaptive` follows, and what the packets see meanwhile, beside those that do not adapt."""
    rate = reference_rate(study)
    seconds = max(study.seconds * 2, 1.6)  # both sides of a step need their last 300 ms

    def share(percent: int) -> int:
        return max(int(rate * percent / 100), 1)

    steps = ((5, 50),) if study.quick else ((5, 50), (50, 5), (1, 90), (90, 1), (25, 50))
    points = [_change_point({"change": "step", "from": low, "to": high}, seconds,
                            f"poisson:{share(low)}", f"poisson:{share(high)}")
              for low, high in steps]
    if not study.quick:
        ramp = study.work / "ramp.pcap"
        write_ramp(ramp, share(1), share(20), seconds)
        points += [_change_point({"change": "ramp", "from": 1, "to": 20}, seconds, f"trace:{ramp}"),
                   _change_point({"change": "bursts", "to": 50}, seconds, f"onoff:{share(50)},50ms,50ms")]
    kinds = ("convoy adaptive",) if study.quick else ("convoy natural", "convoy adaptive", *SYNTHETIC_PEERS)
    for run in range(study.runs):
        for contestant in study.take_part(9, kinds):
            if contestant == "convoy adaptive":
                weighted = [replace(point, parameters={**point.parameters, "weight": WEIGHT})
                            for point in points]
                take(study, 9, contestant, run, 2, weighted, _measure_change)
            else:
                take(study, 9, contestant, run, 2, points)


def _change_point(parameters: dict[str, object], seconds: float, arrivals: str,
                  then: str | None = None) -> Point:
    return Point({**parameters, "size": 64},
                 {"size": 64, "receive": "call", "arrivals": arrivals, "then": then, "seconds": seconds,
                  "sample": 4}, adaptive(BUDGET_US))


def _measure_change(study: Study, switch: Switch, point: Point) -> dict[str, float | None]:
    """Watches K and T of the receiving port every 2 ms while the load changes."""
    switch.set(**point.settings)
    seconds = float(str(point.words["seconds"]))
    watched = study.work / "watched"
    watched.write_text("")
    watch = processes.start([study.build / "tests/lib/convoy-watch", switch.run_dir, "g1", 2,
                             int(seconds + study.warm_up) + 4], watched, cpus=[study.cpus.guests[-1]])
    try:
        result = generator.run(study, switch, **point.words)
    finally:
        processes.kill(watch)
    note_features(study, switch.contestant, result)
    return {**generator.metrics(result),
            **change_metrics(read_watch(watched.read_text()), result.get("step_ns") or 0, seconds,
                             study.warm_up)}


def change_metrics(seen: list[Seen], step_ns: int, seconds: float,
                   warm_up: float) -> dict[str, float | None]:
    """Settling and overshoot after a step; and how much waiting beyond the budget the rules promised.

    What was promised counts in the measured part only. A step is in the middle of that; without one it
    begins when the first packets have been seen for as long as the warm-up.
    """
    first = next((one.at_ns for one in seen if one.rate > 0), 0)
    from_ns = step_ns - int(seconds * 5e8) if step_ns else first + int(warm_up * 1e9)
    measured = [one for one in seen if from_ns <= one.at_ns < from_ns + int(seconds * 1e9)]
    if not measured or not first:
        raise StudyError("convoy-watch saw nothing of what was measured")
    found: dict[str, float | None] = {
        "over_budget": sum(one.wait_us > BUDGET_US * OVER for one in measured) / len(measured),
        "wait_max_us": max(one.wait_us for one in measured)}
    if step_ns:
        settled = settle(seen, step_ns, step_ns + int(seconds * 5e8) - 20_000_000)
        if settled is None:
            raise StudyError("convoy-watch did not see both sides of the step")
        found |= vars(settled)
    return found


def ramp_times(low: float, high: float, seconds: float) -> list[float]:
    """When packets come, in seconds: their rate goes from low to high in half of the time, and back."""
    times, at, half = [], 0.0, seconds / 2
    while at < seconds and len(times) < RAMP_RECORDS_MAX:
        times.append(at)
        climbed = at / half if at < half else (seconds - at) / half
        at += 1 / (low + (high - low) * climbed)
    return times


def write_ramp(path: Path, low: float, high: float, seconds: float) -> None:
    """A capture (pcap with nanoseconds) of such packets, slower where they would be too many."""
    most = RAMP_RECORDS_MAX / ((low + high) / 2 * seconds)
    factor = min(1.0, most * 0.95)
    with path.open("wb") as file:
        file.write(pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 64, 1))
        for at in ramp_times(low * factor, high * factor, seconds):
            file.write(pack("<IIII", int(at), int(at % 1 * 1e9), 14, 60) + bytes(14))


# --- 10: a quiet guest beside others --------------------------------------------------------------------

DISTURBANCES = {
    # What convoy-traffic's guests do at the same switch; see its --help.
    "none": [],
    "bulk": ["--size", "1500", "--window", "256"],
    "flood": ["--size", "60", "--window", "0"],
    "stopped": ["--size", "60", "--window", "0", "--stop-reading", "1000"],
}
QUIET_PPS = 20_000
NUMBER_OF_FRAMES = 10**12  # no end: they are ended


def beside_others(study: Study) -> None:
    """64-byte packets at a steady pace between two guests, while two others keep the switch busy."""
    besides = tuple(DISTURBANCES) if not study.quick else ("none", "bulk", "flood")
    kinds = ("convoy natural",) if study.quick else ("convoy off", "convoy natural", "convoy adaptive",
                                                     *SYNTHETIC_PEERS)
    points = [Point({"beside": beside, "size": 64, "rate": QUIET_PPS},
                    {"size": 64, "receive": "call", "arrivals": f"constant:{QUIET_PPS}", "sample": 1},
                    guests=2)
              for beside in besides]
    for run in range(study.runs):
        for contestant in study.take_part(10, kinds):
            take(study, 10, contestant, run, 4, points, _measure_beside)


def _measure_beside(study: Study, switch: Switch, point: Point) -> dict[str, float | None]:
    words = DISTURBANCES[str(point.parameters["beside"])]
    if not words:
        alone = measure(study, switch, point)
        return {**alone, "kept": (alone["received_pps"] or 0) / QUIET_PPS}
    # With two processors it shares the generator's.
    cpu = study.cpus.guests[1 if len(study.cpus.guests) > 1 else 0]
    log = study.work / "traffic.log"
    log.write_text("")
    other = processes.start([study.build / "tests/lib/convoy-traffic", "--one-way", "--allow-loss",
                             "--ring", "1024", "--frames", NUMBER_OF_FRAMES, "--time-limit", 600,
                             *words, *switch.sockets[2:4]], log, cpus=[cpu])
    try:
        before, started = _delivered(switch, 3), time.monotonic()
        time.sleep(0.2)
        metrics = measure(study, switch, point)
        after, ended = _delivered(switch, 3), time.monotonic()
        if other.poll() is not None:
            raise StudyError(f"the guests beside it ended with status {other.returncode}: "
                             f"{processes.last_words(log)}")
    finally:
        processes.kill(other)
    if before is not None and after is not None:
        metrics["beside_pps"] = (after - before) / (ended - started)
    metrics["kept"] = (metrics["received_pps"] or 0) / QUIET_PPS
    metrics["shares_processor"] = float(cpu == study.cpus.guests[0])
    return metrics


def _delivered(switch: Switch, guest: int) -> float | None:
    """Packets that convoyd has delivered to a guest; None of another switch."""
    if not switch.convoy:
        return None
    try:
        return float(switch.port(guest)["counters"].get("to_packets", 0))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise StudyError(f"convoyd does not count the packets to guest {guest}") from None
