"""Appending to an own log: group commit, read back, sign, and only then acknowledge.

One writer thread takes what callers queue. A flush is what has gathered, up to `flush_events`, or
one explicit batch. It is

 1. one transaction that appends the leaves after the log's last, durable (invariant 4);
 2. a second one, under the same lock across processes, that reads the leaves back, hashes them
    again, holds them to what was meant, signs the log's root, and stores the head, durable;
 3. the acknowledgement.

Several processes may append to one log: both steps begin from the record as it is in the store. A
head is signed only for a history that the stored head is a prefix of; what could make a fork stops
the process instead (`StoreDamaged`), and a log that grew elsewhere is left (S9). A crash between
the steps leaves durable leaves without a head: the next flush, or `sign_pending`, signs over them.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import msgspec

from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput, Refused, StoreDamaged
from openledger_node.ledger.events import (
    EVENT_VERSION,
    MAX_LEAF_BYTES,
    event_id_of,
)
from openledger_node.ledger.heads import SignedHead, sign_head
from openledger_node.ledger.keys import SigningKey
from openledger_node.ledger.merkle import Frontier, leaf_hashes
from openledger_node.store import logs
from openledger_node.store.environment import Txn
from openledger_node.store.snapshot import fact_key
from openledger_node.store.store import Store, put_small_payload

MAX_BATCH_EVENTS: Final = 65_536
MAX_QUEUED_BATCHES: Final = 65_536
IDEMPOTENCY_FACT: Final = "key"
"""Local facts of this name: an idempotency key -> log id and sequence number of its event."""

LEAF_BEGINNING_BYTES: Final = 11
"""What a leaf may have before its kind: an array's header, the version, a seq of up to 9 bytes."""
_LEAF_BEGINNING: Final = b"\x97" + encode(EVENT_VERSION)


class Draft(msgspec.Struct, frozen=True, gc=False):
    """An event that is to be appended: everything but its sequence number.

    Whoever makes it has held `body` to E1 and to its kind (`kinds.check_body`).
    `payloads` are small payloads (commitment, bytes) stored in the same transaction; `keys` are the
    caller's idempotency keys, under which the event's place is remembered in it too.
    """

    kind: str
    body: Any
    time_ms: int
    commit: bytes | None = None
    payload_len: int = 0
    payloads: tuple[tuple[bytes, bytes], ...] = ()
    keys: tuple[bytes, ...] = ()


class Appended(msgspec.Struct, frozen=True, gc=False):
    """Where a batch came to lie, with the head that covers it."""

    log_id: bytes
    first_seq: int
    hashes: list[bytes]
    head: SignedHead

    @property
    def event_ids(self) -> list[bytes]:
        """The ids of the batch's events (L4)."""
        return [
            event_id_of(self.log_id, seq, digest)
            for seq, digest in enumerate(self.hashes, self.first_seq)
        ]


class _Batch(NamedTuple):
    drafts: Sequence[Draft]
    endings: list[bytes]
    done: Future[Appended]


class _Written(NamedTuple):
    """What step 1 meant to write: held to the store before step 2 signs it."""

    first_seq: int
    hashes: list[bytes]
    before: Frontier
    after: Frontier


