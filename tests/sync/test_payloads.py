"""Payloads as frames and back (Y19, Y20), from one peer or several, and from peers that lie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.ledger.encoding import encode
from openledger_node.ledger.merkle import EMPTY_ROOT
from openledger_node.ledger.payload import (
    DocumentTree,
    PayloadDocument,
    cut_binary,
    decode_payload,
    encode_payload,
    erase_documents,
)
from openledger_node.sync import messages as m
from openledger_node.sync import payloads
from openledger_node.sync.events import DocumentCame, PayloadHeadCame, PieceCame
from openledger_node.sync.faults import PeerFault
from tests.sync.links import deliver, greeted, lengths_of, replace

SALT = bytes(range(32))
CANON = 1
AUTHOR = b"author" + bytes(26)
Frame = m.PayloadHead | m.Document | m.Piece


def document(*leaves: bytes, tokens: int = 0, salt: bytes = SALT) -> PayloadDocument:
    return PayloadDocument(salt, leaves, tokens)


documents = st.lists(
    st.builds(
        lambda salt, leaves: PayloadDocument(salt, tuple(leaves), min(1, len(leaves))),
        st.binary(min_size=32, max_size=32),
        st.lists(st.binary(min_size=1, max_size=20), max_size=5),
    ),
    max_size=4,
)
SOME = [document(b"one", b"two", tokens=2), document(), document(*cut_binary(bytes(10_000)))]


def container_of(parts: list[PayloadDocument]) -> bytes:
    return encode_payload(AUTHOR, CANON, parts)


def intake_of(container: bytes) -> payloads.PayloadIntake:
    return payloads.PayloadIntake(decode_payload(container).commit, AUTHOR, len(container))


def event_of(message: Frame) -> PayloadHeadCame | DocumentCame | PieceCame:
    """As a session reports the frame."""
    fields = [getattr(message, name) for name in message.__struct_fields__]
    if isinstance(message, m.PayloadHead):
        fields[2] = bool(message.is_last)
        return PayloadHeadCame(*fields, 0)
    if isinstance(message, m.Document):
        return DocumentCame(*fields, 0)
    return PieceCame(*fields, 0)


def frames_of(container: bytes, start: tuple[int, int] = (0, 0)) -> list[Frame]:
    return list(payloads.plan(7, decode_payload(container), *start))


def fed(intake: payloads.PayloadIntake, frames: list[Frame]) -> payloads.PayloadIntake:
    for message in frames:
        intake.take(event_of(message))
    return intake


def fault_of(intake: payloads.PayloadIntake, frames: list[Frame]) -> str:
    with pytest.raises(PeerFault) as found:
        fed(intake, frames)
    return found.value.code


@pytest.fixture
def small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that short payloads take many frames."""
    monkeypatch.setattr(payloads, "MAX_TREES_A_FRAME", 2)
    monkeypatch.setattr(payloads, "MAX_LEAVES_A_FRAME", 2)
    monkeypatch.setattr(payloads, "PIECE_BYTES", 24)


@pytest.mark.rule("Y19", "Y20")
@given(documents)
def test_a_payload_goes_there_and_back(parts: list[PayloadDocument]) -> None:
    container = container_of(parts)
    intake = fed(intake_of(container), frames_of(container))
    assert intake.is_whole
    assert intake.container() == container


@pytest.mark.rule("Y19", "Y20")
@pytest.mark.usefixtures("small_frames")
def test_a_payload_in_many_frames_goes_there_and_back() -> None:
    parts = [document(*(bytes([n]) * (n + 1) for n in range(9))), *SOME, document(b"x" * 30)]
    container = container_of(parts)
    frames = frames_of(container)
    assert len(frames) >= 20
    assert sum(isinstance(message, m.PayloadHead) for message in frames) == 3
    assert fed(intake_of(container), frames).container() == container


def streamed(container: bytes, parts: int) -> Iterator[tuple[int, int]]:
    """Resume points of an intake that is cut off `parts` frames after each beginning."""
    intake = intake_of(container)
    for _ in range(200):
        yield intake.resume_point
        frames = frames_of(container, intake.resume_point)
        fed(intake, frames[:parts])
        if intake.is_whole:
            assert intake.container() == container
            return
        intake.restart()
    raise AssertionError("the payload was never whole")


