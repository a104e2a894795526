"""The door for errors, the common options, help, and a cheap start."""

from __future__ import annotations

import errno
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

import click
import pytest

from openledger_node.cli import faults
from openledger_node.cli.main import COMMANDS, oln
from openledger_node.cli.progress import Shower
from openledger_node.cli.reference import reference, split_help
from openledger_node.credit.rules import RULES
from openledger_node.ledger import errors
from tests.cli.fakes import Terminal

ROOT: Final = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS: Final = 60

FAULTS: Final[list[tuple[BaseException, int, str, str]]] = [
    (errors.UsageError("m", hint="h"), 2, "usage", "m"),
    (errors.UsageError("m", hint="h", code="bad_id"), 2, "bad_id", "m"),
    (errors.Refused("m", hint="h", code="C1"), 3, "C1", "m"),
    (errors.VerificationFailed("m", hint="h"), 1, "verification_failed", "m"),
    (errors.BadInput("m", hint="h"), 1, "bad_input", "m"),
    (errors.NetworkError("m", hint="h"), 4, "network", "m"),
    (errors.StoreDamaged("m", hint="h"), 5, "store_damaged", "m"),
    (errors.StoreUnavailable("m", hint="h"), 3, "store_unavailable", "m"),
    (OSError(errno.ENOSPC, "No space left"), 3, "no_space", "no space left"),
    (OSError(errno.EROFS, "Read-only", "f"), 3, "read_only", "f: read-only"),
    (PermissionError(errno.EACCES, "Denied", "f"), 2, "bad_file", "f: denied"),
    (IsADirectoryError(errno.EISDIR, "Is a directory", "d"), 2, "bad_file", "d: is a directory"),
    (FileNotFoundError(errno.ENOENT, "No such file", "f"), 2, "bad_file", "f: no such file"),
    (OSError(errno.ELOOP, "Too many links", "f"), 2, "bad_file", "f: too many links"),
    (OSError(errno.EIO, "Input/output error"), 1, "system", "input/output error"),
    (ValueError("first\nsecond"), 1, "internal", "internal fault: ValueError: first"),
    (KeyError(), 1, "internal", "internal fault: KeyError"),
    (RecursionError("too deep"), 1, "internal", "internal fault: RecursionError: too deep"),
    (MemoryError(), 1, "internal", "internal fault: MemoryError"),
]


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


