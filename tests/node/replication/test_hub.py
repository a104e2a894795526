"""Replication of whole nodes in memory: the rules of `sync.replica` as nodes show them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import trio

from openledger_node.ledger.errors import Refused, StoreUnavailable
from openledger_node.ledger.heads import Mark
from openledger_node.node.replication.admission import Admission
from openledger_node.node.replication.engine import FULL_RETRY_S
from openledger_node.node.replication.holder import Landed
from openledger_node.node.replication.link import LinkRunner
from openledger_node.sync.faults import Cost
from openledger_node.sync.replica import PUSH_DELAY_MS, PUSH_WAIT_MS, ROUND_MS
from tests.kit.nodes import Node, World, play_world


def in_sync(*nodes: Node) -> bool:
    return len({node.hub.replica.digests() for node in nodes}) == 1


@pytest.mark.rule("X1")
@pytest.mark.parametrize("events", [1, 255, 256, 257, 600, 1_500])
def test_a_node_gets_what_its_peer_holds_and_gives_what_it_lacks(events: int) -> None:
    async def play(world: World) -> None:
        a, b = await world.node("a"), await world.node("b")
        a.append(events)
        b.append(3)
        world.connect(a, b)
        await world.settle()
        assert a.marks() == b.marks()
        assert b.holder.logs[a.log_id].leaves == a.holder.logs[a.log_id].leaves
        assert not a.faults and not b.faults

    play_world(play)


@pytest.mark.rule("X1")
def test_a_log_that_grew_while_it_was_fetched_is_fetched_to_its_end() -> None:
    async def play(world: World) -> None:
        a, b = await world.node("a"), await world.node("b")
        a.append(3_000)
        world.connect(a, b)
        for _ in range(20):
            await trio.sleep(0.001)
            a.append(40)
        await world.settle()
        assert b.size(a.log_id) == 3_801
        assert in_sync(a, b)

    play_world(play)


@pytest.mark.rule("X1")
def test_when_a_link_breaks_the_rest_comes_from_another_peer() -> None:
    async def play(world: World) -> None:
        a, b, c = [await world.node(name) for name in "abc"]
        a.append(5_000)
        world.connect(a, c)
        await world.settle()
        ours, _ = world.connect(a, b)
        while not b.hub.links:
            await trio.sleep(0)
        await trio.sleep(0)
        await ours.aclose()
        world.connect(b, c)
        await world.settle()
        assert in_sync(a, b, c)

    play_world(play)


@pytest.mark.rule("X1")
def test_a_log_that_two_peers_offer_is_stored_once() -> None:
    async def play(world: World) -> None:
        a, b, c = [await world.node(name) for name in "abc"]
        a.append(2_000)
        world.connect(a, b)
        await world.settle()
        world.connect(a, c)
        world.connect(b, c)
        await world.settle()
        assert in_sync(a, b, c)
        sent = sum(r.link.sent_bytes for node in (a, b) for r in node.hub.links.values())
        assert sent < 2.5 * sum(map(len, a.holder.logs[a.log_id].leaves))

    play_world(play)


def test_nodes_that_agree_say_hello_and_no_more() -> None:
    async def play(world: World) -> None:
        a, b = await world.node("a"), await world.node("b")
        a.append(1_000)
        ours, theirs = world.connect(a, b)
        await world.settle()
        await ours.aclose()
        await world.settle(1)
        ours, theirs = world.connect(a, b)
        await world.settle(1)
        assert in_sync(a, b)
        assert ours.sent_bytes < 300
        assert theirs.sent_bytes < 300

    play_world(play)


def test_what_is_missing_of_many_logs_is_found_in_one_round_trip_and_few_bytes() -> None:
    async def play(world: World) -> None:
        a, b = await world.node("a"), await world.node("b")
        for number in range(98):
            other = Node(f"n{number}", world.random.randrange)
            a.hold(other.holder.logs[other.log_id])
        ours, _ = world.connect(a, b)
        await world.settle()
        await ours.aclose()
        await world.settle(1)
        a.append(3)
        ours, theirs = world.connect(a, b)
        await world.settle(2)
        assert in_sync(a, b)
        assert theirs.sent_bytes < 4_096

    play_world(play)


@pytest.mark.rule("X2")
def test_an_offer_of_news_waits_for_the_events_that_are_on_their_way() -> None:
    async def play(world: World) -> None:
        a, b, c = [await world.node(name) for name in "abc"]
        for one, other in ((a, b), (b, c), (a, c)):
            world.connect(one, other)
        await world.settle()
        before = {node: sum(r.link.sent_bytes for r in node.hub.links.values()) for node in (b, c)}
        a.append(100)
        await trio.sleep((PUSH_DELAY_MS + PUSH_WAIT_MS + 50) / 1000)
        assert in_sync(a, b, c)
        for node, sent in before.items():
            grown = sum(r.link.sent_bytes for r in node.hub.links.values()) - sent
            assert grown < 100, "neither asked for, nor passed on, what both were sent"

    play_world(play)


@pytest.mark.rule("X5")
def test_an_event_crosses_a_chain_of_nodes_within_a_fifth_of_a_second() -> None:
    async def play(world: World) -> None:
        chain = [await world.node(f"n{number}") for number in range(6)]
        for one, other in pairwise(chain):
            world.connect(one, other)
        await world.settle()
        began = trio.current_time()
        mark = chain[0].append()
        while chain[-1].size(mark.log_id) < mark.size:
            await trio.sleep(0.001)
        assert trio.current_time() - began <= 5 * (PUSH_DELAY_MS + 2) / 1000

    play_world(play)


@pytest.mark.rule("X5")
def test_more_events_than_are_pushed_at_once_are_told_and_fetched() -> None:
    async def play(world: World) -> None:
        a, b = await world.node("a"), await world.node("b")
        world.connect(a, b)
        await world.settle()
        a.append(5_000)
        await world.settle(1)
        assert in_sync(a, b)

    play_world(play)


@pytest.mark.rule("X5")
def test_a_push_of_a_log_that_is_new_to_the_peer_opens_it() -> None:
    async def play(world: World) -> None:
        a, b, c = [await world.node(name) for name in "abc"]
        world.connect(a, b)
        await world.settle()
        world.connect(b, c)
        await world.settle()
        assert c.size(a.log_id) == 1
        assert in_sync(a, b, c)

    play_world(play)


@pytest.mark.rule("X3", "X4")
@pytest.mark.parametrize("lengths", [(1, 1), (1, 3), (3, 1), (2, 40)])
def test_two_histories_shown_to_two_nodes_end_in_one_proof_on_all(
    lengths: tuple[int, int],
) -> None:
    async def play(world: World) -> None:
        forger, b, c, d = [await world.node(name) for name in ("forger", "b", "c", "d")]
        forger.append(4)
        b.hold(forger.history(3, lengths[0], "one"))
        c.hold(forger.history(3, lengths[1], "other"))
        world.connect(b, d)
        world.connect(d, c)
        await world.settle()
        assert in_sync(b, c, d)
        proofs = [node.hub.replica.forks[forger.log_id] for node in (b, c, d)]
        assert proofs[0] == proofs[1] == proofs[2]
        assert proofs[0].common == 3
        assert not any(node.faults for node in (b, c, d)), "nobody is blamed but the signer"

    play_world(play)


@pytest.mark.rule("X4")
def test_a_forked_log_is_neither_offered_nor_wanted_past_its_common_prefix() -> None:
    async def play(world: World) -> None:
        forger, b, c = [await world.node(name) for name in ("forger", "b", "c")]
        forger.append(4)
        b.hold(forger.history(3, 1, "one"))
        c.hold(forger.history(3, 2, "other"))
        world.connect(b, c)
        await world.settle()
        sent = [sum(r.link.sent_bytes for r in node.hub.links.values()) for node in (b, c)]
        await trio.sleep(ROUND_MS * 10 / 1000)
        grown = [
            sum(r.link.sent_bytes for r in node.hub.links.values()) - before
            for node, before in zip((b, c), sent, strict=True)
        ]
        assert max(grown) < 20 * 200, "rounds exchange digests and nothing else"

    play_world(play)


@pytest.mark.rule("X4")
def test_a_branch_that_a_cut_names_is_fetched_from_whoever_has_it() -> None:
    async def play(world: World) -> None:
        forger, b, c, d = [await world.node(name) for name in ("forger", "b", "c", "d")]
        forger.append(4)
        one, other = forger.history(3, 1, "one"), forger.history(3, 2, "other")
        b.hold(one)
        c.hold(other)
        d.hold(one)
        world.connect(b, d)
        world.connect(b, c)
        await world.settle()
        assert other.head is not None
        b.hub.need([Mark(forger.log_id, other.head.size, other.head.root)])
        await world.settle()
        assert b.holder.logs[forger.log_id].leaves == other.leaves
        assert [branch.leaves for branch in b.holder.branches[forger.log_id]] == [one.leaves]
        assert not b.hub.replica.needs()

    play_world(play)


@pytest.mark.rule("X6")
def test_a_round_finds_what_was_never_told() -> None:
    async def play(world: World) -> None:
        a, b = await world.node("a"), await world.node("b")
        world.connect(a, b)
        await world.settle()
        log = a.holder.logs[a.log_id]
        leaf = a._leaf(len(log.leaves))
        head = a._write([leaf])
        a.hub.replica.marks[a.log_id] = head.mark
        a.hub.replica._digests = None
        await trio.sleep(2 * ROUND_MS * 1.5 / 1000)
        assert in_sync(a, b)

    play_world(play)


def test_a_log_that_admission_refuses_is_not_stored_and_not_asked_for_again() -> None:
    async def play(world: World) -> None:
        a, b = await world.node("a"), await world.node("b")
        b.admission = b.hub.admission = Admission(
            "listed", listed=(), unknown_bytes=0, known=lambda owner: False, held=()
        )
        a.append(600)
        world.connect(a, b)
        await world.settle()
        assert b.size(a.log_id) == 0
        a.append(1)
        await world.settle()
        assert b.size(a.log_id) == 0
        assert a.size(b.log_id) == 1
        assert not b.faults

    play_world(play)


def test_a_restored_home_hears_that_its_log_went_on() -> None:
    async def play(world: World) -> None:
        a, b = await world.node("a"), await world.node("b")
        a.append(10)
        ours, _ = world.connect(a, b)
        await world.settle()
        await ours.aclose()
        await world.settle(1)
        old = a.history(6, 0, "")
        a.hold(old)
        world.connect(a, b)
        await world.settle()
        assert a.own_elsewhere == [a.log_id]
        assert a.size(a.log_id) == 11

    play_world(play)


def test_a_peer_whose_events_do_not_hash_to_its_head_is_banned_and_nothing_is_stored() -> None:
    async def play(world: World) -> None:
        a, b = await world.node("a"), await world.node("b")
        a.append(5)
        log = a.holder.logs[a.log_id]
        log.leaves[3] = a._leaf(3, "forged")
        world.connect(a, b)
        await world.settle()
        assert [fault.code for fault in b.faults] == ["bad_data"]
        assert b.faults[0].cost is Cost.BAN
        assert b.size(a.log_id) == 0

    play_world(play)


def test_a_link_that_says_nothing_is_given_up() -> None:
    async def play(world: World) -> None:
        a, b = await world.node("a"), await world.node("b")
        ours, theirs = world.connect(a, b)
        await world.settle()
        runner: LinkRunner = next(iter(a.hub.links.values()))
        runner.ask_digest = lambda: None  # type: ignore[method-assign]
        a.hub.replica.rounds.at_ms = 10**12
        b.hub.replica.rounds.at_ms = 10**12
        other: LinkRunner = next(iter(b.hub.links.values()))
        other.ask_digest = lambda: None  # type: ignore[method-assign]
        await trio.sleep(600)
        assert not a.hub.links
        assert "silent" in {fault.code for fault in (*a.faults, *b.faults)}
        del ours, theirs

    play_world(play)


def test_a_store_that_is_full_refuses_for_a_while_and_then_catches_up() -> None:
    async def play(world: World) -> None:
        a, b = await world.node("a"), await world.node("b")
        full = StoreUnavailable("the store is full", code="store_full")
        land, begin = b.holder.land, b.holder.begin

        def refuse(*arguments: Any, **options: Any) -> Any:
            raise full

        b.holder.land = lambda arrivals: [Landed(None, fault=full) for _ in arrivals]  # type: ignore[method-assign]
        b.holder.begin = refuse  # type: ignore[method-assign]
        a.append(2_000)
        world.connect(a, b)
        await world.settle()
        assert b.refusals == [full]
        assert not b.faults and b.size(a.log_id) == 0
        b.holder.land, b.holder.begin = land, begin  # type: ignore[method-assign]
        await trio.sleep(2 * FULL_RETRY_S)
        assert in_sync(a, b)

    play_world(play)


def test_a_log_that_another_process_takes_in_meanwhile_is_asked_for_again() -> None:
    async def play(world: World) -> None:
        a, b = await world.node("a"), await world.node("b")
        begin, tries = b.holder.begin, []

        def busy(*arguments: Any, **options: Any) -> Any:
            tries.append(1)
            if len(tries) < 3:
                raise Refused("another process is taking in the same log", code="busy")
            return begin(*arguments, **options)

        b.holder.begin = busy  # type: ignore[method-assign]
        a.append(2_000)
        world.connect(a, b)
        await world.settle()
        assert len(tries) == 3
        assert in_sync(a, b) and not b.faults

    play_world(play)


@pytest.mark.rule("X3", "X4")
def test_a_third_branch_that_left_the_others_earlier_makes_the_proof_lower() -> None:
    async def play(world: World) -> None:
        forger, b, c, d = [await world.node(name) for name in ("forger", "b", "c", "d")]
        forger.append(9)
        for node, common, text in ((b, 8, "one"), (c, 8, "other"), (d, 4, "third")):
            node.hold(forger.history(common, 3 if node is not d else 1, text))
        world.connect(b, c)
        await world.settle()
        assert b.hub.replica.forks[forger.log_id].common == 8
        world.connect(b, d)
        await world.settle()
        assert in_sync(b, c, d)
        proofs = {node.hub.replica.forks[forger.log_id].common for node in (b, c, d)}
        assert proofs == {4}
        sent = d.hub.links[0].link.sent_bytes
        await world.settle()
        assert d.hub.links[0].link.sent_bytes == sent, "nothing is asked for again and again"

    play_world(play)
