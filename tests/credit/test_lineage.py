"""C8 and C10: floors over a lineage, creators, escrow; nobody gains by wrapping or naming."""

from __future__ import annotations

import pytest

from openledger_node.credit import views
from openledger_node.ledger import kinds
from openledger_node.ledger.kinds import PPM
from tests.kit.ledgerkit import CREDIT, contribution, digest, model
from tests.kit.stage import Stage

FEE = 10 * CREDIT
DATA = 3_800_000


def derive(stage: Stage, *floors: tuple[bytes, int], by: str = "eve") -> bytes:
    """A contribution by `by` that is derived from others, final."""
    account = stage.ledger.account(by)
    made = account.add("data.contribute", contribution("Derived", derived_from=floors))
    stage.close()
    return made


@pytest.mark.rule("C8")
def test_a_diamond_pays_its_common_ancestor_once_at_the_largest_floor() -> None:
    """a is under x (2,000) and y (3,000); z on both: a takes 3,000 bp, x and y 1,000 each."""
    stage = Stage()
    x = derive(stage, (stage.a, 2_000), by="eve")
    y = derive(stage, (stage.a, 3_000), by="bob")
    z = derive(stage, (x, 1_000), (y, 1_000), by="maker")
    view = views.contribution(stage.ledger.state, z)
    assert view is not None
    assert dict(view.floors_bp) == {stage.a: 3_000, x: 1_000, y: 1_000}
    stage.use(FEE, [(z, PPM)])
    stage.close()
    assert stage.balance(stage.ada) == DATA * 3 // 10
    assert stage.balance(stage.eve) == stage.balance(stage.bob) == DATA // 10
    assert stage.view(stage.maker).earned_data_micro == DATA // 2


@pytest.mark.rule("C8")
def test_wrapping_ones_own_work_pays_nothing_extra() -> None:
    plain, wrapped = Stage(), Stage()
    plain.use(FEE, [(plain.a, PPM)])
    plain.close()
    wrap = derive(wrapped, (wrapped.a, 5_000), by="ada")
    again = derive(wrapped, (wrap, 4_000), by="ada")
    wrapped.use(FEE, [(again, PPM)])
    wrapped.close()
    assert wrapped.balance(wrapped.ada) == plain.balance(plain.ada) == DATA


@pytest.mark.rule("C8")
def test_floors_sum_to_at_most_9000_bp() -> None:
    stage = Stage()
    full = stage.eve.add(
        "data.contribute", contribution(derived_from=[(stage.a, 4_500), (stage.b, 4_500)])
    )
    over = stage.eve.add(
        "data.contribute", contribution(derived_from=[(stage.a, 4_500), (stage.b, 4_501)])
    )
    stage.close()
    assert stage.void(full) is None
    assert stage.void(over) == ("C8", "too_much")
    inherited = stage.eve.add("data.contribute", contribution(derived_from=[(full, 1)]))
    stage.close()
    assert stage.void(inherited) == ("C8", "too_much")


@pytest.mark.rule("C8")
def test_a_lineage_has_at_most_64_ancestors() -> None:
    stage = Stage()
    bases = [stage.ada.add("data.contribute", contribution(f"{i}")) for i in range(64)]
    stage.close()
    full = derive(stage, *((base, 1) for base in bases))
    assert stage.void(full) is None
    over = derive(stage, (full, 1))
    assert stage.void(over) == ("C8", "too_many")


@pytest.mark.rule("C8")
def test_an_artefact_names_each_base_once_and_of_its_own_type() -> None:
    stage = Stage()
    assert stage.void(derive(stage, (stage.a, 1), (stage.a, 2))) == ("C8", "duplicate")
    assert stage.void(derive(stage, (stage.m, 1))) == ("C8", "wrong_type")
    bad = stage.eve.add("model.register", model(bases=[(stage.a, 1)]))
    stage.close()
    assert stage.void(bad) == ("C8", "wrong_type")


@pytest.mark.rule("C8", "C10")
def test_floors_are_taken_once_from_the_sum_of_an_epoch() -> None:
    """Three uses of 3 micro-credits of data each: the floor is 9 * 3,333 // 10,000 = 2, not 0."""
    stage = Stage(network_fee_bp=0, role_bp=(10_000, 0, 0))
    x = derive(stage, (stage.a, 3_333))
    for _ in range(3):
        stage.use(3, [(x, PPM)])
    stage.close()
    assert stage.balance(stage.ada) == 2
    assert stage.balance(stage.eve) == 7


