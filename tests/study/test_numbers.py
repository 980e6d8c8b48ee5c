"""Goal: what the study computes is right: points survive being written and read, also by halves; c0 and c1,
settling and overshoot, and errors of predictions are those of the data. Method: made data with known answers.
"""

import random
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from study.fit import Costs, fit_costs  # noqa: E402
from study.generator import metrics  # noqa: E402
from study.loads import change_metrics, prediction_errors, ramp_times  # noqa: E402
from study.points import Points, parameters_of, parameters_text  # noqa: E402
from study.settling import Seen, read_watch, settle  # noqa: E402
from study.study import StudyError  # noqa: E402
from study.synthetic import busy_points  # noqa: E402


class PointsTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "points.csv"

    def test_round_trip(self) -> None:
        points = Points(self.path)
        points.add(2, "convoy fixed", parameters_text(size=64, k=16), 0, {"received_pps": 1 / 3, "loss": None})
        points.add(2, "convoy fixed", parameters_text(size=64, k=16), 1, {"received_pps": 2e7})
        points.add("10", 'odd, "name"', "", 0, {"x": 1})
        again = Points(self.path)
        self.assertEqual(again.get(2, "convoy fixed", "k=16 size=64", 0), {"received_pps": 1 / 3})
        self.assertEqual(again.select("2", "convoy fixed"),
                         [({"k": "16", "size": "64"}, 0, {"received_pps": 1 / 3}),
                          ({"k": "16", "size": "64"}, 1, {"received_pps": 2e7})])
        self.assertTrue(again.has(10, 'odd, "name"', "", 0))
        self.assertFalse(again.has(2, "convoy fixed", "k=16 size=64", 2))

    def test_parameters(self) -> None:
        text = parameters_text(size=64, flows=1, speed=0.5)
        self.assertEqual(text, "flows=1 size=64 speed=0.5")
        self.assertEqual(parameters_of(text), {"flows": "1", "size": "64", "speed": "0.5"})

    def test_cut_anywhere(self) -> None:
        """Wherever the last point is cut off, it is as if it had not been, and can be added again. The one before
        is lost with it only where what is left might be of either."""
        points = Points(self.path)
        points.add(3, "a", "size=64", 0, {"first": 1.5, "second": 2})
        kept = self.path.read_bytes()
        points.add(3, "b", "size=64", 0, {"first": 12, "second": 345})
        whole = self.path.read_bytes()
        ends = {number + 1 for number in range(len(whole)) if whole[number:number + 1] == b"\n"}
        for cut in range(len(kept), len(whole)):
            self.path.write_bytes(whole[:cut])
            again = Points(self.path)
            if cut - len(kept) in (1, 2):  # "3" and "3,"
                self.assertFalse(again.has(3, "a", "size=64", 0))
            else:
                self.assertEqual(again.get(3, "a", "size=64", 0), {"first": 1.5, "second": 2})
            if cut not in ends:
                self.assertFalse(again.has(3, "b", "size=64", 0), cut)
            again.add(3, "b", "size=64", 0, {"first": 12, "second": 345})
            self.assertEqual(Points(self.path).get(3, "b", "size=64", 0), {"first": 12, "second": 345})

    def test_cut_first_point(self) -> None:
        self.path.write_text("experiment,contestant,parameters,run,metric,value\n3,a,size=64,0,fir")
        self.assertFalse(Points(self.path).has(3, "a", "size=64", 0))


class FitTest(unittest.TestCase):
    def test_exact(self) -> None:
        made = Costs(200.0, 25.0, 0.0)
        costs = fit_costs([(2.0**k, made.pps(2.0**k)) for k in range(9)])
        assert costs
        self.assertAlmostEqual(costs.c0_ns, 200.0, places=6)
        self.assertAlmostEqual(costs.c1_ns, 25.0, places=6)
        self.assertLess(costs.error_max, 1e-9)

    def test_with_noise(self) -> None:
        made, noise = Costs(200.0, 25.0, 0.0), random.Random(1)
        costs = fit_costs([(2.0**k, made.pps(2.0**k) * noise.uniform(0.97, 1.03)) for k in range(9)])
        assert costs
        self.assertAlmostEqual(costs.c0_ns, 200.0, delta=15)
        self.assertAlmostEqual(costs.c1_ns, 25.0, delta=5)
        self.assertTrue(0.005 < costs.error_max < 0.2, costs.error_max)

    def test_too_little(self) -> None:
        for measured in ([], [(4, 1e6)], [(4, 1e6), (4, 2e6)], [(4, 1e6), (8, 0.0)]):
            self.assertIsNone(fit_costs(measured))


    def test_points_of_an_idle_switch_are_dropped(self) -> None:
        """With large convoys the generator limits a switch that could carry more; the costs are found anyhow."""
        made = Costs(200.0, 25.0, 0.0)
        found = [(2.0**k, {"received_pps": min(made.pps(2.0**k), 2e7), "cpu_share": min(2e7 / made.pps(2.0**k), 1.0)})
                 for k in range(9)]
        self.assertTrue(any(metrics["cpu_share"] < 0.9 for _, metrics in found))
        found += [(512.0, {"received_pps": 1e6, "cpu_share": 0.89}), (1024.0, {})]
        costs = fit_costs(busy_points(found))
        assert costs
        self.assertAlmostEqual(costs.c0_ns, 200.0, delta=5)
        self.assertAlmostEqual(costs.c1_ns, 25.0, delta=2)
        self.assertEqual(busy_points([(8.0, {"received_pps": 5.0})]), [(8.0, 5.0)])


