"""Acceptance in bulk: what `events.acceptance_fault` accepts, at several times its speed.

Decoding a leaf into the types of its own kind checks E1 at the decoder's speed; only what does not
fit its kind (unknown kinds, void bodies, refused leaves) takes the general way. The kind is guessed
from the bytes where it should stand. A wrong guess costs time and decides nothing: whatever decoder
is taken holds plain types alone, so a leaf that it decodes, and that encodes to the same bytes
again, is canonical.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from openledger_node.ledger.encoding import encode
from openledger_node.ledger.events import LEAF_ITEMS, MAX_LEAF_BYTES, acceptance_fault
from openledger_node.ledger.kinds import BODY_TYPES

_SHORT_TEXT_LENGTH: Final = 0x1F
_MIN_LEAF_BYTES: Final = 16
"""Less cannot hold an index and a kind of this version: such leaves take the general way."""


def _leaf_decoder(shape: type[Any]) -> Callable[[bytes], Any]:
    leaf: Any = tuple[int, int, str, int, shape, bytes | None, int]  # type: ignore[valid-type]
    return msgspec.msgpack.Decoder(leaf).decode


_decode_any: Final = msgspec.msgpack.Decoder().decode
_SCALARS: Final = frozenset((int, str, bytes, type(None)))
_BODY_ITEM: Final = 4
_decoders: Final = {kind.encode(): _leaf_decoder(shape) for kind, shape in BODY_TYPES.items()}


def _is_plain(leaf: bytes, index: int) -> bool:
    """Whether a leaf of any kind is accepted as one whose body is an array of plain values."""
    try:
        value = _decode_any(leaf)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    if type(value) is not list or len(value) != LEAF_ITEMS or value[1] != index:
        return False
    body = value.pop(_BODY_ITEM)
    if type(body) is not list or not _SCALARS.issuperset(map(type, body)):
        return False
    if not _SCALARS.issuperset(map(type, value)):
        return False
    value.insert(_BODY_ITEM, body)
    return encode(value) == leaf


def first_fault(leaves: Sequence[bytes], first_index: int) -> tuple[int, str] | None:
    """(index, fault) of the first of consecutive leaves that L2 refuses; None when it takes all."""
    decoders = _decoders
    for index, leaf in enumerate(leaves, first_index):
        if _MIN_LEAF_BYTES <= len(leaf) <= MAX_LEAF_BYTES:
            # The header of the kind follows array, version and index, each of its shortest form.
            at = 3 if index < 0x80 else 4 if index < 0x100 else 5 if index < 0x10000 else 7
            decode = decoders.get(leaf[at + 1 : at + 1 + (leaf[at] & _SHORT_TEXT_LENGTH)])
            if decode is not None:
                try:
                    value = decode(leaf)
                except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                    value = None
                if value is not None and value[1] == index and encode(value) == leaf:
                    continue
            if _is_plain(leaf, index):
                continue
        fault = acceptance_fault(leaf, index)
        if fault:
            return index, fault
    return None
