"""The benchmarks and the peer program as real processes, run small: shape, not speed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from scripts.benchmarks.entries import ENTRY_BYTES, entry_line, entry_lines
from scripts.benchmarks.figures import Figure, Goal, number, percentile, summarise, table
from scripts.benchmarks.machine import Others, this_machine
from scripts.benchmarks.works import WORKS, Scale, WorkFailed

ROOT: Final = Path(__file__).resolve().parent.parent.parent
BASH: Final = shutil.which("bash")
EVENTS: Final = 100
TIMEOUT_SECONDS: Final = 300


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)} | more


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.benchmarks", *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


class Driven:
    """The peer program as a driver sees it."""

    def __init__(self, store: Path, entries: Path, **more: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scripts.benchmarks.peer_program", str(store)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=environment(PEERS_DATA=str(entries), **more),
        )

    def ask(self, command: str) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def end(self) -> int:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        status = self.process.wait(TIMEOUT_SECONDS)
        self.process.stdout.close()
        return status


@pytest.fixture
def entries(tmp_path: Path) -> Path:
    file = tmp_path / "entries.jsonl"
    lines = [line + b"\n" for line in entry_lines(0, EVENTS + 10)]
    file.write_bytes(b"".join(lines))
    return file


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The JSON of one small run of every work, and what was printed."""
    file = tmp_path_factory.mktemp("bench") / "figures.json"
    done = bench("ledger", "--events", str(EVENTS), "--runs", "1", "--json", str(file))
    assert done.returncode == 0, done.stderr
    yield json.loads(file.read_text(encoding="utf-8")) | {
        "printed": done.stdout,
        "progress": done.stderr,
    }


def test_the_ledger_benchmark_measures_every_work(document: dict[str, Any]) -> None:
    assert document["failures"] == []
    assert list(dict.fromkeys(figure["work"] for figure in document["figures"])) == list(WORKS)
    for figure in document["figures"]:
        assert figure["events"] == EVENTS
        assert figure["runs"] == 1
        assert 0 < figure["least"] <= figure["median"] <= figure["greatest"], figure


def test_the_ledger_benchmark_names_the_machine(document: dict[str, Any]) -> None:
    machine = document["machine"]
    assert machine["cores"] >= 1
    assert machine["python"] == ".".join(map(str, sys.version_info[:3]))
    assert machine["processor"] and machine["kernel"]
    assert machine["processor"] in document["printed"].splitlines()[0]


def test_the_table_is_for_people_and_progress_goes_to_standard_error(
    document: dict[str, Any],
) -> None:
    header, *rows = document["printed"].splitlines()[3:]
    assert header.split()[:3] == ["work", "figure", "events"]
    assert len(rows) == len(document["figures"])
    assert "run 1 of 1" in document["progress"]
    assert "run 1 of 1" not in document["printed"]


def test_only_the_named_works_are_run_and_scales_may_be_several() -> None:
    done = bench(
        "ledger", "--events", "50", "--events", "100", "--runs", "2", "--only", "append-batch"
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[4:]]
    assert [row[0] for row in rows] == ["append-batch", "append-batch"]
    assert done.stderr.count("run 2 of 2") == 2


def test_a_work_that_fails_is_named_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from scripts.benchmarks import ledger

    def run_once(work: str, scale: Scale) -> list[Figure]:
        if work == "read":
            raise WorkFailed("the disk is gone")
        return [Figure(work, "a figure", 1.0, "s")]

    monkeypatch.setattr(ledger, "run_once", run_once)
    file = tmp_path / "figures.json"
    assert ledger.ledger([10], 2, ["read", "verify"], file, tmp_path) == 1
    written = json.loads(file.read_text(encoding="utf-8"))
    assert [figure["work"] for figure in written["figures"]] == ["verify"]
    assert written["failures"] == ["read at 10 events: the disk is gone"]
    assert "FAILED: the disk is gone" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [file]


def test_a_child_that_ends_badly_gives_what_it_said_last(tmp_path: Path) -> None:
    from scripts.benchmarks.ledger import run_once

    with pytest.raises(WorkFailed, match="no-such-work"):
        run_once("no-such-work", Scale(10, tmp_path))


def test_wrong_arguments_are_refused() -> None:
    for wrong in (
        ["ledger", "--events", "0"],
        ["ledger", "--only", "flying"],
        ["ledger", "--dir", str(ROOT / "absent")],
        ["peers", "--repeats", "-1"],
        [],
    ):
        done = bench(*wrong)
        assert done.returncode == 2
        assert "usage: scripts/bench" in done.stderr


def test_an_entry_has_three_hundred_bytes_and_is_the_same_every_time() -> None:
    lines = [entry_line(index) for index in (0, 1, 7, 10**6)]
    assert {len(line.encode()) for line in lines} == {ENTRY_BYTES}
    assert len(set(lines)) == len(lines)
    assert json.loads(lines[0])["type"] == "contribution"
    assert entry_lines(7, 1) == [entry_line(7).encode()]