@pytest.mark.parametrize(("error", "status", "code", "message"), FAULTS, ids=repr)
def test_an_error_ends_with_its_status_a_message_and_a_hint(
    terminal: Terminal,
    error: BaseException,
    status: int,
    code: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal.home.faults["status"] = error
    assert terminal.run("status") == status
    plain = capsys.readouterr()
    assert plain.out == ""
    lines = plain.err.splitlines()
    assert lines[0] == f"error: {message}"
    assert lines[1].startswith("hint: ")
    assert len(lines) == 2

    assert terminal.run("status", "--json") == status
    written = capsys.readouterr()
    assert written.err == ""
    shown = json.loads(written.out)["error"]
    assert (shown["code"], shown["message"]) == (code, message)
    assert shown["hint"]


@pytest.mark.parametrize("kind", errors.OlnError.__subclasses__())
def test_an_error_without_a_hint_of_its_own_still_says_what_to_do(
    kind: type[errors.OlnError],
) -> None:
    assert faults.fault_of(kind("m")).hint
    assert faults.fault_of(kind("m", hint="h")).hint == "h"


def test_every_class_of_error_is_in_the_table() -> None:
    listed = {type(error) for error, *_ in FAULTS}
    assert set(errors.OlnError.__subclasses__()) <= listed


@pytest.mark.parametrize("error", [KeyboardInterrupt(), EOFError()])
def test_an_interrupt_ends_quietly_with_130(
    terminal: Terminal, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.home.faults["status"] = error
    assert terminal.run("status") == 130
    assert capsys.readouterr().err.strip() == ""


def test_an_interrupt_takes_the_progress_bar_away(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []
    monkeypatch.setattr(Shower, "close", lambda shower: closed.append(True))
    terminal.home.faults["status"] = KeyboardInterrupt()
    assert terminal.run("status") == 130
    assert closed


def test_an_error_quotes_no_more_than_can_be_read(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.home.faults["status"] = errors.UsageError("no " + "x" * 100_000, hint="h")
    assert terminal.run("status") == 2
    assert capsys.readouterr().err.splitlines()[0].endswith("x... (99,003 more)")


def test_a_file_that_cannot_be_used_gets_a_hint_about_its_path() -> None:
    assert "path" in faults.fault_of(errors.UsageError("m", code="bad_file")).hint


def test_a_reader_that_went_away_ends_quietly(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.home.faults["status"] = BrokenPipeError(errno.EPIPE, "Broken pipe")
    assert terminal.run("status") == 0
    assert capsys.readouterr().err == ""


def test_a_traceback_is_shown_only_when_asked_for(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.home.faults["status"] = ValueError("deep inside")
    terminal.run("status")
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv(faults.DEBUG_VARIABLE, "1")
    terminal.run("status")
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "no command was given"),
        ("statsu", "did you mean 'status'?"),
        ("data ad", "did you mean 'add'?"),
        ("zzzzzz", "no command 'zzzzzz'"),
        ("status --no-such", "No such option"),
        ("status surplus", "unexpected extra argument"),
        ("data add", "Missing argument 'PATH...'"),
        ("data add x", "Missing option '--title'"),
        ("issue 5", "Missing option '--to'"),
        ("issue nan --to ana", "'nan' is not an amount"),
        ("issue -1 --to ana", "an amount is never negative"),
        ("issue 0 --to ana", "it is zero"),
        ("grant ben 5 --expires soon", "'soon' is not an epoch"),
        ("grant ben 5 --expires 9999999999999", "later than"),
        ("grant ben 5 --expires -2", "'-2' is not an epoch"),
        ("redeem", "an amount or --standing"),
        ("redeem 5 --standing", "an amount or --standing"),
        ("redeem 5 --min 1", "--min belongs to --standing"),
        ("payout", "REDEEMs, --all or --reverse"),
        ("payout --all --reverse 5f2c81d0 --out x", "REDEEMs, --all or --reverse"),
        ("payout --all", "payout needs --out"),
        ("use m", "--output or --batch"),
        ("use m --output a --batch b", "--output or --batch"),
        ("use m --batch b --fee 1", "--batch stands alone"),
        ("use m --output no-such-file", "it does not exist"),
        ("attribute no-such-file", "it does not exist"),
        ("log --limit 0", "not in the range"),
        ("log --limit many", "not a whole number"),
        ("statement -1", "a number here is never negative"),
        ("statement x", "'x' is not a whole number"),
        ("statement １", "is not a whole number"),
        ("statement 99999999999999999999", "is not a whole number"),
        ("prove ana -o p --epoch 99999999999999999999", "is not a whole number"),
        ("export e --format xml", "is not one of"),
        ("completion tcsh", "is not one of"),
        ("help no-such", "there is no help on 'no-such'"),
        ("data share 5f2c81d0 --with ana,,", "with whom to share"),
        ("model register m --trained-on 5f2c81d0:0", "not a weight"),
        ("data add x --title t --creator ana", "not a name and a share"),
        ('use m --output - --grant ""', "'--grant' is empty"),
        ('use m --output - --agent " "', "'--agent' is empty"),
        ('use m --output ""', "'--output' is empty"),
        ('attribute - --retrieved ""', "'--retrieved' is empty"),
        ('credits ""', "'[ACCOUNT]' is empty"),
        ('data add x --title ""', "'--title' is empty"),
        ('export ""', "the name of a file is empty"),
        ("use m --output - --key \udcff", "'--key' is not UTF-8 text"),
    ],
)
def test_wrong_usage_is_said_in_one_line_and_ends_with_status_2(
    terminal: Terminal, line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert terminal.run("--json", *shlex.split(line)) == 2
    captured = capsys.readouterr()
    error = json.loads(captured.out)["error"]
    assert message in error["message"]
    assert "\n" not in error["message"]
    assert error["hint"]
    assert [call for call in terminal.home.calls if call[0] != "close"] == []

    assert terminal.run(*shlex.split(line)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("command", ["verify p", "check"])
def test_the_answer_no_ends_with_status_1(
    terminal: Terminal, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import dataclasses

    name = {"verify p": "verify_file", "check": "check"}[command]
    field = {"verify p": "valid", "check": "ok"}[command]
    good = getattr(terminal.home, name)()
    terminal.home.answers[name] = dataclasses.replace(good, **{field: False})
    assert terminal.run("--json", *command.split()) == 1
    assert json.loads(capsys.readouterr().out)[field] is False


def walk(
    command: click.Command, context: click.Context
) -> list[tuple[str, click.Command, click.Context]]:
    """(path, command, context) of every command below and including this one."""
    found = [(context.command_path, command, context)]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            found += walk(inner, click.Context(inner, info_name=name, parent=context))
    return found


EVERY: Final = walk(oln, click.Context(oln, info_name="oln"))


@pytest.mark.parametrize(("path", "command", "context"), EVERY, ids=[path for path, *_ in EVERY])
def test_every_command_has_help_with_an_example_of_itself(
    path: str, command: click.Command, context: click.Context
) -> None:
    said, examples = split_help(command)
    assert said.endswith(".")
    assert examples
    if not isinstance(command, click.Group):
        own = [line for line in examples if path.removeprefix("oln ") in line and "oln" in line]
        assert own == examples
    assert max(map(len, command.get_help(context).splitlines())) <= 100
    for param in command.params:
        if isinstance(param, click.Option):
            assert param.help, (path, param.name)


def test_the_table_s_line_of_help_is_how_each_command_s_help_begins() -> None:
    context = click.Context(oln, info_name="oln")
    for part in COMMANDS.values():
        for name, entry in part.items():
            command = oln.get_command(context, name)
            assert command is not None
            first = " ".join(split_help(command)[0].split())
            assert len(entry.help) <= 60
            assert entry.help.rstrip(".").split()[0] == first.split()[0], name


def test_the_command_reference_is_up_to_date() -> None:
    written = (ROOT / "docs" / "guide" / "commands.md").read_text(encoding="utf-8")
    assert written == reference(), "run: oln help reference > docs/guide/commands.md"


def test_help_rules_prints_every_rule(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    assert terminal.run("help", "rules") == 0
    shown = capsys.readouterr().out
    assert all(f"\n{rule} " in "\n" + shown for rule in RULES)
    terminal.run("--json", "help", "rules")
    document = json.loads(capsys.readouterr().out)
    assert {item["rule"]: item["text"] for item in document["rules"]} == RULES


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["help"], "Usage: oln [OPTIONS]"), (["help", "data", "add"], "Usage: oln data add")],
)
def test_help_shows_a_command_s_help(
    terminal: Terminal, words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert terminal.run(*words) == 0
    assert capsys.readouterr().out.startswith(expected)


def test_the_version_is_shown_both_ways(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    from openledger_node import __version__

    assert terminal.run("--version") == 0
    assert capsys.readouterr().out == f"oln {__version__}\n"
    assert terminal.run("--json", "--version") == 0
    assert json.loads(capsys.readouterr().out) == {"version": __version__}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_names_the_command(
    terminal: Terminal, shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert terminal.run("completion", shell) == 0
    assert "_OLN_COMPLETE" in capsys.readouterr().out


def python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
        env={**os.environ, **variables},
    )


def test_the_shell_completes_commands_and_options() -> None:
    answer = python(
        "-m",
        "openledger_node",
        COMP_WORDS="oln data s",
        COMP_CWORD="2",
        _OLN_COMPLETE="bash_complete",
    )
    assert sorted(answer.stdout.split()) == ["plain,share", "plain,show"]


@pytest.mark.parametrize("words", [["--help"], ["status", "--help"], ["--version"], ["statsu"]])
def test_help_and_wrong_usage_load_no_heavy_module(words: list[str]) -> None:
    program = (
        "import sys\n"
        "from openledger_node.cli.main import run\n"
        f"run({words!r})\n"
        "heavy = {'rich', 'msgspec', 'msgpack', 'cryptography', 'lmdb', 'numpy', 'platformdirs',\n"
        "         'trio', 'structlog', 'openledger_node.api', 'openledger_node.node.results'}\n"
        "print('loaded', sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    assert python("-c", program).stderr.splitlines()[-1] == "loaded []"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_stream_is_as_good_as_an_empty_one(closed: str) -> None:
    line = f'"{sys.executable}" -m openledger_node --version {closed}'
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=ROOT,
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"oln ") == (" >&-" not in " " + closed)


def test_the_module_runs_as_the_command() -> None:
    answer = python("-m", "openledger_node", "--version")
    assert answer.returncode == 0
    assert answer.stdout.startswith("oln ")
