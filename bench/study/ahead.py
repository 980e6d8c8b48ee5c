"""The summary: are we ahead of every peer? One row for each line of work that the study is to decide.

A row compares our best mode with the best peer, where both were measured in this study; what was not
measured is said, never filled in.
"""

from collections.abc import Callable
from dataclasses import dataclass

from .medians import Medians, Place, Spread
from .points import LARGE_WRITE, SMALL_WRITE
from .units import number, quantity

PEERS = ("ovs-dpdk", "testpmd", "bridge+tap")
DEFAULT_MODE = "convoy adaptive"
LINE_RATE_PPS = 14.88e6  # 64-byte frames on 10 Gbit/s
HOLDS, FAILS, OPEN = "holds", "does not hold", "not measured"
ONE_RUN = "one run"  # too little to judge by
RUNS_MIN = 2
CARRIED_MIN = 0.99  # of what was offered: with less, the delays of what did arrive tell little


@dataclass(frozen=True)
class Figure:
    contestant: str
    value: float
    text: str
    low: float  # over the runs, as the value
    high: float
    runs: int
    is_default: bool  # the default mode with default settings


@dataclass(frozen=True)
class Row:
    work: str
    ours: Figure | None
    default: Figure | None  # of the default mode and settings, where that is not the best one
    peer: Figure | None
    ratio: str
    target: str
    verdict: str
    why: str  # of the verdict, where the columns do not say it


@dataclass(frozen=True)
class Work:
    """Where a row's figure stands in the points."""

    title: str
    target: str
    experiment: int
    metric: str
    where: tuple[tuple[str, tuple[str, ...]], ...]  # a parameter, and values in order of preference
    family: str
    better: str
    ratio: float  # of the best peer's that is at least (or, where lower is better, at most) reached
    turn: Callable[[float], float] = lambda value: value


WORKS = (
    Work(
        "64 B guest to guest, one core of switch",
        "at least 2 times ovs-dpdk, and over 14.88 Mpps",
        3,
        "received_pps",
        (("size", ("64",)), ("flows", ("1",))),
        "pps",
        "higher",
        2.0,
    ),
    Work(
        "1500 B guest to guest, one core of switch",
        "at least 1.8 times the best peer",
        3,
        "received_bps",
        (("size", ("1500", "1514")), ("flows", ("1",))),
        "bps",
        "higher",
        1.8,
    ),
    Work(
        "64 B packets per second of the switch's processor time, each at half of its own load",
        "at least 3 times the best peer",
        6,
        "cpu_ns_per_packet",
        (("size", ("64",)), ("load", ("50",))),
        "pps",
        "higher",
        3.0,
        lambda ns: 1e9 / ns if ns > 0 else float("inf"),
    ),
    Work(
        "TCP, two real Linux guests, 128 KiB at a time",
        "at least 1.3 times the best peer",
        11,
        "received_bps",
        (("streams", ("1",)), ("write", (str(SMALL_WRITE),))),
        "bps",
        "higher",
        1.3,
    ),
    Work(
        "TCP, two real Linux guests, 1 MiB at a time",
        "at least 1.3 times the best peer",
        11,
        "received_bps",
        (("streams", ("1",)), ("write", (str(LARGE_WRITE),))),
        "bps",
        "higher",
        1.3,
    ),
    Work(
        "Ping-pong between real guests, median",
        "not above the best peer",
        11,
        "delay_p50_us",
        (("test", ("rr",)),),
        "us",
        "lower",
        1.0,
    ),
    Work(
        "99th percentile of delay, each at half of its own load (64 B)",
        "not above the best peer",
        6,
        "delay_p99_us",
        (("size", ("64",)), ("load", ("50",))),
        "us",
        "lower",
        1.0,
    ),
    Work(
        "99th percentile of delay, all at the same rate, 50 % of what convoy natural carries (64 B)",
        "not above the best peer",
        7,
        "delay_p99_us",
        (("load", ("50",)),),
        "us",
        "lower",
        1.0,
    ),
)
SHARE_LEAST, FAIRNESS_LEAST = 0.9, 0.99
SCALE_AT = 6  # before the delays at half load


def carried(metrics: dict[str, Spread]) -> bool:
    """Whether what was offered arrived; so it is where nothing is offered at a rate, as in a ping-pong."""
    offered, received = metrics.get("offered_pps"), metrics.get("received_pps")
    return not offered or not received or received.median >= CARRIED_MIN * offered.median


def is_default(place: Place) -> bool:
    """Whether it is the default mode, and nothing else was asked for."""
    return place.contestant == DEFAULT_MODE and not place.value("weight") and not place.value("workers")


def wanted_places(medians: Medians, work: Work) -> dict[Place, Spread]:
    """Places of the row; of the values of a parameter the first that anybody was measured at."""
    found = {
        place: metrics[work.metric]
        for place, metrics in medians.of_experiment(work.experiment).items()
        if work.metric in metrics and (work.metric != "delay_p99_us" or carried(metrics))
    }
    for name, values in work.where:
        for value in values:
            kept = {place: spread for place, spread in found.items() if place.value(name) == value}
            if kept:
                break
        found = kept
    return found


def figures_of(medians: Medians, work: Work) -> list[Figure]:
    """One figure for each place, in the row's own unit; the setting is named where a mode has several."""
    places = wanted_places(medians, work)
    figures = []
    for place, spread in places.items():
        value = work.turn(spread.median)
        setting = ", ".join(
            text
            for name, text in (
                ("t_us", "T = {} µs"),
                ("d_us", "D = {} µs"),
                ("weight", "delay-weight {}"),
                ("workers", "{} workers"),
                ("rule", "{}"),
            )
            if place.value(name)
            for text in (text.format(place.value(name)),)
        )
        words = f"{quantity(value, work.family)}, {place.contestant}" + (f", {setting}" if setting else "")
        low, high = sorted((work.turn(spread.low), work.turn(spread.high)))
        figures.append(Figure(place.contestant, value, words, low, high, spread.runs, is_default(place)))
    return figures


