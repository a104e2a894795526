"""A8: what q seats signed of an epoch, checked with the genesis alone.

A portable statement is the signed states of q distinct seats that agree on epoch, cut, statement
root, state digest, rules and next witness set. The seats are those of the genesis, or of the last
of a chain of set changes, each carried by a statement of its own; version 1 knows set 0 and refuses
a chain.

`ProvedStatement` is made by `verify_statement` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

from openledger_node.agreement.certificates import (
    Ballot,
    SeatSet,
    genesis_seats,
    verify_certificate,
)
from openledger_node.ledger.errors import VerificationFailed
from openledger_node.ledger.genesis import Genesis
from openledger_node.ledger.votes import WitnessState, state_parts

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


def verify_statement(
    genesis: Genesis,
    states: Sequence[tuple[int, WitnessState]],
    set_changes: Sequence[bytes] = (),
) -> ProvedStatement:
    """The statement that `states` = [(seat index, signed state)] prove.

    VerificationFailed says what does not hold.
    """
    if set_changes:
        raise VerificationFailed("the proof crosses a change of the witness set")
    seats = genesis_seats(genesis)
    indexes = [seat for seat, _ in states]
    if indexes != sorted(set(indexes)):
        raise VerificationFailed("the proof lists each seat once, in ascending order")
    if len(indexes) < seats.quorum:
        raise VerificationFailed(
            f"{len(indexes)} of {len(seats.seats)} witnesses signed; {seats.quorum} are needed"
        )
    first = states[0][1]
    for seat, state in states:
        if state_parts(genesis.ledger_id, state) != state_parts(genesis.ledger_id, first):
            raise VerificationFailed("the witnesses signed different statements")
        _check_signature(genesis, seats, seat, state)
    ballot = Ballot(
        "final", genesis.ledger_id, first.epoch, first.final_view, first.final_proposal_id
    )
    verify_certificate(ballot, first.final_certificate, seats)
    return ProvedStatement(first, tuple(indexes), _MAKE)


def _check_signature(genesis: Genesis, seats: SeatSet, seat: int, state: WitnessState) -> None:
    if not 0 <= seat < len(seats.seats):
        raise VerificationFailed(f"there is no witness {seat}")
    parts = state_parts(genesis.ledger_id, state)
    if not seats.key(seat).verifies_parts(state.signature, "state", *parts):
        raise VerificationFailed(f"the signature of witness {seat} on the statement is wrong")
