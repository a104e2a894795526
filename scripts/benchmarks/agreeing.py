"""`scripts/bench agreement`: four witnesses on this machine, each a daemon, decide one epoch.

One witness writes all the events of the epoch while the others' daemons run. Times are those that
the votes themselves state, from the moment when a quorum of frontiers was written.

- decided: until a quorum of final votes was written
- first state, last state: until the first and the last of the witnesses has folded and signed it
- witness events: frontiers, proposals, votes and states of the epoch; 4n + 1 in a good one
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from openledger_node.ledger.events import parse_event
from openledger_node.ledger.genesis import quorum
from openledger_node.ledger.kinds import MoneyIssue, parse_body
from openledger_node.store.writer import Draft
from scripts.benchmarks.figures import Figure, summarise
from scripts.benchmarks.homes import append_all
from scripts.benchmarks.ledger import report, say
from scripts.benchmarks.machine import Others, this_machine
from tests.kit.daemons import Town
from tests.kit.seats import begin_together

DEFAULT_EVENTS: Final = 10_000
NAMES: Final = ("ana", "bo", "cy", "di")
EPOCH_MS: Final = 1_000
T0_MS: Final = 5_000

_WITNESS: Final = b"witness."


def votes_of(town: Town, epoch: int) -> dict[str, list[int]]:
    """The times of the witness events of an epoch, by kind, ascending."""
    found: dict[str, list[int]] = {}
    with town.home(NAMES[0]) as home, home.core.store.read() as snapshot:
        for log in snapshot.logs():
            for leaves in snapshot.iter_leaves(log.log_id):
                for leaf in leaves:
                    if _WITNESS not in leaf[:32]:
                        continue
                    event = parse_event(leaf)
                    if getattr(parse_body(event), "epoch", None) == epoch:
                        found.setdefault(event.kind, []).append(event.time_ms)
    return {kind: sorted(times) for kind, times in found.items()}


def one_epoch(place: Path, events: int) -> list[Figure]:
    """Founds a ledger, closes its first epochs, then one with this many events."""
    begin_together(place, list(NAMES), epoch_ms=EPOCH_MS, t0_ms=T0_MS)
    with Town(place) as town:
        for index, name in enumerate(NAMES):
            town.start(name, *NAMES[:index])
        town.until(lambda: town.status(NAMES[0]).epoch >= 1, "the first epoch")
        with town.home(NAMES[0]) as home:
            core = home.core
            made = [
                Draft("money.issue", MoneyIssue(core.account_id, number, ""), core.clock_ms())
                for number in range(1, events + 1)
            ]
            append_all(core, made)

        def all_are_final() -> bool:
            with town.home(NAMES[0]) as home, home.core.store.read() as snapshot:
                log = home.core.writer().log_id
                mark = snapshot.cut_mark(log)
                return mark is not None and mark.size > events

        town.until(all_are_final, "the events are final")
        town.until(lambda: len({town.statement(name) for name in NAMES}) == 1, "one statement")
        with town.home(NAMES[0]) as home, home.core.store.read() as snapshot:
            last = snapshot.last_epoch()
            largest = max(range(1, last + 1), key=lambda at: snapshot.must_epoch(at).events)
            size = snapshot.must_epoch(largest).events
        town.until(
            lambda: len(votes_of(town, largest).get("witness.state", [])) == len(NAMES),
            "every witness signed the statement",
        )
        votes = votes_of(town, largest)
    q = quorum(len(NAMES))
    began = votes["witness.frontier"][q - 1]
    counted = Counter({kind: len(times) for kind, times in votes.items()})
    return [
        Figure("agreement", "events", size, ""),
        Figure("agreement", "decided", votes["witness.final"][q - 1] - began, "ms"),
        Figure("agreement", "first state", votes["witness.state"][0] - began, "ms"),
        Figure("agreement", "last state", votes["witness.state"][-1] - began, "ms"),
        Figure("agreement", "witness events", counted.total(), ""),
    ]


def agreement(events: int, runs: int, place: Path | None) -> int:
    """Measures and prints the table; the exit status."""
    machine, others = this_machine(place or Path(tempfile.gettempdir())), Others()
    taken = []
    for run in range(1, runs + 1):
        with tempfile.TemporaryDirectory(prefix="oln-bench-", dir=place) as made:
            taken.append(one_epoch(Path(made), events))
        say(f"run {run} of {runs}")
    print(report(machine, runs, others.cores(), summarise(events, taken)))
    return 0
