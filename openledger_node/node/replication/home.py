"""An open home as replication sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import SystemRandom
from typing import Any

import trio

from openledger_node.ledger.acceptance import first_fault
from openledger_node.ledger.errors import BadInput, OlnError, StoreUnavailable, VerificationFailed
from openledger_node.ledger.events import SEGMENT_LEAVES, LogGenesis, parse_log_open
from openledger_node.ledger.forks import ForkEvidence, verify_fork
from openledger_node.ledger.heads import Mark, SignedHead, VerifiedHead, verify_head
from openledger_node.ledger.merkle import Frontier, leaf_hashes
from openledger_node.node.addressing import listed_accounts
from openledger_node.node.core import NodeCore
from openledger_node.node.erasing import keep_payload
from openledger_node.node.replication.admission import Admission, Owner
from openledger_node.node.replication.engine import Hooks, Hub, Identity
from openledger_node.node.replication.holder import Arrival, Landed, Served
from openledger_node.node.sharing import is_enrolled, payload_for
from openledger_node.store.ingest import Growth, Ingestion, grow_many
from openledger_node.store.snapshot import Snapshot
from openledger_node.store.store import Store
from openledger_node.store.view_logs import LogInfo
from openledger_node.sync.fork_finding import History, first_differing_segment, prove_between
from openledger_node.sync.intake import root_of_spine, split_spine
from openledger_node.sync.messages import Policy
from openledger_node.sync.session import sign_link


class HomeHolder:
    """The store of an open home, behind the interface of `holder.Holder`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # Reading.

    def marks(self) -> list[Mark]:
        with self._store.read() as snapshot:
            return list(snapshot.marks())

    def forks(self) -> list[ForkEvidence]:
        with self._store.read() as snapshot:
            return snapshot.forks()

    def own_log(self) -> bytes | None:
        with self._store.read() as snapshot:
            return snapshot.current_log

    def find(self, log_id: bytes, mark: Mark | None) -> Served | None:
        """The history shown, or the one on whichever branch that has a mark."""
        with self._store.read() as snapshot:
            for log in snapshot.histories(log_id):
                if log.head is not None and (mark is None or _has(snapshot, log, mark)):
                    return Served(log.head, log.number)
        return None

    def opening(self, served: Served) -> bytes:
        with self._store.read() as snapshot:
            return snapshot.leaf_run(served.place, 0, 1, 0)[2]

    def spine(self, served: Served, first_segment: int) -> bytes:
        with self._store.read() as snapshot:
            return snapshot.spine(served.place, first_segment, served.head.size)

    def leaf_run(
        self, served: Served, first: int, stop: int, max_bytes: int
    ) -> tuple[int, bytes, bytes]:
        with self._store.read() as snapshot:
            return snapshot.leaf_run(served.place, first, stop, max_bytes)

    def genesis(self, log_id: bytes) -> LogGenesis | None:
        with self._store.read() as snapshot:
            log = snapshot.log(log_id)
        return log.genesis if log is not None else None

    # Writing.

    def land(self, arrivals: Sequence[Arrival]) -> list[Landed]:
        """Short arrivals of any logs, durable together."""
        landed: list[Landed] = []
        growths: list[Growth] = []
        places: list[int] = []
        for arrival in arrivals:
            try:
                growth = self._verified(arrival)
            except OlnError as error:
                landed.append(Landed(None, fault=error))
                continue
            if growth is not None:
                places.append(len(landed))
                growths.append(growth)
            landed.append(Landed(None, gap=growth is None))
        try:
            grown = grow_many(self._store, growths) if growths else []
        except StoreUnavailable as error:
            return [Landed(None, fault=error) for _ in arrivals]
        for place, done in zip(places, grown, strict=True):
            mark = done.head.mark if done.head else None
            fault = None
            if done.differs and mark is None:
                fault = VerificationFailed("its events do not have the root that its head states")
            landed[place] = Landed(mark, done.added, done.gap, done.differs, fault)
        return landed

    def _verified(self, arrival: Arrival) -> Growth | None:
        """None when the log is new here and its first event did not come."""
        genesis = self.genesis(arrival.head.log_id)
        if genesis is None:
            if arrival.first:
                return None
            genesis = parse_log_open(arrival.leaves[0])
        head = verify_head(arrival.head, genesis)
        refused = first_fault(arrival.leaves, arrival.first)
        if refused:
            raise BadInput(f"event {refused[0]} is not acceptable: {refused[1]}")
        return Growth(head, arrival.first, arrival.leaves)

    def begin(
        self, genesis: LogGenesis, head: VerifiedHead, spine: bytes, *, first: int, branch: bool
    ) -> Ingestion:
        roots = split_spine(spine) if spine else None
        return Ingestion(
            self._store,
            genesis,
            head,
            first=None if branch else first,
            spine=roots,
            adopt_own=True,
            branch=branch,
        )

    # Payloads.

    def payload_for(
        self, account: bytes, device: bytes, event_id: bytes, commit: bytes
    ) -> bytes | None:
        """The payload of an event, for a peer's account that may have it."""
        with self._store.read() as snapshot:
            return payload_for(snapshot, account, device, event_id, commit)

    def put_payload(self, commit: bytes, data: bytes) -> None:
        keep_payload(self._store, commit, data)

    # Forks.

    def keep_forks(self, proofs: Sequence[ForkEvidence]) -> list[ForkEvidence]:
        """Those of verified proofs that were new or lower. VerificationFailed at a false one."""
        for proof in proofs:
            verify_fork(proof)
        return [proof for proof in proofs if self._store.put_fork(proof)]

    def first_difference(self, head: SignedHead, spine: bytes) -> int | None:
        """The first segment in which a peer's history differs from the one held, if any."""
        roots = split_spine(spine)
        try:
            root = root_of_spine(Frontier(), roots, head.size)
        except ValueError as error:
            raise BadInput(f"its spine does not fit its head: {error}") from None
        if root != head.root:
            raise VerificationFailed("its segment roots do not have the root that its head states")
        with self._store.read() as snapshot:
            held = snapshot.log(head.log_id)
            if held is None or held.head is None:
                return None
            both = min(held.head.size, head.size)
            ours = split_spine(snapshot.spine(held.number, 0, both))
        return first_differing_segment(ours, roots, both, head.size)

    def prove_fork(
        self, head: VerifiedHead, spine: bytes, segment: int, hashes: list[bytes]
    ) -> ForkEvidence | None:
        """The proof from the spine and one segment's leaf hashes of the other history, kept.

        None when it is the same as ours there.
        """
        theirs = History.of(head, split_spine(spine), segment, hashes)
        with self._store.read() as snapshot:
            held = snapshot.log(head.log_id)
            if held is None or held.head is None:
                return None
            ours = verify_head(held.head, held.genesis)
            start = segment * SEGMENT_LEAVES
            stop = min(start + SEGMENT_LEAVES, ours.size)
            own = leaf_hashes(snapshot.leaves(head.log_id, start, stop))
            mine = History.of(
                ours, split_spine(snapshot.spine(held.number, 0, ours.size)), segment, own
            )
            proof = prove_between(mine, theirs)
        if proof is not None:
            verify_fork(proof)
            self._store.put_fork(proof)
        return proof


