"""Votes and certificates: signatures of seats, and what q of them make.

A vote of word `notar`, `final` or `skip` on (epoch, view, proposal id or nil) is sign(word,
ledger_id, epoch, view, id). A certificate is [[seat index, signature], ...] of q or more seats,
ascending. It carries its own proof, so it may stand in any event: whoever holds the seat set can
check it, and accepting a log never waits for another log.

`Certified` is made by `verify_certificate` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, final

from openledger_node.ledger.errors import BadInput, VerificationFailed
from openledger_node.ledger.genesis import Genesis, faults_tolerated, quorum
from openledger_node.ledger.keys import PublicKey, SigningKey

Word = Literal["notar", "final", "skip"]
CHECKED_VOTES: Final = 2**14
"""Signatures that are remembered as checked. Rounds are read again at every step; 31 seats cast
some hundred votes in an epoch and repeat them in certificates."""
_MAKE: Final = object()


@dataclass(frozen=True, slots=True)
class SeatSet:
    """The witnesses in force: [(account, device key)] by seat index, and the set's number."""

    number: int
    seats: tuple[tuple[bytes, bytes], ...]

    @property
    def quorum(self) -> int:
        """q: how many seats decide."""
        return quorum(len(self.seats))

    @property
    def faults(self) -> int:
        """f: how many seats may be faulty."""
        return faults_tolerated(len(self.seats))

    def index_of(self, account: bytes, device: bytes) -> int | None:
        """The seat that a log's (account, device) holds, if any."""
        try:
            return self.seats.index((account, device))
        except ValueError:
            return None

    def key(self, seat: int) -> PublicKey:
        return PublicKey.parse(self.seats[seat][1])

    def leader(self, epoch: int, view: int) -> int:
        """A2: the seat that proposes in a view."""
        return (epoch + view) % len(self.seats)


def genesis_seats(genesis: Genesis) -> SeatSet:
    """Set 0."""
    return SeatSet(0, genesis.seat_keys)


def sign_vote(
    key: SigningKey, word: Word, ledger_id: bytes, epoch: int, view: int, named: bytes | None
) -> bytes:
    """A seat's vote."""
    return key.sign_parts(word, ledger_id, epoch, view, named)


@dataclass(frozen=True, slots=True)
class Ballot:
    """What a vote is about."""

    word: Word
    ledger_id: bytes
    epoch: int
    view: int
    named: bytes | None

    def signed_by(self, seats: SeatSet, seat: int, signature: bytes) -> bool:
        """Whether `signature` is this seat's on this ballot."""
        if not 0 <= seat < len(seats.seats):
            return False
        return _is_signed(self, seats.key(seat), signature)


@lru_cache(maxsize=CHECKED_VOTES)
def _is_signed(ballot: Ballot, key: PublicKey, signature: bytes) -> bool:
    return key.verifies_parts(
        signature, ballot.word, ballot.ledger_id, ballot.epoch, ballot.view, ballot.named
    )


@final
class Certified:
    """A ballot with verified signatures of q distinct seats."""

    __slots__ = ("ballot", "certificate")

    def __init__(
        self, ballot: Ballot, certificate: tuple[tuple[int, bytes], ...], make: object
    ) -> None:
        if make is not _MAKE:
            raise TypeError("a Certified is made by verify_certificate")
        self.ballot = ballot
        self.certificate = certificate


def verify_certificate(
    ballot: Ballot, certificate: Sequence[tuple[int, bytes]], seats: SeatSet
) -> Certified:
    """The certificate, checked. VerificationFailed says what is wrong with it."""
    indexes = [seat for seat, _ in certificate]
    if indexes != sorted(set(indexes)):
        raise VerificationFailed("a certificate lists each seat once, in ascending order")
    if len(indexes) < seats.quorum:
        raise VerificationFailed(
            f"a certificate needs {seats.quorum} of {len(seats.seats)} seats, "
            f"this one has {len(indexes)}"
        )
    for seat, signature in certificate:
        if not ballot.signed_by(seats, seat, signature):
            raise VerificationFailed(f"the signature of seat {seat} in a certificate is wrong")
    return Certified(ballot, tuple(certificate), _MAKE)


def make_certificate(
    ballot: Ballot, votes: Mapping[int, bytes] | Iterable[tuple[int, bytes]], seats: SeatSet
) -> tuple[tuple[int, bytes], ...] | None:
    """The certificate that verified votes by seat make.

    Q of them, or None while there are fewer.
    """
    found = dict(votes)
    if len(found) < seats.quorum:
        return None
    chosen = tuple(sorted(found.items()))[: seats.quorum]
    try:
        return verify_certificate(ballot, chosen, seats).certificate
    except (VerificationFailed, BadInput):
        return None
