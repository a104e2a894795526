"""P6: a document goes, its salt with it, and the commitment stays."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.payload import (
    MAX_DOCUMENT_BYTES,
    MAX_DOCUMENT_LEAVES,
    MAX_LEAF_BYTES,
    PayloadDocument,
    cut_binary,
    decode_payload,
    document_tree,
    encode_payload,
    erase_documents,
    erased_document,
)
from openledger_node.ledger.payload_proofs import prove_leaf

AUTHOR = b"author" + bytes(26)
TEXTS = (b"first document", b"", b"x" * 9_000, b"last document")


def salt(index: int) -> bytes:
    return hashlib.sha256(b"salt %d" % index).digest()


def container(*texts: bytes) -> bytes:
    documents = [
        PayloadDocument(salt(index), cut_binary(text), min(2, len(text)))
        for index, text in enumerate(texts)
    ]
    return encode_payload(AUTHOR, 1, documents)


@pytest.mark.rule("P6")
@pytest.mark.parametrize("chosen", [[], [0], [1], [2], [0, 3], [0, 1, 2, 3]])
def test_the_commitment_stays_and_text_and_salt_go(chosen: list[int]) -> None:
    whole = container(*TEXTS)
    payload = decode_payload(whole)
    left = erase_documents(payload, chosen)
    again = decode_payload(left)
    assert again.commit == payload.commit
    assert again.trees == payload.trees
    assert [d.erased is not None for d in again.documents] == [n in chosen for n in range(4)]
    for index, text in enumerate(TEXTS):
        assert (salt(index) in left) is (index not in chosen)
        if text:
            assert (text in left) is (index not in chosen)
        if index not in chosen:
            assert again.documents[index] == payload.documents[index]


@pytest.mark.rule("P6")
def test_erasing_goes_on_where_it_was_begun() -> None:
    payload = decode_payload(container(*TEXTS))
    one = decode_payload(erase_documents(payload, [2]))
    assert erase_documents(one, [0]) == erase_documents(payload, [0, 2])
    assert erase_documents(one, [2]) == erase_documents(payload, [2])


@pytest.mark.rule("P6", "P4")
def test_what_is_left_is_proved_and_what_is_gone_is_not() -> None:
    payload = decode_payload(container(*TEXTS))
    left = decode_payload(erase_documents(payload, [2]))
    assert prove_leaf(left, 3, 0) == prove_leaf(payload, 3, 0)
    assert prove_leaf(left, 3, 0).verify(payload.commit, AUTHOR)
    with pytest.raises(ValueError, match="erased"):
        prove_leaf(left, 2, 0)


def raw(*documents: list[Any]) -> bytes:
    return encode(["oln/payload/1", 1, AUTHOR, list(documents)])


ROOT = bytes(32)
MALFORMED = {
    "a root that is short": raw([ROOT[1:], 1, 5, 1]),
    "more leaves than bytes": raw([ROOT, 6, 5, 1]),
    "more bytes than its leaves can hold": raw([ROOT, 1, MAX_LEAF_BYTES + 1, 1]),
    "bytes without leaves": raw([ROOT, 0, 5, 1]),
    "more tokens than bytes": raw([ROOT, 1, 5, 6]),
    "erased leaves of bytes that are here": raw([ROOT, 1, b"words", 1]),
    "leaves that are here of erased bytes": raw([ROOT, [5], 5, 1]),
    "too many leaves": raw([ROOT, MAX_DOCUMENT_LEAVES + 1, MAX_DOCUMENT_BYTES, 1]),
    "too many bytes": raw([ROOT, MAX_DOCUMENT_LEAVES, MAX_DOCUMENT_BYTES + 1, 1]),
    "negative leaves": raw([ROOT, -1, 0, 0]),
}


@pytest.mark.rule("P6")
@pytest.mark.parametrize("name", MALFORMED)
def test_an_erased_document_that_no_document_can_have_been_is_bad_input(name: str) -> None:
    assert decode_payload(raw([ROOT, 1, 5, 1]))
    with pytest.raises(BadInput):
        decode_payload(MALFORMED[name])


@pytest.mark.rule("P6")
def test_an_erased_document_past_a_limit_is_not_written() -> None:
    tree = document_tree(PayloadDocument(salt(0), (b"words",), 1))
    for fields in ({"tokens": 6}, {"size_bytes": MAX_DOCUMENT_BYTES + 1}):
        broken = msgspec.structs.replace(tree, **fields)
        with pytest.raises(BadInput):
            encode_payload(AUTHOR, 1, [erased_document(broken)])


@pytest.mark.rule("P6")
@settings(max_examples=60)
@given(st.lists(st.binary(max_size=40), max_size=6), st.sets(st.integers(0, 5)))
def test_any_payload_keeps_its_commitment_whatever_is_erased(
    texts: list[bytes], chosen: set[int]
) -> None:
    payload = decode_payload(container(*texts))
    left = decode_payload(erase_documents(payload, chosen))
    assert left.commit == payload.commit
    assert encode_payload(AUTHOR, 1, left.documents) == erase_documents(payload, chosen)
