"""Made-up points for tests of the report: every experiment of the study, with the parameters that it uses.

The figures come from formulas, not from a machine: they only have plausible sizes and orders.
    made_up.py DIR   writes DIR/points.csv and DIR/machine.json
"""

import csv
import json
import sys
from pathlib import Path

MODES = ("convoy off", "convoy natural", "convoy adaptive", "convoy fixed")
SWITCHES = MODES + ("ovs-dpdk", "testpmd")
REAL = MODES + ("ovs-dpdk", "testpmd", "bridge+tap", "native")
RUNS = 3
SPEED = {
    "convoy off": 4.2e6,
    "convoy natural": 17.5e6,
    "convoy adaptive": 16.8e6,
    "convoy fixed": 18.1e6,
    "ovs-dpdk": 8.1e6,
    "testpmd": 7.2e6,
    "bridge+tap": 0.9e6,
    "native": 2.1e6,
}

Row = tuple[int, str, str, int, str, float]


def point(experiment: int, contestant: str, parameters: str, **metrics: float) -> list[Row]:
    """The rows of a point: its runs are 3 % below, at, and 4 % above the metrics given."""
    parameters = " ".join(sorted(parameters.split()))
    return [
        (experiment, contestant, parameters, run, metric, value * factor)
        for run, factor in enumerate((1.0, 0.97, 1.04))
        for metric, value in metrics.items()
    ]


def classic() -> list[Row]:
    rows = []
    for frames, base in (("super", 14.7e9), ("1500", 7.4e9)):
        for direction, factor in (("transmit", 1.0), ("receive", 0.9)):
            words = f"direction={direction} frames={frames}"
            rows += point(
                1, "native", f"{words} place=native", received_bps=base * factor, host_cpu_share=0.5
            )
            for index, contestant in enumerate(("convoy off", "convoy natural", "convoy adaptive")):
                for place, share in (("driver", 0.7), ("guest", 0.35)):
                    rows += point(
                        1,
                        contestant,
                        f"{words} place={place}",
                        received_bps=base * factor * share * (0.5 + 0.25 * index),
                        host_cpu_share=0.9,
                    )
            rows += point(
                1, "bridge+tap", f"{words} place=guest", received_bps=base * factor * 0.3, host_cpu_share=0.95
            )
    return rows


def convoy_size() -> list[Row]:
    """Exactly the model, c0 = 200 ns and c1 = 25 ns at 64 bytes, so that a fit must find these."""
    rows = []
    for receive in ("call", "poll"):
        for size, c1 in ((64, 25), (256, 60), (1500, 170)):
            words = f"receive={receive} size={size}"
            for k in (1, 2, 4, 8, 16, 32, 64, 128, 256):
                rate = 1e9 / (c1 + 200 / k)
                rows += point(2, "convoy fixed", f"k={k} {words}", received_pps=rate)
                rows += point(2, "model", f"k={k} {words}", received_pps=rate)
            rows += point(2, "model", words, c0_ns=200, c1_ns=c1, error_max=0.01)
    return rows


def frame_size() -> list[Row]:
    rows = []
    for contestant in SWITCHES:
        for flows in (1, 64):
            for size in (64, 128, 256, 512, 1024, 1280, 1514, 65549):
                rate = 1 / (1 / SPEED[contestant] + size / 9e9) * (1 if flows == 1 else 0.9)
                rows += point(
                    3,
                    contestant,
                    f"flows={flows} size={size}",
                    received_pps=rate,
                    received_bps=rate * size * 8,
                )
    return rows


def guests() -> list[Row]:
    rows = []
    for contestant in SWITCHES:
        for count in (1, 2, 4, 8, 16, 64):
            loss = 0.05 if contestant.startswith("convoy") else 0.4
            rows += point(
                4,
                contestant,
                f"guests={count} size=64",
                received_pps=SPEED[contestant] * (1 - loss * count / 64),
                delay_p50_us=10 + 3 * count,
                delay_p99_us=40 + 9 * count,
            )
            rows += [
                (4, contestant, f"guests={count} size=64", run, "fairness", 0.999 - 0.001 * run * count / 64)
                for run in range(RUNS)
            ]
    return rows


def the_line() -> list[Row]:
    rows = []
    for line, rate in (("1gbit", 1e9), ("10gbit", 10e9)):
        for direction in ("transmit", "receive"):
            for contestant, most in (
                ("convoy natural", 2.9e9),
                ("convoy adaptive", 3.3e9),
                ("bridge+tap", 2.5e9),
            ):
                for count in (1, 2, 4):
                    rows += point(
                        5,
                        contestant,
                        f"direction={direction} guests={count} line={line}",
                        received_bps=min(rate * 0.94, most * count),
                        fairness=0.97,
                    )
            rows += point(
                5, "native", f"direction={direction} guests=1 line={line}", received_bps=min(rate * 0.94, 8e9)
            )
    return rows


def cost() -> list[Row]:
    rows = []
    for contestant in SWITCHES:
        polls = not contestant.startswith("convoy")
        for size in (64, 1500):
            for load in ("max", "10", "50", "90"):
                share = 1.0 if load == "max" else int(load) / 100
                rate = SPEED[contestant] * share * (1 if size == 64 else 0.3)
                used = 1.0 if polls else 0.15 + 0.8 * share
                rows += point(
                    6,
                    contestant,
                    f"load={load} size={size}",
                    received_pps=rate,
                    cpu_share=used,
                    cpu_ns_per_packet=used * 1e9 / rate,
                    rss_bytes=3e8 if polls else 9e6,
                    calls_per_second=9e4 * share,
                    kicks_per_second=4e4 * share,
                    delay_p99_us=20 + 60 * share,
                )
    return rows


