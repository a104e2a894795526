"""Peers that lie about what they hold, flood with offers and questions, or supply nothing."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from openledger_node.ledger.heads import SignedHead
from openledger_node.sync import events as e
from openledger_node.sync import messages as m
from openledger_node.sync import replica as replicas
from openledger_node.sync import table as tables
from openledger_node.sync.frontier_entries import encode_entries
from openledger_node.sync.outgoing import MAX_WANTS
from openledger_node.sync.replica import MAX_FETCHES_A_LINK
from openledger_node.sync.table import Offer
from tests.kit.nodes import Node, World, play_world
from tests.node.replication.evil import Evil, Log, Stage, digest, runs, sizes


def missing(want: Any) -> list[m.Frame]:
    return [m.Missing(want.want_id, m.Reason.UNKNOWN)]


def names(count: int, size: int = 5) -> list[tuple[bytes, Offer]]:
    return [(digest("name", number)[:8], Offer(size, b"tagt")) for number in range(count)]


@pytest.mark.rule("X1")
def test_a_frontier_of_sizes_that_the_peer_does_not_hold() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        evil.replies[e.Wanted] = missing
        lies = [evil.offer(log_id, 10**9) for log_id in stage.node.holder.logs]
        await evil.frontier(*lies)
        await trio.sleep(3)
        assert len(evil.came(e.Wanted)) == len(lies), "each log is asked of it once"
        assert sizes(stage.node)["in flight"] == sizes(stage.node)["wanted"] == 0
        await stage.over(costs=None)

    play_world(play)


@pytest.mark.rule("X3")
def test_a_frontier_of_wrong_roots_without_spines_to_show() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        evil.replies[e.Wanted] = missing
        lies = [evil.offer(mark.log_id, mark.size, b"x" * 32) for mark in stage.node.marks()]
        for _ in range(3):
            await evil.frontier(*lies)
            await trio.sleep(2)
        assert len(evil.came(e.Wanted)) == len(lies), "each suspect is looked at once"
        assert sizes(stage.node)["suspects"] == 0
        assert not stage.node.hub.replica.forks
        await stage.over(costs=None)

    play_world(play)


@pytest.mark.rule("X3")
@pytest.mark.parametrize("forged", ["root", "signature"])
def test_a_wrong_root_with_a_false_head_to_show_for_it(forged: str) -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        log = stage.node.holder.logs[stage.honest.log_id]
        assert log.head is not None
        true, opening = log.head, log.leaves[0]
        signature = true.signature if forged == "root" else bytes(64)
        head = SignedHead(true.log_id, true.size, b"x" * 32, signature)
        evil.replies[e.Wanted] = lambda want: [
            m.Head(want.want_id, opening, head),
            m.Spine(want.want_id, 0, b"x" * 32),
        ]
        await evil.frontier(evil.offer(true.log_id, true.size, b"x" * 32))
        await stage.over(costs="bad_data")
        assert not stage.node.hub.replica.forks

    play_world(play)


@pytest.mark.rule("X3")
@pytest.mark.parametrize("changed", ["head", "events"])
def test_a_suspect_that_goes_over_to_another_history_is_not_blamed_for_the_first_one(
    changed: str,
) -> None:
    """Segment roots are of one history, the segment that differs is of another: under its own head
    that is what an honest peer answers whose history was replaced in between.
    """

    async def play(world: World) -> None:
        stage = await Stage.set(world)
        stage.honest.append(4)
        await world.settle(2)
        first, second = (stage.honest.history(2, 3, name) for name in ("first", "second"))
        assert first.head is not None
        assert second.head is not None
        evil = await stage.evil()
        heads = {"head": second.head, "events": first.head}

        def answer(want: Any) -> list[m.Frame]:
            if len(evil.came(e.Wanted)) == 1:
                spine = m.Spine(want.want_id, 0, first.head.root)  # type: ignore[union-attr]
                return [m.Head(want.want_id, first.leaves[0], first.head), spine]
            head = m.Head(want.want_id, first.leaves[0], heads[changed])
            return [head, *runs(want.want_id, second.leaves)]

        evil.replies[e.Wanted] = answer
        await evil.frontier(evil.offer(first.genesis.log_id, first.head.size, first.head.root))
        await trio.sleep(3)
        assert len(evil.came(e.Wanted)) == 2
        assert not stage.node.hub.replica.forks
        await stage.over(costs=None if changed == "head" else "bad_data")

    play_world(play)


@pytest.mark.rule("Y11")
def test_a_frontier_of_many_names_is_asked_for_a_little_at_a_time() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        await evil.frontier(*names(20_000))
        await trio.sleep(2)
        assert len(evil.came(e.Wanted)) == MAX_FETCHES_A_LINK
        held = sizes(stage.node)
        assert held["offers"] <= 20_000 + 10
        assert held["asked"] == held["fetches"] == MAX_FETCHES_A_LINK
        await stage.over(costs=None)

    play_world(play)


def test_names_past_the_limit_in_one_frontier_after_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (tables, replicas):
        monkeypatch.setattr(module, "MAX_TABLE_LOGS", 1_000)

    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        for number in range(0, 2_000, 300):
            await evil.frontier(*names(number + 300)[number:])
            assert sizes(stage.node)["offers"] <= 1_010
            await trio.sleep(11)
        await stage.over(costs="too_many_logs")

    play_world(play)


def test_what_all_peers_name_together_is_bounded_and_honest_logs_come_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replicas, "MAX_NAMED_LOGS", 1_000)

    async def play(world: World) -> None:
        stage = await Stage.set(world)
        crowd = [await stage.evil(f"evil {number}") for number in range(4)]
        for evil in crowd:
            await evil.frontier(*names(700))
            await trio.sleep(0.1)
            assert sizes(stage.node)["offers"] <= 1_000 + 2 * 6
        await stage.honest_goes_on()
        for evil in crowd:
            await evil.link.aclose()
        author = Node("author", world.random.randrange)
        mark = author.append(1_000)
        stage.honest.gets(author.holder.logs[author.log_id])
        await trio.sleep(5)
        assert stage.node.size(mark.log_id) == mark.size

    play_world(play)


def test_a_frontier_that_is_never_finished_costs_its_bytes_and_no_more() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        (part,) = encode_entries(names(20_000))
        await evil.say(m.Frontier(0, 0, part))
        await trio.sleep(1)
        (runner,) = [r for r in stage.node.hub.links.values() if r.link.peer_id == evil.node_id]
        held = runner.session._frontier
        assert held is not None and b"".join(held._parts) == part
        assert sizes(stage.node)["offers"] < 10
        await stage.over(costs=None)

    play_world(play)


@pytest.mark.parametrize("long", [True, False])
def test_a_flood_of_offers_of_new_names(monkeypatch: pytest.MonkeyPatch, long: bool) -> None:
    for module in (tables, replicas):
        monkeypatch.setattr(module, "MAX_TABLE_LOGS", 1_000)

    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        for number in range(3_000):
            name, tag = digest("name", number), digest("tag", number)
            have = m.Have(name, 9, tag) if long else m.Have(name[:8], 9, tag[:4])
            await evil.say(have)
            if stage.node.faults:
                break
            assert sizes(stage.node)["offers"] <= 1_010
            assert sizes(stage.node)["names"] <= 1_020
        await stage.over(costs="too_many_logs")
        assert sizes(stage.node)["offers"] < 10, "what the link kept is gone with it"

    play_world(play)


def test_logs_held_here_may_be_named_however_many_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (tables, replicas):
        monkeypatch.setattr(module, "MAX_TABLE_LOGS", 3)

    async def play(world: World) -> None:
        a, b = await world.node("a"), await world.node("b")
        for number in range(20):
            other = Node(f"n{number}", world.random.randrange)
            for node in (a, b):
                node.hold(other.holder.logs[other.log_id].copy())
        a.append(5)
        world.connect(a, b)
        await world.settle()
        assert a.marks() == b.marks()
        assert not a.faults and not b.faults

    play_world(play)


@pytest.mark.rule("X2")
def test_the_same_offer_a_thousand_times_is_followed_once() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, log = await stage.evil(), Log("nothing", 3)
        evil.replies[e.Wanted] = missing
        for _ in range(1_000):
            await evil.say(m.Have(evil.name(log.log_id), 3, b"tagt"))
        await trio.sleep(2)
        assert len(evil.came(e.Wanted)) == 1
        await stage.over(costs=None)

    play_world(play)


def test_a_peer_that_answers_missing_to_everything_it_offers() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        evil.replies[e.Wanted] = missing
        await evil.frontier(*names(3_000))
        await trio.sleep(5)
        assert len(evil.came(e.Wanted)) == 3_000
        held = sizes(stage.node)
        assert held["wanted"] == held["asked"] == held["fetches"] == held["in flight"] == 0
        await stage.over(costs=None)

    play_world(play)


def test_what_one_peer_does_not_supply_another_does() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        evil.replies[e.Wanted] = missing
        author = Node("author", world.random.randrange)
        mark = author.append(1_000)
        await evil.frontier(evil.offer(mark.log_id, mark.size, mark.root))
        await trio.sleep(1)
        stage.honest.gets(author.holder.logs[author.log_id])
        await trio.sleep(5)
        assert stage.node.size(mark.log_id) == mark.size

    play_world(play)


@pytest.mark.rule("X3")
def test_a_suspicion_that_is_raised_and_never_explained_holds_up_no_growth() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        mark = stage.node.hub.replica.marks[stage.honest.log_id]
        await evil.frontier(evil.offer(mark.log_id, mark.size, b"x" * 32))
        await trio.sleep(1)
        assert sizes(stage.node)["suspects"] == 1
        grown = stage.honest.append(5_000)  # too many to be pushed
        await trio.sleep(2)
        assert stage.node.size(grown.log_id) == grown.size

    play_world(play)


def test_suspicions_raised_on_one_link_cost_the_others_nothing() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        for number in range(200):
            other = Node(f"n{number}", world.random.randrange)
            stage.node.gets(other.holder.logs[other.log_id])
        await trio.sleep(2)
        await evil.frontier(
            *(evil.offer(mark.log_id, mark.size, b"x" * 32) for mark in stage.node.marks())
        )
        await trio.sleep(1)
        states = stage.node.hub.replica._links.values()
        assert sorted(len(state.suspects) for state in states)[:-1] == [0]
        assert sizes(stage.node)["suspects"] > 100
        await evil.link.aclose()
        await trio.sleep(1)
        assert sizes(stage.node)["suspects"] == 0

    play_world(play)


# Questions.


@pytest.mark.rule("Y14")
def test_more_questions_than_may_be_open() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        wants = [
            m.Want(number, stage.node.log_id, 0, None, None, None)
            for number in range(40 * MAX_WANTS)
        ]  # more than it grants credit for the answers of
        await evil.say(*wants)
        await stage.over(costs="too_many_wants")

    play_world(play)


def test_questions_for_what_does_not_exist_are_answered_and_leave_nothing() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, own = await stage.evil(), stage.node.log_id
        asked: list[m.Frame] = [
            m.Want(0, b"n" * 8, 0, None, None, None),
            m.Want(1, b"n" * 32, 0, None, None, None),
            m.Want(2, own, 10**9, None, None, None),
            m.Want(3, own, 0, 3, b"r" * 32, None),
            m.Want(4, b"n" * 32, 0, 5, b"r" * 32, 0),
            m.PayloadWant(5, b"e" * 32, b"c" * 32, 0, 0),
            m.PayloadWant(6, b"e" * 32, b"c" * 32, 10**6, 10**6),
        ]
        evil.session._next_want = 100
        answers: list[Any] = []
        decode = evil.session.receive_bytes

        def note(data: bytes, now_ms: int) -> Any:
            answers.append(data)
            return []

        evil.session.receive_bytes = note  # type: ignore[method-assign]
        await evil.say(*asked)
        await trio.sleep(2)
        bodies = b"".join(answers)
        kinds = _kinds(bodies)
        assert kinds.count(m.FrameType.MISSING) == len(asked)
        held = sizes(stage.node)
        assert held["wants"] == held["answers"] == held["pending bytes"] == 0
        del decode
        await stage.over(costs=None)

    play_world(play)


def _kinds(data: bytes) -> list[int]:
    kinds, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        kinds.append(m.frame_type(data[at + 4 : at + 4 + size]))
        at += 4 + size
    return kinds


def test_a_spine_far_past_the_log_is_no_end_of_the_node() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world, events=700)
        evil = Evil(stage)
        await evil.greet()
        evil.session.receive_bytes = lambda data, now_ms: []  # type: ignore[method-assign]
        for number, spine in enumerate((0, 2, 3, 10**6, 2**31)):
            await evil.say(m.Want(number, stage.node.log_id, 0, 0, None, spine))
        await trio.sleep(2)
        assert not stage.node.faults
        held = sizes(stage.node)
        assert held["wants"] == held["answers"] == 0
        await stage.over(costs=None)

    play_world(play)
