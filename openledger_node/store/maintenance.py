"""Care of a whole store: compacting it, writing it to one file, making a home from such a file.

A backup is a framed file (frames.py) of mode 0600, since it holds the secret keys:

    oln-backup/1
    ["home", ledger id, account id, events]
    ["file", name, size]  then  ["part", bytes]*        for each file; names as in `_NAMES`

The store's part is one consistent copy, made while others read and write. `instance.json` is not in
it: a restored home is no longer the original and begins a new log at its first append.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from openledger_node.ledger.errors import BadInput, Refused, StoreDamaged
from openledger_node.ledger.events import SEGMENT_LEAVES
from openledger_node.store import logs
from openledger_node.store.environment import MAP_BYTES, Environment, translated
from openledger_node.store.frames import FrameWriter, read_frames
from openledger_node.store.places import move_into_place, staging_for
from openledger_node.store.store import Store
from openledger_node.store.view_payloads import IN_FILE, payload_path

Progress = Callable[[int, int | None, str], None]
"""progress(done, total or None, what)."""

MAGIC: Final = b"oln-backup/1\n"
PART_BYTES: Final = 4 * 2**20
MAX_FILES: Final = 10_000_000
MAX_KEPT_FILE_BYTES: Final = 2**20
"""Settings, keys and the recovery file: each is a few kilobytes."""
STORE_FILE: Final = "ledger/data.mdb"
COPY_PREFIX: Final = ".copy-"
_KEPT: Final = re.compile(r"node\.toml|recovery-[a-z0-9-]{1,64}\.json|keys/[a-z_]{1,32}\.key")
_PAYLOAD: Final = re.compile(r"payloads/([0-9a-f]{2})/\1[0-9a-f]{62}")


@dataclass(frozen=True, slots=True)
class Compaction:
    before_bytes: int
    after_bytes: int


@dataclass(frozen=True, slots=True)
class BackedUp:
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class RestoredHome:
    ledger_id: bytes
    account_id: bytes | None
    events: int


def no_progress(done: int, total: int | None, what: str) -> None:
    """For callers that show none."""


def compact(store: Store, progress: Progress = no_progress) -> Compaction:
    """Copies the store without its gaps and puts the copy in its place.

    Nobody else may have the store open, nor another thread use it meanwhile: StoreUnavailable
    `store_in_use` when another process does. A run that is cut off leaves the store as it was, or
    compacted; then the home begins a new log, as a copy would.
    """
    path = store.home / STORE_FILE
    with store.alone():
        before = path.stat().st_size
        original = store.is_original()
        for left in store.home.glob(f"{COPY_PREFIX}*"):  # by a run that was cut off
            shutil.rmtree(left, ignore_errors=True)
        _drop_leftovers(store.environment)
        with _copied(store, store.home) as copy:
            progress(1, 2, "copy")
            _replace(store, copy, path)
        if original:
            store.bind_again()
        progress(2, 2, "copy")
        return Compaction(before, path.stat().st_size)


def _drop_leftovers(environment: Environment) -> None:
    """What lies beyond a log's size (S7), and branches that were cut off on their way in (S8)."""
    with environment.reading() as txn:
        records = {
            int.from_bytes(key, "big"): logs.decode_record(stored)
            for key, stored in txn.scan("logs")
        }
        sealed = {number: record.size // SEGMENT_LEAVES for number, record in records.items()}
        left = [
            (name, key)
            for name in ("segments", "spine")
            for key in txn.keys(name)
            if int.from_bytes(key[4:], "big") >= sealed.get(int.from_bytes(key[:4], "big"), 0)
        ]
        left += [("tail", key) for key in txn.keys("tail") if not _is_of_tail(key, records)]
        left += [
            ("logs", logs.number_key(number))
            for number, record in records.items()
            if record.own == logs.SET_ASIDE and not record.size
        ]
    if left:  # a full store takes no write, and may be compacted for that very reason
        with environment.writing() as txn:
            for name, key in left:
                txn.delete(name, key)


def _is_of_tail(key: bytes, records: dict[int, logs.LogRecord]) -> bool:
    """Whether a leaf that lies apart is one after the last whole segment of its log."""
    record = records.get(int.from_bytes(key[:4], "big"))
    seq = int.from_bytes(key[4:], "big")
    return (
        record is not None and record.size // SEGMENT_LEAVES * SEGMENT_LEAVES <= seq < record.size
    )


def _replace(store: Store, copy: Path, path: Path) -> None:
    """Swaps the store's file; the environment is open again when this returns or fails."""
    old = store.environment
    old.close()
    try:
        with translated("be compacted"):
            copy.replace(path)
            _sync_folder(path.parent)
            (path.parent / "lock.mdb").unlink(missing_ok=True)  # readers of the old file's commits
    finally:
        store.environment = Environment(
            old.folder, create=False, limit_bytes=old.limit_bytes, read_only=old.read_only
        )


class _copied:
    """A compacted, durable copy of the store's file in a folder of its own, for a `with`."""

    def __init__(self, store: Store, beside: Path) -> None:
        self._store = store
        with translated("be copied"):
            self._folder = Path(tempfile.mkdtemp(prefix=COPY_PREFIX, dir=beside))

    def __enter__(self) -> Path:
        try:
            with translated("be copied"):
                self._store.environment.env.copy(str(self._folder), compact=True)
                copy = self._folder / "data.mdb"
                with copy.open("rb+") as file:
                    os.fsync(file.fileno())
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return copy

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def backup(store: Store, path: Path, progress: Progress = no_progress) -> BackedUp:
    """Writes the home to one new file of mode 0600, also while it is in use."""
    home = store.home
    with store.read() as snapshot:
        ledger_id = snapshot.genesis.ledger_id
        account = snapshot.meta("account")
        events = sum(log.size for log in snapshot.logs())
    with FrameWriter(path, MAGIC, mode=0o600) as out:
        out.write("home", ledger_id, account, events)
        files = _kept_files(home)
        with _copied(store, path.parent) as copy:
            total = copy.stat().st_size

            def count(done: int) -> None:
                progress(min(done, total), total, "bytes")

            _write_file(out, STORE_FILE, copy, count)
            payloads = _payload_files(store)
            for name in (*files, *payloads):
                _write_file(out, name, home / name, lambda _: None)
    return BackedUp(1 + len(files) + len(payloads), path.stat().st_size)


def _kept_files(home: Path) -> list[str]:
    """The names of settings, keys and the recovery file, when it still lies in the home."""
    found = [*home.iterdir(), *(home / "keys").glob("*")]
    names = sorted(item.relative_to(home).as_posix() for item in found if item.is_file())
    return [name for name in names if _KEPT.fullmatch(name)]


def _payload_files(store: Store) -> list[str]:
    """The large payloads held now: what was erased while the copy was made stays erased."""
    with store.read() as snapshot:
        paths = [
            payload_path(store.home, commit)
            for commit, record in snapshot.payloads()
            if record.place == IN_FILE
        ]
    return [path.relative_to(store.home).as_posix() for path in paths if path.exists()]


def _write_file(out: FrameWriter, name: str, path: Path, progress: Callable[[int], None]) -> None:
    with translated("be backed up"), path.open("rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        out.write("file", name, size_bytes)
        done = 0
        while done < size_bytes:
            part = file.read(min(PART_BYTES, size_bytes - done))
            if not part:
                raise StoreDamaged(f"{path} became shorter while it was read", hint="try again")
            out.write("part", part)
            done += len(part)
            progress(done)


def restore(path: Path, home: Path, progress: Progress = no_progress) -> RestoredHome:
    """Makes a home from a backup, in a place that has none.

    BadInput when the file is cut short, altered or not a backup; nothing is left behind then. The
    home begins a new log at its first append.
    """
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise Refused(
            f"{home} exists and is not empty",
            hint="restore into a new folder, with --home",
            code="home_exists",
        )
    staging = staging_for(home, "restore")
    with translated("be restored"):
        staging.mkdir(parents=True, mode=0o700)
    reader = _Restoring(staging)
    try:
        for frame in read_frames(
            path, MAGIC, "a backup", lambda done, total: progress(done, total, "bytes")
        ):
            reader.take(frame)
        made = reader.finish()
        with translated("be restored"):
            move_into_place(staging, home)
            for folder in (home, home.parent):
                _sync_folder(folder)
        return made
    except BaseException:
        reader.close()
        shutil.rmtree(staging, ignore_errors=True)
        raise


class _Restoring:
    """Writes a backup's files into a folder, and nowhere else."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._about: RestoredHome | None = None
        self._names: set[str] = set()
        self._file: Any = None
        self._missing_bytes = 0

    def take(self, frame: list[Any]) -> None:
        match frame:
            case ["home", bytes(ledger_id), bytes() | None as account, int(events)]:
                self._about = RestoredHome(ledger_id, account, events)
            case ["file", str(name), int(size_bytes)]:
                self._begin(name, size_bytes)
            case ["part", bytes(part)]:
                if self._file is None or len(part) > self._missing_bytes:
                    raise BadInput("the backup has more bytes for a file than it says")
                with translated("be restored"):
                    self._file.write(part)
                self._missing_bytes -= len(part)
            case _:
                raise BadInput("the backup has a frame of an unknown form")

    def _begin(self, name: str, size_bytes: int) -> None:
        self._end()
        limit = MAX_KEPT_FILE_BYTES if _KEPT.fullmatch(name) else MAP_BYTES
        if name != STORE_FILE and not _KEPT.fullmatch(name) and not _PAYLOAD.fullmatch(name):
            raise BadInput(f"the backup has a file {name[:80]!r}, which no home has")
        if not 0 <= size_bytes <= limit or len(self._names) >= MAX_FILES or name in self._names:
            raise BadInput(f"the backup has a file {name!r} twice, or too long, or too many files")
        self._names.add(name)
        target = self._place / name
        with translated("be restored"):
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            self._file = os.fdopen(os.open(target, flags, 0o600), "wb")
        self._missing_bytes = size_bytes

    def _end(self) -> None:
        if self._file is None:
            return
        if self._missing_bytes:
            raise BadInput("the backup has fewer bytes for a file than it says")
        with translated("be restored"):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        self._file = None

    def close(self) -> None:
        """Lets go of a file that was not finished."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    def finish(self) -> RestoredHome:
        """After the end frame: the store opens, and is the ledger's that the file names."""
        self._end()
        if self._about is None or STORE_FILE not in self._names:
            raise BadInput("the backup holds no store")
        with Store.open(self._place) as store, store.read() as snapshot:
            if snapshot.genesis.ledger_id != self._about.ledger_id:
                raise BadInput("the backup's store is another ledger's than it says")
            events = sum(log.size for log in snapshot.logs())
            return RestoredHome(self._about.ledger_id, snapshot.meta("account"), events)
