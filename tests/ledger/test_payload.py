"""Payloads: their trees against a naive one, their container, their proofs, hostile containers."""

from __future__ import annotations

import hashlib
from typing import Any

import msgpack  # type: ignore[import-untyped]
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.ledger import payload as module
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.payload import (
    BINARY_LEAF_BYTES,
    CONTAINER,
    CONTAINER_HEAD_BYTES,
    MAX_LEAF_BYTES,
    DocumentTree,
    PayloadDocument,
    commitment,
    container_account,
    cut_binary,
    decode_payload,
    encode_payload,
    payload_commitment,
)
from openledger_node.ledger.payload_proofs import PayloadLeafProof, prove_leaf

SALT = bytes(range(32))
ALICE, THIEF = b"alice" + bytes(27), b"thief" + bytes(27)


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_commit(documents: list[PayloadDocument]) -> bytes:
    """P2 and P3 with another msgpack library, for an event of alice's."""
    rows = []
    for document in documents:
        leaves = [
            hashlib.sha256(document.salt + index.to_bytes(4, "big")).digest() + data
            for index, data in enumerate(document.slices)
        ]
        size_bytes = sum(len(data) for data in document.slices)
        rows.append(msgpack.packb([naive_root(leaves), len(leaves), document.tokens, size_bytes]))
    return hashlib.sha256(
        msgpack.packb(["oln/payload/1", ALICE, naive_root(rows)], use_bin_type=True)
    ).digest()


@st.composite
def payload_documents(draw: st.DrawFn) -> PayloadDocument:
    slices = tuple(draw(st.lists(st.binary(min_size=1, max_size=9), max_size=9)))
    size_bytes = sum(map(len, slices))
    salt = hashlib.sha256(draw(st.binary(min_size=4, max_size=4))).digest()
    return PayloadDocument(salt, slices, draw(st.integers(0, size_bytes)))


def lists_of_documents(min_size: int = 0) -> st.SearchStrategy[list[PayloadDocument]]:
    return st.lists(
        payload_documents(), min_size=min_size, max_size=6, unique_by=lambda item: item.salt
    )


def container(
    *documents: object, name: str = CONTAINER, version: object = 1, account: object = ALICE
) -> bytes:
    return encode([name, version, account, list(documents)])


@pytest.mark.rule("P2", "P3")
@settings(max_examples=60, deadline=None)
@given(lists_of_documents())
def test_the_commitment_is_that_of_a_naive_tree(documents: list[PayloadDocument]) -> None:
    assert payload_commitment(encode_payload(ALICE, 1, documents)) == naive_commit(documents)


@pytest.mark.rule("P1", "P5")
@settings(max_examples=60, deadline=None)
@given(lists_of_documents(), st.integers(1, 65_535))
def test_a_container_gives_back_what_was_put_in(
    documents: list[PayloadDocument], version: int
) -> None:
    payload = decode_payload(encode_payload(ALICE, version, documents))
    assert (payload.canon_version, payload.account) == (version, ALICE)
    assert payload.documents == tuple(documents)
    assert [item.data for item in payload.documents] == [b"".join(d.slices) for d in documents]


@pytest.mark.rule("P5")
def test_the_container_is_the_array_that_the_specification_shows() -> None:
    document = PayloadDocument(SALT, (b"ab", b"c"), 2)
    assert encode_payload(ALICE, 1, [document]) == msgpack.packb(
        ["oln/payload/1", 1, ALICE, [[SALT, [2, 1], b"abc", 2]]]
    )


