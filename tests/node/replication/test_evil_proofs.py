"""Peers that send false fork proofs, floods of true ones, and payloads that nobody asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import trio

from openledger_node.ledger.errors import StoreUnavailable
from openledger_node.ledger.forks import ForkEvidence, prove_fork
from openledger_node.ledger.heads import sign_head
from openledger_node.ledger.merkle import leaf_hashes, root_of_hashes
from openledger_node.ledger.payload import (
    PayloadDocument,
    cut_binary,
    decode_payload,
    encode_payload,
)
from openledger_node.node.replication import admission as admissions
from openledger_node.node.replication import payloads
from openledger_node.node.replication.engine import PROOFS_AT_ONCE
from openledger_node.node.replication.payloads import Sought
from openledger_node.sync import events as e
from openledger_node.sync import messages as m
from openledger_node.sync.payloads import plan
from tests.kit.nodes import World, play_world
from tests.node.replication.evil import Evil, Log, Stage, digest, sizes
from tests.sync.links import replace


def fork_of(name: str) -> ForkEvidence:
    """A true proof that a log of nobody is forked."""
    one, other = Log(name, 3), Log(name, 3)
    other.leaves[2] = Log(f"{name} otherwise", 3).leaves[2]
    heads = []
    for log in (one, other):
        root = root_of_hashes(leaf_hashes(log.leaves))
        heads.append(sign_head(log.device, log.genesis, 3, root))
    proof = prove_fork(heads[0], leaf_hashes(one.leaves), heads[1], leaf_hashes(other.leaves))
    assert proof is not None
    return proof


def falsehoods() -> dict[str, ForkEvidence]:
    proof = fork_of("stranger")
    return {
        "the same leaf twice": replace(proof, leaf_b=proof.leaf_a, path_b=proof.path_a),
        "the same head twice": replace(
            proof, head_b=proof.head_a, leaf_b=proof.leaf_a, path_b=proof.path_a
        ),
        "a forged signature": replace(proof, head_b=replace(proof.head_b, signature=bytes(64))),
        "the genesis of another log": replace(proof, genesis=Log("another").genesis),
        "another common prefix": replace(proof, common=1),
        "a path cut short": replace(proof, path_a=proof.path_a[:-1]),
    }


@pytest.mark.rule("L7")
@pytest.mark.parametrize("name", list(falsehoods()))
def test_a_false_fork_proof(name: str) -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        await evil.say(m.Forks((fork_of("true"), falsehoods()[name])))
        await stage.over(costs="bad_proof")
        assert not stage.node.hub.replica.forks, "nor is what came with it kept"
        assert not stage.honest.hub.replica.forks

    play_world(play)


@pytest.mark.rule("L7")
def test_a_false_fork_proof_against_an_honest_log() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, proof = await stage.evil(), fork_of("stranger")
        head = stage.node.holder.logs[stage.honest.log_id].head
        assert head is not None
        lie = replace(
            proof,
            genesis=stage.honest.genesis,
            head_a=head,
            head_b=replace(head, size=head.size + 1),
        )
        await evil.say(m.Forks((lie,)))
        await stage.over(costs="bad_proof")
        assert not stage.node.hub.replica.forks

    play_world(play)


@pytest.mark.rule("X9")
def test_true_proofs_of_ever_new_strangers_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admissions, "MAX_STRANGERS_FORKS", 20)

    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        for number in range(100):
            await evil.say(m.Forks((fork_of(f"sybil {number}"),)))
            await trio.sleep(0.01)
        await trio.sleep(1)
        assert sizes(stage.node)["forks"] == 20
        assert len(stage.honest.hub.replica.forks) == 20, "so many are passed on, and no more"
        assert not stage.node.faults
        await stage.over(costs=None)

    play_world(play)


def test_true_proofs_that_come_together_keep_to_the_limit_and_leave_the_lane_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admissions, "MAX_STRANGERS_FORKS", 100)
    proofs = [fork_of(f"stranger {number}") for number in range(300)]

    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        keep, together = stage.node.holder.keep_forks, []

        def count(some: Any) -> Any:
            together.append(len(some))
            return keep(some)

        stage.node.holder.keep_forks = count  # type: ignore[method-assign]
        await evil.say(*[m.Forks(tuple(proofs[at : at + 100])) for at in (0, 100, 200)])
        await stage.over(costs=None)
        assert len(stage.node.hub.replica.forks) == 100
        assert max(together) <= PROOFS_AT_ONCE

    play_world(play)


def test_the_same_true_proof_again_and_again_is_verified_once() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, proof = await stage.evil(), fork_of("stranger")
        verified: list[int] = []
        keep = stage.node.holder.keep_forks

        def count(proofs: Any) -> Any:
            verified.append(len(proofs))
            return keep(proofs)

        stage.node.holder.keep_forks = count  # type: ignore[method-assign]
        for _ in range(50):
            await evil.say(m.Forks((proof,)))
            await trio.sleep(0.01)
        assert sum(verified) == 1
        assert len(stage.node.found) == 1
        await stage.over(costs=None)

    play_world(play)


def test_a_proof_that_comes_while_the_store_is_full_ends_nothing() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        full = StoreUnavailable("the store is full", code="store_full")
        keep = stage.node.holder.keep_forks

        def refuse(proofs: Any) -> Any:
            raise full

        stage.node.holder.keep_forks = refuse  # type: ignore[method-assign]
        await evil.say(m.Forks((fork_of("stranger"),)))
        await trio.sleep(1)
        assert stage.node.refusals == [full]
        stage.node.holder.keep_forks = keep  # type: ignore[method-assign]
        await stage.over(costs=None, wait_s=60)

    play_world(play)


@pytest.mark.rule("Y16")
def test_more_proofs_than_a_link_carries() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil, proof = await stage.evil(), fork_of("stranger")
        for _ in range(9):
            await evil.say(m.Forks((proof,) * 500))
            await trio.sleep(0.01)
        await stage.over(costs="too_many_forks")

    play_world(play)


# Payloads.

ACCOUNT = digest("account", "author")
CONTAINER = encode_payload(
    ACCOUNT,
    1,
    [PayloadDocument(bytes(range(32)), (b"one", b"two", bytes(3_000)), 2)] * 3,
)


async def sought(world: World, parts: Any) -> tuple[Stage, Evil]:
    """A node that looks for CONTAINER's payload, and a peer that answers with `parts(want_id)`."""
    stage = await Stage.set(world)
    commit = decode_payload(CONTAINER).commit
    evil = await stage.evil()

    def answer(want: Any) -> Iterable[m.Frame]:
        yield from parts(want.want_id)

    evil.replies[e.PayloadWanted] = answer
    stage.node.hub.seek([Sought(digest("event"), ACCOUNT, commit, len(CONTAINER))])
    return stage, evil


