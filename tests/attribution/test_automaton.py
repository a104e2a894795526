"""The automaton beside a search that tries every pair of places."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.attribution.automaton import LongestMatches

symbols = st.one_of(
    st.lists(st.integers(1, 3), max_size=30),
    st.builds(
        lambda unit, n, rest: unit * n + rest,
        st.lists(st.integers(1, 2), max_size=3),
        st.integers(0, 9),
        st.lists(st.integers(0, 3), max_size=5),
    ),
)


def naive(output: list[int], source: list[int]) -> list[tuple[int, int]]:
    """(length, least position), (0, 0) without a match."""
    found = []
    for i in range(len(output)):
        best = (0, 0)
        for p in range(len(source)):
            n = 0
            while i + n < len(output) and p + n < len(source) and output[i + n] == source[p + n]:
                n += 1
            if n > best[0]:
                best = (n, p)
        found.append(best)
    return found


@pytest.mark.rule("R2")
@settings(max_examples=200)
@given(symbols, symbols)
def test_longest_matches_are_those_of_trying_every_pair(
    output: list[int], source: list[int]
) -> None:
    matches = LongestMatches(output)
    matches.read(source, 0)
    lengths, places = matches.longest()
    assert [(n, p if n else 0) for n, p in zip(lengths, places, strict=True)] == naive(
        output, source
    )


@pytest.mark.rule("R2")
@settings(max_examples=100)
@given(symbols, st.lists(symbols, max_size=4))
def test_sources_read_last_first_give_the_earliest_position(
    output: list[int], sources: list[list[int]]
) -> None:
    """A symbol that the output lacks keeps the sources apart, here and in the oracle."""
    matches = LongestMatches(output)
    joined: list[int] = []
    starts = []
    for source in sources:
        starts.append(len(joined))
        joined += [*source, 99]
    for start, source in reversed(list(zip(starts, sources, strict=True))):
        matches.read(source, start)
    lengths, places = matches.longest()
    assert [(n, p if n else 0) for n, p in zip(lengths, places, strict=True)] == naive(
        output, joined
    )


@pytest.mark.rule("R2")
def test_nothing_read_and_nothing_to_match_give_no_match() -> None:
    assert LongestMatches([]).longest() == ([], [])
    assert LongestMatches([1, 2]).longest() == ([0, 0], [0, 0])


@pytest.mark.rule("R2")
def test_periodic_texts_take_a_few_steps_a_symbol() -> None:
    """2,000 output tokens against 50,000 of the same: every pair would be 10^8 steps."""
    matches = LongestMatches([1] * 2_000)
    matches.read([1] * 50_000, 0)
    lengths, places = matches.longest()
    assert lengths == list(range(2_000, 0, -1))
    assert set(places) == {0}
