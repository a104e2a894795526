"""The daemon's parts, each by itself: watcher, follower, report, metrics, its own log."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from openledger_node.ledger.errors import Refused, StoreDamaged, UsageError
from openledger_node.ledger.heads import Mark
from openledger_node.node.config import load_config
from openledger_node.node.daemon import following, metrics, watching
from openledger_node.node.daemon.following import Follower
from openledger_node.node.daemon.logs import daemon_log
from openledger_node.node.daemon.main import first_known
from openledger_node.node.daemon.report import REPORT_NAME, read_report, sole_daemon, write_report
from openledger_node.node.daemon.watching import Watcher
from openledger_node.node.voting import Voter
from tests.kit.homes import WITNESS, Coop, words
from tests.kit.nodes import run_at_once


class Lines:
    """A structured log that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda event, **fields: self.lines.append((level, event, fields))

    def events(self) -> list[str]:
        return [event for _, event, _ in self.lines]


# The watcher.


class Seen:
    """What a watcher told."""

    def __init__(self) -> None:
        self.known: dict[bytes, Mark] = {}
        self.calls: list[tuple[list[Mark], bytes | None]] = []

    def grown(self, marks: Sequence[Mark], own: bytes | None) -> None:
        self.calls.append((list(marks), own))
        self.known.update((mark.log_id, mark) for mark in marks)


def look(watcher: Watcher, now_s: float) -> None:
    """One look at everything that may be looked at now."""
    watcher.look_at_own()
    trio.run(watcher.look_at_all, now_s)


def test_the_watcher_tells_of_an_own_append_at_its_next_look(coop: Coop) -> None:
    core, seen = coop[WITNESS].core, Seen()
    watcher = Watcher(core.store, lambda: seen.known, seen.grown, lambda proofs: None, run_at_once)
    look(watcher, 0.0)
    (first,) = seen.known.values()
    seen.calls.clear()
    look(watcher, 0.1)
    assert seen.calls == [], "nothing changed, nothing is told"
    coop[WITNESS].issue(5, coop.ids[WITNESS])
    look(watcher, 0.2)
    ((marks, own),) = seen.calls
    assert [mark.size for mark in marks] == [first.size + 1]
    assert own == marks[0].log_id


def test_the_watcher_looks_at_other_logs_at_most_once_in_a_while(coop: Coop) -> None:
    coop.join("alice")
    core, seen = coop[WITNESS].core, Seen()
    watcher = Watcher(core.store, lambda: seen.known, seen.grown, lambda proofs: None, run_at_once)
    look(watcher, 0.0)
    held = len(seen.known)
    coop.carry("alice", WITNESS)
    look(watcher, 0.1)
    assert len(seen.known) == held
    look(watcher, watching.ALL_LOGS_S + 0.1)
    assert len(seen.known) == held + 1


def test_the_watcher_sees_own_appends_while_all_logs_are_being_read(coop: Coop) -> None:
    core, seen = coop[WITNESS].core, Seen()
    reads: list[float] = []

    async def slow(function: Callable[..., Any], *arguments: Any) -> Any:
        reads.append(trio.current_time())
        await trio.sleep(100)
        return function(*arguments)

    watcher = Watcher(core.store, lambda: seen.known, seen.grown, lambda proofs: None, slow)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watcher.run)
            await trio.sleep(1)
            seen.calls.clear()
            coop[WITNESS].issue(5, coop.ids[WITNESS])
            await trio.sleep(2 * watching.WATCH_S)
            assert len(seen.calls) == len(reads) == 1
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


# The follower.


def follow(
    core: Any, log: Lines, *, seconds: float = 1.0, during: Callable[[Follower], None] | None = None
) -> tuple[Follower, list[Any], list[Any]]:
    """Runs a follower for some virtual time."""
    needed: list[Any] = []
    sought: list[Any] = []
    voter = Voter(core, now_ms=core.clock_ms)
    follower = Follower(
        core,
        run_at_once,
        log,
        needed.extend,
        sought.extend,
        admit=lambda by_cut, by_seat: None,
        voter=voter,
        said=lambda: None,
        compare=lambda: None,
    )

    async def main() -> None:
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follower.run)
                await trio.sleep(seconds / 2)
                if during is not None:
                    during(follower)
                    follower.poke(erasures=True)
                await trio.sleep_forever()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return follower, needed, sought


def test_the_follower_folds_what_the_witness_decided(coop: Coop) -> None:
    coop.join("alice")
    coop.carry("alice", WITNESS)
    coop[WITNESS].epoch_close()
    alice = coop["alice"]
    bundle = coop.place / "x.bundle"
    coop[WITNESS].bundle_export(bundle)
    before = alice.status().epoch
    from openledger_node.exchange import bundle as moving

    importer = moving._Importer(alice.core)
    importer.run(moving._Stream(moving.read_frames(bundle, moving.MAGIC, "x", lambda *_: None)))
    log = Lines()
    follow(alice.core, log)
    assert alice.status().epoch == before + 1
    assert "epochs_final" in log.events()


def test_payloads_are_looked_for_when_another_process_folded_the_epoch(coop: Coop) -> None:
    coop.join("alice")
    coop.join("bob")
    contribution = coop.add_text("bob", "shared", words("shared", 100), share="all")
    coop.gather()
    coop[WITNESS].epoch_close()
    bundle = coop.file()
    coop[WITNESS].bundle_export(bundle, payloads=False)

    def fold_beside_it(_: Follower) -> None:
        coop["alice"].bundle_import(bundle)
        assert coop["alice"].data_show(contribution).payload == "absent"

    _, _, sought = follow(coop["alice"].core, Lines(), during=fold_beside_it)
    assert [item.event_id.hex() for item in sought] == [contribution]


