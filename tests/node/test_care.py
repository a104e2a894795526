"""Check, repair, compact, backup and restore of whole homes: no wrong figure, no second history."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from openledger_node.api import Home, open_home, restore
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import OlnError, Refused, StoreDamaged
from openledger_node.node.care import FoldedAgain
from openledger_node.store.environment import DATABASES, SEAL_BYTES
from openledger_node.store.snapshot import Snapshot
from openledger_node.store.view_epochs import epoch_key
from tests.kit.homes import CREDIT, WITNESS, Clock, Coop, ready, words

OUTPUT = words("harbour", 20) + " " + words("baker", 12) + " " + words("nobody", 8)
SEED = 20_240_229


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory, quick_disk: None) -> Iterator[Coop]:
    """A co-operative with paid uses in two epochs; its homes are closed, tests copy them."""
    stage = ready(tmp_path_factory.mktemp("care"))
    with stage.coop as coop:
        for fee in (7, 3):
            stage.use(OUTPUT, fee * CREDIT)
            coop.settle()
        coop.add_text("alice", "not-final", words("later", 50))
        coop.shut()
        yield coop


@pytest.fixture
def copied(settled: Coop, tmp_path: Path) -> Iterator[Home]:
    """A copy of the witness's home, opened as `oln check` does."""
    shutil.copytree(settled.place / WITNESS, tmp_path / "home")
    with open_home(tmp_path / "home", clock_ms=Clock(), catch_up=False) as home:
        yield home


Items = list[tuple[bytes, bytes]]


def items(home: Home, name: str) -> Items:
    """What a database of the home holds, seals included."""
    with home.core.store.environment.reading() as txn:
        return list(txn.raw_items(name))


def dump(home: Home) -> dict[str, Items]:
    return {name: items(home, name) for name in DATABASES}


def put(home: Home, name: str, key: bytes, value: bytes) -> None:
    """A value that is wrong and has a good seal: what only its meaning can show."""
    with home.core.store.environment.writing() as txn:
        txn.put(name, key, value)


def put_raw(home: Home, name: str, key: bytes, stored: bytes) -> None:
    with home.core.store.environment.writing() as txn:
        txn.raw.put(key, stored, db=home.core.store.environment.dbs[name])


def parts(home: Home, **options: Any) -> set[str]:
    return {problem.part for problem in home.check(**options).problems}


# A sound home.


def test_a_sound_home_has_no_problem_and_checking_changes_nothing(copied: Home) -> None:
    before = dump(copied)
    found = copied.check()
    assert (found.ok, found.problems, found.repaired) == (True, (), ())
    with copied.core.store.read() as snapshot:
        held = list(snapshot.logs())
        assert found.epochs == snapshot.last_epoch() + 1
    assert (found.logs, found.events) == (len(held), sum(log.size for log in held))
    assert copied.check(repair=True).repaired == ()
    assert dump(copied) == before


def test_progress_goes_up_to_its_total_for_each_thing(copied: Home) -> None:
    seen: dict[str, list[tuple[int, int | None]]] = {}
    copied.check(progress=lambda done, total, what: seen.setdefault(what, []).append((done, total)))
    for name in ("events", "epochs", "epochs folded", "payloads"):
        steps = [done for done, _ in seen[name]]
        assert steps == sorted(steps)
        assert seen[name][-1][0] == seen[name][-1][1]


def test_a_home_that_erased_a_payload_is_sound(settled: Coop, tmp_path: Path) -> None:
    shutil.copytree(settled.place / "alice", tmp_path / "home")
    with open_home(tmp_path / "home", clock_ms=Clock()) as home:
        mine = home.data_list("alice").contributions[0].contribution_id
        home.data_erase(mine)
        assert home.check().ok


# A state that is not what the logs give.


