"""An attributed text, line by line, with a letter for each contribution that a part draws from.

The letters are explained below the text. On a terminal each letter also has a colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from openledger_node.cli import text

if TYPE_CHECKING:
    from openledger_node.node.results import Attributed, Span

LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
MAX_LINES_SHOWN: Final = 400
_COLOURS: Final = ("green", "cyan", "magenta", "yellow", "blue", "red")
_OTHERS: Final = "?"


def show_spans(result: Attributed, output: bytes) -> None:
    """The parts of the output, each behind the letter of its contribution, then the legend."""
    letters = _letters(result)
    pieces = split(result.spans, output)
    from rich.text import Text

    for contribution, part in pieces[:MAX_LINES_SHOWN]:
        words = " ".join(part.decode("utf-8", "replace").split())
        if contribution is None and not any(c.isalnum() for c in words):
            continue  # what stands between two spans: a full stop, a line end
        letter = letters.get(contribution, _OTHERS) if contribution else " "
        line = Text(f"{letter} ", style=_colour(letter))
        line.append(text.printable(words))
        text.draw(line)
    if len(pieces) > MAX_LINES_SHOWN:
        text.say(f"and {len(pieces) - MAX_LINES_SHOWN:,} more parts; --json lists all spans")
    text.say()
    for contribution, letter in letters.items():
        name = result.names.get(contribution, "")
        share = text.percent(result.ppm.get(contribution, 0))
        text.say(f"{letter}  {text.short(contribution)}  {text.one_line(name)}  {share}")
    text.say("   parts without a letter are unattributed")


def _letters(result: Attributed) -> dict[str, str]:
    """A letter for each contribution, largest first; those past the last letter share one."""
    found = {span.contribution_id for span in result.spans}
    ordered = sorted(found, key=lambda named: (-result.ppm.get(named, 0), named))
    return dict(zip(ordered, LETTERS, strict=False))


def _colour(letter: str) -> str:
    place = LETTERS.find(letter)
    return _COLOURS[place % len(_COLOURS)] if place >= 0 else ""


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
