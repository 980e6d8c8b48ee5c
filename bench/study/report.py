"""The report: python3 -m study.report DIR reads DIR/points.csv and DIR/machine.json, writes DIR/report.html.

The page stands alone: no scripts, nothing from a network, light or dark as the reader's system, and it
prints. It says nothing that is not in these two files. With --plot N --svg FILE one plot is written
as an SVG that stands alone; N is an experiment, or a plot's name such as 7-frontier.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from html import escape
from pathlib import Path

from . import ahead, svg
from .drawn import Drawn, contestant_key, draw, say_parameter, select, sort_key, spread_text
from .medians import Medians, Place, Spread, read_medians
from .outcomes import capital
from .plots import EXPERIMENTS, PLOTS, Experiment
from .units import metric_of, number, unit_for

USAGE_STATUS = 2

PAGE_CSS = """
body{margin:0;background:var(--back);color:var(--ink);font:16px/1.5 system-ui,'DejaVu Sans',sans-serif}
main{max-width:920px;margin:0 auto;padding:24px 20px 60px}
h1{font-size:30px;line-height:1.2;margin:8px 0}h2{font-size:23px;margin:48px 0 4px;padding-top:14px;
border-top:1px solid var(--grid)}h3{font-size:17px;margin:28px 0 4px}
p{margin:6px 0}a{color:var(--c0)}.quiet,figcaption .runs{color:var(--quiet)}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:14px;margin:8px 0}
th,td{padding:4px 10px 4px 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--grid)}
td.number,th.number{text-align:right;white-space:nowrap}.summary td,.summary th{padding-right:14px}
.verdict{font-weight:600;white-space:nowrap}
.holds::before{content:"\\2713\\a0"}.fails::before{content:"\\2717\\a0"}
.fails{color:var(--c4)}.holds{color:var(--c1)}
figure{margin:10px 0 22px}figure .wide svg{display:block;width:100%;min-width:620px;height:auto}
figcaption{font-size:15px}.came{border-left:4px solid var(--c0);padding-left:10px}
summary{cursor:pointer;color:var(--quiet);font-size:14px}
.note{border-left:4px solid var(--c5);padding:2px 12px;margin:12px 0}
code{font-size:14px;overflow-wrap:anywhere}
nav ol{columns:2;padding-left:24px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;font-size:14px}
dt{color:var(--quiet)}dd{margin:0;overflow-wrap:anywhere}
@media print{main{max-width:none}figure,tr{break-inside:avoid}nav{display:none}h2,h3{break-after:avoid}}
@media (max-width:600px){nav ol{columns:1}dl{grid-template-columns:1fr}}
"""

LATE_MAX = 0.01  # of what the generator sent: more is said below the plot


def text(words: object) -> str:
    """Words as they stand between tags; whatever they hold."""
    return escape("".join(letter for letter in str(words) if letter >= " "), quote=True)


def style_sheet() -> str:
    """Light unless the reader prefers dark; on paper always light."""
    dark = "@media screen and (prefers-color-scheme:dark){" + svg.theme_css(":root", True) + "}"
    return ":root{color-scheme:light dark}" + svg.theme_css(":root", False) + dark + svg.PLOT_CSS + PAGE_CSS


def table(head: Iterable[str], rows: Iterable[Iterable[str]], numbers_from: int, css: str = "") -> str:
    """A table of texts that are escaped already; columns from `numbers_from` on are set to the right."""

    def row(tag: str, cells: Iterable[str]) -> str:
        kind = ' class="number"'
        return (
            "<tr>"
            + "".join(
                f"<{tag}{kind if index >= numbers_from else ''}>{cell}</{tag}>"
                for index, cell in enumerate(cells)
            )
            + "</tr>"
        )

    name = f' class="{css}"' if css else ""
    body = "\n".join(row("td", cells) for cells in rows)
    return (
        f'<div class="wide"><table{name}><thead>{row("th", head)}</thead><tbody>{body}</tbody></table></div>'
    )


# --- the top of the page ------------------------------------------------------------------------------

FACTS = (
    ("command", "Command"),
    ("kind", "Study"),
    ("date", "Begun"),
    ("written", "Ended"),
    ("processor", "Processor"),
    ("cores", "Processors"),
    ("memory_bytes", "Memory"),
    ("kernel", "Kernel"),
    ("system", "System"),
    ("switch_processor", "Processor of the switch"),
    ("guest_processors", "Processors of the guests"),
    ("shared_cores", "Processors that share the switch's core"),
    ("watch", "Whether the host moved them"),
    ("runs", "Runs"),
    ("seconds", "Seconds of one measurement"),
    ("warm_up", "Seconds of warm-up"),
    ("versions", "Versions"),
    ("features", "Features negotiated"),
    ("peers", "Peers that took part"),
    ("missing", "Peers missing"),
    ("failed", "Left out on the way"),
    ("experiments", "Experiments asked for"),
    ("done", "Experiments done"),
    ("build_id", "Build"),
)


def say_fact(name: str, value: object) -> str:
    """A value of machine.json as HTML."""
    if name == "memory_bytes" and isinstance(value, int | float):
        unit, divisor = unit_for("bytes", value)
        return text(f"{number(value / divisor)} {unit}")
    if name == "command":
        return f"<code>{text(value)}</code>"
    if isinstance(value, dict):
        return "<br/>".join(f"{text(key)}: {say_fact('', inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(say_fact("", inner) for inner in value) or "none"
    return text(value)


def facts_list(facts: dict) -> str:
    """The machine and how the study was made; what the file holds beyond what is known here comes last."""
    known = dict(FACTS)
    names = [name for name, _ in FACTS if name in facts] + [name for name in facts if name not in known]
    items = [
        f"<dt>{text(known.get(name, name.replace('_', ' ')))}</dt><dd>{say_fact(name, facts[name])}</dd>"
        for name in names
        if facts[name] not in (None, "")
    ]
    if not items:
        return '<p class="note">Nothing is known of the machine: machine.json is missing.</p>'
    return "<dl>" + "\n".join(items) + "</dl>"


def peers_sentence(medians: Medians, facts: dict) -> str:
    """Which peers there are figures of; those that are missing are named, with the reason if it is known."""
    missing = facts.get("missing")
    reasons = missing if isinstance(missing, dict) else {}
    absent = [name for name in ahead.PEERS if name not in medians.contestants()]
    if not absent:
        return "Every peer was measured."
    said = [name + (f" ({reasons[name]})" if reasons.get(name) else "") for name in absent]
    return "Not measured, and so not compared with: " + "; ".join(said) + "."


def summary_table(medians: Medians) -> str:
    kinds = {ahead.HOLDS: "holds", ahead.FAILS: "fails", ahead.OPEN: "open", ahead.ONE_RUN: "open"}

    def ours(row: ahead.Row) -> str:
        said = text(row.ours.text) if row.ours else "not measured"
        return said + (
            f'<br/><span class="quiet">{text(row.default.text)} (default)</span>' if row.default else ""
        )

    rows = [
        (
            text(row.work),
            ours(row),
            text(row.peer.text) if row.peer else "not measured",
            text(row.ratio) or "–",
            text(row.target),
            f'<span class="verdict {kinds[row.verdict]}">{row.verdict}</span>'
            + (f'<br/><span class="quiet">{text(row.why)}</span>' if row.why else ""),
        )
        for row in ahead.rows(medians)
    ]
    head = ("Work", "Our best mode", "Best peer", "Ratio", "Target", "Holds?")
    return table(head, rows, len(head), "summary")


def runs_sentence(medians: Medians, facts: dict) -> str:
    counts = {spread.runs for metrics in medians.by_place.values() for spread in metrics.values()}
    if not counts:
        return "There are no points."
    low, high = min(counts), max(counts)
    runs = f"{high} run{'s' if high != 1 else ''}" if low == high else f"{low} to {high} runs"
    quick = facts.get("kind") == "quick"
    kind = " This was a quick study, with few points and short runs: good for a first look." if quick else ""
    return (
        f"Every figure is a median of {runs}; bars and bands go from the least to the most of the runs.{kind}"
    )


# --- sections -----------------------------------------------------------------------------------------


def say_runs(drawn: Drawn) -> str:
    low, high = drawn.runs()
    runs = f"{high} run{'s' if high != 1 else ''}" if low == high else f"{low} to {high} runs"
    return f"Medians of {runs}."


def plot_table(drawn: Drawn) -> str:
    """What the plot shows, in figures."""
    rows = [
        [text(line.label), text(where_of(drawn, sample)), text(spread_text(drawn, sample.y))]
        for line in drawn.lines
        for sample in line.samples
    ]
    metric = metric_of(drawn.metric).label
    return (
        "<details><summary>The medians of this plot</summary>"
        + table(("", "At", text(metric) + ": median (least to most)"), rows, 2)
        + "</details>"
    )


def where_of(drawn: Drawn, sample) -> str:
    if sample.x_text:
        return say_parameter(drawn.plot.x, sample.x_text)
    known = {"load": sample.place.value("load")}
    x = metric_of(drawn.plot.x.removeprefix("metric:"))
    unit, divisor = unit_for(x.family, sample.x.median)
    load = say_parameter("load", known["load"]) + ", " if known["load"] else ""
    return f"{load}{x.label} {number(sample.x.median / divisor)} {unit}".strip()


def notes_of(drawn: Drawn, medians: Medians) -> list[str]:
    """What else has to be known of how the points of a plot were measured."""
    said = []
    found: dict[Place, tuple[str, dict[str, Spread]]] = {}
    for line in drawn.lines:
        for sample in line.samples:
            words = f"{line.label}, {where_of(drawn, sample)}"
            found[sample.place] = (words, medians.by_place.get(sample.place, {}))
    late = [
        f"{words} ({100 * metrics['late'].median:.1f} %)"
        for words, metrics in found.values()
        if "late" in metrics and metrics["late"].median > LATE_MAX
    ]
    if late and drawn.metric.startswith(("delay", "jitter")):
        said.append(
            "The generator was late with more than 1 % of what it sent, and its own delay is in these:"
            f" {'; '.join(late)}."
        )
    shares = [
        metrics["shares_processor"].median
        for _, metrics in found.values()
        if "shares_processor" in metrics
    ]
    if any(shares):
        said.append(
            "On this machine the quiet guest and those beside it shared a processor: what they take from each"
            " other there is in these figures."
        )
    return said


def figure(drawn: Drawn, medians: Medians) -> str:
    came = capital(drawn.plot.outcome(drawn))
    sentence = " ".join((drawn.plot.sentence, *notes_of(drawn, medians)))
    said = f'<p class="came">{text(came)}</p>' if came else ""
    return (
        f'<figure id="plot-{text(drawn.name.replace(" ", "_"))}"><h3>{text(drawn.title)}</h3>'
        f'<div class="wide">{draw(drawn)}</div>'
        f'<figcaption><p>{text(sentence)} <span class="runs">{say_runs(drawn)}</span></p>{said}'
        f"</figcaption>{plot_table(drawn)}</figure>"
    )


def all_medians(places: dict[Place, dict[str, Spread]]) -> str:
    """Everything that was measured in an experiment, plots or not."""
    metrics = sorted({metric for found in places.values() for metric in found})
    order = sorted(
        places,
        key=lambda place: (
            contestant_key(place.contestant),
            [sort_key(value) for _, value in place.parameters],
        ),
    )
    rows = [
        [
            text(place.contestant),
            text(" ".join(f"{name}={value}" for name, value in place.parameters)),
            *(number(places[place][metric].median) if metric in places[place] else "" for metric in metrics),
        ]
        for place in order
    ]
    head = ("Contestant", "Parameters", *(text(metric) for metric in metrics))
    return (
        "<details><summary>All medians of this experiment, as points.csv names them</summary>"
        + table(head, rows, 2)
        + "</details>"
    )


def section(experiment: Experiment, medians: Medians) -> str:
    parts = [
        f'<section id="experiment-{experiment.number}"><h2>{experiment.number}. {text(experiment.title)}</h2>'
        f'<p class="quiet">{text(experiment.question)}</p>'
    ]
    places = medians.of_experiment(experiment.number)
    if not places:
        parts.append('<p class="note">Not measured in this study.</p>')
    else:
        absent = []
        for plot in PLOTS:
            if plot.experiment == experiment.number:
                found = select(plot, medians)
                parts += [figure(drawn, medians) for drawn in found]
                absent += [] if found else [plot.title]
        if absent:
            parts.append(f'<p class="quiet">Not measured, and so not drawn: {text("; ".join(absent))}.</p>')
        parts.append(all_medians(places))
    return "\n".join(parts) + "</section>"


def page(medians: Medians, facts: dict) -> str:
    """The whole report."""
    contents = "".join(
        f'<li><a href="#experiment-{one.number}">{text(one.title)}</a></li>' for one in EXPERIMENTS
    )
    unread = (
        f'<p class="note">{medians.unread} lines of points.csv could not be read.</p>'
        if medians.unread
        else ""
    )
    return "\n".join(
        [
            (
                '<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml" lang="en"'
                ' xml:lang="en"><head><meta charset="utf-8"/><meta name="viewport"'
                ' content="width=device-width, initial-scale=1"/><title>Convoy: the'
                f" study</title><style>{style_sheet()}</style></head><body><main>"
            ),
            "<h1>Convoy: the study</h1>",
            f"<p>{text(runs_sentence(medians, facts))} {text(peers_sentence(medians, facts))}</p>{unread}",
            '<h2 id="ahead">Ahead of every peer?</h2>',
            summary_table(medians),
            '<h2 id="machine">The machine, and how this was made</h2>',
            facts_list(facts),
            f"<nav><h2>Experiments</h2><ol>{contents}</ol></nav>",
            *(section(experiment, medians) for experiment in EXPERIMENTS),
            "</main></body></html>\n",
        ]
    )


# --- the command line ---------------------------------------------------------------------------------


def read_facts(path: Path) -> dict:
    """machine.json; nothing where there is none, or where it is no object."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def write_whole(path: Path, content: str) -> None:
    """All of the file or nothing: whoever looks while it is written sees the one before."""
    part = path.with_name(path.name + ".part")
    part.write_text(content, encoding="utf-8")
    part.replace(path)


