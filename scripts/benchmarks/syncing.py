"""`scripts/bench sync`: two processes on loopback, durable and verified, at growing scales.

The sender holds `events` events of about 250 bytes in 100 logs. Measured, each run with new homes:

- an empty home that takes everything: events a second, the receiver's peak memory, bytes an event
- two homes that agree: bytes and milliseconds of saying so
- a home that lacks 1,000 events: bytes before the first event, milliseconds until all are stored
- one event at a time on a link that is up: milliseconds from append to stored elsewhere
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from scripts.benchmarks.figures import Figure, Summary, percentile, summarise
from scripts.benchmarks.ledger import report, say
from scripts.benchmarks.machine import Others, this_machine

LOGS: Final = 100
TIME_MS: Final = 1_700_000_000_000
MISSING: Final = 1_000
LIVE_EVENTS: Final = 100
CHUNK: Final = 4_096
DEFAULT_EVENTS: Final = (10_000, 100_000, 1_000_000)


def fill(home: Path, events: int) -> None:
    """Puts `events` events in LOGS logs of other accounts into a home."""
    from openledger_node.ledger.events import LogGenesis
    from openledger_node.ledger.keys import SigningKey
    from openledger_node.node.core import open_core
    from openledger_node.store.ingest import ingest

    core = open_core(home)
    for number in range(LOGS):
        key = SigningKey(os.urandom(32))
        genesis = LogGenesis(
            1, core.ledger_id, os.urandom(32), key.public.raw, os.urandom(16), None
        )
        add_log(core.store, ingest, genesis, key, events // LOGS, number)
    core.close()


def add_log(
    store: Any, ingest: Callable[..., Any], genesis: Any, key: Any, size: int, number: int
) -> None:
    from openledger_node.ledger.events import encode_event
    from openledger_node.ledger.heads import sign_head
    from openledger_node.ledger.merkle import leaf_hashes, root_of_hashes

    leaves = [encode_event(0, "log.open", 0, genesis)]
    leaves += [
        encode_event(seq, "data.contribute", TIME_MS, contribution(number, seq), bytes(32), seq)
        for seq in range(1, size)
    ]
    head = sign_head(key, genesis, size, root_of_hashes(leaf_hashes(leaves))).signed
    chunks: Iterator[list[bytes]] = (leaves[i : i + CHUNK] for i in range(0, size, CHUNK))
    ingest(store, genesis, head, chunks)


def contribution(number: int, seq: int) -> Any:
    """A contribution of usual size: the kind that a ledger has most of."""
    from openledger_node.ledger.kinds import DataContribute

    title = f"Document {seq} of collection {number}, as its author gave it to the co-operative"
    creator = os.urandom(32), 1
    return DataContribute(
        os.urandom(32), title, "CC-BY-4.0", "text/markdown", 1, 1, seq * 97, seq, (creator,), ()
    )


class Program:
    """A `peer-program` that is driven from here."""

    def __init__(self, home: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scripts.benchmarks.peer_program", str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        self.do("open")

    def send(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                if "error" in found:
                    raise RuntimeError(found["error"])
                return found
        raise RuntimeError("the program ended")

    def do(self, command: str) -> dict[str, Any]:
        self.send(command)
        return self.answer()

    def quit(self) -> None:
        self.do("quit")
        self.process.wait()

    def peak_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(item for item in status.splitlines() if item.startswith("VmHWM"))
        return int(line.split()[1]) / 1024


def run_once(events: int, place: Path) -> list[Figure]:
    """All works at one scale, with new homes."""
    from openledger_node.node.core import system_clock_ms
    from openledger_node.node.setup import initialise

    a, b = place / "a", place / "b"
    initialise(a, name="a", clock_ms=system_clock_ms)
    fill(a, events)
    figures: list[Figure] = []
    sender, receiver = Program(a), Program(b)
    try:
        address = sender.do("serve")["addr"]
        receiver.do(f"join {address}")
        held = events // LOGS * LOGS
        done = receiver.do(f"take {address} {held}")
        figures.append(Figure("sync", "empty to all", events / done["s"], "events/s"))
        figures.append(Figure("sync", "receiver's peak memory", receiver.peak_mib(), "MiB"))
        overhead = (done["received"] - done["raw"]) / events
        figures.append(Figure("sync", "framing", overhead, "bytes/event"))
        done = receiver.do(f"take {address} {held}")
        figures.append(Figure("sync", "in-sync check", done["s"] * 1000, "ms"))
        figures.append(Figure("sync", "in-sync check, each way", done["received"], "bytes"))
        receiver.do("part")
        sender.do(f"note {MISSING}")
        done = receiver.do(f"take {address} {held + MISSING}")
        figures.append(Figure("sync", "1,000 missing, stored", done["s"] * 1000, "ms"))
        spent = done["received"] - done["raw"] + done["sent"]
        figures.append(Figure("sync", "1,000 missing, besides events", spent, "bytes"))
        figures += live(sender, receiver, held + MISSING)
    finally:
        sender.quit()
        receiver.quit()
    return figures


def live(sender: Program, receiver: Program, held: int) -> list[Figure]:
    """One event at a time, append to stored elsewhere."""
    took: list[float] = []
    for number in range(1, LIVE_EVENTS + 1):
        receiver.send(f"until {held + number}")
        time.sleep(0.01)
        began = sender.do("note 1")["t0"]
        took.append((receiver.answer()["t1"] - began) / 1e6)
    return [
        Figure("sync", "one event to another machine, p50", percentile(took, 50), "ms"),
        Figure("sync", "one event to another machine, p99", percentile(took, 99), "ms"),
    ]


def sync(scales: tuple[int, ...], runs: int, json_file: Path | None, place: Path | None) -> int:
    """Measures, prints the table, writes the JSON; the exit status."""
    others = Others()
    summaries: list[Summary] = []
    for events in scales:
        taken = []
        for run in range(1, runs + 1):
            folder = Path(tempfile.mkdtemp(prefix="oln-sync-", dir=place))
            began = time.monotonic()
            try:
                taken.append(run_once(events, folder))
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            say(f"{events:>9,} events  run {run} of {runs}  {time.monotonic() - began:6.1f} s")
        summaries += summarise(events, taken)
    machine = this_machine(place or Path(tempfile.gettempdir()))
    print(report(machine, runs, others.cores(), summaries))
    if json_file is not None:
        json_file.write_text(json.dumps([s.as_json() for s in summaries], indent=1) + "\n")
    return 0
