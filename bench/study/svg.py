"""Plots as SVG text: lines with markers over two axes, and bars that lie.

Nothing here knows what is measured. Colours come from the style sheet (PLOT_CSS with one of the
themes), so that a plot inside a page follows the reader's light or dark. A series is told from
another by colour, by marker and by its label at the end of its line, so that it reads in grey too.
"""

import math
from dataclasses import dataclass, field
from html import escape

WIDTH = 820
FONT = 13
CHARACTER = 8.0  # width of a character at that size, wide fonts included
LABEL_MAX = 34  # characters
LINE_HEIGHT = 17

# For readers who see colours differently: the hues of Okabe and Ito, darker or lighter so that each
# stands out from its background (3 to 1 and more).
COLOURS_LIGHT = [
    "#0063a6",
    "#00755a",
    "#2f86b5",
    "#6e6e6e",
    "#b84700",
    "#8f6a00",
    "#a13f78",
    "#303030",
    "#7a4fb0",
]
COLOURS_DARK = [
    "#58aef0",
    "#2fc49b",
    "#9bd3f5",
    "#a9a9a9",
    "#ff8a4a",
    "#e8b530",
    "#e58dbd",
    "#e6e6e6",
    "#bd9bf0",
]
BACKGROUND_LIGHT = "#ffffff"
BACKGROUND_DARK = "#16181c"


def theme_css(selector: str, dark: bool) -> str:
    """The colours of one theme as CSS variables."""
    colours = COLOURS_DARK if dark else COLOURS_LIGHT
    words = [f"--c{index}:{colour}" for index, colour in enumerate(colours)]
    if dark:
        words += [
            f"--back:{BACKGROUND_DARK}",
            "--ink:#e8e8e8",
            "--quiet:#b0b4ba",
            "--grid:#34383f",
            "--axis:#8a9099",
        ]
    else:
        words += [
            f"--back:{BACKGROUND_LIGHT}",
            "--ink:#1b1b1b",
            "--quiet:#555b63",
            "--grid:#e3e5e8",
            "--axis:#80868f",
        ]
    return selector + "{" + ";".join(words) + "}"


PLOT_CSS = (
    ".plot text{font:13px system-ui,'DejaVu Sans',sans-serif;fill:var(--ink)}.plot"
    " .quiet{fill:var(--quiet)}.plot .head{font-weight:600}.plot"
    " .halo{paint-order:stroke;stroke:var(--back);stroke-width:5px}.plot .bar{opacity:.82}.plot"
    " .title{font-size:16px;font-weight:600}.plot .grid{stroke:var(--grid);stroke-width:1}.plot"
    " .axis{stroke:var(--axis);stroke-width:1}.plot"
    " .guide{stroke:var(--ink);stroke-width:1.3;stroke-dasharray:2 4;fill:none}.plot"
    " .line{fill:none;stroke-width:2;stroke-linejoin:round}.plot .dash{stroke-dasharray:7 4}.plot"
    " .curve{fill:none;stroke-width:1.6;stroke-dasharray:2 3}.plot .whisker{stroke-width:1.3;fill:none}.plot"
    " .band{opacity:.13;stroke:none}.plot .leader{stroke-width:1;fill:none;opacity:.45}.plot"
    " .open{fill:var(--back)}.plot .back{fill:var(--back)}"
    + "".join(
        f".plot .s{index}{{stroke:var(--c{index})}}.plot .f{index}{{fill:var(--c{index})}}"
        for index in range(len(COLOURS_LIGHT))
    )
)


@dataclass(frozen=True)
class Mark:
    """A point: medians, and how far the runs lie apart."""

    x: float
    y: float
    y_low: float
    y_high: float
    x_low: float
    x_high: float
    note: str  # shown when pointed at


@dataclass(frozen=True)
class Series:
    label: str
    style: int  # colour and marker
    marks: list[Mark]
    is_dashed: bool = False
    is_curve: bool = False  # a model's: no markers


@dataclass(frozen=True)
class Axis:
    label: str
    is_log: bool = False
    ticks: list[tuple[float, str]] = field(default_factory=list)  # empty: round numbers
    is_from_zero: bool = True


@dataclass(frozen=True)
class Guide:
    """A level that values are held against."""

    y: float
    label: str


@dataclass(frozen=True)
class Bar:
    label: str
    style: int
    value: float
    low: float
    high: float
    text: str  # the value, written
    note: str


