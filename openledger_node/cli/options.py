"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from openledger_node.cli import text

if TYPE_CHECKING:
    from openledger_node.node.results import Recorded

FILE: Final = click.Path(path_type=Path)
"""A path that the user named; whoever opens it says what is wrong with it."""


def say_recorded(result: Recorded) -> None:
    """What every command says that appends one event and has nothing more to show."""
    text.say(f"recorded {result.kind} {text.short(result.event_id)}")


def creators_text(creators: tuple[tuple[str, int], ...]) -> str:
    """Creators or floors with their numbers, in one cell."""
    return ", ".join(f"{text.short(name)}:{number}" for name, number in creators)
