"""How a new home comes to its place: it is made whole aside, and moved there at the end.

A folder is a home from the moment that it has its ledger's folder, so that comes last. A folder
that is there already, empty, is kept and filled: it may be where the user stands, or a volume that
was mounted, and neither can be replaced.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

LEDGER_FOLDER: Final = "ledger"
_MODE: Final = 0o700


def staging_for(home: Path, word: str) -> Path:
    """A folder, not made yet, on the disk of the home to be."""
    place = home.resolve()
    name = f"{word}-{secrets.token_hex(4)}"
    return place / f".{name}" if place.is_dir() else place.with_name(f"{place.name}.{name}")


def move_into_place(staging: Path, home: Path) -> None:
    """The finished home takes its place."""
    place = home.resolve()
    if staging.parent != place:
        staging.rename(place)
        return
    with suppress(OSError):  # a mounted volume may have rights of its own; keys are 0600 anyway
        place.chmod(_MODE)
    for entry in sorted(staging.iterdir(), key=lambda entry: entry.name == LEDGER_FOLDER):
        entry.rename(place / entry.name)
    staging.rmdir()
