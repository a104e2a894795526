"""Appending: durable, read back, signed, acknowledged; many callers, several processes, crashes."""

from __future__ import annotations

import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from openledger_node.ledger import merkle
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput, Refused, StoreDamaged, StoreUnavailable
from openledger_node.ledger.events import MAX_LEAF_BYTES, event_ids
from openledger_node.ledger.heads import SignedHead, sign_head, verify_head
from openledger_node.ledger.merkle import verify_consistency
from openledger_node.store import logs
from openledger_node.store.store import Store
from openledger_node.store.writer import MAX_BATCH_EVENTS, Draft, LogWriter
from tests.kit.ledgerkit import TIME_MS, digest, key
from tests.store.place import DEVICE, Place, leaf, note, notes, payload

ROOT = Path(__file__).resolve().parents[2]
POINTS = ("before append commit", "after append commit", "before head commit", "after head commit")


class Stop(Exception):
    """What a commit point raises in these tests."""


def test_a_batch_is_appended_as_the_ledger_encodes_it(place: Place) -> None:
    drafts = [
        note(1),
        Draft("money.issue", [bytes(32), 2**53 - 1, "a note"], 0),
        Draft("x", None, 2**53 - 1, digest("commit"), 2**40),
        Draft("k" * 60, [[], "", b"", -1, [[[1]]]], 1),
    ]
    with place.writer() as writer:
        done = writer.append(drafts)
    place.wrote(drafts)
    assert place.held() == place.leaves()
    assert (done.log_id, done.first_seq) == (place.log_id, 1)
    assert done.event_ids == event_ids(place.log_id, 1, place.leaves()[1:])
    assert done.head == place.head()


@pytest.mark.parametrize("first", [126, 127, 128, 254, 255, 256, 257])
def test_sequence_numbers_of_every_length_encode_canonically(place: Place, first: int) -> None:
    place.append(first - 1, size_bytes=0)
    place.append(3)
    assert place.held() == place.leaves()


def test_every_flush_ends_with_a_head_that_verifies_and_extends_the_one_before(
    place: Place,
) -> None:
    heads = [place.head()]
    for count in (1, 5, 249, 1, 600):
        heads.append(place.append(count).head)
    leaves = place.leaves()
    for old, new in pairwise(heads):
        verify_head(new, place.genesis)
        path = merkle.consistency_proof(merkle.leaf_hashes(leaves[: new.size]), old.size)
        assert verify_consistency(old.size, new.size, old.root, new.root, path)


def test_one_batch_is_one_signature_and_two_commits(place: Place) -> None:
    points: list[str] = []
    with place.writer(points.append) as writer:
        writer.append(notes(1, 1_000))
        assert writer.signs == 1
    assert points == list(POINTS)


def test_callers_that_wait_together_share_a_flush(place: Place) -> None:
    """The first append holds the writer until the other callers have queued theirs."""
    callers = 40
    entered, release = threading.Event(), threading.Event()

    def hold(name: str) -> None:
        if name == POINTS[0] and not entered.is_set():
            entered.set()
            release.wait()

    with place.writer(hold) as writer:
        results: list[int] = []
        threads = [
            threading.Thread(target=lambda n=n: results.append(writer.append([note(n)]).first_seq))  # type: ignore[misc]
            for n in range(callers)
        ]
        threads[0].start()
        entered.wait()
        for thread in threads[1:]:
            thread.start()
        while writer.waiting < callers - 1:
            threading.Event().wait(0.001)
        release.set()
        for thread in threads:
            thread.join()
        assert sorted(results) == list(range(1, callers + 1))
        assert writer.signs == 2
    assert place.head().size == callers + 1


def test_a_flush_takes_no_more_than_it_may(place: Place) -> None:
    entered, release = threading.Event(), threading.Event()

    def hold(name: str) -> None:
        if name == POINTS[0] and not entered.is_set():
            entered.set()
            release.wait()

    with place.writer(hold, flush_events=4) as writer:
        threads = [threading.Thread(target=writer.append, args=([note(n)],)) for n in range(9)]
        threads[0].start()
        entered.wait()
        for thread in threads[1:]:
            thread.start()
        while writer.waiting < len(threads) - 1:
            threading.Event().wait(0.001)
        release.set()
        for thread in threads:
            thread.join()
        assert writer.signs == 3


