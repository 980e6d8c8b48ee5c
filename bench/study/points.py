"""Measured points in long form: a CSV file that is only ever appended to, so that a study can be resumed.

All metrics of a point are written at once. A point that was cut off nevertheless, by a full disk or a
machine that went down, is the file's last and lacks its end of line: it is dropped when the file is read
again, and is measured anew.
"""

import csv
import io
from collections import defaultdict
from pathlib import Path
from typing import Iterable, Iterator, Mapping

COLUMNS = ("experiment", "contestant", "parameters", "run", "metric", "value")

# Values of the parameter "write" of TCP streams: bytes that iperf3 writes and reads at a time.
SMALL_WRITE, LARGE_WRITE = 131072, 1048576

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
        text = self.path.read_text(encoding="utf-8", errors="replace")
        rows = list(read_rows(text))
        if text and not text.endswith("\n"):
            # The row that was cut is the last whole point's, as far as can be seen, or the first of another.
            cut, last = text.rsplit("\n", 1)[-1], rows[-1][:4] if rows else None
            start = _lines([last]).rstrip("\n") + "," if last else ""
            if cut.startswith(start) or start.startswith(cut):
                rows = [row for row in rows if row[:4] != last]
            part = self.path.with_suffix(".part")
            part.write_text(_lines([COLUMNS, *rows]), encoding="utf-8")
            part.replace(self.path)
        for row in rows:
            self._values[row[:4]][row[4]] = row[5]

    def has(self, experiment: int | str, contestant: str, parameters: str, run: int) -> bool:
        return (str(experiment), contestant, parameters, run) in self._values

    def get(self, experiment: int | str, contestant: str, parameters: str, run: int) -> dict[str, float]:
        """The metrics of a point; empty where it is not measured."""
        return dict(self._values.get((str(experiment), contestant, parameters, run), {}))

    def select(self, experiment: int | str,
               contestant: str) -> list[tuple[dict[str, str], int, dict[str, float]]]:
        """All points of a contestant in an experiment: parameters, run, metrics."""
        return [(parameters_of(key[2]), key[3], dict(values)) for key, values in self._values.items()
                if key[:2] == (str(experiment), contestant)]

    def all_metrics(self) -> list[dict[str, float]]:
        """Of each point."""
        return list(self._values.values())

    def add(self, experiment: int | str, contestant: str, parameters: str, run: int,
            metrics: Mapping[str, float | int | None]) -> None:
        """Appends metrics of a point. Those that are None were not measured, and are left out."""
        key = (str(experiment), contestant, parameters, run)
        values = {name: float(value) for name, value in metrics.items() if value is not None}
        is_new = not self.path.exists()
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(_lines(([COLUMNS] if is_new else []) + [(*key, *pair) for pair in values.items()]))
        self._values[key].update(values)

    def drop(self, experiments: Iterable[int | str]) -> None:
        """Takes these experiments' points away, also out of the file."""
        gone = {str(number) for number in experiments}
        self._values = defaultdict(dict, {key: metrics for key, metrics in self._values.items()
                                          if key[0] not in gone})
        if self.path.exists():
            rows = [(*key, *pair) for key, metrics in self._values.items() for pair in metrics.items()]
            part = self.path.with_suffix(".part")
            part.write_text(_lines([COLUMNS, *rows]), encoding="utf-8")
            part.replace(self.path)


def read_rows(text: str) -> Iterator[tuple[str, str, str, int, str, float]]:
    """The rows of points.csv that are whole; its head is none."""
    whole = (line for line in text.splitlines(keepends=True) if line.endswith("\n"))
    for row in csv.reader(whole):
        try:
            experiment, contestant, parameters, run, metric, value = row
            yield experiment, contestant, parameters, int(run), metric, float(value)
        except ValueError:
            continue


def _lines(rows: list[tuple]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
