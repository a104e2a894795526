"""Handshakes with honest ends, and with ends that break one rule each."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from OpenSSL import SSL, crypto
from trio.testing import memory_stream_pair

from openledger_node.ledger.errors import BadInput
from openledger_node.net.tls import (
    ALERT_TIMEOUT_S,
    ALPN,
    FAILURES,
    MAX_CERTIFICATE_BYTES,
    MAX_LINGER_BYTES,
    READ_BYTES,
    HandshakeFailed,
    TlsContext,
    key_of_certificate,
    secure,
)
from openledger_node.net.tls_object import MAX_HANDSHAKE_BYTES
from tests.net import wire
from tests.net.wire import CLIENT, SERVER, Everyone, Nobody, certificate, ed25519_key, run

Peer = Callable[[trio.abc.Stream], Awaitable[None]]
SMALL_ORDER = bytes([1]) + bytes(31)


def refused_by_server(peer: Peer, context: TlsContext | None = None) -> HandshakeFailed:
    """How a listening node ends the handshake with `peer`."""
    return run(_refused, context or wire.server_context(), peer, True, None)


def refused_by_client(
    peer: Peer, context: TlsContext | None = None, pinned: bytes | None = SERVER.node_id
) -> HandshakeFailed:
    """How a dialling node ends the handshake with `peer`."""
    return run(_refused, context or wire.client_context(), peer, False, pinned)


async def _refused(
    context: TlsContext, peer: Peer, server_side: bool, pinned: bytes | None
) -> HandshakeFailed:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer, theirs)
        with pytest.raises(HandshakeFailed) as caught:
            await secure(ours, context, server_side=server_side, pinned=pinned)
        with pytest.raises(trio.ClosedResourceError):
            await ours.send_all(b"closed by now")
        nursery.cancel_scope.cancel()
    assert caught.value.hint == FAILURES[caught.value.code]
    return caught.value


def raw_peer(*args: Any, server_side: bool = False, **kwargs: Any) -> Peer:
    """An end that presents what `wire.raw_context` is given, and waits for an answer."""

    async def peer(transport: trio.abc.Stream) -> None:
        shared = wire.raw_context(*args, **kwargs)
        stream = wire.raw_stream(transport, shared, server_side=server_side)
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
            await stream.receive_some(1)
        await trio.aclose_forcefully(transport)

    return peer


# Honest ends.


@pytest.mark.rule("N4", "N7")
def test_both_ends_learn_the_key_that_the_other_proved() -> None:
    async def main() -> None:
        server_policy, client_policy = Everyone(), Everyone()
        server, client = TlsContext(SERVER, server_policy), TlsContext(CLIENT, client_policy)
        at_server, at_client = await wire.meet(server, client, pinned=SERVER.node_id)
        assert server_policy.asked == [CLIENT.node_id]
        assert client_policy.asked == [SERVER.node_id]
        for stream in (at_server, at_client):
            assert stream.version() == "TLSv1.3"
            assert stream.selected_alpn_protocol() == ALPN.decode()

    run(main)


@pytest.mark.rule("N4")
def test_no_session_is_taken_up_again_by_its_ticket(tmp_path: Path) -> None:
    """The client is the standard library's, which says what it was given."""
    pem = tmp_path / "client.pem"
    secret = CLIENT.private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(secret + CLIENT.certificate().public_bytes(Encoding.PEM))
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    plain.check_hostname = False
    plain.verify_mode = ssl.CERT_NONE
    plain.load_cert_chain(pem)
    plain.set_alpn_protocols([ALPN.decode()])
    policy = Everyone()
    server = TlsContext(SERVER, policy)

    async def main() -> None:
        session: Any = None
        for _ in range(2):
            below_server, below_client = memory_stream_pair()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_echo_once, server, below_server)
                client = trio.SSLStream(below_client, plain)
                if session is not None:
                    client.session = session
                await client.send_all(b"x")
                assert await client.receive_some(1) == b"x"
                assert not client.session_reused
                session = client.session

    run(main)
    assert policy.asked == [CLIENT.node_id] * 2, "the key is judged on every link"


async def _echo_once(context: TlsContext, transport: trio.abc.Stream) -> None:
    stream, _ = await secure(transport, context, server_side=True)
    await stream.send_all(await stream.receive_some(1))


# Clients that a listening node refuses.


