"""`check` names damage in every part; `repair` makes anew what follows from the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from openledger_node.ledger.encoding import decode, encode
from openledger_node.ledger.heads import sign_head
from openledger_node.ledger.merkle import leaf_hashes
from openledger_node.ledger.votes import WitnessState
from openledger_node.store import logs
from openledger_node.store.check import (
    DERIVED,
    MAX_PROBLEMS,
    Report,
    check,
    differing,
    put_right,
    repair,
)
from openledger_node.store.environment import DATABASES, SEAL_BYTES
from openledger_node.store.view_payloads import payload_path
from tests.kit.ledgerkit import Ledger, MemoryLog, digest
from tests.store.place import DEVICE, KIND, Place, chain, leaf, note, payload


@pytest.fixture
def full(place: Place) -> Place:
    """A store with something in every database."""
    ledger = place.ledger
    ada = ledger.account("ada")
    chain(ada.log, 300)
    ledger.close_epoch()
    ledger.close_epoch()
    place.take(ledger)
    place.append(600)
    place.store.index_ids()
    place.store.put_payload(*payload("small"))
    place.store.put_payload(*payload("large", 300_000))
    place.store.set_petname(ada.id, "ada")
    place.store.set_facts("key", [(b"k", b"v")])
    place.store.put_states(1, [(0, _state(ledger, 1))])
    place.ingest(_fork(ada.log))
    forked = chain(ledger.account("bob").log, 300)
    place.ingest(forked)
    place.show_branch(chain(_fork(forked), 300))
    place.store.index_ids()
    assert all(place.items(name) for name in DATABASES)
    return place


def _state(ledger: Ledger, epoch: int) -> WitnessState:
    folded = ledger.epochs[epoch].folded
    return WitnessState(
        epoch, folded.cut_id, folded.statement.root, folded.state_digest, 1,
        folded.next_set_digest, None, bytes(64), 0, digest("proposal"), (),
    )  # fmt: skip


def _fork(log: MemoryLog) -> MemoryLog:
    other = MemoryLog(log.genesis, log.key)
    other.append(KIND, ["another history"])
    return other


def parts(report: Report) -> set[str]:
    return {problem.part for problem in report.problems}


def test_a_whole_store_has_no_problem_and_is_counted(full: Place) -> None:
    report = check(full.store)
    assert report.problems == []
    assert (report.logs, report.payloads, report.epochs) == (5, 2, 3)
    with full.store.read() as snapshot:
        held = [h for log in snapshot.logs() for h in snapshot.histories(log.log_id)]
        assert report.events == sum(log.size for log in held)


def test_progress_is_told_to_the_end(full: Place) -> None:
    seen: list[tuple[int, int | None, str]] = []
    check(full.store, lambda *told: seen.append(told))
    for what in ("events", "epochs", "payloads"):
        done, total, _ = [told for told in seen if told[2] == what][-1]
        assert done == total


@pytest.mark.rule("S1")
@pytest.mark.parametrize("name", DATABASES)
@pytest.mark.parametrize("place_of_bit", ["first", "middle", "seal"])
def test_one_flipped_bit_is_found_in_every_database(
    full: Place, name: str, place_of_bit: str
) -> None:
    for index in {0, len(full.items(name)) - 1}:
        key, stored = full.items(name)[index]
        at = {"first": 0, "middle": len(stored) // 2, "seal": len(stored) - 1}[place_of_bit]
        full.put_raw(name, key, stored[:at] + bytes([stored[at] ^ 16]) + stored[at + 1 :])
        report = check(full.store)
        assert name in parts(report)
        assert all(problem.what for problem in report.problems)
        full.put_raw(name, key, stored)
    assert check(full.store).problems == []


@pytest.mark.parametrize("name", DATABASES)
@pytest.mark.parametrize("stored", [b"", b"short", bytes(200)])
def test_values_of_a_wrong_length_are_found_in_every_database(
    full: Place, name: str, stored: bytes
) -> None:
    full.put_raw(name, full.items(name)[0][0], stored)
    assert name in parts(check(full.store))


@pytest.mark.parametrize("name", sorted(set(DATABASES) - {"ids", "names", "facts", "state"}))
def test_a_missing_value_is_noticed(full: Place, name: str) -> None:
    """Petnames and facts are no one's promise, an index may lag, the state is folded again."""
    with full.raw() as txn:
        for key in list(txn.keys(name)):
            txn.delete(name, key)
    problems = check(full.store).problems
    if name in ("forks", "states", "payloads"):
        assert name == "payloads" or problems == []
    else:
        assert problems


