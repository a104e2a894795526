"""What a session reports of the bytes it was fed: one type for each frame.

A frame that a session adds nothing to is its own event, under the event's name. Leaves come split;
`frame_bytes` is what to hand to `Session.consumed` once they are dealt with.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from openledger_node.ledger.forks import ForkEvidence
from openledger_node.ledger.heads import SignedHead
from openledger_node.sync.messages import (
    Bye,
    Cancel,
    Have,
    Head,
    Hello,
    Missing,
    PayloadWant,
    Want,
)
from openledger_node.sync.table import Offer


class _Event(msgspec.Struct, frozen=True, gc=False):
    """Base of the events that are not frames."""


class Greeted(_Event, frozen=True):
    """The peer said HELLO and is who its link says. `key` names logs and roots (Y6).

    `in_sync`: both digests of its HELLO are those of ours.
    """

    peer: Hello
    version: int
    in_sync: bool
    key: bytes


class ForksCame(_Event, frozen=True):
    """Fork proofs, not verified."""

    proofs: tuple[ForkEvidence, ...]


class FrontierCame(_Event, frozen=True):
    """All that the peer holds: (short id, offer), sorted."""

    entries: Iterable[tuple[bytes, Offer]]


class NewsCame(_Event, frozen=True):
    """Leaves [first, head.size) that were not asked for."""

    head: SignedHead
    first: int
    leaves: list[bytes]
    frame_bytes: int


class SpineCame(_Event, frozen=True):
    """Segment roots from segment `first` on, 32 bytes each. `is_last`: these complete the spine."""

    want_id: int
    first: int
    roots: bytes
    frame_bytes: int
    is_last: bool


class LeavesCame(_Event, frozen=True):
    """Leaves from `first` on. `is_last`: these complete the answer."""

    want_id: int
    first: int
    leaves: list[bytes]
    frame_bytes: int
    is_last: bool


class DigestCame(_Event, frozen=True):
    """The peer's digests now; `is_answer` when this side asked."""

    fork_digest: bytes | None
    frontier_digest: bytes
    is_answer: bool


class PeersCame(_Event, frozen=True):
    """Signed peer records, not verified."""

    records: tuple[bytes, ...]


class PayloadHeadCame(_Event, frozen=True):
    """A part of a payload's trees, for `payloads.PayloadIntake`."""

    want_id: int
    part: int
    is_last: bool
    canon_version: int
    trees: bytes
    frame_bytes: int


class DocumentCame(_Event, frozen=True):
    """Salt, leaf lengths and leaf hashes, for `payloads.PayloadIntake`."""

    want_id: int
    document: int
    first: int
    salt: bytes
    lengths: bytes
    hashes: bytes
    frame_bytes: int


class PieceCame(_Event, frozen=True):
    """Whole leaves, for `payloads.PayloadIntake`."""

    want_id: int
    document: int
    first: int
    data: bytes
    frame_bytes: int


Wanted = Want
HeadCame = Head
MissingCame = Missing
HaveCame = Have
PayloadWanted = PayloadWant
Cancelled = Cancel
ByeCame = Bye

Event: TypeAlias = (
    Greeted
    | ForksCame
    | FrontierCame
    | NewsCame
    | Wanted
    | HeadCame
    | SpineCame
    | LeavesCame
    | MissingCame
    | HaveCame
    | DigestCame
    | PeersCame
    | PayloadWanted
    | PayloadHeadCame
    | DocumentCame
    | PieceCame
    | Cancelled
    | ByeCame
)
