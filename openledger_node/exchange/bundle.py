"""Bundles: logs and shared payloads in one file, for homes that meet without a network.

    oln-bundle/1
    ["ledger", genesis]
    ["log", signed head]  then  ["leaves", first seq, [leaf, ...]]*     for each log, whole
    ["payload", commit, size]  then  ["part", bytes]*                  for each payload
    ["end", ...]                                                       as in frames.py

The payloads are those shared with all, the maps of derivations, and the evidence and outputs of
receipts named for it. Handing over a file is deliberate, so its payloads need not be final yet.
Import verifies as if a stranger had sent it: each log by its own leaves and head, each payload by
its commitment, which an event of the payload's own account must name; what does not verify is
refused by name and the rest is kept. Erasures that come along are honoured, and what was erased
here stays so. A bundle that holds more of the own log than this home, or another history of it,
shows that the home went back in time or was copied: it goes on in a new log.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from openledger_node.attribution.evidence import erased_branches
from openledger_node.credit import views
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput, OlnError, Refused, StoreUnavailable
from openledger_node.ledger.events import parse_log_open
from openledger_node.ledger.forks import ForkEvidence
from openledger_node.ledger.genesis import parse_genesis
from openledger_node.ledger.heads import SignedHead
from openledger_node.ledger.payload import MAX_PAYLOAD_BYTES, container_account, payload_commitment
from openledger_node.node.core import NodeCore, Progress, no_progress
from openledger_node.node.epochs import catch_up
from openledger_node.node.erasing import commits_of, honour_erasures, keep_payload
from openledger_node.node.forking import file_fork
from openledger_node.node.lookup import find_id
from openledger_node.node.pending import pending_view
from openledger_node.node.reading import events_of, must_find
from openledger_node.node.results import BundleMoved, Refusal
from openledger_node.store.frames import FrameWriter, read_frames
from openledger_node.store.ingest import ingest
from openledger_node.store.snapshot import Snapshot
from openledger_node.store.view_logs import LogInfo

MAGIC: Final = b"oln-bundle/1\n"
CHUNK_BYTES: Final = 2**20
CHUNK_LEAVES: Final = 256
MAX_LOGS: Final = 1_000_000
MAX_REFUSALS_LISTED: Final = 1_000

_KINDS_WITH_PAYLOADS: Final = ("data.contribute", "data.derivation", "use.receipt")
_EVIDENCE: Final = "use.receipt"
_ERASURE: Final = b"data.erase"
_KIND_WINDOW_BYTES: Final = 32

_head_decoder = msgspec.msgpack.Decoder(SignedHead)


def export_bundle(
    core: NodeCore,
    path: Path,
    *,
    payloads: bool = True,
    evidence: Sequence[str] = (),
    progress: Progress = no_progress,
) -> BundleMoved:
    """Writes every log held, the payloads shared with all, and the evidence of some receipts."""
    events = logs = carried = 0
    with core.store.read() as snapshot:
        held = [log for log in snapshot.logs() if log.head is not None]
        total = sum(log.head.size for log in held if log.head)
        commits = _shared_payloads(core, snapshot) if payloads else []
        commits += [commit for text in evidence for commit in _evidence_of(snapshot, text)]
        with FrameWriter(path, MAGIC) as out:
            out.write("ledger", encode(core.genesis))
            for log in held:
                events += _write_log(out, snapshot, log)
                logs += 1
                progress(events, total, "events")
            for done, commit in enumerate(commits, 1):
                data = snapshot.payload(commit)
                if data is not None:
                    _write_payload(out, commit, data)
                    carried += 1
                progress(done, len(commits), "payloads")
    size_bytes = path.stat().st_size
    return BundleMoved(str(path), events, logs, carried, size_bytes, (), snapshot_epoch(core))


def snapshot_epoch(core: NodeCore) -> int:
    with core.store.read() as snapshot:
        return snapshot.last_epoch()


def _write_log(out: FrameWriter, snapshot: Snapshot, log: LogInfo) -> int:
    if log.head is None:
        return 0
    out.write("log", log.head)
    for first in range(0, log.head.size, CHUNK_LEAVES):
        stop = min(first + CHUNK_LEAVES, log.head.size)
        chunk: list[bytes] = []
        start, size_bytes = first, 0
        for leaf in snapshot.leaves(log.log_id, first, stop):
            if chunk and size_bytes + len(leaf) > CHUNK_BYTES:
                out.write("leaves", start, chunk)
                start, chunk, size_bytes = start + len(chunk), [], 0
            chunk.append(leaf)
            size_bytes += len(leaf)
        out.write("leaves", start, chunk)
    return log.head.size


def _write_payload(out: FrameWriter, commit: bytes, data: bytes) -> None:
    out.write("payload", commit, len(data))
    for start in range(0, len(data), CHUNK_BYTES):
        out.write("part", data[start : start + CHUNK_BYTES])


def _shared_payloads(core: NodeCore, snapshot: Snapshot) -> list[bytes]:
    """Commitments of payloads held here: of contributions shared with all, final or pending, and
    of derivations, whose maps hold no text.
    """
    state = pending_view(core, snapshot).state
    shared = {
        contribution.contribution_id
        for contribution in views.contributions(state)
        if contribution.share == "all" and not contribution.erased
    }
    shared |= {view.derivation_id for view in views.derivations(state)}
    if not shared:
        return []
    held = {
        commit
        for found in events_of(snapshot, "data.contribute", "data.derivation")
        if found.event_id in shared
        and (commit := found.event.payload_commit) is not None
        and snapshot.payload_account(commit) == found.log.genesis.account_id
    }
    return sorted(held)


def _evidence_of(snapshot: Snapshot, text: str) -> list[bytes]:
    """Commitments of a receipt's evidence and outputs. Refused when they are not held here."""
    found = must_find(snapshot, find_id(snapshot, text, "use.receipt"))
    account = found.log.genesis.account_id
    commits = commits_of(found)
    if any(snapshot.payload_account(commit) != account for commit in commits):
        raise Refused(
            f"the evidence and outputs of receipt {text} are not held here",
            hint="its provider holds them, and may have served them to the payer",
            code="no_payload",
        )
    return commits