def _has(snapshot: Snapshot, log: LogInfo, mark: Mark) -> bool:
    size = log.head.size if log.head is not None else 0
    return size >= mark.size and snapshot.root_of(log.number, mark.size) == mark.root


def admission_of(core: NodeCore) -> Admission:
    """Whose logs this home takes in, by its settings."""
    with core.store.read() as snapshot:
        held = [log.genesis for log in snapshot.logs()]

    def known(owner: Owner) -> bool:
        with core.store.read() as snapshot:
            return is_enrolled(snapshot, *owner)

    return Admission(
        core.config.sync_admission,  # type: ignore[arg-type]  # the settings hold it to its choices
        listed=[core.account_id, *listed_accounts(core.config)],
        unknown_bytes=core.config.sync_unknown_bytes,
        known=known,
        held=held,
    )


def hub_of(
    core: NodeCore,
    io: Callable[..., Awaitable[Any]],
    hooks: Hooks,
    store_io: Callable[..., Awaitable[Any]] | None = None,
) -> Hub:
    """Replication of an open home."""
    device = core.key("device")
    node_id = core.key("transport").public.raw
    identity = Identity(
        core.ledger_id,
        node_id,
        core.account_id,
        core.device,
        lambda peer: sign_link(device, core.ledger_id, node_id, peer),
        Policy.LISTED if core.config.sync_admission == "listed" else Policy.ALL,
    )
    return Hub(
        identity,
        HomeHolder(core.store),
        io=io,
        store_io=store_io,
        now_ms=lambda: int(trio.current_time() * 1000),
        draw=SystemRandom().randrange,
        hooks=hooks,
        admission=admission_of(core),
    )
