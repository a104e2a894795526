"""The same final events give the same bytes: any arrival order, hash seed, process and reader."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec
import pytest

from openledger_node.credit import reading
from openledger_node.credit.fold import ConservationBroken, Folded, fold, initial_state
from openledger_node.credit.inputs import Cut
from openledger_node.credit.state_records import Grant
from openledger_node.ledger.encoding import H, decode, encode
from openledger_node.ledger.errors import StoreDamaged
from tests.credit.strategies import Play
from tests.kit.ledgerkit import CREDIT, Ledger, MemoryState
from tests.kit.stage import Stage

ROOT = Path(__file__).resolve().parents[2]
SEEDS = range(6)
PROGRAM = """
from random import Random
from tests.credit.strategies import Play
from tests.kit.ledgerkit import Ledger
for closed in Play(Random(3)).run(epochs=6, count=30).epochs:
    folded = closed.folded
    print(folded.state_digest.hex(), folded.statement.root.hex())
"""


def played(seed: int) -> Ledger:
    return Play(Random(seed)).run(epochs=6, count=30)


def refold(ledger: Ledger, cuts: Sequence[Cut], logs: object = None) -> list[Folded]:
    """Folds the ledger's cuts from the beginning."""
    state = MemoryState()
    first = initial_state(ledger.genesis)
    state.apply(first.delta)
    results = [first]
    for cut in cuts:
        results.append(fold(state, cut, logs or ledger.logs, ledger.genesis))  # type: ignore[arg-type]
        state.apply(results[-1].delta)
    return results


def bytes_of(results: Sequence[Folded]) -> list[tuple[bytes, bytes, bytes]]:
    return [(each.state_digest, each.statement.encode(), each.journal) for each in results]


def original(ledger: Ledger) -> list[tuple[bytes, bytes, bytes]]:
    return bytes_of([closed.folded for closed in ledger.epochs])


@pytest.mark.parametrize("seed", SEEDS)
def test_folding_from_scratch_equals_folding_as_events_came(seed: int) -> None:
    ledger = played(seed)
    assert bytes_of(refold(ledger, [closed.cut for closed in ledger.epochs[1:]])) == original(
        ledger
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_in_which_a_cut_lists_its_logs_changes_nothing(seed: int) -> None:
    ledger = played(seed)
    shuffled = []
    for closed in ledger.epochs[1:]:
        marks = list(closed.cut.changed)
        Random(seed).shuffle(marks)
        shuffled.append(Cut(closed.cut.epoch, closed.cut.cut_id, tuple(marks)))
    assert bytes_of(refold(ledger, shuffled)) == original(ledger)


def test_reading_in_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = played(1)
    expected = original(ledger)
    monkeypatch.setattr(reading, "CHUNK_LEAVES", 3)
    cuts = [closed.cut for closed in ledger.epochs[1:]]
    assert bytes_of(refold(ledger, cuts)) == expected


def test_hash_seeds_and_processes_change_nothing() -> None:
    outputs = set()
    for seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert len(outputs.pop().splitlines()) == len(played(3).epochs)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_digest_chains_every_change_of_the_state(seed: int) -> None:
    ledger = played(seed)
    digest = ledger.id
    for closed in ledger.epochs:
        delta = closed.folded.delta
        assert [key for key, _ in delta] == sorted({key for key, _ in delta})
        changes = [(key, value) for key, value in delta if key != b"h"]
        digest = H("delta", digest, changes)
        assert closed.folded.state_digest == digest
        for _, value in delta:
            assert value is None or decode(value) is not None


def test_a_fold_leaves_the_state_it_reads_as_it_was() -> None:
    ledger = played(2)
    before = dict(ledger.state.values)
    fold(ledger.state, ledger.next_cut(), ledger.logs, ledger.genesis)
    assert ledger.state.values == before


def test_one_epoch_or_many_conserve_the_same_issue() -> None:
    """All events in one cut: other epochs, other verdicts, and still nothing is lost."""
    ledger = played(4)
    marks = tuple(log.mark() for log in ledger.logs.by_id.values())
    results = refold(ledger, [Cut(1, bytes(32), marks)])
    rows = results[-1].statement.rows
    assert all(row.balance_micro >= 0 and row.locked_micro >= 0 for row in rows)


def test_a_log_shorter_than_its_mark_stops_the_fold() -> None:
    ledger = played(5)
    log = ledger.accounts["ada"].log
    log.append("data.perfume", [])
    cut = ledger.next_cut()
    log.leaves.pop()
    with pytest.raises(StoreDamaged):
        fold(ledger.state, cut, ledger.logs, ledger.genesis)


def test_books_that_do_not_balance_stop_the_fold() -> None:
    """A state that was tampered with: the grant has more left than its payer has locked."""
    stage = Stage()
    raw = stage.ledger.state.values[b"F" + stage.g]
    grant = msgspec.msgpack.decode(raw, type=Grant)
    grant.amount = grant.remaining = 100 * CREDIT
    stage.ledger.state.values[b"F" + stage.g] = encode(grant)
    stage.use(90 * CREDIT)
    with pytest.raises(ConservationBroken):
        stage.ledger.close_epoch()
