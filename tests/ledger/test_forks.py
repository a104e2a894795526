"""Fork proofs (L6, L7): two histories of one log, and nothing else, make one."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.ledger import forks, merkle
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput, VerificationFailed
from openledger_node.ledger.heads import sign_head
from tests.vectors import make

EVIDENCE = make.fork()
replace = msgspec.structs.replace


def prove(left: list[bytes], right: list[bytes]) -> forks.ForkEvidence | None:
    return forks.prove_fork(
        make.signed_head(left),
        merkle.leaf_hashes(left),
        make.signed_head(right),
        merkle.leaf_hashes(right),
    )


@pytest.mark.rule("L6", "L7")
@given(st.integers(1, 20), st.integers(0, 20), st.integers(0, 20))
def test_two_histories_give_a_proof_that_names_their_common_prefix(
    common: int, left: int, right: int
) -> None:
    one = make.history(common + 1 + left)
    other = make.history(common + 1 + right, twist=common)
    for first, second in ((one, other), (other, one)):
        evidence = prove(first, second)
        assert evidence is not None
        assert evidence.head_a.size <= evidence.head_b.size
        verified = forks.verify_fork(forks.parse_fork(encode(evidence)))
        assert (verified.common, verified.log_id) == (common, make.log_genesis().log_id)


@pytest.mark.rule("L6", "L7")
def test_histories_that_differ_from_the_first_leaf_have_an_empty_common_prefix() -> None:
    one = make.history(3)
    other = [b"\x90", *one[1:]]
    evidence = prove(one, other)
    assert evidence is not None
    assert (evidence.common, evidence.common_root) == (0, hashlib.sha256(b"").digest())
    assert evidence.consistency_a == evidence.consistency_b == ()
    assert forks.verify_fork(evidence).common == 0


@pytest.mark.rule("L6")
@given(st.integers(1, 20), st.integers(1, 20))
def test_a_history_and_its_extension_are_no_fork(short: int, long: int) -> None:
    assert prove(make.history(short), make.history(long)) is None


def changes() -> dict[str, Any]:
    """Each field of the evidence, altered."""
    e, other = EVIDENCE, make.digest("other")
    longer = make.history(9, twist=3)
    stranger = replace(make.log_genesis(), nonce=bytes(16))
    return {
        "genesis": {"genesis": stranger},
        "genesis with another device": {
            "genesis": replace(make.log_genesis(), device=make.key("thief").public.raw)
        },
        "size of head a": {"head_a": replace(e.head_a, size=e.head_a.size - 1)},
        "root of head a": {"head_a": replace(e.head_a, root=other)},
        "signature of head a": {"head_a": replace(e.head_a, signature=bytes(64))},
        "log of head a": {"head_a": replace(e.head_a, log_id=other)},
        "head b of another size": {"head_b": make.signed_head(longer).signed},
        "root of head b": {"head_b": replace(e.head_b, root=other)},
        "heads swapped": {"head_a": e.head_b, "head_b": e.head_a},
        "the same head twice": {"head_b": e.head_a},
        "a shorter common prefix": {"common": e.common - 1},
        "a longer common prefix": {"common": e.common + 1},
        "no common prefix": {"common": 0},
        "common prefix beyond head a": {"common": e.head_a.size},
        "common root": {"common_root": other},
        "consistency path a emptied": {"consistency_a": ()},
        "consistency path a longer": {"consistency_a": (*e.consistency_a, other)},
        "consistency path b altered": {"consistency_b": (other, *e.consistency_b[1:])},
        "consistency paths swapped": {
            "consistency_a": e.consistency_b,
            "consistency_b": e.consistency_a,
        },
        "leaf a": {"leaf_a": other},
        "leaf b": {"leaf_b": other},
        "the same leaf twice": {"leaf_b": e.leaf_a, "path_b": e.path_a},
        "leaves swapped": {"leaf_a": e.leaf_b, "leaf_b": e.leaf_a},
        "path a shorter": {"path_a": e.path_a[:-1]},
        "path a longer": {"path_a": (*e.path_a, other)},
        "path b altered": {"path_b": (other, *e.path_b[1:])},
    }


@pytest.mark.rule("L7")
@pytest.mark.parametrize("name", changes())
def test_evidence_with_any_field_altered_is_refused(name: str) -> None:
    with pytest.raises(VerificationFailed):
        forks.verify_fork(replace(EVIDENCE, **changes()[name]))


@pytest.mark.rule("L7")
def test_a_shorter_honest_prefix_with_equal_leaves_is_no_fork() -> None:
    """Both heads hold the same leaf at index 2: nothing is proved by showing it."""
    one, other = merkle.leaf_hashes(make.history(5)), merkle.leaf_hashes(make.history(8, twist=3))
    shown = replace(
        EVIDENCE,
        common=2,
        common_root=merkle.root_of_hashes(one[:2]),
        consistency_a=tuple(merkle.consistency_proof(one, 2)),
        consistency_b=tuple(merkle.consistency_proof(other, 2)),
        leaf_a=one[2],
        path_a=tuple(merkle.inclusion_proof(one, 2)),
        leaf_b=other[2],
        path_b=tuple(merkle.inclusion_proof(other, 2)),
    )
    with pytest.raises(VerificationFailed, match="same leaf twice"):
        forks.verify_fork(shown)


@pytest.mark.rule("L7")
@given(st.data())
def test_no_byte_of_the_evidence_can_be_changed(data: st.DataObject) -> None:
    raw = bytearray(encode(EVIDENCE))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((BadInput, VerificationFailed)):
        forks.verify_fork(forks.parse_fork(bytes(raw)))


@pytest.mark.rule("L7")
def test_a_stranger_cannot_forge_a_fork_of_somebody_s_log() -> None:
    """A head signed by another key under the log's id does not verify."""
    other = make.history(8, twist=3)
    thief = make.key("thief")
    theirs = replace(make.log_genesis(), device=thief.public.raw)
    forged = replace(
        sign_head(thief, theirs, 8, merkle.root(other)).signed, log_id=make.log_genesis().log_id
    )
    with pytest.raises(VerificationFailed):
        forks.verify_fork(replace(EVIDENCE, head_b=forged))


