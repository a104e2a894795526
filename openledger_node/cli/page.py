"""An attributed text as one HTML file: no script, nothing loaded from anywhere.

Outputs, titles and names were written by strangers: everything is escaped, characters that cannot
be seen are replaced (among them those that turn the direction of text), and the page's own policy
forbids whatever could still slip in. Without colours a span shows by its frame and its letter.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from openledger_node.cli import text
from openledger_node.cli.spans import Key, legend, split

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openledger_node.node.results import Attributed

COLOURS: Final = ("d5ecd4", "cfe8f3", "efd9ef", "f6eac2", "d9dcf5", "f7d8d2", "dfe3d0", "e3e3e3")
"""Backgrounds, one an owner and then again: black reads on each, 12 to 1 or better."""
FRAMES: Final = ("solid", "dashed", "dotted", "double")

_HEAD: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Attribution</title>
<style>
body { font: 16px/1.6 sans-serif; color: #000; background: #fff; margin: 2em auto; max-width: 50em;
  padding: 0 1em; }
.output { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid #999; padding: 1em; }
mark { color: #000; padding: 0 .15em; unicode-bidi: isolate; }
sup { font-size: .7em; font-weight: bold; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { text-align: left; padding: .2em .8em; border-bottom: 1px solid #ccc; }
td bdi { overflow-wrap: anywhere; }
.n { text-align: right; }
"""


def attribution_page(result: Attributed, output: bytes) -> str:
    """The whole page: the text with its spans marked, and the legend with shares and ppm."""
    keys = legend(result)
    lines = [_HEAD, *_styles(keys.values()), "</style>\n</head>\n<body>\n<h1>Attribution</h1>\n"]
    lines.append(f"<p>{_words(_summary(result))}</p>\n")
    lines.append('<div class="output" dir="auto">')
    for named, part in split(result.spans, output):
        lines.append(_part(keys.get(named) if named else None, part))
    lines.append("</div>\n")
    lines += _table(result, keys.values())
    lines.append("<p>What no letter stands beside is unattributed.</p>\n</body>\n</html>\n")
    return "".join(lines)


def _styles(keys: Iterable[Key]) -> list[str]:
    """One rule an owner: a colour, and a frame that shows without it."""
    return [
        f"mark.o{number} {{ background: #{COLOURS[number % len(COLOURS)]}; "
        f"border-bottom: 3px {FRAMES[number % len(FRAMES)]} #333; }}\n"
        for number in sorted({key.owner_number for key in keys})
    ]


def _summary(result: Attributed) -> str:
    against = f"model {text.short(result.model_id)}" if result.model_id else "all text held here"
    if result.method == "retrieved":
        against = "what stood in its prompt"
    counts = f"{text.counted(result.tokens, 'token')}, {text.counted(len(result.spans), 'span')}"
    missing = f"; {len(result.missing)} not looked at" if result.missing else ""
    return f"{counts}, matched against {against} at epoch {result.snapshot_epoch}{missing}."


def _words(found: str) -> str:
    """Text as text, whatever it holds."""
    return escape(text.printable(found), quote=True)


def _part(key: Key | None, part: bytes) -> str:
    words = _words(part.decode("utf-8", "replace"))
    if key is None:
        return words
    about = _words(f"{key.letter}: {key.title or key.contribution_id}, {key.owner}")
    return (
        f'<mark class="o{key.owner_number}" title="{about}">{words}<sup>{key.letter}</sup></mark>'
    )


def _table(result: Attributed, keys: Iterable[Key]) -> list[str]:
    heads = ("", "contribution", "title", "owner", "ppm", "share")
    rows = ["<table>\n<tr>", *(f"<th>{head}</th>" for head in heads), "</tr>\n"]
    for key in keys:
        rows.append(
            f'<tr><td><mark class="o{key.owner_number}">{key.letter}</mark></td>'
            f"<td>{_words(text.short(key.contribution_id))}</td>"
            f"<td><bdi>{_words(key.title)}</bdi></td><td><bdi>{_words(key.owner)}</bdi></td>"
            f'<td class="n">{key.ppm:,}</td><td class="n">{text.percent(key.ppm)}</td></tr>\n'
        )
    rest = result.unattributed_ppm
    rows.append(
        f'<tr><td></td><td>unattributed</td><td></td><td></td><td class="n">{rest:,}</td>'
        f'<td class="n">{text.percent(rest)}</td></tr>\n</table>\n'
    )
    return rows
