"""What the fold reads: a state, a cut and the leaves of logs. Nothing else reaches it.

The fold is pure: no payload, clock, float, path or locally known proof. Whoever calls it supplies
these three readers and stores what comes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from openledger_node.ledger.heads import Mark


class StateReader(Protocol):
    """The folded state as keys and values (docs/spec/credit.md, "State")."""

    def get(self, key: bytes) -> bytes | None:
        """The value under `key`, or None."""

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All (key, value) whose key begins with `prefix`, ascending by key."""


class LogReader(Protocol):
    """The accepted leaves of logs."""

    def leaves(self, log_id: bytes, start: int, stop: int) -> Sequence[bytes]:
        """Leaves start <= seq < stop of a log; the caller keeps to the sizes of the cut's marks."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A final cut, as far as it differs from the previous one: the marks of the logs that grew."""

    epoch: int
    cut_id: bytes
    changed: tuple[Mark, ...]
