"""The part of `ssl.SSLObject` that trio.SSLStream calls, over a pyOpenSSL connection.

The standard `ssl` module cannot let in a client whose self-signed certificate it has not seen
before, and calls nobody while it verifies. pyOpenSSL does; trio only ever talks to two memory
buffers and an object with `do_handshake`, `read`, `write` and `unwrap`. This is that object:

    socket <-> trio.SSLStream <-> incoming, outgoing <-> TlsObject <-> OpenSSL's own buffers

Each call moves what has come in to OpenSSL, does one thing, moves what is to be sent out, and turns
OpenSSL's errors into those of `ssl`, which is what trio expects. Until the handshake is done, no
more than MAX_HANDSHAKE_BYTES are taken in (N6).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

from OpenSSL import SSL

MAX_HANDSHAKE_BYTES: Final = 16 * 1024
"""Taken in before the handshake is done (N6). An honest one takes about 1 KiB each way, and 2.5 KiB
with a post-quantum key share."""

_RECORD_BYTES: Final = 16 * 1024
"""Of plain text in one TLS record (RFC 8446, 5.1)."""
_DRAIN_BYTES: Final = 64 * 1024
"""pyOpenSSL allocates this for each call; from 128 KiB the C library asks the system each time."""
_EOF_WORD: Final = "unexpected eof"

P = ParamSpec("P")
T = TypeVar("T")


class TlsObject:
    """One end of one TLS connection, driven through two memory buffers."""

    context: Any = None  # trio offers it to its caller; there is no ssl.SSLContext here

    def __init__(
        self,
        connection: SSL.Connection,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        *,
        server_side: bool,
    ) -> None:
        self.connection = connection
        self.server_side = server_side
        self._incoming = incoming
        self._outgoing = outgoing
        self._handshake_bytes = 0
        self._handshake_done = False
        if server_side:
            connection.set_accept_state()
        else:
            connection.set_connect_state()

    def do_handshake(self) -> None:
        """One step of the handshake. ssl.SSLWantReadError until it is done."""
        self._drive(self.connection.do_handshake)
        self._handshake_done = True

    def read(self, max_bytes: int) -> bytes:
        """At most `max_bytes` of what the peer sent; empty when it closed properly."""
        try:
            return self._drive(self._receive, max_bytes)
        except ssl.SSLZeroReturnError:
            return b""

    def _receive(self, max_bytes: int) -> bytes:
        """Takes all records that have come, not one: each holds at most 16 KiB."""
        parts: list[bytes] = []
        left = max_bytes
        while left > 0:
            try:
                part = self.connection.recv(min(left, _RECORD_BYTES))
            except SSL.Error:
                if not parts:
                    raise
                break  # there is no more now, or what is wrong is still wrong at the next call
            parts.append(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Encrypts all of `data`."""
        try:
            return self._drive(self._send, memoryview(data))
        except ssl.SSLWantReadError as error:
            # trio would begin again with the whole of `data`; TLS 1.3 never asks for this.
            raise ssl.SSLError("a write waited for the peer") from error

    def _send(self, view: memoryview) -> int:
        """OpenSSL takes one record a call."""
        sent = 0
        while sent < len(view):
            sent += self.connection.send(view[sent : sent + _RECORD_BYTES])
        return sent

    def unwrap(self) -> None:
        """Says goodbye. ssl.SSLWantReadError until the peer has said it too.

        A second step in the same call would fail over what the peer sent and nobody has read, and
        then trio would not send the goodbye.
        """
        if not self._drive(self.connection.shutdown):
            raise ssl.SSLWantReadError

    def pending(self) -> int:
        """Decrypted bytes that wait to be read."""
        return self.connection.pending()

    def version(self) -> str:
        """The protocol, for example `TLSv1.3`."""
        return self.connection.get_protocol_version_name()

    def cipher(self) -> tuple[str | None, str, int | None]:
        """(name, protocol, secret bits), as `ssl` gives it."""
        name, bits = self.connection.get_cipher_name(), self.connection.get_cipher_bits()
        return name, self.version(), bits

    def selected_alpn_protocol(self) -> str | None:
        """The application protocol that was agreed on."""
        return self.connection.get_alpn_proto_negotiated().decode("ascii", "replace") or None

    def unsent(self) -> bytes:
        """What trio did not send: after a failed handshake, the alert that says why."""
        return self._outgoing.read()

    def _drive(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self._take_in()
        try:
            return step(*args, **kwargs)
        except SSL.WantReadError:
            self._check_handshake_size()
            raise ssl.SSLWantReadError from None
        except SSL.ZeroReturnError:
            raise ssl.SSLZeroReturnError from None
        except SSL.SysCallError as error:
            raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, f"the link broke off: {error}") from error
        except SSL.Error as error:
            raise _as_ssl_error(error) from error
        finally:
            self._put_out()

    def _take_in(self) -> None:
        if self._incoming.pending:
            data = self._incoming.read()
            if not self._handshake_done:
                self._handshake_bytes += len(data)
            self.connection.bio_write(data)
        elif self._incoming.eof:
            self.connection.bio_shutdown()

    def _check_handshake_size(self) -> None:
        if not self._handshake_done and self._handshake_bytes > MAX_HANDSHAKE_BYTES:
            raise ssl.SSLError(f"a handshake of more than {MAX_HANDSHAKE_BYTES} bytes")

    def _put_out(self) -> None:
        while True:
            try:
                data = self.connection.bio_read(_DRAIN_BYTES)
            except SSL.WantReadError:
                return
            self._outgoing.write(data)
            if len(data) < _DRAIN_BYTES:
                return


def _as_ssl_error(error: SSL.Error) -> ssl.SSLError:
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    text = "; ".join(str(entry[-1]) for entry in queue) or str(error) or "TLS failed"
    if _EOF_WORD in text:
        return ssl.SSLEOFError(ssl.SSL_ERROR_EOF, text)
    return ssl.SSLError(text)
