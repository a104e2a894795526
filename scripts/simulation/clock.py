"""Time for a run in which nothing waits for the world outside."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

import trio


class VirtualClock(trio.abc.Clock):
    """Stands still while any task can run; then it is at once as late as what comes next.

    As trio's MockClock with an autojump threshold of 0, without an idle round of the loop for each
    jump; and it makes calls at given times, for which no task has to wait. Only for tasks that wait
    for time and for each other: no sockets and no threads.
    """

    def __init__(self) -> None:
        self._now_s = 0.0
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._made = 0

    def start_clock(self) -> None:
        return

    def current_time(self) -> float:
        return self._now_s

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """trio asks when no task can run."""
        if self._calls and self._calls[0][0] <= deadline:
            self._now_s, _, call = heapq.heappop(self._calls)
            call()
        elif math.isinf(deadline):  # the end of a run: the loop sends itself a last message
            return 1.0
        else:
            self._now_s = deadline
        return 0.0

    def call_after(self, wait_s: float, call: Callable[[], None]) -> None:
        """Makes this call when so much time has passed, those of one moment in their order."""
        self._made += 1
        heapq.heappush(self._calls, (self._now_s + wait_s, self._made, call))


def call_after(wait_s: float, call: Callable[[], None]) -> None:
    """`VirtualClock.call_after` of the run that this is called in."""
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, VirtualClock):
        raise TypeError("this run has no VirtualClock")
    clock.call_after(wait_s, call)


async def pause(wait_s: float) -> None:
    """Sleeps, for less than trio.sleep costs."""
    over = trio.Event()
    call_after(wait_s, over.set)
    await over.wait()
