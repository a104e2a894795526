"""How ids and keys are written for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.names import account_short, did_key, parse_account_short, parse_did_key
from tests.vectors import make

ids = st.binary(min_size=32, max_size=32)
BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"


@given(ids)
def test_a_short_form_names_the_first_ten_bytes_of_its_account(account: bytes) -> None:
    short = account_short(account)
    assert len(short) == len("acct-xxxx-xxxx-xxxx-xxxx-cccc")
    assert parse_account_short(short) == account[:10]


@given(ids, st.integers(0, 19), st.sampled_from(BASE32))
def test_one_mistyped_character_is_noticed(account: bytes, at: int, digit: str) -> None:
    digits = list(account_short(account).removeprefix("acct-").replace("-", ""))
    if digits[at] == digit:
        return
    digits[at] = digit
    with pytest.raises(BadInput, match="typing mistake"):
        parse_account_short("acct-" + "".join(digits))


def test_a_short_form_is_read_as_people_write_it() -> None:
    account = next(a for a in map(make.digest, range(99)) if {"0", "1"} <= set(account_short(a)))
    short = account_short(account)
    written = short.upper().replace("0", "O").replace("1", "I")
    for text in (short.upper(), written, short.replace("1", "l"), short.removeprefix("acct-")):
        assert parse_account_short(text) == account[:10]


@pytest.mark.parametrize("text", ["", "acct-", "acct-0000", "acct-" + "u" * 20, "0" * 21, "é" * 20])
def test_what_is_not_a_short_form_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse_account_short(text)


def test_a_did_key_is_the_published_one() -> None:
    """The Ed25519 example of the did:key specification, and its key."""
    text = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"
    raw = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"
    assert parse_did_key(text).hex() == raw
    assert did_key(bytes.fromhex(raw)) == text


@given(ids)
def test_a_did_key_reads_back_as_its_key(raw: bytes) -> None:
    assert parse_did_key(did_key(raw)) == raw


@pytest.mark.parametrize(
    "text",
    [
        "",
        "did:key:z",
        "did:key:z0OIl",
        "did:web:example.org",
        "did:key:z" + "1" * 48,
        "did:key:z" + "z" * 65,
        did_key(bytes(32))[:-1],
        did_key(bytes(32)) + "1",
    ],
)
def test_what_is_not_the_did_key_of_an_ed25519_key_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="did:key"):
        parse_did_key(text)
