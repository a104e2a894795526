"""Real documentation that is on this machine: Python's own, and that of installed packages.

Each package is one contributor. Its documents are the readme that its metadata carries and the
docstrings of its modules, which are read from the source and never imported. Everything is bounded
and in a fixed order, so that two runs on one machine register the same text.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PYTHON: Final = "python"
PACKAGES: Final = (
    "click",
    "rich",
    "msgspec",
    "cryptography",
    "numpy",
    "structlog",
    "platformdirs",
    "msgpack",
    "lmdb",
)
MAX_PACKAGES: Final = 6
MAX_CORPUS_BYTES: Final = 48 * 1024
MAX_DOCUMENT_BYTES: Final = 16 * 1024
MAX_SOURCE_BYTES: Final = 256 * 1024
MAX_SOURCES: Final = 24
MIN_DOCUMENT_BYTES: Final = 400
MIN_DOCSTRING_CHARS: Final = 200
MAX_LICENCE_CHARS: Final = 64

PASSAGE_WORDS: Final = range(24, 61)
"""How many words a paragraph has that can be quoted."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """A contributor's documents: (file name, text) in order."""

    name: str
    title: str
    licence: str
    documents: tuple[tuple[str, str], ...]


def corpora() -> list[Corpus]:
    """Python's help topics first, then the packages that have text enough."""
    found = [corpus for corpus in [_python()] if corpus.documents]
    for name in PACKAGES:
        corpus = _package(name) if len(found) <= MAX_PACKAGES else None
        if corpus is not None and corpus.documents:
            found.append(corpus)
    return found


def _bounded(candidates: Iterator[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The candidates, each cut to its limit, until the corpus is full."""
    kept: list[tuple[str, str]] = []
    left = MAX_CORPUS_BYTES
    for name, text in candidates:
        data = text.encode("utf-8", "replace")[: min(left, MAX_DOCUMENT_BYTES)]
        if len(data) >= MIN_DOCUMENT_BYTES:
            kept.append((name, data.decode("utf-8", "ignore")))
            left -= len(data)
        if left < MIN_DOCUMENT_BYTES:
            break
    return tuple(kept)


def _python() -> Corpus:
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ImportError:  # some systems install Python without its documentation
        topics = {}
    ordered = ((f"{name}.txt", topics[name]) for name in sorted(topics))
    return Corpus(PYTHON, "Python's help topics", "PSF-2.0", _bounded(ordered))


def _package(name: str) -> Corpus | None:
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    about = distribution.metadata
    named = [about[key] for key in ("License-Expression", "License") if key in about]
    licence = named[0] if named else ""
    if len(licence) > MAX_LICENCE_CHARS or "\n" in licence:
        licence = ""
    title = f"Documentation of {name} {distribution.version}"
    return Corpus(name, title, licence, _bounded(_package_texts(distribution)))


def _package_texts(distribution: importlib.metadata.Distribution) -> Iterator[tuple[str, str]]:
    readme = distribution.metadata.get_payload()  # type: ignore[attr-defined]
    if isinstance(readme, str) and readme:
        yield "README.md", readme
    sources = 0
    for file in sorted(distribution.files or [], key=str):
        tests = any(part.strip("_") in ("tests", "test", "testing") for part in file.parts)
        if file.suffix != ".py" or tests or sources >= MAX_SOURCES:
            continue
        path = Path(str(distribution.locate_file(file)))
        try:
            source = path.read_bytes()
        except OSError:
            continue
        if len(source) <= MAX_SOURCE_BYTES:
            text = "\n\n".join(_docstrings(source))
            if len(text) >= MIN_DOCUMENT_BYTES:
                sources += 1
                yield ".".join(file.with_suffix("").parts) + ".txt", text


def _docstrings(source: bytes) -> Iterator[str]:
    """The longer docstrings of a module, of its classes, and of their functions."""
    try:
        waiting: list[ast.AST] = [ast.parse(source)]
    except (SyntaxError, ValueError, RecursionError):
        return
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            said = ast.get_docstring(node)
            if said and len(said) >= MIN_DOCSTRING_CHARS:
                yield said
        if isinstance(node, ast.Module | ast.ClassDef):
            waiting += node.body


def passages(corpus: Corpus) -> Iterator[str]:
    """Paragraphs of prose that can be quoted, in the order of the documents."""
    for _, text in corpus.documents:
        for paragraph in text.split("\n\n"):
            words = paragraph.split()
            plain = [word for word in words if word.strip(".,;:()'\"").isalpha()]
            if len(words) in PASSAGE_WORDS and len(plain) * 5 >= len(words) * 4:
                yield " ".join(words)