@pytest.mark.rule("P4")
@settings(max_examples=60, deadline=None)
@given(lists_of_documents(min_size=1), st.data())
def test_every_leaf_is_proved_and_no_changed_proof_verifies(
    documents: list[PayloadDocument], data: st.DataObject
) -> None:
    payload = decode_payload(encode_payload(ALICE, 1, documents))
    places = [(d, i) for d, item in enumerate(documents) for i in range(len(item.slices))]
    if not places:
        return
    document, leaf = data.draw(st.sampled_from(places))
    proof = prove_leaf(payload, document, leaf)
    assert proof.verify(payload.commit, ALICE)
    raw = encode(proof)
    assert msgspec.msgpack.decode(raw, type=PayloadLeafProof) == proof
    assert documents[document].salt not in raw
    tree = proof.tree
    changed: list[dict[str, Any]] = [
        {"data": proof.data + b"x"},
        {"inner": bytes(32)},
        {"leaf": proof.leaf + 1},
        {"document": proof.document + 1},
        {"documents": proof.documents + 1},
        {"leaf_path": (*proof.leaf_path, bytes(32))},
        {"document_path": (*proof.document_path, bytes(32))},
        {"tree": DocumentTree(tree.root, tree.leaf_count, tree.tokens + 1, tree.size_bytes)},
        {"tree": DocumentTree(bytes(32), tree.leaf_count, tree.tokens, tree.size_bytes)},
    ]
    for fields in changed:
        altered = msgspec.structs.replace(proof, **fields)
        if fields == {"documents": proof.documents + 1} and altered.verify(payload.commit, ALICE):
            # RFC 6962 binds a tree's size only where it changes the path's shape.
            assert len(altered.document_path) == len(proof.document_path)
            continue
        assert not altered.verify(payload.commit, ALICE), fields
    assert not proof.verify(bytes(32), ALICE)


@pytest.mark.rule("P4")
def test_a_document_s_index_holds_together_with_the_number_of_documents() -> None:
    documents = [PayloadDocument(bytes([n]) * 32, (b"a",), 1) for n in range(5)]
    payload = decode_payload(encode_payload(ALICE, 1, documents))
    proof = prove_leaf(payload, 2, 0)
    for other in (0, 1, 3, 4, 5, 2**32):
        assert not msgspec.structs.replace(proof, document=other).verify(payload.commit, ALICE)


@pytest.mark.rule("P3")
@settings(max_examples=30, deadline=None)
@given(lists_of_documents())
def test_one_payload_has_another_commitment_for_each_account(
    documents: list[PayloadDocument],
) -> None:
    own, copied = (encode_payload(account, 1, documents) for account in (ALICE, THIEF))
    assert decode_payload(own).trees == decode_payload(copied).trees
    assert payload_commitment(own) != payload_commitment(copied)
    assert payload_commitment(copied) == commitment(THIEF, decode_payload(own).trees)


@pytest.mark.rule("P3", "P5")
def test_a_container_with_a_swapped_account_does_not_match() -> None:
    container = encode_payload(ALICE, 1, [PayloadDocument(SALT, (b"one", b"two"), 2)])
    swapped = container.replace(ALICE, THIEF)
    assert decode_payload(swapped).account == THIEF
    assert payload_commitment(swapped) != payload_commitment(container)
    for at in range(container.index(ALICE), container.index(ALICE) + 32):
        changed = container[:at] + bytes([container[at] ^ 1]) + container[at + 1 :]
        assert payload_commitment(changed) != payload_commitment(container)


@pytest.mark.rule("P3", "P4")
def test_a_proof_of_a_leaf_under_another_account_s_commitment_is_refused() -> None:
    """The copier has the commitment and even a leaf with its path, out of somebody's evidence."""
    documents = [PayloadDocument(bytes([n]) * 32, (b"a", b"b", b"c"), 1) for n in range(3)]
    payload = decode_payload(encode_payload(ALICE, 1, documents))
    for document in range(3):
        for leaf in range(3):
            proof = prove_leaf(payload, document, leaf)
            assert proof.verify(payload.commit, ALICE)
            for account in (THIEF, b"", ALICE + b"a", bytes(32)):
                assert not proof.verify(payload.commit, account)
            assert not proof.verify(commitment(THIEF, payload.trees), ALICE)


