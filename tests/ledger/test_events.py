"""Leaves, ids and acceptance (L1 to L4), one by one and in bulk."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.ledger import events, merkle
from openledger_node.ledger.acceptance import first_fault
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.kinds import BODY_TYPES
from tests.ledger import naive_msgpack as naive
from tests.vectors import make

ID = make.digest("id")


def naive_accepts(leaf: bytes, index: int) -> bool:
    """L2 as it is written."""
    try:
        value = naive.decode(leaf)
    except naive.NotCanonical:
        return False
    is_array = type(value) is list and len(value) == 7
    return is_array and value[1] == index and len(leaf) <= 512 * 1024


def assert_judged(leaf: bytes, index: int) -> None:
    accepted = naive_accepts(leaf, index)
    assert (events.acceptance_fault(leaf, index) == "") == accepted
    assert (first_fault([leaf], index) is None) == accepted


def event_leaf(**changes: Any) -> bytes:
    parts = {
        "version": 1,
        "seq": 5,
        "kind": "use.confirm",
        "time_ms": 7,
        "body": [ID],
        "commit": None,
        "length": 0,
    }
    return naive.encode(list({**parts, **changes}.values()))


@pytest.mark.rule("L1")
def test_a_leaf_is_an_array_of_seven_that_reads_back() -> None:
    leaf = events.encode_event(5, "use.confirm", 7, [ID], make.digest("payload"), 9)
    assert naive.decode(leaf) == [1, 5, "use.confirm", 7, [ID], make.digest("payload"), 9]
    event = events.parse_event(leaf)
    assert (event.version, event.seq, event.kind, event.time_ms) == (1, 5, "use.confirm", 7)
    assert bytes(event.body) == naive.encode([ID])
    assert (event.payload_commit, event.payload_len) == (make.digest("payload"), 9)
    assert events.leaf_items(leaf) == naive.decode(leaf)


@pytest.mark.rule("L1")
def test_an_event_of_512_kib_can_be_written_and_one_byte_more_cannot() -> None:
    room = events.MAX_LEAF_BYTES - len(events.encode_event(1, "x", 0, b"a" * 70_000)) + 70_000
    leaf = events.encode_event(1, "x", 0, b"a" * room)
    assert len(leaf) == events.MAX_LEAF_BYTES
    assert_judged(leaf, 1)
    with pytest.raises(BadInput, match="524,289 bytes"):
        events.encode_event(1, "x", 0, b"a" * (room + 1))


@pytest.mark.rule("L2")
@pytest.mark.parametrize("name", naive.EVIL)
def test_evil_bytes_are_no_leaf(name: str) -> None:
    assert events.acceptance_fault(naive.EVIL[name], 0)
    assert first_fault([naive.EVIL[name]], 0) is not None


@pytest.mark.rule("L2")
@pytest.mark.parametrize("name", naive.EVIL)
@pytest.mark.parametrize("kind", ["use.confirm", "no.such.kind"])
def test_a_leaf_with_evil_bytes_for_a_body_is_refused(name: str, kind: str) -> None:
    if not naive.EVIL[name]:
        return
    leaf = event_leaf(kind=kind, body=None)
    at = leaf.index(kind.encode()) + len(kind) + 1
    evil = leaf[:at] + naive.EVIL[name] + leaf[at + 1 :]
    assert_judged(evil, 5)


@pytest.mark.rule("L2")
def test_only_shape_index_and_size_decide_on_acceptance() -> None:
    """What the fold would call void is accepted: no two versions stop a log at different places."""
    for change in (
        {"version": 2},
        {"version": "1"},
        {"kind": "no.such.kind"},
        {"kind": b"use.confirm"},
        {"kind": None},
        {"time_ms": -1},
        {"body": None},
        {"body": [b"short"]},
        {"commit": b"short"},
        {"length": 2**64 - 1},
    ):
        assert events.acceptance_fault(event_leaf(**change), 5) == ""
        assert first_fault([event_leaf(**change)], 5) is None


@pytest.mark.rule("L2")
@pytest.mark.parametrize(
    "leaf",
    [
        event_leaf(seq=4),
        event_leaf(seq="5"),
        event_leaf(seq=None),
        event_leaf() + b"\0",
        event_leaf()[:-1],
        naive.encode([1, 5, "use.confirm", 7, [ID], None]),
        naive.encode([1, 5, "use.confirm", 7, [ID], None, 0, 0]),
        naive.encode([]),
        naive.encode(5),
        event_leaf().replace(b"\x97\x01\x05", b"\x97\x01\xcc\x05"),
        event_leaf().replace(b"\x97\x01\x05", b"\x97\xc3\x05"),
        event_leaf().replace(b"\x97\x01\x05", b"\xdc\x00\x07\x01\x05"),
    ],
)
def test_another_shape_index_or_form_is_refused(leaf: bytes) -> None:
    assert not naive_accepts(leaf, 5)
    assert_judged(leaf, 5)


def sample(kind: str) -> bytes:
    if kind == "log.open":
        return encode(make.log_genesis())
    return {
        "account.create": encode(make.chain(make.document().ledger_id)[0]),
        "account.rotate": encode(make.chain(make.document().ledger_id)[2]),
        "log.fork": encode(make.fork()),
        "data.share": naive.encode([ID, "all"]),
        "money.issue": naive.encode([ID, 5, "note"]),
        "use.receipt": naive.encode([None, ID, ID, 1, 2, ID, 0, [[ID, 10**6]], 0, "spans"]),
    }.get(kind, naive.encode([ID]))


@pytest.mark.rule("L2")
@pytest.mark.parametrize("kind", BODY_TYPES)
@pytest.mark.parametrize("index", [0, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32])
def test_bulk_and_single_acceptance_agree_for_every_kind_and_width_of_index(
    kind: str, index: int
) -> None:
    leaf = naive.encode([1, index, kind, 0, naive.decode(sample(kind)), None, 0])
    assert naive_accepts(leaf, index)
    assert_judged(leaf, index)
    assert_judged(leaf, index + 1)


@pytest.mark.rule("L2")
@given(st.sampled_from(sorted(BODY_TYPES)), st.data())
def test_bulk_and_single_acceptance_agree_on_damaged_leaves(kind: str, data: st.DataObject) -> None:
    leaf = bytearray(naive.encode([1, 5, kind, 0, naive.decode(sample(kind)), None, 0]))
    for _ in range(data.draw(st.integers(1, 3))):
        leaf[data.draw(st.integers(0, len(leaf) - 1))] = data.draw(st.integers(0, 255))
    assert_judged(bytes(leaf), 5)


@pytest.mark.rule("L2")
def test_bulk_acceptance_names_the_first_leaf_that_is_refused() -> None:
    leaves = [events.encode_event(seq, "use.confirm", 0, [ID]) for seq in range(3, 9)]
    assert first_fault(leaves, 3) is None
    assert first_fault([], 3) is None
    index, fault = first_fault([*leaves[:4], leaves[5], b"\xc1"], 3) or (0, "")
    assert index == 7 and "index" in fault


@pytest.mark.rule("L2")
@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"kind": "x" * 65},
        {"kind": 5},
        {"time_ms": -1},
        {"time_ms": 2**53},
        {"commit": b"short"},
        {"commit": "text"},
        {"length": -1},
        {"length": 2**40 + 1},
    ],
)
def test_accepted_leaves_that_are_no_event_of_version_1_do_not_parse(
    change: dict[str, Any],
) -> None:
    assert events.acceptance_fault(event_leaf(**change), 5) == ""
    with pytest.raises(BadInput, match="not an event of version 1"):
        events.parse_event(event_leaf(**change))


@pytest.mark.rule("L3")
def test_a_log_opens_with_its_genesis_and_is_named_by_it() -> None:
    genesis = make.log_genesis()
    leaf = events.encode_event(0, "log.open", 0, genesis)
    assert events.parse_log_open(leaf) == genesis
    parts = [1, genesis.ledger_id, genesis.account_id, genesis.device, genesis.nonce, None]
    raw = naive.encode(["oln/log/1", parts])
    assert genesis.log_id == hashlib.sha256(raw).digest()


@pytest.mark.rule("L3")
@pytest.mark.parametrize(
    "leaf",
    [
        events.encode_event(1, "log.open", 0, make.log_genesis()),
        events.encode_event(0, "money.issue", 0, make.log_genesis()),
        events.encode_event(0, "log.open", 0, [1, ID, ID, ID, ID[:16]]),
        events.encode_event(0, "log.open", 0, [1, ID, ID, ID, ID[:15], None]),
        events.encode_event(0, "log.open", 0, [2, ID, ID, ID, ID[:16], None]),
        events.encode_event(0, "log.open", 0, None),
        b"",
    ],
)
def test_what_opens_no_log_is_refused(leaf: bytes) -> None:
    with pytest.raises(BadInput):
        events.parse_log_open(leaf)


@pytest.mark.rule("L4")
def test_an_event_id_binds_log_place_and_leaf() -> None:
    leaves = make.history(4)
    log_id = make.log_genesis().log_id
    expected = [
        hashlib.sha256(
            naive.encode(["oln/event/1", log_id, seq, hashlib.sha256(b"\0" + leaf).digest()])
        ).digest()
        for seq, leaf in enumerate(leaves)
    ]
    assert events.event_ids(log_id, 0, leaves) == expected
    assert events.event_ids(log_id, 2, leaves[2:]) == expected[2:]
    for seq, leaf in enumerate(leaves):
        assert events.event_id(log_id, seq, leaf) == expected[seq]
        assert events.event_id_of(log_id, seq, merkle.leaf_hash(leaf)) == expected[seq]
    assert [case["event_id"] for case in make.load("leaf")["leaves"]] == [
        event_id.hex() for event_id in expected
    ]


@pytest.mark.rule("L2")
@given(st.data())
def test_many_leaves_are_judged_as_one_by_one(data: st.DataObject) -> None:
    """Good and bad leaves of known and unknown kinds, across changes of the index's width."""
    first = data.draw(st.sampled_from([0, 100, 120, 250, 65_500]))
    bodies = st.sampled_from(
        [[b"x" * 32], [b"x" * 32, 1], [1, "a", None], [[1]], [], None, 7, [[[b"deep"]]]]
    )
    kinds = st.sampled_from(["use.confirm", "no.such.kind", "", "k" * 40])
    count = data.draw(st.integers(1, 300))
    leaves = [
        events.encode_event(first + i, data.draw(kinds), 5, data.draw(bodies)) for i in range(count)
    ]
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, count - 1))
        leaf = bytearray(leaves[at])
        leaf[data.draw(st.integers(0, len(leaf) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        leaves[at] = bytes(leaf)
    expected = next(
        (
            (first + i, fault)
            for i, leaf in enumerate(leaves)
            if (fault := events.acceptance_fault(leaf, first + i))
        ),
        None,
    )
    assert first_fault(leaves, first) == expected


@pytest.mark.rule("L2")
def test_a_longer_form_here_and_a_byte_fewer_there_are_not_taken_for_good() -> None:
    """The rows of bytes have the same length as good ones; the values do not."""
    good = [events.encode_event(i, "no.such.kind", 5, [7, b"ab"]) for i in range(2)]
    longer = good[0].replace(b"\x92\x07", b"\x92\xcc\x07")
    shorter = events.encode_event(1, "no.such.kind", 5, [7, b"a"])
    assert len(longer + shorter) == sum(map(len, good))
    fault = first_fault([longer, shorter], 0)
    assert fault is not None and fault[0] == 0
