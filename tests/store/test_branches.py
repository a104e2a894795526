"""Several branches of one log, and own logs that grew elsewhere: nothing lost, nothing mixed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from openledger_node.ledger.errors import BadInput, Refused
from openledger_node.ledger.forks import verify_fork
from openledger_node.ledger.heads import verify_head
from openledger_node.ledger.merkle import leaf_hashes, root_of_hashes
from openledger_node.store import logs
from openledger_node.store.check import check, repair
from openledger_node.store.ingest import Growth, Ingestion, grow_many
from openledger_node.store.maintenance import backup, compact, restore
from openledger_node.store.store import Store
from openledger_node.sync.intake import PrefixMismatch
from tests.kit.ledgerkit import MemoryLog, digest, key
from tests.store.place import DEVICE, KIND, Place, chain, note

ROOT = Path(__file__).resolve().parents[2]
LONG = 600


def parted(log: MemoryLog, common: int, name: str, size: int = LONG) -> MemoryLog:
    """Another history of the log, the same for its first `common` leaves."""
    other = MemoryLog(log.genesis, log.key)
    for leaf in log.leaves[1:common]:
        other.append_leaf(leaf)
    while len(other.leaves) < size:
        other.append(KIND, [name, len(other.leaves)])
    return other


@pytest.fixture
def log(place: Place) -> MemoryLog:
    made = place.ledger.account("ada").log
    return chain(made, LONG - len(made.leaves))


def histories(place: Place, log: MemoryLog) -> list[list[bytes]]:
    """The leaves of every branch held, the shown one first."""
    with place.store.environment.reading() as txn:
        shown = logs.log_number(txn, log.log_id)
        assert shown is not None
        return [
            logs.read_leaves(txn, number, 0, logs.read_record(txn, number).size)
            for number in (shown, *logs.branches(txn, log.log_id))
        ]


def begun(place: Place, log: MemoryLog, size: int | None = None, **options: bool) -> Ingestion:
    head = verify_head(log.head(size).signed, log.genesis)
    return Ingestion(place.store, log.genesis, head, **options)


@pytest.mark.rule("S8")
def test_a_branch_held_aside_is_shown_again_without_its_leaves(
    place: Place, log: MemoryLog
) -> None:
    other = parted(log, 300, "other")
    place.ingest(log)
    place.show_branch(other)
    again = begun(place, log, 450, branch=True)
    assert histories(place, log) == [log.leaves, other.leaves]
    assert again.position == 0
    again.feed(log.leaves[:450])
    assert again.position == 450
    assert again.finish().added == 0
    assert check(place.store).problems == []


@pytest.mark.rule("S8")
def test_a_mark_that_the_shown_history_has_changes_nothing(place: Place, log: MemoryLog) -> None:
    place.ingest(log)
    place.show_branch(log, 100)
    assert histories(place, log) == [log.leaves]


@pytest.mark.rule("S8")
def test_one_branch_that_comes_twice_at_a_time_is_held_once(place: Place, log: MemoryLog) -> None:
    other = parted(log, 10, "other")
    place.ingest(log)
    slow = begun(place, other, branch=True)
    slow.feed(other.leaves[:400])
    place.show_branch(other)
    slow.feed(other.leaves[400:])
    assert slow.finish().added == 0
    assert histories(place, log) == [other.leaves, log.leaves]
    assert check(place.store).problems == []


@pytest.mark.rule("S8")
def test_a_history_that_is_set_aside_meanwhile_does_not_grow(place: Place, log: MemoryLog) -> None:
    other = parted(log, 10, "other")
    place.ingest(log, 20)
    growing = begun(place, log)
    growing.feed(log.leaves[20:400])
    place.show_branch(other)
    growing.feed(log.leaves[400:])
    with pytest.raises(Refused) as refused:
        growing.finish()
    assert refused.value.code == "busy"
    assert histories(place, log) == [other.leaves, log.leaves[:20]]
    assert check(place.store).problems == []


def test_a_history_that_came_in_meanwhile_leaves_nothing_to_do(
    place: Place, log: MemoryLog
) -> None:
    place.ingest(log)
    for size in (LONG - 10, LONG):
        late = begun(place, log, size)
        assert late.position == size
        assert late.finish().added == 0
    late = Ingestion(place.store, log.genesis, log.head(500), first=0)
    late.feed(log.leaves[:500])
    with pytest.raises(BadInput, match="more events than the 500"):
        late.feed(log.leaves[500:501])
    assert histories(place, log) == [log.leaves]


def test_another_history_no_longer_than_the_one_held_is_a_mismatch(
    place: Place, log: MemoryLog
) -> None:
    other = parted(log, 300, "other")
    place.ingest(log)
    for size in (301, LONG):
        with pytest.raises(PrefixMismatch):
            begun(place, other, size)
    assert histories(place, log) == [log.leaves]


@pytest.mark.rule("S8")
def test_compacting_drops_branches_that_were_cut_off_and_keeps_the_others(
    place: Place, log: MemoryLog
) -> None:
    other = parted(log, 10, "other")
    place.ingest(log)
    place.show_branch(other)
    cut_off = begun(place, parted(log, 500, "third", 30_000), branch=True)
    cut_off.feed(parted(log, 500, "third", 30_000).leaves[:20_000])
    cut_off.close()
    before = len(place.items("logs"))
    assert len(place.items("segments")) > 4
    compact(place.store)
    assert len(place.items("logs")) == before - 1
    assert len(place.items("segments")) == 4
    assert histories(place, log) == [other.leaves, log.leaves]
    assert check(place.store).problems == []


@pytest.mark.rule("S8")
def test_a_backup_brings_every_branch_back(place: Place, log: MemoryLog, tmp_path: Path) -> None:
    other = parted(log, 10, "other")
    place.ingest(log)
    place.show_branch(other)
    backup(place.store, tmp_path / "saved")
    restore(tmp_path / "saved", tmp_path / "again")
    place.close()
    place.store = Store.open(tmp_path / "again")
    assert histories(place, log) == [other.leaves, log.leaves]
    assert check(place.store).problems == []


@pytest.mark.rule("S8")
def test_a_lost_table_of_branches_is_made_anew(place: Place, log: MemoryLog) -> None:
    other = parted(log, 10, "other")
    place.ingest(log)
    place.show_branch(other)
    held = place.items("branches")
    with place.raw() as txn:
        txn.delete("branches", held[0][0])
        txn.put("branches", b"x" * 64, b"\0\0\0\7")
    assert {problem.part for problem in check(place.store).problems} == {"branches"}
    repair(place.store)
    assert place.items("branches") == held
    assert check(place.store).problems == []


BRANCHES = 3
STEP = st.tuples(
    st.sampled_from(["ingest", "show", "grow"]), st.integers(0, BRANCHES - 1), st.integers(1, LONG)
)


@pytest.mark.rule("S8")
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(STEP, min_size=1, max_size=7))
@example(steps=[("ingest", 0, 300), ("show", 1, 300), ("show", 0, 600), ("show", 1, 100)])
@example(steps=[("show", 0, 256), ("show", 0, 600), ("show", 1, 256), ("ingest", 0, 257)])
def test_any_order_of_arrivals_is_what_a_list_of_lists_says(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    place = Place(tmp_path_factory.mktemp("branches") / "home")
    ada = place.ledger.account("ada").log
    first = chain(ada, LONG - len(ada.leaves))
    grown = [first, parted(first, 200, "b"), parted(first, 257, "c")]
    held: list[list[bytes]] = []
    for what, which, size in steps:
        branch = grown[which]
        leaves = branch.leaves[:size]
        if what == "show":
            place.show_branch(branch, size)
            holding = next((h for h in held if h[:size] == leaves), leaves)
            held = [holding, *(h for h in held if h is not holding)]
            continue
        if what == "grow":
            start = min(size - 1, len(held[0]) if held else 0)
            head = verify_head(branch.head(size).signed, branch.genesis)
            grow_many(place.store, [Growth(head, start, leaves[start:])])
        elif (fork := place.ingest(branch, size).fork) is not None:
            verify_fork(fork)
            assert held[0][: fork.common] == leaves[: fork.common]
            assert held[0][fork.common] != leaves[fork.common]
        if not held:
            held = [leaves]
        elif leaves[: len(held[0])] == held[0]:
            held[0] = leaves
    found = histories(place, first)
    assert found[0] == held[0]
    assert sorted(found[1:]) == sorted(held[1:])
    assert check(place.store).problems == []
    place.close()


@pytest.mark.rule("L6")
@pytest.mark.parametrize("common", [1, 255, 256, 257, 511, 512, 599])
@pytest.mark.parametrize("size", [600, 512, 900])
def test_the_proof_of_an_import_that_differs_names_where_it_does(
    place: Place, log: MemoryLog, common: int, size: int
) -> None:
    place.ingest(log)
    other = parted(log, common, "other", max(size, common + 1))
    fork = place.ingest(other, chunk=170).fork
    assert fork is not None and verify_fork(fork).common == common
    assert (fork.leaf_a, fork.leaf_b) in (
        (leaf_hashes(log.leaves)[common], leaf_hashes(other.leaves)[common]),
        (leaf_hashes(other.leaves)[common], leaf_hashes(log.leaves)[common]),
    )
    assert fork.common_root == root_of_hashes(leaf_hashes(log.leaves[:common]))


# Own logs.


def copied(place: Place) -> MemoryLog:
    """The own log as a copy of this home went on with it."""
    copy = MemoryLog(place.genesis, DEVICE)
    copy.leaves[:] = place.leaves()
    return chain(copy, 3)


@pytest.mark.rule("S9")
@pytest.mark.parametrize("way", ["ingest", "grow"])
def test_an_own_log_that_grew_elsewhere_is_never_appended_to_again(place: Place, way: str) -> None:
    place.append(300)
    copy = copied(place)
    head = copy.head()
    with place.writer() as writer:
        if way == "ingest":
            ingestion = Ingestion(place.store, copy.genesis, head, adopt_own=True)
            ingestion.feed(copy.leaves[-3:])
            ingestion.finish()
        else:
            size = len(copy.leaves)
            assert grow_many(place.store, [Growth(head, size - 3, copy.leaves[-3:])])[0].added == 3
        with pytest.raises(Refused) as refused:
            writer.append([note(1)])
        assert refused.value.code == "own_log_elsewhere"
        assert writer.sign_pending() == head.signed
    assert place.held() == copy.leaves
    with place.store.read() as snapshot:
        info = snapshot.log(place.log_id)
        assert snapshot.current_log_went_on
        assert info is not None and info.own
    assert check(place.store).problems == []
    place.begin("second", previous=place.log_id)
    with place.store.read() as snapshot:
        assert not snapshot.current_log_went_on


@pytest.mark.rule("S9")
def test_a_flush_under_way_is_not_signed_once_its_log_was_left(place: Place) -> None:
    place.append(5)
    other = parted(copied(place), 2, "other", 20)

    def leave(name: str) -> None:
        if name == "after append commit":
            place.begin("second", previous=place.log_id)
            ingestion = Ingestion(place.store, other.genesis, other.head(), branch=True)
            ingestion.feed(list(other.leaves))
            ingestion.finish()

    before = place.head()
    log_id = place.log_id
    with place.writer(leave) as writer, pytest.raises(Refused, match="gone on elsewhere"):
        writer.append([note(6)])
    with place.store.read() as snapshot:
        shown, former = snapshot.histories(log_id)
    assert (shown.head, former.head) == (other.head().signed, before)
    assert check(place.store).problems == []


@pytest.mark.rule("S8")
def test_an_own_log_is_replaced_only_after_the_home_left_it(place: Place) -> None:
    place.append(5)
    other = parted(copied(place), 2, "other", 20)
    with pytest.raises(Refused) as refused:
        place.show_branch(other)
    assert refused.value.code == "own_log"
    begun_before = place.leaves()
    log = MemoryLog(place.genesis, DEVICE)
    place.begin("second", previous=place.log_id)
    place.show_branch(other)
    assert histories(place, log) == [other.leaves, begun_before]
    assert check(place.store).problems == []


# Ends without warning.

KILLED = """
import os, sys
from pathlib import Path
from contextlib import contextmanager
from openledger_node.store import ingest
from openledger_node.store.environment import Environment
from openledger_node.store.store import Store
from tests.store.test_branches import halves, begun

