"""An attributed text, part by part, with a letter for each contribution that a part draws from.

The letters and the figures behind them stand in a legend below the text. On a terminal each owner
has a colour too; nothing is said by colour alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from openledger_node.cli import text

if TYPE_CHECKING:
    from openledger_node.node.results import Attributed, Span

LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
MAX_LINES_SHOWN: Final = 400
OTHERS: Final = "?"
"""What contributions past the last letter share."""
NOBODY: Final = "-"
_COLOURS: Final = ("green", "cyan", "magenta", "yellow", "blue", "red")


@dataclass(frozen=True, slots=True)
class Key:
    """One line of the legend: a contribution, its owner, and the owner's number from 0."""

    letter: str
    contribution_id: str
    title: str
    owner: str
    owner_number: int
    ppm: int


def legend(result: Attributed) -> dict[str, Key]:
    """{contribution: its line}, those with the largest shares first."""
    found = {span.contribution_id for span in result.spans} | set(result.ppm)
    ordered = sorted(found, key=lambda named: (-result.ppm.get(named, 0), named))
    owners: dict[str, int] = {}
    keys = {}
    for index, named in enumerate(ordered):
        owner = result.owners.get(named, "")
        number = owners.setdefault(owner or named, len(owners))
        letter = LETTERS[index] if index < len(LETTERS) else OTHERS
        title = result.names.get(named, "")
        keys[named] = Key(letter, named, title, owner, number, result.ppm.get(named, 0))
    return keys


def show_spans(result: Attributed, output: bytes) -> None:
    """The parts of the output, each behind the letter of its contribution, then the legend."""
    keys = legend(result)
    pieces = split(result.spans, output)
    from rich.table import Table
    from rich.text import Text

    parts = Table.grid(padding=(0, 1))
    parts.add_column(no_wrap=True)
    parts.add_column(overflow="fold")
    for contribution, part in pieces[:MAX_LINES_SHOWN]:
        words = " ".join(part.decode("utf-8", "replace").split())
        if contribution is None and not any(c.isalnum() for c in words):
            continue  # what stands between two spans: a full stop, a line end
        key = keys.get(contribution) if contribution else None
        style = _COLOURS[key.owner_number % len(_COLOURS)] if key else ""
        mark = key.letter if key else NOBODY
        parts.add_row(Text(mark, style), Text(text.printable(words), style))
    text.draw(parts)
    if len(pieces) > MAX_LINES_SHOWN:
        text.say(f"and {len(pieces) - MAX_LINES_SHOWN:,} more parts; --json lists all spans")
    text.say()
    rows = [
        (key.letter, text.short(named), key.title, key.owner, f"{key.ppm:,}", text.percent(key.ppm))
        for named, key in keys.items()
    ]
    rest = result.unattributed_ppm
    rows.append((NOBODY, "unattributed", "", "", f"{rest:,}", text.percent(rest)))
    text.table(("", "contribution", "title", "owner", ">ppm", ">share"), rows)


def split(spans: tuple[Span, ...], output: bytes) -> list[tuple[str | None, bytes]]:
    """(contribution or None, bytes) of consecutive parts; together they are the output."""
    parts: list[tuple[str | None, bytes]] = []
    place = 0
    for span in sorted(spans, key=lambda span: span.start_byte):
        if span.start_byte > place:
            parts.append((None, output[place : span.start_byte]))
        if span.end_byte > max(place, span.start_byte):
            parts.append(
                (span.contribution_id, output[max(place, span.start_byte) : span.end_byte])
            )
        place = max(place, span.end_byte)
    if place < len(output):
        parts.append((None, output[place:]))
    return parts
