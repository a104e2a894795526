"""The logs in a view of the store: their leaves, their trees, their histories, events by id."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from openledger_node.ledger.errors import UsageError
from openledger_node.ledger.events import SEGMENT_LEAVES, LogGenesis, event_ids
from openledger_node.ledger.heads import Mark, SignedHead
from openledger_node.ledger.merkle import (
    NodeSource,
    consistency_path,
    inclusion_path,
    leaf_hashes,
    root_at,
    root_of_hashes,
)
from openledger_node.store import logs
from openledger_node.store.logs import SEGMENT_LEVEL, LogRecord, decode_record
from openledger_node.store.view import View

ID_PREFIX_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class LogInfo:
    """A log held here. `size` counts durable leaves, `head` the signed ones (never more)."""

    number: int
    log_id: bytes
    genesis: LogGenesis
    size: int
    head: SignedHead | None
    own: bool


class LogsView(View):
    """Every log that is held here."""

    def logs(self) -> Iterator[LogInfo]:
        """Every log held, in the order they came."""
        for key, stored in self._txn.scan("logs"):
            record = decode_record(stored)
            if record.own != logs.SET_ASIDE:
                yield _info(int.from_bytes(key, "big"), record)

    def marks(self) -> Iterator[Mark]:
        """The mark of every log that has a head."""
        for _, stored in self._txn.scan("logs"):
            record = decode_record(stored)
            if record.head is not None and record.own != logs.SET_ASIDE:
                yield record.head.mark

    def histories(self, log_id: bytes) -> list[LogInfo]:
        """Every branch of a log that is held: the shown one first (S8)."""
        number = logs.log_number(self._txn, log_id)
        if number is None:
            return []
        numbers = [number, *logs.branches(self._txn, log_id)]
        return [_info(n, logs.read_record(self._txn, n)) for n in numbers]

    def root_of(self, number: int, size: int) -> bytes:
        """The root over the first `size` leaves of the history with this number."""
        return root_at(self._source(number), size)

    def source(self, number: int) -> NodeSource:
        """The nodes of the tree of the history with this number."""
        return self._source(number)

    def spine(self, number: int, first_segment: int, size: int) -> bytes:
        """Roots of segments from one on, the last of what there is of it at `size`: 32 bytes each.

        Of a history by its number.
        """
        return b"".join(logs.spine_at(self._txn, number, first_segment, size))

    def leaf_run(
        self, number: int, first: int, stop: int, max_bytes: int
    ) -> tuple[int, bytes, bytes]:
        """Leaves of a history by its number, as they travel: see `logs.leaf_run`."""
        return logs.leaf_run(self._txn, number, first, stop, max_bytes)

    def log(self, log_id: bytes) -> LogInfo | None:
        number = logs.log_number(self._txn, log_id)
        return None if number is None else _info(number, logs.read_record(self._txn, number))

    def _number(self, log_id: bytes) -> int:
        number = logs.log_number(self._txn, log_id)
        if number is None:
            raise UsageError(f"log {log_id.hex()[:16]} is not held here", code="unknown_id")
        return number

    def leaves(self, log_id: bytes, start: int, stop: int) -> list[bytes]:
        """Leaves [start, stop), their seals checked."""
        return logs.read_leaves(self._txn, self._number(log_id), start, stop)

    def leaves_of(self, number: int, start: int, stop: int) -> list[bytes]:
        """Leaves [start, stop) of the history with this number."""
        return logs.read_leaves(self._txn, number, start, stop)

    def last_change(self, log_id: bytes) -> int:
        """The last epoch whose cut a log grew in; 0 when it is in none."""
        keys = [key for key, _ in self._txn.scan("cutsizes", log_id)]
        return int.from_bytes(keys[-1][len(log_id) :], "big") if keys else 0

    def iter_leaves(self, log_id: bytes, start: int = 0) -> Iterator[list[bytes]]:
        """The leaves of a log from `start` on, a segment at a time."""
        number = self._number(log_id)
        size = logs.read_record(self._txn, number).size
        while start < size:
            stop = min(size, (start // SEGMENT_LEAVES + 1) * SEGMENT_LEAVES)
            yield logs.read_leaves(self._txn, number, start, stop)
            start = stop

    def _source(self, number: int) -> NodeSource:
        """Nodes of a log's tree: the spine's above a segment, re-hashed leaves below."""
        held: dict[int, list[bytes]] = {}

        def source(level: int, index: int) -> bytes:
            if level >= SEGMENT_LEVEL:
                width = 1 << (level - SEGMENT_LEVEL)
                return root_of_hashes(logs.read_spine(self._txn, number, index * width, width))
            first = index << level
            segment = first // SEGMENT_LEAVES
            if segment not in held:
                size = logs.read_record(self._txn, number).size
                start = segment * SEGMENT_LEAVES
                stop = min(size, start + SEGMENT_LEAVES)
                held[segment] = leaf_hashes(logs.read_leaves(self._txn, number, start, stop))
            offset = first - segment * SEGMENT_LEAVES
            return root_of_hashes(held[segment][offset : offset + (1 << level)])

        return source

    def root_at(self, log_id: bytes, size: int) -> bytes:
        """The root over the first `size` leaves."""
        return root_at(self._source(self._number(log_id)), size)

    def inclusion(self, log_id: bytes, seq: int, size: int) -> list[bytes]:
        """The path from leaf `seq` to the root at `size` (M2)."""
        return inclusion_path(self._source(self._number(log_id)), seq, size)

    def consistency(self, log_id: bytes, old_size: int, size: int) -> list[bytes]:
        """The path that shows the first `old_size` leaves to be a prefix of the first `size`."""
        return consistency_path(self._source(self._number(log_id)), old_size, size)

    def find_event(self, prefix: bytes) -> list[tuple[bytes, int, bytes]]:
        """[(log id, seq, event id)] of the events whose id begins with `prefix` (4 bytes or more).

        Segments that `Store.index_ids` has not indexed yet are hashed here.
        """
        found = []
        wanted = prefix[:ID_PREFIX_BYTES]
        for log in self.logs():
            for segment in range(log.size // SEGMENT_LEAVES):
                ids = self._txn.get("ids", logs.segment_key(log.number, segment))
                if ids is None or _holds(ids, wanted):
                    found += self._matches(log, segment * SEGMENT_LEAVES, prefix)
            found += self._matches(log, log.size // SEGMENT_LEAVES * SEGMENT_LEAVES, prefix)
        return found

    def _matches(self, log: LogInfo, start: int, prefix: bytes) -> list[tuple[bytes, int, bytes]]:
        stop = min(log.size, start + SEGMENT_LEAVES)
        leaves = logs.read_leaves(self._txn, log.number, start, stop)
        return [
            (log.log_id, start + index, event_id)
            for index, event_id in enumerate(event_ids(log.log_id, start, leaves))
            if event_id.startswith(prefix)
        ]


def _info(number: int, record: LogRecord) -> LogInfo:
    own = record.own in (logs.OWN, logs.WENT_ON)
    return LogInfo(number, record.log_id, record.genesis, record.size, record.head, own)


def _holds(ids: bytes, wanted: bytes) -> bool:
    """Whether one of the 8-byte prefixes in `ids` begins with `wanted`."""
    at = ids.find(wanted)
    while at >= 0:
        if at % ID_PREFIX_BYTES == 0:
            return True
        at = ids.find(wanted, at + 1)
    return False
