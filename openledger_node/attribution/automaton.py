"""The longest matches of one sequence in another, in time linear in both however periodic they are.

A suffix automaton of the output read backwards has one state for each set of output positions at
which the same runs start. Reading a source backwards through it keeps, at every source position p,
the longest run that starts at p and stands in the output too. Each state notes its longest such
run with that run's least p, and the least p of any. The latter holds for its ancestors along the
suffix links as well: their runs begin every run of the state. The longest match at output position
i is what the state of i's whole run notes, or else the nearest ancestor that notes anything.

A. Blumer et al., "The smallest automaton recognizing the subwords of a text", Theoretical Computer
Science 40 (1985).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_NOWHERE: Final = 2**63 - 1


class LongestMatches:
    """What the sources read so far hold of `symbols`; equal symbols match."""

    def __init__(self, symbols: Sequence[int]) -> None:
        self._next: list[dict[int, int]] = [{}]
        self._link = [-1]
        self._length = [0]
        self._state_of = [0] * len(symbols)
        last = 0
        for index in range(len(symbols) - 1, -1, -1):
            last = self._state_of[index] = self._extend(last, symbols[index])
        self._best = [0] * len(self._next)
        self._place = [0] * len(self._next)
        self._first = [_NOWHERE] * len(self._next)

    def _extend(self, last: int, symbol: int) -> int:
        """Adds one symbol to the automaton; the state of the whole run so far."""
        following, link, length = self._next, self._link, self._length
        state = len(following)
        following.append({})
        link.append(0)
        length.append(length[last] + 1)
        while last != -1 and symbol not in following[last]:
            following[last][symbol] = state
            last = link[last]
        if last == -1:
            return state
        target = following[last][symbol]
        if length[last] + 1 == length[target]:
            link[state] = target
            return state
        clone = len(following)
        following.append(following[target].copy())
        link.append(link[target])
        length.append(length[last] + 1)
        while last != -1 and following[last].get(symbol) == target:
            following[last][symbol] = clone
            last = link[last]
        link[target] = link[state] = clone
        return state

    def read(self, source: Sequence[int], first: int) -> None:
        """Takes in a source whose symbols stand at positions `first` and on.

        Sources are read last position first, so that of equal runs the later read is the earlier.
        """
        following, link, length = self._next, self._link, self._length
        best, place, least = self._best, self._place, self._first
        state = run = 0
        for index in range(len(source) - 1, -1, -1):
            symbol = source[index]
            while state and symbol not in following[state]:
                state = link[state]
                run = length[state]
            if symbol in following[state]:
                state = following[state][symbol]
                run += 1
                least[state] = first + index
                if run >= best[state]:
                    best[state] = run
                    place[state] = first + index

    def longest(self) -> tuple[list[int], list[int]]:
        """(length, least position) of the longest match at each symbol; length 0 without one."""
        link, length = self._link, self._length
        best, place, least = self._best[:], self._place[:], self._first[:]
        order = sorted(range(1, len(link)), key=length.__getitem__)
        for state in reversed(order):
            if least[state] == _NOWHERE:
                continue
            above = link[state]
            if best[above] < length[above] or place[above] > least[state]:
                best[above], place[above] = length[above], least[state]
            least[above] = min(least[above], least[state])
        for state in order:
            if not best[state]:
                best[state], place[state] = best[link[state]], place[link[state]]
        return [best[state] for state in self._state_of], [place[state] for state in self._state_of]
