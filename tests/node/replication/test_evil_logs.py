"""Peers that offer or send logs that are not what they seem: nothing false is stored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import trio

from openledger_node.ledger.events import SEGMENT_LEAVES, encode_event
from openledger_node.ledger.heads import SignedHead, sign_head
from openledger_node.ledger.keys import SigningKey
from openledger_node.node.replication import admission as admissions
from openledger_node.node.replication import lane as lanes
from openledger_node.node.replication.admission import owner_of
from openledger_node.node.replication.holder import Arrival
from openledger_node.node.replication.patience import LOOK_S
from openledger_node.sync import events as e
from openledger_node.sync import messages as m
from tests.kit.nodes import Node, World, play_world
from tests.node.replication.evil import Evil, Log, Stage, digest, runs, sizes
from tests.sync.links import lengths_of, replace

LONG = 3 * SEGMENT_LEAVES + 100


def serve(
    evil: Evil,
    log: Log,
    *,
    head: SignedHead | None = None,
    opening: bytes | None = None,
    spine: bytes | None = None,
    leaves: list[bytes] | None = None,
) -> None:
    """Answers a WANT of `log`, with what is given in place of the truth."""

    def answer(want: Any) -> Iterable[m.Frame]:
        first = log.leaves[0] if opening is None else opening
        yield m.Head(want.want_id, first if want.first == 0 else b"", head or log.head())
        if want.spine is not None:
            roots = log.spine(want.spine) if spine is None else spine
            yield m.Spine(want.want_id, want.spine, roots)
        if want.first != want.stop:
            rest = (log.leaves if leaves is None else leaves)[want.first :]
            yield from runs(want.want_id, rest, want.first)

    evil.replies[e.Wanted] = answer


async def offer(evil: Evil, log: Log, size: int | None = None) -> None:
    await evil.frontier(evil.offer(log.log_id, size or len(log.leaves), log.head().root))


def changed(leaves: list[bytes], at: int) -> list[bytes]:
    return [*leaves[:at], encode_event(at, "test.note", 0, ["false"]), *leaves[at + 1 :]]


@pytest.mark.rule("Y31")
@pytest.mark.parametrize("at", [1, 199])
def test_a_false_leaf_of_a_short_log(at: int) -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, log = await stage.evil(), Log("forged", 200)
        serve(evil, log, leaves=changed(log.leaves, at))
        await offer(evil, log)
        await stage.over(costs="bad_data")

    play_world(play)


@pytest.mark.rule("Y30")
@pytest.mark.parametrize("at", [1, SEGMENT_LEAVES, LONG - 1])
def test_a_false_leaf_of_a_long_log(at: int) -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, log = await stage.evil(), Log("forged", LONG)
        serve(evil, log, leaves=changed(log.leaves, at))
        await offer(evil, log)
        await stage.over(costs="bad_data")

    play_world(play)


@pytest.mark.rule("Y12")
def test_a_spine_that_is_cut_short() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, log = await stage.evil(), Log("forged", LONG)
        serve(evil, log, spine=log.spine()[:32])
        await offer(evil, log)
        await stage.over(costs="order")

    play_world(play)


@pytest.mark.rule("Y30")
@pytest.mark.parametrize("events", [3, LONG])
def test_a_head_that_another_device_signed(events: int) -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, log = await stage.evil(), Log("forged", events)
        other = SigningKey(digest("another device"))
        mark = log.head()
        text = sign_head(other, Log("x", 1, device=other).genesis, mark.size, mark.root).signed
        serve(evil, log, head=SignedHead(log.log_id, mark.size, mark.root, text.signature))
        await offer(evil, log)
        await stage.over(costs="bad_data")

    play_world(play)


@pytest.mark.rule("Y30")
@pytest.mark.parametrize("size", [2, 4])
def test_a_head_of_another_size_than_was_signed(size: int) -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, log = await stage.evil(), Log("forged", 6)
        true = log.head(3)
        false = SignedHead(log.log_id, size, true.root, true.signature)
        serve(evil, log, head=false, leaves=log.leaves[:size])
        await offer(evil, log)
        await stage.over(costs="bad_data")

    play_world(play)


@pytest.mark.rule("Y31")
def test_a_true_head_with_the_leaves_of_another_log() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, log, other = await stage.evil(), Log("forged", 30), Log("other", 30)
        serve(evil, log, leaves=[log.leaves[0], *other.leaves[1:]])
        await offer(evil, log)
        await stage.over(costs="bad_data")

    play_world(play)


def test_a_head_of_another_log_than_was_asked_for() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, log, other = await stage.evil(), Log("asked", 3), Log("given", 3)
        serve(evil, other)
        await offer(evil, log)
        await stage.over(costs="other_log")

    play_world(play)


@pytest.mark.parametrize(
    "opening",
    [b"junk", encode_event(0, "test.note", 0, ["no opening"]), Log("another", 1).leaves[0]],
    ids=["junk", "no log.open", "the opening of another log"],
)
def test_an_opening_that_does_not_open_the_log(opening: bytes) -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, log = await stage.evil(), Log("forged", 3)
        serve(evil, log, opening=opening)
        await offer(evil, log)
        await stage.over(costs="bad_log")

    play_world(play)


def test_news_of_false_events_of_an_honest_log() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        honest = stage.node.holder.logs[stage.honest.log_id]
        assert honest.head is not None
        size = honest.head.size
        head = SignedHead(honest.head.log_id, size + 1, bytes(32), bytes(64))
        leaf = encode_event(size, "test.note", 0, ["false"])
        await evil.say(m.News(head, size, lengths_of([leaf]), leaf))
        await stage.over(costs="bad_data")

    play_world(play)


def test_news_of_a_log_of_another_ledger() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, log = await stage.evil(), Log("foreign", 1)
        foreign = replace(log.genesis, ledger_id=digest("another ledger"))
        leaf = encode_event(0, "log.open", 0, foreign)
        head = SignedHead(foreign.log_id, 1, bytes(32), bytes(64))
        await evil.say(m.News(head, 0, lengths_of([leaf]), leaf))
        await stage.over(costs="bad_log")

    play_world(play)


def test_the_same_segments_and_news_again_and_again_store_nothing_twice() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, log = await stage.evil(), Log("stranger", 40)
        for _ in range(200):
            await evil.say(log.news())
            await trio.sleep(0.01)
        assert stage.node.size(log.log_id) == 40
        owner = owner_of(log.genesis)
        news_bytes = len(m.encode_frame(log.news()))
        assert stage.node.admission._strangers[owner] <= news_bytes, "repeats use up no room"
        assert sizes(stage.node)["arrivals"] == 0
        assert not stage.node.faults
        await evil.link.aclose()
        stage.node.holder.logs.pop(log.log_id)
        stage.node.hub.replica.marks.pop(log.log_id)

    play_world(play)


# Rooms and numbers of others.


@pytest.mark.rule("X9")
def test_a_log_without_end_is_taken_up_to_its_owners_room_and_no_further() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        room = 200_000
        stage.node.admission._limit_bytes = room
        evil, log = await stage.evil(), Log("endless", 20_000)
        serve(evil, log)
        await offer(evil, log)
        await trio.sleep(10)
        (runner,) = [r for r in stage.node.hub.links.values() if r.link.peer_id == evil.node_id]
        assert runner.session._cancelled == 1
        assert stage.node.size(log.log_id) == 0
        owner = owner_of(log.genesis)
        assert stage.node.admission._strangers[owner] <= room + 4 * 2**20
        await offer(evil, log, 30_000)
        await trio.sleep(5)
        assert len(evil.came(e.Wanted)) == 1, "for good: it is not asked for however it grows"
        assert sizes(stage.node)["streams"] == sizes(stage.node)["asked"] == 0
        await stage.over(costs=None)

    play_world(play)


def test_a_log_that_grows_by_news_without_end_stops_at_its_owners_room() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        stage.node.admission._limit_bytes = 50_000
        evil, log = await stage.evil(), Log("endless", 1)
        for seq in range(1, 200):
            log.leaves.append(encode_event(seq, "test.note", 0, ["x" * 1_000]))
            await evil.say(log.news(seq if seq > 1 else 0))
            await trio.sleep(0.05)
        held = sum(map(len, stage.node.holder.logs[log.log_id].leaves))
        assert 40_000 < held < 60_000
        await stage.honest_grows()
        stage.only_honest_logs(log.log_id)

    play_world(play)


@pytest.mark.rule("X9")
def test_logs_offered_in_another_owners_name_use_up_none_of_its_numbers() -> None:
    """A genesis is public and unsigned: a head alone must count for nothing."""

    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, victim = await stage.evil(), stage.honest
        for number in range(300):
            nonce = digest("false", number)[:16]
            genesis = replace(victim.genesis, nonce=nonce)
            log = Log("false", 1)
            log.genesis, log.leaves = genesis, [encode_event(0, "log.open", 0, genesis)]
            head = SignedHead(genesis.log_id, 600, bytes(32), bytes(64))
            evil.replies[e.Wanted] = lambda want, h=head, o=log.leaves[0]: [
                m.Head(want.want_id, o, h)
            ]
            await evil.frontier(evil.offer(genesis.log_id, 300))
            await trio.sleep(0.01)
            if len(evil.came(e.Wanted)) >= 5:
                break
        owner = owner_of(victim.genesis)
        assert evil.came(e.Wanted)
        assert stage.node.admission._logs.get(owner, set()) <= {victim.log_id}

    play_world(play)


@pytest.mark.rule("X9")
def test_bytes_sent_in_another_owners_name_use_up_none_of_its_room() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, victim = await stage.evil(), stage.honest
        owner = owner_of(victim.genesis)
        before = stage.node.admission._strangers.get(owner, 0)
        honest = stage.node.holder.logs[victim.log_id].head
        assert honest is not None
        leaf = bytes(400_000)
        head = SignedHead(victim.log_id, honest.size + 1, bytes(32), bytes(64))
        await evil.say(m.News(head, honest.size, lengths_of([leaf]), leaf))
        await trio.sleep(1)
        assert stage.node.admission._strangers.get(owner, 0) == before
        await stage.over(costs="bad_data")

    play_world(play)


@pytest.mark.rule("X9")
def test_logs_of_ever_new_strangers_fill_the_room_that_strangers_share_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admissions, "MAX_STRANGERS_LOGS", 50)

    async def play(world: World) -> None:
        stage = await Stage.set(world)
        stage.node.known.add(owner_of(stage.honest.genesis))
        evil = await stage.evil()
        for number in range(300):
            await evil.say(Log(f"sybil {number}", 1).news())
            await trio.sleep(0.01)
        await trio.sleep(1)
        assert 40 <= len(stage.node.holder.logs) <= 52
        assert len(stage.node.admission._strangers) <= 51
        await stage.honest_grows()

    play_world(play)


# Streams that end in the middle.


@pytest.mark.rule("X1")
def test_missing_in_the_middle_of_a_stream_leaves_the_log_to_another_peer() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, author = await stage.evil(), Node("author", world.random.randrange)
        author.append(LONG)
        held = author.holder.logs[author.log_id]
        log = Log("author", 1, device=author.device)
        log.genesis, log.leaves = author.genesis, held.leaves

        def answer(want: Any) -> Iterable[m.Frame]:
            yield m.Head(want.want_id, log.leaves[0], log.head())
            yield m.Spine(want.want_id, 0, log.spine())
            yield from runs(want.want_id, log.leaves[:300])
            yield m.Missing(want.want_id, m.Reason.BUSY)

        evil.replies[e.Wanted] = answer
        await offer(evil, log)
        await trio.sleep(3)
        assert sizes(stage.node)["streams"] == sizes(stage.node)["fetches"] == 0
        stage.honest.gets(held)
        await trio.sleep(5)
        assert stage.node.size(log.log_id) == LONG + 1
        assert not stage.node.faults

    play_world(play)


def test_a_stream_found_false_after_its_link_has_a_fault_does_not_harm_the_lane() -> None:
    """The lane still works on what came when the link's own fault ends it, and reports later."""

    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, log = await stage.evil(), Log("forged", LONG)
        lane = stage.node.hub.lane
        whole = lane._io

        async def slow(function: Any, *arguments: Any) -> Any:
            await trio.sleep(0.5)
            return await whole(function, *arguments)

        lane._io = slow
        (runner,) = [r for r in stage.node.hub.links.values() if r.link.peer_id == evil.node_id]
        runner.link.aclose = lambda: trio.sleep(2)  # type: ignore[method-assign]
        serve(evil, log, leaves=changed(log.leaves, 1))
        await offer(evil, log)
        await trio.sleep(0.2)
        await evil.say(m.Cancel(99))
        await trio.sleep(1.5)
        lane._io = whole
        await stage.over(costs="unasked")

    play_world(play)


