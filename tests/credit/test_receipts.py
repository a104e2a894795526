"""Phase 4: receipts. Every way to draw a fee one is not owed, and to name what cannot be named."""

from __future__ import annotations

import pytest

from openledger_node.credit import views
from openledger_node.ledger import kinds
from openledger_node.ledger.kinds import PPM
from tests.kit.ledgerkit import CREDIT, contribution, digest, receipt
from tests.kit.stage import Stage


@pytest.mark.rule("C3")
def test_a_fee_needs_a_grant() -> None:
    stage = Stage()
    stage.assert_theft_fails(stage.use(CREDIT, grant=None), "C3", "no_grant")


@pytest.mark.rule("C3")
def test_a_fee_on_a_grant_nobody_made_is_void_at_once() -> None:
    stage = Stage()
    stage.assert_theft_fails(stage.use(CREDIT, grant=digest("?")), "C3", "unknown_grant")


@pytest.mark.rule("C3")
def test_only_the_grants_provider_draws_on_it() -> None:
    stage = Stage()
    stage.assert_theft_fails(stage.use(CREDIT, by=stage.eve), "C3", "other_provider")
    stage.assert_theft_fails(stage.use(CREDIT, by=stage.user), "C3", "other_provider")


@pytest.mark.rule("C3")
def test_a_grant_of_the_same_epoch_is_not_drawn_on() -> None:
    stage = Stage()
    grant = stage.grant(stage.user, stage.maker, CREDIT)
    use = stage.use(CREDIT, grant=grant)
    stage.close()
    assert stage.void(use) == ("C3", "grant_not_final")
    assert stage.void(grant) is None
    again = stage.use(CREDIT, grant=grant)
    stage.close()
    assert stage.void(again) is None


@pytest.mark.rule("C3")
def test_fees_never_exceed_the_grant() -> None:
    stage = Stage()
    first = stage.use(39 * CREDIT)
    too_much = stage.use(CREDIT + 1)
    last = stage.use(CREDIT)
    stage.close()
    assert stage.void(too_much) == ("C3", "grant_spent")
    assert stage.void(first) is None
    assert stage.void(last) is None
    grant = views.grant(stage.ledger.state, stage.g)
    assert grant is not None and grant.remaining_micro == 0
    assert stage.locked(stage.user) == 0
    stage.assert_theft_fails(stage.use(1), "C3", "grant_spent")


@pytest.mark.rule("C3")
@pytest.mark.parametrize("age", [0, -1, 5])
def test_a_snapshot_is_one_to_four_epochs_old(age: int) -> None:
    stage = Stage()
    stage.close(4)
    use = stage.use(CREDIT, snapshot=stage.next_epoch - age)
    stage.assert_theft_fails(use, "C3", "snapshot")


@pytest.mark.rule("C3")
@pytest.mark.parametrize("age", [1, 2, 3, 4])
def test_snapshots_of_the_last_four_epochs_are_taken(age: int) -> None:
    stage = Stage()
    stage.close(4)
    use = stage.use(CREDIT, snapshot=stage.next_epoch - age)
    stage.close()
    assert stage.void(use) is None


@pytest.mark.rule("C3")
def test_a_contribution_registered_after_the_snapshot_is_not_named() -> None:
    stage = Stage()
    late = stage.eve.add("data.contribute", contribution("Late"))
    stage.close()
    use = stage.use(CREDIT, [(late, PPM)], snapshot=stage.ledger.epoch - 1)
    stage.assert_theft_fails(use, "C3", "not_final")
    good = stage.use(CREDIT, [(late, PPM)])
    stage.close()
    assert stage.void(good) is None


