"""The words of ./study's command line; whatever is wrong with them is said in a sentence."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Sequence

EXPERIMENTS = tuple(str(number) for number in range(1, 12))
USAGE_STATUS = 2

ABOUT = """Measures convoyd in all its modes, and its peers, and writes a report with plots.
It can be interrupted: the same command goes on where it stopped. Experiments:
   1  native, driver domain, guest                   7  delay and jitter against load
   2  throughput against convoy size, and c0, c1     8  the model's predictions
   3  throughput against frame size                  9  steps, ramps and bursts of load
   4  the number of guests                          10  a quiet guest beside a bulk, a flood, a stopped one
   5  guests behind a line of 1 and 10 Gbit/s       11  TCP between real guests
   6  processor time and memory at fixed loads
1, 5, 11 and a part of 10 boot real guests, and need root."""


@dataclass
class Arguments:
    quick: bool
    peers: bool
    only: list[str]
    out: Path
    runs: int
    seconds: float
    build: Path
    check: bool  # look at the arguments only


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_STATUS, f"error: {message}; ./study --help says what there is.\n")


def _experiments(text: str) -> list[str]:
    asked = text.split(",")
    for word in asked:
        if word not in EXPERIMENTS:
            raise argparse.ArgumentTypeError(
                f'there is no experiment "{word}": they are 1 to {EXPERIMENTS[-1]}, such as 2,3,7')
    return [number for number in EXPERIMENTS if number in asked]


def _runs(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f'"{text}" is no number of runs from 1 to 100')
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.05 <= seconds <= 600:
        raise argparse.ArgumentTypeError(f'"{text}" is no time from 0.05 to 600 seconds')
    return seconds


def parse(words: Sequence[str], root: Path) -> Arguments:
    """Ends the program with a sentence and status 2 where a word is wrong. Paths are below `root`."""
    parser = _Parser(prog="./study", description=ABOUT, allow_abbrev=False,
                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer points, in under five minutes")
    parser.add_argument("--peers", action="store_true",
                        help="also Open vSwitch with DPDK, unpacked, and DPDK's testpmd, installed")
    parser.add_argument("--only", type=_experiments, metavar="N,N,...", default=list(EXPERIMENTS),
                        help="these experiments only")
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="for the results: build/study, or build/study-quick")
    parser.add_argument("--runs", type=_runs, metavar="N", default=3,
                        help="of everything; the median counts (3)")
    parser.add_argument("--seconds", type=_seconds, metavar="S",
                        help="of one measurement, at least (1, quick 0.25)")
    parser.add_argument("--build", type=Path, metavar="DIR", default=Path("build/gcc"),
                        help="with the programs, which are built there (build/gcc)")
    parser.add_argument("--check-arguments", action="store_true", help=argparse.SUPPRESS)
    found = parser.parse_args(words)
    out = found.out or Path("build/study-quick" if found.quick else "build/study")
    seconds = found.seconds or (0.25 if found.quick else 1.0)
    return Arguments(found.quick, found.peers, found.only, root / out, found.runs, seconds,
                     root / found.build, found.check_arguments)
