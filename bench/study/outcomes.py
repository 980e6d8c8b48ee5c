"""What came out, as a sentence computed from what a plot shows. Nothing is said where the figures lack.

Each function takes a Drawn and answers a sentence, or an empty string.
"""

from .drawn import MODEL, Drawn, Line, Sample, say_parameter
from .medians import as_number
from .units import metric_of, number, quantity


def best_of(lines: list[Line], x_text: str, better: str) -> tuple[Line, float] | None:
    """The line with the best median there, and that."""
    found = [(line, spread.median) for line in lines if (spread := line.at(x_text))]
    if not found:
        return None
    return (min if better == "lower" else max)(found, key=lambda pair: pair[1])


def times(value: float, other: float) -> str:
    return f"{number(value / other)} times" if other else "not comparable with"


def better_of(drawn: Drawn) -> str:
    return metric_of(drawn.metric).better or "higher"


def verdict(value: float, other: float, better: str) -> str:
    if value == other:
        return "level"
    return "ahead" if (value > other) == (better == "higher") else "behind"


def best_at(drawn: Drawn, x_text: str) -> str:
    """Ours against the best peer at one x."""
    better = better_of(drawn)
    ours = best_of([line for line in drawn.lines if line.is_ours], x_text, better)
    peer = best_of([line for line in drawn.lines if line.is_peer], x_text, better)
    where = say_parameter(drawn.plot.x, x_text)
    if not ours:
        return ""
    said = f"{capital(where)}: {ours[0].label} has {drawn.say(ours[1])}"
    if not peer:
        return said + ", the best of what was measured; no peer was."
    ratio = times(ours[1], peer[1])
    state = verdict(ours[1], peer[1], better)
    return f"{said}, {ratio} the {drawn.say(peer[1])} of {peer[0].label}, the best peer: {state}."


def near(drawn: Drawn, wanted: tuple[str, ...]) -> str:
    """The first of the wanted x that was measured for us, else the largest."""
    measured = {sample.x_text for line in drawn.lines if line.is_ours for sample in line.samples}
    texts = [text for text in drawn.x_texts() if text in measured]
    return next((text for text in wanted if text in texts), texts[-1] if texts else "")


def best_at_one(*wanted: str):
    """An outcome: ours against the best peer at the first wanted x that was measured."""
    return lambda drawn: best_at(drawn, near(drawn, wanted))


def best_everywhere(drawn: Drawn) -> str:
    """For bars: ours against the best peer in every group."""
    return " ".join(filter(None, (best_at(drawn, text) for text in drawn.x_texts())))


def share_of_native(drawn: Drawn) -> str:
    """The classic table: what a guest has of native."""
    said = []
    for text in drawn.x_texts():
        native = best_of([line for line in drawn.lines if line.contestant == "native"], text, "higher")
        guests = [line for line in drawn.lines if line.contestant != "native" and is_guest(line)]
        ours = best_of([line for line in guests if line.is_ours], text, better_of(drawn))
        peer = best_of([line for line in guests if line.is_peer], text, better_of(drawn))
        shares = [
            f"{line.label} has {number(100 * value / native[1])} % of native"
            for line, value in filter(None, (ours, peer))
            if native and native[1]
        ]
        if shares:
            said.append(f"{capital(say_parameter(drawn.plot.x, text))}: " + ", ".join(shares) + ".")
    return " ".join(said)


def guests_and_native(drawn: Drawn) -> str:
    """What guests and the host itself have, without a judgement."""
    said = []
    for text in drawn.x_texts():
        found = [
            (line, spread.median) for line in drawn.lines if is_guest(line) and (spread := line.at(text))
        ]
        native = [
            (line, spread.median)
            for line in drawn.lines
            if line.contestant == "native" and (spread := line.at(text))
        ]
        words = ", ".join(f"{line.label} {drawn.say(value)}" for line, value in found + native)
        if words:
            said.append(f"{capital(say_parameter(drawn.plot.x, text))}: {words}.")
    return " ".join(said)


def is_guest(line: Line) -> bool:
    return dict(line.parameters).get("place", "guest") == "guest"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def convoy_effect(drawn: Drawn) -> str:
    """What the size of a convoy brings, and the costs that the study has found."""
    said = []
    for line in drawn.lines:
        if not line.is_ours or len(line.samples) < 2:
            continue
        first, last = line.samples[0], line.samples[-1]
        effect = (
            f"{capital(line.label)}: convoys of {last.x_text} carry"
            f" {times(last.y.median, first.y.median)} what convoys of {first.x_text} carry"
        )
        said.append("; ".join(filter(None, (effect, say_costs(drawn, line)))) + ".")
    return " ".join(said)


def say_costs(drawn: Drawn, line: Line) -> str:
    """c0 and c1 as the study has stored them for the line, from the points at which the switch was busy."""
    here = set(line.samples[0].place.parameters)
    for place, metrics in drawn.models.items():
        if {"c0_ns", "c1_ns"} <= metrics.keys() and set(place.parameters) <= here:
            c0, c1, error = metrics["c0_ns"].median, metrics["c1_ns"].median, metrics.get("error_max")
            costs = f"c0 = {number(c0)} ns per convoy and c1 = {number(c1)} ns per packet"
            return costs + (f", {say_fit(error.median)}" if error else "")
    return ""