def test_the_follower_of_the_only_seat_closes_epochs_by_itself(tmp_path: Path) -> None:
    with Coop(tmp_path, params="epoch_ms = 60000\n") as coop:
        log = Lines()
        follow(coop[WITNESS].core, log, seconds=150)
        assert coop[WITNESS].status().epoch == 1, "the second time nothing is due"
        assert log.events().count("epoch_closed") == 1


def test_the_follower_leaves_closing_to_commands_when_epochs_have_no_length(coop: Coop) -> None:
    follow(coop[WITNESS].core, Lines(), seconds=100_000)
    assert coop[WITNESS].status().epoch == 0


def test_an_error_stops_the_step_not_the_follower_and_is_said_once(
    coop: Coop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(core: Any) -> int:
        raise StoreDamaged("a value is damaged")

    monkeypatch.setattr(following, "catch_up", fail)
    log = Lines()
    follower, _, _ = follow(coop[WITNESS].core, log, during=lambda f: f.poke())
    assert log.events() == ["cannot_follow"]
    assert follower.failure == "a value is damaged"


# The report.


def test_a_report_is_read_only_while_its_daemon_runs(coop: Coop) -> None:
    home = coop[WITNESS].core.home
    assert read_report(home) is None
    with sole_daemon(home):
        assert read_report(home) is None
        write_report(home, json.dumps({"pid": 7}))
        assert read_report(home) == {"pid": 7}
        for junk in ("[]", "{", ""):
            write_report(home, junk)
            assert read_report(home) is None
    assert not (home / REPORT_NAME).exists()
    write_report(home, json.dumps({"pid": 8}))
    assert read_report(home) is None, "what a killed daemon left is not believed"


def test_a_second_daemon_on_a_home_is_refused(coop: Coop) -> None:
    home = coop[WITNESS].core.home
    with sole_daemon(home):
        with pytest.raises(Refused, match="a daemon runs") as caught, sole_daemon(home):
            raise AssertionError
        assert caught.value.code == "daemon_runs"


# Metrics.


FIGURES = {"links": ("gauge", "Links that are up.", 3), "a_total": ("counter", "A.", 12_345_678)}


def test_figures_become_prometheus_text_with_every_digit() -> None:
    assert metrics.text_of(FIGURES) == (
        "# HELP oln_a_total A.\n# TYPE oln_a_total counter\noln_a_total 12345678\n"
        "# HELP oln_links Links that are up.\n# TYPE oln_links gauge\noln_links 3\n"
    )


@pytest.mark.parametrize(
    "address", ["0.0.0.0:1", "192.0.2.1:9", "node.example.org:9", "127.0.0.1", "127.0.0.1:x", ":9",
                "127.0.0.1:70000", "[::]:9"],
)  # fmt: skip
def test_metrics_are_served_on_loopback_only(address: str) -> None:
    with pytest.raises(UsageError, match="this machine alone"):
        metrics.checked_loopback(address)


def test_loopback_addresses_are_taken() -> None:
    assert metrics.checked_loopback("127.0.0.1:0") == ("127.0.0.1", 0)
    assert metrics.checked_loopback("[::1]:9767") == ("::1", 9767)


def test_a_scraper_gets_the_figures_and_a_flood_gets_an_end() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            port = await nursery.start(metrics.serve_metrics, "127.0.0.1", 0, lambda: FIGURES)
            for request in (b"GET /metrics HTTP/1.1\r\n\r\n", b"x" * 20_000):
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                async with stream:
                    try:
                        await stream.send_all(request)
                        answer = b"".join([part async for part in stream])
                    except trio.BrokenResourceError:
                        continue  # the flood was cut off, which is what should happen to it
                    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
                    assert answer.endswith(metrics.text_of(FIGURES).encode())
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.aclose()
            nursery.cancel_scope.cancel()

    trio.run(main)


# The daemon's own log.


def test_the_log_goes_to_a_file_that_is_turned_over(tmp_path: Path) -> None:
    config = replace(
        load_config(tmp_path / "none"), log_file="node.log", log_file_bytes=2_000, log_format="json"
    )
    log = daemon_log(config, tmp_path)
    for number in range(100):
        log.info("something", number=number, text="x" * 50)
    files = sorted(path.name for path in tmp_path.glob("node.log*"))
    assert files == ["node.log", "node.log.1", "node.log.2"]
    assert all(path.stat().st_size <= 2_000 for path in tmp_path.glob("node.log*"))
    last = json.loads((tmp_path / "node.log").read_text().splitlines()[-1])
    assert (last["event"], last["number"], last["level"]) == ("something", 99, "info")
    for handler in logging.getLogger("oln.daemon").handlers:
        handler.close()


def test_lines_below_the_level_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = daemon_log(replace(load_config(tmp_path / "none"), log_level="warning"), tmp_path)
    log.info("quiet")
    log.warning("loud", peer="abc")
    shown = capsys.readouterr().err
    assert "quiet" not in shown
    assert "loud" in shown and "abc" in shown


def test_a_log_file_that_cannot_be_written_is_wrong_usage(tmp_path: Path) -> None:
    config = replace(load_config(tmp_path / "none"), log_file="no/such/folder/x.log")
    with pytest.raises(UsageError, match="cannot write the log file"):
        daemon_log(config, tmp_path)


# Ending.


def test_the_error_for_people_is_found_in_a_group() -> None:
    refused = Refused("no")
    assert first_known(ExceptionGroup("a", [ExceptionGroup("b", [refused])])) is refused
    stop = KeyboardInterrupt()
    assert first_known(BaseExceptionGroup("a", [stop])) is stop
    assert first_known(ExceptionGroup("a", [refused, ValueError()])) is None
    assert first_known(ExceptionGroup("a", [ValueError()])) is None
