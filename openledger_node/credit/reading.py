"""Reading a cut: which leaves of which logs count in an epoch, and into which phase each event
goes.

- D1 An event's author is the account in its log's genesis (leaf 0). A log with a bad leaf 0, or of
  another ledger, is never read.
- Leaves are looked at twice. Pass A searches the new leaves of every log, authorised or not, for
  key events, by a cheap test on their first bytes. Pass B, after the key events took effect,
  decodes the leaves of authorised logs from where they were last read up to their mark or closure.
- Logs are read in ledger order, SHA-256(cut_id || log_id), and each log in the order of its leaves;
  so each phase's list is in ledger order as it comes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from openledger_node.credit.books import Books
from openledger_node.credit.inputs import Cut, LogReader
from openledger_node.credit.parking import Item
from openledger_node.credit.state_records import Listed, Log
from openledger_node.ledger.accounts import KEY_EVENT_KINDS
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.events import (
    MAX_BODY_BYTES,
    Event,
    LogGenesis,
    event_id,
    event_ids,
    parse_event,
    parse_log_open,
)
from openledger_node.ledger.kinds import max_body_bytes, parse_raw_body

CHUNK_LEAVES: Final = 4_096
MAX_KEPT_BYTES: Final = 64 * 1024 * 1024
"""Leaves that pass A keeps for pass B; what exceeds it is read twice."""
KIND_WITHIN_BYTES: Final = 24
"""A leaf's kind begins after at most 1 + 1 + 9 + 2 bytes of headers, version and seq."""

UNREADABLE: Final = ""
"""The kind of an event that is void by its form alone; its body is then the reason's code."""
FORK: Final = "log.fork"


@dataclass(slots=True)
class KeyEventFound:
    """A key event of pass A, typed but not judged."""

    event_id: bytes
    log_id: bytes
    seq: int
    kind: str
    body: Any


