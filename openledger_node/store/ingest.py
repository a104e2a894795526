"""Taking in somebody else's log: verified before it is stored, in bounded memory.

The head's signature is checked first: one signature a log. Leaves come in chunks; each is held to
L2, the chunks to the tree, the tree to the head. Sealed segments are written as they fill, past the
log's recorded size, where no reader looks (S7); one last transaction makes them the log. What fails
half way leaves nothing visible.

Leaves that are held already are compared. Where they differ, both histories are signed: the fork is
proved, the proof kept, and the history held here stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from openledger_node.ledger.acceptance import first_fault
from openledger_node.ledger.errors import BadInput, Refused
from openledger_node.ledger.events import MAX_LEAF_BYTES, SEGMENT_LEAVES, LogGenesis
from openledger_node.ledger.forks import ForkEvidence, prove_fork
from openledger_node.ledger.heads import SignedHead, VerifiedHead, verify_head
from openledger_node.ledger.merkle import leaf_hashes, root_of_hashes
from openledger_node.store import logs
from openledger_node.store.environment import Txn
from openledger_node.store.logs import LogRecord
from openledger_node.store.store import Store
from openledger_node.sync.intake import Intake, Sealed

STAGED_SEGMENTS: Final = 64
"""Segments written in one transaction while a log comes in: about 5 MB of 330-byte events."""
STAGED_BYTES: Final = 64 * 2**20
"""What is held of a log of long events before its whole segments are written."""


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
    number, record = _record(store, genesis)
    held = record.size
    incoming = _Incoming(chunks, head.size)
    common, differing = _compare(store, number, min(held, head.size), incoming)
    if differing is not None:
        return _fork(store, number, record, verified, common, differing, incoming)
    if head.size <= held:
        return Ingested(0, None)
    ingestion = Ingestion(store, genesis, verified, adopt_own=adopt_own)
    for leaves in incoming:
        ingestion.feed(leaves)
    incoming.finish()
    return ingestion.finish()


def _record(store: Store, genesis: LogGenesis) -> tuple[int, LogRecord]:
    """The log's record, made when it is new: a record without leaves shows nothing."""
    with store.environment.reading() as txn:
        number = logs.log_number(txn, genesis.log_id)
        if number is not None:
            return number, logs.read_record(txn, number)
    with store.environment.writing() as txn:
        number = logs.log_number(txn, genesis.log_id)
        if number is None:
            number = logs.new_log(txn, genesis, own=False)
        return number, logs.read_record(txn, number)


def _branch_record(store: Store, genesis: LogGenesis) -> tuple[int, LogRecord]:
    """A record for another branch of a log held here (S8). An own log has none but its own."""
    with store.environment.writing() as txn:
        held = logs.log_number(txn, genesis.log_id)
        if held is not None and logs.read_record(txn, held).own == logs.OWN:
            raise Refused("an own log is not replaced by another branch", code="own_log")
        number = logs.new_branch(txn, genesis)
        return number, logs.read_record(txn, number)


class _Incoming:
    """Leaves in order, from chunks of any size."""

    def __init__(self, chunks: Iterable[list[bytes]], size: int) -> None:
        self._chunks = iter(chunks)
        self._size = size
        self._seq = 0
        self._pushed: list[bytes] | None = None

    def push_back(self, leaves: list[bytes]) -> None:
        self._pushed = leaves

    def __iter__(self) -> Iterator[list[bytes]]:
        return self

    def __next__(self) -> list[bytes]:
        if self._pushed is not None:
            pushed, self._pushed = self._pushed, None
            return pushed
        leaves = next(self._chunks)
        self._seq += len(leaves)
        if self._seq > self._size:
            raise BadInput(f"it has more events than the {self._size} its head covers")
        return leaves

    def finish(self) -> None:
        if self._seq < self._size:
            raise BadInput(f"it has {self._seq} events, its head covers {self._size}")


def _compare(
    store: Store, number: int, held: int, incoming: _Incoming
) -> tuple[int, list[bytes] | None]:
    """Takes the leaves that are held already off `incoming`.

    (how many are common, None) or (index of the first difference, incoming leaves from there on).
    """
    position = 0
    while position < held:
        try:
            leaves = next(incoming)
        except StopIteration:
            incoming.finish()
            break
        count = min(len(leaves), held - position)
        with store.environment.reading() as txn:
            own = logs.read_leaves(txn, number, position, position + count)
        if own != leaves[:count]:
            at = next(i for i in range(count) if own[i] != leaves[i])
            return position + at, leaves[at:]
        position += count
        if count < len(leaves):
            incoming.push_back(leaves[count:])
    return position, None


