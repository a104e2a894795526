"""One consistent view of the store: what every reader works on.

A snapshot is an LMDB read transaction: it sees the store as it was when it began, whatever other
threads and processes write meanwhile. It is also the fold's `LogReader`, and its `state` is the
fold's `StateReader`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from openledger_node.ledger.encoding import decode
from openledger_node.ledger.errors import BadInput, StoreDamaged, UsageError
from openledger_node.ledger.events import SEGMENT_LEAVES, LogGenesis, event_ids
from openledger_node.ledger.forks import ForkEvidence, parse_fork
from openledger_node.ledger.genesis import Genesis, parse_genesis
from openledger_node.ledger.heads import Mark, SignedHead
from openledger_node.ledger.merkle import (
    NodeSource,
    consistency_path,
    inclusion_path,
    leaf_hashes,
    root_at,
    root_of_hashes,
)
from openledger_node.ledger.payload import CONTAINER_HEAD_BYTES, container_account
from openledger_node.ledger.votes import WitnessState
from openledger_node.store import logs
from openledger_node.store.environment import Txn
from openledger_node.store.logs import SEGMENT_LEVEL, LogRecord, decode_record

ID_PREFIX_BYTES: Final = 8
_NUMBER_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class LogInfo:
    """A log held here. `size` counts durable leaves, `head` the signed ones (never more)."""

    number: int
    log_id: bytes
    genesis: LogGenesis
    size: int
    head: SignedHead | None
    own: bool


class EpochRecord(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A final epoch as stored."""

    epoch: int
    cut_id: bytes
    changed: tuple[Mark, ...]
    statement: bytes
    statement_root: bytes
    state_digest: bytes
    rules_version: int
    next_set_digest: bytes
    events: int
    view: int
    proposal_id: bytes
    certificate: tuple[tuple[int, bytes], ...]


