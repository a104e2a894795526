"""The frames of oln/1: one typed, canonical struct for each type.

- Y2 A body is one canonical array `[type, ...]` (E1, E2) with the fields of its struct below, in
  their order. A body in any other encoding is refused.
- Y3 Types of 64 to 127 are optional: unknown ones are skipped. Any other unknown type ends the
  link.

The field types hold all that one field can say of itself. What fields say of each other, and of
the frames before, is for `session.py`.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta

from openledger_node.ledger.encoding import DECODE_FAULTS, encode
from openledger_node.ledger.events import MAX_LEAF_BYTES, MAX_SEQ, SEGMENT_LEAVES, Id, Key
from openledger_node.ledger.forks import ForkEvidence
from openledger_node.ledger.heads import Signature, SignedHead
from openledger_node.ledger.merkle import HASH_BYTES
from openledger_node.ledger.payload import (
    MAX_CANON_VERSION,
    MAX_DOCUMENT_LEAVES,
    MAX_DOCUMENTS,
    SALT_BYTES,
)
from openledger_node.sync.faults import MAX_TEXT_CHARACTERS, InternalError, fault
from openledger_node.sync.frames import MAX_FRAME_BYTES, frame

PROTOCOL_VERSION: Final = 1
FIRST_OPTIONAL_TYPE: Final = 64
LAST_TYPE: Final = 127
"""A type is one byte of msgpack."""

U32_BYTES: Final = 4
MAX_OPENING_BYTES: Final = 1_024
"""Leaf 0 of a log; its fields come to about 220 bytes."""
MAX_FORKS_A_FRAME: Final = 1_024
MAX_PEER_RECORDS: Final = 16
MAX_PEER_RECORD_BYTES: Final = 1_024
MAX_CODE_CHARACTERS: Final = 64
MAX_WANT_ID: Final = 2**53 - 1
MAX_GRANT_BYTES: Final = 2**32 - 1
MAX_PARTS: Final = 2**16


class FrameType(IntEnum):
    """The first item of a body."""

    HELLO = 0
    FRONTIER = 1
    NEWS = 2
    WANT = 3
    HEAD = 4
    SPINE = 5
    LEAVES = 6
    MISSING = 7
    GRANT = 8
    FORKS = 9
    HAVE = 10
    DIGEST = 11
    DIGEST_ANSWER = 12
    PEERS = 13
    PAYLOAD_WANT = 14
    PAYLOAD_HEAD = 15
    DOCUMENT = 16
    PIECE = 17
    CANCEL = 18
    BYE = 19


class Policy(IntEnum):
    """Which logs a node keeps."""

    ALL = 0
    LISTED = 1
    HEADS = 2


class Reason(IntEnum):
    """Why an answer is missing. CANCELLED answers CANCEL: nothing more of it will come."""

    UNKNOWN = 0
    NOT_SERVED = 1
    OTHER_BRANCH = 2
    BUSY = 3
    CANCELLED = 4


_KNOWN: Final = frozenset(int(kind) for kind in FrameType)
_DATA: Final = frozenset(
    (
        FrameType.NEWS,
        FrameType.HEAD,
        FrameType.SPINE,
        FrameType.LEAVES,
        FrameType.PAYLOAD_HEAD,
        FrameType.DOCUMENT,
        FrameType.PIECE,
    )
)
"""Frames whose whole length uses the credit that the receiver granted (Y8)."""

_WantId = Annotated[int, Meta(ge=0, le=MAX_WANT_ID)]
_Seq = Annotated[int, Meta(ge=0, le=MAX_SEQ)]
_Size = Annotated[int, Meta(ge=1, le=MAX_SEQ)]
_Segment = Annotated[int, Meta(ge=0, le=MAX_SEQ // SEGMENT_LEAVES)]
_Part = Annotated[int, Meta(ge=0, le=MAX_PARTS)]
_Flag = Annotated[int, Meta(ge=0, le=1)]
_Version = Annotated[int, Meta(ge=0, le=2**16 - 1)]
_LogName = Annotated[bytes, Meta(min_length=8, max_length=32)]
_RootName = Annotated[bytes, Meta(min_length=4, max_length=32)]
_Document = Annotated[int, Meta(ge=0, le=MAX_DOCUMENTS)]
_Leaf = Annotated[int, Meta(ge=0, le=MAX_DOCUMENT_LEAVES)]
_Code = Annotated[str, Meta(max_length=MAX_CODE_CHARACTERS)]
_Text = Annotated[str, Meta(max_length=MAX_TEXT_CHARACTERS)]
_Record = Annotated[bytes, Meta(min_length=1, max_length=MAX_PEER_RECORD_BYTES)]
_NonEmpty = Annotated[bytes, Meta(min_length=1)]


class _Frame(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """Base of all frames; the tag is the type."""


class Hello(_Frame, frozen=True, tag=0):
    """Who speaks, about which ledger, and what it holds, in two digests (Y4, Y5)."""

    low_version: _Version
    high_version: _Version
    ledger_id: Id
    node_id: Id
    account: Id
    device: Key
    signature: Signature
    fork_digest: Id | None
    frontier_digest: Id
    policy: Annotated[int, Meta(ge=0, le=2)]


class Frontier(_Frame, frozen=True, tag=1):
    """A part of what the sender holds: entries as in `frontier_entries.py`."""

    part: _Part
    is_last: _Flag
    entries: bytes


class News(_Frame, frozen=True, tag=2):
    """Leaves [first, head.size) of a log, unasked."""

    head: SignedHead
    first: _Seq
    lengths: bytes
    leaves: bytes


class Want(_Frame, frozen=True, tag=3):
    """Asks for leaves [first, stop) of a log; `stop` nil: to the head.

    With `root` the answer is a history whose first `stop` leaves have that root, up to its head.
    With `spine` the segment roots from that segment on come before the leaves.
    """

    want_id: _WantId
    log: _LogName
    first: _Seq
    stop: _Seq | None
    root: Id | None
    spine: _Segment | None


class Head(_Frame, frozen=True, tag=4):
    """Begins the answer to a WANT; `opening` is leaf 0 when the WANT begins there, else empty."""

    want_id: _WantId
    opening: Annotated[bytes, Meta(max_length=MAX_OPENING_BYTES)]
    head: SignedHead


class Spine(_Frame, frozen=True, tag=5):
    """Roots of consecutive segments, 32 bytes each; the last may be of a partial segment."""

    want_id: _WantId
    first: _Segment
    roots: _NonEmpty


class Leaves(_Frame, frozen=True, tag=6):
    """Consecutive leaves one after another; `lengths` has a u32 big-endian for each."""

    want_id: _WantId
    first: _Seq
    lengths: bytes
    leaves: bytes


class Missing(_Frame, frozen=True, tag=7):
    """The rest of an answer does not come."""

    want_id: _WantId
    reason: Annotated[int, Meta(ge=0, le=4)]


class Grant(_Frame, frozen=True, tag=8):
    """Bytes more that may be sent in data frames."""

    size_bytes: Annotated[int, Meta(ge=0, le=MAX_GRANT_BYTES)]


class Forks(_Frame, frozen=True, tag=9):
    """Fork proofs, each as the body of log.fork (L6)."""

    proofs: Annotated[tuple[ForkEvidence, ...], Meta(min_length=1, max_length=MAX_FORKS_A_FRAME)]


class Have(_Frame, frozen=True, tag=10):
    """The sender holds this now: short id and tag, or log id and root when the log is new here."""

    log: _LogName
    size: _Size
    tag: _RootName


class Digest(_Frame, frozen=True, tag=11):
    """The sender's digests now; asks for the other side's."""

    fork_digest: Id | None
    frontier_digest: Id


class DigestAnswer(_Frame, frozen=True, tag=12):
    """The answer to DIGEST."""

    fork_digest: Id | None
    frontier_digest: Id


class Peers(_Frame, frozen=True, tag=13):
    """Signed peer records."""

    records: Annotated[tuple[_Record, ...], Meta(min_length=1, max_length=MAX_PEER_RECORDS)]


class PayloadWant(_Frame, frozen=True, tag=14):
    """Asks for the payload of an event, from a leaf of a document on."""

    want_id: _WantId
    event_id: Id
    commit: Id
    document: _Document
    leaf: _Leaf


class PayloadHead(_Frame, frozen=True, tag=15):
    """A part of the payload's document trees: an array of `[root, leaves, tokens, bytes]`."""

    want_id: _WantId
    part: _Part
    is_last: _Flag
    canon_version: Annotated[int, Meta(ge=1, le=MAX_CANON_VERSION)]
    trees: _NonEmpty


