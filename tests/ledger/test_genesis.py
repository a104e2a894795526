"""The genesis document and its limits (G1 to G3)."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from openledger_node.ledger import genesis as g
from openledger_node.ledger.accounts import Inception
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput
from tests.vectors import make

DOCUMENT = make.document()


def seat(n: int) -> tuple[Inception, bytes]:
    salt = make.digest("seat", n)[:16]
    return msgspec.structs.replace(make.inception(), salt=salt), make.key("seat", n).public.raw


def changed(**parts: Any) -> bytes:
    return encode(msgspec.structs.replace(DOCUMENT, **parts))


def with_params(**parts: Any) -> bytes:
    return changed(params=msgspec.structs.replace(DOCUMENT.params, **parts))


@pytest.mark.rule("G1")
def test_a_genesis_reads_back_and_names_its_ledger() -> None:
    raw = encode(DOCUMENT)
    assert g.parse_genesis(raw) == DOCUMENT
    assert raw[0] == 0x97
    whole = b"\x92" + encode("oln/genesis/1") + raw
    assert DOCUMENT.ledger_id == hashlib.sha256(whole).digest()
    assert DOCUMENT.seat_keys == ((make.inception().account_id, make.key("device", 0).public.raw),)


@pytest.mark.rule("G2")
def test_params_are_nine_figures_in_order() -> None:
    raw = encode(g.network_params((make.digest("a"),)))
    decoded = msgspec.msgpack.decode(raw)
    expected = [3_600_000, 5_000, 500, [4_000, 3_500, 2_500], "refund", 4, 12, 8]
    assert decoded == [*expected, [make.digest("a")]]
    solo = msgspec.msgpack.decode(encode(g.solo_params(make.digest("a"))))
    assert solo == [0, 1_000, 500, [4_000, 3_500, 2_500], "refund", 0, 4, 8, [make.digest("a")]]


@pytest.mark.rule("G3")
def test_quorums_follow_from_the_number_of_seats() -> None:
    assert [g.quorum(n) for n in range(1, 8)] == [1, 2, 3, 3, 4, 5, 5]
    assert [g.faults_tolerated(n) for n in range(1, 8)] == [0, 0, 0, 1, 1, 1, 2]
    for n in range(1, g.MAX_SEATS + 1):
        q, f = g.quorum(n), g.faults_tolerated(n)
        assert q <= n
        assert 2 * q - n > f, "two quorums share an honest seat"
        assert n <= 3 or q <= n - f, "the honest alone are a quorum"


AT_THE_LIMIT: dict[str, bytes] = {
    "31 seats": changed(seats=tuple(map(seat, range(31)))),
    "64 issuers": changed(issuers=tuple((make.digest(i), 1) for i in range(64))),
    "no issuer": changed(issuers=()),
    "the largest cap": changed(issuers=((make.digest(0), 2**53 - 1),)),
    "a name of 128 characters": changed(name="\u00e9" * 128),
    "a salt of 32 bytes": changed(salt=bytes(32)),
    "a future rules version": changed(rules_version=2**16),
    "64 commons accounts": with_params(commons_accounts=tuple(map(make.digest, range(64)))),
    "all to one role": with_params(role_bp=(10_000, 0, 0)),
    "the whole fee to the network": with_params(network_fee_bp=10_000),
    "100,000 epochs": with_params(maturity_epochs=10**5, dispute_epochs=10**5, park_epochs=10**5),
    "trained_on": with_params(unattributed="trained_on"),
}
PAST_THE_LIMIT: dict[str, bytes] = {
    "another version": changed(version=2),
    "no name": changed(name=""),
    "a name of 129 characters": changed(name="x" * 129),
    "a salt of 15 bytes": changed(salt=bytes(15)),
    "a salt of 33 bytes": changed(salt=bytes(33)),
    "rules version 0": changed(rules_version=0),
    "no seat": changed(seats=()),
    "32 seats": changed(seats=tuple(map(seat, range(32)))),
    "65 issuers": changed(issuers=tuple((make.digest(i), 1) for i in range(65))),
    "an issuer twice": changed(issuers=((make.digest(0), 1), (make.digest(0), 2))),
    "a cap of 2^53": changed(issuers=((make.digest(0), 2**53),)),
    "a negative cap": changed(issuers=((make.digest(0), -1),)),
    "one account for two seats": changed(seats=(seat(1), (seat(1)[0], seat(2)[1]))),
    "one device for two seats": changed(seats=(seat(1), (seat(2)[0], seat(1)[1]))),
    "a small-order device": changed(seats=((seat(1)[0], bytes(32)),)),
    "roles below the whole": with_params(role_bp=(4_000, 3_500, 2_499)),
    "roles above the whole": with_params(role_bp=(10_000, 1, 0)),
    "two roles": with_params(role_bp=(5_000, 5_000)),
    "a negative fee": with_params(network_fee_bp=-1),
    "a fee above the whole": with_params(network_fee_bp=10_001),
    "another policy": with_params(unattributed="burn"),
    "no time": with_params(t0_ms=0),
    "an epoch over a year": with_params(epoch_ms=g.MAX_EPOCH_MS + 1),
    "a period of 100,001 epochs": with_params(park_epochs=10**5 + 1),
    "65 commons accounts": with_params(commons_accounts=tuple(map(make.digest, range(65)))),
    "a commons account twice": with_params(commons_accounts=(make.digest(1), make.digest(1))),
    "a float": encode(DOCUMENT).replace(b"\xcd\x01\xf4", b"\xca\x43\xfa\x00\x00"),
    "trailing bytes": encode(DOCUMENT) + b"\0",
    "eight items": b"\x98" + encode(DOCUMENT)[1:] + b"\0",
    "more than 64 KiB": bytes(g.MAX_GENESIS_BYTES + 1),
    "nothing": b"",
}


@pytest.mark.rule("G1", "G2")
@pytest.mark.parametrize("name", AT_THE_LIMIT)
def test_a_genesis_at_the_limit_is_taken(name: str) -> None:
    assert encode(g.parse_genesis(AT_THE_LIMIT[name])) == AT_THE_LIMIT[name]


@pytest.mark.rule("G1", "G2")
@pytest.mark.parametrize("name", PAST_THE_LIMIT)
def test_a_genesis_past_the_limit_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="genesis"):
        g.parse_genesis(PAST_THE_LIMIT[name])


@pytest.mark.rule("G1")
def test_the_largest_genesis_that_the_limits_allow_fits_its_bytes() -> None:
    keys = tuple(make.digest("k", i) for i in range(16))
    big = msgspec.structs.replace(make.inception(), root_keys=keys, threshold=16, salt=bytes(32))
    raw = changed(
        name="\U0001f600" * 128,
        seats=tuple(
            (msgspec.structs.replace(big, salt=make.digest(i)), seat(i)[1]) for i in range(31)
        ),
        issuers=tuple((make.digest(i), 2**53 - 1) for i in range(64)),
    )
    assert len(raw) < g.MAX_GENESIS_BYTES
