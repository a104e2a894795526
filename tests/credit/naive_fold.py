"""A second implementation of the fold: plain, slow, from genesis every time.

It shares only the ledger's bytes (events, bodies, key chains, fork proofs) with the package.
Everything is a dict; shares are Fractions; every epoch is replayed from the first. It makes the
statement's rows, the void events with their reasons, and the totals, but no state encoding.

    results = naive_fold(genesis, cuts, leaves)     # cuts: [(cut_id, {log_id: size}), ...]
    results[-1].rows, results[-1].void, results[-1].totals

Phases: 1 accounts, devices, forks; 2 registrations; 3 money; 4 receipts; 5 answers; 6 maturing and
splitting; 7 redeem and payout; 8 witness set. The methods named `do_<kind>` handle one event each:
they return nothing, raise Void, or raise Unknown with the id that the event has to wait for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from openledger_node.ledger import genesis, merkle
from openledger_node.ledger.encoding import encode
from tests.credit.naive_accounts import AccountPhase
from tests.credit.naive_filing import FilingPhases
from tests.credit.naive_records import (
    Due,
    Result,
)
from tests.credit.naive_state import PHASE
from tests.credit.naive_uses import UsePhases


class NaiveLedger(AccountPhase, FilingPhases, UsePhases):
    """Everything that the ledger knows after the epochs replayed so far."""

    def close(self, cut_id: bytes, marks: Mapping[bytes, int]) -> Result:
        """The next epoch, with a cut of these sizes."""
        self.epoch, self.cut_id = self.epoch + 1, cut_id
        self.old_balance = dict(self.balance)
        self.old_open = {i: t.body.open for i, t in self.things.items() if t.type == "redeem"}
        self.taken: dict[bytes, int] = defaultdict(int)
        self.issued_now: dict[bytes, int] = defaultdict(int)
        self.spent = defaultdict(int)
        self.due = Due()
        voided = set(self.void)
        self.phase = 1
        entries = self.phase_1(marks)
        for self.phase in range(2, 9):
            if self.phase == 6:
                self.phase_6()
                continue
            own = [entry for entry in entries if PHASE[entry.kind] == self.phase]
            self.run_phase(sorted(own, key=lambda entry: entry.order))
        self.finish_money_and_rules()
        new_void = {i: why for i, why in self.void.items() if i not in voided}
        return self.result(new_void)

    def locked(self) -> dict[bytes, int]:
        """What of each account is locked: grants, held fees, redeems."""
        locked: dict[bytes, int] = defaultdict(int)
        for thing in self.things.values():
            if thing.type == "grant":
                locked[thing.account] += thing.body.remaining
            elif thing.type == "receipt" and thing.body.payer is not None:
                locked[thing.body.payer] += sum(thing.body.parts.values())
            elif thing.type == "redeem":
                locked[thing.account] += thing.body.open
        return locked

    def result(self, void: dict[bytes, tuple[str, str]]) -> Result:
        locked, due = self.locked(), self.due
        names = {*self.balance, *locked, *due.units_paid, *due.units_unpaid, *due.refunds}
        rows = []
        for account in sorted(names | {account for account, _ in due.earned}):
            figures = [
                due.units_paid[account],
                due.units_unpaid[account],
                *(due.earned[account, role] for role in ("data", "model", "agent")),
                due.refunds[account],
                self.balance[account],
                locked[account],
            ]
            if any(figures):
                rows.append([account, *figures])
        totals = {
            "balances": sum(self.balance.values()),
            "locked": sum(locked.values()),
            "escrow": sum(self.escrow.values()),
            "pool": self.pool,
            "burned": self.burned,
            "issued": self.issued,
        }
        parked = {e.id for entries in self.waiting.values() for e in entries}
        root = merkle.root([encode(row) for row in rows])
        parked |= {entry.id for entry in self.woken}
        uses = Counter(t.body.status for t in self.things.values() if t.type == "receipt")
        closed = len(self.closed)
        return Result(self.epoch, rows, root, void, parked, totals, uses, closed, self.rules.number)


def naive_fold(
    first: genesis.Genesis,
    cuts: Sequence[tuple[bytes, Mapping[bytes, int]]],
    leaves: Mapping[bytes, Sequence[bytes]],
) -> list[Result]:
    """Every epoch's result; `cuts` are (cut id, size of every log that the cut holds)."""
    ledger = NaiveLedger(first, leaves)
    return [ledger.close(cut_id, marks) for cut_id, marks in cuts]
