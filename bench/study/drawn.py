"""From a plot's declaration and the medians to what stands on the page.

A plot is declared as data (plots.py): which experiment, what is on the axes, what makes a series. A
parameter that varies and that the declaration does not name makes series of its own, so that points of
different kinds are never joined by one line.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from . import svg
from .medians import Medians, Parameters, Place, Spread, as_number
from .points import LARGE_WRITE, SMALL_WRITE
from .units import metric_of, number, quantity, unit_for

# Contestants in the order of the page. The place is the style (colour and marker), everywhere the same.
ORDER = (
    "convoy adaptive",
    "convoy natural",
    "convoy fixed",
    "convoy off",
    "ovs-dpdk",
    "testpmd",
    "bridge+tap",
    "native",
    "model",
)
MODEL = "model"

# How a parameter is said beside its value.
WORDS = {
    "rule": "{}",
    "test": "{}",
    "size": "{} bytes",
    "flows": "{} flows",
    "k": "K = {}",
    "guests": "{} guests",
    "line": "{} line",
    "load": "load {} %",
    "arrivals": "{}",
    "step": "{}",
    "beside": "beside: {}",
    "streams": "{} streams",
    "write": "{} at a time",
    "workers": "{} workers",
    "direction": "{}",
    "place": "{}",
    "frames": "{}",
    "weight": "delay-weight {}",
    "t_us": "T = {} µs",
    "d_us": "D = {} µs",
    "change": "{}",
    "from": "from {} %",
    "to": "to {} %",
    "speed": "speed {}",
    "rate": "at {}/s",
    "receive": "guests {}",
}


@dataclass(frozen=True)
class Sample:
    """One point of a line."""

    place: Place
    x_text: str
    x: Spread | None  # None: a word
    y: Spread


@dataclass(frozen=True)
class Line:
    label: str
    contestant: str
    parameters: Parameters  # those that tell it from its contestant's other lines
    samples: list[Sample]

    @property
    def is_ours(self) -> bool:
        return self.contestant.startswith("convoy")

    @property
    def is_peer(self) -> bool:
        return self.contestant in ("ovs-dpdk", "testpmd", "bridge+tap")

    def at(self, x_text: str) -> Spread | None:
        return next((sample.y for sample in self.samples if sample.x_text == x_text), None)


@dataclass(frozen=True)
class Drawn:
    """What of the medians a plot shows."""

    plot: "Plot"
    facet: Parameters  # values of the plot's facets
    metric: str
    lines: list[Line]
    models: dict[Place, dict[str, Spread]]  # what the study has found of the model in this experiment

    @property
    def title(self) -> str:
        facet = [pair for pair in self.facet if pair[1]]
        texts = self.x_texts()
        if is_bars(self) and len(texts) == 1 and self.plot.kind == "lines":
            facet.append((self.plot.x, texts[0]))
        words = ", ".join(say_parameter(name, value) for name, value in facet)
        return self.plot.title + (f": {words}" if words else "")

    @property
    def name(self) -> str:
        """Names this plot within the page."""
        values = [value for _, value in self.facet if value]
        return "-".join([str(self.plot.experiment), self.plot.name, *values])

    @property
    def family(self) -> str:
        return metric_of(self.metric).family

    def say(self, value: float) -> str:
        return quantity(value, self.family)

    def x_texts(self) -> list[str]:
        """Every x of the plot's lines, in order."""
        return sorted({sample.x_text for line in self.lines for sample in line.samples}, key=sort_key)

    def runs(self) -> tuple[int, int]:
        counts = [sample.y.runs for line in self.lines for sample in line.samples if line.contestant != MODEL]
        return (min(counts), max(counts)) if counts else (0, 0)


