"""`index`: the index of the text that is held here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from openledger_node.cli import text
from openledger_node.cli.app import App, pass_app
from openledger_node.cli.lazy import LazyGroup

if TYPE_CHECKING:
    from openledger_node.node.results_registry import IndexShown


@click.group(cls=LazyGroup)
def index() -> None:
    """The index of the text that is held here.

    It makes attribution quick over large scopes and is derived data: deleting HOME/index loses
    nothing. It is brought up to date by the way, and by the daemon.

    \b
    Examples:
      oln index status
      oln index rebuild
    """


@index.command("status")
@pass_app
def index_status(app: App) -> None:
    """Show what is indexed, and what waits for it.

    \b
    Example:
      oln index status
    """
    with app.home() as home:
        result = home.index_status()
    app.emit(result, _show)


@index.command("rebuild")
@pass_app
def index_rebuild(app: App) -> None:
    """Make the index again from the documents that are held.

    \b
    Example:
      oln index rebuild
    """
    with app.home() as home:
        result = home.index_rebuild(progress=app.progress)
    app.emit(result, _show)


@index.command("verify")
@pass_app
def index_verify(app: App) -> None:
    """Hold the index to its digests, and its text to the documents.

    \b
    Example:
      oln index verify
    """
    with app.home() as home:
        result = home.index_verify(progress=app.progress)
    if result.wrong:
        app.answer_no()
    app.emit(result, _show_verified)


def _show_verified(result: IndexShown) -> None:
    _show(result)
    if not result.wrong:
        text.say("the index is in order")


def _show(result: IndexShown) -> None:
    text.fields(
        [
            ("contributions", f"{result.contributions:,}"),
            ("waiting", f"{result.waiting:,}"),
            ("erased", f"{result.erased:,}, left out with the next update"),
            ("segments", str(result.segments)),
            ("text", text.bytes_text(result.text_bytes)),
            ("files", text.bytes_text(result.file_bytes)),
        ]
    )
    for line in result.wrong:
        text.say(f"wrong: {text.one_line(line)}")
    if result.wrong:
        text.say("`oln index rebuild` makes it again")
