"""Makes the vectors of derivation: `python -m tests.vectors.make_derivation`.

A text is its pieces [name, first, count]: the words name + number, from `first` on. The n-th
contribution of a case has the id of 32 bytes that is n big-endian, and so has the n-th account;
each declares the map that it has by R3, unless it is listed under `undeclared`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from openledger_node.attribution.derivation import Subject, derive
from openledger_node.attribution.derivation_map import (
    MapEntry,
    encode_map,
    map_root,
    prove_entry,
    tokens_by_source,
)
from openledger_node.attribution.redirect import HeldMap, Redirect, resolve
from openledger_node.attribution.scope import LedgerOrder, ScopeDocument
from openledger_node.ledger.encoding import encode

FILE: Final = Path(__file__).resolve().parent / "derivation.json"

Piece = tuple[str, int, int]
Text = list[Piece]
Case = dict[str, Any]
"""contributions: [(account, epoch, [text, ...])], in ledger order; undeclared: their numbers."""


def text_of(pieces: Text) -> list[bytes]:
    """The tokens of a text."""
    return [b"%s%d" % (name.encode(), n) for name, a, count in pieces for n in range(a, a + count)]


def edited(every: int, count: int = 600) -> Text:
    """`a` with a word put in after each so-many-th, or in place of it."""
    pieces: Text = []
    for number, first in enumerate(range(0, count, every)):
        pieces += [("a", first, every - number % 2), ("edit", number, 1)]
    return pieces


A: Final[Text] = [("a", 0, 600)]
OTHER: Final[Text] = [("b", 0, 600)]

CASES: Final[dict[str, Case]] = {
    "a copy": {"contributions": [(1, 1, [A]), (2, 2, [A])]},
    "a copy in one epoch": {"contributions": [(1, 1, [A]), (2, 1, [A])]},
    "a copy of one's own": {"contributions": [(1, 1, [A]), (1, 2, [A])]},
    "an edited copy": {"contributions": [(1, 1, [A]), (2, 2, [edited(20)])]},
    "a padded copy": {
        "contributions": [(1, 1, [A]), (2, 2, [[("x", 0, 1000), *A, ("x", 1000, 900)]])]
    },
    "a collage": {
        "contributions": [
            (1, 1, [A]),
            (2, 1, [OTHER]),
            (3, 2, [[(n, 60 * i, 60) for i in range(8) for n in "ab"]]),
        ]
    },
    "ten grams": {"contributions": [(1, 1, [A]), (2, 2, [[("x", 0, 100), ("a", 9, 14)]])]},
    "nine grams": {"contributions": [(1, 1, [A]), (2, 2, [[("x", 0, 100), ("a", 9, 13)]])]},
    "a quarter of a small document": {
        "contributions": [(1, 1, [A]), (2, 2, [[("x", 0, 8), ("a", 9, 8)]])]
    },
    "a gap of forty": {
        "contributions": [(1, 1, [A]), (2, 2, [[("a", 0, 50), ("x", 0, 40), ("a", 50, 50)]])]
    },
    "a gap of forty-one": {
        "contributions": [(1, 1, [A]), (2, 2, [[("a", 0, 50), ("x", 0, 41), ("a", 50, 50)]])]
    },
    "in another order": {
        "contributions": [(1, 1, [A]), (2, 2, [[("a", 50, 50), ("x", 0, 3), ("a", 0, 50)]])]
    },
    "a refrain": {
        "contributions": [
            (1, 1, [[("a", 0, 40), ("r", 0, 20), ("a", 40, 40), ("r", 0, 20), ("a", 80, 40)]]),
            (2, 2, [[("a", 40, 40), ("r", 0, 20), ("a", 80, 40)]]),
        ]
    },
    "equal votes": {"contributions": [(1, 1, [A]), (2, 1, [A, A]), (3, 2, [A])]},
    "the fuller document": {
        "contributions": [(1, 1, [[("a", 0, 40)], [("a", 0, 90)]]), (2, 2, [[("a", 0, 90)]])]
    },
    "two documents over blocks": {
        "contributions": [
            (1, 1, [[("a", 0, 700)]]),
            (2, 2, [[("x", 0, 506), ("a", 0, 12), ("x", 506, 9)], [], [("a", 30, 600)]]),
        ]
    },
    "a copy of a copy": {
        "contributions": [
            (1, 1, [A]),
            (2, 2, [[*OTHER, *edited(20)]]),
            (3, 3, [[("b", 300, 300), *edited(20, 300)]]),
        ]
    },
    "a copy of an undeclared copy": {
        "contributions": [(1, 1, [A]), (2, 2, [edited(20)]), (3, 3, [edited(20)])],
        "undeclared": [2],
    },
    "the author's next edition after a theft": {
        "contributions": [(1, 1, [A]), (2, 2, [A]), (1, 3, [[*A, ("a", 600, 50)]])],
        "undeclared": [2],
    },
}


def number_id(number: int) -> bytes:
    return number.to_bytes(32, "big")


def row(entry: MapEntry) -> list[Any]:
    return [
        entry.document,
        entry.start,
        entry.length,
        int.from_bytes(entry.contribution, "big"),
        entry.source_document,
        entry.source_token,
    ]


def made(name: str) -> dict[str, Any]:
    """A case with the map of its last contribution."""
    case = CASES[name]
    undeclared = case.get("undeclared", [])
    documents: list[ScopeDocument] = []
    orders: dict[bytes, LedgerOrder] = {}
    maps: list[HeldMap] = []
    direct: tuple[MapEntry, ...] = ()
    entries: tuple[MapEntry, ...] = ()
    for number, (account, epoch, texts) in enumerate(case["contributions"], 1):
        named, order = number_id(number), (epoch, b"", number)
        tokens = [text_of(pieces) for pieces in texts]
        direct = derive(Subject(number_id(account), epoch, tokens), documents)
        orders[named] = order
        entries = resolve(direct, Redirect(maps, orders), orders)
        if number not in undeclared:
            maps.append(HeldMap(named, entries))
        documents += [
            ScopeDocument(named, order, index, number_id(account), each)
            for index, each in enumerate(tokens)
        ]
    subject = number_id(len(case["contributions"]))
    return {
        "name": name,
        "contributions": case["contributions"],
        "undeclared": undeclared,
        "direct": [row(entry) for entry in direct],
        "entries": [row(entry) for entry in entries],
        "sources": [
            [int.from_bytes(key, "big"), tokens]
            for key, tokens in tokens_by_source(entries).items()
        ],
        "map_root": map_root(subject, entries).hex(),
        "map": encode_map(subject, entries).hex(),
        "proofs": [encode(prove_entry(entries, index)).hex() for index in range(len(entries))[:2]],
    }


def content() -> str:
    """The file's content as it should be."""
    what = (
        "R3, T9 to T11: the map of the last contribution of each case, by direct sources and as "
        "committed; entries are [document, start, length, contribution, source document, token]"
    )
    cases = [made(name) for name in CASES]
    shown = json.dumps({"what": what, "cases": cases}, ensure_ascii=True)
    return shown.replace('}, {"name"', '},\n {"name"') + "\n"


if __name__ == "__main__":
    FILE.write_text(content(), "ascii")
