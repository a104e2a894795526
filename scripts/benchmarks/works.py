"""What is measured, by name, and the homes that it is measured on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.benchmarks.figures import Figure

MAX_ERROR_CHARS: Final = 4_000


class WorkFailed(Exception):
    """A work ended without its figures; the text says what it printed last."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much there is to do, and the folder that holds the homes of this scale."""

    events: int
    place: Path

    def home(self, name: str) -> Path:
        """The home called `name`. One that is missing is made by another process, so that this one
        begins with neither its memory nor its caches.
        """
        if not (self.place / name / READY).exists():
            run_child(name, self)
        return self.place / name


Work = Callable[[Scale], list[Figure]]
READY: Final = "bench-ready"
"""A file in a home that says it was filled to its end."""
MAX_RUN_SECONDS: Final = 3_600
LOG_HOME: Final = "log-home"
MIXED_HOME: Final = "mixed-home"


def run_child(work: str, scale: Scale) -> str:
    """Runs a work in a process of its own; the last line that it printed."""
    module = "scripts.benchmarks.child"
    command = [sys.executable, "-m", module, work, str(scale.events), str(scale.place)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=MAX_RUN_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise WorkFailed(f"it took longer than {MAX_RUN_SECONDS} s") from None
    if done.returncode != 0:
        raise WorkFailed(done.stderr.strip()[-MAX_ERROR_CHARS:] or f"status {done.returncode}")
    return done.stdout.splitlines()[-1]


def _in(module: str, function: str) -> Work:
    """A work whose module is imported when it is run: each pays for its own imports alone."""

    def run(scale: Scale) -> list[Figure]:
        from importlib import import_module

        work: Work = getattr(import_module(f"scripts.benchmarks.{module}"), function)
        return work(scale)

    return run


WORKS: Final[dict[str, Work]] = {
    "append-batch": _in("log_writing", "append_batch"),
    "append-grouped": _in("log_writing", "append_grouped"),
    "append-single": _in("log_writing", "append_single"),
    "read": _in("log_reading", "read"),
    "verify": _in("log_reading", "verify"),
    "proof": _in("log_reading", "proof"),
    "disk": _in("log_reading", "disk"),
    "fold": _in("crediting", "fold_from_scratch"),
    "refold": _in("crediting", "refold"),
    "epoch-close": _in("crediting", "epoch_close"),
    "reopen": _in("crediting", "reopen"),
    "uses": _in("using", "recording"),
    "start": _in("command", "start"),
}
"""In the order in which they run."""

HOMES: Final[dict[str, Work]] = {
    LOG_HOME: _in("log_writing", "make_log_home"),
    MIXED_HOME: _in("mixed", "make_mixed_home"),
}
"""What makes each home."""
