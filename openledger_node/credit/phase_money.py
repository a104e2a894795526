"""Phase 3: credits are issued, transferred and granted.

- C1 An account spends in ledger order over all its logs against its balance of the previous epoch's
  end; an item that does not fit is void, that item alone. What an account receives in an epoch it
  can spend from the next one on. An issue beyond the issuer's cap for the epoch, or beyond 2^53 - 1
  in all, is void.
- C2 A grant locks an amount for one provider until its expiry epoch (nil: none); phase 6 returns
  what is left.
- C3 Payer and provider of a grant are different accounts.
"""

from __future__ import annotations

from typing import Final

from openledger_node.credit import journal, state_records
from openledger_node.credit.books import Books
from openledger_node.credit.parking import Item
from openledger_node.credit.phase_registrations import HandlerTable, handlers
from openledger_node.ledger import kinds
from openledger_node.ledger.genesis import MAX_AMOUNT_MICRO


def issue(books: Books, item: Item, body: kinds.MoneyIssue) -> None:
    """An issuer of the epoch puts credits in, up to its cap."""
    cap = next((cap for account, cap in books.rules.issuers if account == item.account), None)
    if cap is None:
        return books.void(item, "C1", "not_an_issuer")
    if books.tables.purses.get(body.to) is None:
        return books.void(item, "C1", "unknown_account")
    so_far = books.issued_by.get(item.account, 0)
    if so_far + body.amount_micro > cap:
        return books.void(item, "C1", "cap")
    if books.totals.issued + body.amount_micro > MAX_AMOUNT_MICRO:
        return books.void(item, "C1", "supply")
    books.issued_by[item.account] = so_far + body.amount_micro
    books.totals.issued += body.amount_micro
    books.tables.purses.known(body.to).balance += body.amount_micro
    return books.move(journal.ISSUE, item.event_id, item.account, body.to, body.amount_micro)


def transfer(books: Books, item: Item, body: kinds.MoneyTransfer) -> None:
    purses = books.tables.purses
    if purses.get(body.to) is None:
        return books.void(item, "C1", "unknown_account")
    if not purses.spend(item.account, body.amount_micro):
        return books.void(item, "C1", "balance")
    purses.known(body.to).balance += body.amount_micro
    return books.move(journal.TRANSFER, item.event_id, item.account, body.to, body.amount_micro)


def grant(books: Books, item: Item, body: kinds.MoneyGrant) -> None:
    """A payer locks an amount for one provider."""
    purses = books.tables.purses
    if body.provider == item.account:
        return books.void(item, "C3", "own_grant")
    if purses.get(body.provider) is None:
        return books.void(item, "C2", "unknown_account")
    if body.expiry_epoch is not None and body.expiry_epoch <= books.epoch:
        return books.void(item, "C2", "expired")
    if not purses.spend(item.account, body.amount_micro):
        return books.void(item, "C1", "balance")
    purses.known(item.account).locked += body.amount_micro
    books.tables.grants.file(
        item.event_id,
        state_records.Grant(
            item.account,
            body.provider,
            books.epoch,
            body.expiry_epoch,
            body.amount_micro,
            body.amount_micro,
        ),
    )
    if body.expiry_epoch is not None:
        books.tables.agenda(body.expiry_epoch).grants.append(item.event_id)
    books.move(journal.GRANT, item.event_id, item.account, body.provider, body.amount_micro)
    return books.now_known(item.event_id)


HANDLERS: Final[HandlerTable] = handlers(
    ("money.issue", issue),
    ("money.transfer", transfer),
    ("money.grant", grant),
)
