"""Segments of text on disk: written once, mapped, merged, and never trusted when torn.

HOME/index/ holds derived data alone: deleting it loses nothing. `manifest.json` names the segments
in force; any other file is left from a crash and removed by the next change. A segment's file is
written beside its place, made durable and renamed; the manifest is replaced after that. So a crash
at any point leaves the old index or the new one.

- I1 A segment's file: the line `oln-index/1`, the length of its table as u32 little-endian, the
  table (canonical array `[canon version, byte order, text bytes, suffixes, [[contribution id,
  document, start], ...]]`), zeros up to a multiple of 65,536; the text, zeros up to such a
  multiple; the suffixes as u32 in the machine's byte order; SHA-256 of everything before it.
- I2 A file is read in full and held to its digest when it is first opened, and again when its size,
  time or inode are not those of the manifest. One that does not fit is dropped, and what it held is
  indexed again.
- I3 New text makes new segments; two neighbours in size order are merged while they fit into one
  and the larger is less than GROWTH times the smaller. What is erased is left out of the segments
  that had it, which are written anew at once.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from openledger_node.attribution.canon import CANON_VERSION
from openledger_node.attribution.segment import MAX_TEXT_BYTES, Place, Segment, build_segment
from openledger_node.ledger.encoding import decode_as, encode
from openledger_node.ledger.errors import BadInput, StoreUnavailable
from openledger_node.store.lock import one_at_a_time

MAGIC: Final = b"oln-index/1\n"
ALIGNED: Final = 65_536
"""What every system can map a file at."""
MAX_MANIFEST_BYTES: Final = 64 * 2**20
MAX_TABLE_BYTES: Final = 256 * 2**20
GROWTH: Final = 4
FOLDER: Final = "index"

Text = tuple[bytes, int, bytes]
"""(contribution id, document, searchable text)."""


class _Table(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    canon_version: int
    byte_order: str
    text_bytes: Annotated[int, Meta(ge=1, le=2**32)]
    suffixes: Annotated[int, Meta(ge=0, le=2**32)]
    places: tuple[tuple[bytes, int, int], ...]


_table_decoder = msgspec.msgpack.Decoder(_Table)


@dataclass(frozen=True, slots=True)
class Entry:
    """A segment in the manifest: its file, what the file was when it was checked, what it holds."""

    name: str
    size: int
    time_ns: int
    inode: int
    text_bytes: int
    contributions: tuple[bytes, ...]


class TextIndex:
    """The segments of a home. Readers map what the manifest names; one writer at a time."""

    def __init__(self, home: Path, *, step: Callable[[str], None] = lambda name: None) -> None:
        self.folder = home / FOLDER
        self._step = step
        self._stamp: tuple[int, int] | None = None
        self._entries: list[Entry] = []
        self._mapped: dict[str, Segment] = {}

    # Reading.

    def segments(self) -> list[Segment]:
        """The segments in force, mapped; those that are damaged are left out (I2)."""
        self._refresh()
        return [self._mapped[entry.name] for entry in self._entries]

    def contributions(self) -> set[bytes]:
        """What is indexed."""
        self._refresh()
        return {key for entry in self._entries for key in entry.contributions}

    def entries(self) -> list[Entry]:
        self._refresh()
        return list(self._entries)

    def _manifest(self) -> Path:
        return self.folder / "manifest.json"

    def _refresh(self) -> None:
        """Takes over what another process changed."""
        try:
            info = self._manifest().stat()
        except OSError:
            self._stamp, self._entries, self._mapped = None, [], {}
            return
        stamp = info.st_mtime_ns, info.st_ino
        if stamp == self._stamp:
            return
        entries = [entry for entry in self._read_manifest() if self._map(entry)]
        kept = {entry.name for entry in entries}
        self._mapped = {name: held for name, held in self._mapped.items() if name in kept}
        self._entries, self._stamp = entries, stamp

    def _read_manifest(self) -> list[Entry]:
        """Nothing when the manifest is not readable: all of it is derived."""
        try:
            with self._manifest().open("rb") as file:
                if os.fstat(file.fileno()).st_size > MAX_MANIFEST_BYTES:
                    return []
                document = json.loads(file.read())
            return [
                Entry(
                    str(item["name"]),
                    int(item["size"]),
                    int(item["time_ns"]),
                    int(item["inode"]),
                    int(item["text_bytes"]),
                    tuple(bytes.fromhex(key) for key in item["contributions"]),
                )
                for item in document["segments"]
                if document["version"] == 1 and "/" not in str(item["name"])
            ]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return []

    def _map(self, entry: Entry) -> bool:
        """Maps a segment's file; False when it is not what the manifest says."""
        if entry.name in self._mapped:
            return True
        path = self.folder / entry.name
        try:
            info = path.stat()
            known = (info.st_size, info.st_mtime_ns, info.st_ino)
            with path.open("rb") as file:
                if known != (entry.size, entry.time_ns, entry.inode) and not _is_whole(file):
                    return False
                segment = _mapped(file, info.st_size)
        except (OSError, ValueError, BadInput, struct.error):
            return False
        if {place.contribution_id for place in segment.places} != set(entry.contributions):
            return False
        self._mapped[entry.name] = segment
        return True

    def verify(self) -> list[str]:
        """Reads every file in full; what is wrong, by file."""
        wrong = []
        named = self._read_manifest()
        for entry in named:
            try:
                with (self.folder / entry.name).open("rb") as file:
                    if not _is_whole(file):
                        wrong.append(f"{entry.name}: its bytes are not those that were written")
            except OSError as error:
                wrong.append(f"{entry.name}: {error.strerror}")
        return wrong

    # Writing.

    def change(
        self,
        fresh: Iterable[Text],
        gone: Iterable[bytes] = (),
        *,
        progress: Callable[[int], None] = lambda size_bytes: None,
    ) -> None:
        """Adds texts and takes contributions out. Texts come in the order of their contributions.

        `progress(bytes)` hears of every segment. StoreUnavailable when the disk is full.
        """
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            with one_at_a_time(self.folder, "change"):
                self._change(fresh, set(gone), progress)
        except OSError as error:
            raise StoreUnavailable(
                f"the index cannot be written: {error.strerror}",
                hint="make room; the index is derived data and is made again",
            ) from None

    def _change(
        self, fresh: Iterable[Text], gone: set[bytes], progress: Callable[[int], None]
    ) -> None:
        self._refresh()
        entries = []
        for entry in self._entries:
            if gone.isdisjoint(entry.contributions):
                entries.append(entry)
                continue
            kept = [item for item in self._texts(entry) if item[0] not in gone]
            entries += [self._write(kept)] if kept else []
        for batch, is_whole in _batches(fresh):
            entries.append(self._write(batch))
            progress(sum(len(text) for _, _, text in batch))
            if is_whole:  # a build that is broken off goes on from here
                self._commit(entries)
        entries = self._merged(entries)
        self._commit(entries)
        self._remove_others()

    def _merged(self, entries: list[Entry]) -> list[Entry]:
        """I3: merges the smallest segments while that pays."""
        while len(entries) > 1:
            entries.sort(key=lambda entry: entry.text_bytes)
            pair = next(
                (
                    at
                    for at, (small, large) in enumerate(pairwise(entries))
                    if small.text_bytes + large.text_bytes <= MAX_TEXT_BYTES
                    and large.text_bytes < GROWTH * small.text_bytes
                ),
                None,
            )
            if pair is None:
                break
            texts = [*self._texts(entries[pair]), *self._texts(entries[pair + 1])]
            entries[pair : pair + 2] = [self._write(texts)]
            self._commit(entries)
        return entries

    def _texts(self, entry: Entry) -> list[Text]:
        """The documents of a segment, to be written anew."""
        self._map(entry)
        segment = self._mapped[entry.name]
        return [
            (place.contribution_id, place.document, segment.text_of(index))
            for index, place in enumerate(segment.places)
        ]

    def _write(self, texts: Sequence[Text]) -> Entry:
        """A segment's file, durable under its name."""
        segment = build_segment(texts)
        content = list(_content(segment))
        digest = hashlib.sha256()
        for part in content:
            digest.update(part)
        name = f"{digest.hexdigest()[:32]}.segment"
        path = self.folder / name
        fresh = self.folder / f"{name}.new"
        with fresh.open("wb") as file:
            for part in content:
                file.write(part)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        self._step("segment written")
        fresh.replace(path)
        self._step("segment named")
        info = path.stat()
        contributions = tuple(dict.fromkeys(place.contribution_id for place in segment.places))
        return Entry(
            name, info.st_size, info.st_mtime_ns, info.st_ino, segment.size_bytes, contributions
        )

    def _commit(self, entries: Sequence[Entry]) -> None:
        document = {
            "version": 1,
            "segments": [
                {
                    "name": entry.name,
                    "size": entry.size,
                    "time_ns": entry.time_ns,
                    "inode": entry.inode,
                    "text_bytes": entry.text_bytes,
                    "contributions": [key.hex() for key in entry.contributions],
                }
                for entry in entries
            ],
        }
        fresh = self.folder / "manifest.json.new"
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        self._step("manifest written")
        fresh.replace(self._manifest())
        self._step("manifest named")
        self._refresh()

    def _remove_others(self) -> None:
        """Files that the manifest does not name, merged and erased ones among them."""
        kept = {entry.name for entry in self._entries} | {"manifest.json"}
        for path in self.folder.iterdir():
            if path.name not in kept and path.suffix in (".segment", ".new"):
                try:
                    path.unlink()
                except OSError:  # a system that keeps open files: the next change removes it
                    continue

    def clear(self) -> None:
        """Forgets the index."""
        if self.folder.exists():
            with one_at_a_time(self.folder, "change"):
                self._commit([])
                self._remove_others()


