"""How long a peer may take: what a look finds, and what it does not hold against anybody."""

from __future__ import annotations

from typing import Any, cast

import pytest

from openledger_node.node.replication.patience import (
    FLUSH_BYTES,
    LOOK_S,
    MIN_BYTES,
    SILENT_S,
    UNREAD_S,
    Patience,
    pieces,
)


class Session:
    """What a look sees of a session."""

    open_wants = 0
    closed_wants = 0
    answered_bytes = 0
    received_frames = 0
    unfinished_bytes = 0


class Bench:
    """A peer that talks all the time, looked at every LOOK_S."""

    def __init__(self) -> None:
        self.session = Session()
        self.now_s = 1_000.0
        self.patience = Patience(cast("Any", self.session), self.now_s)
        self.look()

    def look(self, *, talks: bool = True, is_storing: bool = False) -> str:
        """The code of what the next look finds, or an empty text."""
        self.now_s += LOOK_S
        if talks:
            self.patience.heard(self.now_s - 1)
        found = self.patience.look(self.now_s, is_storing=is_storing)
        return found.code if found is not None else ""


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.rule("X8")
def test_a_question_open_from_one_look_to_the_next_without_an_answer(bench: Bench) -> None:
    bench.session.open_wants = 1
    assert bench.look() == "", "it may have been asked a moment ago"
    assert bench.look() == "no_answer"


@pytest.mark.rule("X8")
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"closed_wants": 1}, ""),
        ({"answered_bytes": MIN_BYTES}, ""),
        ({"answered_bytes": MIN_BYTES - 1}, "no_answer"),
        ({"open_wants": 0}, ""),
        ({"received_frames": 1_000}, "no_answer"),
    ],
)
def test_what_counts_as_an_answer(bench: Bench, change: dict[str, int], found: str) -> None:
    bench.session.open_wants = 3
    bench.look()
    for name, value in change.items():
        setattr(bench.session, name, value)
    assert bench.look() == found


@pytest.mark.rule("X8")
def test_what_this_node_has_not_stored_yet_holds_nothing_against_its_peer(bench: Bench) -> None:
    bench.session.open_wants = 1
    bench.look()
    assert bench.look(is_storing=True) == ""
    assert bench.look() == "no_answer"


@pytest.mark.rule("X8")
def test_a_network_that_fails_is_no_peer_that_lies(bench: Bench) -> None:
    bench.session.open_wants = 1
    bench.look()
    bench.now_s += LOOK_S
    bench.patience.heard(bench.now_s - 0.6 * LOOK_S)
    found = bench.patience.look(bench.now_s, is_storing=False)
    assert found is not None and found.code == "silent"
    quiet = Bench()
    quiet.session.open_wants = 1
    assert [quiet.look(talks=False) for _ in range(SILENT_S // LOOK_S - 1)][-1] == ""
    assert quiet.look(talks=False) == "silent"


@pytest.mark.rule("X8")
def test_a_frame_on_its_way_from_one_look_to_the_next(bench: Bench) -> None:
    bench.session.unfinished_bytes = 100
    assert bench.look() == ""
    bench.session.unfinished_bytes += MIN_BYTES
    assert bench.look() == "", "it comes slowly, and comes"
    bench.session.unfinished_bytes += MIN_BYTES - 1
    assert bench.look() == "slow_frame"


@pytest.mark.rule("X8")
def test_frame_after_frame_is_no_drip(bench: Bench) -> None:
    for _ in range(5):
        bench.session.received_frames += 1
        bench.session.unfinished_bytes = 100
        assert bench.look() == ""


@pytest.mark.rule("X8")
def test_a_piece_that_cannot_be_sent_while_the_peer_talks(bench: Bench) -> None:
    bench.patience.sending(bench.now_s)
    looks = [bench.look() for _ in range(UNREAD_S // LOOK_S)]
    assert looks[-1] == "unread" and set(looks[:-1]) == {""}
    bench.patience.sending(None)
    assert bench.look() == ""


@pytest.mark.parametrize("size", [0, 1, FLUSH_BYTES, FLUSH_BYTES + 1, 5 * FLUSH_BYTES + 7])
def test_what_is_queued_goes_out_whole_in_pieces(size: int) -> None:
    parts = [bytes([n % 256]) * 1_000 for n in range(size // 1_000)] + [b"x" * (size % 1_000)]
    made = list(pieces(parts))
    assert b"".join(made) == b"".join(parts)
    assert max(map(len, made)) <= FLUSH_BYTES