home, stop_at, when, branch = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4] == "1"
count = 0
writing = Environment.writing

@contextmanager
def counted(self, *arguments, **options):
    global count
    with writing(self, *arguments, **options) as txn:
        yield txn
        count += 1
        if count == stop_at and when == "before":
            os._exit(7)
    if count == stop_at:
        os._exit(7)

class Opened:
    store = Store.open(home)

_, incoming = halves()
Environment.writing = counted
ingest.STAGED_SEGMENTS = 1
ingestion = begun(Opened, incoming, branch=branch)
for start in range(ingestion.position, len(incoming.leaves), 256):
    ingestion.feed(incoming.leaves[start : start + 256])
ingestion.finish()
os._exit(8)
"""


LAST_WRITE = {False: 3, True: 4}
"""Growing writes two whole segments and the end, a branch three segments and the end."""


def halves() -> tuple[MemoryLog, MemoryLog]:
    """A history, and the one that is coming in: made anew the same in every process."""
    from openledger_node.ledger.events import LogGenesis

    device = key("killed")
    genesis = LogGenesis(
        1, digest("ledger"), digest("account"), device.public.raw, digest("nonce")[:16], None
    )
    first = chain(MemoryLog(genesis, device), 299)
    return first, parted(first, 300, "rest", 1_000)


@pytest.mark.rule("S7")
@pytest.mark.parametrize("branch", [False, True], ids=["growing", "branch"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("stop_at", [1, 2, 3, 4, 5])
def test_a_process_killed_at_any_write_leaves_all_of_a_log_or_nothing(
    place: Place, branch: bool, when: str, stop_at: int
) -> None:
    first, incoming = halves()
    held = parted(first, 200, "held", 300) if branch else first
    place.ingest(held)
    place.close()
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(place.home), str(stop_at), when, str(int(branch))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    place.store = Store.open(place.home)
    assert ended.returncode in (7, 8), ended.stderr
    shown = histories(place, held)[0]
    whole = stop_at > LAST_WRITE[branch] or (stop_at == LAST_WRITE[branch] and when == "after")
    assert shown == (incoming.leaves if whole else held.leaves)
    assert check(place.store).problems == []
    if branch:
        place.show_branch(incoming)
        assert histories(place, held) == [incoming.leaves, held.leaves]
    else:
        place.ingest(incoming)
        assert histories(place, held) == [incoming.leaves]
    assert check(place.store).problems == []
