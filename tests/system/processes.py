"""Runs `oln` as a process of its own, as a user's shell would; or quicker, within this one."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from openledger_node.cli.app import App
from openledger_node.cli.main import run

ROOT: Final = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS: Final = 120


@dataclass(frozen=True, slots=True)
class Answer:
    """What a process ended with."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        return self.document["error"]


def oln(
    *arguments: str | Path,
    folder: Path,
    feed: bytes = b"",
    variables: Mapping[str, str] | None = None,
) -> Answer:
    """Runs one command line in `folder`; its status and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "openledger_node", *map(str, arguments)],
        cwd=folder,
        input=feed,
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", **(variables or {})},
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())


def in_process(*arguments: str | Path, folder: Path) -> Answer:
    """Runs one command line in `folder` within this process: the same door, no new interpreter."""
    out, err = io.StringIO(), io.StringIO()
    printing = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with contextlib.chdir(folder), printing[0], printing[1]:
        status = run([str(argument) for argument in arguments], App())
    return Answer(status, out.getvalue(), err.getvalue())


def must(*arguments: str | Path, folder: Path, runner: Callable[..., Answer] = oln) -> Any:
    """Runs a command with --json that has to succeed; its document."""
    answer = runner("--json", *arguments, folder=folder)
    assert answer.status == 0, f"{arguments}: {answer.out}{answer.err}"
    assert answer.err == ""
    return answer.document
