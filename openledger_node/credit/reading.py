"""Reading a cut: which leaves of which logs count in an epoch, and into which phase each event
goes.

- D1 An event's author is the account in its log's genesis (leaf 0). A log with a bad leaf 0, or of
  another ledger, is never read.
- New leaves of authorised logs are decoded once and sorted into phases. Those of other logs are
  searched for key events, by a cheap test on their first bytes; once a key event has authorised
  such a log, it is read from leaf 0.
- Logs are read in ledger order, SHA-256(cut_id || log_id), and each log in the order of its leaves;
  so each phase's list is in ledger order as it comes.
- Nothing at or beyond a log's closure counts, also when this very epoch closes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from openledger_node.credit.books import Books
from openledger_node.credit.inputs import Cut, LogReader
from openledger_node.credit.parking import Item, ledger_order
from openledger_node.credit.state_records import Chain, Listed, Log, Shares
from openledger_node.ledger.accounts import KEY_EVENT_KINDS
from openledger_node.ledger.errors import BadInput, StoreDamaged
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
KIND_WITHIN_BYTES: Final = 24
"""A leaf's kind begins after at most 1 + 1 + 9 + 2 bytes of headers, version and seq."""

UNREADABLE: Final = ""
"""The kind of an event that is void by its form alone; its body is then the reason's code."""
FORK: Final = "log.fork"
KEY_EVENT: Final = 0
"""Where key events go instead of a phase of the inbox."""


@dataclass(slots=True)
class KeyEventFound:
    """A key event, typed but not judged."""

    event_id: bytes
    log_id: bytes
    seq: int
    kind: str
    body: Any


