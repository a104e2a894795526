"""Rules that say what does not happen: licences, copies, the pool; and the rules' own texts."""

from __future__ import annotations

import pytest

from openledger_node.credit.rules import REASONS, RULES
from openledger_node.credit.statement import Row
from openledger_node.ledger import kinds
from openledger_node.ledger.kinds import PPM
from tests.kit.ledgerkit import CREDIT, contribution
from tests.kit.stage import Stage


def rows_with_licence(licence: str) -> list[tuple[int, ...]]:
    """The figures after a use of a contribution under this licence, without the accounts."""
    stage = Stage()
    body = kinds.DataContribute(None, "T", licence, "text/plain", 1, 1, 1, 1, (), ())
    made = stage.ada.add("data.contribute", body)
    stage.close()
    stage.use(10 * CREDIT, [(made, PPM)])
    stage.close()
    rows: tuple[Row, ...] = stage.ledger.epochs[-1].folded.statement.rows
    return [(row.earned_data_micro, row.balance_micro, row.locked_micro) for row in rows]


@pytest.mark.rule("C9")
def test_licences_change_no_credit() -> None:
    assert rows_with_licence("CC0-1.0") == rows_with_licence("Proprietary")


@pytest.mark.rule("C11")
def test_a_copy_that_names_its_origin_pays_it() -> None:
    stage = Stage()
    copy = stage.eve.add("data.contribute", contribution(derived_from=[(stage.a, 9_000)]))
    stage.close()
    stage.use(10 * CREDIT, [(copy, PPM)])
    stage.close()
    assert stage.balance(stage.ada) == 3_420_000
    assert stage.balance(stage.eve) == 380_000


@pytest.mark.rule("C12")
def test_the_pool_only_grows_and_nobody_is_paid_from_it() -> None:
    stage = Stage(maturity_epochs=1, dispute_epochs=1)
    pools = [stage.pool]
    for fee in (CREDIT, 2 * CREDIT, 3 * CREDIT):
        stage.dispute(stage.use(fee))
        stage.confirm(stage.use(fee))
        stage.close(2)
        pools.append(stage.pool)
    assert pools == sorted(set(pools))
    before = stage.pool
    stage.close(5)
    assert stage.pool == before


@pytest.mark.rule("C15", "C1")
def test_splitting_one_identity_changes_its_total_by_less_than_its_parts() -> None:
    """k accounts that share one contribution's creation earn together what one would."""
    totals = []
    for k in (1, 2, 5):
        stage = Stage()
        others = [stage.ledger.account(f"part {i}") for i in range(k)]
        creators = [(account.id, 1) for account in others]
        work = others[0].add("data.contribute", contribution(creators=creators))
        stage.close()
        for account in others[1:]:
            stage.accept(work, by=account)
        stage.close()
        stage.use(9_999_991, [(work, 333_333)])
        stage.close()
        totals.append(sum(stage.balance(account) for account in others))
    assert max(totals) - min(totals) < 5


@pytest.mark.rule("C7")
def test_more_weight_never_pays_less() -> None:
    paid = []
    for ppm in range(0, 1_000_001, 125_000):
        stage = Stage()
        weights = [(stage.a, ppm)] if ppm else []
        stage.use(101, weights)
        stage.close()
        paid.append(stage.balance(stage.ada))
    assert paid == sorted(paid)
    assert paid[-1] > paid[0] == 0


@pytest.mark.rule("C5")
def test_a_coalition_that_pays_itself_loses_the_network_fee() -> None:
    """Payer, provider and contributor are one coalition: 5 % of what it spends is gone."""
    stage = Stage()
    before = sum(map(stage.balance, (stage.user, stage.maker, stage.ada)))
    use = stage.use(40 * CREDIT, [(stage.a, PPM)])
    stage.confirm(use)
    stage.close()
    after = sum(map(stage.balance, (stage.user, stage.maker, stage.ada)))
    assert after - before == 40 * CREDIT - 2 * CREDIT
    assert stage.pool == 2 * CREDIT


def test_every_reason_belongs_to_a_rule() -> None:
    assert {rule for rule, _ in REASONS} <= {*RULES, "*"}
    assert all(text and text[0].islower() for text in REASONS.values())
    assert all(text.endswith(".") for text in RULES.values())
