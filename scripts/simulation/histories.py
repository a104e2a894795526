"""What cuts and folds read of a simulated disk: its histories, and a folded state in a dict."""

from __future__ import annotations

from collections.abc import Iterator

from openledger_node.credit.fold import Folded
from openledger_node.ledger.errors import BadInput, VerificationFailed
from openledger_node.ledger.heads import Mark, SignedHead, verify_head
from openledger_node.ledger.merkle import root_of_hashes
from scripts.simulation.holder import MemoryHolder, MemoryLog


class Histories:
    """The histories on a disk, as cuts and folds ask for them. Roots are kept: lists only grow."""

    def __init__(self) -> None:
        self.holder = MemoryHolder()
        self._roots: dict[int, tuple[list[bytes], dict[int, bytes]]] = {}

    def of(self, log_id: bytes) -> list[MemoryLog]:
        shown = self.holder.logs.get(log_id)
        held = [shown] if shown is not None else []
        return [log for log in [*held, *self.holder.branches.get(log_id, [])] if log.head]

    def root(self, log: MemoryLog, size: int) -> bytes:
        if log.head is not None and log.head.size == size:
            return log.head.root
        _, known = self._roots.setdefault(id(log.leaves), (log.leaves, {}))
        if size not in known:
            known[size] = root_of_hashes(log.hashes[:size])
        return known[size]

    def having(self, mark: Mark) -> MemoryLog | None:
        for log in self.of(mark.log_id):
            if len(log.leaves) >= mark.size and self.root(log, mark.size) == mark.root:
                return log
        return None

    def common(self, log_id: bytes, a: tuple[int, bytes], b: tuple[int, bytes]) -> int:
        one, other = self.having(Mark(log_id, *a)), self.having(Mark(log_id, *b))
        if one is None or other is None:
            return 0
        size = min(a[0], b[0])
        pairs = zip(one.leaves[:size], other.leaves[:size], strict=True)
        return next((at for at, (x, y) in enumerate(pairs) if x != y), size)

    def root_at(self, log_id: bytes, size: int, under: tuple[int, bytes]) -> bytes:
        log = self.having(Mark(log_id, *under))
        assert log is not None
        return self.root(log, size)

    def signed(self, head: SignedHead) -> bool | None:
        genesis = self.holder.genesis(head.log_id)
        if genesis is None:
            return None
        try:
            verify_head(head, genesis)
        except (BadInput, VerificationFailed):
            return False
        return True


class State:
    """A folded state in a dict."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.values.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key in sorted(key for key in self.values if key.startswith(prefix)):
            yield key, self.values[key]

    def apply(self, folded: Folded) -> None:
        for key, value in folded.delta:
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value
