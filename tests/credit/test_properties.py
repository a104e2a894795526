"""What must hold of credit whatever happens: conservation, order, and no gain by trickery."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.credit import views
from openledger_node.credit.apportion import apportion
from openledger_node.credit.fold import fold, initial_state
from openledger_node.credit.inputs import Cut
from openledger_node.ledger import kinds
from tests.credit.strategies import Play
from tests.kit.ledgerkit import CREDIT, Ledger, MemoryLogs, MemoryState, TestAccount, contribution
from tests.kit.ledgerkit import model as model_body
from tests.kit.stage import Stage

ROOT = Path(__file__).resolve().parent.parent.parent
seeds = st.integers(0, 10_000)
fees = st.integers(1, 20 * CREDIT)
few = settings(max_examples=12)


def wealth(stage: Stage, *accounts: TestAccount) -> int:
    """What accounts hold, locked or not."""
    purses = stage.purses()
    return sum(sum(purses[account.id]) for account in accounts)


# --- conservation and order ---------------------------------------------------------------------


@pytest.mark.rule("C13", "C14")
@few
@given(seeds)
def test_credits_are_conserved_in_every_epoch_of_any_ledger(seed: int) -> None:
    play = Play(Random(seed))
    play.run(epochs=4, count=25)
    state = MemoryState()
    state.apply(initial_state(play.ledger.genesis).delta)
    for closed in play.ledger.epochs[1:]:
        state.apply(closed.folded.delta)
        totals = views.totals(state)
        purses = list(views.accounts(state))
        held = sum(view.balance_micro + view.locked_micro for view in purses)
        escrow = sum(view.amount_micro for view in views.escrows(state))
        assert escrow == totals.escrow_micro
        assert held + escrow + totals.pool_micro + totals.burned_micro == totals.issued_micro
        assert all(view.balance_micro >= 0 and view.locked_micro >= 0 for view in purses)
        rows = {row.account: row for row in closed.folded.statement.rows}
        for view in purses:
            row = rows.get(view.account_id)
            shown = (row.balance_micro, row.locked_micro) if row else (0, 0)
            assert shown == (view.balance_micro, view.locked_micro)


def refold(ledger: Ledger, rng: Random) -> list[tuple[bytes, bytes]]:
    """Digest and statement of every epoch, its logs and marks met in another order."""
    logs, ids = MemoryLogs(), list(ledger.logs.by_id)
    rng.shuffle(ids)
    for log_id in ids:
        logs.add(ledger.logs.by_id[log_id])
    state = MemoryState()
    state.apply(initial_state(ledger.genesis).delta)
    results = []
    for closed in ledger.epochs[1:]:
        marks = list(closed.cut.changed)
        rng.shuffle(marks)
        cut = Cut(closed.cut.epoch, closed.cut.cut_id, tuple(marks))
        folded = fold(state, cut, logs, ledger.genesis)
        state.apply(folded.delta)
        results.append((folded.state_digest, folded.statement.encode()))
    return results


def as_closed(ledger: Ledger) -> list[tuple[bytes, bytes]]:
    return [(e.folded.state_digest, e.folded.statement.encode()) for e in ledger.epochs[1:]]


@few
@given(seeds)
def test_neither_arrival_nor_the_order_of_marks_changes_a_byte(seed: int) -> None:
    ledger = Play(Random(seed)).run(epochs=4, count=25)
    assert refold(ledger, Random(seed + 1)) == as_closed(ledger)


def test_the_hash_seed_of_the_interpreter_changes_no_byte() -> None:
    program = (
        "from random import Random\n"
        "from tests.credit.strategies import Play\n"
        "print(*(e.folded.state_digest.hex() + e.folded.statement.root.hex()"
        " for e in Play(Random(5)).run(epochs=4, count=30).epochs))\n"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(said) == 1


@few
@given(seeds)
def test_folding_changes_nothing_that_it_was_given(seed: int) -> None:
    ledger = Play(Random(seed)).run(epochs=2, count=20)
    before = dict(ledger.state.values)
    first = fold(ledger.state, ledger.next_cut(), ledger.logs, ledger.genesis)
    second = fold(ledger.state, ledger.next_cut(), ledger.logs, ledger.genesis)
    assert (first.delta, first.state_digest) == (second.delta, second.state_digest)
    assert ledger.state.values == before


# --- splitting identities, more weight ----------------------------------------------------------


@st.composite
def divided(draw: st.DrawFn) -> tuple[int, list[int], list[int]]:
    """A total, the parts of one identity's weight, and the weights of the others."""
    weights = st.integers(1, 1_000)
    parts = draw(st.lists(weights, min_size=2, max_size=8))
    return draw(st.integers(0, 10**6)), parts, draw(st.lists(weights, max_size=20))


