"""Plain output for people: lines, fields, tables and trees within 100 columns.

Names, titles and notes come from strangers' logs. Whatever could steer a terminal is replaced
before it is printed. Colours only on a terminal, and never with NO_COLOR.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import RenderableType

    from openledger_node.node.results import Explained

MICRO: Final = 1_000_000
DECIMALS: Final = 6
MAX_COLUMNS: Final = 100
MIN_COLUMNS: Final = 40
COLUMN_GAP: Final = 3
SHORT_ID_DIGITS: Final = 12
LEAST_TEXT_COLUMNS: Final = SHORT_ID_DIGITS
"""What a column of text is never folded below: an id stays whole."""
MAX_TREE_CHILDREN: Final = 200
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def printable(text: str) -> str:
    """The text with every character that is not printable replaced; line ends stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else _REPLACEMENT for c in text)


def one_line(text: str) -> str:
    return printable(text).replace("\n", " ")


def say(text: str = "") -> None:
    print(printable(text))


def credits_text(amount_micro: int) -> str:
    """Credits with trimmed decimals, as `parse_amount` reads them."""
    sign = "-" if amount_micro < 0 else ""
    whole, micro = divmod(abs(amount_micro), MICRO)
    decimals = f"{micro:06d}".rstrip("0")
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"


def credits_counted(amount_micro: int) -> str:
    """An amount with its noun: `1 credit`, `2.5 credits`."""
    return f"{credits_text(amount_micro)} credit{'' if amount_micro == MICRO else 's'}"


def short(identifier: str) -> str:
    """The first digits of an id; enough for a command to find it again."""
    return identifier[:SHORT_ID_DIGITS]


def percent(ppm: int) -> str:
    return f"{ppm // 10_000}.{ppm % 10_000:04d}".rstrip("0").rstrip(".") + " %"


def bytes_text(size_bytes: int) -> str:
    """A size with one decimal in the largest unit that it fills."""
    unit = 0
    while size_bytes >> (10 * (unit + 1)) and unit < len(_UNITS) - 1:
        unit += 1
    if unit == 0:
        return f"{size_bytes} B"
    tenths = size_bytes * 10 >> (10 * unit)
    return f"{tenths // 10}.{tenths % 10} {_UNITS[unit]}"


def counted(count: int, what: str) -> str:
    """A count with its noun: `1 event`, `2 events`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def fields(pairs: Iterable[tuple[str, str]]) -> None:
    """Aligned names and values; long values go on below, ids are never broken, empty ones left out.

    Each value is one line of text, whatever it holds.
    """
    kept = [(one_line(name), one_line(value)) for name, value in pairs if value]
    width = max((len(name) for name, _ in kept), default=0)
    for name, value in kept:
        lines = textwrap.wrap(
            value,
            max(MIN_COLUMNS, columns() - width - 2),
            break_long_words=False,
            break_on_hyphens=False,
        )
        for index, line in enumerate(lines):
            say(f"{name if index == 0 else '':<{width}}  {line}")


def columns() -> int:
    """The width to print in: the terminal's, and at most MAX_COLUMNS."""
    return max(MIN_COLUMNS, min(shutil.get_terminal_size((MAX_COLUMNS, 24)).columns, MAX_COLUMNS))


def draw(*renderables: RenderableType) -> None:
    """Prints what rich draws, in the style that standard output can take as it is now.

    rich would end the process by itself when the reader has gone away; so it only draws.
    """
    from rich.console import Console

    screen = Console(
        file=sys.stdout,
        width=columns(),
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        highlight=False,
        markup=False,
        emoji=False,
    )
    with screen.capture() as drawn:
        for renderable in renderables:
            screen.print(renderable)
    sys.stdout.write(drawn.get())


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], empty: str = "none yet") -> None:
    """A table; a head that begins with `>` stands over figures, which are set to the right.

    Where the terminal is too narrow for it, each row is a block of lines.
    """
    made = [[one_line(cell) for cell in row] for row in rows]
    if not made:
        say(empty)
        return
    least = _least_widths(heads, made)
    if sum(least) + COLUMN_GAP * (len(least) - 1) > columns():
        for index, row in enumerate(made):
            if index:
                say()
            fields(zip((head.removeprefix(">") for head in heads), row, strict=True))
        return
    from rich import box
    from rich.table import Table

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for head, width in zip(heads, least, strict=True):
        if head.startswith(">"):
            drawn.add_column(head[1:], justify="right", no_wrap=True)
        else:
            drawn.add_column(head, overflow="fold", min_width=width)
    for row in made:
        drawn.add_row(*row)
    draw(drawn)


def _least_widths(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """What each column needs: figures whole, text enough of it to be read."""
    from rich.cells import cell_len

    widths = []
    for head, *cells in zip(heads, *rows, strict=True):
        longest = max(map(cell_len, (head.removeprefix(">"), *cells)))
        widths.append(longest if head.startswith(">") else min(longest, LEAST_TEXT_COLUMNS))
    return widths


def tree(root: Explained) -> None:
    """An explanation with its rules and amounts, each step below what it is part of."""
    for line in tree_lines(root):
        say(line)


def tree_lines(root: Explained) -> Iterator[str]:
    """The lines of a tree, each within the width."""
    yield from _wrapped(_step(root), "", "")
    yield from _branches(root, "")


def _branches(node: Explained, indent: str) -> Iterator[str]:
    shown = node.children[:MAX_TREE_CHILDREN]
    left_out = len(node.children) - len(shown)
    for index, child in enumerate(shown):
        last = index == len(shown) - 1 and not left_out
        below = indent + ("   " if last else "│  ")
        gap = "│  " if child.children else "   "
        yield from _wrapped(_step(child), f"{indent}{'└─ ' if last else '├─ '}", below + gap)
        yield from _branches(child, below)
    if left_out:
        yield f"{indent}└─ and {left_out:,} more; --json shows all"


def _wrapped(line: str, first: str, below: str) -> list[str]:
    """The line behind its indent, gone on below where it is too long; never empty."""
    width = max(columns(), len(below) + MIN_COLUMNS)
    made = textwrap.wrap(
        line,
        width,
        initial_indent=first,
        subsequent_indent=below,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return made or [first]


def _step(node: Explained) -> str:
    rule = f"[{node.rule}] " if node.rule else ""
    amount = f": {credits_text(node.amount_micro)}" if node.amount_micro is not None else ""
    return f"{rule}{one_line(node.title)}{amount}"
