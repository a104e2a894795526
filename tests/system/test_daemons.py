"""Real daemons on loopback: what one writes reaches the others, whatever happens in between."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from openledger_node.api import open_home, restore
from openledger_node.store.writer import Draft
from tests.kit.daemons import PATIENCE_S, Town
from tests.kit.ledgerkit import key

NODE_ID = key("somebody").public.raw.hex()


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with Town(tmp_path) as made:
        made.begin("ana")
        yield made


def contribute(town: Town, name: str, title: str, share: str = "none") -> str:
    file = town.place / f"{title}.txt"
    file.write_text(f"words of {title} that nobody else has written so far " * 20)
    with town.home(name) as home:
        added = home.data_add([file], title=title, share=share)
    assert added.contribution_id is not None
    return added.contribution_id


def test_three_daemons_show_each_other_what_commands_write_and_agree_on_the_statement(
    town: Town,
) -> None:
    for name in ("bo", "cy"):
        town.join(name)
    town.start("ana")
    town.start("bo", "ana")
    town.start("cy", "ana", "bo")
    command = [sys.executable, "-m", "openledger_node", "--home", str(town.path("cy")), "--json"]
    follower = subprocess.Popen([*command, "log", "--follow"], stdout=subprocess.PIPE, text=True)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(follower.stdout or ()))
    reader.start()
    made: list[str] = []

    def is_followed() -> bool:
        """The follower begins somewhere between two contributions."""
        made.append(contribute(town, "ana", f"poems {len(made)}"))
        return any(json.loads(line)["event_id"] in made for line in lines)

    try:
        town.until(is_followed, "an event of ana's in cy's log")
    finally:
        follower.terminate()
        follower.wait()
        reader.join()
        assert follower.stdout is not None
        follower.stdout.close()

    town.stop("bo")
    with town.home("ana") as home:
        home.core.writer().append([Draft("test.note", [number], 0) for number in range(2_000)])
    town.start("bo", "ana")
    town.until_same(["ana", "bo", "cy"])
    with town.home("ana") as home:
        epoch = home.epoch_close().epoch
    town.until(lambda: all(town.status(n).epoch == epoch for n in ("bo", "cy")), "the epoch")
    assert town.statement("ana") == town.statement("bo") == town.statement("cy")
    assert [town.stop(name) for name in ("ana", "bo", "cy")] == [0, 0, 0]


def test_a_killed_daemon_comes_back_with_everything_that_was_acknowledged(town: Town) -> None:
    town.join("bo")
    town.start("ana")
    town.start("bo", "ana")
    first = contribute(town, "bo", "one")
    town.kill("bo")
    second = contribute(town, "bo", "two")
    town.start("bo", "ana")
    town.until(lambda: {first, second} <= set(town.events("ana")), "both contributions")
    town.kill("ana")
    town.start("ana")
    town.until_same(["ana", "bo"])


def test_one_daemon_a_home(town: Town) -> None:
    town.start("ana")
    done = town.oln("ana", "--json", "node", "--listen", "127.0.0.1:0")
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["code"] == "daemon_runs"
    assert town.status("ana").daemon
    assert town.stop("ana") == 0
    assert not town.status("ana").daemon


def test_a_restored_backup_takes_its_own_log_back_and_goes_on_in_a_new_one(town: Town) -> None:
    town.join("bo")
    town.start("ana")
    backup = town.place / "bo.backup"
    with town.home("bo") as home:
        home.backup(backup)
        home.sync(town.address["ana"])
    lost = contribute(town, "bo", "after the backup")
    with town.home("bo") as home:
        home.sync(town.address["ana"])
        old_log = home.core.writer().log_id
    shutil.move(town.path("bo"), town.place / "gone")
    restore(backup, town.path("bo"))
    if not (town.path("bo") / "keys").exists():
        shutil.copytree(town.place / "gone" / "keys", town.path("bo") / "keys")
    with town.home("bo") as home:
        home.sync(town.address["ana"])
    assert lost in town.events("bo")
    made = contribute(town, "bo", "later")
    with town.home("bo") as home:
        assert home.core.writer().log_id != old_log
        home.sync(town.address["ana"])
    assert made in town.events("ana")
    assert not town.status("ana").alarms, "nothing forked"


def test_a_home_that_is_copied_and_used_twice_makes_two_logs_and_no_fork(town: Town) -> None:
    town.join("bo")
    shutil.copytree(town.path("bo"), town.path("twin"))
    town.start("ana")
    made = [contribute(town, "bo", "by the original"), contribute(town, "twin", "by the copy")]
    for name in ("bo", "twin"):
        with town.home(name) as home:
            home.sync(town.address["ana"])
    assert set(made) <= set(town.events("ana"))
    assert not town.status("ana").alarms


@pytest.mark.rule("L6", "X3")
def test_two_histories_of_one_log_end_in_one_proof_and_the_same_credits(town: Town) -> None:
    for name in ("bo", "cy"):
        town.join(name)
    shutil.copytree(town.path("bo"), town.path("twin"))
    with open_home(town.path("twin")) as twin:
        twin.core.store.rebind()  # as a rolled-back disk would look: nothing tells it
    contribute(town, "bo", "one history")
    contribute(town, "twin", "another history")
    town.start("ana")
    town.start("cy", "ana")
    with town.home("bo") as home:
        home.sync(town.address["ana"])
    town.until_same(["ana", "cy", "bo"])
    town.start("twin", "cy")

    def proofs(name: str) -> list[object]:
        with town.home(name) as home, home.core.store.read() as snapshot:
            return list(snapshot.forks())

    town.until(lambda: all(proofs(name) for name in ("ana", "cy", "twin")), "a proof everywhere")
    town.until(lambda: proofs("ana") == proofs("cy") == proofs("twin"), "the same proof")
    assert ["forked at event" in alarm for alarm in town.status("cy").alarms] == [True]
    with town.home("ana") as home:
        epoch = home.epoch_close().epoch
        assert home.log(kind="log.fork").events
    town.until(lambda: all(town.status(n).epoch == epoch for n in ("cy", "twin")), "the epoch")
    assert town.statement("ana") == town.statement("cy") == town.statement("twin")


def test_payloads_come_when_their_epoch_is_final_and_not_before(town: Town) -> None:
    town.join("bo")
    town.start("ana")
    town.start("bo", "ana")
    made = contribute(town, "ana", "shared", share="all")
    town.until(lambda: made in town.events("bo"), "the contribution")

    def held() -> bool:
        with town.home("bo") as home:
            return home.data_show(made).payload == "held"

    assert not held()
    with town.home("ana") as home:
        home.epoch_close()
    town.until(held, "the payload")


# Who is let in.


def test_a_node_with_an_allow_list_lets_nobody_else_in(town: Town) -> None:
    for name in ("bo", "cy"):
        town.join(name)
    with town.home("bo") as home:
        friend = home.node_id
    town.settings("ana", f'[node]\nallow = ["{friend}"]\n')
    town.start("ana")
    refused = town.oln("cy", "--json", "sync", town.address["ana"])
    assert refused.returncode == 4
    assert json.loads(refused.stdout)["error"]["hint"]
    assert town.oln("bo", "sync", town.address["ana"]).returncode == 0
    town.until(lambda: "allow list" in town.logged("ana"), "a line in the log")


def test_a_node_of_another_ledger_is_refused_at_hello(town: Town) -> None:
    town.genesis = town.place / "other.json"
    town.begin("stranger")
    town.start("ana")
    done = town.oln("stranger", "sync", town.address["ana"])
    assert done.returncode == 4
    assert "ledger" in done.stderr
    assert town.is_running("ana")


def test_an_address_with_another_nodes_id_is_not_believed(town: Town) -> None:
    town.join("bo")
    town.start("ana")
    place = town.address["ana"].partition("@")[2]
    done = town.oln("bo", "--json", "sync", f"{NODE_ID}@{place}")
    assert done.returncode == 4
    assert "error" in json.loads(done.stdout)


def test_a_sync_with_nobody_there_says_so(town: Town) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    done = town.oln("ana", "sync", f"{NODE_ID}@127.0.0.1:{port}")
    assert done.returncode == 4
    assert "cannot reach" in done.stderr and "hint:" in done.stderr


@pytest.mark.parametrize(
    "junk", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 5_000, b"\x16\x03\x01\xff\xff", b""]
)
def test_a_daemon_outlives_junk_on_its_port(town: Town, junk: bytes) -> None:
    town.join("bo")
    town.start("ana")
    host, _, port = town.address["ana"].partition("@")[2].rpartition(":")
    for _ in range(3):
        with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as stream:
            stream.sendall(junk)
    assert town.oln("bo", "sync", town.address["ana"]).returncode == 0
    assert town.is_running("ana")


def test_peers_can_be_banned_and_added_beside_a_running_daemon(town: Town) -> None:
    town.join("bo")
    town.start("ana")
    town.start("bo")
    assert town.status("bo").peers == ()
    with town.home("bo") as home:
        home.peer_add(town.address["ana"])
    town.until(lambda: len(town.status("bo").peers) == 1, "the link")
    with town.home("ana") as home:
        banned = home.peer_list().peers[0].node_id
        home.peer_ban(banned)
    town.until(lambda: town.status("ana").peers == (), "the end of the link")


def test_figures_are_read_on_loopback(town: Town) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    town.settings("ana", f'[node]\nmetrics = "127.0.0.1:{port}"\n')
    town.start("ana")
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as stream:
        stream.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        answer = b""
        while part := stream.recv(65_536):
            answer += part
    assert b"\noln_events 2\n" in answer


def test_a_wrong_setting_ends_the_daemon_with_a_hint(town: Town) -> None:
    for text, words in (
        ('[node]\nmetrics = "0.0.0.0:1"\n', "this machine alone"),
        ('[node]\nlisten = "nowhere"\n', "nowhere"),
        ('[node]\nallow = ["x"]\n', "not a node id"),
    ):
        town.settings("ana", text)
        done = town.oln("ana", "node")
        assert done.returncode == 2, done.stderr
        assert words in done.stderr and "Traceback" not in done.stderr
