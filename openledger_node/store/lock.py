"""Who may replace the store's file: every open store shares a lock, `compact` takes it alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from openledger_node.ledger.errors import StoreUnavailable

try:
    import fcntl
except ImportError:  # Windows: a file that is open cannot be replaced there anyway
    fcntl = None  # type: ignore[assignment]

LOCK_NAME: Final = "open.lock"


class HomeLock:
    """An advisory lock on a file in the store's folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_NAME
        self._descriptor: int | None = None

    def share(self) -> None:
        """For as long as the store is open."""
        self._take(exclusive=False)

    def own(self) -> None:
        """For replacing the file: nobody else may have the store open.

        A lock that is shared becomes the only one, or stays shared when it cannot.
        """
        if self._descriptor is None:
            self._take(exclusive=True)
            return
        if fcntl is not None and not _locked(self._descriptor, fcntl.LOCK_EX):
            _locked(self._descriptor, fcntl.LOCK_SH)  # turning one into the other gives it up first
            raise _busy(exclusive=True)

    def _take(self, *, exclusive: bool) -> None:
        if fcntl is None:
            return
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreUnavailable(
                f"cannot open {self._path}: {error.strerror}",
                hint="the home must be writable for this user",
            ) from None
        if not _locked(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH):
            os.close(descriptor)
            raise _busy(exclusive=exclusive)
        self._descriptor = descriptor

    def share_again(self) -> None:
        """After `own`: others may open the store."""
        if fcntl is not None and self._descriptor is not None:
            _locked(self._descriptor, fcntl.LOCK_SH)

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def one_at_a_time(folder: Path, name: str) -> Iterator[None]:
    """Waits for, and holds, a lock of this name among all processes that use the store."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def only_one(folder: Path, name: str) -> Iterator[bool]:
    """Tries to hold a lock of this name among all processes; yields whether it does."""
    if fcntl is None:
        yield True
        return
    descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield _locked(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def is_locked(folder: Path, name: str) -> bool:
    """Whether some process holds the lock of this name."""
    path = folder / f"{name}.lock"
    if fcntl is None or not path.exists():
        return fcntl is None and path.exists()
    with only_one(folder, name) as free:
        return not free


def _locked(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _busy(*, exclusive: bool) -> StoreUnavailable:
    return StoreUnavailable(
        "the store is in use by another process"
        if exclusive
        else "the store is being replaced by another process",
        hint="try again when it has ended",
        code="store_in_use",
    )
