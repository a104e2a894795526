"""The Python interface: `open_home` and one function for each command of `oln`.

    from openledger_node import open_home

    with open_home() as home:
        used = home.record_use(model_id, "the output", grant_id=grant, fee_micro=2_000_000)

Results are the frozen dataclasses of `node.results`, with the keys of the command's JSON. A `Home`
is thread-safe, and may be open beside a running daemon and other processes. Ids are text: whole, an
unambiguous prefix of 8 or more hex digits, or for accounts a petname or short form. Amounts are
integers in micro-credits.

Modules that only some commands need are imported where they are used: `oln status` starts sooner.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from openledger_node.node import core, epochs, keyfiles, reports
from openledger_node.node import results as r
from openledger_node.node import setup as _setup
from openledger_node.node.answering import Answering
from openledger_node.node.core import NodeCore, Progress, no_progress, system_clock_ms
from openledger_node.node.peering import Peering
from openledger_node.node.registering import Registering
from openledger_node.node.seating import (
    Seating,
    witness_begin,
    witness_found,
    witness_invite,
    witness_kind,
    witness_offer,
)

__all__ = [
    "Home",
    "default_home",
    "device_join",
    "initialise",
    "open_home",
    "restore",
    "verify_file",
    "witness_begin",
    "witness_found",
    "witness_invite",
    "witness_kind",
    "witness_offer",
]


def default_home() -> Path:
    """`OLN_HOME`, else the platform's data folder."""
    named = os.environ.get(core.HOME_VARIABLE)
    if named:
        return Path(named).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("openledger-node", appauthor=False))


def open_home(
    path: str | os.PathLike[str] | None = None,
    *,
    passphrase: bytes | None = None,
    clock_ms: Callable[[], int] = system_clock_ms,
    catch_up: bool = True,
) -> Home:
    """Opens an existing home. Without `catch_up` it folds nothing new: for looking at damage."""
    place = default_home() if path is None else Path(path)
    opened = core.open_core(place, passphrase=passphrase, clock_ms=clock_ms)
    try:
        return Home(opened, catch_up=catch_up)
    except BaseException:
        opened.close()
        raise


def initialise(
    home: Path,
    *,
    name: str | None = None,
    genesis_file: Path | None = None,
    params_file: Path | None = None,
    ledger_name: str | None = None,
    passphrase: bytes | None = None,
    clock_ms: Callable[[], int] = system_clock_ms,
) -> r.Initialised:
    """Makes a home with a new account: on a new solo ledger, or on that of `genesis_file`."""
    return _setup.initialise(
        home,
        name=name,
        genesis_file=genesis_file,
        params_file=params_file,
        ledger_name=ledger_name,
        passphrase=passphrase or keyfiles.passphrase_from_environment(),
        clock_ms=clock_ms,
    )


def device_join(
    home: Path,
    file: Path,
    *,
    passphrase: bytes | None = None,
    clock_ms: Callable[[], int] = system_clock_ms,
) -> r.Initialised:
    """Makes a home for a second device, from an invitation."""
    from openledger_node.node import accounts

    chosen = passphrase or keyfiles.passphrase_from_environment()
    return accounts.device_join(home, file, passphrase=chosen, clock_ms=clock_ms)


def restore(file: Path, home: Path, *, progress: Progress = no_progress) -> r.Restored:
    """Makes a home from a backup; it opens a new log at its first append."""
    from openledger_node.node import care

    return care.restore(file, home, progress=progress)


def verify_file(file: Path, genesis_file: Path | None = None) -> r.Verified:
    """Checks a proof file with nothing but itself, or against a genesis one trusts."""
    from openledger_node.exchange import proofs

    return proofs.verify_file(file, genesis_file)


