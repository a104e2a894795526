"""One run over one corpus in a process of its own: MEGABYTES, and a folder of texts or nothing.

Its figures are one JSON array on the last line of standard output, so that the peak of memory is
that of this run.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np

from openledger_node.attribution.canon import canonical_text
from openledger_node.attribution.matching import IndexedScope, Source, attribute_indexed
from openledger_node.attribution.reference import Attribution
from openledger_node.attribution.segment import (
    MAX_TEXT_BYTES,
    Segment,
    View,
    build_segment,
    searchable,
)
from scripts.benchmarks.corpora import OUTPUT_TOKENS, Output, make_outputs, read_texts
from scripts.benchmarks.figures import Figure, percentile
from scripts.benchmarks.planted import planted

QUERIES: Final = 300
WINDOWS: Final = 100_000
SEED: Final = 11
WORK: Final = "attribution"


def document_id(number: int) -> bytes:
    """One contribution a document."""
    return number.to_bytes(32, "big")


def build(texts: Sequence[bytes]) -> list[Segment]:
    """Segments over all texts, tokenising included."""
    segments: list[Segment] = []
    waiting: list[tuple[bytes, int, bytes]] = []
    size = 0
    for number, data in enumerate(texts):
        canonical = canonical_text(data)
        if canonical is None:
            raise ValueError("not text")
        text = searchable(canonical)
        if waiting and size + len(text) > MAX_TEXT_BYTES:
            segments.append(build_segment(waiting))
            waiting, size = [], 0
        waiting.append((document_id(number), 0, text))
        size += len(text)
    if waiting:
        segments.append(build_segment(waiting))
    return segments


def scope_over(segments: Sequence[Segment], of: slice = slice(None)) -> IndexedScope:
    """Documents in the order of their numbers; with `of`, those of the scope among them."""
    numbers = sorted(
        int.from_bytes(place.contribution_id, "big") for each in segments for place in each.places
    )[of]
    ranks = {number: rank for rank, number in enumerate(numbers)}
    views = []
    for segment in segments:
        found = [
            ranks.get(int.from_bytes(place.contribution_id, "big"), 2**62)
            for place in segment.places
        ]
        views.append(View(segment, np.array(found, np.int64)))
    return IndexedScope(
        tuple(views), (), tuple(Source(document_id(number), 0) for number in numbers)
    )


def timed_queries(outputs: Sequence[Output], scope: IndexedScope) -> tuple[list[float], int]:
    """Milliseconds of each query, warm, and how many tokens were attributed in all."""
    for output in outputs[:20]:
        attribute_indexed(output.tokens, scope)
    lasted, attributed = [], 0
    for output in outputs:
        began = time.perf_counter()
        found = attribute_indexed(output.tokens, scope)
        lasted.append((time.perf_counter() - began) * 1e3)
        attributed += found.token_count - found.unattributed_tokens
    return lasted, attributed


def missed_pieces(output: Output, found: Attribution) -> int:
    """Pieces with a token that belongs to nothing, or to a later document than the piece's own.

    A piece of 8 tokens or more qualifies when they are words: so every token of it belongs to a
    match at least as long; the earliest of equal matches is the piece's document or an earlier one.
    """
    owner: list[tuple[int, int] | None] = [None] * found.token_count
    for span in found.spans:
        for offset in range(span.length):
            owner[span.start + offset] = span.source, span.length
    missed = 0
    for piece in output.pieces:
        for at in range(piece.start, piece.start + piece.length):
            held = owner[at]
            if held is None:
                missed += 1
                break
    return missed


def windows(
    texts: Sequence[list[bytes]], scope: IndexedScope, count: int
) -> Iterator[tuple[int, int]]:
    """(pieces, missed pieces) of outputs until `count` random windows were looked for."""
    dice = random.Random(SEED + 1)
    done = 0
    while done < count:
        for output in make_outputs(texts, 200, dice):
            yield len(output.pieces), missed_pieces(output, attribute_indexed(output.tokens, scope))
            done += len(output.pieces)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(size_bytes: int, folder: Path | None, window_count: int) -> list[Figure]:
    """All figures of one size."""
    texts = read_texts(folder, size_bytes)
    size = sum(len(data) for data in texts)
    before_mib = peak_mib()
    began = time.perf_counter()
    segments = build(texts)
    seconds = time.perf_counter() - began
    build_mib = peak_mib()
    tokens = sum(len(segment.suffixes) for segment in segments)
    held = sum(segment.size_bytes + segment.suffixes.nbytes for segment in segments)
    figures = [
        Figure(WORK, "text", size / 1e6, "MB"),
        Figure(WORK, "documents", len(texts), ""),
        Figure(WORK, "segments", len(segments), ""),
        Figure(WORK, "build, tokenising included", size / 1e6 / seconds, "MB/s"),
        Figure(WORK, "build, peak memory", build_mib, "MiB"),
        Figure(WORK, "build, of that the text before it", before_mib, "MiB"),
        Figure(WORK, "index over tokens", held / tokens, "bytes"),
    ]
    tokenised = [_tokens(data) for data in texts]
    outputs = make_outputs(tokenised, QUERIES, random.Random(SEED))
    for name, of in (("all in scope", slice(None)), ("a third in scope", slice(0, None, 3))):
        lasted, _ = timed_queries(outputs, scope_over(segments, of))
        figures.append(Figure(WORK, f"query, {name}: median", percentile(lasted, 50), "ms"))
        figures.append(Figure(WORK, f"query, {name}: 95 %", percentile(lasted, 95), "ms"))
    figures.append(Figure(WORK, "1 MB more, until it is searchable", _seconds_of_more(texts), "s"))
    figures += planted(WORK, tokenised, scope_over(segments))
    if window_count:
        looked, missed = 0, 0
        for pieces, lost in windows(tokenised, scope_over(segments), window_count):
            looked, missed = looked + pieces, missed + lost
        figures.append(Figure(WORK, "random windows", looked, ""))
        figures.append(Figure(WORK, "windows with a token missed", missed, ""))
    return figures


def _seconds_of_more(texts: Sequence[bytes]) -> float:
    """What a contribution of 1 MB takes from its bytes to the first answer."""
    more: list[bytes] = []
    for data in texts:
        if sum(len(item) for item in more) >= 10**6:
            break
        more.append(data)
    output = [token for data in more[:20] for token in _tokens(data)][:OUTPUT_TOKENS]
    began = time.perf_counter()
    attribute_indexed(output, scope_over(build(more)))
    return time.perf_counter() - began


def _tokens(data: bytes) -> list[bytes]:
    text = canonical_text(data)
    return text.tokens() if text is not None else []


def main() -> None:
    megabytes, folder, window_count = sys.argv[1:]
    figures = run(int(float(megabytes) * 1e6), Path(folder) if folder else None, int(window_count))
    print(json.dumps([asdict(figure) for figure in figures]), flush=True)


if __name__ == "__main__":
    main()
