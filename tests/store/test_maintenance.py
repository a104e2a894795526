"""Compacting, backing up and restoring: nothing is lost, no step leaves a half-made home."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openledger_node.ledger.errors import (
    BadInput,
    Refused,
    StoreDamaged,
    StoreUnavailable,
    UsageError,
)
from openledger_node.store import maintenance
from openledger_node.store.check import check
from openledger_node.store.frames import FrameWriter, read_frames
from openledger_node.store.logs import segment_key
from openledger_node.store.maintenance import MAGIC, STORE_FILE, backup, compact, restore
from openledger_node.store.store import SMALL_PAYLOAD_BYTES, Store
from tests.store.place import Place, notes, payload

ROOT = Path(__file__).resolve().parents[2]


def sound(store: Store) -> bool:
    return check(store).problems == []


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        item.relative_to(folder).as_posix(): item.read_bytes()
        for item in sorted(folder.rglob("*"))
        if item.is_file()
    }


@pytest.fixture
def full(place: Place) -> Place:
    """A store with two segments, a tail, payloads of both sizes, keys and settings."""
    place.append(600)
    for name, size_bytes in (("small", 5_000), ("large", SMALL_PAYLOAD_BYTES + 1)):
        place.store.put_payload(*payload(name, size_bytes))
    (place.home / "keys").mkdir()
    (place.home / "keys" / "device.key").write_text("a secret")
    (place.home / "node.toml").write_text("[store]\n")
    (place.home / "recovery-acct-x.json").write_text("{}")
    return place


def holds_everything(store: Store, place: Place) -> bool:
    with store.read() as snapshot:
        log = snapshot.log(place.log_id)
        assert log is not None
        return (
            snapshot.leaves(place.log_id, 0, log.size) == place.leaves()
            and all(
                snapshot.payload(commit) == data
                for commit, data in (
                    payload("small", 5_000),
                    payload("large", SMALL_PAYLOAD_BYTES + 1),
                )
            )
            and sound(store)
        )


# Compacting.


def test_a_compacted_store_is_smaller_and_holds_the_same(full: Place) -> None:
    for number in range(20):
        full.store.put_payload(*payload(f"gone {number}", 100_000))
        full.store.erase_payload(payload(f"gone {number}", 100_000)[0])
    before = {name: full.items(name) for name in full.store.environment.dbs}
    done = compact(full.store)
    assert done.after_bytes < done.before_bytes
    assert (full.home / STORE_FILE).stat().st_size == done.after_bytes
    assert {name: full.items(name) for name in full.store.environment.dbs} == before
    assert holds_everything(full.store, full)
    full.append(10)
    full.reopen()
    assert holds_everything(full.store, full)


def test_a_compacted_store_is_still_the_original(full: Place) -> None:
    compact(full.store)
    assert full.store.is_original()
    full.reopen()
    assert full.store.is_original()


def test_compacting_a_copy_does_not_make_it_the_original(full: Place) -> None:
    full.close()
    copied = full.home.with_name("copied")
    shutil.copytree(full.home, copied)
    with Store.open(copied) as store:
        compact(store)
        assert not store.is_original()
    full.store = Store.open(full.home)


@pytest.mark.rule("S7")
def test_compacting_drops_what_an_import_that_was_cut_off_left(full: Place) -> None:
    left = segment_key(0, 7)
    with full.raw() as txn:
        txn.put("segments", left, b"beyond the log's end")
        txn.put("spine", left, bytes(32))
        txn.put("segments", segment_key(9, 0), b"of a log that has no record")
    assert holds_everything(full.store, full)
    compact(full.store)
    kept = {key for name in ("segments", "spine") for key, _ in full.items(name)}
    assert kept == {segment_key(0, 0), segment_key(0, 1)}
    assert holds_everything(full.store, full)


def test_a_full_store_can_be_compacted(full: Place) -> None:
    full.limit_bytes = 4_096
    full.reopen()
    with pytest.raises(StoreUnavailable):
        full.append(1)
    compact(full.store)
    assert full.held()


def test_what_a_killed_run_left_is_removed_by_the_next(full: Place) -> None:
    left = full.home / f"{maintenance.COPY_PREFIX}killed"
    left.mkdir()
    (left / "data.mdb").write_bytes(b"the whole store, as it was")
    compact(full.store)
    assert not left.exists()


HOLD = """
import sys
from pathlib import Path
from openledger_node.store.store import Store
with Store.open(Path(sys.argv[1])):
    print("open", flush=True)
    sys.stdin.readline()
