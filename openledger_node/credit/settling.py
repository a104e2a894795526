"""Settling receipts: what C4 to C7 make of a held fee, as sums of the epoch.

All that settling does is add integers up, so it may be done in any order, and taken back by adding
the same with the other sign. A receipt that matures in the epoch in which it is filed is settled in
phase 4, while all of it is at hand: going through an epoch's receipts a second time costs more in
memory that has to be fetched again than in arithmetic. Whatever names such a receipt in phase 5
first reopens it: it is then held, as any other, until phase 6 settles it. Phase 6 writes the sums
into purses and the pool, once each.

What receipts name (contributions, models, agents) is looked up once each: a `Due` stands beside the
record with what was released to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

from openledger_node.credit import journal
from openledger_node.credit.declared import Declarations
from openledger_node.credit.overlay import Table, Tables
from openledger_node.credit.splits import data_parts
from openledger_node.credit.state_records import (
    HELD,
    Agent,
    Contribution,
    Model,
    Receipt,
    Record,
)

R = TypeVar("R", bound=Record)


class Due(msgspec.Struct, Generic[R], gc=False, eq=False):
    """What was released to something in this epoch, in micro-credits."""

    record: R
    amount: int = 0


class Dues(Generic[R]):
    """The dues of one type of thing, by id."""

    __slots__ = ("held", "table")

    def __init__(self, table: Table[R]) -> None:
        self.table = table
        self.held: dict[bytes, Due[R]] = {}

    def find(self, some_id: bytes) -> Due[R] | None:
        """The due of what `some_id` names; None when that is nothing of this type."""
        due = self.held.get(some_id)
        if due is None and (record := self.table.get(some_id)) is not None:
            due = self.held[some_id] = Due(record)
        return due

    def of(self, some_id: bytes) -> Due[R]:
        """The due of something that is there: the state names it."""
        return self.held.get(some_id) or self.held.setdefault(
            some_id, Due(self.table.known(some_id))
        )


class Payer(msgspec.Struct, gc=False, eq=False):
    """What settled receipts come to for their payer. A payer of settled receipts is written even
    where they come to nothing.
    """

    receipts: int = 0
    unlocked: int = 0
    refunds: int = 0


class Settling:
    """The sums of an epoch, in micro-credits.

    `declared` has, by model, what is left unattributed to what each model declares (C7). `early`
    names the receipts that were settled as they were filed.
    """

    def __init__(self, tables: Tables, policy: str) -> None:
        self.tables = tables
        self.contributions: Dues[Contribution] = Dues(tables.contributions)
        self.models: Dues[Model] = Dues(tables.models)
        self.agents: Dues[Agent] = Dues(tables.agents)
        self.payers: dict[bytes, Payer] = {}
        self.declared: dict[bytes, int] = {}
        self.pool = 0
        self.early: set[bytes] = set()
        self.declarations = Declarations(tables) if policy == "trained_on" else None

    def settle(
        self,
        receipt_id: bytes,
        receipt: Receipt,
        released: int,
        dues: Sequence[Due[Contribution]],
        sign: int = 1,
    ) -> int:
        """Adds up a receipt that matures (-1: takes it back); returns its effects for the journal.

        `released` 1: a confirm has released the model and agent parts before. `dues` are those of
        its contributions, in the order of its weights.
        """
        payer = receipt.payer
        if payer is None:
            return 0
        sums = self.payers.get(payer)
        if sums is None:
            sums = self.payers[payer] = Payer()
        sums.receipts += sign
        data, effects = receipt.data, 0
        unlocked = receipt.network + data
        if unlocked:
            effects = journal.SETTLED
            self.pool += sign * receipt.network
        if data:
            parts = data_parts(receipt_id, data, receipt.weights, receipt.unattributed)
            rest = parts.pop()
            for due, part in zip(dues, parts, strict=True):
                due.amount += sign * part
            if rest:
                sums.refunds += sign * self._refunded(receipt.model, rest, sign)
        if not released and (parted := receipt.model_part + receipt.agent_part):
            effects |= journal.RELEASED
            unlocked += parted
            self.release(receipt, sign)
        sums.unlocked += sign * unlocked
        return effects

    def _refunded(self, model_id: bytes, unattributed: int, sign: int) -> int:
        """C7: what of the unattributed part is refunded; the rest is summed up for the model's."""
        if self.declarations is None:
            return unattributed
        refund = self.declarations.of(model_id).refund(unattributed)
        so_far = self.declared.get(model_id, 0)
        self.declared[model_id] = so_far + sign * (unattributed - refund)
        return refund

    def release(self, receipt: Receipt, sign: int = 1) -> None:
        """The model part to the model, the agent part to the agent (C6)."""
        self.models.of(receipt.model).amount += sign * receipt.model_part
        if receipt.agent is not None:
            self.agents.of(receipt.agent).amount += sign * receipt.agent_part

    def dues_of(self, receipt: Receipt) -> list[Due[Contribution]]:
        """The dues of a receipt's contributions, in the order of its weights."""
        held, of = self.contributions.held, self.contributions.of
        return [held.get(some_id) or of(some_id) for some_id, _ in receipt.weights]

    def reopen(self, receipt_id: bytes, receipt: Receipt) -> bool:
        """Makes a receipt that was settled early held again; whether it was."""
        if receipt_id not in self.early:
            return False
        self.early.remove(receipt_id)
        self.settle(receipt_id, receipt, 0, self.dues_of(receipt), -1)
        receipt.status, receipt.released = HELD, 0
        self.tables.receipts.touch(receipt_id)
        return True

    def write(self) -> None:
        """What the receipts come to for their payers and for agents' operators.

        The pool and the artefacts are left to phase 6.
        """
        purses = self.tables.purses
        for account, sums in self.payers.items():
            if sums.receipts:
                purse = purses.known(account)
                purse.locked -= sums.unlocked
                purse.balance += sums.refunds
                purse.refunds += sums.refunds
        for due in self.agents.held.values():
            if due.amount:
                purse = purses.known(due.record.operator)
                purse.balance += due.amount
                purse.earned_agent += due.amount