@pytest.mark.rule("C3")
def test_what_was_withdrawn_by_the_snapshot_is_not_named_and_keeps_what_it_earned() -> None:
    stage = Stage()
    stage.use(10 * CREDIT)
    stage.close()
    earned = stage.balance(stage.ada)
    stage.ada.add("data.withdraw", kinds.DataWithdraw(stage.a, "moved"))
    still = stage.use(CREDIT)
    stage.close()
    assert stage.void(still) is None
    stage.assert_theft_fails(stage.use(CREDIT), "C3", "withdrawn")
    assert stage.balance(stage.ada) > earned > 0


@pytest.mark.rule("C3")
def test_what_was_erased_counts_as_withdrawn() -> None:
    stage = Stage()
    stage.ada.add("data.erase", kinds.DataErase(stage.a, "on request"))
    stage.close()
    view = views.contribution(stage.ledger.state, stage.a)
    assert view is not None and view.erased and view.withdrawn_epoch == stage.ledger.epoch
    stage.assert_theft_fails(stage.use(CREDIT), "C3", "withdrawn")


@pytest.mark.rule("R4")
def test_shares_sum_to_a_million_over_distinct_contributions() -> None:
    stage = Stage()
    too_many = stage.use(CREDIT, [(stage.a, 600_000)], unattributed=400_001)
    stage.assert_theft_fails(too_many, "R4", "sum")
    too_few = stage.use(CREDIT, [(stage.a, 600_000)], unattributed=399_999)
    stage.assert_theft_fails(too_few, "R4", "sum")
    twice = stage.use(CREDIT, [(stage.a, 600_000), (stage.a, 400_000)])
    stage.assert_theft_fails(twice, "R4", "duplicate")


@pytest.mark.rule("C7")
def test_what_draws_on_no_data_is_refunded_its_whole_data_part() -> None:
    """Leaving attributions out gains the provider nothing: the data part is not the model's."""
    stage = Stage()
    stage.use(10 * CREDIT, [])
    stage.close()
    assert stage.balance(stage.maker) == 5_700_000
    assert stage.balance(stage.user) == 60 * CREDIT + 3_800_000


@pytest.mark.rule("C6", "C7")
def test_ids_of_another_kind_make_a_receipt_void() -> None:
    stage = Stage()
    stage.assert_theft_fails(stage.use(CREDIT, model_id=stage.a), "C6", "wrong_type")
    stage.assert_theft_fails(stage.use(CREDIT, agent=stage.m), "C6", "wrong_type")
    stage.assert_theft_fails(stage.use(CREDIT, [(stage.m, PPM)]), "C7", "wrong_type")
    void = stage.transfer(stage.eve, stage.ada.id, 1)
    stage.close()
    stage.assert_theft_fails(stage.use(CREDIT, [(void, PPM)]), "C7", "names_void")


@pytest.mark.rule("C4")
def test_the_split_is_fixed_when_the_receipt_is_filed() -> None:
    stage = Stage(maturity_epochs=2)
    use = stage.use(10 * CREDIT)
    stage.close()
    view = stage.receipt(use)
    assert (view.status, view.held_micro) == ("held", 10 * CREDIT)
    assert view.matures_epoch == stage.ledger.epoch + 2
    assert stage.locked(stage.user) == 40 * CREDIT
    assert stage.balance(stage.ada) == stage.pool == 0
    assert not views.due_in(stage.ledger.state, view.matures_epoch - 1)
    assert views.due_in(stage.ledger.state, view.matures_epoch)
    stage.close(2)
    assert stage.receipt(use).status == "matured"
    assert stage.balance(stage.ada) == 2_280_000


