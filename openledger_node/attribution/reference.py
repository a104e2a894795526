"""R1 and R2 over a scope in memory: the reference that every index must agree with.

- R1: a token of the output is cut when it lies in an 8-gram of the output that occurs in a common
  text of the scope. Runs are looked for within what remains between cuts; pieces are not joined.
- R2: L(i) is the longest match in the scope that starts at output token i, P(i) its earliest
  position. Matches of weight below 16 do not qualify. Token t belongs to the i with
  i <= t < i + L(i), qualifying, that is least by (-L, P, i).

A token weighs at most 2, so a match of weight 16 has at least 8 tokens: every qualifying match
starts with an 8-gram that both sides share. Those are found first, in bulk; only the stretches of
the scope where they stand are then read token by token (automaton.py), so that the time is linear
in the scope whatever it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from openledger_node.attribution.automaton import LongestMatches
from openledger_node.attribution.canon import canonical_text
from openledger_node.attribution.scope import Scope

GRAM: Final = 8
MIN_WEIGHT: Final = 16
MAX_OUTPUT_TOKENS: Final = 1_000_000

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Span:
    """Output tokens [start, start + length) are tokens [token, token + length) of a document.

    `source` is the document's index among the scope's sources.
    """

    start: int
    length: int
    source: int
    contribution_id: bytes
    document: int
    token: int


@dataclass(frozen=True, slots=True)
class Attribution:
    """Which output tokens belong to what: each to one span, to a cut, or to nobody."""

    token_count: int
    spans: tuple[Span, ...]
    cuts: tuple[tuple[int, int], ...]

    @property
    def unattributed_tokens(self) -> int:
        """Tokens of no span; what was cut is among them."""
        return self.token_count - sum(span.length for span in self.spans)


@dataclass(frozen=True, slots=True)
class _Joined:
    """Documents end to end as token numbers; `inside` marks starts of 8-grams in one document."""

    numbers: Ints
    inside: Flags
    bounds: list[int]


def _number(tokens: Sequence[bytes]) -> dict[bytes, int]:
    return {token: number for number, token in enumerate(dict.fromkeys(tokens), 1)}


def _join(texts: Sequence[Sequence[bytes]], known: dict[bytes, int]) -> _Joined:
    """Tokens that the output does not have all get the number 0."""
    bounds = [0]
    for text in texts:
        bounds.append(bounds[-1] + len(text))
    numbers = np.fromiter(
        (known.get(token, 0) for text in texts for token in text), np.int64, bounds[-1]
    )
    inside = np.ones(bounds[-1], np.bool_)
    for start, end in pairwise(bounds):
        inside[max(start, end - GRAM + 1) : end] = False
    return _Joined(numbers, inside, bounds)


def _gram_starts(joined: _Joined) -> Ints:
    """Where an 8-gram starts that has none but the output's tokens."""
    missing = np.concatenate(([0], np.cumsum(joined.numbers == 0)))
    starts = np.flatnonzero(joined.inside)
    complete: Ints = starts[missing[starts + GRAM] == missing[starts]]
    return complete


def _names(numbers: Ints, starts: Ints) -> NDArray[Any]:
    """The 8-grams at `starts` as comparable values: their 8 numbers, four bytes each."""
    columns = np.empty((len(starts), GRAM), ">u4")
    for offset in range(GRAM):
        columns[:, offset] = numbers[starts + offset]
    return columns.view(f"V{4 * GRAM}").reshape(len(starts))


def _gram_ids(output: _Joined, other: _Joined) -> tuple[Ints, Ints, Ints, Ints]:
    """(starts, ids) of the output's 8-grams and of those of `other` that the output has too."""
    out_starts, starts = _gram_starts(output), _gram_starts(other)
    numbers: dict[bytes, int] = {}
    names = _names(output.numbers, out_starts).tolist()
    out_ids = np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)
    found = _names(other.numbers, starts).tolist()
    ids = np.array([numbers.get(name, -1) for name in found], np.int64)
    return out_starts, out_ids, starts[ids >= 0], ids[ids >= 0]


