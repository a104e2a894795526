"""`scripts/bench mesh`: many nodes on one machine, each a process, linked to a few others.

- one event at a node drawn at random: milliseconds until each of the others has stored it
- the nodes in two halves without a link between them, each with new events; then one link: how long
  until all hold the same, and how many links had to be made for it (one)
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

from scripts.benchmarks.figures import Figure, percentile, summarise
from scripts.benchmarks.ledger import report, say
from scripts.benchmarks.machine import Others, this_machine
from scripts.benchmarks.syncing import Program

DEFAULT_NODES: Final = 32
LINKS: Final = 4
EVENTS: Final = 50
HALF_EVENTS: Final = 20
LOG_BEGINS_WITH: Final = 2
"""log.open and account.create."""


class Mesh:
    """The nodes, and how many events they should hold by now."""

    def __init__(self, place: Path, count: int, seed: int) -> None:
        self._random = random.Random(seed)
        self.nodes = [Program(place / f"n{number}") for number in range(count)]
        self.addresses = [self.nodes[0].do("serve")["addr"]]
        for node in self.nodes[1:]:
            node.do(f"join {self.addresses[0]}")
            self.addresses.append(node.do("serve")["addr"])
        self.events = LOG_BEGINS_WITH * count

    def link(self, first: int, stop: int) -> None:
        """Each of some nodes dials a few of those before it."""
        for number in range(first + 1, stop):
            before = list(range(first, number))
            for other in self._random.sample(before, min(LINKS, len(before))):
                self.nodes[number].do(f"dial {self.addresses[other]}")

    def wait(self, events: int, nodes: list[Program] | None = None) -> list[int]:
        """When each node held this many events."""
        chosen = nodes or self.nodes
        for node in chosen:
            node.send(f"held {events}")
        return [int(node.answer()["t1"]) for node in chosen]

    def one_event(self) -> list[float]:
        """Milliseconds from an append to stored, at each other node."""
        writer = self._random.randrange(len(self.nodes))
        others = [node for number, node in enumerate(self.nodes) if number != writer]
        self.events += 1
        for node in others:
            node.send(f"held {self.events}")
        began = int(self.nodes[writer].do("note 1")["t0"])
        return [(int(node.answer()["t1"]) - began) / 1e6 for node in others]

    def quit(self) -> None:
        for node in self.nodes:
            node.quit()


def run_once(count: int, place: Path, seed: int) -> list[Figure]:
    mesh = Mesh(place, count, seed)
    half = count // 2
    try:
        mesh.link(0, half)
        mesh.link(half, count)
        for first, stop in ((0, half), (half, count)):
            mesh.nodes[first].do(f"note {HALF_EVENTS}")
            held = LOG_BEGINS_WITH * (stop - first) + HALF_EVENTS
            mesh.wait(held, mesh.nodes[first:stop])
        mesh.events += 2 * HALF_EVENTS
        began = time.monotonic_ns()
        mesh.nodes[half].do(f"dial {mesh.addresses[0]}")
        healed_ms = (max(mesh.wait(mesh.events)) - began) / 1e6
        took = [ms for _ in range(EVENTS) for ms in mesh.one_event()]
    finally:
        mesh.quit()
    return [
        Figure("mesh", "one event everywhere, p50", percentile(took, 50), "ms"),
        Figure("mesh", "one event everywhere, p99", percentile(took, 99), "ms"),
        Figure("mesh", "two halves joined by one link", healed_ms, "ms"),
    ]


def mesh(count: int, runs: int, place: Path | None) -> int:
    """Measures and prints the table; the exit status."""
    others = Others()
    taken = []
    for run in range(1, runs + 1):
        folder = Path(tempfile.mkdtemp(prefix="oln-mesh-", dir=place))
        try:
            taken.append(run_once(count, folder, run))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        say(f"{count} nodes  run {run} of {runs}")
    machine = this_machine(place or Path(tempfile.gettempdir()))
    print(report(machine, runs, others.cores(), summarise(count, taken)))
    return 0
