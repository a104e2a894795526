"""Short pushes to many logs, serving in runs, and several branches of one log."""

from __future__ import annotations

import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openledger_node.ledger.errors import BadInput, Refused
from openledger_node.ledger.events import SEGMENT_LEAVES
from openledger_node.ledger.heads import verify_head
from openledger_node.ledger.merkle import leaf_hashes, root_of_hashes
from openledger_node.store.check import check
from openledger_node.store.ingest import Growth, Ingestion, grow_many
from openledger_node.sync.intake import PrefixMismatch, split_spine
from tests.kit.ledgerkit import MemoryLog
from tests.store.place import KIND, Place, chain


@pytest.fixture
def log(place: Place) -> MemoryLog:
    return place.ledger.account("ada").log


def growth(log: MemoryLog, first: int, size: int) -> Growth:
    return Growth(
        verify_head(log.head(size).signed, log.genesis), first, list(log.leaves[first:size])
    )


def held(place: Place, log: MemoryLog) -> list[bytes]:
    with place.store.read() as snapshot:
        found = snapshot.log(log.log_id)
        assert found is not None
        return snapshot.leaves(log.log_id, 0, found.size)


@pytest.mark.parametrize("steps", [[1, 2, 3], [1, 256, 257], [255, 256, 600], [2, 513]])
def test_a_log_grows_push_by_push(place: Place, log: MemoryLog, steps: list[int]) -> None:
    chain(log, 700)
    before = 0
    for size in steps:
        (done,) = grow_many(place.store, [growth(log, before, size)])
        assert (done.added, done.gap, done.differs) == (size - before, False, False)
        before = size
        assert held(place, log) == log.leaves[:size]
    assert check(place.store).problems == []


def test_a_push_that_begins_before_or_after_what_is_held(place: Place, log: MemoryLog) -> None:
    chain(log, 50)
    grow_many(place.store, [growth(log, 0, 10)])
    assert grow_many(place.store, [growth(log, 4, 20)])[0].added == 10
    assert grow_many(place.store, [growth(log, 4, 15)])[0].added == 0
    assert grow_many(place.store, [growth(log, 21, 30)])[0].gap
    assert held(place, log) == log.leaves[:20]


def test_a_push_of_another_history_changes_nothing_and_says_so(
    place: Place, log: MemoryLog
) -> None:
    other = MemoryLog(log.genesis, log.key)
    chain(log, 5)
    grow_many(place.store, [growth(log, 0, 4)])
    other.append(KIND, ["another history"])
    chain(other, 5)
    (done,) = grow_many(place.store, [growth(other, 4, 6)])
    assert done.differs and done.added == 0
    assert held(place, log) == log.leaves[:4]


def test_one_bad_push_among_many_does_not_hold_up_the_others(place: Place) -> None:
    good = chain(place.ledger.account("ada").log, 5)
    bad = chain(place.ledger.account("bob").log, 5)
    forged = growth(bad, 0, 6)
    forged.leaves[2] = good.leaves[3]
    done = grow_many(place.store, [growth(good, 0, 6), forged])
    assert [item.added for item in done] == [6, 0]
    assert done[1].differs and done[1].head is None
    assert held(place, good) == good.leaves[:6]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(first=st.integers(0, 1_299), stop=st.integers(1, 1_300), room=st.integers(0, 40_000))
def test_runs_are_the_leaves_one_after_another(
    served: tuple[Place, MemoryLog], first: int, stop: int, room: int
) -> None:
    place, log = served
    first, stop = min(first, stop - 1), max(first + 1, stop)
    with place.store.read() as snapshot:
        info = snapshot.log(log.log_id)
        assert info is not None
        count, lengths, leaves = snapshot.leaf_run(info.number, first, stop, room)
    taken = log.leaves[first : first + count]
    assert 1 <= count <= stop - first
    assert leaves == b"".join(taken)
    assert struct.unpack(f">{count}I", lengths) == tuple(map(len, taken))
    assert count == 1 or len(leaves) <= room
    assert (first + count - 1) // SEGMENT_LEAVES == first // SEGMENT_LEAVES


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, MemoryLog]:
    place = Place(tmp_path_factory.mktemp("served") / "home")
    log = chain(place.ledger.account("ada").log, 1_299)
    place.ingest(log)
    return place, log