@dataclass(frozen=True)
class Scale:
    """From values to places on the page."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool

    def at(self, value: float) -> float:
        if self.is_log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def text_width(text: str) -> float:
    return len(text) * CHARACTER


def shorten(text: str) -> str:
    return text if len(text) <= LABEL_MAX else text[: LABEL_MAX - 1] + "…"


def write(x: float, y: float, text: str, anchor: str = "start", css: str = "") -> str:
    """A piece of text; what it says is escaped."""
    kind = f' class="{css}"' if css else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(text)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>'


def polygon(points: list[tuple[float, float]], css: str) -> str:
    return f'<polygon points="{places(points)}" class="{css}"/>'


def places(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def marker(x: float, y: float, style: int, size: float = 4.5) -> str:
    """One of twelve shapes in one of the colours: the pairs repeat late."""
    shape, colour = style % 12, style % len(COLOURS_LIGHT)
    css = f"s{colour} f{colour}" if shape < 8 else f"s{colour} open"
    s = size
    if shape in (0, 8):
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{s:.1f}" class="{css}"/>'
    if shape == 5:
        return (
            f'<path d="M{x - s:.1f},{y - s:.1f}l{2 * s},{2 * s}m0,{-2 * s}l{-2 * s},{2 * s}" class="{css}"'
            ' stroke-width="2.4"/>'
        )
    if shape == 6:
        return (
            f'<path d="M{x - s:.1f},{y:.1f}h{2 * s}M{x:.1f},{y - s:.1f}v{2 * s}" class="{css}"'
            ' stroke-width="2.4"/>'
        )
    corners = {
        1: [(-s, -s), (s, -s), (s, s), (-s, s)],
        2: [(0, -s * 1.2), (s * 1.1, s * 0.9), (-s * 1.1, s * 0.9)],
        3: [(0, -s * 1.3), (s * 1.3, 0), (0, s * 1.3), (-s * 1.3, 0)],
        4: [(0, s * 1.2), (s * 1.1, -s * 0.9), (-s * 1.1, -s * 0.9)],
        7: [(-s * 1.2, -s * 0.5), (s * 1.2, -s * 0.5), (s * 1.2, s * 0.5), (-s * 1.2, s * 0.5)],
    }[shape if shape < 8 else shape - 8]
    return polygon([(x + dx, y + dy) for dx, dy in corners], css)


def round_ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between both."""
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, and 2 and 5 times them where there is room."""
    decades = math.log10(high / low)
    factors = (1, 2, 5) if decades <= 3 else (1,)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [factor * 10.0**exponent for exponent in exponents for factor in factors]
    return [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]


def tick_text(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 1e7 or abs(value) < 1e-4:
        return f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-")
    if abs(value) >= 10000:
        return f"{value:,.0f}"
    return f"{value:.6g}"


def make_scale(values: list[float], axis: Axis, start: float, end: float, margin: float) -> Scale:
    """A scale that holds all values with a margin (of the length, 0 to 1)."""
    low, high = min(values), max(values)
    if axis.is_log:
        room = max((high / low) ** margin, 1.12)
        return Scale(low / room, high * room, start, end, True)
    if axis.is_from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high == low:
        high = low + 1
    room = (high - low) * margin
    bottom = low if low == 0 and axis.is_from_zero else low - room
    return Scale(bottom, high if high == 0 and low < 0 else high + room, start, end, False)


def axis_ticks(axis: Axis, scale: Scale) -> list[tuple[float, str]]:
    if axis.ticks:
        return axis.ticks
    values = log_ticks(scale.low, scale.high) if axis.is_log else round_ticks(scale.low, scale.high)
    return [(value, tick_text(value)) for value in values]


def thin_ticks(ticks: list[tuple[float, str]], scale: Scale) -> list[tuple[float, str]]:
    """Leaves out ticks whose text would touch that of a neighbour; the last one stays."""
    kept: list[tuple[float, str]] = []
    for tick in sorted(ticks, reverse=True):
        right = scale.at(tick[0]) + text_width(tick[1]) / 2
        if not kept or right + 6 <= scale.at(kept[-1][0]) - text_width(kept[-1][1]) / 2:
            kept.append(tick)
    return kept[::-1]


def spread_labels(wanted: list[float], top: float, bottom: float) -> list[float]:
    """Places near the wanted ones, in their order, a line apart and between top and bottom if they fit."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    gap = min(LINE_HEIGHT, (bottom - top) / max(len(wanted) - 1, 1))
    placed: list[float] = []
    for position, index in enumerate(order):
        least = placed[-1] + gap if placed else top
        most = bottom - gap * (len(order) - 1 - position)
        placed.append(min(max(wanted[index], least), most))
    # The second way, upwards: a label that had to move down draws those above it no further than needed.
    result = [0.0] * len(wanted)
    for position in range(len(order) - 1, -1, -1):
        result[order[position]] = placed[position]
    return result


