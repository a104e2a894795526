"""The index gives the integers of the reference: any corpus, any segments, any scope in them."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.attribution import matching, segment
from openledger_node.attribution.canon import canonical_text
from openledger_node.attribution.matching import attribute_indexed
from openledger_node.attribution.reference import Attribution, attribute
from openledger_node.attribution.scope import Scope, make_scope
from openledger_node.attribution.segment import build_segment, searchable, tokens_as_text
from tests.attribution.build import document, words
from tests.attribution.indexed import indexed
from tests.attribution.texts import SCRIPTS, mixed_texts

token_lists = st.one_of(
    st.lists(st.sampled_from([b"a", b"b", "天".encode()]), max_size=60),
    st.builds(
        lambda unit, n: unit * n,
        st.lists(st.sampled_from([b"a", b"b", b"aa"]), max_size=3),
        st.integers(0, 40),
    ),
)
corpora = st.lists(st.tuples(token_lists, st.booleans()), max_size=6)
picks = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40), st.integers(1, 40)), max_size=4)


def same(output: Sequence[bytes], scope: Scope, **how: object) -> Attribution:
    """What both give."""
    expected = attribute(list(output), scope)
    found = attribute_indexed(list(output), indexed(scope, **how))  # type: ignore[arg-type]
    assert found == expected
    return found


@pytest.mark.rule("R1", "R2")
@settings(max_examples=120, deadline=None)
@given(
    texts=corpora,
    output=token_lists,
    picked=picks,
    cuts=st.lists(st.integers(0, 6), max_size=4),
    others=st.lists(token_lists, max_size=3),
)
def test_the_index_gives_what_the_reference_gives(
    texts: list[tuple[list[bytes], bool]],
    output: list[bytes],
    picked: list[tuple[int, int, int]],
    cuts: list[int],
    others: list[list[bytes]],
) -> None:
    for which, start, length in picked:
        if which < len(texts):
            output = output + texts[which][0][start : start + length]
        elif others:
            output = output + others[which % len(others)][start : start + length]
    scope = make_scope(
        document(n, tokens, commons=commons and n >= 4) for n, (tokens, commons) in enumerate(texts)
    )
    same(output, scope, cuts=cuts, others=others)


@pytest.mark.rule("R1", "R2")
@settings(max_examples=60, deadline=None)
@given(st.lists(mixed_texts, min_size=1, max_size=4), st.data())
def test_the_index_gives_what_the_reference_gives_in_any_script(
    texts: list[str], data: st.DataObject
) -> None:
    scope = make_scope(document(n, words(text * 2), commons=n == 3) for n, text in enumerate(texts))
    pieces = data.draw(st.lists(st.sampled_from(texts), max_size=3))
    begin = data.draw(st.integers(0, 9))
    output = words(" / ".join(piece[begin:] for piece in pieces))
    same(output, scope, cuts=data.draw(st.lists(st.integers(0, 4), max_size=3)))


@pytest.mark.rule("R2")
def test_many_random_windows_miss_no_span_and_invent_none() -> None:
    order = random.Random(20)
    vocabulary = [b"w%d" % n for n in range(60)]
    texts = [[order.choice(vocabulary) for _ in range(order.randrange(1, 900))] for _ in range(24)]
    for copy in range(8):  # passages that stand in several documents
        source, target = order.choice(texts), order.randrange(len(texts))
        start = order.randrange(len(source))
        texts[target] = texts[target] + source[start : start + 40 + copy]
    scope = make_scope(document(n, tokens) for n, tokens in enumerate(texts))
    held = indexed(scope, cuts=[5, 6, 15])
    for _ in range(400):
        source = order.choice(texts)
        start = order.randrange(len(source))
        window = source[start : start + order.randrange(1, 60)]
        noise = [order.choice(vocabulary) for _ in range(order.randrange(0, 12))]
        output = noise + window + noise[::-1]
        for _ in range(order.randrange(3)):
            output[order.randrange(len(output))] = b"changed"
        assert attribute_indexed(output, held) == attribute(output, scope)


@pytest.mark.rule("R2")
def test_the_earliest_of_identical_documents_of_two_owners_is_named() -> None:
    text = words("the quick brown fox jumps over the lazy dog again and again " * 3)
    scope = make_scope(document(n, text) for n in (3, 1, 2))
    for cuts in ([], [1], [1, 2]):
        found = same(text, scope, cuts=cuts)
        (span,) = found.spans
        assert span.contribution_id == scope.sources[0].contribution_id
        assert (span.token, span.length) == (0, len(text))


@pytest.mark.rule("R2")
def test_a_longer_match_outside_the_scope_hides_none_within() -> None:
    inside = words("one two three four five six seven eight nine ten")
    outside = words("zero one two three four five six seven eight nine ten eleven twelve")
    scope = make_scope([document(0, inside)])
    found = same(outside, scope, others=[outside, outside])
    assert [(span.start, span.length) for span in found.spans] == [(1, 10)]


@pytest.mark.rule("R2")
def test_a_text_that_stands_in_very_many_places_is_found_at_its_earliest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(segment, "BLOCK_SUFFIXES", 8)
    header = words("copyright by the authors of this and of that and of the other thing")
    scope = make_scope(document(n, [b"d%d" % n, *header, *header, b"e%d" % n]) for n in range(40))
    output = [b"x", *header, b"y", *header[2:], *header[:9]]
    same(output, scope, cuts=[7, 30])
    chosen = make_scope(document(n, item.tokens) for n, item in enumerate(scope.sources) if n > 20)
    others = [item.tokens for n, item in enumerate(scope.sources) if n <= 20]
    same(output, chosen, cuts=[3], others=others)


@pytest.mark.rule("R2")
@pytest.mark.parametrize("count", [1, 7, 8, 9, 500])
def test_one_repeated_token_is_matched_as_far_as_it_goes(count: int) -> None:
    scope = make_scope([document(0, [b"a"] * 300), document(1, [b"b"] * 5)])
    same([b"a"] * count, scope)
    same([b"b"] * count, scope)


def test_questions_grow_with_the_output_and_the_matches_not_with_their_lengths(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = 0
    plain = segment.View.has

    def counted(view: segment.View, text: bytes) -> bool:
        nonlocal asked
        asked += 1
        return plain(view, text)

    monkeypatch.setattr(segment.View, "has", counted)
    long = [b"t%d" % (n * n % 977) for n in range(20_000)]
    attribute_indexed(long, indexed(make_scope([document(0, long)])))
    assert asked < 60
    asked = 0
    attribute_indexed([b"new"] * 5_000, indexed(make_scope([document(0, long)])))
    assert asked < 5_100


def test_an_output_past_its_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "MAX_OUTPUT_TOKENS", 10)
    with pytest.raises(ValueError, match="at most 10"):
        attribute_indexed([b"a"] * 11, indexed(make_scope([])))


@pytest.mark.parametrize("text", ["", "\n\n", "one", *SCRIPTS])
def test_a_document_stands_in_a_segment_token_by_token(text: str) -> None:
    canonical = canonical_text(text.encode())
    assert canonical is not None
    assert searchable(canonical) == tokens_as_text(canonical.tokens()) + b"\0"


def test_a_long_document_is_put_together_from_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "_GATHER_TOKENS", 7)
    canonical = canonical_text("a bb ccc 天地 dddd, ".encode() * 40)
    assert canonical is not None
    assert searchable(canonical) == tokens_as_text(canonical.tokens()) + b"\0"


@settings(max_examples=60, deadline=None)
@given(st.lists(token_lists, max_size=5))
def test_suffixes_are_those_at_tokens_in_the_order_of_what_follows(
    texts: list[list[bytes]],
) -> None:
    built = build_segment([(bytes(32), n, tokens_as_text(t) + b"\0") for n, t in enumerate(texts)])
    whole = built.text
    starts = [at for at in range(len(whole)) if whole[at] > 1 and (at == 0 or whole[at - 1] <= 1)]
    assert list(built.suffixes) == sorted(starts, key=lambda at: whole[at:])


def test_a_segment_past_its_limit_is_refused_unless_it_is_one_document(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(segment, "MAX_TEXT_BYTES", 10)
    build_segment([(bytes(32), 0, b"abcdefghijkl\1\0")])
    with pytest.raises(ValueError, match="at most 10"):
        build_segment([(bytes(32), 0, b"abcdefg\1\0"), (bytes(32), 1, b"b\1\0")])
