"""A disk in memory: a naive store behind the interface that replication uses.

It keeps whole logs as lists and recomputes roots from all leaves, so it also stands as an oracle
beside the real store. What was written since the last `sync` is lost by `crash`, as on a machine
whose power fails; everything the interface returns from a write is synced first, as the real store
does, unless the run plays a disk that lies.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from openledger_node.ledger.acceptance import first_fault
from openledger_node.ledger.errors import (
    BadInput,
    OlnError,
    StoreUnavailable,
    VerificationFailed,
)
from openledger_node.ledger.events import SEGMENT_LEAVES, LogGenesis, parse_log_open
from openledger_node.ledger.forks import ForkEvidence, prove_fork, verify_fork
from openledger_node.ledger.heads import Mark, SignedHead, VerifiedHead, verify_head
from openledger_node.ledger.merkle import leaf_hashes, node_hash, root_of_hashes
from openledger_node.node.replication.holder import Arrival, Incoming, Landed, Served
from openledger_node.sync.frontier import proof_rank
from openledger_node.sync.intake import PrefixMismatch


@dataclass
class MemoryLog:
    """One history of a log."""

    genesis: LogGenesis
    leaves: list[bytes] = field(default_factory=list)
    head: SignedHead | None = None
    _hashes: list[bytes] = field(default_factory=list)

    @property
    def hashes(self) -> list[bytes]:
        """Those of its leaves, which are only ever added to."""
        if len(self._hashes) < len(self.leaves):
            self._hashes += leaf_hashes(self.leaves[len(self._hashes) :])
        return self._hashes

    def copy(self) -> MemoryLog:
        return MemoryLog(self.genesis, list(self.leaves), self.head, list(self._hashes))

    def grown(self, leaves: Sequence[bytes], head: SignedHead) -> MemoryLog:
        """The same history with these leaves after it."""
        return MemoryLog(self.genesis, [*self.leaves, *leaves], head, list(self.hashes))


class PowerCut(Exception):
    """The machine stopped at a commit."""

    def __init__(self, holder: MemoryHolder) -> None:
        super().__init__("power cut")
        self.holder = holder


class MemoryHolder:
    """A node's store in memory.

    `is_full` refuses every write. `cut_in` commits from now the power fails, just after that commit
    or, with `cut_loses`, just before it.
    """

    def __init__(self) -> None:
        self.is_full = False
        self.cut_in = 0
        self.cut_loses = False
        self.logs: dict[bytes, MemoryLog] = {}
        self.branches: dict[bytes, list[MemoryLog]] = {}
        self.proofs: dict[bytes, ForkEvidence] = {}
        self.own: bytes | None = None
        self.payloads: dict[bytes, bytes] = {}
        self._synced: Any = ({}, {}, {}, None)

    # Durability.

    def sync(self) -> None:
        """What was written so far survives a crash."""
        self.cut_in -= 1
        stops = self.cut_in == 0
        if not (stops and self.cut_loses):
            self._synced = _copied((self.logs, self.branches, self.proofs, self.own), self._synced)
        if stops:
            raise PowerCut(self)

    def refuse_when_full(self) -> None:
        if self.is_full:
            raise StoreUnavailable("the disk is full", hint="make room")

    def crash(self) -> MemoryHolder:
        """The disk as it is found after the machine stopped."""
        found = MemoryHolder()
        found.logs, found.branches, found.proofs, found.own = _copied(self._synced)
        found._synced = _copied(self._synced)
        found.is_full = self.is_full
        return found

    def append(self, head: SignedHead, genesis: LogGenesis, leaves: Sequence[bytes]) -> None:
        """The node's own writing."""
        self.refuse_when_full()
        log = self.logs.setdefault(head.log_id, MemoryLog(genesis))
        log.leaves += leaves
        log.head = head
        self.sync()

    # Reading.

    def marks(self) -> list[Mark]:
        return [log.head.mark for log in self.logs.values() if log.head is not None]

    def forks(self) -> list[ForkEvidence]:
        return list(self.proofs.values())

    def own_log(self) -> bytes | None:
        return self.own

    def find(self, log_id: bytes, mark: Mark | None) -> Served | None:
        held = [self.logs[log_id]] if log_id in self.logs else []
        for log in [*held, *self.branches.get(log_id, [])]:
            if log.head is None:
                continue
            if mark is None:
                return Served(log.head, log)
            long_enough = log.head.size >= mark.size
            if long_enough and root_of_hashes(log.hashes[: mark.size]) == mark.root:
                return Served(log.head, log)
        return None

    def opening(self, served: Served) -> bytes:
        return bytes(served.place.leaves[0])

    def spine(self, served: Served, first_segment: int) -> bytes:
        hashes = served.place.hashes[: served.head.size]
        return b"".join(segment_roots(hashes)[first_segment:])

    def leaf_run(
        self, served: Served, first: int, stop: int, max_bytes: int
    ) -> tuple[int, bytes, bytes]:
        taken: list[bytes] = []
        size_bytes = 0
        for leaf in served.place.leaves[first:stop]:
            if taken and size_bytes + len(leaf) > max_bytes:
                break
            taken.append(leaf)
            size_bytes += len(leaf)
        return len(taken), struct.pack(f">{len(taken)}I", *map(len, taken)), b"".join(taken)

    def genesis(self, log_id: bytes) -> LogGenesis | None:
        log = self.logs.get(log_id)
        return log.genesis if log else None

    def payload_for(
        self, account: bytes, device: bytes, event_id: bytes, commit: bytes
    ) -> bytes | None:
        return self.payloads.get(commit)

    # Writing.

    def put_payload(self, commit: bytes, data: bytes) -> None:
        self.payloads[commit] = data

    def land(self, arrivals: Sequence[Arrival]) -> list[Landed]:
        landed = [self._land(arrival) for arrival in arrivals]
        self.sync()
        return landed

    def _land(self, arrival: Arrival) -> Landed:
        log = self.logs.get(arrival.head.log_id)
        held = log.head.mark if log and log.head else None
        if log is None and arrival.first:
            return Landed(None, gap=True)
        try:
            self.refuse_when_full()
            genesis = log.genesis if log else parse_log_open(arrival.leaves[0])
            head = verify_head(arrival.head, genesis)
            size = held.size if held else 0
            if arrival.first > size:
                return Landed(held, gap=True)
            if head.size <= size:
                return Landed(held)
            refused = first_fault(arrival.leaves, arrival.first)
            if refused:
                raise BadInput(f"event {refused[0]} is not acceptable: {refused[1]}")
            return self._grow(log or MemoryLog(genesis), head, arrival, held)
        except OlnError as error:
            return Landed(held, fault=error)

    def _grow(
        self, log: MemoryLog, head: VerifiedHead, arrival: Arrival, held: Mark | None
    ) -> Landed:
        known = len(log.leaves) - arrival.first
        grown = log.grown(arrival.leaves[known:], head.signed)
        differs = log.leaves[arrival.first :] != arrival.leaves[:known]
        if differs or root_of_hashes(grown.hashes) != head.root:
            if held is None:
                raise VerificationFailed("its events do not have the root that its head states")
            return Landed(held, differs=True)
        self.logs[head.log_id] = grown
        return Landed(head.signed.mark, added=len(grown.leaves) - len(log.leaves))

    def begin(
        self, genesis: LogGenesis, head: VerifiedHead, spine: bytes, *, first: int, branch: bool
    ) -> Incoming:
        self.refuse_when_full()
        return _MemoryIncoming(self, genesis, head, spine, first, branch)

    def keep_forks(self, proofs: Sequence[ForkEvidence]) -> list[ForkEvidence]:
        self.refuse_when_full()
        kept = []
        for proof in proofs:
            verify_fork(proof)
            known = self.proofs.get(proof.head_a.log_id)
            if known is None or proof_rank(proof) < proof_rank(known):
                self.proofs[proof.head_a.log_id] = proof
                kept.append(proof)
        self.sync()
        return kept

    def first_difference(self, head: SignedHead, spine: bytes) -> int | None:
        theirs = [spine[at : at + 32] for at in range(0, len(spine), 32)]
        if len(theirs) != -(-head.size // SEGMENT_LEAVES) or tree_root(theirs) != head.root:
            raise VerificationFailed("the segment roots do not have the root that the head states")
        ours = self.logs[head.log_id].hashes
        for segment, root in enumerate(theirs):
            begin = segment * SEGMENT_LEAVES
            end = min(begin + SEGMENT_LEAVES, head.size)
            if begin >= len(ours) or root != root_of_hashes(ours[begin:end]):
                return segment if begin < len(ours) else None
        return None

    def prove_fork(
        self, head: VerifiedHead, spine: bytes, segment: int, hashes: list[bytes]
    ) -> ForkEvidence | None:
        """Naive: of histories whose difference lies in their last segment."""
        log = self.logs[head.log_id]
        if log.head is None:
            return None
        begin = segment * SEGMENT_LEAVES
        theirs = [*log.hashes[:begin], *hashes]
        if root_of_hashes(theirs[: head.size]) != head.root:
            raise VerificationFailed("the segment's events do not have the root of its segment")
        own = verify_head(log.head, log.genesis)
        proof = prove_fork(own, log.hashes, head, theirs)
        if proof is not None:
            self.keep_forks([proof])
        return proof


class _MemoryIncoming:
    """A long log on its way in."""

    def __init__(
        self,
        holder: MemoryHolder,
        genesis: LogGenesis,
        head: VerifiedHead,
        spine: bytes,
        first: int,
        branch: bool,
    ) -> None:
        self._holder = holder
        self._genesis = genesis
        self._head = head
        self._branch = branch
        held = holder.logs.get(head.log_id)
        self._leaves: list[bytes] = []
        self._skip = 0
        self.waiting_bytes = 0
        if held is not None and not branch:
            self._leaves = list(held.leaves)
            roots = [spine[at : at + 32] for at in range(0, len(spine), 32)]
            self._skip = len(held.leaves) - first
            roots = roots[len(held.leaves) // SEGMENT_LEAVES - first // SEGMENT_LEAVES :]
            whole = segment_roots(held.hashes)[: len(held.leaves) // SEGMENT_LEAVES]
            if spine and tree_root([*whole, *roots]) != head.root:
                raise PrefixMismatch("its history does not extend the one held here")

    @property
    def position(self) -> int:
        return len(self._leaves) - self._skip

    def feed(self, leaves: list[bytes]) -> None:
        skipped = min(self._skip, len(leaves))
        self._skip -= skipped
        leaves = leaves[skipped:]
        refused = first_fault(leaves, len(self._leaves))
        if refused:
            raise BadInput(f"event {refused[0]} is not acceptable: {refused[1]}")
        self._leaves += leaves
        self.waiting_bytes += sum(map(len, leaves))

    def stage(self) -> None:
        self.waiting_bytes = 0

    def finish(self) -> None:
        holder, head = self._holder, self._head
        holder.refuse_when_full()
        former = holder.logs.get(head.log_id)
        if root_of_hashes(leaf_hashes(self._leaves)) != head.root:
            text = "its events do not have the root that its head states"
            known = former is not None and not self._branch
            raise PrefixMismatch(text) if known else VerificationFailed(text)
        if self._branch and former is not None:
            holder.branches.setdefault(head.log_id, []).append(former)
        holder.logs[head.log_id] = MemoryLog(self._genesis, self._leaves, head.signed)
        holder.sync()


def _copied(disk: Any, before: Any = ({},)) -> Any:
    """The disk's content apart from what is written on: leaves and heads never change.

    What has not changed since an earlier copy is taken from it, for copies are not written on.
    """
    logs, branches, proofs, own = disk
    return (
        {log_id: _copy(log, before[0].get(log_id)) for log_id, log in logs.items()},
        {log_id: [log.copy() for log in held] for log_id, held in branches.items()},
        dict(proofs),
        own,
    )


def _copy(log: MemoryLog, before: MemoryLog | None) -> MemoryLog:
    if before is not None and before.head == log.head and before.leaves == log.leaves:
        return before
    return log.copy()


def segment_roots(hashes: Sequence[bytes]) -> list[bytes]:
    """The roots of segments, the last one of what there is."""
    return [
        root_of_hashes(hashes[at : at + SEGMENT_LEAVES])
        for at in range(0, len(hashes), SEGMENT_LEAVES)
    ]


def tree_root(roots: Sequence[bytes]) -> bytes:
    """The root over segments' roots: they split where the leaves do (RFC 6962)."""
    if len(roots) == 1:
        return roots[0]
    split = 1 << ((len(roots) - 1).bit_length() - 1)
    return node_hash(tree_root(roots[:split]), tree_root(roots[split:]))
