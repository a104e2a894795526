"""C7 under `trained_on`: sums by model and epoch, and what a large datanet may cost an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from openledger_node.credit import declared
from openledger_node.credit import state_records as records
from openledger_node.credit.apportion import apportion
from openledger_node.credit.declared import Declarations
from openledger_node.credit.overlay import Tables
from openledger_node.credit.settling import Settling
from openledger_node.ledger import kinds
from openledger_node.ledger.encoding import encode
from tests.kit.ledgerkit import CREDIT, Ledger, MemoryState, contribution, digest, model
from tests.kit.stage import Stage

DATANET = digest("datanet")
PAYER = digest("payer")
CUT_ID = digest("cut")


def ledger_of(members: int, epochs: int, models: int) -> MemoryState:
    """A datanet whose members came over some epochs, and models of later epochs that name it."""
    state = Ledger.solo("co-op").state
    rows: list[tuple[bytes, bytes]] = [
        (records.DATANET + DATANET, encode(records.Datanet(PAYER, 1))),
        (records.PURSE + PAYER, encode(records.Purse(0, 2**50, 0, 0, 0, 0, 0, 0))),
    ]
    for number in range(members):
        record = encode(records.Member(1 + number % epochs, 1 + number % 97))
        rows.append((records.MEMBER + DATANET + digest("member", number), record))
    for number in range(models):
        model_id = digest("model", number)
        record = encode(records.Model(PAYER, 1 + epochs - number % epochs, (), (), (), 1))
        rows.append((records.MODEL + model_id, record))
        items = encode(records.TrainedOn(((DATANET, 1),)))
        rows.append((records.TRAINED_ON + model_id, items))
    state.apply(sorted(rows))
    return state


def filed(number: int, models: int) -> records.Receipt:
    """A receipt of which nothing was attributed."""
    grant, model_id, data = digest("grant"), digest("model", number % models), 1_000_003 + number
    return records.Receipt(
        PAYER, digest("provider"), grant, model_id, None, 9, 9, 1, kinds.PPM, (),
        0, data, 0, 0, records.HELD, 0, 0, 0, None, None, 0,
    )  # fmt: skip


@pytest.fixture
def apportioned(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many weights each apportionment of declared parts went through."""
    counts: list[int] = []

    def counting(total: int, weights: Any, salt: bytes) -> list[int]:
        counts.append(len(weights))
        return apportion(total, weights, salt)

    monkeypatch.setattr(declared, "apportion", counting)
    yield counts


@pytest.mark.rule("C7")
@pytest.mark.parametrize("models", [1, 100])
def test_a_thousand_receipts_on_a_datanet_of_50_000_go_through_its_members_once(
    models: int, apportioned: list[int]
) -> None:
    """Receipt by receipt it was 50 million parts, minutes in which no epoch closes."""
    members, epochs, receipts = 50_000, 10, 1_000
    tables = Tables(ledger_of(members, epochs, models))
    settling = Settling(tables, "trained_on")
    total = 0
    for number in range(receipts):
        receipt = filed(number, models)
        settling.settle(digest("receipt", number), receipt, 0, [])
        total += receipt.data
    assert settling.declarations is not None
    taken: dict[bytes, int] = {}
    for part in settling.declarations.parts(settling.declared, CUT_ID):
        taken[part.contribution] = taken.get(part.contribution, 0) + part.amount
    assert sum(taken.values()) + settling.payers[PAYER].refunds == total
    assert sum(apportioned) <= members + models + min(models, epochs) * epochs
    assert len(taken) == members


@pytest.mark.rule("C7")
def test_settling_and_taking_back_leaves_no_trace_in_any_sum() -> None:
    tables = Tables(ledger_of(100, 3, 5))
    settling = Settling(tables, "trained_on")
    for sign in (1, -1):
        for number in range(20):
            settling.settle(digest("receipt", number), filed(number, 5), 0, [], sign)
    assert not any(settling.declared.values())
    sums = settling.payers[PAYER]
    assert (sums.receipts, sums.unlocked, sums.refunds, settling.pool) == (0, 0, 0, 0)


@pytest.mark.rule("C7")
def test_members_of_the_models_epoch_or_later_take_nothing_however_others_name_the_datanet() -> (
    None
):
    state = ledger_of(30, 3, 3)  # members of epochs 1 to 3, models of epochs 4, 3 and 2
    declarations = Declarations(Tables(state))
    early, late = digest("model", 2), digest("model", 1)
    member = {digest("member", number): 1 + number % 3 for number in range(30)}
    takers = {p.contribution for p in declarations.parts({early: 10**6}, CUT_ID)}
    assert {member[each] for each in takers} == {1}
    takers = {p.contribution for p in declarations.parts({early: 10**6, late: 10**6}, CUT_ID)}
    assert {member[each] for each in takers} == {1, 2}


@pytest.mark.rule("C7", "C13")
def test_the_parts_of_many_receipts_are_those_of_their_sum() -> None:
    """One unit at a time would round every unit to the same member; a sum is divided by tokens."""
    stage = Stage(unattributed="trained_on")
    net = stage.eve.add("datanet.create", kinds.DatanetCreate("Net", "", "CC"))
    stage.ada.add("data.contribute", contribution("One", tokens=300, datanet=net))
    stage.bob.add("data.contribute", contribution("Two", tokens=100, datanet=net))
    stage.close()
    trained = stage.maker.add("model.register", model("Trained", trained_on=[(net, 1)]))
    stage.close()
    for _ in range(40):
        stage.use(3, [], model_id=trained)  # a data part of 1 each
    stage.close()
    assert (stage.balance(stage.ada), stage.balance(stage.bob)) == (30, 10)


@pytest.mark.rule("C7")
def test_a_model_that_names_only_what_has_no_taker_refunds_all() -> None:
    stage = Stage(unattributed="trained_on")
    empty = stage.eve.add("datanet.create", kinds.DatanetCreate("Empty", "", "CC"))
    bare = stage.eve.add("datanet.create", kinds.DatanetCreate("No tokens", "", "CC"))
    stage.ada.add("data.contribute", contribution("Nothing", tokens=0, datanet=bare))
    stage.close()
    named = [(empty, 2), (bare, 3)]
    trained = stage.maker.add("model.register", model("Trained", trained_on=named))
    stage.close()
    stage.use(10 * CREDIT, [], model_id=trained)
    stage.close()
    row = stage.row(stage.user)
    assert row is not None and row.refunds_micro == 3_800_000
    assert stage.balance(stage.ada) == 0


@pytest.mark.rule("C7")
def test_the_refund_of_what_has_no_taker_is_rounded_down_receipt_by_receipt() -> None:
    declaration = declared.Declaration(5, ((digest("a"), 2),), 1, 3)
    assert [declaration.refund(amount) for amount in (0, 1, 2, 3, 10)] == [0, 0, 0, 1, 3]
    assert declared.Declaration(5, (), 0, 0).refund(10) == 10
    assert declared.Declaration(5, (), 4, 4).refund(10) == 10
