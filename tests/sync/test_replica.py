"""What a node asks of whom, and tells whom: the rules X1 to X6 one decision at a time."""

from __future__ import annotations

import pytest

from openledger_node.ledger.events import LogGenesis
from openledger_node.ledger.forks import ForkEvidence, prove_fork
from openledger_node.ledger.heads import Mark, sign_head
from openledger_node.ledger.merkle import leaf_hashes, root_of_hashes
from openledger_node.sync.frontier import short_id
from openledger_node.sync.replica import (
    MAX_FETCHES_A_LINK,
    PUSH_DELAY_MS,
    PUSH_WAIT_MS,
    ROUND_MS,
    Fetch,
    Replica,
)
from openledger_node.sync.table import Offer
from tests.kit.ledgerkit import digest, key

NOW_MS = 1_000
DEVICE = key("device", "replica")
KEYS = {1: b"k" * 32, 2: b"l" * 32, 3: b"m" * 32}


def log_of(nonce: int) -> LogGenesis:
    return LogGenesis(
        1, digest("ledger"), digest("account"), DEVICE.public.raw, bytes([nonce]) * 16, None
    )


LOG = log_of(1).log_id


def mark(size: int, name: str = "true", log: bytes = LOG) -> Mark:
    return Mark(log, size, digest(name, str(size)))


def fork(common: int) -> ForkEvidence:
    """A proof that LOG has two histories after `common` leaves."""
    sides = [
        leaf_hashes([b"%d" % seq if seq < common else name for seq in range(common + more)])
        for name, more in ((b"one", 2), (b"two", 3))
    ]
    heads = [sign_head(DEVICE, log_of(1), len(side), root_of_hashes(side)) for side in sides]
    evidence = prove_fork(heads[0], sides[0], heads[1], sides[1])
    assert evidence is not None
    return evidence


def replica(*marks: Mark, links: tuple[int, ...] = (1,)) -> Replica:
    """One whose draws are always the least."""
    made = Replica(marks, (), lambda _: 0)
    for link in links:
        made.link_up(link, KEYS[link], in_sync=False)
    return made


def offer(made: Replica, link: int, what: Mark) -> tuple[bytes, Offer]:
    return short_id(KEYS[link], what.log_id), Offer(what.size, made.table(link).tag(what.root))


def frontier(made: Replica, link: int, *marks: Mark) -> None:
    made.frontier_came(link, [offer(made, link, what) for what in marks])


def fetch(made: Replica, link: int, now_ms: int = NOW_MS) -> Fetch:
    found = made.next_fetch(link, now_ms)
    assert found is not None
    return found


@pytest.mark.rule("X1")
def test_a_longer_log_is_asked_of_one_link_and_the_rest_of_it_of_another_when_that_fails() -> None:
    made = replica(mark(4), links=(1, 2))
    frontier(made, 1, mark(9))
    frontier(made, 2, mark(12))
    asked = fetch(made, 1)
    assert (asked.link, asked.log_id, asked.first, asked.offered) == (1, LOG, 4, 9)
    assert made.next_fetch(2, NOW_MS) is None
    made.advanced(mark(6), NOW_MS, link=1)
    made.link_down(1)
    asked = fetch(made, 2)
    assert (asked.link, asked.first, asked.offered) == (2, 6, 12)


@pytest.mark.rule("X1")
def test_new_logs_are_asked_for_on_one_link_until_their_names_are_known() -> None:
    made = replica(links=(1, 2))
    frontier(made, 1, mark(3))
    frontier(made, 2, mark(3))
    asked = fetch(made, 1)
    assert asked.log_id is None
    assert made.next_fetch(2, NOW_MS) is None
    assert made.opened(asked, LOG)
    assert made.next_fetch(2, NOW_MS) is None  # it is the same log by its other name
    made.advanced(mark(3), NOW_MS, link=1)
    made.fetched(asked)
    assert made.next_fetch(2, NOW_MS) is None
    assert made.is_settled(1)


@pytest.mark.rule("X1")
def test_a_link_has_a_limited_number_of_logs_in_flight() -> None:
    made = replica()
    logs = [log_of(number).log_id for number in range(2, MAX_FETCHES_A_LINK + 12)]
    frontier(made, 1, *(mark(1, log=log) for log in logs))
    asked = [made.next_fetch(1, NOW_MS) for _ in logs]
    assert len([one for one in asked if one]) == MAX_FETCHES_A_LINK
    first = asked[0]
    assert first is not None
    made.fetched(first)
    assert made.next_fetch(1, NOW_MS) is not None


