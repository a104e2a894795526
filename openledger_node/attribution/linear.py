"""All matches of an output at once, in time linear in what it and the scope share.

Asking for one match after the other (matching.py) costs each match its length again and again.
Where output and scope repeat themselves, as a token written a hundred thousand times does, every
start has a match of its own, and that is quadratic. Here nothing is compared twice:

1. Every match of 8 tokens or more lies in a stretch of the scope all of whose 8-grams the output
   has too. Where those 8-grams stand says what the stretches are: the text is not read.
2. Of stretches with the same tokens the earliest counts; the others answer nothing better.
3. Stretches and output are laid end to end, a symbol between them that matches nothing, and their
   suffixes sorted with the lengths that neighbours have in common (LCP).
4. The longest match at i is the larger of the least LCPs on the way from i's suffix to the nearest
   suffix of a stretch before it and after it. All suffixes around it with at least that LCP begin
   with the match; stretches lie in the order of positions, so the least place among them is P(i).

Stretches that are too many for one pass are taken in parts, cut so that no match is lost: a match
has at most the tokens of the output.

J. Karkkainen, G. Manzini, S. Puglisi, "Permuted Longest-Common-Prefix Array", CPM 2009.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

GRAM: Final = 8
PART_SYMBOLS: Final = 2**18
"""Half of what one pass takes, in tokens; or as many as the output has, if that is more."""
NOWHERE: Final = 2**62

Ints = NDArray[np.int64]
Small = NDArray[np.int32]

_BETWEEN, _NEVER, _FIRST = 0, 1, 2  # symbols: between stretches, of the output alone, tokens


@dataclass(frozen=True, slots=True)
class Shared:
    """Where the output's 8-grams stand in the scope.

    `names` has, for each token of the output, the least start with the same 8 tokens, or -1 where 8
    tokens do not fit. `places` ascend, each once, in the order of positions; at places[n] stand the
    8 tokens named starts[n]. A token at place p that is the output's token t is followed by the
    token at p + sizes[t].
    """

    names: Ints
    places: Ints
    starts: Ints


def longest_matches(numbers: Ints, sizes: Ints, shared: Shared) -> tuple[Ints, Ints]:
    """(L, P) at each token of the output; L = 0 where no 8 tokens match.

    `numbers` names the output's tokens: equal tokens have equal numbers. P is given at the starts
    whose match reaches further than that of the start before, and is NOWHERE at all others: those
    own no token (R2).
    """
    best = np.zeros(len(numbers), np.int64)
    place = np.full(len(numbers), NOWHERE, np.int64)
    if not len(shared.places):
        return best, place
    _, symbols = np.unique(numbers, return_inverse=True)
    symbols = (symbols + _FIRST).astype(np.int64)
    is_shared = np.zeros(len(numbers) + 1, np.bool_)
    is_shared[shared.starts] = True
    kept = _kept(is_shared[shared.names])
    own = np.where(kept >= 0, symbols[kept], _NEVER)
    for part in _parts(_without_repeats(shared, sizes), max(PART_SYMBOLS, len(numbers))):
        length, found = _match(symbols, own, part)
        at, real = kept[kept >= 0], kept >= 0
        length, found = length[real], found[real]
        better = length > best[at]
        same = (length == best[at]) & (length > 0)
        place[at] = np.where(better, found, np.where(same, np.minimum(place[at], found), place[at]))
        best[at] = np.maximum(best[at], length)
    ends = np.arange(len(best)) + best
    inside = np.concatenate(([False], (best[1:] > 0) & (ends[1:] <= ends[:-1])))
    place[inside | (best == 0)] = NOWHERE
    return best, place


def _kept(begins: NDArray[np.bool_]) -> Ints:
    """The output's tokens that lie in 8-grams which begin so, with a -1 after each run of them."""
    edges = np.zeros(len(begins) + 1, np.int64)
    first = np.flatnonzero(begins)
    edges[first] += 1
    edges[first + GRAM] -= 1
    inside = np.cumsum(edges[:-1]) > 0
    after = np.concatenate(([False], inside)) & ~np.concatenate((inside, [False]))
    where = np.concatenate((np.flatnonzero(inside), np.flatnonzero(after)))
    kept = np.concatenate((np.flatnonzero(inside), np.full(int(after.sum()), -1)))
    return np.asarray(kept[np.argsort(where)], np.int64)


