"""What a link's peer was asked for, from the first answer to the last leaf.

A short log (no spine was asked for) is kept until it is whole and then stored with others in one
transaction. A long one flows to the lane as it comes, and so does one of few but long events: what
is kept here uses up the peer's credit, which must suffice for the rest. Answers that do not fit
what was asked are faults of the peer; a history that does not extend the one held here is suspect,
not a fault.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from openledger_node.ledger.errors import BadInput, VerificationFailed
from openledger_node.ledger.events import SEGMENT_LEAVES, LogGenesis, parse_log_open
from openledger_node.ledger.heads import SignedHead, verify_head
from openledger_node.ledger.merkle import leaf_hashes
from openledger_node.node.replication.admission import Admission
from openledger_node.node.replication.holder import Arrival
from openledger_node.node.replication.lane import Lane, Stream
from openledger_node.sync.faults import fault
from openledger_node.sync.peer_state import Fetch
from openledger_node.sync.replica import Replica
from openledger_node.sync.session import Session
from openledger_node.sync.table import PeerTable

HASH_BYTES: Final = 32
KEPT_BYTES: Final = 256 * 1024
"""Of a short log: with another frame of leaves and what is not granted back yet, it leaves credit
for one more such frame."""

MAX_SPINE_BYTES: Final = 32 * 2**20
"""Of the spines that are on their way over one link: those of 268,435,456 events, which at 250
bytes an event is more than a store's map has room for."""


