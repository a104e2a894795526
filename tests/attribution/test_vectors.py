"""The vectors on disk are what the code makes, and what readings of the specification find.

The second half uses nothing of the package: hashlib, msgpack and the oracles, on the files alone.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from tests.attribution import oracles
from tests.vectors import make_attribution


@pytest.mark.parametrize("name", make_attribution.MAKERS)
def test_the_vectors_on_disk_are_what_the_code_makes(name: str) -> None:
    path = make_attribution.FOLDER / f"{name}.json"
    assert path.read_text("ascii") == make_attribution.text_of(name)


def cases(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = make_attribution.load(name)["cases"]
    return found


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\0" + data).digest()


def root(hashes: list[bytes]) -> bytes:
    """RFC 6962 section 2.1."""
    if len(hashes) < 2:
        return hashes[0] if hashes else hashlib.sha256(b"").digest()
    k = 1
    while 2 * k < len(hashes):
        k *= 2
    return hashlib.sha256(b"\1" + root(hashes[:k]) + root(hashes[k:])).digest()


def root_by_path(found: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root that a path from leaf `index` of `size` leads to."""
    if size == 1:
        assert path == []
        return found
    k = 1
    while 2 * k < size:
        k *= 2
    if index < k:
        below = root_by_path(found, index, k, path[:-1])
        return hashlib.sha256(b"\1" + below + path[-1]).digest()
    below = root_by_path(found, index - k, size - k, path[:-1])
    return hashlib.sha256(b"\1" + path[-1] + below).digest()


def commitment(account: bytes, tree_root: bytes) -> bytes:
    """P3: the hash of an array that begins with what it is for."""
    hashed: bytes = msgpack.packb(["oln/payload/1", account, tree_root])
    return hashlib.sha256(hashed).digest()


def proved(proof: list[Any], commit: bytes, account: bytes) -> bool:
    """The leaf proof of docs/spec/payloads.md."""
    document, documents, tree, document_path, leaf, inner, data, leaf_path = proof
    if root_by_path(leaf_hash(inner + data), leaf, tree[1], leaf_path) != tree[0]:
        return False
    row = leaf_hash(msgpack.packb(tree))
    return commitment(account, root_by_path(row, document, documents, document_path)) == commit


def root_over(size: int, start: int, hashes: dict[int, bytes], path: list[bytes]) -> bytes:
    """M3 from the text: subtrees without a leaf that is shown come from the path, left to right."""
    if not any(start <= leaf < start + size for leaf in hashes):
        return path.pop(0)
    if size == 1:
        return hashes[start]
    left = 1
    while left * 2 < size:
        left *= 2
    first = root_over(left, start, hashes, path)
    rest = root_over(size - left, start + left, hashes, path)
    return hashlib.sha256(b"\1" + first + rest).digest()


def run_proved(proof: list[Any], commit: bytes, account: bytes) -> bool:
    """The run proof of docs/spec/payloads.md."""
    document, documents, tree, document_path, first, leaves, path = proof
    hashes = {first + n: leaf_hash(inner + data) for n, (inner, data) in enumerate(leaves)}
    rest = list(path)
    if root_over(tree[1], 0, hashes, rest) != tree[0] or rest:
        return False
    row = leaf_hash(msgpack.packb(tree))
    return commitment(account, root_by_path(row, document, documents, document_path)) == commit


@pytest.mark.rule("T1", "T2", "T3")
def test_the_tokens_in_the_vectors_are_those_of_the_rules() -> None:
    for case in cases("canon"):
        found = oracles.tokens_of(bytes.fromhex(case["data"]))
        shown = None if found is None else [[token.hex(), *place] for token, *place in found]
        assert case["tokens"] == shown, case["name"]
    weights = {"gap": 0, "single": 1, "word": 2}
    for point, weight in make_attribution.load("canon")["code_points"].items():
        assert weights[oracles.class_of(chr(int(point, 16)))] == weight


@pytest.mark.rule("T4", "T5")
def test_the_leaves_in_the_vectors_are_those_of_the_rules() -> None:
    for case in cases("leaves"):
        leaves, tokens = oracles.leaves_of(bytes.fromhex(case["unit"]) * case["times"])
        assert case["leaf_lengths"] == [len(leaf) for leaf in leaves], case["name"]
        assert case["tokens"] == tokens