@dataclass(frozen=True, slots=True)
class _Stretches:
    """8-grams in the order of places; bounds[n] is the first of stretch n."""

    places: Ints
    starts: Ints
    bounds: Ints


def _without_repeats(shared: Shared, sizes: Ints) -> _Stretches:
    """The stretches, of equal ones the earliest."""
    places, starts = shared.places, shared.starts
    goes_on = places[1:] == places[:-1] + sizes[starts[:-1]]
    bounds = np.flatnonzero(np.concatenate(([True], ~goes_on, [True])))
    lengths = np.diff(bounds)
    index = np.arange(len(places)) - np.repeat(bounds[:-1], lengths)
    mixed = (starts.astype(np.uint64) + np.uint64(1)) * _powers(int(lengths.max()))[index]
    sums = np.add.reduceat(mixed, bounds[:-1])
    keys = np.stack((sums, lengths.astype(np.uint64)), axis=1)
    _, first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    model = first[which.reshape(-1)]
    same = starts == starts[np.repeat(bounds[:-1][model], lengths) + index]
    repeats = np.logical_and.reduceat(same, bounds[:-1]) & (model < np.arange(len(model)))
    chosen = np.repeat(~repeats, lengths)
    left = lengths[~repeats]
    return _Stretches(
        places[chosen], starts[chosen], np.concatenate(([0], np.cumsum(left))).astype(np.int64)
    )


def _powers(count: int) -> NDArray[np.uint64]:
    """Odd factors, one for each index within a stretch; only to find candidates for equality."""
    state = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    state ^= state >> np.uint64(29)
    state *= np.uint64(0xBF58476D1CE4E5B9)
    return (state ^ (state >> np.uint64(32))) | np.uint64(1)


def _parts(stretches: _Stretches, size: int) -> Iterator[_Stretches]:
    """Stretches in passes of about 2 * `size`; a longer one in pieces that overlap by `size`."""
    pieces: list[tuple[int, int]] = []
    taken = 0
    for first, end in zip(
        stretches.bounds[:-1].tolist(), stretches.bounds[1:].tolist(), strict=True
    ):
        for start in range(first, max(first + 1, end - size), size):
            stop = min(end, start + 2 * size)
            length = stop - start + GRAM
            if pieces and taken + length > 2 * size:
                yield _pick(stretches, pieces)
                pieces, taken = [], 0
            pieces.append((start, stop))
            taken += length
    if pieces:
        yield _pick(stretches, pieces)


def _pick(stretches: _Stretches, pieces: list[tuple[int, int]]) -> _Stretches:
    chosen = np.concatenate([np.arange(start, stop) for start, stop in pieces])
    lengths = [stop - start for start, stop in pieces]
    bounds = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return _Stretches(stretches.places[chosen], stretches.starts[chosen], bounds)


def _laid_out(symbols: Ints, part: _Stretches) -> tuple[Ints, Ints]:
    """(the stretches end to end as symbols, the place of each 8-gram's first token or NOWHERE)."""
    lengths = np.diff(part.bounds)
    offsets = np.concatenate(([0], np.cumsum(lengths + GRAM)))  # 7 tokens more, and a separator
    text = np.full(int(offsets[-1]), _BETWEEN, np.int64)
    places = np.full(len(text), NOWHERE, np.int64)
    at = np.arange(len(part.starts)) + np.repeat(offsets[:-1] - part.bounds[:-1], lengths)
    text[at] = symbols[part.starts]
    places[at] = part.places
    last = part.starts[part.bounds[1:] - 1]
    for more in range(1, GRAM):
        text[offsets[1:] - 1 - GRAM + more] = symbols[last + more]
    return text, places