def _batches(texts: Iterable[Text]) -> Iterable[tuple[list[Text], bool]]:
    """Texts that make a segment each, and whether no contribution goes on in the next one."""
    batch: list[Text] = []
    size = 0
    for item in texts:
        if batch and size + len(item[2]) > MAX_TEXT_BYTES:
            yield batch, batch[-1][0] != item[0]
            batch, size = [], 0
        batch.append(item)
        size += len(item[2])
    if batch:
        yield batch, True


def _padding(size: int) -> bytes:
    return bytes(-size % ALIGNED)


def _content(segment: Segment) -> Iterable[bytes]:
    """A file's bytes but for the digest (I1)."""
    places = tuple((p.contribution_id, p.document, p.start) for p in segment.places)
    table = encode(
        _Table(CANON_VERSION, sys.byteorder, segment.size_bytes, len(segment.suffixes), places)
    )
    head = MAGIC + struct.pack("<I", len(table)) + table
    yield head + _padding(len(head))
    yield bytes(segment.text[:])
    yield _padding(segment.size_bytes)
    yield segment.suffixes.tobytes()


def _is_whole(file: Any) -> bool:
    """Whether a file ends with the digest of what is before it."""
    digest = hashlib.sha256()
    last = b""
    file.seek(0)
    while block := file.read(2**20):
        last += block
        digest.update(last[:-32])
        last = last[-32:]
    return bool(last == digest.digest())


