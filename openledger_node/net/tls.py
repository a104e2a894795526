"""TLS 1.3 in which the only credential is a transport key.

- N4 Both sides speak TLS 1.3 and nothing older, offer the application protocol `oln/1` and no
  other, and both present a certificate. No session is resumed: every link proves its key afresh.
- N5 A certificate counts for its key alone, which must be Ed25519 and pass K1. It stands alone (no
  chain) and has at most 2 KiB.
- N6 Before the handshake is done a side takes in at most 16 KiB.
- N7 The peer's key is judged inside the handshake: it must be the id that was dialled, where one
  was, and one that the node's policy accepts. A peer that is refused gets a TLS alert and nothing
  else.

In TLS 1.3 the dialling side finishes first, before the other has judged its certificate: see N8
in `link.py`.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol, cast

import trio
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from OpenSSL import SSL, crypto

from openledger_node.ledger.errors import BadInput, NetworkError
from openledger_node.ledger.keys import PublicKey
from openledger_node.net.address import node_id_text
from openledger_node.net.identity import NodeIdentity
from openledger_node.net.tls_object import MAX_HANDSHAKE_BYTES, TlsObject

ALPN: Final = b"oln/1"
MAX_CERTIFICATE_BYTES: Final = 2048
"""Of a peer's certificate (N5); a node's own has about 300."""
READ_BYTES: Final = 256 * 1024
"""Read at once from a transport whose handshake is done: each read costs the event loop a turn."""
ALERT_TIMEOUT_S: Final = 1
"""How long a peer that is refused has to take the alert."""
MAX_LINGER_BYTES: Final = 64 * 1024
"""Read and dropped from a peer that is refused, so that a reset does not overtake the alert."""


class Policy(Protocol):
    """Whom a node lets in, and whom it dials."""

    def accepts(self, node_id: bytes) -> str | None:
        """Why a node is refused, in a few words for logs; None when it may come in."""


class HandshakeFailed(NetworkError):
    """No link came about. `code` is one of FAILURES, `node_id` the peer's where it was shown."""

    default_code = "tls"

    def __init__(self, message: str, *, code: str, node_id: bytes | None = None) -> None:
        super().__init__(message, hint=FAILURES[code], code=code)
        self.node_id = node_id


FAILURES: Final = {
    "tls": "the other side does not speak TLS 1.3 as nodes do; is this a node's address?",
    "application": "the other side speaks TLS, but not the protocol of nodes",
    "certificate": "the other side shows no Ed25519 key, or not in the way nodes do",
    "wrong_peer": "another node answers at this address: its id changed, or the address is stale",
    "not_accepted": "this node's settings or its peer book refuse that node: see `oln peer list`",
    "refused": "the other node does not let this one in: ask for a place on its allow list",
    "closed": "the other side went away during the handshake; try again",
}
"""Codes of HandshakeFailed, and what to do about each."""


@dataclass(slots=True)
class _Verdict:
    """What is known of the peer of one connection."""

    pinned: bytes | None
    node_id: bytes | None = None
    code: str = ""
    text: str = ""
    is_judged: bool = False

    def refuse(self, code: str, text: str) -> bool:
        self.code, self.text = code, text
        return False


class _NoCommonProtocol(Exception):
    """Raised inside OpenSSL's callback; makes it send the alert `no_application_protocol`."""


class TlsContext:
    """What all connections of a node share: its certificate, its policy, its rules."""

    def __init__(self, identity: NodeIdentity, policy: Policy) -> None:
        self.identity = identity
        self.policy = policy
        shared = SSL.Context(SSL.TLS_METHOD)
        shared.set_min_proto_version(SSL.TLS1_3_VERSION)
        # OpenSSL still sends two tickets, which pyOpenSSL cannot turn off; with these settings they
        # name sessions in a cache that keeps none.
        shared.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION)
        shared.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        shared.set_mode(SSL.MODE_RELEASE_BUFFERS)
        shared.use_certificate(identity.certificate())
        shared.use_privatekey(identity.private_key())
        shared.set_alpn_protos([ALPN])
        shared.set_alpn_select_callback(_select_alpn)
        shared.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verify)
        self._shared = shared

    def end(self, pinned: bytes | None = None) -> TlsEnd:
        """One end of a new connection; `pinned` is the id that the peer must prove."""
        return TlsEnd(self._shared, pinned)

    def _verify(
        self,
        connection: SSL.Connection,
        certificate: crypto.X509,
        _error: int,
        depth: int,
        _ok: int,
    ) -> bool:
        """OpenSSL's own verdict (it knows no authority for a self-signed leaf) is not used."""
        verdict: _Verdict = connection.get_app_data()
        if depth != 0:
            return verdict.refuse("certificate", "it shows a chain of certificates")
        if not verdict.is_judged:  # OpenSSL asks again for each thing that it has checked
            verdict.is_judged = True
            self._judge(verdict, crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))
        return not verdict.code

    def _judge(self, verdict: _Verdict, certificate: bytes) -> None:
        try:
            verdict.node_id = node_id = key_of_certificate(certificate)
        except BadInput as error:
            verdict.refuse("certificate", error.message)
            return
        if verdict.pinned is not None and node_id != verdict.pinned:
            verdict.refuse(
                "wrong_peer", f"it is {node_id_text(node_id)}, not {node_id_text(verdict.pinned)}"
            )
            return
        reason = self.policy.accepts(node_id)
        if reason is not None:
            verdict.refuse("not_accepted", reason)


