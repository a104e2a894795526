"""Peers that break the framing, the greeting or the flow: what it costs them, and not the node."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from openledger_node.node.replication.patience import LOOK_S, UNREAD_S
from openledger_node.sync import messages as m
from openledger_node.sync import session as s
from openledger_node.sync.frames import MAX_FRAME_BYTES
from openledger_node.sync.outgoing import MAX_UNREAD_BYTES
from tests.kit.nodes import World, play_world
from tests.node.replication.evil import Evil, Log, Stage, digest, runs, sizes
from tests.sync.links import raw


def hello(evil: Evil, **changes: Any) -> bytes:
    return m.encode_frame(evil.local(**changes).hello())


@pytest.mark.rule("Y1")
def test_a_frame_larger_than_allowed() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        await evil.send((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))
        await stage.over(costs="frame_size")

    play_world(play)


@pytest.mark.rule("Y1", "X8")
def test_a_frame_that_drips_in() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        await evil.send(MAX_FRAME_BYTES.to_bytes(4, "big"))
        for _ in range(3 * LOOK_S):
            await evil.send(b"\x92")
            await trio.sleep(1)
        await stage.over(costs="slow_frame")

    play_world(play)


@pytest.mark.rule("Y7")
@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 8, m.encode_frame(m.Cancel(0))]
)
def test_bytes_before_hello(data: bytes) -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        await Evil(stage).send(data)
        await stage.over(costs="no_hello")

    play_world(play)


@pytest.mark.rule("Y7")
def test_a_peer_that_never_says_hello() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        Evil(stage)
        await stage.over(costs="slow_hello", wait_s=15)

    play_world(play)


@pytest.mark.rule("Y7")
def test_a_hello_that_drips_in_is_not_waited_for_longer() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = Evil(stage)
        for byte in hello(evil)[:20]:
            await evil.send(bytes((byte,)))
            await trio.sleep(1)
        await stage.over(costs="slow_hello")

    play_world(play)


@pytest.mark.rule("Y7")
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ledger_id": digest("another ledger")}, "ledger"),
        ({"low_version": 7, "high_version": 9}, "version"),
        ({"node_id": digest("somebody else")}, "node_id"),
        ({"signature": bytes(64)}, "bad_signature"),
        ({"device": bytes([1]) + bytes(31)}, "bad_key"),
    ],
)
def test_a_hello_that_does_not_count(changes: dict[str, Any], code: str) -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = Evil(stage)
        await evil.send(hello(evil, **changes))
        await stage.over(costs=code)

    play_world(play)


@pytest.mark.rule("Y7")
def test_a_hello_that_was_said_to_another_node_is_worth_nothing_here() -> None:
    """A peer that records what honest nodes tell it cannot speak for their devices."""

    async def play(world: World) -> None:
        stage = await Stage.set(world)
        victim, evil = stage.honest, Evil(stage)
        told_to_evil = s.sign_link(victim.device, evil.local().ledger_id, victim.node_id, b"e" * 32)
        replayed = hello(evil, device=victim.device.public.raw, signature=told_to_evil)
        await evil.send(replayed)
        await stage.over(costs="bad_signature")

    play_world(play)


@pytest.mark.rule("Y7")
def test_the_same_hello_again_on_the_same_link() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        await evil.send(hello(evil))
        await stage.over(costs="second_hello")

    play_world(play)


@pytest.mark.rule("Y8", "X8")
def test_a_peer_that_asks_and_never_reads_is_given_up_in_time() -> None:
    """It is served until the link is full; then what waits for it stays small, and it goes."""

    async def play(world: World) -> None:
        stage = await Stage.set(world, events=3_000)
        evil = Evil(stage)
        await evil.send(b"".join(evil.session.data_to_send()))
        _fill_at(evil, stage, size_bytes=50_000)
        for want_id in range(200):
            await evil.say(m.Want(want_id, stage.node.log_id, 0, None, None, None))
        for _ in range(2 * UNREAD_S // 10):
            await evil.say(m.Have(b"n" * 32, 1, b"r" * 32))
            await trio.sleep(10)
        await stage.over(costs="unread")

    play_world(play)


def _fill_at(evil: Evil, stage: Stage, size_bytes: int) -> None:
    """The node's end of the link stands still once it has sent so much."""
    (link,) = [r.link for r in stage.node.hub.links.values() if r.link.peer_id == evil.node_id]
    whole = link.send_all

    async def send_all(data: bytes) -> None:
        if link.sent_bytes + len(data) > size_bytes:
            await trio.sleep_forever()
        await whole(data)

    link.send_all = send_all  # type: ignore[method-assign]


@pytest.mark.rule("Y18")
def test_a_peer_that_piles_up_replies_and_never_reads() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = Evil(stage)
        await evil.send(b"".join(evil.session.data_to_send()))
        _fill_at(evil, stage, size_bytes=0)
        await evil.say(m.Want(0, stage.node.log_id, 0, None, None, None))
        for _ in range(MAX_UNREAD_BYTES // 1_000):
            await evil.say(*[m.Cancel(0)] * 200)
            if stage.node.faults:
                break
            assert sizes(stage.node)["pending bytes"] < 2 * MAX_UNREAD_BYTES
        await stage.over(costs="unread")

    play_world(play)


@pytest.mark.rule("Y9")
def test_more_control_frames_than_the_allowance() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        optional = raw(64, bytes(2**19))
        for _ in range(40 * 2**20 // len(optional)):
            await evil.send(optional)
            if stage.node.faults:
                break
        await stage.over(costs="flood")

    play_world(play)


@pytest.mark.rule("Y8")
def test_more_data_than_was_granted() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        log = Log("heavy", 1)
        log.leaves += [bytes(500_000)] * 12
        evil.replies[s.Wanted] = lambda want: [
            m.Head(want.want_id, log.leaves[0], log.head()),
            *runs(want.want_id, log.leaves, each=1),
        ]
        stage.node.hub.lane.feed = stage.node.hub.lane.arrive = lambda _: None  # type: ignore[method-assign,assignment]
        await evil.frontier(evil.offer(log.log_id, len(log.leaves)))
        await trio.sleep(2)
        assert [fault.code for fault in stage.node.faults] == ["credit"]
        assert len(stage.node.hub.links) == 1

    play_world(play)


def test_a_look_at_a_peer_is_taken_often_enough_to_matter() -> None:
    assert LOOK_S <= UNREAD_S <= 300
