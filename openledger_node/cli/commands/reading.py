"""`log`, `show`: events, and what became of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from openledger_node.cli import text
from openledger_node.cli.app import App, pass_app
from openledger_node.cli.lazy import OlnCommand
from openledger_node.cli.options import Whole

if TYPE_CHECKING:
    from openledger_node.node.results import Events, EventShown

DEFAULT_EVENTS: Final = 50
MAX_EVENTS: Final = 100_000
MAX_BODY_CHARS_SHOWN: Final = 4_000
MAX_TIME_MS: Final = 253_402_300_799_999
"""The end of the year 9999. A time in an event is a claim, and may be anything."""


@click.command(cls=OlnCommand)
@click.argument("account", required=False)
@click.option("--kind", metavar="K", help="Only events of this kind, such as use.receipt.")
@click.option("--follow", is_flag=True, help="Print new events as they come, until interrupted.")
@click.option(
    "--limit",
    type=Whole(1, MAX_EVENTS),
    default=DEFAULT_EVENTS,
    show_default=True,
    help="How many of the last events.",
)
@pass_app
def log(app: App, account: str | None, kind: str | None, follow: bool, limit: int) -> None:
    """Show the last events of all accounts, or of ACCOUNT, and what became of them.

    With --follow, --json prints one document a line for each new event.

    \b
    Examples:
      oln log --limit 10
      oln log ana --kind use.receipt
      oln log --follow
    """
    with app.home() as home:
        if follow:
            for event in home.follow(account, kind=kind, wait=app.wait):
                app.emit(event, _show_line)
                sys.stdout.flush()
            return
        result = home.log(account, kind=kind, limit=limit)
    app.emit(result, _show_events)


def _show_events(result: Events) -> None:
    rows = [
        (
            text.short(event.event_id),
            event.account,
            event.kind,
            _outcome(event),
            when(event.time_ms),
        )
        for event in result.events
    ]
    heads = ("event", "account", "kind", "status", "time claimed (UTC)")
    text.table(heads, rows, "no event fits")


def _show_line(event: EventShown) -> None:
    text.say(
        f"{text.short(event.event_id)}  {when(event.time_ms)}  {text.one_line(event.account)}  "
        f"{event.kind}  {_outcome(event)}"
    )


def _outcome(event: EventShown) -> str:
    epoch = f" {event.epoch:,}" if event.epoch is not None else ""
    rule = f" by {event.rule}" if event.status == "void" and event.rule else ""
    return event.status + epoch + rule


def when(time_ms: int) -> str:
    """The time that an event claims, in UTC."""
    if not 0 <= time_ms <= MAX_TIME_MS:
        return "no time"
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


@click.command(cls=OlnCommand)
@click.argument("event", metavar="ID")
@pass_app
def show(app: App, event: str) -> None:
    """Show one event: its body, its payload, and the rule that voids it if one does.

    \b
    Example:
      oln show 44dd55ee66ff
    """
    with app.home() as home:
        result = home.show(event)
    app.emit(result, _show_event)


def _show_event(event: EventShown) -> None:
    rule = f"{event.rule}: " if event.rule else ""
    payload = ""
    if event.payload_commit is not None:
        size = text.bytes_text(event.payload_len)
        payload = f"{event.payload}, {size}, {text.short(event.payload_commit)}"
    text.fields(
        [
            ("event", event.event_id),
            ("kind", event.kind),
            ("account", event.account),
            ("log", f"{text.short(event.log_id)}, event {event.seq:,}"),
            ("time claimed", when(event.time_ms) + " UTC"),
            ("status", _outcome(event)),
            ("reason", rule + event.reason if event.reason else ""),
            ("payload", payload),
        ]
    )
    text.say()
    _show_body(event.body)


def _show_body(body: Mapping[str, Any]) -> None:
    shown = json.dumps(body, indent=2, ensure_ascii=False)
    text.say(shown[:MAX_BODY_CHARS_SHOWN])
    if len(shown) > MAX_BODY_CHARS_SHOWN:
        text.say(f"and {len(shown) - MAX_BODY_CHARS_SHOWN:,} more characters; --json has all")
