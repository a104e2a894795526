"""Keeping outbound links, on a network in memory whose every hour takes no time."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from openledger_node.net.address import PeerAddress
from openledger_node.net.book import PeerBook
from openledger_node.net.dialler import (
    LEAST_OUTBOUND,
    LOG_INTERVAL_S,
    MAX_BACKOFF_S,
    MAX_DIALLING,
    REFUSED_BACKOFF_S,
    STABLE_S,
    UNNAMED_BURST,
    Dialler,
)
from openledger_node.net.link import Link, accept_link, memory_link_pair
from openledger_node.net.peer import BAN_MS, Source
from openledger_node.net.policy import Gate
from openledger_node.net.table import LinkTable
from openledger_node.net.tls import HandshakeFailed, TlsContext
from tests.net import wire
from tests.net.wire import Everyone, Log, Nobody

OWN = wire.identity(200)
Serve = Callable[[Link], Awaitable[None]]


async def stays(link: Link) -> None:
    """A peer that answers and stays."""
    await link.send_all(b"!")
    await trio.sleep_forever()


class World:
    """A node that dials, and the network it dials into."""

    def __init__(self, seed: int = 1, max_links: int = 64, **settings: Any) -> None:
        self.log = Log()
        self.book = PeerBook()
        self.table = LinkTable(OWN.node_id, max_links=max_links)
        self.dials: list[tuple[float, str]] = []
        self.nodes: dict[str, tuple[TlsContext, Serve]] = {}
        self.nursery: trio.Nursery | None = None
        gate = Gate(OWN.node_id, self.book, now_ms=self.now_ms)
        self.dialler = Dialler(
            TlsContext(OWN, gate),
            self.table,
            self.book,
            self._handler,
            random=Random(seed),
            now_ms=self.now_ms,
            log=self.log,
            connect=self._connect,
            **settings,
        )

    def now_ms(self) -> int:
        return 1_800_000_000_000 + int(trio.current_time() * 1000)

    async def _handler(self, link: Link) -> None:
        while await link.receive_some():
            continue

    async def _connect(self, host: str, port: int) -> trio.abc.Stream:
        self.dials.append((trio.current_time(), host))
        if host not in self.nodes:
            raise OSError(111, "Connection refused")
        assert self.nursery is not None
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self._answer, theirs, *self.nodes[host])
        return ours

    async def _answer(self, transport: trio.abc.Stream, context: TlsContext, serve: Serve) -> None:
        try:
            link = await accept_link(context, transport, "dialler")
            async with link:
                await serve(link)
        except (HandshakeFailed, trio.BrokenResourceError):
            return

    def known(
        self, number: int, *, source: Source = Source.LAN, host: str = "", name: int = 0
    ) -> bytes:
        """Puts node `number` into the book, at `host`, and gives its id."""
        node_id = wire.identity(name or number).node_id
        self.book.add(PeerAddress(node_id, host or f"host{number}", 4767), source)
        return node_id

    def node(self, number: int, serve: Serve = stays, policy: Any = None) -> None:
        """Brings node `number` up at its host."""
        context = TlsContext(wire.identity(number), policy or Everyone())
        self.nodes[f"host{number}"] = (context, serve)

    def linked(self) -> set[bytes]:
        return set(self.table.peers())

    def waits_s(self) -> list[float]:
        """The times between one dial and the next."""
        times = [at for at, _ in self.dials]
        return [after - before for before, after in itertools.pairwise(times)]


def play(world: World, test: Callable[[], Awaitable[None]]) -> None:
    """Runs a test while the world's dialler runs."""

    async def main() -> None:
        with trio.fail_after(10**6):
            async with trio.open_nursery() as nursery:
                world.nursery = nursery
                nursery.start_soon(world.dialler.run)
                await test()
                nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def ids(*numbers: int) -> set[bytes]:
    return {wire.identity(number).node_id for number in numbers}


