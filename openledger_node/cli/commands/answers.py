"""`confirm`, `cancel`, `dispute`, `challenge`: what others say to a receipt."""

from __future__ import annotations

import click

from openledger_node.cli.app import App, pass_app
from openledger_node.cli.lazy import OlnCommand
from openledger_node.cli.options import say_recorded

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
    "--ground",
    default="evidence_withheld",
    show_default=True,
    metavar="WORD",
    help="What is wrong with it.",
)
@pass_app
def challenge(app: App, thing: str, ground: str) -> None:
    """Ask the witnesses to recompute a receipt or a derivation.

    Only the first challenge of a receipt counts; it holds the fee until the verdict.

    \b
    Example:
      oln challenge 44dd55ee66ff
    """
    with app.home() as home:
        result = home.challenge(thing, ground)
    app.emit(result, say_recorded)
