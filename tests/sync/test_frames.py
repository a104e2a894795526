"""Framing (Y1): any cutting of a stream gives the same bodies, and nothing is kept unasked."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.sync.faults import Cost, PeerFault
from openledger_node.sync.frames import MAX_FRAME_BYTES, FrameReader, frame


def bodies_of(reader: FrameReader, pieces: list[bytes]) -> list[bytes]:
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (body := reader.next_body()) is not None:
            found.append(body)
    return found


def cut(stream: bytes, points: list[int]) -> list[bytes]:
    """The stream in pieces, cut at these points, empty pieces and all."""
    bounds = [0, *sorted(point % (len(stream) + 1) for point in points), len(stream)]
    return [stream[a:b] for a, b in pairwise(bounds)]


@pytest.mark.rule("Y1")
@given(
    st.lists(st.binary(min_size=1, max_size=60), max_size=8),
    st.lists(st.integers(0, 2**16), max_size=12),
)
def test_any_cutting_of_a_stream_gives_the_same_bodies(
    bodies: list[bytes], points: list[int]
) -> None:
    stream = b"".join(map(frame, bodies))
    reader = FrameReader()
    assert bodies_of(reader, cut(stream, points)) == bodies
    assert reader.held_bytes == 0


@pytest.mark.rule("Y1")
@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4))
def test_a_slow_drip_of_single_bytes_gives_the_same_bodies(bodies: list[bytes]) -> None:
    stream = b"".join(map(frame, bodies))
    reader = FrameReader()
    assert bodies_of(reader, [bytes([byte]) for byte in stream]) == bodies


@pytest.mark.rule("Y1")
def test_an_incomplete_frame_is_held_until_its_last_byte() -> None:
    reader = FrameReader()
    whole = frame(b"body")
    assert bodies_of(reader, [whole + whole[:-1]]) == [b"body"]
    assert reader.held_bytes == len(whole) - 1
    assert bodies_of(reader, [whole[-1:]]) == [b"body"]


@pytest.mark.rule("Y1")
def test_a_large_frame_in_small_pieces_costs_a_few_copies_of_it() -> None:
    """The reader's buffer grows in place; handing out a body empties it."""
    body = bytes(MAX_FRAME_BYTES)
    stream = frame(body) * 2
    reader = FrameReader()
    pieces = [stream[at : at + 1000] for at in range(0, len(stream), 1000)]
    assert bodies_of(reader, pieces) == [body, body]
    assert reader.held_bytes == 0


@pytest.mark.rule("Y1")
@pytest.mark.parametrize("length", [0, MAX_FRAME_BYTES + 1, 0x47455420, 2**32 - 1])
def test_a_length_of_nothing_or_past_the_limit_is_refused_at_its_fourth_byte(length: int) -> None:
    reader = FrameReader()
    prefix = length.to_bytes(4, "big")
    assert bodies_of(reader, [prefix[:3]]) == []
    reader.feed(prefix[3:])
    with pytest.raises(PeerFault) as found:
        reader.next_body()
    assert (found.value.code, found.value.cost) == ("frame_size", Cost.LOWER)


@pytest.mark.rule("Y1")
def test_the_largest_frame_is_taken() -> None:
    body = b"\x01" * MAX_FRAME_BYTES
    assert bodies_of(FrameReader(), [frame(body)]) == [body]


@pytest.mark.rule("Y1")
def test_the_limit_can_change_between_two_frames_of_one_piece() -> None:
    reader = FrameReader(max_body_bytes=4)
    reader.feed(frame(b"abcd") + frame(b"longer body"))
    assert reader.next_body() == b"abcd"
    reader.max_body_bytes = 100
    assert reader.next_body() == b"longer body"
    assert reader.next_body() is None