@pytest.mark.rule("N22")
def test_two_links_are_kept_and_a_lost_one_is_replaced_at_once() -> None:
    world = World()
    for number in range(1, 6):
        world.known(number)
        world.node(number)

    async def test() -> None:
        await wait_all_tasks_blocked()
        before = world.linked()
        assert len(before) == LEAST_OUTBOUND == len(world.dials)
        lost = min(before)
        world.table.close_peer(lost)
        await wait_all_tasks_blocked()
        assert trio.current_time() == 0
        assert len(world.linked()) == LEAST_OUTBOUND
        assert lost not in world.linked(), "it has to wait its turn"

    play(world, test)


@pytest.mark.rule("N22")
def test_every_node_that_people_named_is_dialled_and_no_more_than_needed_of_others() -> None:
    world = World()
    for number in range(1, 6):
        world.known(number, source=Source.PERSON)
        world.node(number)
    for number in range(6, 9):
        world.known(number)
        world.node(number)

    async def test() -> None:
        await wait_all_tasks_blocked()
        assert world.linked() == ids(1, 2, 3, 4, 5)

    play(world, test)


@pytest.mark.rule("N15", "N22")
def test_a_node_that_is_linked_with_already_is_not_dialled() -> None:
    world = World()
    world.known(1, source=Source.PERSON)
    world.node(1)

    async def test() -> None:
        ours = memory_link_pair(wire.identity(1).node_id, OWN.node_id)[1]
        assert world.nursery is not None
        await wait_all_tasks_blocked()
        world.table.close_peer(wire.identity(1).node_id)
        world.nursery.start_soon(world.table.serve, ours, lambda _link: trio.sleep(100))
        dials = len(world.dials)
        await trio.sleep(99)
        assert len(world.dials) == dials
        await trio.sleep(10)
        assert len(world.dials) > dials, "when that link is over it is dialled again"

    play(world, test)


@pytest.mark.rule("N21")
def test_a_node_that_is_away_is_tried_less_and_less_often() -> None:
    world = World()
    world.known(1, source=Source.PERSON)

    async def test() -> None:
        await trio.sleep(4000)
        expected = [min(MAX_BACKOFF_S, 2.0**number) for number in range(len(world.dials) - 1)]
        assert len(expected) >= 15
        for wait_s, full_s in zip(world.waits_s(), expected, strict=True):
            assert 0.5 * full_s <= wait_s <= 1.5 * full_s + 1e-6
        assert len({round(w / f, 3) for w, f in zip(world.waits_s(), expected, strict=True)}) > 10

    play(world, test)


@pytest.mark.rule("N21")
def test_two_nodes_with_other_seeds_do_not_dial_in_step() -> None:
    waits: list[list[float]] = []
    for seed in (1, 2):
        world = World(seed)
        world.known(1, source=Source.PERSON)

        async def test() -> None:
            await trio.sleep(1000)

        play(world, test)
        waits.append(world.waits_s())
    assert waits[0] != waits[1]


@pytest.mark.rule("N21")
def test_a_node_that_comes_back_is_linked_within_the_longest_wait() -> None:
    world = World()
    world.known(1, source=Source.PERSON)

    async def test() -> None:
        await trio.sleep(3600)
        assert world.linked() == set()
        world.node(1)
        await trio.sleep(1.5 * MAX_BACKOFF_S)
        assert world.linked() == ids(1)

    play(world, test)


@pytest.mark.rule("N8", "N21")
def test_a_link_that_ends_at_once_counts_as_a_failed_dial() -> None:
    async def leaves(link: Link) -> None:
        await link.send_all(b"!")

    world = World()
    world.known(1, source=Source.PERSON)
    world.node(1, leaves)

    async def test() -> None:
        await trio.sleep(600)
        waits_s = world.waits_s()
        assert len(waits_s) <= 11
        assert waits_s[-1] > 30

    play(world, test)


