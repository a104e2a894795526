"""T4, T5: leaves cover a document, begin where tokens do, and read alone as they do in it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.attribution.canon import canonical_text
from openledger_node.attribution.leaves import cut_document, registered_text
from openledger_node.ledger.payload import MAX_LEAF_BYTES, PayloadDocument, encode_payload
from tests.attribution.oracles import leaves_of, tokens_of
from tests.attribution.texts import NOT_UTF8, SCRIPTS, mixed_texts

documents = st.one_of(
    st.builds(lambda text, n: (text * n).encode(), mixed_texts, st.integers(1, 6)),
    st.binary(max_size=40),
    st.builds(lambda raw, n: raw * n, st.binary(max_size=9), st.integers(1, 2_000)),
)


@pytest.mark.rule("T4", "T5")
@settings(max_examples=150)
@given(documents)
def test_leaves_cover_every_byte_and_are_those_of_the_rules(data: bytes) -> None:
    cut = cut_document(data)
    assert b"".join(cut.slices) == data
    assert all(cut.slices)
    assert (list(cut.slices), cut.tokens) == leaves_of(data)
    assert cut.is_text == (canonical_text(data) is not None)


@pytest.mark.rule("T4")
@settings(max_examples=80)
@given(mixed_texts, st.integers(1, 6))
def test_a_leaf_alone_has_the_tokens_that_it_has_in_the_document(text: str, times: int) -> None:
    data = (text * times).encode()
    cut, whole = cut_document(data), canonical_text(data)
    assert whole is not None
    parts = [canonical_text(leaf) for leaf in cut.slices]
    found = [part.tokens() for part in parts if part is not None]
    assert len(found) == len(cut.slices)
    assert all(len(part) == 64 for part in found[:-1])
    assert [token for part in found for token in part] == whole.tokens()


@pytest.mark.rule("T4")
@pytest.mark.parametrize(
    ("data", "slices"),
    [
        (b"", ()),
        (b" ..", (b" ..",)),
        (b"one", (b"one",)),
        (b"(" + b"a " * 64 + b")", (b"(" + b"a " * 64 + b")",)),
        (b"(" + b"a " * 65 + b")", (b"(" + b"a " * 64, b"a )")),
        (b"x" * 64 * 64 + b"y", (b"x" * 4_096, b"y")),
        ("天".encode() * 65, ("天".encode() * 64, "天".encode())),
    ],
)
def test_small_documents_have_the_leaves_that_the_rules_say(
    data: bytes, slices: tuple[bytes, ...]
) -> None:
    assert cut_document(data).slices == slices


@pytest.mark.rule("T5")
@pytest.mark.parametrize("name", NOT_UTF8)
def test_what_is_not_utf_8_has_no_tokens_and_leaves_of_4096_bytes(name: str) -> None:
    data = NOT_UTF8[name] + bytes(range(256)) * 40
    cut = cut_document(data)
    assert (cut.tokens, cut.is_text) == (0, False)
    assert {len(leaf) for leaf in cut.slices[:-1]} == {4_096}
    assert b"".join(cut.slices) == data


@pytest.mark.rule("T5")
def test_a_text_with_a_leaf_too_large_for_a_payload_is_not_text() -> None:
    largest = b"a" + b" " * (MAX_LEAF_BYTES - 1)
    assert cut_document(largest).slices == (largest,)
    beyond = cut_document(largest + b" ")
    assert (beyond.tokens, beyond.is_text, len(beyond.slices)) == (0, False, 129)
    assert leaves_of(largest + b" ") == (list(beyond.slices), 0)
    for cut in (cut_document(largest), beyond):
        encode_payload(bytes(32), 1, [PayloadDocument(bytes(32), cut.slices, cut.tokens)])


@pytest.mark.rule("T4")
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_is_cut_at_its_64th_token(script: str) -> None:
    data = (SCRIPTS[script] * 80).encode()
    cut = cut_document(data)
    assert (list(cut.slices), cut.tokens) == leaves_of(data)
    assert len(cut.slices) == -(-cut.tokens // 64) > 1


@pytest.mark.rule("T8")
@settings(max_examples=40)
@given(mixed_texts, st.integers(1, 6))
def test_a_registered_text_is_read_when_it_is_cut_by_the_rules(text: str, times: int) -> None:
    data = (text * times).encode()
    cut = cut_document(data)
    found = registered_text(cut.slices, cut.tokens)
    assert (found.tokens() if found else []) == [item[0] for item in tokens_of(data) or []]


@pytest.mark.rule("T8")
def test_nothing_is_found_in_a_registered_text_that_is_cut_or_counted_otherwise() -> None:
    data = b"a " * 130
    cut = cut_document(data)
    assert registered_text(cut.slices, cut.tokens) is not None
    otherwise: dict[str, tuple[tuple[bytes, ...], int]] = {
        "one leaf": ((data,), 130),
        "a cut within a leaf": ((data[:10], data[10:128], *cut.slices[1:]), 130),
        "cut as a binary": (tuple(data[n : n + 100] for n in range(0, 260, 100)), 130),
        "too many tokens": (cut.slices, 131),
        "too few tokens": (cut.slices, 129),
        "no tokens": (cut.slices, 0),
        "not utf-8": ((b"a \xff",), 1),
    }
    for name, (slices, tokens) in otherwise.items():
        assert registered_text(slices, tokens) is None, name
