"""`peer`, `sync`, `node`: other nodes, one round of sync, the daemon."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from openledger_node.cli import text
from openledger_node.cli.app import App, pass_app
from openledger_node.cli.lazy import LazyGroup, OlnCommand
from openledger_node.cli.options import Whole

if TYPE_CHECKING:
    from openledger_node.node.results_network import Peer, Peers, Synced

DEFAULT_BAN_HOURS: Final = 24
MAX_BAN_HOURS: Final = 8_760


@click.group(cls=LazyGroup)
def peer() -> None:
    """Other nodes of the ledger.

    A node is named by its id, 64 hex digits that `oln status` shows, and dialled at an address
    id@host:port. The link is encrypted, and only the node with that id can answer.

    \b
    Examples:
      oln peer add 4f0c...e1@node.example.org:4767
      oln peer list
    """


@peer.command("add")
@click.argument("address", metavar="ID@HOST:PORT")
@pass_app
def peer_add(app: App, address: str) -> None:
    """Know a node at an address; the daemon keeps a link to it.

    \b
    Example:
      oln peer add 4f0c...e1@node.example.org:4767
    """
    with app.home() as home:
        result = home.peer_add(address)
    app.emit(
        result, lambda shown: text.say(f"added {_short(shown)} at {', '.join(shown.addresses)}")
    )


@peer.command("list")
@pass_app
def peer_list(app: App) -> None:
    """Show the known nodes, and which of them a running daemon has a link to.

    \b
    Example:
      oln peer list
    """
    with app.home() as home:
        result = home.peer_list()
    app.emit(result, _show_peers)


@peer.command("remove")
@click.argument("node", metavar="ID")
@pass_app
def peer_remove(app: App, node: str) -> None:
    """Forget a node. It may still come by itself; `oln peer ban` keeps it out.

    \b
    Example:
      oln peer remove 4f0c5a1e
    """
    with app.home() as home:
        result = home.peer_remove(node)
    app.emit(result, lambda shown: text.say(f"removed {_short(shown)}"))


@peer.command("ban")
@click.argument("node", metavar="ID")
@click.option(
    "--hours",
    type=Whole(0, MAX_BAN_HOURS),
    default=DEFAULT_BAN_HOURS,
    show_default=True,
    help="How long; 0 lets it in again.",
)
@pass_app
def peer_ban(app: App, node: str, hours: int) -> None:
    """Keep a node out for some hours; a link to it ends.

    \b
    Examples:
      oln peer ban 4f0c5a1e
      oln peer ban 4f0c5a1e --hours 0
    """
    with app.home() as home:
        result = home.peer_ban(node, hours=hours)
    said = f"banned {{}} for {text.counted(hours, 'hour')}" if hours else "let {} in again"
    app.emit(result, lambda shown: text.say(said.format(_short(shown))))


def _show_added(shown: Peer) -> None:
    text.say(f"added {_short(shown)} at {', '.join(shown.addresses)}")


def _short(shown: Peer) -> str:
    return text.short(shown.node_id)


def _show_peers(result: Peers) -> None:
    rows = [
        (
            text.short(item.node_id),
            "linked" if item.linked else "banned" if item.banned_until_ms else "",
            item.source,
            f"{item.score}",
            item.addresses[0].partition("@")[2] if item.addresses else "",
        )
        for item in result.peers
    ]
    text.table(("node", "link", "known from", "score", "address"), rows, "no peer is known")
    where = ", ".join(f"{result.node_id}@{place}" for place in result.listening)
    text.say(f"the daemon listens at {where}" if result.daemon else "no daemon runs on this home")


@click.command(cls=OlnCommand)
@click.argument("address", metavar="[ID@HOST:PORT]", required=False)
@pass_app
def sync(app: App, address: str | None) -> None:
    """Exchange what is new with one node, or with every added peer, and end.

    Works beside a running daemon and without one, so it fits a timer. Ends with exit status 1 when
    a peer was reached but the two sides still differ, 4 when none could be reached.

    \b
    Examples:
      oln sync
      oln sync 4f0c...e1@node.example.org:4767
    """
    with app.home() as home:
        result = home.sync(address, progress=app.progress)
    if not all(item.in_sync for item in result.peers):
        app.answer_no()
    app.emit(result, _show_synced)


def _show_synced(result: Synced) -> None:
    for item in result.peers:
        moved = f"{text.counted(item.received, 'event')} received, {item.sent:,} pushed"
        outcome = "in sync" if item.in_sync else text.one_line(item.fault)
        text.say(
            f"{text.short(item.node_id)} at {item.address.partition('@')[2]}: {moved}; {outcome}"
        )
    epochs = f", {text.counted(result.epochs, 'epoch')} became final" if result.epochs else ""
    text.say(f"{text.counted(result.received, 'event')} received in {result.seconds:.2f} s{epochs}")


@click.command(cls=OlnCommand)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    multiple=True,
    help="Where to listen, instead of node.listen in node.toml; port 0 takes a free one.",
)
@pass_app
def node(app: App, listen: tuple[str, ...]) -> None:
    """Run the daemon until it is told to stop (Ctrl-C or SIGTERM).

    It keeps links to peers, exchanges what is new within milliseconds, and folds each epoch that
    the witnesses make final. Commands work beside it on the same home. Its log goes to standard
    error; settings are in node.toml.

    \b
    Examples:
      oln node
      oln node --listen 127.0.0.1:0
    """

    def ready(described: Mapping[str, Any]) -> None:
        if app.as_json:
            print(json.dumps({"node_id": home.node_id, **described}))
        else:
            for place in described["listening"]:
                text.say(f"listening at {home.node_id}@{place}")
        sys.stdout.flush()

    with app.home() as home:
        home.run_node(listen=listen, ready=ready)
