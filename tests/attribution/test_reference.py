"""R1 and R2 beside a search that tries every pair of places."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.attribution import reference
from openledger_node.attribution.reference import attribute
from openledger_node.attribution.scope import Scope, ScopeDocument, make_scope, pending_order
from tests.attribution import oracles
from tests.attribution.build import Place, contribution_id, document, places, weights_of, words
from tests.attribution.texts import SCRIPTS, mixed_texts

CHINESE = "天".encode()

token_lists = st.one_of(
    st.lists(st.sampled_from([b"a", b"b", CHINESE]), max_size=40),
    st.builds(
        lambda unit, n: unit * n,
        st.lists(st.sampled_from([b"a", b"b"]), max_size=3),
        st.integers(0, 14),
    ),
)
sources = st.lists(st.tuples(token_lists, st.booleans()), max_size=4)
picks = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=3)


def expected_places(output: list[bytes], scope: Scope) -> list[Place | None]:
    """What the oracle says."""
    found = oracles.owners(
        output,
        weights_of(output),
        [item.tokens for item in scope.sources],
        [item.tokens for item in scope.commons],
    )
    return [
        place
        and (scope.sources[place[0]].contribution_id, scope.sources[place[0]].document, place[1])
        for place in found
    ]


@pytest.mark.rule("R1", "R2")
@settings(max_examples=60)
@given(texts=sources, output=token_lists, picked=picks)
def test_each_token_belongs_to_what_trying_every_pair_gives(
    texts: list[tuple[list[bytes], bool]],
    output: list[bytes],
    picked: list[tuple[int, int]],
) -> None:
    for which, start in picked:
        if which < len(texts):
            output = output + texts[which][0][start : start + 12]
    scope = make_scope(
        document(n, tokens, commons=commons and n == 3) for n, (tokens, commons) in enumerate(texts)
    )
    found = attribute(output, scope)
    assert places(found, scope) == expected_places(output, scope)
    cut = oracles.cut_flags(output, [item.tokens for item in scope.commons])
    assert [t for start, end in found.cuts for t in range(start, end)] == [
        t for t, is_cut in enumerate(cut) if is_cut
    ]


@pytest.mark.rule("R1", "R2")
@settings(max_examples=40)
@given(st.lists(mixed_texts, min_size=1, max_size=4), st.data())
def test_texts_of_any_script_are_attributed_as_by_the_oracle(
    texts: list[str], data: st.DataObject
) -> None:
    scope = make_scope(document(n, words(text * 2), commons=n == 3) for n, text in enumerate(texts))
    pieces = data.draw(st.lists(st.sampled_from(texts), max_size=3))
    begin = data.draw(st.integers(0, 9))
    output = words(" / ".join(piece[begin:] for piece in pieces))
    assert places(attribute(output, scope), scope) == expected_places(output, scope)


@pytest.mark.rule("R2")
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_text_of_every_script_is_found_again(script: str) -> None:
    text = SCRIPTS[script] * 9
    scope = make_scope([document(1, words(text))])
    (span,) = attribute(words(text), scope).spans
    assert (span.start, span.token, span.length) == (0, 0, len(words(text)))


@pytest.mark.rule("R2")
@pytest.mark.parametrize("period", [1, 2, 3, 7, 8, 9])
def test_periodic_texts_are_attributed_as_by_the_oracle(period: int) -> None:
    unit = [b"p%d" % n for n in range(period)]
    scope = make_scope([document(1, unit * 5 + [b"x"] + unit * 9), document(2, unit * 12)])
    output = unit[1:] + unit * 10 + [b"y"] + unit * 6
    assert places(attribute(output, scope), scope) == expected_places(output, scope)


@pytest.mark.rule("R2")
def test_identical_documents_of_two_owners_go_to_the_earlier() -> None:
    text = words("one two three four five six seven eight nine ten")
    late, early = document(2, text), document(1, text)
    for given_in in ([late, early], [early, late]):
        (span,) = attribute(text, make_scope(given_in)).spans
        assert (span.contribution_id, span.length) == (contribution_id(1), 10)


@pytest.mark.rule("R2")
def test_pending_contributions_come_after_all_that_are_final() -> None:
    text = words("one two three four five six seven eight nine ten")
    pending = ScopeDocument(contribution_id(0), pending_order(b"", 0), 0, b"", text)
    (span,) = attribute(text, make_scope([pending, document(10**9, text)])).spans
    assert span.contribution_id == contribution_id(10**9)
    (span,) = attribute(text, make_scope([pending])).spans
    assert span.contribution_id == contribution_id(0)


@pytest.mark.rule("R2")
def test_the_order_of_positions_is_contribution_then_document_then_token() -> None:
    text = words("one two three four five six seven eight")
    gap = [b"gap"]
    scope = make_scope(
        [
            document(2, text),
            document(1, text, index=11),
            document(1, gap * 9 + text + gap + text, index=2),
        ]
    )
    (span,) = attribute(text, scope).spans
    assert (span.contribution_id, span.document, span.token) == (contribution_id(1), 2, 9)


@pytest.mark.rule("R2")
def test_a_longer_match_wins_over_an_earlier_one_and_keeps_what_they_share() -> None:
    text = words(" ".join(f"w{n}" for n in range(20)))
    scope = make_scope([document(1, text[:12]), document(2, text[4:])])
    found = attribute(text, scope)
    assert [(s.start, s.length, s.contribution_id) for s in found.spans] == [
        (0, 4, contribution_id(1)),
        (4, 16, contribution_id(2)),
    ]


@pytest.mark.rule("R2")
def test_a_run_never_crosses_from_one_document_into_the_next() -> None:
    text = words(" ".join(f"w{n}" for n in range(14)))
    scope = make_scope([document(1, text[:7], index=0), document(1, text[7:], index=1)])
    assert attribute(text, scope).spans == ()


@pytest.mark.rule("R2")
@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("a b c d e f g h", 1),
        ("a b c d e f g", 0),
        ("天" * 16, 1),
        ("天" * 15, 0),
        ("a b c d " + "天" * 8, 1),
        ("a b c d " + "天" * 7, 0),
        ("one", 0),
        ("", 0),
        ("--- *** ---" * 9, 0),
    ],
)
def test_a_match_qualifies_from_weight_16_on(text: str, spans: int) -> None:
    scope = make_scope([document(1, words(text))])
    assert len(attribute(words(text), scope).spans) == spans


@pytest.mark.rule("R2")
def test_an_empty_scope_and_empty_documents_give_no_spans() -> None:
    text = words("one two three four five six seven eight")
    for scope in (make_scope([]), make_scope([document(1, []), document(2, [], commons=True)])):
        found = attribute(text, scope)
        assert (found.spans, found.cuts, found.unattributed_tokens) == ((), (), 8)


@pytest.mark.rule("R1")
def test_pieces_around_a_cut_are_not_joined() -> None:
    left, common, right = (words(f"{c}1 {c}2 {c}3 {c}4 {c}5 {c}6 {c}7 {c}8") for c in "lcr")
    scope = make_scope([document(1, left + right), document(2, common, commons=True)])
    found = attribute(left + common + right, scope)
    assert found.cuts == ((8, 16),)
    assert [(s.start, s.length, s.token) for s in found.spans] == [(0, 8, 0), (16, 8, 8)]
    assert found.unattributed_tokens == 8


@pytest.mark.rule("R1")
def test_a_run_ends_at_a_cut_even_where_the_source_has_the_common_text_too() -> None:
    left, common, right = (words(f"{c}1 {c}2 {c}3 {c}4 {c}5 {c}6 {c}7 {c}8") for c in "lcr")
    text = left + common + right
    scope = make_scope([document(1, text), document(2, common, commons=True)])
    found = attribute(text, scope)
    assert [(s.start, s.length, s.token) for s in found.spans] == [(0, 8, 0), (16, 8, 16)]


@pytest.mark.rule("R1")
def test_common_text_is_no_source_and_less_than_8_tokens_cut_nothing() -> None:
    text = words("one two three four five six seven eight nine")
    found = attribute(text, make_scope([document(1, text, commons=True)]))
    assert (found.spans, found.cuts) == ((), ((0, 9),))
    found = attribute(text, make_scope([document(1, text[:7], commons=True), document(2, text)]))
    assert (len(found.spans), found.cuts) == (1, ())


@pytest.mark.rule("R1")
def test_overlapping_common_8_grams_make_one_cut() -> None:
    text = words(" ".join(f"w{n}" for n in range(12)))
    scope = make_scope([document(1, text[:8], commons=True), document(2, text[3:], commons=True)])
    assert attribute(text, scope).cuts == ((0, 12),)


def test_an_output_past_the_limit_and_what_are_no_tokens_are_a_callers_mistake() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "MAX_OUTPUT_TOKENS", 7)
        assert attribute([b"a"] * 7, make_scope([])).token_count == 7
        with pytest.raises(ValueError, match="at most 7"):
            attribute([b"a"] * 8, make_scope([]))
    with pytest.raises(ValueError, match="not the tokens"):
        attribute([b"two words"], make_scope([]))


@pytest.mark.rule("R2")
def test_planted_spans_in_a_larger_scope_are_all_found() -> None:
    """A scope of 40,000 tokens from a vocabulary of 300, too large for the oracle."""

    def stream(name: str, count: int) -> list[bytes]:
        digest = hashlib.shake_256(name.encode()).digest(2 * count)
        return [
            b"w%d" % (int.from_bytes(digest[2 * n : 2 * n + 2], "big") % 300) for n in range(count)
        ]

    scope = make_scope(document(n, stream(f"document {n}", 2_000)) for n in range(20))
    output: list[bytes] = []
    planted: list[Place | None] = []
    for n in range(20):
        begin, length = 37 * n, 8 + 5 * n
        piece = scope.sources[n].tokens[begin : begin + length]
        output += [*piece, b"between%d" % n]
        planted += [(contribution_id(n), 0, begin + k) for k in range(length)]
        planted.append(None)
    assert places(attribute(output, scope), scope) == planted
