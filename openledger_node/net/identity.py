"""A node's identity on links: its transport key, in the certificate that TLS asks for.

- N3 A node presents one self-signed X.509 leaf that holds its transport key. The certificate is a
  function of the key alone, so it is never stored: subject and issuer are `CN=oln node`, the serial
  is 1, it is valid from 2020-01-01 to 9999-12-31 (RFC 5280, 4.1.2.5: no well-defined end), and its
  only extension says that it is no authority.

Of a peer's certificate only the key counts. Names, dates, serial, extensions and the certificate's
own signature carry nothing: possession is proved by TLS itself (RFC 8446, 4.4.3), and a wrong clock
must not decide who can talk to whom.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Final

from openledger_node.ledger.keys import SigningKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.x509 import Certificate

COMMON_NAME: Final = "oln node"
NOT_BEFORE: Final = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
NOT_AFTER: Final = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


class NodeIdentity:
    """A transport key and what links are made of. The key's bytes come from the caller."""

    __slots__ = ("key", "node_id")

    def __init__(self, key: SigningKey) -> None:
        self.key = key
        self.node_id = key.public.raw

    def certificate(self) -> Certificate:
        """The node's leaf (N3): the same bytes for the same key."""
        from cryptography import x509
        from cryptography.x509.oid import NameOID

        secret = self.private_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, COMMON_NAME)])
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(secret.public_key())
            .serial_number(1)
            .not_valid_before(NOT_BEFORE)
            .not_valid_after(NOT_AFTER)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(secret, None)
        )

    def private_key(self) -> Ed25519PrivateKey:
        """The secret key as the TLS library takes it."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.key.seed)
