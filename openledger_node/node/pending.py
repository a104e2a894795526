"""The pending view: the real fold over a throw-away overlay of what is not final yet.

It answers "what would these events do?", for `credits --pending`, for judging an event before it is
appended, and for the status of a pending one. It is always labelled pending: the real cut may hold
other events, and orders them by its own id.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from openledger_node.credit import views
from openledger_node.credit.fold import fold
from openledger_node.credit.inputs import Cut, LogReader, StateReader
from openledger_node.ledger.encoding import H
from openledger_node.ledger.events import encode_event, event_id
from openledger_node.ledger.heads import Mark
from openledger_node.node.core import NodeCore
from openledger_node.node.epochs import knows_rules
from openledger_node.store.snapshot import Snapshot
from openledger_node.store.writer import Draft

MAX_JUDGED_EVENTS: Final = 20_000
"""With more pending events than this, an append is not judged beforehand.

It would cost over 0.1 s.
"""


class OverlaidState:
    """A state reader over another one and the delta of a fold."""

    def __init__(self, base: StateReader, delta: Sequence[tuple[bytes, bytes | None]]) -> None:
        self._base = base
        self._changed = dict(delta)
        self._keys = [key for key, _ in delta]

    def get(self, key: bytes) -> bytes | None:
        if key in self._changed:
            return self._changed[key]
        return self._base.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        changed = [
            (key, 0, value) for key, value in self._changed.items() if key[: len(prefix)] == prefix
        ]
        changed.sort()
        base = ((key, 1, value) for key, value in self._base.scan(prefix))
        last: bytes | None = None
        for key, _, value in heapq.merge(changed, base, key=lambda item: item[:2]):
            if key != last and value is not None:
                yield key, value
            last = key


class _WithDrafts:
    """A log reader whose own log goes on with leaves that are not written."""

    def __init__(self, base: LogReader, log_id: bytes, size: int, leaves: Sequence[bytes]) -> None:
        self._base = base
        self._log_id = log_id
        self._size = size
        self._leaves = leaves

    def leaves(self, log_id: bytes, start: int, stop: int) -> Sequence[bytes]:
        if log_id != self._log_id or stop <= self._size:
            return self._base.leaves(log_id, start, stop)
        held = list(self._base.leaves(log_id, start, self._size)) if start < self._size else []
        first = max(0, start - self._size)
        return held + list(self._leaves[first : stop - self._size])


@dataclass(frozen=True, slots=True)
class PendingView:
    """What the ledger would be if everything held were final now."""

    state: OverlaidState
    events: int


def pending_marks(snapshot: Snapshot) -> tuple[tuple[Mark, ...], int]:
    """The marks of all logs that grew since the last cut, and how many events that is."""
    marks = []
    events = 0
    for log in snapshot.logs():
        if log.head is None:
            continue
        previous = snapshot.cut_mark(log.log_id)
        before = previous.size if previous else 0
        if log.head.size > before:
            marks.append(log.head.mark)
            events += log.head.size - before
    return tuple(marks), events


def pending_view(core: NodeCore, snapshot: Snapshot) -> PendingView:
    """Folds everything held that is not final.

    Under rules that this program does not know nothing can be told: the view is what is final.
    """
    marks, events = pending_marks(snapshot)
    if not knows_rules(snapshot):
        return PendingView(OverlaidState(snapshot.state, ()), events)
    return _fold_over(core, snapshot, marks, snapshot, events)


def _fold_over(
    core: NodeCore, snapshot: Snapshot, marks: tuple[Mark, ...], logs: LogReader, events: int
) -> PendingView:
    epoch = snapshot.last_epoch() + 1
    cut = Cut(epoch, H("pending", epoch, sorted(marks)), tuple(sorted(marks)))
    folded = fold(snapshot.state, cut, logs, core.genesis)
    return PendingView(OverlaidState(snapshot.state, folded.delta), events)


@dataclass(frozen=True, slots=True)
class Judged:
    """What the fold makes of one draft: its rule and reason when void, or that it would wait."""

    rule: str | None
    reason: str | None
    parked: bool


def judge(
    core: NodeCore, snapshot: Snapshot, log_id: bytes, drafts: Sequence[Draft]
) -> list[Judged]:
    """What the fold would make of drafts appended to the own log now.

    [] when too much is pending.
    """
    marks, events = pending_marks(snapshot)
    if events > MAX_JUDGED_EVENTS:
        return []
    log = snapshot.log(log_id)
    if log is None or log.head is None:
        return []
    size = log.head.size
    leaves = [
        encode_event(size + i, d.kind, d.time_ms, d.body, d.commit, d.payload_len)
        for i, d in enumerate(drafts)
    ]
    grown = Mark(log_id, size + len(leaves), H("pending-root", log_id))
    others = tuple(mark for mark in marks if mark.log_id != log_id)
    logs = _WithDrafts(snapshot, log_id, size, leaves)
    view = _fold_over(core, snapshot, (*others, grown), logs, events + len(leaves))
    judged = []
    for index, leaf in enumerate(leaves):
        named = event_id(log_id, size + index, leaf)
        void = views.void_reason(view.state, named)
        rule, reason = void if void else (None, None)
        judged.append(Judged(rule, reason, views.parked(view.state, named) is not None))
    return judged
