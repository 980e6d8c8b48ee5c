"""The plots of the report, as data: what each shows, and who says what came out.

The sentence of a plot says what is on its axes and which way is better; the outcome is computed.
"""

from dataclasses import dataclass

from . import outcomes
from .drawn import Plot
from .medians import as_number
from .points import SMALL_WRITE


@dataclass(frozen=True)
class Experiment:
    number: int
    title: str
    question: str


EXPERIMENTS = (
    Experiment(1, "The classic table", "What is left of native networking inside a guest?"),
    Experiment(2, "Throughput against convoy size", "What does it bring that packets travel together?"),
    Experiment(
        3, "Throughput against frame size", "How much does one core of switch carry from guest to guest?"
    ),
    Experiment(4, "Many guests", "Does the total hold when it is shared by many, and is it shared fairly?"),
    Experiment(5, "The line", "Do guests fill the uplink, and from how many guests on?"),
    Experiment(6, "Cost at fixed loads", "What does a load cost in processor time, memory, calls and kicks?"),
    Experiment(7, "Delay against load", "What does throughput cost in delay, and delay in throughput?"),
    Experiment(8, "The model's predictions", "How far from the truth is what the model promises?"),
    Experiment(9, "Steps, ramps and bursts", "How fast does the switch follow a load that changes?"),
    Experiment(10, "A quiet guest beside others", "What do the others' floods and stops do to a guest?"),
    Experiment(11, "TCP between real guests", "What do real Linux guests get?"),
)

SUPER_BYTES_MIN = 10_000  # a frame from there on is no packet of a wire, but one that is cut later


def is_number(value: str) -> bool:
    return as_number(value) is not None


def is_super(value: str) -> bool:
    return (as_number(value) or 0) >= SUPER_BYTES_MIN


# "max" (flat out) stands in no plot over the load.
PERCENTS = (("load", is_number),)
FRAMES = (("size", lambda value: not is_super(value)),)
FLAT_OUT_LOAD = "load in % of what convoy natural carries, the same packets per second for everybody"
OWN_LOAD = "load in % of what this switch carries flat out"
# Of `adaptive` in experiments 7 to 9 (loads.py).
WEIGHT = (
    " Adaptive runs with a delay-weight of 0.001, with which it waits more readily than with the default"
    " of 0.1: synthetic guests are called cheaply."
)
NOT_ADAPTIVE = ("convoy fixed", "convoy natural", "convoy off")
NOT_FIXED = ("convoy adaptive", "convoy natural", "convoy off", "ovs-dpdk", "testpmd")


def classic(name: str, title: str, metric: str, sentence: str, outcome) -> Plot:
    return Plot(1, name, title, sentence, "direction", "", (metric,), outcome, "bars", ("frames",))


CLASSIC = (
    classic(
        "throughput",
        "Classic table, throughput",
        "received_bps",
        (
            "TCP throughput to (transmit: from) a far host, of the host itself (native), the driver domain"
            " and a guest. Longer bars are better."
        ),
        outcomes.share_of_native,
    ),
    classic(
        "cpu",
        "Classic table, processor time",
        "host_cpu_share",
        (
            "Share of the whole machine that was busy meanwhile, guests and far host included. Shorter bars"
            " are better for the same throughput, which is above."
        ),
        outcomes.guests_and_native,
    ),
)

CONVOY_SIZE = (
    Plot(
        2,
        "throughput",
        "Throughput against convoy size",
        (
            "Delivered packets per second (upwards) against the number of packets K in a convoy (to the"
            " right), flat out between two guests, one core of switch, for several frame sizes. Higher is"
            " better. Dotted: the model 1/(c1 + c0/K)."
        ),
        "k",
        "packets in a convoy, K",
        ("received_pps",),
        outcomes.convoy_effect,
        facets=("receive",),
    ),
)

