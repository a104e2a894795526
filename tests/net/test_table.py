"""The links of now: room for so many, and one link between two nodes that dial each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import memory_stream_pair

from openledger_node.ledger.errors import NetworkError
from openledger_node.net.link import Link, memory_link_pair
from openledger_node.net.table import (
    CLOSE_TIMEOUT_S,
    MAX_LINKS_PER_PEER,
    SAME_MOMENT_S,
    LinkTable,
    Outcome,
)
from tests.net import wire
from tests.net.wire import run

LOW, HIGH = sorted([wire.identity(1).node_id, wire.identity(2).node_id])


async def forever(link: Link) -> None:
    await trio.sleep_forever()


def test_a_served_link_is_listed_until_its_handler_returns_and_then_closed() -> None:
    async def main() -> None:
        table = LinkTable(LOW)
        ours, theirs = memory_link_pair(LOW, HIGH)

        async def handler(link: Link) -> None:
            assert table.links() == [ours] and table.peers() == {HIGH}
            assert (len(table), table.outbound()) == (1, 1)

        assert await table.serve(ours, handler) == "ended"
        assert (len(table), table.outbound(), table.peers()) == (0, 0, frozenset())
        assert await theirs.receive_some() == b""

    run(main)


def test_a_handler_that_fails_leaves_no_link_behind() -> None:
    async def main() -> None:
        table = LinkTable(LOW)
        ours, theirs = memory_link_pair(LOW, HIGH)

        async def handler(link: Link) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await table.serve(ours, handler)
        assert len(table) == 0
        assert await theirs.receive_some() == b""

    run(main)


def _broken() -> Exception:
    return trio.BrokenResourceError()


def _group() -> Exception:
    return ExceptionGroup("", [trio.ClosedResourceError(), ExceptionGroup("", [_broken()])])


@pytest.mark.parametrize("make_error", [_broken, _group, lambda: NetworkError("gone", code="x")])
def test_a_link_that_breaks_under_its_handler_is_no_fault_of_the_node(
    make_error: Callable[[], Exception],
) -> None:
    async def main() -> None:
        ours, _ = memory_link_pair(LOW, HIGH)

        async def handler(link: Link) -> None:
            raise make_error()

        assert await LinkTable(LOW).serve(ours, handler) == "failed"
        if isinstance(make_error(), NetworkError):
            assert ours.fault is not None and ours.fault.code == "x"

    run(main)


def test_a_fault_of_the_node_in_a_group_with_broken_links_is_passed_on() -> None:
    async def main() -> None:
        ours, _ = memory_link_pair(LOW, HIGH)

        async def handler(link: Link) -> None:
            raise ExceptionGroup("", [_broken(), ZeroDivisionError()])

        with pytest.raises(ExceptionGroup):
            await LinkTable(LOW).serve(ours, handler)

    run(main)


def test_whoever_watches_is_told_when_links_come_and_go() -> None:
    async def main() -> None:
        table, told = LinkTable(LOW), []
        table.watch(lambda: told.append(len(table)))

        async def handler(link: Link) -> None:
            return

        await table.serve(memory_link_pair(LOW, HIGH)[0], handler)
        assert told == [1, 0]

    run(main)


def test_a_full_table_turns_a_further_link_away() -> None:
    async def main() -> None:
        table = LinkTable(LOW, max_links=2)
        async with trio.open_nursery() as nursery:
            for number in (3, 4):
                link, _ = memory_link_pair(LOW, wire.identity(number).node_id)
                nursery.start_soon(table.serve, link, forever)
            await trio.testing.wait_all_tasks_blocked()
            assert table.is_full(inbound=False)
            link, theirs = memory_link_pair(LOW, HIGH)
            assert await table.serve(link, forever) == "full"
            assert await theirs.receive_some() == b""
            nursery.cancel_scope.cancel()

    run(main)


@pytest.mark.rule("N18")
def test_whoever_comes_in_leaves_places_for_those_whom_the_node_dials() -> None:
    async def main() -> None:
        table = LinkTable(LOW, max_links=16)
        async with trio.open_nursery() as nursery:
            for number in range(3, 17):
                _, link = memory_link_pair(wire.identity(number).node_id, LOW)
                nursery.start_soon(table.serve, link, forever)
            await trio.testing.wait_all_tasks_blocked()
            assert table.is_full(inbound=True) and not table.is_full(inbound=False)
            _, link = memory_link_pair(HIGH, LOW)
            assert await table.serve(link, forever) == "full"
            dialled, _ = memory_link_pair(LOW, HIGH)
            nursery.start_soon(table.serve, dialled, forever)
            await trio.testing.wait_all_tasks_blocked()
            assert table.outbound() == 1
            nursery.cancel_scope.cancel()

    run(main)


@pytest.mark.rule("N10")
@pytest.mark.parametrize("first_is_lower_s", [True, False])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_nodes_that_dial_each_other_end_with_the_lower_one_s_link_at_both_ends(
    order: tuple[int, int], first_is_lower_s: bool
) -> None:
    async def main() -> None:
        tables = {LOW: LinkTable(LOW), HIGH: LinkTable(HIGH)}
        by_low = memory_link_pair(LOW, HIGH)  # (at low, at high)
        by_high = memory_link_pair(HIGH, LOW)[::-1]
        arrivals = [by_low, by_high]
        outcomes: dict[Link, Outcome] = {}

        async def serve(table: LinkTable, link: Link) -> None:
            outcomes[link] = await table.serve(link, forever)

        async with trio.open_nursery() as nursery:
            for at, table in enumerate(tables.values()):
                # The links may arrive in another order at each of the two.
                for number in order if at else (0, 1) if first_is_lower_s else (1, 0):
                    nursery.start_soon(serve, table, arrivals[number][at])
                    await trio.testing.wait_all_tasks_blocked()
            for table in tables.values():
                assert len(table) == 1
            assert tables[LOW].links() == [by_low[0]]
            assert tables[HIGH].links() == [by_low[1]]
            assert [outcomes[link] for link in by_high] == ["dialled_both_ways"] * 2
            nursery.cancel_scope.cancel()

    run(main)


@pytest.mark.rule("N10")
def test_links_that_began_apart_stay_both() -> None:
    async def main() -> None:
        table = LinkTable(LOW)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(table.serve, memory_link_pair(LOW, HIGH)[0], forever)
            await trio.sleep(SAME_MOMENT_S)
            nursery.start_soon(table.serve, memory_link_pair(HIGH, LOW)[1], forever)
            await trio.testing.wait_all_tasks_blocked()
            assert len(table) == 2
            nursery.cancel_scope.cancel()

    run(main)


@pytest.mark.rule("N10")
def test_a_peer_has_at_most_four_links() -> None:
    async def main() -> None:
        table = LinkTable(LOW)
        async with trio.open_nursery() as nursery:
            for _ in range(MAX_LINKS_PER_PEER):
                nursery.start_soon(table.serve, memory_link_pair(HIGH, LOW)[1], forever)
            await trio.testing.wait_all_tasks_blocked()
            further = memory_link_pair(HIGH, LOW)[1]
            assert await table.serve(further, forever) == "too_many_links"
            nursery.cancel_scope.cancel()

    run(main)


@pytest.mark.rule("N10")
def test_a_link_that_takes_the_place_of_another_needs_no_further_room() -> None:
    async def main() -> None:
        table = LinkTable(HIGH, max_links=1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(table.serve, memory_link_pair(HIGH, LOW)[0], forever)
            await trio.testing.wait_all_tasks_blocked()
            better = memory_link_pair(LOW, HIGH)[1]
            nursery.start_soon(table.serve, better, forever)
            await trio.testing.wait_all_tasks_blocked()
            assert table.links() == [better]
            nursery.cancel_scope.cancel()

    run(main)


def test_links_to_a_banned_node_are_ended_and_no_others() -> None:
    async def main() -> None:
        table = LinkTable(LOW)
        other = wire.identity(3).node_id
        async with trio.open_nursery() as nursery:
            for peer in (HIGH, HIGH, other):
                nursery.start_soon(table.serve, memory_link_pair(LOW, peer)[0], forever)
            await trio.testing.wait_all_tasks_blocked()
            assert table.close_peer(HIGH) == 2
            await trio.testing.wait_all_tasks_blocked()
            assert table.peers() == {other}
            nursery.cancel_scope.cancel()

    run(main)


def test_a_link_that_does_not_close_is_dropped_after_a_while() -> None:
    class Stuck(Link):
        was_dropped = False

        async def aclose(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                self.was_dropped = True

    async def main() -> None:
        stuck = Stuck(memory_stream_pair()[0], HIGH, "memory", is_outbound=True)

        async def handler(link: Link) -> None:
            return

        assert await LinkTable(LOW).serve(stuck, handler) == "ended"
        assert stuck.was_dropped
        assert trio.current_time() == pytest.approx(CLOSE_TIMEOUT_S)

    run(main)
