"""Goal: the report says what the points say, all of it and nothing else, in a page that any reader can open.
Method: made-up points of every experiment (made_up.py), and points with known answers; pages and plots are
parsed as XML and looked into: positions, medians, sentences, what is missing, what is escaped.
"""

import math
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import made_up  # noqa: E402
from study import ahead, drawn, report, svg, units  # noqa: E402
from study.medians import Medians, as_number, read_medians  # noqa: E402
from study.plots import EXPERIMENTS, PLOTS  # noqa: E402

BENCH = Path(__file__).resolve().parents[2] / "bench"
SVG, XHTML = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xhtml}"
HOSTILE = "</style></title><script>alert(\"1\")</script> & 'x' ]]>\x07"


class Folder(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def medians(self, rows: list[made_up.Row]) -> Medians:
        made_up.write(self.folder, rows)
        return read_medians(self.folder / "points.csv")

    def page(self, rows: list[made_up.Row], facts: dict | None = None) -> ElementTree.Element:
        medians = self.medians(rows)
        return ElementTree.fromstring(report.page(medians, made_up.FACTS if facts is None else facts))

    def drawn(self, rows: list[made_up.Row], name: str) -> drawn.Drawn:
        found = report.find_plot(self.medians(rows), name)
        assert found, name
        return found


def words_of(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def section_of(page: ElementTree.Element, number: int) -> ElementTree.Element:
    return next(one for one in page.iter(XHTML + "section") if one.get("id") == f"experiment-{number}")


class MediansTest(Folder):
    def write(self, text: str) -> Medians:
        path = self.folder / "points.csv"
        path.write_bytes(text.encode())
        return read_medians(path)

    def test_median_and_spread(self) -> None:
        found = self.write(
            "experiment,contestant,parameters,run,metric,value\n"
            "3,testpmd,flows=1 size=64,0,received_pps,5\n3,testpmd,flows=1 size=64,1,received_pps,1\n"
            "3,testpmd,size=64 flows=1,2,received_pps,4\n3,testpmd,flows=1 size=64,3,received_pps,9\n"
        )
        (spread,) = [metrics["received_pps"] for metrics in found.by_place.values()]
        self.assertEqual((spread.median, spread.low, spread.high, spread.runs), (4.5, 1, 9, 4))
        self.assertEqual(found.unread, 0)

    def test_what_is_no_point(self) -> None:
        found = self.write(
            "3,testpmd,size=64,0,received_pps,5\n3,testpmd,size=64,zero,received_pps,6\n"
            "3,testpmd,size=64,1,received_pps,nan\nx\n3,testpmd,size=64,1,received_pps,60"
        )
        (spread,) = [metrics["received_pps"] for metrics in found.by_place.values()]
        self.assertEqual((spread.median, spread.runs), (5, 1))  # 60 was cut off: it may have been 600
        self.assertEqual(found.unread, 3)

    def test_later_line_counts(self) -> None:
        found = self.write("3,testpmd,,0,loss,0.5\n3,testpmd,,0,loss,0.25\n")
        (metrics,) = found.by_place.values()
        self.assertEqual((metrics["loss"].median, metrics["loss"].runs), (0.25, 1))

    def test_numbers(self) -> None:
        for text, value in (
            ("64", 64),
            ("1gbit", 1e9),
            ("10g", 1e10),
            ("64k", 64e3),
            ("max", None),
            ("", None),
            ("nan", None),
        ):
            self.assertEqual(as_number(text), value, text)


class EveryPlotTest(Folder):
    def test_every_plot_is_drawn(self) -> None:
        medians = self.medians(made_up.all_rows())
        for plot in PLOTS:
            found = drawn.select(plot, medians)
            self.assertTrue(found, f"{plot.experiment}-{plot.name} shows nothing")
            for one in found:
                self.assertEqual(one.runs(), (made_up.RUNS, made_up.RUNS), one.name)
                self.assertTrue(one.plot.outcome(one), f"{one.name} says nothing")
                for alone in (False, True):
                    root = ElementTree.fromstring(drawn.draw(one, alone))
                    self.assertEqual(root.tag, SVG + "svg")

    def test_every_point_is_drawn_once(self) -> None:
        medians = self.medians(made_up.all_rows())
        for plot in PLOTS:
            for one in drawn.select(plot, medians):
                root = ElementTree.fromstring(drawn.draw(one))
                samples = sum(len(line.samples) for line in one.lines if line.contestant != drawn.MODEL)
                self.assertEqual(
                    sum(1 for group in root.iter(SVG + "g") if group.find(SVG + "title") is not None), samples
                )

    def test_page(self) -> None:
        page = self.page(made_up.all_rows())
        sections = [one.get("id") for one in page.iter(XHTML + "section")]
        self.assertEqual(sections, [f"experiment-{one.number}" for one in EXPERIMENTS])
        medians = read_medians(self.folder / "points.csv")
        self.assertEqual(
            len(list(page.iter(SVG + "svg"))), sum(len(drawn.select(plot, medians)) for plot in PLOTS)
        )
        for figure in page.iter(XHTML + "figure"):
            self.assertEqual(len(list(figure.iter(XHTML + "details"))), 1)
            self.assertIn("Medians of 3 runs.", words_of(figure))
            self.assertEqual(len([one for one in figure.iter(XHTML + "p") if one.get("class") == "came"]), 1)
        names = [one.get("id") for one in page.iter() if one.get("id")]
        self.assertEqual(len(names), len(set(names)), "an id stands twice")

    def test_page_stands_alone(self) -> None:
        page = self.page(made_up.all_rows())
        for element in page.iter():
            self.assertNotIn(element.tag.split("}")[1], ("script", "link", "img", "iframe", "object"))
            for name, value in element.attrib.items():
                self.assertFalse(name.startswith("on"), name)
                if name.endswith(("href", "src")):
                    self.assertTrue(value.startswith("#"), value)
        style = "".join(page.find(f".//{XHTML}style").itertext())
        self.assertNotIn("url(", style)
        self.assertNotIn("@import", style)
        targets = {one.get("id") for one in page.iter()}
        self.assertLessEqual({one.get("href")[1:] for one in page.iter(XHTML + "a")}, targets)


class MissingTest(Folder):
    def test_experiment(self) -> None:
        page = self.page([row for row in made_up.all_rows() if row[0] != 5])
        self.assertIn("Not measured in this study.", words_of(section_of(page, 5)))
        self.assertEqual(list(section_of(page, 5).iter(SVG + "svg")), [])
        self.assertNotIn("Not measured in this study.", words_of(section_of(page, 4)))

    def test_plot(self) -> None:
        page = self.page([row for row in made_up.all_rows() if row[4] != "jitter_us"])
        self.assertIn("not drawn: Jitter.", words_of(section_of(page, 7)))

    def test_peer(self) -> None:
        rows = [row for row in made_up.all_rows() if row[1] != "testpmd"]
        page = words_of(self.page(rows, {**made_up.FACTS, "missing": {"testpmd": "no huge pages"}}))
        self.assertIn("Not measured, and so not compared with: testpmd (no huge pages).", page)
        self.assertIn("Every peer was measured.", words_of(self.page(made_up.all_rows())))

    def test_nothing_at_all(self) -> None:
        page = self.page([], {})
        self.assertEqual(words_of(page).count("Not measured in this study."), len(EXPERIMENTS))
        self.assertIn("machine.json is missing", words_of(page))
        self.assertNotIn("does not hold", words_of(page))

    def test_quick_study(self) -> None:
        rows = [
            row
            for row in made_up.all_rows()
            if row[0] in (3, 6)
            and row[3] == 0
            and ("size=64 " in row[2] + " ")
            and ("load=50" in row[2] or row[0] == 3)
        ]
        page = self.page(rows, {**made_up.FACTS, "kind": "quick"})
        self.assertIn("quick study", words_of(page))
        self.assertIn("median of 1 run;", words_of(page))
        self.assertTrue(list(section_of(page, 3).iter(SVG + "rect")), "one size makes bars")


class EscapeTest(Folder):
    def test_labels_and_facts(self) -> None:
        hostile = HOSTILE.replace("\x07", "")
        word = hostile.replace(" ", "_")
        rows = made_up.point(3, hostile, f"size=64 flows=1 odd={word}", received_pps=1e6, received_bps=1e9)
        rows += made_up.point(3, "testpmd", f"size=128 flows={word}", received_pps=2e6)
        rows += made_up.point(10, hostile, f"beside={word}", delay_p50_us=3)
        page = self.page(
            rows, {HOSTILE: HOSTILE, "versions": {HOSTILE: [HOSTILE]}, "missing": {"testpmd": HOSTILE}}
        )
        self.assertEqual([one for one in page.iter() if one.tag.endswith("script")], [])
        self.assertIn('<script>alert("1")</script>', "".join(page.itertext()))
        alone = drawn.draw(report.find_plot(read_medians(self.folder / "points.csv"), "10-p50"), True)
        self.assertNotIn("script", {one.tag for one in ElementTree.fromstring(alone).iter()})


class GeometryTest(Folder):
    def lines(self, rows: list[made_up.Row], name: str) -> ElementTree.Element:
        return ElementTree.fromstring(drawn.draw(self.drawn(rows, name)))

    def test_markers_lie_where_their_values_are(self) -> None:
        rows = [
            row
            for size, value in ((100, 1e6), (200, 3e6), (400, 2e6))
            for row in made_up.point(3, "convoy adaptive", f"flows=1 size={size}", received_pps=value)
        ]
        root = self.lines(rows, "3-pps")
        found = [
            (float(one.get("cx")), float(one.get("cy")))
            for group in root.iter(SVG + "g")
            for one in group.iter(SVG + "circle")
        ]
        (x1, y1), (x2, y2), (x3, y3) = found
        self.assertAlmostEqual((y1 - y2) / (y1 - y3), 2.0, delta=0.02)  # 1 to 3 and 1 to 2
        self.assertAlmostEqual((x3 - x1) / (x2 - x1), 3.0, delta=0.02)  # 100 to 400 and 100 to 200
        self.assertLess(y2, y3)
        grid = [float(one.get("y1")) for one in root.iter(SVG + "line") if one.get("class") == "grid"]
        zero = max(grid)
        self.assertAlmostEqual((zero - y2) / (zero - y1), 3.0, delta=0.02)

    def test_whiskers_are_the_spread(self) -> None:
        rows = [
            (3, "convoy adaptive", f"flows=1 size={size}", run, "received_pps", value)
            for size in (100, 200)
            for run, value in enumerate((1e6, 2e6, 4e6))
        ]
        root = self.lines(rows, "3-pps")
        group = next(root.iter(SVG + "g"))
        upright = next(one for one in group.iter(SVG + "line") if one.get("x1") == one.get("x2"))
        top, bottom = sorted((float(upright.get("y1")), float(upright.get("y2"))))
        middle = float(group.find(SVG + "circle").get("cy"))
        self.assertAlmostEqual((middle - top) / (bottom - middle), 2.0, delta=0.02)

    def test_bars_are_as_long_as_their_values(self) -> None:
        rows = made_up.point(10, "convoy natural", "beside=none", delay_p50_us=10)
        rows += made_up.point(10, "convoy natural", "beside=flood", delay_p50_us=25)
        widths = [float(one.get("width")) for one in self.lines(rows, "10-p50").iter(SVG + "rect")]
        self.assertAlmostEqual(widths[1] / widths[0], 2.5, delta=0.02)

    def test_bars_to_the_left(self) -> None:
        rows = made_up.point(8, "convoy adaptive", "arrivals=poisson", size_error=-0.2)
        rows += made_up.point(8, "convoy adaptive", "arrivals=onoff", size_error=0.4)
        bars = list(self.lines(rows, "8-size").iter(SVG + "rect"))
        ends = sorted((float(one.get("x")), float(one.get("x")) + float(one.get("width"))) for one in bars)
        self.assertAlmostEqual(ends[0][1], ends[1][0], delta=0.2)

    def test_zero_and_equal_values_are_drawn(self) -> None:
        for values in ((0, 0), (0, 5000), (7, 7), (1e-9, 1e9)):
            rows = [
                row
                for load, value in zip((10, 90), values, strict=True)
                for row in made_up.point(7, "convoy adaptive", f"load={load}", delay_p99_us=value)
            ]
            root = self.lines(rows, "7-adaptive-p99")
            places = [float(one.get("cy")) for one in root.iter(SVG + "circle")]
            self.assertTrue(places and all(math.isfinite(place) for place in places))

    def test_points_of_different_kinds_are_not_joined(self) -> None:
        rows = made_up.point(4, "convoy off", "guests=2 odd=1", received_pps=1e6)
        rows += made_up.point(4, "convoy off", "guests=2 odd=2", received_pps=2e6)
        rows += made_up.point(4, "convoy off", "guests=4 odd=2", received_pps=3e6)
        self.assertEqual([line.label for line in self.drawn(rows, "4-total").lines], ["odd 1", "odd 2"])

    def test_nothing_is_outside(self) -> None:
        medians = self.medians(made_up.all_rows())
        for one in (found for plot in PLOTS for found in drawn.select(plot, medians)):
            root = ElementTree.fromstring(drawn.draw(one))
            _, top, width, height = map(float, root.get("viewBox").split())
            for element in root.iter():
                for name in ("x", "cx", "x1", "x2"):
                    self.assertTrue(0 <= float(element.get(name, 0)) <= width, one.name)
                for name in ("y", "cy", "y1", "y2"):
                    self.assertTrue(top <= float(element.get(name, 0)) <= height, one.name)

    def test_labels_are_apart(self) -> None:
        placed = svg.spread_labels([100, 101, 102, 300, 300], 40, 340)
        gaps = [later - earlier for earlier, later in zip(placed, placed[1:], strict=False)]
        self.assertGreaterEqual(min(gaps), svg.LINE_HEIGHT - 1e-9)
        self.assertTrue(40 <= min(placed) and max(placed) <= 340)


class ColourTest(unittest.TestCase):
    @staticmethod
    def luminance(colour: str) -> float:
        parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(self, one: str, other: str) -> float:
        low, high = sorted((self.luminance(one), self.luminance(other)))
        return (high + 0.05) / (low + 0.05)

    def test_contrast(self) -> None:
        """As WCAG asks: 3 to 1 for what is drawn, 4.5 to 1 for text."""
        for dark in (False, True):
            found = dict(re.findall(r"--(\w+):(#\w+)", svg.theme_css(".plot", dark)))
            for name, colour in found.items():
                least = 4.5 if name in ("ink", "quiet") else 3.0
                if name not in ("grid", "back"):
                    self.assertGreaterEqual(self.contrast(colour, found["back"]), least, (dark, name))

    def test_grey_is_enough(self) -> None:
        """Two series of a plot never share a marker, so that colour is not needed."""
        shapes = [
            re.sub(r' class="[^"]*"', "", svg.marker(0, 0, style)) + str("open" in svg.marker(0, 0, style))
            for style in range(12)
        ]
        self.assertEqual(len(set(shapes)), 12)


class OutcomeTest(Folder):
    def outcome(self, rows: list[made_up.Row], name: str) -> str:
        one = self.drawn(rows, name)
        return one.plot.outcome(one)

    def test_costs_of_a_convoy(self) -> None:
        """The costs are the stored ones, of which the study knows more than the plot shows."""
        rows = [row for row in made_up.convoy_size() if "k=" in row[2] or row[1] != "model"]
        self.assertNotIn("c0 =", self.outcome(rows, "2-throughput-poll"))
        rows += made_up.point(2, "model", "receive=call size=64", c0_ns=300, c1_ns=35, error_max=0.01)
        self.assertNotIn("c0 =", self.outcome(rows, "2-throughput-poll"))
        rows += made_up.point(2, "model", "receive=poll size=64", c0_ns=200, c1_ns=25, error_max=0.01)
        said = self.outcome(rows, "2-throughput-poll")
        self.assertIn("64 bytes: convoys of 256 carry 8.73 times what convoys of 1 carry", said)
        self.assertIn("c0 = 200 ns per convoy and c1 = 25.0 ns per packet", said)

    def test_best_peer(self) -> None:
        rows = made_up.point(3, "convoy natural", "size=64 flows=1", received_pps=12e6)
        self.assertIn("no peer was", self.outcome(rows, "3-pps"))
        rows += made_up.point(3, "testpmd", "size=64 flows=1", received_pps=4e6)
        rows += made_up.point(3, "ovs-dpdk", "size=64 flows=1", received_pps=6e6)
        self.assertEqual(
            self.outcome(rows, "3-pps"),
            (
                "64 bytes: convoy natural has 12.0 Mpps, 2.00 times the 6.00 Mpps "
                "of ovs-dpdk, the best peer: ahead."
            ),
        )

    def test_lower_is_better(self) -> None:
        rows = made_up.point(11, "convoy off", "test=rr", delay_p50_us=30)
        rows += made_up.point(11, "bridge+tap", "test=rr", delay_p50_us=20)
        self.assertIn(
            "1.50 times the 20.0 µs of bridge+tap, the best peer: behind.", self.outcome(rows, "11-rr")
        )

    def test_line(self) -> None:
        said = self.outcome(made_up.the_line(), "5-filled-10gbit-transmit")
        self.assertIn("Convoy adaptive fills it from 4 guests on", said)
        self.assertIn("native does not fill it (80.0 % at most)", said)

    def test_many_guests(self) -> None:
        self.assertIn(
            "ovs-dpdk has 60.8 % of its total of 2 guests with 64", self.outcome(made_up.guests(), "4-total")
        )


class AheadTest(Folder):
    """Rows of the summary, each with figures on both sides of its target."""

    def verdict(self, row: int, rows: list[made_up.Row]) -> str:
        return ahead.rows(self.medians(rows))[row].verdict

    def both(
        self, experiment: int, words: str, metric: str, ours: float, peers: dict[str, float]
    ) -> list[made_up.Row]:
        rows = made_up.point(experiment, "convoy adaptive", words, **{metric: ours})
        return rows + [
            row
            for name, value in peers.items()
            for row in made_up.point(experiment, name, words, **{metric: value})
        ]

    def test_small_frames(self) -> None:
        for ours, peers, verdict in (
            (16e6, {"ovs-dpdk": 7.9e6}, ahead.HOLDS),
            (16e6, {"ovs-dpdk": 8.1e6}, ahead.FAILS),
            (14e6, {"ovs-dpdk": 5e6}, ahead.FAILS),
            (16e6, {"testpmd": 5e6}, ahead.OPEN),
            (16e6, {}, ahead.OPEN),
        ):
            self.assertEqual(
                self.verdict(0, self.both(3, "size=64 flows=1", "received_pps", ours, peers)), verdict
            )

    def test_ratios(self) -> None:
        for row, experiment, words, metric, good, bad in (
            (1, 3, "size=1514 flows=1", "received_bps", 1.81, 1.79),
            (2, 6, "size=64 load=50", "cpu_ns_per_packet", 0.33, 0.34),
            (3, 11, "streams=1 test=stream write=131072", "received_bps", 1.31, 1.29),
            (4, 11, "streams=1 test=stream write=1048576", "received_bps", 1.31, 1.29),
            (5, 11, "test=rr", "delay_p50_us", 1.0, 1.01),
            (7, 6, "size=64 load=50", "delay_p99_us", 0.99, 1.01),
            (8, 7, "size=64 load=50", "delay_p99_us", 0.99, 1.01),
        ):
            peers = {"testpmd": 100.0 * (0.5 if good > 1 else 2.0), "ovs-dpdk": 100.0}
            self.assertEqual(
                self.verdict(row, self.both(experiment, words, metric, 100 * good, peers)), ahead.HOLDS, row
            )
            self.assertEqual(
                self.verdict(row, self.both(experiment, words, metric, 100 * bad, peers)), ahead.FAILS, row
            )

    def test_many_guests(self) -> None:
        for share, fairness, verdict in (
            (0.91, 0.995, ahead.HOLDS),
            (0.89, 0.995, ahead.FAILS),
            (0.91, 0.98, ahead.FAILS),
        ):
            rows = self.both(4, "guests=2 size=64", "received_pps", 1e6, {})
            rows += self.both(4, "guests=64 size=64", "received_pps", 1e6 * share, {})
            rows += [
                (4, "convoy adaptive", "guests=64 size=64", run, "fairness", fairness) for run in range(3)
            ]
            self.assertEqual(self.verdict(6, rows), verdict)
        self.assertEqual(self.verdict(6, []), ahead.OPEN)

    def test_many_guests_of_who_carries_most(self) -> None:
        """A mode that carried next to nothing over 2 guests has a large share, and is not the best."""
        rows = made_up.guests() + made_up.point(4, "convoy natural", "guests=64 size=64", received_pps=20e6)
        rows = [row for row in rows if row[1:3] != ("convoy off", "guests=2 size=64")]
        rows += made_up.point(4, "convoy off", "guests=2 size=64", received_pps=1e5)
        self.assertEqual(ahead.rows(self.medians(rows))[6].ours.contestant, "convoy natural")

    def test_delay_of_who_loses_does_not_count(self) -> None:
        """A peer that drops what would have waited is not the best, and a mode of ours neither."""
        rows = self.both(7, "size=64 load=50", "delay_p99_us", 50.0, {"testpmd": 60.0, "ovs-dpdk": 5.0})
        for name, received in (("convoy adaptive", 995.0), ("testpmd", 991.0), ("ovs-dpdk", 980.0)):
            rows += made_up.point(7, name, "size=64 load=50", offered_pps=1000.0)
            rows += [(7, name, "size=64 load=50", run, "received_pps", received) for run in range(3)]
        row = ahead.rows(self.medians(rows))[8]
        self.assertEqual((row.peer.contestant, row.verdict), ("testpmd", ahead.HOLDS))

    def test_one_run_is_not_judged(self) -> None:
        rows = self.both(11, "streams=1 test=stream write=131072", "received_bps", 4e9, {"bridge+tap": 1e9})
        self.assertEqual(self.verdict(3, rows), ahead.HOLDS)
        self.assertEqual(self.verdict(3, [row for row in rows if row[3] == 0]), ahead.ONE_RUN)

    def test_within_the_spread(self) -> None:
        for theirs, why in (((9e9, 11e9, 13e9), "within the spread"), ((5e9, 6e9, 9e9), "")):
            rows: list[made_up.Row] = []
            for name, values in (("convoy off", (10e9, 12e9, 14e9)), ("bridge+tap", theirs)):
                rows += [
                    (11, name, "streams=1 write=131072", run, "received_bps", value)
                    for run, value in enumerate(values)
                ]
            self.assertEqual(ahead.rows(self.medians(rows))[3].why, why)

    def test_another_weight_is_no_default(self) -> None:
        words = "load=50 size=64 d_us=25 weight=0.001"
        rows = self.both(7, words, "delay_p99_us", 50.0, {})
        rows += made_up.point(7, "convoy natural", "load=50 size=64", delay_p99_us=40.0)
        row = ahead.rows(self.medians(rows))[8]
        self.assertIsNone(row.default)
        self.assertEqual(row.ours.contestant, "convoy natural")
        self.assertIn("delay-weight 0.001", ahead.figures_of(self.medians(rows), ahead.WORKS[7])[0].text)

    def test_more_workers_are_no_default(self) -> None:
        words = "streams=1 test=stream write=1048576"
        rows = self.both(11, words, "received_bps", 20e9, {"bridge+tap": 20e9})
        rows += made_up.point(11, "convoy adaptive", words + " workers=2", received_bps=30e9)
        row = ahead.rows(self.medians(rows))[4]
        self.assertEqual((row.verdict, row.ours.text), (ahead.HOLDS, "30.0 Gbit/s, convoy adaptive, 2 workers"))
        self.assertEqual(row.default.value, 20e9)

    def test_native_is_no_peer(self) -> None:
        rows = self.both(11, "streams=1 test=stream write=131072", "received_bps", 4e9, {"native": 1e9})
        self.assertEqual(self.verdict(3, rows), ahead.OPEN)

    def test_default_mode_is_named_beside_the_best(self) -> None:
        rows = self.both(3, "size=64 flows=1", "received_pps", 15e6, {"ovs-dpdk": 5e6})
        rows += made_up.point(3, "convoy natural", "size=64 flows=1", received_pps=16e6)
        row = ahead.rows(self.medians(rows))[0]
        self.assertEqual(
            (row.ours.text, row.default.text), ("16.0 Mpps, convoy natural", "15.0 Mpps, convoy adaptive")
        )


class NotesTest(Folder):
    """What a reader must know of the measuring stands below the plots that it is about, and only there."""

    def test_late_generator(self) -> None:
        rows = made_up.delay()
        self.assertNotIn("The generator was late", words_of(section_of(self.page(rows), 7)))
        rows += [(7, "convoy natural", "load=90 size=64", run, "late", 0.03) for run in range(3)]
        rows += [(7, "convoy natural", "load=50 size=64", run, "late", 0.009) for run in range(3)]
        said = words_of(section_of(self.page(rows), 7))
        self.assertIn("its own delay is in these: convoy natural, load 90 % (3.0 %).", said)

    def test_shared_processor(self) -> None:
        rows = made_up.beside()
        self.assertNotIn("shared a processor", words_of(section_of(self.page(rows), 10)))
        rows += made_up.point(10, "convoy off", "beside=flood rate=20000 size=64", shares_processor=1.0)
        self.assertIn("shared a processor", words_of(section_of(self.page(rows), 10)))


class CommandTest(Folder):
    def run_report(self, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "study.report", *words],
            cwd=BENCH,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def test_page_is_written(self) -> None:
        made_up.write(self.folder, made_up.all_rows())
        done = self.run_report(str(self.folder))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        ElementTree.parse(self.folder / "report.html")

    def test_single_plot(self) -> None:
        made_up.write(self.folder, made_up.all_rows())
        for name in ("7", "7-frontier"):
            file = self.folder / f"{name}.svg"
            self.assertEqual(
                self.run_report(str(self.folder), "--plot", name, "--svg", str(file)).returncode, 0
            )
            root = ElementTree.parse(file).getroot()
            style = "".join(root.find(SVG + "style").itertext())
            for needed in (
                "--back:" + svg.BACKGROUND_LIGHT,
                "--back:" + svg.BACKGROUND_DARK,
                "prefers-color-scheme:dark",
            ):
                self.assertIn(needed, style)
            self.assertEqual(root.find(SVG + "rect").get("class"), "back")

    def test_what_cannot_be(self) -> None:
        made_up.write(self.folder, made_up.guests())
        file = str(self.folder / "x.svg")
        for words, said in (
            ((str(self.folder), "--plot", "7", "--svg", file), "holds nothing that plot 7 shows"),
            ((str(self.folder / "nowhere"),), "points.csv: No such file"),
            ((str(self.folder), "--plot", "4"), "go together"),
        ):
            done = self.run_report(*words)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn(said, done.stderr)
            self.assertNotIn("Traceback", done.stderr)


class UnitsTest(unittest.TestCase):
    def test_quantities(self) -> None:
        for value, family, said in (
            (17_530_000, "pps", "17.5 Mpps"),
            (999_600, "pps", "1,000 kpps"),
            (5.84e9, "bps", "5.84 Gbit/s"),
            (0.125, "share", "12.5 %"),
            (28, "us", "28.0 µs"),
            (14_400, "us", "14.4 ms"),
            (0, "plain", "0"),
            (-0.12, "share", "-12.0 %"),
            (9 * 2**20, "bytes", "9.00 MiB"),
            (0.003, "plain", "0.003"),
        ):
            self.assertEqual(units.quantity(value, family), said)

    def test_unknown_metric(self) -> None:
        self.assertEqual(units.metric_of("odd_thing_us"), units.Metric("odd thing", "us", ""))


if __name__ == "__main__":
    unittest.main()