def open_svg(height: float, title: str, alone: bool) -> list[str]:
    """The start of a plot; one that stands alone brings its style, its background and its title."""
    name = escape(title, quote=True)
    space = ' xmlns="http://www.w3.org/2000/svg"'
    if not alone:
        return [
            f'<svg{space} class="plot" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{name}">'
        ]
    css = (
        theme_css(".plot", False)
        + PLOT_CSS
        + "@media screen and (prefers-color-scheme:dark){"
        + theme_css(".plot", True)
        + "}"
    )
    return [
        (
            f'<svg{space} class="plot" viewBox="0 -34 {WIDTH} {height + 34:.0f}" width="{WIDTH}" '
            f'height="{height + 34:.0f}" role="img" aria-label="{name}">'
        ),
        f"<style>{css}</style>",
        f'<rect x="0" y="-34" width="{WIDTH}" height="{height + 34:.0f}" rx="8" class="back"/>',
        write(14, -10, title, css="title"),
    ]


@dataclass(frozen=True)
class Frame:
    """The plot's inner rectangle and its scales."""

    left: float
    right: float
    top: float
    bottom: float
    x: Scale
    y: Scale


def draw_axes(frame: Frame, x_axis: Axis, y_axis: Axis) -> list[str]:
    parts = [write(4, 16, y_axis.label, css="head")]
    for value, text in axis_ticks(y_axis, frame.y):
        y = frame.y.at(value)
        parts.append(line(frame.left, y, frame.right, y, "grid"))
        parts.append(write(frame.left - 8, y + 4.5, text, "end", "quiet"))
    for value, text in thin_ticks(axis_ticks(x_axis, frame.x), frame.x):
        x = frame.x.at(value)
        parts.append(line(x, frame.bottom, x, frame.bottom + 5, "axis"))
        parts.append(write(x, frame.bottom + 20, text, "middle", "quiet"))
    parts.append(line(frame.left, frame.bottom, frame.right, frame.bottom, "axis"))
    parts.append(write((frame.left + frame.right) / 2, frame.bottom + 42, x_axis.label, "middle", "head"))
    return parts


def draw_series(series: Series, frame: Frame, with_band: bool) -> list[str]:
    colour = series.style % len(COLOURS_LIGHT)
    points = [(frame.x.at(mark.x), frame.y.at(mark.y)) for mark in series.marks]
    if series.is_curve:
        return [f'<polyline points="{places(points)}" class="curve s{colour}"/>'] + [
            marker_note(series, frame)
        ]
    parts = []
    if with_band and len(points) > 1:
        above = [(frame.x.at(mark.x), frame.y.at(mark.y_high)) for mark in series.marks]
        below = [(frame.x.at(mark.x), frame.y.at(mark.y_low)) for mark in reversed(series.marks)]
        parts.append(polygon(above + below, f"band f{colour}"))
    dash = " dash" if series.is_dashed else ""
    parts.append(f'<polyline points="{places(points)}" class="line{dash} s{colour}"/>')
    for mark in series.marks:
        parts += draw_mark(mark, series, frame)
    return parts


def marker_note(series: Series, frame: Frame) -> str:
    """What a curve says when pointed at."""
    points = [(frame.x.at(mark.x), frame.y.at(mark.y)) for mark in series.marks]
    return (
        f'<polyline points="{places(points)}" fill="none" stroke="none" stroke-width="10" '
        f'pointer-events="stroke"><title>{escape(series.label)}</title></polyline>'
    )


def draw_mark(mark: Mark, series: Series, frame: Frame) -> list[str]:
    """Marker and whiskers; a spread that would be hidden by the marker draws none."""
    colour = series.style % len(COLOURS_LIGHT)
    x, y = frame.x.at(mark.x), frame.y.at(mark.y)
    parts = ["<g><title>" + escape(mark.note) + "</title>"]
    top, bottom = frame.y.at(mark.y_high), frame.y.at(mark.y_low)
    if bottom - top > 3:
        parts.append(line(x, top, x, bottom, f"whisker s{colour}"))
        parts.append(line(x - 4, top, x + 4, top, f"whisker s{colour}"))
        parts.append(line(x - 4, bottom, x + 4, bottom, f"whisker s{colour}"))
    left, right = frame.x.at(mark.x_low), frame.x.at(mark.x_high)
    if right - left > 3:
        parts.append(line(left, y, right, y, f"whisker s{colour}"))
    parts.append(marker(x, y, series.style))
    parts.append("</g>")
    return parts


def draw_labels(series: list[Series], frame: Frame) -> list[str]:
    """Labels beside the ends of the series, apart from each other, with thin lines to ends at the right."""
    ends = [(frame.x.at(one.marks[-1].x), frame.y.at(one.marks[-1].y)) for one in series]
    heights = spread_labels(
        [y for _, y in ends], frame.top - 4, max(frame.bottom, needed_bottom(series, frame.top))
    )
    parts = []
    x = frame.right + 22
    near = frame.right - (frame.right - frame.left) * 0.12
    for one, (end_x, end_y), y in zip(series, ends, heights, strict=True):
        colour = one.style % len(COLOURS_LIGHT)
        if end_x >= near:
            parts.append(
                f'<polyline points="{places([(end_x, end_y), (x - 10, y)])}" class="leader s{colour}"/>'
            )
        if one.is_curve:
            parts.append(line(x - 8, y, x + 6, y, f"curve s{colour}"))
        else:
            parts.append(marker(x, y, one.style))
        parts.append(write(x + 12, y + 4.5, shorten(one.label)))
    return parts


