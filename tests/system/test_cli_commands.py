"""Commands as a new user runs them: real processes, real homes, and every kind of bad input."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO, Final

import pytest

from tests.system.processes import ROOT, TIMEOUT_SECONDS, in_process, must, oln

TEXT: Final = "a page about lamps and how their wicks are trimmed in the evening before dusk.\n"


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a home that has one contribution and some credits, final."""
    folder = tmp_path_factory.mktemp("begun")
    must("--home", "home", "init", "--name", "ana", folder=folder)
    (folder / "page.txt").write_text(TEXT)
    must("--home", "home", "data", "add", "page.txt", "--title", "Lamps", folder=folder)
    must("--home", "home", "issue", "100", "--to", "ana", folder=folder)
    must("--home", "home", "epoch", "close", folder=folder)
    return folder


@pytest.fixture
def folder(begun: Path, tmp_path: Path) -> Path:
    """A folder of its own for a test, with a link to the home that all read."""
    (tmp_path / "home").symlink_to(begun / "home")
    (tmp_path / "page.txt").write_text(TEXT)
    return tmp_path


READING: Final = (
    "status",
    "ledger show",
    "account list",
    "account show ana",
    "device list",
    "datanet list",
    "data list",
    "model list",
    "agent list",
    "epoch list",
    "credits",
    "credits ana --pending",
    "statement",
    "explain ana",
    "log",
    "attribute page.txt",
)


@pytest.mark.parametrize("line", READING)
def test_a_command_that_reads_answers_both_ways(folder: Path, line: str) -> None:
    document = must("--home", "home", *line.split(), folder=folder, runner=in_process)
    assert isinstance(document, dict)
    plain = oln("--home", "home", *line.split(), folder=folder)
    assert (plain.status, plain.err) == (0, "")
    assert plain.out.strip()
    assert "\x1b" not in plain.out
    assert max(map(len, plain.out.splitlines())) <= 100


def test_the_home_may_come_from_the_environment(folder: Path) -> None:
    answer = oln("--json", "status", folder=folder, variables={"OLN_HOME": "home"})
    assert answer.status == 0
    assert answer.document["name"] == "ana"


def test_a_pipe_feeds_the_text(folder: Path) -> None:
    answer = oln("--home", "home", "--json", "attribute", "-", folder=folder, feed=TEXT.encode())
    assert answer.status == 0
    assert answer.document["tokens"] == len(TEXT.split())


def test_output_in_a_narrow_alphabet_is_still_printed(folder: Path) -> None:
    plain = {
        "PYTHONUTF8": "0",
        "LC_ALL": "C",
        "PYTHONIOENCODING": "ascii",
        "PYTHONCOERCECLOCALE": "0",
    }
    answer = oln("--home", "home", "epoch", "list", folder=folder, variables=plain)
    assert answer.status == 0
    assert answer.out.isascii()


