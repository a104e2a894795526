"""What tells a home from its copy, and who may have the store open while it is replaced."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openledger_node.ledger.errors import StoreUnavailable
from openledger_node.store import identity
from openledger_node.store.identity import FILE_NAME, MAX_FILE_BYTES
from openledger_node.store.lock import HomeLock, one_at_a_time
from openledger_node.store.store import Store
from tests.store.place import Place

ROOT = Path(__file__).resolve().parents[2]


def is_original(home: Path) -> bool:
    with Store.open(home) as store:
        return store.is_original()


def test_a_new_store_is_the_original_and_stays_it_when_opened_again(place: Place) -> None:
    assert place.store.is_original()
    place.append(300)
    assert place.reopen().is_original()


def test_a_copied_home_is_not_the_original_and_the_original_still_is(place: Place) -> None:
    place.close()
    copied = place.home.with_name("copied")
    shutil.copytree(place.home, copied)
    assert not is_original(copied)
    assert is_original(place.home)
    place.store = Store.open(place.home)


def test_a_home_that_was_moved_is_still_the_original(place: Place) -> None:
    place.close()
    moved = place.home.with_name("moved")
    place.home.rename(moved)
    assert is_original(moved)


def test_a_copy_that_was_bound_again_is_an_original_of_its_own(place: Place) -> None:
    place.close()
    copied = place.home.with_name("copied")
    shutil.copytree(place.home, copied)
    with Store.open(copied) as store:
        store.rebind()
        assert store.is_original()
    assert is_original(copied)
    assert is_original(place.home)
    shutil.copy(copied / FILE_NAME, place.home / FILE_NAME)
    assert not is_original(place.home)


def test_an_older_store_file_put_back_is_not_the_original(place: Place) -> None:
    """Copied back, the file is another one, though nonce and machine are the same."""
    file = place.home / "ledger" / "data.mdb"
    place.close()
    shutil.copy(file, place.home / "kept.mdb")
    place.store = Store.open(place.home)
    place.append(3)
    place.close()
    (place.home / "kept.mdb").replace(file)
    assert not is_original(place.home)


def altered(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return apply


INSTANCES: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_text(""),
    "not JSON": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "an array": lambda path: path.write_text("[]"),
    "nested too deep": lambda path: path.write_text("[" * MAX_FILE_BYTES),
    "too long": lambda path: path.write_text(path.read_text() + " " * MAX_FILE_BYTES + "x"),
    "a folder": lambda path: (path.unlink(), path.mkdir())[0],  # type: ignore[func-returns-value]
    "another nonce": altered(lambda document: document.update(nonce="00" * 16)),
    "another machine": altered(lambda document: document.update(machine="00" * 32)),
    "another device": altered(lambda document: document.update(device=-1)),
    "another inode": altered(lambda document: document.update(inode=-1)),
    "one key more": altered(lambda document: document.update(more=1)),
    "one key less": altered(lambda document: document.pop("nonce")),
}


@pytest.mark.parametrize("name", INSTANCES)
def test_a_home_whose_instance_file_says_anything_else_is_a_copy(place: Place, name: str) -> None:
    INSTANCES[name](place.home / FILE_NAME)
    if name == "too long":
        assert len((place.home / FILE_NAME).read_bytes()) > MAX_FILE_BYTES
    assert not place.store.is_original()


def test_the_machine_is_told_by_a_hash_that_does_not_show_its_id() -> None:
    known = identity.machine()
    assert known == identity.machine()
    assert bytes.fromhex(known) and len(known) == 64
    for path in identity._MACHINE_FILES:
        if Path(path).exists():
            assert Path(path).read_text().strip() not in known


def test_a_machine_without_an_id_file_is_told_by_its_hardware(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty").write_text("\n")
    monkeypatch.setattr(identity, "_MACHINE_FILES", (str(tmp_path / "no"), str(tmp_path / "empty")))
    assert len(identity.machine()) == 64


def test_a_killed_bind_leaves_the_file_as_it_was(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", die)
        with pytest.raises(KeyboardInterrupt):
            place.store.bind_again()
    assert place.store.is_original()
    place.store.bind_again()
    assert place.store.is_original()


# Locks.


def test_a_store_being_replaced_cannot_be_opened(place: Place) -> None:
    place.close()
    lock = HomeLock(place.home / "ledger")
    lock.own()
    with pytest.raises(StoreUnavailable) as refused:
        Store.open(place.home)
    assert refused.value.code == "store_in_use"
    lock.release()
    place.store = Store.open(place.home)


def test_a_lock_that_cannot_become_the_only_one_stays_shared(place: Place) -> None:
    folder = place.home / "ledger"
    other = HomeLock(folder)
    other.share()
    with pytest.raises(StoreUnavailable, match="in use by another process"), place.store.alone():
        raise AssertionError("it was not alone")
    third = HomeLock(folder)
    with pytest.raises(StoreUnavailable):
        third.own()
    other.release()
    with pytest.raises(StoreUnavailable):
        third.own()
    with place.store.alone(), pytest.raises(StoreUnavailable):
        third.share()
    third.share()
    third.release()


def test_releasing_a_lock_twice_is_no_fault(tmp_path: Path) -> None:
    lock = HomeLock(tmp_path)
    lock.own()
    lock.release()
    lock.release()


def test_a_folder_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"cannot open .*open\.lock"):
        HomeLock(tmp_path / "missing").share()


COUNT = """
import sys
from pathlib import Path
from openledger_node.store.lock import one_at_a_time
folder = Path(sys.argv[1])
for turn in range(200):
    with one_at_a_time(folder, "count"):
        file = folder / "number"
        file.write_text(str(int(file.read_text()) + 1))
"""


def test_what_is_done_one_at_a_time_never_overlaps(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    children = [
        subprocess.Popen([sys.executable, "-c", COUNT, str(tmp_path)], cwd=ROOT) for _ in range(3)
    ]
    assert [child.wait() for child in children] == [0] * 3
    assert (tmp_path / "number").read_text() == "600"


def test_what_fails_while_it_is_alone_lets_the_next_one_in(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), one_at_a_time(tmp_path, "x"):
        raise RuntimeError
    with one_at_a_time(tmp_path, "x"):
        assert (tmp_path / "x.lock").exists()