class Reading:
    """The logs of one epoch's cut."""

    def __init__(self, books: Books, cut: Cut, logs: LogReader) -> None:
        self.books = books
        self.logs = logs
        self.previous: dict[bytes, int] = {}
        self.to_read: set[bytes] = set()
        self._kept: dict[bytes, tuple[int, list[bytes]]] = {}
        self._kept_bytes = 0
        self._table = books.tables.logs
        for mark in cut.changed:
            self._admit(mark.log_id, mark.size)

    def _admit(self, log_id: bytes, size: int) -> None:
        record = self._table.get(log_id)
        if record is None:
            record = self._first_sight(log_id)
        self.previous[log_id] = record.mark
        record.mark = max(record.mark, size)
        self._table.touch(log_id)
        if record.authorised:
            self.to_read.add(log_id)

    def _first_sight(self, log_id: bytes) -> Log:
        try:
            genesis = parse_log_open(self.logs.leaves(log_id, 0, 1)[0])
        except BadInput:
            genesis = None
        if genesis is None or genesis.log_id != log_id or genesis.ledger_id != self.books.ledger_id:
            record = Log(None, None, 0, 0, 0, None)
            self._table.put(log_id, record)
            return record
        return self.new_log(genesis)

    def new_log(self, genesis: LogGenesis) -> Log:
        """The record of a log first heard of; closed from the start if its device was retired."""
        account, device, log_id = genesis.account_id, genesis.device, genesis.log_id
        record = Log(account, device, 0, 0, 0, None)
        chain = self.books.tables.chains.get(account)
        for key, retired in chain.devices if chain else ():
            if key == device:
                record.authorised = 1
                record.closed_at = None if retired is None else dict(retired).get(log_id, 0)
        self._table.put(log_id, record)
        self.books.tables.device_logs.put(account + device + log_id, Listed())
        return record

    def previous_mark(self, log_id: bytes) -> int:
        """The log's size in the previous cut, 0 if it was not in it."""
        if log_id in self.previous:
            return self.previous[log_id]
        record = self._table.get(log_id)
        return record.mark if record else 0

    def limit(self, log_id: bytes) -> int:
        """Where reading of a log stops: its mark, or its closure below it."""
        record = self._table.get(log_id)
        if record is None or record.account is None:
            return 0
        return record.mark if record.closed_at is None else min(record.mark, record.closed_at)

    def key_events(self) -> Iterator[tuple[bytes, KeyEventFound]]:
        """Pass A: (account, key event) of the new leaves; what is malformed or of another account
        becomes void.
        """
        for log_id, start in sorted(self.previous.items()):
            record = self._table.get(log_id)
            account = record.account if record else None
            if account is None:
                continue
            for first, leaves in self._chunks(log_id, start, self.limit(log_id)):
                self._keep(log_id, first, leaves)
                candidates = [
                    seq
                    for seq, leaf in enumerate(leaves, first)
                    if b"account." in leaf[:KIND_WITHIN_BYTES]
                ]
                for seq in candidates:
                    found = self._key_event(account, log_id, seq, leaves[seq - first])
                    if found is not None:
                        yield account, found

    def _key_event(
        self, account: bytes, log_id: bytes, seq: int, leaf: bytes
    ) -> KeyEventFound | None:
        try:
            event = parse_event(leaf)
        except BadInput:
            return None
        if event.kind not in KEY_EVENT_KINDS:
            return None
        this_id = event_id(log_id, seq, leaf)
        try:
            body = parse_raw_body(event.kind, event.body)
        except BadInput:
            self.books.void_id(this_id, "L2", "malformed")
            return None
        if body.account_id != account:
            self.books.void_id(this_id, "K4", "other_account")
            return None
        return KeyEventFound(this_id, log_id, seq, event.kind, body)

    def _keep(self, log_id: bytes, first: int, leaves: list[bytes]) -> None:
        if log_id not in self.to_read:
            return
        size_bytes = sum(map(len, leaves))
        if self._kept_bytes + size_bytes > MAX_KEPT_BYTES:
            return
        start, kept = self._kept.setdefault(log_id, (first, []))
        if start + len(kept) == first:
            kept += leaves
            self._kept_bytes += size_bytes

    def _chunks(self, log_id: bytes, start: int, stop: int) -> Iterator[tuple[int, list[bytes]]]:
        for first in range(start, stop, CHUNK_LEAVES):
            yield first, list(self.logs.leaves(log_id, first, min(first + CHUNK_LEAVES, stop)))

    def _unread_chunks(self, log_id: bytes) -> Iterator[tuple[int, list[bytes]]]:
        record = self._table.get(log_id)
        start = record.read_to if record else 0
        stop = self.limit(log_id)
        first, kept = self._kept.pop(log_id, (start, []))
        if first == start and kept:
            yield start, kept[: stop - start]
            start += len(kept)
        yield from self._chunks(log_id, start, stop)

    def inbox(self, phase_of: Mapping[str, int], phases: int) -> list[list[Item]]:
        """Pass B: the events of each phase, in ledger order. Phase 1 gets forks and what is void by
        its form.
        """
        inbox: list[list[Item]] = [[] for _ in range(phases + 1)]
        cut_id = self.books.cut_id
        orders = {
            log_id: hashlib.sha256(cut_id + log_id).digest() for log_id in sorted(self.to_read)
        }
        for log_id, order in sorted(orders.items(), key=lambda pair: pair[1]):
            for first, leaves in self._unread_chunks(log_id):
                self._route(log_id, order, first, leaves, phase_of, inbox)
        return inbox

    def _route(
        self,
        log_id: bytes,
        order: bytes,
        first: int,
        leaves: list[bytes],
        phase_of: Mapping[str, int],
        inbox: list[list[Item]],
    ) -> None:
        """Sorts a run of leaves into phases. This loop runs once for every event of the ledger."""
        record = self._table.get(log_id)
        if record is None or record.account is None or record.device is None:
            return
        account, device, epoch = record.account, record.device, self.books.epoch
        decode, phase = _event_decoder.decode, phase_of.get
        self.books.events_read += len(leaves)
        seq = first
        for leaf, this_id in zip(leaves, event_ids(log_id, first, leaves), strict=True):
            try:
                event = decode(leaf)
                kind = event.kind
                body: msgspec.Raw | bytes = event.body
                goes_to = phase(kind)
                if len(leaf) > MAX_BODY_BYTES and goes_to is not None:
                    if len(memoryview(body)) > max_body_bytes(kind):
                        kind, goes_to, body = UNREADABLE, 1, b"too_long"
                elif kind == "log.open" and seq:
                    kind, goes_to, body = UNREADABLE, 1, b"log_open"
            except msgspec.DecodeError:
                kind, goes_to, body = UNREADABLE, 1, b"not_an_event"
            if goes_to is not None:
                inbox[goes_to].append(
                    Item(this_id, kind, account, device, log_id, order, seq, epoch, body)
                )
            seq += 1

    def drop_closed(self, inbox: Sequence[list[Item]]) -> None:
        """Takes out what lies at or beyond a closure that this epoch's forks made."""
        for items in inbox:
            items[:] = [item for item in items if item.seq < self.limit(item.log_id)]

    def finish(self) -> None:
        """Notes how far each log was read."""
        for log_id in sorted(self.to_read):
            record = self._table.get(log_id)
            if record is not None:
                record.read_to = self.limit(log_id)
                self._table.touch(log_id)


_event_decoder = msgspec.msgpack.Decoder(Event)
