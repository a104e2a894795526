"""A seeded link between two nodes: it delays, it breaks, it never reorders what it carries.

A link stands for a TCP connection: bytes of one direction keep their order, and what is lost takes
the connection with it. Different links, and the two directions of one, know nothing of each other.
"""

from __future__ import annotations

import random

import trio
import trio.testing

from openledger_node.net.link import Link, memory_link_pair

CHUNK_BYTES = 64 * 1024


class Wire:
    """One connection. Run `carry` for as long as it lasts."""

    def __init__(self, a_id: bytes, b_id: bytes, rng: random.Random, *, loss: float) -> None:
        near, self._near = trio.testing.memory_stream_pair()
        far, self._far = trio.testing.memory_stream_pair()
        self.a: Link
        self.b: Link
        self.a, self.b = memory_link_pair(a_id, b_id, streams=(near, far))
        self._rng = rng
        self._loss = loss
        self._scope = trio.CancelScope()

    def cut(self) -> None:
        """Nothing more passes, and both ends notice."""
        self._scope.cancel()

    async def carry(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pass, self._near, self._far)
                nursery.start_soon(self._pass, self._far, self._near)
        for stream in (self._near, self._far):
            await trio.aclose_forcefully(stream)

    async def _pass(self, source: trio.abc.Stream, target: trio.abc.Stream) -> None:
        try:
            while data := await source.receive_some(CHUNK_BYTES):
                if self._rng.random() < self._loss:
                    break
                await trio.sleep(self._rng.expovariate(50))
                await target.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._scope.cancel()
            return
        self._scope.cancel()
