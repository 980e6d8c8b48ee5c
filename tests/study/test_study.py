"""Goal: the study goes on where it was interrupted and measures nothing twice; a contestant that dies or fails is
named and left out while the others are measured; it leaves no process behind; and mistakes on its command line
give a sentence. Method: the real study as a process of its own, on programs that stand in for the switch and
the generator (fakes.py).
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
import unittest
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fakes import Fakes  # noqa: E402

BENCH = Path(__file__).resolve().parents[2] / "bench"
# Experiment 3, quick: two sizes and super-packets of each contestant, in two runs.
CONTESTANTS = ("convoy off", "convoy natural", "convoy adaptive")
SIZES, RUNS = 3, 2
POINTS = len(CONTESTANTS) * SIZES * RUNS


class StudyTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="study-test.")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.out = self.folder / "out"
        self.fakes = Fakes(self.folder / "build")

    def study(self, *words: str) -> subprocess.CompletedProcess:
        """One run of it, with its own folder for passing files, so that what it leaves there is seen."""
        (self.folder / "tmp").mkdir(exist_ok=True)
        return subprocess.run(
            [sys.executable, "-m", "study", "--quick", "--only", "3", "--seconds", "0.05", "--runs", str(RUNS),
             "--build", str(self.fakes.folder), "--out", str(self.out), *words],
            cwd=BENCH, capture_output=True, text=True, timeout=100,
            env={**os.environ, "TMPDIR": str(self.folder / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"})

    def points(self) -> Counter:
        """How often each point is in the file: rows of one metric."""
        with (self.out / "points.csv").open(newline="") as file:
            return Counter((row["contestant"], row["parameters"], row["run"])
                           for row in csv.DictReader(file) if row["metric"] == "received_pps")

    def machine(self) -> dict:
        return json.loads((self.out / "machine.json").read_text())

    def assert_nothing_left(self) -> None:
        self.assertEqual(list((self.folder / "tmp").iterdir()), [])
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.assertNotIn(str(self.folder), process.read_text(errors="replace"))
            except OSError:
                continue

    def test_whole(self) -> None:
        done = self.study()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(set(self.points().values()), {1})
        self.assertEqual(len(self.points()), POINTS)
        self.assertEqual(len(self.fakes.runs()), POINTS)
        machine = self.machine()
        self.assertEqual((machine["kind"], machine["runs"], machine["done"]), ("quick", RUNS, ["3"]))
        self.assertIn("ovs-dpdk", machine["missing"])
        self.assertEqual(machine["features"]["convoy natural"], ["VERSION_1"])
        self.assert_nothing_left()

    def test_contestants_take_turns(self) -> None:
        self.study()
        with (self.out / "points.csv").open(newline="") as file:
            order = [(row["run"], row["contestant"]) for row in csv.DictReader(file)]
        turns = [turn for number, turn in enumerate(order) if not number or order[number - 1] != turn]
        self.assertEqual(turns, [(str(run), name) for run in range(RUNS) for name in CONTESTANTS])

    def test_interrupted_and_resumed(self) -> None:
        self.fakes.order("interrupt", "8")
        done = self.study()
        self.assertEqual(done.returncode, 130, done.stdout + done.stderr)
        self.assertEqual(len(self.points()), 7)
        self.assertEqual(self.machine()["done"], [])
        self.assert_nothing_left()

        self.fakes.order("interrupt", None)
        done = self.study()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(set(self.points().values()), {1})
        self.assertEqual(len(self.points()), POINTS)
        self.assertEqual(len(self.fakes.runs()), POINTS + 1)  # the one that was interrupted

    def test_finished_is_measured_anew(self) -> None:
        """Of the experiments that are asked for; the others' points stay, and what was is never overwritten."""
        self.study()
        with (self.out / "points.csv").open("a") as file:
            file.write("11,native,streams=1,0,received_bps,1\n")
        self.study()
        self.study()
        self.assertEqual(len(self.fakes.runs()), 3 * POINTS)
        text = (self.out / "points.csv").read_text()
        self.assertIn("\n11,native,streams=1,0,received_bps,1.0\n", text)
        self.assertEqual(len(self.points()), POINTS)
        self.assertEqual(set(self.points().values()), {1})
        for name in ("previous", "previous-2"):
            self.assertTrue((self.out / name / "points.csv").exists(), name)

    def test_other_programs_are_measured_anew(self) -> None:
        self.fakes.order("interrupt", "8")
        self.study()
        self.fakes.order("interrupt", None)
        with (self.fakes.folder / "src/convoyd").open("a") as program:
            program.write("# another build\n")
        self.study()
        self.assertEqual(len(self.fakes.runs()), POINTS + 8)
        self.assertEqual(len(self.points()), POINTS)

    def test_contestant_that_dies(self) -> None:
        self.fakes.order("dies", 'hold: "natural"')
        done = self.study()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        measured = {contestant for contestant, _, _ in self.points()}
        self.assertEqual(measured, set(CONTESTANTS) - {"convoy natural"})
        self.assertEqual(len(self.points()), POINTS - SIZES * RUNS)
        failed = self.machine()["failed"]
        self.assertEqual(list(failed), ["3 convoy natural"])
        self.assertIn("a fault that was made on purpose", failed["3 convoy natural"])
        self.assertIn("convoy natural is left out", done.stdout)
        self.assert_nothing_left()

    def test_generator_that_fails(self) -> None:
        self.fakes.order("fails", "")
        done = self.study()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertFalse((self.out / "points.csv").exists())
        self.assertIn("guest 1 hangs", done.stdout)
        self.assertNotIn("Traceback", done.stderr)

    def test_another_kind_in_the_same_folder(self) -> None:
        self.study()
        done = self.study("--seconds", "0.06")
        self.assertEqual(done.returncode, 2)
        self.assertIn("give another --out", done.stderr)
        self.assertEqual(len(self.points()), POINTS)

    def test_mistakes(self) -> None:
        for words, said in (
                (["--only", "12"], 'there is no experiment "12"'), (["--only", "2,x"], 'there is no experiment "x"'),
                (["--only", ""], 'there is no experiment ""'), (["--runs", "0"], '"0" is no number of runs'),
                (["--runs", "two"], '"two" is no number of runs'), (["--seconds", "-1"], '"-1" is no time'),
                (["--seconds", "nan"], '"nan" is no time'), (["--nonsense"], "--nonsense"),
                (["stray"], "stray"), (["--out"], "--out"), (["--build", "/nonexistent"], "/nonexistent has no"),
                (["--qu"], "--qu")):
            with self.subTest(words=words):
                done = self.study(*words)
                self.assertEqual(done.returncode, 2)
                self.assertTrue(done.stderr.startswith("error: "), done.stderr)
                self.assertIn(said, done.stderr)
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertEqual(self.fakes.runs(), [])


if __name__ == "__main__":
    unittest.main()
