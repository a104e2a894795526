"""Canonical bytes: the one encoding of everything that is hashed, signed or stored.

- E1 A value is an integer (-2^63 to 2^64 - 1), `bin`, UTF-8 `str`, nil, or an array of values; no
  map, float, boolean or extension type; arrays nest at most 16 deep.
- E2 Every integer, length and array header takes its shortest msgpack form. A text is canonical
  when decoding and encoding it again gives the same bytes: msgpack libraries accept non-minimal
  forms in silence.
- E3 `H(what, a, b, ...)` is SHA-256 over msgpack `["oln/<what>/1", a, b, ...]`. Signatures are over
  those msgpack bytes themselves (`signing_bytes`), not over their hash.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, TypeVar

import msgspec

from openledger_node.ledger.errors import BadInput

MAX_DEPTH = 16
"""Array nesting that a canonical text may have (E1); the deepest structure of version 1 has 9."""

Value = Any
"""A canonical value: int, bytes, str, None, or a list/tuple of values."""

T = TypeVar("T")

_SCALARS = frozenset((int, bytes, str, type(None)))
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder()

DECODE_FAULTS: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError, TypeError)
"""What a decoder may raise on bytes from anywhere. TypeError: some releases of msgspec hash a map
that is the key of another.
"""

encode = _encoder.encode
"""encode(value) -> bytes.

Structs declared `array_like` become arrays. The caller keeps to E1's types.
"""


def has_plain_types(value: list[Any], depth: int = MAX_DEPTH) -> bool:
    """Whether an array holds nothing but E1's types, nested at most `depth` deep."""
    level = value
    for _ in range(depth):
        deeper: list[Any] = []
        has_arrays = False
        for item in level:
            if type(item) is list:
                has_arrays = True
                deeper += item
            elif type(item) not in _SCALARS:
                return False
        if not has_arrays:
            return True
        level = deeper
    return False


def decode(data: bytes) -> Value:
    """The canonical value in `data`.

    Arrays come as lists. BadInput when `data` is not canonical (E1, E2).
    """
    try:
        value = _decoder.decode(data)
    except DECODE_FAULTS as error:
        raise BadInput(f"not a canonical value: {error}") from None
    if not has_plain_types([value], MAX_DEPTH + 1):
        raise BadInput(
            "not a canonical value: a map, float, boolean or extension, or nested too deep"
        )
    if _encoder.encode(value) != data:
        raise BadInput("not a canonical value: an integer, length or text has a shorter form")
    return value


def decode_array(data: bytes) -> list[Any]:
    """As `decode`, for a text that must be an array."""
    value = decode(data)
    if type(value) is not list:
        raise BadInput("not a canonical array: it holds a single value")
    return value


def decode_as(decoder: msgspec.msgpack.Decoder[T], data: bytes, what: str) -> T:
    """`data` decoded by a typed decoder and held to its canonical form. BadInput names `what`."""
    try:
        value = decoder.decode(data)
    except DECODE_FAULTS as error:
        raise BadInput(f"{what} is malformed: {error}") from None
    if _encoder.encode(value) != data:
        raise BadInput(f"{what} is not in canonical form")
    return value


def signing_bytes(what: str, *parts: Value) -> bytes:
    """The bytes that a signature of kind `what` covers (E3)."""
    return _encoder.encode([f"oln/{what}/1", *parts])


def H(what: str, *parts: Value) -> bytes:
    """SHA-256 over `signing_bytes(what, *parts)`: 32 bytes (E3)."""
    return hashlib.sha256(_encoder.encode([f"oln/{what}/1", *parts])).digest()
