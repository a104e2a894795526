"""The entry point of `oln`: the table of commands, the common options, the door for errors."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Final

import click

from openledger_node.cli import faults
from openledger_node.cli.app import App
from openledger_node.cli.lazy import Entry, LazyGroup

COMMANDS: Final = {
    "Begin": {
        "init": Entry("begin:init", "Begin a home: an account, a device, a ledger."),
        "status": Entry("begin:status", "Show who, which ledger, and how far it is."),
        "ledger": Entry("begin:ledger", "Show the rules; export the genesis for others."),
        "account": Entry("identity:account", "Accounts: petnames, shares, keys."),
        "device": Entry("identity:device", "Second machines and lost ones."),
        "demo": Entry("demo:demo", "Play a whole co-operative on this machine."),
    },
    "Contribute": {
        "data": Entry("data:data", "Register text and files, share and withdraw them."),
        "datanet": Entry("registry:datanet", "Collections of contributions."),
        "model": Entry("registry:model", "Models and what they were trained on."),
        "agent": Entry("registry:agent", "Agents and who operates them."),
    },
    "Use": {
        "attribute": Entry("using:attribute", "Show which data a text draws from."),
        "use": Entry("using:use", "Record that a model was used."),
        "confirm": Entry("answers:confirm", "Confirm a receipt: the use was as stated."),
        "cancel": Entry("answers:cancel", "Cancel a receipt and give its fee back."),
        "dispute": Entry("answers:dispute", "Dispute a receipt before it matures."),
        "challenge": Entry("answers:challenge", "Compute a receipt again; challenge it if wrong."),
    },
    "Money": {
        "issue": Entry("money:issue", "Put credits in, as an issuer of the ledger."),
        "transfer": Entry("money:transfer", "Give credits to another account."),
        "grant": Entry("money:grant", "Lock credits for one provider's fees."),
        "redeem": Entry("money:redeem", "Ask an issuer to pay credits out."),
        "payout": Entry("money:payout", "Pay redeems out, as their issuer."),
    },
    "Credit": {
        "epoch": Entry("settling:epoch", "Close an epoch; list the closed ones."),
        "credits": Entry("settling:credits", "Show balances, and what was earned."),
        "statement": Entry("settling:statement", "Show an epoch's table of credits."),
        "explain": Entry("settling:explain", "Say why: from a figure down to spans and rules."),
        "log": Entry("reading:log", "Show events, and follow new ones."),
        "show": Entry("reading:show", "Show one event and what became of it."),
    },
    "Witnesses": {
        "witness": Entry("witness:witness", "Found a ledger together; see and change who decides."),
    },
    "Check": {
        "prove": Entry("proving:prove", "Write an offline proof of a figure, event or span."),
        "verify": Entry("proving:verify", "Check a proof file; needs no home."),
        "check": Entry("care:check", "Re-hash everything that is stored."),
        "index": Entry("indexing:index", "The index of the text that is held here."),
        "simulate": Entry("simulating:simulate", "Play an attack, and see whether it pays."),
    },
    "Keep and move": {
        "compact": Entry("care:compact", "Make the store smaller."),
        "backup": Entry("care:backup", "Write the home's store to one file."),
        "restore": Entry("care:restore", "Make a home from a backup."),
        "bundle": Entry("moving:bundle", "Carry logs between homes in a file."),
        "import": Entry("moving:import_events", "Append events from a JSONL file."),
        "export": Entry("moving:export_events", "Write all events to a file."),
    },
    "Peers": {
        "peer": Entry("peering:peer", "Other nodes: add, list, remove, ban."),
        "sync": Entry("peering:sync", "Exchange what is new with peers, once."),
        "node": Entry("peering:node", "Run the daemon: links to peers, kept up."),
    },
    "Help": {
        "help": Entry("helping:help_command", "Show help for a command, or the reward rules."),
        "completion": Entry("helping:completion", "Print a shell's completion script."),
    },
}


class ReaderWentAway(Exception):
    """Standard output was closed by whoever read it."""


class Root(LazyGroup):
    """`oln` itself. click would end the process when the reader goes away; this tells `run`."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise ReaderWentAway from None


@click.group(
    cls=Root,
    entries=COMMANDS,
    hide_common=False,
    name="oln",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--version", is_flag=True, help="Show the version.")
@click.pass_context
def oln(ctx: click.Context, version: bool) -> None:
    """Whose work an output drew on, and what they are owed, in checkable figures.

    Every command works on one home, a folder with one account's keys and logs. Amounts are credits
    with up to 6 decimals. Ids may be shortened to 8 digits or more, accounts also named by petname.

    \b
    Examples:
      oln demo
      oln init --name ana
      oln data add handbook/ --title "Our handbook"
    """
    if version:
        from openledger_node import __version__

        app = ctx.ensure_object(App)
        app.emit({"version": __version__}, lambda _: print(f"oln {__version__}"))
        ctx.exit()
    if ctx.invoked_subcommand is None:
        print(ctx.get_help(), file=sys.stderr)
        raise click.UsageError("no command was given", ctx)


def run(arguments: Sequence[str], app: App | None = None) -> int:
    """Runs one command line; its exit status. Errors leave through this one door."""
    app = app or App()
    wants_json = "--json" in arguments
    try:
        oln.main(list(arguments), prog_name="oln", standalone_mode=False, obj=app)
        sys.stdout.flush()
        return app.status
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.Abort, KeyboardInterrupt):
        return faults.INTERRUPTED
    except (BrokenPipeError, ReaderWentAway):
        return 0
    except Exception as error:
        app.shower.close()  # before anything is printed below it
        if faults.debugging():
            traceback.print_exc()
        fault = faults.fault_of(error)
        faults.report(fault, wants_json)
        return fault.status
    finally:
        app.shower.close()


def main() -> None:
    """What the installed command calls."""
    faults.open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    status = run(sys.argv[1:])
    faults.finish_standard_output()
    sys.exit(status)
