"""C13: every split hands out its whole total, exactly, to the same keys whatever the order."""

from __future__ import annotations

import hashlib
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.credit.apportion import apportion, untied_parts

keys = st.binary(min_size=1, max_size=32)
weighted = st.dictionaries(keys, st.integers(0, 2**40), min_size=1, max_size=12).map(
    lambda found: list(found.items())
)
totals = st.integers(0, 2**53 - 1)


def oracle(total: int, weights: list[tuple[bytes, int]], salt: bytes) -> dict[bytes, int]:
    """The rule in fractions, one unit at a time."""
    whole = sum(weight for _, weight in weights)
    if whole == 0:
        return {key: 0 for key, _ in weights}
    exact = {key: Fraction(total * weight, whole) for key, weight in weights}
    parts = {key: int(share) for key, share in exact.items()}
    waiting = sorted(
        exact,
        key=lambda key: (int(exact[key]) - exact[key], hashlib.sha256(salt + key).digest()),
    )
    while sum(parts.values()) < total:
        parts[waiting.pop(0)] += 1
    return parts


@pytest.mark.rule("C13")
@given(totals, weighted, st.binary(max_size=40))
def test_the_parts_are_those_of_the_rule_in_fractions(
    total: int, weights: list[tuple[bytes, int]], salt: bytes
) -> None:
    parts = apportion(total, weights, salt)
    assert dict(zip([key for key, _ in weights], parts, strict=True)) == oracle(
        total, weights, salt
    )


@pytest.mark.rule("C13", "C14")
@given(totals, weighted, st.binary(max_size=40))
def test_the_parts_sum_to_the_total_unless_all_weights_are_zero(
    total: int, weights: list[tuple[bytes, int]], salt: bytes
) -> None:
    parts = apportion(total, weights, salt)
    assert sum(parts) == (total if any(weight for _, weight in weights) else 0)
    assert all(part >= 0 for part in parts)


@pytest.mark.rule("C13")
@given(totals, weighted, st.binary(max_size=40), st.randoms(use_true_random=False))
def test_the_order_of_the_weights_changes_nobodys_part(
    total: int, weights: list[tuple[bytes, int]], salt: bytes, order: random.Random
) -> None:
    before = dict(zip([key for key, _ in weights], apportion(total, weights, salt), strict=True))
    shuffled = list(weights)
    order.shuffle(shuffled)
    after = dict(zip([key for key, _ in shuffled], apportion(total, shuffled, salt), strict=True))
    assert before == after


@pytest.mark.rule("C13")
@given(st.integers(0, 2**40), weighted, st.data())
def test_more_weight_never_gets_less_than_the_same_key_with_less(
    total: int, weights: list[tuple[bytes, int]], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(weights) - 1))
    key, weight = weights[index]
    heavier = list(weights)
    heavier[index] = (key, weight + data.draw(st.integers(1, 2**40)))
    # One unit may move with the remainders; the part never falls by more than that.
    assert apportion(total, heavier, b"")[index] >= apportion(total, weights, b"")[index] - 1


def test_ties_go_to_the_least_hash_of_salt_and_key() -> None:
    weights = [(b"a", 1), (b"b", 1), (b"c", 1)]
    for salt in (b"", b"epoch 1", b"epoch 2"):
        winner = min(weights, key=lambda item: hashlib.sha256(salt + item[0]).digest())[0]
        parts = dict(zip((b"a", b"b", b"c"), apportion(4, weights, salt), strict=True))
        assert parts[winner] == 2
        assert sum(parts.values()) == 4


def test_with_no_weight_nothing_is_paid() -> None:
    assert apportion(10, [(b"a", 0), (b"b", 0)], b"") == [0, 0]
    assert apportion(10, [], b"") == []


@pytest.mark.rule("C13")
@given(totals, weighted, st.integers(0, 2**40))
def test_parts_found_without_keys_are_those_of_every_salt(
    total: int, weights: list[tuple[bytes, int]], others: int
) -> None:
    parts = untied_parts(total, weights, others)
    all_weights = [*weights, (b"the key of the others, longer than any", others)]
    by_salt = [oracle(total, all_weights, bytes([salt])) for salt in range(4)]
    if parts is None:
        rests = [total * weight % _whole(all_weights) for _, weight in all_weights]
        assert len(set(rests)) < len(rests)
    else:
        for found in by_salt:
            assert parts == [found[key] for key, _ in all_weights]


def _whole(weights: list[tuple[bytes, int]]) -> int:
    return sum(weight for _, weight in weights)


@pytest.mark.rule("C13")
@pytest.mark.parametrize(
    ("total", "weights", "others"),
    [(1, (1, 1), 0), (2, (1, 1, 1), 0), (2, (4, 4, 4), 4), (5, (3, 3, 3), 1)],
)
def test_no_parts_are_found_without_keys_where_equal_remainders_compete(
    total: int, weights: tuple[int, ...], others: int
) -> None:
    keyed = [(bytes([index]), weight) for index, weight in enumerate(weights)]
    assert untied_parts(total, keyed, others) is None
    found = {tuple(apportion(total, [*keyed, (b"\xff", others)], bytes([s]))) for s in range(64)}
    assert len(found) > 1
