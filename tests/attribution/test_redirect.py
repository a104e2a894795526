"""Following maps from a derived text to whom its tokens belong, against a look at each token."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.attribution import redirect as module
from openledger_node.attribution.derivation_map import MapEntry, normal_form, tokens_by_source
from openledger_node.attribution.redirect import MAX_MAPS, MAX_STEPS, HeldMap, Redirect, resolve
from openledger_node.attribution.reference import Attribution, Span
from openledger_node.attribution.scope import LedgerOrder
from openledger_node.attribution.weights import UNATTRIBUTED_KEY, count_tokens, weigh
from tests.attribution.build import contribution_id

pytestmark = pytest.mark.rule("R3", "R4")

Place = tuple[bytes, int, int]


def one(n: int) -> bytes:
    return contribution_id(n)


def entry(start: int, length: int, source: int, place: int = 0) -> MapEntry:
    return MapEntry(0, start, length, one(source), 0, place)


def orders(*numbers: int) -> dict[bytes, LedgerOrder]:
    """Contribution n of epoch n."""
    return {one(n): (n, b"", 0) for n in numbers}


def span(n: int, token: int, length: int) -> Span:
    return Span(0, length, 0, one(n), 0, token)


def counted(redirect: Redirect, n: int, token: int, length: int) -> dict[int, int]:
    found = redirect(span(n, token, length))
    assert sum(tokens for _, tokens in found) == length
    return {int.from_bytes(named, "big"): tokens for named, tokens in found}


def test_tokens_in_a_derived_part_go_to_the_source_and_the_rest_stays() -> None:
    redirect = Redirect([HeldMap(one(2), (entry(10, 20, 1),))], orders(1, 2))
    assert counted(redirect, 2, 0, 100) == {2: 80, 1: 20}
    assert counted(redirect, 2, 15, 5) == {1: 5}
    assert counted(redirect, 2, 30, 5) == {2: 5}
    assert counted(redirect, 1, 0, 50) == {1: 50}


def test_without_maps_every_token_stays_where_it_was_found() -> None:
    redirect = Redirect([], orders(1))
    assert not redirect
    assert counted(redirect, 1, 3, 9) == {1: 9}


def test_a_copy_of_a_copy_pays_the_first_for_what_the_copy_had_of_it() -> None:
    maps = [
        HeldMap(one(2), (entry(0, 50, 1, 1_000),)),
        HeldMap(one(3), (entry(0, 80, 2, 20),)),
    ]
    redirect = Redirect(maps, orders(1, 2, 3))
    assert redirect.follow(one(3), 0, 0, 100) == [
        (one(1), 0, 1_020, 30),
        (one(2), 0, 50, 50),
        (one(3), 0, 80, 20),
    ]


def test_an_upheld_map_comes_before_one_that_was_merely_declared() -> None:
    own, claim = HeldMap(one(9), (entry(0, 10, 1),)), HeldMap(one(9), (entry(5, 10, 4),), True)
    for maps in ([own, claim], [claim, own]):
        redirect = Redirect(maps, orders(1, 4, 9))
        assert counted(redirect, 9, 0, 20) == {1: 5, 4: 10, 9: 5}


def test_of_maps_of_one_standing_the_source_first_in_ledger_order_is_paid() -> None:
    maps = [HeldMap(one(9), (entry(0, 10, 4),)), HeldMap(one(9), (entry(5, 10, 1),))]
    for given_maps in (maps, maps[::-1]):
        redirect = Redirect(given_maps, orders(1, 4, 9))
        assert counted(redirect, 9, 0, 20) == {4: 5, 1: 10, 9: 5}


@pytest.mark.parametrize("known", [(2,), (1,), (), (1, 2)])
def test_an_entry_counts_only_when_both_ends_are_final_and_its_source_earlier(
    known: tuple[int, ...],
) -> None:
    redirect = Redirect([HeldMap(one(2), (entry(0, 10, 1),))], orders(*known))
    assert counted(redirect, 2, 0, 10) == ({1: 10} if known == (1, 2) else {2: 10})
    same_epoch = {one(1): (5, b"a", 0), one(2): (5, b"b", 0)}
    assert not Redirect([HeldMap(one(2), (entry(0, 10, 1),))], same_epoch)


def test_maps_that_name_each_other_end() -> None:
    maps = [HeldMap(one(2), (entry(0, 10, 1),)), HeldMap(one(1), (entry(0, 10, 2),))]
    assert counted(Redirect(maps, orders(1, 2)), 2, 0, 10) == {1: 10}


def test_what_ends_in_a_contribution_that_left_belongs_to_nobody() -> None:
    maps = [HeldMap(one(2), (entry(0, 5, 1),)), HeldMap(one(3), (entry(0, 10, 2),))]
    known = orders(1, 2, 3)
    assert Redirect(maps, known, {one(1)})(span(3, 0, 12)) == [
        (UNATTRIBUTED_KEY, 5), (one(2), 5), (one(3), 2),
    ]  # fmt: skip
    assert counted(Redirect(maps, known, {one(2)}), 3, 0, 5) == {1: 5}
    assert counted(Redirect(maps, known, {one(3)}), 3, 10, 2) == {3: 2}


def test_tokens_that_belong_to_nobody_are_unattributed_in_the_weights() -> None:
    redirect = Redirect([HeldMap(one(2), (entry(0, 5, 1),))], orders(1, 2), {one(1)})
    counts, unattributed = count_tokens([Attribution(20, (span(2, 0, 10),), ())], redirect)
    assert (counts, unattributed) == ({one(2): 5}, 15)
    assert weigh(counts, unattributed, orders(2)).unattributed_ppm == 750_000


def test_following_stops_after_its_steps() -> None:
    count = MAX_STEPS + 3
    maps = [HeldMap(one(n), (entry(0, 10, n - 1),)) for n in range(2, count + 1)]
    redirect = Redirect(maps, orders(*range(1, count + 1)))
    assert counted(redirect, count, 0, 10) == {count - MAX_STEPS: 10}


def test_no_more_maps_of_one_contribution_count_than_the_limit_and_upheld_ones_first() -> None:
    own = [HeldMap(one(99), (entry(n, 1, n + 1),)) for n in range(MAX_MAPS + 1)]
    known = orders(*range(1, 40), 99)
    assert MAX_MAPS + 1 not in counted(Redirect(own, known), 99, 0, 40)
    claim = HeldMap(one(99), (entry(30, 5, 30),), upheld=True)
    found = counted(Redirect([*own, claim], known), 99, 0, 40)
    assert found[30] == 5
    assert MAX_MAPS not in found


# Against a look at each token.


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[HeldMap], dict[bytes, LedgerOrder]]:
    maps = []
    for _ in range(draw(st.integers(0, 6))):
        subject, end, entries = draw(st.integers(1, 5)), 0, []
        for _ in range(draw(st.integers(0, 4))):
            start, length = end + draw(st.integers(0, 6)), draw(st.integers(1, 12))
            entries.append(entry(start, length, draw(st.integers(1, 5)), draw(st.integers(0, 30))))
            end = start + length
        maps.append(HeldMap(one(subject), tuple(entries), draw(st.booleans())))
    epochs = {one(n): (draw(st.integers(1, 4)), b"", n) for n in range(1, 6)}
    return maps, epochs


def follow_one(maps: list[HeldMap], known: dict[bytes, LedgerOrder], place: Place) -> Place:
    while True:
        contribution, document, token = place
        found = [
            (
                not held.upheld,
                known[e.contribution],
                e.source_document,
                e.source_token - e.start,
                (e.contribution, e.source_document, e.source_token + token - e.start),
            )
            for held in maps
            if held.subject == contribution
            for e in held.entries
            if e.document == document
            and e.start <= token < e.end
            and known[e.contribution][0] < known[contribution][0]
        ]
        if not found:
            return place
        place = min(found)[-1]


@given(worlds(), st.integers(1, 5), st.integers(0, 20), st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_pieces_are_what_a_look_at_each_token_gives(
    world: tuple[list[HeldMap], dict[bytes, LedgerOrder]], n: int, token: int, length: int
) -> None:
    maps, known = world
    pieces = Redirect(maps, known).follow(one(n), 0, token, length)
    tokens = [(p.contribution, p.document, p.token + k) for p in pieces for k in range(p.length)]
    assert tokens == [follow_one(maps, known, (one(n), 0, token + k)) for k in range(length)]


# The map to commit to.


def test_a_map_names_whom_the_maps_of_its_sources_name() -> None:
    known = orders(1, 2)
    redirect = Redirect([HeldMap(one(2), (entry(0, 50, 1, 1_000),))], known)
    found = resolve([entry(5, 80, 2, 20)], redirect, known)
    assert found == (entry(5, 30, 1, 1_020), entry(35, 50, 2, 50))


def test_of_more_sources_than_an_event_can_name_those_with_most_tokens_stay() -> None:
    known = orders(*range(1, 302))
    entries = [entry(n * 10, 1 if n < 300 else 2, n + 1) for n in range(301)]
    found = resolve(entries, Redirect([], known), known)
    assert set(tokens_by_source(found)) == {one(301), *(one(n) for n in range(1, 256))}


def test_of_more_entries_than_a_map_can_have_the_longest_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_ENTRIES", 2)
    entries = [entry(0, 3, 1), entry(10, 5, 1), entry(20, 3, 1), entry(30, 9, 1)]
    assert resolve(entries, Redirect([], {}), orders(1)) == normal_form([entries[1], entries[3]])