def runs_of(flags: Flags) -> list[tuple[int, int]]:
    """[start, end) of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _cut(output: _Joined, commons: _Joined) -> Flags:
    """R1: which output tokens are cut."""
    out_starts, out_ids, _, ids = _gram_ids(output, commons)
    cut = np.zeros(len(output.numbers), np.bool_)
    for start in out_starts[np.isin(out_ids, ids)]:
        cut[start : start + GRAM] = True
    return cut


def _longest(output: _Joined, scope: _Joined) -> tuple[Ints, Ints]:
    """(L, P) for each output token; L = 0 where no 8-gram of the scope starts."""
    size = len(output.numbers)
    best, place = np.zeros(size, np.int64), np.zeros(size, np.int64)
    out_starts, out_ids, starts, ids = _gram_ids(output, scope)
    shared = np.zeros(size, np.bool_)
    for start in out_starts[np.isin(out_ids, ids)]:
        shared[start : start + GRAM] = True
    # What lies between two shared stretches matches nothing: one symbol of its own stands for it.
    kept = np.flatnonzero(shared | np.concatenate(([False], shared[:-1])))
    symbols = np.where(shared[kept], output.numbers[kept], -1 - kept)
    matches = LongestMatches(symbols.tolist())
    begins = np.zeros(len(scope.numbers) + 1, np.bool_)
    begins[starts] = True
    for start, end in reversed(runs_of(begins)):
        matches.read(scope.numbers[start : end + GRAM - 1].tolist(), start)
    lengths, positions = matches.longest()
    best[kept], place[kept] = lengths, positions
    best[best < GRAM] = 0
    return best, place


def assign(best: Ints, place: Ints, qualifies: Flags) -> list[tuple[int, int, int]]:
    """R2's last step: [(start i, from token, to token)], each token with the least i over it."""
    candidates = np.flatnonzero(qualifies)
    order = np.lexsort((candidates, place[candidates], -best[candidates]))
    free = list(range(len(best) + 1))  # free[t] leads to the next token that has no owner yet

    def next_free(token: int) -> int:
        root = token
        while free[root] != root:
            root = free[root]
        while free[token] != root:
            free[token], token = root, free[token]
        return root

    pieces = []
    for i in candidates[order].tolist():
        token, stop = next_free(i), i + int(best[i])
        while token < stop:
            start = token
            while token < stop and free[token] == token:
                free[token] = token + 1
                token += 1
            pieces.append((i, start, token))
            token = next_free(token)
    return sorted(pieces, key=lambda piece: piece[1])


def token_weights(tokens: Sequence[bytes]) -> Ints:
    """What each token weighs: tokens with a space between them are the same tokens again."""
    text = canonical_text(b" ".join(tokens))
    if text is None or len(text) != len(tokens):
        raise ValueError("not the tokens of a canonical text")
    return text.weights.astype(np.int64)


def attribute(tokens: Sequence[bytes], scope: Scope) -> Attribution:
    """R1 and R2 for an output of `tokens`. ValueError past MAX_OUTPUT_TOKENS."""
    if len(tokens) > MAX_OUTPUT_TOKENS:
        raise ValueError(f"{len(tokens):,} tokens: at most {MAX_OUTPUT_TOKENS:,} in one output")
    known = _number(tokens)
    whole = _join([tokens], known)
    cut = _cut(whole, _join([item.tokens for item in scope.commons], known))
    cuts = runs_of(cut)
    edges = [0, *(edge for piece in cuts for edge in piece), len(tokens)]
    output = _join([tokens[a:b] for a, b in pairwise(edges)], known)
    output.inside[cut] = False
    joined = _join([item.tokens for item in scope.sources], known)
    best, place = _longest(output, joined)
    weights = np.concatenate(([0], np.cumsum(token_weights(tokens))))
    heavy = weights[np.arange(len(best)) + best] - weights[: len(best)] >= MIN_WEIGHT
    spans = []
    bounds = np.array(joined.bounds, np.int64)
    for i, start, end in assign(best, place, heavy & (best > 0)):
        position = int(place[i]) + start - i
        source = int(np.searchsorted(bounds, position, "right")) - 1
        item = scope.sources[source]
        token = position - joined.bounds[source]
        spans.append(Span(start, end - start, source, item.contribution_id, item.document, token))
    return Attribution(len(tokens), tuple(spans), tuple(cuts))