@pytest.mark.rule("L2")
@pytest.mark.parametrize(
    "body",
    [
        [],
        ["not", "a", "receipt"],
        [None, digest("m"), None, 3, 0, digest("o"), 0, [], PPM, "spans"],
        [None, digest("m"), None, 3, 10_001, digest("o"), 0, [], PPM, "spans"],
        [None, digest("m"), None, 3, 1, digest("o"), -1, [], PPM, "spans"],
        [None, digest("m"), None, 3, 1, digest("o"), 2**53, [], PPM, "spans"],
        [None, digest("m"), None, 3, 1, digest("o"), 0, [[digest("a"), 0]], PPM, "spans"],
        [None, digest("m"), None, 3, 1, digest("o"), 0, [[b"short", PPM]], 0, "spans"],
        [None, digest("m"), None, 3, 1, digest("o"), 0, [], PPM, "guess"],
        [None, digest("m"), None, 3, 1, digest("o"), 0, [], PPM, "spans", "more"],
    ],
)
def test_a_malformed_receipt_is_void(body: list[object]) -> None:
    stage = Stage()
    stage.assert_theft_fails(stage.maker.add("use.receipt", body), "L2", "malformed")


@pytest.mark.rule("L2")
def test_a_receipt_names_at_most_256_contributions() -> None:
    stage = Stage()
    many = [(digest("c", i), 1) for i in range(257)]
    body = receipt(stage.m, many, snapshot=3)
    stage.assert_theft_fails(stage.maker.add("use.receipt", body), "L2", "malformed")


@pytest.mark.rule("L2")
def test_a_body_longer_than_its_kind_allows_is_void() -> None:
    stage = Stage()
    long = stage.maker.add("datanet.create", ["name", "x" * 20_000, "CC"])
    stage.assert_theft_fails(long, "L2", "too_long")


@pytest.mark.rule("C7")
def test_trained_on_pays_the_declared_contributions_by_weight() -> None:
    stage = Stage(unattributed="trained_on")
    body = kinds.ModelRegister(
        "Trained", (digest("w"),), (), ((stage.a, 3), (stage.b, 1)), (), "MIT"
    )
    trained = stage.maker.add("model.register", body)
    stage.close()
    stage.use(10 * CREDIT, [], model_id=trained)
    stage.close()
    assert stage.balance(stage.ada) == 2_850_000
    assert stage.balance(stage.bob) == 950_000
    assert stage.balance(stage.user) == 60 * CREDIT


@pytest.mark.rule("C7")
def test_trained_on_a_datanet_pays_its_earlier_members_by_tokens() -> None:
    stage = Stage(unattributed="trained_on")
    net = stage.eve.add("datanet.create", kinds.DatanetCreate("Net", "", "CC"))
    stage.ada.add("data.contribute", contribution("One", tokens=300, datanet=net))
    stage.bob.add("data.contribute", contribution("Two", tokens=100, datanet=net))
    empty = stage.eve.add("datanet.create", kinds.DatanetCreate("Empty", "", "CC"))
    stage.close()
    stage.eve.add("data.contribute", contribution("Late", tokens=900, datanet=net))
    declared = ((net, 3), (empty, 1))
    body = kinds.ModelRegister("Trained", (digest("w"),), (), declared, (), "MIT")
    trained = stage.maker.add("model.register", body)
    stage.close()
    stage.use(10 * CREDIT, [], model_id=trained)
    stage.close()
    assert stage.balance(stage.ada) == 2_850_000 * 3 // 4
    assert stage.balance(stage.bob) == 2_850_000 // 4
    assert stage.balance(stage.eve) == 0
    assert stage.balance(stage.user) == 60 * CREDIT + 950_000
    assert [member.tokens for member in views.members(stage.ledger.state, net)].count(900) == 1


@pytest.mark.rule("C7")
def test_trained_on_nothing_refunds() -> None:
    stage = Stage(unattributed="trained_on")
    stage.use(10 * CREDIT, [])
    stage.close()
    assert stage.balance(stage.user) == 60 * CREDIT + 3_800_000


@pytest.mark.rule("C7")
def test_a_model_declares_each_training_source_once() -> None:
    stage = Stage()
    body = kinds.ModelRegister("Twice", (digest("w"),), (), ((stage.a, 3), (stage.a, 1)), (), "MIT")
    twice = stage.maker.add("model.register", body)
    stage.assert_theft_fails(twice, "C7", "duplicate")
