"""R3: what derives from whom, against a naive oracle, and each way to hide a copy."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.attribution import derivation
from openledger_node.attribution.derivation import (
    BLOCK_TOKENS,
    MAX_SOURCES_OF_A_BLOCK,
    MAX_STEP,
    MAX_VOTES,
    MIN_CHAIN,
    MIN_VOTES,
    Subject,
    derive,
)
from openledger_node.attribution.derivation_map import map_root, normal_form, tokens_by_source
from openledger_node.attribution.grams import GramNumbers
from openledger_node.attribution.redirect import HeldMap
from openledger_node.attribution.scope import ScopeDocument, make_scope
from tests.attribution.build import contribution_id
from tests.attribution.derivation_oracle import derived_tokens
from tests.attribution.laundered import Shelf, Tokens, edited, flat, text

pytestmark = pytest.mark.rule("R3")

ANN = text("ann", 1_500)
WINDOW = slice(400, 700)


# Against the oracle.


@st.composite
def libraries(draw: st.DrawFn) -> tuple[list[Tokens], list[ScopeDocument], int]:
    """A subject's texts, documents by three accounts in four epochs, and a length of chains.

    Texts are pieces of one another over few words, edited here and there.
    """
    dice = random.Random(draw(st.integers(0, 2**32)))
    words = [b"%d" % n for n in range(draw(st.sampled_from([1, 2, 4, 30, 2_000])))]
    documents: list[ScopeDocument] = []

    def piece() -> Tokens:
        fresh = dice.choices(words, k=dice.choice([0, 3, 5, 30, 200]))
        if not documents or dice.random() < 0.3:
            return fresh
        taken = dice.choice(documents).tokens
        first = dice.randrange(len(taken) + 1)
        copied = taken[first : first + dice.choice([8, 40, 700])]
        return fresh + [w if dice.random() > 0.08 else dice.choice(words) for w in copied]

    for number in range(draw(st.integers(0, 6))):
        owner, order = contribution_id(dice.randrange(3)), (dice.randrange(1, 5), b"", number)
        for index in range(dice.randrange(1, 4)):
            tokens = piece() + piece()
            documents.append(
                ScopeDocument(
                    contribution_id(100 + number), order, index, owner, tokens, dice.random() < 0.1
                )
            )
    texts = [piece() + piece() + piece() for _ in range(draw(st.integers(0, 3)))]
    return texts, documents, draw(st.sampled_from([1, 5, 10, 40]))


@given(libraries())
@settings(max_examples=150, deadline=None)
def test_the_fast_form_finds_what_the_rule_says(
    library: tuple[list[Tokens], list[ScopeDocument], int],
) -> None:
    texts, documents, min_chain = library
    ordered = sorted(documents, key=lambda item: (item.order, item.document))
    owner = contribution_id(0)
    found = derive(Subject(owner, 4, texts), ordered, min_chain)
    assert flat(found) == derived_tokens(owner, 4, texts, documents, min_chain)
    assert normal_form(found) == found


@given(libraries(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_neither_the_order_of_insertion_nor_batches_change_a_map(
    library: tuple[list[Tokens], list[ScopeDocument], int], dice: random.Random
) -> None:
    texts, documents, min_chain = library
    subject = Subject(contribution_id(0), 4, texts)
    plain = [item for item in documents if not item.commons]
    found = derive(subject, make_scope(plain).sources, min_chain)
    dice.shuffle(plain)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(derivation, "BATCH_TOKENS", 1)
        patch.setattr(derivation, "BATCH_BLOCKS", 1)
        again = derive(subject, make_scope(plain).sources, min_chain)
    assert again == found
    assert map_root(contribution_id(9), again) == map_root(contribution_id(9), found)


# Each theft.


def test_a_verbatim_copy_derives_whole() -> None:
    shelf = Shelf()
    shelf.add(1, ANN)
    assert tokens_by_source(shelf.add(2, ANN)) == {contribution_id(1): len(ANN)}
    assert shelf.credited(ANN[WINDOW]) == {1: 300}


@pytest.mark.parametrize(("rate", "most"), [(0.0, 0.003), (0.05, 0.02), (0.15, 0.06)])
def test_an_edited_copy_earns_its_copier_next_to_nothing(rate: float, most: float) -> None:
    shelf = Shelf()
    shelf.add(1, ANN)
    copy = edited(ANN, rate)
    shelf.add(2, copy)
    assert shelf.share(copy[WINDOW], 2) <= most
    shelf.maps.clear()
    assert shelf.share(copy[WINDOW], 2) == (0.0 if rate == 0.0 else 1.0)


@pytest.mark.parametrize(("rate", "most"), [(0.0, 0.003), (0.05, 0.02), (0.15, 0.06)])
def test_ten_times_as_much_junk_around_a_copy_does_not_hide_it(rate: float, most: float) -> None:
    shelf = Shelf()
    shelf.add(1, ANN)
    copy = edited(ANN, rate)
    junk = text("junk", 10 * len(copy))
    shelf.add(2, junk[:7_003] + copy + junk[7_003:])
    assert shelf.share(copy[WINDOW], 2) <= most
    assert shelf.credited(junk[:500]) == {2: 500}


@pytest.mark.parametrize("size", [60, 120, 250])
def test_a_collage_of_many_texts_pays_each_of_them(size: int) -> None:
    shelf = Shelf()
    texts = [text(name, 1_000) for name in ("ann", "ben", "cem", "dag", "eva")]
    for number, tokens in enumerate(texts, 1):
        shelf.add(number, tokens)
    pieces = [tokens[first : first + size] for first in range(0, 1_000, size) for tokens in texts]
    random.Random(3).shuffle(pieces)
    copy = edited([token for piece in pieces for token in piece], 0.05)
    shelf.add(9, copy)
    assert shelf.share(copy, 9) <= 0.03
    assert all(shelf.share(copy, number) > 0.17 for number in range(1, 6))


def test_cutting_a_copy_into_small_documents_does_not_hide_it() -> None:
    shelf = Shelf()
    shelf.add(1, ANN)
    copy = edited(ANN, 0.05)
    parts = [copy[first : first + 24] for first in range(0, len(copy), 24)]
    shelf.add(2, *parts)
    assert sum(shelf.credited(part).get(2, 0) for part in parts) / len(copy) <= 0.08


def test_a_copy_of_a_copy_pays_the_first() -> None:
    shelf = Shelf()
    shelf.add(1, ANN)
    copy = edited(ANN, 0.1, seed=1)
    shelf.add(2, copy)
    again = edited(copy, 0.1, seed=2)
    named = tokens_by_source(shelf.add(3, again))
    assert named.get(contribution_id(2), 0) < 0.02 * named[contribution_id(1)]
    assert shelf.share(again[WINDOW], 1) >= 0.97


def test_a_copy_of_an_undeclared_copy_is_followed_as_soon_as_that_one_is_claimed() -> None:
    shelf = Shelf()
    shelf.add(1, ANN)
    copy = edited(ANN, 0.1, seed=1)
    claimed = shelf.add(2, copy, declare=False)
    again = edited(copy, 0.05, seed=2)
    shelf.add(3, again)
    assert shelf.share(again[WINDOW], 2) > 0.5
    shelf.maps.append(HeldMap(contribution_id(2), claimed))
    assert shelf.share(again[WINDOW], 1) >= 0.97


# What is no derivation.


def test_what_an_owner_registers_again_derives_from_nobody() -> None:
    shelf = Shelf()
    shelf.add(1, ANN, owner=5)
    assert shelf.add(2, edited(ANN, 0.05), owner=5) == ()


def test_texts_of_one_epoch_do_not_derive_from_each_other() -> None:
    shelf = Shelf()
    shelf.add(1, ANN, epoch=4)
    assert shelf.add(2, ANN, epoch=4) == ()
    assert shelf.add(3, ANN, epoch=5) != ()


def test_a_thief_does_not_become_the_source_of_what_its_owner_registers_again() -> None:
    shelf = Shelf()
    shelf.add(1, ANN, owner=5)
    shelf.add(2, ANN, declare=False)
    assert shelf.add(3, [*ANN, *text("new", 600)], owner=5) == ()


def test_registering_a_copy_twice_does_not_make_it_ones_own() -> None:
    shelf = Shelf()
    shelf.add(1, ANN)
    shelf.add(2, ANN, owner=6)
    assert tokens_by_source(shelf.add(3, ANN, owner=6)) == {contribution_id(1): len(ANN)}


def test_common_texts_are_no_source() -> None:
    shelf = Shelf()
    shelf.add(1, ANN, commons=True)
    subject = Subject(contribution_id(7), 9, [ANN])
    assert derive(subject, shelf.documents) == ()


def test_a_quotation_of_too_few_words_stays_with_who_quotes() -> None:
    shelf = Shelf()
    shelf.add(1, ANN)
    quoted = MIN_CHAIN + 3
    assert shelf.add(2, [*text("ben", 300), *ANN[:quoted], *text("ben", 300, 400)]) == ()
    found = shelf.add(3, [*text("cem", 300), *ANN[: quoted + 1], *text("cem", 300, 400)])
    assert tokens_by_source(found) == {contribution_id(1): quoted + 1}


def test_stock_phrases_far_apart_or_in_another_order_make_no_copy() -> None:
    shelf = Shelf()
    shelf.add(1, ANN)
    phrases = [ANN[first : first + 7] for first in range(0, 1_000, 50)]
    for number, apart in ((2, phrases), (3, phrases[::-1])):
        parts = [part for n, phrase in enumerate(apart) for part in
                 (text(f"own{number}x{n}x", 10), phrase)]  # fmt: skip
        assert shelf.add(number, [token for part in parts for token in part]) == ()


def test_phrases_that_follow_each_other_as_in_their_source_make_a_chain() -> None:
    shelf = Shelf()
    shelf.add(1, ANN)
    phrases = [ANN[first : first + 7] for first in range(0, 200, 40)]
    parts = [part for n, phrase in enumerate(phrases) for part in (text(f"ben{n}x", 10), phrase)]
    found = shelf.add(2, [*(token for part in parts for token in part), *text("ben", 50)])
    assert sum(entry.length for entry in found) == 5 * 7 + 4 * 10


def test_a_chain_goes_on_from_block_to_block_and_past_phrases_of_others() -> None:
    shelf = Shelf()
    shelf.add(1, ANN)
    shelf.add(2, text("ben", 40))
    phrase = text("ben", 10, 3)
    copy = [*text("own", 502), *ANN[:20], *phrase, *ANN[20:27], *text("own", 50, 600)]
    found = shelf.add(3, copy)
    assert tokens_by_source(found) == {contribution_id(1): 37}


# Votes, ties, places and gaps.


def test_of_documents_with_equal_votes_the_first_in_ledger_order_is_the_source() -> None:
    shelf = Shelf()
    for number in (4, 2, 3):
        shelf.add(number, ANN, declare=False, epoch=1)
    (entry,) = shelf.add(9, ANN)
    assert (entry.contribution, entry.source_token, entry.length) == (
        contribution_id(2), 0, len(ANN),
    )  # fmt: skip


def test_of_two_documents_of_a_contribution_the_fuller_one_is_the_source() -> None:
    shelf = Shelf()
    shelf.add(1, ANN[:60], ANN[:120])
    (entry,) = shelf.add(2, ANN[:120])
    assert (entry.source_document, entry.length) == (1, 120)


def test_a_repeated_gram_stands_where_the_copy_goes_on() -> None:
    shelf = Shelf()
    refrain = text("refrain", 20)
    song = [*text("a", 40), *refrain, *text("b", 40), *refrain, *text("c", 40)]
    shelf.add(1, song)
    (entry,) = shelf.add(2, song[60:])
    assert (entry.start, entry.length, entry.source_token) == (0, 100, 60)


@pytest.mark.parametrize(("gap", "moves"), [(MAX_STEP - 5, True), (MAX_STEP - 4, False)])
def test_a_gap_moves_with_its_sides_up_to_its_limit(gap: int, moves: bool) -> None:
    shelf = Shelf()
    shelf.add(1, ANN)
    own = text("ben", gap)
    copy = [*ANN[:100], *own, *ANN[100:200]]
    assert sum(e.length for e in shelf.add(2, copy)) == (200 + gap if moves else 200)


def test_a_gap_whose_sides_are_far_apart_in_the_source_or_in_another_order_stays() -> None:
    shelf = Shelf()
    shelf.add(1, ANN)
    own = text("ben", 5)
    for first, second, gap in ((0, 141, 0), (0, 140, 5), (400, 100, 0)):
        copy = [*ANN[first : first + 100], *own, *ANN[second : second + 100]]
        moved = sum(e.length for e in shelf.add(len(shelf.orders) + 2, copy, declare=False))
        assert moved == 200 + gap


def test_a_gap_between_blocks_moves_too() -> None:
    shelf = Shelf()
    shelf.add(1, ANN)
    copy = [*ANN[: BLOCK_TOKENS - 6], *text("ben", 12), *ANN[BLOCK_TOKENS - 6 : 1_000]]
    assert sum(e.length for e in shelf.add(2, copy)) == 1_012


# Evil inputs: linear whatever they hold.


def test_one_repeated_token_is_read_in_linear_time() -> None:
    shelf = Shelf()
    shelf.add(1, [b"la"] * 200_000)
    found = shelf.add(2, [b"la"] * 300_000)
    assert tokens_by_source(found) == {contribution_id(1): 300_000}


def test_ten_thousand_identical_headers_are_read_in_linear_time() -> None:
    header = text("licence", 60)
    shelf = Shelf()
    shelf.add(1, *([*header, b"own%d" % n] for n in range(10_000)))
    found = shelf.add(2, *([*header, b"mine%d" % n] for n in range(10_000)))
    assert tokens_by_source(found) == {contribution_id(1): 600_000}
    assert {entry.source_document for entry in found} == {0}


def test_a_gram_votes_for_the_first_documents_that_have_it_and_no_more() -> None:
    shelf = Shelf()
    for number in range(1, MAX_VOTES + 1):
        shelf.add(number, [*text("shared", 200), *text(f"n{number}x", 5)], declare=False)
    beyond = [*text("shared", 200), *text("beyond", 60)]
    shelf.add(90, beyond, declare=False)
    named = tokens_by_source(shelf.add(91, beyond))
    assert named == {contribution_id(1): 196, contribution_id(90): 64}


def test_a_block_has_no_more_sources_than_its_limit() -> None:
    shelf = Shelf()
    count = MAX_SOURCES_OF_A_BLOCK + 3
    parts = [text(f"n{number}x", 14) for number in range(1, count + 1)]
    for number, part in enumerate(parts, 1):
        shelf.add(number, part)
    found = shelf.add(99, [token for part in parts for token in part])
    assert set(tokens_by_source(found)) == {
        contribution_id(number) for number in range(1, MAX_SOURCES_OF_A_BLOCK + 1)
    }


def test_a_document_with_fewer_votes_than_needed_is_no_source() -> None:
    shelf = Shelf()
    shelf.add(1, ANN)
    few = MIN_VOTES + 3
    assert shelf.add(2, [*text("own", 500), *ANN[:few]]) == ()
    assert shelf.add(3, [*text("cem", 4), *ANN[:few]]) != ()  # half of a small document


def test_documents_that_are_empty_or_shorter_than_a_gram_derive_from_nothing() -> None:
    shelf = Shelf()
    shelf.add(1, [], ANN[:4], ANN[:5])
    assert shelf.add(2, [], ANN[:4], []) == ()
    assert shelf.add(3, ANN[:5], []) != ()
    assert derive(Subject(contribution_id(1), 1, []), []) == ()


def test_grams_have_one_number_each_and_do_not_cross_documents() -> None:
    words = text("w", 9)
    numbers = GramNumbers([[*words, *words]], np.arange(14))
    assert numbers.count == len(set(numbers.grams.tolist())) == 9
    gram, index, position = numbers.find([words[:3], [], words[3:], words[2:8], [b"?", *words]])
    assert (index.tolist(), position.tolist()) == (
        [2, 2, 3, 3, 4, 4, 4, 4, 4], [0, 1, 0, 1, 1, 2, 3, 4, 5],
    )  # fmt: skip
    assert gram.tolist() == numbers.grams[[3, 4, 2, 3, 0, 1, 2, 3, 4]].tolist()
