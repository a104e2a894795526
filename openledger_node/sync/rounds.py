"""When a node compares digests with a peer (X6): in time it so hears of all that was missed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

ROUND_MS: Final = 30_000

Draw = Callable[[int], int]
"""draw(n): 0 <= result < n, from the node's random source."""


class Rounds:
    """One round each ROUND_MS, give or take half, with a link drawn at random.

    `at_ms` is when the next one is due, on the clock that `due` is told; None before the first.
    """

    def __init__(self, draw: Draw) -> None:
        self.at_ms: int | None = None
        self._draw = draw

    def due(self, links: Collection[int], now_ms: int) -> int | None:
        """The link to compare with now, when a round is due and there are links."""
        if self.at_ms is None:
            self.at_ms = self._next(now_ms)
        if now_ms < self.at_ms or not links:
            return None
        self.at_ms = self._next(now_ms)
        return sorted(links)[self._draw(len(links))]

    def _next(self, now_ms: int) -> int:
        return now_ms + ROUND_MS // 2 + self._draw(ROUND_MS)
