"""Taking in somebody else's log: verified before it is stored, in bounded memory.

The head's signature is checked first: one signature a log. Leaves come in chunks; each is held to
L2, the chunks to the tree, the tree to the head. Sealed segments are written as they fill, past the
log's recorded size, where no reader looks (S7); one last transaction makes them the log. What fails
half way leaves nothing visible.

Leaves that are held already are compared (`comparing.py`). Where they differ, both histories are
signed: the fork is proved, the proof kept, and the history held here stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from openledger_node.ledger.errors import BadInput, Refused
from openledger_node.ledger.events import SEGMENT_LEAVES, LogGenesis
from openledger_node.ledger.forks import ForkEvidence
from openledger_node.ledger.heads import SignedHead, VerifiedHead, verify_head
from openledger_node.ledger.merkle import Frontier, leaf_hashes
from openledger_node.store import logs
from openledger_node.store.comparing import Incoming, compare, prove_against_held
from openledger_node.store.environment import Txn
from openledger_node.store.logs import LogRecord
from openledger_node.store.store import Store
from openledger_node.sync.intake import Intake, PrefixMismatch, Sealed

STAGED_SEGMENTS: Final = 32
"""Segments written in one transaction while a log comes in: about 2.7 MB of 330-byte events. They
are written by a thread of their own while the next are hashed.
"""
STAGED_BYTES: Final = 8 * 2**20
"""What is held of a log of longer events before its whole segments are written."""
PARKED_BYTES: Final = 2**20
"""What is held of a segment that is not whole: the leaves of longer ones wait in the store."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """How many events were new, and the fork when there is one."""

    added: int
    fork: ForkEvidence | None


def ingest(
    store: Store,
    genesis: LogGenesis,
    head: SignedHead,
    chunks: Iterable[list[bytes]],
    *,
    adopt_own: bool = False,
) -> Ingested:
    """Stores the log that `head` covers; `chunks` are its leaves from the first on.

    BadInput or VerificationFailed when it does not verify; nothing of it is stored then. With
    `adopt_own` an own log may grow too: the caller then never appends to it again.
    """
    verified = verify_head(head, genesis)
    number, record = _held(store, genesis)
    incoming = Incoming(chunks, head.size)
    if number is not None:
        common, differing = compare(store, number, min(record.size, head.size), incoming)
        if differing is not None:
            incoming.push_back(differing)
            evidence = prove_against_held(store, number, record, verified, common, incoming)
            store.put_fork(evidence)
            return Ingested(0, evidence)
        if head.size <= record.size:
            return Ingested(0, None)
    ingestion = Ingestion(store, genesis, verified, first=record.size, adopt_own=adopt_own)
    try:
        for leaves in incoming:
            ingestion.feed(leaves)
        incoming.finish()
        return ingestion.finish()
    finally:
        ingestion.close()


def _held(store: Store, genesis: LogGenesis) -> tuple[int | None, LogRecord]:
    """The log's number and record; without a number when it is not held yet."""
    with store.environment.reading() as txn:
        number = logs.log_number(txn, genesis.log_id)
        if number is not None:
            return number, logs.read_record(txn, number)
    return None, LogRecord(genesis.log_id, genesis, 0, (), None, logs.NOT_OWN)


def _held_branch(
    store: Store, genesis: LogGenesis, head: SignedHead
) -> tuple[int | None, LogRecord]:
    """As `_held`, for the branch that a head stands for. One that is held is shown now (S8).

    The log that this home writes has no branch but its own.
    """
    with store.environment.reading() as txn:
        shown = logs.log_number(txn, genesis.log_id)
        if shown is not None:
            logs.refuse_own(txn, logs.read_record(txn, shown))
        number = logs.find_history(txn, head)
    if number is None:
        return None, LogRecord(genesis.log_id, genesis, 0, (), None, logs.SET_ASIDE)
    with store.environment.writing() as txn:
        logs.show_branch(txn, number)
        return number, logs.read_record(txn, number)