class Home(Answering, Peering, Registering, Seating):
    """An open home: use it in a `with` statement, or `close` it."""

    def __init__(self, opened: NodeCore, *, catch_up: bool = True) -> None:
        self.core = opened
        if catch_up:
            epochs.catch_up(opened)

    def close(self) -> None:
        self.core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Looking.

    def status(self) -> r.Status:
        return reports.status(self.core)

    def ledger_show(self) -> r.LedgerShown:
        return reports.ledger_show(self.core)

    def ledger_export(self, file: Path) -> r.FileWritten:
        return reports.ledger_export(self.core, file)

    def credits(self, account: str | None = None, *, pending: bool = False) -> r.Credits:
        return reports.credits(self.core, account, pending=pending)

    def statement(self, epoch: int | None = None) -> r.StatementShown:
        return reports.statement(self.core, epoch)

    def statement_export(self, epoch: int | None, file: Path) -> r.FileWritten:
        return reports.statement_export(self.core, epoch, file)

    def explain(self, id: str) -> r.Explanation:
        from openledger_node.node import explaining

        return explaining.explain(self.core, id)

    def log(
        self, account: str | None = None, *, kind: str | None = None, limit: int | None = 50
    ) -> r.Events:
        return reports.log(self.core, account, kind=kind, limit=limit)

    def follow(
        self, account: str | None = None, *, kind: str | None = None, wait: Callable[[], None]
    ) -> Iterator[r.EventShown]:
        return reports.follow(self.core, account, kind=kind, wait=wait)

    def show(self, id: str) -> r.EventShown:
        return reports.show(self.core, id)

    # Accounts and devices.

    def account_show(self, account: str | None = None) -> r.Account:
        from openledger_node.node import accounts

        return accounts.account_show(self.core, account)

    def account_list(self) -> r.Accounts:
        from openledger_node.node import accounts

        return accounts.account_list(self.core)

    def account_name(self, account: str, petname: str) -> r.Account:
        from openledger_node.node import accounts

        return accounts.account_name(self.core, account, petname)

    def account_accept(self, id: str) -> r.Recorded:
        from openledger_node.node import accounts

        return accounts.account_accept(self.core, id)

    def account_rotate(self, recovery_file: Path, new_recovery_file: Path) -> r.Recorded:
        from openledger_node.node import accounts

        return accounts.account_rotate(self.core, recovery_file, new_recovery_file)

    def account_recover(self, recovery_file: Path, new_recovery_file: Path) -> r.Recorded:
        from openledger_node.node import accounts

        return accounts.account_recover(self.core, recovery_file, new_recovery_file)

    def device_list(self) -> r.Devices:
        from openledger_node.node import accounts

        return accounts.device_list(self.core)

    def device_invite(self, file: Path) -> r.FileWritten:
        from openledger_node.node import accounts

        return accounts.device_invite(self.core, file)

    def device_retire(self, device: str) -> r.Recorded:
        from openledger_node.node import accounts

        return accounts.device_retire(self.core, device)

    # Money.

    def issue(self, amount_micro: int, to: str, note: str = "") -> r.MoneyMoved:
        from openledger_node.node import money

        return money.issue(self.core, amount_micro, to, note)

    def transfer(self, amount_micro: int, to: str, note: str = "") -> r.MoneyMoved:
        from openledger_node.node import money

        return money.transfer(self.core, amount_micro, to, note)

    def grant(
        self,
        provider: str,
        amount_micro: int,
        expires: int | Literal["default"] | None = "default",
    ) -> r.MoneyMoved:
        from openledger_node.node import money

        return money.grant(self.core, provider, amount_micro, expires)

    def redeem(
        self, amount_micro: int | None, *, issuer: str | None = None, minimum_micro: int = 0
    ) -> r.MoneyMoved:
        from openledger_node.node import money

        return money.redeem(self.core, amount_micro, issuer, minimum_micro)

    def payout(self, redeems: Sequence[str] | None, *, out: Path, reference: str = "") -> r.Payouts:
        from openledger_node.node import money

        return money.payout(self.core, redeems, out, reference)

    def payout_reverse(self, id: str) -> r.Payouts:
        from openledger_node.node import money

        return money.payout_reverse(self.core, id)

    # Uses.

    def attribute(
        self,
        output: bytes,
        *,
        model: str | None = None,
        retrieved: Sequence[str] = (),
        progress: Progress = no_progress,
    ) -> r.Attributed:
        from openledger_node.node import uses

        return uses.attribute(self.core, output, model, retrieved, progress)

    def use(
        self,
        model: str,
        output: bytes,
        *,
        grant: str | None = None,
        fee_micro: int = 0,
        agent: str | None = None,
        retrieved: Sequence[str] = (),
        key: str | None = None,
        progress: Progress = no_progress,
    ) -> r.Used:
        from openledger_node.node import uses

        return uses.use(
            self.core,
            uses.UseRequest(model, output, grant, fee_micro, agent, tuple(retrieved), key),
            progress,
        )

    def record_use(
        self,
        model_id: str,
        output: str | bytes,
        retrieved: Sequence[str] = (),
        grant_id: str | None = None,
        fee_micro: int = 0,
        idempotency_key: str | None = None,
    ) -> r.Used:
        """Attributes an output and records the use; a repeated key returns the first result."""
        raw = output.encode("utf-8", "surrogatepass") if isinstance(output, str) else output
        return self.use(
            model_id,
            raw,
            grant=grant_id,
            fee_micro=fee_micro,
            retrieved=retrieved,
            key=idempotency_key,
        )

    def use_batch(
        self,
        model: str,
        uses: Iterable[Mapping[str, Any]],
        progress: Progress = no_progress,
    ) -> r.UsedBatch:
        from openledger_node.node import batches

        return batches.use_batch(self.core, model, uses, progress)

    # Epochs.

    def epoch_close(
        self, *, resume: bool = False, progress: Progress = no_progress
    ) -> r.EpochClosed:
        return epochs.close_epoch(self.core, resume=resume, progress=progress)

    def epoch_list(self, limit: int | None = None) -> r.Epochs:
        return reports.epoch_list(self.core, limit)

    # Proofs, files, care.

    def prove(self, id: str, file: Path, **options: Any) -> r.Proved:
        """Options: epoch (of credits), span (of a receipt), entry (of a derivation); from 0."""
        from openledger_node.exchange import proofs

        return proofs.prove(self.core, id, file, **options)

    def check(self, repair: bool = False, progress: Progress = no_progress) -> r.Checked:
        from openledger_node.node import care

        return care.check(self.core, repair=repair, progress=progress)

    def compact(self, progress: Progress = no_progress) -> r.Compacted:
        from openledger_node.node import care

        return care.compact(self.core, progress=progress)

    def backup(self, file: Path, progress: Progress = no_progress) -> r.FileWritten:
        from openledger_node.node import care

        return care.backup(self.core, file, progress=progress)

    def bundle_export(
        self,
        file: Path,
        payloads: bool = True,
        evidence: Sequence[str] = (),
        progress: Progress = no_progress,
    ) -> r.BundleMoved:
        from openledger_node.exchange import bundle

        return bundle.export_bundle(
            self.core, file, payloads=payloads, evidence=evidence, progress=progress
        )

    def bundle_import(self, file: Path, progress: Progress = no_progress) -> r.BundleMoved:
        from openledger_node.exchange import bundle

        return bundle.import_bundle(self.core, file, progress=progress)

    def import_events(self, file: Path, progress: Progress = no_progress) -> r.BulkMoved:
        from openledger_node.exchange import jsonl

        return jsonl.import_events(self.core, file, progress=progress)

    def export_events(
        self, file: Path, format: str = "jsonl", progress: Progress = no_progress
    ) -> r.BulkMoved:
        from openledger_node.exchange import jsonl

        return jsonl.export_events(self.core, file, format, progress=progress)
