"""One consistent view of the store: what every reader works on.

A snapshot is an LMDB read transaction: it sees the store as it was when it began, whatever other
threads and processes write meanwhile. It is also the fold's `LogReader`, and its `state` is the
fold's `StateReader`. What reads logs, epochs and payloads is a module each (`view_logs`,
`view_epochs`, `view_payloads`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from openledger_node.ledger.errors import StoreDamaged
from openledger_node.ledger.forks import ForkEvidence, parse_fork
from openledger_node.ledger.genesis import Genesis, parse_genesis
from openledger_node.store import logs
from openledger_node.store.environment import Txn
from openledger_node.store.view_epochs import EpochsView
from openledger_node.store.view_logs import LogsView
from openledger_node.store.view_payloads import PayloadsView

ALARM_FACT: Final = "alarm"
"""Local fact: by epoch, in words, what contradicts this home's statement or cut."""


class StateView:
    """The folded state, as the fold reads it."""

    def __init__(self, txn: Txn) -> None:
        self._txn = txn

    def get(self, key: bytes) -> bytes | None:
        return self._txn.get("state", key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._txn.scan("state", prefix)


class Snapshot(LogsView, EpochsView, PayloadsView):
    """A consistent view. Valid inside the `with` that made it."""

    def __init__(self, txn: Txn, home: Path) -> None:
        super().__init__(txn, home)
        self.state = StateView(txn)

    # The store's own description.

    def meta(self, name: str) -> bytes | None:
        return self._txn.get("meta", name.encode())

    @property
    def genesis(self) -> Genesis:
        return parse_genesis(self._must_meta("genesis"))

    @property
    def own_account(self) -> bytes:
        return self._must_meta("account")

    @property
    def own_device(self) -> bytes:
        return self._must_meta("device")

    @property
    def current_log(self) -> bytes | None:
        return self.meta("current_log")

    @property
    def current_log_went_on(self) -> bool:
        """Whether the current own log has leaves of another writer (S9): it is to be left."""
        current = self.current_log
        number = None if current is None else logs.log_number(self._txn, current)
        return number is not None and logs.read_record(self._txn, number).own == logs.WENT_ON

    def _must_meta(self, name: str) -> bytes:
        value = self.meta(name)
        if value is None:
            raise StoreDamaged(f"the store's {name} is missing", hint="restore a backup")
        return value

    # Local knowledge.

    def petnames(self) -> dict[bytes, str]:
        return {account: name.decode() for account, name in self._txn.scan("names")}

    def fact(self, name: str, key: bytes) -> bytes | None:
        """A local fact: never part of the ledger."""
        return self._txn.get("facts", fact_key(name, key))

    def facts(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        prefix = fact_key(name, b"")
        for key, value in self._txn.scan("facts", prefix):
            yield key[len(prefix) :], value

    def forks(self) -> list[ForkEvidence]:
        """The fork proofs that this home found."""
        return [parse_fork(stored) for _, stored in self._txn.scan("forks")]

    def alarms(self) -> list[str]:
        """What is wrong with the ledger as far as this home knows, for people."""
        found = [
            f"log {fork.head_a.log_id.hex()[:12]} forked at event {fork.common}"
            for fork in self.forks()
        ]
        return [*found, *self.statement_alarms()]

    def statement_alarms(self) -> list[str]:
        """Where the witnesses decided or signed something else than this home has (A8)."""
        return [text.decode() for _, text in self.facts(ALARM_FACT)]

    def described(self) -> dict[str, Any]:
        """The store's own description, for `check` and `status`."""
        return {key.decode(): value for key, value in self._txn.scan("meta")}


def fact_key(name: str, key: bytes) -> bytes:
    return name.encode() + b"\0" + key
