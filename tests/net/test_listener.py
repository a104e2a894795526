"""Letting others in: honest nodes come through, and floods cost little and are told once."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from openledger_node.ledger.errors import NetworkError
from openledger_node.net.address import Endpoint, PeerAddress
from openledger_node.net.link import HANDSHAKE_TIMEOUT_S, Link, dial_link
from openledger_node.net.listener import (
    ACCEPT_PAUSE_S,
    LOG_INTERVAL_S,
    SLOW_HANDSHAKE_S,
    Listener,
    ListenLimits,
    open_listeners,
)
from openledger_node.net.table import LinkTable
from openledger_node.net.tls import TlsContext, secure
from tests.net import wire
from tests.net.wire import CLIENT, SERVER, Everyone, Log, Nobody, run, run_on_sockets


class Door(trio.abc.Listener[Any]):
    """A listener in memory; `knock` gives a client its end."""

    def __init__(self) -> None:
        self.hosts: dict[int, str] = {}
        self.is_closed = False
        self._send, self._receive = trio.open_memory_channel[Any](10_000)

    async def accept(self) -> Any:
        arrival = await self._receive.receive()
        if isinstance(arrival, OSError):
            raise arrival
        return arrival

    async def aclose(self) -> None:
        self.is_closed = True
        await trio.lowlevel.checkpoint()

    def fail(self, code: int) -> None:
        self._send.send_nowait(OSError(code, "accept failed"))

    def knock(self, host: str = "192.0.2.1") -> trio.abc.Stream:
        ours, theirs = memory_stream_pair()
        self.hosts[id(ours)] = host
        self._send.send_nowait(ours)
        return theirs

    def host_of(self, stream: trio.abc.Stream) -> str:
        return self.hosts[id(stream)]


class House:
    """A listening node on a bench."""

    def __init__(
        self,
        *,
        context: TlsContext | None = None,
        max_links: int = 1000,
        handler: Callable[[Link], Awaitable[None]] | None = None,
        **limits: Any,
    ) -> None:
        self.door = Door()
        self.log = Log()
        self.served: list[Link] = []
        self.table = LinkTable(SERVER.node_id, max_links=max_links)
        self.listener: Listener[Any] = Listener(
            context or wire.server_context(),
            self.table,
            handler or self._echo,
            log=self.log,
            limits=ListenLimits(**limits),
            host_of=self.door.host_of,
        )

    async def _echo(self, link: Link) -> None:
        self.served.append(link)
        while data := await link.receive_some():
            await link.send_all(data)

    async def visit(self, client: int = 2, host: str = "192.0.2.1") -> Link:
        """A link of an honest client that was answered."""
        context = TlsContext(wire.identity(client), Everyone())

        async def connect(_host: str, _port: int) -> trio.abc.Stream:
            return self.door.knock(host)

        link = await dial_link(context, PeerAddress(SERVER.node_id, "server", 1), connect=connect)
        await link.send_all(b"?")
        assert await link.receive_some() == b"?"
        return link

    def reasons(self) -> list[str]:
        return [fields["reason"] for _, fields in self.log.lines]


def at_home(house: House, test: Callable[[], Awaitable[None]]) -> None:
    """Runs a test while the house's listener serves."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.listener.serve, house.door)
            await test()
            nursery.cancel_scope.cancel()
        assert house.door.is_closed
        assert len(house.table) == 0

    run(main)


async def is_closed(stream: trio.abc.Stream) -> bool:
    """Whether the other side has closed, without an answer."""
    try:
        return await stream.receive_some(1) == b""
    except trio.BrokenResourceError:
        return True
    finally:
        await wait_all_tasks_blocked()  # what follows on the other side is done


@pytest.mark.rule("N7")
def test_a_client_is_served_under_the_key_that_it_proved_until_it_leaves() -> None:
    house = House()

    async def test() -> None:
        link = await house.visit()
        assert house.table.peers() == {CLIENT.node_id}
        assert house.served[0].address == "192.0.2.1"
        assert not house.served[0].is_outbound
        await link.aclose()
        await wait_all_tasks_blocked()
        assert len(house.table) == 0
        assert house.log.lines == []

    at_home(house, test)