@pytest.mark.parametrize("size", [1, 255, 256, 257, 1_024, 1_300])
def test_the_spine_of_a_prefix_has_the_roots_of_its_segments(
    served: tuple[Place, MemoryLog], size: int
) -> None:
    place, log = served
    hashes = leaf_hashes(list(log.leaves[:size]))
    with place.store.read() as snapshot:
        info = snapshot.log(log.log_id)
        assert info is not None
        for first in range(-(-size // SEGMENT_LEAVES)):
            roots = split_spine(snapshot.spine(info.number, first, size))
            starts = range(first * SEGMENT_LEAVES, size, SEGMENT_LEAVES)
            assert roots == [root_of_hashes(hashes[s : s + SEGMENT_LEAVES]) for s in starts]


def two_branches(log: MemoryLog) -> MemoryLog:
    other = MemoryLog(log.genesis, log.key)
    other.append(KIND, ["another history"])
    return chain(other, 300)


@pytest.mark.rule("S8")
def test_another_branch_is_shown_and_the_former_one_kept(place: Place, log: MemoryLog) -> None:
    chain(log, 400)
    place.ingest(log)
    other = two_branches(log)
    place.show_branch(other)
    assert held(place, log) == other.leaves
    with place.store.read() as snapshot:
        first, second = snapshot.histories(log.log_id)
        assert (first.head, second.head) == (other.head().signed, log.head().signed)
        count, _, leaves = snapshot.leaf_run(second.number, 0, 5, 10_000)
        assert leaves == b"".join(log.leaves[:count])
        assert snapshot.root_of(second.number, 7) == root_of_hashes(leaf_hashes(log.leaves[:7]))
        assert [mark.log_id for mark in snapshot.marks()].count(log.log_id) == 1
    assert check(place.store).problems == []


@pytest.mark.rule("S8")
def test_a_branch_that_is_cut_off_shows_nothing(place: Place, log: MemoryLog) -> None:
    chain(log, 10)
    place.ingest(log)
    other = two_branches(log)
    head = verify_head(other.head().signed, other.genesis)
    ingestion = Ingestion(place.store, other.genesis, head, branch=True)
    ingestion.feed(list(other.leaves[:280]))
    assert held(place, log) == log.leaves
    with place.store.read() as snapshot:
        assert len(snapshot.histories(log.log_id)) == 1
    assert check(place.store).problems == []


@pytest.mark.rule("S8")
def test_an_own_log_is_never_replaced(place: Place) -> None:
    place.append(5)
    with place.store.read() as snapshot:
        info = snapshot.log(place.log_id)
    assert info is not None and info.head is not None
    with pytest.raises(Refused, match="own log"):
        Ingestion(place.store, place.genesis, verify_head(info.head, place.genesis), branch=True)


def test_an_ingestion_passes_over_what_came_meanwhile(place: Place, log: MemoryLog) -> None:
    chain(log, 900)
    place.ingest(log, 100)
    head = verify_head(log.head().signed, log.genesis)
    roots = [
        root_of_hashes(leaf_hashes(log.leaves[s : s + SEGMENT_LEAVES]))
        for s in range(0, len(log.leaves), SEGMENT_LEAVES)
    ]
    place.ingest(log, 300)
    ingestion = Ingestion(place.store, log.genesis, head, first=100, spine=roots)
    assert ingestion.position == 100
    ingestion.feed(list(log.leaves[100:500]))
    ingestion.feed(list(log.leaves[500:]))
    assert ingestion.finish().added == len(log.leaves) - 300
    assert held(place, log) == log.leaves
    assert check(place.store).problems == []


def test_an_ingestion_beside_another_one_of_the_same_log_gives_way(
    place: Place, log: MemoryLog
) -> None:
    chain(log, 300)
    head = verify_head(log.head().signed, log.genesis)
    ingestion = Ingestion(place.store, log.genesis, head)
    ingestion.feed(list(log.leaves[:200]))
    place.ingest(log, 50)
    ingestion.feed(list(log.leaves[200:]))
    with pytest.raises(Refused, match="another process"):
        ingestion.finish()
    assert held(place, log) == log.leaves[:50]


def test_a_false_segment_stops_an_ingestion_before_it_is_written(
    place: Place, log: MemoryLog
) -> None:
    chain(log, 600)
    other = two_branches(log)
    head = verify_head(log.head().signed, log.genesis)
    roots = [
        root_of_hashes(leaf_hashes(log.leaves[s : s + SEGMENT_LEAVES]))
        for s in range(0, len(log.leaves), SEGMENT_LEAVES)
    ]
    ingestion = Ingestion(place.store, log.genesis, head, spine=roots)
    with pytest.raises((BadInput, PrefixMismatch)):
        ingestion.feed(list(other.leaves[:256]))
    assert place.items("segments") == []
