"""Goal: a measurement that the host disturbed is made again, whatever it said, and the one that was disturbed
least is kept; a machine that cannot be watched is measured all the same, once. Method: the study's own function
on measurements that a test makes up, with a core-watch that says what the test wants (fakes.py); and the real
core-watch, where it may run, on two processors of this machine.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from fakes import Fakes  # noqa: E402
from study import cores  # noqa: E402
from study.points import Points  # noqa: E402
from study.study import Cpus, Study, StudyError  # noqa: E402

NOT_ALLOWED = 3  # its status without CAP_SYS_NICE
REAL = Path(os.environ.get("CORE_WATCH", ""))


class CoresTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="cores-test.")
        self.addCleanup(folder.cleanup)
        work = Path(folder.name)
        self.fakes = Fakes(work / "build")
        self.made = 0
        self.study = Study(out=work, build=work / "build", root=work, work=work, quick=False, runs=1, seconds=0.1,
                           warm_up=0, cpus=Cpus([0], 1), points=Points(work / "points.csv"), peers=[],
                           say=lambda text: None)
        for name in ("FIRST_LOOK_S", "PAUSE_S"):
            self.addCleanup(setattr, cores, name, getattr(cores, name))
            setattr(cores, name, 0.0)

    def measure(self) -> dict[str, float | None]:
        self.made += 1
        return {"received_pps": float(self.made)}

    def steady(self, *said: str) -> dict[str, float | None]:
        """One measurement, with these words of core-watch: the first before all others."""
        self.fakes.order("cores", "".join(line + "\n" for line in said))
        return cores.steady(self.study, self.measure)

    def test_quiet(self) -> None:
        found = self.steady("100 1.0", "140 1.1")
        self.assertEqual((self.made, found["repeats"]), (1, 0))
        self.assertEqual((found["round_trip_ns"], found["slowdown"], found["received_pps"]), (140, 1.1, 1))
        self.assertLessEqual(found["disturbance"] or 9, 1)

    def test_far_and_shared_are_made_again(self) -> None:
        found = self.steady("100 1.0", "400 1.0", "60 1.9", "110 1.0")
        self.assertEqual((self.made, found["received_pps"], found["repeats"]), (3, 3, 2))

    def test_least_disturbed_is_kept(self) -> None:
        found = self.steady("100 1.0", "400 1.0", "200 1.0", "300 1.0", "390 1.0")
        self.assertEqual((self.made, found["received_pps"]), (cores.TRIES, 2))
        self.assertEqual((found["round_trip_ns"], found["repeats"]), (200, cores.TRIES - 1))

    def test_processor_that_was_away_is_no_quiet_one(self) -> None:
        found = self.steady("100 1.0", "away", "400 1.0", "mostly away", "200 1.0")
        self.assertEqual((self.made, found["received_pps"]), (cores.TRIES, 2))

    def test_nearer_than_known(self) -> None:
        """The first look was at far processors; what is near is learnt, also for later measurements."""
        self.assertEqual(self.steady("400 1.0", "110 1.0")["repeats"], 0)
        self.fakes.order("cores", "390 1.0\n120 1.0\n")
        self.assertEqual(cores.steady(self.study, self.measure)["repeats"], 1)

    def test_threads_of_one_core_are_not_the_nearest(self) -> None:
        found = self.steady("40 1.9", "41 1.9", "100 1.0")
        self.assertEqual((found["repeats"], self.study.facts["nearest_ns"]), (1, 100))

    def test_quick_tries_less(self) -> None:
        self.study.quick = True
        self.steady("100 1.0", *["400 1.0"] * 9)
        self.assertEqual(self.made, cores.TRIES_QUICK)

    def test_tries_in_vain_end(self) -> None:
        """A machine whose processors always share a core: it is measured as it is."""
        for _ in range(cores.IN_VAIN_MOST):
            self.steady(*["40 1.9"] * (cores.TRIES + 1))
        self.assertEqual(self.made, cores.IN_VAIN_MOST * cores.TRIES)
        self.assertEqual(self.steady("40 1.9")["repeats"], 0)

    def test_resumed(self) -> None:
        """What was near in the part that is measured already is known."""
        self.study.points.add(3, "convoy off", "size=64", 0, self.steady("100 1.0", "100 1.0"))
        del self.study.facts["nearest_ns"]
        self.assertEqual(self.steady("400 1.0", "400 1.0", "110 1.0")["repeats"], 1)

    def test_not_allowed(self) -> None:
        found = self.steady("not allowed", "400 1.0")
        self.assertEqual((self.made, found["disturbance"]), (1, 0))
        self.assertNotIn("round_trip_ns", found)
        self.assertIn("real-time priority", str(cores.describe(self.study)))

    def test_try_that_fails_costs_nothing(self) -> None:
        def fail_later() -> dict[str, float | None]:
            if self.made:
                raise StudyError("no")
            return self.measure()

        self.fakes.order("cores", "100 1.0\n400 1.0\n")
        self.assertEqual(cores.steady(self.study, fail_later)["received_pps"], 1)

    def test_what_fails_is_not_made_again(self) -> None:
        def fail() -> dict[str, float | None]:
            self.made += 1
            raise StudyError("no")

        self.fakes.order("cores", "100 1.0\n400 1.0\n")
        with self.assertRaises(StudyError):
            cores.steady(self.study, fail)
        self.assertEqual(self.made, 1)

    def test_described(self) -> None:
        self.study.points.add(3, "convoy off", "size=64", 0, self.steady("100 1.0", "400 1.0", "100 1.0"))
        self.study.points.add(3, "convoy off", "size=64", 1, self.steady(*["300 1.0"] * cores.TRIES))
        self.assertEqual(list(cores.describe(self.study).values()), [100.0, 1 + cores.TRIES - 1, 1])


@unittest.skipUnless(REAL.is_file(), "no core-watch is named by $CORE_WATCH")
class CoreWatchTest(unittest.TestCase):
    def watch(self, *words: str, seconds: float = 0) -> subprocess.CompletedProcess:
        process = subprocess.Popen([REAL, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        time.sleep(seconds)
        said, complaint = process.communicate(timeout=10)
        return subprocess.CompletedProcess(process.args, process.returncode, said, complaint)

    def test_looks_while_others_work(self) -> None:
        cpus = sorted(os.sched_getaffinity(0))[:2]
        if len(cpus) < 2:
            self.skipTest("this needs two processors")
        busy = [subprocess.Popen(["taskset", "-c", str(cpu), "sh", "-c", "while :; do :; done"]) for cpu in cpus]
        try:
            done = self.watch(*map(str, cpus), seconds=1)
        finally:
            for process in busy:
                process.kill()
                process.wait()
        if done.returncode == NOT_ALLOWED:
            self.skipTest(done.stderr)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        seen = json.loads(done.stdout)
        self.assertGreater(seen["looks"], seen["missed"])
        self.assertTrue(10 < seen["round_trip_ns"] <= 2000, seen)
        self.assertTrue(0.5 < seen["slowdown"] <= 3, seen)

    def test_mistakes(self) -> None:
        for words in ([], ["0"], ["0", "0"], ["0", "x"], ["-1", "0"], ["0", "1", "2"], ["0", ""], ["0", "99999"]):
            done = self.watch(*words)
            self.assertEqual((done.returncode, done.stdout), (2, ""), words)
            self.assertIn("usage: core-watch CPU CPU", done.stderr)

    def test_no_such_processor(self) -> None:
        done = self.watch("0", "1023")
        self.assertIn(done.returncode, (1, NOT_ALLOWED))
        self.assertIn("processor", done.stderr)


if __name__ == "__main__":
    unittest.main()
