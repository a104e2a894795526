"""`scripts/peer-program STOREDIR`: this node behind the line protocol that peers are compared by.

One command a line on standard input, one JSON object a line on standard output:

    open               opens or begins the home in STOREDIR                    {"events"}
    append FROM COUNT  appends entries of the file that $PEERS_DATA names      {"n", "s", "t0"}
    read               reads every entry, in order, checked                    {"n", "bytes", "s"}
    stats              signatures made and verified by this process            {"signs", "verifies"}
    quit               closes the home and ends                                {"ok"}

An append is what a user of the Python interface gets: durable, read back, hashed and signed before
it is answered. APPEND=each appends one entry at a time; otherwise an append is one batch, as large
as one flush may be. `s` counts seconds, without reading the entries' file; `t0` is in nanoseconds.
Between two machines this program cannot be driven yet: serve, sync and wait answer an error.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from openledger_node.ledger.keys import PublicKey, SigningKey
from openledger_node.node.core import NodeCore, open_core, system_clock_ms
from scripts.benchmarks.entries import bodies, drafts

Answer = dict[str, Any]
NOT_YET: Final = ("serve", "sync", "wait")
MAX_BATCH_EVENTS: Final = 65_536
"""Entries given to one call of append: what one flush may hold."""


class Counted:
    """How many signatures this process made and verified."""

    def __init__(self) -> None:
        self.signs = 0
        self.verifies = 0

    def begin(self) -> None:
        """Counts from here on: every signature passes these methods."""
        for owner, name, counter in (
            (SigningKey, "sign", "signs"),
            (SigningKey, "sign_parts", "signs"),
            (PublicKey, "verifies", "verifies"),
        ):
            setattr(owner, name, self._counting(getattr(owner, name), counter))

    def _counting(self, method: Callable[..., Any], counter: str) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            setattr(self, counter, getattr(self, counter) + 1)
            return method(*arguments)

        return counted


class Peer:
    """One home, driven by commands."""

    def __init__(self, home: Path, counted: Counted) -> None:
        self.home = home
        self.counted = counted
        self._core: NodeCore | None = None

    @property
    def core(self) -> NodeCore:
        if self._core is None:
            raise RuntimeError("no home is open: the first command is open")
        return self._core

    def open(self) -> Answer:
        if not (self.home / "ledger").is_dir():
            from openledger_node.node.setup import initialise  # not needed to open a home

            self.home.parent.mkdir(parents=True, exist_ok=True)
            initialise(self.home, name="peer", clock_ms=system_clock_ms)
        self._core = open_core(self.home)
        with self._core.store.read() as snapshot:
            return {"events": sum(log.size for log in snapshot.logs())}

    def append(self, first: str, count: str) -> Answer:
        entries = Path(os.environ["PEERS_DATA"]).read_bytes().split(b"\n")
        chosen = entries[int(first) : int(first) + int(count)]
        step = 1 if os.environ.get("APPEND") == "each" else MAX_BATCH_EVENTS
        writer = self.core.writer()
        began = time.monotonic_ns()
        for start in range(0, len(chosen), step):
            writer.append(drafts(chosen[start : start + step], self.core.clock_ms()))
        seconds = (time.monotonic_ns() - began) / 1e9
        return {"n": len(chosen), "s": seconds, "t0": began}

    def read(self) -> Answer:
        log_id = self.core.writer().log_id
        count = size_bytes = 0
        began = time.monotonic_ns()
        with self.core.store.read() as snapshot:
            for leaves in snapshot.iter_leaves(log_id):
                entries = bodies(leaves)
                count += len(entries)
                size_bytes += sum(map(len, entries))
        return {"n": count, "bytes": size_bytes, "s": (time.monotonic_ns() - began) / 1e9}

    def stats(self) -> Answer:
        return {"signs": self.counted.signs, "verifies": self.counted.verifies}

    def quit(self) -> Answer:
        if self._core is not None:
            self._core.close()
            self._core = None
        return {"ok": 1}


def answer(peer: Peer, line: str) -> Answer:
    """What one command answers; an error is an answer too."""
    name, *arguments = line.split()
    if name in NOT_YET:
        return {"error": f"{name}: this program does not sync between machines yet"}
    commands: dict[str, Callable[..., Answer]] = {
        "open": peer.open,
        "append": peer.append,
        "read": peer.read,
        "stats": peer.stats,
        "quit": peer.quit,
    }
    if name not in commands:
        return {"error": f"{name}: no such command; there are {', '.join(commands)}"}
    try:
        return commands[name](*arguments)
    except Exception:  # whatever went wrong, the driver has to read it
        return {"error": traceback.format_exc()}


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: peer-program STOREDIR", file=sys.stderr)
        return 2
    counted = Counted()
    counted.begin()
    peer = Peer(Path(sys.argv[1]), counted)
    for line in sys.stdin:
        if not line.strip():
            continue
        print(json.dumps(answer(peer, line)), flush=True)
        if line.split()[0] == "quit":
            break
    return 0


if __name__ == "__main__":
    sys.exit(main())