def say_fit(error: float) -> str:
    return f"and no point with a busy switch is further than {100 * error:.1f} % from that"


def many_guests(drawn: Drawn) -> str:
    """The total with most guests against that with two, for each of us and of the peers."""
    said = []
    for line in drawn.lines:
        two, most = line.at("2"), line.samples[-1]
        if two and two.median and most.x_text != "2" and line.contestant != MODEL:
            share = number(100 * most.y.median / two.median)
            said.append(f"{line.label} has {share} % of its total of 2 guests with {most.x_text}")
    return "; ".join(said) + "." if said else ""


def worst_of_all(drawn: Drawn) -> str:
    """The worst value of each line, and where."""
    better = better_of(drawn)
    said = []
    for line in drawn.lines:
        if line.contestant != MODEL:
            pick = min if better == "higher" else max
            worst = pick(line.samples, key=lambda sample: sample.y.median)
            said.append(
                f"{line.label} {drawn.say(worst.y.median)} ({say_parameter(drawn.plot.x, worst.x_text)})"
            )
    return "Worst value of each: " + "; ".join(said) + "." if said else ""


LINE_FULL = 0.9  # of the line's rate: what TCP's own headers, gaps and acknowledgements leave


def line_rate(drawn: Drawn) -> float | None:
    """Bits per second of the plot's line."""
    return as_number((dict(drawn.facet).get("line") or dict(drawn.facet).get("rate", "")).removesuffix("bit"))


def line_guide(drawn: Drawn) -> list[tuple[float, str]]:
    rate = line_rate(drawn)
    return [(rate, "the line")] if rate and drawn.family == "bps" else []


def line_filled(drawn: Drawn) -> str:
    """From how many guests on the line is full."""
    rate = line_rate(drawn)
    if not rate:
        return ""
    said = []
    for line in drawn.lines:
        full = [sample for sample in line.samples if sample.y.median >= LINE_FULL * rate]
        if full:
            said.append(f"{line.label} fills it from {say_parameter('guests', full[0].x_text)} on")
        else:
            most = max(line.samples, key=lambda sample: sample.y.median)
            said.append(f"{line.label} does not fill it ({number(100 * most.y.median / rate)} % at most)")
    return (
        f"Full means {LINE_FULL:.0%} of the line's rate. ".replace("%", " %") + capital("; ".join(said)) + "."
    )


def frontier(drawn: Drawn) -> str:
    """Who carries most, and who has the least delay at it."""
    x = metric_of(drawn.plot.x.removeprefix("metric:"))
    ends = [(line, line.samples[-1]) for line in drawn.lines if line.contestant != MODEL]
    if not ends:
        return ""

    def say(line: Line, sample: Sample) -> str:
        return f"{line.label} ({quantity(sample.x.median, x.family)} at {drawn.say(sample.y.median)})"

    most = max(ends, key=lambda end: end[1].x.median)
    rivals = [end for end in ends if end[1].x.median >= 0.95 * most[1].x.median]
    least = min(rivals, key=lambda end: end[1].y.median)
    if least[0] is most[0]:
        return f"{say(*most)} carries most, and of those within 5 % of that none has less delay."
    return f"{say(*most)} carries most; within 5 % of that, {say(*least)} has the least delay."


def least_work(drawn: Drawn) -> str:
    """Whose lightest point has the fewest calls, and with which delay."""
    found = [(line, sample) for line in drawn.lines if line.contestant != MODEL for sample in line.samples]
    if not found:
        return ""
    x = metric_of(drawn.plot.x.removeprefix("metric:"))
    line, sample = min(found, key=lambda pair: pair[1].x.median)
    load = say_parameter("load", sample.place.value("load"))
    return (
        f"The fewest calls per packet, {quantity(sample.x.median, x.family)}, has {line.label} at {load},"
        f" with a delay of {drawn.say(sample.y.median)}."
    )


def of_reference(reference: str):
    """An outcome for bars: each group against the group `reference`, of each of the lines."""

    def outcome(drawn: Drawn) -> str:
        said = []
        for line in drawn.lines:
            base = line.at(reference)
            others = [sample for sample in line.samples if sample.x_text != reference]
            if base and base.median and others:
                pick = max if better_of(drawn) == "lower" else min
                worst = pick(others, key=lambda sample: sample.y.median)
                ratio = times(worst.y.median, base.median)
                said.append(f"{line.label} {ratio} ({worst.x_text})")
        where = say_parameter(drawn.plot.x, reference)
        return f'Worst case against "{where}": ' + "; ".join(said) + "." if said else ""

    return outcome


def largest(drawn: Drawn) -> str:
    """Of each x the line that is furthest from zero."""
    said = []
    for text in drawn.x_texts():
        found = [(line, spread.median) for line in drawn.lines if (spread := line.at(text))]
        if found:
            line, value = max(found, key=lambda pair: abs(pair[1]))
            said.append(f"{say_parameter(drawn.plot.x, text)} {drawn.say(value)} ({line.label})")
    return "Furthest from zero: " + "; ".join(said) + "." if said else ""