@pytest.mark.rule("N4")
def test_a_client_without_a_certificate_is_refused() -> None:
    told: list[str] = []

    async def peer(transport: trio.abc.Stream) -> None:
        stream = wire.raw_stream(transport, wire.raw_context(), server_side=False)
        with pytest.raises(trio.BrokenResourceError) as caught:
            await stream.do_handshake()
            await stream.receive_some(1)
        told.append(str(caught.value.__cause__))
        await trio.aclose_forcefully(transport)

    failure = refused_by_server(peer)
    assert failure.code == "certificate"
    assert "no certificate" in failure.message
    assert "certificate required" in told[0]


@pytest.mark.rule("N4")
def test_a_client_of_tls_1_2_is_refused() -> None:
    key = ed25519_key(2)
    failure = refused_by_server(raw_peer([certificate(key)], key, newest=SSL.TLS1_2_VERSION))
    assert failure.code == "tls"
    assert "unsupported protocol" in failure.message


@pytest.mark.rule("N4")
@pytest.mark.parametrize("protocols", [(b"h2", b"http/1.1"), (b"oln/2",), ()])
def test_a_client_of_another_application_protocol_is_refused(protocols: tuple[bytes, ...]) -> None:
    async def peer(transport: trio.abc.Stream) -> None:
        shared = wire.raw_context([CLIENT.certificate()], CLIENT.private_key(), protocols=protocols)
        stream = wire.raw_stream(transport, shared, server_side=False)
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x")
            await stream.receive_some(1)

    assert refused_by_server(peer).code == "application"


@pytest.mark.rule("N5")
@pytest.mark.parametrize("make_key", [wire.rsa_key, wire.ec_key, wire.ed448_key])
def test_a_certificate_with_another_kind_of_key_is_refused(make_key: Callable[[], Any]) -> None:
    key = make_key()
    failure = refused_by_server(raw_peer([certificate(key)], key))
    assert failure.code == "certificate"
    assert "not Ed25519" in failure.message


@pytest.mark.rule("N5")
@pytest.mark.parametrize("server_side", [False, True])
def test_a_leaf_under_an_authority_is_refused(server_side: bool) -> None:
    key, authority = ed25519_key(2), ed25519_key(3)
    chain = [certificate(key, issuer=authority), certificate(authority, is_authority=True)]
    peer = raw_peer(chain, key, server_side=server_side)
    failure = (refused_by_client if server_side else refused_by_server)(peer)
    assert failure.code == "certificate"
    assert "chain" in failure.message


@pytest.mark.rule("N5")
@pytest.mark.parametrize("server_side", [False, True])
def test_a_second_certificate_beside_a_good_leaf_is_refused(server_side: bool) -> None:
    own = SERVER if server_side else CLIENT
    chain = [own.certificate(), certificate(ed25519_key(9))]
    peer = raw_peer(chain, own.private_key(), server_side=server_side)
    failure = (refused_by_client if server_side else refused_by_server)(peer)
    assert failure.code == "certificate"
    assert "chain" in failure.message


@pytest.mark.rule("N5", "N6")
@pytest.mark.parametrize("padding_bytes", [MAX_CERTIFICATE_BYTES, 12_000, 60_000])
def test_a_huge_certificate_is_refused(padding_bytes: int) -> None:
    key = ed25519_key(2)
    failure = refused_by_server(raw_peer([certificate(key, padding_bytes=padding_bytes)], key))
    assert failure.code in {"certificate", "tls"}
    assert "bytes" in failure.message


@pytest.mark.rule("N5")
def test_a_certificate_at_the_limit_is_read_and_one_byte_more_is_not() -> None:
    key = ed25519_key(2)
    small = len(certificate(key, padding_bytes=1000).public_bytes(Encoding.DER))
    at_limit = certificate(key, padding_bytes=1000 + MAX_CERTIFICATE_BYTES - small)
    data = at_limit.public_bytes(Encoding.DER)
    assert len(data) == MAX_CERTIFICATE_BYTES
    assert key_of_certificate(data) == key.public_key().public_bytes_raw()
    with pytest.raises(BadInput, match="more than 2048"):
        key_of_certificate(data + b"\0")


@pytest.mark.rule("N5")
@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(SMALL_ORDER, id="the identity point"),
        pytest.param(bytes(32), id="a point of order 4"),
        pytest.param(b"\xed" + b"\xff" * 30 + b"\x7f", id="a non-canonical zero"),
        pytest.param(b"\xff" * 32, id="a non-canonical number"),
        pytest.param(b"\x02" + bytes(31), id="no point of the curve"),
    ],
)
def test_a_certificate_with_a_key_that_everybody_or_nobody_holds_is_refused(raw: bytes) -> None:
    data = _with_key(raw)
    with pytest.raises(BadInput):
        key_of_certificate(data)
    context = TlsContext(SERVER, Everyone())
    end = context.end()
    end.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    certificate_of_peer = crypto.load_certificate(crypto.FILETYPE_ASN1, data)
    assert end._object is not None
    assert context._verify(end._object.connection, certificate_of_peer, 0, 0, 1) is False
    with pytest.raises(HandshakeFailed) as caught:
        end.fail(trio.BrokenResourceError())
    assert caught.value.code == "certificate"


