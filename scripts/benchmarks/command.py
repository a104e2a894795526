"""Starting the command: `oln` as a process of its own, from its start to its end.

The kernel has read the files before: what is timed is the interpreter, the imports and the work of
the command, not the disk.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from scripts.benchmarks.figures import Figure
from scripts.benchmarks.works import MIXED_HOME, Scale

STARTS: Final = 7


def oln(*arguments: str) -> list[str]:
    """The command line that runs `oln` of this interpreter's environment."""
    installed = Path(sys.executable).with_name("oln")
    program = [str(installed)] if installed.exists() else [sys.executable, "-m", "openledger_node"]
    return [*program, *arguments]


def process_ms(command: Sequence[str]) -> float:
    """The median of several runs of a command, in milliseconds; an error when one fails."""
    lasted = []
    for _ in range(STARTS):
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
        lasted.append((time.perf_counter() - began) * 1e3)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return statistics.median(lasted)


def start(scale: Scale) -> list[Figure]:
    home = str(scale.home(MIXED_HOME))
    return [
        Figure("start", "python alone", process_ms([sys.executable, "-c", "pass"]), "ms"),
        Figure("start", "oln --version", process_ms(oln("--version")), "ms"),
        Figure("start", "oln status", process_ms(oln("--home", home, "status")), "ms"),
    ]