class SettlingTest(unittest.TestCase):
    MS = 1_000_000

    def seen(self, times: list[float]) -> list[Seen]:
        """T a millisecond, K always 8."""
        return [Seen(ms * self.MS, 1e6, 8, t, 1, 1) for ms, t in enumerate(times)]

    def test_overshoot_up(self) -> None:
        found = settle(self.seen([10.0] * 1000 + [20.0] * 40 + [70.0] * 10 + [50.0] * 950), 1000 * self.MS,
                       2000 * self.MS)
        assert found
        self.assertAlmostEqual(found.settle_ms, 50, delta=1)
        self.assertEqual(found.t_end_us, 50)
        self.assertAlmostEqual(found.overshoot_t, 0.5)  # 20 beyond, on a way of 40
        self.assertEqual(found.overshoot_k, 0)

    def test_down_without_overshoot(self) -> None:
        found = settle(self.seen([50.0] * 1000 + [30.0] * 25 + [10.0] * 975), 1000 * self.MS, 2000 * self.MS)
        assert found
        self.assertAlmostEqual(found.settle_ms, 25, delta=1)
        self.assertEqual(found.overshoot_t, 0)

    def test_a_visit_is_not_settling(self) -> None:
        visit = [10.0] * 1000 + [50.0] * 90 + [10.0] * 110 + [50.0] * 800
        found = settle(self.seen(visit), 1000 * self.MS, 2000 * self.MS)
        assert found
        self.assertAlmostEqual(found.settle_ms, 200, delta=1)

    def test_one_side_only(self) -> None:
        self.assertIsNone(settle(self.seen([10.0] * 900), 1000 * self.MS, 2000 * self.MS))
        self.assertIsNone(settle([], 0, 1))

    def test_lines(self) -> None:
        self.assertEqual(read_watch("123 1000 8 50.25 3.5 20\n124 10"), [Seen(123, 1000, 8, 50.25, 3.5, 20)])


class LoadsTest(unittest.TestCase):
    def test_prediction_errors(self) -> None:
        """The later half counts; answers without a prediction are none."""
        def answer(size: float) -> dict:
            return {"predicted": {"mean_size": 4.0, "mean_wait_s": 2e-5},
                    "measured": {"mean_size": size, "mean_wait_s": 1e-5}}
        found = prediction_errors([{}, answer(100), answer(100), {"predicted": None}, answer(5), answer(5)])
        self.assertEqual(found["size_error"], 0.25)
        self.assertAlmostEqual(found["wait_error"] or 0, -0.5)
        self.assertEqual(found["answers"], 2)
        nothing = prediction_errors([{}, {"predicted": None, "measured": None}])
        self.assertIsNone(nothing["size_error"])

    def test_over_budget_counts_the_measured_part(self) -> None:
        """Waits beyond 1.2 times 50 us: all of those before and after it, and a quarter of those within."""
        def seen(from_ms: int, to_ms: int, wait_us: float, rate: float = 1e6) -> list[Seen]:
            return [Seen(ms * 1_000_000, rate, 8, 20, 4, wait_us) for ms in range(from_ms, to_ms)]
        watched = (seen(1, 200, 90, rate=0) + seen(200, 500, 90) + seen(500, 1000, 61) + seen(1000, 2500, 59) +
                   seen(2500, 2600, 90))
        for step_ns in (0, 1_500_000_000):  # the middle of 500 to 2500 ms; without one, 300 ms after the first
            found = change_metrics(watched, step_ns, 2.0, 0.3)
            self.assertAlmostEqual(found["over_budget"] or 0, 0.25)
            self.assertEqual(found["wait_max_us"], 61)
        with self.assertRaises(StudyError):
            change_metrics(seen(1, 100, 90, rate=0), 0, 2.0, 0.3)

    def test_ramp(self) -> None:
        times = ramp_times(1000, 9000, 2)
        self.assertEqual(times, sorted(times))
        self.assertAlmostEqual(len(times), 10000, delta=100)
        middle = sum(0.95 < at < 1.05 for at in times)
        start = sum(at < 0.1 for at in times)
        self.assertAlmostEqual(middle, 880, delta=30)
        self.assertAlmostEqual(start, 140, delta=15)

    def test_metrics(self) -> None:
        result = {"seconds": 2, "sent": 100, "late": 5, "received_pps": 45, "sent_pps": 50, "received_bps": 1,
                  "loss": 0.1, "calls": 30, "kicks": 10, "calls_per_packet": 0.3, "kicks_per_packet": 0.1,
                  "delay_ns": {"count": 3, "mean": 1500, "p50": 1000, "p99": 2000, "p99_9": 3000, "max": 4000},
                  "jitter_ns": 250, "switch": None}
        found = metrics(result)
        self.assertEqual((found["delay_mean_us"], found["delay_p999_us"], found["jitter_us"]), (1.5, 3, 0.25))
        self.assertEqual((found["late"], found["calls_per_second"], found["kicks_per_second"]), (0.05, 15, 5))
        self.assertIsNone(found["cpu_share"])
        nothing_came = metrics({**result, "delay_ns": {"count": 0, "mean": 0}})
        self.assertNotIn("delay_p99_us", nothing_came)


if __name__ == "__main__":
    unittest.main()
