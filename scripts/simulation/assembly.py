"""A run of the simulator with seats: four witnesses and other nodes close epochs through a storm.

To what befalls nodes in `world`, agreement adds money that moves, clocks that run fast or slow,
and in most runs one seat that lies: it signs everything, shows two histories of its log, is silent,
or its home was copied and both copies run. In half of the runs the seats change the set while they
are apart, one goes and another comes, and somebody's root key rotates. These must hold:

1. All honest nodes make the same cut, statement and state of an epoch, whenever they fold it, also
   after a crash or on an old disk: what is final stays final.
2. Credit is conserved, and no honest seat is ever in evidence.
3. After healing, an epoch is decided that holds what was written then, at every honest node.
4. The second program, `scripts/audit-ledger`, finds every epoch signed by a quorum in the logs that
   any honest node holds, and comes to the same statement.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from openledger_node.agreement.evidence import evidence_of
from openledger_node.agreement.rounds import Round
from openledger_node.credit import views
from openledger_node.ledger.heads import Mark
from openledger_node.ledger.votes import WitnessSet
from scripts.simulation.auditing import problems_of
from scripts.simulation.clock import VirtualClock, pause
from scripts.simulation.council import SEATS, Citizen, Closed, found
from scripts.simulation.liar import Liar
from scripts.simulation.nodes import Node
from scripts.simulation.signatures import verified_once
from scripts.simulation.world import Machine, Outcome, Run

STEP_S: Final = 0.25
COMPARE_LOOKS: Final = 60
"""Looks between a restored seat's questions whether the others hold the same: 15 s (Y9)."""
SETTLE_S: Final = 90.0
"""Healing: digests are exchanged every 30 s or so, and a view's timer runs up to T0 * 2^6."""
LOOK_S: Final = 2.0
AFTER_S: Final = 8.0
LONG_AWAY_EPOCHS: Final = 3
STORMS_S: Final = (10.0, 20.0, 30.0, 50.0)
ROLES: Final = ("honest", "signs all", "forks", "silent", "forks and signs all", "copied home")
NAMED: Final = (
    "skipped view",
    "third view",
    "notar and skip",
    "inherited",
    "forked",
    "restored",
    "set changed",
    "set changed while apart",
    "rotated",
    "long away",
    "full disk",
)
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
        self.copy = count - 1 if self.role == "copied home" else None
        self._set: WitnessSet | None = None
        self._to_file: set[int] = set()
        self._rotating: int | None = None
        self.meeting = Meeting(seed)
        super().__init__(seed, count)
        self.outcome = self.meeting
        if self.liar is not None and self.role == "silent":
            self._citizens()[self.liar].silent = True
        if self.liar is not None and self.copy is not None:
            self._forked.add(self._machines[self.liar].node.log_id)
        self.storm_s = self._rng.choice(STORMS_S)
        changes = seed // len(ROLES) % 2 == 1
        self._change_at = self.storm_s * self._rng.uniform(0.1, 0.5) if changes else float("inf")

    # Nodes.

    def _make(self, number: int) -> Node:
        kind = Liar if number == self.liar and "signs all" in self.role else Citizen
        skew = self._rng.choice([0.5, 0.9, 1.0, 1.1, 2.0])
        copied = number == self.copy
        name = self._names[self.liar if copied and self.liar is not None else number]
        draw = self._rng.randrange
        return kind(name, draw, self._genesis, skew, self._folded, copied=copied)

    def _pairs(self) -> list[tuple[int, int]]:
        """Seats, of now and then, are linked with each other, as a restored one needs to be."""
        seats = {(one, other) for other in range(SEATS + 1) for one in range(other)}
        return sorted(seats.union(super()._pairs()))

    def _citizens(self) -> list[Citizen]:
        nodes = [machine.node for machine in self._machines]
        return [node for node in nodes if isinstance(node, Citizen)]

    def _honest(self) -> list[Citizen]:
        dubious = (self.liar, self.copy)
        return [node for number, node in enumerate(self._citizens()) if number not in dubious]

    def _compared(self) -> list[Node]:
        """Two machines with one transport key take each other's links: they may miss anything."""
        return list(super()._compared() if self.copy is None else self._honest())

    def _acknowledge(self, node: Node) -> None:
        if self.copy is None or node in self._honest():
            super()._acknowledge(node)

    async def _tend(self, machine: Machine) -> None:
        node = machine.node
        assert isinstance(node, Citizen)
        looks = 0
        while True:
            await pause(STEP_S)
            looks += 1
            if node.holder.is_full:
                self.outcome.situations["full disk"] += 1
                continue
            if looks % 4 == 0:
                self._leave_logs(machine)
            self._file(node)
            if looks % COMPARE_LOOKS == 0 and node.waits:
                node.hub.ask_everybody()
            waited = node.waits
            node.step()
            if waited and not node.waits:
                self.outcome.situations["restored"] += 1

    def _forger(self) -> int:
        """Which device shows two histories: the liar's, or that of a node that never has a seat."""
        if self.liar is not None and "forks" in self.role:
            return self.liar
        return self._rng.randrange(SEATS + 1, len(self._machines))

    def _rest_s(self) -> float:
        """A seat that forks does so log after log."""
        return self._rng.uniform(1, 6) if "forks" in self.role else super()._rest_s()

    async def _back(self, number: int) -> None:
        node = self._citizens()[number]
        await super()._back(number)
        if len(self.closed) - node.epoch >= LONG_AWAY_EPOCHS:
            self.outcome.situations["long away"] += 1

    def _file(self, node: Citizen) -> None:
        """What a node was to say of the new set, or its rotation, once it is up."""
        number = self._citizens().index(node)
        if number in self._to_file and self._set is not None:
            self._to_file.discard(number)
            node.file_set(self._set)
        if number == self._rotating and self._side is not None and node.rotate():
            self._rotating = None

    def _part_for_a_change(self) -> None:
        """The newcomer is cut off from some seats, and a set is filed that has it for one of them.

        A silent seat would never be ready: then it is the one to go.
        """
        seats = list(self._genesis.seat_keys)
        silent = self.liar if self.role == "silent" else None
        gone = self._rng.randrange(SEATS) if silent is None else silent
        newcomer = self._citizens()[SEATS]
        seats[gone] = newcomer.account, newcomer.device.public.raw
        genesis = self._genesis
        self._set = WitnessSet(1, tuple(seats), 1, genesis.params, genesis.issuers)
        self._to_file = set(range(SEATS + 1)) - {silent}
        self._rotating = self._rng.randrange(len(self._machines) - 1)
        self._part({SEATS, *self._rng.sample(range(SEATS), self._rng.randrange(1, SEATS))})

    async def _one_thing(self) -> None:
        if trio.current_time() > self._change_at:
            self._change_at = float("inf")
            self._part_for_a_change()
        if self._rng.random() < 0.3:
            machine = self._rng.choice(self._machines)
            other = self._rng.choice(self._citizens())
            able = machine.is_up and not machine.node.holder.is_full
            if able and isinstance(machine.node, Citizen):
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
        situations = self.outcome.situations
        liar = None if self.liar is None else self._citizens()[self.liar].account
        for one in evidence_of(round_):
            if round_.seats.seats[one.seat][0] != liar and node in self._honest():
                text = f"{node.name} has evidence against seat {one.seat}: {one.what}"
                if text not in self.outcome.problems:
                    self.outcome.problems.append(text)
        if node.seats.number > round_.seats.number:
            situations["set changed"] += 1
            situations["set changed while apart"] += self._side is not None
        chain = views.chain(node.state, node.account)
        situations["rotated"] += chain is not None and chain.n > 1
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
        self._make_whole()
        for number in range(len(self._machines)):
            await self._back(number)
        await self._settle([])
        marks = [node.append(1, "after the storm") for node in self._honest()]
        for node in self._honest():
            self._acknowledge(node)
        await self._settle(marks)
        self._check()
        for node in self._honest():
            self._check_node(node, marks)

    async def _settle(self, marks: list[Mark]) -> None:
        """Waits until all nodes hold the same, the liar too, and the honest have seen these marks
        final; at most SETTLE_S: after its disk was full a node asks for nothing for 30 s.

        What comes then is looked at for some time more: what is final has to stay so.
        """
        until = trio.current_time() + SETTLE_S
        while trio.current_time() < until:
            await pause(LOOK_S)
            nodes = self._honest()
            same = len({node.epoch for node in nodes}) == 1
            same = same and len({node.hub.replica.digests() for node in self._compared()}) == 1
            if same and not any(_late(node, marks) or node.is_due() for node in nodes):
                await pause(AFTER_S)
                return

    def _check_node(self, node: Citizen, marks: list[Mark]) -> None:
        problems = self.outcome.problems
        self._watch(node, node.round)
        late = _late(node, marks)
        if late:
            problems.append(f"{node.name} has not seen {len(late)} events final, in {node.epoch}")
        totals = views.totals(node.state)
        accounts = list(views.accounts(node.state))
        held = sum(one.balance_micro + one.locked_micro for one in accounts)
        held += totals.escrow_micro + totals.pool_micro + totals.burned_micro
        if held != totals.issued_micro:
            problems.append(f"{node.name} holds {held} of {totals.issued_micro} issued")
        made = {
            epoch: (closed.cut_id, closed.statement_root)
            for epoch, closed in self.closed.items()
            if epoch <= node.epoch
        }
        for text in problems_of(self._genesis, node.final_histories(), made):
            problems.append(f"{node.name}: {text}")


def _late(node: Citizen, marks: list[Mark]) -> list[Mark]:
    """Which of these are not in the node's last cut, of logs that did not fork."""
    return [
        mark
        for mark in marks
        if mark.log_id not in node.hub.replica.forks
        and (mark.log_id not in node.cut or node.cut[mark.log_id].size < mark.size)
    ]


def run_meeting(seed: int, count: int = 7) -> Meeting:
    """Plays one seed under a virtual clock, with trio's scheduling fixed by the seed."""
    internals: Any = vars(trio)["_core"]._run  # as trio's own test plugins do it
    internals._ALLOW_DETERMINISTIC_SCHEDULING = True
    internals._r.seed(seed)

    async def play() -> Meeting:
        run = Assembly(seed, count)
        await run.play()
        return run.outcome

    with verified_once():
        outcome: Meeting = trio.run(play, clock=VirtualClock())
    return outcome
