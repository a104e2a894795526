"""What replication asks of a store, and the answer from an open home.

Reads give bytes ready to be sent. Writes go through one lane (`lane.py`), one at a time, and return
once they are durable. Everything here may block: the tasks call it through a runner, which is a
thread in a daemon and a plain call in the simulator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from openledger_node.ledger.errors import OlnError
from openledger_node.ledger.events import LogGenesis
from openledger_node.ledger.forks import ForkEvidence
from openledger_node.ledger.heads import Mark, SignedHead, VerifiedHead
from openledger_node.sync.peer_state import Fetch


@dataclass(frozen=True, slots=True)
class Served:
    """A history that can be served: its newest head, and where the store has it."""

    head: SignedHead
    place: Any


@dataclass(frozen=True, slots=True)
class Arrival:
    """Leaves [first, head.size) of a log, as a peer sent them: nothing is verified yet."""

    link: int
    head: SignedHead
    first: int
    leaves: list[bytes]
    size_bytes: int
    fetch: Fetch | None = None
    """What it answers; None when it was pushed."""


@dataclass(frozen=True, slots=True)
class Landed:
    """What became of an arrival.

    `held` is the log's mark afterwards. `gap`: the arrival begins past what is held. `differs`: its
    history does not extend the one held. `fault`: why it was not taken.
    """

    held: Mark | None
    added: int = 0
    gap: bool = False
    differs: bool = False
    fault: OlnError | None = None


class Incoming(Protocol):
    """One log being taken in, as `store.ingest.Ingestion`."""

    @property
    def position(self) -> int: ...
    @property
    def waiting_bytes(self) -> int: ...
    def stage(self) -> None: ...
    def feed(self, leaves: list[bytes]) -> None: ...
    def finish(self) -> Any: ...


class Holder(Protocol):
    """A store as replication sees it."""

    def marks(self) -> list[Mark]: ...
    def forks(self) -> list[ForkEvidence]: ...
    def own_log(self) -> bytes | None: ...
    def find(self, log_id: bytes, mark: Mark | None) -> Served | None: ...
    def opening(self, served: Served) -> bytes: ...
    def spine(self, served: Served, first_segment: int) -> bytes: ...
    def leaf_run(
        self, served: Served, first: int, stop: int, max_bytes: int
    ) -> tuple[int, bytes, bytes]: ...
    def genesis(self, log_id: bytes) -> LogGenesis | None: ...
    def land(self, arrivals: Sequence[Arrival]) -> list[Landed]: ...
    def begin(
        self, genesis: LogGenesis, head: VerifiedHead, spine: bytes, *, first: int, branch: bool
    ) -> Incoming: ...
    def keep_forks(self, proofs: Sequence[ForkEvidence]) -> list[ForkEvidence]: ...
    def first_difference(self, head: SignedHead, spine: bytes) -> int | None: ...
    def payload_for(
        self, account: bytes, device: bytes, event_id: bytes, commit: bytes
    ) -> bytes | None: ...
    def put_payload(self, commit: bytes, data: bytes) -> None: ...
    def prove_fork(
        self, head: VerifiedHead, spine: bytes, segment: int, hashes: list[bytes]
    ) -> ForkEvidence | None: ...


def newest_run(
    holder: Holder, log_id: bytes, first: int, max_bytes: int
) -> tuple[SignedHead, int, bytes, bytes] | None:
    """A log's newest head, and its events from `first` on as `leaf_run` gives them."""
    served = holder.find(log_id, None)
    if served is None or served.head.size <= first:
        return None
    return served.head, *holder.leaf_run(served, first, served.head.size, max_bytes)
