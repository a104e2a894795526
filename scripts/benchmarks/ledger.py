"""`scripts/bench ledger`: every work at every scale, each run in a process of its own.

Homes are made in a fresh folder and deleted afterwards. A work that fails says so and the others go
on; the command then ends with status 1.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from scripts.benchmarks.figures import Figure, Summary, summarise, table
from scripts.benchmarks.machine import Machine, Others, this_machine
from scripts.benchmarks.works import WORKS, Scale, WorkFailed, run_child

DEFAULT_EVENTS: Final = (10_000, 100_000, 1_000_000)
DEFAULT_RUNS: Final = 3
QUIET_CORES: Final = 0.15
"""More than this in other processes' hands, and the figures are not the machine's."""


def run_once(work: str, scale: Scale) -> list[Figure]:
    """One run of one work in a child process."""
    return [Figure(**item) for item in json.loads(run_child(work, scale))]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure(
    works: Sequence[str], events: int, runs: int, place: Path
) -> tuple[list[Summary], list[str]]:
    """The summaries of one scale, and what failed."""
    summaries: list[Summary] = []
    failures: list[str] = []
    for work in works:
        taken: list[list[Figure]] = []
        for run in range(1, runs + 1):
            began = time.monotonic()
            try:
                taken.append(run_once(work, Scale(events, place)))
            except WorkFailed as error:
                failures.append(f"{work} at {events:,} events: {error}")
                last_line = str(error).rstrip().rpartition("\n")[2]
                say(f"{events:>9,} events  {work:<15} FAILED: {last_line}")
                break
            lasted = time.monotonic() - began
            say(f"{events:>9,} events  {work:<15} run {run} of {runs}  {lasted:6.1f} s")
        summaries += summarise(events, taken)
    return summaries, failures


def report(
    machine: Machine, runs: int, foreign_cores: float | None, summaries: Sequence[Summary]
) -> str:
    """What people read: the machine, how busy it was otherwise, then the table."""
    how = f"median of {runs} runs"
    if foreign_cores is not None:
        how += f"; other processes used {foreign_cores:.2f} cores meanwhile"
        if foreign_cores > QUIET_CORES:
            how += ": the figures are lower than this machine's"
    return f"{machine.text()}\n{how}\n\n{table(summaries)}"


def ledger(
    scales: Sequence[int],
    runs: int,
    only: Sequence[str],
    json_file: Path | None,
    place: Path | None,
) -> int:
    """Measures, prints the table, writes the JSON; the exit status."""
    works = [work for work in WORKS if not only or work in only]
    root = Path(tempfile.mkdtemp(prefix="oln-bench-", dir=place))
    try:
        machine, others = this_machine(root), Others()
        if not machine.is_durable:
            say(f"note: {root} is on {machine.file_system}: durable figures mean nothing there")
        summaries: list[Summary] = []
        failures: list[str] = []
        for events in scales:
            of_scale = root / str(events)
            of_scale.mkdir()
            found, failed = measure(works, events, runs, of_scale)
            summaries += found
            failures += failed
            shutil.rmtree(of_scale)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    foreign_cores = others.cores()
    print(report(machine, runs, foreign_cores, summaries))
    if json_file is not None:
        document = {
            "machine": asdict(machine),
            "runs": runs,
            "foreign_cores": foreign_cores,
            "figures": [summary.as_json() for summary in summaries],
            "failures": failures,
        }
        json_file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 1 if failures else 0