class Document(_Frame, frozen=True, tag=16):
    """Salt, and lengths (u32) and Merkle hashes (32 bytes) of consecutive leaves of a document."""

    want_id: _WantId
    document: _Document
    first: _Leaf
    salt: Annotated[bytes, Meta(min_length=SALT_BYTES, max_length=SALT_BYTES)]
    lengths: bytes
    hashes: bytes


class Piece(_Frame, frozen=True, tag=17):
    """Whole leaves of a document, one after another."""

    want_id: _WantId
    document: _Document
    first: _Leaf
    data: _NonEmpty


class Cancel(_Frame, frozen=True, tag=18):
    """The asker has no more use for an answer."""

    want_id: _WantId


class Bye(_Frame, frozen=True, tag=19):
    """The sender closes the link: a fault's code, or `bye`."""

    code: _Code
    text: _Text


Frame: TypeAlias = (
    Hello
    | Frontier
    | News
    | Want
    | Head
    | Spine
    | Leaves
    | Missing
    | Grant
    | Forks
    | Have
    | Digest
    | DigestAnswer
    | Peers
    | PayloadWant
    | PayloadHead
    | Document
    | Piece
    | Cancel
    | Bye
)

_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Frame)


def encode_frame(message: Frame) -> bytes:
    """The whole frame, length and all. InternalError past MAX_FRAME_BYTES: nothing sends such."""
    body = encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise InternalError(f"a frame of {len(body):,} bytes was to be sent")
    return frame(body)


