"""Taking in somebody else's log: verified before it is stored, in bounded memory.

The head's signature is checked first: one signature a log. Leaves come in chunks; each is held to
L2, the chunks to the tree, the tree to the head. Sealed segments are written as they fill, past the
log's recorded size, where no reader looks (S7); one last transaction makes them the log. What fails
half way leaves nothing visible.

Leaves that are held already are compared. Where they differ, both histories are signed: the fork is
proved, the proof kept, and the history held here stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from openledger_node.ledger.acceptance import first_fault
from openledger_node.ledger.errors import BadInput, Refused
from openledger_node.ledger.events import MAX_LEAF_BYTES, SEGMENT_LEAVES, LogGenesis
from openledger_node.ledger.forks import ForkEvidence, prove_fork
from openledger_node.ledger.heads import SignedHead, VerifiedHead, verify_head
from openledger_node.ledger.merkle import Frontier, leaf_hashes, root_of_hashes
from openledger_node.store import logs
from openledger_node.store.logs import LogRecord
from openledger_node.store.store import Store

STAGED_LEAVES: Final = 64 * SEGMENT_LEAVES
"""Leaves written in one transaction while a log comes in: about 5 MB of 330-byte events."""
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
    if record.own and not adopt_own:
        raise Refused(
            "another copy of this home went on with its log",
            hint="use one of the two homes only; `oln check` shows which log this one writes",
            code="own_log_ahead",
        )
    _Staging(store, number, record, verified, incoming).run()
    return Ingested(head.size - held, None)


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


class _Incoming:
    """Accepted leaves in order, with their hashes, from chunks of any size."""

    def __init__(self, chunks: Iterable[list[bytes]], size: int) -> None:
        self._chunks = iter(chunks)
        self._size = size
        self._seq = 0
        self._pushed: tuple[list[bytes], list[bytes]] | None = None

    def push_back(self, leaves: list[bytes], hashes: list[bytes]) -> None:
        self._pushed = (leaves, hashes)

    def __iter__(self) -> Iterator[tuple[list[bytes], list[bytes]]]:
        return self

    def __next__(self) -> tuple[list[bytes], list[bytes]]:
        if self._pushed is not None:
            pushed, self._pushed = self._pushed, None
            return pushed
        leaves = next(self._chunks)
        if refused := first_fault(leaves, self._seq):
            raise BadInput(f"event {refused[0]} is not acceptable: {refused[1]}")
        self._seq += len(leaves)
        if self._seq > self._size:
            raise BadInput(f"it has more events than the {self._size} its head covers")
        return leaves, leaf_hashes(leaves)

    def finish(self) -> None:
        if self._seq < self._size:
            raise BadInput(f"it has {self._seq} events, its head covers {self._size}")


def _compare(
    store: Store, number: int, held: int, incoming: _Incoming
) -> tuple[int, list[bytes] | None]:
    """Takes the leaves that are held already off `incoming`.

    (how many are common, None) or (index of the first difference, incoming hashes from there on).
    """
    position = 0
    while position < held:
        try:
            leaves, hashes = next(incoming)
        except StopIteration:
            incoming.finish()
            break
        count = min(len(leaves), held - position)
        with store.environment.reading() as txn:
            own = logs.read_leaves(txn, number, position, position + count)
        if own != leaves[:count]:
            at = next(i for i in range(count) if own[i] != leaves[i])
            return position + at, hashes[at:]
        position += count
        if count < len(leaves):
            incoming.push_back(leaves[count:], hashes[count:])
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
    for _, hashes in incoming:
        differing += hashes
    incoming.finish()
    with store.environment.reading() as txn:
        own = leaf_hashes(logs.read_leaves(txn, number, 0, record.size))
    other = own[:common] + differing
    if root_of_hashes(other) != theirs.root:
        raise BadInput("its events do not have the root that its head states")
    if record.head is None:
        raise BadInput("it contradicts events that are not signed yet")
    evidence = prove_fork(verify_head(record.head, record.genesis), own, theirs, other)
    if evidence is None:
        raise BadInput("its events differ from those held here")
    store.put_fork(evidence)
    return Ingested(0, evidence)


class _Staging:
    """Writes the new part of a log segment by segment, and makes it visible at the end."""

    def __init__(
        self,
        store: Store,
        number: int,
        record: LogRecord,
        head: VerifiedHead,
        incoming: _Incoming,
    ) -> None:
        self._store = store
        self._number = number
        self._record = record
        self._head = head
        self._incoming = incoming
        self._start = record.size // SEGMENT_LEAVES * SEGMENT_LEAVES
        self._frontier = Frontier()
        self._leaves: list[bytes] = []
        self._hashes: list[bytes] = []

    def run(self) -> None:
        with self._store.environment.reading() as txn:
            self._frontier = logs.frontier_at(txn, self._number, self._record, self._start)
            self._leaves = logs.read_leaves(txn, self._number, self._start, self._record.size)
        self._hashes = leaf_hashes(self._leaves)
        held_bytes = sum(map(len, self._leaves))
        for leaves, hashes in self._incoming:
            self._leaves += leaves
            self._hashes += hashes
            held_bytes += sum(map(len, leaves))
            if len(self._leaves) >= STAGED_LEAVES or held_bytes >= STAGED_BYTES:
                self._stage()
                held_bytes = sum(map(len, self._leaves))
        self._incoming.finish()
        self._stage()
        whole = self._frontier.extend(self._hashes)
        if whole.root() != self._head.root:
            raise BadInput("its events do not have the root that its head states")
        self._make_visible(whole)

    def _stage(self) -> None:
        """Seals what fills whole segments, out of sight."""
        count = len(self._leaves) // SEGMENT_LEAVES
        if not count:
            return
        size_bytes = sum(map(len, self._leaves))
        if size_bytes > STAGED_LEAVES * MAX_LEAF_BYTES:
            raise BadInput("its events are too long")
        first = self._frontier.size // SEGMENT_LEAVES
        with self._store.environment.writing(size_bytes) as txn:
            now = logs.read_record(txn, self._number)
            if now.size != self._record.size:
                raise Refused(
                    "another process is taking in the same log", hint="try again", code="busy"
                )
            roots = logs.put_segments(
                txn, self._number, first, self._leaves, self._hashes, 0, count
            )
        self._frontier = self._frontier.extend_subtrees(logs.SEGMENT_LEVEL, roots)
        del self._leaves[: count * SEGMENT_LEAVES]
        del self._hashes[: count * SEGMENT_LEAVES]

    def _make_visible(self, whole: Frontier) -> None:
        with self._store.environment.writing(sum(map(len, self._leaves))) as txn:
            now = logs.read_record(txn, self._number)
            if now.size != self._record.size:
                raise Refused(
                    "another process is taking in the same log", hint="try again", code="busy"
                )
            sealed = whole.size // SEGMENT_LEAVES * SEGMENT_LEAVES
            for seq in range(self._start, min(self._record.size, sealed)):
                txn.delete("tail", logs.tail_key(self._number, seq))
            tail = [
                (logs.tail_key(self._number, sealed + index), leaf)
                for index, leaf in enumerate(self._leaves)
            ]
            txn.put_many("tail", tail)
            now.size, now.nodes, now.head = whole.size, whole.nodes, self._head.signed
            logs.write_record(txn, self._number, now)
