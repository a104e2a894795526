"""R4: token counts become parts per million that add up to exactly one million."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.attribution.reference import attribute
from openledger_node.attribution.scope import make_scope
from openledger_node.attribution.weights import PPM, Weights, count_tokens, weigh
from tests.attribution.build import contribution_id, document, words
from tests.attribution.oracles import largest_remainder

TEXT = words("one two three four five six seven eight")


def weighed(counts: dict[int, int], rest: int) -> Weights:
    """R4 over contributions named by their place in ledger order."""
    named = {contribution_id(n): tokens for n, tokens in counts.items()}
    return weigh(named, rest, {contribution_id(n): (n, b"", 0) for n in counts})


@pytest.mark.rule("R4")
@settings(max_examples=60)
@given(st.dictionaries(st.integers(1, 400), st.integers(1, 50), max_size=300), st.integers(0, 99))
def test_weights_are_a_largest_remainder_split_of_exactly_a_million(
    counts: dict[int, int], rest: int
) -> None:
    weights = weighed(counts, rest)
    assert sum(ppm for _, ppm in weights.contributions) + weights.unattributed_ppm == PPM
    if not counts:
        return
    kept = sorted(counts, key=lambda n: (-counts[n], n))[:255]
    assert [key for key, _ in weights.contributions] == [contribution_id(n) for n in kept]
    rest += sum(counts.values()) - sum(counts[n] for n in kept)
    parts = [*(ppm for _, ppm in weights.contributions), weights.unattributed_ppm]
    tokens = [*(counts[n] for n in kept), rest]
    downs, least = largest_remainder(PPM, tokens)
    for part, down, count in zip(parts, downs, tokens, strict=True):
        assert part - down in (0, 1)
        remainder = PPM * count % sum(tokens)
        if part > down:
            assert remainder >= least * sum(tokens)
        else:
            assert remainder <= least * sum(tokens)


@pytest.mark.rule("R4")
def test_the_255_largest_are_kept_and_ties_go_by_ledger_order() -> None:
    weights = weighed(dict.fromkeys(range(1, 258), 7), 0)
    kept = {key for key, _ in weights.contributions}
    assert kept == {contribution_id(n) for n in range(1, 256)}
    assert weights.unattributed_ppm in (PPM * 14 // (257 * 7), PPM * 14 // (257 * 7) + 1)
    heavier = weighed({**dict.fromkeys(range(1, 257), 7), 257: 8}, 0)
    assert heavier.contributions[0][0] == contribution_id(257)
    assert contribution_id(255) not in dict(heavier.contributions)


@pytest.mark.rule("R4")
def test_a_part_of_no_ppm_is_left_out() -> None:
    weights = weighed({1: 10_000_000, 2: 1}, 0)
    assert weights == Weights(((contribution_id(1), PPM),), 0)


@pytest.mark.rule("R4")
@pytest.mark.parametrize(
    ("counts", "rest", "ppm", "unattributed"),
    [
        ({}, 0, [], PPM),
        ({}, 9, [], PPM),
        ({1: 5}, 0, [PPM], 0),
        ({1: 1, 2: 3}, 0, [750_000, 250_000], 0),
        ({1: 8}, 24, [250_000], 750_000),
    ],
)
def test_plain_examples_have_plain_weights(
    counts: dict[int, int], rest: int, ppm: list[int], unattributed: int
) -> None:
    weights = weighed(counts, rest)
    assert [part for _, part in weights.contributions] == ppm
    assert weights.unattributed_ppm == unattributed


@pytest.mark.rule("R4")
def test_an_output_without_tokens_is_all_unattributed() -> None:
    counts, rest = count_tokens([attribute([], make_scope([document(1, TEXT)]))])
    assert weigh(counts, rest, {}) == Weights((), PPM)


@pytest.mark.rule("R1", "R4")
def test_outputs_of_one_receipt_are_summed_and_what_was_cut_is_unattributed() -> None:
    common = words("c1 c2 c3 c4 c5 c6 c7 c8")
    scope = make_scope([document(1, TEXT), document(2, common, commons=True)])
    outputs = [TEXT, common + TEXT, words("nothing of it")]
    counts, rest = count_tokens(attribute(output, scope) for output in outputs)
    assert (counts, rest) == ({contribution_id(1): 16}, 11)


@pytest.mark.rule("R4")
def test_a_derivation_moves_tokens_and_must_add_up_to_its_span() -> None:
    found = attribute(TEXT, make_scope([document(1, TEXT)]))
    moved, _ = count_tokens([found], lambda span: [(contribution_id(9), span.length)])
    assert moved == {contribution_id(9): 8}
    with pytest.raises(ValueError, match="add up"):
        count_tokens([found], lambda span: [])
