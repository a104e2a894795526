"""The daemons of the demo's homes: processes on loopback that end with the demo, however it ends.

Each is what `oln node` starts. Nothing here looks into a home but through the Python interface; a
daemon is up when its home says where it listens.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from openledger_node.ledger.errors import OlnError, Refused

if TYPE_CHECKING:
    from openledger_node.api import Home

PATIENCE_S: Final = 60.0
"""A daemon starts, and an event crosses loopback, in a fraction of this on a busy machine."""
LOOK_S: Final = 0.02
STOP_S: Final = 10.0
LOOPBACK: Final = "127.0.0.1:0"

OpenHome = Callable[[str], AbstractContextManager["Home"]]


class Daemons:
    """The running daemons by the names of their homes."""

    def __init__(self, folder: Path, open_home: OpenHome) -> None:
        self._folder = folder
        self._open_home = open_home
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, name: str) -> None:
        """Begins a daemon; `address` waits until it is up."""
        home = self._folder / name
        words = [sys.executable, "-m", "openledger_node", "--home", str(home)]
        with (home / "node.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [*words, "node", "--listen", LOOPBACK],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def address(self, name: str) -> str:
        """Where others dial it, ID@HOST:PORT. Refused when it does not come up."""
        found: list[str] = []

        def is_up(home: Home) -> bool:
            status = home.status()
            if status.listening:
                found.append(f"{status.node_id}@{status.listening[0]}")
            return bool(found)

        self.until(name, is_up, "its daemon listens")
        return found[0]

    def until(self, name: str, holds: Callable[[Home], bool], what: str) -> None:
        """Looks into a home until something holds there. Refused when its daemon ends before."""
        deadline = time.monotonic() + PATIENCE_S
        with self._open_home(name) as home:
            while not _holds(holds, home):
                if self._running[name].poll() is not None:
                    raise self._failed(name, "its daemon ended")
                if time.monotonic() > deadline:
                    raise self._failed(name, f"not within {PATIENCE_S:.0f} s: {what}")
                time.sleep(LOOK_S)

    def _failed(self, name: str, what: str) -> Refused:
        lines = (self._folder / name / "node.log").read_text("utf-8", "replace").splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        said = f"; it said last: {(errors or lines)[-1]}" if lines else ""
        return Refused(
            f"{name}: {what}{said}",
            hint="the demo's daemons need to open sockets on 127.0.0.1; "
            "`--keep DIR` leaves their logs, DIR/*/node.log",
            code="daemon_failed",
        )

    def stop(self) -> None:
        """Ends all of them: politely, and then not."""
        for process in self._running.values():
            process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in self._running.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()


def _holds(holds: Callable[[Home], bool], home: Home) -> bool:
    """What cannot be looked at yet, such as an event that has not come, does not hold yet."""
    try:
        return holds(home)
    except OlnError:
        return False


__all__ = ["Daemons"]
