"""The command line of `scripts/simulate`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from scripts.simulation.world import Outcome, run_seed


def outcomes(first: int, seeds: int, nodes: int, jobs: int) -> Iterator[Outcome]:
    """The runs, in the order of their seeds."""
    wanted = range(first, first + seeds)
    if jobs == 1:
        yield from map(partial(run_seed, count=nodes), wanted)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(partial(run_seed, count=nodes), wanted, chunksize=4)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        description="Plays whole nodes' cores on simulated disks and links.",
    )
    parser.add_argument("--seeds", type=int, default=100, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="S", help="the first seed")
    parser.add_argument("--nodes", type=int, default=7, metavar="N")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes at a time")
    given = parser.parse_args()
    began = time.monotonic()
    failed: list[int] = []
    total = Outcome(0)
    for done, outcome in enumerate(outcomes(given.first, given.seeds, given.nodes, given.jobs), 1):
        total.appends += outcome.appends
        total.crashes += outcome.crashes
        total.partitions += outcome.partitions
        total.forks += outcome.forks
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
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
