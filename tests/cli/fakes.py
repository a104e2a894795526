"""A stand-in for the Python interface: it records calls and answers with made-up results.

A result is filled field by field from the types of its dataclass, so that every printer is run over
every field without a real home.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from openledger_node.cli.app import App
from openledger_node.cli.main import run
from openledger_node.node import results, results_network, results_witness

HEX: Final = "5f2c81d0a7b3" + "0" * 52
AMOUNT_MICRO: Final = 12_500_000

ANSWERS: Final[dict[str, type]] = {
    "initialise": results.Initialised,
    "device_join": results.Initialised,
    "restore": results.Restored,
    "verify_file": results.Verified,
    "status": results.Status,
    "witness_invite": results_witness.Invited,
    "witness_offer": results_witness.SeatOffered,
    "witness_found": results_witness.Founded,
    "witness_status": results_witness.Witnesses,
    "witness_propose": results_witness.Proposal,
    "witness_approve": results_witness.Proposal,
    "peer_list": results_network.Peers,
    "peer_add": results_network.Peer,
    "peer_remove": results_network.Peer,
    "peer_ban": results_network.Peer,
    "sync": results_network.Synced,
    "ledger_show": results.LedgerShown,
    "ledger_export": results.FileWritten,
    "account_show": results.Account,
    "account_list": results.Accounts,
    "account_name": results.Account,
    "device_list": results.Devices,
    "device_invite": results.FileWritten,
    "datanet_create": results.Datanet,
    "datanet_list": results.Datanets,
    "datanet_show": results.Datanet,
    "data_add": results.Added,
    "data_list": results.Contributions,
    "data_show": results.Contribution,
    "data_get": results.FileWritten,
    "data_derive": results.Derived,
    "index_status": results.IndexShown,
    "index_rebuild": results.IndexShown,
    "index_verify": results.IndexShown,
    "model_register": results.Model,
    "model_list": results.Models,
    "model_show": results.Model,
    "agent_register": results.Agent,
    "agent_list": results.Agents,
    "agent_show": results.Agent,
    "issue": results.MoneyMoved,
    "transfer": results.MoneyMoved,
    "grant": results.MoneyMoved,
    "redeem": results.MoneyMoved,
    "payout": results.Payouts,
    "payout_reverse": results.Payouts,
    "attribute": results.Attributed,
    "use": results.Used,
    "use_batch": results.UsedBatch,
    "challenge": results.Challenged,
    "epoch_close": results.EpochClosed,
    "epoch_list": results.Epochs,
    "credits": results.Credits,
    "statement": results.StatementShown,
    "statement_export": results.FileWritten,
    "explain": results.Explanation,
    "log": results.Events,
    "show": results.EventShown,
    "prove": results.Proved,
    "check": results.Checked,
    "compact": results.Compacted,
    "backup": results.FileWritten,
    "bundle_export": results.BundleMoved,
    "bundle_import": results.BundleMoved,
    "import_events": results.BulkMoved,
    "export_events": results.BulkMoved,
}
"""What each function answers with; those not named answer with `Recorded`."""


def sample(kind: Any, name: str = "", depth: int = 0) -> Any:
    """A value of a type, such as a field of a result has."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return sample(inner[0], name, depth)
    if origin is tuple and inner[-1] is Ellipsis:
        return () if depth > 4 else (sample(inner[0], name, depth + 1),)
    if origin is tuple:
        return tuple(sample(part, name, depth) for part in inner)
    if origin is not None and issubclass(origin, Mapping):
        if name in ("ppm", "names"):
            return {HEX: sample(inner[1], "name")}
        return {
            "account_id": HEX,
            "account": "ana",
            "device": HEX,
            "cap_micro": AMOUNT_MICRO,
            "figure": 3,
        }
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{key: sample(hint, key, depth + 1) for key, hint in hints.items()})
    if kind is bool:
        return True
    if kind is int:
        return AMOUNT_MICRO if name.endswith("_micro") else 3
    if kind is float:
        return 0.25
    hexed = name.endswith(("_id", "_root", "_digest", "_commit")) or name in ("to", "device")
    return HEX if hexed else f"a {name}"


class FakeHome:
    """Answers every method of a home; keeps what it was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.answers: dict[str, Any] = {}
        self.faults: dict[str, BaseException] = {}
        self.events: list[results.EventShown] = []

    def __enter__(self) -> FakeHome:
        return self

    def __exit__(self, *error: object) -> None:
        self.calls.append(("close", (), {}))

    def __getattr__(self, name: str) -> Any:
        def method(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            if name in self.faults:
                raise self.faults[name]
            if name in self.answers:
                return self.answers[name]
            return sample(ANSWERS.get(name, results.Recorded))

        return method

    def use_batch(self, model: str, uses: Iterator[Any], progress: Any = None) -> Any:
        self.calls.append(("use_batch", (model, list(uses)), {}))
        return sample(results.UsedBatch)

    def follow(self, account: Any = None, *, kind: Any = None, wait: Any) -> Iterator[Any]:
        self.calls.append(("follow", (account,), {"kind": kind}))
        for event in self.events:
            yield event
            wait()


class FakeInterface:
    """The functions of `openledger_node.api`, over one fake home."""

    def __init__(self) -> None:
        self.home = FakeHome()
        self.opened: list[Path | None] = []

    def open_home(self, path: Path | None = None, *, catch_up: bool = True) -> FakeHome:
        self.opened.append(path)
        return self.home

    def default_home(self) -> Path:
        return Path("the-default-home")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.home, name)


class Terminal:
    """Runs command lines over a fake interface."""

    def __init__(self) -> None:
        self.interface = FakeInterface()
        self.waited = 0

    @property
    def home(self) -> FakeHome:
        return self.interface.home

    def wait(self) -> None:
        self.waited += 1

    def run(self, *arguments: str) -> int:
        app = App(load=lambda: self.interface, wait=self.wait)  # type: ignore[arg-type, return-value]
        return run(arguments, app)

    @property
    def called(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """The last call that a command made, without its progress callable."""
        name, args, kwargs = [call for call in self.home.calls if call[0] != "close"][-1]
        return name, args, {key: value for key, value in kwargs.items() if key != "progress"}
