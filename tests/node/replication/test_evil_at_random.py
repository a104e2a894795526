"""Peers that say anything in any order, half of it true: the hub goes on, whatever they say.

A seed decides all: what is said, what the answers are worth, when the peer comes back. Frames are
well formed, so that they reach what is behind the session; the fuzzing of bytes is elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import trio

from openledger_node.ledger.events import encode_event
from openledger_node.ledger.heads import Mark, SignedHead
from openledger_node.store.check import check
from openledger_node.sync import events as e
from openledger_node.sync import messages as m
from openledger_node.sync.faults import FAULTS
from openledger_node.sync.frontier_entries import encode_entries
from tests.kit.nodes import World, play_world
from tests.node.replication.evil import Evil, Log, Stage, digest, runs, sizes
from tests.node.replication.test_evil_proofs import falsehoods, fork_of
from tests.node.replication.test_evil_store import StoreStage
from tests.store.place import Place
from tests.sync.links import lengths_of

STEPS = 120


class Liar:
    """Says one thing after another to the node, on one link after another."""

    def __init__(self, stage: Any, seed: int) -> None:
        self.stage = stage
        self.random = random.Random(seed)
        self.logs = [
            Log(f"log {seed} {n}", size, ledger_id=stage.ledger_id)
            for n, size in enumerate((1, 3, 300, 900))
        ]
        self.evil: Evil | None = None
        self.said = 0

    @property
    def peer(self) -> Evil:
        assert self.evil is not None
        return self.evil

    async def play(self) -> None:
        for step in range(STEPS):
            if self.evil is None or self.evil.is_gone:
                await self._come_back(step)
            await self.peer.say(*self._frames())
            self.said += 1
            await trio.sleep(self.random.choice((0, 0, 0.001, 0.2)))

    async def _come_back(self, step: int) -> None:
        if self.evil is not None:
            await self.evil.link.aclose()
        self.evil = Evil(self.stage, f"liar {step}")
        self.evil.replies[e.Wanted] = self._answer
        await self.evil.greet()

    def _frames(self) -> Iterable[m.Frame]:
        say: Callable[[], Iterable[m.Frame]] = self.random.choice(
            [
                self._have,
                self._have,
                self._frontier,
                self._frontier,
                self._news,
                self._news,
                self._want,
                self._odds,
                self._forks,
            ]
        )
        return say()

    # What it says of its own accord.

    def _any_log(self) -> tuple[bytes, int, bytes]:
        """(log id, a size, a root): of a log held here or one of its own."""
        marks = sorted(self.stage.node.hub.replica.marks.values())
        if self.random.random() < 0.5:
            mark: Mark = self.random.choice(marks)
            return mark.log_id, mark.size, mark.root
        log = self.random.choice(self.logs)
        return log.log_id, len(log.leaves), log.head().root

    def _lie(self, size: int) -> int:
        return self.random.choice((size, size, size + 1, size + 700, max(1, size - 1)))

    def _have(self) -> Iterable[m.Frame]:
        log_id, size, root = self._any_log()
        if self.random.random() < 0.3:
            root = b"x" * 32
        if self.random.random() < 0.5:
            yield m.Have(log_id, self._lie(size), root)
        else:
            name, offer = self.peer.offer(log_id, self._lie(size), root)
            yield m.Have(name, offer.size, offer.tag)

    def _frontier(self) -> Iterable[m.Frame]:
        entries = []
        for _ in range(self.random.randrange(4)):
            log_id, size, root = self._any_log()
            root = self.random.choice((root, b"x" * 32))
            entries.append(self.peer.offer(log_id, self._lie(size), root))
        (part,) = encode_entries(entries)
        yield m.Frontier(0, 1, part)

    def _news(self) -> Iterable[m.Frame]:
        log = self.random.choice(self.logs[:3])
        first = self.random.choice((0, 0, min(1, len(log.leaves) - 1), len(log.leaves) - 1))
        news = log.news(first)
        if self.random.random() < 0.2:
            leaf = encode_event(first, "test.note", 0, ["false"])
            leaves = [leaf, *log.leaves[first + 1 :]]
            news = m.News(news.head, first, lengths_of(leaves), b"".join(leaves))
        yield news

    def _want(self) -> Iterable[m.Frame]:
        log_id, size, root = self._any_log()
        session = self.peer.session
        want_id, session._next_want = session._next_want, session._next_want + 1
        first = self.random.choice((0, 0, size, size + 5))
        stop = self.random.choice((None, first, first + 1, first + 300))
        asked_root = root if stop and self.random.random() < 0.3 else None
        spine = self.random.choice((None, 0, 1, 50))
        yield m.Want(want_id, log_id, first, stop, asked_root, spine)

    def _odds(self) -> Iterable[m.Frame]:
        number = self.random.randrange(3)
        yield self.random.choice(
            [
                m.Grant(1_000_000),
                m.Digest(None, digest("anything")),
                m.Missing(number, self.random.randrange(4)),
                m.Spine(number, 0, b"r" * 32),
                m.Cancel(0),
                m.PayloadWant(10**6 + self.said, bytes(32), bytes(32), 0, 0),
            ]
        )

    def _forks(self) -> Iterable[m.Frame]:
        if self.random.random() < 0.7:
            yield m.Forks((fork_of(f"forked {self.random.randrange(5)}"),))
        else:
            yield m.Forks((self.random.choice(list(falsehoods().values())),))

    # What it answers.

    def _answer(self, want: Any) -> Iterable[m.Frame]:
        log = self._log_of(want)
        chance = self.random.random()
        if log is None or chance < 0.15:
            if chance < 0.1:
                return  # it owes this one
            yield m.Missing(want.want_id, m.Reason.UNKNOWN)
            return
        head = log.head()
        if chance < 0.2:
            head = SignedHead(head.log_id, head.size + 1, head.root, head.signature)
        if want.first > head.size:
            yield m.Missing(want.want_id, m.Reason.UNKNOWN)
            return
        yield m.Head(want.want_id, b"" if want.first else log.leaves[0], head)
        if want.spine is not None:
            spine = log.spine(want.spine) or b"r" * 32
            yield m.Spine(want.want_id, want.spine, b"r" * len(spine) if chance < 0.3 else spine)
        if want.stop == want.first:
            return
        leaves = log.leaves[want.first : want.stop if want.root is None else None]
        if chance < 0.4 and leaves:
            at = self.random.randrange(len(leaves))
            leaves[at] = encode_event(want.first + at, "test.note", 0, ["false"])
        sent = runs(want.want_id, leaves, want.first, each=self.random.choice((1, 100, 256)))
        if chance < 0.6 and len(sent) > 1:
            yield from sent[: len(sent) // 2]
            yield m.Missing(want.want_id, m.Reason.BUSY)
            return
        yield from sent

    def _log_of(self, want: Any) -> Log | None:
        for log in self.logs:
            if want.log in {log.log_id, self.peer.name(log.log_id)}:
                return log
        return None


@pytest.mark.rule("X1", "X3", "X9")
@pytest.mark.parametrize("seed", range(12))
def test_whatever_peers_say_the_hub_goes_on_and_keeps_little(seed: int) -> None:
    async def play(world: World) -> None:
        stage = await Stage.set(world, events=400)
        liars = [Liar(stage, seed * 100 + number) for number in range(3)]
        async with trio.open_nursery() as nursery:
            for liar in liars:
                nursery.start_soon(liar.play)
            while any(liar.said < STEPS for liar in liars):
                mark = stage.honest.append(5)
                await trio.sleep(0.5)
                assert stage.node.size(mark.log_id) == mark.size, "what is pushed comes through"
        known = {log.log_id for liar in liars for log in liar.logs}
        stage.only_honest_logs(*known)
        for liar in liars:
            for log in liar.logs:
                held = stage.node.holder.logs.get(log.log_id)
                if held is not None and held.head is not None:
                    assert held.leaves == log.leaves[: len(held.leaves)], "true as far as it goes"
            await liar.peer.link.aclose()
        await stage.honest_grows()
        assert {fault.code for fault in stage.node.faults} <= set(FAULTS)
        await trio.sleep(5)
        left = sizes(stage.node)
        assert left["in flight"] == left["fetches"] == left["asked"] == left["streams"] == 0
        assert left["suspects"] == left["wants"] == left["answers"] == left["arrivals"] == 0
        states = stage.node.hub.replica._links.values()
        assert all(state.opening == 0 and not state.comparing for state in states)

    play_world(play, seed=seed)


@pytest.mark.rule("X1", "X3", "S7")
@pytest.mark.parametrize("seed", range(3))
def test_whatever_peers_say_a_real_store_holds_only_what_was_signed(
    tmp_path: Path, seed: int
) -> None:
    place = Place(tmp_path / "home")

    async def play(world: World) -> None:
        stage = StoreStage(world, place)
        await world.nursery.start(stage.node.hub.run)
        liars = [Liar(stage, seed * 100 + number) for number in range(3)]
        async with trio.open_nursery() as nursery:
            for liar in liars:
                nursery.start_soon(liar.play)
        with place.store.read() as snapshot:
            for log in [log for liar in liars for log in liar.logs]:
                held = snapshot.log(log.log_id)
                if held is not None and held.head is not None:
                    assert snapshot.leaves(log.log_id, 0, held.size) == log.leaves[: held.size]

    play_world(play, seed=seed)
    assert check(place.store).problems == []
    place.close()
