"""All matches at once: the reference's integers on texts that repeat themselves, in linear time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.attribution import linear, matching, segment
from openledger_node.attribution.linear import NOWHERE, Shared, longest_matches
from openledger_node.attribution.matching import attribute_indexed
from openledger_node.attribution.reference import attribute
from openledger_node.attribution.repetitions import RANK_STEP, match_all
from openledger_node.attribution.scope import Scope, make_scope
from openledger_node.attribution.segment import View
from tests.attribution.build import document, words
from tests.attribution.indexed import indexed
from tests.attribution.texts import mixed_texts

TOKENS = (b"a", b"bb", "天".encode(), b"c")
periodic = st.builds(
    lambda unit, count, more: unit * count + unit[:more],
    st.lists(st.sampled_from(TOKENS), max_size=9),
    st.integers(0, 12),
    st.integers(0, 8),
)
token_lists = st.one_of(periodic, st.lists(st.sampled_from(TOKENS[:2]), max_size=80))
picks = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60), st.integers(1, 60)), max_size=4)


@pytest.fixture(autouse=True)
def all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every output with a match is computed in one go."""
    monkeypatch.setattr(matching, "MAX_ASKED_BYTES", 0)
    monkeypatch.setattr(matching, "MAX_ASKED_TIMES", 0)


def same(output: Sequence[bytes], scope: Scope, **how: object) -> None:
    found = attribute_indexed(list(output), indexed(scope, **how))  # type: ignore[arg-type]
    assert found == attribute(list(output), scope)


