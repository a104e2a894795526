"""FRONTIER's entries (Y10, Y11): parts, order, numbers, limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.ledger.events import MAX_SEQ
from openledger_node.sync import frontier_entries as f
from openledger_node.sync.faults import PeerFault
from openledger_node.sync.table import Offer

offers = st.dictionaries(
    st.binary(min_size=8, max_size=8),
    st.builds(Offer, st.integers(1, MAX_SEQ), st.binary(min_size=4, max_size=4)),
    max_size=12,
)


def taken(parts: list[bytes]) -> list[f.Entry]:
    intake = f.FrontierIntake()
    for number, part in enumerate(parts):
        intake.take(number, part)
    return intake.entries


def fault_of(*parts: bytes, first: int = 0) -> str:
    intake = f.FrontierIntake()
    with pytest.raises(PeerFault) as found:
        for number, part in enumerate(parts, first):
            intake.take(number, part)
    return found.value.code


def entry(name: bytes, numbers: bytes = b"\x00\x05", tag: bytes = b"tagt") -> bytes:
    return name.rjust(8, b"\0") + numbers + tag


@pytest.mark.rule("Y10")
@given(offers)
def test_what_is_held_comes_back_sorted_by_its_short_names(held: dict[bytes, Offer]) -> None:
    parts = f.encode_entries(held.items())
    assert len(parts) == 1
    assert taken(parts) == sorted(held.items())


@pytest.mark.rule("Y10")
def test_a_log_costs_about_16_bytes() -> None:
    (part,) = f.encode_entries([(b"n" * 8, Offer(1_000_000, b"tagt"))])
    assert len(part) == 16


@pytest.mark.rule("Y10")
def test_parts_stay_below_a_frame_and_cut_no_entry() -> None:
    held = {number.to_bytes(8, "big"): Offer(200, b"tagt") for number in range(150_000)}
    parts = f.encode_entries(held.items())
    assert len(parts) == 3
    assert all(0 < len(part) <= f.MAX_PART_BYTES for part in parts)
    assert all(len(part) % 15 == 0 for part in parts)
    assert taken(parts) == list(held.items())


@pytest.mark.rule("Y10")
@given(st.integers(0, MAX_SEQ))
def test_a_number_has_one_encoding(number: int) -> None:
    encoded = f.encode_varint(number)
    assert len(encoded) == max(1, -(-number.bit_length() // 7))
    assert f.decode_varint(encoded, 0) == (number, len(encoded))
    longer = encoded[:-1] + bytes([encoded[-1] | 0x80, 0])
    with pytest.raises(PeerFault) as found:
        f.decode_varint(longer, 0)
    assert found.value.code == "frontier"


@pytest.mark.rule("Y10")
@pytest.mark.parametrize(
    "numbers",
    [
        b"\x80" * 500_000,
        b"\xff" * 6 + b"\x01",
        b"\x00" + b"\x81\x80\x80\x80\x80\x20",
        b"\x00\x00",
        b"\x05\x05",
        b"\x80\x00\x05",
        b"\x00\x85\x00",
    ],
    ids=[
        "endless varint",
        "a number of seven bytes",
        "a size past 2^40",
        "a size of 0",
        "held from its end on",
        "held_from in a longer form",
        "size in a longer form",
    ],
)
def test_evil_numbers_are_a_fault(numbers: bytes) -> None:
    assert fault_of(entry(b"n", numbers)) == "frontier"


@pytest.mark.rule("Y10")
def test_an_entry_cut_off_anywhere_is_a_fault() -> None:
    whole = entry(b"a") + entry(b"b")
    for size in range(1, len(whole)):
        if size != len(entry(b"a")):
            assert fault_of(whole[:size]) == "frontier"


@pytest.mark.rule("Y10")
@pytest.mark.parametrize(
    "parts",
    [
        [entry(b"a") + entry(b"a")],
        [entry(b"b") + entry(b"a")],
        [entry(b"a"), entry(b"a")],
        [entry(b"b"), entry(b"a")],
        [entry(b"b"), b"", entry(b"a")],
        [entry(b""), entry(b"")],
    ],
    ids=[
        "a log twice",
        "unsorted",
        "a log twice over two parts",
        "unsorted over two parts",
        "unsorted around an empty part",
        "the lowest name twice",
    ],
)
def test_names_that_do_not_ascend_are_a_fault(parts: list[bytes]) -> None:
    assert fault_of(*parts) == "frontier"


@pytest.mark.rule("Y10")
def test_a_part_out_of_turn_is_a_fault() -> None:
    assert fault_of(entry(b"a"), first=1) == "frontier"
    intake = f.FrontierIntake()
    intake.take(0, entry(b"a"))
    with pytest.raises(PeerFault):
        intake.take(0, entry(b"b"))


@pytest.mark.rule("Y10")
def test_the_lowest_name_of_all_may_come_first() -> None:
    assert taken([entry(b"")]) == [(bytes(8), Offer(5, b"tagt"))]


@pytest.mark.rule("Y10")
def test_a_partial_holder_is_passed_over() -> None:
    assert taken([entry(b"a", b"\x03\x05") + entry(b"b")]) == [
        (b"b".rjust(8, b"\0"), Offer(5, b"tagt"))
    ]


@pytest.mark.rule("Y11")
def test_a_million_logs_are_taken_and_one_more_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    assert f.MAX_FRONTIER_LOGS == 1_000_000
    # The limit counts entries one by one; a lower one shows it in less time.
    monkeypatch.setattr(f, "MAX_FRONTIER_LOGS", 1_000)
    entries = [entry(number.to_bytes(3, "big")) for number in range(1_001)]
    intake = f.FrontierIntake()
    intake.take(0, b"".join(entries[:-1]))
    assert len(intake.entries) == 1_000
    with pytest.raises(PeerFault) as found:
        intake.take(1, entries[-1])
    assert found.value.code == "too_many_logs"


@pytest.mark.rule("Y11")
def test_a_partial_holders_entries_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f, "MAX_FRONTIER_LOGS", 2)
    partial = b"".join(entry(bytes([number]), b"\x01\x05") for number in range(1, 4))
    assert fault_of(partial) == "too_many_logs"


@pytest.mark.rule("Y11")
def test_a_frontier_of_too_many_bytes_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    assert f.MAX_FRONTIER_BYTES == 64 * 2**20
    monkeypatch.setattr(f, "MAX_FRONTIER_BYTES", 20)
    assert fault_of(entry(b"a"), entry(b"b")) == "too_many_logs"


@pytest.mark.rule("Y11")
def test_no_more_is_sent_than_a_peer_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f, "MAX_FRONTIER_LOGS", 3)
    held = {bytes([number]) * 8: Offer(5, b"tagt") for number in range(5)}
    assert taken(f.encode_entries(held.items())) == list(held.items())[:3]


def test_of_two_logs_with_one_name_the_first_is_kept() -> None:
    twice = [(b"n" * 8, Offer(5, b"tagt")), (b"n" * 8, Offer(6, b"tagu"))]
    assert taken(f.encode_entries(twice)) == twice[:1]


@given(st.binary(max_size=80))
def test_any_bytes_are_entries_or_a_fault(data: bytes) -> None:
    intake = f.FrontierIntake()
    try:
        intake.take(0, data)
    except PeerFault as error:
        assert error.code == "frontier"
    else:
        assert data == b"" or len(data) >= 14


@given(offers, offers)
def test_a_comparison_says_of_every_log_who_has_more_of_it(
    own: dict[bytes, Offer], theirs: dict[bytes, Offer]
) -> None:
    found = f.compare(own, theirs.items())
    assert sorted(found.unknown) == sorted(theirs.keys() - own.keys())
    both = own.keys() & theirs.keys()
    assert sorted(found.longer) == sorted(n for n in both if theirs[n].size > own[n].size)
    assert sorted(found.differing) == sorted(
        n for n in both if theirs[n].size == own[n].size and theirs[n].tag != own[n].tag
    )
    assert sorted(found.lacking) == sorted(
        n for n in own if n not in theirs or theirs[n].size < own[n].size
    )


def test_a_comparison_of_the_same_log_by_hand() -> None:
    own = {name: Offer(5, b"tagt") for name in (b"same", b"long", b"fork", b"less", b"mine")}
    theirs = {
        b"same": Offer(5, b"tagt"),
        b"long": Offer(6, b"tagu"),
        b"fork": Offer(5, b"tagu"),
        b"less": Offer(4, b"tagu"),
        b"news": Offer(1, b"tagu"),
    }
    found = f.compare(own, theirs.items())
    assert found == f.Comparison([b"news"], [b"long"], [b"fork"], [b"less", b"mine"])
