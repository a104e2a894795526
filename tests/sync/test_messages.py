"""Frames (Y2, Y3): each type there and back, and every other form of it refused."""

from __future__ import annotations

import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.ledger.encoding import encode
from openledger_node.ledger.events import MAX_LEAF_BYTES, MAX_SEQ
from openledger_node.sync import messages as m
from openledger_node.sync.faults import InternalError, PeerFault
from openledger_node.sync.frames import LENGTH_BYTES, MAX_FRAME_BYTES
from tests.sync.links import SAMPLES, lengths_of, local, replace

every_type = pytest.mark.parametrize("kind", list(m.FrameType), ids=lambda kind: kind.name)


def body_of(message: m.Frame) -> bytes:
    return m.encode_frame(message)[LENGTH_BYTES:]


def code_of(body: bytes) -> str:
    """The fault of decoding this body."""
    with pytest.raises(PeerFault) as found:
        m.decode_frame(body)
    return found.value.code


@pytest.mark.rule("Y2")
@every_type
def test_a_frame_of_every_type_goes_there_and_back(kind: m.FrameType) -> None:
    message = SAMPLES[kind]
    body = body_of(message)
    assert m.frame_type(body) == kind
    assert not m.is_skipped(kind)
    assert m.decode_frame(body) == message
    assert type(m.decode_frame(body)) is type(message)


@pytest.mark.rule("Y2")
@every_type
def test_a_body_is_an_array_of_the_type_and_the_fields_in_their_order(kind: m.FrameType) -> None:
    message = SAMPLES[kind]
    array = msgpack.unpackb(body_of(message))
    assert array[0] == kind
    fields = [getattr(message, name) for name in message.__struct_fields__]
    assert encode(array[1:]) == encode(fields)


@pytest.mark.rule("Y2")
@every_type
def test_a_frame_in_a_longer_encoding_is_refused(kind: m.FrameType) -> None:
    body = body_of(SAMPLES[kind])
    longer_header = b"\xdc" + struct.pack(">H", body[0] & 0x0F) + body[1:]
    assert m.frame_type(longer_header) == kind
    assert code_of(longer_header) == "not_canonical"
    longer_type = body[:1] + b"\xcc" + body[1:]
    with pytest.raises(PeerFault) as found:
        m.frame_type(longer_type)
    assert found.value.code == "malformed"


@pytest.mark.rule("Y2")
@every_type
def test_a_field_too_few_or_too_many_or_bytes_behind_are_refused(kind: m.FrameType) -> None:
    array = msgpack.unpackb(body_of(SAMPLES[kind]))
    assert code_of(encode(array[:-1])) == "malformed"
    assert code_of(encode([*array, 0])) == "malformed"
    assert code_of(encode(array) + b"\0") == "malformed"


@pytest.mark.rule("Y2")
@every_type
def test_fields_of_another_kind_are_refused(kind: m.FrameType) -> None:
    array = msgpack.unpackb(body_of(SAMPLES[kind]))
    for at in range(1, len(array)):
        for wrong in (True, -1, {}, [[[]]], "text" * 100, b"x" * 2_000_000):
            changed: list[Any] = [*array]
            changed[at] = wrong
            body = msgpack.packb(changed)
            try:
                m.decode_frame(body)
            except PeerFault as error:
                assert error.code in {"malformed", "not_canonical"}
            else:
                # Only long bytes where a field is bytes of any length pass, as themselves.
                assert wrong == b"x" * 2_000_000


def test_a_float_that_is_whole_does_not_pass_for_an_integer() -> None:
    assert code_of(msgpack.packb([8, 4096.0])) in {"malformed", "not_canonical"}


@pytest.mark.rule("Y2")
@pytest.mark.parametrize(
    "body",
    [b"\xc0", b"\x05", b"\x90", b"\x80", b"\xdc\x00", b"\xdd\x00\x00\x00", b"\x91", b"\x91\xa1x"],
    ids=bytes.hex,
)
def test_a_body_that_is_no_array_with_a_type_is_malformed(body: bytes) -> None:
    with pytest.raises(PeerFault) as found:
        m.frame_type(body)
    assert found.value.code == "malformed"


@pytest.mark.rule("Y3")
def test_unknown_types_are_skipped_from_64_on_and_refused_below() -> None:
    for kind in range(len(m.FrameType), m.FIRST_OPTIONAL_TYPE):
        with pytest.raises(PeerFault) as found:
            m.is_skipped(kind)
        assert found.value.code == "unknown_frame"
    assert all(m.is_skipped(kind) for kind in range(m.FIRST_OPTIONAL_TYPE, m.LAST_TYPE + 1))


def test_a_depth_bomb_is_malformed() -> None:
    assert code_of(b"\x92\x09" + b"\x91" * 500_000 + b"\x90") == "malformed"


