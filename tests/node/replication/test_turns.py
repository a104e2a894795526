"""Peers that send what is cheap to send and not to take in: the others get their turn meanwhile."""

from __future__ import annotations

import pytest
import trio

from openledger_node.node.replication.link import FRONTIER_SLICE
from openledger_node.node.replication.turns import PAUSE_S, TURN_BYTES
from openledger_node.sync import messages as m
from openledger_node.sync.peer_state import Moments
from openledger_node.sync.session import FRAME_BYTES
from openledger_node.sync.table import Offer
from tests.kit.nodes import World, play_world
from tests.node.replication.evil import Evil, Stage, digest

FRAMES_A_TURN = TURN_BYTES // FRAME_BYTES


def frames_in(stage: Stage, evils: list[Evil]) -> int:
    ids = {evil.node_id for evil in evils}
    links = stage.node.hub.links.values()
    return sum(r.session.received_frames for r in links if r.link.peer_id in ids)


@pytest.mark.rule("X11")
def test_small_frames_in_thousands_are_taken_in_a_turn_at_a_time() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        before = frames_in(stage, [evil])
        world.nursery.start_soon(evil.send, m.encode_frame(m.Grant(1)) * 20_000)
        for _ in range(3 * 20_000 // FRAMES_A_TURN):
            await trio.lowlevel.checkpoint()
            now = frames_in(stage, [evil])
            assert now - before <= FRAMES_A_TURN, "others wait for no more than a turn"
            before = now
        await trio.sleep(5)
        assert frames_in(stage, [evil]) >= 20_000
        await stage.over(costs=None)

    play_world(play)


@pytest.mark.rule("X11")
def test_many_links_that_flood_take_turns() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evils = [await stage.evil(f"evil {number}") for number in range(5)]
        for evil in evils:
            world.nursery.start_soon(evil.send, m.encode_frame(m.Grant(1)) * 30_000)
        await trio.sleep(0.2)
        most = (0.2 / PAUSE_S + len(evils) + 1) * FRAMES_A_TURN
        assert frames_in(stage, evils) <= most, "together they get what one would get"
        stage.node.append(1)
        began_s = trio.current_time()
        while stage.honest.marks() != stage.node.marks():
            await trio.sleep(0.01)
        assert trio.current_time() - began_s < 0.2
        await trio.sleep(5)
        assert not stage.node.faults

    play_world(play)


@pytest.mark.rule("X11")
def test_a_long_frontier_is_looked_at_in_slices() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        (number,) = [n for n, r in stage.node.hub.links.items() if r.link.peer_id == evil.node_id]
        offers = stage.node.hub.replica.table(number).offers
        names = [(digest("name", at)[:8], Offer(5, b"tagt")) for at in range(30_000)]
        world.nursery.start_soon(evil.frontier, *names)
        before = 0
        for _ in range(2_000):
            await trio.sleep(0.000_1)
            assert len(offers) - before <= FRONTIER_SLICE
            before = len(offers)
        assert len(offers) == 30_000

    play_world(play)


def test_moments_are_kept_once_and_forgotten_when_they_are_over() -> None:
    moments = Moments()
    for at_ms in (5, 7, 5, 7, 9):
        moments.add(at_ms)
    assert moments.after(4) == 5
    assert moments.after(5) == 7
    assert moments.after(8) == 9
    assert moments.after(9) is None
    assert not moments._at_ms
