"""Phase 7: redeem and payout; every way to burn or take what is somebody else's."""

from __future__ import annotations

import pytest

from openledger_node.credit import views
from openledger_node.ledger import kinds
from tests.kit.ledgerkit import CREDIT, digest
from tests.kit.stage import Stage

pytestmark = pytest.mark.rule("C16")


def redeemed() -> tuple[Stage, bytes]:
    """A stage in which the user's redeem of 20 credits is final."""
    stage = Stage()
    redeem = stage.redeem(20 * CREDIT)
    stage.close()
    return stage, redeem


def burned(stage: Stage) -> int:
    return views.totals(stage.ledger.state).burned_micro


def open_micro(stage: Stage, redeem: bytes) -> int:
    view = views.redeem(stage.ledger.state, redeem)
    assert view is not None
    return view.open_micro


def test_a_redeem_locks_and_a_payout_burns() -> None:
    stage, redeem = redeemed()
    assert (stage.balance(stage.user), stage.locked(stage.user)) == (40 * CREDIT, 60 * CREDIT)
    stage.payout((redeem, 15 * CREDIT))
    stage.close()
    assert stage.locked(stage.user) == 45 * CREDIT
    assert burned(stage) == 15 * CREDIT
    assert open_micro(stage, redeem) == 5 * CREDIT
    stage.payout((redeem, 5 * CREDIT))
    stage.close()
    assert open_micro(stage, redeem) == 0
    stage.assert_theft_fails(stage.payout((redeem, 1)), "C16", "not_open")


def test_a_payout_of_a_redeem_of_the_same_epoch_is_void() -> None:
    stage = Stage()
    redeem = stage.redeem(20 * CREDIT, by=stage.user)
    payout = stage.payout((redeem, CREDIT))
    stage.close()
    assert stage.void(payout) in {("C16", "not_open"), ("C16", "not_own_redeem")}
    assert burned(stage) == 0


def test_two_payouts_in_one_epoch_share_what_was_open() -> None:
    stage, redeem = redeemed()
    first = stage.payout((redeem, 12 * CREDIT))
    second = stage.payout((redeem, 12 * CREDIT))
    third = stage.payout((redeem, 8 * CREDIT))
    stage.close()
    assert [stage.void(each) for each in (first, second, third)] == [
        None,
        ("C16", "not_open"),
        None,
    ]
    assert burned(stage) == 20 * CREDIT


def test_nobody_but_the_issuer_pays_out() -> None:
    stage, redeem = redeemed()
    stage.assert_theft_fails(stage.payout((redeem, CREDIT), by=stage.eve), "C16", "not_own_redeem")
    stage.assert_theft_fails(stage.payout((redeem, CREDIT), by=stage.user), "C16", "not_own_redeem")


def test_a_payout_is_void_as_a_whole() -> None:
    stage, redeem = redeemed()
    other = stage.redeem(CREDIT)
    stage.close()
    for items in (
        ((redeem, CREDIT), (digest("no redeem"), 1)),
        ((redeem, CREDIT), (stage.g, 1)),
    ):
        stage.assert_theft_fails(stage.payout(*items), "C16", "not_own_redeem")
    too_much = stage.payout((redeem, CREDIT), (other, CREDIT + 1))
    stage.assert_theft_fails(too_much, "C16", "not_open")
    twice = stage.payout((redeem, CREDIT), (redeem, CREDIT))
    stage.assert_theft_fails(twice, "C16", "duplicate")
    stage.assert_theft_fails(stage.payout(), "C16", "empty")


def test_a_redeem_names_an_issuer_and_keeps_its_own_minimum() -> None:
    stage = Stage()
    to_eve = stage.user.add("money.redeem", kinds.MoneyRedeem(stage.eve.id, CREDIT, 0))
    stage.assert_theft_fails(to_eve, "C16", "not_an_issuer")
    stage.assert_theft_fails(stage.redeem(CREDIT, CREDIT + 1), "C16", "below_minimum")
    stage.assert_theft_fails(stage.redeem(0), "C16", "no_standing_order")


