"""What a home knows of the witnesses' votes, read from the logs it holds.

Votes count from any log of a seat's device. What a home holds of other logs decides which cuts it
can compute and vote for (A4, A7); of a log with two histories the kept fork proof says how far they
are one, which is the same on every node that has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from openledger_node.agreement.certificates import SeatSet, genesis_seats
from openledger_node.agreement.machine import Held
from openledger_node.agreement.rounds import Round, Witnessed
from openledger_node.credit import views
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.events import event_ids, parse_event
from openledger_node.ledger.heads import Mark, SignedHead
from openledger_node.ledger.kinds import parse_body
from openledger_node.ledger.votes import WitnessSet
from openledger_node.node.core import NodeCore
from openledger_node.store.snapshot import LogInfo, Snapshot

_WITNESS: Final = b"witness."
_KIND_WINDOW_BYTES: Final = 32


def seat_set(snapshot: Snapshot) -> SeatSet:
    """The witnesses in force for the next epoch."""
    rules = views.rules(snapshot.state)
    return SeatSet(rules.number, rules.seats)


SET_FACT: Final = "witness_set"
"""Local facts: the first epoch of each witness set after the genesis's -> the `witness.set`."""

_set_decoder = msgspec.msgpack.Decoder(WitnessSet)


def known_sets(snapshot: Snapshot) -> list[tuple[int, WitnessSet]]:
    """(first epoch, set) of every witness set after the genesis's, in order."""
    return [
        (int.from_bytes(key, "big"), _set_decoder.decode(value))
        for key, value in snapshot.facts(SET_FACT)
    ]


def seat_set_of(snapshot: Snapshot, epoch: int) -> SeatSet:
    """The witnesses who decided an epoch and signed its statement."""
    seats = genesis_seats(snapshot.genesis)
    for first, body in known_sets(snapshot):
        if first <= epoch:
            seats = SeatSet(body.number, body.seats)
    return seats


def note_set(core: NodeCore) -> None:
    """Remembers the set in force; called after each epoch, so that none is missed."""
    with core.store.read() as snapshot:
        rules = views.rules(snapshot.state)
        if rules.number == 0 or any(b.number == rules.number for _, b in known_sets(snapshot)):
            return
        first = snapshot.last_epoch() + 1
    body = WitnessSet(rules.number, rules.seats, rules.version, rules.params, rules.issuers)
    core.store.set_facts(SET_FACT, [(first.to_bytes(8, "big"), encode(body))])


def witness_events(
    snapshot: Snapshot, seats: SeatSet, since: Mapping[bytes, int]
) -> Iterator[tuple[LogInfo, int, Witnessed]]:
    """The witness events in the seats' logs from given sizes on; malformed ones are left out."""
    for log in snapshot.logs():
        seat = seats.index_of(log.genesis.account_id, log.genesis.device)
        if seat is None or log.head is None:
            continue
        start = since.get(log.log_id, 0)
        while start < log.head.size:
            stop = min(log.head.size, start + 4096)
            leaves = snapshot.leaves(log.log_id, start, stop)
            for seq, leaf in enumerate(leaves, start):
                if _WITNESS not in leaf[:_KIND_WINDOW_BYTES]:
                    continue
                try:
                    event = parse_event(leaf)
                    body = parse_body(event)
                except BadInput:
                    continue
                event_id = event_ids(log.log_id, seq, [leaf])[0]
                yield log, seq, Witnessed(seat, event_id, event.kind, body)
            start = stop


def load_round(core: NodeCore, snapshot: Snapshot, epoch: int) -> Round:
    """What is known of the votes on an epoch.

    Votes on epoch e lie after the seat's log as it was in cut e-1, for a seat speaks of an epoch
    only when the one before is decided; the search begins there.
    """
    seats = seat_set(snapshot)
    since = {}
    for log in snapshot.logs():
        mark = snapshot.cut_mark(log.log_id)
        since[log.log_id] = mark.size if mark else 0
    round_ = Round(core.ledger_id, epoch, seats)
    for _, _, event in witness_events(snapshot, seats, since):
        if getattr(event.body, "epoch", None) == epoch:
            round_.add(event)
    return round_


def closures(snapshot: Snapshot) -> dict[bytes, int]:
    """Logs that forks or retirements closed for good, and where."""
    found = {}
    for log in snapshot.logs():
        record = views.log_record(snapshot.state, log.log_id)
        if record is not None and record.closed_at is not None:
            found[log.log_id] = record.closed_at
    return found


class StoredHistories:
    """Marks of logs held here. A mark is known when the log has that root at that size."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._forks = {proof.head_a.log_id: proof for proof in snapshot.forks()}

    def common(self, log_id: bytes, a: tuple[int, bytes], b: tuple[int, bytes]) -> int:
        """As far as this home can tell; of a forked log, what its kept proof says."""
        shorter = min(a[0], b[0])
        known = [self.holds(Mark(log_id, *mark)) for mark in (a, b)]
        if all(known):
            return shorter
        proof = self._forks.get(log_id)
        # Of two marks that this home cannot both reach, only what it holds can be common.
        return min(shorter, proof.common) if proof is not None and any(known) else 0

    def root_at(self, log_id: bytes, size: int, under: tuple[int, bytes]) -> bytes:
        proof = self._forks.get(log_id)
        if proof is not None and proof.common == size:
            return proof.common_root
        return self._snapshot.root_at(log_id, size)

    def holds(self, mark: Mark) -> bool:
        """Whether the history shown here has this mark."""
        log = self._snapshot.log(mark.log_id)
        if log is None or log.head is None or log.head.size < mark.size:
            return False
        if log.head.size == mark.size:
            return log.head.root == mark.root
        return self._snapshot.root_at(mark.log_id, mark.size) == mark.root


def held_by(snapshot: Snapshot) -> Held:
    """What a seat knows when it speaks.

    Its frontier names its own log as it is before the frontier.
    """
    histories = StoredHistories(snapshot)

    def changed() -> list[SignedHead]:
        heads = []
        for log in snapshot.logs():
            mark = snapshot.cut_mark(log.log_id)
            if log.head is not None and log.head.size > (mark.size if mark else 0):
                heads.append(log.head)
        return heads

    return Held(
        previous=snapshot.cut_marks(),
        previous_cut_id=snapshot.must_epoch(snapshot.last_epoch()).cut_id,
        closures=closures(snapshot),
        histories=histories,
        changed_heads=changed,
        holds=histories.holds,
        doubtful=_forked_seats(snapshot),
    )


def _forked_seats(snapshot: Snapshot) -> frozenset[int]:
    """The seats with a log of which two histories are known."""
    seats = seat_set(snapshot)
    found = {
        seats.index_of(proof.genesis.account_id, proof.genesis.device) for proof in snapshot.forks()
    }
    return frozenset(seat for seat in found if seat is not None)
