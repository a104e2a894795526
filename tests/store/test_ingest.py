"""Taking in somebody else's log: all of it verified, or nothing of it visible."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from openledger_node.ledger import merkle
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput, Refused, StoreUnavailable, VerificationFailed
from openledger_node.ledger.forks import verify_fork
from openledger_node.ledger.heads import sign_head
from openledger_node.store import ingest as ingesting
from openledger_node.store import logs
from openledger_node.store.check import check
from openledger_node.store.ingest import Ingestion, ingest
from openledger_node.store.maintenance import compact
from openledger_node.store.view_logs import LogInfo
from openledger_node.sync.frontier import proof_rank
from tests.kit.ledgerkit import MemoryLog, digest, key
from tests.store.place import DEVICE, KIND, Place, chain, chunked, leaf, note


@pytest.fixture
def log(place: Place) -> MemoryLog:
    """Somebody else's log of one event."""
    return place.ledger.open_log(digest("ada"), key("ada", "device"), "ada")


def held(place: Place, log: MemoryLog) -> LogInfo | None:
    with place.store.read() as snapshot:
        return snapshot.log(log.log_id)


def assert_holds(place: Place, log: MemoryLog, size: int) -> None:
    """The store has the log's first `size` leaves, no more, and what follows from them."""
    info = held(place, log)
    assert info is not None and info.head is not None
    assert (info.size, info.head, info.own) == (size, log.head(size).signed, False)
    with place.store.read() as snapshot:
        assert snapshot.leaves(log.log_id, 0, size) == log.leaves[:size]
        assert snapshot.root_at(log.log_id, size) == log.mark(size).root
    with place.store.environment.reading() as txn:
        tail = list(txn.scan("tail", logs.number_key(info.number)))
        assert len(tail) == size % 256
        record = logs.read_record(txn, info.number)
        assert record.frontier == merkle.Frontier().extend(merkle.leaf_hashes(log.leaves[:size]))


def assert_holds_nothing(place: Place, log: MemoryLog) -> None:
    info = held(place, log)
    assert info is None or (info.size, info.head) == (0, None)


@pytest.mark.parametrize("chunk", [1, 7, 255, 256, 257, 10_000])
def test_a_log_arrives_whole_in_chunks_of_any_size(
    place: Place, log: MemoryLog, chunk: int
) -> None:
    chain(log, 600)
    assert place.ingest(log, chunk=chunk).added == 601
    assert_holds(place, log, 601)


@pytest.mark.parametrize(
    ("first", "second"), [(1, 2), (5, 5), (5, 300), (256, 257), (300, 512), (512, 513), (600, 601)]
)
def test_a_log_that_grew_is_extended(place: Place, log: MemoryLog, first: int, second: int) -> None:
    chain(log, 600)
    place.ingest(log, first)
    assert place.ingest(log, second).added == second - first
    assert_holds(place, log, second)


def test_an_older_head_of_a_held_log_changes_nothing(place: Place, log: MemoryLog) -> None:
    chain(log, 300)
    place.ingest(log)
    done = place.ingest(log, 20)
    assert (done.added, done.fork) == (0, None)
    assert_holds(place, log, 301)


def test_a_long_log_is_staged_in_portions(
    place: Place, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting, "STAGED_SEGMENTS", 2)
    chain(log, 2_000)
    place.ingest(log, chunk=300)
    assert_holds(place, log, 2_001)


