"""The daemon: begins all tasks, wires them together, and ends them in order.

| task | owns | may not |
|---|---|---|
| listener, dialler | sockets and handshakes | read the store |
| a link's reader and pump | one session | store anything |
| lane | every write that replication makes | touch a socket |
| follower | folding, closing epochs, erasing | touch a socket |
| indexer | the files of the text index | anything else |
| watcher | noticing other processes' writes | write |
| keeper | the peer book and the report in the home | anything else |

It ends on SIGINT or SIGTERM: links are told, what was acknowledged is durable already. A second
signal ends it at once.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import trio

from openledger_node.ledger.errors import BadInput, OlnError, StoreUnavailable, VerificationFailed
from openledger_node.ledger.forks import ForkEvidence
from openledger_node.ledger.heads import Mark
from openledger_node.net.address import Endpoint, PeerAddress
from openledger_node.net.dialler import Dialler
from openledger_node.net.discovery import FOUND_VALID_MS, LanDiscovery
from openledger_node.net.link import Link
from openledger_node.net.listener import Listener, ListenLimits
from openledger_node.net.peer import Source
from openledger_node.net.policy import Gate
from openledger_node.net.records import MAX_RECORDS, read_records, sign_record
from openledger_node.net.table import LinkTable
from openledger_node.net.tls import TlsContext
from openledger_node.node import addressing, forking, peers
from openledger_node.node.core import NodeCore
from openledger_node.node.daemon.following import Follower
from openledger_node.node.daemon.indexer import Indexer
from openledger_node.node.daemon.logs import daemon_log
from openledger_node.node.daemon.metrics import Figures, checked_loopback, serve_metrics
from openledger_node.node.daemon.report import REPORT_S, sole_daemon, write_report
from openledger_node.node.daemon.watching import Watcher
from openledger_node.node.replication.engine import Hub
from openledger_node.node.replication.home import hub_of
from openledger_node.node.replication.link import LinkRunner
from openledger_node.node.voting import Device, Voter
from openledger_node.sync.faults import PeerFault, fault

BOOK_S: Final = 1.0


@dataclass(slots=True)
class Listening:
    """What the daemon reports once it is up."""

    endpoints: list[str] = field(default_factory=list)
    metrics_port: int | None = None


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Daemon:
    """One running daemon. It is also what the hub tells of events (`Hooks`)."""

    def __init__(self, core: NodeCore, log: Any, *, listen: Sequence[str] = ()) -> None:
        self._core = core
        self._log = log
        self._config = core.config
        self._listen = [Endpoint.parse(text) for text in listen]
        self._listen = self._listen or [addressing.listening_place(core.config)]
        # Settings are judged before a door is opened.
        metrics = core.config.node_metrics
        self._metrics = checked_loopback(metrics) if metrics else None
        self.listening = Listening()
        self._stored = peers.StoredBook(core)
        self._book = self._stored.book
        for address in addressing.named_peers(core.config):
            self._book.add(address)
        identity = peers.identity(core)
        allowed = addressing.allowed_nodes(core.config)
        gate = Gate(identity.node_id, self._book, now_ms=core.clock_ms, allow=allowed)
        self._context = TlsContext(identity, gate)
        self.links = LinkTable(identity.node_id, max_links=core.config.node_max_links)
        self._workers = trio.CapacityLimiter(4)
        self._storing = trio.CapacityLimiter(1)
        self._forks_found: list[tuple[ForkEvidence, bool]] = []
        self.hub: Hub = hub_of(core, self._io, hooks=self, store_io=self._store_io)
        voter = Voter(core, now_ms=_monotonic_ms, agreeing=self._agreeing)
        self.follower = Follower(
            core,
            self._io,
            log,
            self._needed,
            self.hub.seek,
            admit=self.hub.admit,
            voter=voter,
            said=self._own_grown,
            compare=self.hub.ask_everybody,
        )
        self.indexer = Indexer(core, self._io, log)
        self._since_ms = core.clock_ms()
        self._own_record()  # what cannot be announced is said now, and not to the first peer
        self._stopping = False

    async def _io(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await trio.to_thread.run_sync(function, *arguments, limiter=self._workers)

    async def _store_io(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What arrives is stored whatever peers ask for meanwhile."""
        return await trio.to_thread.run_sync(function, *arguments, limiter=self._storing)

    # Life.

    async def run(self, ready: Callable[[Daemon], None] = lambda daemon: None) -> None:
        """Until a signal, or until cancelled."""
        with sole_daemon(self._core.home):
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._stop_on_signal, nursery.cancel_scope)
                    await nursery.start(self.hub.run)
                    await self._open_doors(nursery)
                    nursery.start_soon(self.follower.run)
                    nursery.start_soon(self.indexer.run)
                    nursery.start_soon(self._watcher().run)
                    nursery.start_soon(self._keep_book)
                    nursery.start_soon(self._keep_report)
                    self._log.info("daemon_began", listening=self.listening.endpoints)
                    ready(self)
            finally:
                self._stored.save()
                self._log.info("daemon_ended", events_in=self.hub.totals.events_in)

    async def _open_doors(self, nursery: trio.Nursery) -> None:
        config = self._config
        rng = random.Random(os.urandom(16))
        limits = ListenLimits(links_per_address=config.node_links_per_address)
        listener: Listener[Any] = Listener(
            self._context, self.links, self._serve, limits=limits, log=self._log
        )
        bound = await nursery.start(listener.run, self._listen)
        self.listening.endpoints = [str(endpoint) for endpoint in bound]
        self._dialler = Dialler(
            self._context,
            self.links,
            self._book,
            self._serve,
            random=rng,
            now_ms=self._core.clock_ms,
            log=self._log,
        )
        nursery.start_soon(self._dialler.run)
        if config.node_lan:
            nursery.start_soon(self._discovery(bound).run)
        if self._metrics is not None:
            self.listening.metrics_port = await nursery.start(
                partial(serve_metrics, *self._metrics, self.figures)
            )

    def _discovery(self, bound: Sequence[Endpoint]) -> LanDiscovery:
        def found(address: PeerAddress) -> None:
            self._book.add(address, Source.LAN, self._core.clock_ms() + FOUND_VALID_MS)
            self._dialler.wake()

        return LanDiscovery(
            self.links.own_id, self._core.ledger_id, bound[0].port, found, log=self._log
        )

    async def _stop_on_signal(self, scope: trio.CancelScope) -> None:
        wanted = [signal.SIGINT, signal.SIGTERM]
        with trio.open_signal_receiver(*wanted) as signals:
            async for number in signals:
                if self._stopping:
                    os._exit(128 + number)
                self._stopping = True
                self._log.info("daemon_stops", signal=signal.Signals(number).name)
                scope.cancel()

    def _watcher(self) -> Watcher:
        replica = self.hub.replica
        return Watcher(self._core.store, lambda: replica.marks, self._grown, self._forks, self._io)

    def _grown(self, marks: Sequence[Mark], own: bytes | None) -> None:
        self.hub.grown(marks, own)
        self.follower.poke()

    def _own_grown(self) -> None:
        """The seat has voted: the votes go out at once, without waiting for the watcher."""
        with self._core.store.read() as snapshot:
            own = snapshot.current_log
            log = snapshot.log(own) if own is not None else None
        if log is not None and log.head is not None:
            self.hub.grown([log.head.mark], own)

    def _agreeing(self) -> list[Device]:
        """The devices whose nodes said last that they hold what this node holds."""
        return [
            (runner.peer.peer.account, runner.peer.peer.device)
            for runner in list(self.hub.links.values())
            if runner.peer is not None and runner.agrees
        ]

    def _forks(self, proofs: Sequence[ForkEvidence]) -> None:
        """Proofs that another process kept, such as of a bundle."""
        for proof in proofs:
            self.hub.fork_known(proof)

    async def _keep_book(self) -> None:
        """Stores what changed, and takes over what commands changed."""
        change = -1
        while True:
            await trio.sleep(BOOK_S)
            now = self._core.store.last_change()
            if now != change:
                for node_id in self._stored.take_changes():
                    if self._book.refusal(node_id, self._core.clock_ms()):
                        self.links.close_peer(node_id)
                    self._dialler.retry(node_id)
            self._stored.save()
            change = self._core.store.last_change()

    async def _keep_report(self) -> None:
        """Replaces the report in the home whenever it changed."""
        written = ""
        while True:
            text = json.dumps(self.describe(), sort_keys=True)
            if text != written:
                write_report(self._core.home, text)
                written = text
            await trio.sleep(REPORT_S)

    # Links.

    async def _serve(self, link: Link) -> None:
        await self.hub.serve(link)

    def link_greeted(self, runner: LinkRunner) -> None:
        runner.link.greeted()
        self._book.seen(runner.link.peer_id, self._core.clock_ms())
        self._log.info(
            "link_up",
            peer=runner.link.peer_id.hex()[:16],
            address=str(runner.link.address),
            outbound=runner.link.is_outbound,
        )
        records = self._book.records(self._core.clock_ms(), random.Random(os.urandom(16)))
        records = [*self._own_record(), *records][:MAX_RECORDS]
        if records:
            runner.session.send_peers(records)
            runner.wake()

    def _own_record(self) -> list[bytes]:
        """Where the settings say that this node can be dialled, signed."""
        places = addressing.announced_places(self._config)
        if not places:
            return []
        key = self._core.key("transport")
        with addressing.setting("node.announce"):
            return [sign_record(key, self._core.ledger_id, places, self._core.clock_ms()).encoded]

    def link_ended(self, runner: LinkRunner, why: PeerFault | None) -> None:
        peer = runner.link.peer_id
        if peers.charge(self._book, peer, why, self._core.clock_ms()) and why is not None:
            self._log.warning("link_failed", peer=peer.hex()[:16], code=why.code, reason=why.text)
        else:
            code = why.code if why else "closed"
            self._log.info("link_down", peer=peer.hex()[:16], code=code)

    def peers_came(self, runner: LinkRunner, records: Sequence[bytes]) -> None:
        now_ms = self._core.clock_ms()
        try:
            fresh, _ = read_records(records, self._core.ledger_id, now_ms)
        except (BadInput, VerificationFailed) as error:
            runner.end(fault("bad_record", error.message))
            return
        for record in fresh:
            if record.node_id != self.links.own_id:
                self._book.heard(record, now_ms, is_local=runner.link.is_local)

    def payload_stored(self, commit: bytes) -> None:
        self._log.info("payload_stored", commit=commit.hex()[:16])
        self.indexer.poke()

    # What the hub tells.

    def stored(self, marks: Sequence[Mark], leaves_may_erase: bool) -> None:
        self.follower.poke(erasures=leaves_may_erase)

    def fork_found(self, proof: ForkEvidence, *, here: bool) -> None:
        log_id = proof.head_a.log_id
        self._log.error("fork_found", log=log_id.hex()[:16], common=proof.common, here=here)
        self._forks_found.append((proof, here))
        if len(self._forks_found) == 1:
            self.hub.start(self._file_forks)

    async def _file_forks(self) -> None:
        """One pass over the leaves for all that were found while the one before was made."""
        while self._forks_found:
            found = self._forks_found.copy()
            await self._guarded(forking.file_forks, found)
            del self._forks_found[: len(found)]

    def own_log_elsewhere(self, log_id: bytes) -> None:
        self._log.warning("own_log_elsewhere", log=log_id.hex()[:16])
        self._spawn(forking.leave_if_current, log_id)

    def store_refused(self, error: StoreUnavailable) -> None:
        self._log.error("store_refused", reason=error.message, hint=error.hint)

    def _spawn(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Work on the store that nobody waits for."""
        self.hub.start(self._guarded, function, *arguments)

    async def _guarded(self, function: Callable[..., Any], *arguments: Any) -> None:
        try:
            await self._io(function, self._core, *arguments)
        except OlnError as error:
            self._log.error("cannot", what=function.__name__, reason=error.message)

    def _needed(self, marks: Sequence[Mark]) -> None:
        self.hub.need(marks)

    # Looking.

    def describe(self) -> dict[str, Any]:
        """The report in the home: what `oln status` and `oln peer list` show of the daemon."""
        return {
            "pid": os.getpid(),
            "since_ms": self._since_ms,
            "listening": self.listening.endpoints,
            "metrics_port": self.listening.metrics_port,
            "events_in": self.hub.totals.events_in,
            "failure": self.follower.failure,
            "links": [
                {
                    "node_id": runner.link.peer_id.hex(),
                    "address": str(runner.link.address),
                    "outbound": runner.link.is_outbound,
                    "account": runner.peer.peer.account.hex() if runner.peer else "",
                }
                for runner in self.hub.links.values()
            ],
        }

    def figures(self) -> Figures:
        """For Prometheus."""
        totals, replica = self.hub.totals, self.hub.replica
        follows = int(not self.follower.failure)
        return {
            "links": ("gauge", "Links that are up.", len(self.hub.links)),
            "logs": ("gauge", "Logs held.", len(replica.marks)),
            "events": ("gauge", "Events held.", sum(m.size for m in replica.marks.values())),
            "events_received_total": ("counter", "Events stored from peers.", totals.events_in),
            "forks": ("gauge", "Logs known to be forked.", len(replica.forks)),
            "links_ended_total": ("counter", "Links that ended.", sum(totals.links_ended.values())),
            "following": ("gauge", "1 while nothing stops the fold.", follows),
        }


def run_node(
    core: NodeCore,
    *,
    listen: Sequence[str] = (),
    ready: Callable[[Mapping[str, Any]], None] | None = None,
) -> None:
    """Runs the daemon of a home until a signal."""
    log = daemon_log(core.config, core.home)

    async def run() -> None:
        daemon = Daemon(core, log, listen=listen)
        await daemon.run(lambda up: ready(up.describe()) if ready is not None else None)

    try:
        trio.run(run)
    except BaseExceptionGroup as errors:
        known = first_known(errors)
        if known is None:
            raise
        raise known from None


def first_known(errors: BaseExceptionGroup[BaseException]) -> OlnError | KeyboardInterrupt | None:
    """The error for people in a group, when nothing else is in it."""
    known, rest = errors.split((OlnError, KeyboardInterrupt))
    if rest is not None or known is None:
        return None
    inner: BaseException = known
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    return inner if isinstance(inner, OlnError | KeyboardInterrupt) else None