@pytest.mark.rule("P3")
def test_a_bare_tree_root_is_no_commitment() -> None:
    """What commits without an account would be anybody's."""
    payload = decode_payload(encode_payload(ALICE, 1, [PayloadDocument(SALT, (b"a",), 1)]))
    bare = naive_root([encode(tree) for tree in payload.trees])
    assert payload.commit != bare
    assert not prove_leaf(payload, 0, 0).verify(bare, ALICE)


@pytest.mark.rule("P5")
@pytest.mark.parametrize("version", [1, 127, 128, 255, 256, 65_535])
def test_the_head_of_a_container_gives_its_account(version: int) -> None:
    container = encode_payload(ALICE, version, [PayloadDocument(SALT, (b"a" * 99,), 1)])
    assert container_account(container) == ALICE
    assert container_account(container[:CONTAINER_HEAD_BYTES]) == ALICE
    assert container_account(encode_payload(ALICE, version, [])) == ALICE
    end = container.index(ALICE) + 32
    for cut in range(end):
        with pytest.raises(BadInput, match="is not oln/payload/1"):
            container_account(container[:cut])


@pytest.mark.rule("P5")
@pytest.mark.parametrize(
    "head",
    [
        container(name="oln/payload/2"),
        container(account=ALICE[1:]),
        container(account="a" * 32),
        encode([CONTAINER, 1, [[SALT, [1], b"a", 1]]]),
        encode([CONTAINER, [1], ALICE, []]),
        encode([CONTAINER, 2**16, ALICE, []]),
    ],
    ids=["name", "short", "text", "no account", "version", "version too large"],
)
def test_the_head_of_no_container_gives_no_account(head: bytes) -> None:
    with pytest.raises(BadInput):
        container_account(head)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80))
def test_arbitrary_heads_are_bad_input(head: bytes) -> None:
    with pytest.raises(BadInput):
        container_account(head)


@pytest.mark.rule("P4")
def test_the_same_bytes_under_two_salts_share_no_hash() -> None:
    one = decode_payload(encode_payload(ALICE, 1, [PayloadDocument(SALT, (b"same",), 1)]))
    two = decode_payload(encode_payload(ALICE, 1, [PayloadDocument(SALT[::-1], (b"same",), 1)]))
    assert one.commit != two.commit
    assert one.trees[0].root != two.trees[0].root


def test_a_proof_of_a_leaf_that_is_not_there_is_a_callers_mistake() -> None:
    payload = decode_payload(encode_payload(ALICE, 1, [PayloadDocument(SALT, (b"a",), 1)]))
    for document, leaf in [(1, 0), (-1, 0), (0, 1), (0, -1)]:
        with pytest.raises(ValueError, match="no "):
            prove_leaf(payload, document, leaf)


