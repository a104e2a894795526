"""The lane: everything that arrives is stored through here, one batch at a time.

Short arrivals of any links that wait together become one transaction, so that many small logs cost
few disk flushes; links are served in turn, however much one of them sends. Long logs come as
streams: whatever has come of one so far is verified and staged as a unit. Nothing is reported
before it is durable. The lane holds no more than the credit that the links have granted their
peers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

import trio

from openledger_node.ledger.errors import BadInput, OlnError, Refused, StoreUnavailable
from openledger_node.ledger.events import LogGenesis
from openledger_node.ledger.heads import SignedHead, verify_head
from openledger_node.node.replication.holder import Arrival, Holder, Incoming, Landed
from openledger_node.sync.by_turns import ByTurns
from openledger_node.sync.intake import PrefixMismatch

T = TypeVar("T")

MAX_BATCH_BYTES: Final = 8 * 2**20
MAX_BATCH_ARRIVALS: Final = 256
"""So many are stored in a tenth of a second or two: what comes next waits no longer."""
MAX_WAITING_BYTES: Final = 64 * 2**20
"""Of all streams together, fed and not written yet: a stream keeps up to 9 MiB while it may."""

Io = Callable[..., Awaitable[Any]]
"""await io(function, *arguments): runs a blocking call where it may block."""


@dataclass(eq=False, slots=True)
class Stream:
    """A long log on its way in: chunks wait here until the lane stores them."""

    link: int
    genesis: LogGenesis
    head: SignedHead
    spine: bytes
    first: int = 0
    branch: bool = False
    chunks: deque[tuple[list[bytes], int]] = field(default_factory=deque)
    last: bool = False
    dead: bool = False
    incoming: Incoming | None = None
    charged_bytes: int = 0
    """What its owner's room was charged for it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What the lane did for a stream: credit to give back, and the end of it, good or bad."""

    consumed_bytes: int
    ended: bool = False
    differs: bool = False
    fault: OlnError | None = None


class Reports(Protocol):
    """Who hears what became of things."""

    def landed(self, arrival: Arrival, landed: Landed) -> None: ...
    def stored(self, stream: Stream, stored: Stored) -> None: ...


class Lane:
    """One consumer of arrivals, streams and other writes."""

    def __init__(self, holder: Holder, io: Io, reports: Reports) -> None:
        self._holder = holder
        self._io = io
        self._reports = reports
        self._arrivals: ByTurns[Arrival] = ByTurns()
        self._streams: ByTurns[Stream] = ByTurns()
        self._work = trio.Event()
        self._turn = trio.Lock()
        self._waiting: dict[Stream, int] = {}
        """The bytes of each stream that are fed and not written yet."""

    def arrive(self, arrival: Arrival) -> None:
        self._arrivals.put(arrival.link, arrival)
        self._work.set()

    def feed(self, stream: Stream) -> None:
        """The stream has a new chunk, or has ended."""
        if not self._streams.holds(stream.link, stream):
            self._streams.put(stream.link, stream)
        self._work.set()

    @property
    def is_idle(self) -> bool:
        """Nothing has come that is not stored."""
        return not (self._arrivals or self._streams or self._turn.locked())

    async def write(self, function: Callable[..., T], *arguments: Any) -> T:
        """Another write, in its turn."""
        async with self._turn:
            done: T = await self._io(function, *arguments)
            return done

    async def run(self) -> None:
        """Stores what comes, until cancelled."""
        while True:
            await self._work.wait()
            async with self._turn:
                if self._arrivals:
                    await self._store_arrivals()
                if self._streams:
                    await self._store_stream(self._streams.take())
                if not (self._arrivals or self._streams):
                    self._work = trio.Event()

    async def _store_arrivals(self) -> None:
        batch: list[Arrival] = []
        size_bytes = 0
        while self._arrivals and len(batch) < MAX_BATCH_ARRIVALS and size_bytes < MAX_BATCH_BYTES:
            batch.append(self._arrivals.take())
            size_bytes += batch[-1].size_bytes
        for arrival, landed in zip(batch, await self._io(self._holder.land, batch), strict=True):
            self._reports.landed(arrival, landed)

    async def _store_stream(self, stream: Stream) -> None:
        chunks = list(stream.chunks)
        stream.chunks.clear()
        self._waiting = {s: size for s, size in self._waiting.items() if not s.dead}
        if stream.dead:
            self._reports.stored(stream, Stored(sum(size_bytes for _, size_bytes in chunks)))
            return
        stored: Stored = await self._io(self._take_in, stream, chunks, stream.last)
        if stored.ended:
            self._waiting.pop(stream, None)
        self._reports.stored(stream, stored)

    def _keep_within(self, stream: Stream, incoming: Incoming) -> None:
        """Writes what waits of a stream where all streams together have too much waiting."""
        others = sum(size for other, size in self._waiting.items() if other is not stream)
        if others + incoming.waiting_bytes > MAX_WAITING_BYTES:
            incoming.stage()
        self._waiting[stream] = incoming.waiting_bytes

    def _take_in(self, stream: Stream, chunks: list[tuple[list[bytes], int]], last: bool) -> Stored:
        """Verifies and stages chunks; with the last one the log becomes visible."""
        consumed = sum(size_bytes for _, size_bytes in chunks)
        try:
            if stream.incoming is None:
                head = verify_head(stream.head, stream.genesis)
                stream.incoming = self._holder.begin(
                    stream.genesis, head, stream.spine, first=stream.first, branch=stream.branch
                )
            leaves = [leaf for some, _ in chunks for leaf in some]
            if leaves:
                stream.incoming.feed(leaves)
            if last:
                stream.incoming.finish()
            else:
                self._keep_within(stream, stream.incoming)
        except PrefixMismatch:
            return Stored(consumed, ended=True, differs=True)
        except (BadInput, Refused, StoreUnavailable, OlnError) as error:
            return Stored(consumed, ended=True, fault=error)
        return Stored(consumed, ended=last)
