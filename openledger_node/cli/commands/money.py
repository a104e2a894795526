"""`issue`, `transfer`, `grant`, `redeem`, `payout`: credits in, around and out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

from openledger_node.cli import text
from openledger_node.cli.app import App, pass_app
from openledger_node.cli.lazy import OlnCommand
from openledger_node.cli.options import FILE
from openledger_node.cli.values import amount_or_zero, parse_amount
from openledger_node.ledger.errors import UsageError

if TYPE_CHECKING:
    from openledger_node.node.results import MoneyMoved, Payouts

_TO = click.option("--to", required=True, metavar="ACCOUNT", help="Who gets it.")
_NOTE = click.option("--note", default="", metavar="TEXT", help="All will see it.")
MAX_EXPIRY_EPOCH: Final = 2**40


def _say_moved(verb: str, result: MoneyMoved, preposition: str = "to") -> None:
    amount = (
        "all, as a standing order"
        if result.amount_micro is None
        else text.credits_counted(result.amount_micro)
    )
    if result.amount_micro == 0:
        verb, amount = "ended", "the standing order"
    text.say(f"{verb} {amount} {preposition} {text.one_line(result.account)}")
    made = result.grant_id or result.redeem_id
    word = "grant" if result.grant_id else "redeem" if result.redeem_id else "event"
    text.say(f"{word} {made or result.event_id}")
    text.say("pending; it counts from the epoch that it becomes final in")


@click.command(cls=OlnCommand)
@click.argument("amount", type=parse_amount)
@_TO
@_NOTE
@pass_app
def issue(app: App, amount: int, to: str, note: str) -> None:
    """Put AMOUNT credits in, as an issuer of the ledger: against a deposit or an invoice.

    \b
    Example:
      oln issue 100 --to ana --note "invoice 17"
    """
    with app.home() as home:
        result = home.issue(amount, to, note)
    app.emit(result, lambda moved: _say_moved("issued", moved))


@click.command(cls=OlnCommand)
@click.argument("amount", type=parse_amount)
@_TO
@_NOTE
@pass_app
def transfer(app: App, amount: int, to: str, note: str) -> None:
    """Give AMOUNT credits to another account.

    \b
    Example:
      oln transfer 12.5 --to ben
    """
    with app.home() as home:
        result = home.transfer(amount, to, note)
    app.emit(result, lambda moved: _say_moved("transferred", moved))


@click.command(cls=OlnCommand)
@click.argument("provider")
@click.argument("amount", type=parse_amount)
@click.option(
    "--expires",
    metavar="EPOCH",
    help="The last epoch to draw on it, or `never`. [default: 1,000 epochs from now]",
)
@pass_app
def grant(app: App, provider: str, amount: int, expires: str | None) -> None:
    """Lock AMOUNT credits for the fees of one PROVIDER.

    The provider draws fees on it from the epoch after it is final. What is unused at its expiry
    returns by itself.

    \b
    Examples:
      oln grant ben 50
      oln grant ben 50 --expires 40
    """
    with app.home() as home:
        result = home.grant(provider, amount, _expiry(expires))
    app.emit(result, lambda moved: _say_moved("granted", moved))


def _expiry(given: str | None) -> int | Literal["default"] | None:
    if given is None:
        return "default"
    if given == "never":
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= 13):
        raise UsageError(
            f"{given!r} is not an epoch",
            hint="give its number, or `never`",
            code="bad_number",
        )
    epoch = int(given)
    if epoch > MAX_EXPIRY_EPOCH:
        raise UsageError(
            f"epoch {epoch:,} is later than {MAX_EXPIRY_EPOCH:,}",
            hint="write `never` for a grant without an end",
            code="bad_number",
        )
    return epoch


@click.command(cls=OlnCommand)
@click.argument("amount", type=amount_or_zero, required=False)
@click.option("--standing", is_flag=True, help="Redeem all there is, every epoch.")
@click.option(
    "--min",
    "minimum",
    type=amount_or_zero,
    default="0",
    metavar="AMOUNT",
    help="Of a standing order: wait until there is so much.",
)
@click.option("--issuer", metavar="A", help="Who pays out. [default: the ledger's only issuer]")
@pass_app
def redeem(app: App, amount: int | None, standing: bool, minimum: int, issuer: str | None) -> None:
    """Ask an issuer to pay AMOUNT credits out; they are locked until it does.

    An AMOUNT of 0 ends a standing order.

    \b
    Examples:
      oln redeem 20
      oln redeem --standing --min 5
    """
    if standing == (amount is not None):
        raise UsageError(
            "redeem takes an amount or --standing, one of the two",
            hint="as in `oln redeem 20` or `oln redeem --standing --min 5`",
        )
    if minimum and not standing:
        raise UsageError("--min belongs to --standing", hint="leave it out, or add --standing")
    with app.home() as home:
        result = home.redeem(amount, issuer=issuer, minimum_micro=minimum)
    app.emit(result, lambda moved: _say_moved("redeemed", moved, "with"))


@click.command(cls=OlnCommand)
@click.argument("redeems", metavar="[REDEEM]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Pay all that is open.")
@click.option("--out", type=FILE, metavar="FILE.csv", help="Where to list what is to be paid.")
@click.option("--reference", default="", metavar="TEXT", help="Such as a bank's batch number.")
@click.option("--reverse", metavar="ID", help="Take an earlier payout back: it did not arrive.")
@pass_app
def payout(
    app: App,
    redeems: tuple[str, ...],
    everything: bool,
    out: Path | None,
    reference: str,
    reverse: str | None,
) -> None:
    """Pay redeems out, as their issuer: burn their credits and list them in a CSV file.

    What is paid is never paid again: a second run finds nothing open.

    \b
    Examples:
      oln payout --all --out payments.csv --reference "batch 9"
      oln payout --reverse 33cc44dd55ee
    """
    chosen = [bool(redeems), everything, reverse is not None]
    if sum(chosen) != 1:
        raise UsageError(
            "payout takes REDEEMs, --all or --reverse, one of the three",
            hint="as in `oln payout --all --out payments.csv`",
        )
    if reverse is None and out is None:
        raise UsageError("payout needs --out", hint="name a new CSV file for the list")
    with app.home() as home:
        if reverse is not None:
            result = home.payout_reverse(reverse)
        else:
            assert out is not None
            result = home.payout(redeems or None, out=out, reference=reference)
    app.emit(result, _show_payouts)


def _show_payouts(result: Payouts) -> None:
    rows = [
        (text.short(item.redeem_id), item.account, text.credits_text(item.amount_micro))
        for item in result.payouts
    ]
    if rows or not result.payout_ids:
        text.table(("redeem", "account", ">amount"), rows, "nothing is open")
    for payout_id in result.payout_ids:
        text.say(f"payout {payout_id}")
    if result.payouts:
        text.say(f"{text.credits_counted(result.total_micro)} in all")
    if result.file:
        text.say(f"list in {result.file}")
