"""Answering a peer's WANTs: the head, the spine, the leaves, as fast as the peer grants credit.

A WANT pins the head that was newest when its turn came; what the log gains meanwhile is told apart.
Whole segments go out as they lie in the store. WANTs of a link are answered in their order, but for
their heads, which go ahead of everything: from them the asker learns which logs they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from openledger_node.ledger.events import MAX_LEAF_BYTES
from openledger_node.ledger.heads import Mark
from openledger_node.node.replication.holder import Holder, Served
from openledger_node.node.replication.lane import Io
from openledger_node.sync.messages import Reason, Want
from openledger_node.sync.session import Session

RUN_BYTES: Final = 256 * 1024
SPINE_PART_BYTES: Final = 512 * 1024
FRAME_OVERHEAD_BYTES: Final = 64
MAX_HEAD_FRAME_BYTES: Final = 2_048
MAX_RUN_FRAME_BYTES: Final = MAX_LEAF_BYTES + 2 * RUN_BYTES
"""A run is of at most RUN_BYTES, or one leaf, with four bytes of length for each leaf."""


@dataclass(slots=True)
class _Answer:
    want_id: int
    served: Served
    next_seq: int
    stop: int
    spine_first: int | None
    spine: bytes = b""
    spine_sent: int = 0


class Server:
    """One link's queue of WANTs. Heads go out at once, the rest of each answer in its turn."""

    def __init__(
        self, session: Session, holder: Holder, io: Io, given: Callable[[Mark], None]
    ) -> None:
        """`given(mark)`: the peer has been sent a log up to this mark."""
        self._session = session
        self._holder = holder
        self._io = io
        self._given = given
        self.sent_events = 0
        self._wants: deque[tuple[Want, bytes | None]] = deque()
        self._answers: dict[int, _Answer] = {}

    @property
    def is_idle(self) -> bool:
        return not self._wants and not self._answers

    def wanted(self, want: Want, log_id: bytes | None) -> None:
        """The peer asks; `log_id` is None for a name that fits no log held here."""
        self._wants.append((want, log_id))

    def cancelled(self, want_id: int) -> None:
        """The peer has no use for the answer."""
        self._answers.pop(want_id, None)
        self._wants = deque(item for item in self._wants if item[0].want_id != want_id)

    async def step(self) -> bool:
        """Queues one frame more; False when it has to wait."""
        if self._wants and self._session.credit_bytes > MAX_HEAD_FRAME_BYTES:
            await self._begin(*self._wants.popleft())
            return True
        for answer in self._answers.values():
            return await self._go_on(answer)
        return False

    async def _begin(self, want: Want, log_id: bytes | None) -> None:
        mark = None
        if want.root is not None and want.stop is not None and log_id is not None:
            mark = Mark(log_id, want.stop, want.root)
        served = await self._io(self._holder.find, log_id, mark) if log_id else None
        if served is None or want.first > served.head.size:
            self._session.send_missing(want.want_id, Reason.UNKNOWN)
            return
        stop = served.head.size
        if want.stop is not None and mark is None:
            stop = min(stop, want.stop)
        opening = b""
        if want.first == 0:
            opening = await self._io(self._holder.opening, served)
        self._session.send_head(want.want_id, opening, served.head)
        self._answers[want.want_id] = _Answer(want.want_id, served, want.first, stop, want.spine)

    async def _go_on(self, answer: _Answer) -> bool:
        if answer.spine_first is not None:
            return await self._send_spine(answer, answer.spine_first)
        if answer.next_seq >= answer.stop:
            del self._answers[answer.want_id]
            if answer.stop == answer.served.head.size:
                self._given(answer.served.head.mark)
            return True
        if self._session.credit_bytes < MAX_RUN_FRAME_BYTES:
            return False
        count, lengths, leaves = await self._io(
            self._holder.leaf_run, answer.served, answer.next_seq, answer.stop, RUN_BYTES
        )
        if answer.want_id in self._answers:
            self._session.send_leaves(answer.want_id, answer.next_seq, lengths, leaves)
            answer.next_seq += count
            self.sent_events += count
        return True

    async def _send_spine(self, answer: _Answer, first: int) -> bool:
        if self._session.credit_bytes < SPINE_PART_BYTES + FRAME_OVERHEAD_BYTES:
            return False
        if not answer.spine:
            answer.spine = await self._io(self._holder.spine, answer.served, first)
        part = answer.spine[answer.spine_sent : answer.spine_sent + SPINE_PART_BYTES]
        if part and answer.want_id in self._answers:
            self._session.send_spine(answer.want_id, first + answer.spine_sent // 32, part)
        answer.spine_sent += len(part)
        if answer.spine_sent >= len(answer.spine):
            answer.spine_first, answer.spine = None, b""
        return True
