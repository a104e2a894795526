"""Links on a bench: a virtual clock, honest identities, and ends that break rules on purpose."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar, cast

import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from trio.testing import MockClock, memory_stream_pair

from openledger_node.ledger.keys import SigningKey
from openledger_node.net.identity import NodeIdentity
from openledger_node.net.tls import TlsContext, secure
from openledger_node.net.tls_object import TlsObject

T = TypeVar("T")

LIMIT_S: Final = 3600
"""Virtual seconds after which a test that hangs fails."""


def run(test: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Runs an async test on a clock that jumps over every wait."""

    async def limited() -> T:
        with trio.fail_after(LIMIT_S):
            return await test(*args)

    return trio.run(limited, clock=MockClock(autojump_threshold=0))


def run_on_sockets(test: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Runs an async test that uses real sockets, whose events a virtual clock would overtake."""

    async def limited() -> T:
        with trio.fail_after(60):
            return await test(*args)

    return trio.run(limited)


def identity(number: int) -> NodeIdentity:
    """The same node for the same number."""
    return NodeIdentity(SigningKey(bytes([number]) * 32))


class Everyone:
    """A policy that lets everybody in, and remembers who asked."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def accepts(self, node_id: bytes) -> str | None:
        self.asked.append(node_id)
        return None


class Nobody:
    """A policy that refuses everybody, with a reason."""

    def accepts(self, node_id: bytes) -> str | None:
        return "not on the list"


SERVER: Final = identity(1)
CLIENT: Final = identity(2)


def server_context() -> TlsContext:
    return TlsContext(SERVER, Everyone())


def client_context() -> TlsContext:
    return TlsContext(CLIENT, Everyone())


class Log:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self._told = trio.Event()

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))
        self._told.set()
        self._told = trio.Event()

    warning = info

    async def until(self, count: int) -> None:
        """Waits for so many lines."""
        while len(self.lines) < count:
            await self._told.wait()

    def events(self) -> list[str]:
        return [event for event, _ in self.lines]


# Ends that break the rules.


class RawEnd:
    """A TLS end that judges nothing, over any pyOpenSSL context."""

    def __init__(self, shared: SSL.Context) -> None:
        self._shared = shared
        self.connection: SSL.Connection | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> TlsObject:
        self.connection = SSL.Connection(self._shared, None)
        return TlsObject(self.connection, incoming, outgoing, server_side=server_side)


def raw_context(
    certificates: Sequence[x509.Certificate] = (),
    key: Any = None,
    *,
    protocols: Sequence[bytes] = (b"oln/1",),
    newest: int | None = None,
) -> SSL.Context:
    """A context that accepts every peer and presents exactly what it is given."""
    shared = SSL.Context(SSL.TLS_METHOD)
    shared.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    if newest is not None:
        shared.set_max_proto_version(newest)
    if certificates:
        shared.use_certificate(certificates[0])
        shared.use_privatekey(key)
        for extra in certificates[1:]:
            shared.add_extra_chain_cert(extra)
    if protocols:
        shared.set_alpn_protos(list(protocols))
        shared.set_alpn_select_callback(lambda _connection, _offered: protocols[0])
    return shared


def raw_stream(
    transport: trio.abc.Stream, shared: SSL.Context, *, server_side: bool
) -> trio.SSLStream[trio.abc.Stream]:
    end = cast(ssl.SSLContext, RawEnd(shared))
    return trio.SSLStream(transport, end, server_side=server_side)


def certificate(
    key: Any,
    *,
    issuer: Any = None,
    days: tuple[int, int] = (-1, 1),
    padding_bytes: int = 0,
    is_authority: bool = False,
) -> x509.Certificate:
    """A certificate with any key, dates (days from 2024-01-01) and size."""
    signer = issuer or key
    start = datetime.datetime(2024, 1, 1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name("issuer" if is_authority else "leaf"))
        .issuer_name(_name("issuer" if issuer or is_authority else "leaf"))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(start + datetime.timedelta(days=days[0]))
        .not_valid_after(start + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if padding_bytes:
        padding = x509.UnrecognizedExtension(
            x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x04" * padding_bytes
        )
        builder = builder.add_extension(padding, critical=False)
    signed_alone = isinstance(signer, Ed25519PrivateKey | ed448.Ed448PrivateKey)
    digest: HashAlgorithm | None = None if signed_alone else SHA256()
    return builder.sign(signer, cast(Any, digest))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def ed25519_key(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2048)


def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def ed448_key() -> ed448.Ed448PrivateKey:
    return ed448.Ed448PrivateKey.generate()


async def meet(
    server: TlsContext, client: TlsContext, *, pinned: bytes | None = None
) -> tuple[trio.SSLStream[trio.abc.Stream], trio.SSLStream[trio.abc.Stream]]:
    """(server's stream, client's stream) after a handshake in memory."""
    ends: dict[str, trio.SSLStream[trio.abc.Stream]] = {}
    below_server, below_client = memory_stream_pair()

    async def shake(name: str, transport: trio.abc.Stream, context: TlsContext) -> None:
        is_server = name == "server"
        ends[name], _ = await secure(
            transport, context, server_side=is_server, pinned=None if is_server else pinned
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake, "server", below_server, server)
        nursery.start_soon(shake, "client", below_client, client)
    return ends["server"], ends["client"]
