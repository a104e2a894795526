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

from openledger_node.credit import journal
from openledger_node.credit.books import Books
from openledger_node.credit.overlay import Table, Tables
from openledger_node.credit.phase_answers import take_effect
from openledger_node.credit.splits import (
    creator_parts,
    data_parts,
    declared_parts,
    floor_parts,
)
from openledger_node.credit.state_records import (
    HELD,
    MATURED,
    POOLED,
    Amount,
    Contribution,
    Model,
    Purse,
    Receipt,
    Shares,
    epoch_key,
)


def run_splits(books: Books) -> None:
    """Phase 6, whole."""
    key = epoch_key(books.epoch)
    agenda = books.tables.agendas.get(key)
    sums: dict[bytes, int] = {}
    candidates = dict(books.due)
    if agenda is not None:
        for ids in (agenda.maturing, agenda.disputes, agenda.holds):
            candidates.update(dict.fromkeys(ids))
        books.tables.agendas.remove(key)
    for receipt_id in candidates:
        receipt = books.tables.receipts.get(receipt_id)
        if receipt is not None and receipt.status == HELD:
            _settle(books, receipt_id, receipt, sums)
    model_sums = _pay_released(books)
    _divide(books, books.tables.contributions, sums, True)
    _divide(books, books.tables.models, model_sums, False)
    _pay_escrow(books)
    for grant_id in agenda.grants if agenda is not None else ():
        _return_grant(books, grant_id)
    for item in books.parking.lapsing(books.epoch, books.params.park_epochs):
        books.void(item, "PARK", "lapsed")


def _settle(books: Books, receipt_id: bytes, receipt: Receipt, sums: dict[bytes, int]) -> None:
    """Ends a challenge or dispute whose time is over, and matures the receipt if nothing else holds
    it.
    """
    epoch = books.epoch
    if receipt.held_until is not None:
        if receipt.held_until > epoch:
            return
        receipt.held_until = None
        books.tables.receipts.touch(receipt_id)
        if receipt.confirmed:
            take_effect(books, receipt_id, receipt)
    if receipt.disputed_until is not None:
        if receipt.disputed_until <= epoch:
            _pool(books, receipt_id, receipt)
        return
    if receipt.matures <= epoch:
        _mature(books, receipt_id, receipt, sums)


def _pool(books: Books, receipt_id: bytes, receipt: Receipt) -> None:
    amount = receipt.held
    receipt.status = POOLED
    receipt.disputed_until = None
    books.tables.receipts.touch(receipt_id)
    if receipt.payer is not None and amount:
        books.tables.purses.known(receipt.payer).locked -= amount
        books.totals.pool += amount
        books.note(receipt_id, journal.POOLED, amount)


def _mature(books: Books, receipt_id: bytes, receipt: Receipt, sums: dict[bytes, int]) -> None:
    """Network fee and data part leave the payer's locked money, and what no confirm released."""
    receipt.status = MATURED
    books.tables.receipts.changed[receipt_id] = None
    released, receipt.released = receipt.released, 1
    if receipt.payer is None:
        return
    purse = books.tables.purses.known(receipt.payer)
    network, data, effects = receipt.network, receipt.data, books.effects
    if not released and (parts_released := receipt.model_part + receipt.agent_part):
        purse.locked -= parts_released
        books.released.append(receipt)
        effects[receipt_id] = effects.get(receipt_id, 0) | journal.RELEASED
    if network + data:
        purse.locked -= network + data
        books.totals.pool += network
        effects[receipt_id] = effects.get(receipt_id, 0) | journal.SETTLED
        if data:
            _pay_data(books, receipt_id, receipt, purse, sums)


def _pay_data(
    books: Books, receipt_id: bytes, receipt: Receipt, purse: Purse, sums: dict[bytes, int]
) -> None:
    """C7: the data part, to contributions and to the payer."""
    data = receipt.data
    weights = receipt.weights
    parts = data_parts(receipt_id, data, weights, receipt.unattributed)
    unattributed = parts.pop()
    for (contribution_id, _), part in zip(weights, parts, strict=True):
        sums[contribution_id] = sums.get(contribution_id, 0) + part
    if unattributed and books.params.unattributed == "trained_on":
        paid, unattributed = declared_parts(
            receipt_id, unattributed, _declared(books, receipt.model)
        )
        for contribution_id, part in paid.items():
            sums[contribution_id] = sums.get(contribution_id, 0) + part
    purse.balance += unattributed
    purse.refunds += unattributed


def _declared(books: Books, model_id: bytes) -> list[tuple[bytes, int, Shares | None]]:
    """`declared_weights` of a model, found once an epoch."""
    if model_id not in books.declared:
        books.declared[model_id] = declared_weights(books.tables, model_id)
    return books.declared[model_id]


def declared_weights(tables: Tables, model_id: bytes) -> list[tuple[bytes, int, Shares | None]]:
    """What a model says it was trained on: (id, weight, None or the members of the datanet).

    Members count with their tokens, if they were registered in an epoch before the model's.
    """
    model, items = tables.models.get(model_id), tables.trained_on.get(model_id)
    if model is None or items is None:
        return []
    declared: list[tuple[bytes, int, Shares | None]] = []
    for named, weight in items.items:
        members: Shares | None = None
        if tables.datanets.get(named) is not None:
            members = tuple(
                (key[32:], member.tokens)
                for key, member in tables.members.items(named)
                if member.epoch < model.epoch
            )
        declared.append((named, weight, members))
    return declared


def _pay_released(books: Books) -> dict[bytes, int]:
    """Pays agent parts to operators; returns what was released to each model."""
    sums: dict[bytes, int] = {}
    agents, purses = books.tables.agents, books.tables.purses
    for receipt in books.released:
        if receipt.model_part:
            sums[receipt.model] = sums.get(receipt.model, 0) + receipt.model_part
        agent = agents.get(receipt.agent) if receipt.agent is not None else None
        if agent is not None and receipt.agent_part:
            purse = purses.known(agent.operator)
            purse.balance += receipt.agent_part
            purse.earned_agent += receipt.agent_part
    return sums


def _divide(
    books: Books,
    table: Table[Contribution] | Table[Model],
    sums: dict[bytes, int],
    as_data: bool,
) -> None:
    """C8 and C10 over all artefacts of one type."""
    _pass_on_floors(table, sums)
    live = table.live
    earned: dict[bytes, int] = {}
    for artefact_id, due in sums.items():
        artefact = live.get(artefact_id) or table.known(artefact_id)
        if not artefact.creators:
            account = artefact.account
            earned[account] = earned.get(account, 0) + due
            continue
        parts = creator_parts(due, artefact.creators, books.cut_id)
        for (account, part), accepted in zip(parts, artefact.accepted, strict=True):
            if accepted is not None:
                earned[account] = earned.get(account, 0) + part
            elif part:
                _accrue(books, artefact_id + account, part)
    for account, due in earned.items():
        _earn(books, account, due, as_data)


def _pass_on_floors(table: Table[Contribution] | Table[Model], sums: dict[bytes, int]) -> None:
    """C8: moves what each artefact's ancestors take from its sum to theirs."""
    changes: dict[bytes, int] = {}
    live = table.live
    for artefact_id, released in sums.items():
        floors = (live.get(artefact_id) or table.known(artefact_id)).floors
        if floors:
            takes, rest = floor_parts(released, floors)
            changes[artefact_id] = changes.get(artefact_id, 0) + rest - released
            for ancestor, part in takes:
                changes[ancestor] = changes.get(ancestor, 0) + part
    for artefact_id, change in changes.items():
        sums[artefact_id] = sums.get(artefact_id, 0) + change


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
