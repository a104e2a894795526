"""Parking: events that name an unknown id wait for it, in ledger order, and lapse."""

from __future__ import annotations

import msgspec
import pytest

from openledger_node.credit import phase_registrations, views
from openledger_node.ledger import kinds
from openledger_node.ledger.kinds import PPM
from tests.kit.ledgerkit import CREDIT, TestAccount, contribution, digest, model, receipt
from tests.kit.stage import Stage

pytestmark = pytest.mark.rule("C14")


def late_log(stage: Stage, account: TestAccount) -> TestAccount:
    """The account, writing into a second log that `hidden` keeps out of cuts."""
    account.log = stage.ledger.open_log(account.id, account.device, "late", account.name)
    return account


def close_without(stage: Stage, account: TestAccount) -> None:
    stage.ledger.close_epoch(without=[account.log.log_id])
    stage.check_conservation()


def test_a_derived_work_waits_for_its_source() -> None:
    stage = Stage()
    late_log(stage, stage.bob)
    source = stage.bob.add("data.contribute", contribution("Source"))
    derived = stage.eve.add("data.contribute", contribution(derived_from=[(source, 100)]))
    close_without(stage, stage.bob)
    waiting = views.parked(stage.ledger.state, derived)
    assert waiting is not None and waiting.awaits == source
    assert views.contribution(stage.ledger.state, derived) is None
    assert stage.journal().parked[0].awaits == source
    stage.close()
    view = views.contribution(stage.ledger.state, derived)
    assert view is not None and view.epoch == stage.ledger.epoch
    assert views.parked(stage.ledger.state, derived) is None


def test_a_chain_of_waiters_is_handled_as_a_whole_however_long() -> None:
    stage = Stage()
    late_log(stage, stage.bob)
    made = [stage.bob.add("data.contribute", contribution("0"))]
    for i in range(1, 60):
        made.append(stage.eve.add("data.contribute", contribution(f"{i}", derived_from=[
            (made[-1], 1)
        ])))  # fmt: skip
    close_without(stage, stage.bob)
    assert len(list(views.all_parked(stage.ledger.state))) == 59
    stage.close()
    assert list(views.all_parked(stage.ledger.state)) == []
    serials = [_serial(stage, each) for each in made]
    assert serials == sorted(serials)


def _serial(stage: Stage, contribution_id: bytes) -> int:
    view = views.contribution(stage.ledger.state, contribution_id)
    assert view is not None
    return view.serial


def test_an_event_waits_for_one_unknown_id_after_the_other() -> None:
    stage = Stage()
    late_log(stage, stage.bob)
    first = stage.bob.add("data.contribute", contribution("first"))
    stage.bob.log.append("log.note", [])
    late_log(stage, stage.ada).log = stage.ledger.open_log(stage.ada.id, stage.ada.device, "later")
    second = stage.ada.add("data.contribute", contribution("second"))
    both = stage.eve.add(
        "data.contribute", contribution(derived_from=[(first, 100), (second, 200)])
    )
    hidden = [stage.bob.log.log_id, stage.ada.log.log_id]
    stage.ledger.close_epoch(without=hidden)
    waiting = views.parked(stage.ledger.state, both)
    assert waiting is not None and waiting.awaits == first
    stage.ledger.close_epoch(without=hidden[1:])
    waiting = views.parked(stage.ledger.state, both)
    assert waiting is not None and waiting.awaits == second
    stage.close()
    view = views.contribution(stage.ledger.state, both)
    assert view is not None and dict(view.floors_bp) == {first: 100, second: 200}


def test_a_confirm_waits_for_a_receipt_of_a_later_epoch() -> None:
    stage = Stage()
    late_log(stage, stage.maker)
    use = stage.use(10 * CREDIT, snapshot=stage.ledger.epoch)
    confirm = stage.confirm(use)
    close_without(stage, stage.maker)
    assert views.parked(stage.ledger.state, confirm) is not None
    stage.close()
    assert stage.void(confirm) is None
    assert stage.receipt(use).confirmed
    assert stage.balance(stage.maker) == 5_700_000


def test_a_receipt_waits_for_its_model_and_keeps_its_own_epoch_for_the_snapshot() -> None:
    stage = Stage()
    late_log(stage, stage.eve)
    made = stage.eve.add("model.register", model("Late"))
    use = stage.use(10 * CREDIT, model_id=made, snapshot=stage.ledger.epoch)
    close_without(stage, stage.eve)
    for _ in range(5):
        close_without(stage, stage.eve)
    assert views.parked(stage.ledger.state, use) is not None
    stage.close()
    view = stage.receipt(use)
    assert view.epoch == stage.ledger.epoch
    assert view.status == "matured"
    assert stage.balance(stage.eve) == 5_700_000


def test_what_waits_for_something_of_an_earlier_phase_is_handled_in_the_next_epoch() -> None:
    """`data.erase` (phase 2) of a receipt (phase 4): the receipt becomes known after its phase."""
    stage = Stage()
    late_log(stage, stage.maker)
    use = stage.use()
    maker_log = stage.maker.log
    own_log = stage.ledger.open_log(stage.maker.id, stage.maker.device, "third")
    stage.maker.log = own_log
    erase = stage.maker.add("data.erase", kinds.DataErase(use, ""))
    stage.maker.log = maker_log
    close_without(stage, stage.maker)
    stage.close()
    waiting = views.parked(stage.ledger.state, erase)
    assert waiting is not None and waiting.awaits is None
    assert views.due_in(stage.ledger.state, stage.next_epoch)
    stage.close()
    assert views.parked(stage.ledger.state, erase) is None
    assert stage.void(erase) is None


