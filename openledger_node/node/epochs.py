"""Closing epochs and following those that others close.

Every home follows: from the witness events in the logs it holds it learns each decided cut, folds
it, and stores the epoch. A seat does the same and, besides, says what the rules ask of it
(`agreement.machine`). With one seat, `close_epoch` runs a whole epoch: frontier, propose, notar,
final, fold, state. After a crash it goes on from the last event it wrote.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from openledger_node.agreement import machine
from openledger_node.agreement.machine import FoldResult, Said
from openledger_node.agreement.rounds import (
    Decided,
    Round,
    Settled,
    contradicting_seats,
    settle,
)
from openledger_node.credit import views
from openledger_node.credit.fold import Folded, fold
from openledger_node.credit.inputs import Cut
from openledger_node.ledger.errors import Refused, StoreDamaged
from openledger_node.ledger.genesis import RULES_VERSION, quorum
from openledger_node.ledger.heads import Mark
from openledger_node.node.core import NodeCore, Progress, no_progress
from openledger_node.node.frontiers import StoredHistories, held_by, unheld_logs, unheld_marks
from openledger_node.node.results import EpochClosed
from openledger_node.node.witness_logs import (
    load_round,
    note_set,
    rounds_from,
    seat_set,
    seat_set_of,
    witness_events,
)
from openledger_node.store.lock import one_at_a_time
from openledger_node.store.snapshot import ALARM_FACT, Snapshot
from openledger_node.store.store import Certificate
from openledger_node.store.view_epochs import EpochRecord

MAX_OWN_EVENTS: Final = 16
"""Events that one seat says in one epoch: five in a good one, a few more after skipped views."""

LOOKS_AT_A_CLOSE: Final = 16
"""How often a seat that closes an epoch looks at what challenges and claims are left."""

STATES_BEHIND: Final = 2
"""Epochs before the newest whose states may still come in."""
UNPROVED_BEHIND: Final = 16
"""Epochs before the newest whose statements are still signed, and looked for, while fewer than q
seats have signed them: one that was away, or has lost its seat since, may be the one wanting.
"""

_ALL_HELD: Final = "all that it names is held"
_WITNESS: Final = b"witness."
_KIND_WINDOW_BYTES: Final = 32


def is_due(snapshot: Snapshot) -> bool:
    """Whether an epoch is due (A1): something is not final, or falls due in the next epoch."""
    return has_pending(snapshot) or views.due_in(snapshot.state, snapshot.last_epoch() + 1)


def has_pending(snapshot: Snapshot) -> bool:
    """Whether something other than witnesses' votes is not final yet."""
    seats = seat_set(snapshot)
    forked = {proof.head_a.log_id: proof.common for proof in snapshot.forks()}
    for log in snapshot.logs():
        if log.head is None:
            continue
        mark = snapshot.cut_mark(log.log_id)
        start = mark.size if mark else 0
        if log.head.size <= start:
            continue
        # What follows where a log was closed or forked may never be final: it makes no epoch due.
        record = views.log_record(snapshot.state, log.log_id)
        closed_at = record.closed_at if record is not None else None
        end = closed_at if closed_at is not None else forked.get(log.log_id, log.head.size)
        size = min(log.head.size, end)
        if size <= start:
            continue
        if seats.index_of(log.genesis.account_id, log.genesis.device) is None:
            return True
        for first in range(start, size, 4096):
            stop = min(size, first + 4096)
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


def knows_rules(snapshot: Snapshot) -> bool:
    """Whether this program can fold what follows the last epoch."""
    return views.rules(snapshot.state).version == RULES_VERSION


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
    note_set(core)


def catch_up(core: NodeCore, *, progress: Progress = no_progress) -> int:
    """Folds every epoch that the witnesses' logs held here decide; how many.

    It stops where the ledger went over to rules that this program does not know.
    """
    done = 0
    note_set(core)
    first: int | None = None
    while True:
        with core.store.read() as snapshot:
            epoch = snapshot.last_epoch() + 1
            first = epoch if first is None else first
            round_ = load_round(core, snapshot, epoch)
            decided = round_.decision(snapshot.cut_marks())
            known = knows_rules(snapshot)
            if decided is None or not known or not _data_held(snapshot, decided):
                break
            folded = fold_decided(core, snapshot, decided, progress)
        _store_epoch(core, decided, folded)
        done += 1
    collect_states(core, first - STATES_BEHIND)
    if done:
        core.store.index_ids()
    return done


def _data_held(snapshot: Snapshot, decided: Decided) -> bool:
    histories = StoredHistories(snapshot)
    return all(histories.shows(mark) for mark in decided.changed)


