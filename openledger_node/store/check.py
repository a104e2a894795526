"""Re-hashing everything that is stored, and making anew what follows from the rest.

| part | held to |
|---|---|
| pages | what leads to them, with bounded reads (pages.py), before LMDB follows them |
| every value | its seal (S1), and that its own key finds it |
| logs | L2, subtree roots, spine, frontier, the signed head and its signature, the index of ids |
| epochs | no gap, the statement's root, the cut's id, the marks against the logs held |
| payloads | the length, digest and commitment; files that nothing names |
| fork proofs | L7 |

One bit that differs anywhere in what a reader can reach is named. That the state is what the fold
makes of the logs is for the caller to compare, by folding again.

`repair` makes anew the spine, the tables of logs, ids and cuts, each from what has verified.
Everything else was signed or given by somebody: a peer or a backup has to supply it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import lmdb
import msgspec

from openledger_node.agreement.cut import cut_id_of
from openledger_node.credit.statement import parse_statement
from openledger_node.ledger.encoding import decode, encode
from openledger_node.ledger.errors import (
    BadInput,
    OlnError,
    StoreDamaged,
    StoreUnavailable,
    VerificationFailed,
)
from openledger_node.ledger.forks import parse_fork, verify_fork
from openledger_node.ledger.genesis import parse_genesis
from openledger_node.ledger.payload import payload_commitment
from openledger_node.store.check_logs import LogCheck
from openledger_node.store.environment import (
    DATABASES,
    SEAL_BYTES,
    WORDS,
    Txn,
    seal,
    unseal,
)
from openledger_node.store.logs import SET_ASIDE, LogRecord, decode_record, number_key
from openledger_node.store.pages import page_faults
from openledger_node.store.snapshot import Snapshot
from openledger_node.store.store import Store
from openledger_node.store.view_epochs import EpochRecord, epoch_key
from openledger_node.store.view_payloads import ERASED, IN_FILE

Progress = Callable[[int, int | None, str], None]
"""progress(done, total or None, what)."""

MAX_PROBLEMS: Final = 1_000
"""Problems that are listed; a store with more is to be restored, not read about."""
DERIVED: Final = ("logids", "branches", "spine", "ids", "cutmarks", "cutsizes", "state", "journal")
"""What follows from the rest: `repair`, and folding again, make it anew."""
MAX_VIEWS: Final = 100
"""Views taken until one is newer than what was committed while it began."""
FROM_PEER: Final = "a peer or a backup can supply it"
REPAIR: Final = "run `oln check --repair`"
REFOLD: Final = "restore a backup, or start a new home and fetch the logs from peers"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not what was stored."""

    part: str
    what: str
    hint: str


@dataclass(slots=True)
class Report:
    """What was looked at, and what is wrong with it."""

    events: int = 0
    logs: int = 0
    payloads: int = 0
    epochs: int = 0
    problems: list[Problem] = field(default_factory=list)

    def add(self, part: str, what: str, hint: str = "") -> None:
        problem = Problem(part, what, hint)
        if len(self.problems) < MAX_PROBLEMS and problem not in self.problems:
            self.problems.append(problem)

    def add_error(self, part: str, error: Exception, hint: str) -> None:
        text = error.message if isinstance(error, OlnError) else str(error)
        self.add(part, text, hint)


def no_progress(done: int, total: int | None, what: str) -> None:
    """For callers that show none."""


def check(store: Store, progress: Progress = no_progress) -> Report:
    """Everything in the store, held to its hashes, in one consistent view."""
    for _ in range(MAX_VIEWS):
        with store.environment.reading() as txn:
            faults = page_faults(store.home / "ledger" / "data.mdb", txn.raw.id())
            if faults is not None:
                return _check_view(store, txn, faults, progress)
    raise StoreUnavailable("others write too fast for a check to begin", hint="try again later")


def _check_view(store: Store, txn: Txn, faults: list[str], progress: Progress) -> Report:
    report = Report()
    for fault in faults:
        report.add("pages", fault, REFOLD)
    if faults:
        return report  # LMDB would follow the damage
    for name in DATABASES:
        _check_seals(txn, name, report, progress)
    snapshot = Snapshot(txn, store.home)
    _guarded(report, "meta", lambda: _check_meta(snapshot, report))
    _check_logs(txn, report, progress)
    _guarded(report, "cutmarks", lambda: _check_marks(txn, snapshot, report))
    _check_epochs(snapshot, txn, report, progress)
    _check_payloads(store, snapshot, txn, report, progress)
    _check_forks(txn, report)
    return report


def _guarded(report: Report, part: str, step: Callable[[], None]) -> None:
    """Runs one step of the check; damage that stops it is one more problem."""
    try:
        step()
    except (OlnError, lmdb.Error, msgspec.MsgspecError, ValueError, KeyError) as error:
        report.add_error(part, error, REFOLD)


