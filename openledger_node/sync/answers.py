"""How far the answer to a WANT or PAYLOAD_WANT has come, and what of it may come next.

- Y12 The answer to a WANT is HEAD, then the spine if one was asked for, whole, then the leaves
  from `first` on, in order and without a gap. With `root` they go to the head; else to `stop`, or
  to the head when that is nearer. The answer is over with the last of them, without a word. MISSING
  ends it at any point.
- Y13 The answer to a PAYLOAD_WANT is PAYLOAD_HEAD in parts from 0, the last marked, then DOCUMENT
  and PIECE frames. It is over when the asker has the payload.

Both sides keep one of these for each question: the asker to hold the peer to it, the answerer to
know what is still open. Faults raised on the answerer's side are its own bugs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from openledger_node.ledger.events import SEGMENT_LEAVES
from openledger_node.ledger.heads import SignedHead
from openledger_node.sync.faults import fault
from openledger_node.sync.messages import FrameType, PayloadWant, Want
from openledger_node.sync.session_table import ANSWER, AnswerState

LOG_ID_BYTES: Final = 32


@dataclass(slots=True, eq=False)
class Answer:
    """One answer under way."""

    want: Want | PayloadWant
    state: AnswerState
    cancelled: bool = False
    _next_root: int = 0
    _end_root: int = 0
    _next_leaf: int = 0
    _end_leaf: int = 0
    _next_part: int = 0
    _trees_are_whole: bool = False

    @staticmethod
    def to(want: Want | PayloadWant) -> Answer:
        """The answer that `want` asks for."""
        if isinstance(want, Want):
            return Answer(want, AnswerState.ASKED)
        return Answer(want, AnswerState.PAYLOAD_ASKED)

    @property
    def is_over(self) -> bool:
        return self.state is AnswerState.OVER

    def _move(self, kind: FrameType) -> None:
        """To the state that the table gives. PeerFault `order`."""
        target = ANSWER[self.state].get(kind)
        if target is None:
            raise fault("order", f"{kind.name} in an answer that is at: {self.state.value}")
        self.state = target

    def _end_if_whole(self) -> None:
        if self._next_root >= self._end_root and self._next_leaf >= self._end_leaf:
            self.state = AnswerState.OVER

    def head(self, opening: bytes, head: SignedHead) -> None:
        """HEAD. PeerFault `order`, `bad_head`, `other_log`."""
        self._move(FrameType.HEAD)
        want = self.want
        assert isinstance(want, Want)
        if bool(opening) != (want.first == 0):
            raise fault("bad_head", "a head has the log's first event when that is asked for")
        if len(want.log) == LOG_ID_BYTES and head.log_id != want.log:
            raise fault("other_log", "an answer with the head of another log")
        if head.size < want.first or (want.root is not None and head.size < (want.stop or 0)):
            raise fault("bad_head", f"a head of size {head.size}, smaller than what was asked for")
        self._next_leaf = want.first
        self._end_leaf = head.size
        if want.stop is not None and want.root is None:
            self._end_leaf = min(head.size, want.stop)
        if want.spine is not None:
            self._next_root = want.spine
            self._end_root = -(-head.size // SEGMENT_LEAVES)
        self._end_if_whole()

    def spine(self, first: int, count: int) -> bool:
        """SPINE: whether these roots complete the spine. PeerFault `order`, `spine`."""
        self._move(FrameType.SPINE)
        if first != self._next_root:
            raise fault("order", f"segment root {first} in place of {self._next_root}")
        if first + count > self._end_root:
            raise fault("spine", f"roots up to {first + count} of {self._end_root} segments")
        self._next_root += count
        self._end_if_whole()
        return self._next_root == self._end_root

    def leaves(self, first: int, count: int) -> bool:
        """LEAVES: whether these complete the answer. PeerFault `order`, `past_stop`."""
        self._move(FrameType.LEAVES)
        if self._next_root < self._end_root:
            raise fault("order", "leaves before the whole spine")
        if first != self._next_leaf:
            raise fault("order", f"leaf {first} in place of {self._next_leaf}")
        if first + count > self._end_leaf:
            raise fault("past_stop", f"leaves up to {first + count}, past {self._end_leaf}")
        self._next_leaf += count
        self._end_if_whole()
        return self.is_over

    def payload_head(self, part: int, is_last: bool) -> None:
        """PAYLOAD_HEAD. PeerFault `order`."""
        self._move(FrameType.PAYLOAD_HEAD)
        if part != self._next_part or self._trees_are_whole:
            raise fault("order", f"part {part} of a payload's trees in place of {self._next_part}")
        self._next_part += 1
        self._trees_are_whole = is_last

    def payload_content(self, kind: FrameType) -> None:
        """DOCUMENT or PIECE. PeerFault `order`."""
        if not self._trees_are_whole:
            raise fault("order", f"{kind.name} before all of the payload's trees")
        self._move(kind)

    def missing(self) -> None:
        """MISSING: the rest does not come. PeerFault `order`."""
        self._move(FrameType.MISSING)
