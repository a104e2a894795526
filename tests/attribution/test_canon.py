"""T1 to T4: tokens and leaves, beside a reading of the rules one code point at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.attribution import canon
from openledger_node.attribution.canon import canonical_text
from openledger_node.attribution.leaves import cut_document

SINGLE = [(0xE00, 0xEFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x9FFF), (0xF900, 0xFAFF)]
APART = [(0x2000, 0x303F), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFF00, 0xFF0F)]


def group(point: int) -> str:
    if point >= 0x10000 or any(a <= point <= b for a, b in SINGLE):
        return "single"
    if any(a <= point <= b for a, b in APART):
        return "apart"
    if point >= 0xC0 or (point < 128 and (chr(point).isalnum() or point == ord("_"))):
        return "word"
    return "apart"


def naive(text: str) -> list[tuple[bytes, int, int]]:
    """(token, start, weight)"""
    found: list[tuple[bytes, int, int]] = []
    place, open_word = 0, False
    for letter in text:
        raw = letter.encode()
        kind = group(ord(letter))
        if kind == "single":
            found.append((raw, place, 1))
        elif kind == "word":
            if open_word and len(found[-1][0]) + len(raw) <= 64:
                found[-1] = (found[-1][0] + raw.lower(), *found[-1][1:])
            else:
                found.append((raw.lower(), place, 2))
        open_word = kind == "word"
        place += len(raw)
    return found


edges = [c for a, b in SINGLE + APART for c in (a - 1, a, b, b + 1)]
points = st.one_of(
    st.sampled_from([chr(c) for c in edges]),
    st.sampled_from(
        "aZ_09 .\n\x00\x7f\x80\xbf\xc0\xd7\u0301\ud7ff\ue000\U00010000\U0010ffff中ไทยعر😀"
    ),
    st.characters(exclude_categories=["Cs"]),
)
texts = st.one_of(
    st.lists(points, max_size=80).map("".join),
    st.builds(lambda a, n, b: a * n + b, points, st.integers(60, 200), points),
)


@pytest.mark.rule("T1", "T2", "T3")
@pytest.mark.parametrize("block", [5, 64, 2**20])
@given(text=texts)
def test_tokens_places_and_weights_are_those_of_the_rules(block: int, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(canon, "BLOCK_BYTES", block)
        found = canonical_text(text.encode())
    assert found is not None
    assert list(
        zip(found.tokens(), found.starts.tolist(), found.weights.tolist(), strict=True)
    ) == naive(text)


@pytest.mark.rule("T2")
def test_code_points_at_every_edge_are_in_the_group_that_the_rules_give_it() -> None:
    for point in [*range(0x80), *edges, 0x10FFFF]:
        found = canonical_text(chr(point).encode())
        assert found is not None
        expected = {"apart": [], "word": [2], "single": [1]}[group(point)]
        assert found.weights.tolist() == expected, hex(point)


@pytest.mark.rule("T1")
@pytest.mark.parametrize(
    "data", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"caf\xc3", b"\xf4\x90\x80\x80"]
)
def test_wrong_utf8_is_not_text_and_is_cut_raw(data: bytes) -> None:
    assert canonical_text(data) is None
    cut = cut_document(data)
    assert (cut.slices, cut.tokens, cut.is_text) == ((data,), 0, False)


@pytest.mark.rule("T4")
@given(texts, st.integers(1, 5))
def test_leaves_are_the_document_and_have_the_documents_tokens(text: str, times: int) -> None:
    data = (text * times).encode()
    cut, whole = cut_document(data), canonical_text(data)
    assert whole is not None and b"".join(cut.slices) == data and all(cut.slices)
    parts = [canonical_text(part) for part in cut.slices]
    tokens = [part.tokens() for part in parts if part is not None]
    assert all(len(part) == 64 for part in tokens[:-1])
    assert [token for part in tokens for token in part] == whole.tokens()
    assert cut.tokens == len(whole)


@pytest.mark.rule("T4")
def test_small_documents_have_the_leaves_that_the_rules_say() -> None:
    assert cut_document(b"").slices == ()
    assert cut_document(b" ..").slices == (b" ..",)
    assert cut_document(b"one").slices == (b"one",)
