"""Credit (Y8) and allowances (Y9)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.sync.faults import InternalError, PeerFault
from openledger_node.sync.flow import (
    GRANT_AT_BYTES,
    INITIAL_CREDIT_BYTES,
    MAX_CREDIT_BYTES,
    Allowance,
    ReceiveCredit,
    SendCredit,
)


@pytest.mark.rule("Y8")
@given(st.lists(st.integers(1, 2**20), max_size=60))
def test_a_sender_that_keeps_to_its_credit_never_breaks_the_receivers(sizes: list[int]) -> None:
    sender, receiver = SendCredit(), ReceiveCredit()
    held: list[int] = []
    for size in sizes:
        while size > sender.left_bytes:
            granted = receiver.consume(held.pop())
            if granted:
                sender.grant(granted)
        sender.spend(size)
        receiver.receive(size)
        held.append(size)
        assert sender.left_bytes == receiver.left_bytes
        assert sum(held) + sender.left_bytes <= INITIAL_CREDIT_BYTES


@pytest.mark.rule("Y8")
def test_a_grant_is_due_at_half_of_the_credit_and_not_before() -> None:
    receiver = ReceiveCredit()
    receiver.receive(GRANT_AT_BYTES + 5)
    assert receiver.consume(GRANT_AT_BYTES - 1) == 0
    assert receiver.consume(6) == GRANT_AT_BYTES + 5
    assert receiver.left_bytes == INITIAL_CREDIT_BYTES


@pytest.mark.rule("Y8")
def test_credit_overrun_is_the_peers_fault_and_ones_own_bug() -> None:
    receiver = ReceiveCredit()
    receiver.receive(INITIAL_CREDIT_BYTES)
    with pytest.raises(PeerFault, match="are granted") as found:
        receiver.receive(1)
    assert found.value.code == "credit"
    with pytest.raises(InternalError):
        SendCredit().spend(INITIAL_CREDIT_BYTES + 1)


@pytest.mark.rule("Y8")
@pytest.mark.parametrize("size", [0, MAX_CREDIT_BYTES - INITIAL_CREDIT_BYTES + 1])
def test_a_grant_of_nothing_or_past_the_largest_credit_is_a_fault(size: int) -> None:
    sender = SendCredit()
    with pytest.raises(PeerFault) as found:
        sender.grant(size)
    assert found.value.code == "grant"


@pytest.mark.rule("Y8")
def test_the_largest_credit_may_be_granted() -> None:
    sender = SendCredit()
    sender.grant(MAX_CREDIT_BYTES - INITIAL_CREDIT_BYTES)
    assert sender.left_bytes == MAX_CREDIT_BYTES


def test_more_cannot_be_dealt_with_than_came() -> None:
    receiver = ReceiveCredit()
    receiver.receive(10)
    with pytest.raises(InternalError):
        receiver.consume(11)


@pytest.mark.rule("Y9")
def test_an_allowance_is_spent_at_once_and_comes_back_with_time() -> None:
    allowance = Allowance("frames", burst=3, refill=1, refill_ms=100)
    for _ in range(3):
        allowance.spend(1, now_ms=1_000)
    with pytest.raises(PeerFault, match="frames come faster") as found:
        allowance.spend(1, now_ms=1_099)
    assert found.value.code == "flood"
    allowance.spend(1, now_ms=1_100)
    with pytest.raises(PeerFault):
        allowance.spend(1, now_ms=1_199)
    allowance.spend(1, now_ms=1_200)


@pytest.mark.rule("Y9")
def test_an_allowance_never_holds_more_than_its_burst() -> None:
    allowance = Allowance("frames", burst=3, refill=1, refill_ms=100)
    for _ in range(3):
        allowance.spend(1, now_ms=0)
    for _ in range(3):
        allowance.spend(1, now_ms=10**9)
    with pytest.raises(PeerFault):
        allowance.spend(1, now_ms=10**9)


@pytest.mark.rule("Y9")
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 3)), max_size=60))
def test_in_any_span_no_more_passes_than_the_burst_and_its_refills(
    steps: list[tuple[int, int]],
) -> None:
    allowance = Allowance("frames", burst=5, refill=2, refill_ms=100)
    now_ms, passed = 0, []
    for wait_ms, units in steps:
        now_ms += wait_ms
        try:
            allowance.spend(units, now_ms)
        except PeerFault:
            continue
        passed.append((now_ms, units))
    for start in range(len(passed)):
        total = 0
        for at_ms, units in passed[start:]:
            total += units
            assert total <= 5 + 2 * ((at_ms - passed[start][0]) // 100 + 1)


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    allowance = Allowance("frames", burst=1, refill=1, refill_ms=100)
    allowance.spend(1, now_ms=1_000)
    with pytest.raises(PeerFault):
        allowance.spend(1, now_ms=0)
