"""P4: adjacent leaves of a document under one path."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.ledger.encoding import encode
from openledger_node.ledger.payload import Payload, PayloadDocument
from openledger_node.ledger.payload_proofs import (
    MAX_RUN_LEAVES,
    PayloadRunProof,
    ShownLeaf,
    prove_leaf,
    prove_run,
)

ALICE, THIEF = b"alice" + bytes(27), b"thief" + bytes(27)


def payload_of(*counts: int) -> Payload:
    """Documents of so many leaves, no two alike."""
    documents = [
        PayloadDocument(
            hashlib.sha256(b"salt %d" % index).digest(),
            tuple(b"document %d leaf %d" % (index, leaf) for leaf in range(count)),
            count,
        )
        for index, count in enumerate(counts)
    ]
    return Payload(1, ALICE, tuple(documents))


MANY = payload_of(9, 1, 40)


@pytest.mark.rule("P4", "M3")
@settings(max_examples=60)
@given(st.integers(0, 39), st.integers(1, 40))
def test_any_run_of_a_document_is_proved_and_for_its_account_alone(first: int, count: int) -> None:
    stop = min(40, first + count)
    proof = prove_run(MANY, 2, first, stop)
    assert proof.data == b"".join(MANY.documents[2].slices[first:stop])
    assert proof.verify(MANY.commit, ALICE)
    assert not proof.verify(MANY.commit, THIEF)
    assert not proof.verify(bytes(32), ALICE)
    assert msgspec.msgpack.decode(encode(proof), type=PayloadRunProof) == proof


@pytest.mark.rule("P4")
def test_a_changed_run_never_verifies() -> None:
    proof = prove_run(MANY, 0, 2, 5)
    a, b, c = proof.leaves
    changes: dict[str, dict[str, object]] = {
        "another document": {"document": 2},
        "another tree": {"tree": MANY.trees[2]},
        "another place": {"first": 3},
        "a leaf left out": {"leaves": (a, b)},
        "a leaf twice": {"leaves": (a, b, b)},
        "leaves in another order": {"leaves": (c, b, a)},
        "other bytes": {"leaves": (ShownLeaf(a.inner, b"else"), b, c)},
        "another inner hash": {"leaves": (ShownLeaf(bytes(32), a.data), b, c)},
        "a hash too few": {"path": proof.path[:-1]},
        "a hash too many": {"path": (*proof.path, bytes(32))},
        "no path of the document": {"document_path": ()},
    }
    for name, fields in changes.items():
        changed = msgspec.structs.replace(proof, **fields)
        assert not changed.verify(MANY.commit, ALICE), name


@pytest.mark.rule("P4")
def test_a_run_carries_no_salt_and_no_other_leaf() -> None:
    raw = encode(prove_run(MANY, 0, 2, 5))
    assert MANY.documents[0].salt not in raw
    assert b"document 0 leaf 2" in raw
    assert b"document 0 leaf 5" not in raw


@pytest.mark.rule("P4")
def test_two_leaves_together_take_less_than_each_alone() -> None:
    alone = sum(len(encode(prove_leaf(MANY, 2, leaf))) for leaf in (16, 17))
    assert len(encode(prove_run(MANY, 2, 16, 18))) < alone * 6 // 10


@pytest.mark.parametrize(("document", "first", "stop"), [(3, 0, 1), (-1, 0, 1), (0, 8, 10)])
def test_leaves_that_are_not_there_are_not_proved(document: int, first: int, stop: int) -> None:
    with pytest.raises(ValueError, match="no "):
        prove_run(MANY, document, first, stop)


def test_more_leaves_than_a_proof_holds_are_not_proved() -> None:
    long = payload_of(MAX_RUN_LEAVES + 1)
    with pytest.raises(ValueError, match="at most"):
        prove_run(long, 0, 0, MAX_RUN_LEAVES + 1)
