"""Phase 4: receipts, and the fees held for them.

- C3 A receipt draws its fee only on a grant of an *earlier* epoch to its author, up to and
  including the grant's expiry; what does not fit is void. Its snapshot epoch is 1 to 4 epochs
  before its own, and everything it names was registered by then and not withdrawn.
- C4 The fee is held until the epoch of the receipt + `maturity_epochs`; how it will be divided is
  fixed now. With `maturity_epochs` 0 it is settled at once (`settling`).
- R4 The ppm of a receipt's distinct contributions and the unattributed ppm sum to exactly
  1,000,000.

Receipts are most of what a ledger folds, so what many of them share is found once an epoch and kept
in the books: which contributions stand for a snapshot (`drawable`: no phase from here on registers
or withdraws any), each with what is due to it, and what a fee divides into (`fee_splits`). Only a
receipt that fails a test is gone through rule by rule, to name the fault; and one that passes is
written at once, and taken out again only if something answers it in the same epoch.
"""

from __future__ import annotations

from typing import Any, Final

from openledger_node.credit.books import Books
from openledger_node.credit.parking import Item
from openledger_node.credit.phase_registrations import HandlerTable, handlers
from openledger_node.credit.settling import Due
from openledger_node.credit.splits import fee_parts, untied_fee_parts
from openledger_node.credit.state_records import HELD, MATURED, Contribution, Grant, Receipt
from openledger_node.ledger.kinds import MAX_SNAPSHOT_AGE_EPOCHS, PPM, UseReceipt

_Fault = tuple[str, str]
"""The rule and the reason that make a receipt void."""


def receipt(books: Books, item: Item, body: UseReceipt) -> None:
    """A use is recorded, and its fee held."""
    tables = books.tables
    shares = dict(body.weights)
    if (
        sum(shares.values()) + body.unattributed_ppm != PPM
        or len(shares) != len(body.weights)
        or not 1 <= item.epoch - body.snapshot_epoch <= MAX_SNAPSHOT_AGE_EPOCHS
        or (body.grant is None and body.fee_micro)
    ):
        return books.void(item, *_form_fault(item, body))
    grant = None
    if body.grant is not None:
        grant = tables.grants.live.get(body.grant) or tables.grants.get(body.grant)
        if (
            grant is None
            or grant.provider != item.account
            or grant.epoch >= item.epoch
            or (grant.expiry_epoch is not None and books.epoch > grant.expiry_epoch)
            or body.fee_micro > grant.remaining
        ):
            return books.void(item, *_grant_fault(books, item, grant))
    settling = books.settling
    if body.model not in settling.models.held and settling.models.find(body.model) is None:
        return books.unresolved(item, body.model, "C6")
    if body.agent is not None and settling.agents.find(body.agent) is None:
        return books.unresolved(item, body.agent, "C6")
    drawable = books.drawable.get(body.snapshot_epoch)
    if drawable is None:
        drawable = books.drawable[body.snapshot_epoch] = {}
    dues: list[Any] = list(map(drawable.get, shares))
    if not all(dues):
        dues = _dues(books, item, body, drawable)
        if len(dues) != len(shares):
            return None
    _hold(books, item, body, grant, dues)
    if item.event_id in books.waiting:
        books.now_known(item.event_id)
    return None


def _form_fault(item: Item, body: UseReceipt) -> _Fault:
    """What is wrong with a receipt that does not stand by itself."""
    if sum(ppm for _, ppm in body.weights) + body.unattributed_ppm != PPM:
        return "R4", "sum"
    if len(dict(body.weights)) != len(body.weights):
        return "R4", "duplicate"
    if not 1 <= item.epoch - body.snapshot_epoch <= MAX_SNAPSHOT_AGE_EPOCHS:
        return "C3", "snapshot"
    return "C3", "no_grant"


def _grant_fault(books: Books, item: Item, grant: Grant | None) -> _Fault:
    """Why a receipt may not draw its fee on the grant it names."""
    if grant is None:
        return "C3", "unknown_grant"
    if grant.provider != item.account:
        return "C3", "other_provider"
    if grant.epoch >= item.epoch:
        return "C3", "grant_not_final"
    if grant.expiry_epoch is not None and books.epoch > grant.expiry_epoch:
        return "C3", "grant_expired"
    return "C3", "grant_spent"


def _dues(
    books: Books, item: Item, body: UseReceipt, drawable: dict[bytes, Due[Contribution]]
) -> list[Due[Contribution]]:
    """The dues of the contributions named, which `drawable` then has, if all could be drawn on at
    the snapshot; else fewer, and `item` parked or void.
    """
    dues: list[Due[Contribution]] = []
    for contribution_id, _ in body.weights:
        due = drawable.get(contribution_id)
        if due is None:
            due = books.settling.contributions.find(contribution_id)
            if due is None:
                books.unresolved(item, contribution_id, "C7")
                break
            contribution = due.record
            if contribution.epoch > body.snapshot_epoch:
                books.void(item, "C3", "not_final")
                break
            withdrawn = contribution.withdrawn_epoch
            if withdrawn is not None and withdrawn <= body.snapshot_epoch:
                books.void(item, "C3", "withdrawn")
                break
            drawable[contribution_id] = due
        dues.append(due)
    return dues


def _hold(
    books: Books,
    item: Item,
    body: UseReceipt,
    grant: Grant | None,
    dues: list[Due[Contribution]],
) -> None:
    """Takes the fee from the grant and fixes how it will be divided."""
    tables, event_id = books.tables, item.event_id
    payer = None
    network = data = model_part = agent_part = 0
    if grant is not None and body.grant is not None:
        payer, fee = grant.payer, body.fee_micro
        grant.remaining -= fee
        tables.grants.changed[body.grant] = None
        if fee:
            has_agent = body.agent is not None
            network, data, model_part, agent_part = books.fee_splits.get(
                (fee, has_agent)
            ) or _fee_split(books, event_id, fee, has_agent)
    matures = books.epoch + books.params.maturity_epochs
    at_once = int(matures == books.epoch)
    record = Receipt(
        payer,
        item.account,
        body.grant,
        body.model,
        body.agent,
        books.epoch,
        matures,
        body.uses,
        body.unattributed_ppm,
        body.weights,
        network,
        data,
        model_part,
        agent_part,
        MATURED if at_once else HELD,
        0,
        at_once,
        0,
        None,
        None,
        0,
    )
    books.receipts_made += 1
    if at_once:
        effects = books.settling.settle(event_id, record, 0, dues)
        books.settling.early.add(event_id)
        if effects:
            books.effects[event_id] = effects
    else:
        books.maturing(matures).append(event_id)
    tables.receipts.file(event_id, record)


def _fee_split(
    books: Books, receipt_id: bytes, fee: int, has_agent: bool
) -> tuple[int, int, int, int]:
    """C5 and C6 of a fee not met before in this epoch, or of one whose parts need a tie broken."""
    parts = untied_fee_parts(fee, books.params, has_agent)
    if parts is None:
        return fee_parts(receipt_id, fee, books.params, has_agent)
    books.fee_splits[fee, has_agent] = parts
    return parts


HANDLERS: Final[HandlerTable] = handlers(("use.receipt", receipt))
