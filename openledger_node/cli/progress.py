"""A progress bar with rate and time left, for anything that lasts over a second.

It is drawn on standard error, only when that is a terminal, and cleared at the end. Until a second
has passed nothing is loaded or drawn.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

QUIET_SECONDS: Final = 1.0


class Alarm(Protocol):
    """What is set to go off later, unless it is cancelled."""

    def cancel(self) -> None: ...


def set_alarm(seconds: float, call: Callable[[], None]) -> Alarm:
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
    return timer


class Shower:
    """Takes `update(done, total, what)` calls; draws at most one bar a `what`.

    The alarm draws what was told last when one step alone takes more than a second.
    """

    def __init__(self, alarm: Callable[[float, Callable[[], None]], Alarm] = set_alarm) -> None:
        self._set_alarm = alarm
        self._lock = threading.RLock()
        self._began: float | None = None
        self._alarm: Alarm | None = None
        self._progress: Progress | None = None
        self._told: dict[str, tuple[int, int | None]] = {}
        self._tasks: dict[str, TaskID] = {}

    def update(self, done: int, total: int | None, what: str) -> None:
        with self._lock:
            self._told[what] = done, total
            if self._began is None:
                self._began = time.monotonic()
                if sys.stderr.isatty():
                    self._alarm = self._set_alarm(QUIET_SECONDS, self._went_off)
            if time.monotonic() - self._began >= QUIET_SECONDS and sys.stderr.isatty():
                self._draw(what)

    def _went_off(self) -> None:
        with self._lock:
            if self._began is not None:
                for what in list(self._told):
                    self._draw(what)

    def _draw(self, what: str) -> None:
        if self._progress is None:
            self._progress = _bar()
            self._progress.start()
        done, total = self._told[what]
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total, completed=done)
        self._progress.update(self._tasks[what], completed=done, total=total)

    def close(self) -> None:
        """Takes the bar away; a later update begins a new one."""
        with self._lock:
            if self._alarm is not None:
                self._alarm.cancel()
            if self._progress is not None:
                self._progress.stop()
            self._began, self._alarm, self._progress = None, None, None
            self._told, self._tasks = {}, {}


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
