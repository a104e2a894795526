"""The shapes of `witness.*` events: frontiers, proposals, votes, states, changes of the set.

- A vote is `[e, v, id | nil, sign(word, ledger_id, e, v, id)]` with word `notar`, `final` or
  `skip`.
- A certificate is `[[seat index, signature], ...]` of q seats, ascending by seat; it is embedded
  where it is used, so accepting any log never waits for another log.
- The id of a proposal is H("proposal", ledger_id, e, v, parent id | nil, Q, cut_id); Q = sorted
  frontier event ids.

What they mean is `agreement/`'s part (rules A1 to A11).
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from openledger_node.ledger.encoding import H
from openledger_node.ledger.events import Id, Key
from openledger_node.ledger.genesis import MAX_AMOUNT_MICRO, MAX_ISSUERS, MAX_SEATS, Params
from openledger_node.ledger.heads import Mark, Signature, SignedHead

MAX_VIEW: Final = 2**20
MAX_CUT_LOGS: Final = 5_000
MAX_FRONTIER_HEADS: Final = 3_000
"""A1's 512 KiB over the 138 bytes or so of a signed head, rounded down."""

EpochNumber = Annotated[int, Meta(ge=1, le=2**40)]
View = Annotated[int, Meta(ge=0, le=MAX_VIEW)]
Seat = Annotated[int, Meta(ge=0, lt=MAX_SEATS)]
Certificate = Annotated[tuple[tuple[Seat, Signature], ...], Meta(max_length=MAX_SEATS)]


class VoteBody(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """Base of the bodies of `witness.*`."""


class WitnessFrontier(VoteBody, frozen=True):
    """A1: the signed heads that changed since cut e-1, as far as this seat holds them."""

    epoch: EpochNumber
    heads: Annotated[tuple[SignedHead, ...], Meta(max_length=MAX_FRONTIER_HEADS)]


class SkipCertificate(VoteBody, frozen=True):
    view: View
    certificate: Certificate


class WitnessPropose(VoteBody, frozen=True):
    """A3: a cut for epoch e in view v, with all that makes it valid."""

    epoch: EpochNumber
    view: View
    parent_view: View | None
    parent_id: Id | None
    parent_certificate: Certificate
    skips: Annotated[tuple[SkipCertificate, ...], Meta(max_length=MAX_VIEW)]
    frontiers: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=MAX_SEATS)]
    cut_delta: Annotated[tuple[Mark, ...], Meta(max_length=MAX_CUT_LOGS)]
    cut_id: Id


class WitnessNotar(VoteBody, frozen=True):
    epoch: EpochNumber
    view: View
    proposal_id: Id
    signature: Signature


class WitnessFinal(VoteBody, frozen=True):
    """A5: with the NOTAR certificate that it rests on, so that whoever reads it has it too."""

    epoch: EpochNumber
    view: View
    proposal_id: Id
    signature: Signature
    certificate: Certificate


class WitnessSkip(VoteBody, frozen=True):
    epoch: EpochNumber
    view: View
    proposal_id: None
    signature: Signature


class WitnessState(VoteBody, frozen=True):
    """A8: what a seat's fold made of epoch e, with the certificate that decided it."""

    epoch: EpochNumber
    cut_id: Id
    statement_root: Id
    state_digest: Id
    rules_version: Annotated[int, Meta(ge=1, le=2**16)]
    next_set_digest: Id
    beacon_reveal: Id | None
    signature: Signature
    final_view: View
    final_proposal_id: Id
    final_certificate: Certificate


SeatKeys = Annotated[tuple[tuple[Id, Key], ...], Meta(min_length=1, max_length=MAX_SEATS)]


class WitnessSet(VoteBody, frozen=True):
    """A10: a new set of seats, rules version, params and issuers."""

    number: Annotated[int, Meta(ge=1, le=2**40)]
    seats: SeatKeys
    rules_version: Annotated[int, Meta(ge=1, le=2**16)]
    params: Params
    issuers: Annotated[
        tuple[tuple[Id, Annotated[int, Meta(ge=0, le=MAX_AMOUNT_MICRO)]], ...],
        Meta(max_length=MAX_ISSUERS),
    ]


class WitnessReady(VoteBody, frozen=True):
    number: Annotated[int, Meta(ge=1, le=2**40)]


VOTE_KINDS: Final[dict[str, type[Any]]] = {
    "witness.frontier": WitnessFrontier,
    "witness.propose": WitnessPropose,
    "witness.notar": WitnessNotar,
    "witness.final": WitnessFinal,
    "witness.skip": WitnessSkip,
    "witness.state": WitnessState,
    "witness.set": WitnessSet,
    "witness.ready": WitnessReady,
}


def proposal_id(
    ledger_id: bytes,
    epoch: int,
    view: int,
    parent_id: bytes | None,
    frontiers: tuple[bytes, ...],
    cut_id: bytes,
) -> bytes:
    """The id that votes name; it binds the view, the parent, the frontiers and the cut (A3)."""
    return H("proposal", ledger_id, epoch, view, parent_id, frontiers, cut_id)


def state_parts(ledger_id: bytes, state: WitnessState) -> tuple[Any, ...]:
    """What a seat's signature on its state covers (A8): sign("state", *parts)."""
    return (
        ledger_id,
        state.epoch,
        state.cut_id,
        state.statement_root,
        state.state_digest,
        state.rules_version,
        state.next_set_digest,
        state.beacon_reveal,
    )


def seat_set_digest(
    number: int,
    seats: tuple[tuple[bytes, bytes], ...],
    rules_version: int,
    params: Params,
    issuers: tuple[tuple[bytes, int], ...],
) -> bytes:
    """Names a witness set with everything that changes with it; set 0 is the genesis's."""
    return H("witness-set", number, seats, rules_version, params, issuers)
