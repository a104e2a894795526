"""Bulk in and out: events as JSON lines, tables as CSV.

`import` reads one event a line, `{"kind": ..., "body": {...}}`, with the names of the body's
fields, ids and bytes in hex; it appends them to the own log in batches. A line that cannot be an
event of its kind is refused by number, and the rest goes on. `export` writes every event held, one
a line, or a table of them.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from openledger_node.ledger.errors import BadInput, StoreUnavailable, UsageError
from openledger_node.ledger.events import event_ids
from openledger_node.ledger.kinds import BODY_TYPES
from openledger_node.node.core import NodeCore, Progress, no_progress
from openledger_node.node.money import harmless
from openledger_node.node.reading import Located, shown, shown_body, well_formed
from openledger_node.node.results import BulkMoved, Refusal, as_json
from openledger_node.store.snapshot import Snapshot
from openledger_node.store.writer import Draft

MAX_LINE_BYTES: Final = 2 * 2**20
MAX_SKIPPED_BYTES: Final = 256 * 2**20
"""Of one line that is too long: a device need never end it."""
MAX_REFUSALS_LISTED: Final = 1_000
BATCH_EVENTS: Final = 16_384
FORMATS: Final = ("jsonl", "csv")
_OWN_KINDS: Final = frozenset(("log.open", "log.fork"))
"""Kinds that a node writes by itself or not at all; those of witnesses as well."""


def import_events(core: NodeCore, file: Path, *, progress: Progress = no_progress) -> BulkMoved:
    """Appends the events of a JSON lines file to the own log."""
    refused: list[Refusal] = []
    events = 0
    batch: list[Draft] = []
    for draft in _drafts(core, file, refused, progress):
        batch.append(draft)
        if len(batch) == BATCH_EVENTS:
            core.writer().append(batch)
            events += len(batch)
            batch = []
    if batch:
        core.writer().append(batch)
        events += len(batch)
    if not events and refused:
        first = refused[0]
        raise BadInput(
            f"nothing was imported: {first.what}: {first.reason}",
            hint='each line is {"kind": "...", "body": {...}}',
        )
    note = "appended to the own log; they count when an epoch closes over them"
    return BulkMoved(str(file), events, tuple(refused[:MAX_REFUSALS_LISTED]), note)


def _drafts(
    core: NodeCore, file: Path, refused: list[Refusal], progress: Progress
) -> Iterator[Draft]:
    done = 0
    for number, line in enumerate(_lines(file), 1):
        done += len(line)
        if number % 1_000 == 0:
            progress(done, file.stat().st_size, "bytes")
        if not line.strip():
            continue
        try:
            yield _draft(core, line)
        except BadInput as error:
            if len(refused) < MAX_REFUSALS_LISTED:
                refused.append(Refusal(f"line {number}", error.message))


def _lines(file: Path) -> Iterator[bytes]:
    """The lines of a file; of one that is too long, its beginning."""
    try:
        with file.open("rb") as opened:
            while line := opened.readline(MAX_LINE_BYTES + 1):
                yield line
                skipped = 0
                while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                    line = opened.readline(MAX_LINE_BYTES + 1)
                    skipped += len(line)
                    if skipped > MAX_SKIPPED_BYTES:
                        raise UsageError(
                            f"{file} has a line of more than {MAX_SKIPPED_BYTES:,} bytes",
                            hint="what stood before it was read; is it a file of JSON lines?",
                            code="bad_file",
                        )
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", code="bad_file") from None


def _draft(core: NodeCore, line: bytes) -> Draft:
    if len(line) > MAX_LINE_BYTES:
        raise BadInput(f"it has more than {MAX_LINE_BYTES:,} bytes")
    try:
        document = json.loads(line)
        kind, body = document["kind"], document["body"]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise BadInput("it is no JSON object with kind and body") from None
    if not isinstance(kind, str) or kind not in BODY_TYPES or not _imported(kind):
        raise BadInput(f"events of kind {str(kind)[:64]!r} are not imported")
    shape = BODY_TYPES[kind]
    if not isinstance(body, dict):
        raise BadInput("its body is no JSON object")
    unknown = sorted(set(body) - set(shape.__struct_fields__))
    missing = sorted(set(shape.__struct_fields__) - set(body))
    if unknown or missing:
        fault = f"has no field {missing[0]!r}" if missing else f"knows no field {unknown[0]!r}"
        raise BadInput(f"the body of {kind} {fault}")
    items = [body[name] for name in shape.__struct_fields__]
    typed = _with_bytes(shape, items, kind)
    return core.draft(kind, typed)


def _imported(kind: str) -> bool:
    return kind not in _OWN_KINDS and not kind.startswith("witness.")


def _with_bytes(shape: type[Any], items: list[Any], kind: str) -> Any:
    """The body with hex text where its shape wants bytes."""
    try:
        return msgspec.convert([_unhex(item) for item in items], shape, builtin_types=(bytes,))
    except (msgspec.ValidationError, RecursionError):
        # A text may look like an id: then each field is read by its own type.
        reading = [
            _field(item, field.type, f"{kind}: {field.name}")
            for item, field in zip(items, msgspec.structs.fields(shape), strict=True)
        ]
    try:
        return msgspec.convert(reading, shape, builtin_types=(bytes,))
    except (msgspec.ValidationError, RecursionError) as error:
        raise BadInput(f"the body of {kind} does not have its shape: {error}") from None


def _field(value: Any, wanted: Any, name: str) -> Any:
    """A field as it stands where its type takes it so, else with its hex text as bytes."""
    try:
        msgspec.convert(value, wanted, builtin_types=(bytes,))
    except (msgspec.ValidationError, RecursionError):
        try:
            unhexed = _unhex(value)
            msgspec.convert(unhexed, wanted, builtin_types=(bytes,))
        except (msgspec.ValidationError, RecursionError) as error:
            raise BadInput(f"the body of {name} does not fit: {error}") from None
        return unhexed
    return value


def _unhex(value: Any) -> Any:
    """Ids and other bytes, written as hex, as bytes; everything else as it is."""
    if isinstance(value, list):
        return [_unhex(item) for item in value]
    if isinstance(value, str) and len(value) in (64, 128):
        try:
            return bytes.fromhex(value)
        except ValueError:
            return value
    return value


def export_events(
    core: NodeCore, file: Path, format: str = "jsonl", *, progress: Progress = no_progress
) -> BulkMoved:
    """Writes every event held here, log by log."""
    if format not in FORMATS:
        raise UsageError(f"{format!r} is no export format", hint="formats: " + ", ".join(FORMATS))
    events = 0
    with core.store.read() as snapshot:
        total = sum(log.head.size for log in snapshot.logs() if log.head)
        with _new_file(file) as out:
            write = _writer(out, format)
            for found in _all(snapshot):
                write(snapshot, found)
                events += 1
                if events % 1_000 == 0:
                    progress(events, total, "events")
    return BulkMoved(str(file), events, (), "")


@contextmanager
def _new_file(file: Path) -> Iterator[TextIO]:
    """A new text file, taken away again when writing it fails."""
    try:
        out = file.open("x", encoding="utf-8", newline="")
    except FileExistsError:
        raise UsageError(f"{file} exists already", hint="name a new file") from None
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}", code="bad_file") from None
    try:
        with out:
            yield out
    except BaseException as error:
        file.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StoreUnavailable(f"cannot write {file}: {error.strerror}") from None
        raise


def _all(snapshot: Snapshot) -> Iterator[Located]:
    for log in snapshot.logs():
        start = 0
        for leaves in snapshot.iter_leaves(log.log_id):
            for seq, (leaf, event_id) in enumerate(
                zip(leaves, event_ids(log.log_id, start, leaves), strict=True), start
            ):
                event = well_formed(leaf)
                if event is not None:
                    yield Located(log, seq, event_id, event)
            start += len(leaves)


def _writer(out: TextIO, format: str) -> Any:
    if format == "jsonl":

        def as_line(snapshot: Snapshot, found: Located) -> None:
            json.dump(as_json(shown(snapshot, snapshot.state, found)), out, ensure_ascii=False)
            out.write("\n")

        return as_line
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["event_id", "log_id", "account_id", "seq", "kind", "time_ms", "body"])

    def as_row(snapshot: Snapshot, found: Located) -> None:
        body = json.dumps(shown_body(found.event), ensure_ascii=False)
        table.writerow(
            [
                found.event_id.hex(),
                found.log.log_id.hex(),
                found.log.genesis.account_id.hex(),
                found.seq,
                harmless(found.event.kind),
                found.event.time_ms,
                body,
            ]
        )

    return as_row
