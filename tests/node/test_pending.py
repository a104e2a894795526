"""The throw-away overlay behind pending figures and judging, against plain dictionaries."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.ledger.errors import Refused
from openledger_node.ledger.kinds import DatanetCreate, MoneyTransfer
from openledger_node.node import pending
from openledger_node.node.caches import Recent
from openledger_node.node.pending import OverlaidState, judge, pending_marks, pending_view
from tests.kit.homes import WITNESS, Coop, Ready

KEYS = st.binary(min_size=1, max_size=3)
STATES = st.dictionaries(KEYS, st.binary(max_size=2), max_size=12)
DELTAS = st.dictionaries(KEYS, st.none() | st.binary(max_size=2), max_size=12)


class DictState:
    def __init__(self, values: dict[bytes, bytes]) -> None:
        self.values = values

    def get(self, key: bytes) -> bytes | None:
        return self.values.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key in sorted(self.values):
            if key.startswith(prefix):
                yield key, self.values[key]


@settings(max_examples=150)
@given(STATES, DELTAS, st.binary(max_size=2))
def test_an_overlay_reads_as_the_merged_dictionary_does(
    base: dict[bytes, bytes], delta: dict[bytes, bytes | None], prefix: bytes
) -> None:
    overlay = OverlaidState(DictState(base), sorted(delta.items()))
    merged = {key: value for key, value in (base | delta).items() if value is not None}
    expected = DictState(merged)
    assert list(overlay.scan(prefix)) == list(expected.scan(prefix))
    for key in base.keys() | delta.keys() | {prefix}:
        assert overlay.get(key) == expected.get(key)


def test_the_pending_view_is_what_closing_makes_of_it(stage: Ready) -> None:
    home = stage.coop[WITNESS]
    home.issue(5, stage.coop.ids["bert"])
    home.datanet_create("verse")
    shown = {row.account_id: row.balance_micro for row in home.credits(pending=True).accounts}
    home.epoch_close()
    assert {row.account_id: row.balance_micro for row in home.credits().accounts} == shown


def test_judging_writes_nothing_and_sees_what_is_pending(stage: Ready) -> None:
    coop = stage.coop
    user = coop["user"]
    user.transfer(40_000_000, coop.ids["bert"])
    core = user.core
    body = MoneyTransfer(bytes.fromhex(coop.ids["bert"]), 20_000_000, "")
    drafts = [
        core.draft("money.transfer", body),
        core.draft("datanet.create", DatanetCreate("x", "", "")),
    ]
    before = user.status().events
    with core.store.read() as snapshot:
        spending, naming = judge(core, snapshot, core.writer().log_id, drafts)
        events = pending_marks(snapshot)[1]
        assert pending_view(core, snapshot).events == events
    assert (spending.rule, spending.reason) == ("C1", "balance")
    assert (naming.rule, naming.parked) == (None, False)
    assert user.status().events == before


def test_with_too_much_pending_an_event_is_written_unjudged_and_voided_later(
    stage: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    coop = stage.coop
    with pytest.raises(Refused):
        coop["alice"].transfer(1, coop.ids["bert"])
    monkeypatch.setattr(pending, "MAX_JUDGED_EVENTS", 0)
    moved = coop["alice"].transfer(1, coop.ids["bert"])
    coop.settle()
    assert coop["bert"].show(moved.event_id).rule == "C1"
    assert coop.conserved()


def test_what_names_an_unknown_thing_is_refused_by_name_not_parked(coop: Coop) -> None:
    from openledger_node.ledger.errors import UsageError

    with pytest.raises(UsageError) as caught:
        coop[WITNESS].data_share("ab" * 32, "all")
    assert caught.value.code == "unknown_id"
    assert coop[WITNESS].status().events == 2


def test_a_parked_event_is_shown_and_handled_when_what_it_names_comes(stage: Ready) -> None:
    from openledger_node.ledger.kinds import UseConfirm

    coop = stage.coop
    used = stage.use("no words of anybody")
    answer = UseConfirm(bytes.fromhex(used.receipt_id))
    parked = coop["user"].core.append_one("use.confirm", answer)
    coop.carry("user", WITNESS)
    coop[WITNESS].epoch_close()
    shown = coop[WITNESS].show(parked.event_id)
    assert (shown.status, coop[WITNESS].status().parked_events) == ("parked", 1)
    assert used.receipt_id[:16] in (shown.reason or "")
    coop.settle()
    assert coop[WITNESS].show(parked.event_id).status == "final"
    assert coop[WITNESS].status().parked_events == 0


# What is kept between calls.


def test_the_values_used_last_are_kept() -> None:
    recent: Recent[int] = Recent(2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert [recent.get(key) for key in "abc"] == [1, None, 3]
    recent.clear()
    assert recent.get("a") is None


def test_threads_share_what_is_kept() -> None:
    recent: Recent[int] = Recent(8)
    faults: list[int] = []

    def work(start: int) -> None:
        for number in range(start, start + 2_000):
            recent.put(number % 11, number % 11)
            found = recent.get(number % 7)
            if found not in (None, number % 7):
                faults.append(number)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