def test_a_reader_that_went_away_is_no_error(folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = to_file(folder, closed, "log")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.parametrize("words", [["status"], ["--json", "status"]])
def test_a_full_disk_behind_standard_output_is_said(folder: Path, words: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = to_file(folder, full, *words)
    assert done.returncode == 3
    assert done.stderr.startswith(b"error: no space left on device\nhint: ")
    assert len(done.stderr.splitlines()) == 2


def to_file(folder: Path, file: BinaryIO, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a command whose standard output is `file`."""
    return subprocess.run(
        [sys.executable, "-m", "openledger_node", "--home", "home", *words],
        cwd=folder,
        stdout=file,
        stderr=subprocess.PIPE,
        timeout=TIMEOUT_SECONDS,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


BAD: Final[list[tuple[str, int, str]]] = [
    ("show 5f2c81d0a7b3", 2, "no event"),
    ("show 5f2c", 2, "too short"),
    ("show zzzzzzzzzz", 2, "hex digits"),
    ("show " + "0" * 65, 2, "too long"),
    ("show " + "0" * 64, 2, "known here"),
    ("credits nobody", 2, "no account is named 'nobody'"),
    ("account show acct-0000-0000-0000-0000-0001", 2, "typing mistake"),
    ("issue 5 --to nobody", 2, "no account is named"),
    ("issue 9007199254.740991 --to ana", 3, "rule C1"),
    ("transfer 1000 --to ana", 3, "rule C1"),
    ("model show 5f2c81d0a7b3", 2, "no model"),
    ("confirm 5f2c81d0a7b3", 2, "no receipt"),
    ("statement 99", 2, "no epoch 99"),
    ("data add nothing --title T", 2, "cannot read nothing"),
    ("data add empty --title T", 2, "it is empty"),
    ("attribute empty", 2, "it is empty"),
    ("attribute binary", 2, "it is not text"),
    ("attribute latin", 2, "it is not UTF-8"),
    ("attribute .", 2, "it is a folder"),
    ("attribute loop", 2, "its links form a loop"),
    ("ledger export page.txt", 2, "exists already"),
    ("verify page.txt", 1, ""),
    ("verify nothing", 2, "nothing"),
    ("verify .", 2, ""),
    ("bundle import page.txt", 1, ""),
    ("bundle import nothing", 2, "nothing"),
    ("import nothing", 2, "nothing"),
    ("init", 3, "is a home already"),
    ("--home page.txt status", 2, "no home"),
    ("--home nowhere status", 2, "no home"),
    ("--home new init --ledger page.txt", 1, "page.txt"),
    ("--home new init --ledger nothing", 2, "nothing"),
    ("--home new init --params page.txt", 2, "not TOML"),
]


@pytest.mark.parametrize(("line", "status", "message"), BAD)
def test_bad_input_is_refused_with_a_reason_and_nothing_is_lost(
    folder: Path, line: str, status: int, message: str
) -> None:
    (folder / "empty").touch()
    (folder / "binary").write_bytes(b"\x7fELF\0\0")
    (folder / "latin").write_bytes("für".encode("latin-1"))
    (folder / "loop").symlink_to("loop")
    answer = in_process("--json", "--home", "home", *line.split(), folder=folder)
    assert message in answer.error["message"]
    assert answer.error["hint"]
    assert (answer.status, answer.err) == (status, "")
    assert (folder / "page.txt").read_text() == TEXT
    assert not (folder / "new").exists()


def test_a_copied_home_begins_a_new_log_too(folder: Path) -> None:
    shutil.copytree(folder / "home", folder / "copy")
    made = must("--home", "copy", "datanet", "create", "elsewhere", folder=folder)
    event = must("--home", "copy", "show", made["datanet_id"], folder=folder)
    logs = {item["log_id"] for item in must("--home", "home", "log", folder=folder)["events"]}
    assert event["log_id"] not in logs


def test_events_are_exported_both_ways_and_counted(folder: Path) -> None:
    events = must("--home", "home", "status", folder=folder)["events"]
    for name in ("all.jsonl", "all.csv"):
        assert must("--home", "home", "export", name, folder=folder)["events"] == events
    assert len((folder / "all.jsonl").read_text().splitlines()) == events


def test_a_missing_key_is_named_and_nothing_is_written(folder: Path) -> None:
    shutil.copytree(folder / "home", folder / "own", symlinks=False)
    (folder / "own" / "keys" / "device.key").unlink()
    answer = in_process("--json", "--home", "own", "datanet", "create", "x", folder=folder)
    assert (answer.status, answer.error["code"]) == (3, "key_missing")
    assert "device key is missing" in answer.error["message"]


def test_money_goes_out_once(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "home", folder / "own", symlinks=False)
    must("--home", "own", "epoch", "close", "--resume", folder=folder)
    redeem = must("--home", "own", "redeem", "20", folder=folder)["redeem_id"]
    must("--home", "own", "epoch", "close", folder=folder)
    paid = must("--home", "own", "payout", "--all", "--out", "one.csv", folder=folder)
    assert [(item["redeem_id"], item["amount_micro"]) for item in paid["payouts"]] == [
        (redeem, 20_000_000)
    ]
    again = must("--home", "own", "payout", "--all", "--out", "two.csv", folder=folder)
    assert again["payouts"] == []
    must("--home", "own", "epoch", "close", folder=folder)
    assert must("--home", "own", "credits", folder=folder)["burned_micro"] == 20_000_000
