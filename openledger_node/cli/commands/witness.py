"""`witness`: found a ledger together, see who decides, change who does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openledger_node.cli import text
from openledger_node.cli.app import App, pass_app
from openledger_node.cli.lazy import LazyGroup
from openledger_node.cli.options import FILE, Whole, say_recorded
from openledger_node.ledger.errors import UsageError

if TYPE_CHECKING:
    from openledger_node.node.results import Initialised
    from openledger_node.node.results_witness import (
        Founded,
        Invited,
        Proposal,
        SeatOffered,
        Witnesses,
    )


@click.group(cls=LazyGroup)
def witness() -> None:
    """Found a ledger together; see and change who decides.

    \b
    Examples:
      oln witness status
      oln witness propose --add bo --add cy --add di
    """


@witness.command("invite")
@click.argument("file", type=FILE)
@click.option("--name", metavar="N", help="The name of the ledger to be founded.")
@click.option("--params", type=FILE, metavar="FILE", help="Its params, as TOML.")
@click.option("--succeeds", is_flag=True, help="It goes on from the end of this home's ledger.")
@click.option(
    "--seat", "seats", type=FILE, multiple=True, metavar="SEAT", help="A seat file; all of them."
)
@click.option("--out", type=FILE, metavar="GENESIS", help="Where to write the genesis.")
@pass_app
def witness_invite(
    app: App,
    file: Path,
    name: str | None,
    params: Path | None,
    succeeds: bool,
    seats: tuple[Path, ...],
    out: Path | None,
) -> None:
    """Invite others to found a ledger together, and put their seats into its genesis.

    First with --name: writes the invitation FILE, for each witness to `oln witness join`. Then with
    all the seat files that come back: makes the genesis. The same files give the same genesis
    whoever does it. This needs no home, but with --succeeds: where a third of the witnesses is gone
    for ever, the others found a new ledger whose id is bound to the last statement of the old one.

    \b
    Examples:
      oln witness invite river.invite --name "River co-op"
      oln witness invite river.invite --seat ana.seat --seat bo.seat --out genesis.json
    """
    if seats:
        if out is None or name or params or succeeds:
            raise UsageError("with --seat, give --out and nothing else")
        app.emit(app.interface.witness_found(file, seats, out), _show_founded)
        return
    if not name or out is not None:
        raise UsageError("an invitation needs --name", hint="see `oln witness invite --help`")
    if succeeds:
        with app.home() as home:
            app.emit(app.interface.witness_invite(file, name, params, succeeds=home), _show_invited)
        return
    app.emit(app.interface.witness_invite(file, name, params), _show_invited)


def _show_invited(result: Invited) -> None:
    text.say(f"wrote {result.file}: an invitation to found {text.one_line(result.name)}")
    text.say(f"digest {result.digest}")
    text.say("Give it to all who shall have a seat; each runs `oln witness join` with it.")


def _show_founded(result: Founded) -> None:
    rows = [[str(index), name, account] for index, (name, account) in enumerate(result.seats)]
    text.table([">seat", "name", "account"], rows, "")
    text.say()
    text.say(f"ledger {result.ledger_id}")
    text.say(f"wrote {result.file}; each witness runs `oln witness join {result.file}`")
    text.say("Compare the ledger's id over another channel before you begin.")


@witness.command("join")
@click.argument("file", type=FILE, required=False)
@click.option("--name", metavar="N", help="What you are called in the seat file.")
@click.option("--out", type=FILE, metavar="SEAT", help="Where to write the seat file.")
@pass_app
def witness_join(app: App, file: Path | None, name: str | None, out: Path | None) -> None:
    """Take a seat: answer an invitation, begin with the genesis, or be ready for a new set.

    With an invitation: makes a home that waits, and the seat file to hand out. With the genesis
    that came of it: the home begins. Without FILE, in the home of an account that others propose as
    a witness: says that it is ready.

    \b
    Examples:
      oln --home ana witness join river.invite --name ana --out ana.seat
      oln --home ana witness join genesis.json
      oln witness join
    """
    if file is None:
        with app.home() as home:
            result = home.witness_ready()
        app.emit(result, say_recorded)
        return
    if app.interface.witness_kind(file) == "genesis":
        if out is not None or name is not None:
            raise UsageError("with a genesis, give neither --name nor --out")
        app.emit(app.interface.witness_begin(app.home_path(), file), _show_begun)
        return
    if out is None or not name:
        raise UsageError("with an invitation, give --name and --out", hint="--out ana.seat")
    app.emit(app.interface.witness_offer(app.home_path(), file, out, name), _show_offered)


def _show_offered(result: SeatOffered) -> None:
    text.fields(
        [
            ("account", result.account),
            ("home", result.home),
            ("seat file", result.file),
            ("recovery file", result.recovery_file),
        ]
    )
    text.say()
    text.say("Hand out the seat file; it holds no secret. When the genesis comes back:")
    text.say(f"  oln --home {result.home} witness join GENESIS")
    text.say("Move the recovery file off this machine: it is the only way back to the account.")


def _show_begun(result: Initialised) -> None:
    text.fields(
        [
            ("account", f"{result.name} ({result.account})"),
            ("ledger", result.ledger_id),
            ("log", text.short(result.log_id)),
            ("home", result.home),
        ]
    )
    text.say()
    text.say("Compare the ledger's id with the other witnesses, then run `oln node`.")


@witness.command("status")
@pass_app
def witness_status(app: App) -> None:
    """Show the witnesses, when each last spoke, and proposed changes.

    \b
    Example:
      oln witness status
    """
    with app.home() as home:
        result = home.witness_status()
    app.emit(result, _show_status)


def _show_status(result: Witnesses) -> None:
    rows = []
    for seat in result.witnesses:
        signed = "never" if seat.signed_epoch is None else str(seat.signed_epoch)
        notes = [
            word
            for word, holds in (
                ("own", seat.own),
                ("has published its frontier", seat.voted),
                ("forked a log", seat.forked),
            )
            if holds
        ]
        rows.append([str(seat.seat), seat.name or seat.account, signed, ", ".join(notes)])
    text.table([">seat", "witness", ">last epoch signed", "notes"], rows, "")
    text.say()
    text.say(
        f"set {result.number}, {result.quorum} of {len(result.witnesses)} decide, "
        f"epoch {result.epoch}"
    )
    for proposal in result.proposals:
        text.say()
        _show_proposal(proposal)
    for alarm in result.alarms:
        text.say(f"ALARM: {alarm}")


def _show_proposal(proposal: Proposal) -> None:
    text.say(f"proposal {proposal.digest[:16]} for set {proposal.number}")
    for change in proposal.changes:
        text.say(f"  {change}")
    approved = ", ".join(proposal.approved) or "nobody"
    text.say(f"  approved by {approved}; {proposal.needed} are needed")
    if proposal.waiting:
        text.say(f"  not ready yet: {', '.join(proposal.waiting)} (`oln witness join`)")


@witness.command("propose")
@click.option("--add", multiple=True, metavar="ACCOUNT[/DEVICE]", help="Seat this account.")
@click.option("--drop", multiple=True, metavar="ACCOUNT", help="Take this account's seat away.")
@click.option("--params", type=FILE, metavar="FILE", help="Params to change, as TOML.")
@click.option("--rules", type=Whole(1, 2**16), metavar="N", help="A rules version.")
@pass_app
def witness_propose(
    app: App, add: tuple[str, ...], drop: tuple[str, ...], params: Path | None, rules: int | None
) -> None:
    """Propose a change of the witnesses, of the params or of the rules.

    It takes effect the epoch after enough current witnesses approved it and every seat in it is
    ready. To replace a witness, drop one and add one.

    \b
    Examples:
      oln witness propose --add bo --add cy --add di
      oln witness propose --drop di --add eve
      oln witness propose --params params.toml
    """
    with app.home() as home:
        result = home.witness_propose(add=add, drop=drop, params_file=params, rules_version=rules)
    app.emit(result, _show_proposal)


@witness.command("approve")
@click.argument("digest", metavar="PROPOSAL")
@pass_app
def witness_approve(app: App, digest: str) -> None:
    """Approve a proposed change that is final.

    \b
    Example:
      oln witness approve 3fa91c22
    """
    with app.home() as home:
        result = home.witness_approve(digest)
    app.emit(result, _show_proposal)
