"""Time for a run in which nothing waits for the world outside."""

from __future__ import annotations

import math

import trio


class VirtualClock(trio.abc.Clock):
    """Stands still while any task can run; then it is at once as late as the next task waits for.

    As trio's MockClock with an autojump threshold of 0, without an idle round of the loop for each
    jump. Only for tasks that wait for time and for each other: no sockets and no threads.
    """

    def __init__(self) -> None:
        self._now_s = 0.0

    def start_clock(self) -> None:
        return

    def current_time(self) -> float:
        return self._now_s

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """trio asks when no task can run."""
        if math.isinf(deadline):  # the end of a run: the loop sends itself a last message
            return 1.0
        self._now_s = max(self._now_s, deadline)
        return 0.0
