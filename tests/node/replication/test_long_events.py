"""Logs of few but long events: what waits to be whole never uses up a link's credit."""

from __future__ import annotations

import pytest

from openledger_node.node.replication.fetching import KEPT_BYTES
from openledger_node.node.replication.serving import MAX_RUN_FRAME_BYTES
from openledger_node.sync.flow import GRANT_AT_BYTES, INITIAL_CREDIT_BYTES
from tests.kit.nodes import Node, World, play_world


async def node(world: World, name: str) -> Node:
    """A node that takes as much from the others as they have."""
    made = await world.node(name)
    for other in world.nodes:
        for one, two in ((made, other), (other, made)):
            one.known.add((two.account, two.device.public.raw))
    return made


def test_what_is_kept_of_a_short_log_leaves_credit_for_the_next_frame() -> None:
    assert KEPT_BYTES + MAX_RUN_FRAME_BYTES + GRANT_AT_BYTES < INITIAL_CREDIT_BYTES


@pytest.mark.rule("X1")
@pytest.mark.parametrize(
    ("events", "size_bytes"), [(3, 500_000), (10, 100_000), (20, 300_000), (300, 20_000)]
)
def test_a_log_of_few_long_events_arrives(events: int, size_bytes: int) -> None:
    async def play(world: World) -> None:
        a, b = await node(world, "a"), await node(world, "b")
        a.append(events, "x" * size_bytes)
        world.connect(a, b)
        await world.settle()
        assert b.size(a.log_id) == events + 1
        assert b.holder.logs[a.log_id].leaves == a.holder.logs[a.log_id].leaves
        assert not a.faults and not b.faults

    play_world(play)


@pytest.mark.rule("X1")
def test_a_log_of_long_events_that_is_held_in_part_grows_to_its_end() -> None:
    async def play(world: World) -> None:
        a, b = await node(world, "a"), await node(world, "b")
        a.append(300)
        ours, _ = world.connect(a, b)
        await world.settle()
        await ours.aclose()
        await world.settle(1)
        a.append(30, "x" * 300_000)
        world.connect(a, b)
        await world.settle()
        assert b.size(a.log_id) == 331
        assert not a.faults and not b.faults

    play_world(play)


@pytest.mark.rule("X1")
def test_many_logs_of_half_a_megabyte_arrive_one_after_another() -> None:
    async def play(world: World) -> None:
        a = await node(world, "a")
        for number in range(12):
            other = await node(world, f"other {number}")
            other.append(250, "x" * 2_000)
            ours, _ = world.connect(a, other)
            await world.settle(1)
            await ours.aclose()
        b = await node(world, "b")
        world.connect(a, b)
        await world.settle()
        assert b.marks() == a.marks()
        assert not b.faults

    play_world(play)


@pytest.mark.rule("X3")
@pytest.mark.parametrize("length", [100, 200])
def test_a_fork_among_long_events_is_proved(length: int) -> None:
    async def play(world: World) -> None:
        a, b = await node(world, "a"), await node(world, "b")
        a.append(length, "x" * 60_000)
        b.hold(a.history(50, length, "y" * 60_000))
        world.connect(a, b)
        await world.settle()
        found = [proof for proof, _ in (*a.found, *b.found)]
        assert found and {proof.common for proof in found} == {50}

    play_world(play)
