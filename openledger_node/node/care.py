"""Care of a home: `check`, `compact`, `backup`, `restore`.

The store holds itself to its hashes (store/check.py). What it cannot know is whether its state is
what the fold makes of its logs: `check` folds every stored epoch again, from the genesis on, and
compares each digest and at the end every value. So the state and the journals can be made anew from
the logs.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from pathlib import Path

from openledger_node.credit.fold import Folded, fold, initial_state
from openledger_node.credit.inputs import Cut
from openledger_node.ledger.errors import OlnError, StoreDamaged
from openledger_node.node.core import NodeCore, Progress, no_progress
from openledger_node.node.results import Checked, Compacted, FileWritten, Problem, Restored
from openledger_node.store import check as store_check
from openledger_node.store import maintenance
from openledger_node.store.snapshot import Snapshot
from openledger_node.store.view_epochs import epoch_key

STATE_HINT = "run `oln check --repair`: the logs give it again"
RESTORED_NOTE = (
    "This home begins a new log at its first entry. Use either it or the original from now on."
)


class FoldedAgain:
    """A state in memory, made of the logs alone, and the journals on the way."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.journals: dict[bytes, bytes] = {}
        self._keys: dict[bytes, list[bytes]] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.values.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        keys = self._keys.get(prefix[:1], [])
        for key in keys[bisect_left(keys, prefix) :]:
            if not key.startswith(prefix):
                return
            yield key, self.values[key]

    def apply(self, folded: Folded) -> None:
        for key, value in folded.delta:
            keys = self._keys.setdefault(key[:1], [])
            if value is None:
                if self.values.pop(key, None) is not None:
                    del keys[bisect_left(keys, key)]
            else:
                if key not in self.values:
                    insort(keys, key)
                self.values[key] = value
        self.journals[epoch_key(folded.epoch)] = folded.journal


def fold_again(core: NodeCore, snapshot: Snapshot, progress: Progress) -> FoldedAgain:
    """Every stored epoch, folded from the genesis on.

    StoreDamaged when an epoch does not come out as it was stored.
    """
    again = FoldedAgain()
    last = snapshot.last_epoch()
    for epoch in range(last + 1):
        record = snapshot.must_epoch(epoch)
        if epoch:
            cut = Cut(epoch, record.cut_id, record.changed)
            folded = fold(again, cut, snapshot, core.genesis)
        else:
            folded = initial_state(core.genesis)
        if (folded.state_digest, folded.statement.root) != (
            record.state_digest,
            record.statement_root,
        ):
            raise StoreDamaged(
                f"epoch {epoch} folded again gives another result than the one stored",
                hint="compare the statement with another home's; restore a backup",
            )
        again.apply(folded)
        progress(epoch + 1, last + 1, "epochs folded")
    return again


def check(core: NodeCore, *, repair: bool = False, progress: Progress = no_progress) -> Checked:
    """Re-hashes everything that is stored; with `repair`, makes anew what follows from the rest."""
    report = store_check.check(core.store, progress)
    _check_state(core, report, progress)
    repaired: list[str] = []
    if repair and report.problems and not any(item.part == "pages" for item in report.problems):
        repaired = store_check.repair(core.store, progress) + _repair_state(core, progress)
        report = store_check.check(core.store, progress)
        _check_state(core, report, progress)
    return Checked(
        ok=not report.problems,
        events=report.events,
        logs=report.logs,
        payloads=report.payloads,
        epochs=report.epochs,
        problems=tuple(Problem(item.part, item.what, item.hint) for item in report.problems),
        repaired=tuple(repaired),
    )


def _check_state(core: NodeCore, report: store_check.Report, progress: Progress) -> None:
    if any(item.part in ("pages", "segments", "tail", "epochs") for item in report.problems):
        return  # there is nothing sound to fold again
    try:
        with core.store.read() as snapshot:
            again = fold_again(core, snapshot, progress)
        for what in store_check.differing(core.store, _tables(again)):
            report.add("state", what, STATE_HINT)
    except OlnError as error:
        report.add("state", error.message, error.hint)


def _repair_state(core: NodeCore, progress: Progress) -> list[str]:
    try:
        with core.store.read() as snapshot:
            again = fold_again(core, snapshot, progress)
    except OlnError:
        return []  # the check that follows says why
    return store_check.put_right(core.store, _tables(again))


def _tables(again: FoldedAgain) -> dict[str, dict[bytes, bytes]]:
    return {"state": again.values, "journal": again.journals}


def compact(core: NodeCore, *, progress: Progress = no_progress) -> Compacted:
    """Makes the store's file smaller. Refused while another process has the home open."""
    core.close_writer()
    done = maintenance.compact(core.store, progress)
    return Compacted(done.before_bytes, done.after_bytes)


def backup(core: NodeCore, file: Path, *, progress: Progress = no_progress) -> FileWritten:
    """Writes the home, with its keys, to one new file of mode 0600."""
    done = maintenance.backup(core.store, file, progress)
    return FileWritten(str(file), done.size_bytes)


def restore(file: Path, home: Path, *, progress: Progress = no_progress) -> Restored:
    """Makes a home from a backup, in a place that has none."""
    made = maintenance.restore(file, home, progress)
    return Restored(
        home=str(home),
        ledger_id=made.ledger_id.hex(),
        account_id=made.account_id.hex() if made.account_id else "",
        events=made.events,
        note=RESTORED_NOTE,
    )
