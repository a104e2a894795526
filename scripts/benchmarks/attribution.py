"""The index on real text at several sizes, and infini-gram beside it: one table, one column a size.

Each size is a process of its own, so that its peak of memory is its own. All sizes take the same
text, the larger ones more of it. Goals are those of the design for 100 MB on one core; a figure
that misses one is marked, and the exit status stays 0.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from scripts.benchmarks import infini
from scripts.benchmarks.figures import Goal, number
from scripts.benchmarks.machine import Others, this_machine

DEFAULT_MEGABYTES: Final = (1, 10, 100)
DEFAULT_WINDOWS: Final = 100_000
GOAL_MEGABYTES: Final = 100
LEAST_PART_OF_SIZE: Final = 0.95
OURS: Final = "attribution"
GOALS: Final = {
    "build, tokenising included": Goal(floor=10),
    "build, peak memory": Goal(ceiling=600),
    "index over tokens": Goal(ceiling=13),
    "query, all in scope: median": Goal(ceiling=25),
    "query, all in scope: 95 %": Goal(ceiling=50),
    "query, a third in scope: median": Goal(ceiling=25),
    "query, a third in scope: 95 %": Goal(ceiling=50),
    "1 MB more, until it is searchable": Goal(ceiling=1),
    "windows with a token missed": Goal(ceiling=0),
    "planted: token accuracy": Goal(floor=0.97),
    "planted: precision": Goal(floor=0.96),
    "planted: total variation": Goal(ceiling=0.04),
}

Row = tuple[str, str, str]
"""(work, figure, unit)."""


def attribution(
    sizes: Sequence[int], folder: Path | None, window_count: int, json_file: Path | None
) -> int:
    """Prints the table; RuntimeError when a run fails."""
    print(this_machine(Path.cwd()).text())
    forms = list(infini.FORMS) if infini.is_installed() else []
    if not forms:
        print("infini-gram is not installed here: nothing to compare with")
    others = Others()
    found: dict[Row, dict[int, float]] = {}
    where = str(folder.resolve()) if folder is not None else ""
    for size in sizes:
        print(f"{size} MB ...", file=sys.stderr, flush=True)
        windows = window_count if size == max(sizes) else min(window_count, 2_000)
        _take(found, size, "indexing_run", str(size), where, str(windows))
        for form in forms:
            print(f"{size} MB, infini-gram on {form} ...", file=sys.stderr, flush=True)
            _take(found, size, "infini", str(size), where, form)
    busy = others.cores()
    if busy is not None:
        print(f"other processes used {busy:.2f} cores meanwhile")
    print(table(found, sizes))
    for line in remarks(found, sizes):
        print(line)
    if json_file is not None:
        shown = [
            {"work": work, "figure": name, "unit": unit, "megabytes": size, "value": value}
            for (work, name, unit), values in found.items()
            for size, value in values.items()
        ]
        json_file.write_text(json.dumps(shown, indent=1) + "\n", encoding="utf-8")
    return 0


def _take(found: dict[Row, dict[int, float]], size: int, module: str, *arguments: str) -> None:
    program = [sys.executable, "-m", f"scripts.benchmarks.{module}", *arguments]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(program)}: {done.stdout}{done.stderr}")
    figures: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    for item in figures:
        found.setdefault((item["work"], item["name"], item["unit"]), {})[size] = item["value"]


def table(found: dict[Row, dict[int, float]], sizes: Sequence[int]) -> str:
    """One row a figure, one column a size, and the goal at GOAL_MEGABYTES."""
    rows = [("work", "figure", "unit", *(f"{size} MB" for size in sizes), "goal")]
    for (work, name, unit), values in found.items():
        goal = GOALS.get(name) if work == OURS else None
        verdict = "" if goal is None else goal.text()
        if goal is not None and GOAL_MEGABYTES in values:
            verdict += "" if goal.is_met(values[GOAL_MEGABYTES]) else " missed"
        shown = [number(values[size]) if size in values else "" for size in sizes]
        rows.append((work, name, unit, *shown, verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    numbers = range(3, 3 + len(sizes))
    return "\n".join(
        "  ".join(
            text.rjust(width) if column in numbers else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def remarks(found: dict[Row, dict[int, float]], sizes: Sequence[int]) -> list[str]:
    """Where there was less text than asked for, and how infini-gram compares at the largest."""
    said = []
    texts = found.get((OURS, "text", "MB"), {})
    for size in sizes:
        if texts.get(size, size) < LEAST_PART_OF_SIZE * size:
            said.append(f"only {texts[size]:.1f} MB of text were found for {size} MB")
    largest = max(sizes)
    ours = {name: values[largest] for (work, name, _), values in found.items() if work == OURS}
    for form in infini.FORMS:
        theirs = {
            name: values[largest]
            for (work, name, _), values in found.items()
            if work == f"infini-gram on {form}" and largest in values
        }
        if theirs and "build, tokenising included" in ours:
            build = ours["build, tokenising included"] / theirs["build, tokenising excluded"]
            query = theirs["query: median"] / ours["query, all in scope: median"]
            said.append(
                f"beside infini-gram on {form} at {largest} MB: build {build:.1f} x as fast, "
                f"query {query:.1f} x"
            )
    return said
