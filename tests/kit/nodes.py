"""Nodes in memory for tests of replication: real hubs and sessions on simulated disks and links.

    async def play(world):
        a, b = await world.node("a"), await world.node("b")
        a.append(3)
        world.connect(a, b)
        await world.settle()
        assert a.marks() == b.marks()

    play_world(play, seed=1)

Time is virtual and everything random follows from the seed.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import trio
import trio.testing

from openledger_node.net.link import Link, memory_link_pair
from scripts.simulation.nodes import LEDGER, Node, run_at_once

__all__ = ["LEDGER", "Node", "World", "play_world", "run_at_once"]


class World:
    """All nodes and links of one test."""

    def __init__(self, nursery: trio.Nursery, seed: int) -> None:
        self.nursery = nursery
        self.random = random.Random(seed)
        self.nodes: list[Node] = []

    async def node(self, name: str) -> Node:
        node = Node(name, self.random.randrange)
        self.nodes.append(node)
        await self.nursery.start(node.hub.run)
        return node

    def connect(self, a: Node, b: Node) -> tuple[Link, Link]:
        """A link between two nodes; closing either end breaks it."""
        ours, theirs = memory_link_pair(a.node_id, b.node_id)
        self.nursery.start_soon(a.hub.serve, ours)
        self.nursery.start_soon(b.hub.serve, theirs)
        return ours, theirs

    async def settle(self, seconds: float = 5) -> None:
        """Lets virtual time pass: enough for everything but an anti-entropy round."""
        await trio.sleep(seconds)


def play_world(play: Callable[[World], Awaitable[None]], *, seed: int = 0) -> None:
    """Plays one test under a virtual clock, with trio's scheduling fixed by the seed."""
    run = trio._core._run  # type: ignore[attr-defined]  # how trio's own plugin for hypothesis does it
    run._ALLOW_DETERMINISTIC_SCHEDULING = True
    run._r.seed(seed)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await play(World(nursery, seed))
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
