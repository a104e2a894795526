"""The one door for errors: every exception becomes an exit status and a text with a hint.

| what was raised | exit status |
|---|---|
| `OlnError` | the class's own, 1 to 5 |
| a wrong command line | 2 |
| the operating system's refusal of a file | 2; 3 when the disk is full or read-only |
| the reader of standard output went away | 0, quietly |
| an interrupt | 130, quietly |
| anything else, a fault of this program | 1, code `internal` |

No traceback is shown, unless `OLN_DEBUG=1`.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from dataclasses import dataclass, replace
from typing import Final

import click

from openledger_node.cli.text import printable
from openledger_node.ledger import errors
from openledger_node.ledger.errors import OlnError

DEBUG_VARIABLE: Final = "OLN_DEBUG"
MAX_SHOWN_CHARS: Final = 1_000
"""Of a message: what it quotes can be as long as a command line."""
INTERRUPTED: Final = 130
_SURROUNDINGS: Final = {
    errno.ENOSPC: ("no_space", "free some space and try again; what was stored is kept"),
    errno.EDQUOT: ("no_space", "free some space and try again; what was stored is kept"),
    errno.EROFS: ("read_only", "name a place that can be written"),
}
_FILES: Final = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EISDIR: "name a file, not a folder",
    errno.EEXIST: "name a new file",
    errno.EACCES: "check who may read and write it",
    errno.EPERM: "check who may read and write it",
    errno.ELOOP: "its links form a loop; name the file itself",
    errno.ENAMETOOLONG: "choose a shorter name",
}
_BY_CODE: Final = {"bad_file": "check the path, and that it names a readable file"}
_HINTS: Final[tuple[tuple[type[OlnError], str], ...]] = (
    (errors.UsageError, "`oln help COMMAND` shows how a command is used"),
    (errors.Refused, "`oln help rules` has the rules, `oln status` shows where this home stands"),
    (errors.StoreDamaged, "run `oln check`"),
    (errors.StoreUnavailable, "nothing was changed; see to the cause and try again"),
    (errors.NetworkError, "try again later"),
    (OlnError, "ask whoever gave it to you for it again"),
)
"""What to do next where an error does not say it itself, by class; the first that fits."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What the user sees of an error."""

    status: int
    code: str
    message: str
    hint: str


def fault_of(error: BaseException) -> Fault:
    """Status, code, message and hint of anything that a command raised."""
    if isinstance(error, OlnError):
        by_class = next(hint for kind, hint in _HINTS if isinstance(error, kind))
        hint = error.hint or _BY_CODE.get(error.code, by_class)
        return Fault(error.exit_status, error.code, error.message, hint)
    if isinstance(error, click.ClickException):
        return _usage_fault(error)
    if isinstance(error, OSError) and error.errno is not None:
        return _system_fault(error)
    said = str(error).partition("\n")[0]
    name = type(error).__name__
    return Fault(
        1,
        "internal",
        f"internal fault: {name}: {said}" if said else f"internal fault: {name}",
        f"this is a fault of the program: report what the command prints with {DEBUG_VARIABLE}=1",
    )


def _usage_fault(error: click.ClickException) -> Fault:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "oln"
    message = error.format_message().rstrip(".")
    if isinstance(error, click.NoSuchOption) and error.option_name[1:2].isdigit():
        said = f"{error.option_name!r} is no option, and"
        takes = context.command.params if context is not None else []
        if any(param.name == "amount" for param in takes):
            hint = "write credits with up to 6 decimals, as in 12.5"
            return Fault(2, "bad_amount", f"{said} an amount is never negative", hint)
        return Fault(2, "usage", f"{said} a number here is never negative", f"see `{path} --help`")
    return Fault(2, "usage", message, f"see `{path} --help`")


def _system_fault(error: OSError) -> Fault:
    number = error.errno or 0
    said = (error.strerror or "the system refused it").lower()
    place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    message = f"{place}: {said}" if place else said
    if number in _SURROUNDINGS:
        code, hint = _SURROUNDINGS[number]
        return Fault(3, code, message, hint)
    if number in _FILES:
        return Fault(2, "bad_file", message, _FILES[number])
    return Fault(1, "system", message, "try again, or check the disk and the folder")


def report(fault: Fault, as_json: bool) -> None:
    """One JSON document on standard output, or lines on standard error."""
    fault = replace(fault, message=_shortened(fault.message))
    if as_json and _print_json(fault):
        return
    print(f"error: {printable(fault.message)}", file=sys.stderr)
    if fault.hint:
        print(f"hint: {printable(fault.hint)}", file=sys.stderr)


def _shortened(message: str) -> str:
    left_out = len(message) - MAX_SHOWN_CHARS
    return f"{message[:MAX_SHOWN_CHARS]}... ({left_out:,} more)" if left_out > 0 else message


def _print_json(fault: Fault) -> bool:
    """Whether standard output took the document; it may be what failed."""
    error = {"code": fault.code, "message": fault.message, "hint": fault.hint}
    try:
        print(json.dumps({"error": error}), flush=True)
    except OSError:
        return False
    return True


def debugging() -> bool:
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


def open_standard_streams() -> None:
    """Gives a process that was started without a standard stream an empty one.

    Else the next file to be opened would take its number, and be printed into.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def finish_standard_output() -> None:
    """Writes what is buffered; what cannot be written goes nowhere, also at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