def rewritten(place: Place, change: Callable[[logs.LogRecord], None], number: int = 0) -> Report:
    """The check after a log's record was changed, sealed again."""
    with place.raw() as txn:
        record = logs.read_record(txn, number)
        change(record)
        logs.write_record(txn, number, record)
    return check(place.store)


def told(report: Report) -> str:
    return "\n".join(f"{problem.part}: {problem.what}" for problem in report.problems)


def test_a_log_whose_nodes_do_not_fit_is_named(full: Place) -> None:
    def change(record: logs.LogRecord) -> None:
        record.nodes = (digest("x"), *record.nodes[1:])

    assert "its nodes do not fit its events" in told(rewritten(full, change))


@pytest.mark.parametrize("size", [601, 512, 300, 256, 5, 1])
def test_a_head_over_another_root_is_named_at_any_size(full: Place, size: int) -> None:
    def change(record: logs.LogRecord) -> None:
        record.head = sign_head(DEVICE, full.genesis, size, digest("x")).signed

    assert "does not have the root that was signed" in told(rewritten(full, change))


@pytest.mark.parametrize("size", [601, 512, 300, 256, 5, 1])
def test_an_older_head_is_held_to_the_leaves_it_covers(full: Place, size: int) -> None:
    with full.store.read() as snapshot:
        root = snapshot.root_at(full.log_id, size)

    def change(record: logs.LogRecord) -> None:
        record.head = sign_head(DEVICE, full.genesis, size, root).signed

    assert rewritten(full, change).problems == []


def test_a_wrong_signature_a_long_head_and_none_are_named(full: Place) -> None:
    def unsigned(record: logs.LogRecord) -> None:
        assert record.head is not None
        record.head = type(record.head)(
            record.head.log_id, record.head.size, record.head.root, bytes(64)
        )

    def long(record: logs.LogRecord) -> None:
        record.head = sign_head(DEVICE, full.genesis, 9_999, digest("x")).signed

    def none(record: logs.LogRecord) -> None:
        record.head = None

    assert "signature" in told(rewritten(full, unsigned))
    assert "shorter than its signed head" in told(rewritten(full, long))
    assert rewritten(full, none).problems == []  # an own log's newest leaves await their signature
    assert "has no signed head" in told(rewritten(full, none, number=2))


def test_a_leaf_that_no_one_may_accept_is_named_even_when_all_hashes_fit(place: Place) -> None:
    """As a writer with a fault would leave it: sealed, hashed, signed, and void of form."""
    wrong = leaf(1, note(1)) + b"\0"
    with place.raw() as txn:
        record = logs.read_record(txn, 0)
        grown = logs.append_leaves(txn, 0, record, [wrong], leaf_hashes([wrong]))
        grown.head = sign_head(DEVICE, place.genesis, 2, grown.frontier.root()).signed
        logs.write_record(txn, 0, grown)
    assert "event 1: " in told(check(place.store))


def test_a_record_under_another_logs_genesis_is_named(full: Place) -> None:
    other = full.ledger.open_log(digest("eve"), DEVICE, "eve").genesis

    def change(record: logs.LogRecord) -> None:
        record.genesis = other

    assert "has another log's genesis" in told(rewritten(full, change))


def test_events_after_a_damaged_segment_are_still_held_to_the_head(full: Place) -> None:
    key, stored = full.items("segments")[0]
    full.put_raw("segments", key, stored[:50] + bytes([stored[50] ^ 1]) + stored[51:])
    report = check(full.store)
    assert "events 0 to 255" in told(report)
    assert "nodes do not fit" not in told(report)
    assert "the root that was signed" not in told(report)


def test_a_statement_of_another_root_is_named(full: Place) -> None:
    key, stored = full.items("epochs")[1]
    items = decode(stored[:-SEAL_BYTES])
    for index, message in ((4, "another root"), (1, "another cut"), (0, "another epoch")):
        changed = list(items)
        changed[index] = digest("x") if index else 2
        with full.raw() as txn:
            txn.put("epochs", key, encode(changed))
        assert message in told(check(full.store))
    full.put_raw("epochs", key, stored)


