"""`account`, `device`: petnames, shares, keys, second machines and lost ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openledger_node.cli import text
from openledger_node.cli.app import App, pass_app
from openledger_node.cli.commands.begin import say_written, show_begun
from openledger_node.cli.lazy import LazyGroup
from openledger_node.cli.options import FILE, say_recorded

if TYPE_CHECKING:
    from openledger_node.node.results import Account, Accounts, Devices, FileWritten, Recorded


@click.group(cls=LazyGroup)
def account() -> None:
    """Accounts: petnames, shares, keys.

    \b
    Examples:
      oln account list
      oln account name acct-0123-4567-89ab-cdef-0123 ana
    """


@account.command("show")
@click.argument("account", required=False)
@pass_app
def account_show(app: App, account: str | None) -> None:
    """Show an account, with the grants it made or may draw on.

    Without ACCOUNT it is this home's own.

    \b
    Examples:
      oln account show
      oln account show ana
    """
    with app.home() as home:
        result = home.account_show(account)
    app.emit(result, _show_account)


def _show_account(result: Account) -> None:
    text.fields(
        [
            ("account", result.account),
            ("id", result.account_id),
            ("petname", result.name or ""),
            ("roles", ", ".join(_roles(result))),
            ("key events", str(result.key_events)),
            *(("device", device) for device in result.devices),
        ]
    )
    if result.grants:
        text.say()
        rows = [
            (
                text.short(grant.grant_id),
                grant.payer,
                grant.provider,
                text.credits_text(grant.remaining_micro),
                "never" if grant.expiry_epoch is None else f"{grant.expiry_epoch:,}",
            )
            for grant in result.grants
        ]
        text.table(("grant", "payer", "provider", ">left", ">expires"), rows)


def _roles(shown: Account) -> list[str]:
    flags = (
        ("own", shown.own),
        ("seat", shown.seat),
        ("issuer", shown.issuer),
        ("not final yet", not shown.known),
    )
    return [word for word, holds in flags if holds]


@account.command("list")
@pass_app
def account_list(app: App) -> None:
    """List the accounts that this home knows.

    \b
    Example:
      oln account list
    """
    with app.home() as home:
        result = home.account_list()
    app.emit(result, _show_accounts)


def _show_accounts(result: Accounts) -> None:
    rows = [
        (shown.name or "", shown.account, str(len(shown.devices)), ", ".join(_roles(shown)))
        for shown in result.accounts
    ]
    text.table(("petname", "account", ">devices", "roles"), rows)


@account.command("name")
@click.argument("account")
@click.argument("petname")
@pass_app
def account_name(app: App, account: str, petname: str) -> None:
    """Give ACCOUNT a petname, which only this home knows.

    \b
    Example:
      oln account name acct-0123-4567-89ab-cdef-0123 ana
    """
    with app.home() as home:
        result = home.account_name(account, petname)
    app.emit(result, _show_account)


@account.command("accept")
@click.argument("thing", metavar="ID")
@pass_app
def account_accept(app: App, thing: str) -> None:
    """Take your share as a named creator of ID, or accept that ID derives from your data.

    \b
    Example:
      oln account accept 5f2c81d0a7b3
    """
    with app.home() as home:
        result = home.account_accept(thing)
    app.emit(result, say_recorded)


_NEW_RECOVERY = "Where to write the next recovery file. [default: FILE with .new added]"


def _next_file(file: Path, out: Path | None) -> Path:
    return out or file.with_name(file.name + ".new")


@account.command("rotate")
@click.argument("file", type=FILE)
@click.option("--out", type=FILE, metavar="NEW", help=_NEW_RECOVERY)
@pass_app
def account_rotate(app: App, file: Path, out: Path | None) -> None:
    """Replace the root key by the one in the recovery file FILE.

    A new recovery file is written; the old one is of no use afterwards.

    \b
    Example:
      oln account rotate recovery.json --out recovery-2.json
    """
    new = _next_file(file, out)
    with app.home() as home:
        result = home.account_rotate(file, new)
    app.emit(result, lambda done: _say_rotated(done, new))


def _say_rotated(done: Recorded, new: Path) -> None:
    say_recorded(done)
    text.say(f"Move the new recovery file {new} off this machine.")


@account.command("recover")
@click.argument("file", type=FILE)
@click.option("--out", type=FILE, metavar="NEW", help=_NEW_RECOVERY)
@pass_app
def account_recover(app: App, file: Path, out: Path | None) -> None:
    """Take a lost account over on this fresh home, with its recovery file FILE.

    First join the ledger with `oln init --ledger` and import the account's logs in a bundle.

    \b
    Example:
      oln account recover recovery.json --out recovery-2.json
    """
    new = _next_file(file, out)
    with app.home() as home:
        result = home.account_recover(file, new)
    app.emit(result, lambda done: _say_rotated(done, new))


@click.group(cls=LazyGroup)
def device() -> None:
    """Second machines and lost ones.

    \b
    Examples:
      oln device list
      oln device invite laptop.invite
    """


@device.command("list")
@pass_app
def device_list(app: App) -> None:
    """List the devices of this account.

    \b
    Example:
      oln device list
    """
    with app.home() as home:
        result = home.device_list()
    app.emit(result, _show_devices)


def _show_devices(result: Devices) -> None:
    rows = [
        (
            text.short(shown.device),
            "this one" if shown.own else "",
            "retired" if shown.retired else "in use",
            ", ".join(text.short(log) for log in shown.logs),
        )
        for shown in result.devices
    ]
    text.table(("device", "", "status", "logs"), rows)


@device.command("invite")
@click.argument("file", type=FILE)
@pass_app
def device_invite(app: App, file: Path) -> None:
    """Enrol a second device and write its invitation to FILE, which is a secret.

    \b
    Example:
      oln device invite laptop.invite
    """
    with app.home() as home:
        result = home.device_invite(file)
    app.emit(result, _say_invited)


def _say_invited(result: FileWritten) -> None:
    say_written(result)
    text.say("Whoever holds this file is that device: carry it yourself, then delete it.")


@device.command("join")
@click.argument("file", type=FILE)
@pass_app
def device_join(app: App, file: Path) -> None:
    """Make a home on a second machine from an invitation.

    \b
    Example:
      oln --home laptop device join laptop.invite
    """
    app.emit(app.interface.device_join(app.home_path(), file), show_begun)


@device.command("retire")
@click.argument("device")
@pass_app
def device_retire(app: App, device: str) -> None:
    """Close all logs of a lost or stolen device of this account.

    \b
    Example:
      oln device retire 8c1f00d2
    """
    with app.home() as home:
        result = home.device_retire(device)
    app.emit(result, say_recorded)
