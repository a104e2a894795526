"""`epoch`, `credits`, `statement`, `explain`: when credit is final, how much it is, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from openledger_node.cli import text
from openledger_node.cli.app import App, pass_app
from openledger_node.cli.commands.begin import say_written
from openledger_node.cli.lazy import LazyGroup, OlnCommand
from openledger_node.cli.options import FILE, Whole

if TYPE_CHECKING:
    from openledger_node.node.results import (
        Credits,
        EpochClosed,
        Epochs,
        Explanation,
        StatementShown,
    )

DEFAULT_EPOCHS: Final = 20


@click.group(cls=LazyGroup)
def epoch() -> None:
    """Close an epoch; list the closed ones.

    \b
    Examples:
      oln epoch close
      oln epoch list
    """


@epoch.command("close")
@click.option(
    "--resume", is_flag=True, help="In a restored or copied home: this is now the only one in use."
)
@pass_app
def epoch_close(app: App, resume: bool) -> None:
    """Make everything so far final. With nothing to close it does nothing.

    \b
    Example:
      oln epoch close
    """
    with app.home() as home:
        result = home.epoch_close(resume=resume, progress=app.progress)
    app.emit(result, _show_closed)


def _show_closed(result: EpochClosed) -> None:
    if not result.closed:
        text.say(f"epoch {result.epoch:,} stays the last one: {result.note or 'nothing is due'}")
        return
    text.say(
        f"closed epoch {result.epoch:,}: {text.counted(result.events, 'event')}, "
        f"{text.counted(result.receipts, 'receipt')}, {result.void:,} void, "
        f"{result.parked:,} parked"
    )
    text.say(f"statement root {result.statement_root}")
    if result.note:
        text.say(result.note)


@epoch.command("list")
@click.option(
    "--limit",
    type=Whole(1, 1_000_000),
    default=DEFAULT_EPOCHS,
    show_default=True,
    help="How many of the last ones.",
)
@pass_app
def epoch_list(app: App, limit: int) -> None:
    """List the last epochs.

    \b
    Example:
      oln epoch list --limit 5
    """
    with app.home() as home:
        result = home.epoch_list(limit)
    app.emit(result, _show_epochs)


def _show_epochs(result: Epochs) -> None:
    rows = [
        (
            f"{shown.epoch:,}",
            text.short(shown.cut_id),
            text.short(shown.statement_root),
            text.short(shown.state_digest),
            f"{shown.rows:,}",
            f"{shown.signatures:,}",
            "final" if shown.final else "decided",
        )
        for shown in result.epochs
    ]
    heads = (">epoch", "cut", "statement", "state", ">rows", ">signatures", "status")
    text.table(heads, rows)


@click.command(cls=OlnCommand)
@click.argument("account", required=False)
@click.option("--pending", is_flag=True, help="Also count what is not final yet.")
@pass_app
def credits(app: App, account: str | None, pending: bool) -> None:
    """Show balances, and what each account earned: of all accounts, or of ACCOUNT.

    \b
    Examples:
      oln credits
      oln credits ana --pending
    """
    with app.home() as home:
        result = home.credits(account, pending=pending)
    app.emit(result, show_credits)


def show_credits(result: Credits) -> None:
    """The table of accounts, and the sums that it must agree with."""
    heads = ["account", ">balance", ">locked", ">data", ">model", ">agent", ">units"]
    if result.pending:
        heads.append(">pending")
    rows = []
    by_balance = sorted(result.accounts, key=lambda row: (-row.balance_micro, row.name or "~"))
    for shown in by_balance:
        amounts = (
            shown.balance_micro,
            shown.locked_micro,
            shown.earned_data_micro,
            shown.earned_model_micro,
            shown.earned_agent_micro,
        )
        row = [shown.name or shown.account, *map(text.credits_text, amounts), f"{shown.units:,}"]
        if result.pending:
            row.append(text.credits_text(shown.pending_micro or 0))
        rows.append(row)
    text.table(heads, rows, "no account has credits or units yet")
    text.say()
    sums = (
        ("issued", result.issued_micro),
        ("network pool", result.pool_micro),
        ("escrow", result.escrow_micro),
        ("burned", result.burned_micro),
    )
    parts = ", ".join(f"{name} {text.credits_text(amount)}" for name, amount in sums)
    text.say(f"epoch {result.epoch:,}: {parts}")
    if result.pending:
        text.say("pending figures are provisional: they change until their epoch closes")


@click.command(cls=OlnCommand)
@click.argument("epoch", type=Whole(min=0), required=False)
@click.option(
    "--export",
    type=FILE,
    metavar="FILE",
    help="Write it as canonical bytes, or as CSV to a FILE whose name ends in .csv.",
)
@pass_app
def statement(app: App, epoch: int | None, export: Path | None) -> None:
    """Show the table of credits of EPOCH, the last one by default, with its root.

    \b
    Examples:
      oln statement
      oln statement 3 --export epoch-3.csv
    """
    if export is not None:
        with app.home() as home:
            written = home.statement_export(epoch, export)
        app.emit(written, say_written)
        return
    with app.home() as home:
        result = home.statement(epoch)
    app.emit(result, _show_statement)


def _show_statement(result: StatementShown) -> None:
    heads = (
        "account",
        ">paid",
        ">unpaid",
        ">data",
        ">model",
        ">agent",
        ">refunds",
        ">balance",
        ">locked",
    )
    rows = []
    for row in result.rows:
        amounts = (
            row.data_micro,
            row.model_micro,
            row.agent_micro,
            row.refunds_micro,
            row.balance_micro,
            row.locked_micro,
        )
        units = (f"{row.units_paid:,}", f"{row.units_unpaid:,}")
        name = row.name or text.short(row.account_id)
        rows.append((name, *units, *map(text.credits_text, amounts)))
    text.say(f"statement of epoch {result.epoch:,}" + ("" if result.final else ", not signed yet"))
    text.say()
    text.table(heads, rows, "no row: nobody had credits or units")
    text.say()
    text.fields(
        [
            ("root", result.statement_root),
            ("cut", result.cut_id),
            ("state", result.state_digest),
            ("rules version", str(result.rules_version)),
            ("signatures", str(len(result.signatures))),
            *(("licences", line) for line in result.licences),
        ]
    )


@click.command(cls=OlnCommand)
@click.argument("thing", metavar="ID")
@pass_app
def explain(app: App, thing: str) -> None:
    """Say why: from an account's figures, a receipt or a void event down to spans and rules.

    The word in brackets is the rule; `oln help rules` prints what it says.

    \b
    Examples:
      oln explain ana
      oln explain 44dd55ee66ff
    """
    with app.home() as home:
        result = home.explain(thing)
    app.emit(result, show_explanation)


def show_explanation(result: Explanation) -> None:
    text.tree(result.tree)
