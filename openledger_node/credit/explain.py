"""Explanations: trees that derive a credit row, a receipt or a void event from rules and events.

Every figure of a row is computed again from the epoch's journal (`recompute`) and must add up to
the row; if it does not, the store is damaged and no explanation is given. Titles are words;
`subject` is the id a node is about, for the caller to name. Amounts are micro-credits unless
`unit` says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from openledger_node.credit import journal, views
from openledger_node.credit.inputs import StateReader
from openledger_node.credit.recompute import (
    DATA,
    MODEL,
    Line,
    Payments,
    counted_uses,
    payments,
)
from openledger_node.credit.rules import RULES, reason_sentence
from openledger_node.credit.splits import data_parts
from openledger_node.credit.statement import Row, Statement
from openledger_node.ledger.errors import StoreDamaged

MICRO: Final = "micro-credits"
UNITS: Final = "units"


@dataclass(frozen=True, slots=True)
class ExplainNode:
    """One step: what it is, by which rule, how much, about which id, and what it is made of."""

    title: str
    rule: str | None = None
    amount_micro: int | None = None
    subject: bytes | None = None
    unit: str = MICRO
    children: tuple[ExplainNode, ...] = ()


def explain_row(
    state: StateReader,
    statement: Statement,
    epoch: journal.Journal,
    account: bytes,
    previous: Row | None,
) -> ExplainNode | None:
    """The derivation of an account's row, None if it has none and moved nothing.

    `previous` is the account's row in the statement of the epoch before (None: no row). `state` is
    that of the epoch or of a later one. StoreDamaged when the parts do not add up to the row.
    """
    row = statement.row(account)
    if row is None and previous is None:
        return None
    row = row or Row(account, 0, 0, 0, 0, 0, 0, 0, 0)
    paid = payments(state, epoch)
    earned = (
        _earned("earned as data", DATA, paid, account, row.earned_data_micro),
        _earned("earned as model", MODEL, paid, account, row.earned_model_micro),
        _checked("earned as agent", row.earned_agent_micro, _leaves(paid.agent.get(account, ()))),
        _checked("refunds", row.refunds_micro, _leaves(paid.refunds.get(account, ()))),
    )
    movements = [each for each in epoch.movements if account in (each.source, each.target)]
    return ExplainNode(
        f"credits in epoch {epoch.epoch}",
        None,
        row.balance_micro,
        account,
        children=(
            _balance(row, previous, earned, movements),
            _locked(row, previous, paid, movements),
            *(node for node in _units(row, paid) if node.children),
        ),
    )


def _leaves(lines: Iterable[Line], sign: int = 1, unit: str = MICRO) -> list[ExplainNode]:
    return [
        ExplainNode(line.title, line.rule, sign * line.amount, line.source, unit) for line in lines
    ]


def _checked(
    title: str,
    expected: int,
    children: Iterable[ExplainNode],
    rule: str | None = None,
    unit: str = MICRO,
) -> ExplainNode:
    """A node whose children add up to `expected`. StoreDamaged when they do not."""
    nodes = tuple(children)
    total = sum(node.amount_micro or 0 for node in nodes)
    if total != expected:
        raise StoreDamaged(
            f"the explanation of {title!r} comes to {total}, the statement says {expected}",
            hint="run `oln check`",
        )
    return ExplainNode(title, rule, expected, unit=unit, children=nodes)


def _earned(title: str, role: str, paid: Payments, account: bytes, expected: int) -> ExplainNode:
    nodes = []
    for artefact_id, due in sorted(paid.dues.items()):
        if due.role != role:
            continue
        for creator, part, accepted in due.shares:
            if creator == account and accepted and part:
                of = f"share of {due.total:,}" if part != due.total else "all of it"
                lines = tuple(_leaves(due.lines))
                nodes.append(ExplainNode(f"{role}: {of}", "C10", part, artefact_id, children=lines))
    for paid_role, line in paid.escrow.get(account, ()):
        if paid_role == role:
            nodes += _leaves([line])
    return _checked(title, expected, nodes)


_MOVED: Final = {
    # what: (title, rule, balance and locked of the source, balance and locked of the target)
    journal.ISSUE: ("issued", "C1", 0, 0, 1, 0),
    journal.TRANSFER: ("transferred", "C1", -1, 0, 1, 0),
    journal.GRANT: ("granted", "C2", -1, 1, 0, 0),
    journal.GRANT_RETURNED: ("rest of an expired grant", "C2", 0, 0, 1, -1),
    journal.REDEEM: ("redeemed", "C16", -1, 1, 0, 0),
    journal.BURN: ("paid out", "C16", 0, -1, 0, 0),
    journal.UNBURN: ("payout reversed", "C16", 0, 1, 0, 0),
}


def _moved(
    movements: Iterable[journal.Movement], account: bytes, locked: bool
) -> list[ExplainNode]:
    """What movements did to the account's balance, or to what it has locked."""
    nodes = []
    for each in movements:
        title, rule, *signs = _MOVED[each.what]
        of_source, of_target = (signs[1], signs[3]) if locked else (signs[0], signs[2])
        for end, sign in ((each.source, of_source), (each.target, of_target)):
            if end == account and sign:
                nodes.append(ExplainNode(title, rule, sign * each.amount, each.event_id))
    return nodes


