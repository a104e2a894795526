"""`init`, `status`, `ledger`: how a home begins and how it is doing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openledger_node.cli import text
from openledger_node.cli.app import App, pass_app
from openledger_node.cli.lazy import LazyGroup, OlnCommand
from openledger_node.cli.options import FILE

if TYPE_CHECKING:
    from openledger_node.node.results import FileWritten, Initialised, LedgerShown, Status


@click.command(cls=OlnCommand)
@click.option("--name", metavar="N", help="A petname for the account; only this home knows it.")
@click.option("--ledger", type=FILE, metavar="GENESIS", help="Join the ledger of a genesis file.")
@click.option("--params", type=FILE, metavar="FILE", help="Params of a new ledger, as TOML.")
@click.option("--ledger-name", metavar="N", help="A name for a new ledger, which all will see.")
@pass_app
def init(
    app: App, name: str | None, ledger: Path | None, params: Path | None, ledger_name: str | None
) -> None:
    """Begin a home: an account, a device, a ledger.

    Without --ledger this is a new ledger of one seat, with the account as its issuer. The recovery
    file is the only way back to a lost account: move it off this machine. With a passphrase in the
    file that OLN_PASSPHRASE_FILE names, secret keys are stored encrypted.

    \b
    Examples:
      oln init --name ana
      oln --home maker init --name maker --ledger genesis.json
    """
    result = app.interface.initialise(
        app.home_path(),
        name=name,
        genesis_file=ledger,
        params_file=params,
        ledger_name=ledger_name,
    )
    app.emit(result, show_begun)


def show_begun(result: Initialised) -> None:
    """What `init` and `device join` say."""
    text.fields(
        [
            ("account", _named(result.name, result.account)),
            ("ledger", text.short(result.ledger_id)),
            ("log", text.short(result.log_id)),
            ("home", result.home),
            ("recovery file", result.recovery_file),
        ]
    )
    if result.recovery_file:
        text.say()
        text.say("Move the recovery file off this machine: it is the only way back to the account")
        text.say("when this home is lost or its keys are stolen.")


def _named(name: str | None, account: str) -> str:
    return f"{name} ({account})" if name else account


@click.command(cls=OlnCommand)
@pass_app
def status(app: App) -> None:
    """Show who, which ledger, and how far it is.

    \b
    Example:
      oln status
    """
    with app.home() as home:
        result = home.status()
    app.emit(result, _show_status)


def _show_status(result: Status) -> None:
    waiting = [text.counted(result.pending_events, "event") + " pending"]
    if result.parked_events:
        waiting.append(text.counted(result.parked_events, "event") + " parked")
    payloads = f", {text.bytes_text(result.payload_bytes)} of it in payload files"
    locked = f", {text.credits_text(result.locked_micro)} locked" if result.locked_micro else ""
    text.fields(
        [
            ("home", result.home + (" (copied)" if result.identity == "copied" else "")),
            ("account", _named(result.name, result.account)),
            ("ledger", f"{result.ledger_name} ({text.short(result.ledger_id)}), {result.role}"),
            ("events", f"{result.events:,} in {text.counted(result.logs, 'log')}"),
            ("epoch", f"{result.epoch:,}, " + ", ".join(waiting)),
            ("balance", text.credits_text(result.balance_micro) + locked),
            ("node", result.node_id),
            ("daemon", _daemon(result)),
            ("disk", text.bytes_text(result.disk_bytes) + payloads),
            ("state", text.short(result.state_digest)),
        ]
    )
    for alarm in result.alarms:
        text.say(f"alarm: {alarm}")
    if result.failure:
        text.say(f"the daemon cannot follow the ledger: {text.one_line(result.failure)}")


def _daemon(result: Status) -> str:
    if not result.daemon:
        return "not running"
    links = text.counted(len(result.peers), "peer") if result.peers else "no peer"
    return f"listens at {', '.join(result.listening)}, linked to {links}"


@click.group(cls=LazyGroup)
def ledger() -> None:
    """Show the rules; export the genesis for others.

    \b
    Examples:
      oln ledger show
      oln ledger export genesis.json
    """


@ledger.command("show")
@pass_app
def ledger_show(app: App) -> None:
    """Show the ledger's rules, seats and issuers.

    \b
    Example:
      oln ledger show
    """
    with app.home() as home:
        result = home.ledger_show()
    app.emit(result, _show_ledger)


def _show_ledger(result: LedgerShown) -> None:
    text.fields(
        [
            ("ledger", result.name),
            ("id", result.ledger_id),
            *((name, _plain(value)) for name, value in result.rules.items()),
        ]
    )
    text.say()
    rows = [(seat["account"], text.short(seat["device"])) for seat in result.seats]
    text.table(("seat", "device"), rows)
    text.say()
    caps = [
        (issuer["account"], text.credits_text(issuer["cap_micro"])) for issuer in result.issuers
    ]
    text.table(("issuer", ">cap an epoch"), caps)


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {number}" for name, number in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


@ledger.command("export")
@click.argument("file", type=FILE)
@pass_app
def ledger_export(app: App, file: Path) -> None:
    """Write the genesis file with which others join.

    \b
    Example:
      oln ledger export genesis.json
    """
    with app.home() as home:
        result = home.ledger_export(file)
    app.emit(result, say_written)


def say_written(result: FileWritten) -> None:
    """What every command that writes one file says."""
    text.say(f"wrote {result.file} ({text.bytes_text(result.size_bytes)})")
