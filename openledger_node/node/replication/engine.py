"""The hub: all links of a node, its store's lane and its replica, together.

A daemon, one round of `oln sync` and the simulator run the same hub; they differ in where links
come from, how blocking calls are run, and what the clock is.

What each task owns, and may not do:

- a link's reader: its session's input; never sends, never waits for the store
- a link's pump: its session's output; never stores
- the lane: every write to the store that replication makes; never touches a socket
- the rounds task: the clock of anti-entropy
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import trio

from openledger_node.ledger.errors import BadInput, StoreUnavailable, VerificationFailed
from openledger_node.ledger.events import SEGMENT_LEAVES, LogGenesis
from openledger_node.ledger.forks import ForkEvidence
from openledger_node.ledger.heads import Mark, verify_head
from openledger_node.net.link import Link
from openledger_node.node.replication.admission import Admission
from openledger_node.node.replication.fetching import Asked
from openledger_node.node.replication.holder import Arrival, Holder, Landed
from openledger_node.node.replication.lane import Io, Lane, Stored, Stream
from openledger_node.node.replication.link import LinkRunner
from openledger_node.node.replication.payloads import PayloadSeeker, Sought
from openledger_node.node.replication.turns import Turns
from openledger_node.sync.faults import PeerFault, fault
from openledger_node.sync.frontier import proof_rank
from openledger_node.sync.messages import Policy
from openledger_node.sync.replica import Replica
from openledger_node.sync.rounds import Draw
from openledger_node.sync.session import Local, Session

PROOFS_AT_ONCE: Final = 64
"""Fork proofs that are verified and kept in one turn of the lane."""
FULL_RETRY_S: Final = 30
"""After the store refused for lack of room, nothing is asked for this long."""


class Hooks(Protocol):
    """What the node around the hub is told."""

    def stored(self, marks: Sequence[Mark], leaves_may_erase: bool) -> None: ...
    def fork_found(self, proof: ForkEvidence, *, here: bool) -> None: ...
    def own_log_elsewhere(self, log_id: bytes) -> None: ...
    def link_greeted(self, runner: LinkRunner) -> None: ...
    def link_ended(self, runner: LinkRunner, why: PeerFault | None) -> None: ...
    def peers_came(self, runner: LinkRunner, records: Sequence[bytes]) -> None: ...
    def payload_stored(self, commit: bytes) -> None: ...
    def store_refused(self, error: StoreUnavailable) -> None: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is on every link. `sign_hello(peer_id)` gives HELLO's signature."""

    ledger_id: bytes
    node_id: bytes
    account: bytes
    device: bytes
    sign_hello: Callable[[bytes], bytes]
    policy: Policy = Policy.ALL


@dataclass(slots=True)
class Totals:
    """Counts since the hub began."""

    events_in: int = 0
    logs_forked: int = 0
    links_ended: dict[str, int] = field(default_factory=dict)