def missing_marks(core: NodeCore, snapshot: Snapshot) -> list[Mark]:
    """Marks that the next cut names, or may, and that growing alone will not bring here.

    So it is where this home holds another branch of a forked log than the one that was decided, or
    than the one that a seat speaks of. Seats that have decided the next epoch already speak of
    later ones, and their frontiers then name the history in which its proposal lies.
    """
    epoch = snapshot.last_epoch() + 1
    round_ = load_round(core, snapshot, epoch)
    decided = round_.decision(snapshot.cut_marks())
    if decided is None:
        return unheld_marks(snapshot, rounds_from(core, snapshot, epoch))
    histories = StoredHistories(snapshot)
    forked = {proof.head_a.log_id for proof in snapshot.forks()}
    missing = []
    for mark in decided.changed:
        log = snapshot.log(mark.log_id)
        held = log.head.size if log is not None and log.head is not None else 0
        elsewhere = mark.log_id in forked or held >= mark.size
        if elsewhere and not histories.shows(mark):
            missing.append(mark)
    return missing


def missing_logs(core: NodeCore, snapshot: Snapshot) -> tuple[set[bytes], dict[int, set[bytes]]]:
    """The logs that the next cut names and that are not held so far; and, where this home has a
    seat, by seat those that its frontiers name: it cannot vote without them.
    """
    round_ = load_round(core, snapshot, snapshot.last_epoch() + 1)
    decided = round_.decision(snapshot.cut_marks())
    by_cut = unheld_logs(snapshot, decided.changed) if decided is not None else set()
    by_seat: dict[int, set[bytes]] = {}
    if decided is None and round_.seats.index_of(core.account_id, core.device) is not None:
        for event_id, (seat, body) in round_.reports.items():
            if core.looked.get((_ALL_HELD, event_id)):
                continue
            named = unheld_logs(snapshot, (head.mark for head in body.heads))
            by_seat[seat] = by_seat.get(seat, set()) | named
            if not named:
                core.looked.put((_ALL_HELD, event_id), True)
    return by_cut, by_seat


def unproved_epochs(snapshot: Snapshot) -> list[int]:
    """Of the last epochs those whose statements fewer than q seats have signed, as far as is known
    here.
    """
    last = snapshot.last_epoch()
    return [
        epoch
        for epoch in range(max(1, last - UNPROVED_BEHIND), last + 1)
        if len(snapshot.states(epoch)) < seat_set_of(snapshot, epoch).quorum
    ]


def collect_states(core: NodeCore, first: int) -> None:
    """Keeps the seats' signed states of epochs from `first` on, and of those still unproved.

    Alarms on a different root (A8), and on a FINAL certificate for another cut than the one that
    was verified here first.
    """
    with core.store.read() as snapshot:
        last = snapshot.last_epoch()
        first = min([first, *unproved_epochs(snapshot)])
        since = {log.log_id: _size_by(snapshot, log.log_id, first) for log in snapshot.logs()}
        sets = {epoch: seat_set_of(snapshot, epoch) for epoch in range(max(1, first), last + 1)}
        found: dict[int, Round] = {}
        for seats in {seats.number: seats for seats in sets.values()}.values():
            for _, _, event in witness_events(snapshot, seats, since):
                epoch = getattr(event.body, "epoch", 0)
                if epoch in sets and sets[epoch] == seats:
                    found.setdefault(epoch, Round(core.ledger_id, epoch, seats)).add(event)
        known = {epoch: snapshot.states(epoch) for epoch in found}
        records = {epoch: snapshot.must_epoch(epoch) for epoch in found}
    for epoch, round_ in sorted(found.items()):
        fresh = [(s, state) for s, state in round_.states.items() if s not in known[epoch]]
        if fresh:
            core.store.put_states(epoch, fresh)
        text = _alarm(round_, records[epoch])
        if text:
            core.store.set_facts(ALARM_FACT, [(epoch.to_bytes(8, "big"), text.encode())])


def _alarm(round_: Round, record: EpochRecord) -> str:
    """What of an epoch contradicts this home's, or an empty text."""
    if round_.final_cuts() - {record.cut_id}:
        return f"epoch {record.epoch}: the witnesses decided another cut than ours too"
    differing = contradicting_seats(round_, record.statement_root, record.state_digest)
    if len(differing) > round_.seats.faults:
        return (
            f"epoch {record.epoch}: {len(differing)} witnesses signed another statement than ours"
        )
    return ""


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
    round_ = Round(core.ledger_id, epoch, seat_set_of(snapshot, epoch))
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
    return settle(round_, own) if own else Settled((), False)


def close_epoch(
    core: NodeCore, *, resume: bool = False, progress: Progress = no_progress
) -> EpochClosed:
    """Closes an epoch on a solo ledger; one of several seats says what the rules ask of it.

    One process at a time: two that vote at once for one seat would contradict each other.
    """
    seats = _may_vote(core, resume)
    if seats > 1:
        return _ask_for_epoch(core, seats, progress)
    with one_at_a_time(core.home / "ledger", "epoch"):
        return _close(core, progress)


