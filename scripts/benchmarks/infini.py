"""infini-gram on the same text and the same outputs, where that package is installed.

Its index is built by its own program over the tokens given to it, in one of two forms: the bytes
of the text, or the numbers of our tokens in 16 bits (the 65,533 most frequent; all others share
one number, which makes its work easier, not harder). A query is its `attribute`, the spans of an
output that stand in the text with up to ten places each: the closest that it has to R2.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from openledger_node.attribution.canon import canonical_text
from scripts.benchmarks.corpora import Tokens, make_outputs, read_texts
from scripts.benchmarks.figures import Figure, percentile

QUERIES: Final = 60
SEED: Final = 11
MEMORY_GIB: Final = 4
MAX_PLACES: Final = 10
MIN_BYTES: Final = 48
MIN_TOKENS: Final = 8
RARE: Final = 65_534
"""The number of all tokens that have none of their own; 0 is kept for the end of an output."""
FORMS: Final = {"bytes": "u8", "tokens": "u16"}


def is_installed() -> bool:
    return importlib.util.find_spec("infini_gram") is not None


def _numbers(texts: list[Tokens]) -> dict[bytes, int]:
    """The numbers of the most frequent tokens, from 1."""
    counts = Counter(token for tokens in texts for token in tokens)
    return {token: number for number, (token, _) in enumerate(counts.most_common(RARE - 1), 1)}


def _write(place: Path, documents: list[bytes], separator: bytes) -> None:
    """The two files that its program takes for a text that is tokenised already."""
    offset, offsets = 0, []
    with (place / "tokenized.0").open("wb") as file:
        for data in documents:
            offsets.append(offset)
            offset += file.write(separator + data)
    (place / "offset.0").write_bytes(np.array(offsets, np.uint64).tobytes())


def _build(place: Path, form: str) -> float:
    """Seconds that its program takes for the suffix array."""
    arguments = ["--data_dir", str(place), "--save_dir", str(place), "--token_dtype", FORMS[form]]
    limits = ["--cpus", "1", "--mem", str(MEMORY_GIB), "--ulimit", "1024"]
    began = time.perf_counter()
    program = [sys.executable, "-m", "infini_gram.indexing", *arguments, *limits]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not (place / "table.0").exists():
        raise RuntimeError(f"infini-gram built nothing: {done.stdout}{done.stderr}")
    return time.perf_counter() - began


def run(size_bytes: int, folder: Path | None, form: str) -> list[Figure]:
    """Build and query in one form. Raises RuntimeError when its program fails."""
    engine_module: Any = importlib.import_module("infini_gram.engine")
    texts = read_texts(folder, size_bytes)
    size = sum(len(data) for data in texts)
    tokenised = [text.tokens() for data in texts if (text := canonical_text(data)) is not None]
    numbers = _numbers(tokenised) if form == "tokens" else {}

    def encoded(tokens: Tokens) -> bytes:
        if form == "bytes":
            return b" ".join(tokens)
        return np.array([numbers.get(token, RARE) for token in tokens], np.uint16).tobytes()

    place = Path(tempfile.mkdtemp(prefix="infini-"))
    try:
        separator = b"\xff" * (1 if form == "bytes" else 2)
        _write(place, [encoded(tokens) for tokens in tokenised], separator)
        seconds = _build(place, form)
        engine = engine_module.InfiniGramEngine(
            index_dir=str(place),
            eos_token_id=0,
            vocab_size=255 if form == "bytes" else RARE + 1,
            token_dtype=FORMS[form],
        )
        lasted = []
        outputs = make_outputs(tokenised, QUERIES, random.Random(SEED))
        dtype = np.uint8 if form == "bytes" else np.uint16
        least = MIN_BYTES if form == "bytes" else MIN_TOKENS
        for output in outputs[:5] + outputs:
            asked = np.frombuffer(encoded(output.tokens), dtype).tolist()
            began = time.perf_counter()
            answer = engine.attribute(asked, [], least, MAX_PLACES, False)
            lasted.append((time.perf_counter() - began) * 1e3)
            if "error" in answer:
                raise RuntimeError(f"infini-gram answered: {answer['error']}")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    name = f"infini-gram on {form}"
    return [
        Figure(name, "build, tokenising excluded", size / 1e6 / seconds, "MB/s"),
        Figure(name, "query: median", percentile(lasted[5:], 50), "ms"),
        Figure(name, "query: 95 %", percentile(lasted[5:], 95), "ms"),
    ]


def main() -> None:
    megabytes, folder, form = sys.argv[1:]
    figures = run(int(float(megabytes) * 1e6), Path(folder) if folder else None, form)
    print(json.dumps([asdict(figure) for figure in figures]), flush=True)


if __name__ == "__main__":
    main()