def change_a_balance(home: Home) -> None:
    key, stored = items(home, "state")[len(items(home, "state")) // 2]
    value = bytearray(stored[:-SEAL_BYTES])
    value[-1] ^= 1
    put(home, "state", key, bytes(value))


def lose_a_value(home: Home) -> None:
    with home.core.store.environment.writing() as txn:
        txn.delete("state", items(home, "state")[0][0])


def add_a_value(home: Home) -> None:
    put(home, "state", b"\xffinvented", b"x")


def change_a_journal(home: Home) -> None:
    put(home, "journal", epoch_key(1), encode([1, "another journal"]))


def break_a_seal(home: Home) -> None:
    key, stored = items(home, "state")[3]
    put_raw(home, "state", key, stored[:-1] + bytes([stored[-1] ^ 1]))


DAMAGES: dict[str, Callable[[Home], None]] = {
    function.__name__.replace("_", " "): function
    for function in (change_a_balance, lose_a_value, add_a_value, change_a_journal, break_a_seal)
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_state_that_the_logs_do_not_give_is_named_and_made_anew(copied: Home, name: str) -> None:
    before = dump(copied)
    DAMAGES[name](copied)
    found = copied.check()
    assert not found.ok
    assert {problem.part for problem in found.problems} <= {"state", "journal"}
    assert all(problem.hint for problem in found.problems)
    mended = copied.check(repair=True)
    assert mended.ok and mended.problems == ()
    assert mended.repaired
    assert dump(copied) == before


def test_every_single_state_value_is_compared(copied: Home) -> None:
    """Each in turn, with a good seal: none is out of the comparison's sight."""
    for key, stored in items(copied, "state"):
        value = stored[:-SEAL_BYTES]
        put(copied, "state", key, value + b"\0")
        found = copied.check()
        assert [problem.part for problem in found.problems if problem.part == "state"], key
        put(copied, "state", key, value)
    assert copied.check().ok


def test_an_epoch_that_folds_to_something_else_is_named_and_not_made_anew(copied: Home) -> None:
    with copied.core.store.read() as snapshot:
        record = snapshot.must_epoch(2)
    fields = [getattr(record, name) for name in record.__struct_fields__]
    fields[record.__struct_fields__.index("state_digest")] = bytes(32)
    put(copied, "epochs", epoch_key(2), encode(fields))
    for repair in (False, True):
        found = copied.check(repair=repair)
        assert any("epoch 2 folded again" in problem.what for problem in found.problems)


def test_a_state_folded_again_is_scanned_like_the_stored_one(copied: Home) -> None:
    from openledger_node.node.care import fold_again

    with copied.core.store.read() as snapshot:
        again = fold_again(copied.core, snapshot, lambda *_: None)
        assert_same_scans(again, snapshot)


def assert_same_scans(again: FoldedAgain, snapshot: Snapshot) -> None:
    keys = sorted(again.values)
    prefixes = {key[:length] for key in keys for length in (1, 2, 9, len(key))} | {b"\xff", b"zz"}
    for prefix in prefixes:
        assert list(again.scan(prefix)) == list(snapshot.state.scan(prefix))
    assert all(again.get(key) == snapshot.state.get(key) for key in (*keys, b"none"))


# Bits that flip under a reader.


def answers(home: Home) -> dict[str, Callable[[], Any]]:
    """What people read figures from."""
    return {
        "credits": home.credits,
        "statement": home.statement,
        "epochs": home.epoch_list,
        "status": lambda: home.status().state_digest,
        "accounts": home.account_list,
        "contributions": home.data_list,
        "models": home.model_list,
        "log": home.log,
    }


EMPTY = ("segments", "spine", "ids", "forks", "facts", "branches")
"""Databases of which this small home has no value."""
FILLED = [name for name in DATABASES if name not in (*EMPTY, "meta")]


@pytest.mark.parametrize("name", FILLED)
def test_no_figure_is_read_from_a_flipped_bit_and_check_names_it(copied: Home, name: str) -> None:
    """Each value of each database in turn: the same answer as before, or an error that says so."""
    held = items(copied, name)
    assert held
    expected = {what: ask() for what, ask in answers(copied).items()}
    choose = random.Random(SEED)
    refused = 0
    for key, stored in held if len(held) <= 12 else choose.sample(held, 12):
        flipped = bytearray(stored)
        flipped[choose.randrange(len(stored))] ^= 1 << choose.randrange(8)
        put_raw(copied, name, key, bytes(flipped))
        for what, ask in answers(copied).items():
            try:
                assert ask() == expected[what], what
            except StoreDamaged as error:
                refused += 1
                assert "damaged" in error.message
        found = copied.check()
        assert not found.ok
        assert any(key.hex()[:40] in problem.what for problem in found.problems), (name, found)
        put_raw(copied, name, key, stored)
    assert {what: ask() for what, ask in answers(copied).items()} == expected
    if name in ("state", "epochs", "logs"):
        assert refused


@pytest.mark.parametrize(
    "key", ["account", "current_log", "device", "format", "genesis", "instance"]
)
def test_a_home_with_a_flipped_description_says_so_and_writes_nothing(
    copied: Home, key: str
) -> None:
    held = dict(items(copied, "meta"))
    stored = held[key.encode()]
    put_raw(copied, "meta", key.encode(), bytes([stored[0] ^ 4]) + stored[1:])
    assert "meta" in parts(copied)
    copied.close()
    file = copied.core.home / "ledger" / "data.mdb"
    before = file.read_bytes()
    with pytest.raises(StoreDamaged, match="the store's own description is damaged"):
        try_to_write(copied.core.home)
    assert file.read_bytes() == before


def try_to_write(place: Path) -> None:
    with open_home(place, clock_ms=Clock()) as home:
        home.ledger_show()
        home.datanet_create("never written")


def test_a_damaged_log_is_named_and_not_repaired(copied: Home) -> None:
    key, stored = items(copied, "tail")[-1]
    put_raw(copied, "tail", key, stored[:-SEAL_BYTES] + bytes(SEAL_BYTES))
    before = dump(copied)
    found = copied.check(repair=True)
    assert "tail" in {problem.part for problem in found.problems}
    assert "a peer or a backup can supply it" in {problem.hint for problem in found.problems}
    assert dump(copied) == before


# Compacting.


def test_a_compacted_home_gives_the_same_answers_and_goes_on_in_its_log(
    settled: Coop, tmp_path: Path
) -> None:
    shutil.copytree(settled.place / "alice", tmp_path / "home")
    with open_home(tmp_path / "home", clock_ms=Clock()) as home:
        first = home.datanet_create("makes this copy a home of its own").datanet_id
        expected = {what: ask() for what, ask in answers(home).items()}
        done = home.compact()
        assert done.after_bytes <= done.before_bytes
        assert {what: ask() for what, ask in answers(home).items()} == expected
        second = home.datanet_create("in the same log").datanet_id
        assert home.show(second).log_id == home.show(first).log_id
        assert home.check().ok


# Copies and restored homes.


def own_logs(home: Home) -> list[str]:
    with home.core.store.read() as snapshot:
        return [log.log_id.hex() for log in snapshot.logs() if log.own]


def no_forks(*homes: Home) -> bool:
    found = []
    for home in homes:
        with home.core.store.read() as snapshot:
            found += snapshot.forks()
    return found == []


@pytest.fixture(params=["copied", "restored"])
def pair(request: pytest.FixtureRequest, coop: Coop) -> Iterator[tuple[Coop, Home]]:
    """A solo ledger's home, and what its owner made of it by copying or by a backup."""
    coop[WITNESS].issue(10 * CREDIT, coop.ids[WITNESS], "deposit")
    coop[WITNESS].epoch_close()
    place = coop.place / "other"
    if request.param == "copied":
        coop.shut()
        shutil.copytree(coop.place / WITNESS, place)
    else:
        coop[WITNESS].backup(coop.place / "kept.backup")
        restore(coop.place / "kept.backup", place)
    with open_home(place, clock_ms=coop.clock) as other:
        yield coop, other


def test_two_homes_of_one_device_write_two_logs_and_fork_nothing(pair: tuple[Coop, Home]) -> None:
    coop, other = pair
    original = coop[WITNESS]
    before = own_logs(original)
    here, there = original.datanet_create("here").datanet_id, other.datanet_create("there")
    log_here, log_there = original.show(here).log_id, other.show(there.datanet_id).log_id
    assert log_here == before[-1]
    assert log_there not in own_logs(original)
    for source, target in ((original, other), (other, original)):
        bundle = coop.file()
        source.bundle_export(bundle)
        moved = target.bundle_import(bundle)
        assert not moved.refused
    assert no_forks(original, other)
    opened = other.log(kind="log.open").events
    assert any(event.log_id == log_there for event in opened)
    assert {event.event_id for event in original.log().events} >= {here, there.datanet_id}


def test_the_copy_of_a_solo_seat_votes_only_when_it_is_told_to(pair: tuple[Coop, Home]) -> None:
    coop, other = pair
    other.datanet_create("something is due")
    with pytest.raises(Refused) as refused:
        other.epoch_close()
    assert refused.value.code == "must_resume"
    assert other.status().epoch == coop[WITNESS].status().epoch
    closed = other.epoch_close(resume=True)
    assert closed.closed
    other.datanet_create("and from now on by itself")
    assert other.epoch_close().closed
    assert other.check().ok


def test_a_restored_home_gives_the_figures_that_were_backed_up(
    settled: Coop, tmp_path: Path
) -> None:
    shutil.copytree(settled.place / "maker", tmp_path / "maker")
    with open_home(tmp_path / "maker", clock_ms=Clock()) as home:
        written = home.backup(tmp_path / "kept.backup")
        assert written.size_bytes == (tmp_path / "kept.backup").stat().st_size
        expected = {what: ask() for what, ask in answers(home).items()}
    made = restore(tmp_path / "kept.backup", tmp_path / "again")
    assert made.account_id == settled.ids["maker"]
    with open_home(tmp_path / "again", clock_ms=Clock()) as again:
        assert {what: ask() for what, ask in answers(again).items()} == expected
        assert again.check().ok


def test_a_damaged_backup_makes_no_home(settled: Coop, tmp_path: Path) -> None:
    shutil.copytree(settled.place / "user", tmp_path / "user")
    kept = tmp_path / "kept.backup"
    with open_home(tmp_path / "user", clock_ms=Clock()) as home:
        home.backup(kept)
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 1
    kept.write_bytes(data)
    with pytest.raises(OlnError):
        restore(kept, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    assert not list(tmp_path.glob("again.*"))
