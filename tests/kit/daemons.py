"""Real daemons for tests: processes on loopback, started, asked and ended.

    with Town(tmp_path) as town:
        ana = town.begin("ana")                     # the ledger's witness
        bo = town.join("bo")                        # a home on the same ledger
        town.start("ana"); town.start("bo", "ana")  # bo's daemon keeps a link to ana's
        town.until(lambda: town.events("bo") == town.events("ana"))

Nothing sleeps for a fixed time: conditions are looked at until they hold, or the test fails.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from openledger_node.api import Home, initialise, open_home
from openledger_node.ledger.heads import Mark

PATIENCE_S = 30.0
LOOK_S = 0.05


class Town:
    """Homes in a folder, and the daemons that run on some of them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.genesis = place / "genesis.json"
        self._running: dict[str, subprocess.Popen[str]] = {}
        self.address: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in list(self._running):
            self.kill(name)

    # Homes.

    def path(self, name: str) -> Path:
        return self.place / name

    def home(self, name: str) -> Home:
        """The home, opened beside whatever runs on it; close it."""
        return open_home(self.path(name))

    def begin(self, name: str, params: str = "") -> str:
        """A new ledger, whose genesis the others join by."""
        file = self.place / f"{name}.toml"
        file.write_text(params)
        initialise(self.path(name), name=name, params_file=file if params else None)
        with self.home(name) as home:
            home.ledger_export(self.genesis)
        return name

    def join(self, name: str) -> str:
        initialise(self.path(name), name=name, genesis_file=self.genesis)
        return name

    def events(self, name: str) -> list[str]:
        """Every event that a home holds, sorted."""
        with self.home(name) as home:
            return sorted(event.event_id for event in home.log(limit=None).events)

    def status(self, name: str) -> Any:
        with self.home(name) as home:
            return home.status()

    def statement(self, name: str) -> bytes:
        """The exported statement of the last epoch, byte for byte."""
        file = self.path(name) / "statement.export"
        file.unlink(missing_ok=True)
        with self.home(name) as home:
            home.statement_export(None, file)
        return file.read_bytes()

    def settings(self, name: str, text: str) -> None:
        (self.path(name) / "node.toml").write_text(text)

    # Daemons.

    def start(self, name: str, *peers: str) -> None:
        """Starts a home's daemon, which keeps links to others that run."""
        with self.home(name) as home:
            for peer in peers:
                home.peer_add(self.address[peer])
        log = self.log(name).open("a")
        process = subprocess.Popen(
            [sys.executable, "-m", "openledger_node", "--home", str(self.path(name)), "--json",
             "node", "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, "COLUMNS": "100"},
        )  # fmt: skip
        log.close()
        self._running[name] = process
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, self.log(name).read_text()
        ready = json.loads(line)
        self.address[name] = f"{ready['node_id']}@{ready['listening'][0]}"

    def log(self, name: str) -> Path:
        return self.place / f"{name}.log"

    def logged(self, name: str) -> str:
        return self.log(name).read_text()

    def is_running(self, name: str) -> bool:
        return self._running[name].poll() is None

    def stop(self, name: str) -> int:
        """Ends a daemon politely; its exit status."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        status = process.wait(PATIENCE_S)
        assert process.stdout is not None
        process.stdout.close()
        return status

    def kill(self, name: str) -> None:
        """As a power cut would end it."""
        process = self._running.pop(name)
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()

    def oln(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """One command of the command line on a home."""
        return subprocess.run(
            [sys.executable, "-m", "openledger_node", "--home", str(self.path(name)), *words],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip

    def until(self, holds: Callable[[], bool], what: str = "") -> None:
        """Looks until something holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, f"never: {what}{self._all_logs()}"
            time.sleep(LOOK_S)

    def marks(self, name: str) -> list[Mark]:
        """What a home holds: every log's size and root."""
        with open_home(self.path(name), catch_up=False) as home, home.core.store.read() as held:
            return sorted(held.marks())

    def until_same(self, names: Sequence[str]) -> None:
        """Until all homes hold the same logs."""

        def are_same() -> bool:
            return len({tuple(self.marks(name)) for name in names}) == 1

        self.until(are_same, "the same logs")

    def _all_logs(self) -> str:
        files = self.place.glob("*.log")
        return "".join(f"\n{file.name}:\n{file.read_text()}" for file in files)