@pytest.mark.rule("R1", "R2")
@settings(max_examples=150, deadline=None)
@given(
    texts=st.lists(token_lists, max_size=5),
    output=token_lists,
    picked=picks,
    cuts=st.lists(st.integers(0, 5), max_size=3),
    other=token_lists,
    part=st.sampled_from([1, 8, 30, 2**18]),
)
def test_matches_computed_at_once_are_those_of_the_reference(
    texts: list[list[bytes]],
    output: list[bytes],
    picked: list[tuple[int, int, int]],
    cuts: list[int],
    other: list[bytes],
    part: int,
) -> None:
    for which, start, length in picked:
        if which < len(texts):
            output = output + texts[which][start : start + length]
    scope = make_scope(document(n, tokens, commons=n == 4) for n, tokens in enumerate(texts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear, "PART_SYMBOLS", part)
        same(output, scope, cuts=cuts, others=[other, output])


@pytest.mark.rule("R2")
@settings(max_examples=40, deadline=None)
@given(st.lists(mixed_texts, min_size=1, max_size=4), st.integers(0, 9))
def test_matches_computed_at_once_are_those_of_the_reference_in_any_script(
    texts: list[str], begin: int
) -> None:
    scope = make_scope(document(n, words(text * 2)) for n, text in enumerate(texts))
    same(words(" / ".join(text[begin:] * 3 for text in texts)), scope, cuts=[1, 2])


@pytest.mark.rule("R2")
@pytest.mark.parametrize("part", [8, 50, 2**18])
def test_a_long_stretch_taken_in_parts_loses_no_match(
    monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr(linear, "PART_SYMBOLS", part)
    long = [b"w%d" % (n * n % 97) for n in range(700)]
    same([b"x", *long[333:420], b"x", *long[690:], *long[:30]], make_scope([document(0, long)]))
    same([b"a"] * 50, make_scope([document(0, [b"b"] * 9), document(1, [b"a"] * 400)]))


@pytest.mark.rule("R2")
def test_identical_stretches_count_once_and_at_their_earliest() -> None:
    header = words("copyright by the authors of this and of that and of the other thing")
    scope = make_scope(document(n, [b"d%d" % n, *header, b"e%d" % n]) for n in range(60))
    held = indexed(scope, cuts=[20, 40])
    best, place = match_all([b"x", *header, b"y"], held.views)
    assert (best[1], place[1]) == (len(header), 0 * RANK_STEP + 1)
    same([b"x", *header, b"y", *header[2:], *header], scope, cuts=[20, 40])


def test_stretches_of_one_length_and_other_tokens_are_kept_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ones(count: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        return np.ones(count, np.uint64)  # sums that say little: equality is what decides

    monkeypatch.setattr(linear, "_powers", ones)
    left, right = words("a b c d e f g h i"), words("a b c d e f g h j")
    scope = make_scope([document(0, left), document(1, right), document(2, left)])
    same([*right, b"x", *left, b"x", *right[1:]], scope)


def test_positions_are_given_where_a_match_reaches_further_than_the_one_before() -> None:
    text = words("one two three four five six seven eight nine ten")
    best, place = match_all(text, indexed(make_scope([document(0, text)])).views)
    assert best.tolist() == [10, 9, 8, 0, 0, 0, 0, 0, 0, 0]
    assert place.tolist() == [0] + [NOWHERE] * 9


@settings(max_examples=60, deadline=None)
@given(output=token_lists, text=token_lists)
def test_lengths_are_given_at_every_start(output: list[bytes], text: list[bytes]) -> None:
    best, _ = match_all(output, indexed(make_scope([document(0, text)])).views)
    for start in range(len(output)):
        length = max(
            (
                n
                for n in range(8, len(output) - start + 1)
                if any(text[at : at + n] == output[start : start + n] for at in range(len(text)))
            ),
            default=0,
        )
        assert best[start] == length


def test_an_output_that_shares_nothing_has_no_match() -> None:
    nothing = np.empty(0, np.int64)
    for count in (0, 1, 20):
        names = np.full(count, -1, np.int64)
        best, place = longest_matches(
            np.arange(count), np.full(count, 2), Shared(names, nothing, nothing)
        )
        assert best.tolist() == [0] * count
        assert place.tolist() == [NOWHERE] * count


def test_many_short_matches_are_computed_at_once_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "MAX_ASKED_BYTES", 2**40)
    monkeypatch.setattr(matching, "MAX_MATCHES", 20)
    asked = []

    def counted(tokens: Sequence[bytes], views: Sequence[View]) -> object:
        asked.append(len(tokens))
        return match_all(tokens, views)

    monkeypatch.setattr(matching, "match_all", counted)
    dice = random.Random(4)
    bits = [[dice.choice(TOKENS[:2]) for _ in range(900)] for _ in range(2)]
    same(bits[0], make_scope([document(0, bits[1])]))
    assert asked == [900]
    same(words("nothing of this stands there"), make_scope([document(0, bits[1])]))
    assert asked == [900]


def test_questions_about_a_text_that_repeats_itself_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other they would grow with the output times the document."""
    monkeypatch.setattr(matching, "MAX_ASKED_BYTES", 20_000)
    monkeypatch.setattr(matching, "MAX_ASKED_TIMES", 4)
    asked = []
    plain = View.has

    def counted(view: View, text: bytes) -> bool:
        asked.append(len(text))
        return plain(view, text)

    monkeypatch.setattr(View, "has", counted)
    held = indexed(make_scope([document(0, [b"a"] * 1_000)]))
    for count in (2_000, 4_000, 8_000):
        asked.clear()
        found = attribute_indexed([b"a"] * count, held)
        assert sum(asked) < 20_000 + 4 * 2 * count + 20 * 2 * 1_000
        assert [(span.start, span.length) for span in found.spans[:2]] == [(0, 1_000), (1_000, 1)]
        assert {b.start - a.start for a, b in pairwise(found.spans[1:])} == {1}


@pytest.mark.parametrize("block", [1, 3, 7, 10**6])
def test_tokens_before_an_offset_are_counted_block_by_block(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(segment, "_COUNT_BYTES", block)
    texts = words("a bb ccc 天地 dddd"), words("e ff")
    held = indexed(make_scope(document(n, text) for n, text in enumerate(texts))).views[0].segment
    for number, text in enumerate(texts):
        offset = held.places[number].start
        for count, token in enumerate(text):
            assert held.token_at(number, offset) == count
            offset += len(token) + 1
