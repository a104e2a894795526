"""Whole network halves together on loopback: listeners, diallers, tables and books, no protocol."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection
from random import Random
from typing import Any, Final

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import memory_stream_pair

from openledger_node.net.address import Endpoint, PeerAddress
from openledger_node.net.book import PeerBook
from openledger_node.net.dialler import Dialler
from openledger_node.net.link import Link
from openledger_node.net.listener import Listener, bound_to, open_listeners
from openledger_node.net.policy import Gate
from openledger_node.net.table import LinkTable
from openledger_node.net.tls import HandshakeFailed, TlsContext, secure
from tests.net import wire
from tests.net.wire import SERVER, Log, run, run_on_sockets

NOW = 1_800_000_000_000


class Node:
    """Everything of a node that is about links."""

    def __init__(self, number: int, allow: Collection[bytes] = ()) -> None:
        self.identity = wire.identity(number)
        self.id = self.identity.node_id
        self.log = Log()
        self.book = PeerBook()
        self.table = LinkTable(self.id)
        gate = Gate(self.id, self.book, now_ms=lambda: NOW, allow=allow)
        context = TlsContext(self.identity, gate)
        self.listener: Listener[Any] = Listener(context, self.table, self._talk, log=self.log)
        self.dialler = Dialler(
            context,
            self.table,
            self.book,
            self._talk,
            random=Random(number),
            now_ms=lambda: NOW,
            log=self.log,
        )
        self.heard: set[bytes] = set()
        self.changed = trio.Event()
        self.table.watch(self._change)

    def _change(self) -> None:
        self.changed.set()

    async def _talk(self, link: Link) -> None:
        await link.send_all(b"hello")
        while await link.receive_some():
            self.heard.add(link.peer_id)
            self._change()

    async def open(self, nursery: trio.Nursery) -> PeerAddress:
        """Listens, and says where."""
        (socket,) = await open_listeners([Endpoint("127.0.0.1", 0)])
        nursery.start_soon(self.listener.serve, socket)
        endpoint = bound_to(socket)
        return PeerAddress(self.id, endpoint.host, endpoint.port)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for links to come, go or speak until the condition holds."""
        while not condition():
            self.changed = trio.Event()
            await self.changed.wait()


@pytest.mark.rule("N10", "N22")
def test_nodes_that_all_dial_each_other_end_with_one_link_a_pair() -> None:
    async def main() -> None:
        nodes = [Node(number) for number in range(1, 5)]
        async with trio.open_nursery() as nursery:
            addresses = [await node.open(nursery) for node in nodes]
            for node in nodes:
                for address in addresses:
                    if address.node_id != node.id:
                        node.book.add(address)
            for node in nodes:
                nursery.start_soon(node.dialler.run)
            for node in nodes:
                others = {other.id for other in nodes} - {node.id}
                await node.until(
                    lambda node=node, others=others: (  # type: ignore[misc]
                        node.table.peers() == others
                        and len(node.table) == len(others)
                        and node.heard == others
                    )
                )
            nursery.cancel_scope.cancel()

    run_on_sockets(main)


@pytest.mark.rule("N16")
def test_a_closed_node_links_with_those_on_its_list_and_tells_others_why_not() -> None:
    async def main() -> None:
        friend, stranger = Node(2), Node(3)
        closed = Node(1, allow=[friend.id])
        async with trio.open_nursery() as nursery:
            address = await closed.open(nursery)
            for node in (friend, stranger):
                node.book.add(address)
                nursery.start_soon(node.dialler.run)
            await friend.until(lambda: friend.heard == {closed.id})
            await stranger.log.until(1)
            await closed.log.until(1)
            assert stranger.log.lines[0][1]["reason"] == "refused"
            assert stranger.heard == set()
            assert closed.table.peers() == {friend.id}
            assert closed.log.lines[0][1]["reason"] == "not_accepted"
            nursery.cancel_scope.cancel()

    run_on_sockets(main)


@pytest.mark.rule("N13", "N16")
def test_a_banned_node_is_cut_off_and_kept_out() -> None:
    async def main() -> None:
        honest, evil = Node(1), Node(2)
        async with trio.open_nursery() as nursery:
            evil.book.add(await honest.open(nursery))
            nursery.start_soon(evil.dialler.run)
            await honest.until(lambda: honest.heard == {evil.id})
            honest.book.ban(evil.id, "bad_data", NOW)
            assert honest.table.close_peer(evil.id) == 1
            await evil.until(lambda: len(evil.table) == 0)
            evil.dialler.retry(honest.id)
            await honest.log.until(1)
            assert honest.log.lines[0][1]["text"] == "banned: bad_data"
            nursery.cancel_scope.cancel()

    run_on_sockets(main)


# Any bytes.


def answer_to(data: bytes, *, server_side: bool) -> str:
    """The code with which a node ends a handshake with someone who sends `data` and leaves."""

    async def main() -> str:
        ours, theirs = memory_stream_pair()
        await theirs.send_all(data)
        await theirs.send_eof()
        context = wire.server_context() if server_side else wire.client_context()
        with pytest.raises(HandshakeFailed) as caught:
            await secure(ours, context, server_side=server_side, pinned=SERVER.node_id)
        return caught.value.code

    return run(main)


def client_hello() -> bytes:
    """What a node sends first."""
    outgoing = ssl.MemoryBIO()
    connection = wire.client_context().end().wrap_bio(ssl.MemoryBIO(), outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


HELLO: Final = client_hello()


@pytest.mark.rule("N4")
@given(data=st.binary(max_size=3000), server_side=st.booleans())
@settings(max_examples=150)
def test_any_bytes_end_a_handshake_with_a_named_failure(data: bytes, server_side: bool) -> None:
    assert answer_to(data, server_side=server_side) in {"tls", "closed", "refused"}


@pytest.mark.rule("N4")
@given(data=st.data())
@settings(max_examples=150)
def test_a_mangled_hello_ends_a_handshake_with_a_named_failure(data: st.DataObject) -> None:
    mangled = bytearray(HELLO[: data.draw(st.integers(1, len(HELLO)))])
    for _ in range(data.draw(st.integers(0, 4))):
        mangled[data.draw(st.integers(0, len(mangled) - 1))] = data.draw(st.integers(0, 255))
    answer = answer_to(bytes(mangled), server_side=True)
    assert answer in {"tls", "closed", "refused", "application", "certificate"}
