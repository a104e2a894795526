"""Appending to a log: one batch, many callers at once, one event at a time; always durable, signed.

| work | what is timed |
|---|---|
| append-batch | events in calls as large as a flush may be, drafts included, into a new home |
| append-grouped | 16 threads that append one event a call each; the writer groups them |
| append-single | one caller, one event a call: milliseconds until it is durable and signed |
"""

from __future__ import annotations

import threading
import time
from typing import Final

from openledger_node.node.core import NodeCore, open_core
from scripts.benchmarks.entries import drafts, entry_lines
from scripts.benchmarks.figures import Figure, percentile
from scripts.benchmarks.homes import OPENING_EVENTS, append_entries, new_home
from scripts.benchmarks.works import LOG_HOME, READY, Scale

CALLERS: Final = 16
MAX_GROUPED_EVENTS: Final = 20_000
MAX_SINGLE_EVENTS: Final = 1_000


def make_log_home(scale: Scale) -> list[Figure]:
    """A home whose own log has as many events as the scale says."""
    home = scale.place / LOG_HOME
    new_home(home)
    core = open_core(home)
    try:
        core.writer()
        seconds = append_entries(core, scale.events - OPENING_EVENTS)
    finally:
        core.close()
    (home / READY).touch()
    rate = (scale.events - OPENING_EVENTS) / seconds
    return [Figure("append-batch", "append, one batch", rate, "events/s")]


append_batch = make_log_home


def append_grouped(scale: Scale) -> list[Figure]:
    each = max(1, min(scale.events, MAX_GROUPED_EVENTS) // CALLERS)
    core = open_core(scale.home(LOG_HOME))
    try:
        seconds = _together(core, each)
    finally:
        core.close()
    name = f"append, {CALLERS} callers"
    return [Figure("append-grouped", name, CALLERS * each / seconds, "events/s")]


def _together(core: NodeCore, each: int) -> float:
    """Seconds until every caller's events are acknowledged."""
    ready = threading.Barrier(CALLERS + 1)
    failures: list[Exception] = []

    def call(caller: int) -> None:
        mine = drafts(entry_lines(caller * each, each), core.clock_ms())
        writer = core.writer()
        ready.wait()
        try:
            for draft in mine:
                writer.append([draft])
        except Exception as error:  # reported by the thread that measures
            failures.append(error)

    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(CALLERS)]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return time.perf_counter() - began


def append_single(scale: Scale) -> list[Figure]:
    calls = max(10, min(scale.events // 10, MAX_SINGLE_EVENTS))
    core = open_core(scale.home(LOG_HOME))
    lasted_ms = []
    try:
        writer = core.writer()
        for draft in drafts(entry_lines(0, calls), core.clock_ms()):
            began = time.perf_counter()
            writer.append([draft])
            lasted_ms.append((time.perf_counter() - began) * 1e3)
    finally:
        core.close()
    return [
        Figure("append-single", "median", percentile(lasted_ms, 50), "ms"),
        Figure("append-single", "99th percentile", percentile(lasted_ms, 99), "ms"),
    ]
