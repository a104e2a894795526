"""What the documents show is what there is: commands, options and settings, checked one by one."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
SHOWN_IN: Final = (
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)

cli_is_built = pytest.mark.skipif(
    importlib.util.find_spec("openledger_node.cli.main") is None,
    reason="the command line has no entry point yet",
)


def shown_commands() -> Iterator[tuple[str, list[str]]]:
    """(place, words) of every line in a fenced block that begins with `oln` or scripts/run."""
    for page in SHOWN_IN:
        fenced = False
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            if line.startswith("```"):
                fenced = not fenced
            elif fenced and (match := re.match(r"(?:\$ )?(?:oln|\./scripts/run) (.*)", line)):
                words = shlex.split(match[1], comments=True)
                if words:
                    yield f"{page.relative_to(ROOT)}:{number}", words


def command_line() -> click.Group:
    """The group that `oln` runs."""
    module = importlib.import_module("openledger_node.cli.main")
    groups = [value for value in vars(module).values() if isinstance(value, click.Group)]
    assert groups, "openledger_node.cli.main holds no click group"
    return groups[0]


def fault_of(words: list[str]) -> str:
    """Why the command line would not understand these words; empty if it would."""
    command: click.Command = command_line()
    context = click.Context(command, info_name="oln")
    try:
        values, rest, _ = command.make_parser(context).parse_args(args=list(words))
        while isinstance(command, click.Group):
            found = command.get_command(context, rest[0]) if rest else None
            if found is None:
                return f"no command {' '.join(rest[:1])!r}"
            command, context = found, click.Context(found, parent=context, info_name=rest[0])
            values, rest, _ = command.make_parser(context).parse_args(args=rest[1:])
    except click.UsageError as error:
        return error.format_message()
    needed = [param.name or "" for param in command.params if param.required]
    missing = [name for name in needed if values.get(name) in (None, ())]
    return f"surplus {rest}" if rest else f"missing {missing}" if missing else ""


@cli_is_built
def test_every_command_that_a_document_shows_is_understood() -> None:
    shown = list(shown_commands())
    assert len(shown) > 10
    faults = {f"{place} {' '.join(words)}": fault_of(words) for place, words in shown}
    assert {text: fault for text, fault in faults.items() if fault} == {}


@cli_is_built
def test_a_misspelt_command_or_option_would_be_noticed() -> None:
    assert fault_of(["statsu"])
    assert fault_of(["status", "--no-such-option"])
    assert fault_of([])


def test_settings_are_few_and_each_says_its_unit_and_default() -> None:
    text = (ROOT / "configs" / "node.toml").read_text(encoding="utf-8")
    keys = [key for table in tomllib.loads(text).values() for key in table]
    assert 0 < len(keys) <= 25
    for key in keys:
        comment = text.partition(f"\n{key} = ")[0].rpartition("\n\n")[2]
        assert re.search(r"# Unit: .+ Default: .+", comment), key
