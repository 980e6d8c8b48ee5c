"""The study from start to end: python3 -m study, in the folder above this one; ./study prepares it all."""

import fcntl
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, IO

from . import arguments, machine, peers, processes, real, synthetic
from .points import Points
from .study import Cpus, Study, StudyError

ROOT = Path(__file__).resolve().parents[2]
QUICK_S = 250  # a quick study stops measuring then; what runs is ended, and the report follows
QUICK_LEAST_S = 100  # of measuring, however long the building took
PROGRAMS = ("src/convoyd", "cli/convoy", "bench/convoy-bench", "bench/core-watch",
            "tests/lib/convoy-traffic", "tests/lib/convoy-watch")
KEPT = ("points.csv", machine.FILE, "report.html")  # of a study that another one replaces

Experiment = Callable[[Study], None]


class Stopped(BaseException):
    """A signal: whoever asked is told by `status` how the study ended."""

    def __init__(self, why: str, status: int) -> None:
        super().__init__(why)
        self.status = status


def main() -> int:
    asked = arguments.parse(sys.argv[1:], ROOT)
    if asked.check:
        return 0
    started = time.monotonic() - float(os.environ.get("STUDY_SECONDS", "0"))
    work = Path(tempfile.mkdtemp(prefix="convoy-study."))
    processes.adopt_orphans()
    _take_signals()
    try:
        with _lock(asked.out):
            return _run(_study(asked, work, started), asked, started)
    except StudyError as error:
        print(f"error: {error}", file=sys.stderr)
        return arguments.USAGE_STATUS
    except Stopped as stopped:
        print(f"stopped: {stopped}", file=sys.stderr)
        return stopped.status
    finally:
        _ignore_signals()
        processes.stop_all()
        shutil.rmtree(work, ignore_errors=True)


def _study(asked: arguments.Arguments, work: Path, started: float) -> Study:
    missing = [program for program in PROGRAMS if not os.access(asked.build / program, os.X_OK)]
    if missing:
        raise StudyError(f"{asked.build} has no {', '.join(missing)}: build them with "
                         f"ninja -C {asked.build} {' '.join(missing)}")

    def say(text: str) -> None:
        passed = int(time.monotonic() - started)
        print(f"[{passed // 60:3d}:{passed % 60:02d}] {text}", flush=True)

    return Study(out=asked.out, build=asked.build.resolve(), root=ROOT, work=work, quick=asked.quick,
                 runs=asked.runs, seconds=asked.seconds, warm_up=min(0.3, asked.seconds / 2), cpus=_cpus(),
                 points=Points(asked.out / "points.csv"), peers=[], say=say)


def _cpus() -> Cpus:
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < 2:
        raise StudyError("this needs two processors: one for the guests and one for the switch")
    return Cpus(mine[:-1], mine[-1])


def _lock(out: Path) -> IO[str]:
    """Held until it is closed: two studies must not write into one folder."""
    out.mkdir(parents=True, exist_ok=True)
    file = (out / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise StudyError(f"another study is writing into {out}: wait for it, or give --out") from None
    return file


# --- signals, and the time limit of a quick study -------------------------------------------------------

def _take_signals() -> None:
    def stop(number: int, _frame: object) -> None:
        if number == signal.SIGALRM:
            raise Stopped("the time of a quick study is over; what is left is not measured", 0)
        _ignore_signals()
        raise Stopped("what was measured is kept; the same command goes on from here", 128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, stop)


def _ignore_signals() -> None:
    """From here on nothing is left to do but to end what was started."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


# --- experiments ----------------------------------------------------------------------------------------

def _run(study: Study, asked: arguments.Arguments, started: float) -> int:
    done = begin(study, asked.only)
    if study.quick:
        signal.setitimer(signal.ITIMER_REAL, max(started + QUICK_S - time.monotonic(), QUICK_LEAST_S))

    def write_machine() -> None:
        machine.write(study.out, machine.describe(study, asked.only, done, asked.runs, sys.argv[1:]))

    study.say(f"{'quick' if study.quick else 'full'} study: experiments {', '.join(asked.only)}, "
              f"{asked.runs} runs, results in {study.out}")
    status = 0
    try:
        peers.find(study, asked.peers)
        write_machine()
        # Run by run, so that one that is stopped has something of everything.
        for study.runs in range(1, asked.runs + 1):
            for number in asked.only:
                for part in list_of(number):
                    with study.attempt(int(number), "all"):
                        part(study)
                if study.runs == asked.runs:
                    done = sorted({*done, number}, key=int)
                write_machine()
    except Stopped as stopped:
        signal.setitimer(signal.ITIMER_REAL, 0)
        study.say(f"stopped: {stopped}")
        status = stopped.status
    processes.stop_all()
    write_machine()
    write_report(study)
    if study.failed:
        study.say("not measured: " + "; ".join(f"{what} ({why})" for what, why in study.failed.items()))
    return status


def list_of(number: str) -> list[Experiment]:
    """The functions of an experiment: with synthetic guests, then with real ones."""
    found = [synthetic.experiments().get(number), real.experiments().get(number)]
    return [function for function in found if function]


def begin(study: Study, only: list[str]) -> list[str]:
    """Goes on with what is in the folder, or begins anew: the experiments that are done already.

    A study is begun anew where it is done as a whole, or where it was made with other programs: what was
    there is moved to a folder "previous". Where only the experiments that are asked for are done, and they
    are not all that there are, theirs are measured anew, and the others' points stay.
    """
    before = machine.read(study.out)
    if not before:
        return []
    kind = "quick" if study.quick else "full"
    if before.get("kind") != kind or before.get("seconds") != study.seconds:
        raise StudyError(f"{study.out} holds a {before.get('kind')} study with {before.get('seconds')} s a "
                         f"measurement, which does not go with this one: give another --out, or remove it")
    was_done = before.get("done")
    done = [str(number) for number in was_done] if isinstance(was_done, list) else []
    is_other_build = before.get("build_id") != machine.build_id(study)
    if is_other_build or set(only) <= set(done) and set(only) == set(arguments.EXPERIMENTS):
        _put_aside(study)
        return []
    if set(only) <= set(done):
        _keep(study, shutil.copy2)
        study.points.drop(only)
        study.say(f"experiments {', '.join(only)} are measured anew")
        done = [number for number in done if number not in only]
    study.say(f"going on with the study of {before.get('date')} in {study.out}")
    return done


def _put_aside(study: Study) -> None:
    _keep(study, shutil.move)
    study.points = Points(study.out / "points.csv")


def _keep(study: Study, how: Callable[[Path, Path], object]) -> None:
    """Moves or copies the results into a folder that was not there: previous, previous-2, and so on."""
    names = itertools.chain(["previous"], (f"previous-{number}" for number in itertools.count(2)))
    previous = next(folder for name in names if not (folder := study.out / name).exists())
    previous.mkdir()
    for name in KEPT:
        if (study.out / name).exists():
            how(study.out / name, previous / name)
    study.say(f"the last study's results are in {previous}")


def write_report(study: Study) -> None:
    """report.html; a report that cannot be made is said, and the points are kept all the same."""
    done = subprocess.run([sys.executable, "-m", "study.report", str(study.out)], cwd=ROOT / "bench",
                          capture_output=True, text=True)
    if done.returncode:
        why = (done.stderr.strip() or "no reason given").splitlines()[-1]
        study.say(f"the report cannot be made: {why}")
    else:
        study.say(f"report: {study.out / 'report.html'}")


if __name__ == "__main__":
    sys.exit(main())
