"""A store with one own log in a folder, and what to put into it, for the tests of the store.

    place = Place(tmp_path)                 # HOME with a solo ledger and the opened own log
    place.append(300)                       # appends notes through the writer
    place.leaves()                          # what the own log must hold, kept apart in a list
    place.take(ledger)                      # takes in a ledger in memory, logs and epochs

`place.store` is open until `place.close()`; `place.reopen()` opens it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openledger_node.ledger.events import LogGenesis, encode_event
from openledger_node.ledger.heads import SignedHead, verify_head
from openledger_node.ledger.payload import PayloadDocument, encode_payload, payload_commitment
from openledger_node.store.environment import DEFAULT_LIMIT_BYTES, Txn
from openledger_node.store.ingest import Ingested, Ingestion, ingest
from openledger_node.store.store import Store
from openledger_node.store.writer import Appended, Draft, LogWriter, ignore_commit_point
from tests.kit.ledgerkit import TIME_MS, Ledger, MemoryLog, digest, key

KIND = "test.note"
DEVICE = key("own", "device")


def note(number: int, size_bytes: int = 20) -> Draft:
    """An event of a kind that no rule knows."""
    return Draft(KIND, [number, b"n" * size_bytes], TIME_MS + number)


def notes(first: int, count: int, size_bytes: int = 20) -> list[Draft]:
    return [note(number, size_bytes) for number in range(first, first + count)]


def leaf(seq: int, draft: Draft) -> bytes:
    """The leaf that a draft must become at `seq`, by the ledger's own encoder."""
    return encode_event(seq, draft.kind, draft.time_ms, draft.body, draft.commit, draft.payload_len)


def payload(name: str, size_bytes: int = 100) -> tuple[bytes, bytes]:
    """(commitment, container) of one document."""
    data = (digest("payload", name) * (size_bytes // 32 + 1))[:size_bytes]
    slices = tuple(data[start : start + 4096] for start in range(0, size_bytes, 4096))
    container = encode_payload(
        digest("own account"), 1, [PayloadDocument(digest("salt", name), slices, 0)]
    )
    return payload_commitment(container), container


def chunked(leaves: Sequence[bytes], size: int) -> list[list[bytes]]:
    return [list(leaves[start : start + size]) for start in range(0, len(leaves), size)]


def chain(log: MemoryLog, count: int, size_bytes: int = 20) -> MemoryLog:
    """The log with `count` more notes."""
    for _ in range(count):
        log.append(KIND, [len(log.leaves), b"n" * size_bytes])
    return log


class Place:
    """A home's store, its own log and what that log must hold."""

    def __init__(self, home: Path, *, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self.home = home
        self.limit_bytes = limit_bytes
        self.ledger = Ledger.solo()
        self.store = Store.create(home, self.ledger.genesis, limit_bytes=limit_bytes)
        self.store.set_own_account(digest("own account"), DEVICE.public.raw)
        self.genesis = self.begin("first")
        self._expected = [encode_event(0, "log.open", TIME_MS, self.genesis)]

    @property
    def log_id(self) -> bytes:
        return self.genesis.log_id

    def begin(self, nonce: str, previous: bytes | None = None) -> LogGenesis:
        """Opens another own log."""
        genesis = LogGenesis(
            1,
            self.ledger.id,
            digest("own account"),
            DEVICE.public.raw,
            digest("nonce", nonce)[:16],
            previous,
        )
        self.store.begin_log(genesis, DEVICE, TIME_MS)
        return genesis

    def close(self) -> None:
        self.store.close()

    def reopen(self) -> Store:
        self.store.close()
        self.store = Store.open(self.home, limit_bytes=self.limit_bytes)
        return self.store

    def writer(
        self, commit_point: Callable[[str], None] = ignore_commit_point, **options: Any
    ) -> LogWriter:
        return LogWriter(self.store, self.log_id, DEVICE, commit_point=commit_point, **options)

    def append(self, count: int, size_bytes: int = 20) -> Appended:
        """Appends notes as one batch."""
        drafts = notes(len(self._expected), count, size_bytes)
        with self.writer() as writer:
            done = writer.append(drafts)
        self.wrote(drafts)
        return done

    def wrote(self, drafts: Sequence[Draft]) -> None:
        """Notes that the log must hold these events next."""
        for draft in drafts:
            self._expected.append(leaf(len(self._expected), draft))

    def leaves(self) -> list[bytes]:
        return list(self._expected)

    def held(self) -> list[bytes]:
        """What the own log does hold."""
        with self.store.read() as snapshot:
            log = snapshot.log(self.log_id)
            assert log is not None
            return snapshot.leaves(self.log_id, 0, log.size)

    def head(self) -> SignedHead:
        with self.store.read() as snapshot:
            log = snapshot.log(self.log_id)
            assert log is not None and log.head is not None
            return log.head

    def show_branch(self, log: MemoryLog, size: int | None = None) -> Ingested:
        """Takes in another branch of a log, or its first leaves; it becomes the one shown."""
        head = verify_head(log.head(size).signed, log.genesis)
        ingestion = Ingestion(self.store, log.genesis, head, branch=True)
        ingestion.feed(log.leaves[:size])
        return ingestion.finish()

    def ingest(self, log: MemoryLog, size: int | None = None, chunk: int = 100) -> Ingested:
        """Takes in a log in memory, or its first `size` leaves."""
        size = len(log.leaves) if size is None else size
        chunks = chunked(log.leaves[:size], chunk)
        return ingest(self.store, log.genesis, log.head(size).signed, chunks)

    def take(self, ledger: Ledger) -> None:
        """Takes in every log and commits every epoch of a ledger in memory."""
        for log in ledger.logs.by_id.values():
            self.ingest(log)
        for closed in ledger.epochs:
            self.store.commit_epoch(closed.folded, closed.cut.changed)

    @contextmanager
    def raw(self) -> Iterator[Txn]:
        """A write transaction, for doing damage."""
        with self.store.environment.writing() as txn:
            yield txn

    def put_raw(self, name: str, place: bytes, stored: bytes) -> None:
        """Stores bytes as they are, seal or not."""
        with self.raw() as txn:
            txn.raw.put(place, stored, db=self.store.environment.dbs[name])

    def items(self, name: str) -> list[tuple[bytes, bytes]]:
        """What a database holds, seals included."""
        with self.store.environment.reading() as txn:
            return list(txn.raw_items(name))
