"""Views: what node and command line read of the state, one by one and in lists."""

from __future__ import annotations

import pytest

from openledger_node.credit import views
from openledger_node.ledger import kinds
from tests.kit.ledgerkit import CREDIT, MemoryState, contribution, digest, model
from tests.kit.stage import Stage


def full_stage() -> Stage:
    """A stage with at least one of everything that a view shows."""
    stage = Stage(maturity_epochs=1)
    net = stage.eve.add("datanet.create", kinds.DatanetCreate("Net", "", "CC"))
    stage.close()
    stage.eve.add("data.contribute", contribution("In the net", datanet=net))
    body = kinds.DataDerivation(stage.a, bytes(32), ())
    stage.ada.add("data.derivation", body)
    stage.maker.add("model.register", model("Trained", trained_on=[(stage.a, 7)]))
    stage.use(10 * CREDIT)
    redeem = stage.redeem(CREDIT)
    stage.redeem(None, 50 * CREDIT, by=stage.ada)
    stage.close()
    stage.payout((redeem, CREDIT // 2))
    stage.transfer(stage.eve, stage.ada.id, 1)
    stage.eve.add("data.contribute", contribution("Waits", derived_from=[(digest("?"), 1)]))
    stage.close()
    return stage


def test_each_list_holds_what_the_single_views_show() -> None:
    state = full_stage().ledger.state
    for everything, one, name in (
        (views.accounts, views.account, "account_id"),
        (views.contributions, views.contribution, "contribution_id"),
        (views.models, views.model, "model_id"),
        (views.agents, views.agent, "agent_id"),
        (views.datanets, views.datanet, "datanet_id"),
        (views.derivations, views.derivation, "derivation_id"),
        (views.grants, views.grant, "grant_id"),
        (views.receipts, views.receipt, "receipt_id"),
        (views.redeems, views.redeem, "redeem_id"),
        (views.payouts, views.payout, "payout_id"),
        (views.all_parked, views.parked, "event_id"),
    ):
        listed = list(everything(state))
        assert listed
        ids = [getattr(view, name) for view in listed]
        assert ids == sorted(ids)
        assert [one(state, each) for each in ids] == listed
        assert one(state, digest("nothing")) is None


def test_ids_are_found_by_kind_and_by_prefix() -> None:
    stage = full_stage()
    state = stage.ledger.state
    expected = {
        stage.a: "data.contribute",
        stage.m: "model.register",
        stage.agent: "agent.register",
        stage.g: "money.grant",
        stage.ada.id: "account",
    }
    for some_id, kind in expected.items():
        assert views.what_is(state, some_id) == kind
        assert (kind, some_id) in views.find_ids(state, some_id[:4])
        assert views.find_ids(state, some_id) == [(kind, some_id)]
    assert views.what_is(state, digest("nothing")) is None
    assert views.find_ids(state, digest("nothing")) == []
    void = next(views.voids(state))[0]
    assert views.what_is(state, void) is None


def test_a_prefix_of_everything_finds_a_bounded_number() -> None:
    stage = Stage()
    for i in range(views.MAX_FOUND_IDS + 5):
        stage.ada.add("data.contribute", contribution(f"{i}"))
    stage.close()
    assert len(views.find_ids(stage.ledger.state, b"")) == views.MAX_FOUND_IDS


def test_totals_rules_and_last_epoch_follow_the_ledger() -> None:
    stage = full_stage()
    state, ledger = stage.ledger.state, stage.ledger
    totals = views.totals(state)
    assert totals.issued_micro == 100 * CREDIT
    assert totals.burned_micro == CREDIT // 2
    assert totals.contributions == len(list(views.contributions(state)))
    assert views.last_epoch(state) == (ledger.epoch, ledger.epochs[-1].cut.cut_id)
    assert views.state_digest(state) == ledger.epochs[-1].folded.state_digest
    rules = views.rules(state)
    assert rules.seats == ledger.genesis.seat_keys
    assert rules.set_digest == ledger.epochs[-1].folded.next_set_digest


def test_what_may_be_spent_is_the_balance_of_the_last_epoch() -> None:
    stage = full_stage()
    state = stage.ledger.state
    assert views.spendable_micro(state, stage.user.id) == stage.balance(stage.user)
    assert views.spendable_micro(state, digest("nobody")) == 0


def test_a_models_training_and_a_receipts_parts_are_shown() -> None:
    stage = full_stage()
    state = stage.ledger.state
    trained = [view.trained_on for view in views.models(state)]
    assert ((stage.a, 7),) in trained
    receipt = next(views.receipts(state))
    parts = (
        receipt.network_micro,
        receipt.data_micro,
        receipt.model_micro,
        receipt.agent_micro,
    )
    assert sum(parts) == receipt.fee_micro == 10 * CREDIT
    assert receipt.status == "matured"
    assert receipt.held_micro == 0


def test_an_epoch_is_due_only_while_something_falls_due() -> None:
    stage = Stage(maturity_epochs=2)
    assert not views.due_in(stage.ledger.state, stage.next_epoch + 100)
    use = stage.use(CREDIT)
    stage.close()
    matures = stage.receipt(use).matures_epoch
    assert not views.due_in(stage.ledger.state, matures - 1)
    assert views.due_in(stage.ledger.state, matures)
    stage.cancel(use)
    stage.close()
    assert not views.due_in(stage.ledger.state, matures)


def test_a_state_that_was_never_begun_is_not_read() -> None:
    empty = MemoryState()
    for read in (views.rules, views.totals, views.last_epoch, views.state_digest):
        with pytest.raises(KeyError):
            read(empty)
