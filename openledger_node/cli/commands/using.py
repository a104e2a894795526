"""`attribute`, `use`: which data a text draws from, and recording that a model was used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from openledger_node.cli import text
from openledger_node.cli.app import App, pass_app
from openledger_node.cli.inputs import read_batch, read_output
from openledger_node.cli.lazy import OlnCommand
from openledger_node.cli.options import FILE
from openledger_node.cli.spans import show_spans
from openledger_node.cli.values import amount_or_zero
from openledger_node.ledger.errors import UsageError

if TYPE_CHECKING:
    from openledger_node.node.results import Attributed, Used, UsedBatch

MAX_RECEIPTS_SHOWN: Final = 40

_RETRIEVED = click.option(
    "--retrieved",
    multiple=True,
    metavar="ID[:DOC[:FROM-TO]]",
    help="What stood in the prompt: a contribution, a document, tokens. Repeatable.",
)


@click.command(cls=OlnCommand)
@click.argument("file")
@click.option("--model", metavar="ID", help="Attribute within what this model was trained on.")
@_RETRIEVED
@click.option("--explain", is_flag=True, help="Show the text part by part with its owners.")
@click.option("--html", type=FILE, metavar="FILE", help="Write the same as a page, to a new FILE.")
@pass_app
def attribute(
    app: App,
    file: str,
    model: str | None,
    retrieved: tuple[str, ...],
    explain: bool,
    html: Path | None,
) -> None:
    """Show which data the text in FILE (or `-`) draws from. Records nothing.

    Without --model and --retrieved, all text that this home holds is searched. With --retrieved
    nothing else is: documents and tokens count from 0, TO is not part of the passage.

    \b
    Examples:
      oln attribute answer.txt --model 11aa22bb33cc --explain
      oln attribute answer.txt --html answer.html
      cat answer.txt | oln attribute - --retrieved 5f2c81d0a7b3
    """
    output = read_output(file)
    with app.home() as home:
        result = home.attribute(output, model=model, retrieved=retrieved, progress=app.progress)
    if html is not None:
        from openledger_node.cli.page import attribution_page
        from openledger_node.node.files import write_new

        write_new(html, attribution_page(result, output).encode())
    app.emit(result, lambda found: _show_attributed(found, output if explain else None))


def _show_attributed(result: Attributed, output: bytes | None) -> None:
    if output is not None:
        show_spans(result, output)
    else:
        _show_weights(result.ppm, result.unattributed_ppm, result.names)
    text.say()
    text.say(
        f"{text.counted(result.tokens, 'token')}, {text.counted(len(result.spans), 'span')}, "
        f"method {result.method}, snapshot epoch {result.snapshot_epoch}"
    )
    _show_missing(result.missing)


def _show_weights(ppm: Mapping[str, int], unattributed_ppm: int, names: Mapping[str, str]) -> None:
    ordered = sorted(ppm.items(), key=lambda item: (-item[1], item[0]))
    rows = [
        (text.short(named), names.get(named, ""), f"{share:,}", text.percent(share))
        for named, share in ordered
    ]
    rows.append(("unattributed", "", f"{unattributed_ppm:,}", text.percent(unattributed_ppm)))
    if names:
        text.table(("contribution", "title", ">ppm", ">share"), rows)
    else:
        text.table(("contribution", ">ppm", ">share"), [(row[0], *row[2:]) for row in rows])


@click.command(cls=OlnCommand)
@click.argument("model")
@click.option("--output", metavar="FILE", help="The text that the model gave, or `-`.")
@click.option("--batch", metavar="FILE", help="Many uses, one JSON object a line, or `-`.")
@click.option("--grant", metavar="ID", help="The grant that the fee is drawn on.")
@click.option("--fee", type=amount_or_zero, default="0", metavar="AMOUNT", help="What it costs.")
@click.option("--agent", metavar="ID", help="The agent that called the model.")
@_RETRIEVED
@click.option("--key", metavar="K", help="Recording twice under one key records once.")
@pass_app
def use(
    app: App,
    model: str,
    output: str | None,
    batch: str | None,
    grant: str | None,
    fee: int,
    agent: str | None,
    retrieved: tuple[str, ...],
    key: str | None,
) -> None:
    """Record that MODEL was used, and which data its output draws from.

    Without a grant nobody is paid: contributions count units once another account confirms.

    A line of --batch has `output`, and where they apply `grant`, `fee` (credits, as text) or
    `fee_micro`, `agent`, `retrieved` (a list of ids), `key`. Uses of one grant, model and agent
    become one receipt.

    \b
    Examples:
      oln use 11aa22bb33cc --output answer.txt --grant 55ee66ff7700 --fee 0.5
      oln use 11aa22bb33cc --batch uses.jsonl
    """
    if (output is None) == (batch is None):
        raise UsageError(
            "use takes --output or --batch, one of the two",
            hint="as in `oln use MODEL --output answer.txt`",
        )
    if batch is not None:
        if grant or fee or agent or retrieved or key:
            raise UsageError(
                "--batch stands alone: each of its lines has its own grant, fee and agent",
                hint="put them into the lines of the file",
            )
        with app.home() as home:
            done = home.use_batch(model, read_batch(batch), progress=app.progress)
        app.emit(done, _show_batch)
        return
    assert output is not None
    words = read_output(output)
    with app.home() as home:
        used = home.use(
            model,
            words,
            grant=grant,
            fee_micro=fee,
            agent=agent,
            retrieved=retrieved,
            key=key,
            progress=app.progress,
        )
    app.emit(used, _show_used)


def _show_used(result: Used) -> None:
    text.fields(
        [
            ("receipt", result.receipt_id),
            ("", "recorded before under this key" if result.repeated else ""),
            ("grant", text.short(result.grant_id or "none")),
            ("fee", text.credits_text(result.fee_micro)),
            ("snapshot", f"epoch {result.snapshot_epoch:,}"),
            ("earns", result.earns + (f": {result.note}" if result.note else "")),
        ]
    )
    text.say()
    _show_weights(result.ppm, result.unattributed_ppm, {})
    _show_missing(result.missing)


def _show_missing(missing: tuple[str, ...]) -> None:
    """Says when attribution could not see a part of its scope."""
    if missing:
        text.say(
            "not looked at, for their text or map is not held here: "
            f"{len(missing):,} of the scope ({', '.join(text.short(item) for item in missing[:4])})"
        )


def _show_batch(result: UsedBatch) -> None:
    rows = [
        (
            text.short(receipt.receipt_id),
            f"{receipt.uses:,}",
            text.credits_text(receipt.fee_micro),
            text.percent(receipt.unattributed_ppm),
            receipt.earns,
        )
        for receipt in result.receipts[:MAX_RECEIPTS_SHOWN]
    ]
    text.table(("receipt", ">uses", ">fee", ">unattributed", "earns"), rows)
    if len(result.receipts) > MAX_RECEIPTS_SHOWN:
        text.say(f"and {len(result.receipts) - MAX_RECEIPTS_SHOWN:,} more; --json lists all")
    text.say(
        f"{text.counted(result.uses, 'use')} in {text.counted(len(result.receipts), 'receipt')}, "
        f"{text.credits_counted(result.fee_micro)} of fees"
    )
