"""Text that comes from a file or from standard input: bounded, text, and never empty.

Every refusal names the file and what is wrong with it. Links are followed; a loop of them is an
error like any other.
"""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from openledger_node.cli.values import parse_amount
from openledger_node.ledger.errors import UsageError

STANDARD_INPUT: Final = "-"
MAX_OUTPUT_BYTES: Final = 64 * 2**20
"""The most that `limits.output_bytes` can be set to; a home may allow less."""
MAX_BATCH_LINE_BYTES: Final = 8 * 2**20
MAX_BATCH_LINES: Final = 1_000_000
_BATCH_KEYS: Final = frozenset(["output", "grant", "fee", "fee_micro", "agent", "retrieved", "key"])
_FAULTS: Final = {
    errno.ENOENT: "it does not exist",
    errno.ENOTDIR: "a part of its path is not a folder",
    errno.EISDIR: "it is a folder",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ELOOP: "its links form a loop",
    errno.ENAMETOOLONG: "its name is too long",
}


def read_output(name: str) -> bytes:
    """The text of a model's output: UTF-8, not empty, at most MAX_OUTPUT_BYTES."""
    shown = "standard input" if name == STANDARD_INPUT else name
    data = _read(name, shown, MAX_OUTPUT_BYTES)
    if not data:
        raise bad_file(shown, "it is empty", "an output is the text that a model gave")
    require_text(data, shown)
    return data


def require_text(data: bytes, shown: str) -> None:
    """Refuses bytes that are not text, and says where."""
    place = data.find(b"\0")
    if place >= 0:
        raise bad_file(shown, f"it is not text: byte {place:,} is zero", "give a text file")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise bad_file(
            shown, f"it is not UTF-8: byte {error.start:,} is wrong", "convert it to UTF-8"
        ) from None


def bad_file(shown: str, fault: str, hint: str) -> UsageError:
    return UsageError(f"cannot use {shown}: {fault}", hint=hint, code="bad_file")


def _read(name: str, shown: str, limit_bytes: int) -> bytes:
    if name == STANDARD_INPUT:
        data = sys.stdin.buffer.read(limit_bytes + 1)
    else:
        with open_file(name) as file:
            data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise bad_file(shown, f"it has more than {limit_bytes:,} bytes", "split it")
    return data


def open_file(name: str) -> BinaryIO:
    """Opens a file that the user named. UsageError says why it cannot be read."""
    try:
        return Path(name).open("rb")
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) else None
        fault = _FAULTS.get(number or 0, str(getattr(error, "strerror", None) or error))
        raise bad_file(name, fault, "check the path, and that it names a readable file") from None


def read_batch(name: str) -> Iterator[Mapping[str, Any]]:
    """The uses in a JSONL file, one object a line, checked as they are read.

    Keys: `output` (text), and where they apply `grant`, `fee` (credits as text) or `fee_micro`,
    `agent`, `retrieved` (ids), `key`. Every error names its line.
    """
    shown = "standard input" if name == STANDARD_INPUT else name
    file = sys.stdin.buffer if name == STANDARD_INPUT else open_file(name)
    with file:
        number = 0
        while line := file.readline(MAX_BATCH_LINE_BYTES + 1):
            number += 1
            if number > MAX_BATCH_LINES:
                raise bad_file(shown, f"it has more than {MAX_BATCH_LINES:,} lines", "split it")
            if len(line) > MAX_BATCH_LINE_BYTES:
                fault = f"line {number} has more than {MAX_BATCH_LINE_BYTES:,} bytes"
                raise bad_file(shown, fault, "one JSON object a line")
            if line.strip():
                yield _batch_line(line, f"{shown}, line {number}")
        if number == 0:
            raise bad_file(shown, "it is empty", "one JSON object a line")


def _batch_line(line: bytes, where: str) -> dict[str, Any]:
    hint = 'as in {"output": "the text", "grant": "ID", "fee": "0.5"}'
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise bad_file(where, "it is not JSON", hint) from None
    if not isinstance(found, dict):
        raise bad_file(where, "it is not a JSON object", hint)
    unknown = sorted(set(found) - _BATCH_KEYS)
    if unknown:
        raise bad_file(where, f"it has an unknown key {unknown[0]!r}", hint)
    output = found.get("output")
    if not isinstance(output, str) or not output:
        raise bad_file(where, "it has no text under the key 'output'", hint)
    retrieved = found.get("retrieved") or []
    if not isinstance(retrieved, list) or not all(isinstance(item, str) for item in retrieved):
        raise bad_file(where, "'retrieved' is not a list of ids", hint)
    for key in ("grant", "agent", "key"):
        if not isinstance(found.get(key), str | None):
            raise bad_file(where, f"{key!r} is not text", hint)
    return {
        "output": output,
        "grant": found.get("grant"),
        "fee_micro": _fee_micro(found, where, hint),
        "agent": found.get("agent"),
        "retrieved": retrieved,
        "key": found.get("key"),
    }


def _fee_micro(found: Mapping[str, Any], where: str, hint: str) -> int:
    fee_micro = found.get("fee_micro", 0)
    if "fee" in found:
        if "fee_micro" in found or not isinstance(found["fee"], str):
            raise bad_file(where, "'fee' is credits as text, and stands without 'fee_micro'", hint)
        try:
            return parse_amount(found["fee"], zero=True)
        except UsageError as error:
            raise bad_file(where, error.message, error.hint) from None
    if type(fee_micro) is not int or fee_micro < 0:
        raise bad_file(where, "'fee_micro' is not a whole number of micro-credits", hint)
    return fee_micro
