"""Where a link's pump waits until there may be something to send."""

from __future__ import annotations

import trio


class Rest:
    """One pump's rest. It begins a turn, does what there is to do, and waits."""

    def __init__(self) -> None:
        self._wake = trio.Event()
        self._nap: trio.CancelScope | None = None

    def begin_turn(self) -> None:
        """What comes from here on is for the next turn."""
        self._wake = trio.Event()

    def wake(self) -> None:
        """There may be something to do now."""
        self._wake.set()

    def wake_within(self, wait_s: float | None) -> None:
        """There is something to do in `wait_s`, or nothing: a resting pump sleeps until then."""
        if wait_s is None:
            return
        until_s = trio.current_time() + wait_s
        if self._nap is None:
            self.wake()
        elif until_s < self._nap.deadline:
            self._nap.deadline = until_s

    async def wait(self, wait_s: float | None = None) -> None:
        """Until woken, and for at most `wait_s`."""
        if wait_s is None:
            await self._wake.wait()
            return
        with trio.move_on_after(wait_s) as self._nap:
            await self._wake.wait()
        self._nap = None
