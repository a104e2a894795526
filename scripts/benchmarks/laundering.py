"""Texts of many owners, and the ways in which a copier hides that a text is copied.

Owners and their documents come from a folder of texts named year_owner_....txt, or from the
docstrings of the modules on this machine, one owner a package. A theft makes a contribution of
copied documents; `copied` says which of its tokens came from where, so outputs are drawn from
those.
"""

from __future__ import annotations

import ast
import random
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from openledger_node.attribution.canon import canonical_text

MAX_OWNERS: Final = 50
MAX_OWNER_DOCUMENTS: Final = 30
MIN_TOKENS: Final = 200
MAX_MODULES: Final = 60
MAX_SOURCE_BYTES: Final = 1_000_000
JUNK_TIMES: Final = 10
COLLAGE_TOKENS: Final = 120
FINE_COLLAGE_TOKENS: Final = 40
FRAGMENT_TOKENS: Final = 24
PIECES_TO_A_DOCUMENT: Final = 8

Tokens = list[bytes]


@dataclass(frozen=True, slots=True)
class Owned:
    """A document with the number of its owner; owners come in the order of their epochs."""

    owner: int
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class Copy:
    """A document that a copier registers; `copied` are the ranges of it that were taken."""

    tokens: Tokens
    copied: tuple[tuple[int, int], ...]


def texts_of_folder(folder: Path) -> list[Owned]:
    """One owner for each name in year_first_last_party.txt, in the order of their first year."""
    owners: dict[str, int] = {}
    found = []
    for path in sorted(folder.glob("*.txt")):
        name = "_".join(path.stem.split("_")[1:-1]) or path.stem
        number = owners.setdefault(name, len(owners))
        found += [Owned(number, part) for part in _tokens(path.read_bytes())]
    return sorted(found, key=lambda item: item.owner)


def texts_of_machine() -> list[Owned]:
    """The docstrings of modules of Python and of what is installed beside it."""
    packages: dict[str, list[Path]] = {}
    for folder in (Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("purelib"))):
        for path in sorted(folder.rglob("*.py")):
            inner = path.relative_to(folder)
            if inner.parts[0] == "site-packages" or {"test", "tests"} & set(inner.parts):
                continue
            packages.setdefault(inner.parts[0], []).append(path)
    found: list[list[Tokens]] = []
    for name in sorted(packages):
        texts = [
            part for path in packages[name][:MAX_MODULES] for part in _tokens(_docstrings(path))
        ]
        if texts:
            found.append(texts)
    found.sort(key=lambda texts: -len(texts))
    chosen = random.Random(len(found)).sample(found[:MAX_OWNERS], min(MAX_OWNERS, len(found)))
    return [
        Owned(number, tokens)
        for number, texts in enumerate(chosen)
        for tokens in texts[:MAX_OWNER_DOCUMENTS]
    ]


def _tokens(data: bytes) -> Iterator[Tokens]:
    text = canonical_text(data)
    if text is not None and len(text) >= MIN_TOKENS:
        yield text.tokens()


def _docstrings(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_SOURCE_BYTES:
            return b""
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        print(f"{path} is left out: {error}", file=sys.stderr)
        return b""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    said = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, documented)]
    return "\n\n".join(text for text in said if text).encode("utf-8", "replace")


def edited(tokens: Sequence[bytes], rate: float, words: Tokens, dice: random.Random) -> Tokens:
    """A copy in which that part of the tokens was replaced, left out or preceded by another."""
    done: Tokens = []
    for token in tokens:
        if dice.random() >= rate:
            done.append(token)
            continue
        kind = dice.randrange(3)
        if kind < 2:
            done.append(dice.choice(words))
        if kind == 1:
            done.append(token)
    return done


Theft = Callable[[Sequence[Tokens], float, Tokens, random.Random], list[Copy]]


def plain(texts: Sequence[Tokens], rate: float, words: Tokens, dice: random.Random) -> list[Copy]:
    """Each document, edited."""
    copies = [edited(tokens, rate, words, dice) for tokens in texts]
    return [Copy(tokens, ((0, len(tokens)),)) for tokens in copies]


def padded(texts: Sequence[Tokens], rate: float, words: Tokens, dice: random.Random) -> list[Copy]:
    """Each document, edited, with ten times as much junk around it."""
    copies = []
    for tokens in texts:
        taken = edited(tokens, rate, words, dice)
        junk = dice.choices(words, k=JUNK_TIMES * len(taken))
        cut = dice.randrange(len(junk) + 1)
        range_ = cut, cut + len(taken)
        copies.append(Copy(junk[:cut] + taken + junk[cut:], (range_,)))
    return copies


def collage(
    texts: Sequence[Tokens],
    rate: float,
    words: Tokens,
    dice: random.Random,
    size: int = COLLAGE_TOKENS,
) -> list[Copy]:
    """Pieces of all documents, edited, in any order, eight to a document."""
    pieces = [
        tokens[first : first + size] for tokens in texts for first in range(0, len(tokens), size)
    ]
    dice.shuffle(pieces)
    copies = []
    for first in range(0, len(pieces), PIECES_TO_A_DOCUMENT):
        joined: Tokens = []
        ranges = []
        for piece in pieces[first : first + PIECES_TO_A_DOCUMENT]:
            taken = edited(piece, rate, words, dice)
            ranges.append((len(joined), len(joined) + len(taken)))
            joined += taken
        copies.append(Copy(joined, tuple(ranges)))
    return copies


def fine_collage(
    texts: Sequence[Tokens], rate: float, words: Tokens, dice: random.Random
) -> list[Copy]:
    """A collage of short pieces."""
    return collage(texts, rate, words, dice, FINE_COLLAGE_TOKENS)


def fragments(
    texts: Sequence[Tokens], rate: float, words: Tokens, dice: random.Random
) -> list[Copy]:
    """Documents, edited, cut into documents of a few tokens each."""
    copies = []
    for tokens in texts:
        taken = edited(tokens, rate, words, dice)
        for first in range(0, len(taken), FRAGMENT_TOKENS):
            part = taken[first : first + FRAGMENT_TOKENS]
            copies.append(Copy(part, ((0, len(part)),)))
    return copies


THEFTS: Final[dict[str, Theft]] = {
    "copy": plain,
    "padded ten times": padded,
    f"collage of {COLLAGE_TOKENS}": collage,
    f"collage of {FINE_COLLAGE_TOKENS}": fine_collage,
    f"documents of {FRAGMENT_TOKENS}": fragments,
}
