"""Canonical bytes (E1 to E3), against a plain encoder and decoder and against evil bytes."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.ledger.encoding import (
    MAX_DEPTH,
    H,
    decode,
    decode_array,
    decode_as,
    encode,
    has_plain_types,
    signing_bytes,
)
from openledger_node.ledger.errors import BadInput
from tests.ledger import naive_msgpack as naive
from tests.vectors import make

scalars = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from([0, 127, 128, 255, 256, 65535, 65536, -1, -32, -33, -128, -129, 2**32]),
    st.binary(max_size=300),
    st.text(max_size=80),
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=18), max_leaves=30)


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\x01"


@pytest.mark.rule("E1", "E2")
@given(values)
def test_a_value_has_the_bytes_that_a_plain_encoder_gives_it(value: Any) -> None:
    assert encode(value) == naive.encode(value)
    assert decode(encode(value)) == value


def assert_judged_as_the_plain_decoder_does(data: bytes) -> None:
    try:
        expected = naive.decode(data)
    except naive.NotCanonical:
        with pytest.raises(BadInput):
            decode(data)
    else:
        assert decode(data) == expected


@pytest.mark.rule("E1", "E2")
@given(st.binary(max_size=40))
def test_any_bytes_are_judged_as_the_plain_decoder_judges_them(data: bytes) -> None:
    assert_judged_as_the_plain_decoder_does(data)


@pytest.mark.rule("E1", "E2")
@given(values, st.data())
def test_canonical_bytes_with_one_byte_changed_are_judged_alike(
    value: Any, data: st.DataObject
) -> None:
    raw = bytearray(encode(value))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    assert_judged_as_the_plain_decoder_does(bytes(raw))


@pytest.mark.rule("E1", "E2")
@pytest.mark.parametrize("name", naive.EVIL)
def test_evil_bytes_are_refused(name: str) -> None:
    with pytest.raises(BadInput):
        decode(naive.EVIL[name])


@pytest.mark.rule("E1")
def test_arrays_nest_sixteen_deep_and_no_deeper() -> None:
    assert decode(nested(MAX_DEPTH)) is not None
    with pytest.raises(BadInput, match="nested too deep"):
        decode(nested(MAX_DEPTH + 1))


@pytest.mark.rule("E1")
@pytest.mark.parametrize("value", [True, 1.0, {}, (1, 2), msgspec.msgpack.Ext(1, b"")])
def test_types_that_are_not_plain_are_seen_at_any_depth(value: Any) -> None:
    assert has_plain_types([1, b"", "", None, []])
    assert not has_plain_types([value])
    assert not has_plain_types([1, [2, [b"", value]]])


@pytest.mark.rule("E1")
@given(values)
def test_every_canonical_value_has_plain_types(value: Any) -> None:
    assert has_plain_types([value], MAX_DEPTH + 1)


def test_integers_outside_64_bits_have_no_encoding() -> None:
    for value in (2**64, -(2**63) - 1):
        with pytest.raises(OverflowError):
            encode(value)


def test_an_array_is_told_from_a_single_value() -> None:
    assert decode_array(b"\x91\x01") == [1]
    with pytest.raises(BadInput, match="single value"):
        decode_array(b"\x01")


@pytest.mark.rule("E2")
def test_typed_decoding_holds_to_the_canonical_form_and_names_what_it_read() -> None:
    decoder = msgspec.msgpack.Decoder(tuple[int, bytes])
    assert decode_as(decoder, b"\x92\x01\xc4\x00", "the pair") == (1, b"")
    with pytest.raises(BadInput, match="the pair is not in canonical form"):
        decode_as(decoder, b"\x92\xcc\x01\xc4\x00", "the pair")
    with pytest.raises(BadInput, match="the pair"):
        decode_as(decoder, b"\x92\xcb\x3f\xf0\0\0\0\0\0\0\xc4\x00", "the pair")
    with pytest.raises(BadInput, match="the pair is malformed"):
        decode_as(decoder, b"\x92\x01\xa0", "the pair")


@pytest.mark.rule("E3")
@given(st.text(min_size=1, max_size=12), st.lists(values, max_size=4))
def test_a_hash_is_sha256_of_the_signing_bytes(what: str, parts: list[Any]) -> None:
    raw = naive.encode([f"oln/{what}/1", *parts])
    assert signing_bytes(what, *parts) == raw
    assert H(what, *parts) == hashlib.sha256(raw).digest()


@pytest.mark.rule("E3")
def test_different_purposes_never_share_a_hash() -> None:
    assert len({H("account", 1), H("event", 1), H("account"), H("account", [1])}) == 4


@pytest.mark.rule("E1", "E2")
def test_the_encoding_vectors_hold_for_the_plain_encoder_too() -> None:
    vectors = make.load("encoding")
    for case in vectors["integers"]:
        assert naive.encode(int(case["value"])).hex() == case["encoded"]
    for case in vectors["texts"] + vectors["arrays"]:
        assert naive.encode(case["value"]).hex() == case["encoded"]
    for case in vectors["binaries"]:
        assert naive.encode(bytes.fromhex(case["value"])).hex() == case["encoded"]


@pytest.mark.rule("E3")
def test_the_hash_vectors_hold_for_the_plain_encoder_too() -> None:
    for case in make.load("hash")["cases"]:
        parts = naive.decode(bytes.fromhex(case["parts_encoded"]))
        raw = naive.encode([f"oln/{case['what']}/1", *parts])
        assert raw.hex() == case["signing_bytes"]
        assert hashlib.sha256(raw).hexdigest() == case["hash"]