@pytest.mark.rule("Y19", "Y20")
@pytest.mark.usefixtures("small_frames")
@pytest.mark.parametrize("parts", [8, 9, 11])
def test_a_payload_that_is_cut_off_again_and_again_goes_on_where_it_was(parts: int) -> None:
    leaves = [bytes([n]) * 10 for n in range(9)]
    container = container_of([document(*leaves), document(), document(*leaves)])
    points = list(streamed(container, parts))
    assert points[0] == (0, 0)
    assert points == sorted(set(points))
    assert len(points) > 2 and any(leaf for _, leaf in points)


@pytest.mark.rule("Y19")
def test_a_resumed_answer_repeats_hashes_but_no_leaf() -> None:
    container = container_of([document(b"one"), document(b"two", b"three")])
    frames = frames_of(container, (1, 1))
    assert [type(message) for message in frames] == [m.PayloadHead, m.Document, m.Piece]
    assert frames[1].first == 0  # type: ignore[union-attr]
    assert frames[2] == m.Piece(7, 1, 1, b"three")
    assert [type(message) for message in frames_of(container, (9, 0))] == [m.PayloadHead]


@pytest.mark.rule("Y19", "Y20")
def test_a_payload_crosses_a_link() -> None:
    container = container_of(SOME)
    asker, answerer = greeted()
    want_id = asker.send_payload_want(b"e" * 32, b"c" * 32)
    deliver(asker, answerer)
    for message in payloads.plan(want_id, decode_payload(container)):
        answerer.send_payload_frame(message)
    answerer.payload_sent(want_id)
    intake = intake_of(container)
    for event in deliver(answerer, asker):
        assert isinstance(event, PayloadHeadCame | DocumentCame | PieceCame)
        intake.take(event)
        asker.consumed(event.frame_bytes)
    assert intake.container() == container


def test_the_largest_frames_fit_a_link() -> None:
    leaf = bytes(512 * 1_024)
    many = tuple(bytes([1]) for _ in range(payloads.MAX_LEAVES_A_FRAME + 1))
    container = container_of([document(leaf, leaf), document(*many)])
    sizes = [len(m.encode_frame(message)) for message in frames_of(container)]
    assert max(sizes) > len(leaf)
    trees = [DocumentTree(b"r" * 32, 2**24, 2**30, 2**30)] * payloads.MAX_TREES_A_FRAME
    m.encode_frame(m.PayloadHead(m.MAX_WANT_ID, m.MAX_PARTS, 1, 65_535, encode(trees)))


@pytest.mark.rule("Y20")
def test_nothing_is_given_out_before_all_has_come() -> None:
    container = container_of(SOME)
    frames = frames_of(container)
    for stop in range(len(frames)):
        intake = fed(intake_of(container), frames[:stop])
        assert not intake.is_whole
        with pytest.raises(ValueError, match="not whole"):
            intake.container()


TWO = container_of([document(b"one", b"two", tokens=2), document(b"three", salt=b"t" * 32)])
HEAD, FIRST, PIECE, SECOND, LAST = frames_of(TWO)


def changed(message: Frame, **fields: Any) -> Frame:
    return replace(message, **fields)  # type: ignore[no-any-return]


def trees_of(container: bytes) -> list[DocumentTree]:
    return list(decode_payload(container).trees)


def head_with(*trees: object) -> Frame:
    return changed(HEAD, trees=encode(trees))


