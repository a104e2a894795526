"""Care of a home as its user does it: check, compact, backup, restore."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.processes import in_process, must, oln

TEXT = "a page about lamps and how their wicks are trimmed in the evening before dusk.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    must("--home", "home", "init", "--name", "ana", folder=tmp_path)
    (tmp_path / "page.txt").write_text(TEXT)
    words = ("--home", "home", "data", "add", "page.txt", "--title", "Lamps")
    must(*words, folder=tmp_path, runner=in_process)
    must("--home", "home", "epoch", "close", folder=tmp_path, runner=in_process)
    return tmp_path


def test_a_sound_home_checks_out(folder: Path) -> None:
    document = must("--home", "home", "check", folder=folder)
    assert (document["ok"], document["problems"]) == (True, [])
    plain = oln("--home", "home", "check", folder=folder)
    assert (plain.status, plain.err) == (0, "")
    assert "all in order" in plain.out


def test_a_damaged_home_never_checks_out_and_the_damage_is_named(folder: Path) -> None:
    file = next((folder / "home" / "ledger").glob("data.mdb"))
    data = file.read_bytes()
    assert b"data.contribute" in data
    file.write_bytes(data.replace(b"data.contribute", b"data.cXntribute"))  # stale pages too
    answer = oln("--json", "--home", "home", "check", folder=folder)
    assert answer.status == 1
    assert "damaged" in answer.out
    assert answer.document.get("ok") is not True


def test_a_compacted_home_is_the_same_home(folder: Path) -> None:
    before = must("--home", "home", "status", folder=folder)
    moved = must("--home", "home", "compact", folder=folder)
    assert moved["after_bytes"] <= moved["before_bytes"]
    after = must("--home", "home", "status", folder=folder)
    for key in ("events", "epoch", "state_digest", "account_id", "identity"):
        assert after[key] == before[key]


def test_erased_text_is_in_no_file_of_a_compacted_home(folder: Path) -> None:
    listed = must("--home", "home", "data", "list", folder=folder)["contributions"]
    must("--home", "home", "data", "erase", listed[0]["contribution_id"], folder=folder)
    must("--home", "home", "compact", folder=folder)
    files = [file for file in (folder / "home").rglob("*") if file.is_file()]
    assert all(TEXT.strip().encode() not in file.read_bytes() for file in files)


def test_what_is_not_a_backup_is_refused_and_leaves_nothing(folder: Path) -> None:
    answer = in_process("--json", "--home", "new", "restore", "page.txt", folder=folder)
    assert answer.status == 1
    assert "page.txt" in answer.error["message"]
    assert not (folder / "new").exists()


def test_a_backup_is_restored_into_a_home_that_begins_a_new_log(folder: Path) -> None:
    must("--home", "home", "backup", "kept.backup", folder=folder)
    restored = must("--home", "again", "restore", "kept.backup", folder=folder)
    assert restored["events"] > 0
    before = must("--home", "again", "log", "ana", folder=folder)["events"]
    made = must("--home", "again", "datanet", "create", "after", folder=folder)
    event = must("--home", "again", "show", made["datanet_id"], folder=folder)
    assert event["log_id"] not in {item["log_id"] for item in before}
