"""A segment: documents' canonical texts end to end, and the order of all their suffixes.

Every token stands with a byte 1 after it, every document ends with a byte 0; neither byte is in any
token (T3). So two texts have their first k tokens in common exactly when the k tokens of the one,
with their 1s, are the beginning of the other as bytes, and no match crosses from one document to
the next.

The suffixes that begin at tokens are kept as byte offsets in the order of what follows them. All
that begin with some text are then neighbours: two binary searches find them, and the least of their
documents' ranks is the earliest place where the text stands. A rank is a document's place among the
sources of a scope; documents outside have NOWHERE.

A segment is immutable, of at most MAX_TEXT_BYTES, and costs 4 bytes a token besides its text.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openledger_node.attribution.canon import CanonText

AFTER_TOKEN: Final = b"\x01"
AFTER_DOCUMENT: Final = b"\x00"
MAX_TEXT_BYTES: Final = 32 * 2**20
NOWHERE: Final = 2**62
BLOCK_SUFFIXES: Final = 4_096
"""Suffixes whose least rank is kept together, once some text has been found in many of them."""
_GATHER_TOKENS: Final = 2**18
_COUNT_BYTES: Final = 2**20

Ranks = NDArray[np.int64]


def searchable(text: CanonText) -> bytes:
    """A document as it stands in a segment: each token and a 1, and at the end a 0."""
    lowered = np.frombuffer(text.lowered, np.uint8)
    parts = []
    for first in range(0, len(text), _GATHER_TOKENS):
        starts = text.starts[first : first + _GATHER_TOKENS]
        sizes = text.ends[first : first + _GATHER_TOKENS] - starts + 1
        ends = np.cumsum(sizes)
        places = np.repeat((starts - ends + sizes).astype(np.int64), sizes)
        places += np.arange(int(ends[-1]))
        part = lowered.take(places, mode="clip")
        part[ends - 1] = AFTER_TOKEN[0]
        parts.append(part.tobytes())
    return b"".join([*parts, AFTER_DOCUMENT])


def tokens_as_text(tokens: Sequence[bytes]) -> bytes:
    """Tokens as they would stand in a segment, without a document's end."""
    return b"".join([token + AFTER_TOKEN for token in tokens])


@dataclass(frozen=True, slots=True)
class Place:
    """A document of a segment: whose it is, and where its text begins."""

    contribution_id: bytes
    document: int
    start: int


