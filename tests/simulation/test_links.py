"""The simulator's clock and its links."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio

from scripts.simulation.clock import VirtualClock, call_after, pause
from scripts.simulation.links import Wire

IDS = bytes(32), b"\1" * 32


def play(main: Callable[[Wire], Awaitable[None]], *, loss: float = 0.0) -> None:
    async def run() -> None:
        await main(Wire(*IDS, random.Random(1), loss=loss))

    trio.run(run, clock=VirtualClock())


def test_time_jumps_to_what_comes_next_and_calls_are_made_in_their_order() -> None:
    made: list[tuple[str, float]] = []

    def make(name: str) -> None:
        made.append((name, trio.current_time()))

    async def main() -> None:
        for name, wait_s in (("late", 2.0), ("early", 1.0), ("also late", 2.0)):
            call_after(wait_s, partial(make, name))
        await pause(1.5)
        make("pause")
        await trio.sleep(1)
        make("sleep")

    trio.run(main, clock=VirtualClock())
    assert made == [("early", 1), ("pause", 1.5), ("late", 2), ("also late", 2), ("sleep", 2.5)]


def test_bytes_arrive_later_and_in_their_order_and_then_the_end() -> None:
    async def main(wire: Wire) -> None:
        sent = [bytes([number]) * 10 for number in range(20)]
        for data in sent:
            await wire.a.send_all(data)
        assert trio.current_time() == 0
        await wire.a.aclose()
        came = b""
        while data := await wire.b.receive_some():
            came += data
        assert came == b"".join(sent)
        assert trio.current_time() > 0
        await wire.carry()

    play(main)


def test_a_wire_that_is_cut_or_loses_something_carries_nothing_more() -> None:
    async def cut(wire: Wire) -> None:
        await wire.a.send_all(b"on its way")
        wire.cut()
        assert await wire.b.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError):
            await wire.b.send_all(b"more")

    async def lose(wire: Wire) -> None:
        await wire.a.send_all(b"lost")
        assert await wire.b.receive_some() == b""
        await wire.carry()

    play(cut)
    play(lose, loss=1.0)
