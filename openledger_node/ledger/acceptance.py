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
from openledger_node.ledger.events import MAX_LEAF_BYTES, acceptance_fault
from openledger_node.ledger.kinds import BODY_TYPES

_SHORT_TEXT_LENGTH: Final = 0x1F
_MIN_LEAF_BYTES: Final = 16
"""Less cannot hold an index and a kind of this version: such leaves take the general way."""


def _leaf_decoder(shape: type[Any]) -> Callable[[bytes], Any]:
    leaf: Any = tuple[int, int, str, int, shape, bytes | None, int]  # type: ignore[valid-type]
    return msgspec.msgpack.Decoder(leaf).decode


_decoders: Final = {kind.encode(): _leaf_decoder(shape) for kind, shape in BODY_TYPES.items()}


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
        fault = acceptance_fault(leaf, index)
        if fault:
            return index, fault
    return None
