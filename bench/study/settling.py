"""How fast K and T follow a step of the load, from what convoy-watch saw (tests/lib/convoy_watch.c)."""

from dataclasses import dataclass
from statistics import median
from typing import Callable, Sequence

END_NS = 300_000_000  # the last so long tell where K and T end
STAY_NS = 100_000_000  # settled is what stays for so long
NEAR = 0.25  # share of the end's value that is no difference
SLACK_K, SLACK_T_US = 1.0, 1.0  # nor is a packet more or less, or 1 us


@dataclass(frozen=True)
class Seen:
    """One answer of the daemon."""

    at_ns: int  # CLOCK_MONOTONIC
    rate: float  # packets per second
    k: float
    t_us: float
    size: float  # E[B] predicted
    wait_us: float  # E[W] predicted


@dataclass(frozen=True)
class Settled:
    settle_ms: float  # after the step, until K and T are near their end and stay there
    k_end: float
    t_end_us: float
    overshoot_k: float  # how far beyond the end it went, as a share of the way from its start to its end
    overshoot_t: float


def read_watch(text: str) -> list[Seen]:
    """Lines of convoy-watch; one that was cut off is left out."""
    seen = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 6:
            seen.append(Seen(int(words[0]), *map(float, words[1:])))
    return seen


def settle(seen: Sequence[Seen], step_ns: int, end_ns: int) -> Settled | None:
    """The step at step_ns, traffic until end_ns. None where one side of it was not watched."""
    before = [one for one in seen if step_ns - END_NS <= one.at_ns <= step_ns]
    after = [one for one in seen if step_ns < one.at_ns <= end_ns]
    last = [one for one in after if one.at_ns > after[-1].at_ns - END_NS]
    if not before or not last:
        return None
    k_end, t_end = median(one.k for one in last), median(one.t_us for one in last)
    settled_ns = _settled_ns(after, k_end, t_end)
    return Settled((settled_ns - step_ns) / 1e6, k_end, t_end,
                   _overshoot(before, after, k_end, lambda one: one.k),
                   _overshoot(before, after, t_end, lambda one: one.t_us))


def _settled_ns(after: Sequence[Seen], k_end: float, t_end: float) -> int:
    since: int | None = None
    for one in after:
        if _far(one.k, k_end, SLACK_K) or _far(one.t_us, t_end, SLACK_T_US):
            since = None
        elif since is None:
            since = one.at_ns
        if since is not None and one.at_ns - since >= STAY_NS:
            return since
    return after[-1].at_ns if since is None else since


def _far(value: float, end: float, slack: float) -> bool:
    return abs(value - end) > NEAR * end + slack


def _overshoot(before: Sequence[Seen], after: Sequence[Seen], end: float,
               value: Callable[[Seen], float]) -> float:
    start = median(value(one) for one in before)
    way = end - start
    if way == 0:
        return 0.0
    return max(0.0, *((value(one) - end) / way for one in after))
