"""An epoch's payments, computed again from its journal and the state, each with where it came from.

The fold keeps sums; this keeps the lines that make them up, with the same split functions
(`splits`). `explain` shows them and checks that they add up to the statement's row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from openledger_node.credit import journal
from openledger_node.credit.declared import Declarations
from openledger_node.credit.inputs import StateReader
from openledger_node.credit.overlay import Tables
from openledger_node.credit.splits import creator_parts, data_parts, floor_parts
from openledger_node.credit.state_records import Contribution, Model, Receipt
from openledger_node.ledger.errors import StoreDamaged

DATA: Final = "data"
MODEL: Final = "model"
AGENT: Final = "agent"


@dataclass(frozen=True, slots=True)
class Line:
    """An amount and why: `rule` divided it, `source` names the receipt, artefact or event."""

    title: str
    rule: str
    amount: int
    source: bytes


@dataclass(slots=True)
class ArtefactDue:
    """What an artefact receives in the epoch: the lines that make up the whole, and who gets it.

    `shares` are (account, part, whether it accepted); parts of those who did not go to escrow.
    """

    role: str
    lines: list[Line] = field(default_factory=list)
    shares: list[tuple[bytes, int, bool]] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(line.amount for line in self.lines)


@dataclass(slots=True)
class Payments:
    """Everything an epoch paid, by artefact and by account; `declared` by model, what C7 leaves to
    what it declares.
    """

    dues: dict[bytes, ArtefactDue] = field(default_factory=dict)
    agent: dict[bytes, list[Line]] = field(default_factory=dict)
    refunds: dict[bytes, list[Line]] = field(default_factory=dict)
    units_paid: dict[bytes, list[Line]] = field(default_factory=dict)
    units_unpaid: dict[bytes, list[Line]] = field(default_factory=dict)
    escrow: dict[bytes, list[tuple[str, Line]]] = field(default_factory=dict)
    unlocked: dict[bytes, list[Line]] = field(default_factory=dict)
    declared: dict[bytes, int] = field(default_factory=dict)

    def due(self, artefact_id: bytes, role: str) -> ArtefactDue:
        return self.dues.setdefault(artefact_id, ArtefactDue(role))


def payments(state: StateReader, epoch: journal.Journal) -> Payments:
    """What the epoch of this journal paid. `state` is that epoch's, or a later one's."""
    tables, paid = Tables(state), Payments()
    declarations = Declarations(tables) if epoch.unattributed == "trained_on" else None
    for entry in epoch.receipts:
        _receipt(tables, declarations, entry, paid)
    for part in declarations.parts(paid.declared, epoch.cut_id) if declarations else ():
        title = "unattributed parts of uses, by declared training"
        line = Line(title, "C7", part.amount, part.source)
        paid.due(part.contribution, DATA).lines.append(line)
    _divide(tables, epoch, paid)
    for escrow in epoch.escrow_paid:
        role = DATA if escrow.as_data else MODEL
        line = Line("escrow paid on acceptance", "C10", escrow.amount, escrow.artefact)
        paid.escrow.setdefault(escrow.account, []).append((role, line))
    return paid


def counted_uses(uses: int) -> str:
    return "1 use" if uses == 1 else f"{uses:,} uses"


def _add(lines: dict[bytes, list[Line]], account: bytes, line: Line) -> None:
    if line.amount:
        lines.setdefault(account, []).append(line)


def _receipt(
    tables: Tables,
    declarations: Declarations | None,
    entry: journal.ReceiptEntry,
    paid: Payments,
) -> None:
    receipt_id = entry.receipt_id
    receipt = tables.receipts.get(receipt_id)
    if receipt is None:
        raise _missing(receipt_id)
    if entry.effects & journal.UNITS:
        lines = paid.units_unpaid if receipt.payer is None else paid.units_paid
        for contribution_id, ppm in receipt.weights:
            account = _contribution(tables, contribution_id).account
            title = f"{ppm:,} ppm x {counted_uses(receipt.uses)}"
            _add(lines, account, Line(title, "C15", ppm * receipt.uses, receipt_id))
    payer = receipt.payer
    if payer is None:
        return
    if entry.effects & journal.RELEASED:
        _released(tables, receipt_id, receipt, paid)
        parts = receipt.model_part + receipt.agent_part
        _add(paid.unlocked, payer, Line("model and agent parts", "C4", parts, receipt_id))
    if entry.effects & journal.SETTLED:
        _settled(declarations, receipt_id, receipt, paid)
        parts = receipt.network + receipt.data
        _add(paid.unlocked, payer, Line("network fee and data part", "C4", parts, receipt_id))
    if entry.effects & journal.REFUNDED:
        _add(paid.refunds, payer, Line("fee refunded", "C4", entry.moved, receipt_id))
        _add(paid.unlocked, payer, Line("fee refunded", "C4", entry.moved, receipt_id))
    if entry.effects & journal.POOLED:
        title = "disputed too long: to the network pool"
        _add(paid.unlocked, payer, Line(title, "C4", entry.moved, receipt_id))


def _released(tables: Tables, receipt_id: bytes, receipt: Receipt, paid: Payments) -> None:
    if receipt.model_part:
        line = Line("model part of a use", "C6", receipt.model_part, receipt_id)
        paid.due(receipt.model, MODEL).lines.append(line)
    agent = tables.agents.get(receipt.agent) if receipt.agent is not None else None
    if agent is not None:
        line = Line("agent part of a use", "C6", receipt.agent_part, receipt_id)
        _add(paid.agent, agent.operator, line)


def _settled(
    declarations: Declarations | None, receipt_id: bytes, receipt: Receipt, paid: Payments
) -> None:
    if not receipt.data or receipt.payer is None:
        return
    parts = data_parts(receipt_id, receipt.data, receipt.weights, receipt.unattributed)
    refund = parts.pop()
    for (contribution_id, ppm), part in zip(receipt.weights, parts, strict=True):
        title = f"{ppm:,} ppm of the data part of a use"
        paid.due(contribution_id, DATA).lines.append(Line(title, "C7", part, receipt_id))
    if declarations is not None:
        unattributed, refund = refund, declarations.of(receipt.model).refund(refund)
        declared = paid.declared.get(receipt.model, 0) + unattributed - refund
        paid.declared[receipt.model] = declared
    title = f"{receipt.unattributed:,} ppm of the data part, unattributed"
    _add(paid.refunds, receipt.payer, Line(title, "C7", refund, receipt_id))


def _missing(some_id: bytes) -> StoreDamaged:
    return StoreDamaged(f"the journal names {some_id.hex()}, which the state does not hold")


def _contribution(tables: Tables, contribution_id: bytes) -> Contribution:
    contribution = tables.contributions.get(contribution_id)
    if contribution is None:
        raise _missing(contribution_id)
    return contribution


def _divide(tables: Tables, epoch: journal.Journal, paid: Payments) -> None:
    released: Mapping[bytes, tuple[str, int]] = {
        artefact_id: (due.role, due.total) for artefact_id, due in paid.dues.items()
    }
    for artefact_id, (role, amount) in released.items():
        takes, rest = floor_parts(amount, _artefact(tables, artefact_id, role).floors)
        if rest != amount:
            line = Line("floors of what it was made from", "C8", rest - amount, artefact_id)
            paid.dues[artefact_id].lines.append(line)
        for ancestor, part in takes:
            line = Line("floor of what was made from it", "C8", part, artefact_id)
            paid.due(ancestor, role).lines.append(line)
    for artefact_id, due in paid.dues.items():
        artefact = _artefact(tables, artefact_id, due.role)
        if not artefact.creators:
            due.shares = [(artefact.account, due.total, True)]
            continue
        parts = creator_parts(due.total, artefact.creators, epoch.cut_id)
        due.shares = [
            (account, part, since is not None and since <= epoch.epoch)
            for (account, part), since in zip(parts, artefact.accepted, strict=True)
        ]


def _artefact(tables: Tables, artefact_id: bytes, role: str) -> Contribution | Model:
    if role == DATA:
        return _contribution(tables, artefact_id)
    model = tables.models.get(artefact_id)
    if model is None:
        raise _missing(artefact_id)
    return model
