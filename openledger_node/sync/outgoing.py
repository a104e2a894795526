"""The sending half of a session: one method a frame type, and the queue of what they made.

- Y14 A question's id grows from one to the next. At most MAX_WANTS of a side's questions are open:
  not answered to the end, not answered by MISSING, not cancelled.
- Y15 CANCEL is always answered by MISSING with reason 4; of what was cancelled nothing follows it.
- Y18 A peer that leaves more than MAX_UNREAD_BYTES of replies unread breaks the protocol.

The methods say nothing about when to send what; they hold this side to the protocol. What would
break it is an InternalError, save where the peer may have changed things meanwhile: frames of an
answer that was cancelled are dropped in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from openledger_node.ledger.encoding import encode
from openledger_node.ledger.forks import ForkEvidence
from openledger_node.ledger.heads import SignedHead
from openledger_node.ledger.keys import SigningKey
from openledger_node.sync.answers import Answer
from openledger_node.sync.faults import MAX_TEXT_CHARACTERS, InternalError, PeerFault
from openledger_node.sync.flow import INITIAL_CREDIT_BYTES, ReceiveCredit, SendCredit
from openledger_node.sync.frames import MAX_FRAME_BYTES
from openledger_node.sync.frontier_entries import Entry, encode_entries
from openledger_node.sync.messages import (
    MAX_CODE_CHARACTERS,
    MAX_FORKS_A_FRAME,
    PROTOCOL_VERSION,
    U32_BYTES,
    Bye,
    Cancel,
    Digest,
    DigestAnswer,
    Document,
    Forks,
    Frame,
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
    Policy,
    Reason,
    Spine,
    Want,
    count_roots,
    encode_frame,
)

MAX_WANTS: Final = 256
MAX_FORKS: Final = 4_096
"""Fork proofs on one link, each way: 64 MiB of the largest."""
MAX_UNREAD_BYTES: Final = 256 * 1_024
"""Of replies queued and not handed to the link: what a peer that asks and never reads may pile up.
An honest one has 256 questions open, which come to 3 KiB of them."""
MAX_FORKS_BYTES: Final = MAX_FRAME_BYTES - 16
"""Of proofs in a frame."""


@dataclass(frozen=True, slots=True)
class Local:
    """This side of one link. `signature` is `sign_link`'s for the peer at its other end."""

    ledger_id: bytes
    node_id: bytes
    account: bytes
    device: bytes
    signature: bytes
    fork_digest: bytes | None
    frontier_digest: bytes
    policy: int = Policy.ALL
    low_version: int = PROTOCOL_VERSION
    high_version: int = PROTOCOL_VERSION

    def hello(self) -> Hello:
        return Hello(
            self.low_version,
            self.high_version,
            self.ledger_id,
            self.node_id,
            self.account,
            self.device,
            self.signature,
            self.fork_digest,
            self.frontier_digest,
            int(self.policy),
        )


def sign_link(device: SigningKey, ledger_id: bytes, node_id: bytes, peer_node_id: bytes) -> bytes:
    """HELLO's signature: `sign("link", ledger id, own node id, peer's node id)` (Y7)."""
    return device.sign_parts("link", ledger_id, node_id, peer_node_id)


