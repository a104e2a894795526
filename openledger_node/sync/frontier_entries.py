"""FRONTIER: what a node holds, at about 16 bytes a log, in parts of at most 1 MiB.

- Y10 An entry is `short_id(8) || held_from || size || tag(4)`, both numbers unsigned LEB128 in the
  shortest form, 1 <= size <= 2^40, held_from < size. Entries ascend strictly by short id over all
  parts; parts count from 0; an entry lies whole in one part.
- Y11 A frontier has at most MAX_FRONTIER_LOGS entries and MAX_FRONTIER_BYTES bytes.

A log held from its first event on has held_from 0. Version 1 fetches from such holders only: other
entries are checked and passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from openledger_node.ledger.events import MAX_SEQ
from openledger_node.sync.faults import fault
from openledger_node.sync.frontier import SHORT_ID_BYTES, TAG_BYTES
from openledger_node.sync.table import Offer

MAX_FRONTIER_LOGS: Final = 1_000_000
MAX_FRONTIER_BYTES: Final = 64 * 2**20
MAX_PART_BYTES: Final = 2**20 - 64
"""Of entries in a frame; the rest of the frame has less than 64 bytes."""
MAX_VARINT_BYTES: Final = 6
"""41 bits, for numbers up to 2^40."""

Entry = tuple[bytes, Offer]
"""(short id, offer)."""


def encode_varint(number: int) -> bytes:
    """Unsigned LEB128, shortest form."""
    if number < 0x80:
        return bytes((number,))
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def decode_varint(data: bytes, at: int) -> tuple[int, int]:
    """(number, position behind it). PeerFault `frontier` when it is cut off, long or too large."""
    number = shift = 0
    for byte in data[at : at + MAX_VARINT_BYTES]:
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if (byte or not shift) and number <= MAX_SEQ:
                return number, at
            break
        shift += 7
    raise fault("frontier", "a number in a frontier is cut off, too large or not in shortest form")


def encode_entries(entries: Iterable[Entry]) -> list[bytes]:
    """The parts of a frontier (Y10): at least one, which may be empty.

    Of entries with one short id, which two logs share once in 2^64, the first is kept.
    """
    parts: list[bytes] = []
    part: list[bytes] = []
    size_bytes = 0
    unique: dict[bytes, Offer] = {}
    for name, offer in entries:
        unique.setdefault(name, offer)
    for name in sorted(unique)[:MAX_FRONTIER_LOGS]:
        offer = unique[name]
        entry = b"%b\0%b%b" % (name, encode_varint(offer.size), offer.tag)
        size_bytes += len(entry)
        if size_bytes > MAX_PART_BYTES:
            parts.append(b"".join(part))
            part, size_bytes = [], len(entry)
        part.append(entry)
    parts.append(b"".join(part))
    return parts


@dataclass(slots=True)
class FrontierIntake:
    """Checks the parts of a frontier as they come (Y10, Y11), and keeps them as they are.

    A peer may leave a frontier unfinished: what waits for the rest is no more than its bytes.
    """

    _parts: list[bytes] = field(default_factory=list)
    _next_part: int = 0
    _logs: int = 0
    _size_bytes: int = 0
    _last_name: bytes = b""

    def take(self, part: int, data: bytes) -> None:
        """The next part. PeerFault `frontier`, `too_many_logs`."""
        if part != self._next_part:
            raise fault("frontier", f"part {part} of a frontier in place of {self._next_part}")
        self._next_part += 1
        self._size_bytes += len(data)
        if self._size_bytes > MAX_FRONTIER_BYTES:
            raise fault("too_many_logs", f"a frontier of more than {MAX_FRONTIER_BYTES:,} bytes")
        at, last, logs, stop = 0, self._last_name, self._logs, len(data)
        while at < stop:
            name = data[at : at + SHORT_ID_BYTES]
            if name <= last and logs:
                raise fault("frontier", "a frontier whose short ids do not ascend")
            at += SHORT_ID_BYTES
            held_from = 0
            if at < stop and not data[at]:  # as nearly always; not worth a call
                at += 1
            else:
                held_from, at = decode_varint(data, at)
            size, at = decode_varint(data, at)
            at += TAG_BYTES
            if at > stop or held_from >= size:
                raise fault("frontier", "an entry of a frontier is cut off, or holds nothing")
            last = name
            logs += 1
            if logs > MAX_FRONTIER_LOGS:
                raise fault("too_many_logs", f"a frontier of more than {MAX_FRONTIER_LOGS:,} logs")
        self._last_name, self._logs = last, logs
        self._parts.append(data)

    @property
    def entries(self) -> Entries:
        """The entries of logs held from their first event on."""
        return Entries(self._parts)


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """The entries of a whole frontier that was checked, as their bytes: made as they are read."""

    _parts: list[bytes]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Iterable) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Entry]:
        for data in self._parts:
            at, stop = 0, len(data)
            while at < stop:
                name = data[at : at + SHORT_ID_BYTES]
                at += SHORT_ID_BYTES + 1
                held_from, size = data[at - 1], data[at]
                if held_from:
                    held_from, at = decode_varint(data, at - 1)
                    size, at = decode_varint(data, at)
                elif size < 0x80:  # numbers of one byte are not worth a call
                    at += 1
                else:
                    size, at = decode_varint(data, at)
                tag = data[at : at + TAG_BYTES]
                at += TAG_BYTES
                if not held_from:
                    yield name, Offer(size, tag)


@dataclass(slots=True)
class Comparison:
    """What a peer's frontier says against one's own, as lists of short ids."""

    unknown: list[bytes] = field(default_factory=list)
    """Offered by the peer, not held here."""
    longer: list[bytes] = field(default_factory=list)
    """Held by the peer up to a larger size."""
    differing: list[bytes] = field(default_factory=list)
    """Of equal size under another tag: a fork, or a lie."""
    lacking: list[bytes] = field(default_factory=list)
    """Held here up to a larger size than by the peer, or not held by the peer at all."""


def compare(own: Mapping[bytes, Offer], theirs: Iterable[Entry]) -> Comparison:
    """A peer's frontier against one's own, both by the short ids of their link."""
    found = Comparison()
    missing = dict(own)
    for name, offer in theirs:
        mine = missing.pop(name, None)
        if mine is None:
            found.unknown.append(name)
        elif offer.size > mine.size:
            found.longer.append(name)
        elif offer.size < mine.size:
            found.lacking.append(name)
        elif offer.tag != mine.tag:
            found.differing.append(name)
    found.lacking += missing
    return found
