"""Exact numbers for the 5-grams of a text, and where they stand in other texts.

Tokens are numbered by a dictionary, pairs of tokens by their place in a sorted table of pairs,
fours by one of pairs of pairs, fives by one of a four and a token. Each table holds what it is
asked for as one integer, so two grams with one number are equal: there is no hash to collide.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Final

import numpy as np
from numpy.typing import NDArray

GRAM: Final = 5

Ints = NDArray[np.int64]


class GramNumbers:
    """The grams that start at `starts` of `texts` end to end: `grams[i]` is the number of the i-th.

    `count` numbers are given, from 0. No gram may cross from one text to the next.
    """

    def __init__(self, texts: Sequence[Sequence[bytes]], starts: Ints) -> None:
        tokens = dict.fromkeys(token for text in texts for token in text)
        self._known = {token: number for number, token in enumerate(tokens, 1)}
        self._size = len(self._known) + 1
        total = sum(map(len, texts))
        known = self._known
        numbers = np.fromiter((known[token] for text in texts for token in text), np.int64, total)
        first = numbers[starts] * self._size + numbers[starts + 1]
        second = numbers[starts + 2] * self._size + numbers[starts + 3]
        self._pairs = np.unique(np.concatenate((first, second)))
        fours = self._four(np.searchsorted(self._pairs, first), self._index(self._pairs, second))
        self._fours = np.unique(fours)
        fives = np.searchsorted(self._fours, fours) * self._size + numbers[starts + 4]
        self._fives, inverse = np.unique(fives, return_inverse=True)
        self.grams: Ints = inverse.reshape(-1).astype(np.int64)
        self.count = len(self._fives)

    def _four(self, first: Ints, second: Ints) -> Ints:
        return first * len(self._pairs) + second

    @staticmethod
    def _index(table: Ints, keys: Ints) -> Ints:
        """The place of each key in a table; -1 where the table does not have it."""
        if not len(table):
            return np.full(len(keys), -1, np.int64)
        found = np.minimum(np.searchsorted(table, keys), len(table) - 1)
        return np.where(table[found] == keys, found, -1)

    def find(self, texts: Sequence[Sequence[bytes]]) -> tuple[Ints, Ints, Ints]:
        """(gram, index of the text, position in it) of every gram that stands in `texts`.

        In the order of (text, position).
        """
        get = self._known.get
        lengths = np.array([len(text) + 1 for text in texts], np.int64)
        bases = np.cumsum(lengths) - lengths
        total = int(lengths.sum())
        # A number that no token has, after each text, keeps grams from crossing.
        numbers = np.zeros(total, np.int64)
        for text, base in zip(texts, bases.tolist(), strict=True):
            found = map(get, text, repeat(0))
            numbers[base : base + len(text)] = np.fromiter(found, np.int64, len(text))
        whole = np.ones(max(0, total - GRAM + 1), bool)
        for offset in range(GRAM):
            whole &= numbers[offset : offset + len(whole)] != 0
        starts = np.flatnonzero(whole)
        starts, first = self._kept(starts, self._pairs, self._pair_keys(numbers, starts))
        second = self._index(self._pairs, self._pair_keys(numbers, starts + 2))
        starts, first, second = starts[second >= 0], first[second >= 0], second[second >= 0]
        starts, four = self._kept(starts, self._fours, self._four(first, second))
        starts, gram = self._kept(starts, self._fives, four * self._size + numbers[starts + 4])
        text_of = np.searchsorted(bases, starts, "right") - 1
        return gram, text_of, starts - bases[text_of]

    def _pair_keys(self, numbers: Ints, starts: Ints) -> Ints:
        keys: Ints = numbers[starts] * self._size + numbers[starts + 1]
        return keys

    def _kept(self, starts: Ints, table: Ints, keys: Ints) -> tuple[Ints, Ints]:
        """The starts whose keys a table has, with their places in it."""
        found = self._index(table, keys)
        return starts[found >= 0], found[found >= 0]
