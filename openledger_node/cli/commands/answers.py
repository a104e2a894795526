"""`confirm`, `cancel`, `dispute`, `challenge`: what others say to a receipt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from openledger_node.cli import text
from openledger_node.cli.app import App, pass_app
from openledger_node.cli.inputs import read_output
from openledger_node.cli.lazy import OlnCommand
from openledger_node.cli.options import say_recorded
from openledger_node.ledger.errors import UsageError

if TYPE_CHECKING:
    from openledger_node.node.results import Challenged

MAX_FAULTS_SHOWN: Final = 20

_RECEIPT = click.argument("receipt")


@click.command(cls=OlnCommand)
@_RECEIPT
@pass_app
def confirm(app: App, receipt: str) -> None:
    """Confirm RECEIPT: the use was as stated.

    The payer's confirm releases the model and agent parts of the fee at once, and ends the payer's
    right to dispute.

    \b
    Example:
      oln confirm 44dd55ee66ff
    """
    with app.home() as home:
        result = home.confirm(receipt)
    app.emit(result, say_recorded)


@click.command(cls=OlnCommand)
@_RECEIPT
@pass_app
def cancel(app: App, receipt: str) -> None:
    """Cancel RECEIPT, as its provider: what is held of its fee goes back to the payer.

    \b
    Example:
      oln cancel 44dd55ee66ff
    """
    with app.home() as home:
        result = home.cancel(receipt)
    app.emit(result, say_recorded)


@click.command(cls=OlnCommand)
@_RECEIPT
@pass_app
def dispute(app: App, receipt: str) -> None:
    """Dispute RECEIPT, as its payer, before it matures: its fee is held until one gives in.

    \b
    Example:
      oln dispute 44dd55ee66ff
    """
    with app.home() as home:
        result = home.dispute(receipt)
    app.emit(result, say_recorded)


@click.command(cls=OlnCommand)
@click.argument("thing", metavar="ID")
@click.option(
    "--output",
    "outputs",
    multiple=True,
    metavar="FILE",
    help="An output of the receipt, where this home does not hold it. Repeatable, in order.",
)
@click.option(
    "--ground",
    metavar="WORD",
    help="File this ground without computing anything: evidence_withheld, better_span, ...",
)
@pass_app
def challenge(app: App, thing: str, outputs: tuple[str, ...], ground: str | None) -> None:
    """Compute the receipt ID again, and challenge it if it is wrong.

    Only the first challenge of a receipt counts; it holds the fee until the witnesses' verdict. If
    nothing is wrong, nothing is filed. A derivation is challenged without computing it.

    \b
    Examples:
      oln challenge 44dd55ee66ff
      oln challenge 44dd55ee66ff --ground evidence_withheld
    """
    if ground is not None and outputs:
        raise UsageError(
            "--ground computes nothing, so it takes no --output",
            hint="leave one of the two out",
        )
    given = [read_output(name) for name in outputs] or None
    with app.home() as home:
        result = home.challenge(thing, ground, outputs=given, progress=app.progress)
    app.emit(result, _show_challenged)


def _show_challenged(result: Challenged) -> None:
    text.fields(
        (fault.ground, f"{fault.what} {text.short(fault.contribution_id or '')}".rstrip())
        for fault in result.faults[:MAX_FAULTS_SHOWN]
    )
    if result.fault_count > MAX_FAULTS_SHOWN:
        text.say(f"and {result.fault_count - MAX_FAULTS_SHOWN:,} more; --json lists 100")
    if result.event_id is not None:
        text.fields([("challenge", result.event_id), ("ground", result.ground or "")])
        text.say("what it is about is held until the witnesses decide")
    else:
        text.say(f"nothing wrong in {text.counted(result.outputs, 'output')}: no challenge filed")
    if result.missing:
        text.say(
            "not compared, for their text is not held here: "
            f"{text.counted(len(result.missing), 'contribution')}"
        )