class TlsEnd:
    """Stands where trio.SSLStream takes an `ssl.SSLContext`: it only ever calls `wrap_bio`."""

    def __init__(self, shared: SSL.Context, pinned: bytes | None) -> None:
        self._shared = shared
        self._verdict = _Verdict(pinned)
        self._object: TlsObject | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
    ) -> TlsObject:
        """The connection behind the two buffers; nodes have no host names to check."""
        connection = SSL.Connection(self._shared, None)
        connection.set_app_data(self._verdict)
        self._object = TlsObject(connection, incoming, outgoing, server_side=server_side)
        return self._object

    def peer(self) -> bytes:
        """The node id that the peer proved. HandshakeFailed when what was agreed on is not N4."""
        assert self._object is not None, "there is no connection yet"
        connection, verdict = self._object.connection, self._verdict
        chain = len(connection.get_peer_cert_chain() or [])
        if chain > (0 if self._object.server_side else 1):  # OpenSSL lists a server's leaf as well
            verdict.refuse("certificate", "it shows a chain of certificates")
        elif connection.get_alpn_proto_negotiated() != ALPN:
            verdict.refuse("application", "it did not agree on oln/1")
        elif verdict.node_id is None:
            verdict.refuse("certificate", "it showed no certificate")
        if verdict.code or verdict.node_id is None:
            raise HandshakeFailed(verdict.text, code=verdict.code, node_id=verdict.node_id)
        return verdict.node_id

    def fail(self, error: BaseException) -> NoReturn:
        """Raises HandshakeFailed, with the reason where this side refused the peer."""
        verdict = self._verdict
        if verdict.code:
            raise HandshakeFailed(verdict.text, code=verdict.code, node_id=verdict.node_id)
        code, text = explain_broken(error)
        raise HandshakeFailed(text, code=code, node_id=verdict.node_id)

    def alert(self) -> bytes:
        """The bytes that tell the peer why the handshake ends."""
        return self._object.unsent() if self._object is not None else b""


def _select_alpn(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
    if ALPN not in offered:
        raise _NoCommonProtocol(f"none of {len(offered)} protocols is oln/1")
    return ALPN


def key_of_certificate(certificate: bytes) -> bytes:
    """The node id in a certificate (DER). BadInput when N5 refuses it."""
    if len(certificate) > MAX_CERTIFICATE_BYTES:
        raise BadInput(
            f"its certificate has {len(certificate)} bytes, more than {MAX_CERTIFICATE_BYTES}"
        )
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise BadInput("its certificate or the key in it cannot be read") from None
    if not isinstance(key, Ed25519PublicKey):
        raise BadInput("its certificate holds a key that is not Ed25519")
    return PublicKey.parse(key.public_bytes_raw()).raw


def explain_broken(error: BaseException) -> tuple[str, str]:
    """(code of FAILURES, text) for what broke a connection."""
    cause = error.__cause__ or error
    text = str(getattr(cause, "reason", None) or cause) or "the connection broke"
    if isinstance(cause, ssl.SSLEOFError) or not isinstance(cause, ssl.SSLError):
        return "closed", "it closed the connection during the handshake"
    text = str(cause.args[-1] if cause.args else text)
    if "alert" in text:
        return "refused", f"it refused this node ({text})"
    if "did not return a certificate" in text:
        return "certificate", "it showed no certificate"
    return "tls", f"TLS failed: {text}"


class _Reads(trio.abc.Stream):
    """A transport of which trio.SSLStream, which names no size, takes `read_bytes` at a time."""

    def __init__(self, transport: trio.abc.Stream) -> None:
        self.read_bytes = MAX_HANDSHAKE_BYTES
        self._transport = transport

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._transport.receive_some(max_bytes or self.read_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._transport.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._transport.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._transport.aclose()


async def secure(
    transport: trio.abc.Stream,
    context: TlsContext,
    *,
    server_side: bool,
    pinned: bytes | None = None,
) -> tuple[trio.SSLStream[trio.abc.Stream], bytes]:
    """(stream, the node id that the peer proved) after the handshake; the caller sets a time limit.

    HandshakeFailed when either side refuses, and then the transport is closed.
    """
    end = context.end(pinned)
    reads = _Reads(transport)
    stream: trio.SSLStream[trio.abc.Stream] = trio.SSLStream(
        reads, cast(ssl.SSLContext, end), server_side=server_side, https_compatible=False
    )
    try:
        await stream.do_handshake()
        reads.read_bytes = READ_BYTES
        return stream, end.peer()
    except HandshakeFailed:
        await trio.aclose_forcefully(transport)
        raise
    except (trio.BrokenResourceError, _NoCommonProtocol) as error:
        await _part(transport, end.alert())
        if isinstance(error, _NoCommonProtocol):
            raise HandshakeFailed(str(error), code="application") from None
        end.fail(error)
    except BaseException:
        await trio.aclose_forcefully(transport)
        raise


async def _part(transport: trio.abc.Stream, alert: bytes) -> None:
    """Lets the peer have the alert, which trio leaves unsent, and closes.

    What the peer still sends is read for a moment: closing a socket with unread bytes in it makes
    the system send a reset, which may overtake the alert.
    """
    try:
        with trio.move_on_after(ALERT_TIMEOUT_S):
            if alert:
                await transport.send_all(alert)
                if isinstance(transport, trio.abc.HalfCloseableStream):
                    await transport.send_eof()
                left = MAX_LINGER_BYTES
                while left > 0 and (data := await transport.receive_some(left)):
                    left -= len(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return
    finally:
        await trio.aclose_forcefully(transport)