def _fork(
    store: Store,
    number: int,
    record: LogRecord,
    theirs: VerifiedHead,
    common: int,
    differing: list[bytes],
    incoming: _Incoming,
) -> Ingested:
    """Proves the fork between the history held here and a verified other one."""
    for leaves in incoming:
        differing += leaves
    incoming.finish()
    if refused := first_fault(differing, common):
        raise BadInput(f"event {refused[0]} is not acceptable: {refused[1]}")
    with store.environment.reading() as txn:
        own = leaf_hashes(logs.read_leaves(txn, number, 0, record.size))
    other = own[:common] + leaf_hashes(differing)
    if root_of_hashes(other) != theirs.root:
        raise BadInput("its events do not have the root that its head states")
    if record.head is None:
        raise BadInput("it contradicts events that are not signed yet")
    evidence = prove_fork(verify_head(record.head, record.genesis), own, theirs, other)
    if evidence is None:
        raise BadInput("its events differ from those held here")
    store.put_fork(evidence)
    return Ingested(0, evidence)


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
        if branch:
            self._number, self._record = _branch_record(store, genesis)
        else:
            self._number, self._record = _record(store, genesis)
        if self._record.own == logs.OWN and head.size > self._record.size and not adopt_own:
            raise Refused(
                "another copy of this home went on with its log",
                hint="use one of the two homes only; `oln check` shows which log this one writes",
                code="own_log_ahead",
            )
        held = self._record.size
        self._start = held // SEGMENT_LEAVES * SEGMENT_LEAVES
        begin = held if first is None else first
        if begin > held:
            raise Refused("it begins past what is held", hint="fetch it again", code="busy")
        self._passed_over = held - begin
        with store.environment.reading() as txn:
            before = logs.frontier_at(txn, self._number, self._record, self._start)
            leaves = logs.read_leaves(txn, self._number, self._start, held)
        if spine is not None:
            spine = spine[self._start // SEGMENT_LEAVES - begin // SEGMENT_LEAVES :]
        self._intake = Intake(head, before, leaves, spine)
        self._waiting: list[Sealed] = []
        self._waiting_bytes = 0

    @property
    def position(self) -> int:
        """The leaf that is to be fed next."""
        return self._intake.position - self._passed_over

    def feed(self, leaves: list[bytes]) -> None:
        """Takes the next leaves. BadInput and PrefixMismatch as `Intake.feed`."""
        if self._passed_over:
            skipped = min(self._passed_over, len(leaves))
            self._passed_over -= skipped
            leaves = leaves[skipped:]
        sealed = self._intake.feed(leaves)
        if sealed is None:
            if self._intake.held_bytes > SEGMENT_LEAVES * MAX_LEAF_BYTES:
                raise BadInput("its events are too long")
            return
        self._waiting.append(sealed)
        self._waiting_bytes += sum(map(len, sealed.leaves))
        count = sum(len(waiting.roots) for waiting in self._waiting)
        if count >= STAGED_SEGMENTS or self._waiting_bytes >= STAGED_BYTES:
            self._stage()

    def _stage(self) -> None:
        """Writes whole segments out of sight."""
        if not self._waiting:
            return
        with self._store.environment.writing(self._waiting_bytes) as txn:
            self._hold_record(txn)
            self._put_waiting(txn)
        self._waiting, self._waiting_bytes = [], 0

    def _put_waiting(self, txn: Txn) -> None:
        for sealed in self._waiting:
            logs.put_sealed(txn, self._number, sealed.first_segment, sealed.leaves, sealed.roots)

    def _hold_record(self, txn: Txn) -> LogRecord:
        now = logs.read_record(txn, self._number)
        if now.size != self._record.size:
            raise Refused(
                "another process is taking in the same log", hint="try again", code="busy"
            )
        return now

    def finish(self) -> Ingested:
        """Makes the log visible. BadInput and PrefixMismatch as `Intake.finish`."""
        tail = self._intake.finish()
        size_bytes = self._waiting_bytes + sum(map(len, tail.leaves))
        with self._store.environment.writing(size_bytes) as txn:
            record = self._hold_record(txn)
            self._put_waiting(txn)
            for seq in range(self._start, min(self._record.size, tail.first)):
                txn.delete("tail", logs.tail_key(self._number, seq))
            keyed = [
                (logs.tail_key(self._number, tail.first + index), leaf)
                for index, leaf in enumerate(tail.leaves)
            ]
            txn.put_many("tail", keyed)
            whole = tail.frontier
            record.size, record.nodes, record.head = whole.size, whole.nodes, self._head.signed
            logs.write_record(txn, self._number, record)
            if self._branch:
                logs.show_branch(txn, self._number)
        return Ingested(self._head.size - self._record.size, None)


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
        record = LogRecord(head.log_id, head.genesis, 0, (), None, 0)
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
    logs.write_record(txn, number, grown)
    return Grown(head.signed, head.size - record.size)
