"""T1 to T3: tokens, their places and weights, beside a reading one code point at a time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.attribution import canon
from openledger_node.attribution.canon import CanonText, canonical_text
from tests.attribution.oracles import Token, class_of, tokens_of
from tests.attribution.texts import EDGES, NOT_UTF8, SCRIPTS, mixed_texts


def listed(text: CanonText | None) -> list[Token] | None:
    """The tokens as the oracle gives them."""
    if text is None:
        return None
    places = zip(text.starts.tolist(), text.ends.tolist(), text.weights.tolist(), strict=True)
    return [(token, *place) for token, place in zip(text.tokens(), places, strict=True)]


def tokens(text: str) -> list[str]:
    found = canonical_text(text.encode())
    assert found is not None
    return [token.decode() for token in found.tokens()]


@pytest.mark.rule("T1", "T2", "T3")
@pytest.mark.parametrize("block_bytes", [5, 64, 2**20])
@settings(max_examples=80)
@given(text=mixed_texts)
def test_tokens_places_and_weights_are_those_of_the_rules(block_bytes: int, text: str) -> None:
    data = text.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(canon, "BLOCK_BYTES", block_bytes)
        assert listed(canonical_text(data)) == tokens_of(data)


@pytest.mark.rule("T1")
@pytest.mark.parametrize("block_bytes", [5, 2**20])
@settings(max_examples=80)
@given(data=st.binary(max_size=40) | st.sampled_from(sorted(NOT_UTF8.values())))
def test_bytes_are_text_exactly_when_they_are_strict_utf_8(block_bytes: int, data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(canon, "BLOCK_BYTES", block_bytes)
        assert listed(canonical_text(data)) == tokens_of(data)


@pytest.mark.rule("T1")
@pytest.mark.parametrize("name", NOT_UTF8)
@pytest.mark.parametrize("before", [0, 1, 4, 5, 6, 63])
def test_wrong_utf_8_is_never_text_wherever_it_stands(name: str, before: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(canon, "BLOCK_BYTES", 8)
        assert canonical_text(b"a" * before + NOT_UTF8[name]) is None


@pytest.mark.rule("T2", "T3")
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_is_read_as_the_rules_say(script: str) -> None:
    data = SCRIPTS[script].encode()
    assert listed(canonical_text(data)) == tokens_of(data)


@pytest.mark.rule("T2")
def test_code_points_at_every_edge_are_in_the_class_that_the_rules_give_them() -> None:
    for point in [*range(0x80), *EDGES, 0x10FFFF]:
        found = canonical_text(chr(point).encode())
        assert found is not None
        expected = {"gap": [], "word": [2], "single": [1]}[class_of(chr(point))]
        assert found.weights.tolist() == expected, hex(point)


@pytest.mark.rule("T2")
def test_only_the_letters_a_to_z_are_lowered() -> None:
    assert tokens("ABC Éa ÀB ẞ") == ["abc", "Éa", "Àb", "ẞ"]


@pytest.mark.rule("T2", "T3")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" .,;\n", []),
        ("one", ["one"]),
        ("it's a_b-c", ["it", "s", "a_b", "c"]),
        ("x=1.5e3", ["x", "1", "5e3"]),
        ("中文 text中", ["中", "文", "text", "中"]),
        ("ไทย", ["ไ", "ท", "ย"]),
        ("مرحبا بك", ["مرحبا", "بك"]),
        ("a\u00a0b\u3000c\ufeffd", ["a", "b", "c", "d"]),
        ("a👍b", ["a", "👍", "b"]),
        ("한글 말", ["한글", "말"]),
    ],
)
def test_examples_have_the_tokens_that_the_specification_shows(
    text: str, expected: list[str]
) -> None:
    assert tokens(text) == expected


@pytest.mark.rule("T3")
@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("a" * 63, [63]),
        ("a" * 64, [64]),
        ("a" * 65, [64, 1]),
        ("a" * 128, [64, 64]),
        ("a" * 129, [64, 64, 1]),
        ("é" * 33, [64, 2]),
        ("a" + "é" * 32, [63, 2]),
        ("漢a" * 2, [3, 1, 3, 1]),
        ("한" * 22, [63, 3]),
        ("a" * 65 + " " + "b" * 65, [64, 1, 64, 1]),
    ],
)
def test_a_long_run_is_cut_at_the_last_code_point_that_fits_64_bytes(
    text: str, lengths: list[int]
) -> None:
    assert [len(token.encode()) for token in tokens(text)] == lengths


@pytest.mark.rule("T3")
def test_a_run_over_the_edge_of_a_block_is_one_token() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(canon, "BLOCK_BYTES", 4)
        assert tokens("abcdefgh ij") == ["abcdefgh", "ij"]
        assert tokens("abc defgh") == ["abc", "defgh"]
        assert tokens("abcé中defé") == ["abcé", "中", "defé"]
