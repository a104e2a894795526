"""Which link is asked for which payload, and when again (X7)."""

from __future__ import annotations

from typing import Any, cast

import pytest

from openledger_node.node.replication import payloads
from openledger_node.node.replication.payloads import (
    AGAIN_MS,
    MAX_AGAIN_MS,
    PayloadSeeker,
    Sought,
)
from tests.kit.ledgerkit import digest

NOW_MS = 50_000


class Runner:
    """A link's runner as the seeker sees it: what was asked on it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.session = self
        self.asked: list[bytes] = []

    def send_payload_want(self, event_id: bytes, commit: bytes, document: int, leaf: int) -> int:
        self.asked.append(event_id)
        return len(self.asked)

    def ask(self, seeker: PayloadSeeker, now_ms: int = NOW_MS) -> bytes | None:
        """The event whose payload the seeker asks this link for now."""
        return self.asked[-1] if seeker.ask(cast("Any", self), now_ms) else None

    def refuse(self, seeker: PayloadSeeker, now_ms: int = NOW_MS) -> None:
        assert seeker.missing(self.number, len(self.asked), now_ms)


def sought(*names: str) -> list[Sought]:
    return [
        Sought(digest("event", name), digest("account"), digest("commit", name), 1_000)
        for name in names
    ]


def seeker_of(*names: str) -> PayloadSeeker:
    made = PayloadSeeker()
    made.seek(sought(*names))
    return made


A, B = digest("event", "a"), digest("event", "b")


@pytest.mark.rule("X7")
def test_a_link_is_asked_for_one_payload_at_a_time_and_two_links_for_different_ones() -> None:
    seeker, one, two = seeker_of("a", "b"), Runner(1), Runner(2)
    assert one.ask(seeker) == A
    assert one.ask(seeker) is None
    assert two.ask(seeker) == B
    assert not seeker.is_idle(1) and not seeker.is_idle(2)


@pytest.mark.rule("X7")
def test_what_one_link_does_not_supply_another_is_asked_for() -> None:
    seeker, one, two = seeker_of("a"), Runner(1), Runner(2)
    assert one.ask(seeker) == A
    assert two.ask(seeker) is None
    one.refuse(seeker)
    assert two.ask(seeker) == A


@pytest.mark.rule("X7")
def test_a_link_is_asked_again_later_for_it_may_have_the_payload_by_then() -> None:
    seeker, one = seeker_of("a", "b"), Runner(1)
    assert one.ask(seeker) == A
    one.refuse(seeker)
    assert one.ask(seeker) == B
    one.refuse(seeker)
    assert one.ask(seeker) is None
    assert seeker.is_idle(1), "a round of sync need not wait for another time"
    assert seeker.next_ask_ms(1) == NOW_MS + AGAIN_MS
    assert one.ask(seeker, NOW_MS + AGAIN_MS - 1) is None
    assert one.ask(seeker, NOW_MS + AGAIN_MS) in (A, B)


@pytest.mark.rule("X7")
def test_the_time_between_two_tries_doubles_up_to_its_limit() -> None:
    seeker, one = seeker_of("a"), Runner(1)
    now_ms, delays = NOW_MS, []
    for _ in range(40):
        assert one.ask(seeker, now_ms) == A
        one.refuse(seeker, now_ms)
        again_ms = seeker.next_ask_ms(1)
        assert again_ms is not None
        delays.append(again_ms - now_ms)
        now_ms = again_ms
    assert delays[:4] == [AGAIN_MS, 2 * AGAIN_MS, 4 * AGAIN_MS, 8 * AGAIN_MS]
    assert delays[-1] == max(delays) == MAX_AGAIN_MS


@pytest.mark.rule("X7")
def test_what_is_no_longer_wanted_is_not_asked_for() -> None:
    seeker, one = seeker_of("a", "b"), Runner(1)
    assert one.ask(seeker) == A
    one.refuse(seeker)
    seeker.seek(sought("c"))
    assert one.ask(seeker, NOW_MS + MAX_AGAIN_MS) == digest("event", "c")
    one.refuse(seeker, NOW_MS + MAX_AGAIN_MS)
    assert one.ask(seeker, NOW_MS + MAX_AGAIN_MS) is None


@pytest.mark.rule("X7")
def test_a_link_that_comes_up_anew_is_asked_at_once() -> None:
    seeker, one = seeker_of("a"), Runner(1)
    assert one.ask(seeker) == A
    seeker.link_down(1)
    assert Runner(2).ask(seeker) == A
    seeker.link_down(2)
    assert Runner(1).ask(seeker) == A


def test_an_answer_to_something_else_is_not_the_seeker_s() -> None:
    seeker, one = seeker_of("a"), Runner(1)
    assert one.ask(seeker) == A
    assert not seeker.missing(1, 99, NOW_MS)
    assert not seeker.missing(2, 1, NOW_MS)


def test_of_payloads_that_came_in_part_so_much_is_kept_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(payloads, "MAX_BEGUN_BYTES", 3_000)
    seeker, one = seeker_of(*"abcdefgh"), Runner(1)
    for _ in range(8):
        assert one.ask(seeker) is not None
        one.refuse(seeker)
        assert len(seeker._intakes) <= 3
    kept = [key[:32] for key in seeker._intakes]
    assert kept == [digest("event", name) for name in "fgh"], "the newest are gone on with"
    assert one.ask(seeker, NOW_MS + AGAIN_MS) is not None
    assert len(seeker._intakes) <= 4, "and what is under way"
    seeker.link_down(1)
    assert len(seeker._intakes) == 3
