"""Reading events back: one by its id, or all of some kinds; with what became of each.

Status of an event: `final` (counted by the fold), `void` (counted as nothing, with its rule),
`parked` (waits for an id), `pending` (not in a cut yet), `unread` (in a cut, of a log whose key is
not enrolled, or past where the log was closed).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from openledger_node.credit import views
from openledger_node.credit.inputs import StateReader
from openledger_node.credit.rules import reason_sentence
from openledger_node.ledger.errors import BadInput, UsageError
from openledger_node.ledger.events import Event, event_ids, parse_event
from openledger_node.ledger.kinds import BODY_TYPES, parse_body
from openledger_node.ledger.names import account_short
from openledger_node.node.claims import Backing, backing
from openledger_node.node.results import EventShown
from openledger_node.store.snapshot import Snapshot
from openledger_node.store.view_logs import LogInfo

_KIND_WINDOW_BYTES: Final = 32
"""The kind stands within the first bytes of a leaf.

Header, version and sequence number take at most 11.
"""


@dataclass(frozen=True, slots=True)
class Located:
    """An event with its place."""

    log: LogInfo
    seq: int
    event_id: bytes
    event: Event


def _signed_size(log: LogInfo) -> int:
    return log.head.size if log.head else 0


def events_of(snapshot: Snapshot, *kinds: str) -> Iterator[Located]:
    """Every event of some kinds in the logs held, log by log in order.

    Costs a pass over all leaves.
    """
    marks = tuple(kind.encode() for kind in kinds)
    for log in snapshot.logs():
        size = _signed_size(log)
        for first in range(0, size, 4096):
            leaves = snapshot.leaves(log.log_id, first, min(first + 4096, size))
            chosen = [
                (first + index, leaf)
                for index, leaf in enumerate(leaves)
                if any(mark in leaf[:_KIND_WINDOW_BYTES] for mark in marks)
            ]
            for seq, leaf in chosen:
                event = well_formed(leaf)
                if event is not None and event.kind in kinds:
                    yield Located(log, seq, event_ids(log.log_id, seq, [leaf])[0], event)


_ENROLLING: Final = ("account.create", "account.add_device")


def was_read(state: StateReader, found: Located) -> bool:
    """Whether the fold read an event: its device is enrolled, its log was not closed before it.

    Anybody can open a log that names an account, with a key of their own, and whoever stole a
    device's key goes on with its logs: what such logs say is in them, and not so.
    """
    record = views.log_record(state, found.log.log_id)
    return record is not None and found.seq < record.read_to


def _was_judged(state: StateReader, found: Located) -> bool:
    """As `was_read`, of a key event: those count in logs whose devices are not enrolled, too."""
    record = views.log_record(state, found.log.log_id)
    if record is None or record.authorised:
        return was_read(state, found)
    return record.closed_at is None or found.seq < record.closed_at


def events_read(snapshot: Snapshot, *kinds: str) -> list[tuple[Located, int]]:
    """The final events of some kinds that were read and are not void, each with the epoch in which
    it was read: that of its cut, or of its device's enrolment if that came later.
    """
    state = snapshot.state
    enrolled: dict[tuple[bytes, bytes], int] = {}
    found: list[tuple[Located, int]] = []
    for each in events_of(snapshot, *kinds, *_ENROLLING):
        epoch = snapshot.epoch_of(each.log.log_id, each.seq)
        if epoch is None or views.void_reason(state, each.event_id) is not None:
            continue
        if each.event.kind in _ENROLLING and _was_judged(state, each):
            try:
                body = body_of(each)
            except BadInput:
                continue
            owner = body.account_id, body.device
            enrolled[owner] = min(epoch, enrolled.get(owner, epoch))
        if each.event.kind in kinds and was_read(state, each):
            found.append((each, epoch))
    return [
        (each, max(epoch, enrolled.get((each.log.genesis.account_id, each.log.genesis.device), 0)))
        for each, epoch in found
    ]


def well_formed(leaf: bytes) -> Event | None:
    """The event in an accepted leaf, or None when it is void for its form."""
    try:
        return parse_event(leaf)
    except BadInput:
        return None


def find_event(snapshot: Snapshot, event_id: bytes) -> Located | None:
    """The event of a whole id, when this home holds it."""
    for log_id, seq, found in snapshot.find_event(event_id):
        log = snapshot.log(log_id)
        if found == event_id and log is not None:
            event = well_formed(snapshot.leaves(log_id, seq, seq + 1)[0])
            if event is not None:
                return Located(log, seq, event_id, event)
    return None


def must_find(snapshot: Snapshot, event_id: bytes) -> Located:
    found = find_event(snapshot, event_id)
    if found is None:
        raise UsageError(
            f"no log held here has event {event_id.hex()[:16]}",
            hint="import or sync the log that holds it",
            code="unknown_id",
        )
    return found


def body_of(found: Located) -> Any:
    """The typed body. BadInput when it is malformed (such an event is void)."""
    return parse_body(found.event)


@dataclass(frozen=True, slots=True)
class Outcome:
    status: str
    epoch: int | None
    rule: str | None = None
    reason: str | None = None


def outcome(snapshot: Snapshot, state: StateReader, found: Located) -> Outcome:
    """What became of an event (see above). `state` is the final one."""
    mark = snapshot.cut_mark(found.log.log_id)
    if mark is None or found.seq >= mark.size:
        return Outcome("pending", None)
    record = views.log_record(state, found.log.log_id)
    void = views.void_reason(state, found.event_id)
    epoch = snapshot.epoch_of(found.log.log_id, found.seq)
    if void is not None:
        return Outcome("void", epoch, void[0], reason_sentence(*void))
    waiting = views.parked(state, found.event_id)
    if waiting is not None:
        awaited = waiting.awaits.hex()[:16] if waiting.awaits else "the next epoch"
        return Outcome("parked", epoch, "PARK", f"it waits for {awaited}")
    if record is None or found.seq >= record.read_to:
        closed = record is not None and record.closed_at is not None
        reason = "its log was closed before it" if closed else "its device key is not enrolled"
        return Outcome("unread", epoch, "L", reason)
    return Outcome("final", epoch)


def shown(snapshot: Snapshot, state: StateReader, found: Located) -> EventShown:
    """An event for people and programs."""
    result = outcome(snapshot, state, found)
    account = found.log.genesis.account_id
    commit = found.event.payload_commit
    payload: Backing | Literal["none"] = "none"
    if commit is not None:
        payload = backing(snapshot, account, commit)
    return EventShown(
        event_id=found.event_id.hex(),
        log_id=found.log.log_id.hex(),
        account_id=account.hex(),
        account=snapshot.petnames().get(account, account_short(account)),
        seq=found.seq,
        kind=found.event.kind,
        time_ms=found.event.time_ms,
        body=shown_body(found.event),
        payload_commit=commit.hex() if commit else None,
        payload_len=found.event.payload_len,
        payload=payload,
        epoch=result.epoch,
        status=result.status,
        rule=result.rule,
        reason=result.reason,
    )


def shown_body(event: Event) -> dict[str, Any]:
    """A body with its fields' names; ids and bytes in hex."""
    if event.kind in BODY_TYPES:
        try:
            body = parse_body(event)
        except BadInput as error:
            return {"malformed": error.message, "items": plain(msgspec.msgpack.decode(event.body))}
        return {name: plain(getattr(body, name)) for name in body.__struct_fields__}
    return {"items": plain(msgspec.msgpack.decode(event.body))}


def plain(value: Any) -> Any:
    """JSON-ready: bytes as hex, structs as named fields."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    return value
