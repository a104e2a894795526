"""Phase 5: confirm, cancel, dispute, challenge, verdict.

- C4 The payer's `confirm` ends its right to dispute and releases the model and agent parts at once.
  Dispute (payer) and cancel (provider) are possible before maturity and before confirm. A disputed
  fee is held until the payer confirms or the provider cancels; after `dispute_epochs` phase 6 pools
  it.
- C15 Units are counted on the payer's confirm; without a grant on the first confirm by another
  account.
- CH The first challenge of an unmatured receipt holds it `dispute_epochs`. Seats vote; q equal
  votes decide. Upheld: what is still held of it and of all unmatured receipts of its provider goes
  back to the payers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from openledger_node.credit import journal
from openledger_node.credit import state_records as records
from openledger_node.credit.books import Books
from openledger_node.credit.parking import Item
from openledger_node.credit.phase_registrations import HandlerTable, handlers
from openledger_node.credit.state_records import CANCELLED, HELD, MATURED, UPHELD, Receipt
from openledger_node.ledger import kinds
from openledger_node.ledger.genesis import quorum


def _receipt(books: Books, item: Item, receipt_id: bytes, rule: str) -> Receipt | None:
    """The receipt that `item` answers, held if it did not mature in an earlier epoch; None when
    `item` was parked or made void instead.
    """
    receipt = books.resolve(item, books.tables.receipts, receipt_id, rule)
    if receipt is not None:
        books.reopen(receipt_id, receipt)
    return receipt


def confirm(books: Books, item: Item, body: kinds.UseConfirm) -> None:
    """The payer is content; or, without a grant, another account attests the use."""
    receipt = _receipt(books, item, body.receipt, "C4")
    if receipt is None:
        return None
    rule = "C4" if receipt.payer is not None else "C15"
    if receipt.payer is None and item.account == receipt.provider:
        return books.void(item, rule, "own_receipt")
    if receipt.payer is not None and item.account != receipt.payer:
        return books.void(item, rule, "not_the_payer")
    if receipt.status not in (HELD, MATURED):
        return books.void(item, rule, "settled")
    if receipt.confirmed:
        return books.void(item, rule, "confirmed_before")
    receipt.confirmed = 1
    books.tables.receipts.touch(body.receipt)
    if receipt.disputed_until is not None:
        receipt.disputed_until = None
        books.due[body.receipt] = None
    if receipt.held_until is None:
        take_effect(books, body.receipt, receipt)
    return None


def take_effect(books: Books, receipt_id: bytes, receipt: Receipt) -> None:
    """What a confirm brings about, once no challenge holds the receipt: release and units."""
    if receipt.status == HELD and not receipt.released:
        release(books, receipt_id, receipt)
    if not receipt.counted:
        count_units(books, receipt_id, receipt)


def release(books: Books, receipt_id: bytes, receipt: Receipt) -> None:
    """The model and agent parts leave the payer's locked money; phase 6 pays them."""
    receipt.released = 1
    books.tables.receipts.touch(receipt_id)
    parts = receipt.model_part + receipt.agent_part
    if receipt.payer is not None and parts:
        books.tables.purses.known(receipt.payer).locked -= parts
        books.settling.release(receipt)
        books.note(receipt_id, journal.RELEASED)


def count_units(books: Books, receipt_id: bytes, receipt: Receipt) -> None:
    """C15: ppm x uses to each contribution's account."""
    receipt.counted = 1
    books.tables.receipts.touch(receipt_id)
    books.note(receipt_id, journal.UNITS)
    purses, contributions = books.tables.purses, books.tables.contributions
    for contribution_id, ppm in receipt.weights:
        purse = purses.known(contributions.known(contribution_id).account)
        if receipt.payer is not None:
            purse.units_paid += ppm * receipt.uses
        else:
            purse.units_unpaid += ppm * receipt.uses


def refund(books: Books, receipt_id: bytes, receipt: Receipt, status: int) -> None:
    """What is still held goes back to the payer's balance; the receipt ends with `status`."""
    amount = receipt.held
    receipt.status = status
    receipt.disputed_until = receipt.held_until = None
    books.tables.receipts.touch(receipt_id)
    if receipt.payer is not None and amount:
        purse = books.tables.purses.known(receipt.payer)
        purse.locked -= amount
        purse.balance += amount
        purse.refunds += amount
        books.note(receipt_id, journal.REFUNDED, amount)


def cancel(books: Books, item: Item, body: kinds.UseCancel) -> None:
    """The provider gives the fee back."""
    receipt = _receipt(books, item, body.receipt, "C4")
    if receipt is None:
        return None
    if item.account != receipt.provider:
        return books.void(item, "C4", "not_the_provider")
    if receipt.confirmed:
        return books.void(item, "C4", "confirmed_before")
    if receipt.status != HELD and not (receipt.payer is None and receipt.status == MATURED):
        return books.void(item, "C4", "settled")
    return refund(books, body.receipt, receipt, CANCELLED)


