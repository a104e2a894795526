"""The file by which `oln status` and `oln peer list` know the running daemon.

`HOME/daemon.json` is replaced as a whole when something in it has changed, at most once a second,
and is removed at the end. A lock tells a file that a killed daemon left from a living one's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from openledger_node.ledger.errors import Refused
from openledger_node.node.files import read_bounded
from openledger_node.store.lock import is_locked, only_one

REPORT_NAME: Final = "daemon.json"
LOCK_NAME: Final = "daemon"
REPORT_S: Final = 1.0
MAX_REPORT_BYTES: Final = 4 * 2**20


@contextmanager
def sole_daemon(home: Path) -> Iterator[None]:
    """One daemon a home."""
    with only_one(home / "ledger", LOCK_NAME) as alone:
        if not alone:
            raise Refused(
                "a daemon runs on this home already",
                hint="`oln status` shows it; stop it before another begins",
                code="daemon_runs",
            )
        try:
            yield
        finally:
            (home / REPORT_NAME).unlink(missing_ok=True)


def write_report(home: Path, text: str) -> None:
    fresh = home / f"{REPORT_NAME}.new"
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, home / REPORT_NAME)


def read_report(home: Path) -> dict[str, Any] | None:
    """What the running daemon says of itself; None when none runs."""
    if not is_locked(home / "ledger", LOCK_NAME):
        return None
    try:
        text = read_bounded(home / REPORT_NAME, MAX_REPORT_BYTES)
        report = json.loads(text)
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) else None
