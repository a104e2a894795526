"""A run of the simulator: nodes, wires, and what befalls them, all from one seed.

For a while nodes append, crash, start again (one of them from an old disk), are cut off from each
other, and a device signs two histories of its log for two different nodes. Then everything heals,
and these must hold:

1. All nodes have the same digests: the same logs and the same fork proofs.
2. What a node acknowledged is on every node, unless its own device signed another history there.
3. A fork is known of the logs that forked and of no other.
4. Nobody is blamed: every node runs the protocol as it is.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from openledger_node.sync.faults import Cost
from scripts.simulation.clock import VirtualClock, pause
from scripts.simulation.holder import MemoryHolder, PowerCut
from scripts.simulation.links import Wire
from scripts.simulation.nodes import Node
from scripts.simulation.signatures import verified_once

STORM_S: Final = 40.0
HEAL_S: Final = 100.0
"""Some anti-entropy rounds: what was lost on the way is found by them at the latest."""
REDIAL_S: Final = 1.0
LOSS: Final = 0.01
LOOK_S: Final = 1.0
"""How often a node looks whether its log has to be left."""


class Broken(AssertionError):
    """An invariant does not hold."""


@dataclass
class Outcome:
    """What a run came to."""

    seed: int
    trace: str = ""
    appends: int = 0
    crashes: int = 0
    partitions: int = 0
    forks: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass
class Machine:
    """A node and the tasks that run while it is up."""

    node: Node
    scope: trio.CancelScope | None = None
    old_disk: MemoryHolder | None = None

    @property
    def is_up(self) -> bool:
        return self.scope is not None


class Run:
    """One seed."""

    def __init__(self, seed: int, count: int) -> None:
        self.outcome = Outcome(seed)
        self._rng = random.Random(seed)
        self._machines = [Machine(self._make(number)) for number in range(count)]
        self._wires: dict[tuple[int, int], Wire] = {}
        self._side: set[int] | None = None
        self._acknowledged: dict[tuple[bytes, int], bytes] = {}
        self._forked: set[bytes] = set()
        self._trace = hashlib.sha256()
        self._calm = False
        self.storm_s = STORM_S

    def _make(self, number: int) -> Node:
        return Node(f"n{number}", self._rng.randrange)

    def _note(self, *what: object) -> None:
        self._trace.update(f"{trio.current_time():.6f} {what}\n".encode())

    async def play(self) -> Outcome:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for number in range(len(self._machines)):
                await self._start(number)
            for pair in self._pairs():
                nursery.start_soon(self._keep_joined, *pair)
            await self._storm()
            await self._heal()
            nursery.cancel_scope.cancel()
        self.outcome.trace = self._trace.hexdigest()[:16]
        return self.outcome

    def _pairs(self) -> list[tuple[int, int]]:
        """A connected graph: each node to one before it, and some more."""
        count = len(self._machines)
        pairs = {(self._rng.randrange(i), i) for i in range(1, count)}
        for _ in range(count // 2):
            one, other = sorted(self._rng.sample(range(count), 2))
            pairs.add((one, other))
        return sorted(pairs)

    # Machines and wires.

    async def _start(self, number: int) -> None:
        machine = self._machines[number]
        started = trio.Event()
        self._nursery.start_soon(self._live, machine, started)
        await started.wait()
        self._note("start", number)

    async def _live(self, machine: Machine, started: trio.Event) -> None:
        try:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(machine.node.hub.run)
                    machine.scope = scope
                    started.set()
                    await self._tend(machine)
        except* PowerCut:
            self._crash(self._machines.index(machine))

    async def _tend(self, machine: Machine) -> None:
        """What a node does besides replication, for as long as it is up."""
        while True:
            await pause(LOOK_S)
            self._leave_logs(machine)

    def _leave_logs(self, machine: Machine) -> None:
        """A node whose log went on elsewhere, or forked, goes on in a new one."""
        node = machine.node
        if node.holder.is_full:
            return
        forked = node.log_id in node.hub.replica.forks
        if node.log_id in node.own_elsewhere or forked:
            node.open_log(node.log_id)
            node.hub.grown([node.holder.logs[node.log_id].head.mark], node.log_id)  # type: ignore[union-attr]
            self._acknowledge(node)
            self._note("new log", node.name)

    async def _keep_joined(self, one: int, other: int) -> None:
        while True:
            await pause(REDIAL_S * self._rng.random())
            a, b = self._machines[one], self._machines[other]
            if not (a.is_up and b.is_up) or self._is_apart(one, other):
                continue
            wire = Wire(a.node.node_id, b.node.node_id, self._rng, loss=0.0 if self._calm else LOSS)
            self._wires[one, other] = wire
            async with trio.open_nursery() as nursery:
                nursery.start_soon(a.node.hub.serve, wire.a)
                nursery.start_soon(b.node.hub.serve, wire.b)
                await wire.carry()
            self._note("parted", one, other)

    def _is_apart(self, one: int, other: int) -> bool:
        return self._side is not None and (one in self._side) != (other in self._side)

    def _crash(self, number: int) -> None:
        machine = self._machines[number]
        if machine.scope is None:
            return
        machine.scope.cancel()
        machine.scope = None
        for pair, wire in self._wires.items():
            if number in pair:
                wire.cut()
        self.outcome.crashes += 1
        self._note("crash", number)

    async def _back(self, number: int) -> None:
        """A crashed machine starts again; now and then from an old disk."""
        machine = self._machines[number]
        if machine.is_up:
            return
        disk = machine.old_disk if self._rng.random() < 0.2 else None
        machine.node.restart(disk)
        if disk is not None:
            self._note("old disk", number)
            self._forget_what_only_the_lost_disk_had()
        await self._start(number)

    def _forget_what_only_the_lost_disk_had(self) -> None:
        """A backup has what it has: what never left the machine is gone with its disk."""
        for log_id, seq in list(self._acknowledged):
            held = (m.node.holder.logs.get(log_id) for m in self._machines)
            if not any(log is not None and len(log.leaves) > seq for log in held):
                del self._acknowledged[log_id, seq]

    # What befalls them.

    async def _storm(self) -> None:
        until = trio.current_time() + self.storm_s
        forger = self._forger()
        forge_at = trio.current_time() + self.storm_s * self._rng.random()
        while trio.current_time() < until:
            await pause(self._rng.expovariate(4))
            if forge_at is not None and trio.current_time() > forge_at:
                self._forge(forger)
                forge_at = trio.current_time() + self._rest_s()
            try:
                await self._one_thing()
            except PowerCut as cut:
                self._crash([m.node.holder for m in self._machines].index(cut.holder))

    def _forger(self) -> int:
        """Whose device signs two histories."""
        return self._rng.randrange(len(self._machines))

    def _rest_s(self) -> float:
        """How long a forger waits before it signs two histories again."""
        return float("inf")

    async def _one_thing(self) -> None:
        chance = self._rng.random()
        number = self._rng.randrange(len(self._machines))
        machine = self._machines[number]
        if chance < 0.6:
            if machine.is_up and not machine.node.holder.is_full:
                machine.node.append(self._rng.choice([1, 1, 2, 5]), f"at {trio.current_time():.3f}")
                self._acknowledge(machine.node)
                self.outcome.appends += 1
        elif chance < 0.72:
            self._crash(number)
        elif chance < 0.87:
            await self._back(number)
        elif chance < 0.92:
            count = len(self._machines)
            self._part(set(self._rng.sample(range(count), self._rng.randrange(1, count))))
        elif chance < 0.96:
            self._side = None
            self._note("joined")
        elif machine.is_up:
            self._befall_disk(machine)

    def _part(self, side: set[int]) -> None:
        """These nodes and the others cannot reach each other."""
        self._side = side
        for pair, wire in self._wires.items():
            if self._is_apart(*pair):
                wire.cut()
        self.outcome.partitions += 1
        self._note("partition", sorted(side))

    def _befall_disk(self, machine: Machine) -> None:
        """A backup is made, or the disk is full for a while, or the power fails at a commit."""
        holder = machine.node.holder
        what = self._rng.randrange(4)
        if what <= 1:
            machine.old_disk = holder.crash()
            machine.old_disk.is_full = False
        elif what == 2:
            holder.is_full = not holder.is_full
            self._note("full", machine.node.name, holder.is_full)
        else:
            holder.cut_in, holder.cut_loses = self._rng.randrange(1, 6), self._rng.random() < 0.5

    def _acknowledge(self, node: Node) -> None:
        log = node.holder.logs[node.log_id]
        for seq, leaf in enumerate(log.leaves):
            known = self._acknowledged.setdefault((node.log_id, seq), leaf)
            if known != leaf:  # a machine on an old disk wrote over what it had forgotten
                self._forked.add(node.log_id)

    def _forge(self, number: int) -> None:
        """A device signs another history, and one node has it from before."""
        node = self._machines[number].node
        log = node.holder.logs[node.log_id]
        others = [m for i, m in enumerate(self._machines) if i != number and m.is_up]
        if not self._machines[number].is_up or not others or node.holder.is_full:
            return
        victim = self._rng.choice(others)
        node.holder.cut_in = victim.node.holder.cut_in = 0
        victim.node.hold(node.history(len(log.leaves), self._rng.choice([1, 2, 4]), "forged"))
        node.append(self._rng.choice([1, 3]), "true")
        self._forked.add(node.log_id)
        self._note("forged", number, victim.node.name)

    # The end.

    async def _heal(self) -> None:
        self._make_whole()
        for number in range(len(self._machines)):
            await self._back(number)
        await pause(HEAL_S)
        self._check()

    def _make_whole(self) -> None:
        """Nobody is apart, and every disk has room and power from now on."""
        self._side, self._calm = None, True
        for machine in self._machines:
            machine.node.holder.is_full, machine.node.holder.cut_in = False, 0

    def _compared(self) -> list[Node]:
        """The nodes that must hold the same in the end."""
        return [machine.node for machine in self._machines]

    def _check(self) -> None:
        nodes = self._compared()
        problems = self.outcome.problems
        if len({node.hub.replica.digests() for node in nodes}) != 1:
            problems.append("the nodes have different digests")
        found = set().union(*(node.hub.replica.forks for node in nodes))
        self.outcome.forks = len(found)
        if not found <= self._forked:
            problems.append("a fork is known of a log that did not fork")
        for node in nodes:
            problems += [
                f"{node.name} blames a peer: {fault.code}: {fault.text}"
                for fault in node.faults
                if fault.cost is not Cost.NONE
            ]
            problems += self._lost(node)
        self._note([node.hub.replica.digests() for node in nodes])

    def _lost(self, node: Node) -> list[str]:
        lost = []
        for (log_id, seq), leaf in self._acknowledged.items():
            if log_id in self._forked:
                continue
            log = node.holder.logs.get(log_id)
            if log is None or len(log.leaves) <= seq or log.leaves[seq] != leaf:
                lost.append(f"{node.name} lacks event {seq} of log {log_id.hex()[:8]}")
        return lost[:3]


def run_seed(seed: int, count: int = 7) -> Outcome:
    """Plays one seed under a virtual clock, with trio's scheduling fixed by the seed."""
    internals: Any = vars(trio)["_core"]._run  # as trio's own test plugins do it
    internals._ALLOW_DETERMINISTIC_SCHEDULING = True
    internals._r.seed(seed)
    run = Run(seed, count)
    with verified_once():
        outcome: Outcome = trio.run(run.play, clock=VirtualClock())
    return outcome