@dataclass(eq=False, slots=True)
class Asked:
    """One WANT under way. `segment` is set for the second question of a suspect's two (X3).

    Of that one only the leaves' `hashes` are kept.
    """

    fetch: Fetch
    first: int
    head: SignedHead | None = None
    genesis: LogGenesis | None = None
    spine: bytearray = field(default_factory=bytearray)
    leaves: list[bytes] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    stream: Stream | None = None
    segment: int | None = None
    suspect: Asked | None = None
    stop: int = 0

    @property
    def spine_bytes(self) -> int:
        """How long the spine will be."""
        if self.head is None or self.fetch.spine_from is None or self.segment is not None:
            return 0
        return HASH_BYTES * (-(-self.head.size // SEGMENT_LEAVES) - self.fetch.spine_from)


class Fetcher:
    """One link's WANTs. Calls made from the link's reader; nothing here waits.

    What comes in one piece was split into events before the first of them was acted on: an answer
    may still follow for a question that was cancelled meanwhile, and is passed over.
    """

    def __init__(
        self,
        link: int,
        session: Session,
        table: PeerTable,
        replica: Replica,
        lane: Lane,
        genesis_of: Callable[[bytes], LogGenesis | None],
        admission: Admission,
        suspicious: Callable[[Asked], None],
    ) -> None:
        self._link = link
        self._session = session
        self._table = table
        self._replica = replica
        self._lane = lane
        self._genesis_of = genesis_of
        self._admission = admission
        self._suspicious = suspicious
        self._asked: dict[int, Asked] = {}
        self._streams: dict[Stream, Asked] = {}

    def ask(self, fetch: Fetch) -> None:
        """Sends the WANT of a fetch."""
        if fetch.purpose == "fork":
            want_id = self._session.send_want(fetch.name, 0, 0, None, 0)
            self._asked[want_id] = Asked(fetch, 0)
            return
        log: bytes = fetch.name
        stop = root = None
        first = fetch.first
        if fetch.mark is not None and fetch.log_id is not None:
            log, stop, root = fetch.log_id, fetch.mark.size, fetch.mark.root
        want_id = self._session.send_want(log, first, stop, root, fetch.spine_from)
        self._asked[want_id] = Asked(fetch, first)

    def ask_segment(self, suspect: Asked, segment: int) -> None:
        """The second question of a suspect: the leaves of the first segment that differs."""
        if suspect.head is None:
            return
        first = segment * SEGMENT_LEAVES
        stop = min(first + SEGMENT_LEAVES, suspect.head.size)
        want_id = self._session.send_want(suspect.fetch.name, first, stop, None, None)
        self._asked[want_id] = Asked(
            suspect.fetch, first, segment=segment, suspect=suspect, stop=stop
        )

    def head_came(self, want_id: int, opening: bytes, head: SignedHead) -> None:
        """The first answer to a WANT: which log, how long, signed by whom."""
        asked = self._asked.get(want_id)
        if asked is None:
            return
        fetch = asked.fetch
        if asked.segment is not None:
            asked.head = head
            return
        if self._table.name(head.log_id) != fetch.name:
            raise fault("other_log", "it answered with a head of another log")
        genesis = self._genesis_of(head.log_id)
        if genesis is None:
            genesis = self._opened(opening, head)
        asked.head, asked.genesis = head, genesis
        refusal = self._admission.refusal(genesis, head, asked.first)
        if asked.spine_bytes > MAX_SPINE_BYTES:
            refusal = "it is longer than any store here has room for"
        mark = fetch.mark
        if refusal is not None or head.size <= fetch.first or (mark and head.size < mark.size):
            self._drop(want_id, asked, for_good=refusal is not None)
        elif not self._replica.opened(fetch, head.log_id):
            self._session.send_cancel(want_id)
            del self._asked[want_id]
            self._replica.fetched(fetch)
        elif asked.spine_bytes:  # up to MAX_SPINE_BYTES are kept on the strength of this head
            _verify(head, genesis)

    def _opened(self, opening: bytes, head: SignedHead) -> LogGenesis:
        try:
            genesis = parse_log_open(opening)
        except BadInput as error:
            raise fault("bad_log", f"it offers a log that does not open: {error.message}") from None
        if genesis.log_id != head.log_id:
            raise fault("bad_log", "it offers a log whose first event opens another log")
        if genesis.ledger_id != self._session.ledger_id:
            raise fault("bad_log", "it offers a log of another ledger")
        return genesis

    def _drop(self, want_id: int, asked: Asked, *, for_good: bool) -> None:
        """This log is not taken from this peer."""
        self._session.send_cancel(want_id)
        del self._asked[want_id]
        if asked.fetch.purpose == "fork":
            self._replica.cleared(asked.fetch)
        self._replica.refused(asked.fetch, for_good=for_good)

    def spine_came(self, want_id: int, roots: bytes, frame_bytes: int) -> None:
        self._session.consumed(frame_bytes)
        asked = self._asked.get(want_id)
        if asked is None:
            return
        asked.spine += roots
        if len(asked.spine) > asked.spine_bytes:
            raise fault("spine", "it sent more segment roots than the log has segments")
        if sum(len(other.spine) for other in self._asked.values()) > MAX_SPINE_BYTES:
            raise fault("spine", "it sends the segment roots of many long logs at once")
        if len(asked.spine) == asked.spine_bytes:
            self._begin(asked)
            if asked.fetch.purpose == "fork":
                del self._asked[want_id]
                self._suspicious(asked)

    def _begin(self, asked: Asked) -> None:
        """Everything but the leaves has come."""
        head, genesis, fetch = asked.head, asked.genesis, asked.fetch
        if head is None or genesis is None or fetch.purpose == "fork" or not asked.spine_bytes:
            return
        self._stream(asked, head, genesis)

    def _stream(self, asked: Asked, head: SignedHead, genesis: LogGenesis) -> Stream:
        stream = Stream(
            self._link,
            genesis,
            head,
            bytes(asked.spine),
            first=asked.first,
            branch=asked.fetch.purpose == "branch",
        )
        asked.spine.clear()
        asked.stream = stream
        self._streams[stream] = asked
        return stream

    def leaves_came(self, want_id: int, leaves: list[bytes], frame_bytes: int) -> None:
        asked = self._asked.get(want_id)
        if asked is None:
            self._session.consumed(frame_bytes)
            return
        head = asked.head
        if head is None:
            raise fault("unasked", "it sent events before their head")
        if asked.segment is not None:
            self._segment_came(want_id, asked, leaves, frame_bytes)
            return
        asked.size_bytes += frame_bytes
        genesis = asked.genesis
        if asked.stream is not None:
            self._flow(want_id, asked, asked.stream, leaves, frame_bytes)
            return
        asked.leaves += leaves
        if asked.first + len(asked.leaves) == head.size:
            del self._asked[want_id]
            self._lane.arrive(
                Arrival(self._link, head, asked.first, asked.leaves, asked.size_bytes, asked.fetch)
            )
        elif asked.size_bytes > KEPT_BYTES and genesis is not None:
            stream = self._stream(asked, head, genesis)
            kept, asked.leaves = asked.leaves, []
            self._flow(want_id, asked, stream, kept, asked.size_bytes)

    def _segment_came(
        self, want_id: int, asked: Asked, leaves: list[bytes], frame_bytes: int
    ) -> None:
        self._session.consumed(frame_bytes)
        asked.hashes += leaf_hashes(leaves)
        if asked.first + len(asked.hashes) >= asked.stop:
            del self._asked[want_id]
            self._suspicious(asked)

    def _flow(
        self, want_id: int, asked: Asked, stream: Stream, leaves: list[bytes], frame_bytes: int
    ) -> None:
        """Leaves of a stream, to the lane."""
        stream.chunks.append((leaves, frame_bytes))
        asked.first += len(leaves)
        stream.last = asked.first == stream.head.size
        if stream.last:
            del self._asked[want_id]
        self._lane.feed(stream)

    def missing_came(self, want_id: int) -> None:
        """The peer does not supply it, or not all of it."""
        asked = self._asked.pop(want_id, None)
        if asked is None:
            return
        if asked.stream is not None:
            self._forget(asked.stream)
        elif asked.size_bytes:
            self._session.consumed(asked.size_bytes)
        if asked.fetch.purpose == "fork":
            self._replica.cleared(asked.fetch)
        self._replica.refused(asked.fetch)

    def stream_ended(self, stream: Stream) -> Fetch | None:
        """The lane is done with a stream; its fetch, unless that ended before."""
        stream.dead = True
        asked = self._streams.pop(stream, None)
        if asked is None:
            return None
        for want_id in [i for i, other in self._asked.items() if other is asked]:
            self._session.send_cancel(want_id)
            del self._asked[want_id]
        return asked.fetch

    def out_of_room(self, stream: Stream) -> None:
        """Its owner has used up the room it has here: nothing more of it is taken."""
        fetch = self.stream_ended(stream)
        if fetch is not None:
            self._replica.refused(fetch, for_good=True)

    def _forget(self, stream: Stream) -> None:
        """What the lane still reports of a stream counts for nothing but credit."""
        stream.dead = True
        self._streams.pop(stream, None)

    def close(self) -> None:
        """The link is gone: what was under way is dropped."""
        for stream in self._streams:
            stream.dead = True
        self._streams.clear()
        self._asked.clear()


def _verify(head: SignedHead, genesis: LogGenesis) -> None:
    try:
        verify_head(head, genesis)
    except (BadInput, VerificationFailed) as error:
        raise fault("bad_data", error.message) from None
