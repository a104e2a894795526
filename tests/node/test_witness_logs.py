"""What a home knows of marks and votes, when logs have several histories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from openledger_node.agreement.certificates import SeatSet
from openledger_node.agreement.cut import compute_cut
from openledger_node.agreement.rounds import Round, Witnessed
from openledger_node.ledger.forks import prove_fork
from openledger_node.ledger.heads import Mark, SignedHead
from openledger_node.ledger.merkle import leaf_hashes
from openledger_node.ledger.votes import WitnessFrontier, WitnessPropose, WitnessSkip, proposal_id
from openledger_node.node import frontiers
from openledger_node.node.epochs import has_pending
from openledger_node.node.frontiers import (
    MAX_UNHELD_MARKS,
    StoredHistories,
    decided_aside,
    held_by,
    unheld_marks,
)
from openledger_node.node.witness_logs import witness_events
from openledger_node.store.snapshot import Snapshot
from openledger_node.store.store import Certificate
from tests.kit.ledgerkit import MemoryLog, digest
from tests.store.place import KIND, Place, chain

COMMON, SIZE = 8, 20


def other_history(log: MemoryLog, name: str = "other", size: int = SIZE) -> MemoryLog:
    """A history of the log that parts from it after the common leaves."""
    made = MemoryLog(log.genesis, log.key)
    for leaf in log.leaves[1:COMMON]:
        made.append_leaf(leaf)
    while len(made.leaves) < size:
        made.append(KIND, [name, len(made.leaves)])
    return made


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "home")
    made.take(made.ledger)
    yield made
    made.close()


@pytest.fixture
def log(place: Place) -> MemoryLog:
    made = place.ledger.account("ada").log
    return chain(made, SIZE - len(made.leaves))


def both_held(place: Place, log: MemoryLog) -> MemoryLog:
    other = other_history(log)
    place.ingest(log)
    place.show_branch(other)
    return other


def pair(mark: Mark) -> tuple[int, bytes]:
    return mark.size, mark.root


@pytest.mark.rule("A4", "A7")
def test_marks_of_every_history_are_held_and_one_is_shown(place: Place, log: MemoryLog) -> None:
    other = both_held(place, log)
    with place.store.read() as snapshot:
        known = StoredHistories(snapshot)
        for mark in (log.mark(), other.mark(), log.mark(12), other.mark(12), log.mark(3)):
            assert known.holds(mark)
        assert known.shows(other.mark())
        assert not known.shows(log.mark())
        assert known.shows(log.mark(COMMON))
        assert not known.holds(Mark(log.log_id, 12, digest("no root")))
        assert not known.holds(Mark(log.log_id, SIZE + 1, digest("no root")))
        assert not known.holds(Mark(digest("no log"), 1, digest("no root")))


@pytest.mark.rule("A7")
@pytest.mark.parametrize("sizes", [(20, 20), (12, 20), (20, 9), (8, 20), (5, 3)])
def test_how_far_two_marks_are_one_is_told_exactly(
    place: Place, log: MemoryLog, sizes: tuple[int, int]
) -> None:
    other = both_held(place, log)
    with place.store.read() as snapshot:
        known = StoredHistories(snapshot)
        one, two = log.mark(sizes[0]), other.mark(sizes[1])
        assert known.common(log.log_id, pair(one), pair(two)) == min(COMMON, *sizes)
        assert known.common(log.log_id, pair(one), pair(log.mark(4))) == min(4, sizes[0])
        for at in range(1, sizes[0] + 1):
            assert known.root_at(log.log_id, at, pair(one)) == log.mark(at).root


def test_a_mark_that_is_not_held_has_nothing_in_common(place: Place, log: MemoryLog) -> None:
    place.ingest(log)
    with place.store.read() as snapshot:
        known = StoredHistories(snapshot)
        strange = (SIZE, digest("no root"))
        assert known.common(log.log_id, pair(log.mark()), strange) == 0


def a_round(place: Place, *heads: SignedHead) -> Round:
    seats = SeatSet(0, place.ledger.genesis.seat_keys)
    round_ = Round(place.ledger.id, 1, seats)
    frontier = WitnessFrontier(1, tuple(heads))
    round_.add(Witnessed(0, digest("frontier"), "witness.frontier", frontier))
    return round_


def know_of_fork(place: Place, log: MemoryLog, other: MemoryLog) -> None:
    hashes = leaf_hashes(log.leaves)
    proof = prove_fork(log.head(), hashes, other.head(), leaf_hashes(other.leaves))
    assert proof is not None
    place.store.put_fork(proof)


@pytest.mark.rule("A4")
def test_marks_of_histories_that_are_not_held_are_asked_for(place: Place, log: MemoryLog) -> None:
    other, longer = other_history(log), other_history(log, "longer", SIZE + 3)
    place.ingest(log)
    unsigned = SignedHead(log.log_id, 5, digest("no root"), bytes(64))
    grown = chain(MemoryLog(log.genesis, log.key), SIZE + 5)
    heads = (log.head().signed, other.head().signed, unsigned, longer.head().signed)
    with place.store.read() as snapshot:
        assert unheld_marks(snapshot, [a_round(place, *heads)]) == [other.mark()]
        assert unheld_marks(snapshot, [a_round(place, grown.head().signed)]) == []
    know_of_fork(place, log, other)
    with place.store.read() as snapshot:
        found = unheld_marks(snapshot, [a_round(place, *heads)])
        assert found == [other.mark(), longer.mark()]
    place.show_branch(other)
    with place.store.read() as snapshot:
        assert unheld_marks(snapshot, [a_round(place, *heads)]) == [longer.mark()]


def test_so_many_marks_are_asked_for_at_a_time(place: Place, log: MemoryLog) -> None:
    place.ingest(log)
    heads = [other_history(log, f"{n}").head().signed for n in range(MAX_UNHELD_MARKS + 3)]
    with place.store.read() as snapshot:
        assert len(unheld_marks(snapshot, [a_round(place, *heads)])) == MAX_UNHELD_MARKS


@pytest.mark.rule("A1")
def test_what_follows_a_fork_makes_no_epoch_due(place: Place, log: MemoryLog) -> None:
    ledger = place.ledger
    place.ingest(log, COMMON)
    other = other_history(log)
    ledger.logs.by_id[log.log_id].leaves[COMMON:] = []
    closed = ledger.close_epoch()
    place.store.commit_epoch(closed.folded, (*closed.cut.changed, place.head().mark))
    with place.store.read() as snapshot:
        assert snapshot.cut_mark(log.log_id) == other.mark(COMMON)
        assert not has_pending(snapshot)
    place.ingest(other)
    with place.store.read() as snapshot:
        assert has_pending(snapshot)
    mine = other_history(log, "mine")
    know_of_fork(place, mine, other)
    with place.store.read() as snapshot:
        assert not has_pending(snapshot)


@pytest.mark.rule("A2", "A9")
def test_votes_count_from_every_history_of_a_seat_s_log(place: Place) -> None:
    account = place.ledger.account("co-op")
    log = chain(account.log, COMMON - len(account.log.leaves))
    other = other_history(log, size=COMMON)
    for made, view in ((log, 1), (other, 2)):
        made.append("witness.skip", WitnessSkip(1, view, None, bytes(64)))
    place.ingest(log)
    place.show_branch(other)
    seats = SeatSet(0, place.ledger.genesis.seat_keys)
    with place.store.read() as snapshot:
        found = [event.body.view for _, _, event in witness_events(snapshot, seats, {})]
    assert sorted(found) == [1, 2]


@pytest.mark.rule("A1")
def test_a_frontier_names_those_first_that_no_cut_took_in_for_longest(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frontiers, "MAX_FRONTIER_HEADS", 3)
    names = ["ada", "bo", "cy"]
    ledger = place.ledger
    for turn, present in enumerate((["ada"], ["bo"], [])):
        for name in present:
            chain(ledger.account(name).log, 2)
        for log in ledger.logs.by_id.values():
            place.ingest(log)
        closed = ledger.close_epoch()
        place.store.commit_epoch(closed.folded, closed.cut.changed)
        assert closed.cut.epoch == turn + 1
    for name in names:
        place.ingest(chain(ledger.account(name).log, 3))
    logs = [ledger.account(name).log.log_id for name in names]
    with place.store.read() as snapshot:
        heads = [head.log_id for head in held_by(snapshot).changed_heads()]
        changes = [snapshot.last_change(log_id) for log_id in logs]
    assert changes == [1, 2, 0]
    assert heads == [place.log_id, logs[0], logs[2]]


@pytest.mark.rule("A1", "A7")
def test_new_logs_by_the_thousand_keep_no_other_log_out_of_the_frontiers(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every epoch brings more new accounts than a frontier names. The log of one that was there
    before is named all the same; and so is, in its turn, the first of the new ones.
    """
    monkeypatch.setattr(frontiers, "MAX_FRONTIER_HEADS", 9)
    ledger = place.ledger
    ada = ledger.account("ada").log
    place.ingest(ada)
    closed = ledger.close_epoch()
    place.store.commit_epoch(closed.folded, closed.cut.changed)
    place.ingest(chain(ada, 2))
    came = []
    for number in range(30):
        log = ledger.account(f"crowd-{number}").log
        place.ingest(log)
        came.append(log.log_id)
    with place.store.read() as snapshot:
        heads = [head.log_id for head in held_by(snapshot).changed_heads()]
    assert ada.log_id in heads
    assert heads[0] == place.log_id
    assert [one for one in heads if one in came] == came[: 9 - 2]


