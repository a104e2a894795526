"""How well spans that were planted are found again: the truth is known, without any index.

Outputs are pieces of documents with words between them that follow no document. A piece belongs to
the earliest document that holds it, which a plain search through all text tells; the words between
belong to nobody.

- token accuracy: tokens said to belong where they do, nobody included, among all
- precision: tokens said to belong where they do, among those said to belong to a document
- total variation: half the sum of the differences of an output's weights, the mean over outputs
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from openledger_node.attribution.matching import IndexedScope, attribute_indexed
from openledger_node.attribution.reference import Attribution
from scripts.benchmarks.corpora import Output, Tokens, make_outputs
from scripts.benchmarks.figures import Figure

OUTPUTS: Final = 100
SEED: Final = 23
NOBODY: Final = -1
_AFTER_TOKEN: Final = b"\x01"
_AFTER_DOCUMENT: Final = b"\x00"


class PlainSearch:
    """All text end to end, each document begun by a byte that no token has."""

    def __init__(self, texts: Sequence[Tokens]) -> None:
        parts = [_AFTER_DOCUMENT + _AFTER_TOKEN + _as_text(tokens) for tokens in texts]
        self._whole = b"".join(parts)
        self._ends = np.cumsum([len(part) for part in parts])

    def first_document(self, tokens: Sequence[bytes]) -> int:
        """The earliest document with these tokens in a row, or NOBODY."""
        at = self._whole.find(_AFTER_TOKEN + _as_text(tokens))
        return NOBODY if at < 0 else int(np.searchsorted(self._ends, at, "right"))


def _as_text(tokens: Sequence[bytes]) -> bytes:
    return b"".join([token + _AFTER_TOKEN for token in tokens])


def truth(output: Output, search: PlainSearch) -> list[int]:
    """The document of each token, or NOBODY."""
    belongs = [NOBODY] * len(output.tokens)
    for piece in output.pieces:
        end = piece.start + piece.length
        document = search.first_document(output.tokens[piece.start : end])
        belongs[piece.start : end] = [document] * piece.length
    return belongs


def said(found: Attribution) -> list[int]:
    """The same as an attribution has it; sources are documents by rank."""
    belongs = [NOBODY] * found.token_count
    for span in found.spans:
        belongs[span.start : span.start + span.length] = [span.source] * span.length
    return belongs


def variation(one: Sequence[int], other: Sequence[int]) -> float:
    """Half the sum of the differences of two weightings of the same tokens."""
    first, second = Counter(one), Counter(other)
    return sum(abs(first[key] - second[key]) for key in first | second) / 2 / max(1, len(one))


def planted(work: str, texts: Sequence[Tokens], scope: IndexedScope) -> list[Figure]:
    """The three figures over OUTPUTS outputs; document n is the n-th source of the scope."""
    search = PlainSearch(texts)
    tokens = right = claimed = claimed_right = 0
    apart = 0.0
    for output in make_outputs(texts, OUTPUTS, random.Random(SEED)):
        known, found = truth(output, search), said(attribute_indexed(output.tokens, scope))
        tokens += len(known)
        right += sum(a == b for a, b in zip(known, found, strict=True))
        claimed += sum(b != NOBODY for b in found)
        claimed_right += sum(a == b for a, b in zip(known, found, strict=True) if b != NOBODY)
        apart += variation(known, found)
    return [
        Figure(work, "planted: token accuracy", right / tokens, ""),
        Figure(work, "planted: precision", claimed_right / max(1, claimed), ""),
        Figure(work, "planted: total variation", apart / OUTPUTS, ""),
    ]
