"""Matches of an output that repeats itself: its 8-grams are looked up, the rest is linear.py.

Each distinct 8-gram is asked for once in each segment, with all places of it in the scope. What
follows costs time in the output and in the stretches of the scope that share its 8-grams, however
they repeat themselves and each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import numpy as np
from numpy.typing import NDArray

from openledger_node.attribution.linear import GRAM, NOWHERE, Shared, longest_matches
from openledger_node.attribution.segment import AFTER_TOKEN, View, tokens_as_text

RANK_STEP: Final = 2**32
"""A position is rank * this + token, or + offset while nobody has to know the token yet.

Documents have fewer of either.
"""

Ints = NDArray[np.int64]


def match_all(tokens: Sequence[bytes], views: Sequence[View]) -> tuple[Ints, Ints]:
    """(L, P) at each token, as `linear.longest_matches`; P is rank * RANK_STEP + token."""
    known: dict[bytes, int] = {}
    numbers = np.array([known.setdefault(token, len(known)) for token in tokens], np.int64)
    sizes = np.array([len(token) + 1 for token in tokens], np.int64)
    best, place = longest_matches(numbers, sizes, _shared(tokens, views))
    asked = np.flatnonzero(place < NOWHERE)
    place[asked] = _as_tokens(place[asked], views)
    return best, place


def _shared(tokens: Sequence[bytes], views: Sequence[View]) -> Shared:
    """Where the 8-grams of `tokens` stand in the scope."""
    text = tokens_as_text(tokens)
    ends = list(accumulate((len(token) + 1 for token in tokens), initial=0))
    names = np.full(len(tokens), -1, np.int64)
    named: dict[bytes, int] = {}
    places, starts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start in range(len(tokens) - GRAM + 1):
        gram = text[ends[start] : ends[start + GRAM]]
        name = named.setdefault(gram, start)
        names[start] = name
        if name != start:
            continue
        for view in views:
            if view.is_empty:
                continue
            ranks, offsets = view.places(gram)
            places.append(ranks * RANK_STEP + offsets)
            starts.append(np.full(len(ranks), start, np.int64))
    everywhere, of = np.concatenate(places), np.concatenate(starts)
    order = np.argsort(everywhere)
    return Shared(names, everywhere[order], of[order])


def _as_tokens(places: Ints, views: Sequence[View]) -> Ints:
    """Positions by offset as positions by token."""
    ranks, offsets = np.divmod(places, RANK_STEP)
    found = places.copy()
    for view in views:
        for document in np.flatnonzero(np.isin(view.ranks, ranks)).tolist():
            here = ranks == view.ranks[document]
            text = np.frombuffer(view.segment.text_of(document), np.uint8)
            ends = np.flatnonzero(text == AFTER_TOKEN[0])
            numbers = np.searchsorted(ends, offsets[here])
            found[here] = ranks[here] * RANK_STEP + numbers
    return found