@pytest.mark.rule("C10")
def test_creators_share_by_their_declared_shares_and_strangers_wait_in_escrow() -> None:
    stage = Stage()
    nobody = digest("an account that does not exist")
    creators = [(stage.ada.id, 2), (stage.bob.id, 1), (nobody, 1)]
    work = stage.ada.add("data.contribute", contribution(creators=creators))
    stage.close()
    stage.accept(work, by=stage.bob)
    stage.close()
    stage.use(FEE, [(work, PPM)])
    stage.close()
    assert stage.balance(stage.ada) == DATA // 2
    assert stage.balance(stage.bob) == DATA // 4
    assert [view.amount_micro for view in views.escrows(stage.ledger.state, work)] == [DATA // 4]
    assert views.totals(stage.ledger.state).escrow_micro == DATA // 4


@pytest.mark.rule("C10")
def test_escrow_is_paid_when_its_creator_accepts() -> None:
    stage = Stage()
    made = stage.maker.add(
        "model.register", model("Joint", creators=[(stage.eve.id, 1), (stage.maker.id, 3)])
    )
    stage.close()
    stage.use(FEE, model_id=made)
    stage.close()
    assert stage.balance(stage.eve) == 0
    before = stage.ledger.epochs[-1].folded.statement.row(stage.eve.id)
    stage.accept(made, by=stage.eve)
    stage.use(FEE, model_id=made)
    stage.close()
    assert before is None
    assert stage.balance(stage.eve) == 2 * 5_700_000 // 4
    row = stage.row(stage.eve)
    assert row is not None and row.earned_model_micro == 2 * 5_700_000 // 4
    assert list(views.escrows(stage.ledger.state)) == []


@pytest.mark.rule("C10")
def test_only_named_creators_accept_and_once() -> None:
    stage = Stage()
    work = stage.ada.add("data.contribute", contribution(creators=[(stage.bob.id, 1)]))
    stage.close()
    stage.assert_theft_fails(stage.accept(work, by=stage.eve), "C10", "not_a_creator")
    stage.assert_theft_fails(stage.accept(work, by=stage.ada), "C10", "not_a_creator")
    stage.assert_theft_fails(stage.accept(stage.a, by=stage.eve), "C10", "not_a_creator")
    stage.assert_theft_fails(stage.accept(stage.g, by=stage.eve), "C10", "wrong_type")
    stage.accept(work, by=stage.bob)
    stage.close()
    stage.assert_theft_fails(stage.accept(work, by=stage.bob), "C10", "accepted_before")


@pytest.mark.rule("C10")
def test_an_account_stands_once_among_the_creators() -> None:
    stage = Stage()
    twice = [(stage.ada.id, 1), (stage.ada.id, 2)]
    data = stage.ada.add("data.contribute", contribution(creators=twice))
    made = stage.ada.add("model.register", model("Twice", creators=twice))
    stage.close()
    assert stage.void(data) == stage.void(made) == ("C10", "duplicate")


@pytest.mark.rule("C10")
def test_naming_strangers_as_creators_gains_nothing() -> None:
    honest, scheming = Stage(), Stage()
    earned = []
    for stage, creators in ((honest, []), (scheming, [("eve", 1), ("stranger", 9)])):
        accounts = [(stage.ledger.account(name).id, share) for name, share in creators]
        work = stage.eve.add("data.contribute", contribution(creators=accounts))
        stage.close()
        stage.use(FEE, [(work, PPM)])
        stage.close()
        earned.append(stage.balance(stage.eve))
    assert earned[1] < earned[0]


def test_owners_alone_share_withdraw_and_erase() -> None:
    stage = Stage()
    for kind, body in (
        ("data.share", kinds.DataShare(stage.a, "all")),
        ("data.withdraw", kinds.DataWithdraw(stage.a, "")),
        ("data.erase", kinds.DataErase(stage.a, "")),
        ("data.erase", kinds.DataErase(stage.m, "")),
        ("data.erase", kinds.DataErase(stage.g, "")),
    ):
        stage.assert_theft_fails(stage.eve.add(kind, body), "OWN", "not_the_owner")
    own = stage.user.add("data.erase", kinds.DataErase(stage.g, ""))
    listed = stage.ada.add("data.share", kinds.DataShare(stage.a, (stage.eve.id,)))
    stage.close()
    assert stage.void(own) is None
    assert stage.void(listed) is None
    view = views.contribution(stage.ledger.state, stage.a)
    assert view is not None and view.share == (stage.eve.id,) and view.withdrawn_epoch is None


def test_common_text_is_named_by_the_accounts_of_the_params() -> None:
    stage = Stage()
    by_eve = stage.eve.add("data.commons", kinds.DataCommons(stage.a))
    stage.assert_theft_fails(by_eve, "R1", "not_named")
    stage.coop.add("data.commons", kinds.DataCommons(stage.a))
    stage.close()
    view = views.contribution(stage.ledger.state, stage.a)
    assert view is not None and view.commons
