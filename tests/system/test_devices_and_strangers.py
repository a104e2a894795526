"""Second machines, lost machines, and strangers: real daemons on loopback."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.daemons import PATIENCE_S, Town


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with Town(tmp_path) as made:
        made.begin("ana")
        yield made


def contribute(town: Town, name: str, title: str) -> str:
    file = town.place / f"{title}.txt"
    file.write_text(f"words of {title} that nobody else has written so far " * 20)
    with town.home(name) as home:
        added = home.data_add([file], title=title)
    assert added.contribution_id is not None
    return added.contribution_id


def close(town: Town) -> int:
    with town.home("ana") as home:
        return home.epoch_close().epoch


def kinds(town: Town, name: str) -> list[str]:
    with town.home(name) as home:
        return [event.kind for event in home.log(limit=None).events]


def test_a_second_machine_joins_writes_for_the_account_and_is_retired(town: Town) -> None:
    """The invitation goes by hand, everything else over links."""
    town.join("bo")
    town.start("ana")
    town.start("bo", "ana")
    invited = town.oln("bo", "device", "invite", str(town.place / "laptop.invite"))
    assert invited.returncode == 0, invited.stderr
    joined = town.oln("laptop", "device", "join", str(town.place / "laptop.invite"))
    assert joined.returncode == 0, joined.stderr
    town.start("laptop", "ana")
    town.until(lambda: "account.add_device" in kinds(town, "ana"), "the enrolment")
    epoch = close(town)
    town.until(lambda: town.status("laptop").epoch == epoch, "the epoch at the laptop")
    made = contribute(town, "laptop", "from-the-laptop")
    town.until(lambda: made in town.events("ana"), "the laptop's contribution")
    close(town)
    with town.home("ana") as home:
        shown = home.show(made)
        assert (shown.status, shown.account_id) == ("final", town.status("bo").account_id)

    with town.home("bo") as home:
        devices = home.device_list().devices
        other = next(device.device for device in devices if not device.own)
        home.device_retire(other)
    town.until(lambda: "account.retire_device" in kinds(town, "ana"), "the retirement")
    close(town)
    late = contribute(town, "laptop", "too-late")
    town.until(lambda: late in town.events("ana"), "what the retired device still wrote")
    close(town)
    with town.home("ana") as home:
        assert home.show(made).status == "final"
        assert home.show(late).status != "final", "nothing of a retired device counts"


def test_a_lost_account_is_taken_over_on_a_new_machine(town: Town) -> None:
    town.join("bo")
    (recovery,) = town.path("bo").glob("recovery-*.json")
    kept = town.place / "kept.json"
    shutil.copy(recovery, kept)
    account = town.status("bo").account_id
    town.start("ana")
    town.start("bo", "ana")
    made = contribute(town, "bo", "before-the-loss")
    town.until(lambda: made in town.events("ana"), "the contribution")
    close(town)
    town.kill("bo")
    shutil.rmtree(town.path("bo"))

    town.join("fresh")
    town.start("fresh", "ana")
    town.until(lambda: made in town.events("fresh"), "the lost account's log")
    done = town.oln(
        "fresh", "--json", "account", "recover", str(kept), "--out", str(town.place / "next.json")
    )
    assert done.returncode == 0, done.stderr + done.stdout
    town.until(lambda: "account.rotate" in kinds(town, "ana"), "the rotation")
    close(town)
    town.until(lambda: town.status("fresh").account_id == account, "the account")
    after = contribute(town, "fresh", "after-the-loss")
    town.until(lambda: after in town.events("ana"), "what it writes now")
    close(town)
    with town.home("ana") as home:
        assert home.show(after).status == "final"
        assert home.show(after).account_id == home.show(made).account_id == account


def place_of(town: Town, name: str) -> tuple[str, int]:
    host, _, port = town.address[name].partition("@")[2].rpartition(":")
    return host, int(port)


def shake_hands(place: tuple[str, int], context: ssl.SSLContext) -> None:
    """A client of the standard library; raises what the node answers with."""
    with (
        socket.create_connection(place, timeout=PATIENCE_S) as plain,
        context.wrap_socket(plain) as secured,
    ):
        secured.sendall(b"hello")
        if not secured.recv(1):
            raise ssl.SSLError("closed")


def client(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["oln/1"])
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_strangers_are_refused_in_the_handshake_and_logged_seldom(
    town: Town, version: ssl.TLSVersion
) -> None:
    """With TLS 1.2, or with TLS 1.3 and no certificate."""
    town.join("bo")
    town.start("ana")
    for _ in range(12):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            shake_hands(place_of(town, "ana"), client(version))
    assert town.oln("bo", "sync", town.address["ana"]).returncode == 0
    refused = [line for line in town.logged("ana").splitlines() if "refused" in line]
    assert 1 <= len(refused) <= 3, "once, and then a count of what was held back"


def test_a_daemon_s_report_is_for_programs_too(town: Town) -> None:
    town.start("ana")
    shown = json.loads(town.oln("ana", "--json", "status").stdout)
    assert shown["daemon"] is True and shown["listening"]
    assert town.stop("ana") == 0
    shown = json.loads(town.oln("ana", "--json", "status").stdout)
    assert shown["daemon"] is False
