"""Replication between real stores: what links bring lies in the store as it should."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from openledger_node.ledger.errors import Refused
from openledger_node.ledger.forks import ForkEvidence, verify_fork
from openledger_node.ledger.heads import Mark
from openledger_node.node.replication.admission import Admission
from openledger_node.node.replication.engine import Hub, Identity
from openledger_node.node.replication.home import HomeHolder
from openledger_node.store.check import check
from openledger_node.store.ingest import Ingestion
from openledger_node.sync.session import sign_link
from tests.kit.ledgerkit import MemoryLog, digest, key
from tests.kit.nodes import World, play_world, run_at_once
from tests.store.place import DEVICE, KIND, Place, chain, note


class StoreNode:
    """A hub on the store of a place, and what its hooks heard."""

    def __init__(self, name: str, place: Place, draw: Callable[[int], int]) -> None:
        self.place = place
        self.transport = key("transport", name)
        self.node_id = self.transport.public.raw
        self.faults: list[Any] = []
        self.found: list[ForkEvidence] = []
        self.own_elsewhere: list[bytes] = []
        device = key("device", name)
        ledger = place.ledger.id
        self.hub = Hub(
            Identity(
                ledger,
                self.node_id,
                digest("account", name),
                device.public.raw,
                lambda peer: sign_link(device, ledger, self.node_id, peer),
            ),
            HomeHolder(place.store),
            io=run_at_once,
            now_ms=lambda: int(trio.current_time() * 1000),
            draw=draw,
            hooks=self,  # type: ignore[arg-type]
            admission=Admission(
                "open", listed=(), unknown_bytes=2**30, known=lambda owner: True, held=()
            ),
        )

    def fork_found(self, proof: ForkEvidence, *, here: bool) -> None:
        self.found.append(proof)

    def own_log_elsewhere(self, log_id: bytes) -> None:
        self.own_elsewhere.append(log_id)

    def link_ended(self, runner: Any, why: Any) -> None:
        if why is not None:
            self.faults.append(why)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None

    def histories(self, log: MemoryLog) -> list[list[bytes]]:
        """Every branch held, the shown one first, whole as it is served."""
        holder = HomeHolder(self.place.store)
        with self.place.store.read() as snapshot:
            found = snapshot.histories(log.log_id)
        assert all(h.head is not None for h in found)
        return [_served(holder, h.head.mark) for h in found if h.head is not None]


def _served(holder: HomeHolder, mark: Mark) -> list[bytes]:
    served = holder.find(mark.log_id, mark)
    assert served is not None and served.head.mark == mark
    leaves: list[bytes] = []
    while len(leaves) < mark.size:
        count, lengths, data = holder.leaf_run(served, len(leaves), mark.size, 100_000)
        for index in range(count):
            length = int.from_bytes(lengths[index * 4 : index * 4 + 4], "big")
            leaves.append(data[:length])
            data = data[length:]
        assert not data
    return leaves


@pytest.fixture
def places(tmp_path: Path) -> Iterator[list[Place]]:
    """Three homes of one device. They began with one log, which the first goes on to write."""
    made = [Place(tmp_path / name / "home") for name in "abc"]
    for place, name in zip(made[1:], "bc", strict=True):
        place.begin(name)
    yield made
    for place in made:
        assert check(place.store).problems == []
        place.close()


async def started(world: World, places: list[Place], count: int = 2) -> list[StoreNode]:
    nodes = [
        StoreNode(name, place, world.random.randrange)
        for name, place in zip("abc"[:count], places, strict=False)
    ]
    for node in nodes:
        await world.nursery.start(node.hub.run)
    return nodes


def connect(world: World, a: StoreNode, b: StoreNode) -> None:
    world.connect(a, b)  # type: ignore[arg-type]


def log_of(place: Place, name: str, size: int) -> MemoryLog:
    log = place.ledger.open_log(digest(name), key(name, "device"), name)
    return chain(log, size - 1)


def parted(log: MemoryLog, common: int, size: int) -> MemoryLog:
    other = MemoryLog(log.genesis, log.key)
    for leaf in log.leaves[1:common]:
        other.append_leaf(leaf)
    while len(other.leaves) < size:
        other.append(KIND, ["other", len(other.leaves)])
    return other


@pytest.mark.rule("X1", "S7")
def test_long_and_short_logs_come_to_lie_as_they_were(places: list[Place]) -> None:
    logs = [log_of(places[0], f"log {size}", size) for size in (1, 256, 300, 513, 3_000)]
    for log in logs[:4]:
        places[0].ingest(log)
    places[0].ingest(logs[4], 2_000)
    places[1].ingest(logs[4], 700)
    places[1].ingest(logs[3], 200)

    async def play(world: World) -> None:
        a, b = await started(world, places)
        connect(world, a, b)
        await world.settle()
        for log in logs[:4]:
            assert b.histories(log) == [log.leaves]
        assert b.histories(logs[4]) == [logs[4].leaves[:2_000]]
        assert sorted(a.hub.replica.marks.values()) == sorted(b.hub.replica.marks.values())
        assert not a.faults and not b.faults

    play_world(play)


@pytest.mark.rule("X3", "X4", "S8")
@pytest.mark.parametrize(
    ("common", "ours", "theirs"), [(1, 5, 5), (300, 600, 700), (512, 513, 900)]
)
def test_two_branches_end_as_one_proof_and_either_is_shown_when_a_cut_names_it(
    places: list[Place], common: int, ours: int, theirs: int
) -> None:
    log = log_of(places[0], "forked", ours)
    other = parted(log, common, theirs)
    places[0].ingest(log)
    places[1].ingest(other)

    async def play(world: World) -> None:
        a, b, c = await started(world, places, 3)
        connect(world, a, b)
        await world.settle()
        proofs = [HomeHolder(node.place.store).forks() for node in (a, b)]
        assert proofs[0] == proofs[1] and len(proofs[0]) == 1
        assert verify_fork(proofs[0][0]).common == common
        assert (a.histories(log), b.histories(log)) == ([log.leaves], [other.leaves])

        a.hub.need([other.mark(common + 1)])
        b.hub.need([log.mark()])
        await world.settle()
        assert a.histories(log) == [other.leaves, log.leaves]
        assert b.histories(log) == [log.leaves, other.leaves]

        connect(world, b, c)
        await world.settle()
        c.hub.need([other.mark()])
        await world.settle(60)
        assert c.histories(log)[0] == other.leaves
        assert not (*a.faults, *b.faults, *c.faults)

    play_world(play)


@pytest.mark.rule("S9")
def test_an_own_log_that_a_peer_holds_longer_is_taken_over_and_left(places: list[Place]) -> None:
    ahead = MemoryLog(places[0].genesis, DEVICE)
    ahead.leaves[:] = places[0].leaves()
    chain(ahead, 700)
    ingestion = Ingestion(places[1].store, ahead.genesis, ahead.head(), adopt_own=True)
    ingestion.feed(ahead.leaves[1:])
    ingestion.finish()

    async def play(world: World) -> None:
        a, b = await started(world, places)
        connect(world, a, b)
        await world.settle()
        assert a.own_elsewhere == [ahead.log_id]
        assert a.histories(ahead) == [ahead.leaves]
        with a.place.writer() as writer, pytest.raises(Refused) as refused:
            writer.append([note(1)])
        assert refused.value.code == "own_log_elsewhere"
        assert not a.faults and not b.faults

    play_world(play)
