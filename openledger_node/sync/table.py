"""What one peer says it holds, by the names that its link gives to logs.

A link names a log by 8 bytes under a key of its own (docs/spec/sync.md), so a table costs a few
tens of bytes a log, and nobody can prepare two logs whose names collide on other people's links.
Own logs are named when the first name comes that is not known: a link whose two sides agree never
pays for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from openledger_node.ledger.heads import Mark
from openledger_node.sync.frontier import mark_tag, short_id

MAX_TABLE_LOGS: Final = 1_000_000
"""Logs of which one link's peer may speak, besides as many as are held here: what one frontier may
name."""


class Offer(msgspec.Struct, frozen=True, gc=False):
    """A peer's word that it holds a log up to a size; `tag` stands for the root there."""

    size: int
    tag: bytes


@dataclass(slots=True)
class PeerTable:
    """One link's names and offers. `own` is the node's marks by log, shared and kept current."""

    key: bytes
    own: dict[bytes, Mark]
    offers: dict[bytes, Offer] = field(default_factory=dict)
    _names: dict[bytes, bytes] = field(default_factory=dict)
    _logs: dict[bytes, bytes] = field(default_factory=dict)
    _named: int = 0
    """How many own logs there were when all of them were last named."""

    def name(self, log_id: bytes) -> bytes:
        """The log's short id on this link: 8 bytes."""
        name = self._names.get(log_id)
        if name is None:
            name = self._names[log_id] = short_id(self.key, log_id)
            self._logs[name] = log_id
        return name

    def log_of(self, name: bytes) -> bytes | None:
        """The log with this short id, when it is held here or was named on this link before."""
        found = self._logs.get(name)
        if found is None and self._named < len(self.own):
            for log_id in self.own:
                self.name(log_id)
            self._named = len(self.own)
            found = self._logs.get(name)
        return found

    def tag(self, root: bytes) -> bytes:
        return mark_tag(self.key, root)

    def has_room(self, name: bytes) -> bool:
        """Whether the peer may speak of this log: of one that it has named before, always."""
        return name in self.offers or len(self.offers) < MAX_TABLE_LOGS + len(self.own)

    def put(self, name: bytes, offer: Offer) -> None:
        """Takes the peer's word, unless it said more before: links do not reorder, heads grow."""
        known = self.offers.get(name)
        if known is None or known.size <= offer.size:
            self.offers[name] = offer

    def holds_all(self, marks: Iterable[Mark]) -> None:
        """The two sides' digests agree: the peer holds exactly these."""
        for mark in marks:
            self.offers[self.name(mark.log_id)] = Offer(mark.size, self.tag(mark.root))

    def size_of(self, log_id: bytes) -> int:
        """How much of a log the peer is known to hold."""
        offer = self.offers.get(self.name(log_id))
        return offer.size if offer else 0
