"""Flow control of one link: credit for data frames, and how fast control frames may come.

- Y8 Each side may send INITIAL_CREDIT_BYTES in data frames, and as much more as GRANTs add. The
  receiver grants what it has dealt with, once that comes to half of INITIAL_CREDIT_BYTES. A GRANT
  of nothing, or one that lifts the credit past MAX_CREDIT_BYTES, is a fault.
- Y9 All other frames spend an allowance that the receiver keeps and that time fills up again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from openledger_node.sync.faults import InternalError, fault

INITIAL_CREDIT_BYTES: Final = 4 * 2**20
"""Four of the largest frames: a link of 40 ms at 100 MB/s stays full."""
GRANT_AT_BYTES: Final = INITIAL_CREDIT_BYTES // 2
MAX_CREDIT_BYTES: Final = 2**32 - 1


@dataclass(slots=True)
class SendCredit:
    """What this side may still send in data frames."""

    left_bytes: int = INITIAL_CREDIT_BYTES

    def spend(self, size_bytes: int) -> None:
        """InternalError when the credit does not reach: the caller has not looked."""
        if size_bytes > self.left_bytes:
            raise InternalError(
                f"a data frame of {size_bytes:,} bytes on a credit of {self.left_bytes:,}"
            )
        self.left_bytes -= size_bytes

    def grant(self, size_bytes: int) -> None:
        """The peer grants more. PeerFault `grant`."""
        if not 1 <= size_bytes <= MAX_CREDIT_BYTES - self.left_bytes:
            raise fault("grant", f"a grant of {size_bytes:,} on a credit of {self.left_bytes:,}")
        self.left_bytes += size_bytes


@dataclass(slots=True)
class ReceiveCredit:
    """What the peer may still send in data frames, and what it is owed."""

    left_bytes: int = INITIAL_CREDIT_BYTES
    _held_bytes: int = 0
    _owed_bytes: int = 0

    def receive(self, size_bytes: int) -> None:
        """A data frame came. PeerFault `credit`."""
        if size_bytes > self.left_bytes:
            raise fault(
                "credit", f"a data frame of {size_bytes:,} bytes; {self.left_bytes:,} are granted"
            )
        self.left_bytes -= size_bytes
        self._held_bytes += size_bytes

    def consume(self, size_bytes: int) -> int:
        """This side has dealt with data it received: what to GRANT now, or 0."""
        if not 0 <= size_bytes <= self._held_bytes:
            raise InternalError(
                f"{size_bytes:,} bytes reported as dealt with, {self._held_bytes:,} are held"
            )
        self._held_bytes -= size_bytes
        self._owed_bytes += size_bytes
        if self._owed_bytes < GRANT_AT_BYTES:
            return 0
        granted, self._owed_bytes = self._owed_bytes, 0
        self.left_bytes += granted
        return granted


@dataclass(slots=True)
class Allowance:
    """Y9: up to `burst` units at once, `refill` of them back every `refill_ms` milliseconds."""

    what: str
    burst: int
    refill: int
    refill_ms: int
    _spent: int = 0
    _since_ms: int | None = None
    _left: int = field(init=False)

    def __post_init__(self) -> None:
        self._left = self.burst

    def spend(self, units: int, now_ms: int) -> None:
        """PeerFault `flood` when less than `units` are left."""
        if units > self._left:
            self._fill(now_ms)
        if units > self._left:
            raise fault("flood", f"{self.what} come faster than allowed")
        if self._since_ms is None:
            self._since_ms = now_ms
        self._left -= units

    def _fill(self, now_ms: int) -> None:
        """Whole refills only, so that the remainder of the time counts next time."""
        if self._since_ms is None:
            return
        times = max(0, now_ms - self._since_ms) // self.refill_ms
        self._since_ms += times * self.refill_ms
        self._left += times * self.refill
        if self._left >= self.burst:
            self._left, self._since_ms = self.burst, None
