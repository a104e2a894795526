"""Finds nodes on the local network by mDNS (RFC 6762, RFC 6763), when a person asked for it.

- N23 A node announces the service `_oln._tcp.local.` under the first 16 hex digits of its id, with
  the TXT values `id` (its node id in hex) and `ledger` (16 hex digits of H("lan", ledger id), which
  lets nodes of other ledgers pass by). What is found is hearsay: an address for an hour, from at
  most 64 nodes, and whoever answers there must still prove the id (N7).

It is off by default: an announcement tells everybody on the network that this node is here. The
library `zeroconf` comes with the extra `lan` and runs a thread of its own; it is imported only when
it is used.
"""

from __future__ import annotations

import importlib
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import trio

from openledger_node.ledger.encoding import H
from openledger_node.ledger.errors import NetworkError, UsageError
from openledger_node.net.address import PeerAddress, host_fault, node_id_text, parse_node_id
from openledger_node.net.limits import Log

SERVICE: Final = "_oln._tcp.local."
TAG_DIGITS: Final = 16
MAX_FOUND: Final = 64
"""Announcements that are kept; a flood of made-up names ends here."""
MAX_HOSTS: Final = 4
"""Addresses taken from one announcement."""
MAX_WAITING: Final = 128
"""Announcements that wait to be read; further ones are dropped."""
LOOKUP_TIMEOUT_MS: Final = 2000
FOUND_VALID_MS: Final = 3600 * 1000
RETELL_S: Final = 1800
"""What is still announced is reported again this often, within FOUND_VALID_MS."""

Report = tuple[str, list[PeerAddress]]
"""(name of an announcement, its addresses: none when it is gone)."""


def ledger_tag(ledger_id: bytes) -> str:
    """What tells nodes of one ledger from others on the same network (N23)."""
    return H("lan", ledger_id).hex()[:TAG_DIGITS]


def load_library() -> Any:
    """The `zeroconf` module. UsageError when the extra is not installed."""
    try:
        return importlib.import_module("zeroconf")
    except ImportError:
        raise UsageError(
            "finding nodes on the local network needs the library zeroconf",
            hint="pip install 'openledger-node[lan]', or set lan = false in node.toml",
            code="missing_extra",
        ) from None


def read_announcement(
    properties: Mapping[bytes, bytes | None], hosts: Iterable[str], port: int | None, tag: str
) -> list[PeerAddress]:
    """The addresses in an announcement; none when it is malformed or of another ledger."""
    if properties.get(b"ledger") != tag.encode():
        return []
    digits = properties.get(b"id") or b""
    if not re.fullmatch(rb"[0-9a-f]{64}", digits) or port is None or not 1 <= port <= 65_535:
        return []
    try:
        node_id = parse_node_id(digits.decode())
    except UsageError:
        return []
    fit = [host for host in hosts if not host_fault(host)][:MAX_HOSTS]
    return [PeerAddress(node_id, host, port) for host in fit]


class LanDiscovery:
    """Announces this node and reports others until cancelled.

    `found` is called in trio's thread, for each address when it is new and every half hour while
    it is announced.
    """

    def __init__(
        self,
        node_id: bytes,
        ledger_id: bytes,
        port: int,
        found: Callable[[PeerAddress], None],
        *,
        log: Log,
        interfaces: list[str] | None = None,
        library: Any = None,
    ) -> None:
        self._library = library if library is not None else load_library()
        self._node_id = node_id
        self._tag = ledger_tag(ledger_id)
        self._port = port
        self._found = found
        self._log = log
        self._interfaces = interfaces
        self._announced: dict[str, list[PeerAddress]] = {}

    async def run(self) -> None:
        """Runs until cancelled. NetworkError when the network has no multicast."""
        token = trio.lowlevel.current_trio_token()
        send, receive = trio.open_memory_channel[Report](MAX_WAITING)

        def arrived(report: Report) -> None:
            try:
                send.send_nowait(report)
            except (trio.WouldBlock, trio.BrokenResourceError):
                return  # a flood, or the end

        def from_thread(report: Report) -> None:
            try:
                token.run_sync_soon(arrived, report)
            except trio.RunFinishedError:
                return

        with receive:
            engine = await trio.to_thread.run_sync(self._start, from_thread)
            try:
                while True:
                    with trio.move_on_after(RETELL_S):
                        while True:
                            self._take(*await receive.receive())
                    self._retell()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(engine.close)

    def _take(self, name: str, addresses: list[PeerAddress]) -> None:
        """One announcement that came, changed or went."""
        others = [address for address in addresses if address.node_id != self._node_id]
        if not others:
            self._announced.pop(name, None)
        elif self._announced.get(name) != others:
            if name not in self._announced and len(self._announced) >= MAX_FOUND:
                return
            self._announced[name] = others
            for address in others:
                peer = node_id_text(address.node_id)
                self._log.info("lan_found", peer=peer, address=str(address.endpoint()))
                self._found(address)

    def _retell(self) -> None:
        for addresses in self._announced.values():
            for address in addresses:
                self._found(address)

    # In threads: nothing below touches what trio's thread uses.

    def _start(self, report: Callable[[Report], None]) -> Any:
        """Announces and browses; runs in a thread, since the library waits inside."""
        library = self._library
        try:
            if self._interfaces is None:
                engine = library.Zeroconf()
            else:
                engine = library.Zeroconf(interfaces=self._interfaces)
        except OSError as error:
            raise NetworkError(
                f"cannot use multicast on this machine: {error.strerror or error}",
                hint="set lan = false in node.toml, and add peers with `oln peer add`",
                code="no_multicast",
            ) from None
        try:
            engine.register_service(self._announcement())
            library.ServiceBrowser(engine, SERVICE, listener=_Ear(self._tag, report))
        except BaseException:
            engine.close()
            raise
        return engine

    def _announcement(self) -> Any:
        name = node_id_text(self._node_id)[:TAG_DIGITS]
        hosts = self._interfaces or _own_hosts()
        return self._library.ServiceInfo(
            SERVICE,
            f"{name}.{SERVICE}",
            port=self._port,
            properties={"id": node_id_text(self._node_id), "ledger": self._tag},
            server=f"oln-{name}.local.",
            parsed_addresses=hosts,
        )


class _Ear:
    """What zeroconf calls, in its own thread."""

    def __init__(self, tag: str, report: Callable[[Report], None]) -> None:
        self._tag = tag
        self._report = report

    def add_service(self, engine: Any, kind: str, name: str) -> None:
        info = engine.get_service_info(kind, name, LOOKUP_TIMEOUT_MS)
        if info is None:
            return
        hosts = info.parsed_scoped_addresses()
        addresses = read_announcement(info.properties, hosts, info.port, self._tag)
        if addresses:
            self._report((name, addresses))

    def update_service(self, engine: Any, kind: str, name: str) -> None:
        self.add_service(engine, kind, name)

    def remove_service(self, engine: Any, kind: str, name: str) -> None:
        self._report((name, []))


def _own_hosts() -> list[str]:
    """This machine's address on the network that its default route uses; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a documentation address (RFC 5737)
        except OSError:
            return ["127.0.0.1"]
        return [str(probe.getsockname()[0])]