@dataclass(frozen=True)
class Plot:
    """A plot as data."""

    experiment: int
    name: str
    title: str  # the facets' values are added
    sentence: str  # what it shows, on which axes, which is better
    x: str  # a parameter, or "metric:NAME"
    x_label: str
    y: tuple[str, ...]  # metrics; the first that was measured is drawn
    outcome: Callable[[Drawn], str]  # what came out, from the data
    kind: str = "lines"  # or "bars": x makes the groups
    facets: tuple[str, ...] = ()  # parameters of which each value gets a plot of its own
    where: tuple[
        tuple[str, Callable[[str], bool]], ...
    ] = ()  # parameter: is a value wanted; points without it pass
    contestants: tuple[str, ...] = ()  # wanted; none: all
    x_scale: str = "auto"  # "log", "linear"
    y_scale: str = "auto"
    guide: Callable[[Drawn], list[tuple[float, str]]] | None = None  # levels to hold values against


# Words whose order is not that of the alphabet.
FIRST_WORDS = (
    "none",
    "bulk",
    "other",
    "same",
    "flood",
    "stopped",
    "transmit",
    "receive",
    "native",
    "driver",
    "guest",
)
VALUES = {
    "frames": {"super": "super-packets", "1500": "1500-byte packets"},
    "receive": {"call": "wait for calls", "poll": "poll"},
    "load": {"max": "flat out"},
    "line": {"1gbit": "1 Gbit/s", "10gbit": "10 Gbit/s"},
    "test": {"rr": "ping-pong"},
    "write": {str(SMALL_WRITE): "128 KiB", str(LARGE_WRITE): "1 MiB"},
}


def sort_key(text: str) -> tuple[int, float, str]:
    """Numbers by value, then known words, then others; numbers inside words (T=50) count as numbers."""
    if text in FIRST_WORDS:
        return 1, FIRST_WORDS.index(text), text
    value = as_number(text)
    if value is not None:
        return 0, value, text
    return 2, 0.0, re.sub(r"\d+", lambda digits: digits[0].zfill(12), text)


def contestant_key(contestant: str) -> tuple[int, str]:
    return (ORDER.index(contestant) if contestant in ORDER else len(ORDER), contestant)


def say_parameter(name: str, value: str) -> str:
    """A parameter as words; of parameters joined by '+' the value says it all."""
    if "+" in name:
        return value
    if value == "1" and name in ("flows", "guests", "streams"):
        return f"1 {name[:-1]}"
    return WORDS.get(name, name + " {}").format(VALUES.get(name, {}).get(value, value)) if value else name


def is_wanted(plot: Plot, place: Place) -> bool:
    if place.experiment != plot.experiment:
        return False
    if plot.contestants and place.contestant not in plot.contestants:
        return False
    return all(
        not place.value(name) or is_wanted_value(place.value(name)) for name, is_wanted_value in plot.where
    )


def x_text_of(x: str, place: Place) -> str:
    """The value of a parameter, or the words of several (joined by '+')."""
    if "+" not in x:
        return place.value(x)
    return " ".join(say_parameter(name, place.value(name)) for name in x.split("+") if place.value(name))


def sample_of(plot: Plot, place: Place, metrics: dict[str, Spread], metric: str) -> Sample | None:
    """A place as a point of the plot; None where it has no such value."""
    if metric not in metrics:
        return None
    if plot.x.startswith("metric:"):
        x = metrics.get(plot.x.removeprefix("metric:"))
        return Sample(place, "", x, metrics[metric]) if x else None
    text = x_text_of(plot.x, place)
    if not text:
        return None
    value = as_number(text)
    x = None if value is None else Spread(value, value, value, 0)
    return Sample(place, text, x, metrics[metric])


def varying(samples: list[Sample], apart_from: Iterable[str]) -> list[str]:
    """Parameters that tell samples of one contestant apart."""
    found: dict[tuple[str, str], set[str]] = {}
    names = {name for sample in samples for name, _ in sample.place.parameters} - set(apart_from)
    for sample in samples:
        for name in names:
            found.setdefault((name, sample.place.contestant), set()).add(sample.place.value(name))
    return sorted({name for (name, _), values in found.items() if len(values) > 1})


def line_label(contestant: str, parameters: Parameters, is_alone: bool) -> str:
    words = ", ".join(
        say_parameter(name, value) for name, value in parameters if value and value != contestant
    )
    if is_alone and words and contestant != MODEL:
        return words
    return f"{contestant}, {words}" if words else contestant


