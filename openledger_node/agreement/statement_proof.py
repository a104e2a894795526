"""A8: what q seats signed of an epoch, checked with the genesis alone.

A portable statement is the signed states of q distinct seats that agree on epoch, cut, statement
root, state digest, rules and next witness set. The seats are those of the genesis, or of the last
of a chain of set changes: each change is a set together with the statement of the epoch that
brought it, signed by the seats before, whose `next_set_digest` names it. The new seats sign from
the epoch after.

What a chain cannot show is that it is whole: q seats of an old set who still have their keys could
sign on as if they had never been replaced. Whoever has a newer proof sees the contradiction.

`ProvedStatement` is made by `verify_statement` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, final

import msgspec
from msgspec import Meta

from openledger_node.agreement.certificates import (
    Ballot,
    SeatSet,
    genesis_seats,
    verify_certificate,
)
from openledger_node.ledger.errors import VerificationFailed
from openledger_node.ledger.genesis import Genesis
from openledger_node.ledger.votes import WitnessSet, WitnessState, seat_set_digest, state_parts

MAX_SET_CHANGES: Final = 1_024
"""Each is about 1 KiB a seat: a proof over more would not be read (4 MiB)."""

States = Annotated[tuple[tuple[int, WitnessState], ...], Meta(min_length=1, max_length=31)]

_MAKE: Final = object()


@final
class ProvedStatement:
    """An epoch's roots with verified signatures of q seats."""

    __slots__ = ("seats", "state")

    def __init__(self, state: WitnessState, seats: tuple[int, ...], make: object) -> None:
        if make is not _MAKE:
            raise TypeError("a ProvedStatement is made by verify_statement")
        self.state = state
        self.seats = seats


class SetChange(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A witness set, and the states by which the seats before it signed that it follows."""

    body: WitnessSet
    states: States

    @property
    def digest(self) -> bytes:
        body = self.body
        return seat_set_digest(
            body.number, body.seats, body.rules_version, body.params, body.issuers
        )


class SignedStatement(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What makes a statement portable: every change of the set before it, and q seats' states."""

    changes: Annotated[tuple[SetChange, ...], Meta(max_length=MAX_SET_CHANGES)]
    states: States


def verify_statement(genesis: Genesis, signed: SignedStatement) -> ProvedStatement:
    """The statement that signed states prove. VerificationFailed says what does not hold."""
    seats = genesis_seats(genesis)
    epoch = 0
    for change in signed.changes:
        state = _verify_states(genesis, seats, change.states, epoch).state
        if change.digest != state.next_set_digest:
            raise VerificationFailed(
                f"the witnesses of epoch {state.epoch} signed another set than the proof shows"
            )
        if change.body.number != seats.number + 1:
            raise VerificationFailed(f"witness set {change.body.number} does not follow")
        seats, epoch = SeatSet(change.body.number, change.body.seats), state.epoch
    return _verify_states(genesis, seats, signed.states, epoch)


def _verify_states(
    genesis: Genesis,
    seats: SeatSet,
    states: Sequence[tuple[int, WitnessState]],
    after_epoch: int,
) -> ProvedStatement:
    """States [(seat index, signed state)] of q seats of a set that is in force `after_epoch`."""
    indexes = [seat for seat, _ in states]
    if indexes != sorted(set(indexes)):
        raise VerificationFailed("the proof lists each seat once, in ascending order")
    if len(indexes) < seats.quorum:
        raise VerificationFailed(
            f"{len(indexes)} of {len(seats.seats)} witnesses signed; {seats.quorum} are needed"
        )
    first = states[0][1]
    if first.epoch <= after_epoch:
        raise VerificationFailed(
            f"epoch {first.epoch} is not later than the change of the set in epoch {after_epoch}"
        )
    for seat, state in states:
        if state_parts(genesis.ledger_id, state) != state_parts(genesis.ledger_id, first):
            raise VerificationFailed("the witnesses signed different statements")
        _check_signature(genesis, seats, seat, state)
    # Each seat carries the certificate that it saw; no part of a proof is taken unread.
    finals = {(s.final_view, s.final_proposal_id, s.final_certificate) for _, s in states}
    for view, named, certificate in sorted(finals):
        ballot = Ballot("final", genesis.ledger_id, first.epoch, view, named)
        verify_certificate(ballot, certificate, seats)
    return ProvedStatement(first, tuple(indexes), _MAKE)


def _check_signature(genesis: Genesis, seats: SeatSet, seat: int, state: WitnessState) -> None:
    if not 0 <= seat < len(seats.seats):
        raise VerificationFailed(f"there is no witness {seat}")
    parts = state_parts(genesis.ledger_id, state)
    if not seats.key(seat).verifies_parts(state.signature, "state", *parts):
        raise VerificationFailed(f"the signature of witness {seat} on the statement is wrong")
