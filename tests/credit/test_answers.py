"""Phase 5: confirm, cancel, dispute, challenge, verdict, and how a held fee ends."""

from __future__ import annotations

import pytest

from openledger_node.credit import views
from openledger_node.ledger import kinds
from openledger_node.ledger.kinds import PPM
from tests.kit.ledgerkit import CREDIT
from tests.kit.stage import Stage

FEE = 10 * CREDIT


def held_stage() -> tuple[Stage, bytes]:
    """A stage whose fees mature after two epochs, with a use of 10 credits that is final."""
    stage = Stage(maturity_epochs=2, dispute_epochs=3)
    use = stage.use(FEE)
    stage.close()
    return stage, use


@pytest.mark.rule("C4", "C15")
def test_a_confirm_releases_model_and_agent_parts_and_counts_units_at_once() -> None:
    stage, use = held_stage()
    stage.confirm(use)
    stage.close()
    assert stage.balance(stage.maker) == 5_700_000
    assert stage.balance(stage.ada) == stage.pool == 0
    assert stage.locked(stage.user) == 30 * CREDIT + 4_300_000
    assert stage.view(stage.ada).units_paid == 600_000
    stage.close()
    assert stage.balance(stage.ada) == 2_280_000
    assert stage.pool == 500_000
    assert stage.balance(stage.maker) == 5_700_000
    assert stage.view(stage.ada).units_paid == 600_000


@pytest.mark.rule("C4")
def test_only_the_payer_confirms_and_disputes_and_only_the_provider_cancels() -> None:
    stage, use = held_stage()
    thefts = [
        (stage.confirm(use, by=stage.maker), "not_the_payer"),
        (stage.confirm(use, by=stage.ada), "not_the_payer"),
        (stage.dispute(use, by=stage.maker), "not_the_payer"),
        (stage.cancel(use, by=stage.user), "not_the_provider"),
    ]
    before = stage.purses()
    stage.close()
    assert [stage.void(each) for each, _ in thefts] == [("C4", code) for _, code in thefts]
    assert stage.purses() == before


@pytest.mark.rule("C4", "C15")
def test_a_second_confirm_pays_nothing() -> None:
    stage, use = held_stage()
    stage.confirm(use)
    second = stage.confirm(use)
    stage.close()
    assert stage.void(second) == ("C4", "confirmed_before")
    stage.close()
    units = stage.view(stage.ada).units_paid
    third = stage.confirm(use)
    stage.assert_theft_fails(third, "C4", "confirmed_before")
    assert stage.view(stage.ada).units_paid == units


@pytest.mark.rule("C4")
def test_after_a_confirm_there_is_neither_dispute_nor_cancel() -> None:
    stage, use = held_stage()
    stage.confirm(use)
    stage.close()
    dispute, cancel = stage.dispute(use), stage.cancel(use)
    stage.close()
    assert stage.void(dispute) == ("C4", "confirmed_before")
    assert stage.void(cancel) == ("C4", "confirmed_before")
    assert stage.receipt(use).status == "matured"


@pytest.mark.rule("C4", "C15")
def test_a_late_confirm_counts_units_and_moves_nothing() -> None:
    stage, use = held_stage()
    stage.close(2)
    assert stage.receipt(use).status == "matured"
    before = stage.purses()
    late = stage.confirm(use)
    stage.close()
    assert stage.void(late) is None
    assert stage.purses() == before
    assert stage.view(stage.ada).units_paid == 600_000


@pytest.mark.rule("C4")
def test_a_cancel_refunds_all_that_is_held() -> None:
    stage, use = held_stage()
    stage.cancel(use)
    stage.close()
    assert stage.balance(stage.user) == 70 * CREDIT
    assert stage.locked(stage.user) == 30 * CREDIT
    row = stage.row(stage.user)
    assert row is not None and row.refunds_micro == FEE
    stage.close(3)
    assert stage.pool == stage.balance(stage.maker) == 0
    for event in (stage.confirm(use), stage.dispute(use), stage.cancel(use)):
        stage.assert_theft_fails(event, "C4", "settled")