def dispute(books: Books, item: Item, body: kinds.UseDispute) -> None:
    """The payer is not content: nothing matures until it confirms, or the provider cancels."""
    receipt = _receipt(books, item, body.receipt, "C4")
    if receipt is None:
        return None
    if receipt.payer is None or item.account != receipt.payer:
        return books.void(item, "C4", "not_the_payer")
    if receipt.status != HELD:
        return books.void(item, "C4", "settled")
    if receipt.confirmed:
        return books.void(item, "C4", "confirmed_before")
    if receipt.disputed_until is not None:
        return books.void(item, "C4", "disputed_before")
    receipt.disputed_until = books.epoch + books.params.dispute_epochs
    books.tables.receipts.touch(body.receipt)
    books.tables.agenda(receipt.disputed_until).disputes.append(body.receipt)
    return None


def challenge(books: Books, item: Item, body: kinds.AuditChallenge) -> None:
    """Anybody doubts a receipt before it matures, or a derivation."""
    tables, target = books.tables, body.target
    derivation = tables.derivations.get(target)
    if derivation is not None:
        if derivation.challenged:
            return books.void(item, "CH", "challenged_before")
        derivation.challenged = 1
        return tables.derivations.touch(target)
    receipt = _receipt(books, item, target, "CH")
    if receipt is None:
        return None
    if receipt.challenged:
        return books.void(item, "CH", "challenged_before")
    if receipt.status != HELD:
        return books.void(item, "CH", "settled")
    receipt.challenged = 1
    receipt.held_until = books.epoch + books.params.dispute_epochs
    tables.receipts.touch(target)
    return tables.agenda(receipt.held_until).holds.append(target)


def verdict(books: Books, item: Item, body: kinds.AuditVerdict) -> None:
    """A seat votes on a challenge or a derivation; q equal votes decide."""
    tables, target = books.tables, body.target
    if (item.account, item.device) not in books.rules.seats:
        return books.void(item, "CH", "not_a_seat")
    derivation = tables.derivations.get(target)
    receipt = None
    if derivation is None:
        receipt = _receipt(books, item, target, "CH")
        if receipt is None:
            return None
        if receipt.held_until is None:
            return books.void(item, "CH", "no_challenge")
    votes = tables.verdicts.get(target) or records.Verdicts(())
    if any(device == item.device for device, _ in votes.votes):
        return books.void(item, "CH", "voted_before")
    votes.votes = (*votes.votes, (item.device, body.upheld))
    tables.verdicts.put(target, votes)
    if not _decided(books, votes, body.upheld):
        return None
    if receipt is not None:
        return _decide_receipt(books, target, receipt, body.upheld)
    if derivation is not None and body.upheld:
        derivation.status = records.DERIVATION_UPHELD
        tables.derivations.touch(target)
    return None


def _decided(books: Books, votes: records.Verdicts, upheld: int) -> bool:
    seats = {device for _, device in books.rules.seats}
    agreeing = sum(vote == upheld and device in seats for device, vote in votes.votes)
    return agreeing >= quorum(len(seats))


def _decide_receipt(books: Books, receipt_id: bytes, receipt: Receipt, upheld: int) -> None:
    if upheld:
        for other_id in _unmatured_of(books, receipt.provider):
            refund(books, other_id, books.tables.receipts.known(other_id), UPHELD)
        return
    receipt.held_until = None
    books.tables.receipts.touch(receipt_id)
    books.due[receipt_id] = None
    if receipt.confirmed:
        take_effect(books, receipt_id, receipt)


def _unmatured_of(books: Books, provider: bytes) -> Iterator[bytes]:
    """A provider's receipts that are still held, ascending; those settled early are reopened."""
    if books.unmatured is None:
        books.unmatured = _unmatured(books)
    for receipt_id in sorted(books.unmatured.get(provider, ())):
        receipt = books.tables.receipts.known(receipt_id)
        books.reopen(receipt_id, receipt)
        if receipt.status == HELD:
            yield receipt_id


def _unmatured(books: Books) -> dict[bytes, list[bytes]]:
    """By provider, all receipts that may be held: each stands on an agenda to come, or was filed in
    this epoch and matures in it. No more of them come in this phase, so once is enough: accounts
    and challenges cost nothing, and many providers may be found out in one epoch.
    """
    ids = {*books.settling.early, *books.due}
    for _, agenda in books.tables.agendas.items():
        ids.update(agenda.maturing, agenda.disputes, agenda.holds)
    found: dict[bytes, list[bytes]] = {}
    for receipt_id in ids:
        receipt = books.tables.receipts.get(receipt_id)
        if receipt is not None:
            found.setdefault(receipt.provider, []).append(receipt_id)
    return found


HANDLERS: Final[HandlerTable] = handlers(
    ("use.confirm", confirm),
    ("use.cancel", cancel),
    ("use.dispute", dispute),
    ("audit.challenge", challenge),
    ("audit.verdict", verdict),
)
