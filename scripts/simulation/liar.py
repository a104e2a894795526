"""A seat that lies as much as its key lets it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from openledger_node.agreement.certificates import sign_vote
from openledger_node.agreement.machine import Seat, current_view, next_event
from openledger_node.ledger.events import encode_event
from openledger_node.ledger.heads import SignedHead
from openledger_node.ledger.votes import (
    WitnessFinal,
    WitnessFrontier,
    WitnessNotar,
    WitnessPropose,
    WitnessSkip,
)
from scripts.simulation.council import SEATS, Citizen
from scripts.simulation.nodes import digest


class Liar(Citizen):
    """A seat that votes for everything it sees, skips what it finalises, and as the leader proposes
    two different cuts. Its frontier names a log that nobody has.
    """

    def step(self) -> None:
        if self.holder.is_full:
            return
        while True:
            self._listen()
            if not self._follow():
                break
        self.said: set[bytes] = getattr(self, "said", set())
        for kind, body in [*self._lies()]:
            event = encode_event(0, kind, 0, body)
            if event not in self.said and len(self.said) < 2_000:
                self.said.add(event)
                self.say(kind, body)
        self._listen()

    def _lies(self) -> Iterator[tuple[str, Any]]:
        round_, epoch = self.round, self.epoch + 1
        if self.index is None:
            return
        if self.index not in round_.frontiers:
            if round_.frontiers:
                strange = SignedHead(digest("nobody's", epoch), 3, bytes(32), bytes(64))
                heads = (*self.held().changed_heads(), strange)
                yield "witness.frontier", WitnessFrontier(epoch, heads)
            return
        view = current_view(round_)
        yield from self._proposals(view)
        for named, variants in list(round_.proposals.items()):
            slot = epoch, variants[0].view, named
            notar = sign_vote(self.device, "notar", self.ledger_id, *slot)
            yield "witness.notar", WitnessNotar(*slot, notar)
            final = sign_vote(self.device, "final", self.ledger_id, *slot)
            yield "witness.final", WitnessFinal(*slot, final, ())
        skip = sign_vote(self.device, "skip", self.ledger_id, epoch, view, None)
        yield "witness.skip", WitnessSkip(epoch, view, None, skip)

    def _proposals(self, view: int) -> Iterator[tuple[str, Any]]:
        round_ = self.round
        if round_.seats.leader(round_.epoch, view) != self.index:
            return
        if (self.index, view) in round_.proposed or len(round_.frontiers) < SEATS:
            return
        said = next_event(round_, Seat(self.index, self.device), self.held(), due=True, waited=True)
        if said is None or not isinstance(said.body, WitnessPropose):
            return
        good = said.body
        fields = {name: getattr(good, name) for name in good.__struct_fields__}
        every = tuple(sorted(event for event, _ in round_.frontiers.values()))
        yield "witness.propose", WitnessPropose(**(fields | {"cut_delta": good.cut_delta[1:]}))
        yield "witness.propose", WitnessPropose(**(fields | {"frontiers": every}))
        yield "witness.propose", good