def committed(snapshot: Snapshot, kind: str) -> set[tuple[bytes, bytes]]:
    """(account, commitment) of everything that events of a kind, in the logs held, commit to."""
    return {
        (found.log.genesis.account_id, commit)
        for found in events_of(snapshot, kind)
        for commit in commits_of(found)
    }


def import_bundle(core: NodeCore, path: Path, *, progress: Progress = no_progress) -> BundleMoved:
    """Takes in a bundle: logs first, then payloads, then whatever epochs its witnesses decided."""
    importer = _Importer(core)

    def seen(done: int, total: int) -> None:
        progress(done, total, "bytes")

    stream = _Stream(read_frames(path, MAGIC, "a bundle of this version", seen))
    fault: BadInput | None = None
    try:
        importer.run(stream)
    except BadInput as error:
        fault = error
        importer.refuse(str(path), error.message)
    if importer.own_log_elsewhere:
        core.leave_log()
    for proof in importer.forks:
        file_fork(core, proof, here=True)
    epochs = catch_up(core, progress=progress)
    if importer.erasures:
        honour_erasures(core)
    if fault is not None and not importer.logs:
        raise fault
    return BundleMoved(
        file=str(path),
        events=importer.events,
        logs=importer.logs,
        payloads=importer.payloads,
        size_bytes=path.stat().st_size,
        refused=tuple(importer.refused[:MAX_REFUSALS_LISTED]),
        epochs=epochs,
    )


