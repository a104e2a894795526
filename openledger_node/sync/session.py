"""One link's protocol: bytes in, events out, frames queued for sending. No I/O, no store, no clock.

- Y7 The first frame of each side is HELLO, and it says HELLO once. A HELLO counts when the two
  sides have a version and the ledger in common, its node id is the one that the link shows and not
  one's own, its device key passes K1, and `signature` is that key's over
  `sign("link", ledger id, sender's node id, receiver's node id)`.
- Y16 A link ends at the first fault: nothing is taken in after it. After BYE neither.

A session checks form, order and limits. It hashes nothing and knows no log: that leaves are those
of a head, and a head its device's, is for whoever takes the events. Which frames may come when is
in the tables of `session_table.py`; `Outgoing` is the sending half.

    session = Session(local, peer_node_id)
    for event in session.receive_bytes(data, now_ms):  # PeerFault: session.close(code, text)
        ...

With `work_bytes` it stops after so much work, and `has_more` says whether it has:
`receive_bytes(b"", now_ms, ...)` goes on.

    link.send(b"".join(session.data_to_send()))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.events import MAX_BODY_BYTES
from openledger_node.ledger.keys import PublicKey
from openledger_node.ledger.merkle import HASH_BYTES
from openledger_node.sync.answers import LOG_ID_BYTES, Answer
from openledger_node.sync.events import (
    ByeCame,
    Cancelled,
    DigestCame,
    DocumentCame,
    Event,
    ForksCame,
    FrontierCame,
    Greeted,
    HaveCame,
    HeadCame,
    LeavesCame,
    MissingCame,
    NewsCame,
    PayloadHeadCame,
    PayloadWanted,
    PeersCame,
    PieceCame,
    SpineCame,
    Wanted,
)
from openledger_node.sync.faults import PeerFault, fault
from openledger_node.sync.flow import Allowance
from openledger_node.sync.frames import LENGTH_BYTES, MAX_FRAME_BYTES, MAX_HELLO_BYTES, FrameReader
from openledger_node.sync.frontier import SHORT_ID_BYTES, TAG_BYTES, link_key
from openledger_node.sync.frontier_entries import FrontierIntake
from openledger_node.sync.messages import (
    U32_BYTES,
    Bye,
    Cancel,
    Digest,
    DigestAnswer,
    Document,
    Forks,
    FrameType,
    Frontier,
    Grant,
    Have,
    Head,
    Hello,
    Leaves,
    Missing,
    News,
    PayloadHead,
    PayloadWant,
    Peers,
    Piece,
    Reason,
    Spine,
    Want,
    count_roots,
    decode_frame,
    frame_type,
    is_data,
    is_skipped,
    split_leaves,
)
from openledger_node.sync.outgoing import (
    MAX_FORKS,
    MAX_UNREAD_BYTES,
    MAX_WANTS,
    Local,
    Outgoing,
    sign_link,
)
from openledger_node.sync.session_table import LINK, LinkState

__all__ = [
    "ByeCame",
    "Cancelled",
    "DigestCame",
    "DocumentCame",
    "Event",
    "ForksCame",
    "FrontierCame",
    "Greeted",
    "HaveCame",
    "HeadCame",
    "LeavesCame",
    "Local",
    "MissingCame",
    "NewsCame",
    "PayloadHeadCame",
    "PayloadWanted",
    "PeersCame",
    "PieceCame",
    "Session",
    "SpineCame",
    "Wanted",
    "sign_link",
]

FRAME_BYTES: Final = 512
"""What taking in any frame costs, in bytes of a control frame."""
CONTROL_BURST_BYTES: Final = 32 * 2**20
CONTROL_BYTES_A_MS: Final = 2_048
"""2 MB/s: twice what asking for one-event logs as fast as they can be stored takes."""
ROUNDS_BURST: Final = 8
ROUND_EVERY_MS: Final = 10_000
"""DIGESTs and FRONTIERs; a node asks one peer every 15 to 45 s."""
PEERS_BURST: Final = 2
PEERS_EVERY_MS: Final = 60_000
MAX_CANCELLED_WANTS: Final = 4_096

_HAVE_FORMS: Final = frozenset(((SHORT_ID_BYTES, TAG_BYTES), (LOG_ID_BYTES, HASH_BYTES)))
_NO_FRAME: Final = frozenset(("frame_size", "malformed", "not_canonical"))
_OWN_LIMITS: Final = frozenset((FrameType.FRONTIER, FrameType.FORKS))
"""Control frames that other limits than the allowance bound."""


class Session(Outgoing):
    """One link's protocol, both halves."""

    def __init__(self, local: Local, peer_node_id: bytes) -> None:
        super().__init__(local, peer_node_id)
        self.peer: Hello | None = None
        self.state = LinkState.WAITING
        self.received_frames = 0
        self.work_bytes = 0
        """What was taken in: control frames by their length, and FRAME_BYTES for each frame."""
        self.has_more = False
        self.answered_bytes = 0
        """Of all answers to this side's questions."""
        self._reader = FrameReader(MAX_HELLO_BYTES)
        self._fault: PeerFault | None = None
        self._now_ms = 0
        self._frontier: FrontierIntake | None = None
        self._came_forks = 0
        self._control = Allowance("control frames", CONTROL_BURST_BYTES, CONTROL_BYTES_A_MS, 1)
        self._digests = Allowance("DIGESTs", ROUNDS_BURST, 1, ROUND_EVERY_MS)
        self._frontiers = Allowance("FRONTIERs", ROUNDS_BURST, 1, ROUND_EVERY_MS)
        self._peers = Allowance("PEERS", PEERS_BURST, 1, PEERS_EVERY_MS)

    def receive_bytes(self, data: bytes, now_ms: int, work_bytes: int | None = None) -> list[Event]:
        """What `data`, received at `now_ms` of any steady clock, completes.

        PeerFault at the first frame that breaks the protocol, and from then on at every call (Y16).
        """
        if self._fault is not None:
            raise self._fault
        events: list[Event] = []
        self._now_ms = now_ms
        stop_bytes = None if work_bytes is None else self.work_bytes + work_bytes
        self.has_more = False
        try:
            if data and not self._is_ended():
                self._reader.feed(data)
            while not self._is_ended():
                if stop_bytes is not None and self.work_bytes >= stop_bytes:
                    self.has_more = True
                    break
                body = self._reader.next_body()
                if body is None:
                    break
                event = self._receive_body(body)
                if event is not None:
                    events.append(event)
        except PeerFault as found:
            if self.state is LinkState.WAITING and found.code in _NO_FRAME:
                found = fault("no_hello", f"no HELLO: {found.text}")
            self._fault = found
            raise found from None
        return events

    @property
    def unfinished_bytes(self) -> int:
        """What has come of a frame that is not whole."""
        return self._reader.held_bytes

    def _is_ended(self) -> bool:
        return self._closed or self.state is LinkState.ENDED

    def _receive_body(self, body: bytes) -> Event | None:
        kind = frame_type(body)
        if self.state is LinkState.WAITING and kind != FrameType.HELLO:
            raise fault("no_hello", f"a frame of type {kind} before HELLO")
        frame_bytes = LENGTH_BYTES + len(body)
        self.received_frames += 1
        self.work_bytes += FRAME_BYTES
        if is_data(kind):
            self._receive_credit.receive(frame_bytes)
            self.answered_bytes += frame_bytes if kind != FrameType.NEWS else 0
        else:
            self.work_bytes += frame_bytes
            if kind not in _OWN_LIMITS:
                self._control.spend(frame_bytes, self._now_ms)
        if is_skipped(kind):
            return None
        state = LINK[self.state].get(FrameType(kind))
        if state is None:
            raise fault("second_hello", "HELLO twice")
        message = decode_frame(body)
        event = _TAKERS[type(message)](self, message, frame_bytes)
        self.state = state
        if self._reply_bytes > MAX_UNREAD_BYTES:
            raise fault("unread", f"more than {MAX_UNREAD_BYTES:,} bytes of replies left unread")
        return event

    # HELLO.

    def _take_hello(self, hello: Hello, frame_bytes: int) -> Event:
        local = self.local
        version = min(hello.high_version, local.high_version)
        if version < max(hello.low_version, local.low_version):
            raise fault(
                "version",
                f"it speaks protocol versions {hello.low_version} to {hello.high_version}",
            )
        if hello.ledger_id != local.ledger_id:
            raise fault("ledger", f"it is of ledger {hello.ledger_id.hex()}")
        if hello.node_id == local.node_id:
            raise fault("self", "it is this node itself")
        if hello.node_id != self.peer_node_id:
            raise fault("node_id", "its HELLO names another node than its link shows")
        try:
            device = PublicKey.parse(hello.device)
        except BadInput as error:
            raise fault("bad_key", f"its device key: {error.message}") from None
        parts = hello.ledger_id, hello.node_id, local.node_id
        if not device.verifies_parts(hello.signature, "link", *parts):
            raise fault("bad_signature", "the signature in its HELLO is wrong")
        self.peer = hello
        self._reader.max_body_bytes = MAX_FRAME_BYTES
        in_sync = (hello.fork_digest, hello.frontier_digest) == (
            local.fork_digest,
            local.frontier_digest,
        )
        key = link_key(local.node_id, local.frontier_digest, hello.node_id, hello.frontier_digest)
        return Greeted(hello, version, in_sync, key)

    # What the peer holds, and tells.

    def _take_frontier(self, message: Frontier, frame_bytes: int) -> Event | None:
        if self._frontier is None:
            self._frontiers.spend(1, self._now_ms)
            self._frontier = FrontierIntake()
        self._frontier.take(message.part, message.entries)
        if not message.is_last:
            return None
        whole, self._frontier = self._frontier, None
        return FrontierCame(whole.entries)

    def _take_forks(self, message: Forks, frame_bytes: int) -> Event:
        self._came_forks += len(message.proofs)
        if self._came_forks > MAX_FORKS:
            raise fault("too_many_forks", f"more than {MAX_FORKS:,} fork proofs on one link")
        if any(len(encode(proof)) > MAX_BODY_BYTES for proof in message.proofs):
            raise fault("malformed", f"a fork proof of more than {MAX_BODY_BYTES:,} bytes")
        return ForksCame(message.proofs)

    def _take_have(self, message: Have, frame_bytes: int) -> Event:
        if (len(message.log), len(message.tag)) not in _HAVE_FORMS:
            raise fault("malformed", "HAVE names a log and a root in two different ways")
        return message

    def _take_news(self, message: News, frame_bytes: int) -> Event:
        leaves = split_leaves(message.lengths, message.leaves)
        if message.first + len(leaves) != message.head.size:
            raise fault("bad_head", "NEWS whose leaves do not end at its head")
        return NewsCame(message.head, message.first, leaves, frame_bytes)

    def _take_digest(self, message: Digest, frame_bytes: int) -> Event:
        self._digests.spend(1, self._now_ms)
        return DigestCame(message.fork_digest, message.frontier_digest, is_answer=False)

    def _take_digest_answer(self, message: DigestAnswer, frame_bytes: int) -> Event:
        if not self._open_digests:
            raise fault("unasked", "DIGEST_ANSWER to no DIGEST")
        self._open_digests -= 1
        return DigestCame(message.fork_digest, message.frontier_digest, is_answer=True)

    def _take_peers(self, message: Peers, frame_bytes: int) -> Event:
        self._peers.spend(1, self._now_ms)
        return PeersCame(message.records)

    def _take_grant(self, message: Grant, frame_bytes: int) -> None:
        self._send_credit.grant(message.size_bytes)

    def _take_bye(self, message: Bye, frame_bytes: int) -> Event:
        return message

    # Questions.

    def _take_want(self, message: Want, frame_bytes: int) -> Event:
        if len(message.log) not in {SHORT_ID_BYTES, LOG_ID_BYTES}:
            raise fault("malformed", "WANT names a log by 8 or 32 bytes")
        if message.stop is not None and message.stop < message.first:
            raise fault("malformed", "WANT stops before it begins")
        if message.root is not None and not message.stop:
            raise fault("malformed", "WANT has a root without the size it is of")
        self._serve(message)
        return message

    def _take_payload_want(self, message: PayloadWant, frame_bytes: int) -> Event:
        self._serve(message)
        return message

    def _serve(self, want: Want | PayloadWant) -> None:
        """Y14."""
        if want.want_id < self._next_served:
            raise fault("want_id", f"question {want.want_id} after {self._next_served - 1}")
        if len(self._served) >= MAX_WANTS:
            raise fault("too_many_wants", f"more than {MAX_WANTS} questions at once")
        self._next_served = want.want_id + 1
        self._served[want.want_id] = Answer.to(want)

    def _take_cancel(self, message: Cancel, frame_bytes: int) -> Event | None:
        if message.want_id >= self._next_served:
            raise fault("unasked", f"CANCEL of question {message.want_id}, which was not asked")
        return message if self._cancel_served(message.want_id) else None

    # Answers.

    def _answer(self, want_id: int) -> Answer:
        answer = self._asked.get(want_id)
        if answer is None:
            raise fault("unasked", f"an answer to question {want_id}, which is not open")
        if self._cancelled > MAX_CANCELLED_WANTS:
            raise fault("no_answer", f"more than {MAX_CANCELLED_WANTS:,} CANCELs unanswered")
        return answer

    def _reported(self, answer: Answer, event: Event, frame_bytes: int) -> Event | None:
        """`event`, unless its question was cancelled. Closes the question with its answer."""
        if answer.cancelled:
            self.consumed(frame_bytes)
            return None
        if answer.is_over:
            self.closed_wants += 1
            del self._asked[answer.want.want_id]
        return event

    def _take_head(self, message: Head, frame_bytes: int) -> Event | None:
        """A HEAD is small and is dealt with at once: it gives its credit back here."""
        answer = self._answer(message.want_id)
        answer.head(message.opening, message.head)
        self.consumed(frame_bytes)
        return self._reported(answer, message, 0)

    def _take_spine(self, message: Spine, frame_bytes: int) -> Event | None:
        answer = self._answer(message.want_id)
        is_last = answer.spine(message.first, count_roots(message.roots))
        event = SpineCame(message.want_id, message.first, message.roots, frame_bytes, is_last)
        return self._reported(answer, event, frame_bytes)

    def _take_leaves(self, message: Leaves, frame_bytes: int) -> Event | None:
        answer = self._answer(message.want_id)
        is_last = answer.leaves(message.first, len(message.lengths) // U32_BYTES)
        leaves = split_leaves(message.lengths, message.leaves)
        event = LeavesCame(message.want_id, message.first, leaves, frame_bytes, is_last)
        return self._reported(answer, event, frame_bytes)

    def _take_missing(self, message: Missing, frame_bytes: int) -> Event | None:
        answer = self._answer(message.want_id)
        if message.reason == Reason.CANCELLED:
            if not answer.cancelled:
                raise fault("unasked", "MISSING for a CANCEL that was not sent")
            del self._asked[message.want_id]
            self._cancelled -= 1
            return None
        answer.missing()
        return self._reported(answer, message, 0)

    def _take_payload_head(self, message: PayloadHead, frame_bytes: int) -> Event | None:
        answer = self._answer(message.want_id)
        answer.payload_head(message.part, bool(message.is_last))
        event = PayloadHeadCame(
            message.want_id,
            message.part,
            bool(message.is_last),
            message.canon_version,
            message.trees,
            frame_bytes,
        )
        return self._reported(answer, event, frame_bytes)

    def _take_document(self, message: Document, frame_bytes: int) -> Event | None:
        answer = self._answer(message.want_id)
        answer.payload_content(FrameType.DOCUMENT)
        event = DocumentCame(
            message.want_id,
            message.document,
            message.first,
            message.salt,
            message.lengths,
            message.hashes,
            frame_bytes,
        )
        return self._reported(answer, event, frame_bytes)

    def _take_piece(self, message: Piece, frame_bytes: int) -> Event | None:
        answer = self._answer(message.want_id)
        answer.payload_content(FrameType.PIECE)
        event = PieceCame(
            message.want_id, message.document, message.first, message.data, frame_bytes
        )
        return self._reported(answer, event, frame_bytes)


_Taker = Callable[[Session, Any, int], Event | None]
_TAKERS: Final[dict[type, _Taker]] = {
    Hello: Session._take_hello,
    Frontier: Session._take_frontier,
    News: Session._take_news,
    Want: Session._take_want,
    Head: Session._take_head,
    Spine: Session._take_spine,
    Leaves: Session._take_leaves,
    Missing: Session._take_missing,
    Grant: Session._take_grant,
    Forks: Session._take_forks,
    Have: Session._take_have,
    Digest: Session._take_digest,
    DigestAnswer: Session._take_digest_answer,
    Peers: Session._take_peers,
    PayloadWant: Session._take_payload_want,
    PayloadHead: Session._take_payload_head,
    Document: Session._take_document,
    Piece: Session._take_piece,
    Cancel: Session._take_cancel,
    Bye: Session._take_bye,
}