@pytest.mark.rule("P1", "P2", "P3", "P4", "P5")
def test_the_payloads_in_the_vectors_have_the_commitments_of_the_rules() -> None:
    for case in cases("payload"):
        name, version, account, documents = msgpack.unpackb(bytes.fromhex(case["container"]))
        assert (name, version, account.hex()) == ("oln/payload/1", 1, case["account"])
        rows, places = [], []
        for index, (salt, lengths, data, tokens) in enumerate(documents):
            hashes, start = [], 0
            for leaf, length in enumerate(lengths):
                inner = hashlib.sha256(salt + leaf.to_bytes(4, "big")).digest()
                hashes.append(leaf_hash(inner + data[start : start + length]))
                places.append((index, leaf, inner, data[start : start + length]))
                start += length
            rows.append(msgpack.packb([root(hashes), len(lengths), tokens, len(data)]))
        assert case["trees"] == [row.hex() for row in rows]
        commit = commitment(account, root([leaf_hash(row) for row in rows]))
        assert case["commit"] == commit.hex()
        proofs = [msgpack.unpackb(bytes.fromhex(proof)) for proof in case["proofs"]]
        assert [(p[0], p[4], p[5], p[6]) for p in proofs] == places
        assert all(proved(proof, commit, account) for proof in proofs)
        assert not any(proved(proof, commit, account[::-1]) for proof in proofs)


def read(text: str) -> tuple[list[bytes], list[int]]:
    """(tokens, weights)"""
    found = oracles.tokens_of(text.encode())
    assert found is not None
    return [token for token, *_ in found], [weight for *_, weight in found]


@pytest.mark.rule("R1", "R2", "R4")
@pytest.mark.parametrize("case", cases("attribution"), ids=lambda case: case["name"])
def test_the_attributions_in_the_vectors_are_those_of_the_rules(case: dict[str, Any]) -> None:
    documents = [
        (n, d, text) for n, c in enumerate(case["contributions"]) for d, text in enumerate(c)
    ]
    sources = [item for item in documents if item[0] not in case["commons"]]
    source_tokens = [read(text)[0] for *_, text in sources]
    common_tokens = [read(text)[0] for n, _, text in documents if n in case["commons"]]
    counts: dict[str, int] = {}
    total = 0
    for output in case["outputs"]:
        tokens, weights = read(output["text"])
        assert output["tokens"] == len(tokens)
        total += len(tokens)
        expected = oracles.owners(tokens, weights, source_tokens, common_tokens)
        shown: list[Any] = [None] * len(tokens)
        for start, length, contribution, document, token in output["spans"]:
            for k in range(length):
                shown[start + k] = (contribution, document, token + k)
            counts[contribution] = counts.get(contribution, 0) + length
        names = [hashlib.sha256(b"contribution/%d" % n).hexdigest() for n, *_ in sources]
        assert shown == [
            None if place is None else (names[place[0]], sources[place[0]][1], place[1])
            for place in expected
        ]
        cut = [t for start, end in output["cuts"] for t in range(start, end)]
        flags = oracles.cut_flags(tokens, common_tokens)
        assert cut == [t for t, is_cut in enumerate(flags) if is_cut]
    weights_shown = dict(case["weights"])
    assert sum(weights_shown.values()) + case["unattributed_ppm"] == 1_000_000
    assert weights_shown.keys() == counts.keys()
    for contribution, count in counts.items():
        assert weights_shown[contribution] - 1_000_000 * count // total in (0, 1)


@pytest.mark.rule("T6", "T7")
def test_the_evidence_in_the_vectors_shows_its_spans() -> None:
    shown = make_attribution.load("attribution")["evidence"]
    output = read(shown["output"])[0]
    _, _, provider, documents = msgpack.unpackb(bytes.fromhex(shown["payload"]))
    assert provider.hex() == shown["provider"]
    branches = [msgpack.unpackb(data) for _, _, data, _ in documents]
    assert [branch[0].hex() for branch in branches] == sorted(shown["commits"])
    found = [msgpack.packb(span).hex() for _, spans, _ in branches for span in spans]
    assert sorted(found) == sorted(shown["span_proofs"])
    for contribution, spans, passages in branches:
        assert passages == []
        commit = bytes.fromhex(shown["commits"][contribution.hex()])
        account = bytes.fromhex(shown["accounts"][contribution.hex()])
        for number, start, length, token, run in spans:
            assert number == 0
            assert run_proved(run, commit, account)
            assert (run[4], len(run[5])) == (
                token // 64,
                (token + length - 1) // 64 - token // 64 + 1,
            )
            text = oracles.tokens_of(b"".join(leaf[1] for leaf in run[5]))
            assert text is not None
            begin = token % 64
            assert [item[0] for item in text[begin : begin + length]] == output[
                start : start + length
            ]