def test_the_peers_work_is_divided_run_by_run() -> None:
    from scripts.benchmarks.peers import APPEND, BULK, OURS, SMALL, ratios

    def run(rate: float) -> list[Figure]:
        return [
            Figure("", APPEND, rate, "entries/s"),
            Figure("", "W1 disk", 360.0, "bytes/entry"),
            Figure("", "W3 read only, warm", 2 * rate, "entries/s"),
            Figure("", BULK, rate / 2, "entries/s"),
            Figure("", SMALL, 5.0, "ms"),
        ]

    ours, theirs = [run(300.0), run(100.0), run(200.0)], [run(100.0), run(50.0), run(50.0)]
    shown = list(ratios({OURS: ours, "another": theirs}))
    assert shown[0] == "W1 append: 3 x another (2 to 4)"
    assert shown[1] == "W2 bulk sync: 3 x another (2 to 4)"
    assert shown[4] == "W1 disk: 1 x another (1 to 1)"
    assert len(shown) == 5


def test_a_state_in_memory_reads_as_the_fold_asks_of_it() -> None:
    from scripts.benchmarks.crediting import MemoryState

    state = MemoryState()
    state.apply([(b"Ab", b"2"), (b"Aa", b"1"), (b"B", b"3"), (b"Ac", None)])
    assert list(state.scan(b"A")) == [(b"Aa", b"1"), (b"Ab", b"2")]
    state.apply([(b"Aa", None), (b"B", b"4")])
    assert (state.get(b"Aa"), state.get(b"B"), state.get(b"C")) == (None, b"4", None)
    assert list(state.scan(b"A")) == [(b"Ab", b"2")]
    assert list(state.scan(b"C")) == []


def test_a_mixed_home_has_its_share_of_each_kind_and_nothing_void(tmp_path: Path) -> None:
    from openledger_node import open_home
    from openledger_node.ledger.events import parse_event

    scale = Scale(200, tmp_path)
    kinds: dict[str, int] = {}
    with open_home(scale.home("mixed-home")) as home, home.core.store.read() as snapshot:
        log_id = home.core.writer().log_id
        for leaf in snapshot.leaves(log_id, 0, snapshot.log(log_id).size):
            kind = parse_event(leaf).kind
            kinds[kind] = kinds.get(kind, 0) + 1
        events = home.log(limit=1_000).events
    assert kinds["use.receipt"] == 63  # 9 epochs of 20 events
    assert kinds["money.transfer"] == 27
    assert kinds["model.register"] == 20
    assert kinds["data.contribute"] == 90
    assert {event.status for event in events} <= {"final", "pending"}


def test_medians_keep_the_least_and_the_greatest() -> None:
    runs = [[Figure("disk", "disk over raw bytes", value, "x")] for value in (1.2, 1.0, 1.1)]
    (summary,) = summarise(10_000, runs)
    assert (summary.median, summary.least, summary.greatest, summary.runs) == (1.1, 1.0, 1.2, 3)
    assert summary.as_json()["goal_met"] is True
    (missed,) = summarise(10_000, [[Figure("disk", "disk over raw bytes", 1.2, "x")]])
    assert table([missed]).splitlines()[1].endswith("<= 1.15 missed")
    (small,) = summarise(100, [[Figure("disk", "disk over raw bytes", 9.9, "x")]])
    assert small.goal is None


def test_a_goal_is_a_floor_or_a_ceiling() -> None:
    assert Goal(floor=500).is_met(500) and not Goal(floor=500).is_met(499)
    assert Goal(ceiling=5.0).is_met(5.0) and not Goal(ceiling=5.0).is_met(5.1)
    assert (Goal(floor=630_000).text(), Goal(ceiling=0.2).text()) == (">= 630,000", "<= 0.2")


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, percent) for percent in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([3.0], 99) == 3.0


def test_numbers_are_short() -> None:
    shown = [number(value) for value in (225_461.7, 432.6, 12.345, 0.00123, 7.0, 0.0)]
    assert shown == ["225,462", "433", "12.3", "0.00123", "7", "0"]


def test_the_machine_says_where_it_writes(tmp_path: Path) -> None:
    machine = this_machine(tmp_path)
    assert machine.file_system in machine.text()
    assert machine.date in machine.text()


def test_a_report_says_when_the_machine_was_busy_otherwise(tmp_path: Path) -> None:
    from scripts.benchmarks.ledger import report

    machine = this_machine(tmp_path)
    assert "0.05 cores meanwhile\n" in report(machine, 3, 0.05, [])
    assert "lower than this machine's" in report(machine, 3, 0.9, [])
    assert "meanwhile" not in report(machine, 3, None, [])


def test_what_a_process_does_itself_is_not_others_work() -> None:
    others = Others()
    began = time.process_time()
    while time.process_time() - began < 0.1:
        sum(range(10_000))
    cores = others.cores()
    assert cores is None or 0 <= cores <= (os.cpu_count() or 1)