def delay() -> list[Row]:
    rows = []
    settings = [(mode, "", 0) for mode in ("convoy off", "convoy natural", "ovs-dpdk", "testpmd")]
    settings += [("convoy fixed", f"t_us={t}", t) for t in (1, 10, 50, 100, 300)]
    settings += [("convoy adaptive", f"d_us={d}", d * 0.8) for d in (10, 25, 50)]
    for contestant, words, wait in settings:
        for load in (5, 25, 50, 75, 90):
            rate = 17.5e6 * load / 100
            carried = min(rate, SPEED[contestant])
            full = min(rate / SPEED[contestant], 0.98)
            middle = 5 + wait * (1 - load / 200) + 3 / (1 - full)
            rows += point(
                7,
                contestant,
                f"load={load} size=64 {words}",
                received_pps=carried,
                delay_mean_us=middle,
                delay_p50_us=middle * 0.9,
                delay_p99_us=middle * 4,
                jitter_us=middle * 0.3,
                calls_per_packet=1 / (1 + wait + load / 10),
            )
    return rows + point(7, "convoy natural", "load=max size=64", received_pps=17.5e6, delay_p99_us=900)


def predictions() -> list[Row]:
    rows = []
    for contestant, words in (("convoy adaptive", "d_us=50"), ("convoy fixed", "k=16 t_us=50")):
        for load in (5, 25, 50):
            for arrivals, error in (("poisson", 0.03), ("constant", -0.12), ("onoff", 0.45)):
                rows += point(
                    8,
                    contestant,
                    f"{words} arrivals={arrivals} load={load} size=64",
                    size_error=error,
                    wait_error=-error * load / 30,
                )
        for speed in (1, 10):
            rows += point(
                8, contestant, f"{words} arrivals=trace size=64 speed={speed}", size_error=0.3, wait_error=0.6
            )
    return rows


def changes() -> list[Row]:
    rows = []
    kinds = [
        f"change=step from={low} to={high}" for low, high in ((5, 50), (50, 5), (1, 90), (90, 1), (25, 50))
    ]
    for index, words in enumerate([*kinds, "change=ramp from=1 to=20", "change=bursts to=50"]):
        is_step = "step" in words
        steps = (
            {"settle_ms": 20.0 + 15 * index, "overshoot_k": 0.1 * index, "overshoot_t": 0.0}
            if is_step
            else {}
        )
        rows += point(
            9, "convoy adaptive", words + " size=64", delay_p99_us=90.0 + index, over_budget=0.02, **steps
        )
        for contestant in ("convoy natural", "ovs-dpdk", "testpmd"):
            rows += point(9, contestant, words + " size=64", delay_p99_us=70.0 * (index + 1))
    return rows


def beside() -> list[Row]:
    rows = []
    for contestant in ("convoy off", "convoy natural", "convoy adaptive", "ovs-dpdk", "testpmd"):
        for kind, value in (("none", 12), ("bulk", 30), ("flood", 90), ("stopped", 14)):
            worse = 1 if contestant.startswith("convoy") else 40
            rows += point(
                10,
                contestant,
                f"beside={kind} rate=20000 size=64",
                delay_p50_us=value,
                delay_p99_us=value * 4 * worse,
                kept=0.95,
            )
    for contestant in ("convoy off", "convoy natural", "convoy adaptive", "bridge+tap", "native"):
        for kind, value in (("none", 30), ("other", 60), ("same", 200), ("flood", 150), ("stopped", 35)):
            if (contestant, kind) != ("native", "stopped"):
                rows += point(
                    10, contestant, f"beside={kind} guests=real", delay_p50_us=value, delay_p99_us=value * 5
                )
    return rows


def tcp() -> list[Row]:
    rows = []
    for index, contestant in enumerate(REAL):
        for streams, write in ((1, 131072), (1, 1048576), (4, 131072), (16, 131072), (64, 131072)):
            rows += point(
                11,
                contestant,
                f"streams={streams} test=stream write={write}",
                received_bps=(2e9 + index * 0.9e9) * (1 + streams / 100),
            )
        if contestant == "native":
            rows += point(11, contestant, "place=one-guest streams=1 test=stream write=131072", received_bps=5e9)
        if contestant in ("convoy natural", "convoy adaptive"):
            rows += point(
                11, contestant, "streams=1 test=stream workers=2 write=1048576", received_bps=28e9 + index * 1e9
            )
        rows += point(11, contestant, "test=rr", delay_p50_us=76 - 6 * index, delay_p99_us=300 - 20 * index)
    return rows


MAKERS = (classic, convoy_size, frame_size, guests, the_line, cost, delay, predictions, changes, beside, tcp)
FACTS = {
    "command": "./study --peers",
    "kind": "full",
    "date": "2024-05-01T10:00:00+00:00",
    "processor": "Made-up CPU @ 3 GHz",
    "cores": 4,
    "memory_bytes": 8 * 2**30,
    "kernel": "Linux 6.1.0",
    "runs": RUNS,
    "seconds": 1.0,
    "versions": {"convoyd": "convoyd 0.1.0", "ovs-dpdk": "3.1.0"},
    "features": {"convoy natural": ["VIRTIO_F_VERSION_1", "VIRTIO_NET_F_MRG_RXBUF"]},
    "peers": ["ovs-dpdk", "testpmd"],
    "missing": {},
    "failed": {},
}


def all_rows() -> list[Row]:
    return [row for maker in MAKERS for row in maker()]


def write(folder: Path, rows: list[Row], facts: dict | None = None) -> None:
    """points.csv and machine.json."""
    with (folder / "points.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("experiment", "contestant", "parameters", "run", "metric", "value"))
        writer.writerows(rows)
    (folder / "machine.json").write_text(json.dumps(FACTS if facts is None else facts), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), all_rows())