def best(figures: list[Figure], better: str) -> Figure | None:
    if not figures:
        return None
    return (max if better == "higher" else min)(figures, key=lambda figure: figure.value)


def judge(work: Work, ours: Figure | None, peer: Figure | None, figures: list[Figure]) -> tuple[str, str]:
    """Whether the row holds, and why where that is not in its columns."""
    if not ours or not peer:
        return OPEN, "we were not measured" if not ours else "no peer was measured"
    if min(ours.runs, peer.runs) < RUNS_MIN:
        return ONE_RUN, ""
    found, why = judge_by_target(work, ours, peer, figures)
    if ours.low <= peer.high and peer.low <= ours.high:
        why = "; ".join(filter(None, (why, "within the spread")))
    return found, why


def judge_by_target(work: Work, ours: Figure, peer: Figure, figures: list[Figure]) -> tuple[str, str]:
    if work.better == "lower":
        return (HOLDS if ours.value <= peer.value * work.ratio else FAILS), ""
    if work.metric != "received_pps":
        return (HOLDS if ours.value >= peer.value * work.ratio else FAILS), ""
    return judge_first(
        work, ours, best([figure for figure in figures if figure.contestant == "ovs-dpdk"], "higher")
    )


def judge_first(work: Work, ours: Figure, ovs: Figure | None) -> tuple[str, str]:
    """The row that names Open vSwitch, and a rate."""
    if not ovs:
        return (
            (OPEN, "ovs-dpdk was not measured") if ours.value > LINE_RATE_PPS else (FAILS, "below 14.88 Mpps")
        )
    over = "over" if ours.value > LINE_RATE_PPS else "not over"
    holds = ours.value >= work.ratio * ovs.value and ours.value > LINE_RATE_PPS
    return (HOLDS if holds else FAILS), f"{number(ours.value / ovs.value)} times ovs-dpdk, {over} 14.88 Mpps"


def make_row(medians: Medians, work: Work) -> Row:
    figures = figures_of(medians, work)
    ours = best([figure for figure in figures if figure.contestant.startswith("convoy")], work.better)
    default = best([figure for figure in figures if figure.is_default], work.better)
    peer = best([figure for figure in figures if figure.contestant in PEERS], work.better)
    verdict, why = judge(work, ours, peer, figures)
    ratio = f"{number(ours.value / peer.value)}" if ours and peer and peer.value else ""
    others_default = None if ours and ours.is_default else default
    return Row(work.title, ours, others_default, peer, ratio, work.target, verdict, why)


@dataclass(frozen=True)
class Scale:
    """A contestant over many guests."""

    figure: Figure  # its total over 64 guests as a share of that over 2
    total: float  # over 64 guests, packets per second
    fairness: float  # Jain's index over 64 guests


def scale_of(medians: Medians, contestant: str) -> Scale | None:
    """None where it was not measured with both 2 and 64 guests."""
    places = {
        place.value("guests"): metrics
        for place, metrics in medians.of_experiment(4).items()
        if place.contestant == contestant
    }
    two, many = places.get("2", {}).get("received_pps"), places.get("64", {}).get("received_pps")
    fairness = places.get("64", {}).get("fairness")
    if not two or not many or not fairness or not two.median:
        return None
    share = many.median / two.median
    text = f"{number(100 * share)} %, Jain {fairness.median:.4g}, {contestant}"
    runs, spread = min(two.runs, many.runs), [share]
    if two.low > 0:
        spread += [many.low / two.high, many.high / two.low]
    figure = Figure(contestant, share, text, min(spread), max(spread), runs, contestant == DEFAULT_MODE)
    return Scale(figure, many.median, fairness.median)


def make_scale_row(medians: Medians) -> Row:
    """The row about 64 guests; it is held against fixed marks, and peers are shown beside it.

    The best of us, and of the peers, is who carries most over 64 guests: a good share of little is no merit.
    """
    found = [scale for name in sorted(medians.contestants()) if (scale := scale_of(medians, name))]
    of_us = [scale for scale in found if scale.figure.contestant.startswith("convoy")]
    of_peers = [scale for scale in found if scale.figure.contestant in PEERS]
    ours = max(of_us, key=lambda scale: scale.total, default=None)
    peer = max(of_peers, key=lambda scale: scale.total, default=None)
    default = next((scale.figure for scale in of_us if scale.figure.contestant == DEFAULT_MODE), None)
    verdict, why = OPEN, "not with both 2 and 64 guests"
    if ours:
        holds = ours.figure.value >= SHARE_LEAST and ours.fairness >= FAIRNESS_LEAST
        verdict, why = (HOLDS if holds else FAILS), ""
        if ours.figure.runs < RUNS_MIN:
            verdict = ONE_RUN
    return Row(
        "Total over 64 guests against that over 2 (64 B)",
        ours.figure if ours else None,
        None if ours and ours.figure is default else default,
        peer.figure if peer else None,
        number(ours.figure.value / peer.figure.value) if ours and peer and peer.figure.value else "",
        "at least 90 %, Jain at least 0.99",
        verdict,
        why,
    )


def rows(medians: Medians) -> list[Row]:
    """The summary, in the order of the works, with 64 guests among them."""
    made = [make_row(medians, work) for work in WORKS]
    return made[:SCALE_AT] + [make_scale_row(medians)] + made[SCALE_AT:]