def test_a_log_shorter_or_other_than_the_last_cut_is_named(full: Place) -> None:
    with full.store.read() as snapshot:
        marks = snapshot.cut_marks()
    ada = full.ledger.accounts["ada"].log
    assert ada.log_id in marks
    with full.raw() as txn:
        txn.put("cutmarks", ada.log_id, encode((10_000, digest("x"))))
    assert "is shorter than the last cut" in told(check(full.store))
    with full.raw() as txn:
        txn.put("cutmarks", ada.log_id, encode((10, digest("x"))))
    text = told(check(full.store))
    assert "is not what the last cut names" in text
    assert "is not the one kept" in text


def test_payload_files_are_held_to_their_digest_and_to_their_name(full: Place) -> None:
    commit, data = payload("large", 300_000)
    path = payload_path(full.home, commit)
    path.write_bytes(data[:-1])
    assert "payloads" in parts(check(full.store))
    path.unlink()
    assert "payloads" in parts(check(full.store))
    path.write_bytes(data)
    stray = path.with_name("ff" * 32)
    stray.write_bytes(b"stray")
    assert parts(check(full.store)) == {"payload files"}
    stray.unlink()
    other, _ = payload("other")
    full.store.put_payload(other, payload("small")[1])
    assert "is not what it is named" in told(check(full.store))


@pytest.mark.parametrize("name", ["spine", "ids", "logids", "cutmarks", "cutsizes"])
@pytest.mark.parametrize("harm", ["junk", "sealed junk", "missing"])
def test_what_follows_from_the_rest_is_made_anew(full: Place, name: str, harm: str) -> None:
    before = full.items(name)
    key, stored = before[0]
    with full.raw() as txn:
        if harm == "sealed junk":
            txn.put(name, key, bytes(len(stored) - SEAL_BYTES))
        elif harm == "missing":
            txn.delete(name, key)
    if harm == "junk":
        full.put_raw(name, key, bytes(len(stored)))
    noticed = check(full.store).problems
    made = repair(full.store)
    if name == "ids" and harm == "missing":
        assert (noticed, made) == ([], [])
        assert full.store.index_ids() == 1
    else:
        assert noticed
        assert len(made) == 1 and "1 made anew" in made[0]
    assert full.items(name) == before
    assert check(full.store).problems == []
    assert name in DERIVED


def test_repair_leaves_what_it_cannot_derive(full: Place) -> None:
    key, stored = full.items("segments")[0]
    spine = full.items("spine")
    ids = full.items("ids")
    full.put_raw("segments", key, bytes(len(stored)))
    assert repair(full.store) == []
    assert (full.items("spine"), full.items("ids")) == (spine, ids)
    assert "segments" in parts(check(full.store))


def test_a_damaged_record_does_not_unlearn_its_log(full: Place) -> None:
    logids = full.items("logids")
    full.put_raw("logs", full.items("logs")[0][0], b"junk")
    repair(full.store)
    assert full.items("logids") == logids
    assert "logs" in parts(check(full.store))


def test_repairing_a_whole_store_changes_nothing(full: Place) -> None:
    before = {name: full.items(name) for name in DATABASES}
    assert repair(full.store) == []
    assert {name: full.items(name) for name in DATABASES} == before


def test_the_state_is_compared_with_what_the_caller_folded_and_made_anew(full: Place) -> None:
    right = {"state": dict(full.ledger.state.values)}
    assert differing(full.store, right) == []
    key = full.items("state")[0][0]
    with full.raw() as txn:
        txn.put("state", key, b"other")
        txn.put("state", b"extra", b"x")
        txn.delete("state", full.items("state")[2][0])
    (text,) = differing(full.store, right)
    assert "3 keys" in text
    full.put_raw("state", key, b"junk")
    assert len(put_right(full.store, right)) == 1
    assert differing(full.store, right) == []
    assert put_right(full.store, right) == []
    assert check(full.store).problems == []


def test_problems_are_listed_once_and_up_to_a_limit() -> None:
    report = Report()
    for _ in range(2):
        report.add("part", "what")
    assert len(report.problems) == 1
    for index in range(MAX_PROBLEMS + 5):
        report.add("part", str(index))
    assert len(report.problems) == MAX_PROBLEMS


def test_a_check_beside_a_writer_sees_one_moment(full: Place) -> None:
    """Another commit between any two steps changes nothing of what is being checked."""
    appended: list[int] = []

    def write_on(done: int, total: int | None, what: str) -> None:
        if len(appended) < 5:
            full.append(100)
            appended.append(done)

    before = check(full.store).events
    report = check(full.store, write_on)
    assert len(appended) == 5
    assert (report.problems, report.events) == ([], before)