def _balance(
    row: Row,
    previous: Row | None,
    earned: tuple[ExplainNode, ...],
    movements: list[journal.Movement],
) -> ExplainNode:
    opening = ExplainNode(
        "balance at the end of the previous epoch",
        amount_micro=previous.balance_micro if previous else 0,
    )
    moved = _moved(movements, row.account, locked=False)
    shown = [node for node in earned if node.amount_micro]
    return _checked("balance", row.balance_micro, [opening, *moved, *shown])


def _locked(
    row: Row, previous: Row | None, paid: Payments, movements: list[journal.Movement]
) -> ExplainNode:
    opening = ExplainNode(
        "locked at the end of the previous epoch",
        amount_micro=previous.locked_micro if previous else 0,
    )
    moved = _moved(movements, row.account, locked=True)
    spent = _leaves(paid.unlocked.get(row.account, ()), -1)
    return _checked("locked", row.locked_micro, [opening, *moved, *spent])


def _units(row: Row, paid: Payments) -> Iterable[ExplainNode]:
    for title, expected, lines in (
        ("units of paid uses", row.units_paid, paid.units_paid),
        ("units of unpaid uses", row.units_unpaid, paid.units_unpaid),
    ):
        nodes = _leaves(lines.get(row.account, ()), unit=UNITS)
        yield _checked(title, expected, nodes, "C15", UNITS)


def explain_receipt(
    state: StateReader, receipt_id: bytes, journals: Iterable[journal.Journal] = ()
) -> ExplainNode | None:
    """How a receipt's fee is divided and what became of it; None for an unknown receipt.

    `journals` of the epochs since it was filed, if there are any, say when what happened.
    """
    receipt = views.receipt(state, receipt_id)
    if receipt is None:
        return None
    entries = [
        (each.epoch, entry)
        for each in journals
        for entry in each.receipts
        if entry.receipt_id == receipt_id
    ]
    weights = receipt.weights_ppm
    data = [
        ExplainNode(f"{ppm:,} ppm", "C7", part, contribution)
        for (contribution, ppm), part in zip(
            weights,
            data_parts(receipt_id, receipt.data_micro, weights, receipt.unattributed_ppm),
            strict=False,
        )
    ]
    if receipt.unattributed_ppm:
        rest = receipt.data_micro - sum(node.amount_micro or 0 for node in data)
        data.append(ExplainNode(f"{receipt.unattributed_ppm:,} ppm unattributed", "C7", rest))
    fee = ExplainNode(
        "fee",
        "C4",
        receipt.fee_micro,
        children=(
            ExplainNode("network fee", "C5", receipt.network_micro),
            ExplainNode("data part", "C6", receipt.data_micro, children=tuple(data)),
            ExplainNode("model part", "C6", receipt.model_micro, receipt.model),
            ExplainNode("agent part", "C6", receipt.agent_micro, receipt.agent),
        ),
    )
    happened = tuple(_happened(epoch, entry) for epoch, entry in entries)
    state_now = ExplainNode(_status(receipt), "C4", receipt.held_micro, children=happened)
    return ExplainNode(
        f"receipt of epoch {receipt.epoch}, {counted_uses(receipt.uses)}",
        subject=receipt_id,
        children=(fee, state_now),
    )


def _status(receipt: views.ReceiptView) -> str:
    if receipt.status != "held":
        return receipt.status
    if receipt.held_until_epoch is not None:
        return f"held: challenged, at most until epoch {receipt.held_until_epoch}"
    if receipt.disputed_until_epoch is not None:
        return f"held: disputed, at most until epoch {receipt.disputed_until_epoch}"
    return f"held: matures at the end of epoch {receipt.matures_epoch}"


_EFFECTS: Final = (
    (journal.UNITS, "units counted"),
    (journal.RELEASED, "model and agent parts paid"),
    (journal.SETTLED, "network fee and data part paid"),
    (journal.REFUNDED, "what was held refunded"),
    (journal.POOLED, "what was held given to the network pool"),
)


def _happened(epoch: int, entry: journal.ReceiptEntry) -> ExplainNode:
    words = ", ".join(word for effect, word in _EFFECTS if entry.effects & effect)
    return ExplainNode(f"epoch {epoch}: {words}", "C4", entry.moved or None)


def explain_void(state: StateReader, event_id: bytes) -> ExplainNode | None:
    """Why an event is void or waits; None when it is neither."""
    void = views.void_reason(state, event_id)
    if void is not None:
        rule, code = void
        text = ExplainNode(RULES.get(rule, "a rule of a newer version"), rule)
        title = f"void: {reason_sentence(rule, code)}"
        return ExplainNode(title, rule, subject=event_id, children=(text,))
    parked = views.parked(state, event_id)
    if parked is None:
        return None
    title = "waits for the next epoch" if parked.awaits is None else "waits for an unknown id"
    return ExplainNode(f"parked: {title}", "PARK", subject=parked.awaits or event_id)
