"""One use worked out by hand, C5 to C10: two contributors, one model, a fee of 10 credits.

fee                                      10,000,000
C5  network fee   10,000,000 * 500 // 10,000        =    500,000   to the network pool
    net                                             =  9,500,000
C6  data          9,500,000 * 4,000 / 10,000        =  3,800,000
    model         9,500,000 * (3,500 + 2,500) / ... =  5,700,000   no agent: its part is the model's
C7  ada           3,800,000 * 600,000 / 1,000,000   =  2,280,000
    bob           3,800,000 * 300,000 / 1,000,000   =  1,140,000
    unattributed  3,800,000 * 100,000 / 1,000,000   =    380,000   refunded to the payer
C10 all of ada's part to ada, of bob's to bob, of the model's to maker
"""

from __future__ import annotations

import pytest

from openledger_node.credit.explain import ExplainNode, explain_receipt, explain_row
from openledger_node.ledger.kinds import PPM
from tests.kit.ledgerkit import CREDIT, contribution, model
from tests.kit.stage import Stage

pytestmark = pytest.mark.rule("C5", "C6", "C7", "C8", "C10", "C13")


def test_a_fee_of_ten_credits_is_divided_as_worked_out_by_hand() -> None:
    stage = Stage()
    use = stage.use(10_000_000)
    stage.confirm(use)
    stage.close()
    assert stage.pool == 500_000
    assert stage.balance(stage.ada) == 2_280_000
    assert stage.balance(stage.bob) == 1_140_000
    assert stage.balance(stage.maker) == 5_700_000
    assert stage.balance(stage.user) == 60_000_000 + 380_000
    assert stage.locked(stage.user) == 30_000_000
    view = stage.receipt(use)
    assert (view.network_micro, view.data_micro) == (500_000, 3_800_000)
    assert (view.model_micro, view.agent_micro) == (5_700_000, 0)
    assert view.status == "matured"


def test_the_statement_has_each_role_and_the_refund_in_its_own_column() -> None:
    stage = Stage()
    stage.confirm(stage.use(10_000_000))
    stage.close()
    ada, maker, user = stage.row(stage.ada), stage.row(stage.maker), stage.row(stage.user)
    assert ada is not None and maker is not None and user is not None
    assert (ada.units_paid, ada.earned_data_micro, ada.refunds_micro) == (600_000, 2_280_000, 0)
    assert (maker.earned_data_micro, maker.earned_model_micro) == (0, 5_700_000)
    assert (user.refunds_micro, user.balance_micro, user.locked_micro) == (
        380_000,
        60_380_000,
        30_000_000,
    )


def test_with_an_agent_its_operator_earns_a_quarter_of_the_net() -> None:
    """C6: 9,500,000 is 3,800,000 data, 3,325,000 model, 2,375,000 agent."""
    stage = Stage()
    stage.use(10_000_000, agent=stage.agent)
    stage.close()
    assert stage.balance(stage.maker) == 3_325_000
    assert stage.balance(stage.eve) == 2_375_000
    eve = stage.row(stage.eve)
    assert eve is not None and eve.earned_agent_micro == 2_375_000


def test_floors_and_shared_creation_by_hand() -> None:
    """C8: a derived work passes 2,500 bp on. C10: its rest is shared 3 to 1 with an account that
    has not accepted, whose part waits in escrow.

    data 3,800,000, all of it the derived work's; floor 3,800,000 * 2,500 // 10,000 = 950,000 to
    ada; rest 2,850,000: bob 2,137,500, eve 712,500 in escrow.
    """
    stage = Stage()
    body = contribution(
        "Derived", creators=[(stage.bob.id, 3), (stage.eve.id, 1)], derived_from=[(stage.a, 2_500)]
    )
    derived = stage.bob.add("data.contribute", body)
    stage.close()
    stage.use(10_000_000, weights=[(derived, PPM)])
    stage.close()
    assert stage.balance(stage.ada) == 950_000
    assert stage.balance(stage.bob) == 2_137_500
    assert stage.balance(stage.eve) == 0
    stage.accept(derived, by=stage.eve)
    stage.close()
    assert stage.balance(stage.eve) == 712_500


def test_a_model_on_a_base_passes_its_floor_on() -> None:
    """C8 on models: 5,700,000 * 1,000 // 10,000 = 570,000 to the base's maker."""
    stage = Stage()
    tuned = stage.eve.add("model.register", model("Tuned", bases=[(stage.m, 1_000)]))
    stage.close()
    stage.use(10_000_000, model_id=tuned)
    stage.close()
    assert stage.balance(stage.maker) == 570_000
    assert stage.balance(stage.eve) == 5_130_000


def test_nine_micro_credits_are_handed_out_to_the_last_one() -> None:
    """C5: 9 * 500 // 10,000 = 0. C6 over 4,000 and 6,000: 3.6 and 5.4, so 4 and 5. C7: 2.4, 1.2 and
    0.4, so the one left over goes to the larger of the equal remainders' hashes."""
    stage = Stage()
    stage.use(9)
    stage.close()
    assert stage.pool == 0
    assert stage.balance(stage.maker) == 5
    ada, bob = stage.balance(stage.ada), stage.balance(stage.bob)
    refund = stage.balance(stage.user) - 60 * CREDIT
    assert ada + bob + refund == 4
    assert (ada, bob, refund) in {(3, 1, 0), (2, 1, 1)}


def _find(node: ExplainNode, title: str) -> ExplainNode:
    found = next((n for n in _walk(node) if n.title.startswith(title)), None)
    assert found is not None, [n.title for n in _walk(node)]
    return found


def _walk(node: ExplainNode) -> list[ExplainNode]:
    return [node, *(each for child in node.children for each in _walk(child))]


def test_explain_names_each_step_with_its_rule() -> None:
    stage = Stage()
    use = stage.use(10_000_000)
    stage.confirm(use)
    before = stage.ledger.epochs[-1].folded.statement
    stage.close()
    after = stage.ledger.epochs[-1].folded.statement
    tree = explain_row(
        stage.ledger.state, after, stage.journal(), stage.ada.id, before.row(stage.ada.id)
    )
    assert tree is not None and tree.amount_micro == 2_280_000
    earned = _find(tree, "earned as data")
    assert (earned.amount_micro, earned.children[0].rule) == (2_280_000, "C10")
    line = _find(earned, "600,000 ppm of the data part")
    assert (line.rule, line.amount_micro, line.subject) == ("C7", 2_280_000, use)
    assert _find(tree, "units of paid uses").amount_micro == 600_000
    receipt = explain_receipt(stage.ledger.state, use, [stage.journal()])
    assert receipt is not None
    steps = {(n.title, n.rule): n.amount_micro for n in _walk(receipt)}
    assert steps["network fee", "C5"] == 500_000
    assert steps["data part", "C6"] == 3_800_000
    assert steps["600,000 ppm", "C7"] == 2_280_000
    assert steps["100,000 ppm unattributed", "C7"] == 380_000
    assert any("network fee and data part paid" in n.title for n in _walk(receipt))
