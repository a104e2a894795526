"""A link: a stream of bytes to one node whose id is proved.

- N8 In TLS 1.3 the dialling side finishes before the other has judged its certificate. A link is
  *up* for a side with the first application byte that it received; before that, nothing may be
  concluded from it, and a link that ends before it was up counts as a failed dial.
- N9 Until the protocol has heard HELLO and called `greeted`, a link takes in no more bytes than its
  limit; then it breaks.

Links run over TLS between machines, and over memory between nodes of one process: the protocol
above sees no difference.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from openledger_node.ledger.errors import NetworkError
from openledger_node.net.address import PeerAddress, is_loopback
from openledger_node.net.tls import HandshakeFailed, TlsContext, explain_broken, secure

CONNECT_TIMEOUT_S: Final = 10
HANDSHAKE_TIMEOUT_S: Final = 10

Connect = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""Opens a transport to a host and port. OSError when it cannot."""


class Link(trio.abc.Stream):
    """A stream to `peer_id`, with its counts. `address` is where it leads, for logs and limits."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        peer_id: bytes,
        address: str,
        *,
        is_outbound: bool,
        hello_limit_bytes: int | None = None,
    ) -> None:
        self.peer_id = peer_id
        self.address = address
        self.is_outbound = is_outbound
        self.received_bytes = 0
        self.sent_bytes = 0
        self.fault: NetworkError | None = None
        self._stream = stream
        self._limit_bytes = hello_limit_bytes
        self._up = trio.Event()

    @property
    def is_up(self) -> bool:
        """Whether the other side has sent an application byte (N8)."""
        return self._up.is_set()

    @property
    def is_local(self) -> bool:
        """Whether the other end is on this machine."""
        host = self.address.rpartition(":")[0].strip("[]") if self.is_outbound else self.address
        return is_loopback(host)

    async def wait_up(self) -> None:
        """Until the link is up (N8); another task has to be receiving."""
        await self._up.wait()

    def greeted(self) -> None:
        """HELLO was heard and is in order: the limit of N9 ends."""
        self._limit_bytes = None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As trio.abc.ReceiveStream. What broke the link is in `fault`, where it is known."""
        if self._limit_bytes is not None:
            room = self._limit_bytes - self.received_bytes
            if room <= 0:
                self.fault = NetworkError(
                    f"{self._limit_bytes} bytes without a HELLO", code="bytes_before_hello"
                )
                raise trio.BrokenResourceError from self.fault
            max_bytes = room if max_bytes is None else min(max_bytes, room)
        try:
            data = bytes(await self._stream.receive_some(max_bytes))
        except trio.BrokenResourceError as error:
            self.fault = self.fault or self._explain(error)
            raise
        if data:
            self.received_bytes += len(data)
            self._up.set()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As trio.abc.SendStream."""
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as error:
            self.fault = self.fault or self._explain(error)
            raise
        self.sent_bytes += len(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As trio.abc.SendStream."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """As trio.abc.AsyncResource."""
        await self._stream.aclose()

    def _explain(self, error: trio.BrokenResourceError) -> NetworkError:
        code, text = explain_broken(error)
        if code == "refused" and not self.is_up:
            return HandshakeFailed(text, code=code, node_id=self.peer_id)
        return NetworkError("the link broke" if code == "closed" else text, code="link_broken")

    def __repr__(self) -> str:
        way = "to" if self.is_outbound else "from"
        return f"<Link {way} {self.peer_id.hex()[:8]} at {self.address}>"


async def dial_link(
    context: TlsContext,
    address: PeerAddress,
    *,
    connect: Connect = trio.open_tcp_stream,
    hello_limit_bytes: int | None = None,
) -> Link:
    """A link to exactly the node that `address` names. NetworkError when it cannot be had."""
    try:
        with trio.fail_after(CONNECT_TIMEOUT_S):
            transport = await connect(address.host, address.port)
    except (OSError, trio.TooSlowError) as error:
        reason = "no answer" if isinstance(error, trio.TooSlowError) else _os_reason(error)
        raise NetworkError(
            f"cannot reach {address.endpoint()}: {reason}",
            hint="is the node running, and does a firewall let this port through?",
            code="unreachable",
        ) from None
    try:
        with trio.fail_after(HANDSHAKE_TIMEOUT_S):
            stream, peer_id = await secure(
                transport, context, server_side=False, pinned=address.node_id
            )
    except trio.TooSlowError:
        raise HandshakeFailed("it did not finish the handshake in time", code="closed") from None
    where = str(address.endpoint())
    return Link(stream, peer_id, where, is_outbound=True, hello_limit_bytes=hello_limit_bytes)


def _os_reason(error: OSError) -> str:
    """trio joins the failures of several addresses in a group; the first tells enough."""
    inner: BaseException | None = error
    while isinstance(inner, OSError) and inner.strerror is None and inner.__cause__ is not None:
        inner = inner.__cause__
    if isinstance(inner, BaseExceptionGroup) and inner.exceptions:
        inner = inner.exceptions[0]
    return str(getattr(inner, "strerror", None) or inner or error)


async def accept_link(
    context: TlsContext,
    transport: trio.abc.Stream,
    address: str,
    *,
    hello_limit_bytes: int | None = None,
) -> Link:
    """The link that a client of `transport` asks for; the caller sets a time limit.

    HandshakeFailed when it is refused, and then the transport is closed.
    """
    stream, peer_id = await secure(transport, context, server_side=True)
    return Link(stream, peer_id, address, is_outbound=False, hello_limit_bytes=hello_limit_bytes)


def memory_link_pair(
    a_id: bytes, b_id: bytes, *, streams: tuple[trio.abc.Stream, trio.abc.Stream] | None = None
) -> tuple[Link, Link]:
    """(a's end, b's end) of a link in memory, as if a had dialled b.

    `streams` are the two ends of another connection than trio's plain memory pair, for example one
    that a simulator delays.
    """
    if streams is None:
        from trio.testing import memory_stream_pair

        streams = memory_stream_pair()
    a_end, b_end = streams
    return (
        Link(a_end, b_id, f"memory:{b_id.hex()[:8]}", is_outbound=True),
        Link(b_end, a_id, f"memory:{a_id.hex()[:8]}", is_outbound=False),
    )