def test_the_peer_program_appends_and_a_fresh_process_reads_it_back(
    tmp_path: Path, entries: Path
) -> None:
    first = Driven(tmp_path / "A", entries)
    opened = first.ask("open")
    appended = first.ask(f"append 0 {EVENTS}")
    assert appended["n"] == EVENTS and appended["s"] > 0 and appended["t0"] > 0
    made = first.ask("stats")
    assert made["signs"] >= 1
    assert first.ask("quit") == {"ok": 1}
    assert first.end() == 0

    second = Driven(tmp_path / "A", entries)
    assert second.ask("open")["events"] == opened["events"] + EVENTS
    read = second.ask("read")
    assert (read["n"], read["bytes"]) == (EVENTS, EVENTS * ENTRY_BYTES)
    assert second.ask(f"append {EVENTS} 10")["n"] == 10
    assert second.ask("read")["n"] == EVENTS + 10
    assert second.ask("stats")["signs"] >= 1
    second.ask("quit")
    assert second.end() == 0


def test_one_append_an_entry_makes_one_signature_an_entry(tmp_path: Path, entries: Path) -> None:
    peer = Driven(tmp_path / "A", entries, APPEND="each")
    peer.ask("open")
    before = peer.ask("stats")["signs"]
    assert peer.ask("append 0 5")["n"] == 5
    assert peer.ask("stats")["signs"] == before + 5
    peer.ask("quit")
    peer.end()


def test_what_the_peer_program_cannot_do_is_an_error_and_not_the_end(
    tmp_path: Path, entries: Path
) -> None:
    peer = Driven(tmp_path / "A", entries)
    for command in ("serve", "wait 10"):
        assert "no home is open" in peer.ask(command)["error"]
    assert "no such command" in peer.ask("dance")["error"]
    assert "no home is open" in peer.ask("read")["error"]
    assert "Error" in peer.ask("append zero 1")["error"]
    assert "error" not in peer.ask("open")
    assert peer.ask("quit") == {"ok": 1}
    assert peer.end() == 0


def test_two_peer_programs_bring_all_entries_over_and_then_the_new_ones(
    tmp_path: Path, entries: Path
) -> None:
    one, other = Driven(tmp_path / "A", entries), Driven(tmp_path / "B", entries)
    one.ask("open")
    one.ask("append 0 20")
    address = one.ask("serve")["addr"]
    other.ask("open")
    assert other.ask(f"sync {address} 20")["s"] > 0
    one.ask("append 20 5")
    assert other.ask("wait 25")["t1"] > 0
    for program in (other, one):
        assert program.ask("quit") == {"ok": 1}
        assert program.end() == 0
    again = Driven(tmp_path / "B", entries)
    assert "error" not in again.ask("open")
    assert again.ask("quit") == {"ok": 1}
    assert again.end() == 0


def test_the_peer_program_ends_with_its_input(tmp_path: Path, entries: Path) -> None:
    peer = Driven(tmp_path / "A", entries)
    peer.ask("open")
    assert peer.end() == 0


def test_peers_without_a_suite_measures_ours_alone() -> None:
    done = bench("peers", "--entries", str(EVENTS), "--repeats", "1")
    assert done.returncode == 0, done.stderr
    assert "openledger-node  W1 append" in done.stdout
    assert "W3 read only, dropped" in done.stdout
    assert "hypercore" not in done.stdout
    assert "run 1 of 1" in done.stderr


@pytest.mark.skipif(BASH is None, reason="needs bash")
@pytest.mark.parametrize("name", ["bench", "peer-program"])
def test_the_commands_find_their_checkout_and_their_environment(tmp_path: Path, name: str) -> None:
    """A stand-in interpreter in a finished environment shows what it would be called with."""
    root = tmp_path / "a checkout"
    shutil.copytree(ROOT / "scripts", root / "scripts")
    shutil.copy2(ROOT / "pyproject.toml", root)
    python = root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f'#!{BASH}\n[ "$1" = -c ] || printf "%s\\n" "$PYTHONPATH" "$@"\n', encoding="utf-8"
    )
    python.chmod(0o755)
    stamp = subprocess.run(
        [str(BASH), "-c", '. "$ROOT/scripts/_venv.sh"; wanted_stamp "$(find_python)"'],
        env=os.environ | {"ROOT": str(root)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (root / ".venv" / "installed-run.stamp").write_text(stamp, encoding="utf-8")
    link = tmp_path / "link"
    link.symlink_to(root / "scripts" / name)
    done = subprocess.run(
        [str(link), "one", "two words"], capture_output=True, text=True, cwd="/", check=False
    )
    module = {"bench": "scripts.benchmarks", "peer-program": "scripts.benchmarks.peer_program"}
    assert done.stdout.splitlines() == [str(root), "-m", module[name], "one", "two words"]


def test_the_sync_and_mesh_works_print_their_figures(tmp_path: Path) -> None:
    file = tmp_path / "sync.json"
    done = bench("sync", "--events", "1000", "--runs", "1", "--json", str(file))
    assert "1,000 missing, stored" in done.stdout
    names = {item["name"] for item in json.loads(file.read_text())}
    assert {"empty to all", "in-sync check, each way", "framing"} <= names
    done = bench("mesh", "--nodes", "4")
    assert "one event everywhere, p99" in done.stdout
