"""Counting by address: who may try again, and what is written about it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.net.limits import MAX_TRACKED, OncePer, Rates, address_key, network_key


@pytest.mark.rule("N17")
@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("memory", "memory"),
    ],
)
def test_an_address_counts_by_what_one_machine_is_given(host: str, key: str) -> None:
    assert address_key(host) == key


@pytest.mark.rule("N17")
@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("::ffff:192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("memory", "memory"),
    ],
)
def test_a_network_counts_by_what_one_customer_is_given(host: str, key: str) -> None:
    assert network_key(host) == key


@pytest.mark.rule("N18")
def test_a_bucket_gives_its_burst_and_then_as_much_as_flows_in() -> None:
    rates = Rates(burst=3, per_second=2)
    assert [rates.take("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert rates.take("b", 0.0)
    assert [rates.take("a", 0.5) for _ in range(2)] == [True, False]
    assert [rates.take("a", 100.0) for _ in range(4)] == [True, True, True, False]


@pytest.mark.rule("N18")
@given(st.lists(st.floats(0, 3), max_size=60))
@settings(max_examples=100)
def test_no_timing_gets_more_than_burst_and_flow(waits_s: list[float]) -> None:
    rates, now_s, taken = Rates(burst=5, per_second=1), 0.0, 0
    for wait_s in waits_s:
        now_s += wait_s
        taken += rates.take("a", now_s)
        assert taken <= 5 + now_s + 1e-6


@pytest.mark.rule("N19")
def test_a_line_is_told_once_an_interval_with_what_was_held_back() -> None:
    quiet = OncePer(60)
    assert quiet.due(("a", "x"), 0.0) == 0
    assert quiet.due(("a", "y"), 0.0) == 0
    assert [quiet.due(("a", "x"), at) for at in (1.0, 30.0, 59.9)] == [None, None, None]
    assert quiet.due(("a", "x"), 60.0) == 3
    assert quiet.due(("a", "x"), 120.0) == 0


def test_tables_by_address_are_bounded_and_forget_the_oldest() -> None:
    rates, quiet = Rates(burst=1, per_second=0.001), OncePer(1000)
    for number in range(MAX_TRACKED + 1):
        assert rates.take(str(number), 0.0)
        assert quiet.due((str(number),), 0.0) == 0
    assert len(rates._left) == len(quiet._told) == MAX_TRACKED
    assert not rates.take(str(MAX_TRACKED), 0.0)
    assert rates.take("0", 0.0), "forgotten, so it begins anew"
    assert quiet.due((str(MAX_TRACKED),), 0.0) is None
