"""Finding nodes on the local network: hearsay only, only when asked, and with limits."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from typing import Any

import pytest
import trio

from openledger_node.ledger.encoding import H
from openledger_node.ledger.errors import NetworkError, UsageError
from openledger_node.net import discovery
from openledger_node.net.address import PeerAddress
from openledger_node.net.discovery import (
    FOUND_VALID_MS,
    MAX_FOUND,
    MAX_HOSTS,
    RETELL_S,
    SERVICE,
    LanDiscovery,
    ledger_tag,
    load_library,
    read_announcement,
)
from tests.net import wire
from tests.net.wire import Log, run_on_sockets

LEDGER = b"\x11" * 32
TAG = ledger_tag(LEDGER)
OWN, OTHER = wire.identity(1).node_id, wire.identity(2).node_id


def properties(**changes: bytes | None) -> dict[bytes, bytes | None]:
    fields: dict[str, bytes | None] = {"id": OTHER.hex().encode(), "ledger": TAG.encode()}
    return {name.encode(): value for name, value in (fields | changes).items()}


@pytest.mark.rule("N23")
def test_an_announcement_gives_addresses_of_the_node() -> None:
    hosts = ["192.168.1.7", "fe80::1%eth0"]
    assert read_announcement(properties(), hosts, 4767, TAG) == [
        PeerAddress(OTHER, "192.168.1.7", 4767),
        PeerAddress(OTHER, "fe80::1%eth0", 4767),
    ]


@pytest.mark.rule("N23")
def test_the_tag_is_of_the_ledger_and_does_not_show_its_id() -> None:
    assert H("lan", LEDGER).hex()[:16] == TAG
    assert TAG not in LEDGER.hex()
    assert ledger_tag(b"\x12" * 32) != TAG


@pytest.mark.rule("N23")
@pytest.mark.parametrize(
    ("changes", "hosts", "port"),
    [
        pytest.param({"ledger": b"0" * 16}, ["192.168.1.7"], 1, id="another ledger"),
        pytest.param({"ledger": None}, ["192.168.1.7"], 1, id="no ledger"),
        pytest.param({"id": None}, ["192.168.1.7"], 1, id="no id"),
        pytest.param({"id": b"ab" * 31}, ["192.168.1.7"], 1, id="short id"),
        pytest.param({"id": b"AB" * 32}, ["192.168.1.7"], 1, id="capital digits"),
        pytest.param({"id": b"\xff" * 64}, ["192.168.1.7"], 1, id="bytes for an id"),
        pytest.param({"id": b"01" + b"00" * 31}, ["192.168.1.7"], 1, id="small-order id"),
        pytest.param({}, ["192.168.1.7"], 0, id="no port"),
        pytest.param({}, ["192.168.1.7"], 65_536, id="port past the limit"),
        pytest.param({}, ["192.168.1.7"], None, id="port missing"),
        pytest.param({}, [], 1, id="no host"),
        pytest.param({}, ["not a host", "::zz", ""], 1, id="no usable host"),
    ],
)
def test_a_malformed_or_foreign_announcement_gives_nothing(
    changes: dict[str, bytes | None], hosts: list[str], port: int | None
) -> None:
    assert read_announcement(properties(**changes), hosts, port, TAG) == []


@pytest.mark.rule("N23")
def test_few_hosts_are_taken_from_one_announcement() -> None:
    hosts = [f"192.168.1.{number}" for number in range(1, 100)]
    assert len(read_announcement(properties(), hosts, 1, TAG)) == MAX_HOSTS


class FakeInfo:
    def __init__(self, kind: str, name: str, **fields: Any) -> None:
        self.kind, self.name = kind, name
        self.port = fields["port"]
        given = fields["properties"]
        self.properties = {
            (k if isinstance(k, bytes) else k.encode()): (v if isinstance(v, bytes) else v.encode())
            for k, v in given.items()
        }
        self.hosts: list[str] = fields["parsed_addresses"]

    def parsed_scoped_addresses(self) -> list[str]:
        return self.hosts


class FakeLibrary:
    """A local network in one object; it calls back from a thread, as the real one does."""

    ServiceInfo = FakeInfo

    def __init__(self, infos: list[FakeInfo], *, has_multicast: bool = True) -> None:
        self.infos = {info.name: info for info in infos}
        self.announced: list[FakeInfo] = []
        self.is_closed = False
        self._has_multicast = has_multicast

    def Zeroconf(self) -> FakeLibrary:
        if not self._has_multicast:
            raise OSError(19, "No such device")
        return self

    def register_service(self, info: FakeInfo) -> None:
        self.announced.append(info)

    def get_service_info(self, kind: str, name: str, timeout: int) -> FakeInfo | None:
        assert kind == SERVICE
        return self.infos.get(name)

    def ServiceBrowser(self, engine: Any, kind: str, listener: Any) -> None:
        assert kind == SERVICE

        def call_back() -> None:
            for name in ["gone", *self.infos]:
                listener.add_service(engine, kind, name)
                listener.update_service(engine, kind, name)
            listener.remove_service(engine, kind, "gone")

        threading.Thread(target=call_back).start()

    def close(self) -> None:
        self.is_closed = True


def announcement(number: int, *hosts: str) -> FakeInfo:
    node_id = wire.identity(number).node_id
    return FakeInfo(
        SERVICE,
        f"node{number}",
        port=4000 + number,
        properties=properties(id=node_id.hex().encode()),
        parsed_addresses=list(hosts) or [f"192.168.1.{number}"],
    )


def discover(library: FakeLibrary, expected: int) -> list[PeerAddress]:
    """What a node is told on that network, until `expected` addresses have come."""
    found: list[PeerAddress] = []

    async def main() -> None:
        done = trio.Event()
        thread = threading.get_ident()

        def take(address: PeerAddress) -> None:
            assert threading.get_ident() == thread
            found.append(address)
            if len(found) == expected:
                done.set()

        lan = LanDiscovery(OWN, LEDGER, 4767, take, log=Log(), library=library)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lan.run)
            await done.wait()
            nursery.cancel_scope.cancel()

    run_on_sockets(main)
    assert library.is_closed
    return found


@pytest.mark.rule("N23")
def test_a_node_announces_itself_and_hears_of_others_once_and_never_of_itself() -> None:
    library = FakeLibrary([announcement(1), announcement(2), announcement(3)])
    found = discover(library, expected=2)
    assert found == [
        PeerAddress(wire.identity(number).node_id, f"192.168.1.{number}", 4000 + number)
        for number in (2, 3)
    ]
    (info,) = library.announced
    assert info.name == f"{OWN.hex()[:16]}.{SERVICE}"
    assert info.port == 4767
    assert info.properties == {b"id": OWN.hex().encode(), b"ledger": TAG.encode()}


@pytest.mark.rule("N23")
def test_a_flood_of_announcements_is_taken_up_to_the_limit() -> None:
    found: list[PeerAddress] = []
    lan = LanDiscovery(OWN, LEDGER, 1, found.append, log=Log(), library=FakeLibrary([]))
    for number in range(2, 200):
        lan._take(f"name{number}", [PeerAddress(OTHER, "192.168.1.9", number)])
    assert len(found) == MAX_FOUND
    lan._take("name2", [])
    lan._take("one more", [PeerAddress(OTHER, "192.168.1.10", 1)])
    assert len(found) == MAX_FOUND + 1


@pytest.mark.rule("N23")
def test_what_is_announced_is_told_again_and_again_and_what_is_gone_is_not() -> None:
    async def main() -> None:
        heard: list[tuple[int, str]] = []
        both = trio.Event()

        def take(address: PeerAddress) -> None:
            heard.append((int(trio.current_time()), address.host))
            if len(heard) == 2:
                both.set()

        library = FakeLibrary([announcement(2), announcement(3)])
        lan = LanDiscovery(OWN, LEDGER, 1, take, log=Log(), library=library)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lan.run)
            await both.wait()
            lan._take("node2", [])
            clock.autojump_threshold = 0  # from here on no thread has anything to do
            await trio.sleep(2.5 * RETELL_S)
            nursery.cancel_scope.cancel()
            clock.autojump_threshold = math.inf
        assert heard[2:] == [(RETELL_S, "192.168.1.3"), (2 * RETELL_S, "192.168.1.3")]

    clock = trio.testing.MockClock()
    trio.run(main, clock=clock)
    assert RETELL_S * 1000 < FOUND_VALID_MS


def test_a_machine_without_multicast_is_told_what_to_do() -> None:
    async def main() -> None:
        library = FakeLibrary([], has_multicast=False)
        lan = LanDiscovery(OWN, LEDGER, 1, lambda _: None, log=Log(), library=library)
        with pytest.raises(NetworkError, match="multicast") as caught:
            await lan.run()
        assert "lan = false" in caught.value.hint

    run_on_sockets(main)


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    with pytest.raises(UsageError, match="zeroconf") as caught:
        LanDiscovery(OWN, LEDGER, 1, lambda _: None, log=Log())
    assert "openledger-node[lan]" in caught.value.hint
    assert caught.value.code == "missing_extra"


def test_importing_the_links_does_not_import_the_extra() -> None:
    program = (
        "import sys; import openledger_node.net.discovery, openledger_node.net.dialler\n"
        "sys.exit('zeroconf' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def test_the_machine_s_own_address_can_be_announced() -> None:
    (host,) = discovery._own_hosts()
    assert read_announcement(properties(), [host], 1, TAG)


def test_two_nodes_find_each_other_over_real_multicast() -> None:
    pytest.importorskip("zeroconf", reason="the extra `lan` is not installed")
    assert load_library().__name__ == "zeroconf"

    async def main() -> None:
        found: dict[bytes, PeerAddress] = {}
        both = trio.Event()

        def node(node_id: bytes, port: int) -> LanDiscovery:
            def take(address: PeerAddress) -> None:
                found[node_id] = address
                if len(found) == 2:
                    both.set()

            return LanDiscovery(node_id, LEDGER, port, take, log=Log(), interfaces=["127.0.0.1"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(node(OWN, 4001).run)
            nursery.start_soon(node(OTHER, 4002).run)
            with trio.move_on_after(20):
                await both.wait()
            nursery.cancel_scope.cancel()
        assert found == {
            OWN: PeerAddress(OTHER, "127.0.0.1", 4002),
            OTHER: PeerAddress(OWN, "127.0.0.1", 4001),
        }

    run_on_sockets(main)