def find_plot(medians: Medians, wanted: str) -> Drawn | None:
    """A plot by its name (7-frontier), the first whose name starts so, or the first of an experiment (7)."""
    drawn = [one for plot in PLOTS for one in select(plot, medians)]
    for is_it in (
        lambda name: name == wanted,
        lambda name: name.startswith(wanted + "-"),
    ):
        found = next((one for one in drawn if is_it(one.name)), None)
        if found:
            return found
    return None


def fail(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return USAGE_STATUS


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m study.report", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="with points.csv and machine.json")
    parser.add_argument("--plot", metavar="N", help="one plot only: an experiment, or a plot's name")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="where to write that plot")
    asked = parser.parse_args(words)
    if bool(asked.plot) != bool(asked.svg):
        parser.error("--plot and --svg go together")
    try:
        medians = read_medians(asked.folder / "points.csv")
        if asked.plot:
            drawn = find_plot(medians, asked.plot)
            if not drawn:
                return fail(f"{asked.folder}/points.csv holds nothing that plot {asked.plot} shows")
            write_whole(asked.svg, draw(drawn, alone=True) + "\n")
        else:
            write_whole(
                asked.folder / "report.html", page(medians, read_facts(asked.folder / "machine.json"))
            )
    except OSError as error:
        return fail(f"{error.filename}: {error.strerror}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