def test_a_log_that_does_not_verify_and_is_missing_at_once_counts_its_fetch_once() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, log = await stage.evil(), Log("forged", LONG)

        def answer(want: Any) -> Iterable[m.Frame]:
            yield m.Head(want.want_id, log.leaves[0], log.head())
            yield m.Spine(want.want_id, 0, log.spine())
            yield from runs(want.want_id, changed(log.leaves, 1)[:300])
            yield m.Missing(want.want_id, m.Reason.BUSY)

        evil.replies[e.Wanted] = answer
        await offer(evil, log)
        await trio.sleep(0.0001)
        await trio.sleep(3)
        assert all(link.fetches >= 0 for link in stage.node.hub.replica._links.values())
        stage.only_honest_logs()
        await stage.honest_grows()

    play_world(play)


# Peers that take their time.


@pytest.mark.rule("X1")
def test_a_peer_that_offers_new_logs_and_never_answers_holds_nobody_up_for_long() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        names = [evil.offer(digest("nothing", number), 5) for number in range(100)]
        await evil.frontier(*names)
        await trio.sleep(0.1)
        other = Node("late", world.random.randrange)
        other.append(2_000)  # too many to be pushed
        stage.honest.gets(other.holder.logs[other.log_id])
        await trio.sleep(2)
        assert stage.node.size(other.log_id) == 2_001
        assert sizes(stage.node)["fetches"] == 32, "evil still owes its answers"

    play_world(play)


