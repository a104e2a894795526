"""S1 to S4: sealed values, whole transactions, the limit, newer formats."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import OlnError, Refused, StoreDamaged, StoreUnavailable
from openledger_node.store.environment import (
    DATABASES,
    FORMAT_VERSION,
    SEAL_BYTES,
    WORDS,
    Environment,
    seal,
    translated,
    unseal,
)
from openledger_node.store.store import Store
from tests.kit.ledgerkit import Ledger
from tests.store.place import Place


@pytest.mark.rule("S1")
def test_a_seal_is_eight_bytes_of_the_digest_over_database_key_and_value() -> None:
    digest = hashlib.sha256(b"tail\0key" + b"value").digest()
    assert seal("tail", b"key", b"value") == b"value" + digest[:8]


@pytest.mark.rule("S1")
@given(st.binary(max_size=40), st.binary(max_size=80), st.data())
def test_any_flipped_bit_breaks_the_seal(key: bytes, value: bytes, data: st.DataObject) -> None:
    stored = bytearray(seal("state", key, value))
    bit = data.draw(st.integers(0, len(stored) * 8 - 1))
    stored[bit // 8] ^= 1 << bit % 8
    with pytest.raises(StoreDamaged, match="the folded state is damaged"):
        unseal("state", key, bytes(stored))


def test_what_the_process_had_in_memory_does_not_fill_the_gaps_of_pages(tmp_path: Path) -> None:
    """As large as what LMDB allocates for a page, so that it gets what was freed."""
    freed = b"a key, or a text to be erased "
    count = 4_104 // len(freed)
    environment = Environment(tmp_path, create=True, limit_bytes=2**30, read_only=False)
    for turn in range(50):
        held = [bytearray(freed * count + bytes(4_104 % len(freed))) for _ in range(100)]
        held = held[::2]
        with environment.writing() as txn:
            for number in range(40):
                txn.put("facts", b"%d-%d" % (turn, number), bytes(20))
    environment.close()
    assert freed not in (tmp_path / "data.mdb").read_bytes()
    assert held


@pytest.mark.rule("S1")
@pytest.mark.parametrize("length", range(SEAL_BYTES + 1))
def test_a_value_shorter_than_its_seal_is_damage(length: int) -> None:
    with pytest.raises(StoreDamaged):
        unseal("state", b"key", bytes(length))


@pytest.mark.rule("S1")
def test_a_value_moved_to_another_key_or_database_is_damage() -> None:
    stored = seal("state", b"key", b"value")
    assert unseal("state", b"key", stored) == b"value"
    with pytest.raises(StoreDamaged):
        unseal("state", b"other", stored)
    with pytest.raises(StoreDamaged):
        unseal("facts", b"key", stored)


@pytest.mark.rule("S1")
@pytest.mark.parametrize("name", DATABASES)
def test_every_database_checks_its_seals_on_every_way_of_reading(place: Place, name: str) -> None:
    place.put_raw(name, b"\xff" * 12, b"no seal at all")
    with place.store.environment.reading() as txn:
        with pytest.raises(StoreDamaged, match=WORDS[name]):
            txn.get(name, b"\xff" * 12)
        with pytest.raises(StoreDamaged, match=WORDS[name]):
            list(txn.scan(name, b"\xff"))
        with pytest.raises(StoreDamaged, match=WORDS[name]):
            txn.last(name)


def test_a_scan_gives_what_begins_with_its_prefix_in_order(place: Place) -> None:
    keys = [b"a", b"ab", b"abc", b"abd", b"b"]
    with place.raw() as txn:
        txn.put_many("facts", [(key, key * 2) for key in keys])
    with place.store.environment.reading() as txn:
        assert list(txn.scan("facts", b"ab")) == [(key, key * 2) for key in keys[1:4]]
        assert [key for key, _ in txn.scan("facts", b"ab", b"abc")] == [b"abc", b"abd"]
        assert list(txn.scan("facts", b"c")) == []
        assert txn.last("facts") == (b"b", b"bb")
        assert list(txn.keys("facts")) == keys
        assert txn.count("facts") == len(keys)


@pytest.mark.rule("S2")
def test_a_transaction_that_fails_changes_nothing(place: Place) -> None:
    with pytest.raises(RuntimeError), place.raw() as txn:
        txn.put("facts", b"key", b"value")
        assert txn.get("facts", b"key") == b"value"
        raise RuntimeError
    with place.store.environment.reading() as txn:
        assert txn.get("facts", b"key") is None


@pytest.mark.rule("S3")
def test_past_its_limit_a_store_refuses_to_write_and_goes_on_reading(tmp_path: Path) -> None:
    place = Place(tmp_path / "home", limit_bytes=400_000)
    refused = None
    while refused is None:
        try:
            place.append(50, size_bytes=1_000)
        except StoreUnavailable as error:
            refused = error
    assert refused.code == "store_full"
    assert "nothing stored was lost" in refused.hint
    assert place.held() == place.leaves()
    assert place.head().size == len(place.leaves())
    assert (place.home / "ledger" / "data.mdb").stat().st_size < 600_000
    place.limit_bytes = 10**9
    place.reopen()
    place.append(1)
    assert place.held() == place.leaves()
    place.close()


@pytest.mark.rule("S4")
@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 2**40])
def test_a_store_of_a_newer_format_is_refused_untouched(place: Place, version: int) -> None:
    with place.raw() as txn:
        txn.put("meta", b"format", encode(version))
    place.close()
    file = place.home / "ledger" / "data.mdb"
    before = file.read_bytes()
    with pytest.raises(StoreUnavailable, match=f"format {version}") as refused:
        Store.open(place.home)
    assert refused.value.code == "newer_version"
    assert file.read_bytes() == before


def test_a_store_is_never_made_by_the_way(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        Store.open(tmp_path / "nowhere")
    assert refused.value.code == "no_home"
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_never_made_over_another(place: Place) -> None:
    place.append(3)
    with pytest.raises(Refused) as refused:
        Store.create(place.home, Ledger.solo("other").genesis)
    assert refused.value.code == "home_exists"
    assert place.held() == place.leaves()


def test_a_store_opened_for_reading_does_not_write(place: Place) -> None:
    place.close()
    with Store.open(place.home, read_only=True) as store:
        with store.read() as snapshot:
            assert snapshot.genesis == place.ledger.genesis
        with pytest.raises(StoreUnavailable, match="reading only"):
            store.set_petname(bytes(32), "x")


def test_many_threads_and_snapshots_see_their_own_moment(place: Place) -> None:
    with place.store.read() as before:
        place.append(5)
        with place.store.read() as after:
            sizes = [next(iter(snapshot.logs())).size for snapshot in (before, after)]
    assert sizes == [1, 6]


@pytest.mark.rule("S3")
@pytest.mark.parametrize(
    "error",
    [
        lmdb.MapFullError("x"),
        lmdb.DiskError("x"),
        lmdb.Error("mdb_txn_commit: No space left on device"),
        lmdb.Error("x: Disk quota exceeded"),
        lmdb.Error("x: File too large"),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EFBIG, "File too large"),
    ],
)
def test_a_full_disk_is_the_same_error_by_whatever_name(error: Exception) -> None:
    with pytest.raises(StoreUnavailable) as refused, translated("be written"):
        raise error
    assert refused.value.code == "store_full"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (lmdb.CorruptedError("x"), StoreDamaged),
        (lmdb.PageNotFoundError("x"), StoreDamaged),
        (lmdb.PanicError("x"), StoreDamaged),
        (lmdb.BadTxnError("x"), StoreDamaged),
        (lmdb.InvalidError("x"), StoreDamaged),
        (lmdb.VersionMismatchError("x"), StoreDamaged),
        (lmdb.ReadersFullError("x"), StoreUnavailable),
        (OSError(errno.EACCES, "Permission denied"), StoreUnavailable),
    ],
)
def test_what_lmdb_and_the_disk_say_becomes_an_error_that_says_what_to_do(
    error: Exception, kind: type[OlnError]
) -> None:
    with pytest.raises(kind), translated("be written"):
        raise error


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"not a store" * 1_000, b"\0" * 8_192, b"\xff" * 40_960]
)
def test_a_file_that_is_no_store_is_damage(place: Place, content: bytes) -> None:
    place.close()
    (place.home / "ledger" / "data.mdb").write_bytes(content)
    with pytest.raises(StoreDamaged):
        Store.open(place.home)


@pytest.mark.parametrize("kept", [1, 4_096, 9_000, 0.5, 0.9])
def test_a_file_that_was_cut_short_is_damage_and_kills_nobody(place: Place, kept: float) -> None:
    place.append(2_000)
    place.close()
    file = place.home / "ledger" / "data.mdb"
    size_bytes = file.stat().st_size
    with file.open("rb+") as opened:
        opened.truncate(int(kept if kept >= 1 else size_bytes * kept))
    with pytest.raises(StoreDamaged):
        Store.open(place.home)


def test_a_file_without_the_free_pages_at_its_end_is_whole(place: Place) -> None:
    with place.raw() as txn:
        txn.put("facts", b"large", bytes(400_000))
    with place.raw() as txn:
        txn.delete("facts", b"large")
    place.append(10)
    place.close()
    file = place.home / "ledger" / "data.mdb"
    with file.open("rb+") as opened:
        opened.truncate(file.stat().st_size - 8 * 4_096)
    place.store = Store.open(place.home)
    assert place.held() == place.leaves()
    place.append(300)
    assert place.held() == place.leaves()
