"""How the links share the task that reads them all: what one peer sends in plenty waits.

- X11 Taking in frames costs this node time that all its links share. A link that has had a *turn*
  (TURN_BYTES of control frames, each frame of any kind counted with FRAME_BYTES on top) pauses for
  PAUSE_S, and of all links one pauses at a time: whatever peers send, and however many there are,
  about half of that time is left for those who send little.
"""

from __future__ import annotations

from typing import Final

import trio

TURN_BYTES: Final = 64 * 1024
"""One to three milliseconds of work: 128 of the smallest frames, or 4,000 entries of a frontier."""
PAUSE_S: Final = 0.002


class Turns:
    """The pauses of all links of a hub, one after another."""

    def __init__(self) -> None:
        self._one = trio.Lock()

    async def pause(self, work_bytes: int) -> int:
        """Pauses for the whole turns in `work_bytes`; what is left of it for the next time."""
        turns, left_bytes = divmod(work_bytes, TURN_BYTES)
        if turns:
            async with self._one:
                await trio.sleep(turns * PAUSE_S)
        return left_bytes
