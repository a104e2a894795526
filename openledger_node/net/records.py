"""Signed peer records: where a node says it can be dialled.

- N11 A record is the canonical array `[node id, time, [[host, port], ...], signature]` of at most
  1,024 bytes, with 1 to 4 addresses that N2 lets be passed on. The time is the node's clock in
  milliseconds; of two records of a node the later one counts. The transport key signs
  `["oln/peer/1", ledger id, node id, time, addresses]`.
- N12 A record is believed for 7 days from its time, and from 10 minutes before it. At most 16 are
  passed on in one message. A record that does not verify is the fault of the peer that sent it; one
  that is too old or too early is only left out, since clocks differ.

Whoever receives a record keeps it as it was signed and passes it on: a relay can withhold an
address, not invent one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from openledger_node.ledger.encoding import decode_as, encode
from openledger_node.ledger.errors import BadInput, UsageError, VerificationFailed
from openledger_node.ledger.keys import KEY_BYTES, SIGNATURE_BYTES, PublicKey, SigningKey
from openledger_node.net.address import MAX_HOST_CHARACTERS, MAX_PORT, Endpoint, spread_fault

MAX_RECORDS: Final = 16
"""In one message (N12)."""
MAX_RECORD_BYTES: Final = 1024
MAX_RECORD_ADDRESSES: Final = 4
VALID_MS: Final = 7 * 24 * 3600 * 1000
MAX_AHEAD_MS: Final = 10 * 60 * 1000
"""How far a record's clock may be ahead of the reader's."""
MAX_TIME_MS: Final = 2**53 - 1

_Host = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_HOST_CHARACTERS)]
_Port = Annotated[int, msgspec.Meta(ge=1, le=MAX_PORT)]
_Id = Annotated[bytes, msgspec.Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
_Signature = Annotated[bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]
_Time = Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]
_Addresses = Annotated[
    tuple[tuple[_Host, _Port], ...], msgspec.Meta(min_length=1, max_length=MAX_RECORD_ADDRESSES)
]


class _Wire(msgspec.Struct, array_like=True, frozen=True):
    node_id: _Id
    time_ms: _Time
    addresses: _Addresses
    signature: _Signature


_decoder = msgspec.msgpack.Decoder(_Wire)


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """A record whose signature holds; `encoded` is what is passed on."""

    node_id: bytes
    time_ms: int
    addresses: tuple[Endpoint, ...]
    encoded: bytes

    def is_fresh(self, now_ms: int) -> bool:
        """Whether it is believed at `now_ms` (N12)."""
        return -MAX_AHEAD_MS <= now_ms - self.time_ms < VALID_MS

    def until_ms(self) -> int:
        """When it stops being believed."""
        return self.time_ms + VALID_MS


def sign_record(
    key: SigningKey, ledger_id: bytes, addresses: Sequence[Endpoint], time_ms: int
) -> PeerRecord:
    """This node's record. UsageError when an address may not be passed on, or they are too many."""
    if not 1 <= len(addresses) <= MAX_RECORD_ADDRESSES:
        raise UsageError(
            f"a node announces 1 to {MAX_RECORD_ADDRESSES} addresses, not {len(addresses)}"
        )
    for endpoint in addresses:
        fault = spread_fault(endpoint.host)
        if fault or not 1 <= endpoint.port <= MAX_PORT:
            raise UsageError(f"{endpoint} cannot be announced: {fault or 'it has no port'}")
    pairs = _pairs(addresses)
    node_id = key.public.raw
    signature = key.sign_parts("peer", ledger_id, node_id, time_ms, pairs)
    encoded = encode([node_id, time_ms, pairs, signature])
    if len(encoded) > MAX_RECORD_BYTES:
        raise UsageError(
            f"a record of these addresses has {len(encoded)} bytes, more than {MAX_RECORD_BYTES}",
            hint="announce fewer addresses, or shorter names",
        )
    return PeerRecord(node_id, time_ms, tuple(addresses), encoded)


def read_record(data: bytes, ledger_id: bytes) -> PeerRecord:
    """The record in `data`.

    BadInput when it is malformed or names an address that is not to be passed on,
    VerificationFailed when its signature does not hold.
    """
    if len(data) > MAX_RECORD_BYTES:
        raise BadInput(f"a peer record of {len(data)} bytes, more than {MAX_RECORD_BYTES}")
    wire = decode_as(_decoder, data, "a peer record")
    addresses = tuple(Endpoint(host, port) for host, port in wire.addresses)
    for endpoint in addresses:
        fault = spread_fault(endpoint.host)
        if fault:
            raise BadInput(f"a peer record with an unusable address: {fault}")
    key = PublicKey.parse(wire.node_id)
    signed = (ledger_id, wire.node_id, wire.time_ms, _pairs(addresses))
    if not key.verifies_parts(wire.signature, "peer", *signed):
        raise VerificationFailed("a peer record's signature does not hold", code="bad_record")
    return PeerRecord(wire.node_id, wire.time_ms, addresses, data)


def read_records(
    message: Iterable[bytes], ledger_id: bytes, now_ms: int
) -> tuple[list[PeerRecord], int]:
    """(the believable records of one message, how many were left out as too old or too early).

    Errors as `read_record`, and BadInput for more than MAX_RECORDS: then none of them is used.
    """
    datas = list(message)
    if len(datas) > MAX_RECORDS:
        raise BadInput(f"{len(datas)} peer records in one message, more than {MAX_RECORDS}")
    records = [read_record(data, ledger_id) for data in datas]
    fresh = [record for record in records if record.is_fresh(now_ms)]
    return fresh, len(records) - len(fresh)


def _pairs(addresses: Iterable[Endpoint]) -> list[list[str | int]]:
    return [[endpoint.host, endpoint.port] for endpoint in addresses]