def decided_on(place: Place, proposed: WitnessPropose) -> None:
    """The home's own seat decided epoch 1 by this proposal."""
    named = proposal_id(place.ledger.id, 1, 0, None, proposed.frontiers, proposed.cut_id)
    closed = place.ledger.close_epoch()
    place.store.commit_epoch(closed.folded, closed.cut.changed, Certificate(0, named))


@pytest.mark.rule("A1", "A7")
@pytest.mark.parametrize("shown", ["with the proposal", "without it"])
def test_a_frontier_names_the_history_set_aside_that_holds_the_last_decided_proposal(
    place: Place, shown: str
) -> None:
    (witness,) = place.ledger.accounts.values()
    log = chain(witness.log, SIZE - len(witness.log.leaves))
    deciding = other_history(log)
    proposed = WitnessPropose(1, 0, None, None, (), (), (digest("frontier"),), (), digest("cut"))
    deciding.append("witness.propose", proposed)
    place.ingest(log)
    decided_on(place, proposed)
    place.show_branch(deciding)
    know_of_fork(place, log, deciding)
    if shown == "without it":
        place.show_branch(log)
    with place.store.read() as snapshot:
        aside = decided_aside(snapshot)
        named = [head.mark for head in held_by(snapshot).changed_heads()]
    if shown == "without it":
        assert aside == deciding.head().signed
        assert named[0] == deciding.mark()
    else:
        assert aside is None


@pytest.mark.rule("A7")
def test_the_history_set_aside_that_a_frontier_names_changes_no_cut(
    place: Place, log: MemoryLog
) -> None:
    other = both_held(place, log)
    previous = {log.log_id: log.mark(12)}
    with place.store.read() as snapshot:
        known = StoredHistories(snapshot)
        for heads in ([other.head().signed], [other.head().signed, log.head(15).signed]):
            cut = compute_cut(previous, digest("cut"), [heads, [log.head(14).signed]], {}, known)
            grown = max(head.size for head in [*heads[1:], log.head(14).signed])
            assert cut == (log.mark(grown),)


def test_a_head_of_a_log_that_is_not_known_cannot_be_judged(place: Place, log: MemoryLog) -> None:
    place.ingest(log)
    false = SignedHead(log.log_id, 5, log.mark(5).root, bytes(64))
    strange = SignedHead(digest("no log"), 5, digest("no root"), bytes(64))

    def judged(snapshot: Snapshot) -> list[bool | None]:
        held = held_by(snapshot)
        return [held.signed(head) for head in (log.head(7).signed, false, strange)]

    with place.store.read() as snapshot:
        assert judged(snapshot) == [True, False, None]
