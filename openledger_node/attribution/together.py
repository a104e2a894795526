"""Several outputs over one scope in one pass: the same integers as one by one.

Outputs are laid end to end with a separator token between them that stands nowhere in the scope. No
8-gram of the scope, and so no match and no cut, runs across it; which token belongs to what depends
on nothing beyond the runs that hold the token. A pass costs time in the scope, so a receipt of many
uses is computed again as fast as one of a few.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from openledger_node.attribution.reference import MAX_OUTPUT_TOKENS, Attribution, Span, attribute
from openledger_node.attribution.scope import Scope
from openledger_node.ledger.encoding import H

Tokens = Sequence[bytes]


def separator_of(some_id: bytes) -> bytes:
    """A token that no text has which was registered before the id was known: 64 hex digits."""
    return H("separator", some_id).hex().encode()


def attribute_together(
    outputs: Sequence[Tokens], scope: Scope, separator: bytes
) -> list[Attribution]:
    """R1 and R2 for each output. ValueError past MAX_OUTPUT_TOKENS in one of them.

    `separator` is one token of canonical text that stands in no document of the scope.
    """
    found: list[Attribution] = []
    for group in _groups(outputs):
        joined: list[bytes] = []
        starts = []
        for tokens in group:
            if joined:
                joined.append(separator)
            starts.append(len(joined))
            joined += tokens
        found += _apart(attribute(joined, scope), starts, [len(tokens) for tokens in group])
    return found


def _groups(outputs: Sequence[Tokens]) -> Iterator[list[Tokens]]:
    """Outputs that fit into one pass together with their separators."""
    group: list[Tokens] = []
    size = 0
    for tokens in outputs:
        if group and size + 1 + len(tokens) > MAX_OUTPUT_TOKENS:
            yield group
            group, size = [], 0
        size += len(tokens) + (1 if group else 0)
        group.append(tokens)
    if group:
        yield group


def _apart(whole: Attribution, starts: Sequence[int], lengths: Sequence[int]) -> list[Attribution]:
    """The attribution of each output, counted from its own beginning."""
    spans: list[list[Span]] = [[] for _ in starts]
    cuts: list[list[tuple[int, int]]] = [[] for _ in starts]
    at = 0
    for span in sorted(whole.spans, key=lambda span: span.start):
        while at + 1 < len(starts) and starts[at + 1] <= span.start:
            at += 1
        spans[at].append(
            Span(
                span.start - starts[at],
                span.length,
                span.source,
                span.contribution_id,
                span.document,
                span.token,
            )
        )
    at = 0
    for first, end in sorted(whole.cuts):
        while at + 1 < len(starts) and starts[at + 1] <= first:
            at += 1
        cuts[at].append((first - starts[at], end - starts[at]))
    return [
        Attribution(length, tuple(spans[index]), tuple(cuts[index]))
        for index, length in enumerate(lengths)
    ]
