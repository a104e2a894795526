"""The command line of `scripts/simulate`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from scripts.simulation.assembly import NAMED, Meeting, run_meeting
from scripts.simulation.world import Outcome, run_seed
from tests.agreement.model import Model

MODEL_STATES = 20_000_000

PLAYS: dict[str, Callable[..., Outcome]] = {"sync": run_seed, "agreement": run_meeting}


def play_twice(seed: int, *, play: Callable[..., Outcome], count: int) -> Outcome:
    """A seed has to make the same run again, or a failing one could not be looked into."""
    outcome = play(seed, count=count)
    again = play(seed, count=count)
    if again.trace != outcome.trace:
        outcome.problems.append(f"the second run has trace {again.trace}")
    return outcome


def outcomes(
    play: Callable[..., Outcome], wanted: range, nodes: int, jobs: int, *, twice: bool
) -> Iterator[Outcome]:
    """The runs, in the order of their seeds."""
    run = partial(play_twice, play=play, count=nodes) if twice else partial(play, count=nodes)
    if jobs == 1:
        yield from map(run, wanted)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(run, wanted, chunksize=4)


def check_model(states: int) -> int:
    """Every order of the votes of two views, and of three as far as `states` go."""
    failed = 0
    for views, shortened in ((2, False), (3, True), (3, False)):
        began = time.monotonic()
        found = Model(views, shortened=shortened).search(states)
        how = "every state" if found.exhaustive else "as many states as were wanted"
        name = f"{views} views" + (", the last one shortened" if shortened else "")
        verdict = "two values decided" if found.steps else "one value at most"
        seconds = time.monotonic() - began
        print(f"{name}: {verdict}, {found.states:,} states ({how}), {seconds:.0f} s", flush=True)
        failed += found.steps is not None
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        description="Plays whole nodes' cores on simulated disks and links, or checks the vote "
        "rules in every order (model).",
    )
    parser.add_argument("what", nargs="?", choices=[*PLAYS, "model"], default="sync")
    parser.add_argument("--seeds", type=int, default=100, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="S", help="the first seed")
    parser.add_argument("--nodes", type=int, default=7, metavar="N")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes at a time")
    parser.add_argument("--twice", action="store_true", help="each seed twice, to the same trace")
    parser.add_argument("--states", type=int, default=MODEL_STATES, metavar="N", help="of a model")
    given = parser.parse_args()
    if given.what == "model":
        return check_model(given.states)
    began = time.monotonic()
    failed: list[int] = []
    total = Outcome(0)
    epochs, situations = 0, Counter(dict.fromkeys(NAMED, 0))
    wanted = range(given.first, given.first + given.seeds)
    play = PLAYS[given.what]
    runs = outcomes(play, wanted, given.nodes, given.jobs, twice=given.twice)
    for done, outcome in enumerate(runs, 1):
        total.appends += outcome.appends
        total.crashes += outcome.crashes
        total.partitions += outcome.partitions
        total.forks += outcome.forks
        if isinstance(outcome, Meeting):
            epochs += outcome.epochs
            situations.update(outcome.situations)
        for problem in outcome.problems:
            print(f"\rseed {outcome.seed} (trace {outcome.trace}): {problem}", flush=True)
        if outcome.problems:
            failed.append(outcome.seed)
        if sys.stderr.isatty():
            rate = done / (time.monotonic() - began)
            left_s = (given.seeds - done) / rate
            print(
                f"\r{done} of {given.seeds}, {rate:.1f}/s, {left_s:.0f} s left ",
                end="",
                file=sys.stderr,
            )
    seconds = time.monotonic() - began
    print(
        f"{given.seeds} seeds of {given.nodes} nodes in {seconds:.0f} s: "
        f"{total.appends:,} appends, {total.crashes:,} crashes, "
        f"{total.partitions:,} partitions, {total.forks:,} forks; "
        f"{len(failed)} failed" + (f": {failed[:20]}" if failed else "")
    )
    missing = []
    if given.what == "agreement":
        counted = ", ".join(f"{name} {times:,}" for name, times in situations.items())
        print(f"{epochs:,} epochs; what the nodes met: {counted}")
        missing = [name for name, times in situations.items() if not times]
    if missing:
        print(f"never met: {', '.join(missing)}: play more seeds")
    return 1 if failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
