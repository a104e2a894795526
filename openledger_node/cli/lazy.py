"""Groups and commands of click that load on use, and that take `--home` and `--json` anywhere.

A group is a table: name -> (where the command is, one line of help). Listing the commands reads the
table alone; the module of a command is imported when the command runs, or its own help is shown.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from openledger_node.cli.app import App
from openledger_node.ledger.errors import UsageError

MODULES: Final = "openledger_node.cli.commands."
MAY_BE_EMPTY: Final = frozenset(
    ("licence", "note", "reason", "reference", "description", "license_policy", "topic")
)
"""Options whose text may be empty: it is the same as leaving them out."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A command of a group: `module:attribute` under MODULES, and its one line of help."""

    where: str
    help: str


def _keep_home(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(App).home_given = Path(value)


def _keep_json(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(App).as_json = True


def common_options(hidden: bool) -> list[click.Parameter]:
    """`--home` and `--json`; shown in the help of `oln` itself, understood by every command."""
    return [
        click.Option(
            ["--home"],
            metavar="DIR",
            help="The home to use. [default: $OLN_HOME, else the platform's data folder]",
            expose_value=False,
            callback=_keep_home,
            hidden=hidden,
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            help="Print one JSON document on standard output.",
            expose_value=False,
            callback=_keep_json,
            hidden=hidden,
        ),
    ]


class OlnCommand(click.Command):
    """A command that also takes the common options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params = [*self.params, *common_options(hidden=True)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        for param in self.params:
            given = ctx.params.get(param.name or "")
            for value in given if isinstance(given, tuple) else (given,):
                if isinstance(value, str):
                    _hold_to_text(value, param, ctx)
        return rest


def _hold_to_text(value: str, param: click.Parameter, ctx: click.Context) -> None:
    """Refuses a value that is no text, or is empty where that would mean something else.

    `--grant "$GRANT"` with an unset variable would record a use that nobody pays for.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{param.get_error_hint(ctx)} is not UTF-8 text", hint="write it in UTF-8"
        ) from None
    if not value.strip() and param.name not in MAY_BE_EMPTY:
        raise UsageError(
            f"{param.get_error_hint(ctx)} is empty",
            hint="give a value, or leave it out; is a variable of the shell unset?",
        )


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    command_class = OlnCommand

    def __init__(
        self,
        *args: Any,
        entries: Mapping[str, Mapping[str, Entry]] | None = None,
        hide_common: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.sections = entries or {}
        self.entries = {
            name: entry for part in self.sections.values() for name, entry in part.items()
        }
        self.params = [*self.params, *common_options(hidden=hide_common)]

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.entries, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self.entries.get(cmd_name)
        if entry is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = entry.where.partition(":")
        command = getattr(importlib.import_module(MODULES + module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        known = self.list_commands(ctx)
        if name not in known and not name.startswith("-"):
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"no command {name!r}{meant}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, part in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.help) for name, entry in part.items()])
        if not self.sections:
            super().format_commands(ctx, formatter)


def group(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], click.Group]:
    """A group inside a command module; its commands are functions of that module."""
    return click.group(name, cls=LazyGroup, **attributes)


def names_of(sections: Mapping[str, Mapping[str, Entry]]) -> Sequence[str]:
    return [name for part in sections.values() for name in part]
