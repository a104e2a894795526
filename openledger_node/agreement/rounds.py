"""One epoch's votes as they stand in the witnesses' logs, whoever reads them and in whatever order.

`Round.add` takes an accepted witness event of this epoch, from any log of a seat's device. Of each
seat the first frontier, the first proposal and notar of a view, the first final and skip of a view
count for what this seat says; another one with other content is kept as evidence of misbehaviour,
and so is a skip beside a final of one view. Which comes first differs between nodes: whatever must
be the same everywhere, such as the frontiers that a proposal names, goes by event id. A
vote whose signature is wrong is no vote.

A vote counts wherever it stands: in its seat's log, or in a certificate that another event carries.
So what one seat was shown alone, it passes on with whatever it says because of it.

The id of a proposal binds its cut by the cut's id. The same id may come with other certificates, or
with marks that do not make that cut: so many variants are kept, and the one that holds is used. A
leader can say more of them, in logs of its device that nodes meet in different orders; where that
leaves out the one that q seats voted for, who reads the logs looks for it (`crowded_out`).

`Round.decision` gives what a FINAL certificate decided. It depends on the set of events added,
never on their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from openledger_node.agreement.certificates import Ballot, SeatSet, Word
from openledger_node.agreement.cut import makes_cut
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
MAX_VARIANTS: Final = 16
"""Bodies that are kept of one proposal id, and statements of one seat in one slot. An honest seat
has one; those that an equivocator's certificates need come with the certificates."""
MAX_FALSE_VOTES: Final = 64
"""Wrong signatures in what a seat passes on, after which nothing more that it carries is checked.
An honest seat passes on what it verified; a false one must not keep the others busy."""


