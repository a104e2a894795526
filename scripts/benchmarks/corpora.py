"""Real text in amounts that are asked for, and outputs that draw on it.

The text is what a folder holds, or else what this machine has: documentation first, then the
sources of Python programs. Each file counts once, whatever its name: a file with the bytes of
another is left out, and no text is repeated to reach a size. Where there is less than was asked
for, the figures say so.
"""

from __future__ import annotations

import hashlib
import os
import random
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from openledger_node.attribution.canon import canonical_text

DOCUMENTATION: Final = (".txt", ".md", ".rst", ".html", ".htm", ".text")
SOURCES: Final = (".py", ".pyi", ".js", ".css", ".h", ".c", ".pl", ".pm")
MAX_FILE_BYTES: Final = 4 * 2**20
MIN_FILE_BYTES: Final = 200
MACHINE_FOLDERS: Final = ("/usr/share/doc", "/usr/share", "/usr/lib/python3", "/usr/include")
OUTPUT_TOKENS: Final = 460
PIECE_TOKENS: Final = (8, 60)
GAP_TOKENS: Final = (5, 40)

Tokens = list[bytes]


@dataclass(frozen=True, slots=True)
class Piece:
    """Output tokens [start, start + length) are tokens [token, token + length) of a document."""

    start: int
    length: int
    document: int
    token: int


@dataclass(frozen=True, slots=True)
class Output:
    """Pieces of documents with new text between them."""

    tokens: Tokens
    pieces: tuple[Piece, ...]


def read_texts(folder: Path | None, size_bytes: int) -> list[bytes]:
    """Texts of `size_bytes` together, or of all there are when those are fewer."""
    chosen: list[bytes] = []
    seen: set[bytes] = set()
    left = size_bytes
    for path in _files(folder):
        if left < MIN_FILE_BYTES:
            break
        try:
            if not MIN_FILE_BYTES <= path.stat().st_size <= MAX_FILE_BYTES:
                continue
            data = path.read_bytes()
        except OSError:  # gone meanwhile, or not ours to read
            continue
        digest = hashlib.sha256(data).digest()
        if digest in seen or canonical_text(data) is None:
            continue
        seen.add(digest)
        data = data[:left].decode("utf-8", "ignore").encode()
        chosen.append(data)
        left -= len(data)
    return chosen


def _files(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield from _walk(folder, None)
        return
    library = [sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")]
    for suffixes in (DOCUMENTATION, SOURCES):
        for place in (*library, *MACHINE_FOLDERS):
            yield from _walk(Path(place), suffixes)


def _walk(folder: Path, suffixes: Sequence[str] | None) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(place, name)
            if (suffixes is None or name.endswith(tuple(suffixes))) and not path.is_symlink():
                yield path


def make_outputs(texts: Sequence[Tokens], count: int, dice: random.Random) -> list[Output]:
    """Outputs of OUTPUT_TOKENS: verbatim pieces, and between them words in an order of our own."""
    long = [index for index, tokens in enumerate(texts) if len(tokens) >= PIECE_TOKENS[1]]
    if not long:
        raise ValueError("no text is long enough to draw on")
    words = [dice.choice(texts[dice.choice(long)]) for _ in range(5_000)]
    made = []
    for _ in range(count):
        tokens: Tokens = []
        pieces = []
        while len(tokens) < OUTPUT_TOKENS:
            tokens += [dice.choice(words) for _ in range(dice.randint(*GAP_TOKENS))]
            document = dice.choice(long)
            length = dice.randint(*PIECE_TOKENS)
            token = dice.randrange(len(texts[document]) - length + 1)
            pieces.append(Piece(len(tokens), length, document, token))
            tokens += texts[document][token : token + length]
        made.append(Output(tokens, tuple(pieces)))
    return made