def make_lines(plot: Plot, samples: list[Sample]) -> list[Line]:
    """Samples by contestant and by every parameter that is not the x."""
    # Over a metric, a line follows what is varied most (the load).
    along = plot.x if not plot.x.startswith("metric:") else "load"
    names = varying(samples, (*along.split("+"), *plot.facets))
    groups: dict[tuple[str, Parameters], list[Sample]] = {}
    for sample in samples:
        parameters = tuple((name, sample.place.value(name)) for name in names)
        groups.setdefault((sample.place.contestant, parameters), []).append(sample)
    is_alone = len({contestant for contestant, _ in groups if contestant != MODEL}) == 1
    order = sorted(groups, key=lambda key: (contestant_key(key[0]), [sort_key(value) for _, value in key[1]]))
    return [
        Line(
            line_label(contestant, parameters, is_alone),
            contestant,
            parameters,
            sorted(
                groups[contestant, parameters], key=lambda sample: sort_key(x_text_of(along, sample.place))
            ),
        )
        for contestant, parameters in order
    ]


def select(plot: Plot, medians: Medians) -> list[Drawn]:
    """What the plot shows of the medians, for each value of its facets; none where nothing was measured."""
    places = {place: metrics for place, metrics in medians.by_place.items() if is_wanted(plot, place)}
    for metric in plot.y:
        samples = [sample_of(plot, place, metrics, metric) for place, metrics in places.items()]
        found = [sample for sample in samples if sample]
        if any(sample.place.contestant != MODEL for sample in found):
            facets: dict[Parameters, list[Sample]] = {}
            for sample in found:
                facet = tuple((name, sample.place.value(name)) for name in plot.facets)
                facets.setdefault(facet, []).append(sample)
            order = sorted(facets, key=lambda facet: [sort_key(value) for _, value in facet])
            models = {
                place: metrics
                for place, metrics in medians.of_experiment(plot.experiment).items()
                if place.contestant == MODEL
            }
            return [Drawn(plot, facet, metric, make_lines(plot, facets[facet]), models) for facet in order]
    return []


def styles_of(lines: list[Line]) -> list[int]:
    """A contestant's own style where each has one line, else styles in turn; a model's is its subject's."""
    measured = [line for line in lines if line.contestant != MODEL]
    contestants = [line.contestant for line in measured]
    if len(set(contestants)) == len(contestants):
        styles = [contestant_key(contestant)[0] for contestant in contestants]
    else:
        styles = list(range(len(measured)))
    of_parameters = {
        line.parameters: style for line, style in zip(measured, styles, strict=True) if line.parameters
    }
    remaining = iter(styles)
    model = ORDER.index(MODEL)
    return [
        of_parameters.get(line.parameters, model) if line.contestant == MODEL else next(remaining)
        for line in lines
    ]


def spread_text(drawn: Drawn, spread: Spread) -> str:
    """A median with its spread, in one unit."""
    unit, divisor = unit_for(drawn.family, spread.median)
    low, high = number(spread.low / divisor), number(spread.high / divisor)
    runs = f"{spread.runs} run{'s' if spread.runs != 1 else ''}"
    return f"{number(spread.median / divisor)} {unit} ({low} to {high}, {runs})".replace("  ", " ")


def axis_title(metric: str, unit: str) -> str:
    """A metric as an axis names it."""
    known = metric_of(metric)
    arrow = {"higher": ", higher is better", "lower": ", lower is better", "zero": ", 0 is best"}.get(
        known.better, ""
    )
    return known.label + (f" [{unit}]" if unit else "") + arrow


def is_log(scale: str, values: list[float], decades: float) -> bool:
    if min(values) <= 0 or scale == "linear":
        return False
    return scale == "log" and max(values) > min(values) or max(values) / min(values) >= 10**decades


