"""Logs and their events: leaves, ids, and what it takes for a leaf to be accepted.

- L1 A leaf is `[1, seq, kind, time_ms, body, payload_commit | nil, payload_len]`. It carries no
  author, backlink or signature: the signed root binds them. `time_ms` is its author's claim and
  counts for nothing.
- L2 Acceptance, frozen for version 1: a canonical array of seven (E1, E2) of at most 512 KiB whose
  second item is its index, under a verified head. Everything else (version, kind, body, smaller
  limits, authority, money) is judged in the fold, which makes a bad event void: so no two versions
  ever stop a log at different places.
- L3 Leaf 0 is `log.open`; its body is the log's genesis `[1, ledger_id, account_id, device key,
  nonce(16), previous log | nil]` and `log_id = H("log", genesis)`.
- L4 `event_id = H("event", log_id, seq, leaf hash)`.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from openledger_node.ledger.encoding import (
    DECODE_FAULTS,
    H,
    decode_array,
    decode_as,
    encode,
    has_plain_types,
)
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.merkle import leaf_hash

EVENT_VERSION: Final = 1
MAX_LEAF_BYTES: Final = 512 * 1024
LEAF_ITEMS: Final = 7
MAX_BODY_BYTES: Final = 16 * 1024
"""Bodies of most kinds (judged in the fold); `model.register` and `witness.*` may fill the leaf."""
SEGMENT_LEAVES: Final = 256
MAX_SEQ: Final = 2**40
MAX_TIME_MS: Final = 2**53 - 1
MAX_PAYLOAD_BYTES: Final = 2**40

Id = Annotated[bytes, Meta(min_length=32, max_length=32)]
Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
Nonce = Annotated[bytes, Meta(min_length=16, max_length=16)]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class Event(
    msgspec.Struct,
    array_like=True,
    frozen=True,
    gc=False,
    forbid_unknown_fields=True,
    kw_only=False,
):
    """A well-formed leaf of version 1, its body still raw msgpack."""

    version: Annotated[int, Meta(ge=1, le=1)]
    seq: Annotated[int, Meta(ge=0, le=MAX_SEQ)]
    kind: Annotated[str, Meta(max_length=64)]
    time_ms: Annotated[int, Meta(ge=0, le=MAX_TIME_MS)]
    body: msgspec.Raw
    payload_commit: Id | None
    payload_len: Annotated[int, Meta(ge=0, le=MAX_PAYLOAD_BYTES)]


class LogGenesis(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Body of leaf 0 (L3): which ledger, account and device a log belongs to."""

    version: Annotated[int, Meta(ge=1, le=1)]
    ledger_id: Id
    account_id: Id
    device: Key
    nonce: Nonce
    previous: Id | None

    @property
    def log_id(self) -> bytes:
        return H("log", self)


_event_decoder = msgspec.msgpack.Decoder(Event)
_genesis_decoder = msgspec.msgpack.Decoder(LogGenesis)
_any_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder()


def encode_event(
    seq: int,
    kind: str,
    time_ms: int,
    body: Any,
    payload_commit: bytes | None = None,
    payload_len: int = 0,
) -> bytes:
    """The leaf of an event (L1). BadInput past 512 KiB."""
    leaf = encode((EVENT_VERSION, seq, kind, time_ms, body, payload_commit, payload_len))
    if len(leaf) > MAX_LEAF_BYTES:
        raise BadInput(
            f"the event has {len(leaf):,} bytes; an event may have {MAX_LEAF_BYTES:,}",
            hint="put long content into the payload",
        )
    return leaf


def acceptance_fault(leaf: bytes, index: int) -> str:
    """Why L2 refuses `leaf` at `index` of its log, or an empty text."""
    if len(leaf) > MAX_LEAF_BYTES:
        return f"it has {len(leaf)} bytes, more than {MAX_LEAF_BYTES}"
    try:
        value = _any_decoder.decode(leaf)
    except DECODE_FAULTS as error:
        return f"it is not msgpack: {error}"
    if type(value) is not list or len(value) != LEAF_ITEMS:
        return f"it is not an array of {LEAF_ITEMS}"
    if type(value[1]) is not int or value[1] != index:
        return "its sequence number is not its index"
    if not has_plain_types(value) or encode(value) != leaf:
        return "it is not canonical"
    return ""


def parse_event(leaf: bytes) -> Event:
    """The event in an accepted leaf.

    BadInput when it is not an event of version 1 (void in the fold).
    """
    try:
        return _event_decoder.decode(leaf)
    except msgspec.DecodeError as error:
        raise BadInput(f"not an event of version {EVENT_VERSION}: {error}") from None


def parse_log_genesis(body: bytes) -> LogGenesis:
    """The genesis in the body of leaf 0 (L3)."""
    return decode_as(_genesis_decoder, body, "the log's genesis")


def parse_log_open(leaf: bytes) -> LogGenesis:
    """The genesis of the log that begins with `leaf`. BadInput when L2 or L3 refuses it."""
    fault = acceptance_fault(leaf, 0)
    if fault:
        raise BadInput(f"not the first leaf of a log: {fault}")
    event = parse_event(leaf)
    if event.kind != "log.open":
        raise BadInput(f"the first leaf of a log is log.open, this one is {event.kind!r}")
    return parse_log_genesis(bytes(event.body))


def event_id_of(log_id: bytes, seq: int, hash_of_leaf: bytes) -> bytes:
    """L4, from the leaf hash."""
    return H("event", log_id, seq, hash_of_leaf)


def event_id(log_id: bytes, seq: int, leaf: bytes) -> bytes:
    """L4, from the leaf."""
    return H("event", log_id, seq, leaf_hash(leaf))


def event_ids(log_id: bytes, first_seq: int, leaves: list[bytes]) -> list[bytes]:
    """L4 of consecutive leaves, in bulk."""
    sha256 = hashlib.sha256
    return [
        sha256(encode(("oln/event/1", log_id, seq, sha256(b"\0" + leaf).digest()))).digest()
        for seq, leaf in enumerate(leaves, first_seq)
    ]


def leaf_items(leaf: bytes) -> list[Any]:
    """The seven items of an accepted leaf, for showing."""
    return decode_array(leaf)
