"""The books: all that the phases of one epoch share, and the verdicts they can pass on an event.

A phase handles an event in one of three ways: it takes effect, it is void (with a rule and a
reason, forever), or it waits for an id (`parking`). Every handler checks first and changes last, so
a void event has changed nothing.
"""

from __future__ import annotations

from typing import TypeVar

from openledger_node.credit import journal
from openledger_node.credit.inputs import StateReader
from openledger_node.credit.overlay import Table, Tables
from openledger_node.credit.parking import Item, Parking
from openledger_node.credit.settling import Due, Settling
from openledger_node.credit.state_records import Contribution, Receipt, Record, Void

R = TypeVar("R", bound=Record)


class Books:
    """One epoch while it is folded.

    `settling` has the sums of what receipts release, `due` the receipts that phase 6 looks at
    again, `unmatured` those that may be held by provider, once somebody asks, `accepts` the escrow
    that phase 6 pays out. `drawable` has, by snapshot epoch, contributions found to stand for it;
    `fee_splits`, by (fee, has an agent), the parts of fees that no receipt's id has a say in.
    """

    def __init__(
        self,
        state: StateReader,
        ledger_id: bytes,
        epoch: int,
        cut_id: bytes,
        phase_of: dict[str, int],
    ) -> None:
        self.tables = tables = Tables(state)
        self.ledger_id = ledger_id
        self.epoch = epoch
        self.cut_id = cut_id
        self.rules = tables.rules
        self.params = tables.rules.params
        self.totals = tables.totals
        self.opening_totals = (
            self.totals.issued,
            self.totals.burned,
            self.totals.pool,
            self.totals.escrow,
        )
        self.parking = Parking(tables.parked, phase_of)
        self.waiting = self.parking.waiting
        self.settling = Settling(tables, tables.rules.params.unattributed)
        self.movements: list[journal.Movement] = []
        self.escrow_paid: list[journal.EscrowPaid] = []
        self.effects: dict[bytes, int] = {}
        self.moved: dict[bytes, int] = {}
        self.due: dict[bytes, None] = {}
        self.unmatured: dict[bytes, list[bytes]] | None = None
        self.accepts: list[tuple[bytes, bytes, bool]] = []
        self.issued_by: dict[bytes, int] = {}
        self.payable: dict[bytes, int] = {}
        self.drawable: dict[int, dict[bytes, Due[Contribution]]] = {}
        self.fee_splits: dict[tuple[int, bool], tuple[int, int, int, int]] = {}
        self.events_read = 0
        self.receipts_made = 0
        self.opening_serial = self.totals.serial
        self._maturing_epoch = -1
        self._maturing: list[bytes] = []

    def void(self, item: Item, rule: str, code: str) -> None:
        """`item` has no effect, by `rule`."""
        self.void_id(item.event_id, rule, code)

    def void_id(self, event_id: bytes, rule: str, code: str) -> None:
        self.tables.voids.put(event_id, Void(rule, code))
        if event_id in self.waiting:
            self.parking.wake(event_id)

    def now_known(self, known_id: bytes) -> None:
        """`known_id` names something from now on."""
        if known_id in self.waiting:
            self.parking.wake(known_id)

    def kind_of(self, some_id: bytes) -> str | None:
        """What an event id names: a word, `void`, or None while it names nothing."""
        for word, table in self.tables.by_kind:
            if table.get(some_id) is not None:
                return word
        return None

    def resolve(self, item: Item, table: Table[R], some_id: bytes, rule: str) -> R | None:
        """The record that `item` names in `table`; None when `item` was parked or made void
        instead.
        """
        record = table.get(some_id)
        if record is not None:
            return record
        self.unresolved(item, some_id, rule)
        return None

    def unresolved(self, item: Item, some_id: bytes, rule: str) -> None:
        """Parks or voids `item`, which names an id that is not of the type it must be."""
        word = self.kind_of(some_id)
        if word is None:
            self.parking.park(item, some_id)
        elif word == "void":
            self.void(item, rule, "names_void")
        else:
            self.void(item, rule, "wrong_type")

    def move(
        self, what: str, event_id: bytes, source: bytes | None, target: bytes | None, amount: int
    ) -> None:
        """Notes a movement of money for the journal."""
        self.movements.append(journal.Movement(what, event_id, source, target, amount))

    def note(self, receipt_id: bytes, effect: int, moved: int = 0) -> None:
        """Notes what became of a receipt for the journal."""
        self.effects[receipt_id] = self.effects.get(receipt_id, 0) | effect
        if moved:
            self.moved[receipt_id] = self.moved.get(receipt_id, 0) + moved

    def reopen(self, receipt_id: bytes, receipt: Receipt) -> None:
        """Before a receipt is answered: if it was settled as it was filed, it is held again."""
        if self.settling.reopen(receipt_id, receipt):
            self.effects.pop(receipt_id, None)
            self.due[receipt_id] = None

    def maturing(self, epoch: int) -> list[bytes]:
        """The receipts that mature at the end of `epoch`, about to be added to."""
        if epoch != self._maturing_epoch:
            self._maturing_epoch = epoch
            self._maturing = self.tables.agenda(epoch).maturing
        return self._maturing
