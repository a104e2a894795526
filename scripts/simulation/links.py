"""A seeded link between two nodes: it delays, it breaks, it never reorders what it carries.

A link stands for a TCP connection: bytes of one direction keep their order, and what is lost takes
the connection with it. Different links, and the two directions of one, know nothing of each other.
"""

from __future__ import annotations

import random

import trio

from openledger_node.net.link import Link, memory_link_pair

CHUNK_BYTES = 64 * 1024
DELAYS_A_S = 50
"""What has been sent waits for one of so many moments a second, drawn at random."""


class Wire:
    """One connection. Run `carry` for as long as it lasts."""

    def __init__(self, a_id: bytes, b_id: bytes, rng: random.Random, *, loss: float) -> None:
        self.rng = rng
        self.loss = loss
        self.over = trio.Event()
        to_a, to_b = _Way(), _Way()
        ends = _End(self, to_b, to_a), _End(self, to_a, to_b)
        self.a: Link
        self.b: Link
        self.a, self.b = memory_link_pair(a_id, b_id, streams=ends)
        self._ways = to_a, to_b

    @property
    def is_cut(self) -> bool:
        return self.over.is_set()

    def cut(self) -> None:
        """Nothing more passes, and both ends notice."""
        self.over.set()
        for way in self._ways:
            way.end()

    async def carry(self) -> None:
        """Until one of the ends goes, something is lost, or the wire is cut."""
        await self.over.wait()


class _Way:
    """One direction: what was sent and has not arrived."""

    def __init__(self) -> None:
        self.held = bytearray()
        self.is_ended = False
        self._came = trio.Event()

    def put(self, data: bytes | bytearray | memoryview) -> None:
        self.held += data
        self._came.set()

    def end(self) -> None:
        self.is_ended = True
        self._came.set()

    async def wait(self) -> None:
        """Until there is something, or nothing will be."""
        if self._came.is_set() and not (self.held or self.is_ended):
            self._came = trio.Event()
        await self._came.wait()


class _End(trio.abc.Stream):
    """What a node has of a wire. Its reader waits for as long as the bytes are on their way."""

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
        if self._out.is_ended:
            raise trio.BrokenResourceError("the other end is gone")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._is_receiving:
            raise trio.BusyResourceError("two tasks receive")
        self._is_receiving = True
        try:
            if not self._in.held:
                await self._in.wait()
            data = await self._arriving(min(max_bytes or CHUNK_BYTES, CHUNK_BYTES))
        finally:
            self._is_receiving = False
        if self._is_closed:
            raise trio.ClosedResourceError
        if not data:
            self._wire.cut()
        return data

    async def _arriving(self, max_bytes: int) -> bytes:
        """The next bytes when they are there; none where the connection ends before."""
        wire, held = self._wire, self._in.held
        if wire.is_cut or not held:
            return b""
        data = bytes(held[:max_bytes])
        del held[:max_bytes]
        if wire.rng.random() < wire.loss:
            return b""
        with trio.move_on_after(wire.rng.expovariate(DELAYS_A_S)):
            await wire.over.wait()
        return b"" if wire.is_cut else data

    async def aclose(self) -> None:
        self._is_closed = True
        self._out.end()
        if self._in.is_ended:
            self._wire.cut()
        self._in.end()
        await trio.lowlevel.checkpoint()