@pytest.mark.rule("C4")
def test_the_epoch_of_maturity_is_the_last_in_which_to_dispute() -> None:
    stage, use = held_stage()
    stage.close()
    assert stage.next_epoch == stage.receipt(use).matures_epoch
    in_time = stage.dispute(use)
    stage.close()
    assert stage.void(in_time) is None
    assert stage.receipt(use).status == "held"
    other = stage.use(CREDIT)
    stage.close(3)
    stage.assert_theft_fails(stage.dispute(other), "C4", "settled")


@pytest.mark.rule("C4")
def test_a_dispute_is_held_past_maturity_until_the_payer_confirms() -> None:
    stage, use = held_stage()
    stage.dispute(use)
    twice = stage.dispute(use)
    stage.close(2)
    assert stage.void(twice) == ("C4", "disputed_before")
    assert stage.balance(stage.ada) == 0
    assert stage.locked(stage.user) == 40 * CREDIT
    stage.confirm(use)
    stage.close()
    assert stage.balance(stage.ada) == 2_280_000
    assert stage.balance(stage.maker) == 5_700_000
    assert stage.pool == 500_000


@pytest.mark.rule("C4")
def test_a_dispute_that_nobody_ends_goes_to_the_pool_and_neither_side_gains() -> None:
    stage, use = held_stage()
    stage.dispute(use)
    stage.close()
    deadline = stage.receipt(use).disputed_until_epoch
    assert deadline == stage.ledger.epoch + 3
    stage.close(2)
    assert stage.receipt(use).status == "held"
    stage.close()
    assert stage.ledger.epoch == deadline
    assert stage.receipt(use).status == "pooled"
    assert stage.pool == FEE
    assert stage.balance(stage.user) == 60 * CREDIT
    assert stage.balance(stage.maker) == stage.balance(stage.ada) == 0
    stage.assert_theft_fails(stage.confirm(use), "C4", "settled")


@pytest.mark.rule("C4")
def test_a_cancel_ends_a_dispute_with_a_refund() -> None:
    stage, use = held_stage()
    stage.dispute(use)
    stage.close()
    stage.cancel(use)
    stage.close()
    assert stage.balance(stage.user) == 70 * CREDIT
    assert stage.pool == 0


@pytest.mark.rule("C15")
def test_without_a_grant_the_first_confirm_by_another_account_counts_unpaid_units() -> None:
    stage = Stage()
    use = stage.use(uses=7)
    own = stage.confirm(use, by=stage.maker)
    stage.close()
    assert stage.void(own) == ("C15", "own_receipt")
    assert stage.view(stage.ada).units_unpaid == 0
    stage.confirm(use, by=stage.eve)
    stage.close()
    assert stage.view(stage.ada).units_unpaid == 7 * 600_000
    assert stage.view(stage.bob).units_unpaid == 7 * 300_000
    assert stage.view(stage.ada).units_paid == 0
    again = stage.confirm(use, by=stage.user)
    stage.assert_theft_fails(again, "C15", "confirmed_before")


@pytest.mark.rule("C15")
def test_a_cancelled_use_without_a_grant_counts_for_nobody() -> None:
    stage = Stage()
    use = stage.use()
    stage.close()
    stage.cancel(use)
    stage.close()
    stage.assert_theft_fails(stage.confirm(use, by=stage.eve), "C15", "settled")
    assert stage.view(stage.ada).units_unpaid == 0


@pytest.mark.rule("C15")
def test_a_ledger_of_one_account_earns_nothing_from_itself() -> None:
    stage = Stage()
    use = stage.use(weights=[(stage.a, PPM)], by=stage.ada)
    stage.confirm(use, by=stage.ada)
    before = stage.view(stage.ada)
    stage.close()
    assert stage.view(stage.ada) == before


