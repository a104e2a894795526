"""Seats that vote in memory: each has its own round, events travel in any order a test likes."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from openledger_node.agreement.certificates import SeatSet
from openledger_node.agreement.cut import OneHistory
from openledger_node.agreement.machine import Held, Said, Seat, next_event
from openledger_node.agreement.rounds import Decided, Round, Witnessed
from openledger_node.ledger.encoding import H, encode
from openledger_node.ledger.heads import Mark, SignedHead
from openledger_node.ledger.keys import SigningKey
from openledger_node.ledger.merkle import EMPTY_ROOT

LEDGER = hashlib.sha256(b"a ledger").digest()


def key_of(name: str) -> SigningKey:
    return SigningKey(hashlib.sha256(b"seat " + name.encode()).digest())


def seat_set(count: int) -> tuple[SeatSet, list[SigningKey]]:
    keys = [key_of(str(index)) for index in range(count)]
    accounts = [hashlib.sha256(b"account %d" % index).digest() for index in range(count)]
    seats = tuple((account, key.public.raw) for account, key in zip(accounts, keys, strict=True))
    return SeatSet(0, seats), keys


def log_of(name: str) -> bytes:
    return hashlib.sha256(b"log " + name.encode()).digest()


def root_of(log_id: bytes, size: int, branch: str = "") -> bytes:
    """A stand-in for a log's root at a size; histories of one branch extend each other."""
    return hashlib.sha256(log_id + size.to_bytes(8, "big") + branch.encode()).digest()


def head_of(log_id: bytes, size: int, branch: str = "") -> SignedHead:
    return SignedHead(log_id, size, root_of(log_id, size, branch), bytes(64))


def held(
    heads: Sequence[SignedHead],
    previous: dict[bytes, Mark] | None = None,
    previous_cut_id: bytes = EMPTY_ROOT,
    lacks: Iterable[bytes] = (),
) -> Held:
    """What a seat holds: heads of unforked logs; `lacks` names logs whose data it has not."""
    roots = {(head.log_id, head.size): head.root for head in heads}
    absent = frozenset(lacks)
    return Held(
        previous or {},
        previous_cut_id,
        {},
        OneHistory(roots),
        lambda: list(heads),
        lambda mark: mark.log_id not in absent,
        lambda head: head.signature == bytes(64),
    )


@dataclass
class Member:
    """A seat with what it has seen."""

    seat: Seat
    round: Round
    held: Held
    said: list[Witnessed] = field(default_factory=list)

    def step(self, *, due: bool = True, waited: bool = False, expired: bool = False) -> bool:
        """Says the next event that the rules ask for, if any."""
        event = next_event(
            self.round, self.seat, self.held, due=due, waited=waited, expired=expired
        )
        if event is None:
            return False
        self.take(witnessed(self.seat.index, event, len(self.said)))
        return True

    def take(self, event: Witnessed) -> None:
        self.said.append(event)
        self.round.add(event)

    def decision(self) -> Decided | None:
        return self.round.decision(self.held.previous)


def witnessed(seat: int, said: Said, number: int) -> Witnessed:
    event_id = H("event", seat, number, encode(said.body))
    return Witnessed(seat, event_id, said.kind, said.body)


def council(count: int, heads: Sequence[SignedHead], epoch: int = 1) -> list[Member]:
    seats, keys = seat_set(count)
    return [
        Member(Seat(index, key), Round(LEDGER, epoch, seats), held(heads))
        for index, key in enumerate(keys)
    ]


def run(
    members: Sequence[Member],
    order: random.Random,
    *,
    silent: Iterable[int] = (),
    expire: bool = False,
    steps: int = 2_000,
) -> None:
    """Lets members speak and hear each other in a random order, until all have decided or nobody
    has anything to say.
    """
    quiet = set(silent)
    heard = {(a.seat.index, b.seat.index): 0 for a in members for b in members}
    idle = 0
    for step in range(steps):
        member = order.choice(members)
        me = member.seat.index
        other = order.choice(members)
        moved = False
        if me not in quiet:
            position = heard[me, other.seat.index]
            if other is not member and position < len(other.said):
                member.round.add(other.said[position])
                heard[me, other.seat.index] += 1
                moved = True
            timers = expire and order.random() < 0.05
            moved = member.step(waited=timers, expired=timers) or moved
        idle = 0 if moved else idle + 1
        if idle > 40 * len(members):
            return
        if step % 50 == 0 and all(m.decision() for m in members if m.seat.index not in quiet):
            return


def share_everything(members: Sequence[Member]) -> None:
    """Everybody hears everything that was said."""
    for member in members:
        for other in members:
            if other is not member:
                for event in other.said:
                    member.round.add(event)
