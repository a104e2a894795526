"""A canonical encoder and decoder written from the msgpack format page alone, byte by byte.

Slow and plain: the oracle of the encoding's tests. A value is an int, bytes, str, None or a list.
"""

from __future__ import annotations

import struct
from typing import Any

LIMITS = ((8, 1), (16, 2), (32, 4), (64, 8))


class NotCanonical(ValueError):
    """The bytes are not the only encoding of a value."""


def _header(length: int, codes: dict[int, int]) -> bytes:
    """The shortest header: `codes` maps the width of the length in bytes to the format byte."""
    for bits, width in LIMITS:
        if length < 1 << bits and width in codes:
            return bytes([codes[width]]) + length.to_bytes(width, "big")
    raise NotCanonical("too long")


def _integer(value: int) -> bytes:
    if 0 <= value < 128:
        return bytes([value])
    if -32 <= value < 0:
        return bytes([256 + value])
    if value >= 0:
        return _header(value, {1: 0xCC, 2: 0xCD, 4: 0xCE, 8: 0xCF})
    for code, width in ((0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8)):
        if value >= -(1 << (8 * width - 1)):
            return bytes([code]) + value.to_bytes(width, "big", signed=True)
    raise NotCanonical("below -2^63")


def encode(value: Any) -> bytes:
    """The only encoding of a canonical value."""
    if value is None:
        return b"\xc0"
    if type(value) is int:
        return _integer(value)
    if type(value) is bytes:
        return _header(len(value), {1: 0xC4, 2: 0xC5, 4: 0xC6}) + value
    if type(value) is str:
        raw = value.encode("utf-8")
        short = bytes([0xA0 + len(raw)]) if len(raw) < 32 else None
        return (short or _header(len(raw), {1: 0xD9, 2: 0xDA, 4: 0xDB})) + raw
    if type(value) in (list, tuple):
        short = bytes([0x90 + len(value)]) if len(value) < 16 else None
        head = short or _header(len(value), {2: 0xDC, 4: 0xDD})
        return head + b"".join(map(encode, value))
    raise NotCanonical(f"a {type(value).__name__}")


def _take(data: bytes, at: int, count: int) -> bytes:
    if at + count > len(data):
        raise NotCanonical("truncated")
    return data[at : at + count]


def _decode(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    code = _take(data, at, 1)[0]
    at += 1
    if code < 0x80:
        return code, at
    if code >= 0xE0:
        return code - 256, at
    if 0x90 <= code < 0xA0:
        return _items(data, at, code - 0x90, depth)
    if 0xA0 <= code < 0xC0:
        return _text(_take(data, at, code - 0xA0)), at + code - 0xA0
    if code == 0xC0:
        return None, at
    if 0xCC <= code <= 0xD3:
        width = 1 << (code & 3)
        signed = code >= 0xD0
        return int.from_bytes(_take(data, at, width), "big", signed=signed), at + width
    widths = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4}
    if code not in widths:
        raise NotCanonical(f"format byte {code:#x}")
    length = int.from_bytes(_take(data, at, widths[code]), "big")
    at += widths[code]
    if code in (0xDC, 0xDD):
        return _items(data, at, length, depth)
    raw = _take(data, at, length)
    return (raw if code <= 0xC6 else _text(raw)), at + length


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise NotCanonical("not UTF-8") from None


def _items(data: bytes, at: int, count: int, depth: int) -> tuple[list[Any], int]:
    if depth == 0:
        raise NotCanonical("nested too deep")
    items = []
    for _ in range(count):
        item, at = _decode(data, at, depth - 1)
        items.append(item)
    return items, at


def decode(data: bytes, depth: int = 16) -> Any:
    """The value, when `data` is its only encoding."""
    value, end = _decode(data, 0, depth)
    if end != len(data):
        raise NotCanonical("trailing bytes")
    if encode(value) != data:
        raise NotCanonical("a shorter form exists")
    return value


EVIL: dict[str, bytes] = {
    "nothing": b"",
    "trailing byte": b"\x01\x01",
    "trailing array": b"\x90\x90",
    "truncated array": b"\x92\x01",
    "truncated binary": b"\xc4\x05abc",
    "truncated integer": b"\xcd\x01",
    "length without content": b"\xdd\xff\xff\xff\xff",
    "binary length without content": b"\xc6\xff\xff\xff\xff",
    "integer 1 in two bytes": b"\xcc\x01",
    "integer 1 in three bytes": b"\xcd\x00\x01",
    "integer 1 in five bytes": b"\xce\x00\x00\x00\x01",
    "integer 1 in nine bytes": b"\xcf" + bytes(7) + b"\x01",
    "integer 255 in three bytes": b"\xcd\x00\xff",
    "positive integer in a signed form": b"\xd0\x01",
    "large positive integer in a signed form": b"\xd3" + bytes(4) + b"\x80\x00\x00\x00",
    "integer -1 in two bytes": b"\xd0\xff",
    "integer -1 in nine bytes": b"\xd3" + b"\xff" * 8,
    "binary with a 16-bit length": b"\xc5\x00\x01a",
    "binary with a 32-bit length": b"\xc6\x00\x00\x00\x01a",
    "text with an 8-bit length": b"\xd9\x01a",
    "text with a 16-bit length": b"\xda\x00\x01a",
    "text with a 32-bit length": b"\xdb\x00\x00\x00\x01a",
    "array with a 16-bit length": b"\xdc\x00\x01\x01",
    "array with a 32-bit length": b"\xdd\x00\x00\x00\x01\x01",
    "float 1.0": b"\xcb" + struct.pack(">d", 1.0),
    "float 0.5": b"\xcb" + struct.pack(">d", 0.5),
    "float not-a-number": b"\xcb" + struct.pack(">d", float("nan")),
    "float infinity": b"\xca" + struct.pack(">f", float("inf")),
    "negative zero": b"\xcb" + struct.pack(">d", -0.0),
    "single float": b"\xca" + struct.pack(">f", 1.0),
    "true": b"\xc3",
    "false": b"\xc2",
    "false in an array": b"\x91\xc2",
    "never-used byte": b"\xc1",
    "empty map": b"\x80",
    "map": b"\x81\xa1a\x01",
    "map with a duplicate key": b"\x82\xa1a\x01\xa1a\x02",
    "map with an array for a key": b"\x81\x90\x01",
    "map with a map for a key": b"\x81\x80\x01",
    "map in an array": b"\x91\x80",
    "extension": b"\xd4\x05\x00",
    "extension with a length": b"\xc7\x02\x05\x00\x00",
    "timestamp": b"\xd6\xff\x00\x00\x00\x01",
    "timestamp out of range": b"\xd7\xff" + b"\xff" * 8,
    "timestamp of 96 bits out of range": b"\xc7\x0c\xff" + b"\xff" * 12,
    "text of a lone continuation byte": b"\xa1\x80",
    "text of an overlong slash": b"\xa2\xc0\xaf",
    "text of a surrogate": b"\xa3\xed\xa0\x80",
    "text above U+10FFFF": b"\xa4\xf4\x90\x80\x80",
    "text cut in a character": b"\xa1\xc3",
    "17 arrays deep": b"\x91" * 17 + b"\x01",
    "17 arrays deep and empty": b"\x91" * 16 + b"\x90",
    "depth bomb of arrays": b"\x91" * 200_000,
    "depth bomb of maps": b"\x81" * 200_000,
    "wide and deep": b"\xdc\xff\xff" * 1_000,
}
"""Bytes that are not canonical, by their defect."""
