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
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio
import trio.testing

from openledger_node.ledger.errors import StoreUnavailable
from openledger_node.ledger.events import LogGenesis, encode_event
from openledger_node.ledger.forks import ForkEvidence
from openledger_node.ledger.heads import Mark, SignedHead, sign_head
from openledger_node.ledger.merkle import leaf_hashes, root_of_hashes
from openledger_node.net.link import Link, memory_link_pair
from openledger_node.node.replication.admission import Admission
from openledger_node.node.replication.engine import Hub, Identity
from openledger_node.node.replication.link import LinkRunner
from openledger_node.sync.faults import PeerFault
from openledger_node.sync.session import sign_link
from scripts.simulation.holder import MemoryHolder, MemoryLog
from tests.kit.ledgerkit import digest, key

LEDGER = digest("ledger")


class Node:
    """One node: its disk, its hub, and what its hooks heard."""

    def __init__(self, name: str, draw: Callable[[int], int]) -> None:
        self.name = name
        self.transport = key("transport", name)
        self.device = key("device", name)
        self.account = digest("account", name)
        self.holder = MemoryHolder()
        self.known: set[tuple[bytes, bytes]] = set()
        self.found: list[tuple[ForkEvidence, bool]] = []
        self.faults: list[PeerFault] = []
        self.own_elsewhere: list[bytes] = []
        self.payloads: list[bytes] = []
        self.refusals: list[StoreUnavailable] = []
        self.admission = Admission(
            "open", listed=(), unknown_bytes=2**20, known=self.known.__contains__, held=()
        )
        self.genesis = LogGenesis(
            1, LEDGER, self.account, self.device.public.raw, digest("nonce", name)[:16], None
        )
        self.holder.own = self.genesis.log_id
        self._write([self._leaf(0)])
        identity = Identity(
            LEDGER,
            self.node_id,
            self.account,
            self.device.public.raw,
            lambda peer: sign_link(self.device, LEDGER, self.node_id, peer),
        )
        self.hub = Hub(
            identity,
            self.holder,
            io=run_at_once,
            now_ms=lambda: int(trio.current_time() * 1000),
            draw=draw,
            hooks=self,
            admission=self.admission,
        )

    @property
    def node_id(self) -> bytes:
        return self.transport.public.raw

    @property
    def log_id(self) -> bytes:
        return self.genesis.log_id

    def marks(self) -> list[Mark]:
        return sorted(self.hub.replica.marks.values())

    def size(self, log_id: bytes) -> int:
        mark = self.hub.replica.marks.get(log_id)
        return mark.size if mark else 0

    def _leaf(self, seq: int, text: str = "note") -> bytes:
        if seq == 0:
            return encode_event(0, "log.open", 0, self.genesis)
        return encode_event(seq, "test.note", 0, [f"{self.name} {text} {seq}"])

    def _write(self, leaves: list[bytes]) -> SignedHead:
        log = self.holder.logs.get(self.log_id)
        head = self.head_over([*(log.leaves if log else []), *leaves])
        self.holder.append(head, self.genesis, leaves)
        return head

    def head_over(self, leaves: Sequence[bytes]) -> SignedHead:
        """This device's word for any history at all."""
        root = root_of_hashes(leaf_hashes(list(leaves)))
        return sign_head(self.device, self.genesis, len(leaves), root).signed

    def append(self, count: int = 1, text: str = "note") -> Mark:
        """Writes events to the own log and tells the hub."""
        size = len(self.holder.logs[self.log_id].leaves)
        head = self._write([self._leaf(size + i, text) for i in range(count)])
        self.hub.grown([head.mark], self.log_id)
        return head.mark

    def history(self, common: int, count: int, text: str) -> MemoryLog:
        """Another history of the own log: `common` leaves as they are, `count` others."""
        leaves = self.holder.logs[self.log_id].leaves[:common]
        leaves += [self._leaf(common + i, text) for i in range(count)]
        return MemoryLog(self.genesis, leaves, self.head_over(leaves))

    def hold(self, history: MemoryLog) -> None:
        """Puts a history on this node's disk, as if it had come at an earlier time."""
        assert history.head is not None
        self.holder.logs[history.head.log_id] = history
        self.holder.sync()
        self.hub.replica.replaced(history.head.mark)

    # Hooks.

    def stored(self, marks: Sequence[Mark], leaves_may_erase: bool) -> None:
        return

    def fork_found(self, proof: ForkEvidence, *, here: bool) -> None:
        self.found.append((proof, here))

    def own_log_elsewhere(self, log_id: bytes) -> None:
        self.own_elsewhere.append(log_id)

    def link_greeted(self, runner: LinkRunner) -> None:
        return

    def link_ended(self, runner: LinkRunner, why: PeerFault | None) -> None:
        if why is not None:
            self.faults.append(why)

    def peers_came(self, runner: LinkRunner, records: Sequence[bytes]) -> None:
        return

    def store_refused(self, error: StoreUnavailable) -> None:
        self.refusals.append(error)

    def payload_stored(self, commit: bytes) -> None:
        self.payloads.append(commit)


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


async def run_at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a worker thread does elsewhere, in a run that must not have threads."""
    await trio.lowlevel.checkpoint()
    return function(*arguments)


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
