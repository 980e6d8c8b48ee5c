"""Experiments with real guests (User Mode Linux) and the host's network: 1, 5, 11 and a part of 10.

What starts and measures is bench/real_guests.sh; its head draws who is connected to whom. Here is what
is asked of it. A session of it keeps guests and switches for all points of an experiment, and contestants
take turns. Bits per second are of TCP payload as the receiver's iperf3 counted them, except where a
metric says otherwise. Half of a round trip counts as delay. Shares of processor time are from
three tenths to nine tenths of a measurement: host_cpu_share of all processors, cpu_share of the switch's
process in processors (none where the kernel is the switch).
"""

import math
import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Callable, Iterable

from . import cores, processes, switches
from .points import LARGE_WRITE, SMALL_WRITE, parameters_text
from .study import MODES, PEERS, Study, StudyError

ANSWER_S = 300  # for one measurement, with the boot of its guests
ENDING_S = 30  # for all guests and switches to end
SECONDS_MIN, SECONDS_MIN_QUICK = 2, 1  # of one measurement: TCP has to get going


def experiments() -> dict[str, Callable[[Study], None]]:
    """Experiments that need real guests, by number."""
    return {"1": classic_table, "5": behind_a_line, "10": ping_pong_beside_others, "11": tcp_between_guests}


# --- the helper --------------------------------------------------------------------------------------------

