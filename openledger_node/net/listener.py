"""Lets other nodes in, and keeps those who only cost something at bay.

- N18 At most 64 handshakes are in flight, 16 of one network, 8 links or handshakes of one address,
  and as many links as the table lets in; who comes on top is closed at once. One address may begin
  32 handshakes in a row, then 4 a second. Where handshakes are too many, the one that began first
  makes room once it takes 300 ms.
- N19 A client that is refused, in whatever way, is written to the log once a minute for each
  address and reason, with the number that was left out.
- N20 When the process or the system runs out of file descriptors or memory, the listener pauses for
  half a second and goes on.

What a stranger may cost before its key is known: one connection, 16 KiB, 10 seconds.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import trio

from openledger_node.ledger.errors import NetworkError
from openledger_node.net.address import Endpoint
from openledger_node.net.limits import Log, OncePer, Rates, address_key, network_key
from openledger_node.net.link import HANDSHAKE_TIMEOUT_S, Link, accept_link
from openledger_node.net.table import Handler, LinkTable
from openledger_node.net.tls import HandshakeFailed, TlsContext

ACCEPT_PAUSE_S: Final = 0.5
SLOW_HANDSHAKE_S: Final = 0.3
"""An honest handshake is three trips; one that takes longer goes when others want its place."""
LOG_INTERVAL_S: Final = 60
BACKLOG: Final = 256
"""Connections that the system holds before they are accepted."""
OUT_OF_ROOM: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS))

S = TypeVar("S", bound=trio.abc.Stream)


@dataclass(frozen=True, slots=True)
class ListenLimits:
    """What strangers may use (N18, N6, N9)."""

    handshakes: int = 64
    handshakes_per_network: int = 16
    links_per_address: int = 8
    handshake_burst: int = 32
    handshakes_per_second: float = 4
    handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S
    hello_bytes: int | None = 64 * 1024


@dataclass(eq=False, slots=True)
class _Handshake:
    """One that is in flight."""

    network: str
    began_s: float
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


def remote_host(stream: trio.abc.Stream) -> str:
    """The host at the other end of a socket."""
    if isinstance(stream, trio.SocketStream):
        return str(stream.socket.getpeername()[0])
    return "memory"


class Listener(Generic[S]):
    """The inbound half of a node. Owns the sockets it listens at and the counts by address."""

    def __init__(
        self,
        context: TlsContext,
        table: LinkTable,
        handler: Handler,
        *,
        log: Log,
        limits: ListenLimits | None = None,
        host_of: Callable[[trio.abc.Stream], str] = remote_host,
    ) -> None:
        self._context = context
        self._table = table
        self._handler = handler
        self._log = log
        self._limits = limits or ListenLimits()
        self._host_of = host_of
        self._in_flight: Counter[str] = Counter()
        self._handshakes: dict[_Handshake, None] = {}
        """Those in flight, the oldest first."""
        self._by_address: Counter[str] = Counter()
        self._rates = Rates(self._limits.handshake_burst, self._limits.handshakes_per_second)
        self._quiet = OncePer(LOG_INTERVAL_S)

    async def run(
        self,
        endpoints: Sequence[Endpoint],
        task_status: trio.TaskStatus[list[Endpoint]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listens until cancelled; starts with the places it is bound to.

        NetworkError when a place cannot be had.
        """
        listeners = await open_listeners(endpoints)
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(self.serve, listener)
            task_status.started([bound_to(listener) for listener in listeners])

    async def serve(self, listener: trio.abc.Listener[Any]) -> None:
        """Lets in whoever comes to one listener, until cancelled."""
        async with listener, trio.open_nursery() as nursery:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    if error.errno not in OUT_OF_ROOM:
                        raise
                    self._tell("accept_paused", "", errno.errorcode.get(error.errno or 0, "?"))
                    await trio.sleep(ACCEPT_PAUSE_S)
                else:
                    nursery.start_soon(self._admit, stream)

    async def _admit(self, stream: trio.abc.Stream) -> None:
        try:
            host = self._host_of(stream)
        except OSError:  # it is gone before it was looked at
            await trio.aclose_forcefully(stream)
            return
        key = address_key(host)
        network = network_key(host)
        refused = self._refusal(key, network)
        if refused is not None:
            self._tell("client_refused", key, refused)
            await trio.aclose_forcefully(stream)
            return
        self._by_address[key] += 1
        try:
            link = await self._handshake(stream, host, key, network)
            if link is not None:
                outcome = await self._table.serve(link, self._handler)
                if outcome in {"full", "too_many_links"}:
                    self._tell("client_refused", key, outcome, link.peer_id)
        finally:
            self._by_address[key] -= 1
            if not self._by_address[key]:
                del self._by_address[key]

    def _refusal(self, key: str, network: str) -> str | None:
        """Why a client is turned away before its handshake (N18)."""
        if self._table.is_full(inbound=True):
            return "full"
        if self._by_address[key] >= self._limits.links_per_address:
            return "links_per_address"
        if not self._rates.take(key, trio.current_time()):
            return "handshake_rate"
        of_network = self._in_flight[network]
        if of_network >= self._limits.handshakes_per_network and not self._give_up(network):
            return "handshakes_per_network"
        if len(self._handshakes) >= self._limits.handshakes and not self._give_up():
            return "handshakes"
        return None

    def _give_up(self, network: str | None = None) -> bool:
        """Ends the handshake, of a network or of all, that takes longest; whether one was slow."""
        for handshake in self._handshakes:
            if network is None or handshake.network == network:
                if trio.current_time() - handshake.began_s < SLOW_HANDSHAKE_S:
                    return False
                handshake.scope.cancel()
                self._over(handshake)
                return True
        return False

    def _over(self, handshake: _Handshake) -> None:
        if handshake in self._handshakes:
            del self._handshakes[handshake]
            self._in_flight[handshake.network] -= 1
            if not self._in_flight[handshake.network]:
                del self._in_flight[handshake.network]

    async def _handshake(
        self, stream: trio.abc.Stream, host: str, key: str, network: str
    ) -> Link | None:
        handshake = _Handshake(network, trio.current_time())
        handshake.scope.deadline = handshake.began_s + self._limits.handshake_timeout_s
        self._handshakes[handshake] = None
        self._in_flight[network] += 1
        try:
            with handshake.scope:
                return await accept_link(
                    self._context, stream, host, hello_limit_bytes=self._limits.hello_bytes
                )
            self._tell("client_refused", key, "slow_handshake")
        except HandshakeFailed as failure:
            self._tell("client_refused", key, failure.code, failure.node_id, failure.message)
        finally:
            self._over(handshake)
        return None

    def _tell(
        self, event: str, key: str, reason: str, node_id: bytes | None = None, text: str = ""
    ) -> None:
        """One line a minute for each address and reason (N19)."""
        held_back = self._quiet.due((event, key, reason), trio.current_time())
        if held_back is None:
            return
        fields: dict[str, Any] = {"address": key, "reason": reason, "held_back": held_back}
        if node_id is not None:
            fields["peer"] = node_id.hex()
        if text:
            fields["text"] = text
        self._log.warning(event, **fields)


async def open_listeners(endpoints: Sequence[Endpoint]) -> list[trio.SocketListener]:
    """Sockets that listen at all of `endpoints`. NetworkError when one cannot be had."""
    listeners: list[trio.SocketListener] = []
    try:
        for endpoint in endpoints:
            listeners += await trio.open_tcp_listeners(
                endpoint.port, host=endpoint.host, backlog=BACKLOG
            )
    except OSError as error:
        for listener in listeners:
            listener.socket.close()
        raise NetworkError(
            f"cannot listen at {endpoint}: {error.strerror or error}",
            hint="is another node running there? choose another port with --listen",
            code="cannot_listen",
        ) from None
    return listeners


def bound_to(listener: trio.SocketListener) -> Endpoint:
    """Where a socket listens; for port 0, the port that it was given."""
    host, port = listener.socket.getsockname()[:2]
    return Endpoint(host, port)
