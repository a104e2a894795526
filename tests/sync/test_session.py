"""Two sessions back to back: HELLO, every frame, credit, questions and their ends."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.ledger.encoding import encode
from openledger_node.sync import messages as m
from openledger_node.sync import session as s
from openledger_node.sync.faults import InternalError
from openledger_node.sync.flow import GRANT_AT_BYTES, INITIAL_CREDIT_BYTES
from openledger_node.sync.frontier import link_key
from openledger_node.sync.outgoing import MAX_FORKS, MAX_WANTS
from openledger_node.sync.session_table import LinkState
from openledger_node.sync.table import Offer
from tests.sync.links import (
    HEAD,
    LEDGER,
    LOG,
    NODES,
    NOW_MS,
    asked_log,
    deliver,
    greeted,
    head_of,
    lengths_of,
    local,
    raw,
    sent,
    session,
)
from tests.vectors import make

LEAVES = [b"one", b"two", b"three"]
FORK = make.fork()


@pytest.mark.rule("Y7")
def test_each_side_learns_who_the_other_is() -> None:
    one, other = session(0), session(1, fork_digest=b"k" * 32, policy=m.Policy.LISTED)
    (found,) = deliver(other, one)
    assert isinstance(found, s.Greeted)
    assert (found.peer.node_id, found.version, found.in_sync) == (NODES[1], 1, False)
    assert (found.peer.fork_digest, found.peer.policy) == (b"k" * 32, m.Policy.LISTED)
    assert found.key == link_key(NODES[1], bytes([1]) * 32, NODES[0], bytes([0]) * 32)
    assert one.state is LinkState.OPEN and one.peer == found.peer
    (seen,) = deliver(one, other)
    assert isinstance(seen, s.Greeted) and seen.key == found.key
    assert one.ledger_id == LEDGER


@pytest.mark.rule("Y7")
@pytest.mark.parametrize(
    ("forks", "frontier", "in_sync"),
    [(b"k" * 32, b"f" * 32, True), (None, b"f" * 32, False), (b"k" * 32, b"g" * 32, False)],
)
def test_equal_digests_end_it_in_one_round_trip(
    forks: bytes | None, frontier: bytes, in_sync: bool
) -> None:
    one = session(0, fork_digest=b"k" * 32, frontier_digest=b"f" * 32)
    other = session(1, fork_digest=forks, frontier_digest=frontier)
    hello = sent(other)
    assert len(hello) < 300
    (found,) = one.receive_bytes(hello, NOW_MS)
    assert isinstance(found, s.Greeted) and found.in_sync is in_sync


@pytest.mark.rule("Y7")
def test_the_highest_common_version_is_spoken() -> None:
    one = session(0, low_version=1, high_version=4)
    other = session(1, low_version=2, high_version=3)
    (found,) = deliver(other, one)
    assert isinstance(found, s.Greeted) and found.version == 3


def test_what_a_node_holds_and_tells_arrives_as_it_was_sent() -> None:
    one, other = greeted()
    entries = [(b"a" * 8, Offer(5, b"tagt")), (b"b" * 8, Offer(300, b"tagu"))]
    one.send_forks([FORK])
    one.send_frontier(entries)
    one.send_have(b"n" * 8, 7, b"tagt")
    one.send_have(LOG, 7, b"r" * 32)
    one.send_digest(None, b"f" * 32)
    one.send_peers([b"record"])
    one.send_news(HEAD, 297, lengths_of(LEAVES), b"".join(LEAVES))
    events = deliver(one, other)
    assert events[:-1] == [
        s.ForksCame((FORK,)),
        s.FrontierCame(entries),
        s.HaveCame(b"n" * 8, 7, b"tagt"),
        s.HaveCame(LOG, 7, b"r" * 32),
        s.DigestCame(None, b"f" * 32, is_answer=False),
        s.PeersCame((b"record",)),
    ]
    news = events[-1]
    assert isinstance(news, s.NewsCame)
    assert (news.head, news.first, news.leaves) == (HEAD, 297, LEAVES)
    other.send_digest(b"k" * 32, b"f" * 32, is_answer=True)
    assert deliver(other, one) == [s.DigestCame(b"k" * 32, b"f" * 32, is_answer=True)]


def test_a_frontier_in_several_parts_is_reported_once_and_other_frames_may_come_between() -> None:
    one, other = greeted()
    entries = [(n.to_bytes(8, "big"), Offer(5, b"tagt")) for n in range(80_000)]
    one.send_frontier(entries)
    parts = one.data_to_send()
    assert len(parts) == 2
    assert other.receive_bytes(parts[0], NOW_MS) == []
    one.send_have(b"n" * 8, 7, b"tagt")
    assert deliver(one, other) == [s.HaveCame(b"n" * 8, 7, b"tagt")]
    assert other.receive_bytes(parts[1], NOW_MS) == [s.FrontierCame(entries)]


def test_a_frontier_that_is_still_queued_is_replaced_by_a_newer_one() -> None:
    one, other = greeted()
    one.send_have(b"n" * 8, 7, b"tagt")
    one.send_frontier([(n.to_bytes(8, "big"), Offer(5, b"tagt")) for n in range(80_000)])
    one.send_have(b"n" * 8, 8, b"tagt")
    one.send_frontier([(b"a" * 8, Offer(6, b"tagt"))])
    one.send_have(b"n" * 8, 9, b"tagt")
    assert one.pending_bytes < 200
    haves = [s.HaveCame(b"n" * 8, size, b"tagt") for size in (7, 8, 9)]
    frontier = s.FrontierCame([(b"a" * 8, Offer(6, b"tagt"))])
    assert deliver(one, other) == [haves[0], haves[1], frontier, haves[2]]
    one.send_frontier([])
    assert deliver(one, other) == [s.FrontierCame([])]


def test_an_empty_frontier_is_a_frontier() -> None:
    one, other = greeted()
    one.send_frontier([])
    assert deliver(one, other) == [s.FrontierCame([])]


def test_many_forks_go_in_frames_below_the_limit_and_no_more_than_a_link_carries() -> None:
    one, other = greeted()
    one.send_forks([FORK] * (MAX_FORKS + 10))
    frames = one.data_to_send()
    assert len(frames) > 1
    came = [event for frame in frames for event in other.receive_bytes(frame, NOW_MS)]
    assert sum(len(event.proofs) for event in came if isinstance(event, s.ForksCame)) == MAX_FORKS
    one.send_forks([FORK])
    assert one.data_to_send() == []


@pytest.mark.rule("Y12")
def test_a_log_is_asked_for_and_answered() -> None:
    asker, answerer, want_id = asked_log(spine=0)
    answerer.send_head(want_id, b"opening", head_of(3))
    answerer.send_spine(want_id, 0, b"r" * 32)
    answerer.send_leaves(want_id, 0, lengths_of(LEAVES[:2]), b"".join(LEAVES[:2]))
    answerer.send_leaves(want_id, 2, lengths_of(LEAVES[2:]), LEAVES[2])
    head, spine, first, last = deliver(answerer, asker)
    assert head == s.HeadCame(want_id, b"opening", head_of(3))
    assert isinstance(spine, s.SpineCame) and isinstance(first, s.LeavesCame)
    assert isinstance(last, s.LeavesCame)
    assert (spine.first, spine.roots, spine.is_last) == (0, b"r" * 32, True)
    assert (first.first, first.leaves, first.is_last) == (0, LEAVES[:2], False)
    assert (last.first, last.leaves, last.is_last) == (2, LEAVES[2:], True)
    assert asker.open_wants == 0


def test_the_question_arrives_as_it_was_asked() -> None:
    asker, answerer = greeted()
    want_id = asker.send_want(b"n" * 8, 5, 300, b"r" * 32, 1)
    payload_id = asker.send_payload_want(b"e" * 32, b"c" * 32, 2, 3)
    assert deliver(asker, answerer) == [
        s.Wanted(want_id, b"n" * 8, 5, 300, b"r" * 32, 1),
        s.PayloadWanted(payload_id, b"e" * 32, b"c" * 32, 2, 3),
    ]
    assert asker.open_wants == 2


@pytest.mark.rule("Y13")
def test_a_payload_is_asked_for_and_closed_by_both_sides() -> None:
    asker, answerer = greeted()
    want_id = asker.send_payload_want(b"e" * 32, b"c" * 32)
    deliver(asker, answerer)
    messages = [
        m.PayloadHead(want_id, 0, 1, 1, b"\x90"),
        m.Document(want_id, 0, 0, b"s" * 32, lengths_of([b"data"]), b"h" * 32),
        m.Piece(want_id, 0, 0, b"data"),
    ]
    for message in messages:
        answerer.send_payload_frame(message)  # type: ignore[arg-type]
    answerer.payload_sent(want_id)
    head, document, piece = deliver(answerer, asker)
    assert isinstance(head, s.PayloadHeadCame) and head.is_last and head.trees == b"\x90"
    assert isinstance(document, s.DocumentCame) and document.hashes == b"h" * 32
    assert isinstance(piece, s.PieceCame) and piece.data == b"data"
    sizes = [e.frame_bytes for e in (head, document, piece)]
    assert sizes == [len(m.encode_frame(message)) for message in messages]
    asker.payload_done(want_id)
    assert asker.open_wants == 0
    answerer.send_payload_frame(messages[2])  # type: ignore[arg-type]
    assert answerer.data_to_send() == []


def test_missing_closes_a_question() -> None:
    asker, answerer, want_id = asked_log()
    answerer.send_missing(want_id, m.Reason.BUSY)
    assert deliver(answerer, asker) == [s.MissingCame(want_id, m.Reason.BUSY)]
    assert asker.open_wants == 0


@pytest.mark.rule("Y15")
def test_after_cancel_nothing_of_the_answer_is_reported_and_its_credit_comes_back() -> None:
    asker, answerer, want_id = asked_log()
    answerer.send_head(want_id, b"opening", head_of(3))
    answerer.send_leaves(want_id, 0, lengths_of(LEAVES[:2]), b"".join(LEAVES[:2]))
    asker.send_cancel(want_id)
    asker.send_cancel(want_id)
    assert asker.open_wants == 0
    assert deliver(answerer, asker) == []
    assert deliver(asker, answerer) == [s.Cancelled(want_id)]
    answerer.send_leaves(want_id, 2, lengths_of(LEAVES[2:]), LEAVES[2])
    assert sent(answerer) == m.encode_frame(m.Missing(want_id, m.Reason.CANCELLED))
    with pytest.raises(InternalError):
        asker.consumed(1)


@pytest.mark.rule("Y15")
def test_cancel_of_an_answer_that_is_over_meanwhile_is_answered_all_the_same() -> None:
    asker, answerer, want_id = asked_log()
    answerer.send_head(want_id, b"opening", head_of(3))
    answerer.send_leaves(want_id, 0, lengths_of(LEAVES), b"".join(LEAVES))
    asker.send_cancel(want_id)
    assert deliver(asker, answerer) == []
    assert deliver(answerer, asker) == []
    asker.send_cancel(want_id)
    assert asker.data_to_send() == []
    again = asker.send_want(LOG, 0, None, None, None)
    assert again == want_id + 1
    assert deliver(asker, answerer) == [s.Wanted(again, LOG, 0, None, None, None)]


@pytest.mark.rule("Y15")
def test_missing_that_crosses_a_cancel_is_not_reported() -> None:
    asker, answerer, want_id = asked_log()
    answerer.send_missing(want_id, m.Reason.UNKNOWN)
    asker.send_cancel(want_id)
    assert deliver(asker, answerer) == []
    assert deliver(answerer, asker) == []


@pytest.mark.rule("Y14")
def test_as_many_questions_as_allowed_may_be_open_and_cancelled_ones_make_room() -> None:
    asker, answerer = greeted()
    ids = [asker.send_want(LOG, 0, None, None, None) for _ in range(MAX_WANTS)]
    with pytest.raises(InternalError):
        asker.send_want(LOG, 0, None, None, None)
    asker.send_cancel(ids[7])
    asker.send_want(LOG, 0, None, None, None)
    events = deliver(asker, answerer)
    assert len(events) == MAX_WANTS + 2
    assert ids == sorted(set(ids))


@pytest.mark.rule("Y8")
def test_credit_is_used_by_data_alone_and_comes_back_when_it_is_dealt_with() -> None:
    one, other = greeted()
    one.send_digest(None, b"f" * 32)
    one.send_have(b"n" * 8, 7, b"tagt")
    assert one.credit_bytes == one.initial_credit == INITIAL_CREDIT_BYTES
    leaf = bytes(500_000)
    one.send_news(head_of(1), 0, lengths_of([leaf]), leaf)
    news = deliver(one, other)[-1]
    assert isinstance(news, s.NewsCame)
    assert one.credit_bytes == INITIAL_CREDIT_BYTES - news.frame_bytes
    for _ in range(7):
        one.send_news(head_of(1), 0, lengths_of([leaf]), leaf)
    events = deliver(one, other)
    assert one.credit_bytes < news.frame_bytes
    with pytest.raises(InternalError):
        one.send_news(head_of(1), 0, lengths_of([leaf]), leaf)
    for _ in events[:4]:
        other.consumed(news.frame_bytes)
    assert other.pending_bytes == 0
    other.consumed(news.frame_bytes)
    assert deliver(other, one) == []
    assert one.credit_bytes >= GRANT_AT_BYTES


@pytest.mark.rule("Y8")
def test_a_head_gives_its_credit_back_by_itself() -> None:
    asker, answerer, want_id = asked_log(stop=0)
    answerer.send_head(want_id, b"opening", head_of(3))
    deliver(answerer, asker)
    with pytest.raises(InternalError):
        asker.consumed(1)


@pytest.mark.rule("Y16")
def test_bye_is_the_last_thing_that_is_heard_and_said() -> None:
    one, other = greeted()
    one.close("flood", "x" * 1_000)
    one.send_have(b"n" * 8, 7, b"tagt")
    stream = sent(one) + raw(99, "after")
    assert other.receive_bytes(stream, NOW_MS) == [s.ByeCame("flood", "x" * 200)]
    assert other.state is LinkState.ENDED
    assert other.receive_bytes(b"anything", NOW_MS) == []
    other.send_have(b"n" * 8, 7, b"tagt")
    assert deliver(other, one) == []


def test_a_closed_session_takes_no_more_questions_or_data_onto_its_queue() -> None:
    one, _ = greeted()
    one.close("bye", "")
    one.data_to_send()
    one.send_news(HEAD, 299, lengths_of([b"leaf"]), b"leaf")
    one.send_want(LOG, 0, None, None, None)
    assert (one.data_to_send(), one.pending_bytes) == ([], 0)


@pytest.mark.rule("Y3")
def test_an_unknown_optional_frame_is_passed_over() -> None:
    one, other = greeted()
    one.send_have(b"n" * 8, 7, b"tagt")
    stream = raw(64) + raw(127, b"x" * 1_000, [1, [2]]) + sent(one)
    assert other.receive_bytes(stream, NOW_MS) == [s.HaveCame(b"n" * 8, 7, b"tagt")]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda one: one.send_head(0, b"opening", HEAD),
        lambda one: one.send_missing(3, 0),
        lambda one: one.payload_sent(0),
    ],
)
def test_an_answer_to_nothing_is_a_bug_here(wrong) -> None:  # type: ignore[no-untyped-def]
    one, _ = greeted()
    with pytest.raises(InternalError):
        wrong(one)


def test_a_wrong_answer_is_a_bug_here() -> None:
    _, answerer, want_id = asked_log()
    with pytest.raises(InternalError):
        answerer.send_leaves(want_id, 0, lengths_of(LEAVES), b"".join(LEAVES))


def conversation() -> tuple[list[bytes], list[bytes]]:
    """The frames of both directions of a link on which most things happen."""
    one, other = session(0), session(1)
    streams: tuple[list[bytes], list[bytes]] = ([], [])

    def carry() -> None:
        for end, peer, stream in ((one, other, streams[0]), (other, one, streams[1])):
            frames = end.data_to_send()
            stream += frames
            peer.receive_bytes(b"".join(frames), NOW_MS)

    carry()
    one.send_forks([FORK])
    one.send_frontier([(b"a" * 8, Offer(5, b"tagt"))])
    want_id = one.send_want(LOG, 0, None, None, 0)
    gone_id = one.send_want(b"n" * 8, 0, None, None, None)
    one.send_digest(None, b"f" * 32)
    carry()
    other.send_head(want_id, b"opening", head_of(3))
    other.send_spine(want_id, 0, b"r" * 32)
    other.send_leaves(want_id, 0, lengths_of(LEAVES), b"".join(LEAVES))
    one.send_cancel(gone_id)
    other.send_digest(None, b"g" * 32, is_answer=True)
    carry()
    other.send_news(HEAD, 297, lengths_of(LEAVES), b"".join(LEAVES))
    other.send_have(LOG, 300, b"r" * 32)
    one.send_peers([b"record"])
    carry()
    one.close("bye", "done")
    carry()
    return streams


CONVERSATION = conversation()


@settings(max_examples=60)
@given(st.integers(0, 1), st.lists(st.integers(0, 2**16), max_size=20))
def test_a_stream_means_the_same_however_it_is_cut(side: int, points: list[int]) -> None:
    """A receiver that has asked the same questions reports the same events."""

    def receiver() -> s.Session:
        end = session(1 - side)
        if side == 1:
            end.send_want(LOG, 0, None, None, 0)
            end.send_cancel(end.send_want(b"n" * 8, 0, None, None, None))
            end.send_digest(None, b"f" * 32)
        return end

    stream = b"".join(CONVERSATION[side])
    whole = receiver().receive_bytes(stream, NOW_MS)
    bounds = [0, *sorted(point % len(stream) for point in points), len(stream)]
    end, events = receiver(), []
    for at, stop in pairwise(bounds):
        events += end.receive_bytes(stream[at:stop], NOW_MS)
    assert events == whole
    assert len(whole) >= 5


@pytest.mark.rule("Y7")
def test_the_signature_of_hello_binds_both_ends_and_the_ledger() -> None:
    hello = local(0).hello()
    assert encode(hello)[1] == 0
    signatures = {
        local(side, ledger_id=ledger).signature for side in (0, 1) for ledger in (LEDGER, b"M" * 32)
    }
    assert len(signatures) == 4
