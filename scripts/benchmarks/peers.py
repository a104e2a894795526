"""`scripts/bench peers`: works W1 to W4 with our program, and beside other systems where given.

- W1 appends entries of 300 bytes, signed; W3 reads them all, in order, in a fresh process: once
  with a warm page cache, once with the store's pages dropped. Ours appends one batch, durable.
- W2 brings them all to an empty node in another process over loopback, from before the connection
  until each is verified and stored; W4 does so with 100 new ones, and with 100 more on the link
  that is then up, from the append to stored at the other end.
- A suite is a folder of other systems' programs behind the same line protocol, with the entries to
  append: `common/spin.py`, `data/entries.jsonl`, `hypercore/peer.js` with its packages installed.
- All take turns within one run, on the same entries, so that a ratio compares like with like. Where
  the machine is shared, look at the ratios and their spread, not at the single figures.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from scripts.benchmarks.entries import ENTRY_BYTES, entry_line
from scripts.benchmarks.figures import Figure, Summary, number, summarise, table
from scripts.benchmarks.machine import Others, this_machine

DEFAULT_ENTRIES: Final = 20_000
DEFAULT_REPEATS: Final = 3
QUIT_SECONDS: Final = 30
OUR_PROGRAM: Final = (sys.executable, "-m", "scripts.benchmarks.peer_program")
OURS: Final = "openledger-node"
APPEND: Final = "W1 append"
BULK: Final = "W2 bulk sync"
SMALL: Final = "W4 100 new: connect to stored"
NEW: Final = 100
SETTLE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Program:
    """A peer's program and the environment that chooses its way of appending."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


class PeerFailed(Exception):
    """A program answered an error, or ended."""


