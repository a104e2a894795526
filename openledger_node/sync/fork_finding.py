"""Proving a fork of a long log from two spines and one segment of each side.

- Y32 Of two histories of a log the first segment whose roots differ, over the leaves that both have
  of it, holds the first difference. The paths of a proof (L6) need of each side the roots of the
  other segments and the leaf hashes of that one: about 125 KB and 256 events at a million events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.events import MAX_BODY_BYTES, SEGMENT_LEAVES
from openledger_node.ledger.forks import ForkEvidence
from openledger_node.ledger.heads import VerifiedHead
from openledger_node.ledger.merkle import (
    Frontier,
    consistency_path,
    inclusion_path,
    root_of_hashes,
    source_of_hashes,
)
from openledger_node.sync.intake import SEGMENT_LEVEL


def first_differing_segment(
    ours: Sequence[bytes], theirs: Sequence[bytes], common_size: int, size: int
) -> int | None:
    """The first segment in which two histories may differ; None when they cannot.

    `ours` are the segment roots of the first `common_size` leaves held here, `theirs` those of the
    whole other history of `size` leaves. The last of ours may cover fewer leaves than the same of
    theirs: it is then named without being known to differ.
    """
    for segment, root in enumerate(ours):
        if root != theirs[segment]:
            return segment
    rest = common_size % SEGMENT_LEAVES
    if rest and common_size < size:
        return len(ours) - 1
    return None


@dataclass(frozen=True, slots=True)
class History:
    """One side's history: its head, its segment roots, and the leaf hashes of one segment."""

    head: VerifiedHead
    roots: tuple[bytes, ...]
    segment: int
    hashes: tuple[bytes, ...]

    @staticmethod
    def of(
        head: VerifiedHead, roots: Sequence[bytes], segment: int, hashes: Sequence[bytes]
    ) -> History:
        """BadInput when the leaf hashes are not those of the segment."""
        expected = min(SEGMENT_LEAVES, head.size - segment * SEGMENT_LEAVES)
        if len(hashes) != expected or root_of_hashes(hashes) != roots[segment]:
            raise BadInput(f"its events of segment {segment} do not have the segment's root")
        return History(head, tuple(roots), segment, tuple(hashes))

    # The tree over leaves and the tree over segment roots split at the same places (RFC 6962), so
    # a path of the one is a path within a segment and then a path of the other.

    def _above(self) -> list[bytes]:
        return inclusion_path(source_of_hashes(self.roots), self.segment, len(self.roots))

    def root_at(self, within: int) -> bytes:
        """The root over the leaves before leaf `within` of the segment."""
        before = Frontier().extend_subtrees(SEGMENT_LEVEL, self.roots[: self.segment])
        return before.extend(self.hashes[:within]).root()

    def inclusion(self, within: int) -> tuple[bytes, ...]:
        """The path from leaf `within` of the segment to the head."""
        below = inclusion_path(source_of_hashes(self.hashes), within, len(self.hashes))
        return (*below, *self._above())

    def consistency(self, within: int) -> tuple[bytes, ...]:
        """The path from the leaves before leaf `within` of the segment to the head."""
        if not within and not self.segment:
            return ()
        if not within:
            return tuple(
                consistency_path(source_of_hashes(self.roots), self.segment, len(self.roots))
            )
        source = source_of_hashes(self.hashes)
        below = consistency_path(source, within, len(self.hashes), whole=not self.segment)
        return (*below, *self._above())


def prove_between(a: History, b: History) -> ForkEvidence | None:
    """The proof (L6) when the two histories differ in their segment; None when they do not."""
    if a.head.size > b.head.size:
        a, b = b, a
    pairs = zip(a.hashes, b.hashes, strict=False)
    within = next((i for i, (left, right) in enumerate(pairs) if left != right), None)
    if within is None:
        return None
    common = a.segment * SEGMENT_LEAVES + within
    evidence = ForkEvidence(
        genesis=a.head.genesis,
        head_a=a.head.signed,
        head_b=b.head.signed,
        common=common,
        common_root=a.root_at(within),
        consistency_a=a.consistency(within),
        consistency_b=b.consistency(within),
        leaf_a=a.hashes[within],
        path_a=a.inclusion(within),
        leaf_b=b.hashes[within],
        path_b=b.inclusion(within),
    )
    if len(encode(evidence)) > MAX_BODY_BYTES:
        raise BadInput("the fork evidence exceeds the body of log.fork")
    return evidence
