"""Whatever bytes come, a session reports events or raises a PeerFault, and keeps little."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.ledger.encoding import encode
from openledger_node.sync import messages as m
from openledger_node.sync import session as s
from openledger_node.sync.faults import FAULTS, PeerFault
from openledger_node.sync.frames import frame
from tests.sync.links import LOG, NOW_MS, SAMPLES, greeted, sent, session

HELLO = sent(session(0))


def asking() -> s.Session:
    """A greeted session with a question of either sort and one cancelled."""
    _, end = greeted()
    end.send_want(LOG, 0, None, None, 0)
    end.send_payload_want(b"e" * 32, b"c" * 32)
    end.send_cancel(end.send_want(LOG, 0, None, None, None))
    end.send_digest(None, b"f" * 32)
    return end


def feed(end: s.Session, data: bytes, step: int) -> str:
    """Feeds pieces until a fault; its code, or an empty text."""
    for at in range(0, len(data), step):
        try:
            for event in end.receive_bytes(data[at : at + step], NOW_MS):
                assert isinstance(event, s.Event)
        except PeerFault as error:
            assert error.code in FAULTS
            with pytest.raises(PeerFault):
                end.receive_bytes(HELLO, NOW_MS)
            return error.code
    return ""


@pytest.mark.rule("Y16")
@settings(max_examples=200)
@given(st.binary(max_size=400), st.integers(1, 50), st.booleans())
def test_random_bytes(data: bytes, step: int, before_hello: bool) -> None:
    feed(session(1) if before_hello else asking(), data, step)


@pytest.mark.rule("Y16")
@settings(max_examples=200)
@given(st.lists(st.binary(min_size=1, max_size=60), max_size=6), st.integers(1, 50))
def test_random_bodies_in_frames(bodies: list[bytes], step: int) -> None:
    feed(asking(), b"".join(map(frame, bodies)), step)


numbers = st.integers(0, 2**64 - 1) | st.integers(0, 5)
values = st.recursive(
    st.none() | numbers | st.binary(max_size=40) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=10,
)


@pytest.mark.rule("Y16")
@settings(max_examples=200)
@given(st.integers(0, 70), st.lists(values, max_size=7))
def test_canonical_arrays_of_any_fields(kind: int, fields: list[object]) -> None:
    feed(asking(), frame(encode([kind, *fields])), 1_000)


VALID = b"".join(
    m.encode_frame(message)
    for kind, message in SAMPLES.items()
    if kind not in {m.FrameType.HELLO, m.FrameType.BYE}
)


@pytest.mark.rule("Y16")
@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(list(SAMPLES)), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=4),
    st.integers(1, 3_000),
)
def test_valid_streams_with_bytes_changed(
    kinds: list[m.FrameType], changes: list[tuple[int, int]], step: int
) -> None:
    stream = bytearray(b"".join(m.encode_frame(SAMPLES[kind]) for kind in kinds))
    for at, value in changes:
        stream[at % len(stream)] = value
    feed(asking(), bytes(stream), step)


@pytest.mark.rule("Y16")
@settings(max_examples=100)
@given(st.integers(0, 2**16), st.integers(0, 2**16), st.integers(1, 3_000))
def test_valid_streams_with_a_stretch_left_out(start: int, stop: int, step: int) -> None:
    start, stop = sorted((start % len(VALID), stop % len(VALID)))
    feed(asking(), VALID[:start] + VALID[stop:], step)


@pytest.mark.rule("Y16")
@settings(max_examples=200)
@given(st.integers(0, len(HELLO) - 1), st.integers(1, 255))
def test_no_changed_bit_of_a_hello_passes_but_in_what_it_merely_claims(at: int, mask: int) -> None:
    """The signature covers who speaks to whom; digests, account and policy are claims."""
    changed = bytearray(HELLO)
    changed[at] ^= mask
    code = feed(session(1), bytes(changed), 1_000)
    hello = SAMPLES[m.FrameType.HELLO]
    assert isinstance(hello, m.Hello)
    claims = (hello.account, hello.frontier_digest)
    if not code:
        within = [HELLO.index(claim) <= at < HELLO.index(claim) + 32 for claim in claims]
        versions_or_lengths = at < 10 or at == len(HELLO) - 1
        assert any(within) or versions_or_lengths
