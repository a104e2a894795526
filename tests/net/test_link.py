"""Links over TLS and over memory: the same stream, with a proved peer."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import check_two_way_stream, lockstep_stream_pair, memory_stream_pair

from openledger_node.ledger.errors import NetworkError
from openledger_node.net import link as module
from openledger_node.net.address import PeerAddress
from openledger_node.net.link import (
    CONNECT_TIMEOUT_S,
    HANDSHAKE_TIMEOUT_S,
    Link,
    accept_link,
    dial_link,
    memory_link_pair,
)
from openledger_node.net.tls import HandshakeFailed, TlsContext
from tests.net import wire
from tests.net.wire import CLIENT, SERVER, Everyone, Nobody, run, run_on_sockets

HOST = "node.example.org"
ADDRESS = PeerAddress(SERVER.node_id, HOST, 4767)
Pair = Callable[[], tuple[trio.abc.Stream, trio.abc.Stream]]


async def tls_links(
    pair: Pair = memory_stream_pair, hello_limit_bytes: int | None = None
) -> tuple[Link, Link]:
    """(the server's link, the client's link)."""
    below_server, below_client = pair()
    links: list[Link] = []

    async def connect(host: str, port: int) -> trio.abc.Stream:
        assert (host, port) == (HOST, 4767)
        return below_client

    async def accept() -> None:
        links.append(
            await accept_link(
                wire.server_context(), below_server, "memory", hello_limit_bytes=hello_limit_bytes
            )
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        dialled = await dial_link(wire.client_context(), ADDRESS, connect=connect)
    return links[0], dialled


async def memory_links(pair: Pair = memory_stream_pair) -> tuple[Link, Link]:
    return memory_link_pair(CLIENT.node_id, SERVER.node_id, streams=pair())


@pytest.mark.rule("N7")
def test_a_dialled_link_knows_who_the_peer_is_and_where() -> None:
    async def main() -> None:
        at_server, at_client = await tls_links()
        assert at_client.peer_id == SERVER.node_id
        assert at_server.peer_id == CLIENT.node_id
        assert (at_client.is_outbound, at_server.is_outbound) == (True, False)
        assert at_client.address == f"{HOST}:4767"
        assert SERVER.node_id.hex()[:8] in repr(at_client)

    run(main)


def test_a_memory_link_knows_both_ids_as_if_one_had_dialled_the_other() -> None:
    a_end, b_end = memory_link_pair(CLIENT.node_id, SERVER.node_id)
    assert (a_end.peer_id, a_end.is_outbound) == (SERVER.node_id, True)
    assert (b_end.peer_id, b_end.is_outbound) == (CLIENT.node_id, False)


@pytest.mark.parametrize("make", [tls_links, memory_links])
def test_a_link_is_a_stream_by_trio_s_own_checks(
    make: Callable[[Pair], Awaitable[tuple[Link, Link]]],
) -> None:
    async def main() -> None:
        await check_two_way_stream(
            lambda: make(memory_stream_pair), lambda: make(lockstep_stream_pair)
        )

    run(main)


@pytest.mark.parametrize("make", [tls_links, memory_links])
def test_bytes_arrive_whole_both_ways_at_once_and_are_counted(
    make: Callable[[], Awaitable[tuple[Link, Link]]],
) -> None:
    data = random.Random(1).randbytes(1_500_000)

    async def send(link: Link, rng: random.Random) -> None:
        at = 0
        while at < len(data):
            size = rng.randrange(1, 70_000)
            await link.send_all(memoryview(data)[at : at + size])
            at += size

    async def receive(link: Link, rng: random.Random) -> None:
        got = bytearray()
        while len(got) < len(data):
            piece = await link.receive_some(rng.randrange(1, 200_000))
            assert piece
            got += piece
        assert got == data

    async def main() -> None:
        a_end, b_end = await make()
        async with trio.open_nursery() as nursery:
            for number, link in enumerate((a_end, b_end)):
                nursery.start_soon(send, link, random.Random(number))
                nursery.start_soon(receive, link, random.Random(7 + number))
        for link in (a_end, b_end):
            assert link.received_bytes == link.sent_bytes == len(data)

    run(main)


@pytest.mark.rule("N8")
def test_a_link_is_up_with_the_first_byte_of_the_other_side() -> None:
    async def main() -> None:
        at_server, at_client = await tls_links()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at_client.wait_up)
            await trio.testing.wait_all_tasks_blocked()
            assert not at_client.is_up and not at_server.is_up
            await at_server.send_all(b"!")
            assert await at_client.receive_some() == b"!"
        assert at_client.is_up
        assert not at_server.is_up, "what a side sent says nothing about the other"

    run(main)


@pytest.mark.rule("N7", "N8")
def test_a_dialler_that_the_other_side_refuses_learns_it_at_its_first_read() -> None:
    async def main() -> None:
        below_server, below_client = memory_stream_pair()

        async def connect(host: str, port: int) -> trio.abc.Stream:
            return below_client

        async def accept() -> None:
            with pytest.raises(HandshakeFailed):
                await accept_link(TlsContext(SERVER, Nobody()), below_server, "memory")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            link = await dial_link(wire.client_context(), ADDRESS, connect=connect)
            with pytest.raises(trio.BrokenResourceError):
                await link.receive_some()
        assert not link.is_up
        assert isinstance(link.fault, HandshakeFailed)
        assert link.fault.code == "refused"
        assert "allow list" in link.fault.hint

    run(main)


@pytest.mark.rule("N9")
def test_bytes_before_hello_are_taken_up_to_the_limit_and_then_the_link_breaks() -> None:
    async def main() -> None:
        at_server, at_client = await tls_links(hello_limit_bytes=100)
        await at_client.send_all(b"x" * 101)
        got = b""
        with pytest.raises(trio.BrokenResourceError):
            while True:
                got += await at_server.receive_some()
        assert len(got) == 100
        assert at_server.fault is not None
        assert at_server.fault.code == "bytes_before_hello"

    run(main)


@pytest.mark.rule("N9")
def test_the_limit_ends_when_hello_was_heard() -> None:
    async def main() -> None:
        at_server, at_client = await tls_links(hello_limit_bytes=100)
        await at_client.send_all(b"x" * 100)
        assert await at_server.receive_some(4096) == b"x" * 100
        at_server.greeted()
        await at_client.send_all(b"y" * 5000)
        assert len(await at_server.receive_some(5000)) == 5000

    run(main)


# How links end.


def test_a_proper_close_ends_the_stream_and_a_truncated_one_breaks_it() -> None:
    async def main() -> None:
        at_server, at_client = await tls_links()
        await at_client.aclose()
        assert await at_server.receive_some() == b""

        below_server, below_client = memory_stream_pair()
        at_server, at_client = await tls_links(lambda: (below_server, below_client))
        await at_client.send_all(b"half")
        await trio.aclose_forcefully(below_client)
        assert await at_server.receive_some() == b"half"
        with pytest.raises(trio.BrokenResourceError):
            await at_server.receive_some()
        assert at_server.fault is not None
        assert at_server.fault.code == "link_broken"

    run(main)


def test_a_half_open_close_under_tls_is_a_broken_link_not_an_end() -> None:
    async def main() -> None:
        below_server, below_client = memory_stream_pair()
        at_server, _ = await tls_links(lambda: (below_server, below_client))
        await below_client.send_eof()
        with pytest.raises(trio.BrokenResourceError):
            await at_server.receive_some()

    run(main)


def test_a_flipped_bit_below_tls_breaks_the_link() -> None:
    async def main() -> None:
        below_server, below_client = memory_stream_pair()
        at_server, at_client = await tls_links(lambda: (below_server, below_client))
        below_client.send_stream.send_all_hook = None  # holds back what is sent
        await at_client.send_all(b"a message")
        record = bytearray(below_client.send_stream.get_data_nowait())
        record[-1] ^= 1
        below_server.receive_stream.put_data(record)
        with pytest.raises(trio.BrokenResourceError):
            await at_server.receive_some()
        assert at_server.fault is not None
        assert "TLS failed" in at_server.fault.message

    run(main)


def test_closing_a_link_whose_peer_reads_nothing_does_not_wait_for_it() -> None:
    async def main() -> None:
        _, at_client = await tls_links()
        began = trio.current_time()
        await at_client.aclose()
        assert trio.current_time() == began
        with pytest.raises(trio.ClosedResourceError):
            await at_client.send_all(b"x")

    run(main)


# Dialling.


def test_a_place_that_cannot_be_reached_is_said_with_the_reason() -> None:
    async def connect(host: str, port: int) -> trio.abc.Stream:
        raise OSError(111, "Connection refused")

    async def main() -> None:
        with pytest.raises(NetworkError) as caught:
            await dial_link(wire.client_context(), ADDRESS, connect=connect)
        assert caught.value.code == "unreachable"
        assert f"{HOST}:4767: Connection refused" in caught.value.message
        assert caught.value.exit_status == 4

    run(main)


def test_a_place_that_never_answers_is_given_up() -> None:
    async def connect(host: str, port: int) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    async def main() -> None:
        with pytest.raises(NetworkError, match="no answer"):
            await dial_link(wire.client_context(), ADDRESS, connect=connect)
        assert trio.current_time() == pytest.approx(CONNECT_TIMEOUT_S)

    run(main)


def test_a_server_that_says_nothing_is_given_up_and_closed() -> None:
    async def main() -> None:
        silent, below_client = memory_stream_pair()

        async def connect(host: str, port: int) -> trio.abc.Stream:
            return below_client

        with pytest.raises(HandshakeFailed, match="in time"):
            await dial_link(wire.client_context(), ADDRESS, connect=connect)
        assert trio.current_time() == pytest.approx(HANDSHAKE_TIMEOUT_S)
        while await silent.receive_some():
            continue  # the hello, and then the end: it is closed

    run(main)


def test_the_reason_within_a_group_of_failed_addresses_is_found() -> None:
    group = OSError("all attempts to connect failed")
    group.__cause__ = ExceptionGroup("", [OSError(113, "No route to host"), OSError("other")])
    assert module._os_reason(group) == "No route to host"
    assert module._os_reason(OSError("plain")) == "plain"


@pytest.mark.rule("N4", "N7")
def test_two_nodes_link_over_a_real_socket() -> None:
    async def main() -> None:
        policy = Everyone()
        server = TlsContext(SERVER, policy)

        async def serve(transport: trio.SocketStream) -> None:
            link = await accept_link(server, transport, "127.0.0.1")
            await link.send_all(await link.receive_some())
            await link.aclose()

        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(
                lambda task_status: trio.serve_tcp(
                    serve, 0, host="127.0.0.1", task_status=task_status
                )
            )
            port = listeners[0].socket.getsockname()[1]
            address = PeerAddress(SERVER.node_id, "127.0.0.1", port)
            link = await dial_link(wire.client_context(), address)
            await link.send_all(b"hello")
            assert await link.receive_some() == b"hello"
            assert await link.receive_some() == b""
            await link.aclose()
            nursery.cancel_scope.cancel()
        assert policy.asked == [CLIENT.node_id]

    run_on_sockets(main)


@pytest.mark.rule("N7")
def test_a_refusal_reaches_the_dialler_over_a_real_socket() -> None:
    """The dialler has sent bytes by then; a reset must not overtake the alert."""

    async def main() -> None:
        async def serve(transport: trio.SocketStream) -> None:
            with pytest.raises(HandshakeFailed):
                await accept_link(TlsContext(SERVER, Nobody()), transport, "127.0.0.1")

        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(
                lambda task_status: trio.serve_tcp(
                    serve, 0, host="127.0.0.1", task_status=task_status
                )
            )
            port = listeners[0].socket.getsockname()[1]
            address = PeerAddress(SERVER.node_id, "127.0.0.1", port)
            link = await dial_link(wire.client_context(), address)
            await link.send_all(bytes(100_000))  # more than the other side reads at once
            with pytest.raises(trio.BrokenResourceError):
                await link.receive_some()
            assert link.fault is not None
            assert link.fault.code == "refused"
            await link.aclose()
            nursery.cancel_scope.cancel()

    run_on_sockets(main)


@pytest.mark.rule("N14")
@pytest.mark.parametrize(
    ("address", "is_outbound", "is_local"),
    [
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("::ffff:127.0.0.1", False, True),
        ("192.0.2.1", False, False),
        ("127.0.0.1:4767", True, True),
        ("[::1]:4767", True, True),
        ("localhost:4767", True, True),
        ("[2001:db8::1]:4767", True, False),
        ("localhost.example.org:4767", True, False),
        ("memory:abcd", True, False),
    ],
)
def test_a_link_tells_whether_its_other_end_is_on_this_machine(
    address: str, is_outbound: bool, is_local: bool
) -> None:
    stream, _ = memory_stream_pair()
    assert Link(stream, CLIENT.node_id, address, is_outbound=is_outbound).is_local == is_local
