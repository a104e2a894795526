"""The vectors of derivation: what the code makes, and what the naive reading of R3 finds.

The checks of roots, maps and proofs use hashlib and msgpack on the file alone.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from openledger_node.attribution.derivation import MIN_CHAIN
from openledger_node.attribution.scope import ScopeDocument
from tests.attribution.derivation_oracle import Place, derived_tokens
from tests.attribution.test_vectors import leaf_hash, root, root_by_path
from tests.vectors import make_derivation
from tests.vectors.make_derivation import number_id, text_of

pytestmark = pytest.mark.rule("R3", "T9", "T10", "T11")

Row = list[int]


def cases() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(make_derivation.FILE.read_text("ascii"))["cases"]
    return found


def test_the_vectors_on_disk_are_what_the_code_makes() -> None:
    assert make_derivation.FILE.read_text("ascii") == make_derivation.content()


def tokens_of(rows: list[Row]) -> list[tuple[int, int, int, int, int]]:
    return [
        (document, start + k, source, source_document, token + k)
        for document, start, length, source, source_document, token in rows
        for k in range(length)
    ]


def read(case: dict[str, Any]) -> tuple[list[Place], list[Place]]:
    """(direct, committed) map of the last contribution, token by token."""
    documents: list[ScopeDocument] = []
    committed: dict[tuple[int, int, int], tuple[int, int, int]] = {}
    direct: list[Place] = []
    followed: list[Place] = []
    for number, (account, epoch, texts) in enumerate(case["contributions"], 1):
        tokens = [text_of(pieces) for pieces in texts]
        direct = derived_tokens(number_id(account), epoch, tokens, documents, MIN_CHAIN)
        followed = []
        for document, token, source, source_document, place in direct:
            at = int.from_bytes(source, "big"), source_document, place
            while at in committed:
                at = committed[at]
            followed.append((document, token, number_id(at[0]), at[1], at[2]))
        if number not in case["undeclared"]:
            for document, token, source, source_document, place in followed:
                key = number, document, token
                committed[key] = int.from_bytes(source, "big"), source_document, place
        documents += [
            ScopeDocument(number_id(number), (epoch, b"", number), index, number_id(account), each)
            for index, each in enumerate(tokens)
        ]
    return direct, followed


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["name"])
def test_the_naive_reading_finds_the_maps(case: dict[str, Any]) -> None:
    for name, found in zip(("direct", "entries"), read(case), strict=True):
        shown = [(d, t, int.from_bytes(source, "big"), sd, p) for d, t, source, sd, p in found]
        assert shown == tokens_of(case[name]), name


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["name"])
def test_roots_maps_and_proofs_follow_from_the_entries(case: dict[str, Any]) -> None:
    subject = number_id(len(case["contributions"]))
    entries = [[d, s, n, number_id(c), sd, t] for d, s, n, c, sd, t in case["entries"]]
    hashes = [leaf_hash(msgpack.packb(entry)) for entry in entries]

    def map_root(found: bytes) -> str:
        return hashlib.sha256(
            msgpack.packb(["oln/derivation/1", subject, len(entries), found])
        ).hexdigest()

    assert map_root(root(hashes)) == case["map_root"]
    counts: dict[int, int] = {}
    for _, _, length, contribution, _, _ in case["entries"]:
        counts[contribution] = counts.get(contribution, 0) + length
    assert [list(item) for item in sorted(counts.items())] == case["sources"]
    named = [number_id(contribution) for contribution in sorted(counts)]
    rows = [[d, s, n, named.index(c), sd, t] for d, s, n, c, sd, t in entries]
    assert msgpack.packb([subject, named, rows]).hex() == case["map"]
    for shown in case["proofs"]:
        index, size, entry, path = msgpack.unpackb(bytes.fromhex(shown))
        assert (size, entry) == (len(entries), entries[index])
        assert map_root(root_by_path(hashes[index], index, size, path)) == case["map_root"]
