"""The store of a home: opening it, reading it, every durable change but appending to an own log.

`create` is called by explicit beginnings alone (`init`, `restore`, `device join`); `open` never
makes state by the way.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from openledger_node.ledger.encoding import decode, encode
from openledger_node.ledger.errors import Refused, StoreDamaged, StoreUnavailable
from openledger_node.ledger.events import SEGMENT_LEAVES, LogGenesis, encode_event, event_ids
from openledger_node.ledger.forks import ForkEvidence, parse_fork
from openledger_node.ledger.genesis import Genesis
from openledger_node.ledger.heads import Mark, sign_head
from openledger_node.ledger.keys import SigningKey
from openledger_node.ledger.merkle import leaf_hash
from openledger_node.ledger.votes import WitnessState
from openledger_node.store import identity, logs
from openledger_node.store.environment import (
    DEFAULT_LIMIT_BYTES,
    FORMAT_VERSION,
    Environment,
    Txn,
    translated,
)
from openledger_node.store.lock import HomeLock
from openledger_node.store.pages import first_fault
from openledger_node.store.snapshot import Snapshot, fact_key
from openledger_node.store.view_epochs import EpochRecord, epoch_key
from openledger_node.store.view_logs import ID_PREFIX_BYTES
from openledger_node.store.view_payloads import (
    ERASED,
    IN_FILE,
    IN_STORE,
    PayloadRecord,
    payload_path,
)
from openledger_node.sync.frontier import proof_rank

if TYPE_CHECKING:
    from openledger_node.credit.fold import Folded

INDEXED_SEGMENTS: Final = 256
"""Segments whose event ids are indexed in one transaction."""
SMALL_PAYLOAD_BYTES: Final = 256 * 1024
NO_PROPOSAL: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class DiskUsage:
    total_bytes: int
    store_bytes: int
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class Certificate:
    """How an epoch was decided: kept beside it for proofs."""

    view: int = 0
    proposal_id: bytes = NO_PROPOSAL
    certificate: tuple[tuple[int, bytes], ...] = ()


class Store:
    """An open store. Thread-safe; several processes may hold it open."""

    def __init__(self, home: Path, environment: Environment, lock: HomeLock) -> None:
        self.home = home
        self.environment = environment
        self._lock = lock

    # Beginning and end.

    @classmethod
    def create(
        cls, home: Path, genesis: Genesis, *, limit_bytes: int = DEFAULT_LIMIT_BYTES
    ) -> Store:
        """A new store in `home`, which must not have one."""
        folder = home / "ledger"
        if folder.exists():
            raise Refused(f"{home} has a store already", code="home_exists")
        folder.mkdir(parents=True, mode=0o700)
        lock = HomeLock(folder)
        lock.share()
        environment = Environment(folder, create=True, limit_bytes=limit_bytes, read_only=False)
        store = cls(home, environment, lock)
        with environment.writing() as txn:
            txn.put("meta", b"format", encode(FORMAT_VERSION))
            txn.put("meta", b"ledger_id", genesis.ledger_id)
            txn.put("meta", b"genesis", encode(genesis))
        store.rebind()
        return store

    @classmethod
    def open(
        cls, home: Path, *, limit_bytes: int = DEFAULT_LIMIT_BYTES, read_only: bool = False
    ) -> Store:
        folder = home / "ledger"
        if not (folder / "data.mdb").is_file():
            raise StoreUnavailable(
                f"{home} has no store",
                hint="run `oln init`, or restore a backup",
                code="no_home",
            )
        lock = HomeLock(folder)
        lock.share()
        try:
            environment = Environment(
                folder, create=False, limit_bytes=limit_bytes, read_only=read_only
            )
            _refuse_newer(environment)
        except StoreDamaged as error:
            lock.release()
            if fault := first_fault(folder / "data.mdb"):
                error.message = f"the store's file is damaged: {fault}"
            raise
        except BaseException:
            lock.release()
            raise
        return cls(home, environment, lock)

    def close(self) -> None:
        self.environment.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def read(self) -> Iterator[Snapshot]:
        """A consistent view."""
        with self.environment.reading() as txn:
            yield Snapshot(txn, self.home)

    # Identity (invariant 5).

    def is_original(self) -> bool:
        """Whether this is the very store that was last bound, not a copy or a restored one."""
        with self.environment.reading() as txn:
            return identity.is_bound(self.home, txn.get("meta", b"instance"))

    def rebind(self) -> None:
        """Makes this place the original: a new nonce in the store and beside it."""
        nonce = identity.new_nonce()
        with self.environment.writing() as txn:
            txn.put("meta", b"instance", nonce)
        identity.bind(self.home, nonce)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While nobody else has the store open: for replacing its file."""
        self._lock.own()
        try:
            yield
        finally:
            self._lock.share_again()

    def bind_again(self) -> None:
        """Makes the file as it lies there now the original: it was replaced on purpose."""
        with self.environment.reading() as txn:
            nonce = txn.get("meta", b"instance")
        if nonce is not None:
            identity.bind(self.home, nonce)

    def set_own_account(self, account_id: bytes, device: bytes) -> None:
        with self.environment.writing() as txn:
            txn.put("meta", b"account", account_id)
            txn.put("meta", b"device", device)

    def begin_log(self, genesis: LogGenesis, device: SigningKey, time_ms: int) -> None:
        """Opens a new own log with its leaf 0, signed, and makes it the current one."""
        leaf = encode_event(0, "log.open", time_ms, genesis)
        digest = leaf_hash(leaf)
        with self.environment.writing(len(leaf)) as txn:
            number = logs.new_log(txn, genesis, own=True)
            record = logs.read_record(txn, number)
            record = logs.append_leaves(txn, number, record, [leaf], [digest])
            record.head = sign_head(device, genesis, 1, record.frontier.root()).signed
            logs.write_record(txn, number, record)
            txn.put("meta", b"current_log", genesis.log_id)

    # Epochs.

    def commit_epoch(
        self,
        folded: Folded,
        changed: Sequence[Mark],
        certificate: Certificate = Certificate(),
    ) -> None:
        """Stores a folded epoch as a whole.

        The same one again changes nothing; a gap is refused.
        """
        with self.environment.writing() as txn:
            last = txn.last("epochs")
            expected = int.from_bytes(last[0], "big") + 1 if last else 0
            if folded.epoch != expected:
                held = Snapshot(txn, self.home).epoch(folded.epoch)
                if held is not None and held.state_digest == folded.state_digest:
                    return
                raise Refused(
                    f"epoch {folded.epoch} does not follow epoch {expected - 1} as stored here",
                    code="epoch_gap",
                )
            for key, value in folded.delta:
                if value is None:
                    txn.delete("state", key)
                else:
                    txn.put("state", key, value)
            events = 0
            for mark in changed:
                before = Snapshot(txn, self.home).cut_mark(mark.log_id)
                events += mark.size - (before.size if before else 0)
                txn.put("cutmarks", mark.log_id, encode((mark.size, mark.root)))
                size_key = mark.log_id + epoch_key(folded.epoch)
                txn.put("cutsizes", size_key, mark.size.to_bytes(8, "big"))
            record = EpochRecord(
                folded.epoch,
                folded.cut_id,
                tuple(changed),
                folded.statement.encode(),
                folded.statement.root,
                folded.state_digest,
                folded.rules_version,
                folded.next_set_digest,
                events,
                certificate.view,
                certificate.proposal_id,
                certificate.certificate,
            )
            txn.put("epochs", epoch_key(folded.epoch), encode(record))
            txn.put("journal", epoch_key(folded.epoch), folded.journal)

    def put_states(self, epoch: int, states: Iterable[tuple[int, WitnessState]]) -> None:
        """Keeps seats' signed states of an epoch; the first of each seat stands."""
        with self.environment.writing() as txn:
            for seat, state in states:
                key = epoch_key(epoch) + bytes([seat])
                if not txn.has("states", key):
                    txn.put("states", key, encode(state))

    # Payloads.

    def put_payload(self, commit: bytes, data: bytes) -> None:
        """Keeps a payload whose commitment the caller has checked."""
        digest = hashlib.sha256(data).digest()
        with self.read() as snapshot:
            if snapshot.has_payload(commit):
                return
        if len(data) <= SMALL_PAYLOAD_BYTES:
            with self.environment.writing(len(data)) as txn:
                put_small_payload(txn, commit, data)
            return
        self._write_file(payload_path(self.home, commit), data)
        with self.environment.writing() as txn:
            txn.put("payloads", commit, encode(PayloadRecord(len(data), digest, IN_FILE)))

    @staticmethod
    def _write_file(path: Path, data: bytes) -> None:
        """Durable before its record is: temp file, fsync, rename, fsync of the folder."""
        with translated("keep a payload"):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
            try:
                with fresh.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                fresh.replace(path)
            except BaseException:
                fresh.unlink(missing_ok=True)
                raise
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def replace_payload(self, commit: bytes, data: bytes) -> None:
        """Keeps other bytes of the same commitment: a part of the payload was erased (P6).

        In the store whatever their size, so that old and new change places at once.
        """
        with self.environment.writing(len(data)) as txn:
            put_small_payload(txn, commit, data)
        self._remove_file(commit)

    def erase_payload(self, commit: bytes) -> None:
        """Forgets a payload's bytes and salts; that it was erased stays known."""
        with self.environment.writing() as txn:
            txn.delete("blobs", commit)
            txn.put("payloads", commit, encode(PayloadRecord(0, bytes(32), ERASED)))
        self._remove_file(commit)

    def _remove_file(self, commit: bytes) -> None:
        """Overwrites and deletes a payload's file, if it has one."""
        path = payload_path(self.home, commit)
        if path.exists():
            size_bytes = path.stat().st_size
            with path.open("r+b") as file:
                file.write(bytes(size_bytes))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()

    # Local knowledge.

    def set_petname(self, account_id: bytes, name: str) -> None:
        with self.environment.writing() as txn:
            txn.put("names", account_id, name.encode())

    def set_facts(self, name: str, facts: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Local facts under (name, key): never part of the ledger. None forgets one."""
        with self.environment.writing() as txn:
            for key, value in facts:
                if value is None:
                    txn.delete("facts", fact_key(name, key))
                else:
                    txn.put("facts", fact_key(name, key), value)

    def drop_facts(self, name: str, value: bytes) -> None:
        """Forgets every fact of a name with this value."""
        with self.environment.writing() as txn:
            found = [key for key, held in txn.scan("facts", fact_key(name, b"")) if held == value]
            for key in found:
                txn.delete("facts", key)

    def put_fork(self, evidence: ForkEvidence) -> bool:
        """Keeps a verified proof unless a lower one of its log is kept (Y5); whether it did."""
        log_id = evidence.head_a.log_id
        with self.environment.writing() as txn:
            stored = txn.get("forks", log_id)
            if stored is not None and proof_rank(parse_fork(stored)) <= proof_rank(evidence):
                return False
            txn.put("forks", log_id, encode(evidence))
            return True

    def last_change(self) -> int:
        """A number that grows with every change to the store by any process."""
        return int(self.environment.env.info()["last_txnid"])

    def index_ids(self) -> int:
        """Indexes the event ids of sealed segments that are not yet; how many segments."""
        with self.environment.reading() as reading:
            missing = _segments_without_ids(reading)
        for start in range(0, len(missing), INDEXED_SEGMENTS):
            made = []
            with self.environment.reading() as reading:
                for number, log_id, segment in missing[start : start + INDEXED_SEGMENTS]:
                    leaves = logs.read_segment(reading, number, segment)
                    ids = event_ids(log_id, segment * SEGMENT_LEAVES, leaves)
                    joined = b"".join([event_id[:ID_PREFIX_BYTES] for event_id in ids])
                    made.append((logs.segment_key(number, segment), joined))
            with self.environment.writing() as txn:
                txn.put_many("ids", made)
        return len(missing)

    def disk_usage(self) -> DiskUsage:
        """Bytes on disk of the store and of large payloads."""
        ledger = sum(
            item.stat().st_blocks * 512
            for item in (self.home / "ledger").iterdir()
            if item.is_file()
        )
        folder = self.home / "payloads"
        payloads = 0
        if folder.is_dir():
            payloads = sum(f.stat().st_blocks * 512 for f in folder.rglob("*") if f.is_file())
        return DiskUsage(ledger + payloads, ledger, payloads)


def put_small_payload(txn: Txn, commit: bytes, data: bytes) -> None:
    """Keeps a payload of at most SMALL_PAYLOAD_BYTES within a transaction."""
    record = PayloadRecord(len(data), hashlib.sha256(data).digest(), IN_STORE)
    txn.put("payloads", commit, encode(record))
    txn.put("blobs", commit, data)


def _segments_without_ids(txn: Txn) -> list[tuple[int, bytes, int]]:
    missing = []
    for key, stored in txn.scan("logs"):
        number = int.from_bytes(key, "big")
        record = logs.decode_record(stored)
        for segment in range(record.size // SEGMENT_LEAVES):
            if not txn.has("ids", logs.segment_key(number, segment)):
                missing.append((number, record.log_id, segment))
    return missing


def _refuse_newer(environment: Environment) -> None:
    """S4."""
    try:
        with environment.reading() as txn:
            stored = txn.get("meta", b"format")
    except BaseException:
        environment.close()
        raise
    version = decode(stored) if stored else None
    if version != FORMAT_VERSION:
        environment.close()
        raise StoreUnavailable(
            f"this home has store format {version}, this program knows {FORMAT_VERSION}",
            hint="use the newer program that wrote it; nothing was changed",
            code="newer_version",
        )
