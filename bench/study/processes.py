"""Programs that the study starts, so that none of them outlives it.

Each is a session of its own. The study adopts the orphans among their children and, at the end, kills
whatever still descends from it. Should the study itself be killed, the kernel kills what it had started.
"""

import ctypes
import os
import signal
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Callable, Sequence

from .study import StudyError

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_libc = ctypes.CDLL(None, use_errno=True)
_started: list[subprocess.Popen] = []


def adopt_orphans() -> None:
    """Makes this process the parent of its descendants whose own parents have ended."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _die_with_parent(last_signal: int) -> None:
    _libc.prctl(PR_SET_PDEATHSIG, last_signal, 0, 0, 0)


def start(command: Sequence[str | Path], log: Path, *, cpus: Sequence[int] = (), stdout: int | None = None,
          stdin: int = subprocess.DEVNULL, env: dict[str, str] | None = None) -> subprocess.Popen:
    """Starts a program on these processors (none: any), its output in `log`, or standard output piped.

    One that has its standard input piped is taken for a helper that tidies up after itself when asked to.
    """
    last_signal = signal.SIGTERM if stdin == subprocess.PIPE else signal.SIGKILL
    pin = ["taskset", "-c", ",".join(map(str, cpus))] if cpus else []
    with log.open("ab") as file:
        process = subprocess.Popen([*pin, *map(str, command)], stdin=stdin, stderr=file, env=env,
                                   stdout=file if stdout is None else stdout, text=True,
                                   start_new_session=True, preexec_fn=partial(_die_with_parent, last_signal))
    _started.append(process)
    return process


def stop(process: subprocess.Popen, patience_s: float = 15) -> None:
    """Asks a program to end, by the end of its input and a signal, then kills its whole session."""
    if process.poll() is None:
        if process.stdin:
            process.stdin.close()
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            pass
    kill(process)


def kill(process: subprocess.Popen) -> None:
    """Kills a program and all that is left of its session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()
    if process in _started:
        _started.remove(process)


def stop_all() -> None:
    """Ends everything that was started, and what it has left behind."""
    for process in reversed(_started[:]):
        stop(process)
    deadline = time.monotonic() + 5
    while (pids := descendants(os.getpid())) and time.monotonic() < deadline:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        _reap()
        time.sleep(0.01)


def descendants(pid: int) -> list[int]:
    """Children of a process and theirs."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def await_state(what: str, seconds: float, is_there: Callable[[], bool], process: subprocess.Popen,
                log: Path) -> None:
    """Waits for a state that a program brings about. StudyError if it ends or takes too long."""
    deadline = time.monotonic() + seconds
    while not is_there():
        if process.poll() is not None:
            raise StudyError(f"{what}: it ended with status {process.returncode}: {last_words(log)}")
        if time.monotonic() > deadline:
            raise StudyError(f"{what}: not within {seconds:g} s: {last_words(log)}")
        time.sleep(0.01)


def last_words(log: Path) -> str:
    """The last line that a program has said."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return lines[-1][:300] if lines else "it said nothing"
