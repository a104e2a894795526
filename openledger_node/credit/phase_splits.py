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

from collections.abc import Iterable, Iterator

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
    _mature_all(books, _maturing(books, candidates), sums)
    model_sums = _pay_released(books)
    _divide(books, books.tables.contributions, sums, True)
    _divide(books, books.tables.models, model_sums, False)
    _pay_escrow(books)
    for grant_id in agenda.grants if agenda is not None else ():
        _return_grant(books, grant_id)
    for item in books.parking.lapsing(books.epoch, books.params.park_epochs):
        books.void(item, "PARK", "lapsed")


def _maturing(books: Books, candidates: Iterable[bytes]) -> Iterator[tuple[bytes, Receipt]]:
    """Those of the receipts named that mature now; what else is due of them is done on the way."""
    epoch, receipts = books.epoch, books.tables.receipts
    live = receipts.live
    for receipt_id in candidates:
        receipt = live.get(receipt_id) or receipts.get(receipt_id)
        if receipt is None or receipt.status != HELD:
            continue
        held = receipt.held_until is not None or receipt.disputed_until is not None
        if held and not _free(books, receipt_id, receipt):
            continue
        if receipt.matures <= epoch:
            yield receipt_id, receipt


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


def _mature_all(
    books: Books, maturing: Iterable[tuple[bytes, Receipt]], sums: dict[bytes, int]
) -> None:
    """Network fee and data part leave the payer's locked money, and what no confirm released.

    Purses and the pool are written once, when all is summed up; `sums` gets what C7 gives to each
    contribution.
    """
    changed, effects = books.tables.receipts.changed, books.effects
    unlocked: dict[bytes, int] = {}
    refunds: dict[bytes, int] = {}
    pool = 0
    declares = books.params.unattributed == "trained_on"
    for receipt_id, receipt in maturing:
        receipt.status = MATURED
        changed[receipt_id] = None
        released, receipt.released = receipt.released, 1
        payer = receipt.payer
        if payer is None:
            continue
        effect, data = 0, receipt.data
        leaves = receipt.network + data
        if leaves:
            effect = journal.SETTLED
            pool += receipt.network
        if not released and (due := receipt.model_part + receipt.agent_part):
            leaves += due
            books.released.append(receipt)
            effect |= journal.RELEASED
        unlocked[payer] = unlocked.get(payer, 0) + leaves
        if effect:
            effects[receipt_id] = effects.get(receipt_id, 0) | effect
        if data:
            weights = receipt.weights
            parts = data_parts(receipt_id, data, weights, receipt.unattributed)
            rest = parts.pop()
            for (contribution_id, _), part in zip(weights, parts, strict=True):
                sums[contribution_id] = sums.get(contribution_id, 0) + part
            if rest and declares:
                rest = _pay_declared(books, receipt_id, receipt.model, rest, sums)
            if rest:
                refunds[payer] = refunds.get(payer, 0) + rest
    books.totals.pool += pool
    for payer, amount in unlocked.items():
        books.tables.purses.known(payer).locked -= amount
    for payer, amount in refunds.items():
        purse = books.tables.purses.known(payer)
        purse.balance += amount
        purse.refunds += amount


def _pay_declared(
    books: Books, receipt_id: bytes, model_id: bytes, amount: int, sums: dict[bytes, int]
) -> int:
    """C7 under `trained_on`: the unattributed part to what the model declares; returns what is
    refunded.
    """
    paid, refund = declared_parts(receipt_id, amount, _declared(books, model_id))
    for contribution_id, part in paid.items():
        sums[contribution_id] = sums.get(contribution_id, 0) + part
    return refund


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
    agent_sums: dict[bytes, int] = {}
    for receipt in books.released:
        part, model = receipt.model_part, receipt.model
        if part:
            sums[model] = sums.get(model, 0) + part
        agent = receipt.agent
        if agent is not None:
            agent_sums[agent] = agent_sums.get(agent, 0) + receipt.agent_part
    agents, purses = books.tables.agents, books.tables.purses
    for agent_id, part in agent_sums.items():
        if part:
            purse = purses.known(agents.known(agent_id).operator)
            purse.balance += part
            purse.earned_agent += part
    return sums


def _divide(
    books: Books,
    table: Table[Contribution] | Table[Model],
    sums: dict[bytes, int],
    as_data: bool,
) -> None:
    """C8 and C10 over all artefacts of one type.

    What goes to an artefact without named creators is its account's, whole, however it is split up
    on the way; so only where creators share are floors and own part brought together first.
    """
    earned: dict[bytes, int] = {}
    shared: dict[bytes, int] = {}
    passed_on: dict[bytes, int] = {}
    live = table.live
    for due in (sums, passed_on):
        for artefact_id, amount in due.items():
            artefact = live.get(artefact_id) or table.known(artefact_id)
            own = amount
            if artefact.floors and due is sums:
                takes, own = floor_parts(amount, artefact.floors)
                for ancestor, part in takes:
                    passed_on[ancestor] = passed_on.get(ancestor, 0) + part
            if artefact.creators:
                shared[artefact_id] = shared.get(artefact_id, 0) + own
            else:
                account = artefact.account
                earned[account] = earned.get(account, 0) + own
    for artefact_id, amount in shared.items():
        artefact = table.known(artefact_id)
        parts = creator_parts(amount, artefact.creators, books.cut_id)
        for (account, part), accepted in zip(parts, artefact.accepted, strict=True):
            if accepted is not None:
                earned[account] = earned.get(account, 0) + part
            elif part:
                _accrue(books, artefact_id + account, part)
    for account, amount in earned.items():
        _earn(books, account, amount, as_data)


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
