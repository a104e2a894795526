"""`scripts/peer-program STOREDIR`: this node behind the line protocol that peers are compared by.

One command a line on standard input, one JSON object a line on standard output:

    open               opens or begins the home in STOREDIR                    {"events"}
    append FROM COUNT  appends entries of the file that $PEERS_DATA names      {"n", "s", "t0"}
    read               reads every entry, in order, checked                    {"n", "bytes", "s"}
    stats              signatures made and verified by this process            {"signs", "verifies"}
    serve              listens on loopback in a daemon of its own thread       {"addr"}
    sync ADDR UNTIL    links to ADDR until UNTIL entries are stored here       {"s"}
    wait UNTIL         on the link that sync left up, until UNTIL are stored   {"t1"}
    join ADDR          begins anew on the ledger of ADDR                       {"ok"}
    take ADDR EVENTS   as sync, until EVENTS of all others' logs are stored    {"s", "sent", "raw"}
    until EVENTS       on that link, until EVENTS of all others are stored     {"t1"}
    part               ends the link                                           {"ok"}
    dial ADDR          one more link                                           {"ok"}
    held EVENTS        waits until all logs together have EVENTS               {"t1"}
    note COUNT         appends events of 250 bytes, each by itself durable     {"t0"}
    quit               closes the home and ends                                {"ok"}

An append is what a user of the Python interface gets: durable, read back, hashed and signed before
it is answered. APPEND=each appends one entry at a time; otherwise an append is one batch, as large
as one flush may be. `s` counts seconds, without reading the entries' file; `t0` is in nanoseconds.
A home that serves names its address and the file of its genesis as `id@host:port|path`: a home that
syncs with it before it has a ledger joins that ledger. `s` of a sync counts from before the
connection until every entry is verified and durable; `t1` is a monotonic clock in nanoseconds.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from openledger_node.ledger.keys import PublicKey, SigningKey
from openledger_node.node.core import NodeCore, open_core, system_clock_ms
from openledger_node.node.founding import genesis_document, read_genesis_file
from openledger_node.node.setup import initialise
from openledger_node.store.writer import Draft
from scripts.benchmarks.entries import bodies, drafts

if TYPE_CHECKING:
    from scripts.benchmarks.peer_sync import Network

Answer = dict[str, Any]
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
        self._network: Network | None = None

    @property
    def core(self) -> NodeCore:
        if self._core is None:
            raise RuntimeError("no home is open: the first command is open")
        return self._core

    def open(self) -> Answer:
        if not (self.home / "ledger").is_dir():
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
            if self._network is not None:
                self._network.grown()
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

    def network(self) -> Network:
        if self._network is None:
            # What links need costs a process that only appends or reads its quick start.
            from scripts.benchmarks.peer_sync import Network

            self._network = Network(self.core)
        return self._network

    def serve(self) -> Answer:
        genesis = self.home.with_name(f"{self.home.name}.genesis.json")
        genesis.write_text(genesis_document(self.core.genesis))
        return {"addr": f"{self.network().serve()}|{genesis}"}

    def sync(self, address: str, entries: str) -> Answer:
        where, _, genesis = address.partition("|")
        if self.core.ledger_id != read_genesis_file(Path(genesis)).ledger_id:
            self._join(Path(genesis))
        return {"s": self.network().sync(where, int(entries))}

    def _join(self, genesis: Path) -> None:
        """Begins anew on the ledger of the home to sync with, which is not part of the work."""
        self.quit()
        shutil.rmtree(self.home)
        initialise(self.home, name="peer", genesis_file=genesis, clock_ms=system_clock_ms)
        self._core = open_core(self.home)

    def wait(self, entries: str) -> Answer:
        self.network().wait(int(entries))
        return {"t1": time.monotonic_ns()}

    def join(self, address: str) -> Answer:
        self._join(Path(address.partition("|")[2]))
        return {"ok": 1}

    def take(self, address: str, events: str) -> Answer:
        network = self.network()
        seconds = network.take(address.partition("|")[0], int(events))
        return {"s": seconds, **network.counts()}

    def until(self, events: str) -> Answer:
        self.network().until(int(events))
        return {"t1": time.monotonic_ns()}

    def part(self) -> Answer:
        self.network().part()
        return {"ok": 1}

    def dial(self, address: str) -> Answer:
        self.network().dial(address.partition("|")[0])
        return {"ok": 1}

    def held(self, events: str) -> Answer:
        return {"t1": self.network().held(int(events))}

    def note(self, count: str) -> Answer:
        writer = self.core.writer()
        began = time.monotonic_ns()
        for _ in range(int(count)):
            writer.append([Draft("bench.note", [os.urandom(215)], self.core.clock_ms())])
            if self._network is not None:
                self._network.grown()
        return {"t0": began}

    def stats(self) -> Answer:
        return {"signs": self.counted.signs, "verifies": self.counted.verifies}

    def quit(self) -> Answer:
        if self._network is not None:
            self._network.close()
            self._network = None
        if self._core is not None:
            self._core.close()
            self._core = None
        return {"ok": 1}


def answer(peer: Peer, line: str) -> Answer:
    """What one command answers; an error is an answer too."""
    name, *arguments = line.split()
    commands: dict[str, Callable[..., Answer]] = {
        "open": peer.open,
        "append": peer.append,
        "read": peer.read,
        "serve": peer.serve,
        "sync": peer.sync,
        "wait": peer.wait,
        "join": peer.join,
        "take": peer.take,
        "until": peer.until,
        "part": peer.part,
        "dial": peer.dial,
        "held": peer.held,
        "note": peer.note,
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