@pytest.mark.rule("X1")
def test_what_a_peer_did_not_supply_is_not_asked_of_it_until_it_offers_more() -> None:
    made = replica(mark(4))
    frontier(made, 1, mark(9))
    made.refused(fetch(made, 1))
    assert made.next_fetch(1, NOW_MS) is None
    frontier(made, 1, mark(9))
    assert made.next_fetch(1, NOW_MS) is None
    frontier(made, 1, mark(10))
    made.refused(fetch(made, 1), for_good=True)
    frontier(made, 1, mark(1_000))
    assert made.next_fetch(1, NOW_MS) is None


@pytest.mark.rule("X2")
def test_an_offer_in_a_note_waits_for_the_events_that_are_on_their_way() -> None:
    made = replica(mark(4))
    made.have_came(1, *offer(made, 1, mark(5)), NOW_MS)
    assert made.next_fetch(1, NOW_MS + PUSH_WAIT_MS - 1) is None
    assert made.next_want_ms(1, NOW_MS) == NOW_MS + PUSH_WAIT_MS
    assert fetch(made, 1, NOW_MS + PUSH_WAIT_MS).offered == 5


@pytest.mark.rule("X3")
def test_equal_sizes_under_other_roots_are_a_suspect_and_its_spine_is_fetched() -> None:
    made = replica(mark(4), links=(1, 2))
    frontier(made, 1, mark(4, "other"))
    asked = fetch(made, 1)
    assert (asked.purpose, asked.first, asked.spine_from) == ("fork", 0, 0)
    frontier(made, 2, mark(9))
    grown = made.next_fetch(2, NOW_MS)
    assert grown is not None and grown.purpose == "grow"  # a suspicion is one peer's word
    assert made.next_fetch(1, NOW_MS) is None
    made.cleared(asked)
    made.fetched(asked)
    assert made.next_fetch(1, NOW_MS) is None  # it was compared, and showed no fork
    made.fetched(grown)
    assert fetch(made, 2).offered == 9


@pytest.mark.rule("X4")
def test_a_forked_log_is_shown_as_its_common_prefix_and_not_at_all_without_one() -> None:
    made = replica(mark(5))
    assert made.fork_known(fork(3))
    assert [(shown.size, shown.root) for shown in made.shown_marks()] == [(3, fork(3).common_root)]
    assert made.fork_known(fork(0))
    assert list(made.shown_marks()) == []
    assert not made.fork_known(fork(3))


@pytest.mark.rule("X4")
def test_who_lacks_some_of_a_forked_log_s_common_prefix_is_told_of_it() -> None:
    made = replica(mark(5), links=(1, 2, 3))
    frontier(made, 1, mark(1))
    frontier(made, 2, mark(3))
    made.fork_known(fork(3))
    told = made.next_tell(1, NOW_MS)
    assert told is not None and told.first is None
    assert told.mark == Mark(LOG, 3, fork(3).common_root)
    assert made.next_tell(1, NOW_MS) is None
    assert made.next_tell(2, NOW_MS) is None
    assert made.next_tell(3, NOW_MS) is not None


@pytest.mark.rule("X4")
def test_a_prefix_that_grows_after_its_fork_is_known_is_told_as_far_as_it_is_shared() -> None:
    made = replica(mark(1), links=(1, 2))
    made.fork_known(fork(3))
    for link in (1, 2):
        frontier(made, link, mark(1))
    frontier(made, 1, mark(3))
    assert fetch(made, 1).offered == 3
    made.advanced(mark(5), NOW_MS, link=1)
    told = made.next_tell(2, NOW_MS)
    assert told is not None and (told.mark.size, told.first) == (3, None)
    assert made.next_tell(1, NOW_MS) is None


@pytest.mark.rule("X4")
def test_past_its_common_prefix_a_forked_log_is_neither_offered_nor_wanted() -> None:
    made = replica(mark(3))
    made.fork_known(fork(3))
    frontier(made, 1, mark(9))
    assert made.next_fetch(1, NOW_MS) is None
    made.advanced(mark(4), NOW_MS)
    assert made.next_tell(1, NOW_MS) is None


