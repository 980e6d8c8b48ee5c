"""convoy-bench: one measured run, and what of it becomes metrics of a point."""

import json
import subprocess
from pathlib import Path
from typing import Sequence

from . import processes
from .study import Study, StudyError
from .switches import Switch

CONNECT_S = 20  # what a run may take besides its measured part and its warm-up
HOST_CPU_SHARE = "host_cpu_share"  # of all processors, over the whole run; added to convoy-bench's answer


def command(study: Study, switch: Switch, sockets: Sequence[str], **words: object) -> list[str]:
    """The command line; `loss_max=0.01` becomes --loss-max 0.01, True a lone word, None nothing."""
    asked: dict[str, object] = {"seconds": study.seconds, "warm_up": study.warm_up,
                                "cpus": study.cpus.guests[0], "switch_pid": switch.pid, **words}
    line = [str(study.build / "bench/convoy-bench"), "--quiet", "--json", "-"]
    for name, value in asked.items():
        if value is None or value is False:
            continue
        line.append("--" + name.replace("_", "-"))
        if value is not True:
            line.append(f"{value:g}" if isinstance(value, float) else str(value))
    return line + list(sockets)


class Run:
    """A run that is under way; see start and finish."""

    def __init__(self, study: Study, switch: Switch, sockets: Sequence[str] | None,
                 words: dict[str, object]) -> None:
        self.log = study.work / "bench.log"
        self.log.write_text("")
        self.limit_s = CONNECT_S + float(str(words.get("seconds", study.seconds))) + \
            float(str(words.get("warm_up", study.warm_up)))
        if words.get("search"):
            self.limit_s *= 30  # trials
        self.host_before = host_times()
        self.process = processes.start(command(study, switch, sockets or switch.sockets, **words), self.log,
                                       stdout=subprocess.PIPE)


def start(study: Study, switch: Switch, sockets: Sequence[str] | None = None, **words: object) -> Run:
    """Starts convoy-bench with these options (command) at all sockets of the switch, or these."""
    return Run(study, switch, sockets, words)


def finish(run: Run) -> dict:
    """Waits for its end: convoy-bench's answer. StudyError with its last words where it found a fault."""
    try:
        said, _ = run.process.communicate(timeout=run.limit_s)
    except subprocess.TimeoutExpired:
        raise StudyError(f"convoy-bench does not end within {run.limit_s:g} s") from None
    finally:
        processes.kill(run.process)
    if run.process.returncode:
        raise StudyError(f"convoy-bench ended with status {run.process.returncode}: "
                         f"{processes.last_words(run.log)}")
    try:
        result = json.loads(said)
    except ValueError:
        raise StudyError(f"convoy-bench answers no JSON but {said[:100]!r}") from None
    result[HOST_CPU_SHARE] = host_share(run.host_before, host_times())
    return result


def run(study: Study, switch: Switch, sockets: Sequence[str] | None = None, **words: object) -> dict:
    """One run from start to end."""
    return finish(start(study, switch, sockets, **words))


def host_times() -> tuple[int, int]:
    """Ticks of all processors since the start of the machine: busy, and all."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def host_share(before: tuple[int, int], after: tuple[int, int]) -> float | None:
    """Share of all processors that was busy in between; None where no time has passed."""
    passed = after[1] - before[1]
    return (after[0] - before[0]) / passed if passed > 0 else None


def metrics(result: dict) -> dict[str, float | None]:
    """A point's metrics, named with their units, from convoy-bench's answer."""
    delay = result.get("delay_ns") or {}
    switch = result.get("switch") or {}
    seconds = result["seconds"] or 1

    def us(value: float | None) -> float | None:
        return None if value is None else value / 1e3

    values = {
        "offered_pps": result.get("offered_pps") or None, "sent_pps": result["sent_pps"],
        "received_pps": result["received_pps"], "received_bps": result["received_bps"],
        "loss": result["loss"], "fairness": result.get("fairness"),
        "late": result.get("late", 0) / max(result["sent"], 1),
        "calls_per_packet": result["calls_per_packet"], "kicks_per_packet": result["kicks_per_packet"],
        "calls_per_second": result["calls"] / seconds, "kicks_per_second": result["kicks"] / seconds,
        "cpu_ns_per_packet": switch.get("cpu_ns_per_packet"), "cpu_share": switch.get("cpu_share"),
        "rss_bytes": switch.get("rss_bytes"), "rss_peak_bytes": switch.get("rss_peak_bytes"),
        HOST_CPU_SHARE: result.get(HOST_CPU_SHARE),
    }
    if delay.get("count"):
        values |= {f"delay_{name}_us": us(delay.get(member)) for name, member in (
            ("mean", "mean"), ("p50", "p50"), ("p99", "p99"), ("p999", "p99_9"), ("max", "max"))}
        values["jitter_us"] = us(result.get("jitter_ns"))
    return values
