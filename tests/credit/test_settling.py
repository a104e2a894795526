"""Receipts that mature in their own epoch are settled as they are filed; answers come in time."""

from __future__ import annotations

import pytest

from openledger_node.credit import journal, views
from openledger_node.credit.state_records import MATURED
from tests.kit.ledgerkit import CREDIT
from tests.kit.stage import Stage


def effects(stage: Stage) -> dict[bytes, int]:
    return {entry.receipt_id: entry.effects for entry in stage.journal().receipts}


@pytest.mark.rule("C4")
def test_a_receipt_that_nobody_answers_is_paid_in_its_own_epoch() -> None:
    stage = Stage(maturity_epochs=0)
    receipt = stage.use(10 * CREDIT)
    stage.close()
    assert stage.receipt(receipt).status == "matured"
    assert effects(stage)[receipt] == journal.SETTLED | journal.RELEASED
    assert stage.locked(stage.user) == 30 * CREDIT
    assert stage.balance(stage.ada) == 3_800_000 * 6 // 10


@pytest.mark.rule("C4")
def test_a_dispute_in_the_same_epoch_holds_all_of_the_fee() -> None:
    stage = Stage(maturity_epochs=0)
    receipt, other = stage.use(10 * CREDIT), stage.use(5 * CREDIT)
    stage.dispute(receipt)
    stage.close()
    assert stage.receipt(receipt).status == "held"
    assert receipt not in effects(stage)
    assert stage.receipt(other).status == "matured"
    assert stage.locked(stage.user) == 35 * CREDIT
    assert stage.balance(stage.ada) == 1_900_000 * 6 // 10


@pytest.mark.rule("C4")
def test_a_cancel_in_the_same_epoch_refunds_all_of_the_fee() -> None:
    stage = Stage(maturity_epochs=0)
    receipt = stage.use(10 * CREDIT)
    stage.cancel(receipt)
    stage.close()
    assert stage.receipt(receipt).status == "cancelled"
    assert effects(stage)[receipt] == journal.REFUNDED
    assert (stage.balance(stage.user), stage.pool) == (70 * CREDIT, 0)
    assert stage.balance(stage.ada) == 0


@pytest.mark.rule("C4", "C15")
def test_a_confirm_in_the_same_epoch_counts_units_and_pays_each_part_once() -> None:
    stage, plain = Stage(maturity_epochs=0), Stage(maturity_epochs=0)
    receipt = stage.use(10 * CREDIT, agent=stage.agent)
    plain.use(10 * CREDIT, agent=plain.agent)
    stage.confirm(receipt)
    stage.close()
    plain.close()
    assert effects(stage)[receipt] == journal.SETTLED | journal.RELEASED | journal.UNITS
    assert stage.purses() == plain.purses()
    assert stage.view(stage.ada).units_paid == 600_000


@pytest.mark.rule("C4")
def test_an_answer_that_is_void_changes_nothing_about_the_settling() -> None:
    stage, plain = Stage(maturity_epochs=0), Stage(maturity_epochs=0)
    receipt = stage.use(10 * CREDIT)
    plain.use(10 * CREDIT)
    refused = stage.dispute(receipt, by=stage.eve)
    stage.close()
    plain.close()
    assert stage.void(refused) == ("C4", "not_the_payer")
    assert stage.purses() == plain.purses()
    assert effects(stage)[receipt] == journal.SETTLED | journal.RELEASED


@pytest.mark.rule("C4")
def test_a_challenge_in_the_same_epoch_holds_the_receipt() -> None:
    stage = Stage(maturity_epochs=0)
    receipt = stage.use(10 * CREDIT)
    stage.challenge(receipt)
    stage.close()
    assert stage.receipt(receipt).status == "held"
    assert stage.locked(stage.user) == 40 * CREDIT


@pytest.mark.rule("C4")
def test_an_upheld_challenge_takes_back_what_its_provider_filed_in_the_same_epoch() -> None:
    stage = Stage(maturity_epochs=0)
    challenged = stage.use(10 * CREDIT)
    stage.challenge(challenged)
    stage.close()
    fresh = stage.use(5 * CREDIT)
    stage.verdict(challenged, 1)
    stage.close()
    assert [stage.receipt(each).status for each in (challenged, fresh)] == ["upheld", "upheld"]
    assert stage.balance(stage.user) == 75 * CREDIT
    assert (stage.balance(stage.ada), stage.pool) == (0, 0)


@pytest.mark.rule("C3")
def test_a_use_without_a_fee_on_a_grant_still_writes_its_payer() -> None:
    """The record of a payer is in the delta of the epoch even where it is the same as before."""
    stage = Stage(maturity_epochs=0)
    stage.use(0, grant=stage.g)
    stage.close()
    keys = [key for key, _ in stage.ledger.epochs[-1].folded.delta]
    assert b"B" + stage.user.id in keys
    stage.dispute(stage.use(0, grant=stage.g))
    stage.close()
    keys = [key for key, _ in stage.ledger.epochs[-1].folded.delta]
    assert b"B" + stage.user.id not in keys


@pytest.mark.rule("C4")
def test_a_receipt_settled_early_is_stored_as_matured() -> None:
    stage = Stage(maturity_epochs=0)
    receipt = stage.use(10 * CREDIT)
    stage.close()
    found = views.receipt(stage.ledger.state, receipt)
    assert found is not None and found.held_micro == 0
    assert MATURED == 1