@pytest.mark.rule("L6")
def test_evidence_longer_than_a_body_is_refused_before_it_is_read() -> None:
    with pytest.raises(BadInput, match="16384 bytes"):
        forks.parse_fork(bytes(16 * 1024 + 1))


@pytest.mark.rule("L6")
def test_the_longest_evidence_of_version_1_fits_a_body() -> None:
    """Two inclusion paths of 40 hashes and two consistency paths of 81 at 2^40 leaves."""
    path, long_path = (bytes(32),) * 40, (bytes(32),) * 81
    widest = replace(
        EVIDENCE, consistency_a=long_path, consistency_b=long_path, path_a=path, path_b=path
    )
    assert len(encode(widest)) < 16 * 1024


def test_heads_of_different_logs_are_not_compared() -> None:
    other = replace(make.log_genesis(), nonce=bytes(16))
    leaves = make.history(3)
    head = sign_head(make.key("device", 0), other, 3, merkle.root(leaves))
    with pytest.raises(BadInput, match="different logs"):
        forks.prove_fork(make.signed_head(leaves), [], head, [])


def test_a_verified_fork_is_made_by_verifying_alone() -> None:
    with pytest.raises(TypeError):
        forks.VerifiedFork(EVIDENCE, object())


@pytest.mark.rule("L6", "L7")
def test_the_fork_vectors_verify_and_hold_the_histories_they_name() -> None:
    vectors = make.load("fork")
    evidence = forks.parse_fork(bytes.fromhex(vectors["evidence"]))
    assert forks.verify_fork(evidence).common == vectors["common"]
    left, right = ([bytes.fromhex(leaf) for leaf in vectors[side]] for side in ("left", "right"))
    assert left[:3] == right[:3] and left[3] != right[3]
    assert evidence.head_a.root == merkle.root(left)
    assert evidence.head_b.root == merkle.root(right)
