"""A run of the simulator with seats: four witnesses and other nodes close epochs through a storm.

To what befalls nodes in `world`, agreement adds money that moves, clocks that run fast or slow, and
in most runs one seat that lies: it signs everything, shows two histories of its log, or is silent.
These must hold:

1. All honest nodes make the same cut, statement and state of an epoch, whenever they fold it, also
   after a crash or on an old disk: what is final stays final.
2. Credit is conserved, and no honest seat is ever in evidence.
3. After healing, an epoch is decided that holds what was written then, at every honest node.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import trio
import trio.testing

from openledger_node.agreement.evidence import evidence_of
from openledger_node.agreement.rounds import Round
from openledger_node.credit import views
from scripts.simulation.council import SEATS, Citizen, Closed, found
from scripts.simulation.liar import Liar
from scripts.simulation.nodes import Node
from scripts.simulation.world import Machine, Outcome, Run

STEP_S: Final = 0.25
COMPARE_LOOKS: Final = 60
"""Looks between a restored seat's questions whether the others hold the same: 15 s (Y9)."""
SETTLE_S: Final = 90.0
"""Healing: digests are exchanged every 30 s or so, and a view's timer runs up to T0 * 2^6."""
ROLES: Final = ("honest", "signs all", "forks", "silent", "forks and signs all")
NAMED: Final = ("skipped view", "third view", "notar and skip", "inherited", "forked", "restored")
"""Situations that must occur over the seeds of a run, or it proved less than it seems."""


@dataclass
class Meeting(Outcome):
    """What a run came to."""

    epochs: int = 0
    situations: Counter[str] = field(default_factory=Counter)


class Assembly(Run):
    """One seed."""

    outcome: Meeting

    def __init__(self, seed: int, count: int) -> None:
        self.closed: dict[int, Closed] = {}
        self._seed = seed
        self._names = [f"n{number}" for number in range(count)]
        self._genesis = found(self._names[:SEATS])
        self.role = ROLES[seed % len(ROLES)]
        self.liar = None if self.role == "honest" else seed // len(ROLES) % SEATS
        self.meeting = Meeting(seed)
        super().__init__(seed, count)
        self.outcome = self.meeting

    # Nodes.

    def _make(self, number: int) -> Node:
        kind = Liar if number == self.liar and "signs all" in self.role else Citizen
        skew = self._rng.choice([0.5, 0.9, 1.0, 1.1, 2.0])
        return kind(self._names[number], self._rng.randrange, self._genesis, skew, self._folded)

    def _pairs(self) -> list[tuple[int, int]]:
        """Seats are linked with each other, as a restored one needs them to be."""
        seats = {(one, other) for other in range(SEATS) for one in range(other)}
        return sorted(seats.union(super()._pairs()))

    def _citizens(self) -> list[Citizen]:
        nodes = [machine.node for machine in self._machines]
        return [node for node in nodes if isinstance(node, Citizen)]

    def _honest(self) -> list[Citizen]:
        return [node for number, node in enumerate(self._citizens()) if number != self.liar]

    async def _tend(self, machine: Machine) -> None:
        node = machine.node
        assert isinstance(node, Citizen)
        looks = 0
        while True:
            await trio.sleep(STEP_S)
            looks += 1
            if looks % 4 == 0:
                self._leave_logs(machine)
            if looks % COMPARE_LOOKS == 0 and node.waits:
                node.hub.ask_everybody()
            if not (self.role == "silent" and node.index == self.liar):
                waited = node.waits
                node.step()
                if waited and not node.waits:
                    self.outcome.situations["restored"] += 1

    def _forger(self) -> int:
        """Which device shows two histories: the liar's, or that of a node without a seat."""
        if self.liar is not None and "forks" in self.role:
            return self.liar
        return self._rng.randrange(SEATS, len(self._machines))

    async def _one_thing(self) -> None:
        if self._rng.random() < 0.3:
            machine = self._rng.choice(self._machines)
            other = self._rng.choice(self._citizens())
            if machine.is_up and isinstance(machine.node, Citizen):
                machine.node.spend(other.account, self._rng.randrange(1, 10**6))
                self._acknowledge(machine.node)
        await super()._one_thing()

    # What is checked as it happens.

    def _folded(self, node: Citizen, epoch: int, closed: Closed, round_: Round) -> None:
        known = self.closed.setdefault(epoch, closed)
        self.outcome.epochs = len(self.closed)
        if known != closed and node in self._honest():
            self.outcome.problems.append(f"{node.name} made something else of epoch {epoch}")
        self._note("folded", node.name, epoch)
        self._watch(node, round_)

    def _watch(self, node: Citizen, round_: Round) -> None:
        """Who is accused, and what this round had in it."""
        for one in evidence_of(round_):
            if one.seat != self.liar and node in self._honest():
                text = f"{node.name} has evidence against n{one.seat}: {one.what}"
                if text not in self.outcome.problems:
                    self.outcome.problems.append(text)
        situations = self.outcome.situations
        views_seen = {view for _, view, _ in round_.votes}
        situations["third view"] += any(view >= 2 for view in views_seen)
        for view in views_seen:
            skipped = round_.certificate("skip", view, None) is not None
            situations["skipped view"] += skipped
            situations["notar and skip"] += skipped and round_.notarised(view) is not None
        bodies = [body for variants in round_.proposals.values() for body in variants]
        situations["inherited"] += any(body.parent_id is not None for body in bodies)
        situations["forked"] += any(log_id in node.hub.replica.forks for log_id in node.cut)

    # The end.

    async def _heal(self) -> None:
        self._side, self._calm = None, True
        for number in range(len(self._machines)):
            await self._back(number)
        await trio.sleep(SETTLE_S)
        marks = [node.append(1, "after the storm") for node in self._honest()]
        for node in self._honest():
            self._acknowledge(node)
        await trio.sleep(SETTLE_S)
        self._check()
        for node in self._honest():
            self._check_node(node, marks)

    def _check_node(self, node: Citizen, marks: list[Any]) -> None:
        problems = self.outcome.problems
        self._watch(node, node.round)
        open_marks = [m for m in marks if m.log_id not in node.hub.replica.forks]
        late = [m for m in open_marks if node.cut.get(m.log_id, m).size < m.size]
        late += [m for m in open_marks if m.log_id not in node.cut]
        if late:
            problems.append(f"{node.name} has not seen {len(late)} events final, in {node.epoch}")
        totals = views.totals(node.state)
        accounts = list(views.accounts(node.state))
        held = sum(one.balance_micro + one.locked_micro for one in accounts)
        held += totals.escrow_micro + totals.pool_micro + totals.burned_micro
        if held != totals.issued_micro:
            problems.append(f"{node.name} holds {held} of {totals.issued_micro} issued")


def run_meeting(seed: int, count: int = 7) -> Meeting:
    """Plays one seed under a virtual clock, with trio's scheduling fixed by the seed."""
    internals: Any = vars(trio)["_core"]._run  # as trio's own test plugins do it
    internals._ALLOW_DETERMINISTIC_SCHEDULING = True
    internals._r.seed(seed)

    async def play() -> Meeting:
        run = Assembly(seed, count)
        await run.play()
        return run.outcome

    outcome: Meeting = trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))
    return outcome
