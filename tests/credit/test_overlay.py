"""The overlay of an epoch: what was stored and what the epoch added, asked for by groups."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.credit import state_records as records
from openledger_node.credit.overlay import GroupedTable, Table
from openledger_node.ledger.encoding import encode
from tests.kit.ledgerkit import MemoryState

PREFIX = records.MEMBER
GROUPS = (b"a" * 32, b"b" * 32)
KEYS = tuple(group + name * 32 for group in GROUPS for name in (b"x", b"y", b"z"))
changes = st.lists(st.tuples(st.sampled_from(("put", "remove", "get")), st.sampled_from(KEYS)))


def stored(keys: frozenset[bytes]) -> MemoryState:
    state = MemoryState()
    state.apply([(PREFIX + key, encode(records.Member(1, 7))) for key in sorted(keys)])
    return state


@given(st.frozensets(st.sampled_from(KEYS)), changes)
@settings(max_examples=60, deadline=None)
def test_a_grouped_table_answers_as_a_plain_one(
    before: frozenset[bytes], steps: list[tuple[str, bytes]]
) -> None:
    state = stored(before)
    grouped = GroupedTable(state, PREFIX, records.Member, 32)
    plain = Table(state, PREFIX, records.Member)
    for number, (step, key) in enumerate(steps):
        for table in (grouped, plain):
            if step == "put":
                table.put(key, records.Member(2, number))
            elif step == "remove":
                table.remove(key)
            else:
                table.get(key)
    for start in (*GROUPS, b"", b"a"):
        assert list(grouped.items(start)) == list(plain.items(start))
    assert grouped.delta() == plain.delta()


def test_a_group_is_found_without_looking_at_the_rest_of_what_is_new() -> None:
    """5,000 new logs in an epoch, each asked for by its device, were 25 million comparisons."""
    table = GroupedTable(MemoryState(), PREFIX, records.Member, 32)
    for number in range(1_000):
        table.put(number.to_bytes(32, "big") + bytes(32), records.Member(1, number))
    assert len(table.added) == 1_000
    one = (7).to_bytes(32, "big")
    assert list(table.items(one)) == [(one + bytes(32), records.Member(1, 7))]
    assert table.added[one] == [one + bytes(32)]


filings = st.lists(
    st.tuples(st.sampled_from(("file", "put", "remove", "get")), st.sampled_from(KEYS))
)


@given(st.frozensets(st.sampled_from(KEYS)), filings)
@settings(max_examples=100, deadline=None)
def test_a_record_that_is_filed_is_found_changed_and_removed_as_one_that_is_put(
    before: frozenset[bytes], steps: list[tuple[str, bytes]]
) -> None:
    state = stored(before)
    filing, putting = (Table(state, PREFIX, records.Member) for _ in range(2))
    for number, (step, key) in enumerate(steps):
        if step == "remove":
            filing.remove(key)
            putting.remove(key)
        elif step == "get":
            assert filing.get(key) == putting.get(key)
        else:
            putting.put(key, records.Member(2, number))
            write = filing.file if step == "file" else filing.put
            write(key, records.Member(2, number))
    assert list(filing.items()) == list(putting.items())
    assert filing.delta() == putting.delta()


def test_a_record_filed_under_a_key_that_was_asked_for_before_is_found() -> None:
    table = Table(MemoryState(), PREFIX, records.Member)
    assert table.get(KEYS[0]) is None
    table.file(KEYS[0], records.Member(1, 7))
    assert table.get(KEYS[0]) == records.Member(1, 7)
