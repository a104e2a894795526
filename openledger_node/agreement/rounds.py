"""One epoch's votes as they stand in the witnesses' logs, whoever reads them and in whatever order.

`Round.add` takes an accepted witness event of this epoch, from any log of a seat's device. Of each
seat the first frontier, the first proposal and notar of a view, the first final and skip of a view
count for what this seat says; another one with other content is kept as evidence of misbehaviour,
and so is a skip beside a final of one view. Which comes first differs between nodes: whatever must
be the same everywhere, such as the frontiers that a proposal names, goes by event id. A
vote whose signature is wrong is no vote.

`Round.decision` gives what a FINAL certificate decided. It depends on the set of events added,
never on their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from openledger_node.agreement.certificates import Ballot, SeatSet, Word
from openledger_node.agreement.cut import cut_id_of, merged
from openledger_node.ledger.heads import Mark
from openledger_node.ledger.votes import (
    WitnessFinal,
    WitnessFrontier,
    WitnessNotar,
    WitnessPropose,
    WitnessSkip,
    WitnessState,
    proposal_id,
    state_parts,
)

MAX_REPORTS_A_SEAT: Final = 16
"""Frontiers that are kept of a seat that publishes more than its one."""
MAX_EVIDENCE: Final = 256
"""Pieces of evidence a round keeps; one is enough, and evidence lies in the logs for ever."""


@dataclass(frozen=True, slots=True)
class Witnessed:
    """An accepted event of a seat."""

    seat: int
    event_id: bytes
    kind: str
    body: Any


@dataclass(frozen=True, slots=True)
class Decided:
    """A cut with the certificate that makes it final."""

    epoch: int
    view: int
    proposal_id: bytes
    cut_id: bytes
    changed: tuple[Mark, ...]
    certificate: tuple[tuple[int, bytes], ...]


@dataclass(slots=True)
class Round:
    """All that is known of the votes of one epoch."""

    ledger_id: bytes
    epoch: int
    seats: SeatSet
    frontiers: dict[int, tuple[bytes, WitnessFrontier]] = field(default_factory=dict)
    reports: dict[bytes, tuple[int, WitnessFrontier]] = field(default_factory=dict)
    """Every frontier by its event id, those of seats that published several among them."""
    proposals: dict[bytes, tuple[int, WitnessPropose]] = field(default_factory=dict)
    proposed: dict[tuple[int, int], bytes] = field(default_factory=dict)
    votes: dict[tuple[Word, int, bytes | None], dict[int, bytes]] = field(default_factory=dict)
    cast: dict[tuple[Word, int, int], bytes | None] = field(default_factory=dict)
    states: dict[int, WitnessState] = field(default_factory=dict)
    evidence: list[tuple[int, str, bytes]] = field(default_factory=list)

    def add(self, event: Witnessed) -> None:
        """Takes in one event; those of other epochs are the caller's to keep apart."""
        body = event.body
        if isinstance(body, WitnessFrontier):
            before = self.frontiers.setdefault(event.seat, (event.event_id, body))
            if before[0] != event.event_id and event.event_id not in self.reports:
                self._accuse(event)
            of_seat = sum(seat == event.seat for seat, _ in self.reports.values())
            if of_seat < MAX_REPORTS_A_SEAT:
                self.reports.setdefault(event.event_id, (event.seat, body))
        elif isinstance(body, WitnessPropose):
            self._add_proposal(event, body)
        elif isinstance(body, WitnessNotar):
            self._add_vote(event, "notar", body.view, body.proposal_id, body.signature)
        elif isinstance(body, WitnessFinal):
            self._add_vote(event, "final", body.view, body.proposal_id, body.signature)
        elif isinstance(body, WitnessSkip):
            self._add_vote(event, "skip", body.view, None, body.signature)
        elif isinstance(body, WitnessState):
            self._add_state(event, body)

    def _accuse(self, event: Witnessed) -> None:
        if len(self.evidence) < MAX_EVIDENCE:
            self.evidence.append((event.seat, event.kind, event.event_id))

    def _add_proposal(self, event: Witnessed, body: WitnessPropose) -> None:
        if event.seat != self.seats.leader(self.epoch, body.view):
            self._accuse(event)
            return
        named = proposal_id(
            self.ledger_id, self.epoch, body.view, body.parent_id, body.frontiers, body.cut_id
        )
        first = self.proposed.setdefault((event.seat, body.view), named)
        if first != named:
            self._accuse(event)
        self.proposals.setdefault(named, (event.seat, body))

    def _add_vote(
        self, event: Witnessed, word: Word, view: int, named: bytes | None, signature: bytes
    ) -> None:
        ballot = Ballot(word, self.ledger_id, self.epoch, view, named)
        slot = (word, view, event.seat)
        if slot in self.cast and self.cast[slot] == named:
            return
        if not ballot.signed_by(self.seats, event.seat, signature):
            return
        if slot in self.cast:
            self._accuse(event)
        else:
            self.cast[slot] = named
            other = {"final": "skip", "skip": "final"}.get(word)
            if other is not None and (other, view, event.seat) in self.cast:
                self._accuse(event)
        # A proven equivocator's votes still count, once a statement (A9).
        self.votes.setdefault((word, view, named), {}).setdefault(event.seat, signature)

    def _add_state(self, event: Witnessed, body: WitnessState) -> None:
        key = self.seats.key(event.seat)
        if not key.verifies_parts(body.signature, "state", *state_parts(self.ledger_id, body)):
            return
        before = self.states.setdefault(event.seat, body)
        if before != body:
            self._accuse(event)
        ballot = Ballot(
            "final", self.ledger_id, self.epoch, body.final_view, body.final_proposal_id
        )
        pool = self.votes.setdefault(("final", body.final_view, body.final_proposal_id), {})
        for seat, signature in body.final_certificate:
            if seat not in pool and ballot.signed_by(self.seats, seat, signature):
                pool[seat] = signature

    def certificate(
        self, word: Word, view: int, named: bytes | None
    ) -> tuple[tuple[int, bytes], ...] | None:
        """The certificate that the votes known make, or None. Each was verified when it came."""
        votes = self.votes.get((word, view, named), {})
        if len(votes) < self.seats.quorum:
            return None
        return tuple(sorted(votes.items()))[: self.seats.quorum]

    def notarised(self, view: int) -> bytes | None:
        """The proposal of a view that a NOTAR certificate is for."""
        for (word, at, named), votes in self.votes.items():
            if word == "notar" and at == view and named and len(votes) >= self.seats.quorum:
                return named
        return None

    def decision(self, previous: Mapping[bytes, Mark]) -> Decided | None:
        """What is final: a FINAL certificate whose proposal's cut follows from the previous one."""
        for word, view, named in sorted(self.votes, key=lambda slot: (slot[1], slot[2] or b"")):
            if word != "final" or named is None or named not in self.proposals:
                continue
            certificate = self.certificate("final", view, named)
            body = self.proposals[named][1]
            if certificate is None or body.view != view:
                continue
            if cut_id_of(merged(previous, body.cut_delta).values()) != body.cut_id:
                continue
            return Decided(self.epoch, view, named, body.cut_id, body.cut_delta, certificate)
        return None


@dataclass(frozen=True, slots=True)
class Settled:
    """What the seats' signed states say of an epoch."""

    signatures: tuple[tuple[int, WitnessState], ...]
    final: bool
    alarm: bool


def settle(round_: Round, own: WitnessState | None) -> Settled:
    """A8: q equal states make a portable statement; f+1 that differ from one's own halt payouts."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for seat, state in sorted(round_.states.items()):
        groups.setdefault(state_parts(round_.ledger_id, state), []).append(seat)
    chosen: list[int] = []
    alarm = False
    for parts, seats in sorted(groups.items(), key=lambda item: (-len(item[1]), item[1])):
        if own is None or parts == state_parts(round_.ledger_id, own):
            chosen = chosen or seats
        elif len(seats) > round_.seats.faults:
            alarm = True
    return Settled(
        tuple((seat, round_.states[seat]) for seat in chosen),
        len(chosen) >= round_.seats.quorum,
        alarm,
    )
