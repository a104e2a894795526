"""Phase 3: issue, transfer, grant; every way to spend what one does not have."""

from __future__ import annotations

import msgspec
import pytest

from openledger_node.credit import state_records, views
from openledger_node.credit.statement import Row
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.genesis import MAX_AMOUNT_MICRO
from tests.kit.ledgerkit import CREDIT, digest
from tests.kit.stage import Stage


@pytest.mark.rule("C1")
def test_an_issuer_issues_up_to_its_cap_in_each_epoch() -> None:
    stage = Stage(cap=150 * CREDIT)
    first = stage.issue(stage.ada, 100 * CREDIT)
    over = stage.issue(stage.bob, 51 * CREDIT)
    rest = stage.issue(stage.bob, 50 * CREDIT)
    stage.close()
    assert stage.void(first) is None
    assert stage.void(over) == ("C1", "cap")
    assert stage.void(rest) is None
    assert (stage.balance(stage.ada), stage.balance(stage.bob)) == (100 * CREDIT, 50 * CREDIT)
    again = stage.issue(stage.bob, 150 * CREDIT)
    stage.close()
    assert stage.void(again) is None


@pytest.mark.rule("C1")
def test_only_an_issuer_issues() -> None:
    stage = Stage()
    stolen = stage.issue(stage.eve, CREDIT, by=stage.eve)
    stage.assert_theft_fails(stolen, "C1", "not_an_issuer")


@pytest.mark.rule("C1", "C14")
def test_the_ledger_never_holds_more_than_2_53_micro_credits() -> None:
    stage = Stage(cap=MAX_AMOUNT_MICRO)
    room = MAX_AMOUNT_MICRO - views.totals(stage.ledger.state).issued_micro
    over = stage.issue(stage.ada, room + 1)
    stage.assert_theft_fails(over, "C1", "supply")
    fits = stage.issue(stage.ada, room)
    stage.close()
    assert stage.void(fits) is None
    assert views.totals(stage.ledger.state).issued_micro == MAX_AMOUNT_MICRO
    one_more = stage.issue(stage.ada, 1)
    stage.assert_theft_fails(one_more, "C1", "supply")


@pytest.mark.rule("C1")
def test_an_account_cannot_spend_more_than_it_holds() -> None:
    stage = Stage()
    assert stage.balance(stage.user) == 60 * CREDIT
    for theft in (
        stage.transfer(stage.user, stage.eve.id, 60 * CREDIT + 1),
        stage.transfer(stage.eve, stage.eve.id, 1),
        stage.grant(stage.user, stage.eve, 60 * CREDIT + 1),
        stage.redeem(60 * CREDIT + 1),
    ):
        stage.assert_theft_fails(theft, "C1", "balance")


@pytest.mark.rule("C1")
def test_the_item_that_does_not_fit_is_void_alone() -> None:
    stage = Stage()
    first = stage.transfer(stage.user, stage.ada.id, 50 * CREDIT)
    too_much = stage.transfer(stage.user, stage.bob.id, 20 * CREDIT)
    fits = stage.transfer(stage.user, stage.bob.id, 10 * CREDIT)
    stage.close()
    assert [stage.void(each) for each in (first, too_much, fits)] == [None, ("C1", "balance"), None]
    assert stage.balance(stage.user) == 0
    assert stage.balance(stage.bob) == 10 * CREDIT


@pytest.mark.rule("C1")
def test_spending_the_same_credits_from_two_logs_works_once() -> None:
    stage = Stage()
    other_log = stage.ledger.open_log(stage.user.id, stage.user.device, "second")
    body = stage.transfer(stage.user, stage.ada.id, 60 * CREDIT)
    stage.user.log, first_log = other_log, stage.user.log
    twin = stage.transfer(stage.user, stage.bob.id, 60 * CREDIT)
    stage.user.log = first_log
    stage.close()
    verdicts = sorted([stage.void(body), stage.void(twin)], key=str)
    assert verdicts == [("C1", "balance"), None]
    assert stage.balance(stage.ada) + stage.balance(stage.bob) == 60 * CREDIT


@pytest.mark.rule("C1")
def test_what_comes_in_is_spendable_in_the_next_epoch_only() -> None:
    stage = Stage()
    stage.transfer(stage.user, stage.ada.id, 10 * CREDIT)
    too_soon = stage.transfer(stage.ada, stage.bob.id, 10 * CREDIT)
    stage.close()
    assert stage.void(too_soon) == ("C1", "balance")
    later = stage.transfer(stage.ada, stage.bob.id, 10 * CREDIT)
    stage.close()
    assert stage.void(later) is None
    assert stage.balance(stage.bob) == 10 * CREDIT


