"""The fold and the naive fold, on random ledgers: same rows, same void events and reasons."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.credit import views
from openledger_node.credit.fold import fold, initial_state
from openledger_node.ledger import kinds, merkle
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.forks import prove_fork
from openledger_node.ledger.heads import sign_head
from tests.credit.naive_fold import naive_fold
from tests.credit.naive_records import Result
from tests.credit.strategies import Play
from tests.kit.ledgerkit import Ledger, MemoryState, contribution, key, model, receipt


def naive_results(ledger: Ledger) -> list[Result]:
    sizes: dict[bytes, int] = {}
    cuts = []
    for closed in ledger.epochs[1:]:
        sizes = {**sizes, **{mark.log_id: mark.size for mark in closed.cut.changed}}
        cuts.append((closed.cut.cut_id, sizes))
    leaves = {log_id: log.leaves for log_id, log in ledger.logs.by_id.items()}
    return naive_fold(ledger.genesis, cuts, leaves)


def compare(ledger: Ledger) -> Counter[str]:
    """Every epoch of the ledger through both; what occurred, counted."""
    seen: Counter[str] = Counter()
    state = MemoryState()
    state.apply(initial_state(ledger.genesis).delta)
    ids = [event_id for log in ledger.logs.by_id.values() for event_id in log.ids]
    void: dict[bytes, tuple[str, str]] = {}
    for closed, result in zip(ledger.epochs[1:], naive_results(ledger), strict=True):
        folded = fold(state, closed.cut, ledger.logs, ledger.genesis)
        state.apply(folded.delta)
        now = {i: why for i in ids if (why := views.void_reason(state, i)) is not None}
        new = {i: tuple(why) for i, why in now.items() if i not in void}
        void = now
        assert described(ledger, new) == described(ledger, result.void), result.epoch
        rows: list[Any] = [encode(row) for row in folded.statement.rows]
        assert rows == [encode(row) for row in result.rows], result.epoch
        assert folded.statement.root == result.root
        parts = [1, closed.cut.epoch, closed.cut.cut_id, result.rows]
        assert folded.statement.encode() == encode(parts), result.epoch
        assert_same_totals(state, result)
        assert_conserved(result.totals)
        seen.update("/".join(why) for why in result.void.values())
        seen.update({f"status {status}": n for status, n in result.receipts.items()})
        seen.update({name: result.totals[name] for name in ("escrow", "pool", "burned", "locked")})
        seen.update({"parked": len(result.parked), "closed log": result.closed_logs})
        seen.update({"another witness set": result.set_number})
    return +seen


def described(ledger: Ledger, void: dict[bytes, Any]) -> dict[str, Any]:
    """Void events by kind and place, for reading a failure."""
    places = {i: (log, seq) for log in ledger.logs.by_id.values() for seq, i in enumerate(log.ids)}
    return {
        f"{log.log_id.hex()[:6]}:{seq} {log.leaves[seq][3:30]!r}": tuple(why)
        for (log, seq), why in ((places[i], why) for i, why in void.items())
    }


def assert_same_totals(state: MemoryState, result: Result) -> None:
    totals = views.totals(state)
    names = ("issued", "burned", "pool", "escrow")
    assert {name: getattr(totals, f"{name}_micro") for name in names} == {
        name: result.totals[name] for name in names
    }
    purses = list(views.accounts(state))
    assert sum(purse.balance_micro for purse in purses) == result.totals["balances"]
    assert sum(purse.locked_micro for purse in purses) == result.totals["locked"]
    assert {parked.event_id for parked in views.all_parked(state)} == result.parked


def assert_conserved(totals: dict[str, int]) -> None:
    parts = ("balances", "locked", "escrow", "pool", "burned")
    assert sum(totals[part] for part in parts) == totals["issued"]
    assert min(totals.values()) >= 0


SITUATIONS = {
    *(f"status {status}" for status in ("held", "matured", "cancelled", "pooled", "upheld")),
    *("escrow", "pool", "burned", "locked", "parked", "closed log", "another witness set"),
    *("C1/balance", "C1/cap", "C1/not_an_issuer", "C1/supply", "C1/unknown_account"),
    *("C3/grant_expired", "C3/grant_spent", "C3/own_grant", "C3/snapshot", "C3/not_final"),
    *("C4/confirmed_before", "C4/disputed_before", "C4/not_the_payer", "C4/not_the_provider"),
    *("C8/too_much", "C10/not_a_creator", "C15/own_receipt", "C16/not_open", "R4/sum"),
    *("CH/challenged_before", "CH/not_a_seat", "CH/voted_before", "PARK/lapsed", "K5/lost"),
    *("K4/not_next", "K4/other_account", "L1/not_an_event", "L2/malformed", "L7/not_a_fork"),
}


@pytest.mark.rule("C1", "C3", "C4", "C5", "C6", "C7", "C8", "C10", "C13", "C15", "C16", "K5")
def test_both_folds_agree_on_seeded_ledgers_in_which_everything_happens() -> None:
    seen: Counter[str] = Counter()
    for seed in range(60):
        seen += compare(Play(Random(seed)).run(epochs=7, count=30))
    assert sorted(SITUATIONS - set(seen)) == []


@pytest.mark.rule("C1", "C3", "C4", "C5", "C6", "C7", "C8", "C10", "C13", "C15", "C16")
@settings(max_examples=40)
@given(st.randoms(use_true_random=False), st.integers(1, 4), st.integers(1, 25))
def test_both_folds_agree_on_drawn_ledgers(rng: Random, epochs: int, count: int) -> None:
    compare(Play(rng).run(epochs, count))


@pytest.mark.rule("C4", "C7")
@pytest.mark.parametrize("policy", ["refund", "trained_on"])
def test_both_folds_agree_when_fees_mature_late_and_little_is_attributed(policy: str) -> None:
    for seed in range(15):
        play = Play(Random(seed), unattributed=policy, maturity_epochs=3, dispute_epochs=1)
        compare(play.run(epochs=9, count=25))


@pytest.mark.rule("C1", "C8")
def test_both_folds_agree_at_the_very_limits_of_floors_grants_and_supply() -> None:
    ledger = Ledger.solo("co-op", cap=2**53 - 1)
    coop, ada, bob = (ledger.account(name) for name in ("co-op", "ada", "bob"))
    ledger.close_epoch()
    bases = [ada.add("data.contribute", contribution(f"Base {n}")) for n in range(2)]
    used = ada.add("model.register", model())
    whole = coop.add("money.issue", kinds.MoneyIssue(bob.id, 2**53 - 2, ""))
    ledger.close_epoch()
    floors = [
        bob.add("data.contribute", contribution(derived_from=list(zip(bases, bp, strict=True))))
        for bp in ((4_500, 4_500), (4_500, 4_501))
    ]
    issues = [coop.add("money.issue", kinds.MoneyIssue(bob.id, 1, "")) for _ in range(2)]
    grants = [bob.add("money.grant", kinds.MoneyGrant(ada.id, n, None)) for n in (2**53 - 2, 1)]
    ledger.close_epoch()
    uses = [
        ada.add("use.receipt", receipt(used, grant=grants[0], fee=fee, snapshot=2))
        for fee in (2**53 - 2, 1)
    ]
    ledger.close_epoch()
    compare(ledger)
    void = [[views.void_reason(ledger.state, i) for i in ids] for ids in (floors, issues)]
    assert void == [[None, ("C8", "too_much")], [None, ("C1", "supply")]]
    void = [[views.void_reason(ledger.state, i) for i in ids] for ids in (grants, uses)]
    assert void == [[None, ("C1", "balance")], [None, ("C3", "grant_spent")]]
    assert views.void_reason(ledger.state, whole) is None


@pytest.mark.rule("L7")
def test_both_folds_agree_that_nothing_is_read_at_or_past_a_closure() -> None:
    """A log.fork stands exactly where another one, in either order, closes its log."""
    read = []
    for label in "abcdef":
        ledger = Ledger.solo("co-op")
        ada, eve = ledger.account("ada"), ledger.account("eve")
        ledger.close_epoch()
        size = len(eve.log.leaves)
        bogus = eve.add("log.fork", [])
        twin = [*eve.log.leaves[:size], b"\x90"]
        head = sign_head(eve.log.key, eve.log.genesis, len(twin), merkle.root(twin))
        hashes = merkle.leaf_hashes(eve.log.leaves)
        ada.add("log.fork", prove_fork(eve.log.head(), hashes, head, merkle.leaf_hashes(twin)))
        lost = eve.add("data.contribute", contribution())
        ledger.close_epoch(label=label)
        compare(ledger)
        assert views.contribution(ledger.state, lost) is None
        read.append(views.void_reason(ledger.state, bogus))
    assert set(read) == {None, ("L2", "malformed")}


@pytest.mark.rule("K4")
def test_both_folds_agree_on_the_last_event_before_a_retirement_s_closure() -> None:
    ledger = Ledger.solo("co-op")
    eve, spare = ledger.account("eve"), key("spare")
    eve.file(eve.add_device_event(spare))
    log = ledger.open_log(eve.id, spare, "spare")
    ledger.close_epoch()
    eve.file(eve.retire_event(spare, [(log.log_id, 3)]))
    ledger.close_epoch()
    kept = [log.append("account.accept", []), log.append("account.rotate", [])]
    beyond = [log.append("account.rotate", []), log.append("account.accept", [])]
    ledger.close_epoch()
    compare(ledger)
    malformed = ("L2", "malformed")
    assert [views.void_reason(ledger.state, i) for i in kept] == [malformed, malformed]
    assert [views.void_reason(ledger.state, i) for i in beyond] == [None, None]