def leaf_endings(drafts: Sequence[Draft]) -> list[bytes]:
    """Each draft's leaf from its kind on: all but the array's header, the version and the seq.

    BadInput when a draft does not encode or is too long for a leaf.
    """
    try:
        endings = [encode((d.kind, d.time_ms, d.body, d.commit, d.payload_len))[1:] for d in drafts]
    except (TypeError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise BadInput(f"the event cannot be encoded: {error}") from None
    longest = max(map(len, endings))
    if longest > MAX_LEAF_BYTES - LEAF_BEGINNING_BYTES:
        raise BadInput(
            f"the event has {longest:,} bytes; a leaf may have {MAX_LEAF_BYTES:,}",
            hint="put long content into the payload",
        )
    return endings


def ignore_commit_point(name: str) -> None:
    """What happens at a commit point outside of tests."""


class LogWriter:
    """The one appender of an own log in this process. Thread-safe."""

    def __init__(
        self,
        store: Store,
        log_id: bytes,
        key: SigningKey,
        *,
        flush_events: int = 256,
        commit_point: Callable[[str], None] = ignore_commit_point,
    ) -> None:
        self.log_id = log_id
        self._store = store
        self._key = key
        self._flush_events = flush_events
        self._commit_point = commit_point
        self._queue: queue.Queue[_Batch | None] = queue.Queue(MAX_QUEUED_BATCHES)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False
        self.signs = 0
        with store.environment.reading() as txn:
            number = logs.log_number(txn, log_id)
            if number is None:
                raise StoreDamaged("the current own log is missing", hint="run `oln check`")
            self._number = number
            record = logs.read_record(txn, number)
        if record.genesis.device != key.public.raw:
            raise Refused("the log belongs to another device key", code="foreign_key")
        self._genesis = record.genesis

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Finishes what is queued and ends the thread."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            thread = self._thread
        if thread is not None:
            self._queue.put(None)
            thread.join()

    def append(self, drafts: Sequence[Draft]) -> Appended:
        """Appends a batch as a whole; returns when it is durable and signed."""
        if not drafts:
            raise BadInput("an empty batch cannot be appended")
        if len(drafts) > MAX_BATCH_EVENTS:
            raise BadInput(
                f"a batch may have {MAX_BATCH_EVENTS:,} events, this one has {len(drafts):,}",
                hint="append it in portions",
            )
        endings = leaf_endings(drafts)
        done: Future[Appended] = Future()
        with self._lock:
            if self._closed:
                raise Refused("the writer is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="oln-writer", daemon=True)
                self._thread.start()
            self._queue.put(_Batch(drafts, endings, done))
        return done.result()

    @property
    def waiting(self) -> int:
        """How many batches are queued behind the flush that is under way."""
        return self._queue.qsize()

    def sign_pending(self) -> SignedHead | None:
        """Signs over durable leaves that a crash left without a head; the newest head."""
        with self._store.environment.reading() as txn:
            record = logs.read_record(txn, self._number)
        if record.head is not None and record.head.size == record.size:
            return record.head
        return self._sign(None)

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batches = [first]
            count = len(first.drafts)
            ended = False
            while count < self._flush_events:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    ended = True
                    break
                batches.append(more)
                count += len(more.drafts)
            self._flush(batches)
            if ended:
                return

    def _flush(self, batches: list[_Batch]) -> None:
        """One flush; every caller gets its answer or its error."""
        try:
            written = self._append(batches)
            head = self._sign(written)
            position = 0
            for batch in batches:
                part = written.hashes[position : position + len(batch.drafts)]
                place = written.first_seq + position
                batch.done.set_result(Appended(self.log_id, place, part, head))
                position += len(batch.drafts)
        except BaseException as error:
            for batch in batches:
                if not batch.done.done():
                    batch.done.set_exception(error)
            if not isinstance(error, Exception):
                raise

    def _append(self, batches: list[_Batch]) -> _Written:
        """Step 1: the leaves, durable."""
        endings = [ending for batch in batches for ending in batch.endings]
        incoming = sum(map(len, endings)) + LEAF_BEGINNING_BYTES * len(endings)
        with self._store.environment.writing(incoming) as txn:
            record = logs.read_record(txn, self._number)
            _refuse_left(record)
            seq = record.size
            leaves = [
                _LEAF_BEGINNING + encode(number) + ending
                for number, ending in enumerate(endings, seq)
            ]
            drafts = [draft for batch in batches for draft in batch.drafts]
            for number, draft in enumerate(drafts, seq):
                if draft.payloads or draft.keys:
                    self._put_beside(txn, number, draft)
            hashes = leaf_hashes(leaves)
            grown = logs.append_leaves(txn, self._number, record, leaves, hashes)
            self._commit_point("before append commit")
        self._commit_point("after append commit")
        return _Written(seq, hashes, record.frontier, grown.frontier)

    def _put_beside(self, txn: Txn, seq: int, draft: Draft) -> None:
        """What an event brings along: its payloads, and where its idempotency keys find it."""
        for commit, data in draft.payloads:
            put_small_payload(txn, commit, data)
        for key in draft.keys:
            place = self.log_id + seq.to_bytes(8, "big")
            txn.put("facts", fact_key(IDEMPOTENCY_FACT, key), place)

    def _sign(self, written: _Written | None) -> SignedHead:
        """Step 2: read back, hash again, sign, store the head, durable."""
        with self._store.environment.writing(finishing=True) as txn:
            record = logs.read_record(txn, self._number)
            _refuse_left(record)
            covered = record.head.size if record.head else 0
            if record.head is not None and _end(written, record.size) <= covered <= record.size:
                # Another process has signed over these leaves, and maybe more have come since.
                _hold_to_written(txn, self._number, written)
                return record.head
            self._hold_to_store(txn, record, written)
            head = sign_head(self._key, self._genesis, record.size, record.frontier.root()).signed
            self.signs += 1
            record.head = head
            logs.write_record(txn, self._number, record)
            self._commit_point("before head commit")
        self._commit_point("after head commit")
        return head

    def _hold_to_store(self, txn: Txn, record: logs.LogRecord, written: _Written | None) -> None:
        """Stops the process when what is stored is not what was meant, or forgets a signed head."""
        first = record.head.size if record.head else 0
        if first > record.size:
            raise _would_fork("the store has fewer events than were signed before")
        base = logs.frontier_at(txn, self._number, record, first)
        if record.head is not None and base.root() != record.head.root:
            raise _would_fork("the stored events do not have the root that was signed before")
        read_back = logs.stored_hashes(txn, self._number, first, record.size)
        if written is not None:
            start = written.first_seq - first
            if read_back[start : start + len(written.hashes)] != written.hashes:
                raise _would_fork("the events read back are not those that were written")
            if start == 0 and len(read_back) == len(written.hashes):
                if (written.before, written.after) != (base, record.frontier):
                    raise _would_fork("the log's stored nodes are not those that were written")
                return
        if base.extend(read_back) != record.frontier:
            raise _would_fork("the log's stored nodes do not fit its events")


def _refuse_left(record: logs.LogRecord) -> None:
    """S9: a log with leaves of another writer gets no more of ours."""
    if record.own != logs.OWN:
        raise Refused(
            "the log that this home wrote has gone on elsewhere",
            hint="append again: the home goes on in a new log",
            code="own_log_elsewhere",
        )


def _end(written: _Written | None, size: int) -> int:
    """The size that a head must have to cover what was written, or the whole log."""
    return size if written is None else written.first_seq + len(written.hashes)


def _hold_to_written(txn: Txn, number: int, written: _Written | None) -> None:
    if written is None:
        return
    stop = written.first_seq + len(written.hashes)
    if logs.stored_hashes(txn, number, written.first_seq, stop) != written.hashes:
        raise _would_fork("the events read back are not those that were written")


def _would_fork(reason: str) -> StoreDamaged:
    return StoreDamaged(
        f"nothing was signed: {reason}",
        hint="run `oln check`; signing it could make a log with two histories",
        code="would_fork",
    )