class Reading:
    """The logs of one epoch's cut: `inbox` has the events of each phase, `key_events` those of K4.

    Phase 1 of the inbox gets forks and what is void by its form.
    """

    def __init__(
        self, books: Books, cut: Cut, logs: LogReader, phase_of: Mapping[str, int], phases: int
    ) -> None:
        self.books = books
        self.logs = logs
        self.previous: dict[bytes, int] = {}
        self.newly_authorised: list[bytes] = []
        self.closed = False
        self.key_events: list[tuple[bytes, KeyEventFound]] = []
        self.inbox: list[list[Item]] = [[] for _ in range(phases + 1)]
        self._phase_of = {**phase_of, **dict.fromkeys(KEY_EVENT_KINDS, KEY_EVENT)}
        self._routes = {kind: (kind, self.inbox[phase]) for kind, phase in phase_of.items()}
        self._read: dict[bytes, None] = {}
        self._key_events_ran = False
        self._table = books.tables.logs
        self._devices: dict[bytes, tuple[Chain, dict[bytes, Shares | None]]] = {}
        for mark in cut.changed:
            self._admit(mark.log_id, mark.size)
        orders = [
            (hashlib.sha256(cut.cut_id + log_id).digest(), log_id) for log_id in self.previous
        ]
        for order, log_id in sorted(orders):
            if self._table.known(log_id).authorised:
                self._read_log(log_id, order)
            else:
                self._search_log(log_id)

    def _admit(self, log_id: bytes, size: int) -> None:
        record = self._table.get(log_id)
        if record is None:
            record = self._first_sight(log_id)
        self.previous[log_id] = record.mark
        record.mark = max(record.mark, size)
        self._table.touch(log_id)

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
        devices = self._devices_of(account)
        if device in devices:
            retired = devices[device]
            record.authorised = 1
            record.closed_at = None if retired is None else dict(retired).get(log_id, 0)
        self._table.put(log_id, record)
        self.books.tables.device_logs.put(account + device + log_id, Listed())
        return record

    def _devices_of(self, account: bytes) -> dict[bytes, Shares | None]:
        """The devices of an account's chain as it is now, with what their retirement closed."""
        chain = self.books.tables.chains.get(account)
        if chain is None:
            return {}
        known = self._devices.get(account)
        if known is None or known[0] is not chain:
            known = self._devices[account] = (chain, dict(chain.devices))
        return known[1]

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

    def _search_log(self, log_id: bytes) -> None:
        """Looks for key events in the new leaves of a log whose device is not enrolled."""
        account = self._table.known(log_id).account
        if account is None:
            return
        for first, leaves in self._chunks(log_id, self.previous[log_id], self.limit(log_id)):
            candidates = [
                (seq, leaf)
                for seq, leaf in enumerate(leaves, first)
                if b"account." in leaf[:KIND_WITHIN_BYTES]
            ]
            for seq, leaf in candidates:
                try:
                    event = parse_event(leaf)
                except BadInput:
                    continue
                if event.kind in KEY_EVENT_KINDS:
                    self._key_event(account, log_id, event, event_id(log_id, seq, leaf))

    def _key_event(self, account: bytes, log_id: bytes, event: Event, this_id: bytes) -> None:
        try:
            body = parse_raw_body(event.kind, event.body)
        except BadInput:
            self.books.void_id(this_id, "L2", "malformed")
            return
        if body.account_id != account:
            self.books.void_id(this_id, "K4", "other_account")
            return
        found = KeyEventFound(this_id, log_id, event.seq, event.kind, body)
        self.key_events.append((account, found))

    def _chunks(self, log_id: bytes, start: int, stop: int) -> Iterator[tuple[int, list[bytes]]]:
        for first in range(start, stop, CHUNK_LEAVES):
            end = min(first + CHUNK_LEAVES, stop)
            leaves = list(self.logs.leaves(log_id, first, end))
            if len(leaves) != end - first:
                raise StoreDamaged(
                    f"log {log_id.hex()} holds {first + len(leaves)} leaves, its mark names {stop}",
                    hint="run `oln check`",
                )
            yield first, leaves

    def _read_log(self, log_id: bytes, order: bytes) -> None:
        """Sorts the unread leaves of an authorised log into phases."""
        record = self._table.known(log_id)
        self._read[log_id] = None
        for first, leaves in self._chunks(log_id, record.read_to, self.limit(log_id)):
            self.books.events_read += len(leaves)
            self._route(log_id, order, first, leaves)

    def _route(self, log_id: bytes, order: bytes, first: int, leaves: list[bytes]) -> None:
        """This loop runs once for every event of the ledger."""
        record = self._table.known(log_id)
        account, device, epoch = record.account, record.device, self.books.epoch
        if account is None or device is None:
            return
        try:
            events: Sequence[Event | None] = list(map(_event_decoder.decode, leaves))
        except msgspec.DecodeError:
            events = [_event_or_none(leaf) for leaf in leaves]
        # An event whose leaf is no longer than a body may be needs no look at its body's length.
        routes = self._routes if max(map(len, leaves)) <= MAX_BODY_BYTES else {}
        seq = first
        for event, this_id in zip(events, event_ids(log_id, first, leaves), strict=True):
            if event is not None and (route := routes.get(event.kind)) is not None:
                kind, items = route
                items.append(
                    Item(this_id, kind, account, device, log_id, order, seq, epoch, event.body)
                )
            elif found := self._unusual(event, account, log_id, seq, this_id):
                phase, kind, body = found
                self.inbox[phase].append(
                    Item(this_id, kind, account, device, log_id, order, seq, epoch, body)
                )
            seq += 1

    def _unusual(
        self, event: Event | None, account: bytes, log_id: bytes, seq: int, this_id: bytes
    ) -> tuple[int, str, msgspec.Raw | bytes] | None:
        """(phase, kind, body) of an event that is not plainly of a phase; None: it goes nowhere."""
        if event is None:
            return 1, UNREADABLE, b"not_an_event"
        kind = event.kind
        phase = self._phase_of.get(kind)
        if phase is None:
            return (1, UNREADABLE, b"log_open") if kind == "log.open" and seq else None
        if phase == KEY_EVENT:
            if not self._key_events_ran:
                self._key_event(account, log_id, event, this_id)
            return None
        if len(memoryview(event.body)) > max_body_bytes(kind):
            return 1, UNREADABLE, b"too_long"
        return phase, kind, event.body

    def read_newly_authorised(self) -> None:
        """After the key events: reads the logs they authorised, each from leaf 0."""
        self._key_events_ran = True
        if not self.newly_authorised:
            return
        for log_id in dict.fromkeys(self.newly_authorised):
            self._read_log(log_id, hashlib.sha256(self.books.cut_id + log_id).digest())
        for items in self.inbox:
            items.sort(key=ledger_order)

    def drop_closed(self) -> None:
        """Takes out of the inbox what lies at or beyond a closure that this epoch made."""
        limits = {log_id: self.limit(log_id) for log_id in self._read}
        for items in self.inbox:
            items[:] = [item for item in items if item.seq < limits[item.log_id]]

    def finish(self) -> None:
        """Notes how far each log was read."""
        for log_id in self._read:
            self._table.known(log_id).read_to = self.limit(log_id)
            self._table.touch(log_id)


_event_decoder = msgspec.msgpack.Decoder(Event)


def _event_or_none(leaf: bytes) -> Event | None:
    try:
        return _event_decoder.decode(leaf)
    except msgspec.DecodeError:
        return None
