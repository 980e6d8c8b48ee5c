"""Metrics by name: what they are called on the page, in which unit, and which way is better."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """What a metric of points.csv means."""

    label: str
    family: str  # one of UNITS
    better: str  # "higher", "lower", "zero" (an error), or "" where it is none of these


# Of each family: from which value on a unit is used, its name, and by what a value is divided.
UNITS: dict[str, list[tuple[float, str, float]]] = {
    "pps": [(1e6, "Mpps", 1e6), (1e3, "kpps", 1e3), (0, "pps", 1)],
    "bps": [(1e9, "Gbit/s", 1e9), (1e6, "Mbit/s", 1e6), (1e3, "kbit/s", 1e3), (0, "bit/s", 1)],
    "us": [(1e6, "s", 1e6), (1e4, "ms", 1e3), (0, "µs", 1)],
    "ms": [(1e4, "s", 1e3), (0, "ms", 1)],
    "ns": [(1e6, "ms", 1e6), (1e4, "µs", 1e3), (0, "ns", 1)],
    "s": [(0, "s", 1)],
    "share": [(0, "%", 0.01)],
    "percent": [(0, "%", 1)],
    "bytes": [(2**30, "GiB", 2**30), (2**20, "MiB", 2**20), (2**10, "KiB", 2**10), (0, "B", 1)],
    "per_second": [(1e6, "million/s", 1e6), (1e3, "thousand/s", 1e3), (0, "/s", 1)],
    "plain": [(0, "", 1)],
}

METRICS = {
    "received_pps": Metric("delivered packets", "pps", "higher"),
    "sent_pps": Metric("packets sent", "pps", "higher"),
    "received_bps": Metric("delivered throughput", "bps", "higher"),
    "sent_bps": Metric("throughput sent", "bps", "higher"),
    "loss": Metric("loss", "share", "lower"),
    "delay_mean_us": Metric("delay, mean", "us", "lower"),
    "delay_p50_us": Metric("delay, median", "us", "lower"),
    "delay_p99_us": Metric("delay, 99th percentile", "us", "lower"),
    "delay_p999_us": Metric("delay, 99.9th percentile", "us", "lower"),
    "delay_max_us": Metric("delay, longest", "us", "lower"),
    "jitter_us": Metric("jitter (RFC 3550)", "us", "lower"),
    "calls_per_packet": Metric("calls per packet", "plain", "lower"),
    "kicks_per_packet": Metric("kicks per packet", "plain", "lower"),
    "calls_per_second": Metric("calls to guests", "per_second", "lower"),
    "kicks_per_second": Metric("kicks by guests", "per_second", "lower"),
    "cpu_ns_per_packet": Metric("processor time of the switch per packet", "ns", "lower"),
    "packets_per_cpu_second": Metric("packets per second of the switch's processor time", "pps", "higher"),
    "cpu_share": Metric("processor time of the switch, of one processor", "share", "lower"),
    "host_cpu_share": Metric("processor time of the whole machine", "share", "lower"),
    "rss_bytes": Metric("memory of the switch (resident)", "bytes", "lower"),
    "fairness": Metric("fairness (Jain's index)", "plain", "higher"),
    "late": Metric("packets sent behind their time", "share", "lower"),
    "rss_peak_bytes": Metric("memory of the switch, most (resident)", "bytes", "lower"),
    "size_measured": Metric("packets of a convoy, measured", "plain", ""),
    "size_predicted": Metric("packets of a convoy, predicted", "plain", ""),
    "size_error": Metric("packets of a convoy: measured against predicted", "share", "zero"),
    "wait_measured_us": Metric("mean wait, measured", "us", ""),
    "wait_predicted_us": Metric("mean wait, predicted", "us", ""),
    "wait_error": Metric("mean wait: measured against predicted", "share", "zero"),
    "wait_max_us": Metric("longest mean wait that was aimed at", "us", "lower"),
    "settle_ms": Metric("time until K and T have settled", "ms", "lower"),
    "overshoot_k": Metric("overshoot of K, of the way", "share", "lower"),
    "overshoot_t": Metric("overshoot of T, of the way", "share", "lower"),
    "over_budget": Metric("time above the delay budget", "share", "lower"),
    "kept": Metric("rate kept", "share", "higher"),
    "beside_pps": Metric("packets of the guests beside", "pps", ""),
    "bulk_bps": Metric("throughput of the bulk transfer beside", "bps", ""),
    "goodput_bps": Metric("delivered TCP payload", "bps", "higher"),
    "line_share": Metric("share of the line that is used", "share", "higher"),
    "round_trips_per_second": Metric("round trips", "per_second", "higher"),
    "k_end": Metric("K at the end", "plain", ""),
    "error_max": Metric("largest error of the fit", "share", "lower"),
    "offered_pps": Metric("packets offered", "pps", ""),
    "round_trip_ns": Metric("a cache line between guests' and switch's processor, and back", "ns", ""),
    "slowdown": Metric("times that work takes while the other processor works", "plain", ""),
    "disturbance": Metric("what the host did to the processors; above 1 it counts", "plain", ""),
    "repeats": Metric("measurements thrown away before, since the host disturbed them", "plain", ""),
}

# What a name that is not above says of its unit by its end.
SUFFIXES = {
    "_pps": "pps",
    "_bps": "bps",
    "_us": "us",
    "_ms": "ms",
    "_ns": "ns",
    "_s": "s",
    "_share": "share",
    "_percent": "percent",
    "_bytes": "bytes",
    "_per_second": "per_second",
}


def metric_of(name: str) -> Metric:
    """What is known of a metric; of an unknown one what its name says."""
    if name in METRICS:
        return METRICS[name]
    for suffix, family in SUFFIXES.items():
        if name.endswith(suffix):
            return Metric(name.removesuffix(suffix).replace("_", " "), family, "")
    return Metric(name.replace("_", " "), "plain", "")


def unit_for(family: str, largest: float) -> tuple[str, float]:
    """The unit in which values up to the largest are best read, and its divisor."""
    for least, name, divisor in UNITS[family]:
        if abs(largest) >= least:
            return name, divisor
    return UNITS[family][-1][1:]


def number(value: float) -> str:
    """Three digits that count, without an exponent where that can be read."""
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e9 or size < 1e-4:
        return f"{value:.3g}"
    if size >= 99.95:
        return f"{value:,.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    if size >= 0.9995:
        return f"{value:.2f}"
    return f"{value:.3g}"


def quantity(value: float, family: str) -> str:
    """A value with its unit."""
    unit, divisor = unit_for(family, value)
    text = number(value / divisor)
    return f"{text} {unit}" if unit else text