@dataclass(frozen=True)
class Segment:
    """`text` and `suffixes` may be mapped from a file: slices are read when they are needed."""

    places: tuple[Place, ...]
    text: Any  # bytes, or an mmap: what slices into bytes
    suffixes: memoryview
    starts: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        starts = np.array([place.start for place in self.places], np.int64)
        object.__setattr__(self, "starts", starts)

    @property
    def size_bytes(self) -> int:
        """Bytes of text."""
        return len(self.text)

    def documents_at(self, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """The index of the document that each offset lies in."""
        return np.searchsorted(self.starts, offsets, "right") - 1

    def token_at(self, document: int, offset: int) -> int:
        """How many tokens of a document stand before an offset."""
        return sum(
            self.text[at : min(at + _COUNT_BYTES, offset)].count(AFTER_TOKEN)
            for at in range(self.places[document].start, offset, _COUNT_BYTES)
        )

    def text_of(self, document: int) -> bytes:
        """A document's text, its end included."""
        stop = self.places[document + 1].start if document + 1 < len(self.places) else None
        return bytes(self.text[self.places[document].start : stop])


def build_segment(documents: Sequence[tuple[bytes, int, bytes]]) -> Segment:
    """The segment of [(contribution id, document, searchable text)], in that order.

    ValueError when they are more than MAX_TEXT_BYTES, unless it is one document alone.
    """
    from pydivsufsort import divsufsort  # type: ignore[import-untyped]

    places = []
    start = 0
    for contribution_id, document, text in documents:
        places.append(Place(contribution_id, document, start))
        start += len(text)
    if start > MAX_TEXT_BYTES and len(documents) > 1:
        raise ValueError(f"{start:,} bytes of text: a segment has at most {MAX_TEXT_BYTES:,}")
    whole = b"".join([text for _, _, text in documents])
    letters = np.frombuffer(bytearray(whole), np.uint8)
    if not len(letters):
        return Segment(tuple(places), whole, memoryview(b"").cast("I"))
    begins = np.zeros(len(letters), np.bool_)
    begins[1:] = letters[:-1] <= AFTER_TOKEN[0]
    begins[0] = True
    begins &= letters > AFTER_TOKEN[0]
    order = divsufsort(letters)
    suffixes = order[begins[order]].astype(np.uint32)
    return Segment(tuple(places), whole, memoryview(suffixes.tobytes()).cast("I"))


class View:
    """A segment under the ranks of a scope; `ranks[d]` is NOWHERE for a document outside it."""

    def __init__(self, segment: Segment, ranks: Ranks) -> None:
        self.segment = segment
        self.ranks = ranks
        self._is_whole = bool((ranks < NOWHERE).all())
        self.is_empty = bool((ranks >= NOWHERE).all())
        self._least: NDArray[np.int64] | None = None

    def _range(self, text: bytes) -> tuple[int, int]:
        """The suffixes that begin with a text: [low, high)."""
        segment = self.segment
        whole, suffixes, size = segment.text, segment.suffixes, len(text)

        def beginning(offset: int) -> Any:
            return whole[offset : offset + size]

        low = bisect_left(suffixes, text, key=beginning)
        if low == len(suffixes) or whole[suffixes[low] : suffixes[low] + size] != text:
            return low, low
        return low, bisect_right(suffixes, text, low, key=beginning)

    def has(self, text: bytes) -> bool:
        """Whether a document of the scope has this text, which ends with a token's end."""
        if self.is_empty:
            return False
        if not self._is_whole:
            low, high = self._range(text)
            return self._least_rank(low, high) < NOWHERE
        segment, size = self.segment, len(text)
        whole, suffixes = segment.text, segment.suffixes
        low = bisect_left(suffixes, text, key=lambda offset: whole[offset : offset + size])
        return low < len(suffixes) and whole[suffixes[low] : suffixes[low] + size] == text

    def places(self, text: bytes) -> tuple[Ranks, NDArray[np.int64]]:
        """(ranks, offsets within their documents) of everywhere the text stands in the scope.

        In no order. The text is any number of whole tokens, so this looks up n-grams too.
        """
        low, high = self._range(text)
        offsets = self._offsets(low, high)
        documents = self.segment.documents_at(offsets)
        inside = self.ranks[documents] < NOWHERE
        starts = self.segment.starts[documents[inside]]
        return self.ranks[documents[inside]], offsets[inside] - starts

    def earliest(self, text: bytes) -> tuple[int, int, int] | None:
        """(rank, document of the segment, offset) where the text stands first, if it does."""
        if self.is_empty:
            return None
        low, high = self._range(text)
        rank = self._least_rank(low, high)
        if rank >= NOWHERE:
            return None
        document = int(np.flatnonzero(self.ranks == rank)[0])
        start = self.segment.places[document].start
        offset = self._first_in(document, low, high)
        return rank, document, offset if offset is not None else start

    def _first_in(self, document: int, low: int, high: int) -> int | None:
        """The least offset in a document among the suffixes [low, high)."""
        places = self.segment.places
        start = places[document].start
        stop = places[document + 1].start if document + 1 < len(places) else 2**62
        least: int | None = None
        for first in range(low, high, 16 * BLOCK_SUFFIXES):
            offsets = self._offsets(first, min(high, first + 16 * BLOCK_SUFFIXES))
            inside = offsets[(offsets >= start) & (offsets < stop)]
            if len(inside):
                found = int(inside.min())
                least = found if least is None else min(least, found)
        return least

    def _offsets(self, low: int, high: int) -> NDArray[np.int64]:
        return np.frombuffer(self.segment.suffixes[low:high], np.uint32).astype(np.int64)

    def _least_rank(self, low: int, high: int) -> int:
        """The least rank among the suffixes [low, high)."""
        if low >= high:
            return NOWHERE
        if high - low <= 2 * BLOCK_SUFFIXES:
            return self._least_of(low, high)
        first, last = -(-low // BLOCK_SUFFIXES), high // BLOCK_SUFFIXES
        blocks = self._blocks()[first:last]
        inner = int(blocks.min()) if len(blocks) else NOWHERE
        before = self._least_of(low, first * BLOCK_SUFFIXES)
        after = self._least_of(last * BLOCK_SUFFIXES, high)
        return min(before, inner, after)

    def _least_of(self, low: int, high: int) -> int:
        if low >= high:
            return NOWHERE
        return int(self.ranks[self.segment.documents_at(self._offsets(low, high))].min())

    def _blocks(self) -> NDArray[np.int64]:
        """The least rank of each whole block of suffixes: made when a text stands in many."""
        if self._least is None:
            count = len(self.segment.suffixes) // BLOCK_SUFFIXES
            self._least = np.array(
                [
                    self._least_of(block * BLOCK_SUFFIXES, (block + 1) * BLOCK_SUFFIXES)
                    for block in range(count)
                ],
                np.int64,
            )
        return self._least