class Outgoing:
    """What a link's session sends."""

    def __init__(self, local: Local, peer_node_id: bytes) -> None:
        self.local = local
        self.peer_node_id = peer_node_id
        self.closed_wants = 0
        """Questions of this side that the peer answered to the end, or by MISSING."""
        self.pending_bytes = 0
        self._queue: list[bytes] = []
        self._queued_frontier = range(0)
        self._reply_bytes = 0
        self._closed = False
        self._send_credit = SendCredit()
        self._receive_credit = ReceiveCredit()
        self._asked: dict[int, Answer] = {}
        self._cancelled = 0
        self._next_want = 0
        self._served: dict[int, Answer] = {}
        self._next_served = 0
        self._open_digests = 0
        self._sent_forks = 0
        self._queue_frame(local.hello())

    @property
    def ledger_id(self) -> bytes:
        return self.local.ledger_id

    @property
    def initial_credit(self) -> int:
        """Bytes that either side may send before the first GRANT."""
        return INITIAL_CREDIT_BYTES

    @property
    def credit_bytes(self) -> int:
        """What may be sent in data frames now, each counted with its 4 bytes of length."""
        return self._send_credit.left_bytes

    @property
    def open_wants(self) -> int:
        """Own questions that are open; below MAX_WANTS another may be asked (Y14)."""
        return len(self._asked) - self._cancelled

    def data_to_send(self) -> list[bytes]:
        """Whole frames for the link, in order; they are the caller's from here on."""
        queue, self._queue, self.pending_bytes = self._queue, [], 0
        self._queued_frontier, self._reply_bytes = range(0), 0
        return queue

    def close(self, code: str, text: str) -> None:
        """Queues BYE, as the last frame, and takes nothing in any more."""
        self._queue_frame(Bye(code[:MAX_CODE_CHARACTERS], text[:MAX_TEXT_CHARACTERS]))
        self._closed = True

    def consumed(self, size_bytes: int) -> None:
        """Data of this many frame bytes is dealt with: the peer may send more in time (Y8)."""
        granted = self._receive_credit.consume(size_bytes)
        if granted:
            self._queue_reply(Grant(granted))

    def _queue_frame(self, message: Frame) -> None:
        self._queue_bytes(encode_frame(message))

    def _queue_reply(self, message: Frame) -> None:
        """Queues what the peer's own frames bring about, and counts it while it is not sent."""
        before_bytes = self.pending_bytes
        self._queue_frame(message)
        self._reply_bytes += self.pending_bytes - before_bytes

    def _queue_data(self, message: Frame) -> None:
        """Queues a data frame. InternalError when the credit does not reach."""
        whole = encode_frame(message)
        if not self._closed:
            self._send_credit.spend(len(whole))
        self._queue_bytes(whole)

    def _queue_bytes(self, whole: bytes) -> None:
        if not self._closed:
            self._queue.append(whole)
            self.pending_bytes += len(whole)

    # What is held, and told.

    def send_frontier(self, entries: Iterable[Entry]) -> None:
        """FRONTIER, in as many parts as it takes. It replaces one that is still queued."""
        old = self._queued_frontier
        self.pending_bytes -= sum(map(len, self._queue[old.start : old.stop]))
        del self._queue[old.start : old.stop]
        parts = encode_entries(entries)
        self._queued_frontier = range(len(self._queue), len(self._queue) + len(parts))
        for number, part in enumerate(parts):
            self._queue_frame(Frontier(number, int(number + 1 == len(parts)), part))

    def send_forks(self, proofs: Sequence[ForkEvidence]) -> None:
        """FORKS. Of more than MAX_FORKS on one link the rest is left out: they go on another."""
        frame: list[ForkEvidence] = []
        size_bytes = 0
        for proof in proofs[: MAX_FORKS - self._sent_forks]:
            proof_bytes = len(encode(proof))
            if size_bytes + proof_bytes > MAX_FORKS_BYTES or len(frame) == MAX_FORKS_A_FRAME:
                self._queue_frame(Forks(tuple(frame)))
                frame, size_bytes = [], 0
            frame.append(proof)
            size_bytes += proof_bytes
            self._sent_forks += 1
        if frame:
            self._queue_frame(Forks(tuple(frame)))

    def send_have(self, log: bytes, size: int, tag: bytes) -> None:
        """HAVE: short id and tag, or log id and root for a log that is new to the link."""
        self._queue_frame(Have(log, size, tag))

    def send_news(self, head: SignedHead, first: int, lengths: bytes, leaves: bytes) -> None:
        """NEWS: leaves [first, head.size), `lengths` as in LEAVES."""
        self._queue_data(News(head, first, lengths, leaves))

    def send_digest(
        self, fork_digest: bytes | None, frontier_digest: bytes, *, is_answer: bool = False
    ) -> None:
        """DIGEST, or DIGEST_ANSWER."""
        if is_answer:
            self._queue_reply(DigestAnswer(fork_digest, frontier_digest))
        else:
            self._open_digests += 1
            self._queue_frame(Digest(fork_digest, frontier_digest))

    def send_peers(self, records: Sequence[bytes]) -> None:
        """PEERS: at most 16 records, at most once a minute."""
        self._queue_frame(Peers(tuple(records)))

    # Questions.

    def send_want(
        self, log: bytes, first: int, stop: int | None, root: bytes | None, spine: int | None
    ) -> int:
        """WANT; its id."""
        return self._ask(Want(self._next_want, log, first, stop, root, spine))

    def send_payload_want(
        self, event_id: bytes, commit: bytes, document: int = 0, leaf: int = 0
    ) -> int:
        """PAYLOAD_WANT, from a leaf of a document on; its id."""
        return self._ask(PayloadWant(self._next_want, event_id, commit, document, leaf))

    def _ask(self, want: Want | PayloadWant) -> int:
        if self.open_wants >= MAX_WANTS:
            raise InternalError(f"{MAX_WANTS} questions are open already")
        self._next_want = want.want_id + 1
        self._asked[want.want_id] = Answer.to(want)
        self._queue_frame(want)
        return want.want_id

    def payload_done(self, want_id: int) -> None:
        """The whole payload has come: its question is closed (Y13)."""
        answer = self._asked.get(want_id)
        if answer is not None and not answer.cancelled:
            del self._asked[want_id]
            self.closed_wants += 1

    def send_cancel(self, want_id: int) -> None:
        """CANCEL, when the answer is not over: nothing more of it is reported (Y15)."""
        answer = self._asked.get(want_id)
        if answer is not None and not answer.cancelled:
            answer.cancelled = True
            self._cancelled += 1
            self._queue_frame(Cancel(want_id))

    # Answers.

    def _serving(self, want_id: int) -> Answer | None:
        """The answer under way; None when it was cancelled or is over."""
        if want_id >= self._next_served:
            raise InternalError(f"an answer to question {want_id}, which was not asked")
        return self._served.get(want_id)

    def _answered(self, want_id: int, answer: Answer) -> None:
        if answer.is_over:
            del self._served[want_id]

    def send_head(self, want_id: int, opening: bytes, head: SignedHead) -> None:
        """HEAD: begins an answer; `opening` is leaf 0 when the question begins there."""
        answer = self._serving(want_id)
        if answer is not None:
            with _OwnFaults():
                answer.head(opening, head)
            self._queue_data(Head(want_id, opening, head))
            self._answered(want_id, answer)

    def send_spine(self, want_id: int, first: int, roots: bytes) -> None:
        """SPINE: segment roots from segment `first` on."""
        answer = self._serving(want_id)
        if answer is not None:
            with _OwnFaults():
                answer.spine(first, count_roots(roots))
            self._queue_data(Spine(want_id, first, roots))
            self._answered(want_id, answer)

    def send_leaves(self, want_id: int, first: int, lengths: bytes, leaves: bytes) -> None:
        """LEAVES from `first` on; `lengths` has a u32 big-endian for each."""
        answer = self._serving(want_id)
        if answer is not None:
            with _OwnFaults():
                answer.leaves(first, len(lengths) // U32_BYTES)
            self._queue_data(Leaves(want_id, first, lengths, leaves))
            self._answered(want_id, answer)

    def send_missing(self, want_id: int, reason: int) -> None:
        """MISSING: the rest of an answer does not come."""
        if self._serving(want_id) is not None:
            del self._served[want_id]
            self._queue_frame(Missing(want_id, int(reason)))

    def send_payload_frame(self, message: PayloadHead | Document | Piece) -> None:
        """A frame of a payload, as `payloads.plan` gives them."""
        answer = self._serving(message.want_id)
        if answer is None:
            return
        with _OwnFaults():
            if isinstance(message, PayloadHead):
                answer.payload_head(message.part, bool(message.is_last))
            elif isinstance(message, Document):
                answer.payload_content(FrameType.DOCUMENT)
            else:
                answer.payload_content(FrameType.PIECE)
        self._queue_data(message)

    def payload_sent(self, want_id: int) -> None:
        """All of a payload is queued. Call it before the last frame is handed to the link."""
        if self._serving(want_id) is not None:
            del self._served[want_id]

    def _cancel_served(self, want_id: int) -> bool:
        """The peer cancelled: whether its answer was still under way (Y15)."""
        found = self._served.pop(want_id, None)
        self._queue_reply(Missing(want_id, int(Reason.CANCELLED)))
        return found is not None


class _OwnFaults:
    """What the checks of an answer raise while this side sends it is a bug of this side."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, PeerFault):
            raise InternalError(f"this side answers wrongly: {error.text}") from error