@pytest.mark.parametrize(
    "body",
    [object(), 2**64, [[object()]], lambda: None],
    ids=["object", "too large", "nested", "function"],
)
def test_what_does_not_encode_is_refused_and_nothing_of_its_batch_is_kept(
    place: Place, body: object
) -> None:
    with place.writer() as writer:
        with pytest.raises(BadInput, match="cannot be encoded"):
            writer.append([note(1), Draft("x", body, TIME_MS), note(2)])
        assert place.held() == place.leaves()
        writer.append([note(1)])
    place.wrote([note(1)])
    assert place.held() == place.leaves()


def test_the_longest_leaf_is_taken_and_a_longer_one_refused(place: Place) -> None:
    overhead = len(leaf(1, Draft("x", bytes(70_000), TIME_MS))) - 70_000
    longest = Draft("x", bytes(MAX_LEAF_BYTES - overhead - 8), TIME_MS)
    with place.writer() as writer:
        with pytest.raises(BadInput, match="a leaf may have 524,288"):
            writer.append([Draft("x", bytes(MAX_LEAF_BYTES - overhead + 1), TIME_MS)])
        writer.append([longest])
    place.wrote([longest])
    assert place.held() == place.leaves()


def test_an_empty_batch_and_one_too_large_are_refused(place: Place) -> None:
    with place.writer() as writer:
        with pytest.raises(BadInput, match="empty"):
            writer.append([])
        with pytest.raises(BadInput, match="65,536"):
            writer.append([note(1)] * (MAX_BATCH_EVENTS + 1))
    assert place.held() == place.leaves()


def test_a_closed_writer_refuses_and_closing_twice_is_no_fault(place: Place) -> None:
    writer = place.writer()
    writer.append([note(1)])
    writer.close()
    writer.close()
    with pytest.raises(Refused, match="closed"):
        writer.append([note(2)])
    assert place.head().size == 2


def test_only_the_logs_own_device_and_a_known_log_get_a_writer(place: Place) -> None:
    with pytest.raises(Refused) as refused:
        LogWriter(place.store, place.log_id, key("thief"))
    assert refused.value.code == "foreign_key"
    with pytest.raises(StoreDamaged, match="missing"):
        LogWriter(place.store, digest("no log"), DEVICE)


def test_payloads_and_idempotency_keys_are_stored_with_their_event_or_not_at_all(
    place: Place,
) -> None:
    commit, data = payload("evidence")
    draft = Draft("x", [], TIME_MS, commit, len(data), ((commit, data),), (b"key-1", b"key-2"))

    def stop(name: str) -> None:
        raise Stop

    with place.writer(stop) as writer, pytest.raises(Stop):
        writer.append([note(1), draft])
    with place.store.read() as snapshot:
        assert not snapshot.has_payload(commit)
        assert list(snapshot.facts("key")) == []
    with place.writer() as writer:
        writer.append([note(1), draft])
    with place.store.read() as snapshot:
        assert snapshot.payload(commit) == data
        at = place.log_id + (2).to_bytes(8, "big")
        assert list(snapshot.facts("key")) == [(b"key-1", at), (b"key-2", at)]


def test_a_caller_whose_flush_fails_gets_the_error_and_the_next_one_goes_on(place: Place) -> None:
    failing = [True]

    def stop(name: str) -> None:
        if failing[0]:
            raise Stop(name)

    with place.writer(stop) as writer:
        with pytest.raises(Stop, match=POINTS[0]):
            writer.append([note(1)])
        assert place.held() == place.leaves()
        failing[0] = False
        writer.append([note(1)])
    place.wrote([note(1)])
    assert place.held() == place.leaves()