@dataclass
class Session:
    """A running bench/real_guests.sh; it is started when it is first asked, and again after it has failed."""

    study: Study
    log: Path  # what guests and switches say
    process: subprocess.Popen | None = None
    answered: bytearray = field(default_factory=bytearray)  # of its output, what is not taken yet
    is_busy: bool = False  # from a question to the end of its answer

    def ask(self, word: str, **words: object) -> dict[str, float]:
        """One measurement: its metrics. StudyError with a sentence where it fails."""
        if self.process is None or self.process.poll() is not None:
            self.start()
        assert self.process and self.process.stdin
        self.process.stdin.write(" ".join([word, *(f"{key}={value}" for key, value in words.items())]) + "\n")
        self.process.stdin.flush()
        self.is_busy = True
        lines = self.lines()
        self.is_busy = False
        if lines[-1] != "done":
            raise StudyError(f"{lines[-1].removeprefix('failed ')}; see {self.log}")
        try:
            return {name: float(value) for name, value in (line.split("=", 1) for line in lines[:-1])}
        except ValueError:
            raise StudyError(f"not numbers, from bench/real_guests.sh: {'; '.join(lines)[:200]}") from None

    def start(self) -> None:
        self.end()
        self.is_busy = False
        environment = {**os.environ, "BUILD": str(self.study.build), "CPUS": processors(self.study),
                       "GUEST_CACHE": str(switches.guest_cache(self.study)),
                       "GUEST_WORK": str(self.study.work / "real")}
        self.process = processes.start([self.study.root / "bench/real_guests.sh"], self.log, env=environment,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def lines(self) -> list[str]:
        """The lines of one answer, of which the last says how it went."""
        assert self.process and self.process.stdout
        output = self.process.stdout.fileno()
        lines: list[str] = []
        deadline = time.monotonic() + ANSWER_S
        while not lines or not (lines[-1] == "done" or lines[-1].startswith("failed")):
            if b"\n" in self.answered:
                line, _, self.answered = self.answered.partition(b"\n")
                lines.append(line.decode(errors="replace"))
                continue
            ready, _, _ = select.select([output], [], [], max(deadline - time.monotonic(), 0))
            read = os.read(output, 65536) if ready else b""
            if not read:
                self.end()
                why = "ended" if ready else f"did not answer within {ANSWER_S} s"
                said = processes.last_words(self.log)
                raise StudyError(f"bench/real_guests.sh {why}; it said last: {said}")
            self.answered += read
        return lines

    def end(self) -> None:
        """Ends guests and switches: the end of its input asks for that, and a signal where it is busy."""
        process, self.process = self.process, None
        self.answered = bytearray()
        if process is None:
            return
        assert process.stdin
        try:
            process.stdin.close()
        except OSError:
            pass
        try:
            process.wait(0.2 if self.is_busy else ENDING_S)
        except subprocess.TimeoutExpired:
            _ask_to_end(process)
        processes.kill(process)


def _ask_to_end(process: subprocess.Popen) -> None:
    """A signal to its whole session, since unshare(1), which is its leader, passes none on."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(ENDING_S)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass


def processors(study: Study) -> str:
    """For guests 1 and 3, for guests 2 and 4 and the far host, and for a switch that polls."""
    guests = study.cpus.guests
    return f"{guests[0]} {guests[1] if len(guests) > 1 else study.cpus.switch} {study.cpus.switch}"


# --- points ------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Point:
    contestant: str
    word: str  # of bench/real_guests.sh
    words: dict[str, object]  # its arguments
    parameters: dict[str, object]  # its name in points.csv
    part: str = ""  # a contestant that fails here is left out of this part only

    def text(self) -> str:
        return parameters_text(**self.parameters)


def measure_all(study: Study, experiment: int, points: Iterable[Point]) -> None:
    """Measures what is missing, in the order of the list once a run: contestants take turns in it."""
    points = list(points)
    kinds = set(study.contestants(MODES + PEERS))
    seconds = math.ceil(max(study.seconds, SECONDS_MIN_QUICK if study.quick else SECONDS_MIN))
    session = Session(study, study.out / "real_guests.log")
    session.log.write_text("")
    try:
        for run in range(study.runs):
            todo = [point for point in points if point.contestant in kinds
                    and not study.points.has(experiment, point.contestant, point.text(), run)]
            if todo:
                study.say(f"experiment {experiment}, run {run + 1} of {study.runs}: real guests, "
                          f"{len(todo)} {'point' if len(todo) == 1 else 'points'}")
            for point in todo:
                if not study.is_out(experiment, point.contestant, point.part):
                    with study.attempt(experiment, point.contestant, point.part):
                        ask = partial(session.ask, point.word, contestant=point.contestant.replace(" ", "-"),
                                      seconds=seconds, **point.words)
                        metrics = cores.steady(study, ask)
                        study.points.add(experiment, point.contestant, point.text(), run, metrics)
    finally:
        session.end()


# --- 1: native, driver domain, guest -----------------------------------------------------------------------

def classic_table(study: Study) -> None:
    """TCP between the far host and: a namespace at the other end of a veth (native), a process of the host
    behind a TAP port of convoyd (driver domain: its packets cross convoyd and its uplink, but no guest),
    and a guest. Super-packets of up to 64 KiB, and packets of 1500 bytes that the sender cuts itself.
    """
    modes = ("convoy adaptive",) if study.quick else ("convoy off", "convoy natural", "convoy adaptive")
    places = [("native", "native"), *((mode, "driver") for mode in modes),
              *((mode, "guest") for mode in modes), ("bridge+tap", "guest")]
    points = []
    for frames in ("super",) if study.quick else ("super", "1500"):
        for direction in ("transmit", "receive"):
            for contestant, place in places:
                words = {"place": place, "direction": direction, "frames": frames}
                points.append(Point(contestant, "classic", words, words, f"place={place}"))
    measure_all(study, 1, points)


# --- 5: guests behind a line -------------------------------------------------------------------------------

def behind_a_line(study: Study) -> None:
    """TCP between guests and the far host, at the same time, over a line that a token bucket shapes.

    received_bps is counted at the far host's interface; line_share is what the shaper let through, headers
    of each segment counted, as a share of its rate; goodput_bps is what the receivers' iperf3 add up to.
    """
    kinds = ("convoy adaptive", "bridge+tap") if study.quick else (
        "convoy natural", "convoy adaptive", "bridge+tap")
    counts = (1, 2) if study.quick else (1, 2, 4)
    points = []
    for line in ("1gbit", "10gbit"):
        for direction in ("transmit",) if study.quick else ("transmit", "receive"):
            for count, contestant in [(1, "native"), *((count, kind) for count in counts for kind in kinds)]:
                words = {"line": line, "guests": count, "direction": direction}
                points.append(Point(contestant, "line", words, words, f"guests={count}"))
    measure_all(study, 5, points)


# --- 10: a ping-pong beside others -------------------------------------------------------------------------

def ping_pong_beside_others(study: Study) -> None:
    """Half a round trip between a guest and the far host, while: nothing else moves; another guest sends in
    bulk (other), or 64-byte datagrams without end (flood); the far host sends in bulk to the same guest
    (same), or without end to a guest that stands still (stopped).
    """
    kinds = ("convoy adaptive", "bridge+tap") if study.quick else (
        "convoy off", "convoy natural", "convoy adaptive", "bridge+tap", "native")
    points = []
    for beside in ("none", "other") if study.quick else ("none", "other", "same", "flood", "stopped"):
        for contestant in kinds:
            if (contestant, beside) != ("native", "stopped"):
                points.append(Point(contestant, "mixed", {"beside": beside},
                                    {"beside": beside, "guests": "real"}, f"beside={beside}"))
    measure_all(study, 10, points)


# --- 11: TCP between two guests ----------------------------------------------------------------------------

def tcp_between_guests(study: Study) -> None:
    """Throughput by the number of streams, and 64-byte requests and answers (TCP_RR), half a round trip.

    One stream is written and read in small and in large pieces: with small ones (iperf3's own 128 KiB) system
    calls, which are dear in User Mode Linux, take most of the receiver's processor, whatever the switch. In
    large ones also over a switch with two workers: one takes what the other delivers. Also within one guest,
    without any switch: what a guest's own TCP makes of one processor. A pair has two.
    """
    peers = ("bridge+tap", "native", "testpmd", "ovs-dpdk")
    modes = ("convoy natural", "convoy adaptive") if study.quick else MODES
    points = []
    for streams, write in ((1, SMALL_WRITE), (1, LARGE_WRITE), (16, SMALL_WRITE)) if study.quick else (
            (1, SMALL_WRITE), (1, LARGE_WRITE), *((count, SMALL_WRITE) for count in (4, 16, 64))):
        words = {"streams": streams, "write": write}
        points += [Point(contestant, "tcp", words, {"test": "stream", **words}, "stream")
                   for contestant in modes + peers]
        if not study.quick:
            points.append(Point("native", "within", words, {"test": "stream", **words, "place": "one-guest"},
                                "within"))
        if write == LARGE_WRITE and not study.quick:
            words = {**words, "workers": 2}
            points += [Point(contestant, "tcp", words, {"test": "stream", **words}, "workers")
                       for contestant in ("convoy natural", "convoy adaptive")]
    points += [Point(contestant, "rr", {}, {"test": "rr"}, "rr")
               for contestant in (modes[-1:] if study.quick else modes) + peers]
    measure_all(study, 11, points)
