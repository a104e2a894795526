"""The fold: `fold(state, cut, logs, genesis)` closes one epoch. Pure and deterministic.

Phases: 1 accounts, devices, forks; 2 registrations; 3 money; 4 receipts; 5 confirm, cancel,
dispute, challenge, verdict; 6 maturing and splitting; 7 redeem and payout; 8 witness set. Inside a
phase: first the events parked for it, then the epoch's own, both in ledger order.

The state digest of an epoch is `H("delta", previous digest, [[key, value | nil], ...])` over the
changes, ascending by key, without the record `h` that stores the digest itself; before epoch 0
stands the ledger id. Its cost follows the epoch, not the state.

Memory is bounded by what the epoch touches. Nothing made here is part of a reference cycle: a
caller that folds much may call `gc.freeze()` or disable collection meanwhile.
"""

from __future__ import annotations

import hashlib
from bisect import insort
from dataclasses import dataclass
from typing import Final

import msgspec

from openledger_node.credit import (
    journal,
    phase_accounts,
    phase_answers,
    phase_money,
    phase_receipts,
    phase_redeem,
    phase_registrations,
    phase_splits,
    phase_witness,
    state_records,
)
from openledger_node.credit.books import Books
from openledger_node.credit.inputs import Cut, LogReader, StateReader
from openledger_node.credit.overlay import Delta
from openledger_node.credit.parking import Item
from openledger_node.credit.phase_registrations import HandlerTable
from openledger_node.credit.reading import FORK, Reading
from openledger_node.credit.statement import Statement, make_rows
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import Refused
from openledger_node.ledger.genesis import RULES_VERSION, Genesis
from openledger_node.ledger.merkle import EMPTY_ROOT
from openledger_node.ledger.votes import seat_set_digest

PHASES: Final = 8
DIGEST_CHUNK: Final = 128
"""Changes encoded at a time for the digest. Below 2^16: the array header of a chunk is 3 bytes."""
_EVENT_PHASES: Final[tuple[tuple[int, HandlerTable], ...]] = (
    (2, phase_registrations.HANDLERS),
    (3, phase_money.HANDLERS),
    (4, phase_receipts.HANDLERS),
    (5, phase_answers.HANDLERS),
    (7, phase_redeem.HANDLERS),
    (8, phase_witness.HANDLERS),
)
PHASE_OF: Final[dict[str, int]] = {
    FORK: 1,
    **{kind: phase for phase, table in _EVENT_PHASES for kind in table},
}
"""The phase in which the fold reads each kind. Key events are read before all of them; other kinds
never.
"""


class ConservationBroken(Exception):
    """The books of an epoch do not balance: a defect of this program, never of its input. Nothing
    may be stored.
    """


@dataclass(frozen=True, slots=True)
class FoldCounts:
    """What an epoch was made of, for showing."""

    events_read: int
    void: int
    parked: int
    receipts: int
    contributions: int
    accounts_changed: int


@dataclass(frozen=True)
class Folded:
    """What an epoch came to. The new state is the old one overlaid with `delta` (None: removed)."""

    epoch: int
    cut_id: bytes
    delta: tuple[tuple[bytes, bytes | None], ...]
    state_digest: bytes
    statement: Statement
    journal: bytes
    next_set_digest: bytes
    rules_version: int
    counts: FoldCounts


def initial_state(genesis: Genesis) -> Folded:
    """Epoch 0, the empty cut: the rules of the genesis, no accounts, no credits."""
    rules = state_records.Rules(
        0, genesis.rules_version, genesis.params, genesis.seat_keys, genesis.issuers, ()
    )
    changes: Delta = [
        (state_records.EPOCH, encode(state_records.EpochMark(0, EMPTY_ROOT))),
        (state_records.RULES, encode(rules)),
        (state_records.TOTALS, encode(state_records.Totals(0, 0, 0, 0, 0))),
    ]
    delta, digest = _with_digest(changes, genesis.ledger_id)
    empty = journal.Journal(
        journal.JOURNAL_VERSION, 0, EMPTY_ROOT, genesis.params.unattributed, [], [], [], [], []
    )
    return Folded(
        0,
        EMPTY_ROOT,
        delta,
        digest,
        Statement(0, EMPTY_ROOT, ()),
        empty.encode(),
        _set_digest(rules),
        genesis.rules_version,
        FoldCounts(0, 0, 0, 0, 0, 0),
    )


def fold(state: StateReader, cut: Cut, logs: LogReader, genesis: Genesis) -> Folded:
    """Folds the epoch that `cut` closes over the state of the epoch before it.

    `cut.changed` names the logs that grew since the previous cut, in any order; `logs` gives their
    leaves, and those of earlier cuts. Refused (`rules_version_unknown`) when the rules in force are
    of another version, (`wrong_epoch`) when the state is not that of the epoch before.
    ConservationBroken when the books do not balance.
    """
    books = Books(state, genesis.ledger_id, cut.epoch, cut.cut_id, PHASE_OF)
    version = books.rules.version
    if version != RULES_VERSION:
        raise Refused(
            f"epoch {cut.epoch} follows rules version {version}, not {RULES_VERSION}",
            hint="upgrade openledger-node, then close the epoch again",
            code="rules_version_unknown",
        )
    if cut.epoch != books.tables.last.epoch + 1:
        raise Refused(
            f"epoch {cut.epoch} cannot follow epoch {books.tables.last.epoch}", code="wrong_epoch"
        )
    _run_phases(books, cut, logs)
    _check_conservation(books)
    return _finish(books, state)