FRAME_SIZE = (
    Plot(
        3,
        "pps",
        "Packets per second against frame size",
        (
            "Delivered packets per second (upwards) against the size of a frame (to the right), as fast as it"
            " goes between two guests, one core of switch. Higher is better."
        ),
        "size",
        "frame size, bytes",
        ("received_pps",),
        outcomes.best_at_one("64"),
        facets=("flows",),
        where=FRAMES,
    ),
    Plot(
        3,
        "bps",
        "Throughput against frame size",
        "The same as bits per second of frames. Higher is better.",
        "size",
        "frame size, bytes",
        ("received_bps",),
        outcomes.best_at_one("1500", "1514"),
        facets=("flows",),
        where=FRAMES,
    ),
    Plot(
        3,
        "super",
        "Super-packets of 64 KiB",
        (
            "Throughput with TCP packets of 64 KiB, which guests and switch agreed to leave whole. Longer"
            " bars are better."
        ),
        "flows",
        "",
        ("received_bps",),
        outcomes.best_everywhere,
        "bars",
        where=(("size", is_super),),
    ),
)

GUESTS = (
    Plot(
        4,
        "total",
        "Total over the number of guests",
        (
            "Packets per second delivered to all guests together (upwards) against the number of guests (to"
            " the right). Higher is better; level is what sharing should cost."
        ),
        "guests",
        "guests",
        ("received_pps",),
        outcomes.many_guests,
        x_scale="log",
    ),
    Plot(
        4,
        "fairness",
        "Fairness over the number of guests",
        (
            "Jain's index of what each guest received (upwards; 1 is equal shares) against the number of"
            " guests (to the right). Higher is better."
        ),
        "guests",
        "guests",
        ("fairness",),
        outcomes.worst_of_all,
        x_scale="log",
        y_scale="linear",
    ),
    Plot(
        4,
        "delay",
        "Delay over the number of guests",
        (
            "99th percentile of the one-way delay (upwards) with all guests sending flat out, against the"
            " number of guests (to the right). Lower is better."
        ),
        "guests",
        "guests",
        ("delay_p99_us",),
        outcomes.worst_of_all,
        x_scale="log",
        y_scale="log",
    ),
)

LINE = (
    Plot(
        5,
        "filled",
        "Filling the line",
        (
            "Throughput on the line (upwards) against the number of guests behind it (to the right); dotted:"
            " the line's rate. Higher is better, and the line is the most."
        ),
        "guests",
        "guests",
        ("received_bps", "goodput_bps"),
        outcomes.line_filled,
        facets=("line", "rate", "direction"),
        y_scale="linear",
        guide=outcomes.line_guide,
    ),
)


def cost(name: str, title: str, metric: str, what: str) -> Plot:
    return Plot(
        6,
        name,
        title,
        (
            f"{what} (upwards) against the load (to the right), which is in percent of what the same switch"
            " carries flat out. Lower is better."
        ),
        "load",
        OWN_LOAD,
        (metric,),
        outcomes.best_at_one("50"),
        facets=("size",),
        where=PERCENTS,
        x_scale="linear",
    )


COST = (
    cost(
        "cpu",
        "Processor time per packet",
        "cpu_ns_per_packet",
        "Processor time that the switch takes per packet",
    ),
    cost(
        "share", "Processor time of the switch", "cpu_share", "Share of one processor that the switch takes"
    ),
    cost("memory", "Memory of the switch", "rss_bytes", "Resident memory of the switch"),
    cost(
        "calls",
        "Calls per second",
        "calls_per_second",
        "Calls (virtual interrupts) that guests get per second",
    ),
    cost("kicks", "Kicks per second", "kicks_per_second", "Kicks that guests make per second"),
)


def delay(name: str, title: str, metric: str, what: str, contestants: tuple[str, ...], outcome) -> Plot:
    return Plot(
        7,
        name,
        title,
        (
            f"{what} (upwards) against the load (to the right), Poisson arrivals of 64-byte packets. Lower is"
            f" better.{'' if contestants == NOT_ADAPTIVE else WEIGHT}"
        ),
        "load",
        FLAT_OUT_LOAD,
        (metric,),
        outcome,
        contestants=contestants,
        where=PERCENTS,
        x_scale="linear",
        y_scale="log",
    )


