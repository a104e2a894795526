"""Arguments and options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from openledger_node.cli import text
from openledger_node.ledger.errors import UsageError

if TYPE_CHECKING:
    from openledger_node.node.results import Recorded

MAX_QUOTED_CHARS: Final = 64
_DIGITS: Final = re.compile(r"-?[0-9]{1,16}", re.ASCII)


class NamedFile(click.Path):
    """A path; an empty name stands for no file, and not for the folder where the user stands."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            raise UsageError("the name of a file is empty", hint="name a file", code="bad_file")
        return super().convert(value, param, ctx)


FILE: Final = NamedFile(path_type=Path)
"""A path that the user named; whoever opens it says what is wrong with it."""


class Whole(click.IntRange):
    """A whole number in ASCII digits, within bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, str) and not _DIGITS.fullmatch(value):
            raise UsageError(
                f"{value[:MAX_QUOTED_CHARS]!r} is not a whole number",
                hint="write it in digits 0 to 9",
                code="bad_number",
            )
        return int(super().convert(value, param, ctx))


def say_recorded(result: Recorded) -> None:
    """What every command says that appends one event and has nothing more to show."""
    text.say(f"recorded {result.kind} {text.short(result.event_id)}")


def creators_text(
    creators: tuple[tuple[str, int], ...], names: Mapping[str, str] | None = None
) -> str:
    """Creators or floors with their numbers, in one cell; by name where they have one."""
    known = names or {}
    return ", ".join(f"{known.get(name, text.short(name))}:{number}" for name, number in creators)


def accounts_text(share: str, names: Mapping[str, str]) -> str:
    """`none`, `all`, or accounts as they are called here."""
    return ", ".join(names.get(word, word) for word in share.split(","))