@pytest.mark.rule("N8", "N21")
def test_a_link_that_lasted_begins_the_count_anew() -> None:
    async def stays_a_while(link: Link) -> None:
        await link.send_all(b"!")
        await trio.sleep(STABLE_S + 1)

    world = World()
    world.known(1, source=Source.PERSON)
    world.node(1, stays_a_while)

    async def test() -> None:
        await trio.sleep(1000)
        assert len(world.dials) >= 15
        assert max(world.waits_s()) <= STABLE_S + 1 + 1.5 * 1.0 + 1e-6

    play(world, test)


@pytest.mark.rule("N8", "N21")
def test_a_silent_link_never_counts_as_good_however_long_it_lasts() -> None:
    async def says_nothing(link: Link) -> None:
        await trio.sleep(2 * STABLE_S)

    world = World()
    node_id = world.known(1, source=Source.PERSON)
    world.node(1, says_nothing)

    async def test() -> None:
        await trio.sleep(3000)
        assert max(world.waits_s()) > 2 * STABLE_S + 60
        peer = world.book.get(node_id)
        assert peer is not None and peer.last_seen_ms == 0

    play(world, test)


@pytest.mark.rule("N8")
def test_the_book_learns_when_and_where_a_node_was_up() -> None:
    world = World()
    world.known(1, source=Source.PERSON, host="away")
    world.known(1)
    world.node(1)

    async def test() -> None:
        await trio.sleep(10)
        peer = world.book.get(wire.identity(1).node_id)
        assert peer is not None and peer.last_seen_ms >= 1_800_000_000_000
        assert next(peer.addresses()).host == "host1"
        assert [host for _, host in world.dials] == ["away", "host1"]

    play(world, test)


@pytest.mark.rule("N7", "N21")
def test_a_node_that_refuses_this_one_is_left_alone_for_a_minute() -> None:
    world = World()
    world.known(1, source=Source.PERSON)
    world.node(1, policy=Nobody())

    async def test() -> None:
        await trio.sleep(0.5 * REFUSED_BACKOFF_S - 1)
        assert len(world.dials) == 1
        await trio.sleep(600)
        assert 2 <= len(world.dials) <= 21

    play(world, test)
    assert [fields["reason"] for _, fields in world.log.lines] == ["refused"]


@pytest.mark.rule("N7", "N21")
def test_another_node_at_the_address_is_not_linked_with_and_is_logged() -> None:
    world = World()
    world.known(1, source=Source.PERSON, name=9)
    world.node(1)

    async def test() -> None:
        await trio.sleep(100)
        assert world.linked() == set()

    play(world, test)
    event, fields = world.log.lines[0]
    assert (event, fields["reason"]) == ("dial_failed", "wrong_peer")
    assert fields["peer"] == wire.identity(9).node_id.hex()
    assert fields["address"] == "host1:4767"


@pytest.mark.rule("N13", "N15")
def test_a_banned_node_is_not_dialled_until_its_hour_is_over() -> None:
    world = World()
    node_id = world.known(1, source=Source.PERSON)
    world.node(1)

    async def test() -> None:
        world.book.ban(node_id, "bad_data", world.now_ms())
        await trio.sleep(BAN_MS / 1000 - 1)
        assert world.dials == []
        await trio.sleep(70)
        assert world.linked() == ids(1)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            world.nursery = nursery
            world.book.ban(node_id, "bad_data", world.now_ms())
            nursery.start_soon(world.dialler.run)
            await test()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.rule("N22")
def test_a_node_that_is_added_is_dialled_when_the_dialler_is_woken() -> None:
    world = World()
    world.node(1)

    async def test() -> None:
        await wait_all_tasks_blocked()
        world.known(1, source=Source.PERSON)
        world.dialler.wake()
        await wait_all_tasks_blocked()
        assert world.linked() == ids(1)
        assert trio.current_time() == 0

    play(world, test)


