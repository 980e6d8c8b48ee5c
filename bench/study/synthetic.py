"""Experiments with synthetic guests at flat-out and fixed loads: 2, 3, 4 and 6; the others are in loads.py.

Sizes are bytes of a frame without its frame check sequence. Everybody moves one core's worth of
packets: one processor is the switch's, another the generator's.
"""

from dataclasses import replace
from functools import partial
from typing import Callable

from . import loads
from .fit import fit_costs
from .loads import BUDGET_US, WEIGHT, adaptive
from .measuring import Point, measure, take
from .points import parameters_text
from .study import MODES, SYNTHETIC_PEERS, Study, StudyError
from .switches import Switch

SUPER_BYTES = 65549  # the largest super-packet: 65535 bytes of IP, and an Ethernet header
FULL_FRAME_BYTES = 1514  # what a switch for 1500 bytes of IP takes: 1518 with the check sequence
BUSY_SHARE_MIN = 0.9  # of its processor, of a switch that its own costs limit
LONG_T = "10ms"  # of fixed K,T: K always comes first


def experiments() -> dict[str, Callable[[Study], None]]:
    """Experiments of this package that need synthetic guests only, by number."""
    return {"2": throughput_by_convoy, "3": throughput_by_size, "4": throughput_by_guests,
            "6": cost_by_load, **loads.experiments()}


# --- 2: throughput against convoy size, and what the model makes of it ----------------------------------

def throughput_by_convoy(study: Study) -> None:
    """K packets in a convoy, at flat-out load: T is so long that K always comes first."""
    sizes = (64, 1500) if study.quick else (64, 256, 1500)
    convoys = (1, 4, 16, 64, 256) if study.quick else (1, 2, 4, 8, 16, 32, 64, 128, 256)
    receives = ("call",) if study.quick else ("call", "poll")
    points = [Point({"size": size, "k": k, "receive": receive},
                    {"size": size, "receive": receive, "arrivals": "max"}, {"hold": f"fixed:{k},{LONG_T}"})
              for receive in receives for size in sizes for k in convoys]
    for run in range(study.runs):
        take(study, 2, "convoy fixed", run, 2, points)
        if study.is_out(2, "convoy fixed"):
            return
        for receive in receives:
            for size in sizes:
                _add_model(study, run, receive, size,
                           [point for point in points
                            if (point.parameters["size"], point.parameters["receive"]) == (size, receive)])


def busy_points(found: list[tuple[float, dict[str, float]]]) -> list[tuple[float, float]]:
    """Pairs (K, packets per second) where the switch limits them. Where it is idle, the generator or T does,
    and throughput says nothing of the switch's costs. Without cpu_share that is not known, and it counts."""
    return [(k, metrics["received_pps"]) for k, metrics in found
            if "received_pps" in metrics and metrics.get("cpu_share", 1.0) >= BUSY_SHARE_MIN]


def _add_model(study: Study, run: int, receive: str, size: int, points: list[Point]) -> None:
    """The line through the points of a run, as the contestant "model"."""
    name = parameters_text(size=size, receive=receive)
    if study.points.has(2, "model", name, run):
        return
    found = [(float(str(point.parameters["k"])),
              study.points.get(2, "convoy fixed", point.text(), run)) for point in points]
    costs = fit_costs(busy_points(found))
    if costs is None:
        study.say(f"experiment 2: no costs can be found for {size} bytes: at fewer than two K was the switch"
                  f" busy for {BUSY_SHARE_MIN:.0%} of the time")
        return
    for point in points:
        study.points.add(2, "model", point.text(), run,
                         {"received_pps": costs.pps(float(str(point.parameters["k"])))})
    study.points.add(2, "model", name, run,
                     {"c0_ns": costs.c0_ns, "c1_ns": costs.c1_ns, "error_max": costs.error_max})


# --- 3: throughput against frame size -------------------------------------------------------------------

