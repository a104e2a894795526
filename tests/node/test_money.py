"""Money in and around: issue, transfer, grant, answers to receipts, redeem and payout."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from openledger_node.ledger.errors import BadInput, OlnError, Refused, UsageError
from openledger_node.node import money
from openledger_node.node.money import harmless
from tests.kit.homes import CREDIT, GRANTED_MICRO, WITNESS, Coop, Ready, ready, words

OUTPUT = words("harbour", 20)


@pytest.fixture
def funded(coop: Coop) -> Coop:
    """alice has 100 micro-credits, final."""
    coop.join("alice", "bert")
    coop.gather()
    coop[WITNESS].issue(100, coop.ids["alice"])
    coop[WITNESS].epoch_close()
    coop.spread()
    return coop


def code(caught: pytest.ExceptionInfo[OlnError]) -> str:
    return caught.value.code


# Issue, transfer, grant.


@pytest.mark.rule("C1")
def test_only_issuers_issue(funded: Coop) -> None:
    with pytest.raises(Refused) as caught:
        funded["alice"].issue(1, funded.ids["alice"])
    assert code(caught) == "C1"
    assert "not an issuer" in caught.value.message


@pytest.mark.rule("C1", "C14")
def test_issuing_past_what_a_ledger_can_hold_is_refused(funded: Coop) -> None:
    with pytest.raises(Refused) as caught:
        funded[WITNESS].issue(2**53 - 1, funded.ids["alice"])
    assert code(caught) == "C1"


@pytest.mark.rule("C1")
def test_spending_more_than_the_final_balance_is_refused_and_nothing_is_written(
    funded: Coop,
) -> None:
    alice = funded["alice"]
    before = alice.status().events
    for call in (
        lambda: alice.transfer(101, funded.ids["bert"]),
        lambda: alice.grant(funded.ids["bert"], 101),
        lambda: alice.redeem(101),
    ):
        with pytest.raises(Refused) as caught:
            call()
        assert code(caught) in ("C1", "C16")
    assert alice.status().events == before


@pytest.mark.rule("C1")
def test_pending_spending_counts_against_the_balance(funded: Coop) -> None:
    alice = funded["alice"]
    alice.transfer(60, funded.ids["bert"])
    with pytest.raises(Refused):
        alice.transfer(41, funded.ids["bert"])
    alice.transfer(40, funded.ids["bert"])
    funded.settle()
    assert funded.balances()["bert"].balance_micro == 100
    assert funded.conserved()


@pytest.mark.rule("C14")
@pytest.mark.parametrize("amount", [0, -1, 2**53, 2**80])
def test_amounts_out_of_bounds_are_wrong_input(funded: Coop, amount: int) -> None:
    before = funded[WITNESS].status().events
    for call in (
        lambda: funded[WITNESS].issue(amount, funded.ids["alice"]),
        lambda: funded["alice"].transfer(amount, funded.ids["bert"]),
        lambda: funded["alice"].grant(funded.ids["bert"], amount),
    ):
        with pytest.raises((BadInput, UsageError)):
            call()
    assert funded[WITNESS].status().events == before


def test_money_to_an_account_that_the_ledger_does_not_know_is_refused(funded: Coop) -> None:
    with pytest.raises(Refused, match="does not know"):
        funded["alice"].transfer(1, "ab" * 32)


@pytest.mark.rule("C2")
def test_a_grant_locks_and_returns_what_is_unused_after_its_expiry(funded: Coop) -> None:
    alice = funded["alice"]
    made = alice.grant(funded.ids["bert"], 70, expires=3)
    assert made.grant_id == made.event_id
    funded.settle()
    row = funded.balances()["alice"]
    assert (row.balance_micro, row.locked_micro) == (30, 70)
    while funded[WITNESS].status().epoch < 4:
        funded[WITNESS].datanet_create("tick")
        funded[WITNESS].epoch_close()
    row = funded.balances()["alice"]
    assert (row.balance_micro, row.locked_micro) == (100, 0)


@pytest.mark.rule("C2")
def test_a_grant_expires_a_thousand_epochs_later_unless_said(funded: Coop) -> None:
    alice = funded["alice"]
    for expires, shown in (("default", 1001), (None, None), (9, 9)):
        made = alice.grant(funded.ids["bert"], 1, expires=expires)  # type: ignore[arg-type]
        assert alice.show(made.event_id).body["expiry_epoch"] == shown
    with pytest.raises(Refused) as caught:
        alice.grant(funded.ids["bert"], 1, expires=1)
    assert code(caught) == "C2"


def test_notes_keep_to_their_limit(funded: Coop) -> None:
    done = funded["alice"].transfer(1, funded.ids["bert"], "für den Kaffee ☕")
    assert funded["alice"].show(done.event_id).body["note"] == "für den Kaffee ☕"
    with pytest.raises((BadInput, UsageError)):
        funded["alice"].transfer(1, funded.ids["bert"], "x" * 1025)


# Answers.


@pytest.fixture
def slow(tmp_path: Path) -> Ready:
    """A ledger whose fees mature two epochs later."""
    return ready(tmp_path, params="maturity_epochs = 2\n")


@pytest.mark.rule("C4")
def test_a_dispute_holds_the_fee_until_the_provider_cancels(slow: Ready) -> None:
    with slow.coop as coop:
        used = slow.use(OUTPUT, 10 * CREDIT)
        coop.settle()
        coop["user"].dispute(used.receipt_id)
        coop.settle()
        assert coop.balances()["maker"].balance_micro == 0
        coop["maker"].cancel(used.receipt_id)
        coop.settle()
        rows = coop.balances()
        assert (rows["maker"].balance_micro, rows["alice"].balance_micro) == (0, 0)
        assert rows["user"].refunds_micro == 10 * CREDIT
        assert coop.conserved()


@pytest.mark.rule("C4")
def test_a_confirmation_releases_the_model_part_at_once_and_the_rest_later(slow: Ready) -> None:
    with slow.coop as coop:
        used = slow.use(OUTPUT, 10 * CREDIT)
        coop.settle()
        coop["user"].confirm(used.receipt_id)
        coop.settle()
        rows = coop.balances()
        assert (rows["maker"].balance_micro, rows["alice"].balance_micro) == (5_700_000, 0)
        with pytest.raises(Refused) as caught:
            coop["user"].dispute(used.receipt_id)
        assert code(caught) == "C4"
        coop[WITNESS].datanet_create("tick")
        coop.settle()
        assert coop.balances()["alice"].balance_micro == 3_800_000
        assert coop.conserved()


@pytest.mark.rule("C4")
def test_only_the_payer_confirms_and_only_the_provider_cancels(slow: Ready) -> None:
    with slow.coop as coop:
        used = slow.use(OUTPUT, 10 * CREDIT)
        coop.settle()
        for call in (
            lambda: coop["alice"].confirm(used.receipt_id),
            lambda: coop["maker"].confirm(used.receipt_id),
            lambda: coop["alice"].dispute(used.receipt_id),
            lambda: coop["user"].cancel(used.receipt_id),
        ):
            with pytest.raises(Refused) as caught:
                call()
            assert code(caught) == "C4"


def test_a_challenge_names_its_ground(slow: Ready) -> None:
    with slow.coop as coop:
        used = slow.use(OUTPUT, 10 * CREDIT)
        coop.settle()
        with pytest.raises(UsageError, match="not a ground"):
            coop["alice"].challenge(used.receipt_id, "dislike")
        with pytest.raises(UsageError) as caught:
            coop["alice"].challenge(slow.harbour)
        assert code(caught) == "wrong_kind"
        done = coop["alice"].challenge(used.receipt_id, "better_span")
        assert coop["alice"].show(done.event_id).body["ground"] == "better_span"
        with pytest.raises(Refused):
            coop["alice"].challenge(used.receipt_id, "better_span")


@pytest.mark.rule("C10")
def test_a_named_creator_takes_its_share_when_it_accepts(stage: Ready) -> None:
    coop = stage.coop
    ids = coop.ids
    named = coop.add_text(
        "alice",
        "joint",
        words("joint", 40),
        creators=[(ids["alice"], 3), (ids["bert"], 1)],
    )
    coop.settle()
    model = coop["maker"].model_register("second", trained_on=[(named, 1)])
    coop.settle()
    coop["maker"].use(
        model.model_id, words("joint", 20).encode(), grant=stage.grant, fee_micro=CREDIT
    )
    coop.settle()
    rows = coop.balances()
    # 1,000,000 - 50,000 = 950,000, of which 380,000 is the data part: 3/4 and 1/4.
    assert rows["alice"].balance_micro == 285_000
    assert (rows["bert"].balance_micro, rows["bert"].escrow_micro) == (0, 95_000)
    coop["bert"].account_accept(named)
    coop.settle()
    rows = coop.balances()
    assert (rows["bert"].balance_micro, rows["bert"].escrow_micro) == (95_000, 0)
    assert coop.conserved()
    with pytest.raises(Refused) as caught:
        coop["user"].account_accept(named)
    assert code(caught) == "C10"


# Redeem and payout.


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.rule("C16")
def test_a_redeem_is_paid_out_once_and_listed_for_the_bank(funded: Coop) -> None:
    redeem = funded["alice"].redeem(30)
    assert redeem.redeem_id == redeem.event_id
    funded.settle()
    row = funded.balances()["alice"]
    assert (row.balance_micro, row.locked_micro) == (70, 30)
    out = funded.place / "payouts.csv"
    done = funded[WITNESS].payout(None, out=out, reference="SEPA 2026-11")
    assert (done.total_micro, len(done.payout_ids), done.file) == (30, 1, str(out))
    (line,) = rows_of(out)
    assert line["redeem_id"] == redeem.redeem_id
    assert line["account_id"] == funded.ids["alice"]
    assert (line["amount_micro"], line["reference"]) == ("30", "SEPA 2026-11")
    again = funded[WITNESS].payout(None, out=funded.place / "again.csv")
    assert (again.payout_ids, again.total_micro) == ((), 0)
    funded[WITNESS].epoch_close()
    shown = funded[WITNESS].credits()
    assert shown.burned_micro == 30
    assert funded.conserved()
    third = funded[WITNESS].payout(None, out=funded.place / "third.csv")
    assert third.payout_ids == ()


@pytest.mark.rule("C16")
def test_a_pending_payout_is_not_repeated_where_nothing_closes_by_itself(funded: Coop) -> None:
    funded["alice"].redeem(30)
    funded.settle()
    funded.shut(WITNESS)
    funded.write(f"{WITNESS}/node.toml", "[epoch]\nauto_close = false\n")
    first = funded[WITNESS].payout(None, out=funded.place / "one.csv")
    again = funded[WITNESS].payout(None, out=funded.place / "two.csv")
    assert (first.total_micro, again.total_micro) == (30, 0)
    with pytest.raises(Refused) as caught:
        funded[WITNESS].payout([first.payouts[0].redeem_id], out=funded.place / "three.csv")
    assert code(caught) == "C16"
    assert not (funded.place / "three.csv").exists()


def test_a_payout_that_is_refused_leaves_no_list_to_pay_by(
    funded: Coop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for amount in (10, 20, 30):
        funded["alice"].redeem(amount)
    funded.settle()
    recorded = money.judged_append
    calls = []

    def refusing(*arguments: object, **options: object) -> object:
        calls.append(arguments)
        if len(calls) == 2:
            raise Refused("the second one", code="C16")
        return recorded(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(money, "ITEMS_A_PAYOUT", 1)
    monkeypatch.setattr(money, "judged_append", refusing)
    out = funded.place / "payouts.csv"
    with pytest.raises(Refused, match="the second one"):
        funded[WITNESS].payout(None, out=out)
    assert len(rows_of(out)) == 1
    calls[:] = [()]
    with pytest.raises(Refused, match="the second one"):
        funded[WITNESS].payout(None, out=funded.place / "other.csv")
    assert not (funded.place / "other.csv").exists()


@pytest.mark.rule("C16")
def test_a_reversed_payout_gives_its_redeem_back(funded: Coop) -> None:
    funded["alice"].redeem(30)
    funded.settle()
    paid = funded[WITNESS].payout(None, out=funded.place / "one.csv")
    funded[WITNESS].epoch_close()
    funded[WITNESS].payout_reverse(paid.payout_ids[0])
    funded[WITNESS].epoch_close()
    assert funded[WITNESS].credits().burned_micro == 0
    assert funded.conserved()
    again = funded[WITNESS].payout(None, out=funded.place / "two.csv")
    assert again.total_micro == 30
    with pytest.raises(Refused) as caught:
        funded[WITNESS].payout_reverse(paid.payout_ids[0])
    assert code(caught) == "C16"


@pytest.mark.rule("C16")
def test_a_standing_order_redeems_what_comes_in(funded: Coop) -> None:
    funded["alice"].redeem(None, minimum_micro=50)
    funded.settle()
    funded[WITNESS].datanet_create("tick")
    funded.settle()
    paid = funded[WITNESS].payout(None, out=funded.place / "one.csv")
    assert paid.total_micro == 100
    assert paid.payouts[0].account_id == funded.ids["alice"]


@pytest.mark.rule("C16")
def test_nobody_pays_out_what_is_owed_by_another_issuer(funded: Coop) -> None:
    redeem = funded["alice"].redeem(30)
    funded.settle()
    assert redeem.redeem_id is not None
    for name in ("alice", "bert"):
        with pytest.raises(Refused) as caught:
            funded[name].payout([redeem.redeem_id], out=funded.place / f"{name}.csv")
        assert code(caught) == "C16"
        assert funded[name].payout(None, out=funded.place / f"{name}-all.csv").payouts == ()
    with pytest.raises(Refused, match="issuer"):
        funded["alice"].redeem(1, issuer=funded.ids["bert"])


def test_a_list_is_never_written_over_a_file(funded: Coop) -> None:
    out = funded.write("taken.csv", "mine")
    with pytest.raises(UsageError, match="exists already"):
        funded[WITNESS].payout(None, out=out)
    with pytest.raises(UsageError, match="cannot write"):
        funded[WITNESS].payout(None, out=funded.place / "no" / "folder.csv")
    assert out.read_text() == "mine"


def test_spreadsheets_find_no_formula_in_a_list(funded: Coop) -> None:
    funded[WITNESS].account_name(funded.ids["alice"], '=HYPERLINK("http://x","y")')
    funded["alice"].redeem(30)
    funded.settle()
    out = funded.place / "payouts.csv"
    funded[WITNESS].payout(None, out=out, reference="@SUM(A1)")
    (line,) = rows_of(out)
    assert line["account"] == '\'=HYPERLINK("http://x","y")'
    assert line["reference"] == "'@SUM(A1)"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_every_beginning_of_a_formula_is_made_text(start: str) -> None:
    assert harmless(f"{start}1+1") == f"'{start}1+1"
    assert harmless(f"x{start}") == f"x{start}"
    assert harmless("") == ""


def test_the_granted_amount_is_what_the_fixture_says(stage: Ready) -> None:
    assert stage.coop.balances()["user"].locked_micro == GRANTED_MICRO
