"""Taking in a log: what is given out is what the head covers, and nothing else ever is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.events import SEGMENT_LEAVES, LogGenesis, encode_event
from openledger_node.ledger.heads import VerifiedHead, sign_head
from openledger_node.ledger.merkle import Frontier, leaf_hashes, root_of_hashes
from openledger_node.sync.intake import Intake, PrefixMismatch, Sealed, root_of_spine, split_spine
from tests.kit.ledgerkit import digest, key

DEVICE = key("device", "intake")
GENESIS = LogGenesis(
    1, digest("ledger"), digest("account"), DEVICE.public.raw, digest("nonce")[:16], None
)
SIZES = [1, 2, 255, 256, 257, 511, 512, 513, 800, 1_024]


def leaves_of(size: int, name: str = "note") -> list[bytes]:
    return [encode_event(seq, "test.note", 0, [name, seq]) for seq in range(size)]


LEAVES = leaves_of(1_100)
HASHES = leaf_hashes(LEAVES)


def head_of(leaves: Sequence[bytes]) -> VerifiedHead:
    return sign_head(DEVICE, GENESIS, len(leaves), root_of_hashes(leaf_hashes(list(leaves))))


def roots_of(leaves: Sequence[bytes], first: int = 0) -> list[bytes]:
    hashes = leaf_hashes(list(leaves))
    starts = range(first * SEGMENT_LEAVES, len(hashes), SEGMENT_LEAVES)
    return [root_of_hashes(hashes[at : at + SEGMENT_LEAVES]) for at in starts]


def begun(size: int, held: int, *, spine: bool) -> Intake:
    """An intake of the first `size` leaves where `held` of them are held."""
    base = held // SEGMENT_LEAVES
    before = Frontier().extend(HASHES[: base * SEGMENT_LEAVES])
    roots = roots_of(LEAVES[:size], base) if spine else None
    return Intake(head_of(LEAVES[:size]), before, LEAVES[base * SEGMENT_LEAVES : held], roots)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("base", [0, 1, 2])
def test_the_root_of_a_spine_is_the_root_over_the_leaves(size: int, base: int) -> None:
    if base * SEGMENT_LEAVES >= size:
        return
    before = Frontier().extend(HASHES[: base * SEGMENT_LEAVES])
    roots = roots_of(LEAVES[:size], base)
    assert root_of_spine(before, roots, size) == root_of_hashes(HASHES[:size])
    assert split_spine(b"".join(roots)) == roots
    for wrong in (roots[:-1], [*roots, roots[-1]]):
        with pytest.raises(ValueError, match="roots for leaves"):
            root_of_spine(before, wrong, size)


@pytest.mark.rule("Y30", "Y31")
@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 1_100),
    held=st.integers(0, 1_100),
    chunk=st.integers(1, 700),
    spine=st.booleans(),
)
def test_what_comes_out_are_the_leaves_that_went_in(
    size: int, held: int, chunk: int, spine: bool
) -> None:
    held = min(held, size - 1)
    intake = begun(size, held, spine=spine)
    sealed: list[Sealed] = []
    while intake.position < size:
        given_now = LEAVES[intake.position : min(size, intake.position + chunk)]
        if (found := intake.feed(given_now)) is not None:
            sealed.append(found)
    tail = intake.finish()
    start = held // SEGMENT_LEAVES * SEGMENT_LEAVES
    assert [leaf for part in sealed for leaf in part.leaves] + tail.leaves == LEAVES[start:size]
    assert [h for part in sealed for h in part.hashes] == HASHES[start : tail.first]
    assert [r for part in sealed for r in part.roots] == roots_of(
        LEAVES[: tail.first], start // SEGMENT_LEAVES
    )
    assert tail.frontier == Frontier().extend(HASHES[:size])


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 1_100),
    held=st.integers(0, 1_100),
    chunks=st.lists(st.tuples(st.integers(1, 400), st.booleans()), min_size=1, max_size=12),
)
def test_leaves_given_out_early_come_out_once_and_count_as_if_they_were_kept(
    size: int, held: int, chunks: list[tuple[int, bool]]
) -> None:
    held = min(held, size - 1)
    intake, plain = begun(size, held, spine=True), begun(size, held, spine=True)
    out: dict[int, bytes] = {}

    def take(first: int, leaves: list[bytes]) -> None:
        for seq, leaf in enumerate(leaves, first):
            assert seq not in out
            out[seq] = leaf

    for chunk, parks in [*chunks, (size, False)]:
        given_now = LEAVES[intake.position : min(size, intake.position + chunk)]
        sealed, expected = intake.feed(given_now), plain.feed(given_now)
        if sealed is not None:
            assert expected is not None
            assert (sealed.roots, sealed.hashes) == (expected.roots, expected.hashes)
            take(sealed.first_segment * SEGMENT_LEAVES + sealed.parked, sealed.leaves)
        if parks:
            take(*intake.park())
            assert intake.held_bytes == 0
        assert intake.position == plain.position
    tail = intake.finish()
    take(tail.first + tail.parked, tail.leaves)
    assert tail.frontier == plain.finish().frontier
    start = held // SEGMENT_LEAVES * SEGMENT_LEAVES
    assert [out[seq] for seq in sorted(out)] == LEAVES[start:size]


@pytest.mark.rule("Y30")
def test_a_wrong_leaf_is_known_by_its_segment_before_anything_of_it_comes_out() -> None:
    intake = begun(800, 0, spine=True)
    assert intake.feed(LEAVES[:256]) is not None
    forged = [*LEAVES[256:400], *leaves_of(800, "forged")[400:512]]
    with pytest.raises(BadInput, match="segment 1 does not have the root"):
        intake.feed(forged)


@pytest.mark.rule("Y30")
def test_a_spine_that_is_not_the_heads_is_a_lie_or_a_fork() -> None:
    other = [*LEAVES[:300], *leaves_of(800, "other")[300:]]
    with pytest.raises(BadInput, match="do not have the root that its head states"):
        Intake(head_of(LEAVES[:800]), Frontier(), [], roots_of(other))
    before = Frontier().extend(HASHES[:256])
    with pytest.raises(PrefixMismatch):
        Intake(
            head_of(other),
            Frontier().extend(leaf_hashes(leaves_of(256, "x"))),
            [],
            roots_of(other, 1),
        )
    with pytest.raises(BadInput, match="does not fit its head"):
        Intake(head_of(LEAVES[:800]), before, [], roots_of(LEAVES[:800]))


@pytest.mark.rule("Y30")
def test_held_leaves_that_differ_within_the_first_segment_show_a_fork() -> None:
    other = [*LEAVES[:300], *leaves_of(800, "other")[300:]]
    before = Frontier().extend(HASHES[:256])
    intake = Intake(head_of(other), before, LEAVES[256:310], roots_of(other, 1))
    with pytest.raises(PrefixMismatch, match="segment 1"):
        intake.feed(other[310:600])


@pytest.mark.rule("Y31")
@pytest.mark.parametrize("held", [0, 10, 300])
def test_without_a_spine_a_false_history_is_found_at_the_end(held: int) -> None:
    other = [*LEAVES[:5], *leaves_of(400, "other")[5:]]
    base = held // SEGMENT_LEAVES * SEGMENT_LEAVES
    intake = Intake(head_of(other), Frontier().extend(HASHES[:base]), LEAVES[base:held], None)
    intake.feed([*LEAVES[held:399], encode_event(399, "test.note", 0, ["lie"])])
    with pytest.raises(PrefixMismatch if held else BadInput, match="do not have the root"):
        intake.finish()


def test_leaves_past_the_head_and_too_few_are_refused() -> None:
    intake = begun(300, 0, spine=False)
    with pytest.raises(BadInput, match="more events than the 300"):
        intake.feed(LEAVES[:301])
    intake = begun(300, 0, spine=False)
    intake.feed(LEAVES[:299])
    with pytest.raises(BadInput, match="it has 299 events, its head covers 300"):
        intake.finish()


@pytest.mark.parametrize("bad", [b"", b"\xc1", b"\x97\x01\x05\xa1k\x00\x90\xc0\x00", b"x" * 10])
def test_a_leaf_that_is_not_acceptable_is_named(bad: bytes) -> None:
    intake = begun(300, 0, spine=False)
    with pytest.raises(BadInput, match="event 3 is not acceptable"):
        intake.feed([*LEAVES[:3], bad])
