"""Phase 8: a new witness set takes effect when a quorum of the old and all of the new agree."""

from __future__ import annotations

import msgspec
import pytest

from openledger_node.credit import views
from openledger_node.credit.fold import fold
from openledger_node.ledger.errors import Refused
from openledger_node.ledger.genesis import Params
from openledger_node.ledger.votes import WitnessReady, WitnessSet
from tests.kit.ledgerkit import CREDIT, Ledger, TestAccount
from tests.kit.stage import Stage

pytestmark = pytest.mark.rule("A10")


def new_set(
    stage: Stage, members: list[TestAccount], number: int = 1, **changes: object
) -> WitnessSet:
    """A set that differs from the ledger's by its seats, and `changes` of its other items."""
    rules = views.rules(stage.ledger.state)
    body = WitnessSet(
        number,
        tuple((seat.id, seat.device.public.raw) for seat in members),
        1,
        rules.params,
        rules.issuers,
    )
    return msgspec.structs.replace(body, **changes)


def ready(seat: TestAccount, number: int = 1) -> bytes:
    return seat.add("witness.ready", WitnessReady(number))


def test_a_solo_ledger_becomes_four_seats_in_one_step() -> None:
    stage = Stage()
    seats = [stage.coop, stage.ada, stage.bob, stage.eve]
    for seat in seats:
        ready(seat)
    body = new_set(stage, seats)
    stage.coop.add("witness.set", body)
    digest_before = stage.ledger.epochs[-1].folded.next_set_digest
    stage.close()
    rules = views.rules(stage.ledger.state)
    assert (rules.number, rules.seats) == (1, body.seats)
    folded = stage.ledger.epochs[-1].folded
    assert folded.next_set_digest == rules.set_digest != digest_before


def test_it_waits_for_every_new_seat_to_be_ready() -> None:
    stage = Stage()
    seats = [stage.coop, stage.ada]
    stage.coop.add("witness.set", new_set(stage, seats))
    ready(stage.coop)
    stage.close(2)
    assert views.rules(stage.ledger.state).number == 0
    ready(stage.ada)
    stage.close()
    assert views.rules(stage.ledger.state).number == 1


def test_the_next_change_needs_a_quorum_of_the_new_seats() -> None:
    stage = Stage()
    seats = [stage.coop, stage.ada, stage.bob, stage.eve]
    for seat in seats:
        ready(seat)
    stage.coop.add("witness.set", new_set(stage, seats))
    stage.close()
    body = new_set(stage, seats[:3], number=2)
    for seat in seats:
        ready(seat, 2)
    for seat in seats[:2]:
        seat.add("witness.set", body)
    stage.close()
    assert views.rules(stage.ledger.state).number == 1
    twice = seats[0].add("witness.set", body)
    stage.close()
    assert stage.void(twice) == ("A10", "voted_before")
    assert views.rules(stage.ledger.state).number == 1
    seats[3].add("witness.set", body)
    stage.close()
    assert views.rules(stage.ledger.state).number == 2


def test_params_and_issuers_change_at_the_beginning_of_the_next_epoch() -> None:
    stage = Stage()
    rules = views.rules(stage.ledger.state)
    params: Params = msgspec.structs.replace(rules.params, network_fee_bp=1_000)
    ready(stage.coop)
    body = new_set(stage, [stage.coop], params=params, issuers=((stage.eve.id, CREDIT),))
    stage.coop.add("witness.set", body)
    stage.use(10 * CREDIT)
    stage.close()
    assert stage.pool == 500_000
    stage.use(10 * CREDIT)
    by_new = stage.issue(stage.ada, CREDIT, by=stage.eve)
    by_old = stage.issue(stage.ada, CREDIT)
    stage.close()
    assert stage.pool == 500_000 + 1_000_000
    assert stage.void(by_new) is None
    assert stage.void(by_old) == ("C1", "not_an_issuer")
    redeem = stage.redeem(CREDIT)
    stage.close()
    assert stage.void(redeem) is None, "a past issuer still pays out"


def test_who_has_no_seat_proposes_nothing() -> None:
    stage = Stage()
    ready(stage.eve)
    stolen = stage.eve.add("witness.set", new_set(stage, [stage.eve]))
    stage.close()
    assert stage.void(stolen) == ("A10", "not_a_seat")
    assert views.rules(stage.ledger.state).number == 0


@pytest.mark.parametrize("number", [2, 7])
def test_a_set_has_the_next_number(number: int) -> None:
    stage = Stage()
    wrong = stage.coop.add("witness.set", new_set(stage, [stage.coop], number))
    early = ready(stage.coop, number)
    stage.close()
    assert stage.void(wrong) == stage.void(early) == ("A10", "number")


def test_a_set_that_could_not_govern_is_void() -> None:
    stage = Stage()
    rules = views.rules(stage.ledger.state)
    device = stage.ada.device.public.raw
    for body in (
        new_set(stage, [stage.ada, stage.ada]),
        new_set(stage, [stage.ada], seats=((stage.ada.id, device), (stage.bob.id, device))),
        new_set(stage, [stage.ada], seats=((stage.ada.id, b"\1" + bytes(31)),)),
        new_set(stage, [stage.ada], issuers=((stage.ada.id, 1), (stage.ada.id, 2))),
        new_set(
            stage,
            [stage.ada],
            params=msgspec.structs.replace(rules.params, role_bp=(1, 2, 3)),
        ),
    ):
        filed = stage.coop.add("witness.set", body)
        stage.close()
        assert stage.void(filed) == ("A10", "not_usable")


def test_a_fold_that_lacks_the_rules_version_refuses_and_says_so() -> None:
    stage = Stage()
    ready(stage.coop)
    stage.coop.add("witness.set", new_set(stage, [stage.coop], rules_version=2))
    stage.close()
    assert stage.ledger.epochs[-1].folded.rules_version == 2
    ledger: Ledger = stage.ledger
    with pytest.raises(Refused) as refused:
        fold(ledger.state, ledger.next_cut(), ledger.logs, ledger.genesis)
    assert refused.value.code == "rules_version_unknown"


def test_a_cut_of_another_epoch_is_refused() -> None:
    stage = Stage()
    ledger = stage.ledger
    cut = ledger.next_cut()
    for epoch in (cut.epoch - 1, cut.epoch + 1):
        with pytest.raises(Refused) as refused:
            fold(ledger.state, type(cut)(epoch, cut.cut_id, ()), ledger.logs, ledger.genesis)
        assert refused.value.code == "wrong_epoch"
