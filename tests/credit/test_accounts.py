"""Phase 1: which logs count, key chains, retirement, forks, and how far a log is read."""

from __future__ import annotations

import pytest

from openledger_node.credit import views
from openledger_node.ledger import kinds
from openledger_node.ledger.accounts import AccountCreate
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.events import LogGenesis, encode_event
from openledger_node.ledger.forks import ForkEvidence, prove_fork
from openledger_node.ledger.merkle import leaf_hash
from tests.kit.ledgerkit import (
    CREDIT,
    TIME_MS,
    Ledger,
    MemoryLog,
    contribution,
    digest,
    key,
)
from tests.kit.stage import Stage


def log_view(stage: Stage, log: MemoryLog) -> views.LogView:
    view = views.log_record(stage.ledger.state, log.log_id)
    assert view is not None
    return view


@pytest.mark.rule("K4")
def test_an_account_exists_from_the_epoch_of_its_create() -> None:
    ledger = Ledger.solo()
    ada = ledger.account("ada")
    assert views.account(ledger.state, ada.id) is None
    ledger.close_epoch()
    chain = views.chain(ledger.state, ada.id)
    assert chain is not None and chain.n == 1
    assert chain.devices == {ada.device.public.raw: None}
    assert views.what_is(ledger.state, ada.id) == "account"


@pytest.mark.rule("K4")
def test_a_new_devices_log_is_read_from_its_beginning_once_the_device_is_enrolled() -> None:
    stage = Stage()
    phone = key("ada", "phone")
    log = stage.ledger.open_log(stage.ada.id, phone, "phone")
    early = log.append("data.contribute", contribution("From the phone"))
    stage.close(2)
    assert views.contribution(stage.ledger.state, early) is None
    stage.ada.file(stage.ada.add_device_event(phone))
    stage.close()
    view = views.contribution(stage.ledger.state, early)
    assert view is not None and view.account == stage.ada.id
    assert view.epoch == stage.ledger.epoch
    assert log_view(stage, log).read_to == len(log.leaves)


@pytest.mark.rule("K4")
def test_key_events_count_in_logs_that_are_not_authorised_yet() -> None:
    """A new device's own log may carry its enrolment, signed with the root key."""
    stage = Stage()
    phone = key("ada", "phone")
    log = stage.ledger.open_log(stage.ada.id, phone, "phone")
    stage.ada.file(stage.ada.add_device_event(phone), log)
    made = log.append("data.contribute", contribution("From the phone"))
    stage.close()
    assert views.contribution(stage.ledger.state, made) is not None


@pytest.mark.rule("K4", "K5")
def test_of_two_key_events_in_one_place_the_rotation_wins_then_the_lower_id() -> None:
    stage = Stage()
    ada = stage.ada
    added = [ada.log.append("account.add_device", ada.add_device_event(key(n))) for n in "xy"]
    rotated = ada.log.append("account.rotate", ada.rotate_event())
    stage.close()
    assert stage.void(rotated) is None
    assert [stage.void(each) for each in added] == [("K5", "lost")] * 2
    bob = stage.bob
    devices = {bob.log.append("account.add_device", bob.add_device_event(key(n))): n for n in "xy"}
    stage.close()
    winner, loser = sorted(devices)
    assert stage.void(winner) is None
    assert stage.void(loser) == ("K5", "lost")
    chain = views.chain(stage.ledger.state, bob.id)
    assert chain is not None and key(devices[winner]).public.raw in chain.devices


@pytest.mark.rule("K4")
def test_several_key_events_follow_each_other_in_one_epoch_from_several_logs() -> None:
    stage = Stage()
    ada = stage.ada
    other = stage.ledger.open_log(ada.id, ada.device, "second")
    ada.file(ada.add_device_event(key("one")), other)
    ada.file(ada.rotate_event())
    ada.file(ada.add_device_event(key("two")), other)
    stage.close()
    chain = views.chain(stage.ledger.state, ada.id)
    assert chain is not None and chain.n == 4
    assert list(chain.devices) == [d.public.raw for d in (ada.device, key("one"), key("two"))]


@pytest.mark.rule("K4")
def test_forged_key_events_are_void() -> None:
    stage = Stage()
    ada, eve = stage.ada, stage.eve
    good = ada.add_device_event(key("x"))
    by_eve = eve.add_device_event(key("x"))
    forged = kinds.BODY_TYPES["account.add_device"](
        good.account_id, good.n, good.previous, good.device, good.device_signature,
        by_eve.signatures,
    )  # fmt: skip
    in_eves_log = eve.log.append("account.add_device", good)
    wrong = ada.log.append("account.add_device", forged)
    malformed = ada.log.append("account.add_device", [1, 2])
    again = ada.log.append("account.create", ada.create_event())
    future = ada.add_device_event(key("y"))
    skipped = kinds.BODY_TYPES["account.add_device"](
        future.account_id, 7, future.previous, future.device, future.device_signature,
        future.signatures,
    )  # fmt: skip
    ahead = ada.log.append("account.add_device", skipped)
    stage.close()
    assert stage.void(in_eves_log) == ("K4", "other_account")
    assert stage.void(wrong) == ("K4", "not_valid")
    assert stage.void(malformed) == ("L2", "malformed")
    assert stage.void(again) == ("K4", "exists")
    assert stage.void(ahead) == ("K4", "not_next")
    chain = views.chain(stage.ledger.state, ada.id)
    assert chain is not None and chain.n == 1


