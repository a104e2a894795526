"""Noticing what other processes on this home wrote.

The command line works beside the daemon on the same store. LMDB numbers its transactions; when the
number has moved, the own log is looked at right away, and all logs at most once in ALL_LOGS_S. The
watcher reads; it writes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import trio

from openledger_node.ledger.forks import ForkEvidence
from openledger_node.ledger.heads import Mark
from openledger_node.store.store import Store

WATCH_S: Final = 0.05
"""A twentieth of a second: at rest this costs well under a hundredth of a core."""
ALL_LOGS_S: Final = 1.0

Io = Callable[..., Awaitable[Any]]


class Watcher:
    """Tells `grown(marks, own log)` about logs that grew by other hands than the lane's.

    And `forks(proofs)` about the proofs that are kept, new ones among them.
    """

    def __init__(
        self,
        store: Store,
        known: Callable[[], dict[bytes, Mark]],
        grown: Callable[[Sequence[Mark], bytes | None], None],
        forks: Callable[[Sequence[ForkEvidence]], None],
        io: Io,
    ) -> None:
        self._store = store
        self._known = known
        self._grown = grown
        self._forks = forks
        self._io = io
        self._seen = -1
        self._all_seen = -1
        self._all_at_s = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_now_and_then)
            while True:
                self.look_at_own()
                await trio.sleep(WATCH_S)

    async def _look_now_and_then(self) -> None:
        while True:
            await self.look_at_all(trio.current_time())
            await trio.sleep(WATCH_S)

    def look_at_own(self) -> None:
        """Looks at the own log when anything changed.

        A few pages of a mapped file: short enough to be read in the daemon's own thread.
        """
        change = self._store.last_change()
        if change != self._seen:
            self._seen = change
            self._look_at_own()

    async def look_at_all(self, now_s: float) -> None:
        """Looks at all logs when anything changed and it is their time: they may be many."""
        change = self._store.last_change()
        if change == self._all_seen or now_s < self._all_at_s:
            return
        self._all_seen = change
        own, grown, forks = await self._io(self._read_all)
        self._all_at_s = now_s + ALL_LOGS_S
        if grown:
            self._grown(grown, own)
        if forks:
            self._forks(forks)

    def _look_at_own(self) -> None:
        with self._store.read() as snapshot:
            own = snapshot.current_log
            log = snapshot.log(own) if own is not None else None
        if log is None or log.head is None:
            return
        known = self._known().get(log.log_id)
        if known is None or known.size < log.head.size:
            self._grown([log.head.mark], own)

    def _read_all(self) -> tuple[bytes | None, list[Mark], list[ForkEvidence]]:
        """(the own log, the logs that are longer than is known, the proofs of forks)."""
        known = self._known()
        with self._store.read() as snapshot:
            grown = [
                mark
                for mark in snapshot.marks()
                if (mine := known.get(mark.log_id)) is None or mine.size < mark.size
            ]
            return snapshot.current_log, grown, snapshot.forks()