def _match(symbols: Ints, own: Ints, part: _Stretches) -> tuple[Ints, Ints]:
    """(L, P) at each of the output's symbols `own` against some stretches."""
    from pydivsufsort import divsufsort, kasai  # type: ignore[import-untyped]

    text, places = _laid_out(symbols, part)
    count = len(text)
    whole = np.concatenate((text, own))
    kind = np.uint8 if whole.max() < 2**8 else np.uint16 if whole.max() < 2**16 else np.uint32
    letters = np.ascontiguousarray(whole.astype(kind))
    order = np.asarray(divsufsort(letters), np.int32)
    common = np.asarray(kasai(letters, order), np.int32)  # with the suffix after it
    is_source = np.concatenate((places < NOWHERE, np.zeros(len(own), np.bool_)))[order]
    before = np.concatenate(([0], common[:-1]))
    lengths = np.maximum(
        _least_since(before, is_source), _least_since(common[::-1], is_source[::-1])[::-1]
    )
    ours = order >= count
    length = np.zeros(len(own), np.int64)
    length[order[ours] - count] = lengths[ours]
    length[length < GRAM] = 0
    rows = np.empty(len(own), np.int64)
    rows[order[ours] - count] = np.flatnonzero(ours)
    ends = np.arange(len(own)) + length
    asked = np.flatnonzero((length > 0) & (ends > np.concatenate(([-1], ends[:-1]))))
    found = np.full(len(own), NOWHERE, np.int64)
    sources = np.where(is_source, order, np.int32(count)).astype(np.int32)
    least = _earliest(common, sources, rows[asked], length[asked])
    found[asked] = places[least]
    return length, found


def _least_since(common: NDArray[np.int32], is_source: NDArray[np.bool_]) -> Ints:
    """At each suffix the least of `common` since the nearest source before it; 0 before any.

    common[n] is what suffix n has in common with the one before it. One running minimum does it:
    each group since a source lies lower than all groups before.
    """
    group = np.cumsum(is_source)
    far = np.int64(2**32)
    lowered = np.where(is_source, far - 1, common.astype(np.int64)) - group * far
    least = np.minimum.accumulate(lowered) + group * far
    least[(group == 0) | is_source] = 0
    return np.asarray(least, np.int64)


def _earliest(common: Small, sources: Small, rows: Ints, length: Ints) -> Ints:
    """The least source among the suffixes around each row that share its first `length` symbols.

    Doubling steps down the rows that are powers of two apart: the least LCP and the least source of
    each such range are made level by level, and the widest step that fits is taken first.
    """
    count = len(sources)
    levels = max(1, count.bit_length())
    low_common, low_sources = [common], [sources]
    for level in range(levels - 1):
        half = 1 << level
        low_common.append(_paired(low_common[-1], half, np.int32(0)))
        low_sources.append(_paired(low_sources[-1], half, np.int32(2**31 - 1)))
    least = sources[rows].astype(np.int64)
    high, low = rows.copy(), rows.copy()
    for level in range(levels - 1, -1, -1):
        width = 1 << level
        # Rows high .. high + width - 1 have LCPs with those after them that are all long enough.
        up = (high + width < count) & (low_common[level][high] >= length)
        least[up] = np.minimum(least[up], low_sources[level][high[up] + 1])
        high[up] += width
        down = low - width >= 0
        down[down] = low_common[level][low[down] - width] >= length[down]
        least[down] = np.minimum(least[down], low_sources[level][low[down] - width])
        low[down] -= width
    return least


def _paired(values: Small, half: int, beyond: np.int32) -> Small:
    """The least of values[n] and values[n + half]; past the end, `beyond`."""
    shifted = np.full(len(values), beyond, np.int32)
    shifted[: len(values) - half] = values[half:]
    return np.asarray(np.minimum(values, shifted), np.int32)
