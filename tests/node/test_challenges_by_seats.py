"""Four seats decide a challenge: each computes the receipt from what it was given."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from openledger_node.attribution.canon import CanonText
from openledger_node.attribution.reference import Attribution
from openledger_node.credit import views
from openledger_node.node import uses
from openledger_node.node.results import EventShown
from openledger_node.node.scopes import Gathered
from openledger_node.node.uses import AttributedOutput
from tests.kit.homes import CREDIT, no_waiting_for_the_disk, words
from tests.node.test_voting import NAMES, Clock, Council

TEXT = words("harbour", 120)
OUTPUT = words("harbour", 30, 20).encode()
FEE = 10 * CREDIT


def nothing_found(output: bytes, text: CanonText, gathered: Gathered) -> AttributedOutput:
    return AttributedOutput(output, text, Attribution(len(text), (), ()))


class Together:
    """Four seats, of whom `ana` pays, and a provider that leaves a span out."""

    def __init__(self, place: Path, stack: ExitStack) -> None:
        self.council = Council(place, stack, Clock(), maturity_epochs=8)
        self.order = random.Random(7)
        self.everybody = [*NAMES, "maker"]
        self.council.join("maker")
        self.settle()

    def settle(self) -> None:
        """Everybody hears everybody, until all that was written is final everywhere."""
        for name in NAMES:
            self.council.carry("maker", name)
        self.council.rounds(5, NAMES, self.order)
        for source in NAMES:
            for target in self.everybody:
                if source != target:
                    self.council.carry(source, target)

    def cheat(self, monkeypatch: pytest.MonkeyPatch) -> str:
        """A paid receipt, final, whose provider attributed nothing."""
        ana, maker = self.council["ana"], self.council["maker"]
        file = self.council.place / "harbour.txt"
        file.write_text(TEXT)
        added = ana.data_add([file], title="Harbour", share="all")
        ana.issue(100 * CREDIT, ana.status().account_id, "deposit")
        self.settle()
        assert added.contribution_id is not None
        model = maker.model_register("m", trained_on=[(added.contribution_id, 1)])
        grant = ana.grant(maker.status().account_id, 50 * CREDIT, expires=40)
        self.settle()
        with monkeypatch.context() as patch:
            patch.setattr(uses, "attribute_one", nothing_found)
            used = maker.use(model.model_id, OUTPUT, grant=grant.grant_id, fee_micro=FEE)
        assert used.ppm == {}
        self.settle()
        return used.receipt_id

    def hand_over(self, receipt: str, *homes: str) -> None:
        bundle = self.council.place / f"{len(homes)}.evidence"
        self.council["maker"].bundle_export(bundle, evidence=[receipt])
        for name in homes:
            assert not self.council[name].bundle_import(bundle).refused

    def status(self, receipt: str) -> set[str]:
        """What became of a receipt, by every home."""
        found = set()
        for name in self.everybody:
            with self.council[name].core.store.read() as snapshot:
                view = views.receipt(snapshot.state, bytes.fromhex(receipt))
            assert view is not None
            found.add(view.status)
        return found

    def verdicts(self) -> tuple[EventShown, ...]:
        return self.council["ana"].log(kind="audit.verdict", limit=None).events


@pytest.fixture
def together(tmp_path: Path) -> Iterator[Together]:
    with no_waiting_for_the_disk(), ExitStack() as stack:
        yield Together(tmp_path, stack)


@pytest.mark.rule("J1")
def test_three_of_four_seats_uphold_a_challenge(
    together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = together.cheat(monkeypatch)
    together.hand_over(receipt, "ana", "bo", "cy")
    done = together.council["ana"].challenge(receipt)
    assert done.ground == "better_span"
    together.settle()
    together.settle()
    counted = [e.body["upheld"] for e in together.verdicts() if e.status == "final"]
    assert counted[:3] == [1, 1, 1]
    assert together.status(receipt) == {"upheld"}
    row = next(
        row
        for row in together.council["ana"].credits().accounts
        if row.account_id == together.council["ana"].status().account_id
    )
    assert (row.refunds_micro, row.balance_micro) == (FEE, 50 * CREDIT + FEE)


@pytest.mark.rule("J1", "J2")
def test_seats_without_the_evidence_vote_when_half_the_hold_is_over(
    together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = together.cheat(monkeypatch)
    together.hand_over(receipt, "ana", "bo")
    filed = together.council["ana"].challenge(receipt)
    for name in ("one", "two", "three", "four"):
        together.council["bo"].datanet_create(name)
        together.settle()
    assert together.status(receipt) == {"upheld"}
    epochs = sorted(event.epoch or 0 for event in together.verdicts())
    challenged = together.council["ana"].show(filed.event_id or "").epoch or 0
    # The hold ends at challenged + 4: whoever lacks the evidence votes from challenged + 2 on.
    assert epochs[0] == epochs[1] == challenged + 1
    assert challenged + 2 <= epochs[2] <= challenged + 4
    assert {event.body["upheld"] for event in together.verdicts()} == {1}