def _mapped(file: Any, size: int) -> Segment:
    """A segment over a file's mapped bytes. BadInput or ValueError when it is none."""
    file.seek(0)
    begin = file.read(len(MAGIC) + 4)
    if begin[: len(MAGIC)] != MAGIC:
        raise BadInput("not a segment of this version")
    (length,) = struct.unpack("<I", begin[len(MAGIC) :])
    if length > min(size, MAX_TABLE_BYTES):
        raise BadInput("its table is longer than the file")
    table = decode_as(_table_decoder, file.read(length), "the segment's table")
    if (table.canon_version, table.byte_order) != (CANON_VERSION, sys.byteorder):
        raise BadInput("made by another version or for another machine")
    text_at = len(begin) + length + -(len(begin) + length) % ALIGNED
    suffixes_at = text_at + table.text_bytes + -table.text_bytes % ALIGNED
    if size != suffixes_at + 4 * table.suffixes + 32:
        raise BadInput("the file has another length than its table says")
    text = mmap.mmap(file.fileno(), table.text_bytes, access=mmap.ACCESS_READ, offset=text_at)
    suffixes = memoryview(b"").cast("I")
    if table.suffixes:
        mapped = mmap.mmap(
            file.fileno(), 4 * table.suffixes, access=mmap.ACCESS_READ, offset=suffixes_at
        )
        suffixes = memoryview(mapped).cast("I")
    places = tuple(Place(key, document, start) for key, document, start in table.places)
    return Segment(places, text, suffixes)