class Ingestion:
    """One log on its way in, push style: `feed` leaves in order, then `finish`.

    Verified whole segments are written out of sight (S7) as they come; `finish` makes the log
    visible. Calls may block, and come from one thread at a time. With a `spine`, the segment roots
    from the segment of leaf `first` on, every segment is verified before it is written. `first` is
    where the leaves begin that will be fed; what is held past it is passed over.
    """

    def __init__(
        self,
        store: Store,
        genesis: LogGenesis,
        head: VerifiedHead,
        *,
        first: int | None = None,
        spine: Sequence[bytes] | None = None,
        adopt_own: bool = False,
        branch: bool = False,
    ) -> None:
        self._store = store
        self._head = head
        self._branch = branch
        held_now = _held_branch(store, genesis, head.signed) if branch else _held(store, genesis)
        self._number, self._record = held_now
        if self._record.own == logs.OWN and head.size > self._record.size and not adopt_own:
            raise Refused(
                "another copy of this home went on with its log",
                hint="use one of the two homes only; `oln check` shows which log this one writes",
                code="own_log_ahead",
            )
        held = self._record.size
        begin = held if first is None else first
        if branch and first is None:
            begin = 0
        if begin > held:
            raise Refused("it begins past what is held", hint="fetch it again", code="busy")
        self._start = held // SEGMENT_LEAVES * SEGMENT_LEAVES
        self._waiting: list[Sealed] = []
        self._waiting_bytes = 0
        self._writing: Future[None] | None = None
        self._writing_bytes = 0
        self._intake: Intake | None = None
        if head.size <= held:
            self._hold_to_held()
            self._passed_over = max(0, head.size - begin)
            return
        self._passed_over = held - begin
        if spine is not None:
            spine = spine[self._start // SEGMENT_LEAVES - begin // SEGMENT_LEAVES :]
        before, leaves = self._held_before(self._start)
        self._intake = Intake(head, before, leaves, spine)

    def _held_before(self, size: int) -> tuple[Frontier, list[bytes]]:
        """The frontier of the first `size` leaves, and the leaves held after them."""
        if self._number is None:
            return Frontier(), []
        with self._store.environment.reading() as txn:
            return (
                logs.frontier_at(txn, self._number, self._record, size),
                logs.read_leaves(txn, self._number, size, self._record.size),
            )

    def _hold_to_held(self) -> None:
        """What came meanwhile reaches as far as the head, or further: nothing is left to do."""
        with self._store.environment.reading() as txn:
            number = self._number
            if number is None or not logs.holds(txn, number, self._head.signed):
                raise PrefixMismatch("the history held here is as long, and another one")

    @property
    def position(self) -> int:
        """The leaf that is to be fed next."""
        reached = self._head.size if self._intake is None else self._intake.position
        return reached - self._passed_over

    def feed(self, leaves: list[bytes]) -> None:
        """Takes the next leaves. BadInput and PrefixMismatch as `Intake.feed`."""
        if self._passed_over:
            skipped = min(self._passed_over, len(leaves))
            self._passed_over -= skipped
            leaves = leaves[skipped:]
        if self._intake is None:
            if leaves:
                raise BadInput(f"it has more events than the {self._head.size} its head covers")
            return
        sealed = self._intake.feed(leaves)
        if sealed is not None:
            self._waiting.append(sealed)
            self._waiting_bytes += sum(map(len, sealed.leaves))
            count = sum(len(waiting.roots) for waiting in self._waiting)
            if count >= STAGED_SEGMENTS or self._waiting_bytes >= STAGED_BYTES:
                self._stage_aside()
        if self._intake.held_bytes >= PARKED_BYTES:
            self._stage(*self._intake.park())

    @property
    def waiting_bytes(self) -> int:
        """What was fed and is not written yet."""
        if self._writing is not None and self._writing.done():
            self._written()
        held_bytes = self._intake.held_bytes if self._intake is not None else 0
        return self._waiting_bytes + self._writing_bytes + held_bytes

    def stage(self) -> None:
        """Writes what waits: whoever feeds many logs at once has no memory for all of them."""
        if self._intake is not None and self.waiting_bytes:
            self._stage(*self._intake.park())

    def _stage(self, first: int = 0, parked: Sequence[bytes] = ()) -> None:
        """Writes whole segments, and leaves of one that is not whole, out of sight."""
        self._written()
        self._write(self._waiting, self._waiting_bytes + sum(map(len, parked)), first, parked)
        self._waiting, self._waiting_bytes = [], 0

    def _stage_aside(self) -> None:
        """Has whole segments written meanwhile: what fails there is raised by the next call."""
        self._written()
        waiting, self._writing_bytes = self._waiting, self._waiting_bytes
        self._writing = self._store.environment.aside.submit(
            self._write, waiting, self._writing_bytes
        )
        self._waiting, self._waiting_bytes = [], 0

    def _written(self) -> None:
        """Waits for what is being written."""
        writing, self._writing, self._writing_bytes = self._writing, None, 0
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """Nothing is being written from here on. What went wrong there left nothing visible."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.exception()

    def _write(
        self,
        waiting: Sequence[Sealed],
        size_bytes: int,
        first: int = 0,
        parked: Sequence[bytes] = (),
    ) -> None:
        with self._store.environment.writing(size_bytes) as txn:
            number, _ = self._hold_record(txn)
            self._put(txn, number, waiting)
            logs.put_tail(txn, number, first, parked)
        self._number = number

    def _put(self, txn: Txn, number: int, waiting: Sequence[Sealed]) -> None:
        for sealed in waiting:
            leaves, start = sealed.leaves, sealed.first_segment * SEGMENT_LEAVES
            if sealed.parked:
                stop = start + sealed.parked
                leaves = [*logs.read_tail(txn, number, start, stop), *leaves]
                logs.delete_tail(txn, number, max(start, self._record.size), stop)
            logs.put_sealed(txn, number, sealed.first_segment, leaves, sealed.roots)

    def _hold_record(self, txn: Txn) -> tuple[int, LogRecord]:
        """The number and the record, made when the history is new; as they were at the beginning.

        A record without leaves shows nothing (S7).
        """
        number, genesis = self._number, self._head.genesis
        if number is None and self._branch:
            number = logs.new_branch(txn, genesis)
        elif number is None:
            number = logs.log_number(txn, genesis.log_id)
            number = logs.new_log(txn, genesis, own=False) if number is None else number
        now = logs.read_record(txn, number)
        if (now.size, now.own) != (self._record.size, self._record.own):
            raise Refused(
                "another process is taking in the same log", hint="try again", code="busy"
            )
        return number, now

    def finish(self) -> Ingested:
        """Makes the log visible. BadInput and PrefixMismatch as `Intake.finish`."""
        if self._intake is None:
            return Ingested(0, None)
        tail = self._intake.finish()
        self._written()
        size_bytes = self._waiting_bytes + sum(map(len, tail.leaves))
        with self._store.environment.writing(size_bytes) as txn:
            if self._branch and self._came_meanwhile(txn):
                return Ingested(0, None)
            number, record = self._hold_record(txn)
            self._put(txn, number, self._waiting)
            logs.delete_tail(txn, number, self._start, min(self._record.size, tail.first))
            logs.put_tail(txn, number, tail.first + tail.parked, tail.leaves)
            whole = tail.frontier
            record.size, record.nodes, record.head = whole.size, whole.nodes, self._head.signed
            _note_elsewhere(record)
            logs.write_record(txn, number, record)
            if self._branch:
                logs.show_branch(txn, number)
        return Ingested(self._head.size - self._record.size, None)

    def _came_meanwhile(self, txn: Txn) -> bool:
        """Whether the branch is held under another number by now: that one is shown then."""
        other = logs.find_history(txn, self._head.signed)
        if other is None:
            return False
        logs.show_branch(txn, other)
        return True


def _note_elsewhere(record: LogRecord) -> None:
    """S9: leaves that this home did not write follow in its log."""
    if record.own == logs.OWN:
        record.own = logs.WENT_ON


@dataclass(frozen=True, slots=True)
class Growth:
    """Leaves [first, head.size) of a log under a verified head; their hashes are made once."""

    head: VerifiedHead
    first: int
    leaves: list[bytes]


@dataclass(frozen=True, slots=True)
class Grown:
    """The log's head afterwards, and how many leaves were new.

    `gap`: the leaves begin past what is held. `differs`: they do not extend it.
    """

    head: SignedHead | None
    added: int = 0
    gap: bool = False
    differs: bool = False


def grow_many(store: Store, growths: Sequence[Growth]) -> list[Grown]:
    """Adds a few leaves to each of several logs, durable together: O(new leaves).

    Leaves must be acceptable (L2) and the heads verified; that a head covers its leaves is checked
    here. A log that is new begins with leaf 0.
    """
    hashed = [leaf_hashes(growth.leaves) for growth in growths]
    size_bytes = sum(len(leaf) for growth in growths for leaf in growth.leaves)
    with store.environment.writing(size_bytes) as txn:
        return [_grow(txn, growth, hashes) for growth, hashes in zip(growths, hashed, strict=True)]


def _grow(txn: Txn, growth: Growth, hashes: list[bytes]) -> Grown:
    head = growth.head
    number = logs.log_number(txn, head.log_id)
    if number is None:
        if growth.first:
            return Grown(None, gap=True)
        record = LogRecord(head.log_id, head.genesis, 0, (), None, logs.NOT_OWN)
    else:
        record = logs.read_record(txn, number)
    if growth.first > record.size:
        return Grown(record.head, gap=True)
    held = record.size - growth.first
    if head.size <= record.size:
        return Grown(record.head)
    if record.frontier.extend(hashes[held:]).root() != head.root:
        return Grown(record.head, differs=True)
    if number is None:
        number = logs.new_log(txn, head.genesis, own=False)
    grown = logs.append_leaves(txn, number, record, growth.leaves[held:], hashes[held:])
    grown.head = head.signed
    _note_elsewhere(grown)
    logs.write_record(txn, number, grown)
    return Grown(head.signed, head.size - record.size)
