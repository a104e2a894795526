"""Phase 6: what falls due matures, and what was released is divided.

- C4 A receipt matures at its epoch + `maturity_epochs`, unless it is disputed or challenged: then
  when both have ended. A dispute that nobody ended in `dispute_epochs` goes to the network pool,
  not before the end of a challenge.
- C5, C6, C7 The network fee goes to the pool; the data part to the contributions by ppm; the
  unattributed part back to the payer, or by the model's declared weights.
- C8, C10 What was released to an artefact in this epoch is divided once: floors to its ancestors,
  the rest to its creators; who has not accepted accrues in escrow.
- C2 Grants that expire return what is left. What is parked for too long is void.
"""

from __future__ import annotations

from collections.abc import Iterator

from openledger_node.credit import journal
from openledger_node.credit.books import Books
from openledger_node.credit.phase_answers import take_effect
from openledger_node.credit.settling import Dues
from openledger_node.credit.splits import creator_parts, floor_parts
from openledger_node.credit.state_records import (
    HELD,
    MATURED,
    POOLED,
    Amount,
    Contribution,
    Model,
    Receipt,
    epoch_key,
)


def run_splits(books: Books) -> None:
    """Phase 6, whole."""
    key = epoch_key(books.epoch)
    agenda = books.tables.agendas.get(key)
    candidates = dict(books.due)
    if agenda is not None:
        for ids in (agenda.maturing, agenda.disputes, agenda.holds):
            candidates.update(dict.fromkeys(ids))
        books.tables.agendas.remove(key)
    for receipt_id in candidates:
        _fall_due(books, receipt_id)
    settling = books.settling
    settling.write()
    books.totals.pool += settling.pool
    _pay_declared(books)
    _divide(books, settling.contributions, True)
    _divide(books, settling.models, False)
    _pay_escrow(books)
    for grant_id in agenda.grants if agenda is not None else ():
        _return_grant(books, grant_id)
    for item in books.parking.lapsing(books.epoch, books.params.park_epochs):
        books.void(item, "PARK", "lapsed")


def _fall_due(books: Books, receipt_id: bytes) -> None:
    """Does what is due of a receipt: it matures, unless something holds it."""
    receipt = books.tables.receipts.get(receipt_id)
    if receipt is None or receipt.status != HELD or not _free(books, receipt_id, receipt):
        return
    if receipt.matures <= books.epoch:
        settling = books.settling
        effects = settling.settle(receipt_id, receipt, receipt.released, settling.dues_of(receipt))
        if effects:
            books.note(receipt_id, effects)
        receipt.status, receipt.released = MATURED, 1
        books.tables.receipts.file(receipt_id, receipt)


def _free(books: Books, receipt_id: bytes, receipt: Receipt) -> bool:
    """Ends a challenge or dispute whose time is over; whether nothing holds the receipt then."""
    epoch = books.epoch
    if receipt.held_until is not None:
        if receipt.held_until > epoch:
            return False
        receipt.held_until = None
        books.tables.receipts.touch(receipt_id)
        if receipt.confirmed:
            take_effect(books, receipt_id, receipt)
    if receipt.disputed_until is None:
        return True
    if receipt.disputed_until <= epoch:
        _pool(books, receipt_id, receipt)
    return False


def _pool(books: Books, receipt_id: bytes, receipt: Receipt) -> None:
    amount = receipt.held
    receipt.status = POOLED
    receipt.disputed_until = None
    books.tables.receipts.touch(receipt_id)
    if receipt.payer is not None and amount:
        books.tables.purses.known(receipt.payer).locked -= amount
        books.totals.pool += amount
        books.note(receipt_id, journal.POOLED, amount)


def _pay_declared(books: Books) -> None:
    """C7 under `trained_on`: the epoch's unattributed parts, by what the models declare."""
    settling = books.settling
    if settling.declarations is None:
        return
    for part in settling.declarations.parts(settling.declared, books.cut_id):
        settling.contributions.of(part.contribution).amount += part.amount


def _divide(books: Books, dues: Dues[Contribution] | Dues[Model], as_data: bool) -> None:
    """C8 and C10 over all artefacts of one type.

    What goes to an artefact without named creators is its account's, whole, however it is split up
    on the way; so only where creators share are floors and own part brought together first.
    """
    earned: dict[bytes, int] = {}
    shared: dict[bytes, int] = {}
    passed_on: dict[bytes, int] = {}

    def keeps(artefact_id: bytes, artefact: Contribution | Model, amount: int) -> None:
        if artefact.creators:
            shared[artefact_id] = shared.get(artefact_id, 0) + amount
        else:
            earned[artefact.account] = earned.get(artefact.account, 0) + amount

    for artefact_id, due in dues.held.items():
        artefact, amount = due.record, due.amount
        if artefact.floors and amount:
            takes, amount = floor_parts(amount, artefact.floors)
            for ancestor, part in takes:
                passed_on[ancestor] = passed_on.get(ancestor, 0) + part
        if amount:
            keeps(artefact_id, artefact, amount)
    for artefact_id, amount in passed_on.items():
        keeps(artefact_id, dues.table.known(artefact_id), amount)
    for artefact_id, amount in shared.items():
        for account, part in _accepted_parts(
            books, artefact_id, dues.table.known(artefact_id), amount
        ):
            earned[account] = earned.get(account, 0) + part
    for account, amount in earned.items():
        _earn(books, account, amount, as_data)


def _accepted_parts(
    books: Books, artefact_id: bytes, artefact: Contribution | Model, amount: int
) -> Iterator[tuple[bytes, int]]:
    """C10: the parts of creators who have accepted; those of the others accrue in escrow."""
    parts = creator_parts(amount, artefact.creators, books.cut_id)
    for (account, part), accepted in zip(parts, artefact.accepted, strict=True):
        if accepted is not None:
            yield account, part
        elif part:
            _accrue(books, artefact_id + account, part)


def _earn(books: Books, account: bytes, amount: int, as_data: bool) -> None:
    if not amount:
        return
    purse = books.tables.purses.known(account)
    purse.balance += amount
    if as_data:
        purse.earned_data += amount
    else:
        purse.earned_model += amount


def _accrue(books: Books, key: bytes, amount: int) -> None:
    escrow = books.tables.escrow.get(key) or Amount(0)
    escrow.amount += amount
    books.tables.escrow.put(key, escrow)
    books.totals.escrow += amount


def _pay_escrow(books: Books) -> None:
    for artefact_id, account, as_data in books.accepts:
        key = artefact_id + account
        escrow = books.tables.escrow.get(key)
        if escrow is None:
            continue
        books.tables.escrow.remove(key)
        books.totals.escrow -= escrow.amount
        _earn(books, account, escrow.amount, as_data)
        books.escrow_paid.append(
            journal.EscrowPaid(artefact_id, account, int(as_data), escrow.amount)
        )


def _return_grant(books: Books, grant_id: bytes) -> None:
    grant = books.tables.grants.get(grant_id)
    if grant is None or not grant.remaining:
        return
    amount, grant.remaining = grant.remaining, 0
    books.tables.grants.touch(grant_id)
    purse = books.tables.purses.known(grant.payer)
    purse.locked -= amount
    purse.balance += amount
    books.move(journal.GRANT_RETURNED, grant_id, None, grant.payer, amount)
