"""One simulated node: a real hub on a disk in memory, with a device that signs its log.

Keys and ids follow from names, so a run follows from its seed alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import trio

from openledger_node.ledger.errors import StoreUnavailable
from openledger_node.ledger.events import LogGenesis, encode_event
from openledger_node.ledger.forks import ForkEvidence
from openledger_node.ledger.heads import Mark, SignedHead, sign_head
from openledger_node.ledger.keys import SigningKey
from openledger_node.ledger.merkle import leaf_hashes, root_of_hashes
from openledger_node.node.replication.admission import Admission, Owner
from openledger_node.node.replication.engine import Hub, Identity
from openledger_node.node.replication.link import LinkRunner
from openledger_node.sync.faults import PeerFault
from openledger_node.sync.session import sign_link
from scripts.simulation.holder import MemoryHolder, MemoryLog


def digest(*names: object) -> bytes:
    """32 bytes that follow from names."""
    return hashlib.sha256("/".join(map(str, names)).encode()).digest()


LEDGER = digest("ledger")


class Node:
    """One node: its disk, its hub, and what its hooks heard."""

    def __init__(
        self,
        name: str,
        draw: Callable[[int], int],
        *,
        ledger_id: bytes = LEDGER,
        account: bytes | None = None,
        copied: bool = False,
    ) -> None:
        self.name = name
        self._copied = copied
        self.ledger_id = ledger_id
        self.transport = SigningKey(digest("transport", name))
        self.device = SigningKey(digest("device", name))
        self.account = account or digest("account", name)
        self.holder = MemoryHolder()
        self.known: set[Owner] = set()
        self.found: list[tuple[ForkEvidence, bool]] = []
        self.faults: list[PeerFault] = []
        self.own_elsewhere: list[bytes] = []
        self.payloads: list[bytes] = []
        self.refusals: list[StoreUnavailable] = []
        self.admission = Admission(
            "open", listed=(), unknown_bytes=2**20, known=self.known.__contains__, held=()
        )
        self._draw = draw
        self._logs = 0
        self.open_log(None)
        self.hub = self._new_hub()

    # Life.

    def _new_hub(self) -> Hub:
        identity = Identity(
            self.ledger_id,
            self.node_id,
            self.account,
            self.device.public.raw,
            lambda peer: sign_link(self.device, self.ledger_id, self.node_id, peer),
        )
        return Hub(
            identity,
            self.holder,
            io=run_at_once,
            now_ms=lambda: int(trio.current_time() * 1000),
            draw=self._draw,
            hooks=self,
            admission=self.admission,
        )

    def restart(self, disk: MemoryHolder | None = None) -> None:
        """The machine starts again, from what its disk has, or from another disk."""
        self.holder = self.holder.crash() if disk is None else disk.crash()
        if self.holder.own is not None:
            self.genesis = self.holder.logs[self.holder.own].genesis
            self.log_id = self.holder.own
        self.hub = self._new_hub()

    def open_log(self, previous: bytes | None) -> None:
        """Goes on in a new log."""
        # A copied home has the original's first log, and begins others of its own.
        own = (self.name, "copy") if self._copied and self._logs else (self.name,)
        nonce = digest("nonce", *own, self._logs)[:16]
        self._logs += 1
        device = self.device.public.raw
        self.genesis = LogGenesis(1, self.ledger_id, self.account, device, nonce, previous)
        self.holder.own = self.log_id = self.genesis.log_id
        self._write([self._leaf(0)])

    # Its own log.

    @property
    def node_id(self) -> bytes:
        return self.transport.public.raw

    def marks(self) -> list[Mark]:
        return sorted(self.hub.replica.marks.values())

    def size(self, log_id: bytes) -> int:
        mark = self.hub.replica.marks.get(log_id)
        return mark.size if mark else 0

    def _leaf(self, seq: int, text: str = "note") -> bytes:
        if seq == 0:
            return encode_event(0, "log.open", 0, self.genesis)
        return encode_event(seq, "test.note", 0, [f"{self.name} {text} {seq}"])

    def _write(self, leaves: list[bytes]) -> SignedHead:
        log = self.holder.logs.get(self.log_id)
        head = self._head([*(log.hashes if log else []), *leaf_hashes(leaves)])
        self.holder.append(head, self.genesis, leaves)
        return head

    def head_over(self, leaves: Sequence[bytes]) -> SignedHead:
        """This device's word for any history at all."""
        return self._head(leaf_hashes(leaves))

    def _head(self, hashes: Sequence[bytes]) -> SignedHead:
        root = root_of_hashes(hashes)
        return sign_head(self.device, self.genesis, len(hashes), root).signed

    def append(self, count: int = 1, text: str = "note") -> Mark:
        """Writes events to the own log and tells the hub."""
        size = len(self.holder.logs[self.log_id].leaves)
        head = self._write([self._leaf(size + i, text) for i in range(count)])
        self.hub.grown([head.mark], self.log_id)
        return head.mark

    def history(self, common: int, count: int, text: str) -> MemoryLog:
        """Another history of the own log: `common` leaves as they are, `count` others."""
        leaves = self.holder.logs[self.log_id].leaves[:common]
        leaves += [self._leaf(common + i, text) for i in range(count)]
        return MemoryLog(self.genesis, leaves, self.head_over(leaves))

    def hold(self, history: MemoryLog) -> None:
        """Puts a history on this node's disk, as if it had come at an earlier time.

        What differs in the one held before is set aside: this node may have signed that it has it.
        """
        assert history.head is not None
        log_id = history.head.log_id
        former = self.holder.logs.get(log_id)
        if former is not None and history.leaves[: len(former.leaves)] != former.leaves:
            self.holder.branches.setdefault(log_id, []).append(former)
        self.holder.logs[log_id] = history
        self.holder.sync()
        self.hub.replica.replaced(history.head.mark)

    def gets(self, history: MemoryLog) -> None:
        """A log that is new here is put on this node's disk by other hands than the lane's."""
        assert history.head is not None
        self.holder.logs[history.head.log_id] = history.copy()
        self.holder.sync()
        self.hub.grown([history.head.mark], None)

    # Hooks.

    def stored(self, marks: Sequence[Mark], leaves_may_erase: bool) -> None:
        return

    def fork_found(self, proof: ForkEvidence, *, here: bool) -> None:
        self.found.append((proof, here))

    def own_log_elsewhere(self, log_id: bytes) -> None:
        self.own_elsewhere.append(log_id)

    def link_greeted(self, runner: LinkRunner) -> None:
        return

    def link_ended(self, runner: LinkRunner, why: PeerFault | None) -> None:
        if why is not None:
            self.faults.append(why)

    def peers_came(self, runner: LinkRunner, records: Sequence[bytes]) -> None:
        return

    def store_refused(self, error: StoreUnavailable) -> None:
        self.refusals.append(error)

    def payload_stored(self, commit: bytes) -> None:
        self.payloads.append(commit)


async def run_at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a worker thread does elsewhere, in a run that must not have threads."""
    await trio.lowlevel.checkpoint()
    return function(*arguments)
