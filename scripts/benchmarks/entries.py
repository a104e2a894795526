"""Entries to log: 300-byte JSON lines, the same on every machine, and the events that carry them.

An entry becomes an event of kind `bench.entry` with body [bytes]: a kind that the fold does not
read, kept like any other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from openledger_node.ledger.events import parse_event
from openledger_node.store.writer import Draft

ENTRY_KIND: Final = "bench.entry"
ENTRY_BYTES: Final = 300


_body_decoder: Final = msgspec.msgpack.Decoder(tuple[bytes])


def entry_line(index: int) -> str:
    """Entry `index`: JSON of exactly 300 characters, made from SHA-512 of its index."""
    noise = hashlib.sha512(b"oln-bench" + index.to_bytes(8, "big")).hexdigest()
    entry: dict[str, Any] = {
        "type": "contribution",
        "artifact": f"sha256:{noise[:64]}",
        "size_bytes": int(noise[64:70], 16),
        "ts": 1_760_000_000 + index * 7,
        "note": "",
    }
    missing = ENTRY_BYTES - len(json.dumps(entry, separators=(",", ":")))
    entry["note"] = (noise * 3)[:missing]
    return json.dumps(entry, separators=(",", ":"))


def entry_lines(first: int, count: int) -> list[bytes]:
    return [entry_line(index).encode() for index in range(first, first + count)]


def drafts(entries: Iterable[bytes], time_ms: int) -> list[Draft]:
    """The events of these entries, as a program that uses the Python interface would make them."""
    return [Draft(ENTRY_KIND, (entry,), time_ms) for entry in entries]


def bodies(leaves: Sequence[bytes]) -> list[bytes]:
    """The entries among accepted leaves: every leaf is parsed, other kinds are passed over."""
    decode = _body_decoder.decode
    events = map(parse_event, leaves)
    return [decode(event.body)[0] for event in events if event.kind == ENTRY_KIND]