def _ask_for_epoch(core: NodeCore, seats: int, progress: Progress) -> EpochClosed:
    """A seat's frontier and votes, as far as the others' are here; the q-th one decides."""
    from openledger_node.node.voting import Voter  # it is made of this module's functions

    with core.store.read() as snapshot:
        before = snapshot.last_epoch()
    catch_up(core, progress=progress)
    with core.store.read() as snapshot:
        idle = not is_due(snapshot)
        idle = idle and not load_round(core, snapshot, snapshot.last_epoch() + 1).frontiers
    voter = Voter(core, now_ms=core.clock_ms)
    _file_many_verdicts(core, progress)
    voter.step(closing=not idle)
    if catch_up(core, progress=progress):
        voter.step()
    with core.store.read() as snapshot:
        closed = snapshot.last_epoch() > before
        note = "nothing is due" if idle else f"votes written; {quorum(seats)} seats decide together"
        return _report(snapshot, None, "" if closed else note, closed=closed)


def _close(core: NodeCore, progress: Progress) -> EpochClosed:
    catch_up(core, progress=progress)
    sign_missing_states(core)
    _file_many_verdicts(core, progress)
    with core.store.read() as snapshot:
        epoch = snapshot.last_epoch() + 1
        round_ = load_round(core, snapshot, epoch)
        if not round_.frontiers and not is_due(snapshot):
            return _report(snapshot, None, "nothing is due")
    decided = _decide(core, epoch, progress)
    with core.store.read() as snapshot:
        folded = fold_decided(core, snapshot, decided, progress)
    _store_epoch(core, decided, folded)
    sign_missing_states(core)
    core.store.index_ids()
    with core.store.read() as snapshot:
        return _report(snapshot, folded, "")


def file_verdicts(core: NodeCore, progress: Progress = no_progress) -> bool:
    """The seat's votes on challenged receipts, which this epoch can count; whether it has more to
    look at.
    """
    from openledger_node.node import auditing  # it reads the store by modules that import this one

    auditing.file_verdicts(core, progress)
    return auditing.has_more_to_judge(core)


def _file_many_verdicts(core: NodeCore, progress: Progress) -> None:
    """As `file_verdicts`, several times over: where an epoch is closed by hand, and when it is
    time to, nobody looks on a little later.
    """
    for _ in range(LOOKS_AT_A_CLOSE):
        if not file_verdicts(core, progress):
            break


def _may_vote(core: NodeCore, resume: bool) -> int:
    """How many seats there are. Refuses where this device has none, or may be a copy of one."""
    with core.store.read() as snapshot:
        seats = seat_set(snapshot)
        seat = seats.index_of(core.account_id, core.device)
        version = views.rules(snapshot.state).version
        known = knows_rules(snapshot)
    if not known:
        raise Refused(
            f"the next epoch follows rules version {version}, which this program does not know",
            hint="upgrade openledger-node, then close the epoch",
            code="rules_version_unknown",
        )
    if seat is None:
        sign_missing_states(core)  # of the epoch that took the seat away
        raise Refused(
            "this home has no seat on its ledger: the witnesses close its epochs",
            hint="export a bundle for a witness, and import the one you get back",
            code="no_seat",
        )
    if core.is_copy() and not resume:
        raise Refused(
            "this home was copied or restored, and holds a seat: voting here and in the original "
            "would contradict what was voted before",
            hint="when the original is gone for good: `oln epoch close --resume`",
            code="must_resume",
        )
    if resume:
        core.resume()
    return len(seats.seats)


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
            held = held_by(snapshot)
            said = machine.next_event(round_, seat, held, due=True)
        if said is None:
            raise StoreDamaged(
                f"epoch {epoch} can neither be decided nor voted on with what is stored",
                hint="run `oln check`",
            )
        say(core, said)
    raise StoreDamaged(f"epoch {epoch} was not decided by {MAX_OWN_EVENTS} votes")


def say(core: NodeCore, said: Said) -> None:
    core.append([core.draft(said.kind, said.body)])


def sign_missing_states(core: NodeCore) -> None:
    """A8: the seat's signed states of the last epoch, and of earlier ones that too few seats have
    signed, unless it has said them.
    """
    key, owed = core.key("device"), []
    with core.store.read() as snapshot:
        for epoch in sorted({snapshot.last_epoch(), *unproved_epochs(snapshot)} - {0}):
            seats = seat_set_of(snapshot, epoch)
            seat = seats.index_of(core.account_id, core.device)
            if seat is not None and seat not in snapshot.states(epoch):
                owed.append(_what_was_decided(snapshot.must_epoch(epoch)))
    for decided, folded in owed:
        say(core, machine.state_event(core.ledger_id, decided, folded, key))
    if owed:
        collect_states(core, owed[0][0].epoch)


def _what_was_decided(record: EpochRecord) -> tuple[Decided, FoldResult]:
    decided = Decided(
        record.epoch,
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
    return decided, folded


def _report(
    snapshot: Snapshot, folded: Folded | None, note: str, *, closed: bool = False
) -> EpochClosed:
    record = snapshot.must_epoch(snapshot.last_epoch())
    counts = folded.counts if folded else None
    return EpochClosed(
        closed=closed or folded is not None,
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
