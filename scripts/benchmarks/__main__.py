"""The command line of `scripts/bench`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.benchmarks.agreeing import DEFAULT_EVENTS as DEFAULT_AGREEMENT_EVENTS
from scripts.benchmarks.agreeing import agreement
from scripts.benchmarks.attribution import DEFAULT_MEGABYTES, DEFAULT_WINDOWS, attribution
from scripts.benchmarks.derivation import DEFAULT_CHAINS, derivation
from scripts.benchmarks.evidence import DEFAULT_USES, evidence
from scripts.benchmarks.hostile import hostile
from scripts.benchmarks.ledger import DEFAULT_EVENTS, DEFAULT_RUNS, ledger
from scripts.benchmarks.meshing import DEFAULT_NODES, mesh
from scripts.benchmarks.peers import DEFAULT_ENTRIES, DEFAULT_REPEATS, peers
from scripts.benchmarks.quoting import quoting
from scripts.benchmarks.resting import DEFAULT_SECONDS, resting
from scripts.benchmarks.syncing import DEFAULT_EVENTS as DEFAULT_SYNC_EVENTS
from scripts.benchmarks.syncing import sync
from scripts.benchmarks.works import WORKS


def positive(text: str) -> int:
    """An integer of at least one; underscores and commas may group its digits."""
    value = int(text.replace(",", ""))
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a folder")
    return path


def _defaults() -> str:
    return ", ".join(f"{events:,}" for events in DEFAULT_EVENTS)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="scripts/bench", description="Measures openledger-node on this machine."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    one = commands.add_parser("ledger", help="logs, credit, homes and commands, on their own")
    one.add_argument(
        "--events",
        type=positive,
        action="append",
        metavar="N",
        help=f"events in the ledger; may be repeated (default: {_defaults()})",
    )
    one.add_argument("--runs", type=positive, default=DEFAULT_RUNS, metavar="R")
    one.add_argument("--only", choices=list(WORKS), action="append", default=[], metavar="NAME")
    one.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    one.add_argument("--dir", type=folder, metavar="DIR", help="where the homes are made")
    two = commands.add_parser("peers", help="the works that other systems are measured by")
    two.add_argument(
        "--suite",
        type=folder,
        metavar="DIR",
        help="the other systems' programs, to run beside ours",
    )
    two.add_argument("--entries", type=positive, default=DEFAULT_ENTRIES, metavar="N")
    two.add_argument("--repeats", type=positive, default=DEFAULT_REPEATS, metavar="R")
    two.add_argument("--dir", type=folder, metavar="DIR", help="where the stores are made")
    three = commands.add_parser("sync", help="two processes that exchange logs on loopback")
    three.add_argument("--events", type=positive, action="append", metavar="N")
    three.add_argument("--runs", type=positive, default=DEFAULT_RUNS, metavar="R")
    three.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    three.add_argument("--dir", type=folder, metavar="DIR", help="where the homes are made")
    four = commands.add_parser("mesh", help="many nodes on this machine, a few links each")
    four.add_argument("--nodes", type=positive, default=DEFAULT_NODES, metavar="N")
    four.add_argument("--runs", type=positive, default=1, metavar="R")
    four.add_argument("--dir", type=folder, metavar="DIR", help="where the homes are made")
    five = commands.add_parser("derivation", help="what a copier of texts gets, by rule R3")
    five.add_argument(
        "--texts",
        type=folder,
        metavar="DIR",
        help="texts named year_owner_....txt (default: the documentation on this machine)",
    )
    five.add_argument(
        "--chain",
        type=positive,
        action="append",
        metavar="N",
        help="anchors that a chain must have; may be repeated",
    )
    five.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    _add_evidence(commands)
    _add_attribution(commands)
    ten = commands.add_parser("quoting", help="who is credited where owners quote each other")
    ten.add_argument(
        "--texts",
        type=folder,
        metavar="DIR",
        help="texts named year_owner_....txt (default: the documentation on this machine)",
    )
    ten.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    commands.add_parser("hostile", help="texts and outputs that were made to be slow")
    eight = commands.add_parser("resting", help="a daemon that has nothing to do")
    eight.add_argument("--seconds", type=positive, default=DEFAULT_SECONDS, metavar="S")
    eight.add_argument("--runs", type=positive, default=1, metavar="R")
    nine = commands.add_parser("agreement", help="four witnesses that decide one large epoch")
    nine.add_argument("--events", type=positive, default=DEFAULT_AGREEMENT_EVENTS, metavar="N")
    nine.add_argument("--runs", type=positive, default=DEFAULT_RUNS, metavar="R")
    nine.add_argument("--dir", type=folder, metavar="DIR", help="where the homes are made")
    return top


def _add_evidence(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    six = commands.add_parser("evidence", help="proofs of spans, and computing a receipt again")
    six.add_argument(
        "--texts",
        type=folder,
        metavar="DIR",
        help="texts to register (default: the documentation on this machine)",
    )
    six.add_argument("--uses", type=positive, default=DEFAULT_USES, metavar="N")
    six.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")


def _add_attribution(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    seven = commands.add_parser("attribution", help="the index: building it, asking it, its size")
    seven.add_argument(
        "--texts",
        type=folder,
        metavar="DIR",
        help="texts to index (default: the documentation and sources on this machine)",
    )
    sizes = ", ".join(str(size) for size in DEFAULT_MEGABYTES)
    seven.add_argument(
        "--megabytes",
        type=positive,
        action="append",
        metavar="N",
        help=f"text to index; may be repeated (default: {sizes})",
    )
    seven.add_argument("--windows", type=positive, default=DEFAULT_WINDOWS, metavar="N")
    seven.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    if given.command == "ledger":
        scales = tuple(given.events or DEFAULT_EVENTS)
        return ledger(scales, given.runs, given.only, given.json, given.dir)
    if given.command == "derivation":
        return derivation(given.texts, tuple(given.chain or DEFAULT_CHAINS), given.json)
    if given.command == "hostile":
        return hostile()
    if given.command == "quoting":
        return quoting(given.texts, given.json)
    if given.command == "evidence":
        return evidence(given.texts, given.uses, given.json)
    if given.command == "attribution":
        sizes = tuple(given.megabytes or DEFAULT_MEGABYTES)
        return attribution(sizes, given.texts, given.windows, given.json)
    if given.command == "agreement":
        return agreement(given.events, given.runs, given.dir)
    if given.command == "resting":
        return resting(given.seconds, given.runs)
    if given.command == "mesh":
        return mesh(given.nodes, given.runs, given.dir)
    if given.command == "sync":
        return sync(tuple(given.events or DEFAULT_SYNC_EVENTS), given.runs, given.json, given.dir)
    return peers(given.suite, given.entries, given.repeats, given.dir)


if __name__ == "__main__":
    sys.exit(main())
