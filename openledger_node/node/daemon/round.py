"""One round of sync: dial, exchange until both sides hold the same, and part.

For `oln sync`, from cron or by hand, beside a daemon or without one. A round is over when the
digests agree, when nothing has moved for QUIET_S although they do not (the peer does not take
everything, say), or when the link ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import trio

from openledger_node.ledger.errors import NetworkError, StoreUnavailable, UsageError
from openledger_node.ledger.forks import ForkEvidence
from openledger_node.ledger.heads import Mark
from openledger_node.net.address import PeerAddress
from openledger_node.net.link import dial_link
from openledger_node.net.policy import Gate
from openledger_node.net.tls import TlsContext
from openledger_node.node import forking, peers
from openledger_node.node.core import NodeCore, Progress, no_progress
from openledger_node.node.epochs import catch_up, missing_logs, missing_marks
from openledger_node.node.erasing import honour_erasures
from openledger_node.node.replication.engine import Hub
from openledger_node.node.replication.home import hub_of
from openledger_node.node.replication.link import LinkRunner
from openledger_node.node.results_network import Synced, SyncedWith
from openledger_node.node.sharing import WishList
from openledger_node.sync.faults import PeerFault

LOOK_S: Final = 0.01
QUIET_S: Final = 3.0
NEEDED_S: Final = 10.0
"""How long marks that a cut names are waited for."""


class Round:
    """One round with one peer after another. It is also what the hub tells of events."""

    def __init__(self, core: NodeCore, progress: Progress) -> None:
        self._core = core
        self._progress = progress
        self._workers = trio.CapacityLimiter(2)
        self._forks: list[tuple[ForkEvidence, bool]] = []
        self._work: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.hub: Hub = hub_of(core, self._io, hooks=self)
        self.payloads = 0
        self._stored = peers.StoredBook(core)
        self._failure: StoreUnavailable | None = None

    async def _io(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await trio.to_thread.run_sync(function, *arguments, limiter=self._workers)

    async def run(self, targets: Sequence[Sequence[PeerAddress]]) -> list[SyncedWith]:
        """With each target in turn: its addresses until one answers."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.hub.run)
            self.hub.seek(await self._io(WishList(self._core).look))
            done = [await self._with(addresses) for addresses in targets]
            nursery.cancel_scope.cancel()
        self._stored.save()
        if self._failure is not None:
            raise self._failure
        if self._forks:
            forking.file_forks(self._core, self._forks)
        for function, arguments in self._work:
            function(self._core, *arguments)
        return done

    async def _with(self, addresses: Sequence[PeerAddress]) -> SyncedWith:
        began = time.monotonic()
        failure: NetworkError | None = None
        identity = peers.identity(self._core)
        gate = Gate(identity.node_id, self._stored.book, now_ms=self._core.clock_ms)
        context = TlsContext(identity, gate)
        for address in addresses:
            try:
                link = await dial_link(context, address)
            except NetworkError as error:
                failure = error
                continue
            return await self._exchange(link, address, began)
        first = addresses[0]
        text = failure.message if failure else "no address"
        return SyncedWith(str(first), first.node_id.hex(), False, 0, 0, 0, text, 0.0)

    async def _exchange(self, link: Any, address: PeerAddress, began: float) -> SyncedWith:
        before = self.hub.totals.events_in
        runner: LinkRunner | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.hub.serve, link)
            while not self.hub.links:
                await trio.sleep(0)
            runner = next(iter(self.hub.links.values()))
            agreed = await self._until_agreed(runner)
            runner.end()
        fault = runner.fault.text if runner.fault else ""
        return SyncedWith(
            address=str(address),
            node_id=address.node_id.hex(),
            in_sync=agreed,
            received=self.hub.totals.events_in - before,
            sent=runner.sent_events,
            payloads=self.payloads,
            fault=fault or ("" if agreed else "the two sides still differ"),
            seconds=round(time.monotonic() - began, 3),
        )

    async def _until_agreed(self, runner: LinkRunner) -> bool:
        """Waits for the link to settle, asks for digests, and again while something moves."""
        moved_at, moved = trio.current_time(), (-1, -1)
        while runner.number in self.hub.links:
            await trio.sleep(LOOK_S)
            now = (runner.link.received_bytes, runner.link.sent_bytes)
            if not runner.is_settled or now != moved:
                if now != moved:
                    moved_at, moved = trio.current_time(), now
                self._progress(self.hub.totals.events_in, None, "events received")
                if self._failure or trio.current_time() - moved_at > QUIET_S:
                    return False
                continue
            if runner.agrees:
                return True
            if not runner.is_asking:
                runner.ask_digest()
            if trio.current_time() - moved_at > QUIET_S:
                return False
        return False

    # What the hub tells.

    def stored(self, marks: Sequence[Mark], leaves_may_erase: bool) -> None:
        return

    def fork_found(self, proof: ForkEvidence, *, here: bool) -> None:
        self._forks.append((proof, here))

    def own_log_elsewhere(self, log_id: bytes) -> None:
        self._work.append((forking.leave_if_current, (log_id,)))

    def link_greeted(self, runner: LinkRunner) -> None:
        runner.link.greeted()

    def link_ended(self, runner: LinkRunner, why: PeerFault | None) -> None:
        peers.charge(self._stored.book, runner.link.peer_id, why, self._core.clock_ms())

    def peers_came(self, runner: LinkRunner, records: Sequence[bytes]) -> None:
        return

    def store_refused(self, error: StoreUnavailable) -> None:
        self._failure = error

    def payload_stored(self, commit: bytes) -> None:
        self.payloads += 1


def sync_once(core: NodeCore, address: str | None, *, progress: Progress = no_progress) -> Synced:
    """A round with one node, or with every node that people named.

    NetworkError when no node could be reached at all.
    """
    began = time.monotonic()
    if address is not None:
        targets = [peers.addresses_of(core, address)]
    else:
        targets = [found for found in peers.all_addresses(core) if found]
    if not targets:
        raise UsageError(
            "no peer is known", hint="`oln peer add id@host:port`, or give the address to sync with"
        )
    rounds = Round(core, progress)
    done = trio.run(rounds.run, targets)
    epochs = catch_up(core, progress=progress)
    with core.store.read() as snapshot:
        needed = missing_marks(core, snapshot)
        by_cut, by_seat = missing_logs(core, snapshot)
    if needed or by_cut or any(by_seat.values()):
        again = Round(core, progress)
        again.hub.need(needed)
        again.hub.admit(by_cut, by_seat)
        done += trio.run(again.run, targets)
        epochs += catch_up(core, progress=progress)
    if any(peer.received for peer in done):
        honour_erasures(core)
    if not any(peer.in_sync or peer.received or peer.sent for peer in done):
        raise NetworkError(done[0].fault or "the link ended", code="no_sync", hint=_hint(done[0]))
    return Synced(
        received=sum(peer.received for peer in done),
        sent=sum(peer.sent for peer in done),
        payloads=sum(peer.payloads for peer in done),
        seconds=round(time.monotonic() - began, 3),
        epochs=epochs,
        peers=tuple(done),
    )


def _hint(peer: SyncedWith) -> str:
    return f"is the node at {peer.address} running, and of this ledger?"