def needed_bottom(series: list[Series], top: float) -> float:
    return top + (len(series) - 1) * LINE_HEIGHT


def draw_lines(
    title: str,
    x_axis: Axis,
    y_axis: Axis,
    series: list[Series],
    guides: list[Guide] | None = None,
    alone: bool = False,
) -> str:
    """Lines with markers over two axes. Values of a log axis must be above zero; every series has a mark."""
    guides = guides or []
    marks = [mark for one in series for mark in one.marks]
    label_width = max(text_width(shorten(one.label)) for one in series)
    left, top, right = 74.0, 40.0, WIDTH - label_width - 44
    bottom = max(340.0, needed_bottom(series, top))
    ys = [y for mark in marks for y in (mark.y_low, mark.y_high, mark.y)] + [guide.y for guide in guides]
    xs = [x for mark in marks for x in (mark.x_low, mark.x_high, mark.x)]
    frame = Frame(
        left,
        right,
        top,
        bottom,
        make_scale(xs, x_axis, left + 6, right - 6, 0.02),
        make_scale(ys, y_axis, bottom, top, 0.05),
    )
    parts = open_svg(bottom + 56, title, alone) + draw_axes(frame, x_axis, y_axis)
    for guide in guides:
        y = frame.y.at(guide.y)
        parts.append(line(left, y, right, y, "guide"))
        parts.append(write(left + 6, y - 6, guide.label, css="quiet halo"))
    for one in series:
        parts += draw_series(one, frame, len(series) <= 5)
    parts += draw_labels(series, frame) + ["</svg>"]
    return "\n".join(parts)


def bar_row(bar: Bar, y: float, scale: Scale, is_dots: bool, left: float) -> list[str]:
    """One bar, or one marker where the axis is in decades, with its spread and its value."""
    colour = bar.style % len(COLOURS_LIGHT)
    at, low, high = scale.at(bar.value), scale.at(bar.low), scale.at(bar.high)
    zero = left if is_dots else scale.at(0)
    parts = ["<g><title>" + escape(bar.note) + "</title>"]
    parts.append(write(left - 10, y + 4.5, shorten(bar.label), "end"))
    if is_dots:
        parts.append(line(left, y, at, y, "grid"))
    else:
        parts.append(
            f'<rect x="{min(zero, at):.1f}" y="{y - 8:.1f}" width="{max(abs(at - zero), 1):.1f}" height="16" '
            f'class="bar f{colour}"/>'
        )
    if high - low > 2:
        css = "axis" if not is_dots else f"whisker s{colour}"
        parts.append(line(low, y, high, y, css))
        parts.append(line(low, y - 5, low, y + 5, css) + line(high, y - 5, high, y + 5, css))
    if is_dots:
        parts.append(marker(at, y, bar.style))
    parts.append(write(max(high, at, zero) + 10, y + 4.5, bar.text, css="halo"))
    parts.append("</g>")
    return parts


def draw_bars(title: str, axis: Axis, groups: list[tuple[str, list[Bar]]], alone: bool = False) -> str:
    """Bars that lie, in groups with a heading each; on a log axis markers, for a bar has no length there."""
    bars = [bar for _, members in groups for bar in members]
    left = max(text_width(shorten(bar.label)) for bar in bars) + 20
    right = WIDTH - max(text_width(bar.text) for bar in bars) - 24
    values = [value for bar in bars for value in (bar.low, bar.high, bar.value)]
    scale = make_scale(values, axis, left, right, 0.03)
    parts: list[str] = []
    y = 40.0
    for heading, members in groups:
        if heading:
            parts.append(write(12, y + 4, heading, css="head halo"))
            y += 26
        for bar in members:
            parts += bar_row(bar, y, scale, axis.is_log, left)
            y += 24
        y += 10
    bottom = y - 8
    ticks = []
    for value, text in thin_ticks(axis_ticks(axis, scale), scale):
        x = scale.at(value)
        ticks.append(line(x, 24, x, bottom, "grid"))
        ticks.append(write(x, bottom + 18, text, "middle", "quiet"))
    ticks.append(
        line(left if axis.is_log else scale.at(0), 24, left if axis.is_log else scale.at(0), bottom, "axis")
    )
    ticks.append(write((left + right) / 2, bottom + 40, axis.label, "middle", "head"))
    return "\n".join(open_svg(bottom + 52, title, alone) + ticks + parts + ["</svg>"])