def true_parts(want_id: int) -> list[Any]:
    return list(plan(want_id, decode_payload(CONTAINER), 0, 0))


def forged(kind: type, **changes: Any) -> Any:
    def parts(want_id: int) -> list[Any]:
        return [
            replace(part, **changes) if isinstance(part, kind) else part
            for part in true_parts(want_id)
        ]

    return parts


@pytest.mark.rule("Y20")
@pytest.mark.parametrize(
    ("parts", "code"),
    [
        (forged(m.Piece, data=bytes(3_006)), "bad_payload"),
        (forged(m.Document, salt=b"s" * 32), "bad_payload"),
        (forged(m.Document, hashes=b"h" * 96), "bad_payload"),
        (forged(m.PayloadHead, trees=b"\x90"), "bad_payload"),
        (forged(m.PayloadHead, trees=b"\xff"), "malformed"),
    ],
    ids=["false bytes", "a false salt", "false hashes", "no trees", "junk for trees"],
)
def test_a_false_payload(parts: Any, code: str) -> None:
    async def play(world: World) -> None:
        stage, _ = await sought(world, parts)
        await stage.over(costs=code)
        assert stage.node.holder.payloads == {}

    play_world(play)


@pytest.mark.rule("Y20")
def test_what_a_liar_sent_of_a_payload_does_not_spoil_what_the_next_peer_sends() -> None:
    async def play(world: World) -> None:
        lie = forged(m.Piece, data=bytes(3_006))
        stage, _ = await sought(world, lie)
        await trio.sleep(2)
        assert [fault.code for fault in stage.node.faults] == ["bad_payload"]
        other = Evil(stage, "another peer")
        other.replies[e.PayloadWanted] = lambda want: true_parts(want.want_id)
        await other.greet()
        await trio.sleep(2)
        assert [fault.code for fault in stage.node.faults] == ["bad_payload"], stage.node.faults
        assert list(stage.node.holder.payloads.values()) == [CONTAINER]

    play_world(play)


