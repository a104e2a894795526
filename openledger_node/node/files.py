"""Small files that a user names: read up to a limit, written whole or not at all."""

from __future__ import annotations

import errno
import os
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from openledger_node.ledger.errors import OlnError, StoreUnavailable, UsageError

PUBLIC: Final = 0o666
PRIVATE: Final = 0o600
_BINARY: Final = getattr(os, "O_BINARY", 0)
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def read_bounded(path: Path, limit_bytes: int) -> bytes:
    """The bytes of a file, and one more than the limit of one that is longer.

    However long it is: a device or a pipe need not end.
    """
    with path.open("rb") as file:
        return file.read(limit_bytes + 1)


def parsed_toml(path: Path, data: bytes) -> dict[str, Any]:
    """The document in a TOML file. UsageError says where it is wrong."""
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        fault = f"it is not UTF-8 (byte {error.start:,})"
    except (ValueError, RecursionError) as error:  # numbers too long, arrays too deep, too
        fault = str(error)
    raise UsageError(f"{path} is not TOML: {fault}", hint="mend the file", code="bad_file")


def write_new(path: Path, data: bytes, mode: int = PUBLIC) -> None:
    """A new, durable file, never over an existing one; none is left behind when that fails."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode)
    except FileExistsError:
        raise UsageError(
            f"{path} exists already", hint="name a new file; nothing was overwritten"
        ) from None
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> OlnError:
    message = f"cannot write {path}: {error.strerror}"
    if error.errno in _NO_SPACE:
        hint = "free some space or name another place; what was stored is kept"
        return StoreUnavailable(message, hint=hint, code="no_space")
    if error.errno == errno.EROFS:
        return StoreUnavailable(message, hint="name a place that can be written", code="read_only")
    return UsageError(message, hint="check the folder, and who may write there", code="bad_file")