def _with_key(raw: bytes) -> bytes:
    """A node's certificate with its key replaced."""
    data = CLIENT.certificate().public_bytes(Encoding.DER)
    assert data.count(CLIENT.node_id) == 1
    return data.replace(CLIENT.node_id, raw)


@pytest.mark.rule("N5")
@pytest.mark.parametrize("data", [b"", b"\x30\x00", b"\xff" * 100, b"-----BEGIN CERTIFICATE-----"])
def test_bytes_that_are_no_certificate_are_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        key_of_certificate(data)


@pytest.mark.rule("N3", "N5")
@pytest.mark.parametrize("days", [(-700, -500), (9000, 9001)], ids=["expired", "not yet valid"])
def test_the_dates_of_a_certificate_carry_nothing(days: tuple[int, int]) -> None:
    async def main() -> None:
        key = ed25519_key(2)
        shared = wire.raw_context([certificate(key, days=days)], key)
        below_server, below_client = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                wire.raw_stream(below_client, shared, server_side=False).do_handshake
            )
            _, peer_id = await secure(below_server, wire.server_context(), server_side=True)
        assert peer_id == key.public_key().public_bytes_raw()

    run(main)


@pytest.mark.rule("N7")
def test_a_key_that_the_policy_refuses_is_refused_with_the_reason() -> None:
    peer = raw_peer([CLIENT.certificate()], CLIENT.private_key())
    failure = refused_by_server(peer, TlsContext(SERVER, Nobody()))
    assert (failure.code, failure.message) == ("not_accepted", "not on the list")
    assert failure.node_id == CLIENT.node_id


@pytest.mark.rule("N7")
@pytest.mark.parametrize("piece_bytes", [0, 8192])
def test_a_refused_peer_is_heard_out_for_a_moment_so_that_it_gets_the_alert(
    piece_bytes: int,
) -> None:
    """Closing at once would make the system send a reset, which may overtake the alert."""
    sent = 0
    ended_s: list[float] = []

    async def peer(transport: trio.abc.Stream) -> None:
        nonlocal sent
        shared = wire.raw_context([CLIENT.certificate()], CLIENT.private_key())
        await wire.raw_stream(transport, shared, server_side=False).do_handshake()
        with pytest.raises(trio.BrokenResourceError):
            while piece_bytes:
                await transport.send_all(bytes(piece_bytes))
                sent += piece_bytes
                await trio.testing.wait_all_tasks_blocked()
            raise trio.BrokenResourceError
        if piece_bytes:
            ended_s.append(trio.current_time())

    async def main() -> None:
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer, theirs)
            with pytest.raises(HandshakeFailed):
                await secure(ours, TlsContext(SERVER, Nobody()), server_side=True)
            ended_s.append(trio.current_time())

    run(main)
    if piece_bytes:
        assert MAX_LINGER_BYTES <= sent <= 2 * MAX_LINGER_BYTES
        assert ended_s[0] == 0
    else:
        assert ended_s[0] == pytest.approx(ALERT_TIMEOUT_S)


@pytest.mark.rule("N7")
def test_a_policy_that_fails_is_a_fault_of_this_node_and_not_hidden() -> None:
    class Broken:
        def accepts(self, node_id: bytes) -> str | None:
            raise ZeroDivisionError

    async def main() -> None:
        below_server, below_client = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raw_peer([CLIENT.certificate()], CLIENT.private_key()), below_client)
            with pytest.raises(ZeroDivisionError):
                await secure(below_server, TlsContext(SERVER, Broken()), server_side=True)

    run(main)


@pytest.mark.parametrize(
    "text",
    [b"GET / HTTP/1.1\r\nHost: node\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n", b"\0" * 64],
    ids=["http", "ssh", "zeros"],
)
@pytest.mark.rule("N4")
def test_plain_text_instead_of_tls_is_refused(text: bytes) -> None:
    async def peer(transport: trio.abc.Stream) -> None:
        await transport.send_all(text)

    assert refused_by_server(peer).code == "tls"
    assert refused_by_client(peer).code == "tls"


