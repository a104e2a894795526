"""A co-operative of real homes in a folder, for tests: one ledger, one witness, files between them.

    coop = Coop(tmp_path)                    # home "coop": the only seat, and the issuer
    alice = coop.join("alice")               # a home with its own account on that ledger
    coop.settle()                            # carry everything to "coop", close, carry it back
    coop["alice"].data_add(...)              # homes stay open until `coop.shut()`

The clock ticks a millisecond a look. Texts are sentences of words that no other text has.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import lmdb
import pytest

from openledger_node.api import Home, initialise, open_home
from openledger_node.node import results

CREDIT = 1_000_000
START_MS = 1_700_000_000_000
WITNESS = "coop"


@contextmanager
def no_waiting_for_the_disk() -> Iterator[None]:
    """Leaves syncing to the operating system: nothing here cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        opened = lmdb.open

        def quick(*arguments: Any, **options: Any) -> Any:
            return opened(*arguments, **(options | {"sync": False, "metasync": False}))

        patch.setattr(lmdb, "open", quick)
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


class Clock:
    """Milliseconds that tick at every look."""

    def __init__(self, start_ms: int = START_MS) -> None:
        self._ticks = itertools.count(start_ms)

    def __call__(self) -> int:
        return next(self._ticks)


def words(name: str, count: int, start: int = 0) -> str:
    """`count` words that occur in no text of another name: `name0 name1 ...`, one token each."""
    return " ".join(f"{name}{index}" for index in range(start, start + count))


class Coop:
    """Homes on one ledger, each open, and the files that pass between them."""

    def __init__(self, place: Path, *, params: str = "", start: bool = True) -> None:
        self.place = place
        self.clock = Clock()
        self.ids: dict[str, str] = {}
        self.recovery: dict[str, Path] = {}
        self._homes: dict[str, Home] = {}
        self._files = itertools.count()
        self.genesis = place / "genesis.json"
        if start:
            params_file = place / "params.toml"
            params_file.write_text(params)
            self._begin(WITNESS, params_file=params_file if params else None)
            self[WITNESS].ledger_export(self.genesis)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shut()

    def __getitem__(self, name: str) -> Home:
        """The home of this name, opened when it is not open."""
        if name not in self._homes:
            self._homes[name] = open_home(self.place / name, clock_ms=self.clock)
        return self._homes[name]

    def __iter__(self) -> Any:
        return iter(self.ids)

    def _begin(self, name: str, **options: Any) -> results.Initialised:
        made = initialise(self.place / name, name=name, clock_ms=self.clock, **options)
        self.ids[name] = made.account_id
        self.recovery[name] = Path(made.recovery_file)
        return made

    def join(self, *names: str) -> Home:
        """Makes homes on the ledger; answers the last one."""
        for name in names:
            self._begin(name, genesis_file=self.genesis)
        return self[names[-1]]

    def shut(self, *names: str) -> None:
        """Closes the named homes, or all of them."""
        for name in names or list(self._homes):
            self._homes.pop(name).close()

    def reopen(self, name: str) -> Home:
        if name in self._homes:
            self.shut(name)
        return self[name]

    def file(self, suffix: str = "bundle") -> Path:
        """A path that nothing has used."""
        return self.place / f"file-{next(self._files)}.{suffix}"

    def write(self, name: str, text: str | bytes) -> Path:
        """A file with this content."""
        path = self.place / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def carry(self, source: str, target: str) -> results.BundleMoved:
        """Takes everything that one home holds to another; nothing of it may be refused."""
        bundle = self.file()
        self[source].bundle_export(bundle)
        moved = self[target].bundle_import(bundle)
        assert not moved.refused, moved.refused
        return moved

    def gather(self) -> None:
        """Carries every home's logs to the witness."""
        for name in self.ids:
            if name != WITNESS:
                self.carry(name, WITNESS)

    def spread(self) -> None:
        """Carries what the witness holds to every home."""
        for name in self.ids:
            if name != WITNESS:
                self.carry(WITNESS, name)

    def settle(self) -> results.EpochClosed:
        """One epoch over everything that every home wrote."""
        self.gather()
        closed = self[WITNESS].epoch_close()
        self.spread()
        return closed

    def add_text(self, name: str, title: str, text: str, **options: Any) -> str:
        """Registers a text of one document, shared with all; the contribution's id."""
        path = self.write(f"{name}-{title}.txt", text)
        options.setdefault("share", "all")
        added = self[name].data_add([path], title=title, **options)
        assert added.contribution_id is not None
        return added.contribution_id

    def balances(self, home: str = WITNESS) -> dict[str, results.Credit]:
        """What each named account has, as one home sees it."""
        shown = {row.account_id: row for row in self[home].credits().accounts}
        return {name: shown[ident] for name, ident in self.ids.items() if ident in shown}

    def conserved(self, home: str = WITNESS) -> bool:
        """Invariant 2 over what `credits` shows."""
        found = self[home].credits()
        held = sum(row.balance_micro + row.locked_micro for row in found.accounts)
        return held + found.escrow_micro + found.pool_micro + found.burned_micro == (
            found.issued_micro
        )


@dataclass
class Ready:
    """A co-operative in epoch 2: two contributors, a model over both, a funded grant."""

    coop: Coop
    harbour: str
    bakers: str
    model: str
    grant: str

    def use(self, output: str, fee_micro: int = 0, **options: Any) -> results.Used:
        options.setdefault("grant", self.grant if fee_micro else None)
        return self.coop["maker"].use(self.model, output.encode(), fee_micro=fee_micro, **options)

    def use_batch(self, uses: Sequence[dict[str, Any]]) -> results.UsedBatch:
        return self.coop["maker"].use_batch(self.model, uses)


HARBOUR = words("harbour", 200)
BAKERS = words("baker", 200)
ISSUED_MICRO = 100 * CREDIT
GRANTED_MICRO = 50 * CREDIT


def ready(place: Path, *, params: str = "") -> Ready:
    """alice has HARBOUR, bert BAKERS, maker a model of both; user pays maker on a grant."""
    coop = Coop(place, params=params)
    coop.join("alice", "bert", "maker", "user")
    harbour = coop.add_text("alice", "harbour", HARBOUR, license="CC-BY-4.0")
    bakers = coop.add_text("bert", "bakers", BAKERS, license="MIT")
    coop.gather()
    coop[WITNESS].issue(ISSUED_MICRO, coop.ids["user"], "deposit 1")
    coop[WITNESS].epoch_close()
    coop.spread()
    model = coop["maker"].model_register(
        "parrot", trained_on=[(harbour, 1), (bakers, 1)], license="Apache-2.0"
    )
    grant = coop["user"].grant(coop.ids["maker"], GRANTED_MICRO, expires=10)
    coop.settle()
    assert grant.grant_id is not None
    return Ready(coop, harbour, bakers, model.model_id, grant.grant_id)
