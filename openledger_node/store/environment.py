"""One LMDB environment a home: databases, sealed values, limits, errors in the user's words.

- S1 Every stored value ends with the first 8 bytes of SHA-256(database name || 0x00 || key ||
  value), checked on every read: a flipped bit, a value under another key or in another database
  never becomes a figure.
- S2 A write transaction begins, works and commits on one thread, under LMDB's own lock across
  processes.
- S3 Past the store's limit, or when the disk is full, a write is refused as a whole and nothing
  changes.
- S4 A store of a newer format is refused untouched.

The map is 64 GiB of address space, not of disk: the file grows with what is written.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import lmdb

from openledger_node.ledger.errors import StoreDamaged, StoreUnavailable
from openledger_node.store.large_segments import LeafHashes
from openledger_node.store.pages import file_fault

FORMAT_VERSION: Final = 1
MAP_BYTES: Final = 64 * 2**30
DEFAULT_LIMIT_BYTES: Final = 60 * 2**30
MAX_READERS: Final = 512
SEAL_BYTES: Final = 8
DATABASES: Final = (
    "meta",
    "logids",
    "logs",
    "segments",
    "tail",
    "spine",
    "payloads",
    "blobs",
    "state",
    "epochs",
    "journal",
    "states",
    "cutmarks",
    "cutsizes",
    "ids",
    "names",
    "facts",
    "forks",
    "branches",
)
_FULL_DISK_WORDS: Final = (
    "No space left",
    "Disk quota exceeded",
    "File too large",
    "Input/output error",  # what LMDB makes of a write that the disk took half of
)
HELD_TO_ABSENCE: Final = frozenset(
    ("logids", "payloads", "state", "epochs", "cutmarks", "cutsizes", "names", "facts")
)
"""Databases in which a key that is not found means something: its neighbours are looked at too."""
WORDS: Final = {
    "meta": "the store's own description",
    "logids": "the table of logs",
    "logs": "a log's record",
    "segments": "a sealed segment of a log",
    "tail": "an event at the end of a log",
    "spine": "a segment's root",
    "payloads": "a payload's record",
    "blobs": "a payload",
    "state": "the folded state",
    "epochs": "an epoch's record",
    "journal": "an epoch's journal",
    "states": "the witnesses' signed states",
    "cutmarks": "a log's mark in the last cut",
    "cutsizes": "a log's size in an earlier cut",
    "ids": "the index of event ids",
    "names": "a petname",
    "facts": "a local fact",
    "forks": "a fork proof",
    "branches": "a log's other branch",
}


def seal(name: str, key: bytes, value: bytes) -> bytes:
    """`value` as it is stored (S1)."""
    digest = hashlib.sha256(name.encode() + b"\0" + key)
    digest.update(value)
    return value + digest.digest()[:SEAL_BYTES]


def unseal(name: str, key: bytes, stored: bytes) -> bytes:
    """The value in what was stored. StoreDamaged when its seal does not fit (S1)."""
    value = stored[:-SEAL_BYTES]
    digest = hashlib.sha256(name.encode() + b"\0" + key)
    digest.update(value)
    if digest.digest()[:SEAL_BYTES] != stored[-SEAL_BYTES:]:
        raise StoreDamaged(
            f"{WORDS[name]} is damaged (database {name!r}, key {key.hex()[:40]})",
            hint="run `oln check`; restore a backup, or fetch the log again from a peer",
        )
    return value


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turns what LMDB and the disk say into errors that say what to do."""
    try:
        yield
    except (lmdb.MapFullError, lmdb.DiskError) as error:
        raise _full(what) from error
    except (
        lmdb.CorruptedError,
        lmdb.PageNotFoundError,
        lmdb.PanicError,
        lmdb.BadTxnError,  # what LMDB says after it met a page that it could not read
    ) as error:
        raise StoreDamaged(
            f"the store's file is damaged: {error}",
            hint="restore a backup, or start a new home and fetch the logs from peers",
        ) from error
    except (lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.NotFoundError) as error:
        raise StoreDamaged(
            f"the store's file is not a store: {error}", hint="restore a backup"
        ) from error
    except lmdb.Error as error:
        if any(words in str(error) for words in _FULL_DISK_WORDS):
            raise _full(what) from error
        raise StoreUnavailable(f"the store cannot {what}: {error}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise _full(what) from error
        raise StoreUnavailable(f"the store cannot {what}: {error.strerror}") from error


def _full(what: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"the store is full: it cannot {what}",
        hint="free disk space, check the disk, or raise store.limit_bytes in node.toml; "
        "nothing stored was lost",
        code="store_full",
    )


def _disordered(name: str) -> StoreDamaged:
    return StoreDamaged(
        f"{WORDS[name]} is damaged (database {name!r}, the order of keys)",
        hint="run `oln check`; restore a backup",
    )


class Environment:
    """The open LMDB environment and its sub-databases."""

    def __init__(self, folder: Path, *, create: bool, limit_bytes: int, read_only: bool) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self.read_only = read_only
        self.leaf_hashes = LeafHashes()
        self._aside: ThreadPoolExecutor | None = None
        if not create and (fault := file_fault(folder / "data.mdb")):
            raise StoreDamaged(
                f"the store's file cannot be used: {fault}",
                hint="restore a backup, or start a new home and fetch the logs from peers",
            )
        with translated("be opened"):
            self.env = lmdb.open(
                str(folder),
                map_size=MAP_BYTES,
                max_dbs=len(DATABASES) + 8,
                max_readers=MAX_READERS,
                subdir=True,
                create=create,
                readonly=read_only,
                metasync=True,
                sync=True,
                readahead=True,
                meminit=True,  # else what was freed, keys and erased text too, fills gaps of pages
            )
        try:
            with translated("be opened"):
                self.dbs = {
                    name: self.env.open_db(name.encode(), create=create) for name in DATABASES
                }
        except BaseException:
            self.env.close()
            raise

    def close(self) -> None:
        if self._aside is not None:
            self._aside.shutdown()
        self.env.close()

    @property
    def aside(self) -> ThreadPoolExecutor:
        """A thread for changes that somebody prepares the next of meanwhile, one at a time."""
        if self._aside is None:
            self._aside = ThreadPoolExecutor(1, "oln-aside")
        return self._aside

    @property
    def used_bytes(self) -> int:
        """Bytes of the file that were ever in use."""
        info = self.env.info()
        return int(info["last_pgno"] + 1) * int(self.env.stat()["psize"])

    @contextmanager
    def reading(self) -> Iterator[Txn]:
        """One consistent view; any number of them, from any thread."""
        with translated("be read"), self.env.begin(buffers=False) as raw:
            yield Txn(self, raw, reads=True)

    @contextmanager
    def writing(self, incoming_bytes: int = 0, *, finishing: bool = False) -> Iterator[Txn]:
        """A durable change: all of it or none (S2, S3).

        One that only finishes what was let in before is let in past the limit.
        """
        if self.read_only:
            raise StoreUnavailable("the store was opened for reading only")
        if not finishing and self.used_bytes + incoming_bytes > self.limit_bytes:
            raise _full("take more")
        with translated("be written"), self.env.begin(write=True) as raw:
            yield Txn(self, raw)


class Txn:
    """A transaction over sealed values. Keys are bytes, big-endian where they hold numbers."""

    __slots__ = ("_dbs", "_reads", "leaf_hashes", "raw")

    def __init__(
        self, environment: Environment, raw: lmdb.Transaction, *, reads: bool = False
    ) -> None:
        self._dbs = environment.dbs
        self._reads = environment.env if reads else None
        self.leaf_hashes = environment.leaf_hashes
        self.raw = raw

    @contextmanager
    def viewing(self, name: str, key: bytes) -> Iterator[memoryview | None]:
        """A stored value as it lies in the map, seal and all: not checked, and not copied.

        None where there is none, and in a transaction that writes. The value is that of now, for a
        caller whose values never change.
        """
        if self._reads is None:
            yield None
            return
        with self._reads.begin(buffers=True) as raw:
            yield raw.get(key, db=self._dbs[name])

    def get(self, name: str, key: bytes) -> bytes | None:
        stored = self.raw.get(key, db=self._dbs[name])
        if stored is None:
            if name in HELD_TO_ABSENCE:
                self._hold_absent(name, key)
            return None
        return unseal(name, key, bytes(stored))

    def _hold_absent(self, name: str, key: bytes) -> None:
        """That a key is not there, by its neighbours: a flipped key leads a search astray."""
        with self.raw.cursor(db=self._dbs[name]) as cursor:
            found = cursor.set_range(key)
            if found:
                self._hold_end(name, cursor, key, after=True)
            if cursor.prev() if found else cursor.last():
                self._hold_end(name, cursor, key, after=False)

    def _hold_end(self, name: str, cursor: lmdb.Cursor, key: bytes, *, after: bool) -> None:
        """That the item under a cursor is whole, and lies on its side of `key`."""
        held = bytes(cursor.key())
        unseal(name, held, bytes(cursor.value()))
        if held <= key if after else held >= key:
            raise _disordered(name)

    def unchecked(self, name: str, key: bytes) -> bytes | None:
        """A value without looking at its seal, for a caller that holds it to its own hashes."""
        stored = self.raw.get(key, db=self._dbs[name])
        return None if stored is None else bytes(stored[:-SEAL_BYTES])

    def put(self, name: str, key: bytes, value: bytes) -> None:
        self.raw.put(key, seal(name, key, value), db=self._dbs[name])

    def put_many(self, name: str, items: list[tuple[bytes, bytes]]) -> None:
        """Keys ascending are fastest."""
        sealed = [(key, seal(name, key, value)) for key, value in items]
        with self.raw.cursor(db=self._dbs[name]) as cursor:
            cursor.putmulti(sealed)

    def delete(self, name: str, key: bytes) -> bool:
        return bool(self.raw.delete(key, db=self._dbs[name]))

    def has(self, name: str, key: bytes) -> bool:
        return self.raw.get(key, db=self._dbs[name]) is not None

    def scan(
        self, name: str, prefix: bytes = b"", start: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) of the keys that begin with `prefix`, ascending, from `start` on."""
        first = start if start is not None else prefix
        with self.raw.cursor(db=self._dbs[name]) as cursor:
            found = cursor.set_range(first)
            if cursor.prev() if found else cursor.last():
                self._hold_end(name, cursor, first, after=False)
                found = cursor.next()
            elif found:
                found = cursor.first()
            before = first
            for key, stored in cursor if found else ():
                plain = bytes(key)
                value = unseal(name, plain, bytes(stored))
                if plain < before:
                    raise _disordered(name)
                if plain[: len(prefix)] != prefix:
                    return
                yield plain, value
                before = plain

    def raw_items(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        """(key, stored bytes) without checking their seals, for `check`."""
        with self.raw.cursor(db=self._dbs[name]) as cursor:
            for key, stored in cursor:
                yield bytes(key), bytes(stored)

    def keys(self, name: str) -> Iterator[bytes]:
        """The keys alone, ascending."""
        with self.raw.cursor(db=self._dbs[name]) as cursor:
            for key in cursor.iternext(keys=True, values=False):
                yield bytes(key)

    def last(self, name: str) -> tuple[bytes, bytes] | None:
        """The item with the greatest key."""
        with self.raw.cursor(db=self._dbs[name]) as cursor:
            if not cursor.last():
                return None
            key = bytes(cursor.key())
            return key, unseal(name, key, bytes(cursor.value()))

    def count(self, name: str) -> int:
        return int(self.raw.stat(self._dbs[name])["entries"])
