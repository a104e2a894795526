"""Closing epochs and following those that others close.

Every home follows: from the witness events in the logs it holds it learns each decided cut, folds
it, and stores the epoch. A seat does the same and, besides, says what the rules ask of it
(`agreement.machine`). With one seat, `close_epoch` runs a whole epoch: frontier, propose, notar,
final, fold, state. After a crash it goes on from the last event it wrote.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from openledger_node.agreement import machine
from openledger_node.agreement.certificates import SeatSet
from openledger_node.agreement.machine import FoldResult, Held, Said
from openledger_node.agreement.rounds import Decided, Round, Settled, Witnessed, settle
from openledger_node.credit import views
from openledger_node.credit.fold import Folded, fold
from openledger_node.credit.inputs import Cut
from openledger_node.ledger.errors import BadInput, Refused, StoreDamaged
from openledger_node.ledger.events import event_ids, parse_event
from openledger_node.ledger.heads import Mark, SignedHead
from openledger_node.ledger.kinds import parse_body
from openledger_node.node.core import NodeCore, Progress, no_progress
from openledger_node.node.results import EpochClosed
from openledger_node.store.lock import one_at_a_time
from openledger_node.store.snapshot import LogInfo, Snapshot
from openledger_node.store.store import Certificate

MAX_OWN_EVENTS: Final = 16
"""Events that one seat says in one epoch: five in a good one, a few more after skipped views."""

STATES_BEHIND: Final = 2
"""Epochs before the newest whose states may still come in."""

_WITNESS: Final = b"witness."
_KIND_WINDOW_BYTES: Final = 32


def seat_set(snapshot: Snapshot) -> SeatSet:
    """The witnesses in force for the next epoch."""
    rules = views.rules(snapshot.state)
    return SeatSet(rules.number, rules.seats)


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


class _StoredHistories:
    """Marks of logs held here. A mark is known when the log has that root at that size."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def common(self, log_id: bytes, a: tuple[int, bytes], b: tuple[int, bytes]) -> int:
        log = self._snapshot.log(log_id)
        if log is None:
            return 0
        known = [mark for mark in (a, b) if self.holds(Mark(log_id, *mark))]
        # Of two marks that this home cannot both reach, only what it holds can be common.
        return min(a[0], b[0]) if len(known) == 2 else 0

    def root_at(self, log_id: bytes, size: int, under: tuple[int, bytes]) -> bytes:
        return self._snapshot.root_at(log_id, size)

    def holds(self, mark: Mark) -> bool:
        log = self._snapshot.log(mark.log_id)
        if log is None or log.head is None or log.head.size < mark.size:
            return False
        if log.head.size == mark.size:
            return log.head.root == mark.root
        return self._snapshot.root_at(mark.log_id, mark.size) == mark.root


def _held(snapshot: Snapshot) -> Held:
    """What a seat knows when it speaks.

    Its frontier names its own log as it is before the frontier.
    """
    histories = _StoredHistories(snapshot)

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
    )


def is_due(snapshot: Snapshot) -> bool:
    """Whether an epoch is due (A1): something is not final, or falls due in the next epoch."""
    return has_pending(snapshot) or views.due_in(snapshot.state, snapshot.last_epoch() + 1)


def has_pending(snapshot: Snapshot) -> bool:
    """Whether something other than witnesses' votes is not final yet."""
    seats = seat_set(snapshot)
    for log in snapshot.logs():
        if log.head is None:
            continue
        mark = snapshot.cut_mark(log.log_id)
        start = mark.size if mark else 0
        if log.head.size <= start:
            continue
        if seats.index_of(log.genesis.account_id, log.genesis.device) is None:
            return True
        for first in range(start, log.head.size, 4096):
            stop = min(log.head.size, first + 4096)
            leaves = snapshot.leaves(log.log_id, first, stop)
            if any(not _is_vote(leaf) for leaf in leaves):
                return True
    return False


def _is_vote(leaf: bytes) -> bool:
    """Whether a leaf is one of the events that make no epoch due (A1): votes, not set changes."""
    window = leaf[:_KIND_WINDOW_BYTES]
    return _WITNESS in window and b"witness.set" not in window and b"witness.ready" not in window