CRASH = """
import os, sys
from pathlib import Path
from openledger_node.store.store import Store
from openledger_node.store.writer import LogWriter
from tests.store.place import DEVICE, notes

home, point, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = Store.open(home)
with store.read() as snapshot:
    log_id = snapshot.current_log
LogWriter(store, log_id, DEVICE, commit_point=lambda name: os._exit(9) if name == point else None
    ).append(notes(1, count))
"""


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("count", [1, 700])
@pytest.mark.parametrize("point", POINTS)
def test_a_process_killed_at_any_commit_point_loses_and_forks_nothing(
    place: Place, point: str, count: int
) -> None:
    signed = place.head()
    place.close()
    died = run(CRASH, str(place.home), point, str(count))
    assert died.returncode == 9, died.stderr
    place.store = Store.open(place.home)
    durable = point != POINTS[0]
    if durable:
        place.wrote(notes(1, count))
    assert place.held() == place.leaves()
    head = place.head()
    assert head.size == (1 + count if point == POINTS[3] else signed.size)
    assert head.root == merkle.root(place.leaves()[: head.size])
    with place.writer() as writer:
        pending = writer.sign_pending()
        assert pending is not None and pending.size == len(place.leaves())
        assert pending == place.head()
    place.append(2)
    assert place.held() == place.leaves()
    verify_head(place.head(), place.genesis)
    assert place.head().root == merkle.root(place.leaves())


def test_leaves_left_without_a_head_are_signed_by_the_next_append(place: Place) -> None:
    with place.raw() as txn:
        record = logs.read_record(txn, 0)
        left = [leaf(1, note(1)), leaf(2, note(2))]
        logs.append_leaves(txn, 0, record, left, merkle.leaf_hashes(left))
    place.wrote(notes(1, 2))
    place.append(1)
    assert place.held() == place.leaves()
    assert place.head().root == merkle.root(place.leaves())


APPEND = """
import sys
from pathlib import Path
from openledger_node.store.store import Store
from openledger_node.store.writer import LogWriter
from tests.store.place import DEVICE, notes

home, name = Path(sys.argv[1]), int(sys.argv[2])
with Store.open(home) as store:
    with store.read() as snapshot:
        log_id = snapshot.current_log
    with LogWriter(store, log_id, DEVICE) as writer:
        for turn in range(25):
            done = writer.append(notes(1_000 * name + 10 * turn, 1 + turn % 7))
            print(done.first_seq, len(done.hashes), done.head.size, done.head.root.hex())
"""


