"""One consistent view: proofs, finding events, epochs, payloads, local knowledge."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.credit import views
from openledger_node.ledger import merkle
from openledger_node.ledger.errors import StoreDamaged, UsageError
from openledger_node.ledger.events import event_ids
from openledger_node.store.environment import seal
from openledger_node.store.view_payloads import payload_path
from tests.kit.ledgerkit import CREDIT, Ledger, digest
from tests.kit.stage import Stage
from tests.store.place import Place, payload

_FOLDER = TemporaryDirectory()


@cache
def long() -> tuple[Place, list[bytes]]:
    """A log of three sealed segments and a tail, which no test changes."""
    place = Place(Path(_FOLDER.name) / "home")
    place.append(800, size_bytes=3)
    return place, merkle.leaf_hashes(place.leaves())


@settings(max_examples=40)
@given(st.data())
def test_inclusion_proofs_are_those_of_the_plain_tree(data: st.DataObject) -> None:
    place, hashes = long()
    size = data.draw(st.integers(1, len(hashes)))
    seq = data.draw(st.integers(0, size - 1))
    with place.store.read() as snapshot:
        path = snapshot.inclusion(place.log_id, seq, size)
        root = snapshot.root_at(place.log_id, size)
    assert path == merkle.inclusion_proof(hashes[:size], seq)
    assert merkle.verify_inclusion(hashes[seq], seq, size, path, root)


@settings(max_examples=40)
@given(st.data())
def test_consistency_proofs_are_those_of_the_plain_tree(data: st.DataObject) -> None:
    place, hashes = long()
    size = data.draw(st.integers(1, len(hashes)))
    old = data.draw(st.integers(1, size))
    with place.store.read() as snapshot:
        path = snapshot.consistency(place.log_id, old, size)
    assert path == merkle.consistency_proof(hashes[:size], old)


def test_a_log_that_is_not_held_is_named(place: Place) -> None:
    with place.store.read() as snapshot:
        assert snapshot.log(digest("no log")) is None
        with pytest.raises(UsageError) as refused:
            snapshot.leaves(digest("no log"), 0, 0)
    assert refused.value.code == "unknown_id"


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("seq", [0, 255, 256, 800])
@pytest.mark.parametrize("prefix", [4, 8, 9, 32])
def test_an_event_is_found_by_any_prefix_of_its_id(indexed: bool, seq: int, prefix: int) -> None:
    place, _ = long()
    if indexed:
        place.store.index_ids()
    wanted = event_ids(place.log_id, 0, place.leaves())[seq]
    with place.store.read() as snapshot:
        assert snapshot.find_event(wanted[:prefix]) == [(place.log_id, seq, wanted)]
        assert snapshot.find_event(digest("nothing")[:prefix]) == []


def test_all_events_of_a_shared_prefix_are_found(place: Place) -> None:
    place.append(600, size_bytes=0)
    ids = event_ids(place.log_id, 0, place.leaves())
    place.store.index_ids()
    with place.store.read() as snapshot:
        for first in (b"\x00", b"\x7f", b"\xff"):
            found = [event_id for _, _, event_id in snapshot.find_event(first)]
            assert found == [event_id for event_id in ids if event_id[:1] == first]


def test_the_index_of_ids_is_made_once_and_grows_with_the_log(place: Place) -> None:
    place.append(600)
    assert place.store.index_ids() == 2
    assert place.store.index_ids() == 0
    ids = event_ids(place.log_id, 0, place.leaves())
    stored = place.items("ids")
    assert stored[0][1][:-8] == b"".join(event_id[:8] for event_id in ids[:256])
    assert stored[1][1][:-8] == b"".join(event_id[:8] for event_id in ids[256:512])
    place.append(256)
    assert place.store.index_ids() == 1


def test_what_the_store_folds_over_is_what_memory_folds_over(place: Place) -> None:
    stage = Stage()
    stage.issue(stage.ada, 30 * CREDIT)
    stage.close()
    stage.issue(stage.bob, 12 * CREDIT)
    stage.close()
    place.take(stage.ledger)
    with place.store.read() as snapshot:
        assert dict(snapshot.state.scan(b"")) == stage.ledger.state.values
        assert views.totals(snapshot.state) == views.totals(stage.ledger.state)
        for key, value in stage.ledger.state.values.items():
            assert snapshot.state.get(key) == value
        assert snapshot.state.get(b"no such key") is None


def test_epochs_marks_and_sizes_are_those_of_the_cuts(place: Place) -> None:
    ledger = Ledger.solo()
    ada = ledger.account("ada")
    ledger.close_epoch()
    first = len(ada.log.leaves)
    ada.add("account.accept", [digest("nothing")])
    ledger.close_epoch()
    place.take(ledger)
    with place.store.read() as snapshot:
        assert snapshot.last_epoch() == 2
        assert snapshot.epoch(3) is None and snapshot.epoch(-1) is None
        with pytest.raises(StoreDamaged, match="epoch 7 is missing"):
            snapshot.must_epoch(7)
        for closed in ledger.epochs:
            record = snapshot.must_epoch(closed.cut.epoch)
            assert record.cut_id == closed.folded.cut_id
            assert record.changed == tuple(closed.cut.changed)
            assert record.statement == closed.folded.statement.encode()
            assert record.state_digest == closed.folded.state_digest
            assert snapshot.journal(closed.cut.epoch) == closed.folded.journal
        assert snapshot.must_epoch(2).events == 1
        assert snapshot.cut_mark(ada.log.log_id) == ada.log.mark()
        assert snapshot.cut_marks()[ada.log.log_id] == ada.log.mark()
        assert snapshot.cut_mark(digest("no log")) is None
        assert [snapshot.epoch_of(ada.log.log_id, seq) for seq in (0, first - 1, first)] == [
            1, 1, 2,
        ]  # fmt: skip
        assert snapshot.epoch_of(ada.log.log_id, first + 1) is None
        assert snapshot.size_in_cut(ada.log.log_id, 1) == first
        assert snapshot.size_in_cut(ada.log.log_id, 0) is None


@pytest.mark.parametrize("size_bytes", [0, 100, 250_000, 300_000])
def test_a_payload_comes_back_as_it_was(place: Place, size_bytes: int) -> None:
    commit, data = payload("p", size_bytes)
    with place.store.read() as snapshot:
        assert snapshot.payload(commit) is None and not snapshot.has_payload(commit)
    place.store.put_payload(commit, data)
    place.store.put_payload(commit, data)
    with place.store.read() as snapshot:
        assert snapshot.payload(commit) == data
        assert [found for found, _ in snapshot.payloads()] == [commit]
    assert payload_path(place.home, commit).exists() == (size_bytes >= 300_000)


@pytest.mark.rule("P5")
@pytest.mark.parametrize("size_bytes", [0, 100, 250_000, 300_000])
def test_whose_a_payload_is_stands_at_its_head(place: Place, size_bytes: int) -> None:
    commit, data = payload("p", size_bytes)
    with place.store.read() as snapshot:
        assert snapshot.payload_account(commit) is None
    place.store.put_payload(commit, data)
    with place.store.read() as snapshot:
        assert snapshot.payload_account(commit) == digest("own account")
    place.store.erase_payload(commit)
    with place.store.read() as snapshot:
        assert snapshot.payload_account(commit) is None


@pytest.mark.parametrize("harm", [b"", b"short", b"junk" * 99])
def test_a_payload_damaged_at_its_head_is_nobody_s(place: Place, harm: bytes) -> None:
    commit, data = payload("p", 300_000)
    place.store.put_payload(commit, data)
    path = payload_path(place.home, commit)
    path.write_bytes(harm)
    with place.store.read() as snapshot:
        assert snapshot.payload_account(commit) is None
    path.unlink()
    path.mkdir()
    with place.store.read() as snapshot:
        assert snapshot.payload_account(commit) is None


@pytest.mark.parametrize("size_bytes", [100, 300_000])
def test_an_erased_payload_is_gone_and_known_to_be(place: Place, size_bytes: int) -> None:
    commit, data = payload("p", size_bytes)
    place.store.put_payload(commit, data)
    place.store.erase_payload(commit)
    place.store.erase_payload(commit)
    with place.store.read() as snapshot:
        assert snapshot.payload(commit) is None
        assert snapshot.is_erased(commit) and not snapshot.has_payload(commit)
    assert place.items("blobs") == []
    assert not payload_path(place.home, commit).exists()


@pytest.mark.parametrize("size_bytes", [100, 300_000])
def test_a_payload_whose_bytes_changed_is_damage(place: Place, size_bytes: int) -> None:
    commit, data = payload("p", size_bytes)
    place.store.put_payload(commit, data)
    other = data[:-1] + bytes([data[-1] ^ 1])
    if size_bytes == 100:
        place.put_raw("blobs", commit, seal("blobs", commit, other))
    else:
        payload_path(place.home, commit).write_bytes(other)
    with place.store.read() as snapshot, pytest.raises(StoreDamaged, match="payload"):
        snapshot.payload(commit)


def test_a_large_payload_whose_file_is_gone_is_damage(place: Place) -> None:
    commit, data = payload("p", 300_000)
    place.store.put_payload(commit, data)
    payload_path(place.home, commit).unlink()
    with place.store.read() as snapshot, pytest.raises(StoreDamaged, match="payload"):
        snapshot.payload(commit)


def test_names_and_facts_are_kept_and_forgotten(place: Place) -> None:
    store = place.store
    store.set_petname(digest("ada"), "ada")
    store.set_petname(digest("ada"), "Ada L.")
    store.set_facts("key", [(b"a", b"1"), (b"b", b"2"), (b"c", b"1")])
    store.set_facts("keys", [(b"d", b"3")])
    with store.read() as snapshot:
        assert snapshot.petnames() == {digest("ada"): "Ada L."}
        assert snapshot.fact("key", b"a") == b"1"
        assert snapshot.fact("key", b"z") is None
        assert list(snapshot.facts("key")) == [(b"a", b"1"), (b"b", b"2"), (b"c", b"1")]
    store.drop_facts("key", b"1")
    with store.read() as snapshot:
        assert list(snapshot.facts("key")) == [(b"b", b"2")]
        assert list(snapshot.facts("keys")) == [(b"d", b"3")]


def test_the_store_describes_itself(place: Place) -> None:
    with place.store.read() as snapshot:
        assert snapshot.genesis == place.ledger.genesis
        assert snapshot.meta("ledger_id") == place.ledger.id
        assert snapshot.own_account == digest("own account")
        assert set(snapshot.described()) >= {"format", "genesis", "ledger_id", "instance"}
        assert snapshot.alarms() == []