@pytest.mark.rule("C4")
def test_a_challenge_holds_a_receipt_and_lapses_without_a_verdict() -> None:
    stage, use = held_stage()
    stage.challenge(use)
    stage.close(2)
    assert stage.receipt(use).status == "held"
    assert stage.receipt(use).held_until_epoch == stage.ledger.epoch + 2
    stage.close()
    assert stage.balance(stage.ada) == 0
    assert views.due_in(stage.ledger.state, stage.next_epoch)
    stage.close()
    assert stage.receipt(use).status == "matured"
    assert stage.balance(stage.ada) == 2_280_000


@pytest.mark.rule("C4")
def test_only_the_first_challenge_counts_and_none_after_maturity() -> None:
    stage, use = held_stage()
    both = [stage.challenge(use), stage.challenge(use, by=stage.bob)]
    stage.close()
    assert sorted(map(str, map(stage.void, both))) == [
        "('CH', 'challenged_before')",
        "None",
    ]
    stage.close(4)
    assert stage.receipt(use).status == "matured"
    stage.assert_theft_fails(stage.challenge(use, by=stage.bob), "CH", "challenged_before")
    other = stage.use(CREDIT)
    stage.close(3)
    stage.assert_theft_fails(stage.challenge(other), "CH", "settled")


@pytest.mark.rule("C4")
def test_an_upheld_challenge_refunds_all_unmatured_receipts_of_the_provider() -> None:
    stage, use = held_stage()
    other = stage.use(CREDIT)
    unpaid = stage.use()
    stage.challenge(use)
    stage.close()
    stage.verdict(use, 1)
    stage.close()
    assert stage.balance(stage.user) == 60 * CREDIT + FEE + CREDIT
    assert stage.receipt(use).status == stage.receipt(other).status == "upheld"
    assert stage.receipt(unpaid).status == "upheld"
    stage.close(4)
    assert stage.balance(stage.maker) == stage.balance(stage.ada) == stage.pool == 0
    stage.assert_theft_fails(stage.confirm(use), "C4", "settled")
    stage.assert_theft_fails(stage.confirm(unpaid, by=stage.eve), "C15", "settled")


@pytest.mark.rule("C4")
def test_a_refused_challenge_lets_the_receipt_mature() -> None:
    stage, use = held_stage()
    stage.challenge(use)
    stage.close(2)
    stage.verdict(use, 0)
    stage.close()
    assert stage.receipt(use).status == "matured"
    assert stage.balance(stage.ada) == 2_280_000


@pytest.mark.rule("C4", "C15")
def test_a_confirm_under_a_challenge_waits_for_its_end() -> None:
    stage, use = held_stage()
    stage.challenge(use)
    stage.close()
    stage.confirm(use)
    stage.close()
    assert stage.balance(stage.maker) == 0
    assert stage.view(stage.ada).units_paid == 0
    stage.verdict(use, 0)
    stage.close()
    assert stage.balance(stage.maker) == 5_700_000
    assert stage.view(stage.ada).units_paid == 600_000


@pytest.mark.rule("C4")
def test_a_confirm_under_a_challenge_that_is_upheld_never_takes_effect() -> None:
    stage, use = held_stage()
    stage.challenge(use)
    stage.close()
    stage.confirm(use)
    stage.verdict(use, 1)
    stage.close()
    assert stage.balance(stage.user) == 70 * CREDIT
    assert stage.view(stage.ada).units_paid == 0
    assert stage.balance(stage.maker) == 0


@pytest.mark.rule("C4")
def test_what_a_confirm_released_is_not_refunded_by_a_later_verdict() -> None:
    stage, use = held_stage()
    stage.confirm(use)
    stage.challenge(use, by=stage.user)
    stage.close()
    stage.verdict(use, 1)
    stage.close()
    assert stage.balance(stage.maker) == 5_700_000
    assert stage.balance(stage.user) == 60 * CREDIT + 4_300_000
    assert stage.locked(stage.user) == 30 * CREDIT