def frame_type(body: bytes) -> int:
    """The type of a body, 0 to 127. PeerFault `malformed` when it is no array with a type."""
    head = body[0] if body else 0
    at = 1 if 0x91 <= head <= 0x9F else {0xDC: 3, 0xDD: 5}.get(head, len(body))
    if at >= len(body) or body[at] > LAST_TYPE:
        raise fault("malformed", "a frame that is not an array with a type")
    return body[at]


def is_skipped(kind: int) -> bool:
    """Whether a frame of this type is passed over (Y3). PeerFault `unknown_frame`."""
    if kind in _KNOWN:
        return False
    if kind < FIRST_OPTIONAL_TYPE:
        raise fault("unknown_frame", f"a frame of the unknown type {kind}")
    return True


def is_data(kind: int) -> bool:
    """Whether frames of this type use credit (Y8)."""
    return kind in _DATA


def decode_frame(body: bytes) -> Frame:
    """The message in the body of a known type. PeerFault `malformed` or `not_canonical` (Y2)."""
    try:
        message: Frame = _decoder.decode(body)
    except DECODE_FAULTS as error:
        raise fault("malformed", f"a frame of type {frame_type(body)}: {error}") from None
    if encode(message) != body:
        raise fault("not_canonical", f"a frame of type {frame_type(body)} in a longer encoding")
    return message


def split_leaves(lengths: bytes, leaves: bytes) -> list[bytes]:
    """The leaves in `leaves`, whose lengths are u32 big-endian in `lengths`; at least one.

    PeerFault `lengths` when a leaf is empty or too long, or when they do not add up.
    """
    count, odd = divmod(len(lengths), U32_BYTES)
    if odd or not count:
        raise fault("lengths", f"{len(lengths)} bytes are no list of leaf lengths")
    sizes = struct.unpack(f">{count}I", lengths)
    if not 1 <= min(sizes) <= max(sizes) <= MAX_LEAF_BYTES:
        raise fault("lengths", f"a leaf has 1 to {MAX_LEAF_BYTES:,} bytes")
    ends = list(accumulate(sizes, initial=0))
    if ends[-1] != len(leaves):
        raise fault("lengths", f"leaves of {ends[-1]:,} bytes were sent as {len(leaves):,}")
    return [leaves[start:end] for start, end in pairwise(ends)]


def count_roots(roots: bytes) -> int:
    """How many segment roots these are. PeerFault `spine` when it is no whole number."""
    count, odd = divmod(len(roots), HASH_BYTES)
    if odd:
        raise fault("spine", f"{len(roots)} bytes are no list of roots")
    return count
