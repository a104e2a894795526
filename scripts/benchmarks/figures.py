"""Figures: what one run measured, the median of several runs, and the table and JSON they become.

- A `Figure` is one number of one run, with its unit.
- A `Summary` is the median, least and greatest of the same figure over the runs.
- `GOALS` has the figures that the design sets; a summary that misses its goal is marked, and the
  exit status stays 0: a benchmark reports, it does not judge a machine.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number."""

    work: str
    name: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure should reach: at least (`floor`) or at most (`ceiling`) this much."""

    floor: float | None = None
    ceiling: float | None = None
    least_events: int = 0

    def text(self) -> str:
        if self.floor is not None:
            return f">= {number(self.floor)}"
        return f"<= {number(self.ceiling or 0.0)}"

    def is_met(self, value: float) -> bool:
        if self.floor is not None:
            return value >= self.floor
        return value <= (self.ceiling or 0.0)


GOALS: Final[Mapping[tuple[str, str], Goal]] = {
    ("append-single", "99th percentile"): Goal(ceiling=5.0, least_events=10_000),
    ("read", "ordered read, leaves"): Goal(floor=630_000, least_events=10_000),
    ("verify", "re-verify"): Goal(floor=500_000, least_events=10_000),
    ("disk", "disk over raw bytes"): Goal(ceiling=1.15, least_events=10_000),
    ("proof", "inclusion proof"): Goal(ceiling=1_024),
    ("proof", "checking it"): Goal(ceiling=0.2),
    ("fold", "fold from scratch"): Goal(floor=150_000, least_events=1_000_000),
    ("fold", "peak memory"): Goal(ceiling=400),
    ("epoch-close", "closing the epoch"): Goal(ceiling=1.0),
    ("reopen", "reopening the home"): Goal(ceiling=300),
    ("uses", "record_use"): Goal(floor=500),
    ("start", "oln status"): Goal(ceiling=400),
    ("resting", "processor"): Goal(ceiling=1.0),
    ("resting", "memory"): Goal(ceiling=120),
    ("sync", "empty to all"): Goal(floor=200_000, least_events=1_000_000),
    ("sync", "receiver's peak memory"): Goal(ceiling=150),
    ("sync", "framing"): Goal(ceiling=8, least_events=100_000),
    ("sync", "in-sync check"): Goal(ceiling=5),
    ("sync", "in-sync check, each way"): Goal(ceiling=300),
    ("sync", "1,000 missing, besides events"): Goal(ceiling=4_096 + 8 * 1_000),
    ("sync", "one event to another machine, p99"): Goal(ceiling=250),
    ("mesh", "one event everywhere, p99"): Goal(ceiling=250),
}


@dataclass(frozen=True, slots=True)
class Summary:
    """A figure over several runs."""

    work: str
    name: str
    unit: str
    events: int
    median: float
    least: float
    greatest: float
    runs: int

    @property
    def goal(self) -> Goal | None:
        goal = GOALS.get((self.work, self.name))
        return goal if goal is not None and self.events >= goal.least_events else None

    def as_json(self) -> dict[str, Any]:
        goal = self.goal
        return asdict(self) | {
            "goal": goal.text() if goal else None,
            "goal_met": goal.is_met(self.median) if goal else None,
        }


def summarise(events: int, runs: Iterable[Sequence[Figure]]) -> list[Summary]:
    """Medians of the runs' figures, in the order in which the first run reported them."""
    series: dict[tuple[str, str, str], list[float]] = {}
    for run in runs:
        for figure in run:
            series.setdefault((figure.work, figure.name, figure.unit), []).append(figure.value)
    return [
        Summary(
            work,
            name,
            unit,
            events,
            statistics.median(values),
            min(values),
            max(values),
            len(values),
        )
        for (work, name, unit), values in series.items()
    ]


def number(value: float) -> str:
    """A number for people: thousands separated, or three significant digits below a thousand."""
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    if value == int(value):
        return str(int(value))
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def table(summaries: Sequence[Summary]) -> str:
    """An aligned table, one row a figure, widest column first to last."""
    rows = [("work", "figure", "events", "median", "unit", "least", "greatest", "goal")]
    for summary in summaries:
        goal = summary.goal
        verdict = "" if goal is None else goal.text()
        if goal is not None and not goal.is_met(summary.median):
            verdict += " missed"
        rows.append(
            (
                summary.work,
                summary.name,
                f"{summary.events:,}",
                number(summary.median),
                summary.unit,
                number(summary.least),
                number(summary.greatest),
                verdict,
            )
        )
    to_the_right = {2, 3, 5, 6}
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if column in to_the_right else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the values lie (nearest rank)."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]