def test_a_log_of_long_events_is_staged_by_its_bytes(
    place: Place, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """16,384 events of 512 KiB would be 8 GiB in memory."""
    monkeypatch.setattr(ingesting, "STAGED_BYTES", 10_000)
    most = 0
    writing = place.store.environment.writing

    def noted(incoming_bytes: int = 0) -> Any:
        nonlocal most
        most = max(most, incoming_bytes)
        return writing(incoming_bytes)

    monkeypatch.setattr(place.store.environment, "writing", noted)
    chain(log, 2_000)
    place.ingest(log, chunk=100)
    assert_holds(place, log, 2_001)
    assert 10_000 <= most < 10_000 + 256 * max(map(len, log.leaves))


def test_an_import_that_is_cut_off_leaves_nothing_visible_and_can_be_done_again(
    place: Place, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting, "STAGED_SEGMENTS", 1)
    chain(log, 1_000)

    def cut_off() -> Iterator[list[bytes]]:
        yield log.leaves[:700]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        ingest(place.store, log.genesis, log.head().signed, cut_off())
    assert_holds_nothing(place, log)
    assert len(place.items("segments")) == 2
    place.ingest(log, 300)
    assert_holds(place, log, 300)
    place.ingest(log)
    assert_holds(place, log, 1_001)


def test_what_fails_while_more_is_fed_is_raised_by_a_later_call_and_leaves_nothing_visible(
    place: Place, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting, "STAGED_SEGMENTS", 1)
    chain(log, 1_500)

    def full(*_arguments: object) -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(logs, "put_sealed", full)
    ingestion = ingesting.Ingestion(place.store, log.genesis, log.head())
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        for start in range(0, len(log.leaves), 256):
            ingestion.feed(log.leaves[start : start + 256])
        ingestion.finish()
    ingestion.close()
    assert_holds_nothing(place, log)
    monkeypatch.undo()
    place.ingest(log)
    assert_holds(place, log, 1_501)


@pytest.mark.parametrize("at", [0, 1, 255, 256, 299])
def test_one_other_leaf_and_nothing_is_stored(place: Place, log: MemoryLog, at: int) -> None:
    chain(log, 299)
    leaves = list(log.leaves)
    leaves[at] = leaf(at, note(99))
    with pytest.raises(BadInput, match="do not have the root"):
        ingest(place.store, log.genesis, log.head().signed, chunked(leaves, 100))
    assert_holds_nothing(place, log)


@pytest.mark.parametrize(
    ("forged", "message"),
    [
        (b"", "event 2"),
        (b"\xc0", "event 2"),
        (leaf(3, note(2)), "event 2"),
        (encode([1, 2, KIND, 0, {"a": 1}, None, 0]), "event 2"),
        (encode([1, 2, KIND, 0, 1.5, None, 0]), "event 2"),
        (leaf(2, note(2)) + b"\0", "event 2"),
        (bytes(600_000), "event 2"),
    ],
    ids=["empty", "nil", "other index", "map", "float", "trailing", "too long"],
)
def test_a_leaf_that_acceptance_refuses_stops_the_log_at_the_door(
    place: Place, log: MemoryLog, forged: bytes, message: str
) -> None:
    chain(log, 1)
    log.append_leaf(forged)
    with pytest.raises(BadInput, match=message):
        place.ingest(log)
    assert_holds_nothing(place, log)


def test_fewer_or_more_events_than_the_head_covers_are_refused(
    place: Place, log: MemoryLog
) -> None:
    chain(log, 300)
    head = log.head().signed
    for leaves in (log.leaves[:-1], [*log.leaves, leaf(301, note(1))], []):
        with pytest.raises(BadInput, match="its head covers"):
            ingest(place.store, log.genesis, head, chunked(leaves, 64))
        assert_holds_nothing(place, log)
    place.ingest(log)
    assert_holds(place, log, 301)


def test_a_head_of_another_key_log_or_size_is_refused_before_anything_is_read(
    place: Place, log: MemoryLog
) -> None:
    def never() -> Iterator[list[bytes]]:
        raise AssertionError("a leaf was read")
        yield []

    good = log.head().signed
    thief = key("thief")
    other = msgspec.structs.replace(log.genesis, device=thief.public.raw)
    forged = [
        msgspec.structs.replace(good, signature=bytes(64)),
        msgspec.structs.replace(good, size=2),
        msgspec.structs.replace(good, root=digest("root")),
        msgspec.structs.replace(good, log_id=digest("log")),
        sign_head(thief, other, 1, good.root).signed,
    ]
    for head in forged:
        with pytest.raises(VerificationFailed):
            ingest(place.store, log.genesis, head, never())
    assert held(place, log) is None


def test_unknown_kinds_and_void_bodies_are_kept(place: Place, log: MemoryLog) -> None:
    log.append("kind.of.tomorrow", [1, [2, b"x"]])
    log.append("money.issue", ["not", "an", "issue"])
    log.append("", None)
    place.ingest(log)
    assert_holds(place, log, 4)


@pytest.mark.parametrize(("ours", "theirs"), [(3, 3), (3, 300), (300, 3), (600, 300), (1, 2)])
def test_two_signed_histories_are_proved_a_fork_and_ours_stays(
    place: Place, log: MemoryLog, ours: int, theirs: int
) -> None:
    other = MemoryLog(log.genesis, log.key)
    chain(log, ours)
    place.ingest(log)
    other.append(KIND, ["another history"])
    chain(other, theirs - 1)
    done = place.ingest(other)
    assert done.added == 0 and done.fork is not None
    fork = verify_fork(done.fork)
    assert (fork.log_id, fork.common) == (log.log_id, 1)
    assert_holds(place, log, ours + 1)
    with place.store.read() as snapshot:
        assert snapshot.forks() == [done.fork]
        assert snapshot.alarms() == [f"log {log.log_id.hex()[:12]} forked at event 1"]


@pytest.mark.rule("Y5")
def test_of_several_proofs_of_a_fork_the_lowest_is_kept(place: Place, log: MemoryLog) -> None:
    chain(log, 3)
    place.ingest(log)
    proofs = []
    for name in ("b", "c"):
        other = MemoryLog(log.genesis, log.key)
        other.append(KIND, [name])
        proofs.append(place.ingest(other).fork)
    with place.store.read() as snapshot:
        assert snapshot.forks() == [min((p for p in proofs if p), key=proof_rank)]


def test_a_different_history_without_its_own_signature_is_no_fork(
    place: Place, log: MemoryLog
) -> None:
    chain(log, 5)
    place.ingest(log)
    leaves = [*log.leaves[:3], leaf(3, note(88)), *log.leaves[4:]]
    with pytest.raises(BadInput, match="do not have the root"):
        ingest(place.store, log.genesis, log.head().signed, [leaves])
    with place.store.read() as snapshot:
        assert snapshot.forks() == []
    assert_holds(place, log, 6)


def test_an_own_log_that_went_on_elsewhere_is_refused_and_its_copy_too(place: Place) -> None:
    place.append(3)
    copy = MemoryLog(place.genesis, DEVICE)
    copy.leaves[:] = place.leaves()
    assert place.ingest(copy).added == 0
    chain(copy, 1)
    with pytest.raises(Refused) as refused:
        place.ingest(copy)
    assert refused.value.code == "own_log_ahead"
    assert place.held() == place.leaves()


def test_two_imports_of_one_log_at_a_time_end_with_one_of_them(
    place: Place, log: MemoryLog
) -> None:
    chain(log, 600)

    def overtaken() -> Iterator[list[bytes]]:
        yield log.leaves[:300]
        place.ingest(log, 400)
        yield log.leaves[300:]

    with pytest.raises(Refused) as refused:
        ingest(place.store, log.genesis, log.head().signed, overtaken())
    assert refused.value.code == "busy"
    assert_holds(place, log, 400)


@pytest.mark.rule("Y32")
def test_a_fork_of_a_long_log_is_proved_without_holding_the_log_in_memory(
    place: Place, log: MemoryLog
) -> None:
    chain(log, 12_000, size_bytes=1_000)
    place.ingest(log, chunk=256)
    other = MemoryLog(log.genesis, log.key)
    for held_leaf in log.leaves[1:900]:
        other.append_leaf(held_leaf)
    other.append(KIND, ["another history"])
    chain(other, 12_000, size_bytes=1_000)
    head = other.head().signed
    tracemalloc.start()
    try:
        fork = ingest(place.store, log.genesis, head, chunked(other.leaves, 256)).fork
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert fork is not None and verify_fork(fork).common == 900
    assert peak < 3_000_000 < sum(map(len, other.leaves)) // 4


@pytest.mark.parametrize("size", [100, 256, 300, 600])
@pytest.mark.parametrize("first", [0, 40, 270])
def test_long_events_of_a_segment_that_is_not_whole_wait_in_the_store(
    place: Place, log: MemoryLog, monkeypatch: pytest.MonkeyPatch, first: int, size: int
) -> None:
    monkeypatch.setattr(ingesting, "PARKED_BYTES", 5_000)
    chain(log, size - 1, size_bytes=300)
    if first:
        place.ingest(log, min(first, size))
    place.ingest(log, chunk=7)
    assert_holds(place, log, size)
    assert check(place.store).problems == []


@pytest.mark.rule("S7")
def test_long_events_that_wait_in_the_store_are_no_part_of_the_log(
    place: Place, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting, "PARKED_BYTES", 5_000)
    chain(log, 399, size_bytes=300)
    place.ingest(log, 50)
    ingestion = ingesting.Ingestion(place.store, log.genesis, log.head())
    ingestion.feed(log.leaves[50:200])
    assert len(place.items("tail")) == 201  # the own log's only event too
    info = held(place, log)
    assert info is not None and info.size == 50
    place.ingest(log, 60)
    with pytest.raises(Refused):
        ingestion.feed(log.leaves[200:])
    assert check(place.store).problems == []
    place.ingest(log, 70)
    assert len(place.items("tail")) == 201
    compact(place.store)
    assert len(place.items("tail")) == 71
    assert check(place.store).problems == []
    place.ingest(log)
    assert_holds(place, log, 400)


def test_events_of_the_greatest_length_take_little_memory(place: Place, log: MemoryLog) -> None:
    chain(log, 60, size_bytes=500_000)
    head = log.head().signed
    tracemalloc.start()
    try:
        ingest(place.store, log.genesis, head, chunked(log.leaves, 1))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert_holds(place, log, 61)
    assert peak < 6_000_000 < sum(map(len, log.leaves)) // 4


@pytest.mark.rule("S7")
@pytest.mark.parametrize("chunk", [40, 300])
def test_what_waits_can_be_written_at_any_time(place: Place, log: MemoryLog, chunk: int) -> None:
    chain(log, 700)
    ingestion = Ingestion(place.store, log.genesis, log.head(701))
    for some in chunked(log.leaves, chunk):
        ingestion.feed(some)
        assert ingestion.waiting_bytes or not len(some)
        ingestion.stage()
        assert ingestion.waiting_bytes == 0
        assert_holds_nothing(place, log)
    ingestion.finish()
    assert_holds(place, log, 701)
