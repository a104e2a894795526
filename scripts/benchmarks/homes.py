"""Making homes and filling them: what the works have in common."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Final

from openledger_node.node.core import NodeCore, system_clock_ms
from openledger_node.node.setup import initialise
from openledger_node.store.writer import Draft
from scripts.benchmarks.entries import drafts, entry_lines

MAX_BATCH_EVENTS: Final = 65_536
"""What one flush, and so one call of append, may hold."""
OPENING_EVENTS: Final = 2
"""`log.open` and `account.create` begin every log."""


def new_home(home: Path) -> None:
    """Begins a solo ledger at `home`, in place of what lies there."""
    shutil.rmtree(home, ignore_errors=True)
    initialise(home, name="bench", clock_ms=system_clock_ms)


def append_entries(core: NodeCore, count: int) -> float:
    """Appends entries in calls as large as a flush may be; the seconds that appending took.

    Making the entries is not counted; making the drafts is, as every caller has to.
    """
    writer = core.writer()
    seconds = 0.0
    for first in range(0, count, MAX_BATCH_EVENTS):
        entries = entry_lines(first, min(MAX_BATCH_EVENTS, count - first))
        began = time.perf_counter()
        writer.append(drafts(entries, core.clock_ms()))
        seconds += time.perf_counter() - began
    return seconds


def append_all(core: NodeCore, made: list[Draft]) -> list[bytes]:
    """Appends in calls as large as a flush may be; the events' ids."""
    writer = core.writer()
    ids: list[bytes] = []
    for first in range(0, len(made), MAX_BATCH_EVENTS):
        ids += writer.append(made[first : first + MAX_BATCH_EVENTS]).event_ids
    return ids
