"""What people type becomes integers, or is refused with the reason."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.cli import values
from openledger_node.cli.text import credits_text
from openledger_node.ledger.errors import UsageError
from openledger_node.ledger.genesis import MAX_AMOUNT_MICRO


@pytest.mark.parametrize(
    ("text", "amount_micro"),
    [
        ("12.5", 12_500_000),
        ("1", 1_000_000),
        ("0.000001", 1),
        ("007", 7_000_000),
        ("9007199254.740991", 2**53 - 1),
        ("1.100000", 1_100_000),
    ],
)
def test_an_amount_is_credits_with_up_to_six_decimals(text: str, amount_micro: int) -> None:
    assert values.parse_amount(text) == amount_micro


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" ", "empty"),
        ("nan", "not a number"),
        ("inf", "not a number"),
        ("-1", "negative"),
        ("+5", "sign"),
        ("1e400", "exponent"),
        ("1E2", "exponent"),
        ("0.0000001", "7 decimals"),
        ("1.0000000", "7 decimals"),
        ("١٢", "digits are not 0 to 9"),
        ("１２", "digits are not 0 to 9"),
        ("1_000", "separator"),
        ("1,000", "separator"),
        ("0x10", "not a number"),
        ("5.", "not a number"),
        (".5", "not a number"),
        ("1.2.3", "not a number"),
        (" 5", "not a number"),
        ("5\n", "not a number"),
        ("9007199254.740992", "more than 9007199254.740991"),
        ("9" * 60, "more than 9007199254.740991"),
        ("9" * 65, "more than 64 characters"),
        ("9" * 5000, "more than 64 characters"),
        ("0", "zero"),
        ("0.000000", "zero"),
    ],
)
def test_what_is_not_an_amount_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        values.parse_amount(text)
    assert caught.value.code == "bad_amount"
    assert "12.5" in caught.value.hint
    assert len(caught.value.message) < 200


def test_zero_is_an_amount_where_it_means_something() -> None:
    assert values.amount_or_zero("0") == 0


def test_the_limit_is_the_ledger_s_own() -> None:
    assert values.MAX_AMOUNT_MICRO == MAX_AMOUNT_MICRO


@given(st.integers(1, MAX_AMOUNT_MICRO))
def test_an_amount_that_is_printed_is_read_back_the_same(amount_micro: int) -> None:
    text = credits_text(amount_micro)
    assert values.parse_amount(text) == amount_micro
    assert Decimal(text) * 1_000_000 == amount_micro
    assert "." not in text or not text.endswith("0")


@given(st.text(max_size=20))
def test_no_text_does_anything_but_parse_or_be_refused(text: str) -> None:
    try:
        amount_micro = values.parse_amount(text)
    except UsageError:
        return
    assert Decimal(text) * 1_000_000 == amount_micro


@pytest.mark.parametrize(
    ("parse", "text", "pair"),
    [
        (values.creator, "ana:2", ("ana", 2)),
        (values.creator, "an:a:65536", ("an:a", 65536)),
        (values.floor, "5f2c81d0:9000", ("5f2c81d0", 9000)),
        (values.weighted, "5f2c81d0", ("5f2c81d0", 1)),
        (values.weighted, "5f2c81d0:7", ("5f2c81d0", 7)),
    ],
)
def test_a_pair_is_a_name_and_a_number(parse: object, text: str, pair: tuple[str, int]) -> None:
    assert callable(parse)
    assert parse(text) == pair


@pytest.mark.parametrize(
    ("parse", "text", "reason"),
    [
        (values.creator, "ana", "not a name and a share"),
        (values.creator, ":2", "not a name and a share"),
        (values.creator, "ana:", "not a share"),
        (values.creator, "ana:0", "not a share"),
        (values.creator, "ana:-1", "not a share"),
        (values.creator, "ana:65537", "not a share"),
        (values.creator, "ana:1.5", "not a share"),
        (values.creator, "ana:١", "not a share"),
        (values.creator, "ana:" + "9" * 5000, "not a share"),
        (values.floor, "5f2c81d0:10001", "not a bp"),
        (values.weighted, "", "not a name and a weight"),
        (values.weighted, "5f2c81d0:4294967297", "not a weight"),
    ],
)
def test_what_is_not_a_pair_is_refused(parse: object, text: str, reason: str) -> None:
    assert callable(parse)
    with pytest.raises(UsageError, match=reason) as caught:
        parse(text)
    assert caught.value.hint
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("text", "policy"),
    [("none", "none"), ("all", "all"), ("ana", ["ana"]), ("ana, ben", ["ana", "ben"])],
)
def test_a_share_policy_is_a_word_or_accounts(text: str, policy: object) -> None:
    assert values.parse_share_policy(text) == policy


@pytest.mark.parametrize("text", ["", "ana,", ",", "ana,,ben"])
def test_a_share_policy_with_a_gap_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="with whom to share"):
        values.parse_share_policy(text)
