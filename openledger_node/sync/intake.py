"""Taking in one log's leaves, verified piece by piece before anything is stored.

- Y30 With a spine, the segment roots from some segment on, the spine is held to the head first: the
  tree over the subtrees held before it and its roots has the head's root. Then every whole segment
  is held to its root as it fills, and what is wrong is known by its segment.
- Y31 Without a spine the tree over all leaves is held to the head at the end.

Every leaf is hashed once; whoever stores what comes out writes it with the hashes and roots that
were made here. Leaves too long to keep until their segment fills are given out before, to be kept
elsewhere (`park`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from openledger_node.ledger.acceptance import first_fault
from openledger_node.ledger.errors import BadInput, VerificationFailed
from openledger_node.ledger.events import SEGMENT_LEAVES
from openledger_node.ledger.heads import VerifiedHead
from openledger_node.ledger.merkle import Frontier, leaf_hashes, node_hash, root_of_hashes

SEGMENT_LEVEL: Final = SEGMENT_LEAVES.bit_length() - 1
HASH_BYTES: Final = 32


class PrefixMismatch(VerificationFailed):
    """The history that a head stands for does not extend the one held: a fork, or a lie."""

    default_code = "prefix_mismatch"


@dataclass(frozen=True, slots=True)
class Sealed:
    """Whole segments, from `first_segment` on: their leaves, leaf hashes and roots.

    The first `parked` leaves of them are not among `leaves`: they were given out before.
    """

    first_segment: int
    leaves: list[bytes]
    hashes: list[bytes]
    roots: list[bytes]
    parked: int = 0


@dataclass(frozen=True, slots=True)
class Tail:
    """What is left after the last whole segment, and the frontier of the whole log.

    The first `parked` leaves of it are not among `leaves`: they were given out before.
    """

    first: int
    leaves: list[bytes]
    frontier: Frontier
    parked: int = 0


def split_spine(spine: bytes) -> list[bytes]:
    """The roots in a spine as it travels: 32 bytes each."""
    return [spine[at : at + HASH_BYTES] for at in range(0, len(spine), HASH_BYTES)]


def root_of_spine(before: Frontier, roots: Sequence[bytes], size: int) -> bytes:
    """The root over `size` leaves, of which `before` has the first, a whole number of segments.

    `roots` are those of the segments after it, the last one of what there is of it. The tree over
    whole segments and such a rest is the log's own, for RFC 6962 splits at powers of two.
    ValueError when there are not as many roots as segments.
    """
    rest = size % SEGMENT_LEAVES
    if len(roots) != -(-(size - before.size) // SEGMENT_LEAVES):
        raise ValueError(f"{len(roots)} roots for leaves {before.size} to {size}")
    whole = before.extend_subtrees(SEGMENT_LEVEL, roots[:-1] if rest else roots)
    if not rest:
        return whole.root()
    result = roots[-1]
    for node in reversed(whole.nodes):
        result = node_hash(node, result)
    return result


class Intake:
    """One log's leaves on their way in, under a verified head.

    `before` covers whole segments that are held; `held` are the leaves after it that are held too.
    """

    def __init__(
        self,
        head: VerifiedHead,
        before: Frontier,
        held: Sequence[bytes],
        spine: Sequence[bytes] | None = None,
    ) -> None:
        self._head = head
        self._frontier = before
        self._leaves = list(held)
        self._hashes = leaf_hashes(self._leaves)
        self._parked = 0
        self._first_root = before.size // SEGMENT_LEAVES
        self._spine = spine
        self._extends = bool(before.size or held)
        if spine is not None:
            self._check_spine(before, spine)

    def _check_spine(self, before: Frontier, spine: Sequence[bytes]) -> None:
        """Y30, and that what is held of the first segment belongs to it where it is whole."""
        try:
            root = root_of_spine(before, spine, self._head.size)
        except ValueError as error:
            raise BadInput(f"its spine does not fit its head: {error}") from None
        if root != self._head.root:
            raise self._differs("its segment roots do not have the root that its head states")

    def _differs(self, text: str) -> BadInput | PrefixMismatch:
        """What does not fit is a lie where nothing was held that it could contradict."""
        return PrefixMismatch(text) if self._extends else BadInput(text)

    @property
    def position(self) -> int:
        """The leaf that is to come next."""
        return self._frontier.size + len(self._hashes)

    @property
    def held_bytes(self) -> int:
        """Bytes of leaves that are kept here until their segment fills."""
        return sum(map(len, self._leaves))

    def park(self) -> tuple[int, list[bytes]]:
        """Gives out the leaves that are kept here, and where they begin; keeps their hashes."""
        first = self._frontier.size + self._parked
        leaves, self._leaves = self._leaves, []
        self._parked += len(leaves)
        return first, leaves

    def feed(self, leaves: list[bytes]) -> Sealed | None:
        """Takes leaves from `position` on; the whole segments that they fill, verified, if any.

        BadInput when a leaf is not acceptable (L2), goes past the head, or a segment does not have
        the root that the spine gives it; PrefixMismatch when that segment has leaves held before.
        """
        position = self.position
        if position + len(leaves) > self._head.size:
            raise BadInput(f"it has more events than the {self._head.size} its head covers")
        refused = first_fault(leaves, position)
        if refused:
            raise BadInput(f"event {refused[0]} is not acceptable: {refused[1]}")
        self._leaves += leaves
        self._hashes += leaf_hashes(leaves)
        count = len(self._hashes) // SEGMENT_LEAVES
        return self._seal(count) if count else None

    def _seal(self, count: int) -> Sealed:
        first = self._frontier.size // SEGMENT_LEAVES
        stop = count * SEGMENT_LEAVES
        hashes = self._hashes[:stop]
        roots = [
            root_of_hashes(hashes[at : at + SEGMENT_LEAVES])
            for at in range(0, stop, SEGMENT_LEAVES)
        ]
        self._hold_to_spine(first, roots)
        inner = stop - self._parked
        sealed = Sealed(first, self._leaves[:inner], hashes, roots, self._parked)
        del self._leaves[:inner]
        del self._hashes[:stop]
        self._parked = 0
        self._frontier = self._frontier.extend_subtrees(SEGMENT_LEVEL, roots)
        return sealed

    def _hold_to_spine(self, first: int, roots: list[bytes]) -> None:
        if self._spine is None:
            return
        at = first - self._first_root
        for index, (root, stated) in enumerate(zip(roots, self._spine[at:], strict=False)):
            if root != stated:
                text = f"segment {first + index} does not have the root that its spine states"
                raise self._differs(text) if first + index == self._first_root else BadInput(text)

    def finish(self) -> Tail:
        """What is left, once all has come. BadInput when it has not, or the root is another.

        PrefixMismatch when there was no spine to tell a lie from a history that differs before
        what came.
        """
        if self.position < self._head.size:
            raise BadInput(f"it has {self.position} events, its head covers {self._head.size}")
        whole = self._frontier.extend(self._hashes)
        if whole.root() != self._head.root:
            raise self._differs("its events do not have the root that its head states")
        return Tail(self._frontier.size, self._leaves, whole, self._parked)