class Running:
    """A program at work on one store."""

    def __init__(self, program: Program, store: Path, entries: Path) -> None:
        self.name = program.name
        self._process = subprocess.Popen(
            [*program.command, str(store)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=os.environ | {"PEERS_DATA": str(entries)} | dict(program.environment),
        )

    def ask(self, command: str) -> dict[str, Any]:
        """Sends one command and waits for its answer."""
        self.send(command)
        return self.answer(command)

    def send(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def answer(self, command: str) -> dict[str, Any]:
        """The next answer; lines that are none are passed over."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                if "error" in answer:
                    raise PeerFailed(f"{self.name}: {command}: {answer['error']}")
                return answer
        raise PeerFailed(f"{self.name}: it ended while it was asked to {command}")

    def peak_mib(self) -> float:
        """The most memory that the process has had."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(item for item in status.splitlines() if item.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    def quit(self) -> None:
        self.ask("quit")
        self._process.wait(timeout=QUIT_SECONDS)

    def kill(self) -> None:
        """Ends a program that is still there."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()


@contextmanager
def running(program: Program, store: Path, entries: Path) -> Iterator[Running]:
    started = Running(program, store, entries)
    try:
        yield started
        started.quit()
    finally:
        started.kill()


def allocated_bytes(place: Path) -> int:
    """What the files below `place` take on the disk."""
    return sum(path.lstat().st_blocks * 512 for path in place.rglob("*") if path.is_file())


def drop_cached_pages(place: Path) -> None:
    """Asks the kernel to forget the cached pages of the files below `place`."""
    os.sync()
    for path in place.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def works_of(program: Program, store: Path, entries: Path, count: int) -> list[Figure]:
    """W1 and W3 of one program on a new store."""
    figures = []

    def note(name: str, value: float, unit: str) -> None:
        figures.append(Figure(program.name, name, value, unit))

    with running(program, store, entries) as peer:
        peer.ask("open")
        note(APPEND, count / peer.ask(f"append 0 {count}")["s"], "entries/s")
        note("W1 signatures made", peer.ask("stats")["signs"], "")
    note("W1 disk", allocated_bytes(store) / count, "bytes/entry")
    for cache in ("warm", "dropped"):
        if cache == "dropped":
            drop_cached_pages(store)
        began = time.monotonic()
        with running(program, store, entries) as peer:
            peer.ask("open")
            opened = time.monotonic() - began
            answer = peer.ask("read")
            if answer["n"] != count:
                raise PeerFailed(f"{program.name}: {answer['n']} of {count} entries were read")
        note(f"W3 read only, {cache}", count / answer["s"], "entries/s")
        note(f"W3 start, open, read, {cache}", count / (answer["s"] + opened), "entries/s")
    figures += _two_nodes(program, store, entries, count)
    shutil.rmtree(store)
    return figures


def _two_nodes(program: Program, store: Path, entries: Path, count: int) -> Iterator[Figure]:
    """W2 and W4 of one program; its first store holds `count` entries."""
    empty = store.with_name(f"{store.name}-empty")
    with running(program, store, entries) as one, running(program, empty, entries) as other:
        one.ask("open")
        address = one.ask("serve")["addr"]
        other.ask("open")
        seconds = other.ask(f"sync {address} {count}")["s"]
        yield Figure(program.name, BULK, count / seconds, "entries/s")
        yield Figure(program.name, "W2 receiver's peak memory", other.peak_mib(), "MiB")
    with running(program, store, entries) as one, running(program, empty, entries) as other:
        one.ask("open")
        address = one.ask("serve")["addr"]
        other.ask("open")
        one.ask(f"append {count} {NEW}")
        seconds = other.ask(f"sync {address} {count + NEW}")["s"]
        yield Figure(program.name, SMALL, seconds * 1_000, "ms")
        time.sleep(SETTLE_S)
        other.send(f"wait {count + 2 * NEW}")
        began = one.ask(f"append {count + NEW} {NEW}").get("t0", time.monotonic_ns())
        live = (other.answer(f"wait {count + 2 * NEW}")["t1"] - began) / 1e6
        yield Figure(program.name, "W4 live: append to 100 stored", live, "ms")
    shutil.rmtree(empty)
    shutil.rmtree(empty.with_name(f"{store.name}.genesis.json"), ignore_errors=True)


def programs(suite: Path | None) -> list[Program]:
    """Ours, and those of the suite that are installed there."""
    found = [Program(OURS, OUR_PROGRAM)]
    script = suite / "hypercore" / "peer.js" if suite else None
    if script is not None and (script.parent / "node_modules").is_dir():
        command = ("node", str(script.resolve()))
        found.append(Program("hypercore, batch", command, {"APPEND": "batch"}))
        found.append(Program("hypercore, each", command, {"APPEND": "each"}))
    return found


@contextmanager
def awake(suite: Path | None) -> Iterator[None]:
    """Keeps virtual processors awake with the suite's idle-class loops while it is at work."""
    spin = suite / "common" / "spin.py" if suite else None
    if spin is None or not spin.is_file():
        yield
        return
    spinner = subprocess.Popen([sys.executable, str(spin)])
    try:
        yield
    finally:
        spinner.terminate()
        spinner.wait()


def ratios(runs: Mapping[str, Sequence[Sequence[Figure]]]) -> Iterator[str]:
    """Ours over each other program, run by run, for the figures that both have."""

    def values(name: str, figure: str) -> list[float]:
        return [found.value for run in runs[name] for found in run if found.name == figure]

    for other in runs:
        if other == OURS:
            continue
        for figure in (APPEND, BULK, SMALL, "W3 read only, warm", "W1 disk"):
            pairs = zip(values(OURS, figure), values(other, figure), strict=True)
            each = [ours / theirs for ours, theirs in pairs]
            spread = f"{number(min(each))} to {number(max(each))}"
            yield f"{figure}: {number(statistics.median(each))} x {other} ({spread})"


def peers(suite: Path | None, count: int, repeats: int, place: Path | None) -> int:
    """Measures, and prints the table and the ratios; the exit status."""
    taken: dict[str, list[list[Figure]]] = {}
    others = Others()
    with tempfile.TemporaryDirectory(prefix="oln-bench-", dir=place) as folder, awake(suite):
        root = Path(folder)
        entries = suite / "data" / "entries.jsonl" if suite else root / "entries.jsonl"
        if not entries.is_file():
            entries = root / "entries.jsonl"
            lines = (entry_line(index) + "\n" for index in range(count + 2 * NEW))
            entries.write_text("".join(lines), encoding="ascii")
        for turn in range(1, repeats + 1):
            for program in programs(suite):
                try:
                    figures = works_of(program, root / "store", entries, count)
                except (PeerFailed, OSError, subprocess.TimeoutExpired) as error:
                    print(f"error: {error}", file=sys.stderr)
                    return 1
                taken.setdefault(program.name, []).append(figures)
                print(f"{program.name:<20} run {turn} of {repeats}", file=sys.stderr, flush=True)
        machine, foreign_cores = this_machine(root), others.cores()
    summaries: list[Summary] = []
    for runs in taken.values():
        summaries += summarise(count, runs)
    print(f"{machine.text()}\n{count:,} entries of {ENTRY_BYTES} bytes, median of {repeats} runs")
    if foreign_cores is not None:
        print(f"other processes used {foreign_cores:.2f} cores meanwhile")
    print("\n" + table(summaries))
    print("\n".join(["", *ratios(taken)]) if len(taken) > 1 else "")
    return 0
