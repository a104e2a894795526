"""What the replica keeps of one link, and what it decides: a log to fetch, a mark to tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from openledger_node.ledger.events import SEGMENT_LEAVES
from openledger_node.ledger.heads import Mark
from openledger_node.sync.by_turns import Untold
from openledger_node.sync.table import PeerTable

SPINE_FROM_SEGMENTS: Final = 2
"""A fetch of more than this many segments asks for the spine, so that each verifies alone."""

Purpose = Literal["grow", "fork", "branch"]


@dataclass(eq=False, slots=True)
class Fetch:
    """One log asked of one link. `log_id` is None until the answer names a log that is new here."""

    link: int
    name: bytes
    log_id: bytes | None
    first: int
    offered: int
    purpose: Purpose
    mark: Mark | None = None

    @property
    def spine_from(self) -> int | None:
        """The first segment whose root is asked for, or None."""
        if self.purpose != "grow":
            return 0
        segment = self.first // SEGMENT_LEAVES
        wide = self.offered - self.first > SPINE_FROM_SEGMENTS * SEGMENT_LEAVES
        return segment if wide else None


@dataclass(frozen=True, slots=True)
class Tell:
    """A mark that a link's peer lacks. `first` is where its events begin, None to tell only."""

    mark: Mark
    first: int | None


@dataclass(slots=True)
class Moments:
    """When something is due next: each millisecond once, however many things are due in it."""

    _at_ms: set[int] = field(default_factory=set)

    def add(self, at_ms: int) -> None:
        self._at_ms.add(at_ms)

    def after(self, now_ms: int) -> int | None:
        """The next one that has not come; those that have are forgotten."""
        self._at_ms = {at_ms for at_ms in self._at_ms if at_ms > now_ms}
        return min(self._at_ms, default=None)


@dataclass(slots=True)
class PeerState:
    """What one link's peer offers, was asked for, and has not been told."""

    table: PeerTable
    wanted: dict[bytes, int] = field(default_factory=dict)
    """Names of logs held here that the peer offers more of, and from when they may be asked for."""
    strange: dict[bytes, int] = field(default_factory=dict)
    """The same for names that belonged to no log held here when they came."""
    asks: Moments = field(default_factory=Moments)
    """When names of `wanted` and `strange` may be asked for that may not be yet."""
    suspects: dict[bytes, None] = field(default_factory=dict)
    """Logs of which the peer shows another history than the one held here (X3)."""
    comparing: set[bytes] = field(default_factory=set)
    """Those of them whose spine the peer was asked for."""
    untold: Untold = field(default_factory=Untold)
    """Logs whose mark the peer has not been told, and from when they may be pushed to it."""
    pushes: Moments = field(default_factory=Moments)
    """When logs of `untold` may be pushed that may not be yet."""
    hinted: set[bytes] = field(default_factory=set)
    refused: dict[bytes, int] = field(default_factory=dict)
    """Sizes at which the peer did not supply a log it offered, or this node did not take it."""
    compared: dict[bytes, int] = field(default_factory=dict)
    """Sizes at which the peer's spine of a suspect log was compared, and showed no fork."""
    fetches: int = 0
    opening: int = 0
    """Fetches of logs that are new here and have no head yet."""
    opening_since_ms: int = 0
    is_slow: bool = False
    """Its heads have taken longer than OPENING_MS, or did not come: others wait for it no more."""