class _Importer:
    """Consumes the frames of a bundle one after another."""

    def __init__(self, core: NodeCore) -> None:
        self.core = core
        self.events = self.logs = self.payloads = 0
        self._logs_seen = 0
        self.refused: list[Refusal] = []
        self.erasures = False
        self.own_log_elsewhere = False
        self.forks: list[ForkEvidence] = []
        self._commits: dict[str, set[tuple[bytes, bytes]]] = {}
        with core.store.read() as snapshot:
            self._own_log = snapshot.current_log

    def refuse(self, what: str, reason: str) -> None:
        if len(self.refused) < MAX_REFUSALS_LISTED:
            self.refused.append(Refusal(what, reason))

    def run(self, stream: _Stream) -> None:
        first = stream.take()
        if first is None or first[0] != "ledger" or len(first) != 2:
            raise stream.fault or BadInput("the bundle does not begin with its ledger")
        genesis = parse_genesis(_bytes(first[1]))
        if genesis.ledger_id != self.core.ledger_id:
            raise Refused(
                f"the bundle belongs to ledger {genesis.ledger_id.hex()[:12]} ({genesis.name!r}), "
                f"this home to {self.core.ledger_id.hex()[:12]} ({self.core.genesis.name!r})",
                hint="import it into a home of its ledger",
                code="other_ledger",
            )
        while (frame := stream.take()) is not None:
            if frame[0] == "log" and len(frame) == 2:
                self._log(frame[1], stream)
            elif frame[0] == "payload" and len(frame) == 3:
                self._payload(_bytes(frame[1]), frame[2], stream)
            else:
                raise BadInput(f"the bundle holds a frame {str(frame[0])[:32]!r} out of place")
        if stream.fault is not None:
            raise stream.fault

    def _log(self, raw_head: Any, stream: _Stream) -> None:
        self._logs_seen += 1
        if self._logs_seen > MAX_LOGS:
            raise BadInput(f"the bundle holds more than {MAX_LOGS:,} logs")
        try:
            head = _head_decoder.decode(encode(raw_head))
        except msgspec.DecodeError as error:
            raise BadInput(f"the bundle holds a malformed head: {error}") from None
        name = f"log {head.log_id.hex()[:12]}"
        try:
            self._take_log(head, name, self._watched(_leaves(stream)))
        except OlnError as error:
            if error.exit_status not in (1, 3) or isinstance(error, StoreUnavailable):
                raise
            self.refuse(name, error.message)
        finally:
            stream.skip("leaves")

    def _take_log(self, head: SignedHead, name: str, chunks: Iterator[list[bytes]]) -> None:
        first = next(chunks, [])
        if not first:
            raise BadInput("it has no leaves")
        genesis = parse_log_open(first[0])
        if genesis.ledger_id != self.core.ledger_id:
            raise BadInput("it belongs to another ledger")
        result = ingest(
            self.core.store, genesis, head, itertools.chain((first,), chunks), adopt_own=True
        )
        self.events += result.added
        self.logs += 1
        if head.log_id == self._own_log and (result.added or result.fork is not None):
            self.own_log_elsewhere = True
        if result.fork is not None:
            self.forks.append(result.fork)
            self.refuse(name, "it forks from the history held here; the proof is kept")

    def _watched(self, chunks: Iterator[list[bytes]]) -> Iterator[list[bytes]]:
        """The chunks as they are; notes whether erasures are among them."""
        for chunk in chunks:
            self.erasures |= any(_ERASURE in leaf[:_KIND_WINDOW_BYTES] for leaf in chunk)
            yield chunk

    def _payload(self, commit: bytes, size_bytes: Any, stream: _Stream) -> None:
        try:
            data = _joined(size_bytes, stream)
            self._check_payload(commit, data)
        except BadInput as error:
            self.refuse(f"payload {commit.hex()[:12]}", error.message)
            return
        finally:
            stream.skip("part")
        keep_payload(self.core.store, commit, data)
        self.payloads += 1

    def _check_payload(self, commit: bytes, data: bytes) -> None:
        """BadInput when it is not the payload of an event held here, or was erased."""
        if payload_commitment(data) != commit:
            raise BadInput("its bytes do not match its commitment")
        with self.core.store.read() as snapshot:
            if snapshot.is_erased(commit):
                raise BadInput("it was erased here")
            named = container_account(data), commit
            for kind in _KINDS_WITH_PAYLOADS:
                if kind not in self._commits:
                    self._commits[kind] = committed(snapshot, kind)
                if named in self._commits[kind]:
                    if kind != _EVIDENCE and erased_branches(data):
                        raise BadInput("a part of it was erased")
                    return
        raise BadInput("no event of its account held here commits to it")


def _joined(size_bytes: Any, stream: _Stream) -> bytes:
    """A payload from its parts, of exactly the size that it states."""
    if type(size_bytes) is not int or not 0 < size_bytes <= MAX_PAYLOAD_BYTES:
        raise BadInput("it states an impossible size")
    parts: list[bytes] = []
    held = 0
    while (frame := stream.take("part")) is not None:
        if len(frame) != 2:
            raise BadInput("it has a malformed part")
        parts.append(_bytes(frame[1]))
        held += len(parts[-1])
        if held > size_bytes:
            raise BadInput("it is longer than it states")
    if held < size_bytes:
        raise BadInput("it is shorter than it states")
    return b"".join(parts)


class _Stream:
    """Frames with one frame of look-ahead. It ends where the file is at fault, and says why."""

    def __init__(self, frames: Iterator[list[Any]]) -> None:
        self._frames = frames
        self._next: list[Any] | None = None
        self.fault: BadInput | None = None

    def _peek(self) -> list[Any] | None:
        if self._next is None and self.fault is None:
            try:
                self._next = next(self._frames, None)
                if self._next is not None and (not self._next or type(self._next[0]) is not str):
                    raise BadInput("the bundle holds a frame without a word")
            except BadInput as error:
                self._next, self.fault = None, error
        return self._next

    def take(self, word: str | None = None) -> list[Any] | None:
        """The next frame, where it has this word; None at the end."""
        frame = self._peek()
        if frame is not None and word is not None and frame[0] != word:
            return None
        self._next = None
        return frame

    def skip(self, word: str) -> None:
        while self.take(word) is not None:
            continue


def _leaves(stream: _Stream) -> Iterator[list[bytes]]:
    """The leaves of one log, chunk by chunk, in order without a gap."""
    expected = 0
    while (frame := stream.take("leaves")) is not None:
        if len(frame) != 3 or frame[1] != expected or type(frame[2]) is not list:
            raise BadInput("its leaves are not in order")
        leaves = [_bytes(leaf) for leaf in frame[2]]
        expected += len(leaves)
        yield leaves


def _bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        raise BadInput("the bundle holds something else where bytes belong")
    return value
