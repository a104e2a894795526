"""What the interface answers about witnesses and their ceremony."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation to found a ledger was written."""

    file: str
    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class SeatOffered:
    """A home waits for its ledger; its seat file was written."""

    account_id: str
    account: str
    home: str
    file: str
    recovery_file: str


@dataclass(frozen=True, slots=True)
class Founded:
    """A genesis was put together; `seats` has (name in the seat file, account) of each."""

    file: str
    ledger_id: str
    seats: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Witness:
    """One seat. `signed_epoch` is the last epoch whose statement it signed, as known here."""

    seat: int
    account_id: str
    account: str
    name: str | None
    device: str
    own: bool
    signed_epoch: int | None
    voted: bool
    forked: bool


@dataclass(frozen=True, slots=True)
class Proposal:
    """A set that current seats asked for. `digest` names it; `changes` says what is other."""

    digest: str
    number: int
    approved: tuple[str, ...]
    needed: int
    ready: tuple[str, ...]
    waiting: tuple[str, ...]
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Witnesses:
    """The set in force and what is asked to follow it."""

    number: int
    quorum: int
    epoch: int
    final_epoch: int
    witnesses: tuple[Witness, ...]
    proposals: tuple[Proposal, ...]
    alarms: tuple[str, ...]
