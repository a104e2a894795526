"""How fast the fold is, in memory: from scratch over epochs of the mix, and an epoch of receipts.

    python -m scripts.benchmarks.fold [events] [per epoch] [epochs to maturity]

The time counted is processor time of `fold` and of applying its delta; making up the events is not
counted. They are made up before, into a temporary file, so that peak memory, the whole process's,
holds the state, one epoch of leaves and what folding it takes, and no ids of the generator's.
Fees mature in their own epoch unless told otherwise, as in a ledger that `oln init` makes.
"""

from __future__ import annotations

import gc
import hashlib
import pickle
import resource
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Final

from openledger_node.credit import state_records
from openledger_node.credit.fold import Folded, fold, initial_state
from openledger_node.credit.inputs import Cut
from openledger_node.ledger.genesis import Genesis
from openledger_node.ledger.heads import Mark
from scripts.benchmarks.gen_events import EventSource

RECEIPTS_IN_AN_EPOCH: Final = 10_000
SCANNED: Final = (
    state_records.PURSE,
    state_records.PARKED,
    state_records.STANDING,
    state_records.PROPOSED_SET,
    state_records.DEVICE_LOG,
)
"""The types of records that folding the mix goes through by prefix."""


class TableState:
    """A state in one dict; what the fold scans is also kept by its type, in small dicts."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes | None] = {}
        self.get = self.values.get
        self.scanned: dict[bytes, dict[bytes, bytes | None]] = {p: {} for p in SCANNED}

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        table = self.scanned[prefix[:1]]
        for key in sorted(key for key in table if key.startswith(prefix)):
            value = table[key]
            if value is not None:
                yield key, value

    def apply(self, delta: Sequence[tuple[bytes, bytes | None]]) -> None:
        self.values.update(delta)
        for prefix, table in self.scanned.items():
            first = bisect_left(delta, (prefix,))
            table.update(delta[first : bisect_left(delta, (prefix + b"\xff" * 97,))])


class NewLeaves:
    """The leaves of one epoch alone: earlier ones are never read again."""

    def __init__(self) -> None:
        self.first: dict[bytes, int] = {}
        self.held: dict[bytes, list[bytes]] = {}

    def leaves(self, log_id: bytes, start: int, stop: int) -> Sequence[bytes]:
        first = self.first[log_id]
        return self.held[log_id][start - first : stop - first]


@dataclass
class Folding:
    """A ledger that is folded epoch by epoch."""

    genesis: Genesis
    state: TableState
    logs: NewLeaves
    sizes: dict[bytes, int]
    epoch: int = 0
    events: int = 0
    seconds: float = 0.0

    @classmethod
    def begin(cls, genesis: Genesis) -> Folding:
        state = TableState()
        state.apply(initial_state(genesis).delta)
        return cls(genesis, state, NewLeaves(), {})

    def close(self, new: dict[bytes, list[bytes]]) -> Folded:
        """Folds one epoch of new leaves."""
        self.epoch += 1
        marks = []
        for log_id, leaves in new.items():
            size = self.sizes.get(log_id, 0)
            self.logs.first[log_id], self.logs.held[log_id] = size, leaves
            self.sizes[log_id] = size + len(leaves)
            marks.append(Mark(log_id, size + len(leaves), bytes(32)))
        cut_id = hashlib.sha256(self.epoch.to_bytes(8, "big")).digest()
        cut = Cut(self.epoch, cut_id, tuple(sorted(marks)))
        began = time.process_time()
        folded = fold(self.state, cut, self.logs, self.genesis)
        self.state.apply(folded.delta)
        self.seconds += time.process_time() - began
        self.events += folded.counts.events_read
        return folded


def made_up(
    file: IO[bytes], events: int, per_epoch: int, maturity_epochs: int
) -> tuple[Genesis, int]:
    """Writes the leaves of each epoch to `file`, the last an epoch of receipts; (genesis, epochs
    before it).
    """
    source = EventSource(maturity_epochs=maturity_epochs)
    epochs = 0
    for new in source.epochs(events, per_epoch):
        pickle.dump(new, file)
        epochs += 1
    pickle.dump(source.receipts_epoch(RECEIPTS_IN_AN_EPOCH), file)
    file.seek(0)
    return source.genesis, epochs


def run(events: int, per_epoch: int, maturity_epochs: int = 0) -> tuple[Folding, int, float, int]:
    """(the ledger, void events, seconds for the epoch of receipts, peak memory in KiB)."""
    with tempfile.TemporaryFile() as file:
        genesis, epochs = made_up(file, events, per_epoch, maturity_epochs)
        folding = Folding.begin(genesis)
        void = 0
        for _ in range(epochs):
            void += folding.close(pickle.load(file)).counts.void
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        before = folding.seconds, folding.events
        folding.close(pickle.load(file))
    receipts_seconds = folding.seconds - before[0]
    folding.seconds, folding.events = before
    return folding, void, receipts_seconds, peak_kib


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    per_epoch = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    maturity_epochs = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    gc.disable()
    folding, void, receipts_seconds, peak_kib = run(events, per_epoch, maturity_epochs)
    rate = folding.events / folding.seconds
    print(f"fold from scratch   {folding.events:,} events, {folding.epoch} epochs of {per_epoch:,}")
    print(f"                    {rate:,.0f} events/s, {1e6 / rate:.2f} us an event, {void} void")
    print(f"epoch of receipts   {RECEIPTS_IN_AN_EPOCH:,} in {receipts_seconds:.3f} s")
    print(f"peak memory         {peak_kib / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
