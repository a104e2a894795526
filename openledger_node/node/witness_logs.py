"""What a home knows of the witnesses' votes, read from the logs it holds.

Votes count from any log of a seat's device, and from every history of it that is held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from openledger_node.agreement.certificates import SeatSet, genesis_seats
from openledger_node.agreement.cut import makes_cut
from openledger_node.agreement.evidence import evidence_of
from openledger_node.agreement.rounds import Evidence, Round, Witnessed
from openledger_node.credit import views
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.events import event_ids, parse_event
from openledger_node.ledger.heads import Mark
from openledger_node.ledger.kinds import parse_body
from openledger_node.ledger.votes import WitnessPropose, WitnessSet
from openledger_node.node.core import NodeCore
from openledger_node.store.snapshot import Snapshot
from openledger_node.store.view_logs import LogInfo

MAX_EPOCHS_AHEAD: Final = 64
"""How far past a home's own epoch it reads what frontiers name, to find what it lacks."""

MAX_FALSE_BODIES: Final = 2**16
"""Events that are remembered as not making their cut: each costs a hash of every log's mark."""
_false_bodies: Final[dict[bytes, None]] = {}

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
    """The witness events in the seats' logs from given sizes on; malformed ones are left out.

    A leaf that two histories of a log share comes once.
    """
    for shown in snapshot.logs():
        seat = seats.index_of(shown.genesis.account_id, shown.genesis.device)
        if seat is None:
            continue
        seen: set[bytes] = set()
        for log in snapshot.histories(shown.log_id):
            for seq, leaf in witness_leaves(snapshot, log, since.get(log.log_id, 0)):
                event_id = event_ids(log.log_id, seq, [leaf])[0]
                if event_id in seen:
                    continue
                seen.add(event_id)
                try:
                    event = parse_event(leaf)
                    body = parse_body(event)
                except BadInput:
                    continue
                yield log, seq, Witnessed(seat, event_id, event.kind, body)


def witness_leaves(snapshot: Snapshot, log: LogInfo, start: int) -> Iterator[tuple[int, bytes]]:
    size = 0 if log.head is None else log.head.size
    while start < size:
        stop = min(size, start + 4096)
        for seq, leaf in enumerate(snapshot.leaves_of(log.number, start, stop), start):
            if _WITNESS in leaf[:_KIND_WINDOW_BYTES]:
                yield seq, leaf
        start = stop


def load_round(core: NodeCore, snapshot: Snapshot, epoch: int) -> Round:
    """What is known of the votes on an epoch.

    Votes on epoch e lie after the seat's log as it was in cut e-1, for a seat speaks of an epoch
    only when the one before is decided; the search begins there.
    """
    seats = seat_set(snapshot)
    round_ = Round(core.ledger_id, epoch, seats)
    for _, _, event in witness_events(snapshot, seats, _final_sizes(snapshot)):
        if getattr(event.body, "epoch", None) == epoch:
            round_.add(event)
    previous = snapshot.cut_marks()
    lost = round_.crowded_out(previous)
    if lost:
        _look_for(snapshot, round_, lost, previous)
    return round_


def _look_for(
    snapshot: Snapshot, round_: Round, lost: set[bytes], previous: Mapping[bytes, Mark]
) -> None:
    """Puts in the bodies that make the cuts of certified proposals, however many do not."""
    for _, _, event in witness_events(snapshot, round_.seats, _final_sizes(snapshot)):
        body = event.body
        if not isinstance(body, WitnessPropose) or body.epoch != round_.epoch:
            continue
        named = round_.id_of(body)
        if named not in lost or event.event_id in _false_bodies:
            continue
        if makes_cut(previous, body.cut_delta, body.cut_id):
            round_.put_in(body)
            lost.remove(named)
            if not lost:
                return
        else:
            if len(_false_bodies) >= MAX_FALSE_BODIES:
                _false_bodies.clear()
            _false_bodies[event.event_id] = None


def all_evidence(core: NodeCore, snapshot: Snapshot) -> list[tuple[int, Evidence]]:
    """What all events held here prove against the seats in force: [(epoch, evidence)]."""
    seats = seat_set(snapshot)
    rounds: dict[int, Round] = {}
    for _, _, event in witness_events(snapshot, seats, {}):
        epoch = getattr(event.body, "epoch", None)
        if epoch is not None:
            rounds.setdefault(epoch, Round(core.ledger_id, epoch, seats)).add(event)
    return [(epoch, one) for epoch in sorted(rounds) for one in evidence_of(rounds[epoch])]


def rounds_from(core: NodeCore, snapshot: Snapshot, epoch: int) -> list[Round]:
    """What is known of the votes on an epoch and on those after it that seats speak of already."""
    seats = seat_set(snapshot)
    rounds = {epoch: load_round(core, snapshot, epoch)}
    for _, _, event in witness_events(snapshot, seats, _final_sizes(snapshot)):
        later = getattr(event.body, "epoch", 0)
        if event.kind == "witness.frontier" and epoch < later < epoch + MAX_EPOCHS_AHEAD:
            rounds.setdefault(later, Round(core.ledger_id, later, seats)).add(event)
    return list(rounds.values())


def _final_sizes(snapshot: Snapshot) -> dict[bytes, int]:
    """How far each log is final."""
    return {mark.log_id: mark.size for mark in snapshot.cut_marks().values()}


def closures(snapshot: Snapshot) -> dict[bytes, int]:
    """Logs that forks or retirements closed for good, and where."""
    found = {}
    for log in snapshot.logs():
        record = views.log_record(snapshot.state, log.log_id)
        if record is not None and record.closed_at is not None:
            found[log.log_id] = record.closed_at
    return found
