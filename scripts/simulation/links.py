"""A seeded link between two nodes: it delays, it breaks, it never reorders what it carries.

A link stands for a TCP connection: bytes of one direction keep their order, and what is lost takes
the connection with it. Different links, and the two directions of one, know nothing of each other.
"""

from __future__ import annotations

import random

import trio

from openledger_node.net.link import Link, memory_link_pair
from scripts.simulation.clock import call_after

CHUNK_BYTES = 64 * 1024
DELAYS_A_S = 50
"""What was sent arrives after a drawn time, so many of which make a second on average."""


class Wire:
    """One connection. Run `carry` for as long as it lasts."""

    def __init__(self, a_id: bytes, b_id: bytes, rng: random.Random, *, loss: float) -> None:
        self.rng = rng
        self.loss = loss
        self.over = trio.Event()
        to_a, to_b = _Way(self), _Way(self)
        self.a: Link
        self.b: Link
        self.a, self.b = memory_link_pair(
            a_id, b_id, streams=(_End(self, to_b, to_a), _End(self, to_a, to_b))
        )
        self._ways = to_a, to_b

    def cut(self) -> None:
        """Nothing more passes, and both ends notice."""
        self.over.set()
        for way in self._ways:
            way.break_off()

    async def carry(self) -> None:
        """Until one of the ends goes, something is lost, or the wire is cut."""
        await self.over.wait()


class _Way:
    """One direction: what waits to be sent, what is on its way, what has arrived."""

    def __init__(self, wire: Wire) -> None:
        self.is_closed = False
        """Nothing more is sent, or nothing more is received."""
        self._wire = wire
        self._waiting = bytearray()
        self._on_its_way = b""
        self._arrived = bytearray()
        self._is_over = False
        self._changed = trio.Event()

    def put(self, data: bytes | bytearray | memoryview) -> None:
        self._waiting += data
        if self._waiting and not self._on_its_way:
            self._depart()

    def _depart(self) -> None:
        self._on_its_way = bytes(self._waiting[:CHUNK_BYTES])
        del self._waiting[:CHUNK_BYTES]
        if self._wire.rng.random() < self._wire.loss:
            self._wire.cut()
        else:
            call_after(self._wire.rng.expovariate(DELAYS_A_S), self._arrive)

    def _arrive(self) -> None:
        if self._is_over:
            return
        self._arrived += self._on_its_way
        self._on_its_way = b""
        self._changed.set()
        if self._waiting:
            self._depart()
        elif self.is_closed:
            self._wire.cut()

    def close(self) -> None:
        """What was sent still arrives; then the connection is over."""
        self.is_closed = True
        if not self._on_its_way:
            self._wire.cut()

    def break_off(self) -> None:
        self.is_closed = self._is_over = True
        self._changed.set()

    async def take(self, max_bytes: int) -> bytes:
        """What has arrived, as soon as something has; nothing when the connection is over."""
        if not (self._arrived or self._is_over):
            self._changed = trio.Event()
        await self._changed.wait()
        data = bytes(self._arrived[:max_bytes])
        del self._arrived[:max_bytes]
        return data


class _End(trio.abc.Stream):
    """What a node has of a wire."""

    def __init__(self, wire: Wire, out: _Way, incoming: _Way) -> None:
        self._wire = wire
        self._out = out
        self._in = incoming
        self._is_closed = False
        self._is_sending = self._is_receiving = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.wait_send_all_might_not_block()
        self._out.put(data)

    async def wait_send_all_might_not_block(self) -> None:
        if self._is_sending:
            raise trio.BusyResourceError("two tasks send")
        self._is_sending = True
        try:
            await trio.lowlevel.checkpoint()
        finally:
            self._is_sending = False
        if self._is_closed:
            raise trio.ClosedResourceError
        if self._out.is_closed:
            raise trio.BrokenResourceError("the other end is gone")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._is_receiving:
            raise trio.BusyResourceError("two tasks receive")
        self._is_receiving = True
        try:
            data = await self._in.take(min(max_bytes or CHUNK_BYTES, CHUNK_BYTES))
        finally:
            self._is_receiving = False
        if self._is_closed:
            raise trio.ClosedResourceError
        return data

    async def aclose(self) -> None:
        self._is_closed = True
        self._in.is_closed = True
        self._out.close()
        await trio.lowlevel.checkpoint()
