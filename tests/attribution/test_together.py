"""Outputs attributed in one pass have the integers that they have one by one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.attribution import together
from openledger_node.attribution.canon import canonical_text
from openledger_node.attribution.reference import Attribution, attribute
from openledger_node.attribution.scope import Scope, make_scope
from openledger_node.attribution.together import attribute_together, separator_of
from tests.attribution.build import document, words

SEPARATOR = separator_of(bytes(32))
texts = st.lists(st.sampled_from(["p", "q", "r", "\u4e2d"]), max_size=40).map(" ".join)


def plain(found: Attribution) -> tuple[object, ...]:
    """An attribution in the order of the output."""
    return found.token_count, sorted(found.spans, key=lambda s: s.start), sorted(found.cuts)


def agree(outputs: list[list[bytes]], scope: Scope) -> None:
    alone = [plain(attribute(tokens, scope)) for tokens in outputs]
    assert [plain(found) for found in attribute_together(outputs, scope, SEPARATOR)] == alone


def test_the_separator_is_one_token_of_its_own_for_each_id() -> None:
    text = canonical_text(SEPARATOR)
    assert text is not None
    assert text.tokens() == [SEPARATOR]
    assert separator_of(b"\1" * 32) != SEPARATOR


@pytest.mark.rule("R1", "R2")
@settings(max_examples=80, deadline=None)
@given(
    st.lists(texts, max_size=5), st.lists(texts, max_size=4), st.sampled_from(["", "p q r " * 4])
)
def test_one_pass_gives_what_each_alone_gives(
    outputs: list[str], corpus: list[str], common: str
) -> None:
    scope = make_scope(
        [
            *(document(n, words(text)) for n, text in enumerate(corpus)),
            document(9, words(common), commons=True),
        ]
    )
    agree([words(text) for text in outputs], scope)


@pytest.mark.rule("R2")
def test_a_text_that_runs_on_from_one_output_to_the_next_is_not_joined() -> None:
    text = words(" ".join(f"w{n}" for n in range(40)))
    scope = make_scope([document(1, text)])
    agree([text[:20], text[20:], [], text[5:12], text], scope)


@pytest.mark.parametrize("limit", [1, 30, 41, 42, 100])
def test_more_tokens_than_a_pass_takes_go_in_several(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = words(" ".join(f"w{n}" for n in range(40)))
    scope = make_scope([document(1, text)])
    monkeypatch.setattr(together, "MAX_OUTPUT_TOKENS", limit)
    agree([text[:20], [], text[20:], text, [], text[3:30]], scope)


def test_no_output_has_no_attribution() -> None:
    assert attribute_together([], make_scope([]), SEPARATOR) == []