@contextmanager
def _collector_paused() -> Iterator[None]:
    """A fold makes no reference cycles; looking for them costs it a seventh of its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def fold_decided(
    core: NodeCore, snapshot: Snapshot, decided: Decided, progress: Progress
) -> Folded:
    """Folds a decided epoch from the stored state and the logs held."""
    events = 0
    for mark in decided.changed:
        before = snapshot.cut_mark(mark.log_id)
        events += mark.size - (before.size if before else 0)
    progress(0, events, "events folded")
    cut = Cut(decided.epoch, decided.cut_id, decided.changed)
    with _collector_paused():
        folded = fold(snapshot.state, cut, snapshot, core.genesis)
    progress(events, events, "events folded")
    return folded


def _store_epoch(core: NodeCore, decided: Decided, folded: Folded) -> None:
    core.store.commit_epoch(
        folded,
        decided.changed,
        Certificate(decided.view, decided.proposal_id, decided.certificate),
    )


def catch_up(core: NodeCore, *, progress: Progress = no_progress) -> int:
    """Folds every epoch that the witnesses' logs held here decide; how many."""
    done = 0
    first: int | None = None
    while True:
        with core.store.read() as snapshot:
            epoch = snapshot.last_epoch() + 1
            first = epoch if first is None else first
            round_ = load_round(core, snapshot, epoch)
            decided = round_.decision(snapshot.cut_marks())
            if decided is None or not _data_held(snapshot, decided):
                break
            folded = fold_decided(core, snapshot, decided, progress)
        _store_epoch(core, decided, folded)
        done += 1
    collect_states(core, first - STATES_BEHIND)
    if done:
        core.store.index_ids()
    return done


def _data_held(snapshot: Snapshot, decided: Decided) -> bool:
    histories = _StoredHistories(snapshot)
    return all(histories.holds(mark) for mark in decided.changed)


def missing_marks(core: NodeCore, snapshot: Snapshot) -> list[Mark]:
    """Marks that the next decided cut names and that growing alone will not bring here.

    So it is where this home holds another branch of a forked log than the one that was decided.
    """
    decided = load_round(core, snapshot, snapshot.last_epoch() + 1).decision(snapshot.cut_marks())
    if decided is None:
        return []
    histories = _StoredHistories(snapshot)
    forked = {proof.head_a.log_id for proof in snapshot.forks()}
    missing = []
    for mark in decided.changed:
        log = snapshot.log(mark.log_id)
        held = log.head.size if log is not None and log.head is not None else 0
        elsewhere = mark.log_id in forked or held >= mark.size
        if elsewhere and not histories.holds(mark):
            missing.append(mark)
    return missing


def collect_states(core: NodeCore, first: int) -> None:
    """Keeps the seats' signed states of epochs from `first` on; alarms on a different root."""
    with core.store.read() as snapshot:
        last = snapshot.last_epoch()
        seats = seat_set(snapshot)
        since = {log.log_id: _size_by(snapshot, log.log_id, first) for log in snapshot.logs()}
        found: dict[int, Round] = {}
        for _, _, event in witness_events(snapshot, seats, since):
            epoch = getattr(event.body, "epoch", 0)
            if event.kind == "witness.state" and 0 < epoch <= last:
                found.setdefault(epoch, Round(core.ledger_id, epoch, seats)).add(event)
        known = {epoch: snapshot.states(epoch) for epoch in found}
        records = {epoch: snapshot.must_epoch(epoch) for epoch in found}
    for epoch, round_ in sorted(found.items()):
        fresh = [(s, state) for s, state in round_.states.items() if s not in known[epoch]]
        if fresh:
            core.store.put_states(epoch, fresh)
        differing = [
            seat
            for seat, state in round_.states.items()
            if (state.statement_root, state.state_digest)
            != (records[epoch].statement_root, records[epoch].state_digest)
        ]
        if len(differing) > round_.seats.faults:
            text = f"epoch {epoch}: {len(differing)} witnesses signed another statement than ours"
            core.store.set_facts("alarm", [(epoch.to_bytes(8, "big"), text.encode())])


def _size_by(snapshot: Snapshot, log_id: bytes, epoch: int) -> int:
    """The size of a log in the cut of an epoch or of one shortly before.

    A seat signs an epoch's state after the part of its log that the epoch's cut holds.
    """
    for number in range(epoch, max(0, epoch - STATES_BEHIND), -1):
        size = snapshot.size_in_cut(log_id, number)
        if size is not None:
            return size
    return 0


def settled(snapshot: Snapshot, core: NodeCore, epoch: int) -> Settled:
    """Who signed an epoch's statement as stored here, and whether q seats did."""
    record = snapshot.must_epoch(epoch)
    round_ = Round(core.ledger_id, epoch, seat_set(snapshot))
    round_.states.update(snapshot.states(epoch))
    own = next(
        (
            state
            for state in round_.states.values()
            if (state.statement_root, state.state_digest)
            == (record.statement_root, record.state_digest)
        ),
        None,
    )
    return settle(round_, own) if own else Settled((), False, False)


def close_epoch(
    core: NodeCore, *, resume: bool = False, progress: Progress = no_progress
) -> EpochClosed:
    """Closes an epoch on a solo ledger; elsewhere says what is due and who decides.

    One process at a time: two that vote at once for one seat would contradict each other.
    """
    _may_vote(core, resume)
    with one_at_a_time(core.home / "ledger", "epoch"):
        return _close(core, progress)