@pytest.mark.rule("Y20")
@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([head_with(*reversed(trees_of(TWO)))], "bad_payload"),
        ([head_with(*trees_of(TWO)[:1])], "bad_payload"),
        ([head_with()], "bad_payload"),
        ([head_with([EMPTY_ROOT, 0, 0, 5])], "bad_payload"),
        ([head_with([EMPTY_ROOT, 5, 0, 4])], "bad_payload"),
        ([head_with([EMPTY_ROOT, 1, 6, 5])], "bad_payload"),
        ([head_with([EMPTY_ROOT, 2**20, 0, 2**30 + 1])], "too_large"),
        ([head_with([EMPTY_ROOT, 2**24 + 1, 0, 2**25])], "too_large"),
        ([head_with([EMPTY_ROOT, 1, 0, len(TWO)])], "too_large"),
        ([head_with(*[[EMPTY_ROOT, 0, 0, 0]] * 10)], "too_large"),
        ([changed(HEAD, trees=b"\x80")], "malformed"),
        ([changed(HEAD, trees=b"\xdc\x00\x00")], "malformed"),
        ([head_with([b"short", 1, 1, 1])], "malformed"),
        ([HEAD, HEAD], "order"),
        ([FIRST], "order"),
        ([PIECE], "order"),
        ([changed(HEAD, is_last=0), FIRST], "order"),
        ([HEAD, SECOND], "order"),
        ([HEAD, PIECE], "order"),
        ([HEAD, FIRST, FIRST], "order"),
        ([HEAD, FIRST, changed(PIECE, first=1)], "order"),
        ([HEAD, FIRST, LAST], "order"),
        ([HEAD, changed(FIRST, first=1)], "order"),
        ([HEAD, FIRST, PIECE, SECOND, LAST, SECOND], "order"),
        ([HEAD, changed(FIRST, lengths=b"\0\0\0")], "lengths"),
        ([HEAD, changed(FIRST, hashes=b"h" * 32)], "lengths"),
        ([HEAD, changed(FIRST, lengths=b"", hashes=b"")], "bad_payload"),
        ([HEAD, changed(FIRST, lengths=bytes(12), hashes=bytes(96))], "bad_payload"),
        ([HEAD, changed(FIRST, hashes=bytes(64))], "bad_payload"),
        ([HEAD, changed(FIRST, lengths=lengths_of([b"one", b"twos"]))], "bad_payload"),
        ([HEAD, changed(FIRST, lengths=lengths_of([b"", b"onetwo"]))], "lengths"),
        ([HEAD, changed(FIRST, lengths=lengths_of([b"on", b"etwo"])), PIECE], "bad_payload"),
        ([HEAD, changed(FIRST, salt=bytes(32)), PIECE], "bad_payload"),
        ([HEAD, FIRST, changed(PIECE, data=b"onetwi")], "bad_payload"),
        ([HEAD, FIRST, changed(PIECE, data=b"on")], "bad_payload"),
        ([HEAD, FIRST, changed(PIECE, data=b"onetwo!")], "lengths"),
    ],
    ids=[
        "trees in another order",
        "a tree left out",
        "no trees",
        "bytes without leaves",
        "leaves without bytes",
        "more tokens than bytes",
        "a document too large",
        "a document of too many leaves",
        "more bytes than the event says",
        "more documents than the event's bytes hold",
        "trees that are a map",
        "trees in a longer encoding",
        "a root of five bytes",
        "trees again",
        "hashes before the trees",
        "leaves before the trees",
        "hashes before all trees",
        "the second document first",
        "leaves before their hashes",
        "hashes twice",
        "a leaf left out",
        "another document's leaves",
        "hashes from the second on",
        "more after the last",
        "lengths that are no numbers",
        "fewer hashes than lengths",
        "hashes of no leaf",
        "more hashes than leaves",
        "hashes that are not the root's",
        "lengths that do not add up",
        "a leaf of zero length",
        "lengths shifted between leaves",
        "another salt",
        "a changed leaf",
        "a leaf cut short",
        "bytes behind the last leaf",
    ],
)
def test_a_payload_that_lies_is_a_fault(frames: list[Frame], code: str) -> None:
    assert fault_of(intake_of(TWO), frames) == code


@pytest.mark.rule("Y20", "P3")
def test_a_payload_of_another_account_than_the_event_s_is_a_fault() -> None:
    """The event names the commitment of somebody else's payload, and the peer sends that one."""
    intake = payloads.PayloadIntake(decode_payload(TWO).commit, b"thief" + bytes(27), len(TWO))
    assert fault_of(intake, [HEAD]) == "bad_payload"


