"""Programs that stand in for convoyd, its client and convoy-bench, in a build folder of their own.

They behave as the study sees the real ones, in no time, and note how often they were run. What is to go
wrong is said by files in the folder: see Fakes.
"""

import sys
from pathlib import Path

CONVOYD = """
import os, re, socket, sys, time
if "--version" in sys.argv:
    sys.exit(print("convoyd made up"))
text = open(sys.argv[sys.argv.index("--config") + 1]).read()
folder = re.search("run-dir: (.*)", text)[1]
sockets = []
for name in [f"{name}.sock" for name in re.findall("name: (\\\\w+)", text)] + ["control.sock"]:
    sockets.append(socket.socket(socket.AF_UNIX))
    sockets[-1].bind(f"{folder}/{name}")
dies = os.path.join(HERE, "dies")
while True:
    time.sleep(0.002)
    if os.path.exists(dies) and open(dies).read() in text and os.path.exists(os.path.join(HERE, "measuring")):
        sys.exit("convoyd: a fault that was made on purpose")
"""

BENCH = """
import json, os, signal, sys, time
if "--version" in sys.argv:
    sys.exit(print("convoy-bench made up"))
with open(os.path.join(HERE, "runs"), "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\\\n")
count = len(open(os.path.join(HERE, "runs")).readlines())
interrupt = os.path.join(HERE, "interrupt")
if os.path.exists(interrupt) and count == int(open(interrupt).read()):
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(60)
measuring = os.path.join(HERE, "measuring")
open(measuring, "w").close()
time.sleep(0.03)
os.remove(measuring)
if os.path.exists(os.path.join(HERE, "fails")):
    sys.exit("convoy-bench: guest 1 hangs")
print(json.dumps({"seconds": 0.05, "sent": 100, "received": 90, "loss": 0.1, "late": 1, "sent_pps": 2e6,
                  "received_pps": 1.8e6, "received_bps": 9e8, "kicks": 5, "calls": 10, "kicks_per_packet": 0.05,
                  "calls_per_packet": 0.1, "fairness": 1.0, "jitter_ns": 250.0, "features": ["VERSION_1"],
                  "delay_ns": {"count": 6, "mean": 1500, "p50": 1000, "p99": 9000, "p99_9": 9500, "max": 9900},
                  "switch": None, "step_ns": 0}))
"""

IDLE = """
import sys
print("{}")
"""


CORE_WATCH = """
import os, sys
sys.stdin.read()
path = os.path.join(HERE, "cores")
lines = open(path).read().splitlines() if os.path.exists(path) else []
said = lines.pop(0) if lines else "100 1.0"
if lines or os.path.exists(path):
    open(path, "w").write("".join(line + "\\n" for line in lines))
if said == "not allowed":
    print("core-watch: no thread of real-time priority", file=sys.stderr)
    sys.exit(3)
if said == "away":
    sys.exit(print('{"looks": 0, "missed": 10}'))
missed = 0
if said == "mostly away":
    said, missed = "100 1.0", 30
print('{"looks": 10, "missed": %d, "round_trip_ns": %s, "slowdown": %s}' % (missed, *said.split()))
"""


class Fakes:
    """The folder. Its files: `runs`, a line for each run of convoy-bench; `dies`, words of a configuration with
    which convoyd dies while it is measured; `cores`, what core-watch says, a line each time: a round trip and a
    slowdown, "away", "mostly away" or "not allowed"; `interrupt`, the run in which the study gets SIGINT;
    `fails`: every run of convoy-bench finds a fault."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for path, text in (("src/convoyd", CONVOYD), ("cli/convoy", IDLE), ("bench/convoy-bench", BENCH),
                           ("bench/core-watch", CORE_WATCH),
                           ("tests/lib/convoy-traffic", IDLE), ("tests/lib/convoy-watch", IDLE)):
            program = folder / path
            program.parent.mkdir(parents=True, exist_ok=True)
            program.write_text(f"#!{sys.executable}\nHERE = {str(folder)!r}\n" + text.replace("\\\\", "\\"))
            program.chmod(0o755)

    def runs(self) -> list[str]:
        try:
            return (self.folder / "runs").read_text().splitlines()
        except FileNotFoundError:
            return []

    def order(self, name: str, text: str | None) -> None:
        """Makes one of the files, or takes it away."""
        if text is None:
            (self.folder / name).unlink()
        else:
            (self.folder / name).write_text(text)
