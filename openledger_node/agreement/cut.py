"""A7: from the frontiers of q seats to the next cut.

A cut names one mark for every log. Of each log in the frontiers: marks that contradict the previous
cut are dropped; the new mark is the longest prefix that is comparable with every mark left and
extends the previous one; a log closed for good grows no further than its closure. A cut changes at
most 5,000 logs, those of least SHA-256(previous cut_id || log_id) first, and half of that room is
for logs that the previous cut has: ids of new logs cost nothing, and can be made to come first.

cut_id = RFC 6962 root over the canonical [log_id, size, root] of every log of the whole cut,
ascending by log_id. It costs a hash a log and epoch: 1.3 microseconds for each log of the ledger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from openledger_node.ledger.encoding import encode
from openledger_node.ledger.heads import Mark, SignedHead
from openledger_node.ledger.merkle import EMPTY_ROOT, root
from openledger_node.ledger.votes import MAX_CUT_LOGS

T = TypeVar("T")


class Histories(Protocol):
    """What the holder of the logs knows about marks of one log."""

    def common(self, log_id: bytes, a: tuple[int, bytes], b: tuple[int, bytes]) -> int:
        """The length of the longest common prefix of the histories under two (size, root) marks."""
        ...

    def root_at(self, log_id: bytes, size: int, under: tuple[int, bytes]) -> bytes:
        """The root of the first `size` leaves of the history under a mark."""
        ...


class OneHistory:
    """For logs that never forked, as far as the holder knows.

    Every mark is a prefix of the longer.
    """

    def __init__(self, roots: Mapping[tuple[bytes, int], bytes]) -> None:
        self._roots = roots

    def common(self, log_id: bytes, a: tuple[int, bytes], b: tuple[int, bytes]) -> int:
        return min(a[0], b[0])

    def root_at(self, log_id: bytes, size: int, under: tuple[int, bytes]) -> bytes:
        return self._roots[log_id, size]


def cut_id_of(marks: Iterable[Mark]) -> bytes:
    """The id of a whole cut; of the empty one, SHA-256 of nothing."""
    ordered = sorted(marks)
    return root([encode(mark) for mark in ordered]) if ordered else EMPTY_ROOT


def compute_cut(
    previous: Mapping[bytes, Mark],
    previous_cut_id: bytes,
    frontiers: Sequence[Sequence[SignedHead]],
    closures: Mapping[bytes, int],
    histories: Histories,
) -> tuple[Mark, ...]:
    """The logs that the next cut changes, ascending by log id (A7)."""
    offered: dict[bytes, set[tuple[int, bytes]]] = {}
    for heads in frontiers:
        for head in heads:
            offered.setdefault(head.log_id, set()).add((head.size, head.root))
    grown = []
    for log_id in sorted(offered):
        mark = _longest(
            log_id, previous.get(log_id), sorted(offered[log_id]), closures.get(log_id), histories
        )
        if mark is not None:
            grown.append(mark)
    if len(grown) > MAX_CUT_LOGS:
        grown.sort(key=lambda mark: hashlib.sha256(previous_cut_id + mark.log_id).digest())
        old = [mark for mark in grown if mark.log_id in previous]
        new = [mark for mark in grown if mark.log_id not in previous]
        grown = sorted(shared_room(old, new, MAX_CUT_LOGS))
    return tuple(grown)


def shared_room(old: Sequence[T], new: Sequence[T], room: int) -> list[T]:
    """The first of both as far as there is room: half of it each, or what the other leaves."""
    for_new = min(len(new), max(room // 2, room - len(old)))
    return [*old[: room - for_new], *new[:for_new]]


def _longest(
    log_id: bytes,
    previous: Mark | None,
    offered: list[tuple[int, bytes]],
    closure: int | None,
    histories: Histories,
) -> Mark | None:
    """The new mark of one log, or None when it does not grow."""
    held = previous.size if previous else 0
    marks = [
        mark
        for mark in offered
        if previous is None or _comparable(log_id, mark, (previous.size, previous.root), histories)
    ]
    if not marks:
        return None
    top = max(marks)
    size = top[0]
    for index, a in enumerate(marks):
        for b in marks[index + 1 :]:
            common = histories.common(log_id, a, b)
            parted = common < min(a[0], b[0]) or (a[0] == b[0] and a[1] != b[1])
            if parted and common < size:
                size, top = common, a
    if closure is not None:
        size = min(size, max(closure, held))
    if size <= held:
        return None
    digest = top[1] if size == top[0] else histories.root_at(log_id, size, top)
    return Mark(log_id, size, digest)


def _comparable(
    log_id: bytes, a: tuple[int, bytes], b: tuple[int, bytes], histories: Histories
) -> bool:
    """Whether one of two marks is a prefix of the other."""
    return histories.common(log_id, a, b) == min(a[0], b[0]) and (a[0] != b[0] or a[1] == b[1])


def merged(previous: Mapping[bytes, Mark], changed: Iterable[Mark]) -> dict[bytes, Mark]:
    """The whole cut after a change."""
    return {**previous, **{mark.log_id: mark for mark in changed}}


def makes_cut(previous: Mapping[bytes, Mark], delta: Sequence[Mark], cut_id: bytes) -> bool:
    """Whether marks are a change of the previous cut, written the one way there is, to `cut_id`.

    Each log once, ascending, and grown: the same cut id never stands for two lists of changes.
    """
    names = [mark.log_id for mark in delta]
    if names != sorted(set(names)):
        return False
    if any(mark.log_id in previous and mark.size <= previous[mark.log_id].size for mark in delta):
        return False
    return cut_id_of(merged(previous, delta).values()) == cut_id
