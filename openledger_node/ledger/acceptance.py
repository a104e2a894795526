"""Acceptance in bulk: what `events.acceptance_fault` accepts, at several times its speed.

Decoding a leaf into the types of its own kind checks E1 at the decoder's speed; only what does not
fit its kind (unknown kinds, void bodies, refused leaves) takes the general way. The kind is guessed
from the bytes where it should stand. A wrong guess costs time and decides nothing: what is taken
holds plain types alone, so a leaf that is decoded, and that encodes to the same bytes again, is
canonical.

Many leaves are encoded again in one call and compared as one text. That is as good as comparing
each: a msgpack value shows its own end, so two rows of values that are the same text are the same
values one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

import msgspec

from openledger_node.ledger.encoding import DECODE_FAULTS, encode
from openledger_node.ledger.events import MAX_LEAF_BYTES, acceptance_fault
from openledger_node.ledger.kinds import BODY_TYPES

_SHORT_TEXT_LENGTH: Final = 0x1F
_MIN_LEAF_BYTES: Final = 16
"""Less cannot hold an index and a kind of this version: such leaves take the general way."""


def _leaf_decoder(shape: type[Any]) -> Callable[[bytes], Any]:
    leaf: Any = tuple[int, int, str, int, shape, bytes | None, int]  # type: ignore[valid-type]
    return msgspec.msgpack.Decoder(leaf).decode


_decode_plain: Final = _leaf_decoder(list)
"""For kinds without a decoder of their own: a body that is an array, of anything until checked."""
_SCALARS: Final = frozenset((int, str, bytes, type(None)))
_BODY_ITEM: Final = 4
_ROW_LEAVES: Final = 128
"""Leaves compared as one text: few enough to stay in the processor's cache."""
_decoders: Final = {kind.encode(): _leaf_decoder(shape) for kind, shape in BODY_TYPES.items()}


def _are_all_accepted(leaves: Sequence[bytes], first_index: int, at: int) -> bool:
    """Whether leaves whose kind's header is at `at` are all accepted; False when it is unsure."""
    start = at + 1
    get: Callable[..., Callable[[bytes], Any]] = _decoders.get
    if not _MIN_LEAF_BYTES <= min(map(len, leaves)) <= max(map(len, leaves)) <= MAX_LEAF_BYTES:
        return False
    try:
        values = [
            get(leaf[start : start + (leaf[at] & _SHORT_TEXT_LENGTH)], _decode_plain)(leaf)
            for leaf in leaves
        ]
    except DECODE_FAULTS:
        return False
    if [value[1] for value in values] != list(range(first_index, first_index + len(leaves))):
        return False
    arrays = [value[_BODY_ITEM] for value in values if type(value[_BODY_ITEM]) is list]
    if not _SCALARS.issuperset(map(type, chain.from_iterable(arrays))):
        return False
    return encode(values) == _array_header(len(values)) + b"".join(leaves)


def _array_header(count: int) -> bytes:
    """What msgpack puts before an array of `count` values, of a row or less."""
    return bytes((0x90 | count,)) if count < 0x10 else b"\xdc" + count.to_bytes(2, "big")


def _header_at(index: int) -> int:
    """Where the header of the kind is: after array, version and index, each of shortest form."""
    return 3 if index < 0x80 else 4 if index < 0x100 else 5 if index < 0x10000 else 7


def first_fault(leaves: Sequence[bytes], first_index: int) -> tuple[int, str] | None:
    """(index, fault) of the first of consecutive leaves that L2 refuses; None when it takes all."""
    for start in range(0, len(leaves), _ROW_LEAVES):
        row = leaves[start : start + _ROW_LEAVES]
        index = first_index + start
        at = _header_at(index)
        in_line = at == _header_at(index + len(row) - 1)
        if not (in_line and _are_all_accepted(row, index, at)):
            fault = _first_fault(row, index)
            if fault is not None:
                return fault
    return None


def _first_fault(leaves: Sequence[bytes], first_index: int) -> tuple[int, str] | None:
    """As `first_fault`, leaf by leaf."""
    decoders = _decoders
    for index, leaf in enumerate(leaves, first_index):
        if _MIN_LEAF_BYTES <= len(leaf) <= MAX_LEAF_BYTES:
            at = _header_at(index)
            decode = decoders.get(leaf[at + 1 : at + 1 + (leaf[at] & _SHORT_TEXT_LENGTH)])
            if decode is not None:
                try:
                    value = decode(leaf)
                except DECODE_FAULTS:
                    value = None
                if value is not None and value[1] == index and encode(value) == leaf:
                    continue
        fault = acceptance_fault(leaf, index)
        if fault:
            return index, fault
    return None
