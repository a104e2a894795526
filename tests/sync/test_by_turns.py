"""Queues that are served in turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.sync.by_turns import ByTurns, Untold
from tests.kit.ledgerkit import digest


def test_one_that_comes_after_many_of_another_link_is_taken_next_but_one() -> None:
    queue: ByTurns[str] = ByTurns()
    for number in range(1_000):
        queue.put(1, f"one {number}")
    queue.put(2, "two")
    assert [queue.take(), queue.take()] == ["one 0", "two"]
    assert queue.holds(1, "one 1")
    assert not queue.holds(1, "one 0")
    assert [queue.take() for _ in range(len(queue))] == [f"one {n}" for n in range(1, 1_000)]
    with pytest.raises(KeyError):
        queue.take()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9))))
def test_every_item_is_taken_once_and_those_of_a_link_in_order(puts: list[tuple[int, int]]) -> None:
    queue: ByTurns[tuple[int, int]] = ByTurns()
    for at, (link, number) in enumerate(puts):
        queue.put(link, (link, 10 * at + number))
    assert len(queue) == len(puts)
    taken = [queue.take() for _ in puts]
    for link in range(4):
        expected = [(link, 10 * at + n) for at, (of, n) in enumerate(puts) if of == link]
        assert [item for item in taken if item[0] == link] == expected


def test_what_is_to_be_told_goes_by_turns_of_the_links_that_it_came_over() -> None:
    untold = Untold()
    logs = [digest("log", number) for number in range(6)]
    for log_id, source in zip(logs, (1, 1, 1, 1, 2, None), strict=True):
        untold.put(log_id, 7, source)
    told = []
    while untold:
        log_id, at_ms = next(untold.items())
        assert at_ms == 7
        untold.served(log_id)
        untold.pop(log_id)
        told.append(logs.index(log_id))
    assert told == [0, 4, 5, 1, 2, 3]
    untold.pop(logs[0])
    untold.served(logs[0])
    assert not list(untold.items())


def test_a_log_that_is_told_again_keeps_its_place_and_gets_its_new_moment() -> None:
    untold = Untold()
    one, two = digest("one"), digest("two")
    untold.put(one, 5, 1)
    untold.put(two, 5, 1)
    untold.put(one, 9, 2)
    assert list(untold.items()) == [(one, 9), (two, 5)]
    assert len(untold) == 2