def test_four_processes_append_to_one_log_and_all_their_heads_are_of_one_history(
    place: Place,
) -> None:
    place.close()
    children = [
        subprocess.Popen(
            [sys.executable, "-c", APPEND, str(place.home), str(name)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in range(4)
    ]
    outputs = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0] * 4
    place.store = Store.open(place.home)
    leaves = place.held()
    taken: list[int] = []
    for line in "".join(outputs).splitlines():
        first, count, size, root = line.split()
        assert int(first) + int(count) <= int(size)
        assert merkle.root(leaves[: int(size)]).hex() == root
        taken += range(int(first), int(first) + int(count))
    assert sorted(taken) == list(range(1, len(leaves)))
    assert place.head().size == len(leaves)


@pytest.mark.parametrize("others", [0, 3, 300])
def test_leaves_that_another_process_signed_meanwhile_are_acknowledged(
    place: Place, others: int
) -> None:
    """Between the two steps another process signs over ours, and a third one appends more."""
    head = []

    def meanwhile(name: str) -> None:
        if name != POINTS[1]:
            return
        head.append(place.writer().sign_pending())
        if others:
            with place.raw() as txn:
                more = [leaf(11 + index, note(index)) for index in range(others)]
                logs.append_leaves(txn, 0, logs.read_record(txn, 0), more, merkle.leaf_hashes(more))

    with place.writer(meanwhile) as writer:
        done = writer.append(notes(1, 10))
        assert writer.signs == 0
    assert (done.first_seq, done.head) == (1, head[0])
    place.wrote(notes(1, 10))
    assert done.event_ids == event_ids(place.log_id, 1, place.leaves()[1:])
    assert place.held()[:11] == place.leaves()
    assert place.head().size == 11


def with_head(place: Place, size: int, root: bytes) -> SignedHead:
    """Replaces the stored head by one of this device over something else."""
    head = sign_head(DEVICE, place.genesis, size, root).signed
    with place.raw() as txn:
        record = logs.read_record(txn, 0)
        record.head = head
        logs.write_record(txn, 0, record)
    return head


@pytest.mark.parametrize("size", [3, 5, 200])
def test_nothing_is_signed_that_does_not_extend_the_signed_head(place: Place, size: int) -> None:
    """Whatever could fork the log stops the process: the same head stays, every call fails."""
    place.append(4)
    head = with_head(place, size, digest("another history"))
    with place.writer() as writer:
        for _ in range(2):
            with pytest.raises(StoreDamaged) as refused:
                writer.append([note(9)])
            assert refused.value.code == "would_fork"
    assert place.head() == head


def test_nothing_is_signed_over_nodes_that_do_not_fit_the_leaves(place: Place) -> None:
    place.append(4)
    head = place.head()
    with place.raw() as txn:
        record = logs.read_record(txn, 0)
        record.nodes = (digest("wrong"), *record.nodes[1:])
        logs.write_record(txn, 0, record)
    with place.writer() as writer, pytest.raises(StoreDamaged) as refused:
        writer.append([note(9)])
    assert refused.value.code == "would_fork"
    assert place.head() == head


@pytest.mark.parametrize("count", [1, 300])
def test_nothing_is_signed_when_the_leaves_read_back_are_others(place: Place, count: int) -> None:
    """A disk that stores something else: simulated by changing the store between the commits."""

    def meddle(name: str) -> None:
        if name != POINTS[1]:
            return
        with place.raw() as txn:
            if count == 1:
                txn.put("tail", logs.tail_key(0, 1), leaf(1, note(77)))
            else:
                value = bytearray(txn.get("segments", logs.segment_key(0, 0)) or b"")
                value[100] ^= 1
                txn.put("segments", logs.segment_key(0, 0), bytes(value))

    head = place.head()
    with place.writer(meddle) as writer, pytest.raises(StoreDamaged, match="nothing was signed"):
        writer.append(notes(1, count))
    assert place.head() == head


def test_a_store_that_fills_up_keeps_every_acknowledged_event(tmp_path: Path) -> None:
    place = Place(tmp_path / "home", limit_bytes=500_000)
    with place.writer() as writer:
        for turn in range(1_000):
            drafts = notes(turn * 20, 20, size_bytes=500)
            try:
                writer.append(drafts)
            except StoreUnavailable as error:
                assert error.code == "store_full"
                break
            place.wrote(drafts)
        else:
            raise AssertionError("the store never filled up")
        with pytest.raises(StoreUnavailable):
            writer.append(notes(0, 500, size_bytes=500))
    assert place.held() == place.leaves()
    assert place.head().root == merkle.root(place.leaves())
    place.close()


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from openledger_node.ledger.errors import StoreUnavailable
from openledger_node.store.store import Store
from openledger_node.store.writer import LogWriter
from tests.store.place import DEVICE, notes

home = Path(sys.argv[1])
size = (home / "ledger" / "data.mdb").stat().st_size
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 200_000, size + 200_000))
with Store.open(home) as store:
    with store.read() as snapshot:
        log_id = snapshot.current_log
    with LogWriter(store, log_id, DEVICE) as writer:
        for turn in range(100):
            try:
                print(writer.append(notes(turn, 50, size_bytes=300)).head.size, flush=True)
            except StoreUnavailable as error:
                print(error.code)
                break
    with store.read() as snapshot:
        print(snapshot.log(log_id).size)
"""


def test_a_disk_that_fills_up_is_a_clear_error_and_loses_nothing(place: Place) -> None:
    """The operating system refuses to let the file grow, as a full disk does."""
    pytest.importorskip("resource")
    place.close()
    ended = run(FULL_DISK, str(place.home))
    assert ended.returncode == 0, ended.stderr
    *sizes, code, held = ended.stdout.split()
    assert code == "store_full"
    assert sizes
    place.store = Store.open(place.home)
    assert place.head().size >= int(sizes[-1])
    assert len(place.held()) == int(held) >= int(sizes[-1])
    with place.writer() as writer:
        writer.append([note(1)])
    assert place.head().size == int(held) + 1


def test_the_beginning_of_a_leaf_never_exceeds_what_is_set_aside_for_it() -> None:
    from openledger_node.store.writer import LEAF_BEGINNING_BYTES

    assert len(b"\x97\x01" + encode(2**64 - 1)) == LEAF_BEGINNING_BYTES