def draw_as_lines(drawn: Drawn, alone: bool) -> str:
    plot = drawn.plot
    samples = [sample for line in drawn.lines for sample in line.samples]
    ys = [value for sample in samples for value in (sample.y.low, sample.y.high, sample.y.median)]
    guides = plot.guide(drawn) if plot.guide else []
    y_is_log = is_log(plot.y_scale, ys + [level for level, _ in guides], 1.7)
    unit, divisor = unit_for(drawn.family, math.sqrt(min(ys) * max(ys)) if y_is_log else max(map(abs, ys)))
    is_parameter = not plot.x.startswith("metric:")
    x_metric = metric_of(plot.x.removeprefix("metric:"))
    xs = [value for sample in samples for value in (sample.x.low, sample.x.high)]
    x_unit, x_divisor = ("", 1.0) if is_parameter else unit_for(x_metric.family, max(xs))
    ticks = {sample.x.median: sample.x_text for sample in samples if sample.x_text} if is_parameter else {}
    x_axis = svg.Axis(
        plot.x_label if is_parameter else axis_title(plot.x.removeprefix("metric:"), x_unit),
        is_log(plot.x_scale, xs, 1.2),
        list(ticks.items()) if len(ticks) <= 24 else [],
        not is_parameter,
    )
    series = [
        svg.Series(
            line.label,
            style,
            [
                svg.Mark(
                    sample.x.median / x_divisor,
                    sample.y.median / divisor,
                    sample.y.low / divisor,
                    sample.y.high / divisor,
                    sample.x.low / x_divisor,
                    sample.x.high / x_divisor,
                    note_of(drawn, line, sample),
                )
                for sample in line.samples
            ],
            not line.is_ours,
            line.contestant == MODEL,
        )
        for line, style in zip(drawn.lines, styles_of(drawn.lines), strict=True)
    ]
    levels = [svg.Guide(level / divisor, text) for level, text in guides]
    return svg.draw_lines(
        drawn.title, x_axis, svg.Axis(axis_title(drawn.metric, unit), y_is_log), series, levels, alone
    )


def note_of(drawn: Drawn, line: Line, sample: Sample) -> str:
    where = ", ".join(say_parameter(name, value) for name, value in sample.place.parameters)
    return f"{line.contestant}, {where}: {spread_text(drawn, sample.y)}"


def draw_as_bars(drawn: Drawn, alone: bool) -> str:
    plot = drawn.plot
    samples = [sample for line in drawn.lines for sample in line.samples]
    values = [value for sample in samples for value in (sample.y.low, sample.y.high, sample.y.median)]
    log = is_log(plot.y_scale, values, 1.7)
    unit, divisor = unit_for(
        drawn.family, math.sqrt(min(values) * max(values)) if log else max(map(abs, values))
    )
    # Bars have their names beside them: the colour is the contestant's.
    styles = [contestant_key(line.contestant)[0] for line in drawn.lines]
    texts = drawn.x_texts()
    # One line alone needs no groups: what is on its x names the bars.
    is_flat = len(drawn.lines) == 1
    groups: dict[str, list[svg.Bar]] = {}
    for text in texts:
        words = say_parameter(plot.x, text)
        groups.setdefault("" if is_flat or len(texts) == 1 else words, []).extend(
            svg.Bar(
                words if is_flat and len(texts) > 1 else line.label,
                style,
                sample.y.median / divisor,
                sample.y.low / divisor,
                sample.y.high / divisor,
                drawn.say(sample.y.median),
                note_of(drawn, line, sample),
            )
            for line, style in zip(drawn.lines, styles, strict=True)
            for sample in line.samples
            if sample.x_text == text
        )
    return svg.draw_bars(
        drawn.title, svg.Axis(axis_title(drawn.metric, unit), log), list(groups.items()), alone
    )


def is_bars(drawn: Drawn) -> bool:
    """Lines need numbers on their x axis, and more than one; elsewhere bars are drawn."""
    if drawn.plot.kind == "bars":
        return True
    has_words = any(sample.x is None for line in drawn.lines for sample in line.samples)
    return has_words or (not drawn.plot.x.startswith("metric:") and len(drawn.x_texts()) == 1)


def draw(drawn: Drawn, alone: bool = False) -> str:
    """The plot as SVG."""
    return draw_as_bars(drawn, alone) if is_bars(drawn) else draw_as_lines(drawn, alone)