@pytest.mark.rule("C1")
def test_a_transfer_to_oneself_changes_nothing_and_uses_up_what_is_spendable() -> None:
    stage = Stage()
    to_self = stage.transfer(stage.user, stage.user.id, 60 * CREDIT)
    too_much = stage.transfer(stage.user, stage.ada.id, 1)
    stage.assert_theft_fails(too_much, "C1", "balance")
    assert stage.void(to_self) is None


@pytest.mark.rule("C1", "C2")
def test_money_never_goes_to_an_unknown_account() -> None:
    stage = Stage()
    nobody = digest("nobody")
    stage.assert_theft_fails(stage.transfer(stage.user, nobody, CREDIT), "C1", "unknown_account")
    stranger = stage.ledger.account("stranger")
    stage.ledger.logs.by_id.pop(stranger.log.log_id)
    stage.assert_theft_fails(stage.issue(stranger, CREDIT), "C1", "unknown_account")
    stage.assert_theft_fails(stage.grant(stage.user, stranger, CREDIT), "C2", "unknown_account")


@pytest.mark.rule("C2")
def test_a_grant_locks_its_amount_and_returns_the_rest_at_its_expiry() -> None:
    stage = Stage()
    expiry = stage.next_epoch + 2
    grant = stage.grant(stage.user, stage.maker, 10 * CREDIT, expiry)
    stage.close()
    assert (stage.balance(stage.user), stage.locked(stage.user)) == (50 * CREDIT, 50 * CREDIT)
    assert views.due_in(stage.ledger.state, expiry)
    assert not views.due_in(stage.ledger.state, expiry - 1)
    stage.use(4 * CREDIT, grant=grant)
    stage.close()
    assert stage.locked(stage.user) == 46 * CREDIT
    last_day = stage.use(CREDIT, grant=grant)
    stage.close()
    assert stage.ledger.epoch == expiry
    assert stage.void(last_day) is None
    refunded = 5 * CREDIT * 95 // 100 * 4 // 10 // 10
    assert stage.balance(stage.user) == 55 * CREDIT + refunded
    assert stage.locked(stage.user) == 40 * CREDIT
    too_late = stage.use(CREDIT, grant=grant)
    stage.assert_theft_fails(too_late, "C3", "grant_expired")


@pytest.mark.rule("C2")
def test_a_grant_must_expire_after_the_epoch_it_counts_in() -> None:
    stage = Stage()
    late = stage.grant(stage.user, stage.maker, CREDIT, stage.next_epoch)
    stage.assert_theft_fails(late, "C2", "expired")


@pytest.mark.rule("C3")
def test_nobody_grants_to_itself() -> None:
    stage = Stage()
    stage.assert_theft_fails(stage.grant(stage.user, stage.user, CREDIT), "C3", "own_grant")


@pytest.mark.rule("C1")
def test_an_authorless_log_moves_nothing() -> None:
    """A log that claims another account is not read until that account enrols its key."""
    stage = Stage()
    thief = stage.ledger.open_log(stage.user.id, stage.eve.device, "thief")
    stage.user.log, own = thief, stage.user.log
    stolen = stage.transfer(stage.user, stage.eve.id, 60 * CREDIT)
    stage.user.log = own
    before = stage.purses()
    stage.close()
    assert stage.purses() == before
    assert stage.void(stolen) is None
    record = views.log_record(stage.ledger.state, thief.log_id)
    assert record is not None and not record.authorised and record.read_to == 0


@pytest.mark.rule("C14")
def test_credits_that_go_round_for_ever_do_not_bring_the_ledger_to_a_stop() -> None:
    """Two accounts in league pass all credits there may be between them: after 2^11 rounds what one
    has earned, or had refunded, is past every integer that can be stored.
    """

    def rows_of(begun_with: int) -> list[tuple[Row, ...]]:
        stage = Stage(maturity_epochs=1)
        state = stage.ledger.state
        for account in stage.ledger.accounts.values():
            key = state_records.PURSE + account.id
            purse = msgspec.msgpack.decode(state.values[key], type=state_records.Purse)
            for name in state_records.PURSE_SUMS:
                setattr(purse, name, begun_with)
            state.values[key] = encode(purse)
        uses = [stage.use(10 * CREDIT, [(stage.a, 500_000)], agent=stage.agent) for _ in range(2)]
        unpaid = stage.use()
        stage.cancel(uses[0])
        stage.confirm(uses[1])
        stage.confirm(unpaid)
        stage.close(3)
        for account in stage.ledger.accounts.values():
            raw = state.values[state_records.PURSE + account.id]
            purse = msgspec.msgpack.decode(raw, type=state_records.Purse)
            assert all(0 <= getattr(purse, name) < 2**63 for name in state_records.PURSE_SUMS)
        return [closed.folded.statement.rows for closed in stage.ledger.epochs]

    assert rows_of(2**63 - 1) == rows_of(2**63 - 2) == rows_of(0)
