"""`bundle`, `import`, `export`: logs and events in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from openledger_node.cli import text
from openledger_node.cli.app import App, pass_app
from openledger_node.cli.lazy import LazyGroup, OlnCommand
from openledger_node.cli.options import FILE

if TYPE_CHECKING:
    from openledger_node.node.results import BulkMoved, BundleMoved, Refusal

MAX_REFUSALS_SHOWN: Final = 20
FORMATS: Final = ("jsonl", "csv")


@click.group(cls=LazyGroup)
def bundle() -> None:
    """Carry logs between homes in a file.

    \b
    Examples:
      oln bundle export news.bundle
      oln bundle import news.bundle
    """


@bundle.command("export")
@click.argument("file", type=FILE)
@click.option("--no-payloads", is_flag=True, help="Leave out texts that are shared with all.")
@click.option(
    "--evidence",
    multiple=True,
    metavar="RECEIPT",
    help="Take along the evidence and outputs of a receipt. Repeatable.",
)
@pass_app
def bundle_export(app: App, file: Path, no_payloads: bool, evidence: tuple[str, ...]) -> None:
    """Write all logs, and the payloads shared with all, to a new FILE.

    Whoever gets a file with evidence can read the outputs and the passages that they draw on.

    \b
    Examples:
      oln bundle export news.bundle
      oln bundle export for-the-witness.bundle --evidence 44dd55ee66ff
    """
    with app.home() as home:
        result = home.bundle_export(
            file, payloads=not no_payloads, evidence=evidence, progress=app.progress
        )
    app.emit(result, lambda moved: _show_bundle("wrote", moved))


@bundle.command("import")
@click.argument("file", type=FILE)
@pass_app
def bundle_import(app: App, file: Path) -> None:
    """Take in what is new in a bundle. Every log is verified; nothing depends on who carried it.

    Ends with exit status 1 if a part was refused; the rest is taken in.

    \b
    Example:
      oln bundle import news.bundle
    """
    with app.home() as home:
        result = home.bundle_import(file, progress=app.progress)
    if result.refused:
        app.answer_no()
    app.emit(result, lambda moved: _show_bundle("read", moved))


def _show_bundle(verb: str, moved: BundleMoved) -> None:
    counts = (
        text.counted(moved.events, "event"),
        text.counted(moved.logs, "log"),
        text.counted(moved.payloads, "payload"),
        text.counted(moved.epochs, "epoch"),
    )
    text.say(f"{verb} {moved.file} ({text.bytes_text(moved.size_bytes)}): {', '.join(counts)}")
    _show_refused(moved.refused)


def _show_refused(refused: Sequence[Refusal]) -> None:
    for item in refused[:MAX_REFUSALS_SHOWN]:
        text.say(f"refused {text.one_line(item.what)}: {text.one_line(item.reason)}")
    if len(refused) > MAX_REFUSALS_SHOWN:
        text.say(f"and {len(refused) - MAX_REFUSALS_SHOWN:,} more; --json lists all")


@click.command(cls=OlnCommand)
@click.argument("file", type=FILE)
@pass_app
def import_events(app: App, file: Path) -> None:
    """Append events to this home's log from a JSONL file, one {"kind", "body"} object a line.

    Ends with exit status 1 if a line was refused; the others are appended.

    \b
    Example:
      oln import events.jsonl
    """
    with app.home() as home:
        result = home.import_events(file, progress=app.progress)
    if result.refused:
        app.answer_no()
    app.emit(result, lambda moved: _show_bulk("read", moved))


@click.command(cls=OlnCommand)
@click.argument("file", type=FILE)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(FORMATS),
    help="[default: by the name's ending, else jsonl]",
)
@pass_app
def export_events(app: App, file: Path, file_format: str | None) -> None:
    """Write all events that this home holds to a new FILE.

    \b
    Examples:
      oln export events.jsonl
      oln export events.csv
    """
    ending = file.suffix.lower().removeprefix(".")
    chosen = file_format or (ending if ending in FORMATS else FORMATS[0])
    with app.home() as home:
        result = home.export_events(file, chosen, progress=app.progress)
    app.emit(result, lambda moved: _show_bulk("wrote", moved))


def _show_bulk(verb: str, moved: BulkMoved) -> None:
    text.say(f"{verb} {moved.file}: {text.counted(moved.events, 'event')}")
    if moved.note:
        text.say(moved.note)
    _show_refused(moved.refused)
