"""Texts and outputs that were made to be slow: each case doubles, so its cost shows how it grows.

| case | registered | the output |
|---|---|---|
| one token | one word, over and over | the same, half as long |
| periodic | ten words, over and over | the same, a quarter as long |
| headers | documents that all begin alike | two hundred of their beginnings |
| long output | unrelated words | as much of them as stands in the column |
| no match | unrelated words | the same words in another order |
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from openledger_node.attribution.canon import canonical_text
from openledger_node.attribution.matching import attribute_indexed
from openledger_node.store.text_index import TextIndex
from scripts.benchmarks.figures import Figure, number
from scripts.benchmarks.indexing_run import scope_over, searchable_texts
from scripts.benchmarks.machine import this_machine

SIZES: Final = (50_000, 100_000, 200_000)
"""Tokens that are registered, or of the output where only that grows."""
HEADER: Final = (
    b"copyright the authors of this work all rights reserved see the licence for its terms "
)
HEADERS_SHOWN: Final = 200
WORDS: Final = 50_000
SEED: Final = 31


def cases(size: int) -> Iterator[tuple[str, list[bytes], bytes]]:
    """(case, documents, output) at one size."""
    same, period = b"same ", b"a b c d e f g h i j "
    yield "one token", [same * size], same * (size // 2)
    yield "periodic", [period * (size // 10)], period * (size // 40)
    count = size // len(HEADER.split())
    bodies = [HEADER + b"body%d word%d" % (n, 7 * n) for n in range(count)]
    yield "headers", bodies, HEADER * HEADERS_SHOWN
    dice = random.Random(SEED)
    words = [b"w%d" % dice.randrange(WORDS) for _ in range(max(SIZES))]
    yield "long output", [b" ".join(words)], b" ".join(words[:size])
    other = words[:size]
    dice.shuffle(other)
    yield "no match", [b" ".join(words)], b" ".join(other)


def measure(documents: Sequence[bytes], output: bytes) -> tuple[float, float]:
    """Seconds that indexing takes, and seconds of one query."""
    with tempfile.TemporaryDirectory(prefix="oln-hostile-") as place:
        index = TextIndex(Path(place))
        began = time.perf_counter()
        index.change(searchable_texts(documents))
        built = time.perf_counter() - began
        scope = scope_over(index.segments())
        text = canonical_text(output)
        tokens = text.tokens() if text is not None else []
        began = time.perf_counter()
        attribute_indexed(tokens, scope)
        return built, time.perf_counter() - began


def hostile(sizes: Sequence[int] = SIZES) -> int:
    """Prints a row a case and size; the exit status is 0 whatever it says."""
    print(this_machine(Path.cwd()).text())
    print(f"{'case':<12} {'tokens':>9} {'build s':>9} {'query s':>9} {'query x':>9}")
    before: dict[str, Figure] = {}
    for size in sizes:
        for name, documents, output in cases(size):
            built, asked = measure(documents, output)
            former = before.get(name)
            grown = "" if former is None else number(asked / max(former.value, 1e-6))
            print(f"{name:<12} {size:>9,} {number(built):>9} {number(asked):>9} {grown:>9}")
            before[name] = Figure("hostile", name, asked, "s")
    return 0
