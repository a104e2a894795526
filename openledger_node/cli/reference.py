"""The command reference as one document, made from the commands' own help.

`oln help reference > docs/guide/commands.md` writes it anew; a test holds the file to what this
makes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Final

import click

from openledger_node.cli.lazy import Entry
from openledger_node.cli.main import COMMANDS, oln

OPENING: Final = """\
# Commands

`oln [--home DIR] [--json] COMMAND`. The home is `--home`, else `OLN_HOME`, else the platform's data
folder. `--json` prints one JSON document on standard output; both options may also stand after the
command. Amounts are credits with up to 6 decimals. Ids may be shortened to 8 digits or more; an
account may be named by its petname. Exit status and settings: [quick start](README.md).

This page is made from the commands' own help (`oln help COMMAND`).
"""


def reference(sections: Mapping[str, Mapping[str, Entry]] = COMMANDS) -> str:
    """The whole document."""
    parts = [OPENING]
    root = click.Context(oln, info_name="oln")
    for title, entries in sections.items():
        parts.append(f"## {title}\n")
        for name in entries:
            command = oln.get_command(root, name)
            assert command is not None
            parts += _command(command, click.Context(command, info_name=name, parent=root))
    return "\n".join(parts)


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    """A command's part: what it does, its arguments and options, its examples."""
    said, examples = split_help(command)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _command(inner, click.Context(inner, info_name=name, parent=context))
        return
    usage = command.collect_usage_pieces(context)
    yield f"### {context.command_path}\n"
    yield said + "\n"
    words = [piece for piece in usage if piece != "[OPTIONS]"]
    yield f"Usage: `{' '.join([context.command_path, '[OPTIONS]', *words])}`\n"
    rows = list(_options(command, context))
    if rows:
        yield "| option | meaning |\n|---|---|\n" + "\n".join(rows) + "\n"
    yield "```sh\n" + "\n".join(examples) + "\n```\n"


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for param in command.params:
        record = param.get_help_record(context) if isinstance(param, click.Option) else None
        if record is not None:
            option, meaning = (part.replace("|", "\\|") for part in record)
            yield f"| `{option}` | {meaning} |"


def split_help(command: click.Command) -> tuple[str, list[str]]:
    """The text of a command's help, and the command lines of its examples."""
    said, _, shown = inspect.cleandoc(command.help or "").partition("\b\n")
    return said.strip(), [line.strip() for line in shown.splitlines()[1:] if line.strip()]
