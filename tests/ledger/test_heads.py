"""Signed heads (L5): the C2SP checkpoint, its signature and its note."""

from __future__ import annotations

import base64
import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.ledger import heads
from openledger_node.ledger.encoding import decode_as, encode
from openledger_node.ledger.errors import BadInput, VerificationFailed
from tests.vectors import make

GENESIS = make.log_genesis()
HEAD = make.signed_head(make.history(4))
decoder = msgspec.msgpack.Decoder(heads.SignedHead)


@pytest.mark.rule("L5")
def test_the_signature_covers_the_checkpoint_text() -> None:
    signed = HEAD.signed
    expected = f"oln/{signed.log_id.hex()}\n4\n{base64.b64encode(signed.root).decode()}\n"
    assert heads.checkpoint_text(signed.log_id, 4, signed.root) == expected.encode()
    assert make.key("device", 0).public.verifies(signed.signature, expected.encode())


@pytest.mark.rule("L5")
def test_a_head_on_the_wire_is_an_array_of_four_that_verifies() -> None:
    wire = encode(HEAD.signed)
    assert wire[0] == 0x94
    verified = heads.verify_head(decode_as(decoder, wire, "the head"), GENESIS)
    assert (verified.log_id, verified.size) == (GENESIS.log_id, 4)
    assert verified.root == HEAD.root
    assert verified.signed.mark == heads.Mark(GENESIS.log_id, 4, HEAD.root)


@pytest.mark.rule("L5")
def test_no_checkpoint_can_be_read_as_a_signed_array() -> None:
    """Arrays begin with 0x90 to 0x9f, 0xdc or 0xdd."""
    assert heads.checkpoint_text(bytes(32), 1, bytes(32))[0] == ord("o")


@pytest.mark.rule("L5")
@pytest.mark.parametrize(
    "changed",
    [
        msgspec.structs.replace(HEAD.signed, size=5),
        msgspec.structs.replace(HEAD.signed, root=bytes(32)),
        msgspec.structs.replace(HEAD.signed, log_id=bytes(32)),
        msgspec.structs.replace(HEAD.signed, signature=bytes(64)),
    ],
    ids=["size", "root", "log", "signature"],
)
def test_a_head_with_any_field_changed_is_refused(changed: heads.SignedHead) -> None:
    with pytest.raises(VerificationFailed):
        heads.verify_head(changed, GENESIS)


@pytest.mark.rule("L5")
def test_a_head_is_refused_with_the_genesis_of_another_log_or_device() -> None:
    other = msgspec.structs.replace(GENESIS, nonce=bytes(16))
    with pytest.raises(VerificationFailed, match="another log"):
        heads.verify_head(HEAD.signed, other)
    theirs = msgspec.structs.replace(GENESIS, device=make.key("thief").public.raw)
    forged = msgspec.structs.replace(HEAD.signed, log_id=theirs.log_id)
    with pytest.raises(VerificationFailed, match="signature"):
        heads.verify_head(forged, theirs)


@pytest.mark.rule("K1", "L5")
def test_a_log_of_a_small_order_key_has_no_head() -> None:
    genesis = msgspec.structs.replace(GENESIS, device=b"\1" + bytes(31))
    signature = b"\1" + bytes(63)
    signed = heads.SignedHead(genesis.log_id, 1, bytes(32), signature)
    with pytest.raises(BadInput, match="small-order"):
        heads.verify_head(signed, genesis)


@pytest.mark.rule("L5")
def test_only_the_log_s_own_device_signs_its_head() -> None:
    with pytest.raises(BadInput, match="another device"):
        heads.sign_head(make.key("thief"), GENESIS, 1, bytes(32))


@pytest.mark.rule("L5")
def test_a_verified_head_is_made_by_verifying_alone() -> None:
    with pytest.raises(TypeError):
        heads.VerifiedHead(HEAD.signed, GENESIS, object())


@pytest.mark.parametrize(
    "parts",
    [
        [bytes(32), 0, bytes(32), bytes(64)],
        [bytes(32), 2**40 + 1, bytes(32), bytes(64)],
        [bytes(31), 1, bytes(32), bytes(64)],
        [bytes(32), 1, bytes(33), bytes(64)],
        [bytes(32), 1, bytes(32), bytes(63)],
        [bytes(32), 1, bytes(32)],
        [bytes(32), 1, bytes(32), bytes(64), 0],
    ],
)
def test_malformed_heads_do_not_parse(parts: list[object]) -> None:
    with pytest.raises(BadInput, match="the head is malformed"):
        decode_as(decoder, encode(parts), "the head")


@pytest.mark.rule("L5")
@given(st.integers(1, 2**40), st.binary(min_size=32, max_size=32))
def test_heads_of_any_size_and_root_verify(size: int, root: bytes) -> None:
    signed = heads.sign_head(make.key("device", 0), GENESIS, size, root).signed
    assert heads.verify_head(signed, GENESIS).size == size


@pytest.mark.rule("L5")
def test_the_note_is_a_c2sp_signed_note() -> None:
    """Text, blank line, em dash, name, base64 of key hint (4) and signature (64)."""
    device = GENESIS.device
    text, _, last = heads.to_note(HEAD.signed, device).partition("\n\n")
    assert (text + "\n").encode() == heads.checkpoint_text(HEAD.log_id, HEAD.size, HEAD.root)
    dash, name, blob = last.removesuffix("\n").split(" ")
    assert (dash, name) == ("\u2014", f"oln/{HEAD.log_id.hex()}")
    raw = base64.b64decode(blob, validate=True)
    assert raw[:4] == hashlib.sha256(name.encode() + b"\n\x01" + device).digest()[:4]
    assert raw[4:] == HEAD.signed.signature


def test_marks_sort_by_log_and_then_size() -> None:
    marks = [heads.Mark(bytes([i]) * 32, size, bytes(32)) for i in (2, 1) for size in (9, 3)]
    assert [(mark.log_id[0], mark.size) for mark in sorted(marks)] == [
        (1, 3),
        (1, 9),
        (2, 3),
        (2, 9),
    ]
