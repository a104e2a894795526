"""One link: what comes in, what goes out, and the fault that ends it.

The reader turns bytes into events and acts on them; it never waits for the peer to read, so two
nodes cannot wait for each other. The pump sends: control frames first, then questions, then what
the peer is to be told, then answers. Where the peer reads slowly the pump stands still, and what
there is to tell waits as marks in the replica, never as events.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import trio

from openledger_node.ledger.errors import BadInput, VerificationFailed
from openledger_node.ledger.events import parse_log_open
from openledger_node.net.link import Link
from openledger_node.node.replication.fetching import Asked, Fetcher
from openledger_node.node.replication.holder import Arrival, Landed, newest_run
from openledger_node.node.replication.lane import Stored, Stream
from openledger_node.node.replication.patience import IDLE_S, LOOK_S, Patience, pieces
from openledger_node.node.replication.payloads import PayloadServer
from openledger_node.node.replication.rest import Rest
from openledger_node.node.replication.serving import Server
from openledger_node.node.replication.turns import TURN_BYTES
from openledger_node.sync import events as s
from openledger_node.sync.faults import PeerFault, fault
from openledger_node.sync.peer_state import Tell
from openledger_node.sync.session import Session
from openledger_node.sync.table import Offer, PeerTable

if TYPE_CHECKING:
    from openledger_node.node.replication.engine import Hub

READ_BYTES: Final = 256 * 1024
HELLO_TIMEOUT_S: Final = 10
BYE_TIMEOUT_S: Final = 1
PUSH_BYTES: Final = 64 * 1024
FRONTIER_SLICE: Final = 4_096
"""Entries of a frontier that are looked at in one turn."""
QUEUED_BYTES: Final = 512 * 1024
"""What the pump queues before it hands bytes to the link."""
FIRST_QUEUED_BYTES: Final = 4 * 1024
"""The same when it begins to serve: a head goes out alone, and what is queued then doubles, so that
the peer works on the first events while the next are read and encrypted."""
_QUIET: Final = frozenset((s.NewsCame, s.HaveCame))
"""After these there is nothing to send that was not to be sent before: events go to the lane, which
reports, and what the peer says that it holds is asked for later."""


class LinkRunner:
    """Runs the protocol on one link until it ends."""

    def __init__(self, hub: Hub, number: int, link: Link) -> None:
        self.number = number
        self.link = link
        self.session: Session = hub.new_session(link.peer_id)
        self.peer: s.Greeted | None = None
        self.fault: PeerFault | None = None
        self.received_events = 0
        self.received_leaf_bytes = 0
        self._pushed_events = 0
        self._hub = hub
        self._said = hub.replica.digests()
        self._rest = Rest()
        self._scope = trio.CancelScope()
        self._server = Server(
            self.session, hub.holder, hub.io, lambda mark: hub.replica.pushed(number, mark)
        )
        self._payloads = PayloadServer(self, hub)
        self._fetcher: Fetcher | None = None
        self._patience = Patience(self.session, trio.current_time())
        self._heard: tuple[bytes, bytes | None] | None = None
        self._asking = False
        self._work_bytes = 0
        self._queue_bytes = FIRST_QUEUED_BYTES
        self._acts: dict[type, Callable[[Any], None]] = {
            s.Greeted: self._greeted,
            s.ForksCame: self._forks_came,
            s.NewsCame: self._news_came,
            s.Wanted: self._wanted,
            s.HeadCame: self._head_came,
            s.SpineCame: lambda e: self._fetch.spine_came(e.want_id, e.roots, e.frame_bytes),
            s.LeavesCame: self._leaves_came,
            s.MissingCame: self._missing_came,
            s.HaveCame: self._have_came,
            s.DigestCame: self._digest_came,
            s.Cancelled: self._cancelled,
            s.PayloadWanted: self._payloads.wanted,
            s.PayloadHeadCame: self._payload_came,
            s.DocumentCame: self._payload_came,
            s.PieceCame: self._payload_came,
            s.PeersCame: lambda e: hub.peers_came(self, e.records),
            s.ByeCame: self._bye_came,
        }

    @property
    def _fetch(self) -> Fetcher:
        if self._fetcher is None:
            raise fault("no_hello", "it answers before it has said HELLO")
        return self._fetcher

    @property
    def _table(self) -> PeerTable:
        return self._hub.replica.table(self.number)

    # Life.

    async def run(self) -> None:
        """Until the peer goes, a fault is found, or `end` is called. Faults are left in `fault`."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch)
                    nursery.start_soon(self._pump)
                    await self._read()
                    nursery.cancel_scope.cancel()
        finally:
            if self._fetcher is not None:
                self._fetcher.close()
            self._payloads.close()
            with trio.CancelScope(shield=True) as shield:
                shield.deadline = trio.current_time() + BYE_TIMEOUT_S
                await self._part()

    async def _part(self) -> None:
        """Says why, where that helps, and closes."""
        try:
            if self.fault is not None:
                self.session.close(self.fault.code, self.fault.text)
                await self._flush()
            await self.link.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.aclose_forcefully(self.link)  # the peer is gone: there is nobody to tell

    def end(self, why: PeerFault | None = None) -> None:
        """Ends the link from outside, or for a fault found elsewhere."""
        self.fault = self.fault or why
        self._scope.cancel()

    @property
    def sent_events(self) -> int:
        """Events that went out, asked for or pushed."""
        return self._server.sent_events + self._pushed_events

    @property
    def is_settled(self) -> bool:
        """Nothing is asked for, served, told or on its way."""
        replica = self._hub.replica
        return (
            self.peer is not None
            and self._server.is_idle
            and self._payloads.is_idle
            and self._hub.seeker.is_idle(self.number)
            and not self.session.pending_bytes
            and replica.is_settled(self.number)
        )

    @property
    def agrees(self) -> bool:
        """The peer's digests, when it last told them, are those of this node now."""
        return self._heard == self._hub.replica.digests()

    @property
    def is_asking(self) -> bool:
        """A DIGEST is out and not answered."""
        return self._asking

    def wake(self) -> None:
        """There may be something to send."""
        self._rest.wake()

    async def _read(self) -> None:
        try:
            while True:
                data = await self.link.receive_some(READ_BYTES)
                if not data:
                    return
                self._patience.heard(trio.current_time())
                now_ms = self._hub.now_ms()
                await self._take_in(data, now_ms)
                while self.session.has_more:
                    await self._take_in(b"", now_ms)
        except PeerFault as found:
            self.fault = found
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def _take_in(self, data: bytes, now_ms: int) -> None:
        """Acts on what came at `now_ms`, a turn of it at most, and pauses after much (X11)."""
        session = self.session
        before_bytes, credit_bytes = session.work_bytes, session.credit_bytes
        events = session.receive_bytes(data, now_ms, TURN_BYTES)
        for event in events:
            if isinstance(event, s.FrontierCame):
                await self._frontier_came(event)
            else:
                self._acts[type(event)](event)
        is_quiet = bool(events) and _QUIET.issuperset(map(type, events))
        if is_quiet and (0, credit_bytes) == (session.pending_bytes, session.credit_bytes):
            self._rest.wake_within(self._idle_s(now_ms))
        else:
            self.wake()
        await self._worked(session.work_bytes - before_bytes)

    async def _worked(self, work_bytes: int) -> None:
        self._work_bytes = await self._hub.turns.pause(self._work_bytes + work_bytes)

    async def _watch(self) -> None:
        """A peer that says nothing for long is asked, and one that takes too long given up."""
        await trio.sleep(HELLO_TIMEOUT_S)
        if self.peer is None:
            self.end(fault("slow_hello", f"no HELLO within {HELLO_TIMEOUT_S} s"))
        while True:
            await trio.sleep(LOOK_S)
            now_s = trio.current_time()
            why = self._patience.look(now_s, is_storing=not self._hub.lane.is_idle)
            if why is not None:
                self.end(why)
            elif self._patience.silent_s(now_s) >= IDLE_S and self.peer is not None:
                self.ask_digest()
            self.wake()  # an answer may have waited long enough

    # What goes out.

    async def _pump(self) -> None:
        try:
            while True:
                self._rest.begin_turn()
                await self._flush()
                now_ms = self._hub.now_ms()
                if self.peer is None:
                    await self._rest.wait()
                elif self._ask(now_ms) or await self._tell(now_ms) or await self._serve():
                    continue
                elif not self.session.pending_bytes:
                    await self._rest.wait(self._idle_s(now_ms))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._scope.cancel()

    async def _flush(self) -> None:
        while self.session.pending_bytes:
            for piece in pieces(self.session.data_to_send()):
                self._patience.sending(trio.current_time())
                await self.link.send_all(piece)
            self._patience.sending(None)

    def _idle_s(self, now_ms: int) -> float | None:
        """How long until the next delayed thing is due; None without one."""
        replica = self._hub.replica
        times = (
            replica.next_want_ms(self.number, now_ms),
            replica.next_push_ms(self.number, now_ms),
            self._hub.seeker.next_ask_ms(self.number),
        )
        due = [at_ms for at_ms in times if at_ms is not None and at_ms > now_ms]
        return (min(due) - now_ms) / 1000 if due else None

    def _ask(self, now_ms: int) -> bool:
        if not self._hub.may_fetch():
            return False
        fetch = self._hub.replica.next_fetch(self.number, now_ms)
        if fetch is None:
            return self._hub.seeker.ask(self, now_ms)
        self._fetch.ask(fetch)
        return True

    async def _serve(self) -> bool:
        """Queues answers, as many as one send takes; False when there are none to give now."""
        if self._server.is_idle and self._payloads.is_idle:
            self._queue_bytes = FIRST_QUEUED_BYTES
            return False
        before = self.session.pending_bytes
        queued = False
        while self.session.pending_bytes - before < self._queue_bytes:
            if not (await self._server.step() or await self._payloads.step()):
                self._queue_bytes = FIRST_QUEUED_BYTES
                return queued
            queued = True
        self._queue_bytes = min(2 * self._queue_bytes, QUEUED_BYTES)
        return queued

    async def _tell(self, now_ms: int) -> bool:
        if self.session.credit_bytes < 2 * PUSH_BYTES:
            return False
        tell = self._hub.replica.next_tell(self.number, now_ms)
        if tell is None:
            return False
        if tell.first is None or not await self._push(tell, tell.first):
            self._have(tell)
        return True

    async def _push(self, tell: Tell, first: int) -> bool:
        """Sends events the peer lacks; False when they are too many bytes for that."""
        news = await self._hub.io(newest_run, self._hub.holder, tell.mark.log_id, first, PUSH_BYTES)
        if news is None:
            return True
        head, count, lengths, leaves = news
        if count < head.size - first:
            return False
        self.session.send_news(head, first, lengths, leaves)
        self._pushed_events += count
        self._hub.replica.pushed(self.number, head.mark)
        return True

    def _have(self, tell: Tell) -> None:
        """Tells a mark: by its short name where the peer knows the log."""
        table = self._table
        name = table.name(tell.mark.log_id)
        if name in table.offers:
            self.session.send_have(name, tell.mark.size, table.tag(tell.mark.root))
        else:
            self.session.send_have(tell.mark.log_id, tell.mark.size, tell.mark.root)

    def ask_digest(self) -> None:
        """Begins a round with this peer (X6)."""
        self._said = self._hub.replica.digests()
        frontier, forks = self._said
        self._asking = True
        self.session.send_digest(forks, frontier)
        self.wake()

    def send_forks(self, proofs: list[Any]) -> None:
        """Fork proofs go ahead of everything else that waits."""
        if self.peer is not None:
            self.session.send_forks(proofs)
            self.wake()

    # What comes in.

    def _greeted(self, event: s.Greeted) -> None:
        hub = self._hub
        self.peer = event
        now = hub.replica.digests()
        in_sync = event.in_sync and now == self._said
        self._heard = event.peer.frontier_digest, event.peer.fork_digest
        hub.replica.link_up(self.number, event.key, in_sync=in_sync)
        self._fetcher = Fetcher(
            self.number,
            self.session,
            self._table,
            hub.replica,
            hub.lane,
            hub.genesis_of,
            hub.admission,
            self._suspicious,
        )
        hub.greeted(self)
        if not in_sync:
            self._show(event.peer.fork_digest)

    def _show(self, peers_forks: bytes | None) -> None:
        """Sends this node's fork proofs, where the peer's differ, and then its frontier."""
        _, forks = self._hub.replica.digests()
        if forks is not None and forks != peers_forks:
            self.session.send_forks(list(self._hub.replica.forks.values()))
        self.session.send_frontier(self._hub.replica.entries(self.number))

    def _forks_came(self, event: s.ForksCame) -> None:
        self._hub.forks_came(self, event.proofs)

    async def _frontier_came(self, event: s.FrontierCame) -> None:
        entries = iter(event.entries)
        while some := list(islice(entries, FRONTIER_SLICE)):
            self._hub.replica.frontier_came(self.number, some)
            self.wake()
            await self._worked(len(some) * TURN_BYTES // FRONTIER_SLICE)

    def _news_came(self, event: s.NewsCame) -> None:
        if not self._admitted(event):
            self.session.consumed(event.frame_bytes)
            return
        self.received_leaf_bytes += sum(map(len, event.leaves))
        self._hub.lane.arrive(
            Arrival(self.number, event.head, event.first, event.leaves, event.frame_bytes)
        )

    def _admitted(self, event: s.NewsCame) -> bool:
        genesis = self._hub.genesis_of(event.head.log_id)
        if genesis is None:
            if event.first:
                return True
            try:
                genesis = parse_log_open(event.leaves[0])
            except BadInput as error:
                raise fault("bad_log", f"it sends a log that does not open: {error}") from None
            if genesis.ledger_id != self.session.ledger_id:
                raise fault("bad_log", "it sends a log of another ledger")
        return self._hub.admission.refusal(genesis, event.head, event.first) is None

    def _wanted(self, event: s.Wanted) -> None:
        log_id = event.log if len(event.log) == 32 else self._table.log_of(event.log)
        self._server.wanted(event, log_id)

    def _head_came(self, event: s.HeadCame) -> None:
        self._fetch.head_came(event.want_id, event.opening, event.head)
        self._hub.wake_all()

    def _leaves_came(self, event: s.LeavesCame) -> None:
        self.received_leaf_bytes += sum(map(len, event.leaves))
        self._fetch.leaves_came(event.want_id, event.leaves, event.frame_bytes)

    def _missing_came(self, event: s.MissingCame) -> None:
        if not self._hub.seeker.missing(self.number, event.want_id, self._hub.now_ms()):
            self._fetch.missing_came(event.want_id)
        self._hub.wake_all()

    def _cancelled(self, event: s.Cancelled) -> None:
        self._server.cancelled(event.want_id)
        self._payloads.cancelled(event.want_id)

    def _payload_came(self, event: s.PayloadHeadCame | s.DocumentCame | s.PieceCame) -> None:
        self._hub.seeker.came(self, self._hub, event)

    def _have_came(self, event: s.HaveCame) -> None:
        table = self._table
        name, tag = event.log, event.tag
        if len(event.log) == 32:
            name, tag = table.name(event.log), table.tag(event.tag)
        offer = Offer(event.size, tag)
        if self._hub.replica.have_came(self.number, name, offer, self._hub.now_ms()):
            self.wake()

    def _digest_came(self, event: s.DigestCame) -> None:
        frontier, forks = self._hub.replica.digests()
        self._heard = event.frontier_digest, event.fork_digest
        if event.is_answer:
            self._asking = False
        else:
            self.session.send_digest(forks, frontier, is_answer=True)
        if (event.frontier_digest, event.fork_digest) != (frontier, forks):
            self._show(event.fork_digest)

    def _bye_came(self, event: s.ByeCame) -> None:
        self._hub.bye_came(self, event)
        self._scope.cancel()

    def _suspicious(self, asked: Asked) -> None:
        self._hub.suspicious(self, asked)

    # What the lane reports of this link.

    def landed(self, arrival: Arrival, landed: Landed) -> None:
        """An arrival was stored, or was not."""
        self.session.consumed(arrival.size_bytes)
        self.received_events += landed.added
        fetch = arrival.fetch
        if isinstance(landed.fault, BadInput | VerificationFailed):
            self.end(fault("bad_data", landed.fault.message))
        elif landed.differs:
            self._hub.replica.suspect(arrival.head.mark, self.number)
        if fetch is not None:
            self._hub.replica.fetched(fetch)
            self._hub.wake_all()
        elif landed.differs or landed.gap or self.session.pending_bytes:
            self.wake()

    def stored(self, stream: Stream, stored: Stored, *, has_room: bool) -> None:
        """Part of a stream was stored, or all of it, or it failed."""
        self.session.consumed(stored.consumed_bytes)
        if stored.ended:
            self._ended(stream, stored)
        elif not has_room:
            self._fetch.out_of_room(stream)
        self.wake()

    def _ended(self, stream: Stream, stored: Stored) -> None:
        fetch = self._fetch.stream_ended(stream)
        is_false = isinstance(stored.fault, BadInput | VerificationFailed)
        if stored.fault is not None and is_false:
            self.end(fault("bad_data", stored.fault.message))
        if fetch is None:  # MISSING came before, or the link is ending: it is asked for no more
            return
        if stored.fault is None and stored.differs:
            self._hub.replica.suspect(stream.head.mark, self.number)
        if is_false:
            self._hub.replica.refused(fetch)
        else:  # what this store refused is nobody's fault, and is asked for again
            self._hub.replica.fetched(fetch)
        self._hub.wake_all()

    def ask_segment(self, asked: Asked, segment: int) -> None:
        self._fetch.ask_segment(asked, segment)
        self.wake()