@pytest.mark.rule("N21")
def test_a_person_who_asks_does_not_wait_for_the_backoff() -> None:
    world = World()
    node_id = world.known(1, source=Source.PERSON)

    async def test() -> None:
        await trio.sleep(1000)
        world.node(1)
        world.dialler.retry(node_id)
        await wait_all_tasks_blocked()
        assert trio.current_time() == 1000
        assert world.linked() == ids(1)

    play(world, test)


@pytest.mark.rule("N22")
def test_few_dials_are_under_way_at_once_and_links_do_not_count_as_dials() -> None:
    world = World()

    async def slow(host: str, port: int) -> trio.abc.Stream:
        under_way.add(host)
        most.append(len(under_way))
        await trio.sleep(1)
        try:
            return await world._connect(host, port)
        finally:
            under_way.discard(host)

    under_way: set[str] = set()
    most: list[int] = []
    world.dialler._connect = slow
    for number in range(1, 31):
        world.known(number, source=Source.PERSON)
        world.node(number)

    async def test() -> None:
        await trio.sleep(5)
        assert len(world.linked()) == 30
        assert max(most) == MAX_DIALLING

    play(world, test)


@pytest.mark.rule("N22")
def test_a_node_with_all_its_links_dials_nobody() -> None:
    world = World(max_links=3)
    for number in range(1, 9):
        world.known(number, source=Source.PERSON)
        world.node(number)

    async def test() -> None:
        await trio.sleep(3600)
        assert len(world.linked()) == 3 == len(world.dials)

    play(world, test)


@pytest.mark.rule("N16")
def test_a_node_that_finds_itself_in_its_book_does_not_dial() -> None:
    world = World()
    world.book.add(PeerAddress(OWN.node_id, "host1", 4767))

    async def test() -> None:
        await trio.sleep(1000)
        assert world.dials == []

    play(world, test)


def test_a_node_that_stays_away_is_logged_every_ten_minutes_not_every_dial() -> None:
    world = World()
    world.known(1, source=Source.PERSON)

    async def test() -> None:
        await trio.sleep(7200)

    play(world, test)
    assert 10 <= len(world.log.lines) <= 7200 / LOG_INTERVAL_S + 1
    _, first = world.log.lines[0]
    assert first["reason"] == "unreachable"
    assert "Connection refused" in first["text"]
    assert sum(fields["held_back"] for _, fields in world.log.lines) >= len(world.dials) - 20


def test_waits_are_kept_only_for_nodes_that_the_book_knows() -> None:
    world = World()
    node_id = world.known(1, source=Source.PERSON)

    async def test() -> None:
        await trio.sleep(10)
        assert node_id in world.dialler._waits
        world.book.remove(node_id)
        world.dialler.wake()
        await wait_all_tasks_blocked()
        assert world.dialler._waits == {}

    play(world, test)


def test_a_fault_of_the_handler_is_not_swallowed() -> None:
    world = World()
    world.known(1, source=Source.PERSON)
    world.node(1)

    async def broken(link: Link) -> None:
        raise ZeroDivisionError

    world.dialler._handler = broken

    async def test() -> None:
        await trio.sleep(100)

    with pytest.raises(BaseExceptionGroup) as caught:
        play(world, test)
    assert caught.group_contains(ZeroDivisionError)


@pytest.mark.rule("N22")
def test_a_book_full_of_false_addresses_is_dialled_at_a_walk() -> None:
    world = World()
    for number in range(1, 200):
        world.known(number)

    async def test() -> None:
        await trio.sleep(0.5)
        assert len(world.dials) == UNNAMED_BURST
        await trio.sleep(10)
        assert len(world.dials) <= UNNAMED_BURST + 11
        world.node(201)
        world.known(201, source=Source.PERSON)
        world.dialler.wake()
        await wait_all_tasks_blocked()
        assert world.linked() == ids(201), "whom people named is not held up by it"

    play(world, test)
