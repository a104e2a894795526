"""Re-hashing one log from its leaves up to the head that its device signed.

The leaves give the segments' roots, these the frontier, the frontier the root at the log's size and
at its head's; what the store keeps of each must be the same. A damaged segment is named and passed
over by the root that the spine has of it, so that the segments after it are still held to the head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from openledger_node.ledger.acceptance import first_fault
from openledger_node.ledger.errors import OlnError, StoreDamaged
from openledger_node.ledger.events import SEGMENT_LEAVES, event_id_of, parse_log_open
from openledger_node.ledger.heads import verify_head
from openledger_node.ledger.merkle import Frontier, leaf_hashes, root_of_hashes
from openledger_node.store import logs
from openledger_node.store.environment import Txn
from openledger_node.store.logs import LogRecord
from openledger_node.store.view_logs import ID_PREFIX_BYTES

Add = Callable[[str, str, str], None]
"""add(part, what, hint): takes one problem."""

FROM_PEER = "a peer or a backup can supply it"
REPAIR = "run `oln check --repair`"


def joined_ids(log_id: bytes, first_seq: int, hashes: list[bytes]) -> bytes:
    """What the index of ids holds for a segment."""
    return b"".join(
        [
            event_id_of(log_id, seq, digest)[:ID_PREFIX_BYTES]
            for seq, digest in enumerate(hashes, first_seq)
        ]
    )


class LogCheck:
    """The check of one log, in one view."""

    def __init__(self, txn: Txn, number: int, record: LogRecord, add: Add) -> None:
        self._txn = txn
        self._number = number
        self._record = record
        self._add = add
        self._name = f"log {record.log_id.hex()[:16]}"
        self._frontier = Frontier()
        self._at_head: Frontier | None = None

    def run(self, progress: Callable[[int], None]) -> None:
        record = self._record
        if record.genesis.log_id != record.log_id:
            self._add("logs", f"{self._name} has another log's genesis", FROM_PEER)
        if not self._segments(progress) or not self._tail():
            return
        progress(record.size)
        if self._frontier != record.frontier:
            self._add("logs", f"{self._name}: its nodes do not fit its events", FROM_PEER)
        self._head()

    def _segments(self, progress: Callable[[int], None]) -> bool:
        """Whether every sealed segment has a root to go on with."""
        for segment in range(self._record.size // SEGMENT_LEAVES):
            root = self._segment(segment)
            if root is None:
                return False
            self._frontier = self._frontier.extend_subtrees(logs.SEGMENT_LEVEL, [root])
            self._note_head()
            progress(self._frontier.size)
        return True

    def _segment(self, segment: int) -> bytes | None:
        """The segment's root: by its leaves, or by the spine when these are damaged."""
        key = logs.segment_key(self._number, segment)
        start = segment * SEGMENT_LEAVES
        where = f"{self._name}, events {start} to {start + SEGMENT_LEAVES - 1}"
        in_spine = self._quietly("spine", key)
        hashes = self._sealed(where, key, start)
        if hashes is None:
            if in_spine is None:
                self._add("spine", f"{where}: the segment's root is lost too", FROM_PEER)
            return in_spine
        root = root_of_hashes(hashes)
        if in_spine != root:
            self._add("spine", f"{where}: the root kept is not that of the events", REPAIR)
        ids = self._quietly("ids", key)
        if ids is not None and ids != joined_ids(self._record.log_id, start, hashes):
            self._add("ids", f"{where}: the index of ids does not fit", REPAIR)
        head = self._record.head
        if head is not None and start < head.size < start + SEGMENT_LEAVES:
            self._at_head = self._frontier.extend(hashes[: head.size - start])
        return root

    def _sealed(self, where: str, key: bytes, start: int) -> list[bytes] | None:
        """The leaf hashes of a segment that is what its own root says; None, named, otherwise."""
        try:
            value = self._txn.get("segments", key)
            if value is None:
                raise StoreDamaged("the segment is missing")
            leaves = logs.unpack_segment(value)
        except StoreDamaged as error:
            self._add("segments", f"{where}: {error.message}", FROM_PEER)
            return None
        self._accept(leaves, start)
        hashes = leaf_hashes(leaves)
        if root_of_hashes(hashes) != logs.segment_root(value):
            self._add("segments", f"{where}: the events do not have their root", FROM_PEER)
            return None
        return hashes

    def _accept(self, leaves: list[bytes], start: int) -> None:
        refused = first_fault(leaves, start)
        if refused:
            self._add("segments", f"{self._name}, event {refused[0]}: {refused[1]}", FROM_PEER)
        if start == 0 and leaves:
            try:
                fits = parse_log_open(leaves[0]) == self._record.genesis
            except OlnError:
                fits = False
            if not fits:
                self._add("logs", f"{self._name}: its first event is not its genesis", FROM_PEER)

    def _tail(self) -> bool:
        start = self._frontier.size
        try:
            leaves = logs.read_tail(self._txn, self._number, start, self._record.size)
        except StoreDamaged as error:
            self._add("tail", f"{self._name}: {error.message}", FROM_PEER)
            return False
        self._accept(leaves, start)
        hashes = leaf_hashes(leaves)
        head = self._record.head
        if head is not None and start < head.size <= self._record.size:
            self._at_head = self._frontier.extend(hashes[: head.size - start])
        self._frontier = self._frontier.extend(hashes)
        return True

    def _note_head(self) -> None:
        if self._record.head is not None and self._frontier.size == self._record.head.size:
            self._at_head = self._frontier

    def _head(self) -> None:
        record = self._record
        if record.head is None:
            if record.size and record.own != logs.OWN:
                self._add("logs", f"{self._name} has no signed head", FROM_PEER)
            return
        if self._at_head is None:
            self._add("logs", f"{self._name} is shorter than its signed head", FROM_PEER)
        elif self._at_head.root() != record.head.root:
            self._add("logs", f"{self._name} does not have the root that was signed", FROM_PEER)
        try:
            verify_head(record.head, record.genesis)
        except OlnError as error:
            self._add("logs", f"{self._name}: {error.message}", FROM_PEER)

    def _quietly(self, name: str, key: bytes) -> bytes | None:
        """A value whose damage has been named already."""
        try:
            return self._txn.get(name, key)
        except StoreDamaged:
            return None

    def derived(self) -> Iterator[tuple[str, bytes, bytes]]:
        """(database, key, value) of what follows from the undamaged segments."""
        for segment in range(self._record.size // SEGMENT_LEAVES):
            key = logs.segment_key(self._number, segment)
            start = segment * SEGMENT_LEAVES
            hashes = self._sealed("", key, start)
            if hashes is not None:
                yield "spine", key, root_of_hashes(hashes)
                yield "ids", key, joined_ids(self._record.log_id, start, hashes)