def _check_seals(txn: Txn, name: str, report: Report, progress: Progress) -> None:
    """S1 of every value of a database, and that looking for it finds it."""
    total = txn.count(name)
    done = 0
    try:
        for key, stored in txn.raw_items(name):
            try:
                unseal(name, key, stored)
            except StoreDamaged as error:
                report.add_error(name, error, REPAIR if name in DERIVED else FROM_PEER)
            if not txn.has(name, key):
                report.add(name, f"{WORDS[name]} is not found by its key {key.hex()[:40]}", REFOLD)
            done += 1
            if not done % 1024:
                progress(done, total, WORDS[name])
    except lmdb.Error as error:
        report.add_error(name, error, REFOLD)


def _check_meta(snapshot: Snapshot, report: Report) -> None:
    genesis = parse_genesis(snapshot.meta("genesis") or b"")
    if snapshot.meta("ledger_id") != genesis.ledger_id:
        report.add("meta", "the ledger's id is not that of its genesis", REFOLD)
    current = snapshot.current_log
    if current is not None:
        log = snapshot.log(current)
        if log is None or not log.own:
            report.add("meta", "the log that this home writes is not an own log", REFOLD)


def records(txn: Txn, report: Report | None = None) -> Iterator[tuple[int, LogRecord]]:
    """The logs whose records can be read."""
    for key, stored in txn.raw_items("logs"):
        try:
            yield int.from_bytes(key, "big"), decode_record(unseal("logs", key, stored))
        except (StoreDamaged, msgspec.MsgspecError) as error:
            if report is not None:
                report.add_error("logs", error, FROM_PEER)


def _check_logs(txn: Txn, report: Report, progress: Progress) -> None:
    found = list(records(txn, report))
    total = sum(record.size for _, record in found)
    for number, record in found:
        LogCheck(txn, number, record, report.add).run(
            lambda done: progress(report.events + done, total, "events")
        )
        report.events += record.size
        report.logs += 1
    for name, right in derived_tables(found).items():
        for key, stored in txn.raw_items(name):
            if right.pop(key, None) != stored[:-SEAL_BYTES]:
                report.add(name, f"log {key.hex()[:16]} leads to no record of it", REPAIR)
        for key in right:
            report.add(name, f"nothing leads to log {key.hex()[:16]}", REPAIR)


def derived_tables(found: Iterable[tuple[int, LogRecord]]) -> dict[str, dict[bytes, bytes]]:
    """The tables that lead to logs and to their other branches, as the records make them."""
    shown: dict[bytes, bytes] = {}
    aside: dict[bytes, bytes] = {}
    for number, record in found:
        if record.own != SET_ASIDE:
            shown[record.log_id] = number_key(number)
        elif record.head is not None:
            aside[record.log_id + record.head.root] = number_key(number)
    return {"logids": shown, "branches": aside}


def _check_marks(txn: Txn, snapshot: Snapshot, report: Report) -> None:
    """The last cut, against the epochs that made it and the logs that it names."""
    for name, right in derived_cuts(snapshot).items():
        held = {key: stored[:-SEAL_BYTES] for key, stored in txn.raw_items(name)}
        if held != right:
            report.add(name, f"{WORDS[name]} is not what the epochs say", REPAIR)
    for mark in snapshot.cut_marks().values():
        log = snapshot.log(mark.log_id)
        short = mark.log_id.hex()[:16]
        if log is None or log.size < mark.size:
            report.add("cutmarks", f"log {short} is shorter than the last cut", FROM_PEER)
        elif snapshot.root_at(mark.log_id, mark.size) != mark.root:
            report.add("cutmarks", f"log {short} is not what the last cut names", FROM_PEER)


def derived_cuts(snapshot: Snapshot) -> dict[str, dict[bytes, bytes]]:
    """The tables of marks and sizes as the stored epochs make them."""
    marks: dict[bytes, bytes] = {}
    sizes: dict[bytes, bytes] = {}
    for epoch in range(snapshot.last_epoch() + 1):
        record = snapshot.epoch(epoch)
        for mark in record.changed if record else ():
            marks[mark.log_id] = encode((mark.size, mark.root))
            sizes[mark.log_id + epoch_key(epoch)] = mark.size.to_bytes(8, "big")
    return {"cutmarks": marks, "cutsizes": sizes}


def _check_epochs(snapshot: Snapshot, txn: Txn, report: Report, progress: Progress) -> None:
    total = txn.count("epochs")
    for epoch in range(total):
        _guarded(report, "epochs", lambda epoch=epoch: _check_epoch(snapshot, epoch, report))  # type: ignore[misc]
        report.epochs += 1
        progress(epoch + 1, total, "epochs")

    def last_cut() -> None:
        record = snapshot.epoch(total - 1) if total else None
        if record and record.cut_id != cut_id_of(snapshot.cut_marks().values()):
            report.add("epochs", f"the cut of epoch {record.epoch} is not the one kept", REFOLD)

    _guarded(report, "epochs", last_cut)


