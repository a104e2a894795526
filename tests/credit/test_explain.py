"""Explanations add up to the statement on random ledgers, and refuse to explain what does not."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from openledger_node.credit import views
from openledger_node.credit.explain import explain_receipt, explain_row, explain_void
from openledger_node.credit.journal import parse_journal
from openledger_node.credit.rules import RULES, reason_sentence
from openledger_node.credit.statement import Row, Statement
from openledger_node.ledger.errors import BadInput, StoreDamaged
from tests.credit.strategies import Play
from tests.kit.ledgerkit import CREDIT, contribution, digest
from tests.kit.stage import Stage


@pytest.mark.parametrize("seed", range(12))
def test_every_row_of_every_epoch_is_explained_to_the_last_micro_credit(seed: int) -> None:
    """`explain_row` raises unless its parts add up; the state is the last epoch's."""
    ledger = Play(Random(seed)).run(epochs=8, count=30)
    explained = 0
    for before, after in zip(ledger.epochs, ledger.epochs[1:], strict=False):
        old, new = before.folded.statement, after.folded.statement
        journal = parse_journal(after.folded.journal)
        for account in sorted({row.account for row in (*old.rows, *new.rows)}):
            tree = explain_row(ledger.state, new, journal, account, old.row(account))
            assert tree is not None
            explained += 1
    assert explained > 10


def test_a_row_that_does_not_follow_from_the_journal_is_not_explained() -> None:
    stage = Stage()
    stage.use(10 * CREDIT)
    stage.close()
    statement = stage.ledger.epochs[-1].folded.statement
    row = statement.row(stage.ada.id)
    assert row is not None
    richer = msgspec.structs.replace(row, earned_data_micro=row.earned_data_micro + 1)
    rows: tuple[Row, ...] = tuple(richer if each == row else each for each in statement.rows)
    forged = Statement(statement.epoch, statement.cut_id, rows)
    with pytest.raises(StoreDamaged):
        explain_row(stage.ledger.state, forged, stage.journal(), stage.ada.id, None)


def test_who_has_no_row_has_no_explanation() -> None:
    stage = Stage()
    statement = stage.ledger.epochs[-1].folded.statement
    args = (stage.ledger.state, statement, stage.journal())
    assert explain_row(*args, digest("nobody"), None) is None
    assert explain_receipt(stage.ledger.state, digest("nothing")) is None
    assert explain_void(stage.ledger.state, stage.a) is None


def test_a_receipts_story_is_told_over_its_epochs() -> None:
    stage = Stage(maturity_epochs=1)
    use = stage.use(10 * CREDIT, agent=stage.agent)
    stage.close()
    held = explain_receipt(stage.ledger.state, use)
    assert held is not None and held.children[1].title.startswith("held: matures")
    stage.confirm(use)
    stage.close()
    journals = [stage.journal(epoch) for epoch in range(len(stage.ledger.epochs))]
    told = explain_receipt(stage.ledger.state, use, journals)
    assert told is not None
    fee, status = told.children
    assert fee.amount_micro == sum(child.amount_micro or 0 for child in fee.children)
    data = fee.children[1]
    assert data.amount_micro == sum(child.amount_micro or 0 for child in data.children)
    assert [child.title for child in status.children] == [
        f"epoch {stage.ledger.epoch}: units counted, model and agent parts paid, "
        "network fee and data part paid"
    ]


def test_disputed_and_challenged_receipts_say_until_when() -> None:
    stage = Stage(maturity_epochs=1)
    disputed, challenged = stage.use(CREDIT), stage.use(CREDIT)
    stage.close()
    stage.dispute(disputed)
    stage.challenge(challenged)
    stage.close()
    titles = []
    for use in (disputed, challenged):
        tree = explain_receipt(stage.ledger.state, use)
        assert tree is not None
        titles.append(tree.children[1].title)
    deadline = stage.ledger.epoch + 4
    assert titles == [
        f"held: disputed, at most until epoch {deadline}",
        f"held: challenged, at most until epoch {deadline}",
    ]


def test_a_void_event_is_explained_by_its_rule_and_a_parked_one_by_what_it_awaits() -> None:
    stage = Stage()
    void = stage.transfer(stage.eve, stage.ada.id, 1)
    unknown = digest("?")
    parked = stage.eve.add("data.contribute", contribution(derived_from=[(unknown, 1)]))
    stage.close()
    tree = explain_void(stage.ledger.state, void)
    assert tree is not None and tree.rule == "C1"
    assert "does not fit" in tree.title
    assert tree.children[0].title == RULES["C1"]
    waits = explain_void(stage.ledger.state, parked)
    assert waits is not None and waits.subject == unknown


def test_every_reason_that_occurs_has_a_sentence_and_a_rule() -> None:
    occurred = set()
    for seed in range(12):
        ledger = Play(Random(seed)).run(epochs=8, count=30)
        occurred |= {(rule, code) for _, rule, code in views.voids(ledger.state)}
    assert len(occurred) > 10
    for rule, code in occurred:
        assert rule in RULES
        assert not reason_sentence(rule, code).startswith("reason "), (rule, code)
    assert reason_sentence("C99", "new") == "reason new"


def test_a_journal_that_is_none_is_refused() -> None:
    with pytest.raises(BadInput):
        parse_journal(b"\x90")
