"""Following derivation maps: whose the tokens are that were found in a derived text (R3, R4).

- R3 A token of a contribution belongs to the contribution that its map names for it; there the map
  of that one is looked at in turn, so a copy of a copy pays the first. Of several maps of one
  contribution those that the witnesses upheld come before all others; of the maps left that name
  the token, the one whose source is first in ledger order is taken (then the least source document
  and token).
- An entry counts when its source is final in an earlier epoch than its subject. Each step goes to
  an earlier epoch, so following ends; after MAX_STEPS the token stays where it is.
- What ends in a contribution that left the scope (withdrawn, erased) belongs to nobody: no receipt
  may name that one, and the copier must not gain by its leaving.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final, NamedTuple

from openledger_node.attribution.derivation_map import (
    MAX_ENTRIES,
    MapEntry,
    normal_form,
    tokens_by_source,
)
from openledger_node.attribution.reference import Span
from openledger_node.attribution.scope import LedgerOrder
from openledger_node.attribution.weights import UNATTRIBUTED_KEY
from openledger_node.ledger.kinds import MAX_SOURCES

MAX_STEPS: Final = 64
"""Maps followed for one token: copies of copies of copies, one an epoch."""
MAX_MAPS: Final = 16
"""Maps of one contribution that count: upheld ones first, then as given."""


class Piece(NamedTuple):
    """Tokens [token, token + length) of a contribution's document."""

    contribution: bytes
    document: int
    token: int
    length: int


@dataclass(frozen=True)
class HeldMap:
    """A map that counts, of contribution `subject`. `upheld`: by the witnesses.

    What is worked out of its entries is kept with it: a map may serve many uses.
    """

    subject: bytes
    entries: tuple[MapEntry, ...]
    upheld: bool = False

    @cached_property
    def sources(self) -> frozenset[bytes]:
        return frozenset(entry.contribution for entry in self.entries)

    @cached_property
    def _documents(self) -> dict[int, tuple[list[int], list[MapEntry]]]:
        """{document: (starts, entries)}, in order."""
        found: dict[int, tuple[list[int], list[MapEntry]]] = {}
        for entry in self.entries:
            starts, entries = found.setdefault(entry.document, ([], []))
            starts.append(entry.start)
            entries.append(entry)
        return found

    def over(self, document: int, first: int, stop: int) -> list[MapEntry]:
        """The entries that lie over tokens [first, stop) of a document."""
        starts, entries = self._documents.get(document, ([], []))
        index = max(0, bisect_right(starts, first) - 1)
        if index < len(entries) and entries[index].end <= first:
            index += 1
        return entries[index : bisect_left(starts, stop)]


class Redirect:
    """Maps in force, given in the order of the events that declared them. `orders` has every final
    contribution that they name, subjects included; `gone` are those that left the scope.

    Calling it with a span gives [(contribution id, tokens)], which add up to the span's length, as
    `weights.count_tokens` takes them.
    """

    def __init__(
        self,
        maps: Iterable[HeldMap],
        orders: Mapping[bytes, LedgerOrder],
        gone: Container[bytes] = frozenset(),
    ) -> None:
        self._orders = orders
        self._gone = gone
        self._maps: dict[bytes, list[tuple[HeldMap, frozenset[bytes]]]] = {}
        for held in sorted(maps, key=lambda held: not held.upheld):
            of_subject = self._maps.setdefault(held.subject, [])
            if len(of_subject) < MAX_MAPS:
                counting = {key for key in held.sources if self._counts(held.subject, key)}
                of_subject.append((held, frozenset(counting)))

    def _counts(self, subject: bytes, source: bytes) -> bool:
        below, above = self._orders.get(subject), self._orders.get(source)
        return below is not None and above is not None and above[0] < below[0]

    def __bool__(self) -> bool:
        return any(counting for maps in self._maps.values() for _, counting in maps)

    def __call__(self, span: Span) -> list[tuple[bytes, int]]:
        counts: dict[bytes, int] = {}
        for piece in self.follow(span.contribution_id, span.document, span.token, span.length):
            moved = piece.contribution != span.contribution_id
            gone = moved and piece.contribution in self._gone
            named = UNATTRIBUTED_KEY if gone else piece.contribution
            counts[named] = counts.get(named, 0) + piece.length
        return list(counts.items())

    def follow(self, contribution: bytes, document: int, token: int, length: int) -> list[Piece]:
        """Whose the tokens are, in their order, and where they stand there."""
        pieces = [Piece(contribution, document, token, length)]
        for _ in range(MAX_STEPS):
            further = [part for piece in pieces for part in self._step(piece)]
            if further == pieces:
                break
            pieces = further
        return pieces

    def _step(self, piece: Piece) -> Iterator[Piece]:
        maps = self._maps.get(piece.contribution)
        if maps is None:
            yield piece
            return
        end = piece.token + piece.length
        found = []
        for held, counting in maps:
            over = held.over(piece.document, piece.token, end)
            found.append((held.upheld, deque(e for e in over if e.contribution in counting)))
        edges = {piece.token, end}
        for _, entries in found:
            for entry in entries:
                edges.update((max(entry.start, piece.token), min(entry.end, end)))
        for first, stop in pairwise(sorted(edges)):
            chosen = self._chosen(found, first)
            if chosen is None:
                yield Piece(piece.contribution, piece.document, first, stop - first)
            else:
                place = chosen.source_token + first - chosen.start
                yield Piece(chosen.contribution, chosen.source_document, place, stop - first)

    def _chosen(self, found: list[tuple[bool, deque[MapEntry]]], token: int) -> MapEntry | None:
        """The entry that a token follows; drops entries that end before it."""
        covering = []
        for upheld, entries in found:
            while entries and entries[0].end <= token:
                entries.popleft()
            if entries and entries[0].start <= token:
                covering.append((upheld, entries[0]))
        return min(covering, key=self._rank)[1] if covering else None

    def _rank(self, item: tuple[bool, MapEntry]) -> tuple[bool, LedgerOrder, int, int]:
        upheld, entry = item
        order = self._orders[entry.contribution]
        return not upheld, order, entry.source_document, entry.source_token - entry.start


def resolve(
    entries: Iterable[MapEntry], redirect: Redirect, orders: Mapping[bytes, LedgerOrder]
) -> tuple[MapEntry, ...]:
    """The map to commit to: direct sources replaced by whom their own maps name, within limits.

    At most 256 sources, those with most tokens (ties: ledger order), and MAX_ENTRIES entries, the
    longest (ties: the first).
    """
    followed = []
    for entry in entries:
        start = entry.start
        place = entry.contribution, entry.source_document, entry.source_token
        for piece in redirect.follow(*place, entry.length):
            followed.append(
                MapEntry(
                    entry.document,
                    start,
                    piece.length,
                    piece.contribution,
                    piece.document,
                    piece.token,
                )
            )
            start += piece.length
    joined = normal_form(followed)
    counts = tokens_by_source(joined)
    if len(counts) > MAX_SOURCES:
        ranked = sorted(counts, key=lambda source: (-counts[source], orders[source]))
        kept = set(ranked[:MAX_SOURCES])
        joined = tuple(entry for entry in joined if entry.contribution in kept)
    if len(joined) > MAX_ENTRIES:
        longest = sorted(joined, key=lambda entry: -entry.length)[:MAX_ENTRIES]
        joined = normal_form(longest)
    return joined