@pytest.mark.rule("K4")
def test_a_create_with_a_wrong_signature_makes_no_account() -> None:
    stage = Stage()
    mallory = stage.ledger.account("mallory")
    event = mallory.create_event()
    stage.ledger.logs.by_id.pop(mallory.log.log_id)
    log = stage.ledger.open_log(mallory.id, mallory.device, "again")
    bad = AccountCreate(
        event.account_id, 0, None, event.inception, event.device, bytes(64), event.signatures
    )
    filed = log.append("account.create", bad)
    orphan = log.append("account.add_device", stage.ada.add_device_event(key("z")))
    stage.close()
    assert stage.void(filed) == ("K4", "not_valid")
    assert stage.void(orphan) == ("K4", "other_account")
    assert views.account(stage.ledger.state, mallory.id) is None


@pytest.mark.rule("K4")
def test_retiring_a_device_closes_its_logs_where_listed_and_else_at_their_previous_mark() -> None:
    stage = Stage()
    ada = stage.ada
    phone = key("ada", "phone")
    logs = [stage.ledger.open_log(ada.id, phone, name) for name in ("listed", "unlisted", "new")]
    listed, unlisted, new = logs
    stage.ledger.logs.by_id.pop(new.log_id)
    ada.file(ada.add_device_event(phone))
    for log in (listed, unlisted):
        log.append("data.contribute", contribution("before"))
    stage.close()
    kept = listed.append("data.contribute", contribution("kept"))
    lost = listed.append("data.contribute", contribution("beyond the closure"))
    dropped = unlisted.append("data.contribute", contribution("not listed"))
    ada.file(ada.retire_event(phone, [(listed.log_id, 3)]))
    stage.close()
    assert views.contribution(stage.ledger.state, kept) is not None
    assert views.contribution(stage.ledger.state, lost) is None
    assert views.contribution(stage.ledger.state, dropped) is None
    assert log_view(stage, listed).closed_at == 3
    assert log_view(stage, unlisted).closed_at == 2
    stage.ledger.logs.add(new)
    never = new.append("data.contribute", contribution("never seen before"))
    stage.close()
    assert views.contribution(stage.ledger.state, never) is None
    assert log_view(stage, new).closed_at == 0
    assert stage.void(lost) is stage.void(dropped) is stage.void(never) is None


@pytest.mark.rule("K4")
def test_a_closure_never_lies_below_what_was_final() -> None:
    stage = Stage()
    ada = stage.ada
    phone = key("ada", "phone")
    log = stage.ledger.open_log(ada.id, phone, "phone")
    ada.file(ada.add_device_event(phone))
    made = log.append("data.contribute", contribution("final"))
    stage.close()
    ada.file(ada.retire_event(phone, [(log.log_id, 1)]))
    stage.close()
    assert log_view(stage, log).closed_at == 2
    assert views.contribution(stage.ledger.state, made) is not None


def forked(stage: Stage, common: int) -> tuple[ForkEvidence, MemoryLog]:
    """Evidence that eve's log goes two ways after `common` leaves."""
    log = stage.eve.log
    twin = MemoryLog(log.genesis, log.key)
    for leaf in log.leaves[1:common]:
        twin.append_leaf(leaf)
    twin.append("data.contribute", contribution("the other history"))
    while len(log.leaves) <= common:
        log.append("data.contribute", contribution("this history"))
    evidence = prove_fork(
        log.head(), [leaf_hash(each) for each in log.leaves],
        twin.head(), [leaf_hash(each) for each in twin.leaves],
    )  # fmt: skip
    assert evidence is not None
    return evidence, twin


@pytest.mark.rule("L7")
def test_a_proven_fork_closes_the_log_at_its_previous_mark_in_the_same_epoch() -> None:
    stage = Stage()
    final = len(stage.eve.log.leaves)
    evidence, _ = forked(stage, final - 1)
    lost = stage.eve.log.ids[-1]
    beyond = stage.transfer(stage.eve, stage.ada.id, 1)
    stage.bob.add("log.fork", evidence)
    stage.close()
    assert log_view(stage, stage.eve.log).closed_at == final
    assert views.what_is(stage.ledger.state, lost) in {None, "agent.register"}
    assert stage.void(beyond) is None
    anew = stage.ledger.open_log(stage.eve.id, stage.eve.device, "anew")
    again = anew.append("data.contribute", contribution("filed again"))
    stage.close()
    assert views.contribution(stage.ledger.state, again) is not None