def throughput_by_size(study: Study) -> None:
    """Frames from the smallest to super-packets of TCP, one flow and many, as fast as they go."""
    sizes = (64, 1500) if study.quick else (64, 128, 256, 512, 1024, 1280, FULL_FRAME_BYTES)
    flows = (1,) if study.quick else (1, 64)
    points = [Point({"size": size, "flows": count},
                    {"size": size, "flows": count, "receive": "poll", "arrivals": "max"})
              for count in flows for size in sizes]
    # On a switch of its own, since testpmd negotiates segmentation offloads only when told to.
    supers = [Point({"size": SUPER_BYTES, "flows": count},
                    {"size": SUPER_BYTES, "flows": count, "kind": "tcp4", "offloads": True, "receive": "poll",
                     "arrivals": "max"}, part="64 KiB")
              for count in flows]
    kinds = ("convoy off", "convoy natural", "convoy adaptive") if study.quick else MODES
    for run in range(study.runs):
        for contestant in study.take_part(3, kinds + SYNTHETIC_PEERS):
            take(study, 3, contestant, run, 2, points)
            if contestant in MODES or not study.quick:
                take(study, 3, contestant, run, 2, supers, tso=True)


# --- 4: the number of guests ----------------------------------------------------------------------------

def throughput_by_guests(study: Study) -> None:
    """Guests in pairs send to each other; with 1, it sends to a second one that only takes.

    Rings have 256 entries, as QEMU's have unless told otherwise: 64 guests with 1024 post 256 MiB of
    buffers, and what is measured is the memory.
    """
    counts = (2, 64) if study.quick else (1, 2, 4, 8, 16, 64)
    kinds = ("convoy natural", "convoy adaptive") if study.quick else MODES + SYNTHETIC_PEERS
    for run in range(study.runs):
        for contestant in study.take_part(4, kinds):
            for count in counts:
                pattern = "pairs" if count == 1 else "both"
                point = Point({"guests": count, "size": 64},
                              {"size": 64, "receive": "poll", "arrivals": "max", "pattern": pattern,
                               "ring": 256},
                              part=f"guests={count}")
                take(study, 4, contestant, run, max(count, 2), [point])


# --- 6: processor time and memory at fixed loads --------------------------------------------------------

def cost_by_load(study: Study) -> None:
    """Loads in percent of what this contestant carried in this run, flat out just before.

    `adaptive` is measured also with a delay-weight by which it may use its budget: then it sleeps between
    the groups of a dense sender.
    """
    sizes = (64,) if study.quick else (64, 1500)
    percents = (50,) if study.quick else (10, 50, 90)
    kinds = ("convoy natural", "convoy adaptive", "ovs-dpdk", "testpmd")
    sparing = ({"d_us": BUDGET_US, "weight": WEIGHT}, adaptive(BUDGET_US))
    for run in range(study.runs):
        for contestant in study.take_part(6, kinds) if study.quick else study.take_part(6):
            settings = [({}, {})] + ([sparing] if contestant == "convoy adaptive" else [])
            points = [Point({"size": size, "load": load, **name},
                            {"size": size, "receive": "call", "arrivals": "max"}, setting)
                      for name, setting in settings for size in sizes for load in ("max", *percents)]
            take(study, 6, contestant, run, 2, points, partial(_measure_share, run))


def _measure_share(run: int, study: Study, switch: Switch, point: Point) -> dict[str, float | None]:
    """Measures a load; one in percent is of the flat-out point, which comes first in the list."""
    if point.parameters["load"] == "max":
        return measure(study, switch, point)
    most = parameters_text(**{**point.parameters, "load": "max"})
    capacity = study.points.get(6, switch.contestant, most, run)["received_pps"]
    if capacity <= 0:
        raise StudyError("it carried nothing")
    rate = capacity * float(str(point.parameters["load"])) / 100
    return measure(study, switch, replace(point, words={**point.words, "arrivals": f"poisson:{rate:.0f}"}))
