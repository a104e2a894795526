"""Evil logs against a real store: what does not verify leaves nothing that a reader sees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from openledger_node.ledger.events import encode_event
from openledger_node.store.check import check
from openledger_node.sync import events as e
from openledger_node.sync import messages as m
from tests.kit.ledgerkit import MemoryLog, digest, key
from tests.kit.nodes import World, play_world
from tests.node.replication.evil import Evil, Log, runs
from tests.node.replication.test_home_holder import StoreNode
from tests.store.place import KIND, Place, chain

LONG = 1_000


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "home")
    yield made
    assert check(made.store).problems == []
    made.close()


class StoreStage:
    """A node on a real store, for `Evil`."""

    def __init__(self, world: World, place: Place) -> None:
        self.world = world
        self.node: Any = StoreNode("node", place, world.random.randrange)
        self.ledger_id = place.ledger.id


async def attacked(world: World, place: Place, log: MemoryLog, reply: Any) -> StoreNode:
    """The node after an evil peer offered `log` and answered with what `reply(want)` gives."""
    stage = StoreStage(world, place)
    await world.nursery.start(stage.node.hub.run)
    evil = Evil(stage)
    await evil.greet()
    evil.replies[e.Wanted] = reply
    head = log.head().signed
    await evil.frontier(evil.offer(log.log_id, head.size, head.root))
    await trio.sleep(5)
    node: StoreNode = stage.node
    return node


def spine_of(log: MemoryLog) -> bytes:
    whole = Log("any", 1)
    whole.leaves = log.leaves
    return whole.spine()


def stored(place: Place, log: MemoryLog) -> int:
    with place.store.read() as snapshot:
        found = snapshot.log(log.log_id)
        return found.head.size if found is not None and found.head is not None else 0


def long_log(place: Place) -> MemoryLog:
    return chain(place.ledger.open_log(digest("evil"), key("evil", "device"), "n"), LONG - 1)


@pytest.mark.rule("Y30", "S7")
@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_false_spine(place: Place, at: int) -> None:
    log = long_log(place)
    roots = bytearray(spine_of(log))
    roots[32 * at] ^= 1

    def reply(want: Any) -> Iterable[m.Frame]:
        yield m.Head(want.want_id, log.leaves[0], log.head().signed)
        yield m.Spine(want.want_id, 0, bytes(roots))
        yield from runs(want.want_id, log.leaves)

    async def play(world: World) -> None:
        node = await attacked(world, place, log, reply)
        assert [fault.code for fault in node.faults] == ["bad_data"]
        assert stored(place, log) == 0

    play_world(play)


@pytest.mark.rule("Y30", "S7")
@pytest.mark.parametrize("at", [1, 255, 256, 700, LONG - 1])
def test_a_false_leaf_under_a_true_spine_and_head(place: Place, at: int) -> None:
    log = long_log(place)
    false = encode_event(at, KIND, 0, ["false"]) if at % 2 else b"no event at all"
    leaves = [*log.leaves[:at], false, *log.leaves[at + 1 :]]

    def reply(want: Any) -> Iterable[m.Frame]:
        yield m.Head(want.want_id, log.leaves[0], log.head().signed)
        yield m.Spine(want.want_id, 0, spine_of(log))
        yield from runs(want.want_id, leaves)

    async def play(world: World) -> None:
        node = await attacked(world, place, log, reply)
        assert [fault.code for fault in node.faults] == ["bad_data"]
        assert stored(place, log) == 0

    play_world(play)


@pytest.mark.rule("X1", "S7")
def test_a_stream_cut_off_by_missing_and_served_whole_by_the_next_peer(place: Place) -> None:
    log = long_log(place)

    def cut(want: Any) -> Iterable[m.Frame]:
        yield m.Head(want.want_id, log.leaves[0], log.head().signed)
        yield m.Spine(want.want_id, 0, spine_of(log))
        yield from runs(want.want_id, log.leaves[:600])
        yield m.Missing(want.want_id, m.Reason.BUSY)

    async def play(world: World) -> None:
        node = await attacked(world, place, log, cut)
        assert stored(place, log) == 0 and not node.faults
        stage = StoreStage.__new__(StoreStage)
        stage.world, stage.node, stage.ledger_id = world, node, place.ledger.id
        other = Evil(stage, "another peer")
        await other.greet()

        def whole(want: Any) -> Iterable[m.Frame]:
            yield m.Head(want.want_id, log.leaves[0], log.head().signed)
            yield m.Spine(want.want_id, 0, spine_of(log))
            yield from runs(want.want_id, log.leaves)

        other.replies[e.Wanted] = whole
        head = log.head().signed
        await other.frontier(other.offer(log.log_id, head.size, head.root))
        await trio.sleep(5)
        assert stored(place, log) == LONG and not node.faults

    play_world(play)
