"""What a transfer costs: c0 for itself and c1 for each of its packets, from measured throughput.

A switch that moves K packets at once and is never idle takes c1 + c0/K seconds a packet: a straight
line over 1/K, found by least squares.
"""

from dataclasses import dataclass
from typing import Sequence


@dataclass(frozen=True)
class Costs:
    c0_ns: float  # of a transfer
    c1_ns: float  # of a packet
    error_max: float  # largest deviation of a measured throughput from the line's, as a share of it

    def pps(self, packets: float) -> float:
        """Packets per second, so many of them in a transfer; 0 where the line makes no sense."""
        time_ns = self.c1_ns + self.c0_ns / packets
        return 1e9 / time_ns if time_ns > 0 else 0.0


def fit_costs(measured: Sequence[tuple[float, float]]) -> Costs | None:
    """From pairs (K, packets per second). None where two different K with any throughput are missing."""
    line = [(1 / packets, 1e9 / pps) for packets, pps in measured if packets > 0 and pps > 0]
    if len({x for x, _ in line}) < 2:
        return None
    mean_x = sum(x for x, _ in line) / len(line)
    mean_y = sum(y for _, y in line) / len(line)
    c0 = sum((x - mean_x) * (y - mean_y) for x, y in line) / sum((x - mean_x) ** 2 for x, _ in line)
    costs = Costs(c0, mean_y - c0 * mean_x, 0.0)
    error = max(abs(1e9 / y / rate - 1) if (rate := costs.pps(1 / x)) else float("inf") for x, y in line)
    return Costs(costs.c0_ns, costs.c1_ns, error)
