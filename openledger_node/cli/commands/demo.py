"""`demo`: a whole co-operative on this machine, from contribution to proved credit."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from openledger_node.cli import text
from openledger_node.cli.app import App, pass_app
from openledger_node.cli.lazy import OlnCommand
from openledger_node.cli.options import FILE
from openledger_node.ledger.errors import Refused, UsageError

if TYPE_CHECKING:
    from openledger_node.cli.demo.story import Played, Step
    from openledger_node.node.results import Explanation

EXPLAINED_LINES: Final = 16


@click.command(cls=OlnCommand)
@click.option("--keep", type=FILE, metavar="DIR", help="Leave the homes in a new folder DIR.")
@pass_app
def demo(app: App, keep: Path | None) -> None:
    """Play a whole co-operative on this machine, from contribution to proved credit.

    The authors of the documentation that is installed here contribute it; a model is registered as
    trained on it; a reader pays for answers that quote it. Every actor has a home of their own and
    a daemon that runs on it; the daemons link up on loopback. Nothing outside this machine is
    touched.

    \b
    Examples:
      oln demo
      oln demo --keep co-operative
    """
    if keep is not None:
        _play(app, _made(keep), kept=True)
        return
    with tempfile.TemporaryDirectory(prefix="oln-demo-") as folder:
        _play(app, Path(folder), kept=False)


def _made(folder: Path) -> Path:
    """The folder to keep, new or empty."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", hint="name a new folder with --keep")
    if folder.exists() and any(folder.iterdir()):
        raise Refused(f"{folder} is not empty", hint="name a new folder with --keep")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _play(app: App, folder: Path, *, kept: bool) -> None:
    from openledger_node.cli.demo.story import Story, as_document
    from openledger_node.node.results import as_json

    story = Story(app.interface, folder, (lambda step: None) if app.as_json else _say_step)
    played = story.play()
    if app.as_json:
        app.print_json(as_document(played, kept, as_json))
        return
    _show_ending(played)
    if kept:
        _show_exploring(played)


def _say_step(step: Step) -> None:
    text.say(f"{step.step:>2}  {step.who}: {text.one_line(step.what)}")


def _show_ending(played: Played) -> None:
    from openledger_node.cli.commands.proving import show_verified
    from openledger_node.cli.commands.settling import show_credits
    from openledger_node.cli.spans import show_spans

    assert played.credits and played.attributed and played.verified
    assert played.explanation and played.receipt_explanation
    _head("The first answer, and whose words it is made of:")
    show_spans(played.attributed, played.answer)
    _head("Who earned what:")
    show_credits(played.credits)
    _head("Why, for one of them (in brackets the rule, which `oln help rules` prints):")
    _excerpt(played.explanation)
    _head("Why, for the first receipt:")
    _excerpt(played.receipt_explanation)
    _head("What the proof says, to anybody who has the genesis file:")
    show_verified(played.verified)
    text.say(f"forged copy: {played.refusal}")


def _head(line: str) -> None:
    text.say()
    text.say(line)
    text.say()


def _excerpt(explanation: Explanation) -> None:
    lines = list(text.tree_lines(explanation.tree))
    for line in lines[:EXPLAINED_LINES]:
        text.say(line)
    if len(lines) > EXPLAINED_LINES:
        text.say(f"... and {text.counted(len(lines) - EXPLAINED_LINES, 'line')} more")


def _show_exploring(played: Played) -> None:
    folder = played.folder
    text.say()
    text.say("To look around:")
    for line in (
        f"cd {shlex.quote(str(folder))}",
        "oln --home co-op status",
        "oln --home co-op statement",
        f"oln --home co-op explain {text.short(played.receipts[0].receipt_id)}",
        "oln --home co-op log --limit 20",
        "oln --home model-builder attribute answers/answer-1.txt"
        f" --model {text.short(played.model_id)} --explain",
        f"oln verify {_within(played.proof, folder)} --ledger {_within(played.genesis, folder)}",
        "oln --home reader node --listen 127.0.0.1:0",
    ):
        text.say(f"  {line}")


def _within(file: str, folder: Path) -> str:
    return shlex.quote(str(Path(file).relative_to(folder)))