class Hub:
    """Replication of one node."""

    def __init__(
        self,
        identity: Identity,
        holder: Holder,
        *,
        io: Io,
        store_io: Io | None = None,
        now_ms: Callable[[], int],
        draw: Draw,
        hooks: Hooks,
        admission: Admission,
    ) -> None:
        self.identity = identity
        self.holder = holder
        self.io = io
        self.now_ms = now_ms
        self.admission = admission
        self.replica = Replica(holder.marks(), holder.forks(), draw)
        self.lane = Lane(holder, store_io or io, self)
        self.seeker = PayloadSeeker()
        self.turns = Turns()
        self.links: dict[int, LinkRunner] = {}
        self.totals = Totals()
        self.served_bytes = 0
        """Of payloads that are being served now (X10)."""
        self._hooks = hooks
        self._next_link = 0
        self._nursery: trio.Nursery | None = None
        self._full_until = -1.0
        self._proofs_turn = trio.Lock()
        self._genesis: dict[bytes, LogGenesis] = {}
        own = holder.own_log()
        if own is not None:
            self.replica.own_log(own)

    # Life.

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The lane and the rounds, until cancelled. Links run in the tasks that bring them."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.lane.run)
            nursery.start_soon(self._rounds)
            task_status.started()

    async def serve(self, link: Link) -> LinkRunner:
        """Runs the protocol on a link until it ends; the runner tells how it went."""
        number = self._next_link
        self._next_link += 1
        runner = LinkRunner(self, number, link)
        self.links[number] = runner
        try:
            await runner.run()
        finally:
            del self.links[number]
            self.replica.link_down(number)
            self.seeker.link_down(number)
            code = runner.fault.code if runner.fault else "closed"
            self.totals.links_ended[code] = self.totals.links_ended.get(code, 0) + 1
            self._hooks.link_ended(runner, runner.fault)
            self.wake_all()
        return runner

    def new_session(self, peer_id: bytes) -> Session:
        """A session whose HELLO says what is held now."""
        frontier, forks = self.replica.digests()
        who = self.identity
        local = Local(
            ledger_id=who.ledger_id,
            node_id=who.node_id,
            account=who.account,
            device=who.device,
            signature=who.sign_hello(peer_id),
            fork_digest=forks,
            frontier_digest=frontier,
            policy=who.policy,
        )
        return Session(local, peer_id)

    async def _rounds(self) -> None:
        while True:
            link = self.replica.round_due(self.now_ms())
            if link is not None and link in self.links:
                self.links[link].ask_digest()
            at_ms = self.replica.rounds.at_ms
            wait_ms = 1000 if at_ms is None else max(50, at_ms - self.now_ms())
            await trio.sleep(wait_ms / 1000)

    def wake_all(self) -> None:
        """What one link could not supply, another may be asked for."""
        for runner in self.links.values():
            runner.wake()

    # What happens on this machine.

    def grown(self, marks: Sequence[Mark], own: bytes | None) -> None:
        """Logs grew by other hands than the lane's: appends, imports, other processes."""
        if own is not None:
            self.replica.own_log(own)
        for mark in marks:
            self.replica.advanced(mark, self.now_ms())
        if marks:
            self.wake_all()

    def need(self, marks: Sequence[Mark]) -> None:
        """A cut names these marks, and the histories held here do not have them."""
        self.admission.named_by_cut(mark.log_id for mark in marks)
        for mark in marks:
            self.replica.need(mark)
        if marks:
            self.wake_all()

    def admit(self, by_cut: Iterable[bytes], by_seat: Mapping[int, Iterable[bytes]]) -> None:
        """The next cut names these logs, and the seats' frontiers those, and they are not here:
        they are taken in now, though they may have been refused before.
        """
        fresh = self.admission.named_by_cut(by_cut) | self.admission.named_by_frontiers(by_seat)
        for log_id in sorted(fresh):
            self.replica.reconsider(log_id)
        if fresh:
            self.wake_all()

    def ask_everybody(self) -> None:
        """Begins a round with every peer: something waits to hear who holds the same (X6)."""
        for runner in self.links.values():
            if runner.peer is not None and not runner.is_asking:
                runner.ask_digest()

    def fork_known(self, proof: ForkEvidence, *, source: int | None = None) -> None:
        """A verified and kept proof: peers hear of it ahead of everything else."""
        if not self.replica.fork_known(proof):
            return
        self.totals.logs_forked += 1
        self._hooks.fork_found(proof, here=source is None)
        for number, runner in self.links.items():
            if number != source:
                runner.send_forks([proof])
        self.wake_all()

    # What links report.

    def genesis_of(self, log_id: bytes) -> LogGenesis | None:
        """The genesis of a log held here."""
        if log_id not in self.replica.marks:
            return None
        found = self._genesis.get(log_id)
        if found is None:
            found = self.holder.genesis(log_id)
            if found is not None:
                self._genesis[log_id] = found
        return found

    def may_fetch(self) -> bool:
        """Whether there is room for more, as far as is known."""
        return self._full_until < 0 or trio.current_time() >= self._full_until

    def greeted(self, runner: LinkRunner) -> None:
        self._hooks.link_greeted(runner)

    def peers_came(self, runner: LinkRunner, records: Sequence[bytes]) -> None:
        self._hooks.peers_came(runner, records)

    def payload_stored(self, commit: bytes) -> None:
        """A payload that was looked for has come."""
        self._hooks.payload_stored(commit)
        self.wake_all()

    def seek(self, payloads: Iterable[Sought]) -> None:
        """These payloads are wanted now."""
        self.seeker.seek(payloads)
        self.wake_all()

    def bye_came(self, runner: LinkRunner, event: Any) -> None:
        self.totals.links_ended["bye"] = self.totals.links_ended.get("bye", 0) + 1

    def forks_came(self, runner: LinkRunner, proofs: Sequence[ForkEvidence]) -> None:
        self.start(self._take_forks, runner, list(proofs))

    async def _take_forks(self, runner: LinkRunner, proofs: list[ForkEvidence]) -> None:
        """Verifies and keeps those that say something new, a few at a time: others store too."""
        async with self._proofs_turn:
            for at in range(0, len(proofs), PROOFS_AT_ONCE):
                if runner.fault is not None:
                    return
                some = self._wanted_proofs(proofs[at : at + PROOFS_AT_ONCE])
                if some:
                    await self._keep_forks(runner, some)

    async def _keep_forks(self, runner: LinkRunner, proofs: list[ForkEvidence]) -> None:
        try:
            kept = await self.lane.write(self.holder.keep_forks, proofs)
        except (BadInput, VerificationFailed) as error:
            runner.end(fault("bad_proof", error.message))
            return
        except StoreUnavailable as error:
            self._is_full(error)
            return
        for proof in kept:
            self.admission.kept_fork(proof.genesis, held=self._holds(proof))
            self.fork_known(proof, source=runner.number)

    def _holds(self, proof: ForkEvidence) -> bool:
        return proof.head_a.log_id in self.replica.marks

    def _wanted_proofs(self, proofs: list[ForkEvidence]) -> list[ForkEvidence]:
        wanted: list[ForkEvidence] = []
        strange = 0
        for proof in proofs:
            known = self.replica.forks.get(proof.head_a.log_id)
            if known is not None and proof_rank(known) <= proof_rank(proof):
                continue
            held = self._holds(proof)
            if self.admission.takes_fork(proof.genesis, held=held, ahead=strange):
                wanted.append(proof)
                strange += not held
        return wanted

    def suspicious(self, runner: LinkRunner, asked: Asked) -> None:
        """A suspect's spine has come, or after it the segment that differs (X3)."""
        self.start(self._compare, runner, asked)

    async def _compare(self, runner: LinkRunner, asked: Asked) -> None:
        suspect = asked if asked.suspect is None else asked.suspect
        head, genesis, fetch = suspect.head, suspect.genesis, suspect.fetch
        if head is None or genesis is None:
            return
        try:
            verified = await self.io(verify_head, head, genesis)
            spine = bytes(suspect.spine)
            if asked.suspect is None:
                segment = await self.io(self.holder.first_difference, head, spine)
                if segment is not None and self.links.get(runner.number) is runner:
                    runner.ask_segment(asked, segment)
                    return
                proof = None
            else:
                segment = asked.first // SEGMENT_LEAVES
                proof = await self.lane.write(
                    self.holder.prove_fork, verified, spine, segment, asked.hashes
                )
        except (BadInput, VerificationFailed) as error:
            # A peer that went over to another history in between answered truly, twice.
            if asked is suspect or asked.head == head:
                runner.end(fault("bad_data", error.message))
            proof = None
        except StoreUnavailable as error:
            self._is_full(error)
            proof = None
        if proof is not None:
            self.fork_known(proof)
        self.replica.cleared(fetch, is_fork=proof is not None)
        self.replica.fetched(fetch)
        self.wake_all()

    def start(self, function: Callable[..., Any], *arguments: Any) -> None:
        """A task of the hub's own; it ends with the hub."""
        if self._nursery is None:
            raise RuntimeError("the hub is not running")
        self._nursery.start_soon(function, *arguments)

    # What the lane reports.

    def landed(self, arrival: Arrival, landed: Landed) -> None:
        runner = self.links.get(arrival.link)
        self._took(landed.held, landed.added, arrival.link, arrival.leaves)
        if isinstance(landed.fault, StoreUnavailable):
            self._is_full(landed.fault)
            landed = Landed(landed.held)
        if landed.gap:
            self.replica.offered(arrival.link, arrival.head.mark)
        if landed.added:
            self._charge(arrival.head.log_id, arrival.size_bytes)
        if runner is not None:
            runner.landed(arrival, landed)

    def _charge(self, log_id: bytes, size_bytes: int) -> None:
        genesis = self.genesis_of(log_id)
        if genesis is not None:
            self.admission.stored(genesis, size_bytes)

    def stored(self, stream: Stream, stored: Stored) -> None:
        runner = self.links.get(stream.link)
        if stored.ended and stored.fault is None and not stored.differs:
            if stream.branch:
                self.replica.replaced(stream.head.mark)
            self._took(stream.head.mark, 1, stream.link, ())
        has_room = True
        if isinstance(stored.fault, StoreUnavailable):
            self._is_full(stored.fault)
            stored = Stored(stored.consumed_bytes, ended=True)
        elif stored.fault is not None or stored.differs:
            self.admission.gave_back(stream.genesis, stream.charged_bytes)
        elif stream.incoming is not None and not stream.dead:
            stream.charged_bytes += stored.consumed_bytes
            has_room = self.admission.stored(stream.genesis, stored.consumed_bytes)
        if runner is not None:
            runner.stored(stream, stored, has_room=has_room)

    def _took(self, mark: Mark | None, added: int, link: int, leaves: Sequence[bytes]) -> None:
        """A log is durable up to `mark`."""
        if mark is None or not added:
            return
        self.totals.events_in += added
        own = self.holder.own_log()
        self.replica.advanced(mark, self.now_ms(), link=link)
        if mark.log_id == own:
            self._hooks.own_log_elsewhere(mark.log_id)
        self._hooks.stored([mark], not leaves or any(b"data.erase" in x[:32] for x in leaves))
        for number, runner in self.links.items():
            if self.replica.has_to_tell(number):
                runner.wake()

    def _is_full(self, error: StoreUnavailable) -> None:
        """Nothing is asked for a while; what was told meanwhile is found by the next round."""
        if self.may_fetch():
            self._full_until = trio.current_time() + FULL_RETRY_S
            self._hooks.store_refused(error)
            self.start(self._try_again)

    async def _try_again(self) -> None:
        await trio.sleep(FULL_RETRY_S)
        for runner in self.links.values():
            runner.ask_digest()
        self.wake_all()
