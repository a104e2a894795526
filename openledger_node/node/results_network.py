"""What the commands about peers, sync and the daemon answer (see `results`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """A node that this home knows. `linked`: the running daemon has a link to it."""

    node_id: str
    addresses: tuple[str, ...]
    source: str
    linked: bool
    account: str
    score: int
    last_seen_ms: int | None
    banned_until_ms: int | None


@dataclass(frozen=True, slots=True)
class Peers:
    """All peers; whether a daemon runs, and where it listens."""

    peers: tuple[Peer, ...]
    node_id: str
    daemon: bool
    listening: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SyncedWith:
    """One link of a round: how many events and payloads came and went.

    `in_sync`: both sides hold the same logs now.
    """

    address: str
    node_id: str
    in_sync: bool
    received: int
    sent: int
    payloads: int
    fault: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Synced:
    """One round of sync."""

    received: int
    sent: int
    payloads: int
    seconds: float
    epochs: int
    peers: tuple[SyncedWith, ...]


@dataclass(frozen=True, slots=True)
class DaemonShown:
    """What `status` says of the running daemon."""

    running: bool
    pid: int | None
    since_ms: int | None
    listening: tuple[str, ...]
    links: int
    events_in: int
    state: str