@pytest.mark.rule("N6")
def test_a_handshake_that_never_ends_is_cut_off_at_its_limit() -> None:
    sent = 0

    async def peer(transport: trio.abc.Stream) -> None:
        nonlocal sent
        # The start of a ClientHello that says it has 100,000 bytes, in records of 1 KiB.
        message = b"\x01" + (100_000).to_bytes(3, "big") + b"\x03\x03"
        try:
            while sent < 100 * MAX_HANDSHAKE_BYTES:
                piece, message = message + b"\0" * (1024 - len(message)), b""
                await transport.send_all(b"\x16\x03\x01\x04\x00" + piece)
                sent += len(piece)
                await trio.testing.wait_all_tasks_blocked()
        except trio.BrokenResourceError:
            return

    failure = refused_by_server(peer)
    assert failure.code == "tls"
    assert f"more than {MAX_HANDSHAKE_BYTES} bytes" in failure.message
    assert sent <= 2 * MAX_HANDSHAKE_BYTES


@pytest.mark.rule("N7")
class _Sized(trio.abc.Stream):
    """A transport that notes how many bytes it is asked for."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self._inner = inner
        self.asked: list[int | None] = []

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self.asked.append(max_bytes)
        return await self._inner.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._inner.aclose()


@pytest.mark.rule("N6")
def test_a_transport_is_read_in_small_pieces_until_the_handshake_is_done() -> None:
    async def main() -> list[int | None]:
        ours, theirs = memory_stream_pair()
        sized = _Sized(ours)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_echo_once, wire.server_context(), theirs)
            stream, _ = await secure(sized, wire.client_context(), server_side=False)
            before = len(sized.asked)
            await stream.send_all(b"ping")
            assert await stream.receive_some() == b"p"
        assert set(sized.asked[:before]) == {MAX_HANDSHAKE_BYTES}
        return sized.asked[before:]

    assert set(run(main)) == {READ_BYTES}


def test_a_peer_that_closes_in_the_handshake_is_told_apart_from_one_that_is_refused() -> None:
    async def half_open(transport: trio.abc.Stream) -> None:
        assert isinstance(transport, trio.abc.HalfCloseableStream)
        await transport.send_eof()

    async def gone(transport: trio.abc.Stream) -> None:
        await transport.aclose()

    for peer in (half_open, gone):
        assert refused_by_server(peer).code == "closed"
        assert refused_by_client(peer).code == "closed"


# Servers that a dialling node refuses.


@pytest.mark.rule("N7")
def test_another_node_at_the_address_is_refused_before_anything_is_sent_to_it() -> None:
    async def peer(transport: trio.abc.Stream) -> None:
        with pytest.raises(HandshakeFailed) as caught:
            await secure(transport, wire.server_context(), server_side=True)
        assert caught.value.code == "refused"

    failure = refused_by_client(peer, pinned=wire.identity(9).node_id)
    assert failure.code == "wrong_peer"
    assert SERVER.node_id.hex() in failure.message
    assert failure.node_id == SERVER.node_id


@pytest.mark.rule("N4")
def test_a_server_of_tls_1_2_is_refused() -> None:
    key = ed25519_key(1)
    peer = raw_peer([certificate(key)], key, server_side=True, newest=SSL.TLS1_2_VERSION)
    assert refused_by_client(peer).code == "closed"


@pytest.mark.rule("N4")
@pytest.mark.parametrize("protocols", [(), (b"h2",)])
def test_a_server_that_does_not_agree_on_the_protocol_is_refused(
    protocols: tuple[bytes, ...],
) -> None:
    async def peer(transport: trio.abc.Stream) -> None:
        shared = wire.raw_context([SERVER.certificate()], SERVER.private_key(), protocols=protocols)
        stream = wire.raw_stream(transport, shared, server_side=True)
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
            await stream.receive_some(1)

    assert refused_by_client(peer).code in {"application", "tls"}


@pytest.mark.rule("N7")
def test_the_policy_is_asked_about_nodes_that_are_dialled_too() -> None:
    peer = raw_peer([SERVER.certificate()], SERVER.private_key(), server_side=True)
    failure = refused_by_client(peer, TlsContext(CLIENT, Nobody()))
    assert failure.code == "not_accepted"


def test_a_stolen_certificate_is_of_no_use_without_its_key() -> None:
    shared = SSL.Context(SSL.TLS_METHOD)
    shared.use_certificate(SERVER.certificate())
    with pytest.raises(SSL.Error):
        shared.use_privatekey(CLIENT.private_key())


def test_every_code_of_a_failed_handshake_has_a_hint() -> None:
    assert all(FAILURES.values())
