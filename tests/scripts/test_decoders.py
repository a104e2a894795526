"""Every decoder of bytes from outside: a value or an OlnError, and one encoding of each value."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import OlnError
from scripts.fuzzing.decoders import DECODERS

NAMES = list(DECODERS)
SEEDS = {name: decoder.seeds() for name, decoder in DECODERS.items()}
COMPLETE = {
    "a derivation entry's proof",
    "a proof file",
    "a seat file",
    "a session",
    "a span proof",
    "an account's short name",
    "an evidence payload",
}
"""Those whose seeds have the form and no more: they are refused for what they say."""

alterations = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "cut", "double", "insert"]),
        st.integers(0, 2**16),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=6,
)
values = st.recursive(
    st.none()
    | st.integers(-(2**63), 2**64 - 1)
    | st.integers(0, 3)
    | st.binary(max_size=64)
    | st.binary(min_size=32, max_size=32)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=12),
    max_leaves=30,
)


def altered(data: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    """`data` after changes of a few bytes here and there."""
    made = bytearray(data)
    for what, place, value in changes:
        at = place % (len(made) + 1)
        if what == "flip" and at < len(made):
            made[at] ^= 1 << value % 8
        elif what == "set" and at < len(made):
            made[at] = value
        elif what == "cut":
            del made[at : at + value]
        elif what == "double":
            made[at:at] = made[at : at + value]
        else:
            made.insert(at, value)
    return bytes(made)


def judge(name: str, data: bytes) -> None:
    """A value that encodes to `data`, or an OlnError with something to say."""
    decoder = DECODERS[name]
    try:
        value = decoder.decode(data)
    except OlnError as error:
        assert error.code and error.message
        return
    if decoder.encode is not None:
        assert decoder.encode(value) in {data, b""}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_altered_in_these_tests_was_valid_before(name: str) -> None:
    for data in SEEDS[name]:
        if name in COMPLETE:
            judge(name, data)
            continue
        value = DECODERS[name].decode(data)
        encoder = DECODERS[name].encode
        assert encoder is None or encoder(value) == data


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=30)
@given(data=st.binary(max_size=300))
def test_random_bytes(name: str, data: bytes) -> None:
    judge(name, data)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=30)
@given(value=values)
def test_canonical_values_of_any_shape(name: str, value: object) -> None:
    judge(name, encode(value))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(number=st.integers(0, 40), changes=alterations)
def test_valid_bytes_with_a_few_changes(
    name: str, number: int, changes: list[tuple[str, int, int]]
) -> None:
    seeds = SEEDS[name]
    judge(name, altered(seeds[number % len(seeds)], changes))


@pytest.mark.parametrize("name", NAMES)
def test_every_beginning_of_valid_bytes(name: str) -> None:
    for data in SEEDS[name][:4]:
        for size in range(0, len(data), max(1, len(data) // 200)):
            judge(name, data[:size])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "data",
    [
        b"\x91" * 2_000 + b"\xc0",
        b"\x81" * 2_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
        b"\xd9\x02\xff\xfe",
        b"[" * 100_000,
        b'{"openledger":' * 5_000,
        b'{"openledger":1e999,"version":1' + b"}",
        b"\xef\xbb\xbf{}",
        b"\xed\xa0\x80",
        "\u0661\u0662@\u0663:\u0664".encode(),
    ],
    ids=[
        "deep arrays",
        "deep maps",
        "an array of four milliards",
        "bytes of four gigabytes",
        "not a number",
        "text that is no UTF-8",
        "deep JSON",
        "deep JSON objects",
        "an infinite number",
        "a byte order mark",
        "half a surrogate",
        "digits of another script",
    ],
)
def test_bombs(name: str, data: bytes) -> None:
    judge(name, data)