@pytest.mark.rule("Y20")
@pytest.mark.usefixtures("small_frames")
def test_a_document_whose_salt_changes_between_frames_is_a_fault() -> None:
    container = container_of([document(*(bytes([n]) for n in range(5)))])
    frames = frames_of(container)
    frames[2] = changed(frames[2], salt=bytes(32))
    assert fault_of(intake_of(container), frames) == "bad_payload"


@pytest.mark.rule("Y20")
def test_a_false_salt_does_not_outlive_its_peer() -> None:
    intake = fed(intake_of(TWO), [HEAD, changed(FIRST, salt=bytes(32))])
    intake.restart()
    assert fed(intake, frames_of(TWO, intake.resume_point)).container() == TWO


@pytest.mark.rule("Y20")
def test_a_peer_that_goes_on_cannot_change_what_is_verified() -> None:
    intake = fed(intake_of(TWO), [HEAD, FIRST, changed(PIECE, data=b"one")])
    assert intake.resume_point == (0, 1)
    intake.restart()
    assert fault_of(intake, [HEAD, changed(FIRST, salt=bytes(32))]) == "bad_payload"
    intake.restart()
    shifted = changed(FIRST, lengths=lengths_of([b"on", b"etwo"]))
    assert fault_of(intake, [HEAD, shifted]) == "bad_payload"
    intake.restart()
    assert fed(intake, frames_of(TWO, intake.resume_point)).container() == TWO


@pytest.mark.rule("Y20")
@settings(max_examples=150)
@given(documents, st.data())
def test_any_change_of_any_frame_is_found_or_makes_no_difference(
    parts: list[PayloadDocument], data: st.DataObject
) -> None:
    container = container_of(parts)
    frames = frames_of(container)
    at = data.draw(st.integers(0, len(frames) - 1))
    name = data.draw(st.sampled_from(frames[at].__struct_fields__[1:]))
    value = getattr(frames[at], name)
    if isinstance(value, int):
        other: Any = data.draw(st.integers(int(name == "canon_version"), 5))
    else:
        other = bytearray(value)
        if other:
            other[data.draw(st.integers(0, len(other) - 1))] ^= data.draw(st.integers(1, 255))
    frames[at] = changed(frames[at], **{name: type(value)(other)})
    intake = intake_of(container)
    try:
        fed(intake, frames)
    except PeerFault:
        return
    if intake.is_whole:
        commit = decode_payload(intake.container()).commit
        assert commit == decode_payload(container).commit


# Erased documents.


def erased(container: bytes, *chosen: int) -> bytes:
    return erase_documents(decode_payload(container), chosen)


@pytest.mark.rule("Y19", "Y20", "P6")
@pytest.mark.parametrize("chosen", [(0,), (2,), (0, 2)])
def test_a_payload_of_which_a_part_was_erased_goes_there_and_back(chosen: tuple[int, ...]) -> None:
    whole = container_of(SOME)
    left = erased(whole, *chosen)
    intake = payloads.PayloadIntake(decode_payload(whole).commit, AUTHOR, len(whole), may_lack=2)
    assert fed(intake, frames_of(left)).container() == left


@pytest.mark.rule("Y20", "P6")
def test_an_erased_document_is_a_fault_where_nothing_may_lack() -> None:
    whole = container_of(SOME)
    assert fault_of(intake_of(whole), frames_of(erased(whole, 0))) == "bad_payload"
    commit = decode_payload(whole).commit
    one = payloads.PayloadIntake(commit, AUTHOR, len(whole), may_lack=1)
    assert fault_of(one, frames_of(erased(whole, 0, 2))) == "bad_payload"


@pytest.mark.rule("Y20", "P6")
def test_a_document_of_which_leaves_came_is_not_erased_any_more() -> None:
    whole = container_of([document(b"one" * 9, b"two" * 9, tokens=2)])
    intake = payloads.PayloadIntake(decode_payload(whole).commit, AUTHOR, len(whole), may_lack=2)
    head, first, piece = frames_of(whole)
    assert isinstance(piece, m.Piece)
    fed(intake, [head, first, replace(piece, data=b"one" * 9)])
    intake.restart()
    assert fault_of(intake, frames_of(erased(whole, 0), intake.resume_point)) == "bad_payload"
