"""One output of known parts, one fee of 10 credits: every figure worked out on paper.

The output has 20 words of "harbour", 15 of "bakers" and 5 of nobody, so 40 tokens:

    harbour       20/40 = 500,000 ppm
    bakers        15/40 = 375,000 ppm
    unattributed   5/40 = 125,000 ppm

The ledger's params: network fee 500 bp, roles 4000/3500/2500, refund, maturity 0. Without an agent
its part is the model's.

    fee                                  10,000,000
    C5  network   10,000,000 * 500 // 10,000 = 500,000
        net                              9,500,000
    C6  data      9,500,000 * 4000 / 10,000 = 3,800,000
        model     9,500,000 * 6000 / 10,000 = 5,700,000
    C7  harbour   3,800,000 * 0.500 = 1,900,000
        bakers    3,800,000 * 0.375 = 1,425,000
        refund    3,800,000 * 0.125 =   475,000   to the payer
    C10 each artefact has one creator, who takes all of it
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from openledger_node.node.results import Explained
from tests.kit.homes import CREDIT, GRANTED_MICRO, ISSUED_MICRO, Ready, ready, words

FEE_MICRO = 10 * CREDIT
OUTPUT = " ".join(
    (words("harbour", 20, start=40), words("nobody", 5), words("baker", 15, start=100))
)


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ready, str]]:
    """The receipt of OUTPUT, final, and its ledger."""
    made = ready(tmp_path_factory.mktemp("by-hand"))
    with made.coop:
        receipt = made.use(OUTPUT, FEE_MICRO).receipt_id
        made.coop.settle()
        yield made, receipt


def lines(node: Explained) -> list[tuple[str | None, str, int | None]]:
    """The tree as (rule, title, amount), depth first."""
    found = [(node.rule, node.title, node.amount_micro)]
    for child in node.children:
        found += lines(child)
    return found


def amount_of(node: Explained, start: str) -> int | None:
    (found,) = [amount for _, title, amount in lines(node) if title.startswith(start)]
    return found


@pytest.mark.rule("R1", "R2", "R4")
def test_an_output_of_known_parts_has_the_ppm_worked_out_by_hand(used: tuple[Ready, str]) -> None:
    made, _ = used
    found = made.coop["maker"].attribute(OUTPUT.encode(), model=made.model)
    assert found.ppm == {made.harbour: 500_000, made.bakers: 375_000}
    assert (found.unattributed_ppm, found.tokens) == (125_000, 40)
    assert found.method == "spans"
    assert found.names == {made.harbour: "harbour", made.bakers: "bakers"}


@pytest.mark.rule("R2")
def test_the_spans_name_the_places_in_output_and_document(used: tuple[Ready, str]) -> None:
    made, _ = used
    found = made.coop["maker"].attribute(OUTPUT.encode(), model=made.model)
    shown = [(s.contribution_id, s.start, s.end, s.document, s.token) for s in found.spans]
    assert shown == [(made.harbour, 0, 20, 0, 40), (made.bakers, 25, 40, 0, 100)]
    for span in found.spans:
        assert OUTPUT.encode()[span.start_byte : span.end_byte].decode() == span.text


@pytest.mark.rule("C5", "C6", "C7", "C10", "C13")
def test_a_fee_of_ten_credits_splits_as_worked_out_by_hand(used: tuple[Ready, str]) -> None:
    rows = used[0].coop.balances()
    assert rows["alice"].earned_data_micro == rows["alice"].balance_micro == 1_900_000
    assert rows["bert"].earned_data_micro == rows["bert"].balance_micro == 1_425_000
    assert rows["maker"].earned_model_micro == rows["maker"].balance_micro == 5_700_000
    assert rows["user"].refunds_micro == 475_000
    # The payer had 100, locked 50 in the grant, of which 10 are spent; 0.475 came back.
    assert rows["user"].balance_micro == ISSUED_MICRO - GRANTED_MICRO + 475_000
    assert rows["user"].locked_micro == GRANTED_MICRO - FEE_MICRO
    assert used[0].coop["coop"].credits().pool_micro == 500_000


@pytest.mark.rule("C13")
def test_the_sums_conserve_to_the_micro_credit_in_every_home(used: tuple[Ready, str]) -> None:
    made, _ = used
    assert FEE_MICRO == 500_000 + 1_900_000 + 1_425_000 + 475_000 + 5_700_000
    for name in made.coop:
        assert made.coop.conserved(name)


@pytest.mark.rule("C4", "C5", "C6", "C7")
def test_explaining_the_receipt_names_each_step_with_its_rule(used: tuple[Ready, str]) -> None:
    made, receipt = used
    shown = made.coop["maker"].explain(receipt)
    assert (shown.id, shown.what) == (receipt, "receipt")
    found = {(rule, amount) for rule, _, amount in lines(shown.tree)}
    for step in (
        ("C4", 10_000_000),
        ("C5", 500_000),
        ("C6", 3_800_000),
        ("C6", 5_700_000),
        ("C6", 0),
        ("C7", 1_900_000),
        ("C7", 1_425_000),
        ("C7", 475_000),
    ):
        assert step in found, step
    titles = [title for rule, title, _ in lines(shown.tree) if rule == "R2"]
    assert any("tokens 0 to 19 are tokens 40 to 59 of document 0" in title for title in titles)
    assert any("tokens 25 to 39 are tokens 100 to 114" in title for title in titles)
    assert any(rule == "C9" and "CC-BY-4.0" in title for rule, title, _ in lines(shown.tree))


@pytest.mark.rule("C7", "C10")
def test_explaining_a_row_leads_from_the_balance_to_the_receipt(used: tuple[Ready, str]) -> None:
    made, receipt = used
    shown = made.coop["coop"].explain(made.coop.ids["alice"])
    assert shown.what == "credit row"
    assert amount_of(shown.tree, "earned as data") == 1_900_000
    assert ("C10", 1_900_000) in {(rule, amount) for rule, _, amount in lines(shown.tree)}
    (paid,) = [line for line in lines(shown.tree) if line[0] == "C7"]
    assert paid[2] == 1_900_000
    assert receipt[:12] in paid[1]
    assert "500,000 ppm" in paid[1]


def test_the_payers_row_is_explained_with_its_refund(used: tuple[Ready, str]) -> None:
    made, _ = used
    tree = made.coop["user"].explain(made.coop.ids["user"]).tree
    assert amount_of(tree, "refund") == 475_000


def test_homes_without_the_evidence_say_so_and_show_the_same_amounts(
    used: tuple[Ready, str],
) -> None:
    made, receipt = used
    own = made.coop["maker"].explain(receipt).tree
    other = made.coop["alice"].explain(receipt).tree
    money = [line for line in lines(own) if line[0] in ("C4", "C5", "C6", "C7")]
    assert [line[2] for line in lines(other) if line[0] in ("C4", "C5", "C6", "C7")] == [
        line[2] for line in money
    ]
    assert any("is not held here" in title for _, title, _ in lines(other))


@pytest.mark.rule("C9")
def test_the_statement_marks_the_licences_of_each_models_lineage(used: tuple[Ready, str]) -> None:
    made, _ = used
    (line,) = made.coop["coop"].statement().licences
    assert line == f"{made.model[:12]}: Apache-2.0, CC-BY-4.0, MIT"


@pytest.mark.rule("C6")
def test_with_an_agent_its_operator_takes_the_agents_part(tmp_path: Path) -> None:
    with ready(tmp_path).coop as coop:
        made = Ready(
            coop,
            *(item.contribution_id for item in coop["coop"].data_list().contributions),
            coop["maker"].model_list().models[0].model_id,
            coop["coop"].log(kind="money.grant").events[0].event_id,
        )
        agent = coop["bert"].agent_register("helper", models=[made.model])
        coop.settle()
        made.use(OUTPUT, FEE_MICRO, agent=agent.agent_id)
        coop.settle()
        rows = coop.balances()
        # 9,500,000 * 3500 / 10,000 and 9,500,000 * 2500 / 10,000
        assert rows["maker"].earned_model_micro == 3_325_000
        assert rows["bert"].earned_agent_micro == 2_375_000
        assert coop.conserved()
