"""Measured points in long form: a CSV file that is only ever appended to, so that a study can be resumed.

All metrics of a point are written and flushed at once. A line that was cut off when the study was killed
is dropped when the file is read again, and with it its whole point, which is then measured anew.
"""

import csv
import io
import os
from collections import defaultdict
from pathlib import Path

COLUMNS = ("experiment", "contestant", "parameters", "run", "metric", "value")
LAST = "complete"  # the metric that ends a point: without it the point was cut off

Key = tuple[str, str, str, int]


def parameters_text(**parameters: object) -> str:
    """Sorted words `key=value`, a blank between them; numbers without needless digits."""
    return " ".join(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
                    for key, value in sorted(parameters.items()))


def parameters_of(text: str) -> dict[str, str]:
    """The words of a point's parameters by name."""
    return dict(word.split("=", 1) for word in text.split())


class Points:
    """The points of one study; `path` need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._values: dict[Key, dict[str, float]] = defaultdict(dict)
        if path.exists():
            self._load()

    def _load(self) -> None:
        rows = read_rows(self.path)
        whole = {row[:4] for row in rows if row[4] == LAST}
        for row in rows:
            if row[:4] in whole:
                self._values[row[:4]][row[4]] = row[5]
        kept = [row for row in rows if row[:4] in whole]
        text = _lines([COLUMNS, *kept])
        if text != self.path.read_text(encoding="utf-8", errors="replace"):
            part = self.path.with_suffix(".part")
            part.write_text(text, encoding="utf-8")
            part.replace(self.path)

    def has(self, experiment: int | str, contestant: str, parameters: str, run: int) -> bool:
        return (str(experiment), contestant, parameters, run) in self._values

    def get(self, experiment: int | str, contestant: str, parameters: str, run: int) -> dict[str, float]:
        """The metrics of a point; empty where it is not measured."""
        return dict(self._values.get((str(experiment), contestant, parameters, run), {}))

    def select(self, experiment: int | str, contestant: str) -> list[tuple[dict[str, str], int, dict[str, float]]]:
        """All points of a contestant in an experiment: parameters, run, metrics."""
        return [(parameters_of(key[2]), key[3], dict(values)) for key, values in self._values.items()
                if key[:2] == (str(experiment), contestant)]

    def add(self, experiment: int | str, contestant: str, parameters: str, run: int,
            metrics: dict[str, float | int | None]) -> None:
        """Appends a point. Metrics that are None were not measured, and are left out."""
        key = (str(experiment), contestant, parameters, run)
        values = {name: float(value) for name, value in metrics.items() if value is not None}
        values[LAST] = 1.0
        is_new = not self.path.exists()
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(_lines(([COLUMNS] if is_new else []) + [(*key, *pair) for pair in values.items()]))
            file.flush()
            os.fsync(file.fileno())
        self._values[key] = values


def read_rows(path: Path) -> list[tuple[str, str, str, int, str, float]]:
    """The rows of points.csv that are whole; the head and what was cut off are dropped."""
    rows = []
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for row in csv.reader(line for line in file if line.endswith("\n")):
            try:
                experiment, contestant, parameters, run, metric, value = row
                rows.append((experiment, contestant, parameters, int(run), metric, float(value)))
            except ValueError:
                continue
    return rows


def _lines(rows: list[tuple]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
