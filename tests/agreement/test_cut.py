"""A7: the next cut, against an oracle that tries every prefix."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.agreement import cut as cut_module
from openledger_node.agreement.cut import compute_cut, cut_id_of, merged
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.heads import Mark, SignedHead
from openledger_node.ledger.merkle import EMPTY_ROOT, leaf_hash, root
from tests.agreement.council import log_of

LOG = log_of("one")
History = tuple[int, ...]


def root_of(history: History) -> bytes:
    return root([b"%d" % leaf for leaf in history])


class Tree:
    """Histories of one log that may fork: a mark is known by the history under it."""

    def __init__(self, histories: list[History]) -> None:
        self.by_mark = {
            (size, root_of(history[:size])): history[:size]
            for history in histories
            for size in range(1, len(history) + 1)
        }

    def common(self, log_id: bytes, a: tuple[int, bytes], b: tuple[int, bytes]) -> int:
        left, right = self.by_mark[a], self.by_mark[b]
        count = 0
        for x, y in zip(left, right, strict=False):
            if x != y:
                break
            count += 1
        return count

    def root_at(self, log_id: bytes, size: int, under: tuple[int, bytes]) -> bytes:
        return root_of(self.by_mark[under][:size])


def is_prefix(a: History, b: History) -> bool:
    return b[: len(a)] == a


def oracle(previous: History, offered: list[History], closure: int | None) -> History:
    """The longest prefix of any offered history that fits, by trying all of them."""
    left = [h for h in offered if is_prefix(h, previous) or is_prefix(previous, h)]
    best = previous
    for history in left:
        for size in range(len(history) + 1):
            candidate = history[:size]
            comparable = all(is_prefix(candidate, h) or is_prefix(h, candidate) for h in left)
            closed = closure is not None and size > max(closure, len(previous))
            if comparable and is_prefix(previous, candidate) and not closed:
                best = max(best, candidate, key=len)
    return best


branches = st.lists(st.integers(0, 1), min_size=1, max_size=6).map(tuple)


@pytest.mark.rule("A7")
@given(
    st.lists(branches, min_size=1, max_size=5),
    branches,
    st.integers(0, 6),
    st.one_of(st.none(), st.integers(0, 6)),
)
def test_the_mark_is_the_longest_prefix_that_nobody_contradicts(
    offered: list[History], base: History, held: int, closure: int | None
) -> None:
    previous = base[:held]
    histories = Tree([*offered, base])
    before = {LOG: Mark(LOG, len(previous), root_of(previous))} if previous else {}
    heads = [SignedHead(LOG, len(h), root_of(h), bytes(64)) for h in offered]
    changed = compute_cut(
        before,
        EMPTY_ROOT,
        [[head] for head in heads],
        {} if closure is None else {LOG: closure},
        histories,
    )
    expected = oracle(previous, offered, closure)
    if expected == previous:
        assert changed == ()
    else:
        assert changed == (Mark(LOG, len(expected), root_of(expected)),)


@pytest.mark.rule("A7")
@given(st.permutations(range(4)))
def test_the_order_of_frontiers_changes_nothing(order: list[int]) -> None:
    histories: list[History] = [(0, 0, 0), (0, 0), (0, 1, 1), (0,)]
    heads = [SignedHead(LOG, len(h), root_of(h), bytes(64)) for h in histories]
    tree = Tree(histories)
    one = compute_cut({}, EMPTY_ROOT, [[head] for head in heads], {}, tree)
    other = compute_cut({}, EMPTY_ROOT, [[heads[i]] for i in order], {}, tree)
    assert one == other == (Mark(LOG, 1, root_of((0,))),)


@pytest.mark.rule("A7")
def test_a_cut_changes_at_most_so_many_logs_least_hash_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cut_module, "MAX_CUT_LOGS", 3)
    logs = [log_of(str(index)) for index in range(8)]
    histories = Tree([(0,)])
    heads = [SignedHead(log_id, 1, root_of((0,)), bytes(64)) for log_id in logs]
    previous_cut = hashlib.sha256(b"previous").digest()
    changed = compute_cut({}, previous_cut, [heads], {}, histories)
    ranked = sorted(logs, key=lambda log_id: hashlib.sha256(previous_cut + log_id).digest())
    assert {mark.log_id for mark in changed} == set(ranked[:3])
    assert list(changed) == sorted(changed)


@pytest.mark.rule("A7")
@pytest.mark.parametrize(("old", "new"), [(1, 20), (4, 20), (20, 4), (20, 1), (3, 3), (9, 0)])
def test_new_logs_whose_ids_were_made_to_come_first_take_half_of_a_cut_at_most(
    monkeypatch: pytest.MonkeyPatch, old: int, new: int
) -> None:
    room = 6
    monkeypatch.setattr(cut_module, "MAX_CUT_LOGS", room)
    previous_cut = hashlib.sha256(b"previous").digest()
    candidates = sorted(
        (log_of(str(index)) for index in range(400)),
        key=lambda log_id: hashlib.sha256(previous_cut + log_id).digest(),
    )
    ground, there = candidates[:new], candidates[-old:]
    previous = {log_id: Mark(log_id, 1, root_of((0,))) for log_id in there}
    heads = [
        SignedHead(log_id, size, root_of((0,) * size), bytes(64))
        for size, ids in ((1, ground), (2, there))
        for log_id in ids
    ]
    changed = compute_cut(previous, previous_cut, [heads], {}, Tree([(0, 0)]))
    taken = [mark.log_id for mark in changed]
    assert len(taken) == min(room, old + new)
    from_there = max(min(old, room // 2), min(old, room - new))
    assert {one for one in taken if one in previous} == set(there[:from_there])
    assert {one for one in taken if one not in previous} == set(ground[: room - from_there])


@pytest.mark.rule("A7")
def test_the_cut_id_is_the_root_over_every_mark_in_the_order_of_logs() -> None:
    marks = [Mark(log_of(name), size, root_of((size,))) for size, name in enumerate("abc", 1)]
    ordered = sorted(marks)
    assert cut_id_of(marks) == cut_id_of(reversed(marks))
    assert cut_id_of(marks) == root([encode([m.log_id, m.size, m.root]) for m in ordered])
    assert cut_id_of(marks[:1]) == leaf_hash(encode([marks[0].log_id, 1, marks[0].root]))


def test_the_empty_cut_has_the_empty_root() -> None:
    assert cut_id_of([]) == EMPTY_ROOT


def test_a_change_leaves_the_other_logs_where_they_were() -> None:
    a, b = Mark(log_of("a"), 1, root_of((0,))), Mark(log_of("b"), 1, root_of((0,)))
    grown = Mark(log_of("a"), 2, root_of((0, 0)))
    assert merged({a.log_id: a, b.log_id: b}, [grown]) == {a.log_id: grown, b.log_id: b}