@pytest.mark.rule("X8")
def test_a_peer_that_talks_and_never_answers_is_given_up() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, log = await stage.evil(), Log("hostage", 3)
        await offer(evil, log)
        for _ in range(3 * LOOK_S):
            await evil.say(m.Have(evil.name(log.log_id), 3, b"tagt"))
            await trio.sleep(1)
        await stage.over(costs="no_answer")

    play_world(play)


@pytest.mark.rule("X8")
def test_a_peer_that_answers_a_leaf_a_second_is_given_up() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, log = await stage.evil(), Log("hostage", LONG)
        serve(evil, log, leaves=log.leaves[:1])
        await offer(evil, log)
        await trio.sleep(0.5)
        for seq in range(1, 3 * LOOK_S):
            await evil.say(*runs(0, log.leaves[seq : seq + 1], seq))
            await trio.sleep(1)
        await stage.over(costs="no_answer")

    play_world(play)


@pytest.mark.rule("X9")
def test_many_logs_that_stand_still_in_the_middle_keep_little_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lanes, "MAX_WAITING_BYTES", 100_000)

    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        half = {log.log_id: log for log in (Log(f"half {n}", 600) for n in range(20))}

        def begin(want: Any) -> list[m.Frame]:
            log = next(log for i, log in half.items() if evil.name(i) == want.log)
            head = m.Head(want.want_id, log.leaves[0], log.head())
            return [
                head,
                m.Spine(want.want_id, 0, log.spine()),
                *runs(want.want_id, log.leaves[:500]),
            ]

        evil.replies[e.Wanted] = begin
        await evil.frontier(*(evil.offer(log_id, 600) for log_id in half))
        await trio.sleep(5)
        waiting = stage.node.hub.lane._waiting
        assert len(waiting) == 20
        assert 0 < sum(waiting.values()) <= 100_000
        await evil.link.aclose()
        await stage.over(costs=None)

    play_world(play)