def keyed(name: str, weights: list[int]) -> list[tuple[bytes, int]]:
    return [
        (hashlib.sha256(f"{name}{at}".encode()).digest(), weight)
        for at, weight in enumerate(weights)
    ]


@pytest.mark.rule("C7", "C10", "C13")
@given(divided(), st.binary(max_size=8))
def test_splitting_one_identity_in_k_changes_its_total_by_less_than_k_units(
    case: tuple[int, list[int], list[int]], salt: bytes
) -> None:
    total, parts, others = case
    whole = apportion(total, [*keyed("one", [sum(parts)]), *keyed("x", others)], salt)[0]
    split = apportion(total, [*keyed("part", parts), *keyed("x", others)], salt)
    assert abs(sum(split[: len(parts)]) - whole) < len(parts)


@pytest.mark.rule("C10")
@few
@given(fees, st.lists(st.integers(1, 1_000), min_size=2, max_size=4), st.integers(1, 1_000))
def test_a_creator_who_splits_into_k_accounts_gains_less_than_k_units(
    fee: int, shares: list[int], other: int
) -> None:
    earned = []
    for count in (1, len(shares)):
        stage = Stage()
        parts = [sum(shares)] if count == 1 else shares
        names = [stage.ledger.account(f"eve-{at}") for at in range(count)]
        stage.close()
        creators = [*zip((name.id for name in names), parts, strict=True), (stage.bob.id, other)]
        text = stage.ada.add("data.contribute", contribution("Shared", creators=creators))
        stage.close()
        for name in names:
            stage.accept(text, name)
        stage.use(fee, [(text, 900_000)])
        stage.close()
        earned.append(wealth(stage, *names))
    assert abs(earned[1] - earned[0]) < len(shares)


@pytest.mark.rule("C7")
@given(st.integers(0, 10**6), st.lists(st.integers(1, 10**5), min_size=1, max_size=8), st.data())
def test_more_own_weight_at_the_others_cost_never_pays_less(
    total: int, weights: list[int], data: st.DataObject
) -> None:
    """The whole is fixed (1,000,000 ppm), as in a receipt: what one gains the others lose."""
    rest = 10**6 - sum(weights)
    before = keyed("x", [*weights, rest])
    moved = [data.draw(st.integers(0, weight)) for _, weight in before[1:]]
    after = [(before[0][0], before[0][1] + sum(moved))]
    after += [(key, weight - less) for (key, weight), less in zip(before[1:], moved, strict=True)]
    assert apportion(total, after, b"r")[0] >= apportion(total, before, b"r")[0]


@pytest.mark.rule("C7", "C10")
@few
@given(fees, st.integers(0, 600_000), st.integers(0, 300_000))
def test_more_own_weight_in_a_receipt_never_earns_less(fee: int, ppm: int, more: int) -> None:
    earned = []
    for own in (ppm, ppm + more):
        stage = Stage()
        stage.use(fee, [(text, w) for text, w in ((stage.a, own), (stage.b, 100_000)) if w])
        stage.close()
        earned.append(wealth(stage, stage.ada))
    assert earned[0] <= earned[1]


# --- trickery -----------------------------------------------------------------------------------


@pytest.mark.rule("C5", "C12")
@few
@given(fees, st.integers(0, 10**6), st.booleans(), st.sampled_from([None, "bob"]))
def test_a_coalition_that_pays_itself_loses_the_network_fee(
    fee: int, ppm: int, confirmed: bool, outsider: str | None
) -> None:
    """More than two thirds of it: rules version 1 pays nobody from the pool."""
    stage = Stage()
    coalition = [stage.user, stage.maker, stage.ada]
    before = wealth(stage, *coalition)
    weights = [(stage.a, ppm)] if ppm else []
    if outsider and ppm < 900_000:
        weights.append((stage.b, 100_000))
    use = stage.use(fee, weights)
    if confirmed:
        stage.confirm(use)
    stage.close(2)
    lost = before - wealth(stage, *coalition)
    assert stage.pool == fee * 500 // 10_000
    assert lost >= stage.pool
    assert len(weights) == 2 or lost == stage.pool or ppm == 0


