"""Peers that break the protocol, by what they do: each is named by its fault, and only it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from openledger_node.ledger.keys import SigningKey
from openledger_node.sync import messages as m
from openledger_node.sync import session as s
from openledger_node.sync.faults import FAULTS, Cost, PeerFault
from openledger_node.sync.flow import INITIAL_CREDIT_BYTES
from openledger_node.sync.frames import MAX_FRAME_BYTES, MAX_HELLO_BYTES, frame
from openledger_node.sync.outgoing import MAX_FORKS, MAX_UNREAD_BYTES, MAX_WANTS
from openledger_node.sync.session_table import LinkState
from tests.sync.links import (
    HEAD,
    LEDGER,
    LOG,
    NODES,
    NOW_MS,
    SAMPLES,
    asked_log,
    deliver,
    greeted,
    head_of,
    lengths_of,
    local,
    raw,
    replace,
    sent,
    session,
)
from tests.vectors import make

SMALL_ORDER_KEY = bytes([1]) + bytes(31)


def fault_of(end: s.Session, data: bytes, now_ms: int = NOW_MS) -> str:
    """The code of the fault that `data` is; the link stays ended afterwards."""
    with pytest.raises(PeerFault) as found:
        end.receive_bytes(data, now_ms)
    code = found.value.code
    assert found.value.cost is FAULTS[code][0]
    with pytest.raises(PeerFault) as again:
        end.receive_bytes(sent(session(1)), now_ms)
    assert again.value is found.value
    return code


def of(*messages: m.Frame) -> bytes:
    return b"".join(map(m.encode_frame, messages))


def hello(**changes: Any) -> bytes:
    return of(replace(local(1).hello(), **changes))


# Before and in HELLO.


@pytest.mark.rule("Y1", "Y7")
@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        bytes(4),
        (MAX_HELLO_BYTES + 1).to_bytes(4, "big"),
        frame(b"\xc0" * 10),
        raw(0, 1, 1),
        frame(b"\xdc\x00\x0b" + local(1).hello().node_id),
        of(SAMPLES[m.FrameType.HAVE]),
        raw(64, b"optional"),
        raw(63),
        of(m.Bye("bye", "")),
    ],
    ids=[
        "HTTP",
        "a TLS record",
        "zero length",
        "a frame larger than HELLO",
        "a frame that is no array",
        "HELLO cut short",
        "HELLO in another encoding",
        "HAVE",
        "an optional frame",
        "an unknown frame",
        "BYE",
    ],
)
def test_bytes_before_hello(data: bytes) -> None:
    end = session(0)
    assert fault_of(end, data) == "no_hello"
    assert end.state is LinkState.WAITING


@pytest.mark.rule("Y7")
def test_hello_twice() -> None:
    end = session(0)
    whole = sent(session(1))
    end.receive_bytes(whole, NOW_MS)
    assert fault_of(end, whole) == "second_hello"


@pytest.mark.rule("Y7")
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ledger_id": b"M" * 32}, "ledger"),
        ({"low_version": 2, "high_version": 9}, "version"),
        ({"low_version": 0, "high_version": 0}, "version"),
        ({"low_version": 2, "high_version": 1}, "version"),
        ({"node_id": NODES[0]}, "self"),
        ({"node_id": b"\x03" * 32}, "node_id"),
        ({"device": SMALL_ORDER_KEY}, "bad_key"),
        ({"device": b"\xff" * 32}, "bad_key"),
        ({"signature": bytes(64)}, "bad_signature"),
        ({"device": SigningKey(b"\x0c" * 32).public.raw}, "bad_signature"),
        ({"signature": local(0).signature}, "bad_signature"),
    ],
    ids=[
        "wrong ledger",
        "newer versions only",
        "older versions only",
        "no version at all",
        "the node itself",
        "a node id that is not the link's",
        "a small-order device key",
        "a device key that is not canonical",
        "wrong signature",
        "another device's signature",
        "the receiver's own signature, sent back",
    ],
)
def test_a_hello_that_does_not_count(changes: dict[str, Any], code: str) -> None:
    end = session(0)
    assert fault_of(end, hello(**changes)) == code
    assert end.state is LinkState.WAITING and end.peer is None


@pytest.mark.rule("Y7")
def test_a_signature_made_for_another_receiver_or_ledger() -> None:
    key = SigningKey(b"\x0b" * 32)
    for signature in (
        s.sign_link(key, LEDGER, NODES[1], b"\x03" * 32),
        s.sign_link(key, b"M" * 32, NODES[1], NODES[0]),
    ):
        assert fault_of(session(0), hello(signature=signature)) == "bad_signature"


@pytest.mark.rule("Y7")
def test_what_does_not_fit_costs_nothing_and_a_lie_bans() -> None:
    costs = {code: FAULTS[code][0] for code in ("ledger", "version", "self", "bad_signature")}
    assert list(costs.values()) == [Cost.NONE, Cost.NONE, Cost.NONE, Cost.BAN]


# Frames.


@pytest.mark.rule("Y1")
@pytest.mark.parametrize("length", [0, MAX_FRAME_BYTES + 1, 2**32 - 1])
def test_zero_and_oversize_length(length: int) -> None:
    _, end = greeted()
    assert fault_of(end, length.to_bytes(4, "big")) == "frame_size"


@pytest.mark.rule("Y1")
def test_a_slow_drip_is_taken_byte_by_byte_and_still_judged() -> None:
    _, end = greeted()
    stream = of(SAMPLES[m.FrameType.HAVE]) + raw(50)
    events: list[s.Event] = []
    for byte in stream[:-1]:
        events += end.receive_bytes(bytes([byte]), NOW_MS)
    assert events == [SAMPLES[m.FrameType.HAVE]]
    assert fault_of(end, stream[-1:]) == "unknown_frame"


@pytest.mark.rule("Y2")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\x92\x08\xcd\x00\x05", "not_canonical"),
        (b"\xdc\x00\x02\x08\x05", "not_canonical"),
        (b"\x92\x08\xa15", "malformed"),
        (b"\x93\x08\x05\x05", "malformed"),
        (b"\x82\x08\x05", "malformed"),
        (b"\x08", "malformed"),
        (b"\x92\x08", "malformed"),
        (b"\x92\xcc\x08\x05", "malformed"),
    ],
    ids=[
        "a number in a longer form",
        "an array in a longer form",
        "text for a number",
        "a field too many",
        "a map",
        "a number",
        "cut off",
        "a type in a longer form",
    ],
)
def test_non_canonical_and_malformed_frames(body: bytes, code: str) -> None:
    _, end = greeted()
    assert fault_of(end, frame(body)) == code


@pytest.mark.rule("Y3")
@pytest.mark.parametrize("kind", [20, 63])
def test_an_unknown_frame_below_64(kind: int) -> None:
    _, end = greeted()
    assert fault_of(end, raw(kind)) == "unknown_frame"


@pytest.mark.rule("Y3", "Y9")
def test_unknown_frames_from_64_on_are_skipped_and_counted() -> None:
    _, end = greeted()
    junk = frame(b"\x92\x40" + bytes(MAX_FRAME_BYTES - 2))
    for _ in range(31):
        assert end.receive_bytes(junk, NOW_MS) == []
    assert fault_of(end, junk) == "flood"


# Answers. `asked_log` has asked for LOG from its first leaf on.


def head(want_id: int, size: int = 300) -> m.Head:
    return m.Head(want_id, b"opening", head_of(size))


def leaves(want_id: int, first: int, *texts: bytes) -> m.Leaves:
    return m.Leaves(want_id, first, lengths_of(list(texts)), b"".join(texts))


@pytest.mark.rule("Y12")
@pytest.mark.parametrize(
    ("answers", "code"),
    [
        (lambda i: [head(i), leaves(i, 1, b"a")], "order"),
        (lambda i: [head(i), leaves(i, 0, b"a"), leaves(i, 2, b"a")], "order"),
        (lambda i: [head(i), leaves(i, 0, b"a"), leaves(i, 0, b"a")], "order"),
        (lambda i: [head(i, 2), leaves(i, 0, b"a", b"b", b"c")], "past_stop"),
        (lambda i: [head(i), m.Leaves(i, 0, lengths_of([b"abc"]), b"ab")], "lengths"),
        (lambda i: [head(i), m.Leaves(i, 0, lengths_of([b"a", b""]), b"a")], "lengths"),
        (lambda i: [head(i), m.Leaves(i, 0, b"", b"")], "lengths"),
        (lambda i: [head(i), m.Leaves(i, 0, b"\0\0\0\1\0", b"a")], "lengths"),
        (lambda i: [head(i + 1)], "unasked"),
        (lambda i: [leaves(i, 0, b"a")], "order"),
        (lambda i: [head(i), head(i)], "order"),
        (lambda i: [head(i, 1), leaves(i, 0, b"a"), leaves(i, 1, b"a")], "unasked"),
        (lambda i: [head(i), m.Spine(i, 0, b"r" * 32)], "spine"),
        (lambda i: [m.Missing(i, 0), m.Missing(i, 0)], "unasked"),
        (lambda i: [m.Missing(i, 4)], "unasked"),
        (lambda i: [m.PayloadHead(i, 0, 1, 1, b"\x90")], "order"),
        (lambda i: [m.Piece(i, 0, 0, b"a")], "order"),
        (lambda i: [m.Head(i, b"", head_of(300))], "bad_head"),
        (lambda i: [m.Head(i, b"opening", head_of(300, b"h" * 32))], "other_log"),
    ],
    ids=[
        "leaves past the first",
        "leaves with a gap",
        "leaves twice",
        "leaves past the stop",
        "lengths that do not add up",
        "a leaf of zero length",
        "no leaf",
        "lengths that are no numbers",
        "an answer to nothing",
        "leaves before their head",
        "two heads",
        "leaves after the last",
        "a spine that was not asked for",
        "missing twice",
        "cancelled, which it was not",
        "a payload for a log",
        "a piece for a log",
        "no opening",
        "another log's head",
    ],
)
def test_an_answer_that_breaks_its_question(
    answers: Callable[[int], list[m.Frame]], code: str
) -> None:
    asker, _, want_id = asked_log()
    assert fault_of(asker, of(*answers(want_id))) == code


@pytest.mark.rule("Y12")
def test_a_spine_too_long() -> None:
    asker, _, want_id = asked_log(spine=0)
    assert fault_of(asker, of(head(want_id), m.Spine(want_id, 0, b"r" * 96))) == "spine"


@pytest.mark.rule("Y12")
def test_a_spine_that_is_no_list_of_roots() -> None:
    asker, _, want_id = asked_log(spine=0)
    assert fault_of(asker, of(head(want_id), m.Spine(want_id, 0, b"r" * 33))) == "spine"


@pytest.mark.rule("Y12")
@pytest.mark.parametrize("kind", ["HEAD", "SPINE", "LEAVES", "MISSING", "PAYLOAD_HEAD", "PIECE"])
def test_an_answer_to_nothing_at_all(kind: str) -> None:
    _, end = greeted()
    assert fault_of(end, of(SAMPLES[m.FrameType[kind]])) == "unasked"


def test_an_answer_to_a_digest_that_was_not_asked() -> None:
    _, end = greeted()
    assert fault_of(end, of(m.DigestAnswer(None, b"f" * 32))) == "unasked"


# Limits.


@pytest.mark.rule("Y8")
def test_credit_overrun() -> None:
    _, end = greeted()
    leaf = bytes(500_000)
    news = of(m.News(head_of(1), 0, lengths_of([leaf]), leaf))
    for _ in range(INITIAL_CREDIT_BYTES // len(news)):
        assert len(end.receive_bytes(news, NOW_MS)) == 1
    assert fault_of(end, news) == "credit"


@pytest.mark.rule("Y8")
@pytest.mark.parametrize("grants", [[0], [2**32 - 1], [2**31, 2**31]])
def test_grant_of_nothing_and_grant_overflow(grants: list[int]) -> None:
    _, end = greeted()
    assert fault_of(end, of(*map(m.Grant, grants))) == "grant"


@pytest.mark.rule("Y14")
def test_too_many_wants() -> None:
    _, end = greeted()
    wants = [m.Want(n, LOG, 0, None, None, None) for n in range(MAX_WANTS)]
    assert len(end.receive_bytes(of(*wants), NOW_MS)) == MAX_WANTS
    assert fault_of(end, of(m.PayloadWant(MAX_WANTS, LOG, LOG, 0, 0))) == "too_many_wants"


@pytest.mark.rule("Y14")
@pytest.mark.parametrize("ids", [[0, 0], [5, 4]])
def test_a_question_whose_id_does_not_grow(ids: list[int]) -> None:
    _, end = greeted()
    assert fault_of(end, of(*(m.Want(n, LOG, 0, None, None, None) for n in ids))) == "want_id"


@pytest.mark.parametrize(
    "want",
    [
        m.Want(0, b"n" * 9, 0, None, None, None),
        m.Want(0, LOG, 5, 4, None, None),
        m.Want(0, LOG, 0, None, b"r" * 32, None),
        m.Want(0, LOG, 0, 0, b"r" * 32, None),
        m.Have(b"n" * 8, 5, b"r" * 32),
        m.Have(LOG, 5, b"tagt"),
        m.Have(b"n" * 9, 5, b"tagt"),
    ],
    ids=[
        "a name of nine bytes",
        "a stop before the first leaf",
        "a root without its size",
        "a root of nothing",
        "a short id with a root",
        "a log id with a tag",
        "a held name of nine bytes",
    ],
)
def test_fields_that_contradict_each_other(want: m.Frame) -> None:
    _, end = greeted()
    assert fault_of(end, of(want)) == "malformed"


def test_news_whose_leaves_do_not_end_at_their_head() -> None:
    for first in (297, 299):
        _, end = greeted()
        news = m.News(HEAD, first, lengths_of([b"a", b"b"]), b"ab")
        assert fault_of(end, of(news)) == "bad_head"


def test_cancel_of_what_was_not_asked() -> None:
    _, end = greeted()
    assert fault_of(end, of(m.Cancel(0))) == "unasked"


@pytest.mark.rule("Y15")
def test_a_peer_that_never_ends_what_was_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s, "MAX_CANCELLED_WANTS", 3)
    asker, _, want_id = asked_log()
    for _ in range(4):
        asker.send_cancel(asker.send_want(LOG, 0, None, None, None))
    assert fault_of(asker, of(head(want_id))) == "no_answer"


@pytest.mark.rule("Y18")
def test_a_peer_that_cancels_without_end_and_never_reads() -> None:
    _, end = greeted()
    end.receive_bytes(of(m.Want(0, LOG, 0, None, None, None)), NOW_MS)
    reply = of(m.Missing(0, m.Reason.CANCELLED))
    within = MAX_UNREAD_BYTES // len(reply)
    end.receive_bytes(of(m.Cancel(0)) * within, NOW_MS)
    assert len(sent(end)) == within * len(reply)
    end.receive_bytes(of(m.Cancel(0)) * within, NOW_MS)
    assert fault_of(end, of(m.Cancel(0))) == "unread"


@pytest.mark.rule("Y10")
@pytest.mark.parametrize(
    "frames",
    [
        [m.Frontier(0, 1, b"n" * 8 + b"\x80" * 1_000)],
        [m.Frontier(0, 1, (b"n" * 8 + b"\0\5tagt") * 2)],
        [m.Frontier(0, 1, b"o" * 8 + b"\0\5tagt" + b"n" * 8 + b"\0\5tagt")],
        [m.Frontier(1, 1, b"")],
        [m.Frontier(0, 0, b""), m.Frontier(2, 1, b"")],
        [m.Frontier(0, 0, b""), m.Frontier(0, 1, b"")],
    ],
    ids=[
        "an endless varint",
        "a log twice",
        "unsorted",
        "from its second part on",
        "a part left out",
        "begun twice",
    ],
)
def test_an_evil_frontier(frames: list[m.Frame]) -> None:
    _, end = greeted()
    assert fault_of(end, of(*frames)) == "frontier"


@pytest.mark.rule("Y11")
def test_a_frontier_of_a_million_logs_and_one() -> None:
    _, end = greeted()
    entries = [n.to_bytes(8, "big") + b"\0\5tagt" for n in range(1_000_001)]
    for part in range(16):
        data = b"".join(entries[part * 62_500 : (part + 1) * 62_500])
        assert end.receive_bytes(of(m.Frontier(part, 0, data)), NOW_MS) == []
    assert fault_of(end, of(m.Frontier(16, 1, entries[-1]))) == "too_many_logs"


def test_more_fork_proofs_than_a_link_carries() -> None:
    _, end = greeted()
    proofs = (make.fork(),) * 512
    for _ in range(MAX_FORKS // 512):
        assert len(end.receive_bytes(of(m.Forks(proofs)), NOW_MS)) == 1
    assert fault_of(end, of(m.Forks(proofs[:1]))) == "too_many_forks"


def test_a_fork_proof_too_large_for_its_event() -> None:
    _, end = greeted()
    path = (b"h" * 32,) * 128
    proof = replace(make.fork(), consistency_a=path, consistency_b=path, path_a=path, path_b=path)
    assert fault_of(end, of(m.Forks((proof,)))) == "malformed"


@pytest.mark.rule("Y9")
@pytest.mark.parametrize("kind", ["DIGEST", "FRONTIER"])
def test_rounds_faster_than_allowed(kind: str) -> None:
    message = SAMPLES[m.FrameType[kind]]
    _, end = greeted()
    assert len(end.receive_bytes(of(*[message] * 8), NOW_MS)) == 8
    assert len(end.receive_bytes(of(message), NOW_MS + s.ROUND_EVERY_MS)) == 1
    assert fault_of(end, of(message), NOW_MS + s.ROUND_EVERY_MS) == "flood"


@pytest.mark.rule("Y9")
def test_peer_records_more_than_once_a_minute() -> None:
    message = SAMPLES[m.FrameType.PEERS]
    _, end = greeted()
    for minute in range(5):
        now_ms = NOW_MS + minute * s.PEERS_EVERY_MS
        assert len(end.receive_bytes(of(message), now_ms)) == 1
    assert len(end.receive_bytes(of(message), now_ms)) == 1
    assert fault_of(end, of(message), now_ms) == "flood"


@pytest.mark.rule("Y9")
def test_an_endless_stream_of_small_control_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s, "CONTROL_BURST_BYTES", 4_096)
    _, end = greeted()
    one = of(SAMPLES[m.FrameType.HAVE])
    assert fault_of(end, one * (4_096 // len(one))) == "flood"


def test_a_fault_says_what_happened_in_a_text_that_bye_carries() -> None:
    one, end = greeted()
    with pytest.raises(PeerFault) as found:
        end.receive_bytes(raw(33), NOW_MS)
    end.close(found.value.code, found.value.text)
    (bye,) = deliver(end, one)
    assert bye == s.ByeCame("unknown_frame", "a frame of the unknown type 33")
