"""A progress bar with rate and time left, for anything that lasts over a second.

It is drawn on standard error, only when that is a terminal, and cleared at the end. Until a second
has passed nothing is loaded or drawn.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

QUIET_SECONDS: Final = 1.0


class Shower:
    """Takes `update(done, total, what)` calls; draws at most one bar a `what`."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def update(self, done: int, total: int | None, what: str) -> None:
        if self._began is None:
            self._began = time.monotonic()
        if self._progress is None:
            if time.monotonic() - self._began < QUIET_SECONDS or not sys.stderr.isatty():
                return
            self._progress = _bar()
            self._progress.start()
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total, completed=done)
        self._progress.update(self._tasks[what], completed=done, total=total)

    def close(self) -> None:
        """Takes the bar away; a later update begins a new one."""
        if self._progress is not None:
            self._progress.stop()
        self._began, self._progress, self._tasks = None, None, {}


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    from openledger_node.cli.text import columns

    class RateColumn(ProgressColumn):
        """How many a second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{int(speed):,}/s" if speed else "", style="progress.data.speed")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True, width=columns()),
        transient=True,
    )
