"""Reading a log back: in order, re-verified, proved; and what it takes on the disk.

| work | what is timed |
|---|---|
| read | every leaf in order, checksums compared; then the same with each entry decoded |
| verify | every leaf in order, hashed to the root that the device signed, the signature checked |
| proof | one event's inclusion proof: made, its size, checked |
| disk | what the home's files take, over the bytes of its leaves |
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from openledger_node.ledger.events import acceptance_fault
from openledger_node.ledger.heads import verify_head
from openledger_node.ledger.merkle import leaf_hash, leaf_hashes, root_of_hashes, verify_inclusion
from openledger_node.node.core import NodeCore, open_core
from openledger_node.store.snapshot import Snapshot
from scripts.benchmarks.entries import bodies
from scripts.benchmarks.figures import Figure, percentile
from scripts.benchmarks.peers import allocated_bytes
from scripts.benchmarks.works import LOG_HOME, Scale

MAX_PROOFS: Final = 200
HASH_BYTES: Final = 32


@contextmanager
def opened(scale: Scale) -> Iterator[tuple[NodeCore, Snapshot, bytes]]:
    """The log home of this scale: its core, one snapshot, its own log."""
    core = open_core(scale.home(LOG_HOME))
    try:
        with core.store.read() as snapshot:
            yield core, snapshot, core.writer().log_id
    finally:
        core.close()


def read(scale: Scale) -> list[Figure]:
    with opened(scale) as (_, snapshot, log_id):
        began = time.perf_counter()
        leaves = sum(len(segment) for segment in snapshot.iter_leaves(log_id))
        read_s = time.perf_counter() - began
        began = time.perf_counter()
        entries = sum(len(bodies(segment)) for segment in snapshot.iter_leaves(log_id))
        decoded_s = time.perf_counter() - began
    return [
        Figure("read", "ordered read, leaves", leaves / read_s, "events/s"),
        Figure("read", "ordered read, decoded", entries / decoded_s, "events/s"),
    ]


def verify(scale: Scale) -> list[Figure]:
    def no_fault(leaf: bytes, index: int) -> str:
        return ""

    with opened(scale) as (_, snapshot, log_id):
        plain_s = _verified_s(snapshot, log_id, no_fault)
        whole_s = _verified_s(snapshot, log_id, acceptance_fault)
        log = snapshot.log(log_id)
        leaves = log.size if log is not None else 0
    return [
        Figure("verify", "re-verify", leaves / plain_s, "events/s"),
        Figure("verify", "re-verify, each leaf's form too", leaves / whole_s, "events/s"),
    ]


def _verified_s(snapshot: Snapshot, log_id: bytes, fault: Callable[[bytes, int], str]) -> float:
    """Seconds to hold the log to the head that its device signed."""
    began = time.perf_counter()
    log = snapshot.log(log_id)
    assert log is not None and log.head is not None
    head = verify_head(log.head, log.genesis)
    hashes: list[bytes] = []
    for segment in snapshot.iter_leaves(log_id):
        if any(fault(leaf, index) for index, leaf in enumerate(segment, len(hashes))):
            raise RuntimeError("a stored leaf is not acceptable")
        hashes += leaf_hashes(segment)
    if root_of_hashes(hashes[: head.size]) != head.root:
        raise RuntimeError("the stored leaves do not have the signed root")
    return time.perf_counter() - began


def proof(scale: Scale) -> list[Figure]:
    made_ms, checked_ms, size_bytes = [], [], 0
    with opened(scale) as (_, snapshot, log_id):
        log = snapshot.log(log_id)
        assert log is not None and log.head is not None
        head = verify_head(log.head, log.genesis)
        for index in range(min(MAX_PROOFS, head.size)):
            seq = index * 7_919 % head.size
            began = time.perf_counter()
            path = snapshot.inclusion(log_id, seq, head.size)
            made_ms.append((time.perf_counter() - began) * 1e3)
            (leaf,) = snapshot.leaves(log_id, seq, seq + 1)
            began = time.perf_counter()
            if not verify_inclusion(leaf_hash(leaf), seq, head.size, path, head.root):
                raise RuntimeError(f"the inclusion proof of event {seq} is wrong")
            checked_ms.append((time.perf_counter() - began) * 1e3)
            size_bytes = max(size_bytes, HASH_BYTES * len(path))
    return [
        Figure("proof", "making it", percentile(made_ms, 50), "ms"),
        Figure("proof", "inclusion proof", size_bytes, "bytes"),
        Figure("proof", "checking it", percentile(checked_ms, 50), "ms"),
    ]


def disk(scale: Scale) -> list[Figure]:
    home = scale.home(LOG_HOME)
    core = open_core(home)
    try:
        with core.store.read() as snapshot:
            segments = snapshot.iter_leaves(core.writer().log_id)
            sizes = [len(leaf) for segment in segments for leaf in segment]
    finally:
        core.close()
    taken, raw = allocated_bytes(home), sum(sizes)
    return [
        Figure("disk", "disk per event", taken / len(sizes), "bytes"),
        Figure("disk", "raw bytes per event", raw / len(sizes), "bytes"),
        Figure("disk", "disk over raw bytes", taken / raw, "x"),
    ]
