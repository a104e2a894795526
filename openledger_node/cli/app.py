"""What every command gets: where the home is, how to print, and the Python interface behind it.

The interface is loaded on first use, so that help and wrong usage cost nothing. Tests put another
one in its place.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

import click

from openledger_node.cli.progress import Shower

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from openledger_node.api import Home
    from openledger_node.node.core import Progress
    from openledger_node.node.results import Initialised, Restored, Verified
    from openledger_node.node.results_witness import Founded, Invited, SeatOffered

FOLLOW_SECONDS: Final = 0.05
"""How long `log --follow` waits between looks."""
Result = TypeVar("Result")


class Interface(Protocol):
    """The functions of `openledger_node.api` that begin with no open home."""

    def open_home(
        self, path: Path | None = None, *, catch_up: bool = True
    ) -> AbstractContextManager[Home]: ...
    def default_home(self) -> Path: ...
    def initialise(
        self,
        home: Path,
        *,
        name: str | None = None,
        genesis_file: Path | None = None,
        params_file: Path | None = None,
        ledger_name: str | None = None,
    ) -> Initialised: ...
    def device_join(self, home: Path, file: Path) -> Initialised: ...
    def restore(self, file: Path, home: Path, *, progress: Progress = ...) -> Restored: ...
    def verify_file(self, file: Path, genesis_file: Path | None = None) -> Verified: ...
    def witness_invite(
        self,
        file: Path,
        name: str,
        params_file: Path | None = None,
        *,
        succeeds: Home | None = None,
    ) -> Invited: ...
    def witness_offer(self, home: Path, file: Path, out: Path, name: str) -> SeatOffered: ...
    def witness_found(self, invitation: Path, seats: Sequence[Path], out: Path) -> Founded: ...
    def witness_begin(self, home: Path, genesis: Path) -> Initialised: ...
    def witness_kind(self, file: Path) -> str: ...


def load_interface() -> Interface:
    from openledger_node import api

    return cast(Interface, api)


def wait_between_looks() -> None:
    time.sleep(FOLLOW_SECONDS)


@dataclass
class App:
    """One run of the command."""

    load: Callable[[], Interface] = load_interface
    wait: Callable[[], None] = wait_between_looks
    home_given: Path | None = None
    as_json: bool = False
    status: int = 0
    shower: Shower = field(default_factory=Shower)

    @property
    def interface(self) -> Interface:
        return self.load()

    def home_path(self) -> Path:
        """The folder of the home: as given, else OLN_HOME, else the platform's data folder."""
        return self.home_given or self.interface.default_home()

    @contextmanager
    def home(self, *, catch_up: bool = True) -> Iterator[Home]:
        """The open home; its progress display ends before anything is printed.

        Without `catch_up` it folds nothing new, so that a damaged home can be looked at.
        """
        with self.interface.open_home(self.home_path(), catch_up=catch_up) as opened:
            try:
                yield opened
            finally:
                self.shower.close()

    def progress(self, done: int, total: int | None, what: str) -> None:
        """Given to whatever may last; shows itself on a terminal after a second."""
        self.shower.update(done, total, what)

    def emit(self, result: Result, plain: Callable[[Result], None]) -> None:
        """Prints a result: one JSON document, or for people."""
        self.shower.close()
        if self.as_json:
            from openledger_node.node.results import as_json

            self.print_json(as_json(result))
        else:
            plain(result)

    def print_json(self, document: Any) -> None:
        print(json.dumps(document))

    def answer_no(self) -> None:
        """The answer of the command is no: exit status 1."""
        self.status = 1


pass_app = click.make_pass_decorator(App)
