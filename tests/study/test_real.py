"""Goal: what bench/real_guests.sh answers becomes points, contestants in turns and none twice; a sentence of
failure, a helper that dies and one that says nothing leave out one contestant's part, and the others go on;
nothing outlives an experiment. Method: the experiments with real guests on a script that stands in for it.
"""

import os
import signal
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from study import processes, real  # noqa: E402
from study.points import Points  # noqa: E402
from study.study import Cpus, Study  # noqa: E402

# Writes down what it is asked; $FAKE says what goes wrong, and with which contestant.
HELPER = """#!/bin/bash
echo "start $CPUS" >>"$FAKE_LOG"
trap 'echo ended >>"$FAKE_LOG"; exit 143' TERM
while read -r line; do
    echo "$line" >>"$FAKE_LOG"
    case "$FAKE:$line" in
    fails:*contestant=bridge+tap*) echo "failed guest tap1 did not boot" ;;
    dies:*contestant=bridge+tap*) echo "out of everything" >&2; exit 1 ;;
    hangs:*contestant=bridge+tap*) sleep 100 & echo "$!" >>"$FAKE_LOG"; wait ;;
    babbles:*contestant=bridge+tap*) echo "received_bps=many"; echo "done" ;;
    *) echo "received_bps=1.5e9"; echo "host_cpu_share=0.25"; echo "done" ;;
    esac
done
echo ended >>"$FAKE_LOG"
"""


class RealTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="study-real-test.")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        helper = self.folder / "bench/real_guests.sh"
        helper.parent.mkdir()
        helper.write_text(HELPER)
        helper.chmod(0o755)
        self.log = self.folder / "asked"

    def study(self, runs: int = 2, peers: tuple[str, ...] = ("bridge+tap", "native")) -> Study:
        return Study(out=self.folder, build=self.folder, root=self.folder, work=self.folder, quick=True, runs=runs,
                     seconds=0.25, warm_up=0.1, cpus=Cpus([4, 5], 7), points=Points(self.folder / "points.csv"),
                     peers=list(peers), say=lambda text: None,
                     facts={"unwatched": "nothing is measured here"})

    def run_eleven(self, study: Study, fake: str = "") -> list[str]:
        """Experiment 11; what the helper was asked."""
        with mock.patch.dict(os.environ, FAKE=fake, FAKE_LOG=str(self.log)):
            real.experiments()["11"](study)
        self.assertEqual(processes.descendants(os.getpid()), [])
        return self.log.read_text().splitlines()

    def assert_gone(self, asked: list[str]) -> None:
        """What the helper had started, whose numbers it wrote down, has ended with it."""
        for line in filter(str.isdecimal, asked):
            deadline = time.monotonic() + 5
            while Path(f"/proc/{line}").exists():
                self.assertLess(time.monotonic(), deadline, f"process {line} lives")
                time.sleep(0.01)

    def kept(self, study: Study, contestant: str) -> set[tuple[str, str, str, int]]:
        return {(point.get("test", ""), point.get("streams", ""), point.get("write", ""), run)
                for point, run, _ in study.points.select(11, contestant)}

    def test_answers_become_points_and_contestants_take_turns(self) -> None:
        study = self.study()
        asked = self.run_eleven(study)
        self.assertEqual(asked[:3], ["start 4 5 7", "tcp contestant=convoy-natural seconds=1 streams=1 write=131072",
                                     "tcp contestant=convoy-adaptive seconds=1 streams=1 write=131072"])
        self.assertEqual(asked[-1], "ended")
        self.assertEqual(asked.count("start 4 5 7"), 1)
        every = {(*words, run) for run in (0, 1)
                 for words in (("stream", "1", "131072"), ("stream", "1", "1048576"),
                               ("stream", "16", "131072"), ("rr", "", ""))}
        for contestant in ("convoy adaptive", "bridge+tap", "native"):
            self.assertEqual(self.kept(study, contestant), every)
        self.assertEqual(study.points.get(11, "native", "test=rr", 1)["received_bps"], 1.5e9)
        self.assertFalse(study.points.select(11, "testpmd"), "it does not take part")
        self.assertEqual(study.failed, {})

    def test_nothing_is_measured_twice(self) -> None:
        first = len(self.run_eleven(self.study(runs=1)))
        again = self.run_eleven(self.study(runs=2))[first:]
        self.assertEqual(len(again), first, "the second run, and not the first once more")
        self.assertEqual(self.run_eleven(self.study(runs=2))[2 * first:], [], "not even a start")

    def test_a_failure_leaves_out_a_part_of_one(self) -> None:
        for fake, sentence in (("fails", "guest tap1 did not boot"), ("dies", "out of everything"),
                               ("hangs", "did not answer within"), ("babbles", "received_bps=many")):
            with self.subTest(fake), mock.patch.object(real, "ANSWER_S", 0.5):
                (self.folder / "points.csv").unlink(missing_ok=True)
                study = self.study()
                asked = self.run_eleven(study, fake)
                self.assertEqual(set(study.failed), {"11 bridge+tap stream", "11 bridge+tap rr"})
                self.assertIn(sentence, study.failed["11 bridge+tap rr"])
                self.assertEqual(self.kept(study, "bridge+tap"), set())
                self.assertEqual(len(self.kept(study, "native")), 8)
                tried = [line for line in asked if "contestant=bridge+tap" in line]
                self.assertEqual(len(tried), 2, "once in each part")
                self.assert_gone(asked)
                self.log.unlink()

    def test_an_interrupt_ends_the_helper_in_the_middle(self) -> None:
        def interrupt(_number: int, _frame: object) -> None:
            raise KeyboardInterrupt
        before = signal.signal(signal.SIGALRM, interrupt)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, 1)
        study = self.study()
        with self.assertRaises(KeyboardInterrupt):
            self.run_eleven(study, "hangs")
        asked = self.log.read_text().splitlines()
        self.assertEqual(asked[-1], "ended", "it had time for its own end")
        self.assert_gone(asked)
        self.assertEqual(processes.descendants(os.getpid()), [])
        self.assertEqual(self.kept(study, "native"), set(), "its turn had not come")
        self.assertEqual(len(self.kept(study, "convoy adaptive")), 1, "what was measured is kept")


if __name__ == "__main__":
    unittest.main()
