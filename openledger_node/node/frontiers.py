"""What a seat's frontier names, and what others' frontiers name that is not held here.

What a home holds of other logs decides which cuts it can compute and vote for (A4, A7): a mark is
held when any history of its log that is held here has it. Marks that frontiers name and that
growing alone will not bring are asked for (`unheld_marks`), so that in time all seats hold what the
others speak of.

Of logs that no cut has yet, those that came first are named first, and where there are too many
they take half of a frontier: whoever makes new accounts by the thousand, epoch after epoch, keeps
nobody else's log out of the cuts.

A leader may have shown the proposal that was decided on a history that some seats were not shown,
and the cut may have closed its log before it. So a frontier also names the history that holds the
last decided proposal, where that is not the one that the log goes on with: it changes no cut (A7
drops it), and whoever lacks the proposal hears where it stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from openledger_node.agreement.cut import shared_room
from openledger_node.agreement.machine import Held
from openledger_node.agreement.rounds import Round
from openledger_node.ledger.errors import BadInput, VerificationFailed
from openledger_node.ledger.events import LogGenesis, parse_event
from openledger_node.ledger.heads import Mark, SignedHead, verify_head
from openledger_node.ledger.kinds import parse_body
from openledger_node.ledger.votes import MAX_FRONTIER_HEADS, WitnessPropose, proposal_id
from openledger_node.node.witness_logs import closures, seat_set, seat_set_of, witness_leaves
from openledger_node.store.snapshot import Snapshot
from openledger_node.store.view_logs import LogInfo

MAX_UNHELD_MARKS: Final = 64
"""Marks of other histories that are asked for at a time: a forked log has two, or few more."""
CHECKED_HEADS: Final = 2**16
"""Signatures of heads that are remembered as checked: an epoch's frontiers of 20 seats in full."""


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


def unheld_logs(snapshot: Snapshot, marks: Iterable[Mark]) -> set[bytes]:
    """The logs of which less is held here, of any history, than marks name."""
    found = set()
    for mark in marks:
        log = snapshot.log(mark.log_id)
        if log is None or log.head is None or log.head.size < mark.size:
            found.add(mark.log_id)
    return found


def held_by(snapshot: Snapshot) -> Held:
    """What a seat knows when it speaks.

    Its frontier names its own log as it is before the frontier.
    """
    histories = StoredHistories(snapshot)

    def changed() -> list[SignedHead]:
        aside = decided_aside(snapshot)
        first: list[SignedHead] = [] if aside is None else [aside]
        old: list[SignedHead] = []
        new: list[SignedHead] = []
        for log in snapshot.logs():
            mark = snapshot.cut_mark(log.log_id)
            if log.head is not None and log.head.size > (mark.size if mark else 0):
                (first if log.own else old if mark else new).append(log.head)
        if len(old) > MAX_FRONTIER_HEADS // 2:  # those first that no cut took in for longest (A1)
            old.sort(key=lambda head: snapshot.last_change(head.log_id))
        return [*first, *shared_room(old, new, max(0, MAX_FRONTIER_HEADS - len(first)))]

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


def decided_aside(snapshot: Snapshot) -> SignedHead | None:
    """The head of a history set aside that holds the last decided proposal; None where the history
    that its log goes on with does.
    """
    epoch = snapshot.last_epoch()
    if epoch == 0:
        return None
    record = snapshot.must_epoch(epoch)
    seats = seat_set_of(snapshot, epoch)
    leader = seats.seats[seats.leader(epoch, record.view)]
    for proof in snapshot.forks():
        if (proof.genesis.account_id, proof.genesis.device) != leader:
            continue
        for place, log in enumerate(snapshot.histories(proof.head_a.log_id)):
            if _holds_proposal(snapshot, log, proof.common, record.proposal_id):
                return log.head if place else None
    return None


def _holds_proposal(snapshot: Snapshot, log: LogInfo, start: int, named: bytes) -> bool:
    ledger_id = snapshot.genesis.ledger_id
    leaves = witness_leaves(snapshot, log, start)
    return any(is_proposal(leaf, ledger_id, named) for _, leaf in leaves)


def is_proposal(leaf: bytes, ledger_id: bytes, named: bytes) -> bool:
    """Whether a leaf is the event that proposes what is named so."""
    try:
        body = parse_body(parse_event(leaf))
    except BadInput:
        return False
    if not isinstance(body, WitnessPropose):
        return False
    slot = ledger_id, body.epoch, body.view
    return named == proposal_id(*slot, body.parent_id, body.frontiers, body.cut_id)
