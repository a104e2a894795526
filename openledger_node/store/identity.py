"""What tells a home from its copy: a nonce in the store and beside it, the machine, the file.

HOME/instance.json holds the nonce of the store's meta database, a hash of the machine's id, and
device and inode of the store's file. A copied or restored home differs in one of them; it then
begins a new log before it appends (invariant 5). A rolled-back virtual machine differs in none: it
learns of itself from its first peer.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import uuid
from pathlib import Path
from typing import Any, Final

FILE_NAME: Final = "instance.json"
MAX_FILE_BYTES: Final = 4096
_MACHINE_FILES: Final = ("/etc/machine-id", "/var/lib/dbus/machine-id")


def new_nonce() -> bytes:
    return secrets.token_bytes(16)


def machine() -> str:
    """A hash that tells machines apart and says nothing of them."""
    for name in _MACHINE_FILES:
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        if text:
            return hashlib.sha256(b"oln/machine/1" + text.encode()).hexdigest()
    return hashlib.sha256(b"oln/machine/1" + str(uuid.getnode()).encode()).hexdigest()


def _facts(home: Path, nonce: bytes) -> dict[str, Any]:
    info = (home / "ledger" / "data.mdb").stat()
    return {
        "openledger": "instance",
        "nonce": nonce.hex(),
        "machine": machine(),
        "device": info.st_dev,
        "inode": info.st_ino,
    }


def bind(home: Path, nonce: bytes) -> None:
    """Writes what `is_bound` looks for, durable."""
    path = home / FILE_NAME
    fresh = path.with_name(FILE_NAME + ".new")
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(_facts(home, nonce), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def is_bound(home: Path, nonce: bytes | None) -> bool:
    """Whether the home is where, and what, it was when it was bound."""
    try:
        with (home / FILE_NAME).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        found = json.loads(data) if len(data) <= MAX_FILE_BYTES else None
    except (OSError, ValueError, RecursionError):
        return False
    return nonce is not None and found == _facts(home, nonce)