@pytest.mark.rule("X9")
def test_the_spine_of_a_stranger_s_log_that_no_room_holds_is_not_taken_in() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, log = await stage.evil(), Log("long", 3)
        size = 2**28

        def lie(want: Any) -> list[m.Frame]:
            head = sign_head(log.device, log.genesis, size, b"x" * 32).signed
            return [m.Head(want.want_id, log.leaves[0], head)]

        evil.replies[e.Wanted] = lie
        await evil.frontier(evil.offer(log.log_id, size))
        await trio.sleep(1)
        assert len(evil.came(e.Wanted)) == 1
        assert sizes(stage.node)["in flight"] == 0, "it is not waited for"
        await stage.over(costs=None)

    play_world(play)


@pytest.mark.rule("X9")
def test_a_flood_of_logs_on_one_link_is_stored_in_turn_with_what_others_send() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        lane, order = stage.node.hub.lane, list[int]()
        land = stage.node.holder.land

        def note(batch: Any) -> Any:
            order.extend(arrival.link for arrival in batch)
            return land(batch)

        stage.node.holder.land = note  # type: ignore[method-assign]
        async with lane._turn:  # while something else is stored
            for number in range(1_000):
                log = Log(f"flood {number}", 1)
                lane.arrive(Arrival(7, log.head(), 0, log.leaves, 300))
            late = Log("late", 1)
            lane.arrive(Arrival(8, late.head(), 0, late.leaves, 300))
        await trio.sleep(1)
        assert order.index(8) < 2
        assert len(order) == 1_001

    play_world(play)
