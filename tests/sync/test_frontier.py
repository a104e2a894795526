"""Digests and names (Y4 to Y6)."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.ledger.encoding import H, encode
from openledger_node.ledger.heads import Mark
from openledger_node.sync import frontier
from tests.sync.links import NODES, replace
from tests.vectors import make

marks_by_log = st.dictionaries(
    st.binary(min_size=32, max_size=32),
    st.tuples(st.integers(1, 2**40), st.binary(min_size=32, max_size=32)),
    max_size=6,
)
PROOF = make.fork()


def other_log(proof: object, log_id: bytes) -> object:
    """The proof with another log in its heads; digests do not verify."""
    return replace(
        proof,
        head_a=replace(proof.head_a, log_id=log_id),  # type: ignore[attr-defined]
        head_b=replace(proof.head_b, log_id=log_id),  # type: ignore[attr-defined]
    )


@pytest.mark.rule("Y4")
@given(marks_by_log, st.randoms(use_true_random=False))
def test_the_frontier_digest_is_of_the_marks_whatever_their_order(marks, random) -> None:  # type: ignore[no-untyped-def]
    listed = [Mark(log, size, root) for log, (size, root) in marks.items()]
    random.shuffle(listed)
    naive = hashlib.sha256()
    for mark in sorted(listed, key=lambda mark: mark.log_id):
        naive.update(mark.log_id + mark.size.to_bytes(8, "big") + mark.root)
    assert frontier.frontier_digest(listed) == naive.digest()


@pytest.mark.rule("Y4")
def test_every_part_of_a_mark_changes_the_frontier_digest() -> None:
    mark = Mark(b"l" * 32, 5, b"r" * 32)
    others = [
        replace(mark, log_id=b"m" * 32),
        replace(mark, size=6),
        replace(mark, root=b"s" * 32),
    ]
    digests = {frontier.frontier_digest(marks) for marks in ([], [mark], *([m] for m in others))}
    assert len(digests) == 5
    assert frontier.frontier_digest([]) == hashlib.sha256().digest()


@pytest.mark.rule("Y5")
def test_the_fork_digest_is_of_the_kept_proofs_whatever_their_order() -> None:
    proofs = [PROOF, other_log(PROOF, b"\1" * 32), other_log(PROOF, b"\xff" * 32)]
    naive = hashlib.sha256()
    for proof in (proofs[1], *sorted(proofs[::2], key=lambda p: p.head_a.log_id)):  # type: ignore[attr-defined]
        naive.update(proof.head_a.log_id + hashlib.sha256(encode(proof)).digest())  # type: ignore[attr-defined]
    assert frontier.fork_digest(proofs) == naive.digest()  # type: ignore[arg-type]
    assert frontier.fork_digest(proofs[::-1]) == naive.digest()  # type: ignore[arg-type]
    assert frontier.fork_digest([]) is None


@pytest.mark.rule("Y5")
def test_of_two_proofs_the_one_with_the_shorter_prefix_is_kept_and_then_the_lower_hash() -> None:
    shorter = replace(PROOF, common=PROOF.common - 1)
    assert frontier.proof_rank(shorter) < frontier.proof_rank(PROOF)
    twin = replace(PROOF, leaf_a=b"\0" * 32)
    ranks = [frontier.proof_rank(proof) for proof in (PROOF, twin)]
    assert ranks[0][0] == ranks[1][0]
    assert (ranks[0] < ranks[1]) == (
        hashlib.sha256(encode(PROOF)).digest() < hashlib.sha256(encode(twin)).digest()
    )


@pytest.mark.rule("Y6")
def test_both_sides_of_a_link_make_the_same_key() -> None:
    one, other = (NODES[0], b"d" * 32), (NODES[1], b"e" * 32)
    key = frontier.link_key(*one, *other)
    assert key == frontier.link_key(*other, *one)
    assert key == H("link_key", NODES[0], NODES[1], b"d" * 32, b"e" * 32)
    assert key != frontier.link_key(NODES[0], b"e" * 32, NODES[1], b"d" * 32)


@pytest.mark.rule("Y6")
def test_names_and_tags_are_keyed_hashes_of_their_length() -> None:
    key, other = b"k" * 32, b"j" * 32
    log, root = b"l" * 32, b"r" * 32
    assert frontier.short_id(key, log) == hashlib.blake2b(log, key=key, digest_size=8).digest()
    assert frontier.mark_tag(key, root) == hashlib.blake2b(root, key=key, digest_size=4).digest()
    assert frontier.short_id(key, log) != frontier.short_id(other, log)
    assert frontier.mark_tag(key, root) != frontier.mark_tag(other, root)
