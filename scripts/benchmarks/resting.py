"""`scripts/bench resting`: what a daemon costs that has nothing to do but to keep its links.

Three homes of one ledger, a daemon on each, the middle one linked to both others: its processor
time, memory, open files, threads and written bytes over some seconds, after a pause in which what
starting brings along has passed. Linux only: figures come from /proc.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from openledger_node.api import initialise, open_home
from scripts.benchmarks.figures import Figure, summarise
from scripts.benchmarks.ledger import report, say
from scripts.benchmarks.machine import Others, this_machine

DEFAULT_SECONDS: Final = 60
PAUSE_S: Final = 5.0
LINKS: Final = 2
OLN: Final = (sys.executable, "-m", "openledger_node")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Resting:
    """A running daemon and what the system says of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home / "node.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*OLN, "--home", str(home), "--json", "node", "--listen", "127.0.0.1:0"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        self.address = f"{ready['node_id']}@{ready['listening'][0]}"

    @property
    def _proc(self) -> Path:
        return Path("/proc") / str(self.process.pid)

    def processor_s(self) -> float:
        """User and system time so far."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory_mib(self) -> float:
        """Resident now, mapped files of the store included."""
        lines = (self._proc / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024

    def threads(self) -> int:
        return len(list((self._proc / "task").iterdir()))

    def files(self) -> int:
        return len(list((self._proc / "fd").iterdir()))

    def kept_bytes(self) -> int:
        """What lies in its home, its log included."""
        return sum(path.stat().st_size for path in self.home.rglob("*") if path.is_file())

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def measure(seconds: int, place: Path) -> list[Figure]:
    """One run: the middle daemon's figures."""
    genesis = place / "genesis.json"
    initialise(place / "a", name="a")
    with open_home(place / "a") as home:
        home.ledger_export(genesis)
    for name in ("b", "c"):
        initialise(place / name, name=name, genesis_file=genesis)
    running = [Resting(place / "a")]
    try:
        for name in ("b", "c"):
            with open_home(place / name) as home:
                home.peer_add(running[-1].address)
            running.append(Resting(place / name))
        middle = running[1]
        _until_linked(place / "b", LINKS)
        time.sleep(PAUSE_S)
        began, before = time.monotonic(), middle.processor_s()
        files, threads, kept = middle.files(), middle.threads(), middle.kept_bytes()
        time.sleep(seconds)
        used = 100 * (middle.processor_s() - before) / (time.monotonic() - began)
        return [
            Figure("resting", "processor", used, "% of a core"),
            Figure("resting", "memory", middle.memory_mib(), "MiB"),
            Figure("resting", "open files", middle.files(), "files"),
            Figure("resting", "open files gained", middle.files() - files, "files"),
            Figure("resting", "threads gained", middle.threads() - threads, "threads"),
            Figure("resting", "written to its home", middle.kept_bytes() - kept, "bytes"),
        ]
    finally:
        for daemon in running:
            daemon.stop()


def _until_linked(home: Path, links: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with open_home(home) as opened:
            if len(opened.status().peers) == links:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{home.name} has no {links} links after 30 s")


def resting(seconds: int, runs: int) -> int:
    """Measures and prints the table; the exit status."""
    others = Others()
    taken = []
    for run in range(1, runs + 1):
        with tempfile.TemporaryDirectory(prefix="oln-resting-") as folder:
            say(f"run {run} of {runs}: {seconds} s at rest")
            taken.append(measure(seconds, Path(folder)))
    machine = this_machine(Path(tempfile.gettempdir()))
    print(report(machine, runs, others.cores(), summarise(LINKS, taken)))
    return 0