def test_what_nobody_registers_lapses_after_park_epochs() -> None:
    stage = Stage(park_epochs=3)
    lost = stage.eve.add("data.contribute", contribution(derived_from=[(digest("?"), 1)]))
    stage.close()
    own_epoch = stage.ledger.epoch
    assert not views.due_in(stage.ledger.state, own_epoch + 2)
    assert views.due_in(stage.ledger.state, own_epoch + 3)
    stage.close(2)
    assert stage.void(lost) is None
    stage.close()
    assert stage.ledger.epoch == own_epoch + 3
    assert stage.void(lost) == ("PARK", "lapsed")


def test_with_no_park_epochs_an_unknown_id_is_void_in_the_same_epoch() -> None:
    stage = Stage(park_epochs=0)
    lost = stage.eve.add("data.contribute", contribution(derived_from=[(digest("?"), 1)]))
    stage.close()
    assert stage.void(lost) == ("PARK", "lapsed")


def test_who_waits_for_an_event_that_becomes_void_is_void_too() -> None:
    stage = Stage()
    late_log(stage, stage.bob)
    bad = stage.bob.add("data.contribute", contribution(derived_from=[(stage.a, 1), (stage.a, 2)]))
    derived = stage.eve.add("data.contribute", contribution(derived_from=[(bad, 100)]))
    close_without(stage, stage.bob)
    stage.close()
    assert stage.void(bad) == ("C8", "duplicate")
    assert stage.void(derived) == ("C8", "names_void")


def test_what_it_waited_for_may_turn_out_to_be_of_another_kind() -> None:
    stage = Stage()
    late_log(stage, stage.bob)
    made = stage.bob.add("model.register", model("Not data"))
    derived = stage.eve.add("data.contribute", contribution(derived_from=[(made, 100)]))
    close_without(stage, stage.bob)
    stage.close()
    assert stage.void(derived) == ("C8", "wrong_type")


def test_an_agent_waits_for_its_operators_account() -> None:
    stage = Stage()
    newcomer = stage.ledger.account("newcomer")
    body = kinds.AgentRegister("Helper", newcomer.id, None, (), (stage.m,))
    agent = stage.eve.add("agent.register", body)
    close_without(stage, newcomer)
    assert views.agent(stage.ledger.state, agent) is None
    stage.close()
    view = views.agent(stage.ledger.state, agent)
    assert view is not None and view.operator == newcomer.id


def test_money_never_waits() -> None:
    stage = Stage()
    newcomer = stage.ledger.account("newcomer")
    early = stage.transfer(stage.user, newcomer.id, CREDIT)
    close_without(stage, newcomer)
    assert stage.void(early) == ("C1", "unknown_account")
    stage.close()
    assert stage.balance(newcomer) == 0


def test_waiters_are_handled_in_ledger_order_not_in_order_of_arrival() -> None:
    """Two uses wait for one model on a grant that has room for one: ledger order decides."""
    outcomes = set()
    for swap in (False, True):
        stage = Stage()
        grant = stage.grant(stage.user, stage.maker, CREDIT)
        stage.close()
        late_log(stage, stage.eve)
        made = stage.eve.add("model.register", model("Late"))
        logs = [stage.ledger.open_log(stage.maker.id, stage.maker.device, name) for name in "xy"]
        uses = {}
        for log in reversed(logs) if swap else logs:
            body = receipt(made, [(stage.a, PPM)], grant=grant, fee=CREDIT, snapshot=4)
            uses[log.log_id] = log.append("use.receipt", body)
        close_without(stage, stage.eve)
        assert len(list(views.all_parked(stage.ledger.state))) == 2
        stage.close()
        outcomes.add(tuple(str(stage.void(uses[log.log_id])) for log in logs))
    assert len(outcomes) == 1
    assert sorted(*outcomes) == ["('C3', 'grant_spent')", "None"]


def test_a_model_that_names_a_thousand_late_contributions_is_read_twice_not_a_thousand_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A body of 512 KiB names 8,192 ids: read anew for each, one event would cost seconds."""
    stage = Stage()
    late_log(stage, stage.bob)
    texts = [stage.bob.add("data.contribute", contribution(f"{i}")) for i in range(1_000)]
    made = stage.eve.add("model.register", model(trained_on=[(text, 1) for text in texts]))
    close_without(stage, stage.bob)
    reads = []
    decode, handler = phase_registrations.HANDLERS["model.register"]

    def counted(body: msgspec.Raw | bytes) -> kinds.ModelRegister:
        reads.append(len(body))
        decoded: kinds.ModelRegister = decode(body)
        return decoded

    monkeypatch.setitem(phase_registrations.HANDLERS, "model.register", (counted, handler))
    stage.close()
    view = views.model(stage.ledger.state, made)
    assert view is not None and len(view.trained_on) == 1_000
    assert len(reads) == 2  # at the first id, and when the last is known


def test_a_model_that_waits_for_several_ids_is_void_when_one_of_them_turns_out_void() -> None:
    stage = Stage()
    late_log(stage, stage.bob)
    first = stage.bob.add("data.contribute", contribution("first"))
    spoilt = stage.bob.add("data.contribute", contribution(creators=[(stage.ada.id, 1)] * 2))
    last = stage.bob.add("data.contribute", contribution("last"))
    made = stage.eve.add("model.register", model(trained_on=[(first, 1), (spoilt, 1), (last, 1)]))
    close_without(stage, stage.bob)
    waiting = views.parked(stage.ledger.state, made)
    assert waiting is not None and waiting.awaits == first
    stage.close()
    assert stage.void(made) == ("C7", "names_void")
