"""`prove`, `verify`: a figure in a file, and checking it without trusting anybody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openledger_node.cli import text
from openledger_node.cli.app import App, pass_app
from openledger_node.cli.lazy import OlnCommand
from openledger_node.cli.options import FILE, Whole

if TYPE_CHECKING:
    from openledger_node.node.results import Proved, Verified


@click.command(cls=OlnCommand)
@click.argument("thing", metavar="ID")
@click.option("-o", "--out", required=True, type=FILE, metavar="FILE", help="The file to write.")
@click.option(
    "--epoch",
    type=Whole(min=0),
    metavar="EPOCH",
    help="Of an account's credits: at the end of which epoch. [default: the last]",
)
@click.option(
    "--span",
    type=Whole(min=0),
    metavar="N",
    help="Of a receipt: its span N, as `explain` counts them from 0.",
)
@click.option(
    "--entry",
    type=Whole(min=0),
    metavar="N",
    help="Of a derivation: entry N of its map, from 0.",
)
@pass_app
def prove(
    app: App, thing: str, out: Path, epoch: int | None, span: int | None, entry: int | None
) -> None:
    """Write an offline proof of an account's credits, an event, a span, a derivation or a fork.

    \b
    Examples:
      oln prove ana -o ana-credit.proof
      oln prove ana -o ana-credit-3.proof --epoch 3
      oln prove 44dd55ee66ff -o receipt.proof
      oln prove 44dd55ee66ff --span 0 -o span.proof
      oln prove 77aa88bb99cc --entry 0 -o derivation.proof
    """
    with app.home() as home:
        result = home.prove(thing, out, epoch=epoch, span=span, entry=entry)
    app.emit(result, _show_proved)


def _show_proved(result: Proved) -> None:
    text.say(f"proved {text.one_line(result.what)}")
    text.say(f"wrote {result.file} ({text.bytes_text(result.size_bytes)})")
    text.say(f"ledger {result.ledger_id}")


@click.command(cls=OlnCommand)
@click.argument("file", type=FILE)
@click.option(
    "--ledger", type=FILE, metavar="GENESIS", help="Refuse a proof of any other ledger than this."
)
@pass_app
def verify(app: App, file: Path, ledger: Path | None) -> None:
    """Check the proof in FILE. Needs no home, no network and nobody's word.

    Ends with exit status 1 if it does not hold. Without --ledger it names the ledger that it found:
    compare it with the one you mean.

    \b
    Examples:
      oln verify ana-credit.proof
      oln verify ana-credit.proof --ledger genesis.json
    """
    result = app.interface.verify_file(file, ledger)
    if not result.valid:
        app.answer_no()
    app.emit(result, show_verified)


def show_verified(result: Verified) -> None:
    text.say(f"{'valid' if result.valid else 'NOT valid'}: {text.one_line(result.what)}")
    for reason in result.reasons:
        text.say(f"reason: {text.one_line(reason)}")
    facts = [
        (name.removesuffix("_micro").removesuffix("_ms").replace("_", " "), _fact(name, value))
        for name, value in result.facts.items()
    ]
    ledger = [("ledger", result.ledger_name), ("ledger id", result.ledger_id)]
    text.fields([*ledger, *facts])
    if result.valid and result.what == "event":
        text.say()
        text.say("This proves that the account's device wrote the event, and where it stands; not")
        text.say(
            "that the rules honour it: `oln show` in a home says that, a credit row proves it."
        )


def _fact(name: str, value: object) -> str:
    if name.endswith("_micro") and isinstance(value, int):
        return text.credits_text(value)
    if name == "time_ms" and isinstance(value, int):
        from openledger_node.cli.commands.reading import when

        return f"{when(value)}, by its writer's clock"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False)  # `fields` makes it harmless
    return text.one_line(str(value))