@pytest.mark.rule("N6")
def test_a_slow_handshake_is_ended_in_time_and_holds_up_nobody() -> None:
    house = House()

    async def test() -> None:
        slow = house.door.knock("192.0.2.66")
        await wait_all_tasks_blocked()
        await house.visit()
        began_s = trio.current_time()
        assert await is_closed(slow)
        assert trio.current_time() - began_s == pytest.approx(HANDSHAKE_TIMEOUT_S)
        assert house.reasons() == ["slow_handshake"]

    at_home(house, test)


@pytest.mark.rule("N6")
def test_a_handshake_that_trickles_does_not_get_more_time() -> None:
    house = House()

    async def test() -> None:
        slow = house.door.knock()
        with pytest.raises(trio.BrokenResourceError):
            for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500):
                await slow.send_all(bytes([byte]))
                await trio.sleep(1)
        assert trio.current_time() == pytest.approx(HANDSHAKE_TIMEOUT_S, abs=1.5)
        await wait_all_tasks_blocked()
        assert house.reasons() == ["slow_handshake"]

    at_home(house, test)


@pytest.mark.rule("N18")
def test_a_flood_of_handshakes_is_cut_at_the_limit_and_passes() -> None:
    house = House(handshakes=5, links_per_address=1000)

    async def test() -> None:
        clients = [house.door.knock(f"198.51.100.{number}") for number in range(50)]
        await wait_all_tasks_blocked()
        assert house.listener._in_flight.total() == 5
        closed = [await is_closed(client) for client in clients[5:]]
        assert all(closed) and trio.current_time() == 0
        assert set(house.reasons()) == {"handshakes"}
        await trio.sleep(HANDSHAKE_TIMEOUT_S + 1)
        assert not house.listener._in_flight
        await house.visit()

    at_home(house, test)


@pytest.mark.rule("N18")
def test_one_address_has_so_many_links_and_handshakes_and_others_their_own() -> None:
    house = House(links_per_address=3)

    async def test() -> None:
        links = [await house.visit(number, "2001:db8::1") for number in (2, 3)]
        house.door.knock("2001:db8::2")  # a handshake in flight counts too
        await wait_all_tasks_blocked()
        assert await is_closed(house.door.knock("2001:db8::3"))
        assert house.reasons() == ["links_per_address"]
        await house.visit(4, "2001:db8:0:1::1")
        await links[0].aclose()
        await wait_all_tasks_blocked()
        await house.visit(5, "2001:db8::4")

    at_home(house, test)


@pytest.mark.rule("N18")
@pytest.mark.parametrize("network", ["2001:db8:7:{:x}::1", "198.51.100.{}"])
def test_one_network_has_so_many_handshakes_and_leaves_room_for_others(network: str) -> None:
    house = House()

    async def test() -> None:
        clients = [house.door.knock(network.format(number)) for number in range(100)]
        await wait_all_tasks_blocked()
        limits = ListenLimits()
        assert house.listener._in_flight.total() == limits.handshakes_per_network
        assert set(house.reasons()) == {"handshakes_per_network"}
        assert await is_closed(clients[-1])
        await house.visit(2, "203.0.113.5")
        assert trio.current_time() == 0

    at_home(house, test)


@pytest.mark.rule("N18")
def test_an_address_that_comes_and_goes_too_fast_is_slowed_down() -> None:
    house = House(handshake_burst=4, handshakes_per_second=1.0)

    async def test() -> None:
        for _ in range(4):
            await (await house.visit()).aclose()
            await wait_all_tasks_blocked()
        assert await is_closed(house.door.knock())
        assert house.reasons() == ["handshake_rate"]
        await house.visit(3, "203.0.113.5")
        await trio.sleep(1)
        await house.visit()

    at_home(house, test)


@pytest.mark.rule("N18")
def test_a_node_with_all_its_links_turns_clients_away_before_the_handshake() -> None:
    policy = Everyone()
    house = House(context=TlsContext(SERVER, policy), max_links=2)

    async def test() -> None:
        await house.visit(2)
        await house.visit(3)
        assert await is_closed(house.door.knock("203.0.113.5"))
        assert house.reasons() == ["full"]
        assert len(policy.asked) == 2

    at_home(house, test)