@pytest.mark.rule("Y20")
@pytest.mark.parametrize(
    ("endless", "code"),
    [
        (lambda want_id, n: m.PayloadHead(want_id, n, 0, 1, b"\x90"), "malformed"),
        (lambda want_id, n: replace(true_parts(want_id)[0], part=n, is_last=0), "too_large"),
    ],
    ids=["empty parts of trees", "parts of trees"],
)
def test_a_payload_without_end(endless: Any, code: str) -> None:
    async def play(world: World) -> None:
        stage, _ = await sought(world, lambda want_id: [endless(want_id, n) for n in range(500)])
        await stage.over(costs=code)
        assert stage.node.holder.payloads == {}

    play_world(play)


@pytest.mark.rule("Y20")
def test_pieces_of_a_payload_after_its_end() -> None:
    async def play(world: World) -> None:
        stage, _ = await sought(world, lambda i: [*true_parts(i), true_parts(i)[-1]])
        await stage.over(costs="unasked")

    play_world(play)


@pytest.mark.rule("X8")
def test_a_payload_that_was_begun_and_never_ended() -> None:
    async def play(world: World) -> None:
        stage, evil = await sought(world, lambda want_id: true_parts(want_id)[:2])
        for _ in range(180):
            await evil.say(m.Have(evil.name(stage.node.log_id), 1, b"tagt"))
            await trio.sleep(1)
        await stage.over(costs="no_answer")

    play_world(play)


@pytest.mark.rule("X10")
def test_peers_that_ask_for_payloads_and_grant_nothing_keep_no_memory_and_nobody_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(payloads, "MAX_SERVED_BYTES", 10 * 2**20)
    leaves = cut_binary(bytes(8 * 2**20))
    large = encode_payload(ACCOUNT, 1, [PayloadDocument(bytes(range(32)), leaves, 0)])
    commit = decode_payload(large).commit

    async def asks(stage: Stage, name: str) -> Evil:
        evil = await stage.evil(name)
        evil.session.send_payload_want(digest("event"), commit)
        await evil.send(b"".join(evil.session.data_to_send()))
        await trio.sleep(1)
        return evil

    async def play(world: World) -> None:
        stage = await Stage.set(world)
        stage.node.holder.payloads[commit] = large
        first = await asks(stage, "evil")
        assert stage.node.hub.served_bytes == len(large)
        second = await asks(stage, "another")
        assert [event.reason for event in second.came(e.MissingCame)] == [m.Reason.BUSY]
        for _ in range(100):
            await first.say(m.Have(first.name(stage.node.log_id), 1, b"tagt"))
            await trio.sleep(1)
        assert stage.node.hub.served_bytes == 0
        assert [event.reason for event in first.came(e.MissingCame)] == [m.Reason.BUSY]
        third = await asks(stage, "a third")
        assert stage.node.hub.served_bytes == len(large)
        await third.link.aclose()
        await trio.sleep(1)
        assert stage.node.hub.served_bytes == 0

    play_world(play)


def test_proofs_of_a_peer_that_left_at_once_are_kept() -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world)
        evil = await stage.evil()
        proofs = tuple(fork_of(f"of one that left {number}") for number in range(100))
        async with stage.node.hub._proofs_turn:
            await evil.say(m.Forks(proofs))
            await trio.sleep(0.1)
            await evil.link.aclose()
            await trio.sleep(0.1)
            assert len(stage.node.hub.links) == 1
        await trio.sleep(1)
        assert len(stage.node.hub.replica.forks) == 100

    play_world(play)
