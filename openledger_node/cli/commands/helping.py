"""`help`, `completion`: help for a command, the reward rules, and what a shell needs."""

from __future__ import annotations

from typing import Final

import click

from openledger_node.cli import text
from openledger_node.cli.app import App, pass_app
from openledger_node.cli.lazy import OlnCommand
from openledger_node.ledger.errors import UsageError

SHELLS: Final = ("bash", "zsh", "fish")
COMPLETION_VARIABLE: Final = "_OLN_COMPLETE"
RULES_TOPIC: Final = "rules"
REFERENCE_TOPIC: Final = "reference"


@click.command("help", cls=OlnCommand)
@click.argument("topic", nargs=-1)
@click.pass_context
def help_command(ctx: click.Context, topic: tuple[str, ...]) -> None:
    """Show help for a command, or the reward rules with their numbers.

    `rules` prints the rules, `reference` the help of all commands as one Markdown document.

    \b
    Examples:
      oln help rules
      oln help data add
    """
    app = ctx.ensure_object(App)
    if topic == (RULES_TOPIC,):
        from openledger_node.credit.rules import RULES

        document = {"rules": [{"rule": rule, "text": said} for rule, said in RULES.items()]}
        app.emit(document, lambda _: text.table(("rule", "what it says"), list(RULES.items())))
        return
    if topic == (REFERENCE_TOPIC,):
        from openledger_node.cli.reference import reference

        shown = reference().rstrip("\n")
    else:
        shown = help_text(ctx.find_root(), topic)
    app.emit({"help": shown}, lambda _: print(shown))


def help_text(root: click.Context, topic: tuple[str, ...]) -> str:
    """The help of the command that `topic` names, word by word from `oln`."""
    context, command = root, root.command
    for word in topic:
        found = command.get_command(context, word) if isinstance(command, click.Group) else None
        if found is None:
            raise UsageError(
                f"there is no help on {' '.join(topic)!r}",
                hint=f"topics: {RULES_TOPIC}, {REFERENCE_TOPIC}, and what `oln --help` lists",
            )
        command, context = found, click.Context(found, info_name=word, parent=context)
    return command.get_help(context)


@click.command(cls=OlnCommand)
@click.argument("shell", type=click.Choice(SHELLS))
@pass_app
@click.pass_context
def completion(ctx: click.Context, app: App, shell: str) -> None:
    """Print the completion script of a shell, to be read by its start-up file.

    \b
    Examples:
      eval "$(oln completion bash)"
      oln completion fish
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    script = made(ctx.find_root().command, {}, "oln", COMPLETION_VARIABLE).source()
    app.emit({"shell": shell, "script": script}, lambda _: print(script))
