"""Signed peer records: only the node itself can say where it is, and not for ever."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.ledger.encoding import encode, signing_bytes
from openledger_node.ledger.errors import BadInput, UsageError, VerificationFailed
from openledger_node.ledger.keys import SigningKey
from openledger_node.net.address import Endpoint
from openledger_node.net.records import (
    MAX_AHEAD_MS,
    MAX_RECORD_ADDRESSES,
    MAX_RECORD_BYTES,
    MAX_RECORDS,
    VALID_MS,
    PeerRecord,
    read_record,
    read_records,
    sign_record,
)

KEY = SigningKey(b"\x03" * 32)
LEDGER = b"\x11" * 32
NOW = 1_800_000_000_000
HERE = Endpoint("node.example.org", 4767)


def record(*addresses: Endpoint, time_ms: int = NOW) -> PeerRecord:
    return sign_record(KEY, LEDGER, addresses or (HERE,), time_ms)


def forged(**changes: Any) -> bytes:
    """A record with fields changed after it was signed."""
    fields: dict[str, Any] = dict(
        zip(
            ["node_id", "time_ms", "addresses", "signature"],
            msgspec.msgpack.decode(record().encoded),
            strict=True,
        )
    )
    return encode([*(fields | changes).values()])


@pytest.mark.rule("N11")
@given(
    hosts=st.lists(
        st.sampled_from(["a.example.org", "10.0.0.1", "2001:db8::7", "127.0.0.1"]),
        min_size=1,
        max_size=MAX_RECORD_ADDRESSES,
    ),
    port=st.integers(1, 65_535),
    time_ms=st.integers(0, 2**53 - 1),
)
@settings(max_examples=50)
def test_a_record_reads_back_as_it_was_signed(hosts: list[str], port: int, time_ms: int) -> None:
    addresses = [Endpoint(host, port) for host in hosts]
    made = sign_record(KEY, LEDGER, addresses, time_ms)
    assert read_record(made.encoded, LEDGER) == made
    assert made.node_id == KEY.public.raw
    assert made.addresses == tuple(addresses)


@pytest.mark.rule("N11")
def test_the_bytes_that_are_signed_are_those_of_the_spec() -> None:
    node_id, time_ms, addresses, signature = msgspec.msgpack.decode(record().encoded)
    assert addresses == [["node.example.org", 4767]]
    message = signing_bytes("peer", LEDGER, node_id, time_ms, addresses)
    assert message == encode(["oln/peer/1", LEDGER, node_id, NOW, [["node.example.org", 4767]]])
    assert KEY.public.verifies(signature, message)


@pytest.mark.rule("N11")
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"time_ms": NOW + 1}, id="a later time"),
        pytest.param({"addresses": [["evil.example.org", 4767]]}, id="another host"),
        pytest.param({"addresses": [["node.example.org", 4768]]}, id="another port"),
        pytest.param({"node_id": SigningKey(b"\4" * 32).public.raw}, id="another node"),
        pytest.param({"signature": bytes(64)}, id="no signature"),
    ],
)
def test_a_record_that_was_changed_does_not_verify(changes: dict[str, Any]) -> None:
    assert read_record(forged(), LEDGER) == record()
    with pytest.raises(VerificationFailed):
        read_record(forged(**changes), LEDGER)


@pytest.mark.rule("N11")
def test_a_record_of_another_ledger_does_not_verify() -> None:
    with pytest.raises(VerificationFailed):
        read_record(record().encoded, b"\x12" * 32)


@pytest.mark.rule("N11")
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"node_id": bytes(31)}, id="short id"),
        pytest.param({"node_id": b"\x01" + bytes(31)}, id="small-order id"),
        pytest.param({"time_ms": -1}, id="negative time"),
        pytest.param({"time_ms": 2**53}, id="time past the limit"),
        pytest.param({"time_ms": 1.5}, id="a float"),
        pytest.param({"addresses": []}, id="no address"),
        pytest.param({"addresses": [["a.org", 1]] * 5}, id="five addresses"),
        pytest.param({"addresses": [["", 1]]}, id="empty host"),
        pytest.param({"addresses": [["a" * 254, 1]]}, id="long host"),
        pytest.param({"addresses": [["a.org", 0]]}, id="port 0"),
        pytest.param({"addresses": [["a.org", 65_536]]}, id="port past the limit"),
        pytest.param({"addresses": [["a.org", 1, 1]]}, id="three parts"),
        pytest.param({"addresses": [["0.0.0.0", 1]]}, id="unspecified host"),
        pytest.param({"addresses": [["224.0.0.1", 1]]}, id="multicast host"),
        pytest.param({"addresses": [["a b", 1]]}, id="no host name"),
        pytest.param({"signature": bytes(63)}, id="short signature"),
        pytest.param({"more": 1}, id="a fifth field"),
    ],
)
def test_a_malformed_record_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        read_record(forged(**changes), LEDGER)


@pytest.mark.rule("N11")
def test_a_record_past_its_size_is_refused_before_it_is_read() -> None:
    with pytest.raises(BadInput, match="1025 bytes"):
        read_record(bytes(MAX_RECORD_BYTES + 1), LEDGER)


@pytest.mark.rule("N11")
def test_a_record_in_a_longer_encoding_is_refused() -> None:
    data = record().encoded
    assert data[1:3] == b"\xc4\x20"  # the node id as bin 8
    with pytest.raises(BadInput, match="canonical"):
        read_record(data[:1] + b"\xc5\x00\x20" + data[3:], LEDGER)


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_any_bytes_are_a_record_or_bad_input(data: bytes) -> None:
    with pytest.raises(BadInput):
        read_record(data, LEDGER)


@given(st.data())
@settings(max_examples=100)
def test_a_flipped_byte_never_passes(data: st.DataObject) -> None:
    good = bytearray(record().encoded)
    at = data.draw(st.integers(0, len(good) - 1))
    good[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises((BadInput, VerificationFailed)):
        read_record(bytes(good), LEDGER)


@pytest.mark.rule("N11")
@pytest.mark.parametrize(
    "addresses",
    [
        [],
        [HERE] * (MAX_RECORD_ADDRESSES + 1),
        [Endpoint("0.0.0.0", 4767)],
        [Endpoint("fe80::1%eth0", 4767)],
        [Endpoint("node.example.org", 0)],
        [Endpoint(".".join(["a" * 60] * 4) + f".x{i}", 4767) for i in range(4)],
    ],
    ids=["none", "too many", "unspecified", "link-local", "no port", "too long together"],
)
def test_a_node_announces_only_what_others_would_take(addresses: list[Endpoint]) -> None:
    with pytest.raises(UsageError):
        sign_record(KEY, LEDGER, addresses, NOW)


@pytest.mark.rule("N12")
@pytest.mark.parametrize(
    ("age_ms", "is_fresh"),
    [
        (0, True),
        (VALID_MS - 1, True),
        (VALID_MS, False),
        (-MAX_AHEAD_MS, True),
        (-MAX_AHEAD_MS - 1, False),
    ],
)
def test_a_record_is_believed_for_seven_days(age_ms: int, is_fresh: bool) -> None:
    made = record(time_ms=NOW - age_ms)
    assert made.is_fresh(NOW) is is_fresh
    fresh, left_out = read_records([made.encoded], LEDGER, NOW)
    assert (len(fresh), left_out) == ((1, 0) if is_fresh else (0, 1))


@pytest.mark.rule("N12")
def test_sixteen_records_are_read_and_seventeen_are_refused() -> None:
    message = [record(time_ms=NOW - i).encoded for i in range(MAX_RECORDS)]
    assert len(read_records(message, LEDGER, NOW)[0]) == MAX_RECORDS
    with pytest.raises(BadInput, match="17 peer records"):
        read_records([*message, record().encoded], LEDGER, NOW)


@pytest.mark.rule("N12")
def test_one_forged_record_spoils_its_message() -> None:
    with pytest.raises(VerificationFailed):
        read_records([record().encoded, forged(time_ms=NOW + 1)], LEDGER, NOW)
