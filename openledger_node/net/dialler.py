"""Keeps outbound links: to every node that people named, and to two nodes at least.

- N21 A dial that failed is tried again after 1 s, 2 s, 4 s and so on up to 5 minutes, each times a
  random 0.5 to 1.5. After a refusal or a wrong key it is a minute at least. The count begins anew
  after a link that was up (N8) and lasted a minute; one that ended sooner counts as a failed dial.
- N22 The addresses of a node are tried in turn. At most 16 dials are under way at once. Of nodes
  that people did not name 8 are dialled in a row, then one a second.

One task decides whom to dial; it wakes when a link comes or goes, when a wait is over, and when the
owner of the book says that the book has changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

import trio

from openledger_node.ledger.errors import NetworkError
from openledger_node.net.address import PeerAddress
from openledger_node.net.book import PeerBook
from openledger_node.net.limits import Log, OncePer
from openledger_node.net.link import Connect, Link, dial_link
from openledger_node.net.peer import Peer
from openledger_node.net.table import Handler, LinkTable
from openledger_node.net.tls import TlsContext

LEAST_OUTBOUND: Final = 2
MAX_DIALLING: Final = 16
UNNAMED_BURST: Final = 8
UNNAMED_PER_S: Final = 1.0
"""Anybody may fill the book with addresses: so fast this node goes through them."""
BACKOFF_S: Final = 1.0
MAX_BACKOFF_S: Final = 300.0
REFUSED_BACKOFF_S: Final = 60.0
"""After a refusal: what has to change is a setting, by hand."""
STABLE_S: Final = 60.0
"""A link that lasted this long was a good one."""
RECHECK_S: Final = 60.0
"""The longest sleep: bans end and records grow old without a sound."""
LOG_INTERVAL_S: Final = 600.0
REFUSALS: Final = frozenset(("refused", "not_accepted", "wrong_peer", "certificate", "application"))


@dataclass(slots=True)
class _Wait:
    """How often a node could not be dialled, and when to try again."""

    failures: int = 0
    until_s: float = 0.0


class Dialler:
    """The outbound half of a node. Reads the book, notes there who was up, and owns the waits."""

    def __init__(
        self,
        context: TlsContext,
        table: LinkTable,
        book: PeerBook,
        handler: Handler,
        *,
        random: Random,
        now_ms: Callable[[], int],
        log: Log,
        least_outbound: int = LEAST_OUTBOUND,
        connect: Connect = trio.open_tcp_stream,
    ) -> None:
        self._context = context
        self._table = table
        self._book = book
        self._handler = handler
        self._random = random
        self._now_ms = now_ms
        self._log = log
        self._least_outbound = least_outbound
        self._connect = connect
        self._dialling: set[bytes] = set()
        self._waits: dict[bytes, _Wait] = {}
        self._woken = trio.Event()
        self._quiet = OncePer(LOG_INTERVAL_S)
        self._unnamed = float(UNNAMED_BURST)
        self._unnamed_at_s = -math.inf

    def wake(self) -> None:
        """Looks again at whom to dial, now: the book has changed."""
        self._woken.set()

    def retry(self, node_id: bytes) -> None:
        """Forgets earlier failures of a node, as when a person asks for it."""
        self._waits.pop(node_id, None)
        self.wake()

    async def run(self) -> None:
        """Dials until cancelled."""
        self._table.watch(self.wake)
        async with trio.open_nursery() as nursery:
            while True:
                self._woken = trio.Event()
                for peer in self._due():
                    self._dialling.add(peer.node_id)
                    nursery.start_soon(self._dial, peer)
                with trio.move_on_after(self._sleep_s()):
                    await self._woken.wait()

    def _due(self) -> list[Peer]:
        """Whom to dial now."""
        room = min(
            MAX_DIALLING - len(self._dialling),
            self._table.max_links - len(self._table) - len(self._dialling),
        )
        if room <= 0:
            return []
        now_s, now_ms = trio.current_time(), self._now_ms()
        self._waits = {
            node_id: wait for node_id, wait in self._waits.items() if self._book.get(node_id)
        }
        skip = {self._table.own_id, *self._table.peers(), *self._dialling}
        skip.update(node_id for node_id, wait in self._waits.items() if wait.until_s > now_s)
        due = self._book.kept(now_ms, skip)[:room]
        missing = self._least_outbound - self._table.outbound() - len(self._dialling) - len(due)
        if missing > 0:
            skip.update(peer.node_id for peer in due)
            count = min(missing, room - len(due), self._unnamed_room(now_s))
            chosen = self._book.choose(count, now_ms, self._random, skip) if count > 0 else []
            self._unnamed -= len(chosen)
            due += chosen
        return due

    def _unnamed_room(self, now_s: float) -> int:
        """How many nodes that people did not name may be dialled now (N22)."""
        since_s, self._unnamed_at_s = now_s - self._unnamed_at_s, now_s
        self._unnamed = min(UNNAMED_BURST, self._unnamed + since_s * UNNAMED_PER_S)
        return int(self._unnamed)

    def _sleep_s(self) -> float:
        now_s = trio.current_time()
        ends = [wait.until_s - now_s for wait in self._waits.values() if wait.until_s > now_s]
        if self._unnamed < 1:
            ends.append((1 - self._unnamed) / UNNAMED_PER_S)
        return min([RECHECK_S, *ends])

    async def _dial(self, peer: Peer) -> None:
        wait = self._waits.setdefault(peer.node_id, _Wait())
        addresses = list(peer.addresses())
        address = addresses[wait.failures % len(addresses)]
        try:
            link = await dial_link(self._context, address, connect=self._connect)
        except NetworkError as error:
            self._failed(address, wait, error)
        else:
            await self._serve(link, address, wait)
        finally:
            self._dialling.discard(peer.node_id)
            self.wake()

    async def _serve(self, link: Link, address: PeerAddress, wait: _Wait) -> None:
        began_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._note_up, link, address)
            wait.until_s = math.inf  # until it is known how the link went
            self._dialling.discard(link.peer_id)  # from here on the table counts it
            outcome = await self._table.serve(link, self._handler)
            nursery.cancel_scope.cancel()
        if outcome == "dialled_both_ways":
            wait.until_s = trio.current_time() + BACKOFF_S
            return
        if link.is_up and trio.current_time() - began_s >= STABLE_S:
            wait.failures = 0
        why = link.fault or NetworkError("the link ended", code=outcome)
        self._failed(address, wait, why)

    async def _note_up(self, link: Link, address: PeerAddress) -> None:
        await link.wait_up()
        self._book.seen(link.peer_id, self._now_ms(), address.endpoint())

    def _failed(self, address: PeerAddress, wait: _Wait, error: NetworkError) -> None:
        """Waits longer after each failure in a row (N21)."""
        delay_s = min(MAX_BACKOFF_S, BACKOFF_S * 2 ** min(wait.failures, 16))
        if error.code in REFUSALS:
            delay_s = max(delay_s, REFUSED_BACKOFF_S)
        delay_s *= self._random.uniform(0.5, 1.5)
        wait.failures += 1
        wait.until_s = trio.current_time() + delay_s
        key = (address.node_id.hex(), error.code)
        held_back = self._quiet.due(key, trio.current_time())
        if held_back is not None:
            self._log.info(
                "dial_failed",
                peer=address.node_id.hex(),
                address=str(address.endpoint()),
                reason=error.code,
                text=error.message,
                retry_s=round(delay_s, 1),
                held_back=held_back,
            )
