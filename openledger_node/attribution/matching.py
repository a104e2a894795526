"""R1 and R2 by an index: the same integers as the reference, without reading the scope.

Of all starts i only those matter whose longest match reaches further than the one of i - 1: a match
that ends where the one before it ends lies inside it and is shorter, so it owns no token (R2). They
are found from left to right. Whether a piece of the output stands in the scope can only change once
when the piece grows, or shrinks from its left: so where it ends, and where the next one begins, is
found by doubling steps and halving them, some twenty questions for a match however long it is.

Each question is two binary searches in each segment. Novel text costs one of them a token: a match
of weight 16 has at least 8 tokens, and their 8 have to stand in the scope together.

A question costs the bytes that it is about. Where output and scope repeat themselves every start
may have a match of its own. Once the questions about a piece passed MAX_ASKED_BYTES and
MAX_ASKED_TIMES its size, or its matches MAX_MATCHES and one in TOKENS_A_MATCH tokens, all of them
are computed together instead (repetitions.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import Final

import numpy as np

from openledger_node.attribution.reference import (
    GRAM,
    MAX_OUTPUT_TOKENS,
    MIN_WEIGHT,
    Attribution,
    Span,
    assign,
    runs_of,
    token_weights,
)
from openledger_node.attribution.repetitions import RANK_STEP, match_all
from openledger_node.attribution.segment import View, tokens_as_text

MAX_ASKED_BYTES: Final = 2**21
MAX_ASKED_TIMES: Final = 256
MAX_MATCHES: Final = 512
TOKENS_A_MATCH: Final = 16


@dataclass(frozen=True, slots=True)
class Source:
    """A document of the scope by its rank."""

    contribution_id: bytes
    document: int


@dataclass(frozen=True, slots=True)
class IndexedScope:
    """The segments under the ranks of the sources, and under those of the common texts."""

    views: tuple[View, ...]
    commons: tuple[View, ...]
    sources: tuple[Source, ...]


class _Output:
    """An output as searchable text."""

    def __init__(self, tokens: Sequence[bytes]) -> None:
        self.text = tokens_as_text(tokens)
        self.starts = list(accumulate((len(token) + 1 for token in tokens), initial=0))

    def piece(self, start: int, stop: int) -> bytes:
        return self.text[self.starts[start] : self.starts[stop]]


class _Asked:
    """Whether pieces of the output stand in the scope, and how many bytes that was about."""

    def __init__(self, output: _Output, views: Sequence[View]) -> None:
        self._output = output
        self._views = views
        self.size_bytes = 0
        self.matches = 0

    def too_much(self, size_bytes: int, tokens: int) -> bool:
        """Notes one more match; whether all of that is more than a piece of this size is worth."""
        self.matches += 1
        most_bytes = max(MAX_ASKED_BYTES, MAX_ASKED_TIMES * size_bytes)
        return self.size_bytes > most_bytes or self.matches > max(
            MAX_MATCHES, tokens // TOKENS_A_MATCH
        )

    def has(self, start: int, stop: int) -> bool:
        text = self._output.piece(start, stop)
        self.size_bytes += len(text)
        return any(view.has(text) for view in self._views)


def attribute_indexed(tokens: Sequence[bytes], scope: IndexedScope) -> Attribution:
    """As `reference.attribute`, by an index. ValueError past MAX_OUTPUT_TOKENS."""
    if len(tokens) > MAX_OUTPUT_TOKENS:
        raise ValueError(f"{len(tokens):,} tokens: at most {MAX_OUTPUT_TOKENS:,} in one output")
    output = _Output(tokens)
    cuts = _cuts(output, len(tokens), scope.commons)
    edges = [0, *(edge for cut in cuts for edge in cut), len(tokens)]
    best = np.zeros(len(tokens), np.int64)
    place = np.zeros(len(tokens), np.int64)

    for index, (first, last) in enumerate(pairwise(edges)):
        if index % 2:  # what lies between the edges of a cut
            continue
        asked = _Asked(output, scope.views)
        size = len(output.piece(first, last))
        for start, stop in _maximal_matches(first, last, asked.has):
            if asked.too_much(size, last - first):
                best[first:last], place[first:last] = match_all(tokens[first:last], scope.views)
                break
            best[start] = stop - start
            place[start] = _position(output.piece(start, stop), scope.views)
    weights = np.concatenate(([0], np.cumsum(token_weights(tokens))))
    heavy = weights[np.arange(len(best)) + best] - weights[: len(best)] >= MIN_WEIGHT
    spans = []
    for i, start, end in assign(best, place, heavy & (best > 0)):
        rank, token = divmod(int(place[i]), RANK_STEP)
        source = scope.sources[rank]
        spans.append(
            Span(
                start,
                end - start,
                rank,
                source.contribution_id,
                source.document,
                token + start - i,
            )
        )
    return Attribution(len(tokens), tuple(spans), tuple(cuts))


def _cuts(output: _Output, count: int, commons: Sequence[View]) -> list[tuple[int, int]]:
    """R1: the runs of tokens in 8-grams that a common text has."""
    cut = np.zeros(count, np.bool_)
    commons = [view for view in commons if not view.is_empty]
    if commons:
        for start in range(count - GRAM + 1):
            text = output.piece(start, start + GRAM)
            if any(view.has(text) for view in commons):
                cut[start : start + GRAM] = True
    return runs_of(cut)


def _maximal_matches(
    first: int, last: int, has: Callable[[int, int], bool]
) -> Iterator[tuple[int, int]]:
    """[start, stop) of the matches of 8 tokens or more that lie in no longer one of an earlier
    start, ascending.
    """
    start = first
    while start + GRAM <= last:
        if not has(start, start + GRAM):
            start += 1
            continue
        stop = _last_true(start + GRAM, last, partial(has, start))
        yield start, stop
        if stop == last:
            break
        # The next one reaches past `stop`: it begins at the least start from which it does.
        newest = stop + 1 - GRAM
        if has(newest, stop + 1):

            def reaches(back: int, newest: int = newest, stop: int = stop) -> bool:
                return has(newest - back, stop + 1)

            start = newest - _last_true(0, newest - start - 1, reaches)
        else:
            start = newest + 1


def _last_true(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The greatest n in [low, high] with holds(n), which holds at low and up to some n."""
    step = 1
    while low + step <= high and holds(low + step):
        low += step
        step *= 2
    top = min(low + step - 1, high)
    while low < top:
        middle = (low + top + 1) // 2
        if holds(middle):
            low = middle
        else:
            top = middle - 1
    return low


def _position(text: bytes, views: Sequence[View]) -> int:
    """The earliest position of a text that stands in the scope."""
    least: tuple[int, int, int, View] | None = None
    for view in views:
        found = view.earliest(text)
        if found is not None and (least is None or found[0] < least[0]):
            least = (*found, view)
    if least is None:
        raise ValueError("the text does not stand in the scope")
    rank, document, offset, view = least
    return rank * RANK_STEP + view.segment.token_at(document, offset)