def _close(core: NodeCore, progress: Progress) -> EpochClosed:
    catch_up(core, progress=progress)
    _sign_missing_state(core)
    _file_verdicts(core, progress)
    with core.store.read() as snapshot:
        epoch = snapshot.last_epoch() + 1
        round_ = load_round(core, snapshot, epoch)
        if not round_.frontiers and not is_due(snapshot):
            return _report(snapshot, None, "nothing is due")
    decided = _decide(core, epoch, progress)
    with core.store.read() as snapshot:
        folded = fold_decided(core, snapshot, decided, progress)
    _store_epoch(core, decided, folded)
    _sign_missing_state(core)
    core.store.index_ids()
    with core.store.read() as snapshot:
        return _report(snapshot, folded, "")


def _file_verdicts(core: NodeCore, progress: Progress) -> None:
    """The seat's votes on challenged receipts, which this epoch can count."""
    from openledger_node.node import auditing  # it reads the store by modules that import this one

    auditing.file_verdicts(core, progress)


def _may_vote(core: NodeCore, resume: bool) -> None:
    """Refuses where this device has no seat, is one of several, or may be a copy of the seat."""
    with core.store.read() as snapshot:
        seats = seat_set(snapshot)
        seat = seats.index_of(core.account_id, core.device)
    if seat is None:
        raise Refused(
            "this home has no seat on its ledger: the witnesses close its epochs",
            hint="export a bundle for a witness, and import the one you get back",
            code="no_seat",
        )
    if len(seats.seats) > 1:
        raise Refused(
            f"this ledger has {len(seats.seats)} witnesses, who decide together",
            hint="a witness's daemon votes by itself",
            code="not_solo",
        )
    if core.is_copy() and not resume:
        raise Refused(
            "this home was copied or restored, and is the ledger's only witness: closing an "
            "epoch here and in the original would make two ledgers of one",
            hint="when the original is gone for good: `oln epoch close --resume`",
            code="must_resume",
        )
    if resume:
        core.resume()


def _decide(core: NodeCore, epoch: int, progress: Progress) -> Decided:
    """Says what the rules ask of the only seat until its epoch is decided."""
    core.writer().sign_pending()
    for step in range(MAX_OWN_EVENTS):
        progress(step, None, "votes")
        with core.store.read() as snapshot:
            round_ = load_round(core, snapshot, epoch)
            decided = round_.decision(snapshot.cut_marks())
            if decided is not None:
                return decided
            seats = round_.seats
            seat = machine.seat_of(seats, core.account_id, core.device, core.key("device"))
            if seat is None:
                raise Refused("this device has no seat", code="no_seat")
            held = _held(snapshot)
            said = machine.next_event(round_, seat, held, due=True)
        if said is None:
            raise StoreDamaged(
                f"epoch {epoch} can neither be decided nor voted on with what is stored",
                hint="run `oln check`",
            )
        _say(core, said)
    raise StoreDamaged(f"epoch {epoch} was not decided by {MAX_OWN_EVENTS} votes")


def _say(core: NodeCore, said: Said) -> None:
    core.append([core.draft(said.kind, said.body)])


def _sign_missing_state(core: NodeCore) -> None:
    """A8: the seat's signed state of the last epoch, unless it has said it."""
    with core.store.read() as snapshot:
        epoch = snapshot.last_epoch()
        seats = seat_set(snapshot)
        seat = machine.seat_of(seats, core.account_id, core.device, core.key("device"))
        if epoch == 0 or seat is None or seat.index in snapshot.states(epoch):
            return
        record = snapshot.must_epoch(epoch)
        decided = Decided(
            epoch,
            record.view,
            record.proposal_id,
            record.cut_id,
            record.changed,
            record.certificate,
        )
    folded = FoldResult(
        record.statement_root,
        record.state_digest,
        record.rules_version,
        record.next_set_digest,
    )
    _say(core, machine.state_event(core.ledger_id, decided, folded, seat.key))
    collect_states(core, epoch)


def _report(snapshot: Snapshot, folded: Folded | None, note: str) -> EpochClosed:
    record = snapshot.must_epoch(snapshot.last_epoch())
    counts = folded.counts if folded else None
    return EpochClosed(
        closed=folded is not None,
        epoch=record.epoch,
        cut_id=record.cut_id.hex(),
        statement_root=record.statement_root.hex(),
        state_digest=record.state_digest.hex(),
        events=counts.events_read if counts else 0,
        receipts=counts.receipts if counts else 0,
        void=counts.void if counts else 0,
        parked=counts.parked if counts else 0,
        note=note,
    )