FIXED_P99 = "99th percentile of the one-way delay with convoys that wait for at most T"
ADAPTIVE_P99 = (
    "99th percentile of the one-way delay with a delay budget D, beside modes that hold nothing and peers"
)

DELAY = (
    delay(
        "fixed-mean",
        "Mean delay, T fixed",
        "delay_mean_us",
        "Mean one-way delay, convoys that wait for at most T",
        NOT_ADAPTIVE,
        outcomes.worst_of_all,
    ),
    delay(
        "fixed-p99",
        "99th percentile of delay, T fixed",
        "delay_p99_us",
        FIXED_P99,
        NOT_ADAPTIVE,
        outcomes.worst_of_all,
    ),
    delay(
        "adaptive-mean",
        "Mean delay, adaptive and peers",
        "delay_mean_us",
        "Mean one-way delay with a delay budget D, beside modes that hold nothing and peers",
        NOT_FIXED,
        outcomes.best_at_one("50"),
    ),
    delay(
        "adaptive-p99",
        "99th percentile of delay, adaptive and peers",
        "delay_p99_us",
        ADAPTIVE_P99,
        NOT_FIXED,
        outcomes.best_at_one("50"),
    ),
    delay("jitter", "Jitter", "jitter_us", "Jitter as in RFC 3550", NOT_FIXED, outcomes.best_at_one("50")),
    Plot(
        7,
        "frontier",
        "The frontier of delay and throughput",
        (
            "99th percentile of the one-way delay (upwards) against what is delivered (to the right); each"
            " marker is a load. Better is further right and further down."
            f"{WEIGHT}"
        ),
        "metric:received_pps",
        "",
        ("delay_p99_us",),
        outcomes.frontier,
        where=PERCENTS,
        y_scale="log",
    ),
    Plot(
        7,
        "work",
        "The frontier of delay and work",
        (
            "Mean one-way delay (upwards) against calls per packet (to the right); each marker is a load."
            " Better is further left, with less work for the guest, and further down."
            f"{WEIGHT}"
        ),
        "metric:calls_per_packet",
        "",
        ("delay_mean_us",),
        outcomes.least_work,
        where=PERCENTS,
        y_scale="log",
    ),
)


def prediction(name: str, title: str, metric: str, what: str) -> Plot:
    return Plot(
        8,
        name,
        title,
        (
            f"How far the measured {what} is from what the daemon predicted at the same time, for each"
            " arrival process and load: +10 % means that more was measured than predicted. Nearer to 0 is"
            f" better. The model assumes Poisson arrivals.{WEIGHT}"
        ),
        "arrivals",
        "",
        (metric,),
        outcomes.largest,
        "bars",
        y_scale="linear",
    )


PREDICTIONS = (
    prediction("size", "Error of the predicted convoy size", "size_error", "mean size of a convoy"),
    prediction("wait", "Error of the predicted wait", "wait_error", "mean wait of a packet"),
)


def change(name: str, title: str, metric: str, sentence: str) -> Plot:
    return Plot(
        9,
        name,
        title,
        sentence,
        "change+from+to",
        "",
        (metric,),
        outcomes.worst_of_all,
        "bars",
    )


