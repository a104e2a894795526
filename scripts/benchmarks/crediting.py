"""The reward function: alone, and on a home with mixed events (mixed.py).

| work | what is timed |
|---|---|
| fold | made-up epochs of 10,000 events (fold.py), in memory: processor time, and peak memory |
| refold | every epoch of the home again, from its stored log, to the same state digest |
| epoch-close | closing an epoch of 10,000 receipts (a tenth of the events below 100,000) |
| reopen | opening the home and asking for its status, in a process that has done nothing else |
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from typing import Final

from openledger_node import open_home
from openledger_node.credit.fold import fold, initial_state
from openledger_node.credit.inputs import Cut
from openledger_node.node.core import open_core
from openledger_node.store.snapshot import Snapshot
from scripts.benchmarks.figures import Figure
from scripts.benchmarks.fold import run
from scripts.benchmarks.homes import append_all
from scripts.benchmarks.mixed import parties_of, receipts_on
from scripts.benchmarks.works import MIXED_HOME, Scale

CLOSED_RECEIPTS: Final = 10_000
EPOCH_EVENTS: Final = 10_000
BYTES_OF_KIB: Final = 1_024
BYTES_OF_MB: Final = 1_000_000


class MemoryState:
    """A state in memory, for the fold to read.

    Values lie by the first byte of their key, its type: the fold scans types with few keys only.
    """

    def __init__(self) -> None:
        self._types: dict[bytes, dict[bytes, bytes]] = {}

    def get(self, key: bytes) -> bytes | None:
        return self._types.get(key[:1], {}).get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        values = self._types.get(prefix[:1], {})
        for key in sorted([key for key in values if key.startswith(prefix)]):
            yield key, values[key]

    def apply(self, delta: Sequence[tuple[bytes, bytes | None]]) -> None:
        for key, value in delta:
            values = self._types.setdefault(key[:1], {})
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value


def fold_from_scratch(scale: Scale) -> list[Figure]:
    """The collector of cycles is off: the fold makes none."""
    gc.disable()
    folding, void, _, peak_kib = run(scale.events, EPOCH_EVENTS)
    if void:
        raise RuntimeError(f"{void} of the made-up events are void")
    return [
        Figure("fold", "fold from scratch", folding.events / folding.seconds, "events/s"),
        Figure("fold", "peak memory", peak_kib * BYTES_OF_KIB / BYTES_OF_MB, "MB"),
    ]


def refold(scale: Scale) -> list[Figure]:
    core = open_core(scale.home(MIXED_HOME))
    try:
        with core.store.read() as snapshot:
            cuts = list(_cuts(snapshot))
            state, events = MemoryState(), 0
            gc.collect()
            gc.freeze()
            began = time.perf_counter()
            state.apply(initial_state(core.genesis).delta)
            for cut in cuts:
                folded = fold(state, cut, snapshot, core.genesis)
                state.apply(folded.delta)
                events += folded.counts.events_read
            seconds = time.perf_counter() - began
            stored = snapshot.epoch(cuts[-1].epoch)
            if stored is None or stored.state_digest != folded.state_digest:
                raise RuntimeError("folding from nothing does not give the stored state")
    finally:
        core.close()
    return [Figure("refold", "fold from the store", events / seconds, "events/s")]


def _cuts(snapshot: Snapshot) -> Iterator[Cut]:
    """The cut of every closed epoch, as stored."""
    for number in range(1, snapshot.last_epoch() + 1):
        record = snapshot.epoch(number)
        if record is None:
            raise RuntimeError(f"epoch {number} is missing from the store")
        yield Cut(number, record.cut_id, tuple(record.changed))


def epoch_close(scale: Scale) -> list[Figure]:
    home = scale.home(MIXED_HOME)
    parties = parties_of(home)
    receipts = min(CLOSED_RECEIPTS, max(1, scale.events // 10))
    core = open_core(home)
    try:
        with core.store.read() as snapshot:
            parties.snapshot = snapshot.last_epoch()
        append_all(core, list(receipts_on(parties, receipts, core.clock_ms())))
    finally:
        core.close()
    with open_home(home) as node:
        began = time.perf_counter()
        node.epoch_close()
        seconds = time.perf_counter() - began
    return [Figure("epoch-close", "closing the epoch", seconds, "s")]


def reopen(scale: Scale) -> list[Figure]:
    home = scale.home(MIXED_HOME)
    began = time.perf_counter()
    with open_home(home) as node:
        status = node.status()
        lasted_ms = (time.perf_counter() - began) * 1e3
    if status.events < scale.events:
        raise RuntimeError(f"the home has {status.events} events, not {scale.events}")
    return [Figure("reopen", "reopening the home", lasted_ms, "ms")]