@pytest.mark.rule("N19")
def test_a_refused_client_is_logged_once_a_minute_for_each_reason() -> None:
    house = House(
        context=TlsContext(SERVER, Nobody()), handshake_burst=1000, links_per_address=1000
    )

    async def refused() -> None:
        transport = house.door.knock()
        shared = wire.raw_context([CLIENT.certificate()], CLIENT.private_key())
        stream = wire.raw_stream(transport, shared, server_side=False)
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
            await stream.receive_some(1)
        await trio.aclose_forcefully(transport)
        await wait_all_tasks_blocked()

    async def plain_text() -> None:
        stream = house.door.knock()
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        assert await is_closed(stream)

    async def test() -> None:
        for _ in range(10):
            await refused()
        await plain_text()
        assert house.reasons() == ["not_accepted", "tls"]
        event, fields = house.log.lines[0]
        assert event == "client_refused"
        assert fields == {
            "address": "192.0.2.1",
            "reason": "not_accepted",
            "held_back": 0,
            "peer": CLIENT.node_id.hex(),
            "text": "not on the list",
        }
        await trio.sleep(LOG_INTERVAL_S)
        await refused()
        assert house.log.lines[-1][1]["held_back"] == 9

    at_home(house, test)


@pytest.mark.rule("N20")
@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
def test_running_out_of_descriptors_pauses_the_listener(code: int) -> None:
    house = House()

    async def test() -> None:
        for _ in range(10):
            house.door.fail(code)
        await house.visit()
        assert trio.current_time() == pytest.approx(10 * ACCEPT_PAUSE_S)
        assert house.log.events() == ["accept_paused"]
        assert house.reasons() == [errno.errorcode[code]]

    at_home(house, test)


def test_any_other_failure_to_accept_ends_the_listener_loudly() -> None:
    house = House()

    async def main() -> None:
        house.door.fail(errno.EINVAL)
        await house.listener.serve(house.door)

    with pytest.raises(ExceptionGroup) as caught:
        run(main)
    assert caught.group_contains(OSError, match="accept failed")
    assert house.door.is_closed


@pytest.mark.rule("N9")
def test_an_inbound_link_takes_in_no_more_than_its_limit_before_hello() -> None:
    house = House(hello_bytes=10)

    async def test() -> None:
        link = await house.visit()
        await link.send_all(b"x" * 100)
        received = 0
        while data := await link.receive_some():
            received += len(data)
        assert received == 9, "one byte was used by the first visit"
        fault = house.served[0].fault
        assert fault is not None and fault.code == "bytes_before_hello"

    at_home(house, test)


def test_a_client_that_is_gone_before_it_is_looked_at_costs_nothing() -> None:
    house = House()

    def gone(_stream: trio.abc.Stream) -> str:
        raise OSError(errno.ENOTCONN, "not connected")

    async def test() -> None:
        house.listener._host_of = gone
        assert await is_closed(house.door.knock())
        house.listener._host_of = house.door.host_of
        await house.visit()
        assert house.log.lines == []

    at_home(house, test)


# Real sockets.


@pytest.mark.rule("N4", "N7")
def test_a_node_listens_at_a_free_port_and_serves_over_ipv4() -> None:
    async def main() -> None:
        served: list[Link] = []

        async def handler(link: Link) -> None:
            served.append(link)
            await link.send_all(await link.receive_some())

        table = LinkTable(SERVER.node_id)
        listener: Listener[Any] = Listener(wire.server_context(), table, handler, log=Log())
        async with trio.open_nursery() as nursery:
            (bound,) = await nursery.start(listener.run, [Endpoint("127.0.0.1", 0)])
            assert bound.port > 0
            address = PeerAddress(SERVER.node_id, bound.host, bound.port)
            link = await dial_link(wire.client_context(), address)
            await link.send_all(b"x")
            assert await link.receive_some() == b"x"
            assert await link.receive_some() == b""
            assert served[0].address == "127.0.0.1"
            await link.aclose()
            nursery.cancel_scope.cancel()

    run_on_sockets(main)