def test_text_that_is_not_utf_8_is_malformed() -> None:
    assert code_of(b"\x93\x13\xa2\xff\xfe\xa0") == "malformed"


@pytest.mark.rule("Y7")
def test_the_whole_hello_frame_has_279_bytes_below_the_300_allowed() -> None:
    hello = local(0, fork_digest=b"k" * 32).hello()
    assert len(m.encode_frame(hello)) == 279


def test_a_full_leaves_frame_of_the_largest_leaf_fits() -> None:
    leaf = bytes(MAX_LEAF_BYTES)
    whole = m.encode_frame(m.Leaves(m.MAX_WANT_ID, MAX_SEQ, lengths_of([leaf]), leaf))
    assert len(whole) - LENGTH_BYTES <= MAX_FRAME_BYTES


def test_a_frame_past_the_limit_is_never_made() -> None:
    with pytest.raises(InternalError):
        m.encode_frame(m.Leaves(0, 0, b"", bytes(MAX_FRAME_BYTES)))


def test_data_frames_are_those_that_carry_what_was_stored() -> None:
    data = {kind.name for kind in m.FrameType if m.is_data(kind)}
    assert data == {"NEWS", "HEAD", "SPINE", "LEAVES", "PAYLOAD_HEAD", "DOCUMENT", "PIECE"}


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=20))
def test_leaves_are_split_by_their_lengths(leaves: list[bytes]) -> None:
    assert m.split_leaves(lengths_of(leaves), b"".join(leaves)) == leaves


@pytest.mark.parametrize(
    ("lengths", "leaves"),
    [
        (b"", b""),
        (b"\0\0\0", b"abc"),
        (b"\0\0\0\1\0", b"a"),
        (b"\0\0\0\0", b""),
        (b"\0\0\0\1\0\0\0\0", b"a"),
        (b"\0\0\0\2", b"a"),
        (b"\0\0\0\1", b"ab"),
        (struct.pack(">I", MAX_LEAF_BYTES + 1), bytes(MAX_LEAF_BYTES + 1)),
        (b"\xff\xff\xff\xff" * 2, b"ab"),
    ],
    ids=[
        "no leaf",
        "three bytes",
        "five bytes",
        "an empty leaf",
        "an empty leaf behind",
        "too much",
        "too little",
        "a leaf too large",
        "lengths that would overflow",
    ],
)
def test_lengths_that_do_not_fit_their_leaves_are_a_fault(lengths: bytes, leaves: bytes) -> None:
    with pytest.raises(PeerFault) as found:
        m.split_leaves(lengths, leaves)
    assert found.value.code == "lengths"


def test_roots_that_are_no_whole_number_are_a_fault() -> None:
    assert m.count_roots(bytes(96)) == 3
    with pytest.raises(PeerFault) as found:
        m.count_roots(bytes(33))
    assert found.value.code == "spine"


@pytest.mark.parametrize(
    ("kind", "field", "largest"),
    [
        (m.FrameType.WANT, "want_id", m.MAX_WANT_ID),
        (m.FrameType.WANT, "first", MAX_SEQ),
        (m.FrameType.WANT, "stop", MAX_SEQ),
        (m.FrameType.WANT, "spine", MAX_SEQ // 256),
        (m.FrameType.GRANT, "size_bytes", m.MAX_GRANT_BYTES),
        (m.FrameType.HAVE, "size", MAX_SEQ),
        (m.FrameType.MISSING, "reason", 4),
        (m.FrameType.HELLO, "policy", 2),
        (m.FrameType.FRONTIER, "is_last", 1),
    ],
)
def test_a_number_past_its_limit_is_malformed(kind: m.FrameType, field: str, largest: int) -> None:
    within = replace(SAMPLES[kind], **{field: largest})
    assert m.decode_frame(body_of(within)) == within
    assert code_of(body_of(replace(SAMPLES[kind], **{field: largest + 1}))) == "malformed"


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (m.FrameType.PEERS, "records", (b"r",) * 17),
        (m.FrameType.PEERS, "records", (b"r" * 1025,)),
        (m.FrameType.PEERS, "records", ()),
        (m.FrameType.FORKS, "proofs", ()),
        (m.FrameType.BYE, "code", "c" * 65),
        (m.FrameType.BYE, "text", "t" * 201),
        (m.FrameType.HEAD, "opening", b"o" * 1025),
        (m.FrameType.HELLO, "device", b"d" * 31),
        (m.FrameType.DOCUMENT, "salt", b"s" * 33),
    ],
)
def test_a_field_that_is_too_long_short_or_empty_is_malformed(
    kind: m.FrameType, field: str, value: object
) -> None:
    assert code_of(body_of(replace(SAMPLES[kind], **{field: value}))) == "malformed"
