"""`check`, `compact`, `backup`, `restore`: care of the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openledger_node.cli import text
from openledger_node.cli.app import App, pass_app
from openledger_node.cli.commands.begin import say_written
from openledger_node.cli.lazy import OlnCommand
from openledger_node.cli.options import FILE

if TYPE_CHECKING:
    from openledger_node.node.results import Checked, Compacted, Restored


@click.command(cls=OlnCommand)
@click.option("--repair", is_flag=True, help="Make anew what can be made from the logs.")
@pass_app
def check(app: App, repair: bool) -> None:
    """Re-hash everything that is stored, and name what is damaged.

    Ends with exit status 1 if anything is.

    \b
    Examples:
      oln check
      oln check --repair
    """
    with app.home(catch_up=False) as home:
        result = home.check(repair=repair, progress=app.progress)
    if not result.ok:
        app.answer_no()
    app.emit(result, _show_checked)


def _show_checked(result: Checked) -> None:
    for problem in result.problems:
        text.say(f"damaged: {problem.part}: {problem.what}")
        if problem.hint:
            text.say(f"  hint: {problem.hint}")
    for repaired in result.repaired:
        text.say(f"repaired: {repaired}")
    counts = (
        text.counted(result.events, "event"),
        text.counted(result.logs, "log"),
        text.counted(result.payloads, "payload"),
        text.counted(result.epochs, "epoch"),
    )
    found = "all in order" if result.ok else text.counted(len(result.problems), "problem")
    text.say(f"checked {', '.join(counts)}: {found}")


@click.command(cls=OlnCommand)
@pass_app
def compact(app: App) -> None:
    """Make the store smaller: copy it without its gaps, and put the copy in its place.

    \b
    Example:
      oln compact
    """
    with app.home(catch_up=False) as home:
        result = home.compact(progress=app.progress)
    app.emit(result, _show_compacted)


def _show_compacted(result: Compacted) -> None:
    before, after = text.bytes_text(result.before_bytes), text.bytes_text(result.after_bytes)
    text.say(f"compacted from {before} to {after}")


@click.command(cls=OlnCommand)
@click.argument("file", type=FILE)
@pass_app
def backup(app: App, file: Path) -> None:
    """Write the home to one new FILE, also while it is in use. Keep it as secret as the home.

    \b
    Example:
      oln backup home.backup
    """
    with app.home(catch_up=False) as home:
        result = home.backup(file, progress=app.progress)
    app.emit(result, say_written)


@click.command(cls=OlnCommand)
@click.argument("file", type=FILE)
@pass_app
def restore(app: App, file: Path) -> None:
    """Make a new home from a backup. It begins a new log, so nothing is ever signed twice.

    \b
    Example:
      oln --home restored restore home.backup
    """
    result = app.interface.restore(file, app.home_path(), progress=app.progress)
    app.emit(result, _show_restored)


def _show_restored(result: Restored) -> None:
    text.fields(
        [
            ("home", result.home),
            ("account", text.short(result.account_id)),
            ("ledger", text.short(result.ledger_id)),
            ("events", f"{result.events:,}"),
        ]
    )
    if result.note:
        text.say(result.note)
