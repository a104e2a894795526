"""Queues that are served in turn, so that whoever fills one keeps nobody in another waiting."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class ByTurns(Generic[T]):
    """A queue for each link; one item of each is taken in turn."""

    def __init__(self) -> None:
        self._queues: OrderedDict[int, deque[T]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, link: int, item: T) -> None:
        self._queues.setdefault(link, deque()).append(item)
        self._count += 1

    def take(self) -> T:
        """The next item. KeyError when there is none."""
        link, queue = self._queues.popitem(last=False)
        item = queue.popleft()
        if queue:
            self._queues[link] = queue
        self._count -= 1
        return item

    def holds(self, link: int, item: T) -> bool:
        return item in self._queues.get(link, ())


class Untold:
    """Logs whose mark a peer has not been told, by the link that they came over.

    Each has the moment from which on it may be pushed. Logs made on this machine come over None.
    """

    def __init__(self) -> None:
        self._source: dict[bytes, int | None] = {}
        self._queues: OrderedDict[int | None, dict[bytes, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._source)

    def put(self, log_id: bytes, push_at_ms: int, source: int | None) -> None:
        """A log that waits already keeps its place."""
        source = self._source.setdefault(log_id, source)
        self._queues.setdefault(source, {})[log_id] = push_at_ms

    def pop(self, log_id: bytes) -> None:
        """This one need not be told any more."""
        if log_id in self._source:
            source = self._source.pop(log_id)
            queue = self._queues[source]
            del queue[log_id]
            if not queue:
                del self._queues[source]

    def items(self) -> Iterator[tuple[bytes, int]]:
        """(log, moment), one source after another. Nothing may be changed meanwhile."""
        for queue in self._queues.values():
            yield from queue.items()

    def served(self, log_id: bytes) -> None:
        """The source of this log has had its turn."""
        if log_id in self._source:
            self._queues.move_to_end(self._source[log_id])