class PayloadRecord(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Where a payload lies: in the store, in a file, or nowhere any more."""

    size_bytes: int
    sha256: bytes
    place: int


IN_STORE: Final = 0
IN_FILE: Final = 1
ERASED: Final = 2
_epoch_decoder = msgspec.msgpack.Decoder(EpochRecord)
_payload_decoder = msgspec.msgpack.Decoder(PayloadRecord)
_state_decoder = msgspec.msgpack.Decoder(WitnessState)


def epoch_key(epoch: int) -> bytes:
    return epoch.to_bytes(8, "big")


class StateView:
    """The folded state, as the fold reads it."""

    def __init__(self, txn: Txn) -> None:
        self._txn = txn

    def get(self, key: bytes) -> bytes | None:
        return self._txn.get("state", key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._txn.scan("state", prefix)


class Snapshot:
    """A consistent view. Valid inside the `with` that made it."""

    def __init__(self, txn: Txn, home: Path) -> None:
        self._txn = txn
        self._home = home
        self.state = StateView(txn)

    # The store's own description.

    def meta(self, name: str) -> bytes | None:
        return self._txn.get("meta", name.encode())

    @property
    def genesis(self) -> Genesis:
        return parse_genesis(self._must_meta("genesis"))

    @property
    def own_account(self) -> bytes:
        return self._must_meta("account")

    @property
    def own_device(self) -> bytes:
        return self._must_meta("device")

    @property
    def current_log(self) -> bytes | None:
        return self.meta("current_log")

    @property
    def current_log_went_on(self) -> bool:
        """Whether the current own log has leaves of another writer (S9): it is to be left."""
        current = self.current_log
        number = None if current is None else logs.log_number(self._txn, current)
        return number is not None and logs.read_record(self._txn, number).own == logs.WENT_ON

    def _must_meta(self, name: str) -> bytes:
        value = self.meta(name)
        if value is None:
            raise StoreDamaged(f"the store's {name} is missing", hint="restore a backup")
        return value

    # Logs.

    def logs(self) -> Iterator[LogInfo]:
        """Every log held, in the order they came."""
        for key, stored in self._txn.scan("logs"):
            record = decode_record(stored)
            if record.own != logs.SET_ASIDE:
                yield _info(int.from_bytes(key, "big"), record)

    def marks(self) -> Iterator[Mark]:
        """The mark of every log that has a head."""
        for _, stored in self._txn.scan("logs"):
            record = decode_record(stored)
            if record.head is not None and record.own != logs.SET_ASIDE:
                yield record.head.mark

    def histories(self, log_id: bytes) -> list[LogInfo]:
        """Every branch of a log that is held: the shown one first (S8)."""
        number = logs.log_number(self._txn, log_id)
        if number is None:
            return []
        numbers = [number, *logs.branches(self._txn, log_id)]
        return [_info(n, logs.read_record(self._txn, n)) for n in numbers]

    def root_of(self, number: int, size: int) -> bytes:
        """The root over the first `size` leaves of the history with this number."""
        return root_at(self._source(number), size)

    def source(self, number: int) -> NodeSource:
        """The nodes of the tree of the history with this number."""
        return self._source(number)

    def spine(self, number: int, first_segment: int, size: int) -> bytes:
        """Roots of segments from one on, the last of what there is of it at `size`: 32 bytes each.

        Of a history by its number.
        """
        return b"".join(logs.spine_at(self._txn, number, first_segment, size))

    def leaf_run(
        self, number: int, first: int, stop: int, max_bytes: int
    ) -> tuple[int, bytes, bytes]:
        """Leaves of a history by its number, as they travel: see `logs.leaf_run`."""
        return logs.leaf_run(self._txn, number, first, stop, max_bytes)

    def log(self, log_id: bytes) -> LogInfo | None:
        number = logs.log_number(self._txn, log_id)
        return None if number is None else _info(number, logs.read_record(self._txn, number))

    def _number(self, log_id: bytes) -> int:
        number = logs.log_number(self._txn, log_id)
        if number is None:
            raise UsageError(f"log {log_id.hex()[:16]} is not held here", code="unknown_id")
        return number

    def leaves(self, log_id: bytes, start: int, stop: int) -> list[bytes]:
        """Leaves [start, stop), their seals checked."""
        return logs.read_leaves(self._txn, self._number(log_id), start, stop)

    def leaves_of(self, number: int, start: int, stop: int) -> list[bytes]:
        """Leaves [start, stop) of the history with this number."""
        return logs.read_leaves(self._txn, number, start, stop)

    def last_change(self, log_id: bytes) -> int:
        """The last epoch whose cut a log grew in; 0 when it is in none."""
        keys = [key for key, _ in self._txn.scan("cutsizes", log_id)]
        return int.from_bytes(keys[-1][len(log_id) :], "big") if keys else 0

    def iter_leaves(self, log_id: bytes, start: int = 0) -> Iterator[list[bytes]]:
        """The leaves of a log from `start` on, a segment at a time."""
        number = self._number(log_id)
        size = logs.read_record(self._txn, number).size
        while start < size:
            stop = min(size, (start // SEGMENT_LEAVES + 1) * SEGMENT_LEAVES)
            yield logs.read_leaves(self._txn, number, start, stop)
            start = stop

    def _source(self, number: int) -> NodeSource:
        """Nodes of a log's tree: the spine's above a segment, re-hashed leaves below."""
        held: dict[int, list[bytes]] = {}

        def source(level: int, index: int) -> bytes:
            if level >= SEGMENT_LEVEL:
                width = 1 << (level - SEGMENT_LEVEL)
                return root_of_hashes(logs.read_spine(self._txn, number, index * width, width))
            first = index << level
            segment = first // SEGMENT_LEAVES
            if segment not in held:
                size = logs.read_record(self._txn, number).size
                start = segment * SEGMENT_LEAVES
                stop = min(size, start + SEGMENT_LEAVES)
                held[segment] = leaf_hashes(logs.read_leaves(self._txn, number, start, stop))
            offset = first - segment * SEGMENT_LEAVES
            return root_of_hashes(held[segment][offset : offset + (1 << level)])

        return source

    def root_at(self, log_id: bytes, size: int) -> bytes:
        """The root over the first `size` leaves."""
        return root_at(self._source(self._number(log_id)), size)

    def inclusion(self, log_id: bytes, seq: int, size: int) -> list[bytes]:
        """The path from leaf `seq` to the root at `size` (M2)."""
        return inclusion_path(self._source(self._number(log_id)), seq, size)

    def consistency(self, log_id: bytes, old_size: int, size: int) -> list[bytes]:
        """The path that shows the first `old_size` leaves to be a prefix of the first `size`."""
        return consistency_path(self._source(self._number(log_id)), old_size, size)

    def find_event(self, prefix: bytes) -> list[tuple[bytes, int, bytes]]:
        """[(log id, seq, event id)] of the events whose id begins with `prefix` (4 bytes or more).

        Segments that `Store.index_ids` has not indexed yet are hashed here.
        """
        found = []
        wanted = prefix[:ID_PREFIX_BYTES]
        for log in self.logs():
            for segment in range(log.size // SEGMENT_LEAVES):
                ids = self._txn.get("ids", logs.segment_key(log.number, segment))
                if ids is None or _holds(ids, wanted):
                    found += self._matches(log, segment * SEGMENT_LEAVES, prefix)
            found += self._matches(log, log.size // SEGMENT_LEAVES * SEGMENT_LEAVES, prefix)
        return found

    def _matches(self, log: LogInfo, start: int, prefix: bytes) -> list[tuple[bytes, int, bytes]]:
        stop = min(log.size, start + SEGMENT_LEAVES)
        leaves = logs.read_leaves(self._txn, log.number, start, stop)
        return [
            (log.log_id, start + index, event_id)
            for index, event_id in enumerate(event_ids(log.log_id, start, leaves))
            if event_id.startswith(prefix)
        ]

    # Epochs.

    def last_epoch(self) -> int:
        last = self._txn.last("epochs")
        return int.from_bytes(last[0], "big") if last else 0

    def epoch(self, epoch: int) -> EpochRecord | None:
        stored = self._txn.get("epochs", epoch_key(epoch)) if epoch >= 0 else None
        return None if stored is None else _epoch_decoder.decode(stored)

    def must_epoch(self, epoch: int) -> EpochRecord:
        record = self.epoch(epoch)
        if record is None:
            raise StoreDamaged(f"the record of epoch {epoch} is missing", hint="run `oln check`")
        return record

    def journal(self, epoch: int) -> bytes | None:
        return self._txn.get("journal", epoch_key(epoch))

    def cut_mark(self, log_id: bytes) -> Mark | None:
        """The log's mark in the last cut."""
        stored = self._txn.get("cutmarks", log_id)
        return None if stored is None else _mark(log_id, stored)

    def cut_marks(self) -> dict[bytes, Mark]:
        """The whole last cut."""
        return {log_id: _mark(log_id, stored) for log_id, stored in self._txn.scan("cutmarks")}

    def epoch_of(self, log_id: bytes, seq: int) -> int | None:
        """The first epoch whose cut holds event `seq` of a log."""
        for key, size in self._txn.scan("cutsizes", log_id):
            if int.from_bytes(size, "big") > seq:
                return int.from_bytes(key[len(log_id) :], "big")
        return None

    def size_in_cut(self, log_id: bytes, epoch: int) -> int | None:
        """The log's size in the cut of an epoch in which it grew.

        None when it did not grow then.
        """
        stored = self._txn.get("cutsizes", log_id + epoch_key(epoch))
        return None if stored is None else int.from_bytes(stored, "big")

    def states(self, epoch: int) -> dict[int, WitnessState]:
        """The signed states of an epoch, by seat."""
        prefix = epoch_key(epoch)
        return {
            key[8]: _state_decoder.decode(stored)
            for key, stored in self._txn.scan("states", prefix)
        }

    # Payloads.

    def _payload_record(self, commit: bytes) -> PayloadRecord | None:
        stored = self._txn.get("payloads", commit)
        return None if stored is None else _payload_decoder.decode(stored)

    def has_payload(self, commit: bytes) -> bool:
        record = self._payload_record(commit)
        return record is not None and record.place != ERASED

    def is_erased(self, commit: bytes) -> bool:
        record = self._payload_record(commit)
        return record is not None and record.place == ERASED

    def payload(self, commit: bytes) -> bytes | None:
        """The payload's bytes, checked; None when it is not held."""
        record = self._payload_record(commit)
        if record is None or record.place == ERASED:
            return None
        if record.place == IN_STORE:
            data = self._txn.get("blobs", commit)
        else:
            data = _read_file(payload_path(self._home, commit))
        if data is None or hashlib.sha256(data).digest() != record.sha256:
            raise StoreDamaged(
                f"payload {commit.hex()[:16]} is damaged",
                hint="`oln check` names all damage; a peer or a backup can supply it",
            )
        return data

    def payload_account(self, commit: bytes) -> bytes | None:
        """The account that a held payload is bound to, by its first bytes, which nothing checks.

        None when it is not held, or damaged there, as `payload` says.
        """
        record = self._payload_record(commit)
        if record is None or record.place == ERASED:
            return None
        try:
            if record.place == IN_STORE:
                head = self._txn.unchecked("blobs", commit)
            else:
                head = _read_file(payload_path(self._home, commit), CONTAINER_HEAD_BYTES)
            return None if head is None else container_account(head)
        except (BadInput, StoreDamaged):
            return None

    def payloads(self) -> Iterator[tuple[bytes, PayloadRecord]]:
        for commit, stored in self._txn.scan("payloads"):
            yield commit, _payload_decoder.decode(stored)

    # Local knowledge.

    def petnames(self) -> dict[bytes, str]:
        return {account: name.decode() for account, name in self._txn.scan("names")}

    def fact(self, name: str, key: bytes) -> bytes | None:
        """A local fact: never part of the ledger."""
        return self._txn.get("facts", fact_key(name, key))

    def facts(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        prefix = fact_key(name, b"")
        for key, value in self._txn.scan("facts", prefix):
            yield key[len(prefix) :], value

    def forks(self) -> list[ForkEvidence]:
        """The fork proofs that this home found."""
        return [parse_fork(stored) for _, stored in self._txn.scan("forks")]

    def alarms(self) -> list[str]:
        """What is wrong with the ledger as far as this home knows, for people."""
        found = [
            f"log {fork.head_a.log_id.hex()[:12]} forked at event {fork.common}"
            for fork in self.forks()
        ]
        found += [text.decode() for _, text in self.facts("alarm")]
        return found

    def described(self) -> dict[str, Any]:
        """The store's own description, for `check` and `status`."""
        return {key.decode(): value for key, value in self._txn.scan("meta")}


def fact_key(name: str, key: bytes) -> bytes:
    return name.encode() + b"\0" + key


def payload_path(home: Path, commit: bytes) -> Path:
    """Where a large payload lies."""
    name = commit.hex()
    return home / "payloads" / name[:2] / name


def _read_file(path: Path, limit_bytes: int = -1) -> bytes | None:
    """The file from its beginning, whole when no limit is given; None when there is none."""
    try:
        with path.open("rb") as file:
            return file.read(limit_bytes)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreDamaged(f"cannot read payload file {path}: {error.strerror}") from None


def _info(number: int, record: LogRecord) -> LogInfo:
    own = record.own in (logs.OWN, logs.WENT_ON)
    return LogInfo(number, record.log_id, record.genesis, record.size, record.head, own)


def _mark(log_id: bytes, stored: bytes) -> Mark:
    size, root = decode(stored)
    return Mark(log_id, size, root)


def _holds(ids: bytes, wanted: bytes) -> bool:
    """Whether one of the 8-byte prefixes in `ids` begins with `wanted`."""
    at = ids.find(wanted)
    while at >= 0:
        if at % ID_PREFIX_BYTES == 0:
            return True
        at = ids.find(wanted, at + 1)
    return False
