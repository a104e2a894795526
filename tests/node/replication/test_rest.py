"""Where a pump rests: what wakes it, and when."""

from __future__ import annotations

from collections.abc import Callable

import trio
import trio.testing

from openledger_node.node.replication.rest import Rest


def rested_s(wait_s: float | None, then: Callable[[Rest], None]) -> float:
    """How long a rest of at most `wait_s` is when `then` happens after a second."""

    async def main() -> float:
        rest = Rest()
        with trio.move_on_after(100):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(rest.wait, wait_s)
                await trio.sleep(1)
                then(rest)
        return trio.current_time()

    return round(trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)), 6)


def test_a_rest_ends_when_it_is_woken_or_over() -> None:
    assert rested_s(None, Rest.wake) == 1
    assert rested_s(20, Rest.wake) == 1
    assert rested_s(20, lambda rest: None) == 20
    assert rested_s(None, lambda rest: None) == 100


def test_what_is_due_later_shortens_a_rest_and_never_lengthens_it() -> None:
    assert rested_s(20, lambda rest: rest.wake_within(5)) == 6
    assert rested_s(20, lambda rest: rest.wake_within(50)) == 20
    assert rested_s(20, lambda rest: rest.wake_within(None)) == 20


def test_a_rest_without_an_end_is_over_when_something_has_to_be_done_later() -> None:
    assert rested_s(None, lambda rest: rest.wake_within(5)) == 1
    assert rested_s(None, lambda rest: rest.wake_within(None)) == 100


def test_what_comes_in_the_turn_before_is_not_missed() -> None:
    async def main() -> float:
        rest = Rest()
        rest.begin_turn()
        rest.wake()
        await rest.wait(20)
        rest.begin_turn()
        rest.wake_within(5)
        await rest.wait(20)
        return trio.current_time()

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)) == 0