@pytest.mark.rule("P1")
@given(st.integers(0, 3 * BINARY_LEAF_BYTES + 1))
@settings(max_examples=20, deadline=None)
def test_binary_documents_are_cut_at_4096_bytes(size_bytes: int) -> None:
    data = bytes(size_bytes)
    slices = cut_binary(data)
    assert b"".join(slices) == data
    assert all(len(item) == 4_096 for item in slices[:-1])
    assert all(slices)
    assert len(slices) == -(-size_bytes // 4_096)


GOOD = [SALT, [1], b"a", 1]

MALFORMED = {
    "nothing": b"",
    "not an array": encode(7),
    "another container": container(name="oln/payload/2"),
    "no documents field": encode([CONTAINER, 1, ALICE]),
    "no account": encode([CONTAINER, 1, []]),
    "a short account": container(account=ALICE[1:]),
    "an account too long": container(account=ALICE + b"a"),
    "an account as text": container(account="a" * 32),
    "an account of nil": container(account=None),
    "a field too many": encode([CONTAINER, 1, ALICE, [], 0]),
    "canon version zero": container(version=0),
    "canon version too large": container(version=2**16),
    "canon version true": msgpack.packb([CONTAINER, True, ALICE, []]),
    "a short salt": container([SALT[1:], [1], b"a", 1]),
    "a salt as text": container(["a" * 32, [1], b"a", 1]),
    "an empty leaf": container([SALT, [0, 1], b"a", 1]),
    "a negative leaf": container([SALT, [2, -1], b"a", 1]),
    "a leaf past the end": container([SALT, [2], b"a", 1]),
    "bytes in no leaf": container([SALT, [], b"a", 1]),
    "a leaf too large": container(
        [SALT, [MAX_LEAF_BYTES + 1], bytes(MAX_LEAF_BYTES + 1), 1],
    ),
    "more tokens than bytes": container([SALT, [1], b"a", 2]),
    "negative tokens": container([SALT, [1], b"a", -1]),
    "bytes after the end": container(GOOD) + b"\0",
    "a document cut short": container(GOOD)[:-1],
    "an integer in a long form": container(GOOD)[:-1] + b"\xcc\x01",
    "a map": msgpack.packb({"name": CONTAINER}),
    "a nest of arrays": b"\x91" * 5_000,
}


@pytest.mark.rule("P5")
@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_container_is_bad_input(name: str) -> None:
    with pytest.raises(BadInput):
        decode_payload(MALFORMED[name])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_bad_input_or_a_payload(data: bytes) -> None:
    try:
        payload = decode_payload(data)
    except BadInput:
        return
    assert encode_payload(payload.account, payload.canon_version, payload.documents) == data


def test_a_leaf_of_the_largest_size_is_accepted() -> None:
    document = PayloadDocument(SALT, (bytes(MAX_LEAF_BYTES),), 0)
    assert decode_payload(encode_payload(ALICE, 1, [document])).documents == (document,)


@pytest.mark.parametrize(
    "document",
    [
        PayloadDocument(SALT[1:], (b"a",), 1),
        PayloadDocument(SALT, (b"a", b""), 1),
        PayloadDocument(SALT, (bytes(MAX_LEAF_BYTES + 1),), 1),
        PayloadDocument(SALT, (b"a",), 2),
        PayloadDocument(SALT, (b"a",), -1),
    ],
)
def test_no_container_is_made_that_could_not_be_read(document: PayloadDocument) -> None:
    with pytest.raises(BadInput):
        encode_payload(ALICE, 1, [document])
    with pytest.raises(BadInput):
        encode_payload(ALICE, 0, [])
    with pytest.raises(BadInput, match="not 32"):
        encode_payload(ALICE[1:], 1, [])


@pytest.mark.parametrize(
    ("limit", "value"),
    [("MAX_PAYLOAD_BYTES", 90), ("MAX_DOCUMENT_BYTES", 1), ("MAX_DOCUMENT_LEAVES", 1)],
)
def test_past_a_limit_nothing_is_made_or_read(
    monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    """The limits lie beyond what a test can hold, so it lowers them."""
    documents = [PayloadDocument(SALT, (b"a" * 20, b"b"), 1)]
    data = encode_payload(ALICE, 1, documents)
    assert decode_payload(data).documents == tuple(documents)
    monkeypatch.setattr(module, limit, value)
    with pytest.raises(BadInput, match="at most"):
        decode_payload(data)
    with pytest.raises(BadInput, match="at most"):
        encode_payload(ALICE, 1, documents)


def test_a_payload_of_too_many_documents_is_refused() -> None:
    document = PayloadDocument(SALT, (), 0)
    with pytest.raises(BadInput, match="at most 1,000,000"):
        encode_payload(ALICE, 1, [document] * 1_000_001)
    record = encode([SALT, [], b"", 0])
    head = encode([CONTAINER, 1, ALICE])[1:]
    data = b"\x94" + head + b"\xdd" + (1_000_001).to_bytes(4, "big") + record * 1_000_001
    with pytest.raises(BadInput, match="malformed"):
        decode_payload(data)
