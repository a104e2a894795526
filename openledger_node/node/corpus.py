"""From paths to a corpus: which files are its documents, in which order, what was left out.

A corpus is its documents ordered by relative POSIX path bytes; names are not committed. Hidden
files and links are skipped and listed, as are empty, oversize, unreadable and irregular files
inside a folder, and documents this account registered before. A path that the user named itself and
that cannot be used is an error.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from openledger_node.ledger.errors import UsageError
from openledger_node.node.results import Skipped

MAX_DOCUMENTS: Final = 100_000
MAX_CORPUS_BYTES: Final = 4 * 2**30
MAX_SKIPPED_LISTED: Final = 1_000


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that may become a document: its relative POSIX path as bytes, and where it lies."""

    name: bytes
    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """The bytes of one document with their digest."""

    name: bytes
    data: bytes
    digest: bytes


def find_files(paths: Sequence[Path], limit_bytes: int) -> tuple[list[FoundFile], list[Skipped]]:
    """The files under `paths` in corpus order, and what was skipped."""
    found: dict[bytes, FoundFile] = {}
    skipped: list[Skipped] = []
    for path in paths:
        if path.is_symlink():
            skipped.append(Skipped(str(path), "it is a link"))
            continue
        info = _stat(path)
        if stat.S_ISDIR(info.st_mode):
            for item in _walk(path, limit_bytes, skipped):
                found[item.name] = item
        else:
            reason = _reason_to_skip(path.name, info, limit_bytes, named=True)
            if reason:
                raise UsageError(f"{path} cannot be registered: {reason}", code="bad_file")
            item = FoundFile(os.fsencode(path.name), path, info.st_size)
            found[item.name] = item
    if len(found) > MAX_DOCUMENTS:
        raise UsageError(
            f"{len(found):,} documents are too many for one contribution",
            hint=f"register at most {MAX_DOCUMENTS:,} at a time",
        )
    total = sum(item.size_bytes for item in found.values())
    if total > MAX_CORPUS_BYTES:
        raise UsageError(
            f"{total:,} bytes are too many for one contribution",
            hint=f"register at most {MAX_CORPUS_BYTES:,} at a time",
        )
    return [found[name] for name in sorted(found)], skipped[:MAX_SKIPPED_LISTED]


def _stat(path: Path) -> os.stat_result:
    try:
        return path.lstat()
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", hint="check the path", code="bad_file"
        ) from None


def _walk(folder: Path, limit_bytes: int, skipped: list[Skipped]) -> Iterator[FoundFile]:
    """The usable files of a folder; links are never followed, so a loop of links ends nowhere."""

    def unreadable(error: OSError) -> None:
        skipped.append(Skipped(str(error.filename), f"unreadable: {error.strerror}"))

    root = Path(os.path.abspath(folder))
    base = root.parent
    for place, folders, files in os.walk(root, onerror=unreadable, followlinks=False):
        for name in sorted(folders):
            inner = Path(place, name)
            if name.startswith(".") or inner.is_symlink():
                reason = "it is a link" if inner.is_symlink() else "it is hidden"
                skipped.append(Skipped(str(inner), reason))
                folders.remove(name)
        for name in sorted(files):
            path = Path(place, name)
            try:
                info = path.lstat()
            except OSError as error:
                skipped.append(Skipped(str(path), f"unreadable: {error.strerror}"))
                continue
            reason = _reason_to_skip(name, info, limit_bytes, named=False)
            if reason:
                skipped.append(Skipped(str(path), reason))
                continue
            yield FoundFile(os.fsencode(path.relative_to(base).as_posix()), path, info.st_size)


def _reason_to_skip(name: str, info: os.stat_result, limit_bytes: int, *, named: bool) -> str:
    if stat.S_ISLNK(info.st_mode):
        return "it is a link"
    if name.startswith(".") and not named:
        return "it is hidden"
    if not stat.S_ISREG(info.st_mode):
        return "it is not a regular file"
    if info.st_size == 0:
        return "it is empty"
    if info.st_size > limit_bytes:
        return f"it has {info.st_size:,} bytes; limits.document_bytes is {limit_bytes:,}"
    return ""


def read_documents(
    files: Sequence[FoundFile],
    skipped: list[Skipped],
    registered: Callable[[bytes], str | None],
) -> Iterator[SourceDocument]:
    """Reads the files in order; appends to `skipped` what is unreadable or registered before.

    `registered` answers with the contribution id (hex) that holds a document of this digest.
    """
    for item in files:
        try:
            data = item.path.read_bytes()
        except OSError as error:
            skipped.append(Skipped(str(item.path), f"unreadable: {error.strerror}"))
            continue
        digest = hashlib.sha256(data).digest()
        before = registered(digest)
        if before is not None:
            skipped.append(Skipped(str(item.path), f"registered before in {before[:12]}"))
            continue
        if not data:
            skipped.append(Skipped(str(item.path), "it is empty"))
            continue
        yield SourceDocument(item.name, data, digest)
