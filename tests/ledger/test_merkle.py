"""M1, M2: trees, frontiers and proofs, against the RFC's own words and published vectors."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.ledger import merkle
from openledger_node.ledger.merkle import Frontier

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "rfc6962.json").read_text()
)
LEAVES = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]
sizes = st.integers(0, 300)


def made(count: int) -> list[bytes]:
    """`count` distinct leaves."""
    return [b"leaf %d" % i for i in range(count)]


# The oracle: RFC 6962 section 2.1, word for word, slow.


def mth(d: list[bytes]) -> bytes:
    n = len(d)
    if n == 0:
        return hashlib.sha256(b"").digest()
    if n == 1:
        return hashlib.sha256(b"\x00" + d[0]).digest()
    k = largest_power_below(n)
    return hashlib.sha256(b"\x01" + mth(d[:k]) + mth(d[k:])).digest()


def largest_power_below(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def path(m: int, d: list[bytes]) -> list[bytes]:
    n = len(d)
    if n == 1:
        return []
    k = largest_power_below(n)
    if m < k:
        return [*path(m, d[:k]), mth(d[k:])]
    return [*path(m - k, d[k:]), mth(d[:k])]


def subproof(m: int, d: list[bytes], b: bool) -> list[bytes]:
    n = len(d)
    if m == n:
        return [] if b else [mth(d)]
    k = largest_power_below(n)
    if m <= k:
        return [*subproof(m, d[:k], b), mth(d[k:])]
    return [*subproof(m - k, d[k:], False), mth(d[:k])]


@pytest.mark.rule("M1")
def test_the_published_roots_come_out() -> None:
    for size, expected in enumerate(VECTORS["roots"]):
        assert merkle.root(LEAVES[:size]).hex() == expected
        assert Frontier().extend(merkle.leaf_hashes(LEAVES[:size])).root().hex() == expected


@pytest.mark.rule("M2")
def test_the_published_proofs_come_out_and_verify() -> None:
    hashes = merkle.leaf_hashes(LEAVES)
    roots = [bytes.fromhex(item) for item in VECTORS["roots"]]
    for case in VECTORS["inclusion"]:
        index, size = case["index"], case["size"]
        found = merkle.inclusion_proof(hashes[:size], index)
        assert [item.hex() for item in found] == case["path"]
        assert merkle.verify_inclusion(hashes[index], index, size, found, roots[size])
    for case in VECTORS["consistency"]:
        old, size = case["old_size"], case["size"]
        found = merkle.consistency_proof(hashes[:size], old)
        assert [item.hex() for item in found] == case["path"]
        assert merkle.verify_consistency(old, size, roots[old], roots[size], found)


@pytest.mark.rule("M1")
@given(sizes)
def test_roots_are_those_of_the_rfc(count: int) -> None:
    leaves = made(count)
    assert merkle.root(leaves) == mth(leaves)
    source = merkle.source_of_hashes(merkle.leaf_hashes(leaves))
    assert merkle.root_at(source, count) == mth(leaves)


@pytest.mark.rule("M1")
@given(st.lists(st.integers(0, 70), max_size=8))
def test_a_frontier_grown_in_any_portions_has_the_same_root(portions: list[int]) -> None:
    leaves = made(sum(portions))
    frontier, start = Frontier(), 0
    for portion in portions:
        frontier = frontier.extend(merkle.leaf_hashes(leaves[start : start + portion]))
        start += portion
        assert frontier.size == start
        assert frontier.root() == mth(leaves[:start])
        assert len(frontier.nodes) == start.bit_count()


@pytest.mark.rule("M1")
@given(st.integers(0, 5), st.integers(0, 9), st.integers(0, 9), st.integers(0, 31))
def test_whole_subtrees_append_like_their_leaves(level: int, a: int, b: int, rest: int) -> None:
    leaves = made(((a + b) << level) + rest)
    width = 1 << level
    roots = [merkle.root(leaves[i * width : (i + 1) * width]) for i in range(a + b)]
    frontier = Frontier().extend_subtrees(level, roots[:a]).extend_subtrees(level, roots[a:])
    frontier = frontier.extend(merkle.leaf_hashes(leaves[(a + b) << level :]))
    assert frontier.root() == mth(leaves)
    assert frontier == Frontier().extend(merkle.leaf_hashes(leaves))


def test_subtrees_do_not_append_to_a_size_that_is_no_multiple_of_theirs() -> None:
    with pytest.raises(ValueError, match="no whole number"):
        Frontier().extend([merkle.leaf_hash(b"")]).extend_subtrees(1, [bytes(32)])


@pytest.mark.rule("M2")
@given(st.integers(1, 200), st.data())
def test_inclusion_proofs_are_those_of_the_rfc_and_verify(count: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, count - 1))
    leaves = made(count)
    hashes = merkle.leaf_hashes(leaves)
    found = merkle.inclusion_proof(hashes, index)
    assert found == path(index, leaves)
    assert merkle.verify_inclusion(hashes[index], index, count, found, mth(leaves))


@pytest.mark.rule("M2")
@given(st.integers(1, 120), st.data())
def test_a_path_leads_to_the_root_or_is_no_path(count: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, count - 1))
    leaves = made(count)
    hashes = merkle.leaf_hashes(leaves)
    found = merkle.inclusion_proof(hashes, index)
    assert merkle.inclusion_root(hashes[index], index, count, found) == mth(leaves)
    assert merkle.inclusion_root(bytes(32), index, count, found) != mth(leaves)
    for wrong in ([*found, bytes(32)], [*found[:-1], b"short"], found[1:] if found else [b""]):
        assert merkle.inclusion_root(hashes[index], index, count, wrong) is None
    for place in (-1, count):
        assert merkle.inclusion_root(hashes[index], place, count, found) is None


@pytest.mark.rule("M2")
@given(st.integers(1, 200), st.data())
def test_consistency_proofs_are_those_of_the_rfc_and_verify(
    count: int, data: st.DataObject
) -> None:
    old = data.draw(st.integers(1, count))
    leaves = made(count)
    found = merkle.consistency_proof(merkle.leaf_hashes(leaves), old)
    assert found == subproof(old, leaves, True)
    assert merkle.verify_consistency(old, count, mth(leaves[:old]), mth(leaves), found)


@pytest.mark.rule("M2")
@given(st.integers(2, 120), st.data())
def test_an_inclusion_proof_that_is_altered_anywhere_is_refused(
    count: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, count - 1))
    hashes = merkle.leaf_hashes(made(count))
    root = merkle.root_of_hashes(hashes)
    found = merkle.inclusion_proof(hashes, index)
    at = data.draw(st.integers(0, len(found) - 1))
    flipped = bytes([found[at][0] ^ 1]) + found[at][1:]
    swapped = [*found[:at], flipped, *found[at + 1 :]]
    for wrong in (swapped, found[:-1], found[1:], [*found, root], [*found, found[-1]], []):
        assert not merkle.verify_inclusion(hashes[index], index, count, wrong, root)
    other = (index + 1) % count
    assert not merkle.verify_inclusion(hashes[other], index, count, found, root)


@pytest.mark.rule("M2")
@given(st.integers(2, 120), st.data())
def test_a_consistency_proof_that_is_altered_anywhere_is_refused(
    count: int, data: st.DataObject
) -> None:
    old = data.draw(st.integers(1, count - 1))
    hashes = merkle.leaf_hashes(made(count))
    old_root, root = merkle.root_of_hashes(hashes[:old]), merkle.root_of_hashes(hashes)
    found = merkle.consistency_proof(hashes, old)
    at = data.draw(st.integers(0, len(found) - 1))
    flipped = bytes([found[at][0] ^ 1]) + found[at][1:]
    for wrong in ([*found[:at], flipped, *found[at + 1 :]], found[:-1], [*found, root], []):
        assert not merkle.verify_consistency(old, count, old_root, root, wrong)
    assert not merkle.verify_consistency(old, count, root, root, found)
    assert not merkle.verify_consistency(old, count, old_root, old_root, found)


@pytest.mark.rule("M2")
@pytest.mark.parametrize(
    ("index", "size"), [(0, 0), (-1, 4), (4, 4), (5, 4), (0, -1), (2**70, 2**70)]
)
def test_impossible_positions_are_refused_without_an_error(index: int, size: int) -> None:
    assert not merkle.verify_inclusion(bytes(32), index, size, [bytes(32)] * 3, bytes(32))
    assert not merkle.verify_consistency(index, size, bytes(32), bytes(32), [bytes(32)] * 3)


@pytest.mark.parametrize("bad", [b"", b"short", bytes(31), bytes(33), bytes(64)])
def test_path_items_of_a_wrong_length_are_refused(bad: bytes) -> None:
    hashes = merkle.leaf_hashes(made(4))
    root = merkle.root_of_hashes(hashes)
    good = merkle.inclusion_proof(hashes, 0)
    assert merkle.verify_inclusion(hashes[0], 0, 4, good, root)
    assert not merkle.verify_inclusion(hashes[0], 0, 4, [bad, *good[1:]], root)
    assert not merkle.verify_consistency(2, 4, merkle.root_of_hashes(hashes[:2]), root, [bad])


def test_a_leaf_cannot_pass_for_an_inner_node() -> None:
    left, right = merkle.leaf_hashes([b"left", b"right"])
    assert merkle.leaf_hash(left + right) != merkle.root_of_hashes([left, right])


@pytest.mark.parametrize(("old", "size"), [(0, 3), (4, 3), (-1, 3)])
def test_no_proof_is_made_for_an_impossible_prefix(old: int, size: int) -> None:
    with pytest.raises(ValueError, match="no consistency proof"):
        merkle.consistency_proof(merkle.leaf_hashes(made(size)), old)


def test_no_proof_is_made_for_a_leaf_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="no leaf"):
        merkle.inclusion_proof(merkle.leaf_hashes(made(3)), 3)


# Runs of leaves.


runs = st.integers(1, 70).flatmap(
    lambda size: st.tuples(st.integers(0, size - 1), st.integers(1, size), st.just(size))
)


def run_of(first: int, stop: int, size: int) -> tuple[list[bytes], list[bytes], bytes]:
    """(hashes of the run, its path, the root) of a list of `size` leaves."""
    hashes = merkle.leaf_hashes(made(size))
    path = merkle.run_path(merkle.source_of_hashes(hashes), first, stop, size)
    return hashes[first:stop], path, mth(made(size))


@pytest.mark.rule("M3")
@given(runs)
def test_a_run_of_leaves_leads_to_the_root(drawn: tuple[int, int, int]) -> None:
    first, stop, size = drawn[0], max(drawn[0] + 1, drawn[1]), drawn[2]
    hashes, path, root = run_of(first, stop, size)
    assert merkle.run_root(hashes, first, size, path) == root
    assert len(path) <= 2 * size.bit_length()


@pytest.mark.rule("M3", "M2")
@given(st.integers(1, 70), st.data())
def test_the_path_of_a_run_of_one_has_the_hashes_of_its_inclusion_path(
    size: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, size - 1))
    _, path_of_run, _ = run_of(index, index + 1, size)
    assert sorted(path_of_run) == sorted(path(index, made(size)))


@pytest.mark.rule("M3")
def test_a_run_of_all_leaves_needs_no_path() -> None:
    for size in range(1, 20):
        assert run_of(0, size, size)[1] == []


@pytest.mark.rule("M3")
@pytest.mark.parametrize(("first", "stop", "size"), [(2, 5, 9), (0, 3, 8), (6, 7, 7)])
def test_a_run_that_is_not_the_one_proved_leads_elsewhere(first: int, stop: int, size: int) -> None:
    hashes, path, root = run_of(first, stop, size)
    lead = merkle.run_root
    assert lead(hashes, first, size, path) == root
    assert lead(hashes[::-1] if len(hashes) > 1 else [bytes(32)], first, size, path) != root
    assert lead(hashes, first, size, [*path, bytes(32)]) is None
    assert lead(hashes, first, size, path[:-1]) is None
    assert lead(hashes, first, size, [*path[:-1], bytes(31)]) is None
    assert lead(hashes, first, size, path[::-1]) != root
    for other in range(size):
        if other != first:
            assert lead(hashes, other, size, path) != root


@pytest.mark.rule("M3")
@pytest.mark.parametrize(("first", "stop", "size"), [(-1, 1, 3), (1, 1, 3), (2, 4, 3), (0, 1, 0)])
def test_a_run_outside_the_list_has_no_path(first: int, stop: int, size: int) -> None:
    with pytest.raises(ValueError, match="no leaves"):
        merkle.run_path(merkle.source_of_hashes([bytes(32)] * 3), first, stop, size)
    hashes = [bytes(32)] * max(0, stop - first)
    assert merkle.run_root(hashes, first, size, []) is None


@pytest.mark.rule("M3")
def test_a_list_that_claims_2_to_the_60_leaves_costs_only_the_path() -> None:
    assert merkle.run_root([bytes(32)], 2**59 + 1, 2**60, [bytes(32)] * 60) is not None
    assert merkle.run_root([bytes(32)], 2**59 + 1, 2**60, [bytes(32)] * 59) is None


@pytest.mark.rule("M1", "M2", "M3")
@given(st.integers(1, 70), st.data())
def test_a_source_that_keeps_its_nodes_gives_the_same_proofs(
    size: int, data: st.DataObject
) -> None:
    hashes = merkle.leaf_hashes(made(size))
    plain, kept = merkle.source_of_hashes(hashes), merkle.kept_source_of_hashes(hashes)
    index = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(index + 1, size))
    assert merkle.root_at(kept, size) == mth(made(size))
    assert merkle.inclusion_path(kept, index, size) == merkle.inclusion_path(plain, index, size)
    assert merkle.run_path(kept, index, stop, size) == merkle.run_path(plain, index, stop, size)
    assert merkle.consistency_path(kept, index + 1, size) == merkle.consistency_path(
        plain, index + 1, size
    )