@pytest.mark.rule("L7")
def test_a_fork_beyond_what_is_final_keeps_the_common_part() -> None:
    stage = Stage()
    shared = stage.eve.add("data.contribute", contribution("shared"))
    common = len(stage.eve.log.leaves)
    evidence, _ = forked(stage, common)
    split = stage.eve.log.ids[common]
    stage.bob.add("log.fork", evidence)
    stage.close()
    assert views.contribution(stage.ledger.state, shared) is not None
    assert views.contribution(stage.ledger.state, split) is None
    assert log_view(stage, stage.eve.log).closed_at == common


@pytest.mark.rule("L7")
def test_false_fork_evidence_is_void_and_closes_nothing() -> None:
    stage = Stage()
    evidence, _ = forked(stage, 1)
    fields = {name: getattr(evidence, name) for name in evidence.__struct_fields__}
    fields["leaf_a"] = fields["leaf_b"]
    false = stage.bob.add("log.fork", ForkEvidence(**fields))
    malformed = stage.bob.add("log.fork", ["no", "evidence"])
    stage.close()
    assert stage.void(false) == ("L7", "not_a_fork")
    assert stage.void(malformed) == ("L2", "malformed")
    assert log_view(stage, stage.eve.log).closed_at is None


@pytest.mark.rule("L7")
def test_evidence_about_another_ledgers_log_is_void() -> None:
    stage, other = Stage(), Stage(cap=7 * 10**12)
    evidence, _ = forked(other, 1)
    filed = stage.bob.add("log.fork", evidence)
    stage.close()
    assert stage.void(filed) == ("L7", "other_ledger")


@pytest.mark.rule("L7")
def test_a_fork_from_a_log_that_is_not_authorised_is_not_read() -> None:
    stage = Stage()
    evidence, _ = forked(stage, 1)
    strange = stage.ledger.open_log(stage.bob.id, key("nobody"), "strange")
    strange.append("log.fork", evidence)
    stage.close()
    assert log_view(stage, stage.eve.log).closed_at is None


@pytest.mark.rule("L3")
def test_a_log_of_another_ledger_or_with_a_bad_first_leaf_is_never_read() -> None:
    stage = Stage()
    genesis = LogGenesis(
        1, digest("another ledger"), stage.ada.id, stage.ada.device.public.raw, bytes(16), None
    )
    foreign = stage.ledger.logs.add(MemoryLog(genesis, stage.ada.device))
    made = foreign.append("data.contribute", contribution("foreign"))
    bad = stage.ledger.open_log(stage.ada.id, stage.ada.device, "bad")
    bad.leaves[0] = encode_event(0, "data.note", TIME_MS, [])
    also = bad.append("data.contribute", contribution("bad"))
    stage.close(2)
    for log, event in ((foreign, made), (bad, also)):
        assert views.contribution(stage.ledger.state, event) is None
        assert log_view(stage, log).account is None


@pytest.mark.rule("L1", "L3")
def test_leaves_that_no_phase_can_read_are_void_and_stop_nothing() -> None:
    stage = Stage()
    log = stage.ada.log
    future = log.append_leaf(encode([2, len(log.leaves), "data.contribute", 0, [], None, 0]))
    odd = log.append_leaf(encode([1, len(log.leaves), 7, 0, [], None, 0]))
    second_open = log.append("log.open", log.genesis)
    unknown = log.append("data.perfume", [1, 2, 3])
    vote = log.append("witness.notar", [1, 0, digest("p"), bytes(64)])
    good = stage.ada.add("data.contribute", contribution("good"))
    stage.close()
    assert stage.void(future) == stage.void(odd) == ("L1", "not_an_event")
    assert stage.void(second_open) == ("L3", "not_first")
    assert stage.void(unknown) is stage.void(vote) is None
    assert views.contribution(stage.ledger.state, good) is not None


def test_a_cut_that_takes_part_of_a_log_leaves_the_rest_for_later() -> None:
    stage = Stage()
    first = stage.ada.add("data.contribute", contribution("one"))
    size = len(stage.ada.log.leaves)
    second = stage.ada.add("data.contribute", contribution("two"))
    cut = stage.ledger.next_cut()
    partial = [
        stage.ada.log.mark(size) if mark.log_id == stage.ada.log.log_id else mark
        for mark in cut.changed
    ]
    stage.ledger.close_epoch(type(cut)(cut.epoch, cut.cut_id, tuple(partial)))
    assert views.contribution(stage.ledger.state, first) is not None
    assert views.contribution(stage.ledger.state, second) is None
    stage.close()
    assert views.contribution(stage.ledger.state, second) is not None


@pytest.mark.rule("C1")
def test_many_root_keys_and_a_threshold_guard_an_account() -> None:
    ledger = Ledger.solo()
    team = ledger.account("team", root_keys=3, threshold=2)
    ledger.close_epoch()
    chain = views.chain(ledger.state, team.id)
    assert chain is not None and (len(chain.root_keys), chain.threshold) == (3, 2)
    ledger.accounts["co-op"].add("money.issue", kinds.MoneyIssue(team.id, CREDIT, ""))
    ledger.close_epoch()
    view = views.account(ledger.state, team.id)
    assert view is not None and view.balance_micro == CREDIT
