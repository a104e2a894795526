"""The certificate of a node: a function of its key."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from openledger_node.ledger.keys import SigningKey
from openledger_node.net.identity import COMMON_NAME, NodeIdentity
from openledger_node.net.tls import MAX_CERTIFICATE_BYTES

KEY = SigningKey(b"\x05" * 32)


@pytest.mark.rule("N3")
def test_the_same_key_gives_the_same_certificate_bytes() -> None:
    first, second = (NodeIdentity(KEY).certificate().public_bytes(Encoding.DER) for _ in range(2))
    assert first == second
    assert len(first) < MAX_CERTIFICATE_BYTES // 4
    other = NodeIdentity(SigningKey(b"\x06" * 32)).certificate().public_bytes(Encoding.DER)
    assert other != first


@pytest.mark.rule("N3")
def test_the_certificate_holds_the_node_id_and_says_no_more_than_it_must() -> None:
    identity = NodeIdentity(KEY)
    certificate = identity.certificate()
    key = certificate.public_key()
    assert isinstance(key, Ed25519PublicKey)
    assert key.public_bytes_raw() == identity.node_id == KEY.public.raw
    assert certificate.subject.rfc4514_string() == f"CN={COMMON_NAME}"
    assert certificate.issuer == certificate.subject
    assert certificate.serial_number == 1
    assert certificate.not_valid_before_utc.year == 2020
    assert certificate.not_valid_after_utc.year == 9999
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert not basic.value.ca
    assert len(certificate.extensions) == 1


@pytest.mark.rule("N3")
def test_the_certificate_is_signed_by_its_own_key() -> None:
    certificate = NodeIdentity(KEY).certificate()
    certificate.verify_directly_issued_by(certificate)


def test_a_printed_identity_key_shows_no_secret() -> None:
    identity = NodeIdentity(KEY)
    assert KEY.seed.hex() not in repr(identity) + repr(identity.key)
