"""A seat that says too much: what the others decided is found beneath it, whatever came first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from openledger_node.agreement.certificates import SeatSet, sign_vote
from openledger_node.agreement.cut import cut_id_of
from openledger_node.agreement.rounds import MAX_VARIANTS, Decided
from openledger_node.ledger.heads import Mark
from openledger_node.ledger.votes import (
    WitnessFinal,
    WitnessFrontier,
    WitnessNotar,
    WitnessPropose,
    proposal_id,
)
from openledger_node.node.witness_logs import load_round
from openledger_node.store.ingest import ingest
from openledger_node.store.store import Store
from tests.kit.ledgerkit import Ledger, MemoryLog

NAMES = ("seat-0", "seat-1", "seat-2", "seat-3")


class Council:
    """Four seats that decide epoch 1 by a proposal of its leader, as one home reads their logs."""

    def __init__(self, home: Path) -> None:
        self.ledger = Ledger.network(NAMES, ["seat-0"])
        self.store = Store.create(home, self.ledger.genesis)
        self.store.commit_epoch(self.ledger.epochs[0].folded, ())
        self.seats = SeatSet(0, self.ledger.genesis.seat_keys)
        self.leader = self.ledger.accounts[NAMES[self.seats.leader(1, 0)]]
        self.heads = tuple(log.head().signed for log in self.ledger.logs.by_id.values())
        self.marks = tuple(sorted(head.mark for head in self.heads))
        frontiers = [
            self.ledger.accounts[name].add("witness.frontier", WitnessFrontier(1, self.heads))
            for name in NAMES
        ]
        self.true = WitnessPropose(
            1, 0, None, None, (), (), tuple(sorted(frontiers)), self.marks, cut_id_of(self.marks)
        )
        self.named = proposal_id(self.ledger.id, 1, 0, None, self.true.frontiers, self.true.cut_id)

    def false(self, number: int) -> WitnessPropose:
        """The same proposal by its id, with marks that do not make its cut."""
        mark = Mark(self.marks[0].log_id, number + 10, bytes(32))
        fields = {name: getattr(self.true, name) for name in self.true.__struct_fields__}
        return WitnessPropose(**(fields | {"cut_delta": (mark,)}))

    def vote(self) -> None:
        """Three seats notarise the proposal and make it final."""
        voters = [a for a in self.ledger.accounts.values() if a is not self.leader]
        for word in ("notar", "final"):
            for account in voters:
                slot = (1, 0, self.named)
                signature = sign_vote(account.device, word, self.ledger.id, *slot)  # type: ignore[arg-type]
                body: Any = WitnessNotar(*slot, signature)
                if word == "final":
                    body = WitnessFinal(*slot, signature, ())
                account.add(f"witness.{word}", body)

    def other_log(self) -> MemoryLog:
        """Another log of the leader's device: votes count from any."""
        return self.ledger.open_log(self.leader.id, self.leader.device, "another")

    def hold(self, *logs: MemoryLog) -> None:
        for log in logs:
            ingest(self.store, log.genesis, log.head().signed, [log.leaves])

    def hold_all(self) -> None:
        self.hold(*self.ledger.logs.by_id.values())

    def decision(self) -> Decided | None:
        core: Any = SimpleNamespace(ledger_id=self.ledger.id)
        with self.store.read() as snapshot:
            return load_round(core, snapshot, 1).decision(snapshot.cut_marks())


@pytest.fixture
def council(tmp_path: Path) -> Iterator[Council]:
    made = Council(tmp_path / "home")
    yield made
    made.store.close()


@pytest.mark.rule("A9")
@pytest.mark.parametrize("count", [MAX_VARIANTS - 1, MAX_VARIANTS, 3 * MAX_VARIANTS])
def test_false_bodies_in_a_log_that_came_first_do_not_undo_a_decision(
    council: Council, count: int
) -> None:
    """The leader shows its proposal, waits for the votes, and then fills an older log of its device
    with bodies that have the proposal's id and other marks.
    """
    older = council.other_log()
    council.hold(older)
    council.leader.add("witness.propose", council.true)
    council.vote()
    council.hold_all()
    before = council.decision()
    assert before is not None
    for number in range(count):
        older.append("witness.propose", council.false(number))
    council.hold(older)
    assert council.decision() == before


@pytest.mark.rule("A9")
def test_a_late_home_that_meets_the_false_bodies_first_finds_the_decision_too(
    council: Council,
) -> None:
    older = council.other_log()
    for number in range(MAX_VARIANTS + 1):
        older.append("witness.propose", council.false(number))
    council.hold(older)
    assert council.decision() is None
    council.leader.add("witness.propose", council.true)
    council.vote()
    council.hold_all()
    found = council.decision()
    assert found is not None and (found.changed, found.cut_id) == (
        council.marks,
        council.true.cut_id,
    )


@pytest.mark.rule("A9")
def test_where_no_body_makes_the_cut_nothing_is_decided(council: Council) -> None:
    for number in range(MAX_VARIANTS + 3):
        council.leader.add("witness.propose", council.false(number))
    council.vote()
    council.hold_all()
    assert council.decision() is None
