"""The two-machine half of `peer-program`: the node's own hub, links and TLS in a thread of its own.

What a daemon runs is run here, but for the parts that have no work in a measurement (folding,
metrics, the peer book), so that `sync` can be timed from before the connection until everything is
stored.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import trio

from openledger_node.ledger.errors import StoreUnavailable
from openledger_node.ledger.forks import ForkEvidence
from openledger_node.ledger.heads import Mark
from openledger_node.net.address import Endpoint, PeerAddress
from openledger_node.net.book import PeerBook
from openledger_node.net.link import Link, dial_link
from openledger_node.net.listener import Listener, ListenLimits
from openledger_node.net.policy import Gate
from openledger_node.net.table import LinkTable
from openledger_node.net.tls import TlsContext
from openledger_node.node import peers
from openledger_node.node.core import NodeCore
from openledger_node.node.replication.home import hub_of
from openledger_node.node.replication.link import LinkRunner
from openledger_node.sync.faults import PeerFault

OWN_LEAVES: Final = 2
"""Leaves of a log before its first entry: log.open and account.create."""
WAIT_S: Final = 600


class QuietLog:
    """Takes what the listener has to say."""

    def info(self, event: str, **fields: Any) -> None:
        return

    def warning(self, event: str, **fields: Any) -> None:
        print(f"{event} {fields}", flush=True)


class Network:
    """A hub in a thread. Also what it tells of events."""

    def __init__(self, core: NodeCore) -> None:
        self._core = core
        self._up: queue.Queue[BaseException | None] = queue.Queue()
        self._stored: dict[bytes, int] = {}
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._token: Any = None
        self._counts: dict[str, int] = {}
        self._stop: Callable[[], None] = lambda: None
        self._thread.start()
        failure = self._up.get()
        if failure is not None:
            raise failure

    def _main(self) -> None:
        try:
            trio.run(self._run)
        except BaseException as error:
            self._up.put(error)

    async def _io(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await trio.to_thread.run_sync(function, *arguments)

    async def _run(self) -> None:
        identity = peers.identity(self._core)
        gate = Gate(identity.node_id, PeerBook(), now_ms=self._core.clock_ms)
        self._context = TlsContext(identity, gate)
        self._table = LinkTable(identity.node_id)
        self.hub = hub_of(self._core, self._io, hooks=self)
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._stop = nursery.cancel_scope.cancel
            await nursery.start(self.hub.run)
            self._up.put(None)
            await trio.sleep_forever()

    def close(self) -> None:
        trio.from_thread.run_sync(self._stop, trio_token=self._token)
        self._thread.join()

    # Commands, called from the main thread.

    def serve(self) -> str:
        """Listens on loopback; the address."""
        return str(trio.from_thread.run(self._listen, trio_token=self._token))

    async def _listen(self) -> str:
        limits = ListenLimits(links_per_address=1_000, handshake_burst=1_000)
        listener: Listener[Any] = Listener(
            self._context, self._table, self._serve, limits=limits, log=QuietLog()
        )
        (bound,) = await self._nursery.start(listener.run, [Endpoint("127.0.0.1", 0)])
        return f"{self._core.key('transport').public.raw.hex()}@{bound}"

    async def _serve(self, link: Link) -> None:
        await self.hub.serve(link)

    def sync(self, address: str, entries: int) -> float:
        """Links to a node and waits for its entries; seconds from before the connection."""
        began = time.monotonic()
        trio.from_thread.run(self._dial, address, trio_token=self._token)
        self.wait(entries)
        return time.monotonic() - began

    async def _dial(self, address: str) -> None:
        link = await dial_link(self._context, PeerAddress.parse(address))
        self._nursery.start_soon(self.hub.serve, link)

    def wait(self, entries: int) -> None:
        """Until some log of others holds this many entries, durable."""
        with self._news:
            if not self._news.wait_for(lambda: self._most() >= entries, WAIT_S):
                raise RuntimeError(f"{self._most()} of {entries} entries after {WAIT_S} s")

    def take(self, address: str, events: int) -> float:
        """As `sync`, until others' logs have this many events in all and the link agrees."""
        self.part()
        began = time.monotonic()
        trio.from_thread.run(self._dial, address, trio_token=self._token)
        self.until(events)
        return time.monotonic() - began

    def dial(self, address: str) -> None:
        """A further link, beside those that are up."""
        trio.from_thread.run(self._dial, address, trio_token=self._token)

    def held(self, events: int) -> int:
        """Waits until all logs together have this many events; a monotonic clock then."""

        with self._news:
            if not self._news.wait_for(lambda: self._held() >= events, WAIT_S):
                raise RuntimeError(f"{self._held()} of {events} events after {WAIT_S} s")
        return time.monotonic_ns()

    def _held(self) -> int:
        return sum(mark.size for mark in list(self.hub.replica.marks.values()))

    def until(self, events: int) -> None:
        """Until others' logs hold this many events besides what every log begins with."""
        trio.from_thread.run(self._until, events, trio_token=self._token)

    async def _until(self, events: int) -> None:
        while True:
            runners = [runner for runner in self.hub.links.values() if runner.peer is not None]
            held = sum(mark.size for mark in self.hub.replica.marks.values()) - 2 * OWN_LEAVES
            if runners and held >= events and runners[0].is_settled:
                self._counts = {
                    "received": runners[0].link.received_bytes,
                    "sent": runners[0].link.sent_bytes,
                    "raw": runners[0].received_leaf_bytes,
                }
                return
            await trio.sleep(0.0005)

    def counts(self) -> dict[str, int]:
        """Bytes of the link when `take` ended: both ways, and of events alone."""
        return self._counts

    def part(self) -> None:
        """Ends all links."""

        async def end() -> None:
            for runner in list(self.hub.links.values()):
                runner.end()
            while self.hub.links:
                await trio.sleep(0.001)

        trio.from_thread.run(end, trio_token=self._token)

    def _most(self) -> int:
        return max(self._stored.values(), default=0) - OWN_LEAVES

    def grown(self) -> None:
        """The own log grew."""

        def tell() -> None:
            with self._core.store.read() as snapshot:
                own = snapshot.current_log
                log = snapshot.log(own) if own is not None else None
                if log is not None and log.head is not None:
                    self.hub.grown([log.head.mark], own)

        trio.from_thread.run_sync(tell, trio_token=self._token)

    # What the hub tells.

    def stored(self, marks: Sequence[Mark], leaves_may_erase: bool) -> None:
        with self._news:
            self._stored.update((mark.log_id, mark.size) for mark in marks)
            self._news.notify_all()

    def fork_found(self, proof: ForkEvidence, *, here: bool) -> None:
        raise RuntimeError("a fork in a measurement")

    def own_log_elsewhere(self, log_id: bytes) -> None:
        raise RuntimeError("an own log that grew elsewhere in a measurement")

    def link_greeted(self, runner: LinkRunner) -> None:
        runner.link.greeted()

    def link_ended(self, runner: LinkRunner, why: PeerFault | None) -> None:
        if why is not None:
            print(f"link ended: {why.code}: {why.text}", flush=True)

    def peers_came(self, runner: LinkRunner, records: Sequence[bytes]) -> None:
        return

    def store_refused(self, error: StoreUnavailable) -> None:
        raise error

    def payload_stored(self, commit: bytes) -> None:
        return