CHANGES = (
    change(
        "settling",
        "Settling",
        "settle_ms",
        (
            "Time from a step of the load until K and T of the receiving port stay near their final values."
            " Loads in percent of what convoy natural carries. Shorter bars are better."
            f"{WEIGHT}"
        ),
    ),
    change(
        "overshoot-k",
        "Overshoot of K",
        "overshoot_k",
        (
            "How far K went beyond its final value, as a share of the way from its first value to it. Shorter"
            " bars are better."
        ),
    ),
    change(
        "overshoot-t",
        "Overshoot of T",
        "overshoot_t",
        (
            "How far T went beyond its final value, as a share of the way from its first value to it. Shorter"
            " bars are better."
        ),
    ),
    change(
        "budget",
        "Time above the budget",
        "over_budget",
        (
            "Share of the measured time in which the rules aimed at more waiting than 1.2 times the delay budget"
            f" of 50 µs.{WEIGHT} Shorter bars are better."
        ),
    ),
    change(
        "delay",
        "Delay while the load changes",
        "delay_p99_us",
        (
            "99th percentile of the one-way delay of all packets, before and after the change. Further left"
            f" is better.{WEIGHT}"
        ),
    ),
)


def beside(name: str, title: str, metric: str, sentence: str) -> Plot:
    return Plot(
        10,
        name,
        title,
        sentence,
        "beside",
        "",
        (metric,),
        outcomes.worst_of_all if metric == "kept" else outcomes.of_reference("none"),
        "bars",
        ("test", "guests", "kind"),
    )


BESIDE = (
    beside(
        "p50",
        "Median delay of a quiet guest",
        "delay_p50_us",
        (
            "Median delay of a guest that sends little, while others are silent (none), transfer bulk data"
            " (bulk; with real guests: other, or same where it is to the quiet guest itself), flood, or have"
            " stopped reading what is sent to them (stopped). Further left is better."
        ),
    ),
    beside(
        "p99",
        "99th percentile of delay of a quiet guest",
        "delay_p99_us",
        "99th percentile of the same. Further left is better.",
    ),
    beside(
        "kept",
        "Rate kept by the quiet guest",
        "kept",
        "Rate kept: packets per second that arrive from the quiet guest, as a share of those that it has to"
        " send. Longer bars are better.",
    ),
)

TCP = (
    Plot(
        11,
        "streams",
        "TCP throughput",
        (
            "TCP throughput between two real Linux guests (upwards) against the number of "
            "streams (to the right). Higher is better. The peers built on DPDK run without segmentation"
            " offload, as they do by default: their guests cut what they send to 1500 bytes themselves."
            " Within one guest there is no switch: that is what a guest's own TCP makes of the one processor"
            " that it has; a pair has two, also for all the rest."
        ),
        "streams",
        "TCP streams",
        ("received_bps", "goodput_bps"),
        outcomes.best_at_one("1"),
        x_scale="log",
        where=(("write", lambda value: value == str(SMALL_WRITE)),),
    ),
    Plot(
        11,
        "write",
        "One TCP stream, in small and in large pieces",
        (
            "TCP throughput between two real Linux guests with one stream, written and read 128 KiB or 1 MiB at"
            " a time. A system call costs tens of microseconds in User Mode Linux: in small pieces the"
            " receiver's system calls take most of its processor, in large ones the way between the guests"
            " does. Longer bars are better."
        ),
        "write",
        "",
        ("received_bps", "goodput_bps"),
        outcomes.best_everywhere,
        "bars",
        where=(("streams", lambda value: value == "1"),),
    ),
    Plot(
        11,
        "rr",
        "Request and response over TCP",
        "Median one-way delay of a ping-pong between two real Linux guests. Shorter bars are better.",
        "test",
        "",
        ("delay_p50_us",),
        outcomes.best_everywhere,
        "bars",
        where=(("test", lambda value: value == "rr"),),
    ),
    Plot(
        11,
        "rr-p99",
        "Request and response over TCP, 99th percentile",
        "99th percentile of the same. Further left is better.",
        "test",
        "",
        ("delay_p99_us",),
        outcomes.best_everywhere,
        "bars",
        where=(("test", lambda value: value == "rr"),),
    ),
)

PLOTS = (
    CLASSIC + CONVOY_SIZE + FRAME_SIZE + GUESTS + LINE + COST + DELAY + PREDICTIONS + CHANGES + BESIDE + TCP
)
