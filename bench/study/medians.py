"""What was measured, as the report uses it: the points of points.csv, and medians over the runs.

A last line that was cut off (a study that was interrupted) is left out; lines that cannot be read are
counted.
"""

import csv
import math
import statistics
from dataclasses import dataclass
from pathlib import Path

COLUMNS = ("experiment", "contestant", "parameters", "run", "metric", "value")

Parameters = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Spread:
    """One metric of one contestant at one place, over the runs."""

    median: float
    low: float
    high: float
    runs: int


@dataclass(frozen=True)
class Place:
    """Where something was measured: a row of the study without the run."""

    experiment: int
    contestant: str
    parameters: Parameters

    def value(self, name: str) -> str:
        """The parameter's value, or an empty string where there is none."""
        return dict(self.parameters).get(name, "")


@dataclass(frozen=True)
class Medians:
    """Everything that was measured: by place, then by metric."""

    by_place: dict[Place, dict[str, Spread]]
    unread: int  # lines that are no points

    def of_experiment(self, experiment: int) -> dict[Place, dict[str, Spread]]:
        return {place: metrics for place, metrics in self.by_place.items() if place.experiment == experiment}

    def contestants(self) -> set[str]:
        return {place.contestant for place in self.by_place}


def parse_parameters(text: str) -> Parameters:
    """Words key=value; a word without a value keeps an empty one. A value may itself hold '=' (rule=T=50)."""
    return tuple((word.partition("=")[0], word.partition("=")[2]) for word in sorted(text.split()))


def spread_of(values: list[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values), len(values))


def parse_row(row: list[str]) -> tuple[Place, int, str, float]:
    """One line of the file, or ValueError."""
    experiment, contestant, parameters, run, metric, value_text = row
    value = float(value_text)
    if not math.isfinite(value):
        raise ValueError(value_text)
    return Place(int(experiment), contestant, parse_parameters(parameters)), int(run), metric, value


def read_medians(path: Path) -> Medians:
    """Medians over the runs of a points.csv. Of a run that stands there twice the later line counts."""
    runs_of: dict[tuple[Place, int], dict[str, float]] = {}
    unread = 0
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        for row in csv.reader(line.replace("\0", "") for line in file if line.endswith("\n")):
            try:
                place, run, metric, value = parse_row(row)
                runs_of.setdefault((place, run), {})[metric] = value
            except ValueError:
                unread += tuple(row) != COLUMNS and bool(row)
    values: dict[Place, dict[str, list[float]]] = {}
    for (place, _), metrics in runs_of.items():
        for metric, value in metrics.items():
            values.setdefault(place, {}).setdefault(metric, []).append(value)
    by_place = {
        place: {metric: spread_of(of_runs) for metric, of_runs in metrics.items()}
        for place, metrics in values.items()
    }
    return Medians(by_place, unread)


def as_number(text: str) -> float | None:
    """A parameter's number: 1500, 0.5, 64k, 1g, 10gbit; None if it is a word."""
    text = text.removesuffix("bit")
    factor = {"k": 1e3, "m": 1e6, "g": 1e9}.get(text[-1:].lower())
    try:
        number = float(text[:-1]) * factor if factor else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
