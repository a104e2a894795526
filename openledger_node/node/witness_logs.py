"""What a home knows of the witnesses' votes, read from the logs it holds.

Votes count from any log of a seat's device, and from every history of it that is held. What a home
holds of other logs decides which cuts it can compute and vote for (A4, A7): a mark is held when any
history of its log that is held here has it. Marks that frontiers name and that growing alone will
not bring are asked for (`unheld_marks`), so that in time all seats hold what the others speak of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final

import msgspec

from openledger_node.agreement.certificates import SeatSet, genesis_seats
from openledger_node.agreement.evidence import evidence_of
from openledger_node.agreement.machine import Held
from openledger_node.agreement.rounds import Evidence, Round, Witnessed
from openledger_node.credit import views
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput, VerificationFailed
from openledger_node.ledger.events import LogGenesis, event_ids, parse_event
from openledger_node.ledger.heads import Mark, SignedHead, verify_head
from openledger_node.ledger.kinds import parse_body
from openledger_node.ledger.votes import MAX_FRONTIER_HEADS, WitnessSet
from openledger_node.node.core import NodeCore
from openledger_node.store.snapshot import Snapshot
from openledger_node.store.view_logs import LogInfo

MAX_UNHELD_MARKS: Final = 64
"""Marks of other histories that are asked for at a time: a forked log has two, or few more."""
MAX_EPOCHS_AHEAD: Final = 64
"""How far past a home's own epoch it reads what frontiers name, to find what it lacks."""
CHECKED_HEADS: Final = 2**16
"""Signatures of heads that are remembered as checked: an epoch's frontiers of 20 seats in full."""

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
            for seq, leaf in _witness_leaves(snapshot, log, since.get(log.log_id, 0)):
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


def _witness_leaves(snapshot: Snapshot, log: LogInfo, start: int) -> Iterator[tuple[int, bytes]]:
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
    return round_


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


class StoredHistories:
    """Marks of logs held here, on any of their histories."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._roots: dict[tuple[int, int], bytes] = {}
        self._histories: dict[bytes, list[LogInfo]] = {}

    def common(self, log_id: bytes, a: tuple[int, bytes], b: tuple[int, bytes]) -> int:
        """The longest common prefix, of marks that are held; 0 when one is not."""
        first, second = self._with(Mark(log_id, *a)), self._with(Mark(log_id, *b))
        if first is None or second is None:
            return 0
        return self._shared(first, second, min(a[0], b[0]))

    def root_at(self, log_id: bytes, size: int, under: tuple[int, bytes]) -> bytes:
        history = self._with(Mark(log_id, *under))
        assert history is not None, "only marks that are held are asked about"
        return self._root(history, size)

    def holds(self, mark: Mark) -> bool:
        """Whether a history held here has this mark."""
        return self._with(mark) is not None

    def shows(self, mark: Mark) -> bool:
        """Whether the history that readers and the fold see has this mark."""
        log = self._snapshot.log(mark.log_id)
        return log is not None and self._has(log, mark)

    def _with(self, mark: Mark) -> LogInfo | None:
        if mark.log_id not in self._histories:
            self._histories[mark.log_id] = self._snapshot.histories(mark.log_id)
        found = (log for log in self._histories[mark.log_id] if self._has(log, mark))
        return next(found, None)

    def _has(self, log: LogInfo, mark: Mark) -> bool:
        if log.head is None or log.head.size < mark.size:
            return False
        return self._root(log, mark.size) == mark.root

    def _root(self, log: LogInfo, size: int) -> bytes:
        if log.head is not None and log.head.size == size:
            return log.head.root
        key = log.number, size
        if key not in self._roots:
            self._roots[key] = self._snapshot.root_of(log.number, size)
        return self._roots[key]

    def _shared(self, one: LogInfo, other: LogInfo, size: int) -> int:
        """How many leaves, up to `size`, two histories share: a prefix, so halving finds it."""
        if one.number == other.number:
            return size
        low, high = 0, size
        while low < high:
            middle = (low + high + 1) // 2
            if self._root(one, middle) == self._root(other, middle):
                low = middle
            else:
                high = middle - 1
        return low


@lru_cache(maxsize=CHECKED_HEADS)
def _is_signed(head: SignedHead, genesis: LogGenesis) -> bool:
    try:
        verify_head(head, genesis)
    except (BadInput, VerificationFailed):
        return False
    return True


def unheld_marks(snapshot: Snapshot, rounds: Iterable[Round]) -> list[Mark]:
    """Marks in frontiers that are of other histories than those held here (A4)."""
    histories = StoredHistories(snapshot)
    forked = {proof.head_a.log_id for proof in snapshot.forks()}
    found: set[Mark] = set()
    for round_ in rounds:
        for _, body in round_.reports.values():
            for head in body.heads:
                log = snapshot.log(head.log_id)
                if log is None or log.own or log.head is None:
                    continue
                if log.head.size < head.size and log.log_id not in forked:
                    continue  # it comes by growing
                if not histories.holds(head.mark) and _is_signed(head, log.genesis):
                    found.add(head.mark)
    return sorted(found)[:MAX_UNHELD_MARKS]


def held_by(snapshot: Snapshot) -> Held:
    """What a seat knows when it speaks.

    Its frontier names its own log as it is before the frontier.
    """
    histories = StoredHistories(snapshot)

    def changed() -> list[SignedHead]:
        grown = []
        for log in snapshot.logs():
            mark = snapshot.cut_mark(log.log_id)
            if log.head is not None and log.head.size > (mark.size if mark else 0):
                grown.append(log.head)
        if len(grown) > MAX_FRONTIER_HEADS:  # those first that no cut took in for longest (A1)
            grown.sort(key=lambda head: snapshot.last_change(head.log_id))
        return grown

    def signed(head: SignedHead) -> bool | None:
        log = snapshot.log(head.log_id)
        return None if log is None else log.head == head or _is_signed(head, log.genesis)

    return Held(
        previous=snapshot.cut_marks(),
        previous_cut_id=snapshot.must_epoch(snapshot.last_epoch()).cut_id,
        closures=closures(snapshot),
        histories=histories,
        changed_heads=changed,
        holds=histories.holds,
        signed=signed,
        doubtful=_forked_seats(snapshot),
    )


def _forked_seats(snapshot: Snapshot) -> frozenset[int]:
    """The seats with a log of which two histories are known."""
    seats = seat_set(snapshot)
    found = {
        seats.index_of(proof.genesis.account_id, proof.genesis.device) for proof in snapshot.forks()
    }
    return frozenset(seat for seat in found if seat is not None)
