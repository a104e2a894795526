"""Holding a history that comes in to the one held here: where it differs, the fork is proved.

Leaves are read and compared a chunk at a time. Of a history that differs only the segment roots are
kept, and the leaf hashes of the segment in which it does (Y32), so that a long log's fork costs no
more memory than another log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.events import SEGMENT_LEAVES
from openledger_node.ledger.forks import ForkEvidence
from openledger_node.ledger.heads import VerifiedHead, verify_head
from openledger_node.ledger.merkle import leaf_hashes, root_of_hashes
from openledger_node.store import logs
from openledger_node.store.logs import LogRecord
from openledger_node.store.store import Store
from openledger_node.sync.fork_finding import History, prove_between
from openledger_node.sync.intake import Intake, PrefixMismatch


class Incoming:
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


def compare(
    store: Store, number: int, held: int, incoming: Incoming
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


def prove_against_held(
    store: Store,
    number: int,
    record: LogRecord,
    theirs: VerifiedHead,
    common: int,
    incoming: Incoming,
) -> ForkEvidence:
    """The proof that `theirs` and the head held here fork at leaf `common`.

    `incoming` goes on from there. BadInput when it is not what `theirs` covers, or when no signed
    head of this history reaches that leaf.
    """
    segment = common // SEGMENT_LEAVES
    start = segment * SEGMENT_LEAVES
    with store.environment.reading() as txn:
        before = logs.frontier_at(txn, number, record, start)
        shared = logs.read_leaves(txn, number, start, common)
        spine = logs.read_spine(txn, number, 0, segment)
    other = _Roots(theirs, Intake(theirs, before, shared), spine)
    for leaves in incoming:
        other.feed(leaves)
    incoming.finish()
    history = other.finish()
    if record.head is None or record.head.size <= common:
        raise BadInput("it contradicts events that are not signed yet")
    own = verify_head(record.head, record.genesis)
    with store.environment.reading() as txn:
        stop = min(own.size, start + SEGMENT_LEAVES)
        hashes = leaf_hashes(logs.read_leaves(txn, number, start, stop))
        roots = logs.spine_at(txn, number, 0, own.size)
    evidence = prove_between(History.of(own, roots, segment, hashes), history)
    if evidence is None:
        raise BadInput("its events differ from those held here")
    return evidence


class _Roots:
    """What a proof needs of the other history, as it comes: L2, the head's root, its roots."""

    def __init__(self, head: VerifiedHead, intake: Intake, spine: list[bytes]) -> None:
        self._head = head
        self._intake = intake
        self._segment = len(spine)
        self._roots = spine
        self._hashes: list[bytes] = []

    def feed(self, leaves: list[bytes]) -> None:
        sealed = self._intake.feed(leaves)
        if sealed is not None:
            self._roots += sealed.roots
            if not self._hashes:
                self._hashes = sealed.hashes[:SEGMENT_LEAVES]

    def finish(self) -> History:
        try:
            tail = self._intake.finish()
        except PrefixMismatch as error:
            raise BadInput(error.message) from None
        hashes = leaf_hashes(tail.leaves)
        if hashes:
            self._roots.append(root_of_hashes(hashes))
        return History(self._head, tuple(self._roots), self._segment, tuple(self._hashes or hashes))