def _check_epoch(snapshot: Snapshot, epoch: int, report: Report) -> None:
    record = snapshot.must_epoch(epoch)
    if record.epoch != epoch:
        report.add("epochs", f"the record of epoch {epoch} is another epoch's", REFOLD)
    statement = parse_statement(record.statement)
    if statement.root != record.statement_root or statement.epoch != epoch:
        report.add("epochs", f"the statement of epoch {epoch} has another root", REFOLD)
    if statement.cut_id != record.cut_id:
        report.add("epochs", f"the statement of epoch {epoch} names another cut", REFOLD)
    if snapshot.journal(epoch) is None:
        report.add("journal", f"the journal of epoch {epoch} is missing", REFOLD)
    for seat, state in snapshot.states(epoch).items():
        if _contradicts(record, state.statement_root, state.state_digest):
            report.add("states", f"seat {seat} signed another result of epoch {epoch}", "")


def _contradicts(record: EpochRecord, statement_root: bytes, state_digest: bytes) -> bool:
    return (record.statement_root, record.state_digest) != (statement_root, state_digest)


def _check_payloads(
    store: Store, snapshot: Snapshot, txn: Txn, report: Report, progress: Progress
) -> None:
    total = txn.count("payloads")
    named = set()
    for key, stored in txn.raw_items("payloads"):
        report.payloads += 1
        progress(report.payloads, total, "payloads")
        try:
            place = decode(stored[:-SEAL_BYTES])[2]
            if place == IN_FILE:
                named.add(key.hex())
            elif place == ERASED and txn.has("blobs", key):
                report.add("blobs", f"payload {key.hex()[:16]} is erased but still here", "")
            data = snapshot.payload(key)
            if data is not None and payload_commitment(data) != key:
                report.add(
                    "payloads", f"payload {key.hex()[:16]} is not what it is named", FROM_PEER
                )
        except (OlnError, lmdb.Error, msgspec.MsgspecError, TypeError, IndexError) as error:
            report.add_error("payloads", error, FROM_PEER)
    for key, _ in txn.raw_items("blobs"):
        if not txn.has("payloads", key):
            report.add("blobs", f"payload {key.hex()[:16]} has no record", FROM_PEER)
    folder = store.home / "payloads"
    for path in sorted(folder.glob("??/*")) if folder.is_dir() else ():
        if path.suffix != ".new" and path.name not in named:
            report.add("payload files", f"{path} belongs to nothing here", "it may be deleted")


def _check_forks(txn: Txn, report: Report) -> None:
    for key, stored in txn.raw_items("forks"):
        try:
            if verify_fork(parse_fork(stored[:-SEAL_BYTES])).log_id != key:
                report.add("forks", f"the fork proof of log {key.hex()[:16]} is another log's")
        except (BadInput, VerificationFailed) as error:
            report.add_error("forks", error, FROM_PEER)


def repair(store: Store, progress: Progress = no_progress) -> list[str]:
    """Makes anew what follows from the rest; what was made, in words."""
    made = []
    with store.environment.writing() as txn:
        found = list(records(txn))
        derived = {name: dict[bytes, bytes]() for name in ("spine", "ids")}
        for number, record in found:
            check_of_log = LogCheck(txn, number, record, lambda *_: None)
            for name, key, value in check_of_log.derived():
                derived[name][key] = value
            progress(number + 1, None, "logs")
        if len(found) == txn.count("logs"):
            for name, right in derived_tables(found).items():
                made += _put_right(txn, name, right, set())
        for name in ("spine", "ids"):  # beyond a log's size lie imports that are under way
            made += _put_right(txn, name, derived[name], {key for key, _ in txn.raw_items(name)})
        try:
            cuts = derived_cuts(Snapshot(txn, store.home))
        except (StoreDamaged, msgspec.MsgspecError):
            cuts = {}
        for name, right in cuts.items():
            made += _put_right(txn, name, right, set())
    return made


def differing(store: Store, right: dict[str, dict[bytes, bytes]]) -> list[str]:
    """In which databases what is stored is not `right`, in words."""
    found = []
    with store.environment.reading() as txn:
        for name, values in right.items():
            held = {key: stored[:-SEAL_BYTES] for key, stored in txn.raw_items(name)}
            if held != values:
                wrong = {key for key, _ in held.items() ^ values.items()}
                found.append(f"{WORDS[name]} differs from what the logs give: {len(wrong):,} keys")
    return found


def put_right(store: Store, right: dict[str, dict[bytes, bytes]]) -> list[str]:
    """Makes databases hold `right` and nothing else; what was made anew, in words."""
    with store.environment.writing() as txn:
        return [text for name in right for text in _put_right(txn, name, right[name], set())]


def _put_right(txn: Txn, name: str, right: dict[bytes, bytes], kept: set[bytes]) -> list[str]:
    """Replaces what differs from `right`, and drops what is not in it unless it is `kept`."""
    held = dict(txn.raw_items(name))
    wrong = [key for key in held if key not in right and key not in kept]
    differing = [
        (key, value) for key, value in right.items() if held.get(key) != seal(name, key, value)
    ]
    if name == "ids":  # an index that is not there yet is no damage
        differing = [(key, value) for key, value in differing if key in held]
    for key in wrong:
        txn.delete(name, key)
    txn.put_many(name, sorted(differing))
    changed = len(wrong) + len(differing)
    return [f"{WORDS[name]}: {changed:,} made anew"] if changed else []
