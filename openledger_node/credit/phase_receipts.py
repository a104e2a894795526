"""Phase 4: receipts, and the fees held for them.

- C3 A receipt draws its fee only on a grant of an *earlier* epoch to its author, up to and
  including the grant's expiry; what does not fit is void. Its snapshot epoch is 1 to 4 epochs
  before its own, and everything it names was registered by then and not withdrawn.
- C4 The fee is held until the epoch of the receipt + `maturity_epochs`; how it will be divided is
  fixed now.
- R4 The ppm of a receipt's distinct contributions and the unattributed ppm sum to exactly
  1,000,000.
"""

from __future__ import annotations

from typing import Final

from openledger_node.credit.books import Books
from openledger_node.credit.overlay import Table
from openledger_node.credit.parking import Item
from openledger_node.credit.phase_registrations import HandlerTable, handlers
from openledger_node.credit.splits import fee_parts
from openledger_node.credit.state_records import HELD, Contribution, Grant, Receipt
from openledger_node.ledger.kinds import MAX_SNAPSHOT_AGE_EPOCHS, PPM, UseReceipt

_Fault = tuple[str, str] | None


def receipt(books: Books, item: Item, body: UseReceipt) -> None:
    """A use is recorded, and its fee held."""
    tables = books.tables
    grant = tables.grants.get(body.grant) if body.grant is not None else None
    fault = _form_fault(item, body) or _grant_fault(books, item, body, grant)
    if fault is not None:
        return books.void(item, *fault)
    if tables.models.get(body.model) is None:
        return books.unresolved(item, body.model, "C6")
    if body.agent is not None and tables.agents.get(body.agent) is None:
        return books.unresolved(item, body.agent, "C6")
    if not _weights_stand(books, item, body, tables.contributions):
        return None
    _hold(books, item, body, grant)
    if item.event_id in books.waiting:
        books.now_known(item.event_id)
    return None


def _form_fault(item: Item, body: UseReceipt) -> _Fault:
    """What is wrong with a receipt by itself."""
    weights = body.weights
    total_ppm = body.unattributed_ppm
    for _, ppm in weights:
        total_ppm += ppm
    if total_ppm != PPM:
        return "R4", "sum"
    if len(dict(weights)) != len(weights):
        return "R4", "duplicate"
    if not 1 <= item.epoch - body.snapshot_epoch <= MAX_SNAPSHOT_AGE_EPOCHS:
        return "C3", "snapshot"
    if body.grant is None and body.fee_micro:
        return "C3", "no_grant"
    return None


def _grant_fault(books: Books, item: Item, body: UseReceipt, grant: Grant | None) -> _Fault:
    """Why a receipt may not draw its fee on the grant it names."""
    if body.grant is None:
        return None
    if grant is None:
        return "C3", "unknown_grant"
    if grant.provider != item.account:
        return "C3", "other_provider"
    if grant.epoch >= item.epoch:
        return "C3", "grant_not_final"
    if grant.expiry_epoch is not None and books.epoch > grant.expiry_epoch:
        return "C3", "grant_expired"
    if body.fee_micro > grant.remaining:
        return "C3", "grant_spent"
    return None


def _weights_stand(
    books: Books, item: Item, body: UseReceipt, contributions: Table[Contribution]
) -> bool:
    """Whether all contributions named could be drawn on at the snapshot; else parks or voids
    `item`.
    """
    snapshot, live = body.snapshot_epoch, contributions.live
    for contribution_id, _ in body.weights:
        contribution = live.get(contribution_id) or contributions.get(contribution_id)
        if contribution is None:
            books.unresolved(item, contribution_id, "C7")
            return False
        if contribution.epoch > snapshot:
            books.void(item, "C3", "not_final")
            return False
        withdrawn = contribution.withdrawn_epoch
        if withdrawn is not None and withdrawn <= snapshot:
            books.void(item, "C3", "withdrawn")
            return False
    return True


def _hold(books: Books, item: Item, body: UseReceipt, grant: Grant | None) -> None:
    """Takes the fee from the grant and fixes how it will be divided."""
    tables, event_id = books.tables, item.event_id
    payer = None
    network = data = model_part = agent_part = 0
    if grant is not None and body.grant is not None:
        payer = grant.payer
        grant.remaining -= body.fee_micro
        tables.grants.changed[body.grant] = None
        if body.fee_micro:
            network, data, model_part, agent_part = fee_parts(
                event_id, body.fee_micro, books.params, body.agent is not None
            )
    matures = books.epoch + books.params.maturity_epochs
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
        HELD,
        0,
        0,
        0,
        None,
        None,
        0,
    )
    tables.receipts.put(event_id, record)
    books.receipts_made += 1
    books.maturing(matures).append(event_id)


HANDLERS: Final[HandlerTable] = handlers(("use.receipt", receipt))
