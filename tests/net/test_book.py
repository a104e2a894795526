"""The peer book: scores, bans, whom to dial; and that a restart remembers all of it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.ledger.errors import BadInput, UsageError
from openledger_node.ledger.keys import SigningKey
from openledger_node.net import book as book_module
from openledger_node.net import hosts
from openledger_node.net.address import Endpoint, PeerAddress
from openledger_node.net.book import MAX_KEPT, MAX_NODES_A_HOST, PeerBook
from openledger_node.net.peer import (
    BAN_MS,
    BEST_SCORE,
    FAULT_POINTS,
    HOUR_MS,
    MAX_ENTRY_BYTES,
    MAX_PLACES,
    REFUSED_BELOW,
    Peer,
    Source,
    decode_peer,
    encode_peer,
)
from openledger_node.net.policy import Gate
from openledger_node.net.records import MAX_RECORDS, VALID_MS, sign_record

NOW = 1_800_000_000_000
LEDGER = b"\x11" * 32
HERE = Endpoint("node.example.org", 4767)


def key(number: int) -> SigningKey:
    return SigningKey(number.to_bytes(2, "big") * 16)


def node(number: int) -> bytes:
    return key(number).public.raw


def address(number: int, host: str = "10.0.0.1") -> PeerAddress:
    return PeerAddress(node(number), host, 4000 + number)


def book_of(*numbers: int, source: Source = Source.LAN) -> PeerBook:
    book = PeerBook()
    for number in numbers:
        book.add(address(number), source)
    return book


def ids(peers: list[Peer]) -> list[bytes]:
    return [peer.node_id for peer in peers]


def reloaded(book: PeerBook, stored: dict[bytes, bytes]) -> PeerBook:
    """What a node that starts again has, from what was stored."""
    for node_id, entry in book.changes():
        if entry is None:
            stored.pop(node_id, None)
        else:
            stored[node_id] = entry
    again = PeerBook()
    assert again.load(stored.items()) == 0
    return again


# Scores and bans.


@pytest.mark.rule("N13")
def test_faults_take_points_until_a_peer_stays_out_and_hours_bring_it_back() -> None:
    book = book_of(1)
    assert book.refusal(node(1), NOW) is None
    scores = [book.lower(node(1), NOW) for _ in range(5)]
    assert scores == [80, 60, 40, 20, 0]
    assert book.refusal(node(1), NOW) == "its score is 0 of 100"
    assert book.refusal(node(1), NOW + 2 * HOUR_MS - 1) is not None
    assert book.refusal(node(1), NOW + 2 * HOUR_MS) is None
    peer = book.get(node(1))
    assert peer is not None
    assert peer.score_now(NOW + 1000 * HOUR_MS) == BEST_SCORE


@pytest.mark.rule("N13")
def test_a_ban_lasts_an_hour_and_names_its_reason() -> None:
    book = book_of(1)
    book.ban(node(1), "bad_signature", NOW)
    assert book.refusal(node(1), NOW) == "banned: bad_signature"
    assert book.refusal(node(1), NOW + BAN_MS - 1) is not None
    assert book.refusal(node(1), NOW + BAN_MS) is None


@pytest.mark.rule("N13")
def test_a_shorter_ban_does_not_shorten_a_longer_one() -> None:
    book = book_of(1)
    book.ban(node(1), "by hand", NOW, 10 * BAN_MS)
    book.ban(node(1), "bad_data", NOW)
    assert book.refusal(node(1), NOW + 5 * BAN_MS) == "banned: by hand"
    book.pardon(node(1))
    assert book.refusal(node(1), NOW) is None


@pytest.mark.rule("N13")
def test_a_node_that_nobody_knew_can_be_banned_and_lowered() -> None:
    book = PeerBook()
    book.ban(node(1), "x" * 500, NOW)
    book.lower(node(2), NOW)
    assert len(book) == 2
    refusal = book.refusal(node(1), NOW)
    assert refusal is not None and len(refusal) < 100
    book.pardon(node(3))
    assert len(book) == 2


@pytest.mark.rule("N13")
@given(st.lists(st.tuples(st.integers(0, 3 * HOUR_MS), st.integers(0, 100)), max_size=20))
@settings(max_examples=60)
def test_a_score_is_what_a_simple_count_gives(faults: list[tuple[int, int]]) -> None:
    book, now_ms, expected = book_of(1), NOW, 100.0
    for wait_ms, points in faults:
        now_ms += wait_ms
        expected = max(0.0, min(100.0, expected + wait_ms * 10 / HOUR_MS) - points)
        got = book.lower(node(1), now_ms, points)
        # Whole points come back, so the book is behind by less than one a fault.
        assert expected - len(faults) <= got <= expected + 1e-6


def test_a_clock_that_went_back_gives_no_points_and_lifts_no_ban() -> None:
    book = book_of(1)
    book.lower(node(1), NOW, 90)
    book.ban(node(1), "bad_data", NOW)
    peer = book.get(node(1))
    assert peer is not None
    assert peer.score_now(NOW - HOUR_MS) == 10
    assert peer.is_banned(NOW - HOUR_MS)


# The policy.


@pytest.mark.rule("N16")
def test_an_open_node_takes_everybody_but_itself_and_those_the_book_keeps_out() -> None:
    book = PeerBook()
    gate = Gate(node(9), book, now_ms=lambda: NOW)
    assert gate.accepts(node(1)) is None
    assert gate.accepts(node(9)) == "it is this node itself"
    book.ban(node(1), "bad_data", NOW)
    assert gate.accepts(node(1)) == "banned: bad_data"


@pytest.mark.rule("N16")
def test_a_closed_node_takes_only_those_on_its_list_and_the_book_still_counts() -> None:
    book = PeerBook()
    gate = Gate(node(9), book, now_ms=lambda: NOW, allow=[node(1), node(2)])
    assert gate.accepts(node(1)) is None
    assert gate.accepts(node(3)) == "it is not on the allow list"
    book.lower(node(2), NOW, BEST_SCORE)
    assert gate.accepts(node(2)) is not None


# Whom to dial.


@pytest.mark.rule("N15")
def test_nodes_that_people_named_come_first_then_the_better_scores() -> None:
    book = book_of(1, 2, 3)
    book.add(address(4))
    book.lower(node(2), NOW, 50)
    for seed in range(20):
        chosen = ids(book.choose(4, NOW, Random(seed)))
        assert chosen[0] == node(4)
        assert chosen[3] == node(2)
        assert set(chosen[1:3]) == {node(1), node(3)}


@pytest.mark.rule("N15")
def test_chance_decides_between_equals_and_the_same_seed_decides_alike() -> None:
    book = book_of(*range(1, 9))
    firsts = {book.choose(1, NOW, Random(seed))[0].node_id for seed in range(50)}
    assert len(firsts) > 4
    assert ids(book.choose(8, NOW, Random(3))) == ids(book.choose(8, NOW, Random(3)))


@pytest.mark.rule("N15")
def test_the_connected_the_banned_the_bad_and_the_placeless_are_not_dialled() -> None:
    book = book_of(1, 2, 3, 4)
    book.seen(node(5), NOW)
    book.ban(node(2), "bad_data", NOW)
    book.lower(node(3), NOW, BEST_SCORE - REFUSED_BELOW + 1)
    assert ids(book.choose(9, NOW, Random(1), skip={node(1)})) == [node(4)]
    assert book.kept(NOW) == []


@pytest.mark.rule("N15")
def test_kept_nodes_are_those_that_people_named_and_that_may_be_dialled() -> None:
    book = book_of(1, 2, 3, source=Source.PERSON)
    book.add(address(4), Source.LAN)
    book.ban(node(2), "bad_data", NOW)
    assert ids(book.kept(NOW, skip={node(3)})) == [node(1)]


@pytest.mark.rule("N15")
def test_a_peer_is_dialled_where_it_was_up_last_then_where_people_said() -> None:
    book = PeerBook()
    book.add(address(1, "10.0.0.3"), Source.RECORD)
    book.add(address(1, "10.0.0.2"), Source.PERSON)
    book.add(address(1, "10.0.0.1"), Source.LAN)
    peer = book.get(node(1))
    assert peer is not None
    assert [a.host for a in peer.addresses()] == ["10.0.0.2", "10.0.0.1", "10.0.0.3"]
    book.seen(node(1), NOW, address(1, "10.0.0.3").endpoint())
    assert next(peer.addresses()).host == "10.0.0.3"


# Records.


@pytest.mark.rule("N11", "N15")
def test_a_record_brings_an_address_for_seven_days() -> None:
    book = PeerBook()
    assert book.heard(sign_record(key(1), LEDGER, [HERE], NOW), NOW)
    assert ids(book.choose(1, NOW + VALID_MS - 1, Random(1))) == [node(1)]
    assert book.choose(1, NOW + VALID_MS, Random(1)) == []


@pytest.mark.rule("N11")
def test_a_later_record_replaces_the_addresses_of_an_earlier_one_and_no_others() -> None:
    book = PeerBook()
    old, new = Endpoint("old.example.org", 1), Endpoint("new.example.org", 1)
    book.add(address(1), Source.PERSON)
    assert book.heard(sign_record(key(1), LEDGER, [old, HERE], NOW), NOW)
    assert book.heard(sign_record(key(1), LEDGER, [new, HERE], NOW + 1), NOW)
    peer = book.get(node(1))
    assert peer is not None
    assert set(peer.places) == {address(1).endpoint(), new, HERE}
    assert not book.heard(sign_record(key(1), LEDGER, [old], NOW), NOW)
    assert not book.heard(sign_record(key(1), LEDGER, [old], NOW + 1), NOW)
    assert set(peer.places) == {address(1).endpoint(), new, HERE}


@pytest.mark.rule("N12")
def test_a_stale_record_is_not_taken() -> None:
    book = PeerBook()
    assert not book.heard(sign_record(key(1), LEDGER, [HERE], NOW), NOW + VALID_MS)
    assert len(book) == 0


@pytest.mark.rule("N12")
def test_records_that_are_passed_on_are_of_nodes_that_were_linked_with() -> None:
    book = PeerBook()
    for number in range(1, 40):
        place = Endpoint(f"node{number}.example.org", 4767)
        book.heard(sign_record(key(number), LEDGER, [place], NOW), NOW)
    assert book.records(NOW, Random(1)) == []
    for number in range(1, 40):
        book.seen(node(number), NOW)
    book.ban(node(1), "bad_data", NOW)
    place = Endpoint("node1.example.org", 4767)
    banned = sign_record(key(1), LEDGER, [place], NOW).encoded
    for seed in range(10):
        passed_on = book.records(NOW, Random(seed))
        assert len(set(passed_on)) == MAX_RECORDS
        assert banned not in passed_on
    assert book.records(NOW + VALID_MS, Random(1)) == []


# Limits.


@pytest.mark.rule("N14")
def test_a_full_book_forgets_who_was_seen_longest_ago_and_nobody_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(book_module, "MAX_PEERS", 4)
    book = PeerBook()
    book.add(address(1), Source.PERSON)
    book.seen(node(2), NOW - 5)
    book.seen(node(3), NOW - 9)
    book.ban(node(4), "bad_data", NOW)
    book.seen(node(5), NOW)
    assert len(book) == 4
    assert book.get(node(3)) is None
    assert (node(3), None) in book.changes()
    assert book.get(node(1)) and book.get(node(4))


@pytest.mark.rule("N14")
def test_hearsay_fills_a_book_but_takes_nobody_s_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "MAX_PEERS", 2)
    book = PeerBook()
    book.seen(node(1), NOW)
    assert book.heard(sign_record(key(2), LEDGER, [HERE], NOW), NOW)
    assert book.heard(sign_record(key(3), LEDGER, [HERE], NOW), NOW)
    assert book.get(node(2)) is None
    book.seen(node(3), NOW)
    assert not book.heard(sign_record(key(4), LEDGER, [HERE], NOW), NOW)
    book.add(address(5), Source.LAN)
    assert {peer.node_id for peer in book} == {node(1), node(3)}


@pytest.mark.rule("N14")
def test_a_flood_of_new_keys_takes_no_place_of_a_node_that_was_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(book_module, "MAX_PEERS", 10)
    book = book_of(1, 2, 3)
    for number in (1, 2, 3):
        book.seen(node(number), NOW - HOUR_MS, address(number).endpoint())
    for number in range(100, 300):
        book.seen(node(number), NOW)
        book.lower(node(number), NOW)
    assert len(book) == 10
    assert all(book.get(node(number)) for number in (1, 2, 3))
    assert set(ids(book.choose(9, NOW, Random(1)))) == {node(1), node(2), node(3)}


@pytest.mark.rule("N14")
@pytest.mark.parametrize(
    "spellings",
    [["victim.example.org", "VICTIM.example.org", "victim.example.org."], ["2001:db8::1"]],
)
def test_records_of_many_keys_point_at_one_host_so_often_and_no_more(
    spellings: list[str],
) -> None:
    book = PeerBook()
    for number in range(1, 60):
        places = [Endpoint(spellings[number % len(spellings)], 4000 + number)]
        book.heard(sign_record(key(number), LEDGER, places, NOW), NOW)
    assert len(book) == MAX_NODES_A_HOST
    other = sign_record(key(70), LEDGER, [HERE, Endpoint(spellings[0], 1)], NOW)
    assert book.heard(other, NOW)
    known = book.get(node(70))
    assert known is not None and list(known.places) == [HERE]
    again = sign_record(key(1), LEDGER, [Endpoint(spellings[0], 9)], NOW + 1)
    assert book.heard(again, NOW + 1), "who is known there may say so again"


@pytest.mark.rule("N14")
@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "localhost"])
def test_a_record_from_elsewhere_does_not_make_a_node_dial_itself(host: str) -> None:
    record = sign_record(key(1), LEDGER, [Endpoint(host, 22)], NOW)
    book = PeerBook()
    assert not book.heard(record, NOW)
    assert len(book) == 0
    assert book.heard(record, NOW, is_local=True)


@pytest.mark.rule("N14")
def test_people_name_at_most_so_many_nodes() -> None:
    book = book_of(*range(1, MAX_KEPT + 1), source=Source.PERSON)
    book.add(address(1, "10.0.0.9"))
    with pytest.raises(UsageError, match="256 nodes") as caught:
        book.add(address(MAX_KEPT + 1))
    assert "oln peer remove" in caught.value.hint
    assert book.remove(node(1))
    book.add(address(MAX_KEPT + 1))


def test_a_peer_has_few_addresses_and_the_least_trusted_go_first() -> None:
    book = PeerBook()
    book.add(address(1, "10.0.0.1"), Source.PERSON)
    for number in range(2, 30):
        book.add(address(1, f"10.0.0.{number}"), Source.RECORD, NOW)
    peer = book.get(node(1))
    assert peer is not None
    assert len(peer.places) == MAX_PLACES
    assert address(1, "10.0.0.1").endpoint() in peer.places


def test_an_address_keeps_the_most_trusted_source_that_named_it() -> None:
    book = PeerBook()
    book.add(address(1), Source.RECORD, NOW)
    book.add(address(1), Source.PERSON)
    book.add(address(1), Source.RECORD, NOW)
    peer = book.get(node(1))
    assert peer is not None and peer.is_kept
    (place,) = peer.places.values()
    assert (place.source, place.until_ms) == (Source.PERSON, 0)


# Storage.


@pytest.mark.rule("N13")
def test_a_restart_remembers_scores_bans_addresses_and_records() -> None:
    book = PeerBook()
    stored: dict[bytes, bytes] = {}
    book.add(address(1))
    book.heard(sign_record(key(2), LEDGER, [HERE], NOW), NOW)
    book.seen(node(2), NOW, HERE)
    book.lower(node(2), NOW)
    book.ban(node(3), "bad_data", NOW)
    again = reloaded(book, stored)
    assert {peer.node_id: peer for peer in again} == {peer.node_id: peer for peer in book}
    assert again.refusal(node(3), NOW) == "banned: bad_data"
    assert again.changes() == []
    assert again.remove(node(1)) and not again.remove(node(1))
    assert reloaded(again, stored).get(node(1)) is None


def test_an_unreadable_entry_is_left_out_and_counted() -> None:
    good = encode_peer(Peer(node(1)))
    book = PeerBook()
    pairs = [(node(1), good), (node(2), b"junk"), (b"short", good), (node(3), good + b"\0")]
    assert book.load(pairs) == 3
    assert [peer.node_id for peer in book] == [node(1)]


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_any_bytes_are_an_entry_or_bad_input(data: bytes) -> None:
    try:
        peer = decode_peer(node(1), data)
    except BadInput:
        return
    assert encode_peer(peer) == data


def test_the_largest_entry_can_be_stored_and_read() -> None:
    host = ".".join(["a" * 60] * 4)
    most = 2**53 - 1
    peer = Peer(node(1), True, most, 100, most, most, "r" * 64, most, bytes(1024))
    for number in range(MAX_PLACES):
        peer.add_place(Endpoint(host, 60_000 + number), Source.RECORD, most)
    data = encode_peer(peer)
    assert len(data) <= MAX_ENTRY_BYTES
    assert decode_peer(node(1), data) == peer
    with pytest.raises(BadInput):
        decode_peer(node(1), bytes(MAX_ENTRY_BYTES + 1))


def test_the_points_of_a_fault_let_a_peer_make_a_few_before_it_stays_out() -> None:
    assert (BEST_SCORE - REFUSED_BELOW) // FAULT_POINTS == 4


@pytest.mark.rule("N14")
@pytest.mark.parametrize("linked", [False, True])
def test_a_record_costs_the_same_in_an_empty_book_and_in_a_full_one(
    monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    monkeypatch.setattr(book_module, "MAX_PEERS", 300)
    book = PeerBook()
    for number in range(300):
        places = [Endpoint(f"host{number}-{part}.example", 1) for part in range(4)]
        assert book.heard(sign_record(key(number), LEDGER, places, NOW), NOW)
        if linked:
            book.seen(node(number), NOW)
    looked_at = [0]
    worth, hosts_of = Peer.worth, hosts._hosts_of

    def count_worth(peer: Peer) -> tuple[bool, bool, int]:
        looked_at[0] += 1
        return worth(peer)

    def count_hosts(peer: Peer) -> set[str]:
        looked_at[0] += 1
        return hosts_of(peer)

    monkeypatch.setattr(Peer, "worth", count_worth)
    monkeypatch.setattr(hosts, "_hosts_of", count_hosts)
    assert not book._heard_of or not linked or book._only_heard_of() is None
    looked_at[0] = 0
    places = [Endpoint(f"host{number}-0.example", 1) for number in range(4)]
    for number in range(400, 416):
        heard = book.heard(sign_record(key(number), LEDGER, places, NOW), NOW)
        assert heard is not linked
    assert looked_at[0] < 16 * 50, "entries of others are not gone through"


def test_hints_of_hosts_are_made_anew_before_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "MAX_HOSTS", 20)
    book = PeerBook()
    for turn in range(100):
        places = [Endpoint(f"host{turn}.example", 1)]
        assert book.heard(sign_record(key(1), LEDGER, places, NOW + turn), NOW + turn)
        assert len(book._hosts._nodes) <= 21
    assert book._hosts.count("host99.example", node(2)) == 1
    assert book._hosts.count("host99.example", node(1)) == 0
    assert book._hosts.count("host98.example", node(2)) == 0