@dataclass(frozen=True, slots=True)
class Witnessed:
    """An accepted event of a seat."""

    seat: int
    event_id: bytes
    kind: str
    body: Any


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two events by which a seat said what an honest one never says both of.

    A single event, such as a proposal by a seat that did not lead, stands in both places.
    """

    seat: int
    what: str
    first: bytes
    second: bytes


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
    proposals: dict[bytes, list[WitnessPropose]] = field(default_factory=dict)
    proposed: dict[tuple[int, int], bytes] = field(default_factory=dict)
    votes: dict[tuple[Word, int, bytes | None], dict[int, bytes]] = field(default_factory=dict)
    cast: dict[tuple[Word, int, int], bytes | None] = field(default_factory=dict)
    states: dict[int, WitnessState] = field(default_factory=dict)
    second_states: dict[int, WitnessState] = field(default_factory=dict)
    """What seats signed beside another state of theirs: it counts against a statement, not for one.
    """
    evidence: list[Evidence] = field(default_factory=list)
    _certified: dict[tuple[Word, int], list[bytes | None]] = field(default_factory=dict)
    _said_by: dict[tuple[str, int, int], tuple[bytes, Any]] = field(default_factory=dict)
    _statements: dict[tuple[Word, int, int], int] = field(default_factory=dict)
    _false: dict[int, int] = field(default_factory=dict)

    def add(self, event: Witnessed) -> None:
        """Takes in one event; those of other epochs are the caller's to keep apart."""
        body = event.body
        if isinstance(body, WitnessFrontier):
            self._add_frontier(event, body)
        elif isinstance(body, WitnessPropose):
            self._add_proposal(event, body)
        elif isinstance(body, WitnessNotar):
            self._add_vote(event, "notar", body.view, body.proposal_id, body.signature)
        elif isinstance(body, WitnessFinal):
            self._add_vote(event, "final", body.view, body.proposal_id, body.signature)
            self._pool(event.seat, "notar", body.view, body.proposal_id, body.certificate)
        elif isinstance(body, WitnessSkip):
            self._add_vote(event, "skip", body.view, None, body.signature)
        elif isinstance(body, WitnessState):
            self._add_state(event, body)

    def accuse(self, seat: int, what: str, first: bytes, second: bytes) -> None:
        """Keeps evidence against a seat, unless the round has enough of it."""
        found = Evidence(seat, what, first, second)
        if len(self.evidence) < MAX_EVIDENCE and found not in self.evidence:
            self.evidence.append(found)

    def voting_event(self, word: Word, view: int, seat: int) -> bytes | None:
        """The event of the vote that this seat cast first in a slot, as far as it came itself."""
        found = self._said_by.get((word, view, seat))
        return None if found is None else found[0]

    def _first_said(self, event: Witnessed, what: str, view: int) -> tuple[bytes, Any]:
        """The event by which this seat filled a slot first: its id and its body."""
        return self._said_by.setdefault((what, view, event.seat), (event.event_id, event.body))

    def _add_frontier(self, event: Witnessed, body: WitnessFrontier) -> None:
        first, said = self.frontiers.setdefault(event.seat, (event.event_id, body))
        if said != body:
            self.accuse(event.seat, "two frontiers", first, event.event_id)
        of_seat = sum(seat == event.seat for seat, _ in self.reports.values())
        if of_seat < MAX_REPORTS_A_SEAT:
            self.reports.setdefault(event.event_id, (event.seat, body))

    def _add_proposal(self, event: Witnessed, body: WitnessPropose) -> None:
        if event.seat != self.seats.leader(self.epoch, body.view):
            what = "a proposal out of turn"
            self.accuse(event.seat, what, event.event_id, event.event_id)
            return
        named = self.id_of(body)
        first, said = self._first_said(event, "proposal", body.view)
        self.proposed.setdefault((event.seat, body.view), named)
        variants = self.proposals.setdefault(named, [])
        if body not in variants and len(variants) < MAX_VARIANTS:
            variants.append(body)
        if said != body:
            self.accuse(event.seat, "two proposals", first, event.event_id)
        if body.parent_view is not None and body.parent_id is not None:
            parent = body.parent_view, body.parent_id
            self._pool(event.seat, "notar", *parent, body.parent_certificate)
        for item in body.skips:
            self._pool(event.seat, "skip", item.view, None, item.certificate)

    def _add_vote(
        self, event: Witnessed, word: Word, view: int, named: bytes | None, signature: bytes
    ) -> None:
        ballot = Ballot(word, self.ledger_id, self.epoch, view, named)
        slot = (word, view, event.seat)
        if slot in self.cast and self.cast[slot] == named:
            return
        if self._statements.get(slot, 0) >= MAX_VARIANTS:
            return
        if not ballot.signed_by(self.seats, event.seat, signature):
            return
        self._statements[slot] = self._statements.get(slot, 0) + 1
        first, _ = self._first_said(event, word, view)
        if slot in self.cast:
            self.accuse(event.seat, f"two votes {word}", first, event.event_id)
        else:
            self.cast[slot] = named
            other = {"final": "skip", "skip": "final"}.get(word)
            if other is not None and (said := self._said_by.get((other, view, event.seat))):
                self.accuse(event.seat, "skip and final", *sorted((said[0], event.event_id)))
        # A proven equivocator's votes still count, once a statement (A9).
        self._count(word, view, named, event.seat, signature)

    def _count(
        self, word: Word, view: int, named: bytes | None, seat: int, signature: bytes
    ) -> None:
        votes = self.votes.setdefault((word, view, named), {})
        if seat in votes:
            return
        votes[seat] = signature
        if len(votes) == self.seats.quorum:
            self._certified.setdefault((word, view), []).append(named)

    def _pool(
        self,
        carrier: int,
        word: Word,
        view: int,
        named: bytes | None,
        certificate: Sequence[tuple[int, bytes]],
    ) -> None:
        """Counts the votes that another event carries."""
        ballot = Ballot(word, self.ledger_id, self.epoch, view, named)
        for seat, signature in certificate:
            if seat in self.votes.get((word, view, named), ()):
                continue
            if self._false.get(carrier, 0) >= MAX_FALSE_VOTES:
                return
            if ballot.signed_by(self.seats, seat, signature):
                self._count(word, view, named, seat, signature)
            else:
                self._false[carrier] = self._false.get(carrier, 0) + 1

    def _add_state(self, event: Witnessed, body: WitnessState) -> None:
        key = self.seats.key(event.seat)
        if not key.verifies_parts(body.signature, "state", *state_parts(self.ledger_id, body)):
            return
        first, _ = self._first_said(event, "state", 0)
        before = self.states.setdefault(event.seat, body)
        if state_parts(self.ledger_id, before) != state_parts(self.ledger_id, body):
            self.accuse(event.seat, "two states", first, event.event_id)
            self.second_states.setdefault(event.seat, body)
        named = body.final_proposal_id
        self._pool(event.seat, "final", body.final_view, named, body.final_certificate)

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
        return min(
            (named for named in self._certified.get(("notar", view), ()) if named), default=None
        )

    def crowded_out(self, previous: Mapping[bytes, Mark]) -> set[bytes]:
        """Certified proposals of which no body that is kept makes the cut, while so many came that
        others were left out: q seats saw the one that does.
        """
        certified = {
            named
            for (word, _), ids in self._certified.items()
            if word != "skip"
            for named in ids
            if named is not None and len(self.proposals.get(named, ())) >= MAX_VARIANTS
        }
        return {
            named
            for named in certified
            if not any(makes_cut(previous, b.cut_delta, b.cut_id) for b in self.proposals[named])
        }

    def id_of(self, body: WitnessPropose) -> bytes:
        """What votes for a proposal of this round name."""
        slot = self.ledger_id, self.epoch, body.view
        return proposal_id(*slot, body.parent_id, body.frontiers, body.cut_id)

    def put_in(self, body: WitnessPropose) -> None:
        """Keeps a body that makes its cut, in place of one of those that crowded it out."""
        self.proposals[self.id_of(body)][-1] = body

    def final_cuts(self) -> set[bytes]:
        """The cuts that FINAL certificates are for: never two, while f seats or fewer lie."""
        named = {
            one for (word, _), ids in self._certified.items() if word == "final" for one in ids
        }
        return {self.proposals[one][0].cut_id for one in named if one in self.proposals}

    def decision(self, previous: Mapping[bytes, Mark]) -> Decided | None:
        """What is final: a FINAL certificate whose proposal's cut follows from the previous one."""
        finals = [
            (view, named)
            for (word, view), ids in self._certified.items()
            if word == "final"
            for named in ids
            if named is not None
        ]
        for view, named in sorted(finals):
            certificate = self.certificate("final", view, named)
            for body in self.proposals.get(named, ()):
                if certificate is None or body.view != view:
                    continue
                if makes_cut(previous, body.cut_delta, body.cut_id):
                    return Decided(
                        self.epoch, view, named, body.cut_id, body.cut_delta, certificate
                    )
        return None


@dataclass(frozen=True, slots=True)
class Settled:
    """What the seats' signed states say of an epoch."""

    signatures: tuple[tuple[int, WitnessState], ...]
    final: bool


def settle(round_: Round, own: WitnessState | None) -> Settled:
    """A8: q equal states make a portable statement; of one's own, where there is one."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for seat, state in sorted(round_.states.items()):
        groups.setdefault(state_parts(round_.ledger_id, state), []).append(seat)
    if own is not None:
        chosen = groups.get(state_parts(round_.ledger_id, own), [])
    else:
        chosen = max(groups.values(), key=len, default=[])
    return Settled(
        tuple((seat, round_.states[seat]) for seat in chosen),
        len(chosen) >= round_.seats.quorum,
    )


def contradicting_seats(round_: Round, statement_root: bytes, state_digest: bytes) -> list[int]:
    """The seats that signed another statement or state than this: more than f raise the alarm (A8).

    One that signed both is among them: whoever heard only the other one holds that.
    """
    return sorted(
        {
            seat
            for states in (round_.states, round_.second_states)
            for seat, state in states.items()
            if (state.statement_root, state.state_digest) != (statement_root, state_digest)
        }
    )
