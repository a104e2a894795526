"""Figures of the daemon as Prometheus text, on loopback and only when the settings name an address.

The smallest answer that a scraper takes: any request gets the figures. What asks is not read beyond
MAX_REQUEST_BYTES, and one request a connection is served.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import trio

from openledger_node.ledger.errors import UsageError

MAX_REQUEST_BYTES: Final = 8 * 1024
REQUEST_TIMEOUT_S: Final = 5
MAX_SCRAPERS: Final = 8
PREFIX: Final = "oln"

Figures = dict[str, tuple[str, str, int]]
"""{name: (type, help, value)}."""


def text_of(figures: Figures) -> str:
    """Prometheus' text form of the figures, every digit of them."""
    return "".join(_lines(figures))


def _lines(figures: Figures) -> Iterator[str]:
    for name, (kind, what, value) in sorted(figures.items()):
        yield f"# HELP {PREFIX}_{name} {what}\n# TYPE {PREFIX}_{name} {kind}\n"
        yield f"{PREFIX}_{name} {value}\n"


def checked_loopback(address: str) -> tuple[str, int]:
    """Host and port of a loopback address. UsageError for any other."""
    host, _, port = address.rpartition(":")
    try:
        number = int(port)
        loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        number, loopback = -1, False
    if not loopback or not 0 <= number < 65_536:
        raise UsageError(
            f"node.metrics = {address!r} is not an address of this machine alone",
            hint='for example "127.0.0.1:9767"; put a proxy before it to show it to others',
        )
    return host.strip("[]"), number


async def serve_metrics(
    host: str,
    port: int,
    figures: Callable[[], Figures],
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves the figures until cancelled; reports the port."""
    listeners = await trio.open_tcp_listeners(port, host=host)
    task_status.started(listeners[0].socket.getsockname()[1])
    slots = trio.CapacityLimiter(MAX_SCRAPERS)
    await trio.serve_listeners(partial(_answer, figures, slots), listeners)


async def _answer(
    figures: Callable[[], Figures],
    slots: trio.CapacityLimiter,
    stream: trio.SocketStream,
) -> None:
    async with stream, slots:
        with trio.move_on_after(REQUEST_TIMEOUT_S):
            try:
                await _exchange(stream, text_of(figures()).encode())
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return


async def _exchange(stream: Any, body: bytes) -> None:
    request = b""
    while b"\r\n\r\n" not in request and len(request) < MAX_REQUEST_BYTES:
        more = await stream.receive_some(1024)
        if not more:
            return
        request += more
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    await stream.send_all(head.encode() + body)
