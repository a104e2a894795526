"""Fuzzes one decoder of the table, or all of them in turn, with coverage to guide it.

Needs atheris, which is no dependency of the product: `pip install atheris`. What it finds is
written to the folder of the run as `crash-...`; `--check FILE` plays such a file again, and needs
nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from openledger_node.ledger.errors import OlnError
from scripts.fuzzing.decoders import DECODERS

NEEDS_ATHERIS: Final = (
    "fuzz-atheris: atheris is not installed; install it with `pip install atheris`\n"
    "(Linux and macOS). Without it, tests/scripts/test_decoders.py alters the same seeds."
)


class NotOneEncoding(AssertionError):
    """A value was decoded from bytes that are not its encoding."""


def judge(name: str, data: bytes) -> str:
    """What a decoder makes of `data`: "value", or the code of its error. Raises what is a bug."""
    decoder = DECODERS[name]
    try:
        value = decoder.decode(data)
    except OlnError as error:
        return error.code
    if decoder.encode is not None and decoder.encode(value) not in {data, b""}:
        raise NotOneEncoding(f"{name}: {data.hex()}")
    return "value"


def judge_any(data: bytes) -> None:
    """The first byte chooses the decoder."""
    names = list(DECODERS)
    if data:
        judge(names[data[0] % len(names)], data[1:])


def write_seeds(folder: Path, name: str | None) -> int:
    """Puts the valid bytes of the table into the corpus; how many files."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for number, (each, decoder) in enumerate(DECODERS.items()):
        for data in decoder.seeds() if name in {None, each} else []:
            prefix = bytes((number,)) if name is None else b""
            (folder / f"seed-{number:02}-{count:03}").write_bytes(prefix + data)
            count += 1
    return count


def fuzz(name: str | None, corpus: Path, options: Sequence[str]) -> None:
    """Runs libFuzzer until it is stopped or finds something."""
    atheris = import_module("atheris")
    atheris.instrument_all()
    target: Callable[[bytes], object] = judge_any
    if name is not None:
        target = lambda data: judge(name, data)  # noqa: E731
    write_seeds(corpus, name)
    atheris.Setup([sys.argv[0], *options, str(corpus)], target)
    atheris.Fuzz()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="fuzz-atheris", description=(__doc__ or "").strip())
    parser.add_argument("name", nargs="?", help="a decoder of --list; without it, all of them")
    parser.add_argument("--list", action="store_true", help="the decoders there are")
    parser.add_argument("--check", type=Path, metavar="FILE", help="judge this input once")
    parser.add_argument("--corpus", type=Path, default=Path("fuzz-corpus"), metavar="FOLDER")
    given, options = parser.parse_known_args(arguments)
    if given.list:
        print("\n".join(DECODERS))
        return 0
    if given.name is not None and given.name not in DECODERS:
        print(f"fuzz-atheris: there is no decoder {given.name!r}; see --list", file=sys.stderr)
        return 2
    if given.check is not None:
        names = [given.name] if given.name else list(DECODERS)
        for name in names:
            print(f"{name}: {judge(name, given.check.read_bytes())}")
        return 0
    if find_spec("atheris") is None:
        print(NEEDS_ATHERIS, file=sys.stderr)
        return 1
    fuzz(given.name, given.corpus, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