@pytest.mark.rule("C8")
@few
@given(fees, st.integers(1, 9_000), st.integers(1, 3))
def test_wrapping_one_s_own_work_pays_nothing_extra(fee: int, floor_bp: int, layers: int) -> None:
    earned = []
    for depth in (0, layers):
        stage = Stage()
        named = stage.a
        for layer in range(depth):
            body = contribution(f"Wrap {layer}", derived_from=[(named, floor_bp // layers or 1)])
            named = stage.ada.add("data.contribute", body)
            stage.close()
        stage.use(fee, [(named, 700_000), (stage.b, 200_000)])
        stage.close()
        earned.append(wealth(stage, stage.ada))
    assert abs(earned[1] - earned[0]) <= 1, "one unit of the receipt's own apportionment"


@pytest.mark.rule("C8")
@few
@given(fees, st.integers(1, 9_000))
def test_wrapping_a_model_s_base_twice_pays_the_base_no_less_than_its_floor(
    fee: int, floor_bp: int
) -> None:
    """A diamond pays an ancestor once, at its largest floor."""
    stage = Stage()
    bob, eve = stage.bob, stage.eve
    base = bob.add("model.register", model_body("base"))
    stage.close()
    one = eve.add("model.register", model_body("one", bases=[(base, floor_bp)]))
    stage.close()
    both = model_body("both", bases=[(one, 1), (base, max(1, floor_bp // 2))])
    top = eve.add("model.register", both)
    stage.close()
    if stage.void(top) is not None:
        return
    before = wealth(stage, bob)
    use = stage.use(fee, [], model_id=top)
    stage.close()
    assert wealth(stage, bob) - before == stage.receipt(use).model_micro * floor_bp // 10_000


def outcome(fee: int, *, dispute: bool, confirm: bool) -> tuple[int, int]:
    """(what the payer holds, what maker holds) long after one use."""
    stage = Stage(maturity_epochs=2, dispute_epochs=2)
    use = stage.use(fee)
    stage.close()
    if dispute:
        stage.dispute(use)
    if confirm:
        stage.confirm(use)
    stage.close(6)
    return wealth(stage, stage.user), wealth(stage, stage.maker)


@pytest.mark.rule("C4")
@few
@given(fees)
def test_a_payer_gains_nothing_by_disputing_everything_or_never_confirming(fee: int) -> None:
    honest = outcome(fee, dispute=False, confirm=True)
    silent = outcome(fee, dispute=False, confirm=False)
    stalling = outcome(fee, dispute=True, confirm=False)
    assert silent == honest
    assert stalling[0] <= honest[0]
    assert stalling[1] <= honest[1], "nor does the provider, who may cancel to end it"
    assert outcome(fee, dispute=True, confirm=True) == honest


@pytest.mark.rule("C10")
@few
@given(fees, st.integers(1, 100), st.booleans())
def test_naming_strangers_as_creators_gains_nothing(fee: int, share: int, known: bool) -> None:
    """Their part waits in escrow, and nobody else can take it."""
    earned = []
    for strangers in ((), ((b"s" * 32, share),)):
        stage = Stage()
        named = [(stage.bob.id if known else who, weight) for who, weight in strangers]
        body = contribution("Odes", creators=[(stage.ada.id, 10), *named] if named else [])
        text = stage.ada.add("data.contribute", body)
        stage.close()
        stage.use(fee, [(text, 800_000)])
        stage.close(3)
        earned.append(wealth(stage, stage.ada))
    assert earned[1] <= earned[0]
    assert views.totals(stage.ledger.state).escrow_micro == earned[0] - earned[1]
    stage.accept(text, stage.eve)
    stage.close()
    assert wealth(stage, stage.eve) == 0


@pytest.mark.rule("C7", "C13")
@settings(max_examples=4)
@given(st.integers(1, 10_000))
def test_grinding_ids_moves_at_most_one_unit(fee: int) -> None:
    earned = set()
    for attempt in range(6):
        stage = Stage()
        text = stage.ada.add("data.contribute", contribution(f"Attempt {attempt}"))
        stage.close()
        use = stage.use(fee, [(text, 333_333), (stage.b, 333_333)])
        stage.close()
        assert stage.void(use) is None
        earned.add(wealth(stage, stage.ada))
    assert max(earned) - min(earned) <= 1


@pytest.mark.rule("C15")
def test_a_ledger_of_one_account_earns_neither_money_nor_units() -> None:
    ledger = Ledger.solo("alone")
    alone = ledger.account("alone")
    ledger.close_epoch()
    text = alone.add("data.contribute", contribution())
    made = alone.add("model.register", model_body())
    alone.add("money.issue", kinds.MoneyIssue(alone.id, 1_000, ""))
    ledger.close_epoch()
    own_grant = alone.add("money.grant", kinds.MoneyGrant(alone.id, 100, None))
    use = alone.add(
        "use.receipt",
        kinds.UseReceipt(
            None, made, None, ledger.epoch, 1, bytes(32), 0, ((text, 10**6),), 0, "spans"
        ),
    )
    confirm = alone.add("use.confirm", kinds.UseConfirm(use))
    ledger.close_epoch()
    assert views.void_reason(ledger.state, own_grant) == ("C3", "own_grant")
    assert views.void_reason(ledger.state, confirm) == ("C15", "own_receipt")
    (row,) = ledger.epochs[-1].folded.statement.rows
    assert (row.units_paid, row.units_unpaid, row.balance_micro) == (0, 0, 1_000)
