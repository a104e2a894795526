"""S5 to S7: how logs lie in the store, against a plain list of leaves."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.ledger import merkle
from openledger_node.ledger.encoding import decode
from openledger_node.ledger.errors import StoreDamaged
from openledger_node.ledger.events import SEGMENT_LEAVES
from openledger_node.ledger.merkle import Frontier, leaf_hashes
from openledger_node.store import logs
from openledger_node.store.environment import SEAL_BYTES, Txn
from tests.store.place import Place

_FOLDER = TemporaryDirectory()


@cache
def long() -> tuple[Place, list[bytes]]:
    """A log of two sealed segments and a tail, which no test changes."""
    place = Place(Path(_FOLDER.name) / "home")
    for count in (1, 254, 300, 145):
        place.append(count, size_bytes=5)
    return place, place.leaves()


COUNTS = st.lists(
    st.one_of(st.integers(1, 5), st.sampled_from([255, 256, 257, 300, 511, 600])),
    min_size=1,
    max_size=6,
)


@pytest.mark.rule("S6")
@settings(max_examples=12)
@given(COUNTS)
def test_a_log_holds_the_same_leaves_however_they_came(counts: list[int]) -> None:
    with TemporaryDirectory() as folder:
        place = Place(Path(folder) / "home")
        for count in counts:
            place.append(count, size_bytes=3)
        leaves = place.leaves()
        assert place.held() == leaves
        assert place.head().root == merkle.root(leaves)
        segments = [key for key, _ in place.items("segments")]
        tail = [key for key, _ in place.items("tail")]
        whole = len(leaves) // SEGMENT_LEAVES
        assert segments == [struct.pack(">II", 0, index) for index in range(whole)]
        assert segments == [key for key, _ in place.items("spine")]
        assert tail == [
            struct.pack(">IQ", 0, seq) for seq in range(whole * SEGMENT_LEAVES, len(leaves))
        ]
        place.close()


@pytest.mark.rule("S6")
def test_a_sealed_segment_is_its_leaves_their_lengths_and_their_root(place: Place) -> None:
    place.append(300)
    leaves = place.leaves()[:SEGMENT_LEAVES]
    (_, stored) = place.items("segments")[0]
    lengths = struct.pack(">256I", *map(len, leaves))
    assert stored[:-SEAL_BYTES] == b"".join(leaves) + lengths + merkle.root(leaves)
    assert place.items("spine")[0][1][:-SEAL_BYTES] == merkle.root(leaves)


@pytest.mark.rule("S5")
def test_a_record_is_what_the_specification_says(place: Place) -> None:
    place.append(300)
    (key, stored) = place.items("logs")[0]
    assert key == struct.pack(">I", 0)
    log_id, genesis, size, nodes, head, own = decode(stored[:-SEAL_BYTES])
    assert (log_id, size, own) == (place.log_id, 301, 1)
    assert genesis[3:5] == [place.genesis.device, place.genesis.nonce]
    assert nodes == list(Frontier().extend(leaf_hashes(place.leaves())).nodes)
    assert head[1:3] == [301, merkle.root(place.leaves())]
    assert place.items("logids") == [(log_id, key + place.items("logids")[0][1][-SEAL_BYTES:])]


@pytest.mark.rule("S5")
def test_logs_are_numbered_in_the_order_they_came(place: Place) -> None:
    place.begin("second", place.log_id)
    place.begin("third")
    with place.store.read() as snapshot:
        assert [log.number for log in snapshot.logs()] == [0, 1, 2]
        assert all(snapshot.log(log.log_id) == log for log in snapshot.logs())


@settings(max_examples=40)
@given(st.integers(0, 700), st.integers(0, 700))
def test_any_range_of_leaves_is_that_slice(start: int, stop: int) -> None:
    place, leaves = long()
    start, stop = sorted((start, stop))
    with place.store.read() as snapshot:
        assert snapshot.leaves(place.log_id, start, stop) == leaves[start:stop]
        assert [leaf for part in snapshot.iter_leaves(place.log_id, start) for leaf in part] == (
            leaves[start:]
        )


@settings(max_examples=60)
@given(st.integers(0, 701))
def test_the_frontier_at_an_earlier_size_is_that_of_its_leaves(size: int) -> None:
    place, leaves = long()
    with place.store.environment.reading() as txn:
        record = logs.read_record(txn, 0)
        found = logs.frontier_at(txn, 0, record, size)
    assert found == Frontier().extend(leaf_hashes(leaves[:size]))


@settings(max_examples=30)
@given(st.integers(0, 701), st.integers(0, 701))
def test_stored_hashes_are_those_of_the_leaves(start: int, stop: int) -> None:
    place, leaves = long()
    start, stop = sorted((start, stop))
    with place.store.environment.reading() as txn:
        assert logs.stored_hashes(txn, 0, start, stop) == leaf_hashes(leaves[start:stop])


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (5, 4), (0, 702), (702, 702)])
def test_a_range_outside_of_the_log_is_refused(start: int, stop: int) -> None:
    place, _ = long()
    with (
        place.store.environment.reading() as txn,
        pytest.raises(StoreDamaged, match="were asked for"),
    ):
        logs.read_leaves(txn, 0, start, stop)


@pytest.mark.parametrize("name", ["segments", "tail", "logs", "spine"])
def test_a_part_that_is_missing_is_named(place: Place, name: str) -> None:
    place.append(300)
    key = place.items(name)[0][0]
    with place.raw() as txn:
        txn.delete(name, key)
    with place.store.read() as snapshot, pytest.raises(StoreDamaged, match="missing"):
        snapshot.leaves(place.log_id, 0, 301)
        snapshot.root_at(place.log_id, 301)


@pytest.mark.parametrize(
    "value",
    [b"", b"x" * 1_055, struct.pack(">256I", *[1] * 256) + bytes(32), b"\xff" * 2_000],
    ids=["empty", "short", "leaves missing", "lengths past the end"],
)
def test_a_segment_that_does_not_unpack_is_damage(value: bytes) -> None:
    with pytest.raises(StoreDamaged, match="segment"):
        logs.unpack_segment(value)


def test_a_segment_of_empty_and_of_large_leaves_unpacks() -> None:
    leaves = [b"", b"x" * 524_288, *[bytes([index]) for index in range(254)]]
    assert logs.unpack_segment(logs.pack_segment(leaves, bytes(32))) == leaves
    assert logs.segment_root(logs.pack_segment(leaves, b"r" * 32)) == b"r" * 32


def test_a_new_log_is_signed_from_its_first_leaf(place: Place) -> None:
    genesis = place.begin("second", place.log_id)
    with place.store.read() as snapshot:
        log = snapshot.log(genesis.log_id)
        assert log is not None and log.head is not None
        assert (log.size, log.head.size, log.own) == (1, 1, True)
        assert log.genesis == genesis
        assert snapshot.current_log == genesis.log_id


@pytest.mark.rule("S1")
def test_leaves_of_a_large_segment_are_read_alone_and_each_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LARGE_BYTES", 10_000)
    place = Place(tmp_path / "home")
    place.append(600, size_bytes=100)
    leaves, whole = place.leaves(), []
    read = logs.read_segment

    def note(txn: Txn, number: int, segment: int) -> list[bytes]:
        whole.append(segment)
        return read(txn, number, segment)

    monkeypatch.setattr(logs, "read_segment", note)
    with place.store.read() as snapshot:
        for start in (3, 200, 255, 256, 300, 511, 512, 590):
            for stop in (start + 1, min(600, start + 70)):
                assert snapshot.leaves(place.log_id, start, stop) == leaves[start:stop]
            for room in (1, 500, 10**6):
                count, _, data = snapshot.leaf_run(0, start, 600, room)
                assert b"".join(leaves[start : start + count]) == data
                assert count == 1 or len(data) <= room
    assert sorted(whole) == [0, 1], "each segment is read whole once"
    key = logs.segment_key(0, 1)
    with place.store.environment.writing() as txn:
        stored = bytearray(txn.raw.get(key, db=place.store.environment.dbs["segments"]))
        stored[50 * 120] ^= 1
        txn.raw.put(key, bytes(stored), db=place.store.environment.dbs["segments"])
    with place.store.read() as snapshot, pytest.raises(StoreDamaged):
        for seq in range(256, 511):
            snapshot.leaves(place.log_id, seq, seq + 1)
    place.close()


def test_a_run_of_the_tail_reads_no_more_than_it_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path / "home")
    place.append(200, size_bytes=1_000)
    leaves, read = place.leaves(), []
    scan = Txn.scan

    def note(self: Txn, name: str, *arguments: bytes) -> Iterator[tuple[bytes, bytes]]:
        for item in scan(self, name, *arguments):
            read.append(name)
            yield item

    monkeypatch.setattr(Txn, "scan", note)
    with place.store.read() as snapshot:
        count, _, data = snapshot.leaf_run(0, 10, 200, 5_000)
        assert (count, data) == (4, b"".join(leaves[10:14]))
        spine = snapshot.spine(0, 0, len(leaves))
    assert read.count("tail") <= 6
    assert spine == merkle.root_of_hashes(leaf_hashes(leaves))
    place.close()
