"""How long a link's peer may take: to say anything, to answer, to read.

One peer at a time is asked for a log, so one that neither answers nor goes would keep it from this
node for as long as it likes. A look every LOOK_S judges what happened since the one before:

- nothing heard for SILENT_S: the link is dead, and nobody is blamed
- questions open all the time, none of them done, less than MIN_BYTES of answers, and the
  lane without work, so that it is not this node that holds things up: `no_answer`, or where
  nothing else was heard either, as when a network fails, `silent`
- one frame on its way all the time, and less than MIN_BYTES of it: `slow_frame`
- one piece of at most FLUSH_BYTES waiting to be sent for UNREAD_S while the peer talks: `unread`
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from openledger_node.sync.faults import PeerFault, fault
from openledger_node.sync.session import Session

LOOK_S: Final = 30
IDLE_S: Final = 60
"""A peer that was silent for so long is asked whether it is there."""
SILENT_S: Final = 180
UNREAD_S: Final = 120
FLUSH_BYTES: Final = 128 * 1024
"""Handed to the link at once: over UNREAD_S a kilobyte a second."""
MIN_BYTES: Final = 32 * 1024
"""Of answers, or of a frame, between two looks: half a kilobyte a second."""


class Patience:
    """What one link's peer has done lately. All times are seconds of one steady clock."""

    def __init__(self, session: Session, now_s: float) -> None:
        self._session = session
        self._heard_s = now_s
        self._sending_since_s: float | None = None
        self._open_wants = 0
        self._answered = 0, 0
        self._frame = 0, 0

    def heard(self, now_s: float) -> None:
        """Bytes have come."""
        self._heard_s = now_s

    def sending(self, now_s: float | None) -> None:
        """A piece is handed to the link now; None: it is gone."""
        self._sending_since_s = now_s

    def silent_s(self, now_s: float) -> float:
        return now_s - self._heard_s

    def look(self, now_s: float, *, is_storing: bool) -> PeerFault | None:
        """What the peer has to answer for since the last look, if anything."""
        is_dripping = self._is_dripping()
        session = self._session
        was_open, before = self._open_wants, self._answered
        self._open_wants = session.open_wants
        self._answered = session.closed_wants, session.answered_bytes
        if self.silent_s(now_s) > SILENT_S:
            return fault("silent", f"nothing heard for {SILENT_S} s")
        if self.silent_s(now_s) >= LOOK_S:
            return None  # a network fails more often than a peer lies
        since_s = self._sending_since_s
        if since_s is not None and now_s - since_s >= UNREAD_S:
            return fault("unread", f"it has read nothing for {UNREAD_S} s")
        if is_dripping:
            return fault("slow_frame", f"one frame is not whole after {LOOK_S} s")
        is_idle = self._answered[0] == before[0] and self._answered[1] - before[1] < MIN_BYTES
        if was_open and self._open_wants and is_idle and not is_storing:
            code = "silent" if self.silent_s(now_s) >= LOOK_S / 2 else "no_answer"
            return fault(code, f"it has answered nothing for {LOOK_S} s")
        return None

    def _is_dripping(self) -> bool:
        (frames, size_bytes), session = self._frame, self._session
        self._frame = session.received_frames, session.unfinished_bytes
        is_same = frames == session.received_frames and size_bytes > 0
        return is_same and session.unfinished_bytes - size_bytes < MIN_BYTES


def pieces(parts: list[bytes]) -> Iterator[bytes]:
    """What is queued, in pieces of at most FLUSH_BYTES."""
    whole = b"".join(parts)
    if len(whole) <= FLUSH_BYTES:
        yield whole
        return
    for at in range(0, len(whole), FLUSH_BYTES):
        yield whole[at : at + FLUSH_BYTES]