@pytest.mark.rule("X4")
def test_a_branch_that_a_cut_names_is_asked_of_every_peer_in_turn() -> None:
    made = replica(mark(5), links=(1, 2))
    made.fork_known(fork(3))
    made.need(mark(6, "other"))
    asked = fetch(made, 1)
    assert (asked.purpose, asked.mark) == ("branch", mark(6, "other"))
    assert made.next_fetch(2, NOW_MS) is None
    made.refused(asked)
    asked = fetch(made, 2)
    assert made.next_fetch(1, NOW_MS) is None
    made.replaced(mark(6, "other"))
    made.fetched(asked)
    assert not made.needs()


@pytest.mark.rule("X4")
def test_a_peer_that_had_no_such_branch_is_asked_for_it_again_a_round_later() -> None:
    made = replica(mark(5))
    made.fork_known(fork(3))
    made.need(mark(6, "other"))
    made.refused(fetch(made, 1))
    assert made.next_fetch(1, NOW_MS + ROUND_MS - 1) is None
    again = made.next_fetch(1, NOW_MS + ROUND_MS)
    assert again is not None
    assert again.mark == mark(6, "other")


@pytest.mark.rule("X5")
def test_what_grows_here_is_pushed_to_who_has_all_before_it_and_told_to_the_others() -> None:
    made = replica(mark(400), links=(1, 2))
    frontier(made, 1, mark(400))
    made.advanced(mark(402), NOW_MS)
    pushed, told = made.next_tell(1, NOW_MS), made.next_tell(2, NOW_MS)
    assert pushed is not None and pushed.first == 400
    assert told is not None and told.first is None
    made.pushed(1, pushed.mark)
    assert made.next_tell(1, NOW_MS) is None


@pytest.mark.rule("X5")
def test_what_came_from_a_peer_is_told_at_once_and_pushed_later_unless_it_came_there_too() -> None:
    made = Replica([mark(4)], (), lambda below: below - 1)
    for link, link_key in KEYS.items():
        made.link_up(link, link_key, in_sync=True)
    made.advanced(mark(5), NOW_MS, link=1)
    assert made.next_tell(1, NOW_MS) is None
    for link in (2, 3):
        told = made.next_tell(link, NOW_MS)
        assert told is not None and told.first is None
        assert made.next_tell(link, NOW_MS + PUSH_DELAY_MS - 1) is None
    made.have_came(2, *offer(made, 2, mark(5)), NOW_MS + 1)
    assert made.next_tell(2, NOW_MS + PUSH_DELAY_MS) is None
    pushed = made.next_tell(3, NOW_MS + PUSH_DELAY_MS)
    assert pushed is not None and pushed.first == 4


@pytest.mark.rule("X6")
def test_a_round_comes_in_half_its_time_at_the_earliest_and_asks_one_link() -> None:
    made = replica(links=(2, 3))
    assert made.round_due(NOW_MS) is None
    assert made.rounds.at_ms == NOW_MS + ROUND_MS // 2
    assert made.round_due(NOW_MS + ROUND_MS // 2) == 2
    assert made.round_due(NOW_MS + ROUND_MS // 2) is None


@pytest.mark.rule("X1")
@pytest.mark.parametrize("for_good", [False, True])
def test_a_link_that_offers_what_nobody_gets_holds_up_the_new_logs_of_others_no_more(
    for_good: bool,
) -> None:
    made = replica(links=(1, 2))
    others = [log_of(number).log_id for number in (2, 3)]
    frontier(made, 1, *(mark(3, log=log) for log in others))
    frontier(made, 2, mark(3))
    asked = fetch(made, 1)
    assert made.next_fetch(2, NOW_MS + 900) is None, "its head may be about to come"
    made.refused(asked, for_good=for_good)
    assert fetch(made, 1, NOW_MS + 900).log_id is None, "it is asked for its other new log"
    assert fetch(made, 2, NOW_MS + 900).log_id is None


@pytest.mark.rule("X5")
def test_a_link_that_brings_many_logs_does_not_hold_up_what_others_have_to_tell() -> None:
    made = replica(links=(1, 2, 3))
    for number in range(2, 100):
        made.advanced(mark(1, log=log_of(number).log_id), NOW_MS, link=1)
    made.advanced(mark(5), NOW_MS, link=3)
    told = [made.next_tell(2, NOW_MS) for _ in range(2)]
    assert LOG in {tell.mark.log_id for tell in told if tell is not None}