def test_a_port_that_is_taken_is_said_so() -> None:
    async def main() -> None:
        first = await open_listeners([Endpoint("127.0.0.1", 0)])
        port = first[0].socket.getsockname()[1]
        with pytest.raises(NetworkError) as caught:
            await open_listeners([Endpoint("127.0.0.1", 0), Endpoint("127.0.0.1", port)])
        assert caught.value.code == "cannot_listen"
        assert f"127.0.0.1:{port}" in caught.value.message
        first[0].socket.close()

    run_on_sockets(main)


@pytest.mark.rule("N20")
def test_a_process_without_descriptors_lets_a_client_in_once_it_has_some_again() -> None:
    resource = pytest.importorskip("resource", reason="limits of this kind are Unix's")

    async def main() -> None:
        log, table = Log(), LinkTable(SERVER.node_id)

        async def handler(link: Link) -> None:
            await link.send_all(b"welcome")

        listener: Listener[Any] = Listener(wire.server_context(), table, handler, log=log)
        async with trio.open_nursery() as nursery:
            (bound,) = await nursery.start(listener.run, [Endpoint("127.0.0.1", 0)])
            address = PeerAddress(SERVER.node_id, bound.host, bound.port)
            client = socket.create_connection((bound.host, bound.port))
            taken: list[int] = []
            try:
                with pytest.raises(OSError, match="Too many open files"):
                    while True:
                        taken.append(os.dup(client.fileno()))
                await log.until(1)
            finally:
                for descriptor in taken:
                    os.close(descriptor)
                client.close()
            assert log.lines[0] == (
                "accept_paused",
                {"address": "", "reason": "EMFILE", "held_back": 0},
            )
            link = await dial_link(wire.client_context(), address)
            assert await link.receive_some() == b"welcome"
            await link.aclose()
            nursery.cancel_scope.cancel()

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        run_on_sockets(main)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.rule("N4")
def test_hundreds_of_silent_sockets_do_not_keep_an_honest_node_out() -> None:
    async def main() -> None:
        log, table = Log(), LinkTable(SERVER.node_id)

        async def handler(link: Link) -> None:
            await link.send_all(b"welcome")

        limits = ListenLimits(
            handshakes=300,
            handshakes_per_network=300,
            links_per_address=300,
            handshake_burst=300,
        )
        listener: Listener[Any] = Listener(
            wire.server_context(), table, handler, log=log, limits=limits
        )
        async with trio.open_nursery() as nursery:
            (bound,) = await nursery.start(listener.run, [Endpoint("127.0.0.1", 0)])
            silent = [await trio.open_tcp_stream(bound.host, bound.port) for _ in range(200)]
            stream, _ = await secure(
                await trio.open_tcp_stream(bound.host, bound.port),
                wire.client_context(),
                server_side=False,
                pinned=SERVER.node_id,
            )
            assert await stream.receive_some() == b"welcome"
            for transport in silent:
                await transport.aclose()
            await stream.aclose()
            nursery.cancel_scope.cancel()

    run_on_sockets(main)


@pytest.mark.rule("N18")
@pytest.mark.parametrize("limits", [{"handshakes": 5}, {"handshakes_per_network": 5}])
def test_clients_that_are_silent_make_room_for_one_that_comes_later(limits: dict[str, int]) -> None:
    house = House(links_per_address=1000, **limits)

    async def test() -> None:
        for number in range(5):
            house.door.knock(f"198.51.100.{number}")
            await trio.sleep(0.01)
        await trio.sleep(SLOW_HANDSHAKE_S / 2)
        assert await is_closed(house.door.knock("198.51.100.9"))
        await trio.sleep(SLOW_HANDSHAKE_S / 2)
        for number in (2, 3, 4):
            await house.visit(number, f"198.51.100.{number + 10}")
        assert house.reasons() == [next(iter(limits)), "slow_handshake"]
        await trio.sleep(HANDSHAKE_TIMEOUT_S)
        assert not house.listener._handshakes
        assert not house.listener._in_flight

    at_home(house, test)
