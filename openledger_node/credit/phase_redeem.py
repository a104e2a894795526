"""Phase 7: redeem and payout.

- C16 `redeem` locks credits of its author for an issuer, or stands as an order that locks what is
  spendable at the end of every epoch. `payout` by that issuer burns stated amounts of redeems, as
  far as they were open at the end of the previous epoch; a payout that names an earlier one first
  gives its amounts back. Nobody else's balance is touched.
"""

from __future__ import annotations

from typing import Final

from openledger_node.credit import journal
from openledger_node.credit.books import Books
from openledger_node.credit.parking import Item
from openledger_node.credit.phase_registrations import HandlerTable, handlers
from openledger_node.credit.state_records import Payout, Redeem, Standing
from openledger_node.ledger import kinds


def redeem(books: Books, item: Item, body: kinds.MoneyRedeem) -> None:
    """Locks an amount for an issuer (or makes, replaces or ends a standing order)."""
    tables = books.tables
    order_key = item.account + body.issuer
    if body.amount_micro == 0:
        if tables.standing.get(order_key) is None:
            return books.void(item, "C16", "no_standing_order")
        return tables.standing.remove(order_key)
    issuers = (account for account, _ in books.rules.issuers)
    if body.issuer not in issuers and body.issuer not in books.rules.past_issuers:
        return books.void(item, "C16", "not_an_issuer")
    if body.amount_micro is None:
        tables.standing.put(order_key, Standing(item.event_id, body.minimum_micro))
        tables.redeems.put(item.event_id, Redeem(item.account, body.issuer, 0, 1))
    else:
        if body.amount_micro < body.minimum_micro:
            return books.void(item, "C16", "below_minimum")
        if not tables.purses.spend(item.account, body.amount_micro):
            return books.void(item, "C1", "balance")
        tables.redeems.put(item.event_id, Redeem(item.account, body.issuer, 0, 0))
        _lock(books, item.event_id, body.amount_micro)
    books.payable[item.event_id] = 0
    return books.now_known(item.event_id)


def _lock(books: Books, redeem_id: bytes, amount: int) -> None:
    redeem_record = books.tables.redeems.known(redeem_id)
    redeem_record.open += amount
    books.tables.redeems.touch(redeem_id)
    books.tables.purses.known(redeem_record.account).locked += amount
    books.move(journal.REDEEM, redeem_id, redeem_record.account, redeem_record.issuer, amount)


def payout(books: Books, item: Item, body: kinds.MoneyPayout) -> None:
    """An issuer has paid outside the ledger: the redeemed credits are burned."""
    if not body.items and body.reverses is None:
        return books.void(item, "C16", "empty")
    if len({redeem_id for redeem_id, _ in body.items}) != len(body.items):
        return books.void(item, "C16", "duplicate")
    reversed_payout = None
    if body.reverses is not None:
        reversed_payout = books.tables.payouts.get(body.reverses)
        if reversed_payout is None or reversed_payout.issuer != item.account:
            return books.void(item, "C16", "not_own_payout")
        if reversed_payout.reversed or reversed_payout.reverses is not None:
            return books.void(item, "C16", "reversed_before")
    for redeem_id, amount in body.items:
        record = books.tables.redeems.get(redeem_id)
        if record is None or record.issuer != item.account:
            return books.void(item, "C16", "not_own_redeem")
        if amount > books.payable.setdefault(redeem_id, record.open):
            return books.void(item, "C16", "not_open")
    if reversed_payout is not None and body.reverses is not None:
        reversed_payout.reversed = 1
        books.tables.payouts.touch(body.reverses)
        for redeem_id, amount in reversed_payout.items:
            _burn(books, item.event_id, redeem_id, -amount)
    for redeem_id, amount in body.items:
        books.payable[redeem_id] -= amount
        _burn(books, item.event_id, redeem_id, amount)
    books.tables.payouts.put(
        item.event_id, Payout(item.account, books.epoch, body.items, body.reverses, 0)
    )
    return books.now_known(item.event_id)


def _burn(books: Books, payout_id: bytes, redeem_id: bytes, amount: int) -> None:
    """Burns `amount` of a redeem; a negative one gives it back."""
    record = books.tables.redeems.known(redeem_id)
    books.payable.setdefault(redeem_id, record.open)
    record.open -= amount
    books.tables.redeems.touch(redeem_id)
    books.tables.purses.known(record.account).locked -= amount
    books.totals.burned += amount
    what = journal.BURN if amount > 0 else journal.UNBURN
    books.move(what, payout_id, record.account, record.issuer, abs(amount))


def run_standing(books: Books) -> None:
    """After the epoch's own events: each standing order takes what its account may still spend."""
    purses = books.tables.purses
    for key, order in list(books.tables.standing.items()):
        account = key[:32]
        amount = purses.spendable(account)
        if amount and amount >= order.minimum and purses.spend(account, amount):
            _lock(books, order.redeem, amount)


HANDLERS: Final[HandlerTable] = handlers(("money.redeem", redeem), ("money.payout", payout))
