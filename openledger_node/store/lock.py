"""Who may replace the store's file: an open store shares a lock, `compact` takes it alone.

Every open store shares a lock, `compact` and `restore` take it alone.
"""

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
        """For replacing the file: nobody else may have the store open."""
        self._take(exclusive=True)

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
        mode = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        try:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise StoreUnavailable(
                "the store is in use by another process"
                if exclusive
                else "the store is being replaced by another process",
                hint="try again when it has ended",
                code="store_in_use",
            ) from None
        self._descriptor = descriptor

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
