"""A peer that says what a test wants it to say, on a link in memory to a real hub.

    async def play(world):
        stage = await Stage.set(world)
        evil = await stage.evil()
        await evil.say(m.Have(...))
        await stage.over(costs="frame_size")

`over` waits, and asserts what every such test asserts: the link ended with one fault of that code,
reported once; nothing that the evil peer made is stored; the honest peer goes on syncing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import trio

from openledger_node.ledger.events import LogGenesis, encode_event
from openledger_node.ledger.heads import SignedHead, sign_head
from openledger_node.ledger.keys import SigningKey
from openledger_node.ledger.merkle import leaf_hashes, root_of_hashes
from openledger_node.net.link import memory_link_pair
from openledger_node.sync import events as e
from openledger_node.sync import messages as m
from openledger_node.sync import session as s
from openledger_node.sync.faults import FAULTS, PeerFault
from openledger_node.sync.frontier import mark_tag, short_id
from openledger_node.sync.frontier_entries import encode_entries
from openledger_node.sync.table import Offer
from scripts.simulation.nodes import digest
from tests.kit.nodes import LEDGER, Node, World
from tests.sync.links import lengths_of

Reply = Callable[[Any], Iterable[m.Frame]]


class Log:
    """A log that any key may sign, with leaves of any kind."""

    def __init__(
        self,
        name: str,
        events: int = 3,
        *,
        device: SigningKey | None = None,
        ledger_id: bytes = LEDGER,
    ) -> None:
        self.device = device or SigningKey(digest("device", name))
        nonce = digest("nonce", name)[:16]
        account = digest("account", name)
        self.genesis = LogGenesis(1, ledger_id, account, self.device.public.raw, nonce, None)
        self.leaves = [encode_event(0, "log.open", 0, self.genesis)]
        self.leaves += [encode_event(i, "test.note", 0, [f"{name} {i}"]) for i in range(1, events)]

    @property
    def log_id(self) -> bytes:
        return self.genesis.log_id

    def head(self, size: int | None = None) -> SignedHead:
        size = len(self.leaves) if size is None else size
        root = root_of_hashes(leaf_hashes(self.leaves[:size]))
        return sign_head(self.device, self.genesis, size, root).signed

    def spine(self, first: int = 0) -> bytes:
        hashes = leaf_hashes(self.leaves)
        roots = [root_of_hashes(hashes[at : at + 256]) for at in range(0, len(hashes), 256)]
        return b"".join(roots[first:])

    def news(self, first: int = 0) -> m.News:
        leaves = self.leaves[first:]
        return m.News(self.head(), first, lengths_of(leaves), b"".join(leaves))


def runs(want_id: int, leaves: list[bytes], first: int = 0, each: int = 256) -> list[m.Frame]:
    """LEAVES frames of these leaves."""
    return [
        m.Leaves(want_id, first + at, lengths_of(part), b"".join(part))
        for at in range(0, len(leaves), each)
        if (part := leaves[at : at + each])
    ]


class Evil:
    """One end of a link. `replies` says what is answered to each event that comes."""

    def __init__(self, stage: Any, name: str = "evil") -> None:
        """`stage` has the `node` that is attacked, its `world` and its `ledger_id`."""
        self.stage = stage
        self.transport = SigningKey(digest("transport", name))
        self.device = SigningKey(digest("device", name))
        self.account = digest("account", name)
        self.node_id = self.transport.public.raw
        self.node = stage.node
        self.heard: list[Any] = []
        self.replies: dict[type, Reply] = {}
        self.is_gone = False
        self._turn = trio.Lock()
        self.link, theirs = memory_link_pair(self.node_id, self.node.node_id)
        self.session = s.Session(self.local(), self.node.node_id)
        stage.world.nursery.start_soon(self.node.hub.serve, theirs)

    def local(self, **changes: Any) -> s.Local:
        fields: dict[str, Any] = {
            "ledger_id": self.stage.ledger_id,
            "node_id": self.node_id,
            "account": self.account,
            "device": self.device.public.raw,
            "signature": s.sign_link(
                self.device, self.stage.ledger_id, self.node_id, self.node.node_id
            ),
            "fork_digest": None,
            "frontier_digest": digest("what evil holds"),
        }
        return s.Local(**(fields | changes))

    async def greet(self) -> None:
        """HELLO both ways; from then on what comes is read and answered by `replies`."""
        await self.send(b"".join(self.session.data_to_send()))
        self.stage.world.nursery.start_soon(self._read)
        while not any(isinstance(event, e.Greeted) for event in self.heard):
            await trio.sleep(0.001)

    @property
    def key(self) -> bytes:
        """The link's key for short names."""
        return next(event.key for event in self.heard if isinstance(event, e.Greeted))

    def name(self, log_id: bytes) -> bytes:
        return short_id(self.key, log_id)

    def offer(self, log_id: bytes, size: int, root: bytes = bytes(32)) -> tuple[bytes, Offer]:
        return self.name(log_id), Offer(size, mark_tag(self.key, root))

    async def send(self, data: bytes) -> None:
        """Bytes as they are; a link that the node closed takes them in silence."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with self._turn:
                await self.link.send_all(data)

    async def say(self, *frames: m.Frame) -> None:
        await self.send(b"".join(map(m.encode_frame, frames)))

    async def frontier(self, *entries: tuple[bytes, Offer]) -> None:
        parts = encode_entries(entries)
        await self.say(
            *(m.Frontier(i, int(i + 1 == len(parts)), part) for i, part in enumerate(parts))
        )

    def came(self, kind: type) -> list[Any]:
        return [event for event in self.heard if isinstance(event, kind)]

    async def _read(self) -> None:
        try:
            while data := await self.link.receive_some(65_536):
                for event in self.session.receive_bytes(data, 0):
                    self.session._served.clear()  # it keeps no account of what it answers
                    self.heard.append(event)
                    for frame in self.replies.get(type(event), lambda _: ())(event):
                        await self.say(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError, PeerFault):
            pass  # the node has closed the link
        self.is_gone = True


class Stage:
    """The node that is attacked, and an honest peer of it."""

    ledger_id = LEDGER

    def __init__(self, world: World, node: Node, honest: Node) -> None:
        self.world = world
        self.node = node
        self.honest = honest

    @classmethod
    async def set(cls, world: World, *, events: int = 5) -> Stage:
        node, honest = await world.node("node"), await world.node("honest")
        node.append(events)
        world.connect(node, honest)
        await world.settle(2)
        return cls(world, node, honest)

    async def evil(self, name: str = "evil") -> Evil:
        evil = Evil(self, name)
        await evil.greet()
        return evil

    async def over(self, *, costs: str | None, wait_s: float = 5) -> None:
        """What every attack ends in. `costs` None: the peer may stay, for it breaks no rule."""
        await trio.sleep(wait_s)
        codes = [fault.code for fault in self.node.faults]
        assert codes == ([costs] if costs else []), self.node.faults
        assert len(self.node.hub.links) == (1 if costs else len(self.world_links()))
        if costs:
            assert self.node.faults[0].cost is FAULTS[costs][0]
        await self.honest_goes_on()

    def world_links(self) -> list[int]:
        return list(self.node.hub.links)

    async def honest_goes_on(self) -> None:
        """The honest peer's news arrive, and nothing stands in the store but honest logs."""
        await self.honest_grows()
        self.only_honest_logs()

    async def honest_grows(self) -> None:
        """The honest peer and the node get each other's events."""
        for writer, reader in ((self.honest, self.node), (self.node, self.honest)):
            mark = writer.append(700)
            await trio.sleep(5)
            assert reader.size(mark.log_id) == mark.size
        assert not self.honest.faults

    def only_honest_logs(self, *others: bytes) -> None:
        stored = {log_id for log_id, log in self.node.holder.logs.items() if log.head is not None}
        assert stored <= {self.node.log_id, self.honest.log_id, *others}
        for log_id in stored - set(others):
            owner = self.node if log_id == self.node.log_id else self.honest
            size = len(self.node.holder.logs[log_id].leaves)
            assert self.node.holder.logs[log_id].leaves == owner.holder.logs[log_id].leaves[:size]


def sizes(node: Node) -> dict[str, int]:
    """How much a node keeps about its peers, by table."""
    replica, hub = node.hub.replica, node.hub
    links = list(replica._links.values())
    return {
        "in flight": len(replica._in_flight),
        "suspects": sum(len(link.suspects) for link in links),
        "offers": sum(len(link.table.offers) for link in links),
        "names": sum(len(link.table._names) for link in links),
        "wanted": sum(len(link.wanted) + len(link.strange) for link in links),
        "untold": sum(len(link.untold) for link in links),
        "fetches": sum(link.fetches for link in links),
        "asked": sum(len(r._fetcher._asked) for r in hub.links.values() if r._fetcher),
        "streams": sum(len(r._fetcher._streams) for r in hub.links.values() if r._fetcher),
        "wants": sum(len(r._server._wants) for r in hub.links.values()),
        "answers": sum(len(r._server._answers) for r in hub.links.values()),
        "pending bytes": sum(r.session.pending_bytes for r in hub.links.values()),
        "arrivals": len(hub.lane._arrivals),
        "forks": len(replica.forks),
    }
