"""The order of positions, which decides between equal matches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.attribution.scope import PENDING_EPOCH, make_scope, pending_order
from tests.attribution.build import document

places = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 12), st.booleans()),
    max_size=12,
    unique_by=lambda place: place[:2],
)


@pytest.mark.rule("R2")
@given(places)
def test_sources_stand_in_ledger_order_and_then_by_document(
    given_places: list[tuple[int, int, bool]],
) -> None:
    scope = make_scope(
        document(n, [], commons=commons, index=index) for n, index, commons in given_places
    )
    plain = sorted((n, index) for n, index, commons in given_places if not commons)
    common = sorted((n, index) for n, index, commons in given_places if commons)
    assert [(item.order[0], item.document) for item in scope.sources] == plain
    assert [(item.order[0], item.document) for item in scope.commons] == common


@pytest.mark.rule("R2")
def test_pending_contributions_stand_last_by_log_and_sequence() -> None:
    final = (PENDING_EPOCH - 1, b"\xff" * 32, 2**40)
    orders = [final, pending_order(b"\0", 5), pending_order(b"\0", 6), pending_order(b"\1", 0)]
    assert sorted(reversed(orders)) == orders
