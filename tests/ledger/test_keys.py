"""Keys and signatures (K1, K2), against published edge cases."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.ledger.encoding import signing_bytes
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.keys import PublicKey, SigningKey
from tests.vectors import make

VECTORS = make.load("ed25519")
P = 2**255 - 19
SMALL_ORDER_Y = {
    int.from_bytes(bytes.fromhex(case["key"]), "little") & ((1 << 255) - 1)
    for case in VECTORS["small_order_keys"]
}
D = -121665 * pow(121666, -1, P) % P


def raw(case: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(case[name])


def is_on_curve(y: int) -> bool:
    """Whether some x fits y: Euler's criterion on (y^2 - 1) / (d y^2 + 1)."""
    ratio = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    return pow(ratio, (P - 1) // 2, P) in (0, 1)


@pytest.mark.rule("K2")
@pytest.mark.parametrize("case", VECTORS["rfc8032"])
def test_rfc_8032_signatures_are_made_and_taken(case: dict[str, Any]) -> None:
    key = SigningKey(raw(case, "seed"))
    assert key.public.raw == raw(case, "key")
    assert key.sign(raw(case, "message")) == raw(case, "signature")
    assert PublicKey.parse(raw(case, "key")).verifies(raw(case, "signature"), raw(case, "message"))


@pytest.mark.rule("K1")
@pytest.mark.parametrize("case", VECTORS["small_order_keys"], ids=lambda case: case["key"])
def test_keys_of_small_order_are_refused(case: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="small-order"):
        PublicKey.parse(raw(case, "key"))


@pytest.mark.rule("K1")
@pytest.mark.parametrize("case", VECTORS["non_canonical_keys"], ids=lambda case: case["key"])
def test_non_canonical_keys_are_refused(case: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        PublicKey.parse(raw(case, "key"))


@pytest.mark.rule("K1")
@pytest.mark.parametrize("text", VECTORS["above_the_field"])
def test_keys_with_a_coordinate_above_the_field_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="not canonical"):
        PublicKey.parse(bytes.fromhex(text))


@pytest.mark.rule("K1")
def test_the_small_order_keys_are_all_points_of_small_order() -> None:
    """The doubled point of an order-8 point has y = 0, so x^2 + y^2 = 0 there."""
    for case in VECTORS["small_order_keys"]:
        y = int.from_bytes(raw(case, "key"), "little") & ((1 << 255) - 1)
        x_squared = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
        assert {1: x_squared, 2: x_squared, 4: y, 8: x_squared + y * y}[case["order"]] % P == 0


@pytest.mark.rule("K1")
@given(st.binary(min_size=32, max_size=32))
def test_a_key_is_taken_exactly_when_it_is_a_canonical_point(data: bytes) -> None:
    y = int.from_bytes(data, "little") & ((1 << 255) - 1)
    if y < P and is_on_curve(y) and y not in SMALL_ORDER_Y:
        assert PublicKey.parse(data).raw == data
    else:
        with pytest.raises(BadInput):
            PublicKey.parse(data)


@pytest.mark.rule("K1")
@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_keys_of_another_length_are_refused(size: int) -> None:
    with pytest.raises(BadInput, match="bytes"):
        PublicKey.parse(bytes(size))
    with pytest.raises(BadInput, match="32 bytes"):
        SigningKey(bytes(size))


@pytest.mark.rule("K1")
def test_a_public_key_is_made_by_parsing_alone() -> None:
    with pytest.raises(TypeError):
        PublicKey(SigningKey(make.digest(1)).public.raw, object())


@pytest.mark.rule("K1", "K2")
@pytest.mark.parametrize("case", VECTORS["edge_cases"], ids=lambda case: case["name"])
def test_published_edge_cases_have_the_pinned_result(case: dict[str, Any]) -> None:
    try:
        key = PublicKey.parse(raw(case, "key"))
    except BadInput:
        result = "key refused"
    else:
        taken = key.verifies(raw(case, "signature"), raw(case, "message"))
        result = "accepted" if taken else "refused"
    assert result == case["result"]


@pytest.mark.rule("K2")
@pytest.mark.parametrize("case", VECTORS["s_plus_l"], ids=lambda case: case["key"])
def test_a_signature_with_the_group_order_added_is_refused(case: dict[str, Any]) -> None:
    key = PublicKey.parse(raw(case, "key"))
    assert not key.verifies(raw(case, "signature"), raw(case, "message"))


@pytest.mark.rule("K2")
@given(st.integers(0, 511), st.integers(0, 63))
def test_a_signature_with_one_bit_flipped_is_refused(bit: int, size: int) -> None:
    key = SigningKey(make.digest("seed"))
    signature = bytearray(key.sign(bytes(size)))
    signature[bit // 8] ^= 1 << bit % 8
    assert not key.public.verifies(bytes(signature), bytes(size))


@pytest.mark.rule("K2")
@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_signature_of_another_length_is_refused(size: int) -> None:
    assert not SigningKey(make.digest("seed")).public.verifies(bytes(size), b"")


@pytest.mark.rule("E3", "K2")
def test_a_signature_over_parts_is_bound_to_its_purpose_and_parts() -> None:
    key = SigningKey(make.digest("seed"))
    signature = key.sign_parts("device", b"ledger", 1)
    assert signature == key.sign(signing_bytes("device", b"ledger", 1))
    assert key.public.verifies_parts(signature, "device", b"ledger", 1)
    assert not key.public.verifies_parts(signature, "key", b"ledger", 1)
    assert not key.public.verifies_parts(signature, "device", b"ledger", 2)


def test_keys_are_equal_by_their_bytes_and_never_show_the_secret() -> None:
    key, same = SigningKey(make.digest("seed")), SigningKey(make.digest("seed"))
    assert key.public == same.public and hash(key.public) == hash(same.public)
    assert key.public != SigningKey(make.digest("other")).public
    assert key.seed.hex() not in repr(key)