@pytest.mark.rule("C4")
def test_a_disputed_and_challenged_receipt_is_pooled_only_when_the_challenge_ended() -> None:
    stage, use = held_stage()
    stage.dispute(use)
    stage.close()
    stage.challenge(use)
    stage.close()
    deadline = stage.receipt(use).disputed_until_epoch
    assert deadline is not None
    stage.close(deadline - stage.ledger.epoch)
    assert stage.receipt(use).status == "held"
    stage.close()
    assert stage.receipt(use).status == "pooled"
    assert stage.pool == FEE


@pytest.mark.rule("C4")
def test_verdicts_come_from_seats_on_open_challenges_once_each() -> None:
    stage, use = held_stage()
    early = stage.verdict(use, 1)
    stage.assert_theft_fails(early, "CH", "no_challenge")
    stage.challenge(use)
    by_eve = stage.verdict(use, 1, by=stage.eve)
    stage.assert_theft_fails(by_eve, "CH", "not_a_seat")
    assert stage.receipt(use).status == "held"


@pytest.mark.rule("C4")
def test_a_quorum_of_seats_decides_and_a_seat_votes_once() -> None:
    from tests.kit.ledgerkit import Ledger, model, receipt

    names = ["s0", "s1", "s2", "s3"]
    ledger = Ledger.network(names, ["s0"], dispute_epochs=6)
    seats = [ledger.account(name) for name in names]
    maker, user = ledger.account("maker"), ledger.account("user")
    ledger.close_epoch()
    seats[0].add("money.issue", kinds.MoneyIssue(user.id, CREDIT, ""))
    made = maker.add("model.register", model())
    ledger.close_epoch()
    grant = user.add("money.grant", kinds.MoneyGrant(maker.id, CREDIT, None))
    ledger.close_epoch()
    use = maker.add("use.receipt", receipt(made, grant=grant, fee=CREDIT, snapshot=3))
    user.add("audit.challenge", kinds.AuditChallenge(use, "arithmetic"))
    ledger.close_epoch()
    seats[0].add("audit.verdict", kinds.AuditVerdict(use, 1))
    twice = seats[0].add("audit.verdict", kinds.AuditVerdict(use, 0))
    seats[1].add("audit.verdict", kinds.AuditVerdict(use, 1))
    seats[2].add("audit.verdict", kinds.AuditVerdict(use, 0))
    ledger.close_epoch()
    assert views.void_reason(ledger.state, twice) == ("CH", "voted_before")
    view = views.receipt(ledger.state, use)
    assert view is not None and view.status == "held"
    seats[3].add("audit.verdict", kinds.AuditVerdict(use, 1))
    ledger.close_epoch()
    view = views.receipt(ledger.state, use)
    assert view is not None and view.status == "upheld"
    account = views.account(ledger.state, user.id)
    assert account is not None and account.balance_micro == CREDIT


@pytest.mark.rule("C4")
def test_answers_to_what_is_no_receipt_are_void() -> None:
    stage = Stage()
    for event in (stage.confirm(stage.a), stage.cancel(stage.m), stage.dispute(stage.g)):
        stage.assert_theft_fails(event, "C4", "wrong_type")
    stage.assert_theft_fails(stage.challenge(stage.a), "CH", "wrong_type")


def test_a_derivation_counts_when_owned_accepted_or_upheld() -> None:
    stage = Stage()
    body = kinds.DataDerivation(stage.a, bytes(32), ((stage.b, 10),))
    own = stage.ada.add("data.derivation", body)
    accepted, upheld, open_ = (stage.bob.add("data.derivation", body) for _ in range(3))
    stage.close()
    stage.accept(accepted, by=stage.ada)
    stolen = stage.accept(upheld, by=stage.bob)
    stage.challenge(open_)
    stage.verdict(upheld, 1)
    stage.close()
    state = stage.ledger.state
    status = {view.derivation_id: view.status for view in views.derivations(state)}
    assert status == {own: "counts", accepted: "counts", upheld: "upheld", open_: "pending"}
    assert stage.void(stolen) == ("OWN", "not_the_owner")
    again = stage.challenge(open_)
    stage.assert_theft_fails(again, "CH", "challenged_before")
    view = views.derivation(state, open_)
    assert view is not None and view.challenged