"""


def test_a_store_that_another_process_has_open_is_not_replaced(full: Place) -> None:
    before = (full.home / STORE_FILE).stat().st_ino
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(full.home)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert other.stdout is not None and other.stdout.readline() == "open\n"
    with pytest.raises(StoreUnavailable) as refused:
        compact(full.store)
    assert refused.value.code == "store_in_use"
    assert (full.home / STORE_FILE).stat().st_ino == before
    full.append(1)
    other.communicate("\n")
    compact(full.store)
    assert holds_everything(full.store, full)


class Killed(BaseException):
    """The process ends here."""


def steps(patch: pytest.MonkeyPatch, stop_at: int) -> None:
    """Ends the run before its `stop_at`-th change of a name or sync to disk."""
    count = [0]

    def counted(original: Any) -> Any:
        def step(*arguments: Any, **options: Any) -> Any:
            count[0] += 1
            if count[0] > stop_at:
                raise Killed
            return original(*arguments, **options)

        return step

    for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "rename"), (Path, "unlink")):
        patch.setattr(owner, name, counted(getattr(owner, name)))


@pytest.mark.parametrize("stop_at", range(7))
def test_a_compaction_ended_at_any_step_leaves_a_whole_store(full: Place, stop_at: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        steps(patch, stop_at)
        try:
            compact(full.store)
        except Killed:
            pass
        else:
            assert stop_at == 6, "the last step that can be cut off comes before this one"
    full.reopen()
    assert holds_everything(full.store, full)
    compact(full.store)
    full.append(3)
    assert holds_everything(full.store, full)


# Backing up and restoring.


@pytest.fixture
def saved(full: Place, tmp_path: Path) -> Path:
    backup(full.store, tmp_path / "saved.oln")
    return tmp_path / "saved.oln"


def test_a_restored_home_has_everything_but_its_identity(
    full: Place, saved: Path, tmp_path: Path
) -> None:
    made = restore(saved, tmp_path / "again")
    assert (made.ledger_id, made.events) == (full.ledger.id, len(full.leaves()))
    before, after = tree(full.home), tree(tmp_path / "again")
    for name in ("keys/device.key", "node.toml", "recovery-acct-x.json"):
        assert after[name] == before[name]
    assert "instance.json" not in after
    with Store.open(tmp_path / "again") as store:
        assert holds_everything(store, full)
        assert not store.is_original()


def test_only_the_owner_may_read_a_backup_and_what_is_restored_of_it(
    saved: Path, tmp_path: Path
) -> None:
    restore(saved, tmp_path / "again")
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "again").stat().st_mode) == 0o700
    for name in ("keys/device.key", STORE_FILE):
        assert stat.S_IMODE((tmp_path / "again" / name).stat().st_mode) == 0o600


def test_an_erased_payload_is_not_in_a_backup(full: Place, tmp_path: Path) -> None:
    large = payload("large", SMALL_PAYLOAD_BYTES + 1)[0]
    full.store.erase_payload(large)
    backup(full.store, tmp_path / "saved.oln")
    restore(tmp_path / "saved.oln", tmp_path / "again")
    with Store.open(tmp_path / "again") as store, store.read() as snapshot:
        assert snapshot.is_erased(large)
        assert sound(store)
    assert not any((tmp_path / "again").glob("payloads/*/*"))


def test_a_backup_made_while_others_append_is_one_moment(full: Place, tmp_path: Path) -> None:
    stop = threading.Event()

    def append() -> None:
        with full.writer() as writer:
            number = 0
            while not stop.is_set():
                writer.append(notes(number, 3))
                number += 3

    thread = threading.Thread(target=append)
    thread.start()
    try:
        for number in range(3):
            backup(full.store, tmp_path / f"saved-{number}")
    finally:
        stop.set()
        thread.join()
    sizes = []
    for number in range(3):
        sizes.append(restore(tmp_path / f"saved-{number}", tmp_path / f"again-{number}").events)
        with Store.open(tmp_path / f"again-{number}") as store:
            assert sound(store)
    assert sizes == sorted(sizes)


def test_a_backup_never_writes_over_a_file(full: Place, saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        backup(full.store, saved)
    assert saved.read_bytes() == before


def test_a_home_is_never_restored_over_another(saved: Path, tmp_path: Path) -> None:
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine.txt").write_text("keep")
    with pytest.raises(Refused) as refused:
        restore(saved, used)
    assert refused.value.code == "home_exists"
    assert tree(used) == {"mine.txt": b"keep"}
    with pytest.raises(Refused):
        restore(saved, used / "mine.txt")


def test_a_home_is_restored_into_an_empty_folder(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    restore(saved, tmp_path / "empty")
    assert (tmp_path / "empty" / STORE_FILE).exists()


def test_a_backup_cut_or_altered_anywhere_leaves_no_home(saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    before = sorted(tmp_path.iterdir())
    for part in range(1, 40):
        at = len(whole) * part // 40
        altered = bytearray(whole)
        altered[at] ^= 0x10
        for damaged in (whole[:at], bytes(altered)):
            saved.write_bytes(damaged)
            with pytest.raises(BadInput):
                restore(saved, tmp_path / "again")
            assert sorted(tmp_path.iterdir()) == before


@pytest.fixture
def forge(saved: Path, tmp_path: Path) -> Iterator[Any]:
    """Writes a backup of other frames than the real one, given as a function of these."""

    def forged(change: Any) -> Path:
        path = tmp_path / "forged.oln"
        frames = list(read_frames(saved, MAGIC, "a backup"))
        with FrameWriter(path, MAGIC) as out:
            for frame in change(frames):
                out.write(*frame)
        return path

    yield forged


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/etc/passwd",
        "keys/../../outside.key",
        "ledger/lock.mdb",
        "instance.json",
        "payloads/ab/" + "cd" * 32,
        "",
        "node.toml\n",
    ],
)
def test_a_backup_writes_no_file_that_no_home_has(forge: Any, tmp_path: Path, name: str) -> None:
    path = forge(lambda frames: [*frames, ["file", name, 1], ["part", b"x"]])
    with pytest.raises(BadInput, match="which no home has"):
        restore(path, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    assert not (tmp_path / "outside").exists()


FORGERIES: dict[str, Any] = {
    "a file twice": lambda frames: [*frames, ["file", "node.toml", 0]],
    "too many bytes": lambda frames: [*frames, ["part", b"x"]],
    "too few bytes": lambda frames: [*frames, ["file", "keys/x.key", 2], ["part", b"x"]],
    "a negative size": lambda frames: [*frames, ["file", "keys/x.key", -1]],
    "a key that is too long": lambda frames: [*frames, ["file", "keys/x.key", 2**21]],
    "bytes before any file": lambda frames: [["part", b"x"], *frames],
    "a frame of another form": lambda frames: [*frames, ["other", 1]],
    "no store": lambda frames: frames[:1],
    "no ledger": lambda frames: frames[1:],
    "another ledger": lambda frames: [["home", bytes(32), None, 1], *frames[1:]],
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_backup_that_contradicts_itself_leaves_no_home(
    forge: Any, tmp_path: Path, forgery: str
) -> None:
    path = forge(FORGERIES[forgery])
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BadInput):
        restore(path, tmp_path / "again")
    assert sorted(tmp_path.iterdir()) == before


def test_a_backup_whose_store_is_no_store_leaves_no_home(forge: Any, tmp_path: Path) -> None:
    def change(frames: list[Any]) -> list[Any]:
        return [frames[0], ["file", STORE_FILE, 5], ["part", b"wrong"]]

    path = forge(change)
    with pytest.raises(StoreDamaged):
        restore(path, tmp_path / "again")
    assert not (tmp_path / "again").exists()
