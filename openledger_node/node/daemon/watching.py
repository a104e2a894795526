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
    ) -> None:
        self._store = store
        self._known = known
        self._grown = grown
        self._forks = forks
        self._seen = -1
        self._all_seen = -1
        self._all_at_s = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.look(trio.current_time())
            await trio.sleep(WATCH_S)

    def look(self, now_s: float) -> None:
        """One look, at most: the own log when anything changed, all logs when it is their time.

        Reads of a few pages of a mapped file: short enough to be made in the daemon's own thread.
        """
        change = self._store.last_change()
        if change != self._seen:
            self._seen = change
            self._look_at_own()
        if change != self._all_seen and now_s >= self._all_at_s:
            self._all_seen = change
            self._all_at_s = now_s + ALL_LOGS_S
            self._look_at_all()

    def _look_at_own(self) -> None:
        with self._store.read() as snapshot:
            own = snapshot.current_log
            log = snapshot.log(own) if own is not None else None
        if log is None or log.head is None:
            return
        known = self._known().get(log.log_id)
        if known is None or known.size < log.head.size:
            self._grown([log.head.mark], own)

    def _look_at_all(self) -> None:
        known = self._known()
        with self._store.read() as snapshot:
            own = snapshot.current_log
            grown = [
                mark
                for mark in snapshot.marks()
                if mark.log_id not in known or known[mark.log_id].size < mark.size
            ]
            forks = snapshot.forks()
        if grown:
            self._grown(grown, own)
        if forks:
            self._forks(forks)
