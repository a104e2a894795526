"""Forks proved from spines and one segment, held to the plain way with all leaf hashes."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.events import SEGMENT_LEAVES, LogGenesis
from openledger_node.ledger.forks import prove_fork, verify_fork
from openledger_node.ledger.heads import VerifiedHead, sign_head
from openledger_node.ledger.merkle import leaf_hashes, root_of_hashes
from openledger_node.sync.fork_finding import History, first_differing_segment, prove_between
from tests.kit.ledgerkit import digest, key

DEVICE = key("device", "forger")
GENESIS = LogGenesis(
    1, digest("ledger"), digest("account"), DEVICE.public.raw, digest("nonce")[:16], None
)


def leaves_of(name: str, common: int, size: int) -> list[bytes]:
    """Leaves that are the same for all names up to `common`."""
    return [b"%d" % seq if seq < common else b"%s %d" % (name.encode(), seq) for seq in range(size)]


def head_of(leaves: list[bytes]) -> VerifiedHead:
    return sign_head(DEVICE, GENESIS, len(leaves), root_of_hashes(leaf_hashes(leaves)))


def roots_of(leaves: list[bytes]) -> list[bytes]:
    hashes = leaf_hashes(leaves)
    return [
        root_of_hashes(hashes[at : at + SEGMENT_LEAVES])
        for at in range(0, len(hashes), SEGMENT_LEAVES)
    ]


def segment_of(leaves: list[bytes], segment: int) -> list[bytes]:
    return leaves[segment * SEGMENT_LEAVES : (segment + 1) * SEGMENT_LEAVES]


def history(leaves: list[bytes], segment: int) -> History:
    hashes = leaf_hashes(segment_of(leaves, segment))
    return History.of(head_of(leaves), roots_of(leaves), segment, hashes)


@pytest.mark.rule("Y32")
@settings(max_examples=60, deadline=None)
@given(common=st.integers(0, 1_400), ours=st.integers(1, 700), theirs=st.integers(1, 700))
@example(common=0, ours=1, theirs=1)
@example(common=256, ours=1, theirs=256)
@example(common=255, ours=1, theirs=2)
@example(common=257, ours=600, theirs=3)
@example(common=512, ours=512, theirs=512)
@example(common=1_024, ours=1, theirs=700)
def test_a_proof_from_spines_is_the_proof_from_all_leaves(
    common: int, ours: int, theirs: int
) -> None:
    mine = leaves_of("mine", common, common + ours)
    other = leaves_of("other", common, common + theirs)
    both = min(len(mine), len(other))
    segment = first_differing_segment(roots_of(mine[:both]), roots_of(other), both, len(other))
    assert segment == common // SEGMENT_LEAVES
    found = prove_between(history(mine, segment), history(other, segment))
    plain = prove_fork(head_of(mine), leaf_hashes(mine), head_of(other), leaf_hashes(other))
    assert found is not None and plain is not None
    if len(mine) != len(other):
        assert found == plain
    verify_fork(found)
    assert found.common == common


@pytest.mark.parametrize(("ours", "theirs"), [(5, 5), (5, 9), (256, 257), (300, 900), (256, 512)])
def test_a_history_that_extends_the_other_is_no_fork(ours: int, theirs: int) -> None:
    mine, other = leaves_of("x", 10_000, ours), leaves_of("x", 10_000, theirs)
    segment = first_differing_segment(roots_of(mine), roots_of(other), ours, theirs)
    if segment is not None:
        assert prove_between(history(mine, segment), history(other, segment)) is None


@pytest.mark.parametrize("change", ["one leaf", "one fewer", "one more"])
def test_leaves_that_are_not_the_segments_are_refused(change: str) -> None:
    leaves = leaves_of("x", 600, 600)
    segment = segment_of(leaves, 1)
    changed = {
        "one leaf": [b"forged", *segment[1:]],
        "one fewer": segment[:-1],
        "one more": [*segment, b"more"],
    }[change]
    with pytest.raises(BadInput, match="do not have the segment's root"):
        History.of(head_of(leaves), roots_of(leaves), 1, leaf_hashes(changed))
