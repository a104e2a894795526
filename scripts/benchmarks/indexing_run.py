"""One run over one corpus in a process of its own: MEGABYTES, and a folder of texts or nothing.

Its figures are one JSON array on the last line of standard output, so that the peak of memory is
that of this run.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from openledger_node.attribution.canon import canonical_text
from openledger_node.attribution.matching import IndexedScope, Source, attribute_indexed
from openledger_node.attribution.reference import MIN_WEIGHT, Attribution, token_weights
from openledger_node.attribution.segment import NOWHERE, Segment, View, searchable
from openledger_node.store.text_index import Text, TextIndex
from scripts.benchmarks.corpora import OUTPUT_TOKENS, Output, make_outputs, read_texts
from scripts.benchmarks.figures import Figure, percentile
from scripts.benchmarks.leaving_out import datamodelling_score
from scripts.benchmarks.planted import planted

QUERIES: Final = 300
WINDOWS: Final = 100_000
SEED: Final = 11
ROUNDS: Final = 8
MAX_LEFT_OUT_BYTES: Final = 20_000_000
WORK: Final = "attribution"


def document_id(number: int) -> bytes:
    """One contribution a document."""
    return number.to_bytes(32, "big")


def searchable_texts(texts: Sequence[bytes], first: int = 0) -> Iterator[Text]:
    """The texts tokenised, each as a contribution of its own numbered from `first`."""
    for number, data in enumerate(texts, first):
        canonical = canonical_text(data)
        if canonical is None:
            raise ValueError("not text")
        yield document_id(number), 0, searchable(canonical)


def scope_over(segments: Sequence[Segment], of: slice = slice(None)) -> IndexedScope:
    """Documents in the order of their numbers; with `of`, those of the scope among them."""
    numbers = sorted(
        int.from_bytes(place.contribution_id, "big") for each in segments for place in each.places
    )[of]
    ranks = {number: rank for rank, number in enumerate(numbers)}
    views = []
    for segment in segments:
        found = [
            ranks.get(int.from_bytes(place.contribution_id, "big"), NOWHERE)
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
    """Pieces with a token that belongs to nobody.

    A piece that weighs enough for R2 qualifies: so every token of it belongs to a match at least as
    long. Lighter ones, a few characters of a script without spaces, need not be found.
    """
    owner: list[tuple[int, int] | None] = [None] * found.token_count
    for span in found.spans:
        for offset in range(span.length):
            owner[span.start + offset] = span.source, span.length
    missed = 0
    for piece in output.pieces:
        shown = output.tokens[piece.start : piece.start + piece.length]
        if int(token_weights(shown).sum()) < MIN_WEIGHT:
            continue
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
    """All figures of one size, over an index on disk that is deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="oln-index-") as place:
        return _run(TextIndex(Path(place)), read_texts(folder, size_bytes), window_count)


def _run(index: TextIndex, texts: Sequence[bytes], window_count: int) -> list[Figure]:
    size = sum(len(data) for data in texts)
    before_mib = peak_mib()
    seconds = _seconds(partial(index.change, searchable_texts(texts)))
    build_mib = peak_mib()
    reopened = TextIndex(index.folder.parent)
    opening = _seconds(reopened.segments)
    segments = reopened.segments()
    tokens = sum(len(segment.suffixes) for segment in segments)
    figures = [
        Figure(WORK, "text", size / 1e6, "MB"),
        Figure(WORK, "documents", len(texts), ""),
        Figure(WORK, "segments", len(segments), ""),
        Figure(WORK, "build, tokenising included", size / 1e6 / seconds, "MB/s"),
        Figure(WORK, "build, peak memory", build_mib, "MiB"),
        Figure(WORK, "build, of that the text before it", before_mib, "MiB"),
        Figure(WORK, "index over tokens", _file_bytes(index) / tokens, "bytes"),
        Figure(WORK, "opening", opening * 1e3, "ms"),
    ]
    tokenised = [_tokens(data) for data in texts]
    outputs = make_outputs(tokenised, QUERIES, random.Random(SEED))
    for name, of in (("all in scope", slice(None)), ("a third in scope", slice(0, None, 3))):
        lasted, _ = timed_queries(outputs, scope_over(segments, of))
        figures.append(Figure(WORK, f"query, {name}: median", percentile(lasted, 50), "ms"))
        figures.append(Figure(WORK, f"query, {name}: 95 %", percentile(lasted, 95), "ms"))
    figures += planted(WORK, tokenised, scope_over(segments))
    if size <= MAX_LEFT_OUT_BYTES:
        figures += datamodelling_score(tokenised, scope_over(segments))
    if window_count:
        looked, missed = 0, 0
        for pieces, lost in windows(tokenised, scope_over(segments), window_count):
            looked, missed = looked + pieces, missed + lost
        figures.append(Figure(WORK, "random windows", looked, ""))
        figures.append(Figure(WORK, "windows with a token missed", missed, ""))
    return figures + _changes(index, texts)


def _changes(index: TextIndex, texts: Sequence[bytes]) -> list[Figure]:
    """Some more megabytes, one by one, and then the first document of each taken out again."""
    adding, erasing = [], []
    number = len(texts)
    for part in _megabytes(texts):
        output = [token for data in part[:20] for token in _tokens(data)][:OUTPUT_TOKENS]
        began = time.perf_counter()
        index.change(searchable_texts(part, number))
        changed = time.perf_counter() - began
        scope = scope_over(index.segments())
        began = time.perf_counter()
        attribute_indexed(output, scope)
        adding.append(changed + time.perf_counter() - began)
        erasing.append(_seconds(partial(index.change, (), [document_id(number)])))
        number += len(part)
    return [
        Figure(WORK, "1 MB more, until it is searchable", percentile(adding, 50), "s"),
        Figure(WORK, "1 MB more, the longest with merging", max(adding), "s"),
        Figure(WORK, "taking a document out", percentile(erasing, 50), "s"),
    ]


def _megabytes(texts: Sequence[bytes]) -> Iterator[list[bytes]]:
    """The first ROUNDS megabytes of the texts, as far as they go."""
    part: list[bytes] = []
    done = 0
    for data in texts:
        part.append(data)
        if sum(len(item) for item in part) >= 10**6:
            yield part
            part = []
            done += 1
            if done == ROUNDS:
                return
    if part and not done:
        yield part


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _file_bytes(index: TextIndex) -> int:
    return sum(path.stat().st_size for path in index.folder.iterdir())


def _tokens(data: bytes) -> list[bytes]:
    text = canonical_text(data)
    return text.tokens() if text is not None else []


def main() -> None:
    megabytes, folder, window_count = sys.argv[1:]
    figures = run(int(float(megabytes) * 1e6), Path(folder) if folder else None, int(window_count))
    print(json.dumps([asdict(figure) for figure in figures]), flush=True)


if __name__ == "__main__":
    main()
