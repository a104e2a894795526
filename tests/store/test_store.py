"""The durable changes of a store: epochs, signed states, payload files, identity, disk."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import pytest

from openledger_node.ledger.errors import Refused, StoreDamaged, StoreUnavailable
from openledger_node.ledger.votes import WitnessState
from openledger_node.store.identity import FILE_NAME
from openledger_node.store.lock import HomeLock
from openledger_node.store.store import Certificate, Store
from openledger_node.store.view_payloads import payload_path
from tests.kit.ledgerkit import Ledger, digest
from tests.store.place import Place, payload


def committed(place: Place) -> Ledger:
    ledger = Ledger.solo()
    ledger.account("ada")
    ledger.close_epoch()
    place.take(ledger)
    return ledger


def everything(place: Place) -> dict[str, list[tuple[bytes, bytes]]]:
    return {name: place.items(name) for name in place.store.environment.dbs}


def test_an_epoch_committed_again_changes_nothing(place: Place) -> None:
    ledger = committed(place)
    before = everything(place)
    for closed in ledger.epochs:
        place.store.commit_epoch(closed.folded, closed.cut.changed)
    assert everything(place) == before


def test_an_epoch_that_leaves_a_gap_is_refused_whole(place: Place) -> None:
    ledger = committed(place)
    ledger.close_epoch()
    last = ledger.close_epoch()
    before = everything(place)
    with pytest.raises(Refused) as refused:
        place.store.commit_epoch(last.folded, last.cut.changed)
    assert refused.value.code == "epoch_gap"
    assert everything(place) == before


def test_another_result_of_a_committed_epoch_is_refused(place: Place) -> None:
    """What is final stays final (invariant 7)."""
    ledger = committed(place)
    closed = ledger.epochs[1]
    other = dataclasses.replace(closed.folded, state_digest=digest("other"))
    before = everything(place)
    with pytest.raises(Refused):
        place.store.commit_epoch(other, closed.cut.changed)
    assert everything(place) == before


def test_how_an_epoch_was_decided_is_kept_with_it(place: Place) -> None:
    ledger = committed(place)
    closed = ledger.close_epoch()
    proof = Certificate(3, digest("proposal"), ((0, bytes(64)),))
    place.store.commit_epoch(closed.folded, closed.cut.changed, proof)
    with place.store.read() as snapshot:
        record = snapshot.must_epoch(2)
    assert (record.view, record.proposal_id, record.certificate) == (
        3,
        digest("proposal"),
        ((0, bytes(64)),),
    )


def test_values_that_an_epoch_removes_are_gone(place: Place) -> None:
    ledger = committed(place)
    closed = ledger.close_epoch()
    gone = next(iter(ledger.state.values))
    folded = dataclasses.replace(closed.folded, delta=((gone, None), (b"new", b"value")))
    place.store.commit_epoch(folded, ())
    with place.store.read() as snapshot:
        assert snapshot.state.get(gone) is None
        assert snapshot.state.get(b"new") == b"value"


def signed_state(epoch: int, name: str) -> WitnessState:
    return WitnessState(
        epoch, digest("cut"), digest("root"), digest(name), 1, digest("set"), None, bytes(64),
        0, digest("proposal"), (),
    )  # fmt: skip


def test_the_first_signed_state_of_a_seat_stands(place: Place) -> None:
    place.store.put_states(4, [(0, signed_state(4, "a")), (2, signed_state(4, "b"))])
    place.store.put_states(4, [(0, signed_state(4, "other")), (1, signed_state(4, "c"))])
    with place.store.read() as snapshot:
        assert {seat: state.state_digest for seat, state in snapshot.states(4).items()} == {
            0: digest("a"),
            1: digest("c"),
            2: digest("b"),
        }
        assert snapshot.states(5) == {}


def test_a_payload_file_that_cannot_be_written_leaves_no_trace(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, data = payload("p", 300_000)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable) as refused:
        place.store.put_payload(commit, data)
    assert refused.value.code == "store_full"
    assert [item for item in (place.home / "payloads").rglob("*") if item.is_file()] == []
    with place.store.read() as snapshot:
        assert not snapshot.has_payload(commit)


def test_an_erased_files_bytes_are_overwritten_before_it_goes(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, data = payload("p", 300_000)
    place.store.put_payload(commit, data)
    path = payload_path(place.home, commit)
    last_words: list[bytes] = []
    unlink = Path.unlink

    def watched(self: Path, missing_ok: bool = False) -> None:
        if self == path:
            last_words.append(self.read_bytes())
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    place.store.erase_payload(commit)
    assert last_words == [bytes(len(data))]


def test_disk_usage_counts_the_store_and_the_payload_files(place: Place) -> None:
    before = place.store.disk_usage()
    place.store.put_payload(*payload("p", 1_000_000))
    after = place.store.disk_usage()
    assert before.payload_bytes == 0
    assert 1_000_000 <= after.payload_bytes < 1_100_000
    assert after.total_bytes == after.store_bytes + after.payload_bytes


def test_a_new_store_is_the_original_and_stays_it(place: Place) -> None:
    assert place.store.is_original()
    place.append(3)
    assert place.reopen().is_original()


@pytest.mark.parametrize("how", ["copied", "copied in its place", "no file", "other nonce", "junk"])
def test_a_home_that_is_not_where_it_was_bound_is_no_original(place: Place, how: str) -> None:
    place.append(3)
    place.close()
    home = place.home
    copy = home.with_name("copy")
    shutil.copytree(home, copy)
    if how == "copied in its place":
        shutil.rmtree(home)
        shutil.copytree(copy, home.with_name("again"))
        copy.rename(home)
        copy = home
    elif how == "no file":
        (home / FILE_NAME).unlink()
        copy = home
    elif how == "other nonce":
        text = (home / FILE_NAME).read_text()
        (home / FILE_NAME).write_text(text.replace('"nonce": "', '"nonce": "00'))
        copy = home
    elif how == "junk":
        (home / FILE_NAME).write_bytes(b"\xff{")
        copy = home
    with Store.open(copy) as store:
        assert not store.is_original()
        store.rebind()
        assert store.is_original()
    place.store = Store.open(home)
    assert place.store.is_original() == (how != "junk" or copy == home)


def test_a_home_that_was_moved_on_its_disk_is_still_the_original(place: Place) -> None:
    place.close()
    moved = place.home.rename(place.home.with_name("moved"))
    with Store.open(moved) as store:
        assert store.is_original()


def test_a_store_that_is_open_cannot_be_replaced(place: Place) -> None:
    folder = place.home / "ledger"
    other = HomeLock(folder)
    with pytest.raises(StoreUnavailable) as refused:
        other.own()
    assert refused.value.code == "store_in_use"
    place.close()
    other.own()
    with pytest.raises(StoreUnavailable) as refused:
        Store.open(place.home)
    assert refused.value.code == "store_in_use"
    other.release()
    place.store = Store.open(place.home)


def test_a_shared_lock_that_cannot_become_the_only_one_stays_shared(place: Place) -> None:
    folder = place.home / "ledger"
    place.close()
    first, second, third = HomeLock(folder), HomeLock(folder), HomeLock(folder)
    first.share()
    second.share()
    with pytest.raises(StoreUnavailable):
        first.own()
    second.release()
    with pytest.raises(StoreUnavailable):
        third.own()
    first.own()
    with pytest.raises(StoreUnavailable):
        third.share()
    first.share_again()
    third.share()
    first.release()
    third.release()
    place.store = Store.open(place.home)


def test_a_store_whose_tables_cannot_be_read_names_the_page(place: Place) -> None:
    """LMDB itself says only that its transaction went bad."""
    place.append(300)
    place.close()
    file = place.home / "ledger" / "data.mdb"
    size_bytes = file.stat().st_size
    with file.open("r+b") as damaged:
        damaged.seek(2 * 4096)  # past the two description pages
        damaged.write(b"x" * (size_bytes - 2 * 4096))
    with pytest.raises(StoreDamaged, match="page") as caught:
        Store.open(place.home)
    assert "backup" in caught.value.hint