def test_a_reversed_payout_gives_its_amounts_back_to_the_redeems() -> None:
    stage, redeem = redeemed()
    payout = stage.payout((redeem, 15 * CREDIT))
    stage.close()
    back = stage.payout(reverses=payout)
    stage.close()
    assert stage.void(back) is None
    assert burned(stage) == 0
    assert open_micro(stage, redeem) == 20 * CREDIT
    assert stage.locked(stage.user) == 60 * CREDIT
    again = stage.payout((redeem, 20 * CREDIT))
    stage.close()
    assert stage.void(again) is None


def test_what_a_reversal_gives_back_is_payable_in_the_next_epoch() -> None:
    stage, redeem = redeemed()
    payout = stage.payout((redeem, 20 * CREDIT))
    stage.close()
    stage.payout(reverses=payout)
    too_soon = stage.payout((redeem, CREDIT))
    stage.close()
    assert stage.void(too_soon) == ("C16", "not_open")
    assert open_micro(stage, redeem) == 20 * CREDIT


def test_one_payout_may_reverse_and_pay_anew() -> None:
    stage, redeem = redeemed()
    wrong = stage.payout((redeem, 5 * CREDIT))
    stage.close()
    right = stage.payout((redeem, 15 * CREDIT), reverses=wrong)
    stage.close()
    assert stage.void(right) is None
    assert open_micro(stage, redeem) == 5 * CREDIT
    assert burned(stage) == 15 * CREDIT


def test_a_payout_is_reversed_once_by_its_own_issuer_and_reversals_never() -> None:
    stage, redeem = redeemed()
    payout = stage.payout((redeem, 5 * CREDIT))
    stage.close()
    stage.assert_theft_fails(stage.payout(reverses=payout, by=stage.eve), "C16", "not_own_payout")
    stage.assert_theft_fails(stage.payout(reverses=redeem), "C16", "not_own_payout")
    reversal = stage.payout(reverses=payout)
    stage.close()
    stage.assert_theft_fails(stage.payout(reverses=payout), "C16", "reversed_before")
    stage.assert_theft_fails(stage.payout(reverses=reversal), "C16", "reversed_before")


def test_a_standing_order_locks_what_is_spendable_at_the_end_of_every_epoch() -> None:
    stage = Stage()
    order = stage.redeem(None, 10 * CREDIT)
    spent = stage.transfer(stage.user, stage.ada.id, 15 * CREDIT)
    stage.close()
    assert stage.void(spent) is None
    assert open_micro(stage, order) == 45 * CREDIT
    assert stage.balance(stage.user) == 0
    stage.issue(stage.user, 9 * CREDIT)
    stage.close(2)
    assert open_micro(stage, order) == 45 * CREDIT, "below its minimum"
    stage.issue(stage.user, CREDIT)
    stage.close()
    assert open_micro(stage, order) == 45 * CREDIT, "spendable in the next epoch only"
    stage.close()
    assert open_micro(stage, order) == 55 * CREDIT
    stage.payout((order, 55 * CREDIT))
    stage.close()
    assert burned(stage) == 55 * CREDIT


def test_a_standing_order_is_replaced_and_ended_by_its_account() -> None:
    stage = Stage()
    stage.redeem(None, 100 * CREDIT)
    newer = stage.redeem(None, 70 * CREDIT)
    stage.close()
    orders = list(views.standing_orders(stage.ledger.state))
    assert [(order.redeem_id, order.minimum_micro) for order in orders] == [(newer, 70 * CREDIT)]
    by_eve = stage.redeem(0, by=stage.eve)
    stage.assert_theft_fails(by_eve, "C16", "no_standing_order")
    stage.redeem(0)
    stage.close()
    assert list(views.standing_orders(stage.ledger.state)) == []
    assert stage.balance(stage.user) == 60 * CREDIT