def _run_phases(books: Books, cut: Cut, logs: LogReader) -> None:
    books.parking.begin(1)
    reading = Reading(books, cut, logs, PHASE_OF, PHASES)
    phase_accounts.run_key_events(books, reading)
    reading.read_newly_authorised()
    if reading.closed:
        reading.drop_closed()
    phase_accounts.run_forks(books, reading)
    if reading.closed:
        reading.drop_closed()
    phase_accounts.void_unreadable(books, reading)
    reading.finish()
    inbox = reading.inbox
    for phase, table in _EVENT_PHASES:
        if phase == 7:
            books.parking.begin(6)
            phase_splits.run_splits(books)
        items, inbox[phase] = books.parking.begin(phase) + inbox[phase], []
        _run_phase(books, table, items)
    phase_redeem.run_standing(books)
    phase_witness.run_change(books)


def _run_phase(books: Books, table: HandlerTable, items: list[Item]) -> None:
    """Handles `items` in order, each followed by what waited for it.

    The list is used up: an event's leaf is let go of as soon as it was handled.
    """
    parking = books.parking
    stack = parking.stack
    items.reverse()
    while items:
        item = items.pop()
        decode, handler = table[item.kind]
        try:
            body = decode(item.body)
        except msgspec.DecodeError:
            books.void(item, "L2", "malformed")
        else:
            handler(books, item, body)
        while stack:
            woken = stack.pop()
            if not parking.waits_again(woken):
                items.append(woken)
                break


def _check_conservation(books: Books) -> None:
    """Invariant 2, as changes of this epoch: what moved sums to what was issued."""
    purses, totals = books.tables.purses, books.totals
    moved = 0
    for account in purses.changed:
        purse, opening = purses.live[account], purses.opening[account]
        if purse is None or purse.balance < 0 or purse.locked < 0:
            raise ConservationBroken(f"account {account.hex()} holds less than nothing")
        moved += purse.balance + purse.locked - opening[0] - opening[1]
    issued, burned, pool, escrow = books.opening_totals
    moved += totals.burned - burned + totals.pool - pool + totals.escrow - escrow
    if moved != totals.issued - issued:
        raise ConservationBroken(
            f"epoch {books.epoch} moved {moved} and issued {totals.issued - issued} micro-credits"
        )


def _finish(books: Books, state: StateReader) -> Folded:
    tables = books.tables
    tables.last.epoch, tables.last.cut_id = books.epoch, books.cut_id
    statement = Statement(books.epoch, books.cut_id, make_rows(state, tables.purses))
    previous = state.get(state_records.DIGEST)
    if previous is None:
        raise KeyError("the state has no digest: it was never begun")
    delta, digest = _with_digest(tables.delta(), msgspec.msgpack.decode(previous, type=bytes))
    written = _journal(books)
    rules = tables.next_rules()
    counts = FoldCounts(
        books.events_read,
        len(written.voids),
        len(written.parked),
        books.receipts_made,
        books.totals.serial - books.opening_serial,
        len(tables.purses.changed),
    )
    return Folded(
        books.epoch,
        books.cut_id,
        delta,
        digest,
        statement,
        written.encode(),
        _set_digest(rules),
        rules.version,
        counts,
    )


def _with_digest(
    changes: Delta, previous: bytes
) -> tuple[tuple[tuple[bytes, bytes | None], ...], bytes]:
    """The delta with the digest's own record in its place, and the digest over the rest.

    `changes` ascend by key; no two have the same.
    """
    digest = delta_digest(previous, changes)
    insort(changes, (state_records.DIGEST, encode(digest)))
    return tuple(changes), digest


def delta_digest(previous: bytes, changes: Delta) -> bytes:
    """`H("delta", previous, changes)`, encoded a chunk at a time: an epoch's changes are about as
    large as its events, and are not copied whole for their hash.
    """
    count = len(changes)
    if count < 16:
        header = bytes([0x90 | count])
    elif count < 2**16:
        header = b"\xdc" + count.to_bytes(2, "big")
    else:
        header = b"\xdd" + count.to_bytes(4, "big")
    hashed = hashlib.sha256(encode(["oln/delta/1", previous, []])[:-1] + header)
    for first in range(0, count, DIGEST_CHUNK):
        chunk = changes[first : first + DIGEST_CHUNK]
        hashed.update(encode(chunk)[1 if len(chunk) < 16 else 3 :])
    return hashed.digest()


def _set_digest(rules: state_records.Rules) -> bytes:
    return seat_set_digest(rules.number, rules.seats, rules.version, rules.params, rules.issuers)


def _journal(books: Books) -> journal.Journal:
    effects, moved = books.effects, books.moved
    receipts = [
        journal.ReceiptEntry(receipt_id, effects[receipt_id], moved.get(receipt_id, 0))
        for receipt_id in sorted(effects)
    ]
    tables = books.tables
    voids = [
        journal.VoidEntry(event_id, void.rule, void.code)
        for event_id in sorted(tables.voids.changed)
        if (void := tables.voids.get(event_id)) is not None
    ]
    parked = [
        journal.ParkedEntry(event_id, record.awaits or b"")
        for event_id in sorted(tables.parked.changed)
        if (record := tables.parked.get(event_id)) is not None
    ]
    return journal.Journal(
        journal.JOURNAL_VERSION,
        books.epoch,
        books.cut_id,
        books.params.unattributed,
        receipts,
        books.movements,
        books.escrow_paid,
        voids,
        parked,
    )
