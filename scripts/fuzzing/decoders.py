"""The table: every public decoder of bytes from outside.

Of any bytes at all a decoder gives a value, or raises an OlnError. Where `encode` is given, a value
encodes to the bytes it came from and no others: nothing has two encodings.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from openledger_node.attribution.derivation_map import decode_map, parse_entry_proof
from openledger_node.attribution.evidence import decode_evidence, decode_span_proof
from openledger_node.credit.journal import parse_journal
from openledger_node.credit.statement import Row, Statement, parse_statement
from openledger_node.exchange.bundle import MAGIC as BUNDLE_MAGIC
from openledger_node.exchange.proofs import EventProof, ProofFile, verify_file
from openledger_node.ledger.accounts import parse_inception
from openledger_node.ledger.encoding import decode, decode_array, decode_as, encode
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.events import (
    Event,
    acceptance_fault,
    encode_event,
    parse_event,
    parse_log_genesis,
    parse_log_open,
)
from openledger_node.ledger.forks import parse_fork, verify_fork
from openledger_node.ledger.genesis import parse_genesis
from openledger_node.ledger.heads import SignedHead
from openledger_node.ledger.keys import PublicKey
from openledger_node.ledger.kinds import BODY_TYPES, parse_body
from openledger_node.ledger.names import did_key, parse_account_short, parse_did_key
from openledger_node.ledger.payload import decode_payload, encode_payload
from openledger_node.net.address import Endpoint, PeerAddress
from openledger_node.net.peer import decode_peer, encode_peer
from openledger_node.net.records import read_record
from openledger_node.node.ceremony import invite, read_invitation, read_seat
from openledger_node.node.founding import genesis_document, read_genesis_file
from openledger_node.store.frames import FrameWriter, read_frames
from openledger_node.sync.frames import FrameReader, frame
from openledger_node.sync.frontier_entries import FrontierIntake, encode_entries
from openledger_node.sync.messages import decode_frame, encode_frame
from openledger_node.sync.session import Local, Session, sign_link
from scripts.fuzzing import seeds

NOW_MS = 1_000_000


@dataclass(frozen=True)
class Decoder:
    """`decode(data)` gives a value or raises OlnError; `encode(value)` gives `data` back."""

    decode: Callable[[bytes], Any]
    seeds: Callable[[], list[bytes]]
    encode: Callable[[Any], bytes] | None = None


@cache
def scratch() -> Path:
    """A folder for what is only read from files."""
    return Path(tempfile.mkdtemp(prefix="oln-fuzz-"))


def of_file(read: Callable[[Path], Any]) -> Callable[[bytes], Any]:
    """A decoder of bytes from one of files."""

    def read_bytes(data: bytes) -> Any:
        path = scratch() / "data"
        path.write_bytes(data)
        return read(path)

    return read_bytes


def written(write: Callable[[Path], Any]) -> bytes:
    """What `write(path)` puts into a new file."""
    path = scratch() / "seed"
    path.unlink(missing_ok=True)
    write(path)
    return path.read_bytes()


# Events.


def _event(leaf: bytes) -> tuple[Event, Any]:
    seq = decode_array(leaf)[1:2]
    fault = acceptance_fault(leaf, seq[0] if seq and type(seq[0]) is int else 0)
    if fault:
        raise BadInput(fault)
    event = parse_event(leaf)
    return event, parse_body(event) if event.kind in BODY_TYPES else event.body


def _encode_event(value: tuple[Event, Any]) -> bytes:
    event, body = value
    return encode_event(
        event.seq, event.kind, event.time_ms, body, event.payload_commit, event.payload_len
    )


def _whole_fork(data: bytes) -> Any:
    evidence = parse_fork(data)
    verify_fork(evidence)
    return evidence


# Links.


def _frames(data: bytes) -> list[bytes]:
    reader = FrameReader()
    reader.feed(data)
    bodies = []
    while (body := reader.next_body()) is not None:
        bodies.append(body)
    if reader.held_bytes:
        raise BadInput("a frame is cut off")
    return bodies


def _greeted() -> Session:
    """A session that has heard HELLO and has questions of both sorts open."""
    ours, theirs = seeds.NODES
    signature = sign_link(seeds.DEVICE, seeds.LEDGER, ours, theirs)
    account, device = seeds.inception().account_id, seeds.DEVICE.public.raw
    local = Local(seeds.LEDGER, ours, account, device, signature, None, seeds.digest("ours"))
    session = Session(local, theirs)
    session.receive_bytes(encode_frame(seeds.frames()[0]), NOW_MS)
    session.send_want(seeds.log_genesis().log_id, 0, None, None, 0)
    session.send_payload_want(seeds.digest("event"), seeds.digest("commit"))
    session.send_digest(None, seeds.digest("ours"))
    return session


def _session(data: bytes) -> Any:
    return _greeted().receive_bytes(data, NOW_MS)


def _frontier(data: bytes) -> Any:
    intake = FrontierIntake()
    intake.take(0, data)
    if len(intake.entries) > intake._logs:
        raise AssertionError("more entries than logs")
    return intake


def _encode_frontier(intake: FrontierIntake) -> bytes:
    """Entries that hold a log from the middle on are passed over, and cannot be told again."""
    if len(intake.entries) < intake._logs:
        return b""
    return b"".join(encode_entries(intake.entries))


# Files.


def _bundle(path: Path) -> None:
    log = seeds.leaves(5)
    with FrameWriter(path, BUNDLE_MAGIC) as out:
        out.write("bundle", 1, seeds.LEDGER)
        out.write("log", encode(seeds.head(log).signed))
        out.write("leaves", log)


def _proof_files() -> list[bytes]:
    log, founding = seeds.leaves(4), seeds.founding()
    head = seeds.head(log).signed
    event = EventProof(seeds.log_genesis(), head, 2, log[2], (), (), None)
    return [
        encode(ProofFile("oln-proof/1", "event", founding, encode(event))),
        encode(ProofFile("oln-proof/1", "fork", founding, encode(seeds.fork()))),
        encode(ProofFile("oln-proof/1", "span", founding, b"\x90")),
        encode(ProofFile("oln-proof/1", "credit", founding, b"\x90")),
    ]


@cache
def _invitation_seed() -> bytes:
    return written(lambda path: invite(path, "a ledger"))


def _seat(path: Path) -> Any:
    other = scratch() / "invitation"
    other.write_bytes(_invitation_seed())
    return read_seat(path, read_invitation(other))


def _seat_seed() -> bytes:
    return json.dumps(
        {
            "openledger": "witness-seat",
            "version": 1,
            "name": "a seat",
            "account": "acct-0",
            "inception": encode(seeds.inception()).hex(),
            "device": seeds.DEVICE.public.raw.hex(),
            "invitation": seeds.digest("invitation").hex(),
            "device_signature": bytes(64).hex(),
            "root_signature": bytes(64).hex(),
        }
    ).encode()


def _text(parse: Callable[[str], Any]) -> Callable[[bytes], Any]:
    return lambda data: parse(data.decode("utf-8", "surrogateescape"))


def _statement() -> bytes:
    rows = tuple(Row(bytes([n]) * 32, n, 0, 5, 0, 2**40, 0, 7, 0) for n in range(3))
    return Statement(4, seeds.digest("cut"), rows).encode()


def _head(data: bytes) -> SignedHead:
    return decode_as(msgspec.msgpack.Decoder(SignedHead), data, "a head")


def _encode_payload(payload: Any) -> bytes:
    return encode_payload(payload.account, payload.canon_version, payload.documents)


def _bodies() -> list[bytes]:
    return [encode_frame(message)[4:] for message in seeds.frames()]


def _stream() -> list[bytes]:
    return [b"".join(map(frame, _bodies())), *map(frame, _bodies()[1:])]


_ENTRY = [1, 2, 3, bytes(32), 0, 7]
_MAP = [bytes(32), [b"a" * 32, b"b" * 32], [[0, 0, 9, 0, 0, 3], [0, 9, 4, 1, 0, 0]]]
_JOURNAL = [1, 3, bytes(32), "", [], [], [], [[bytes(32), "C5", "no_money"]], []]

DECODERS: dict[str, Decoder] = {
    "a canonical value": Decoder(decode, lambda: [encode([1, None, "a", [b"\x00", -7]])], encode),
    "a canonical array": Decoder(decode_array, lambda: [encode([[], 2**63])], encode),
    "an event": Decoder(_event, seeds.event_leaves, _encode_event),
    "the first event of a log": Decoder(parse_log_open, lambda: seeds.leaves(1)),
    "a log's genesis": Decoder(parse_log_genesis, lambda: [encode(seeds.log_genesis())], encode),
    "a signed head": Decoder(_head, lambda: [encode(seeds.head(seeds.leaves(3)).signed)], encode),
    "a fork proof": Decoder(parse_fork, lambda: [encode(seeds.fork())], encode),
    "a fork proof, verified": Decoder(_whole_fork, lambda: [encode(seeds.fork())], encode),
    "an account's inception": Decoder(parse_inception, lambda: [encode(seeds.inception())], encode),
    "a ledger's genesis": Decoder(parse_genesis, lambda: [encode(seeds.founding())], encode),
    "a public key": Decoder(
        PublicKey.parse, lambda: [seeds.DEVICE.public.raw], lambda key: key.raw
    ),
    "a payload": Decoder(decode_payload, lambda: [seeds.payload()], _encode_payload),
    "an evidence payload": Decoder(decode_evidence, lambda: [seeds.payload()]),
    "a span proof": Decoder(decode_span_proof, lambda: [encode([0, 0, 5, 0, []])], encode),
    "a derivation map": Decoder(decode_map, lambda: [encode(_MAP)]),
    "a derivation entry's proof": Decoder(
        parse_entry_proof, lambda: [encode([0, 1, _ENTRY, []])], encode
    ),
    "a statement": Decoder(parse_statement, lambda: [_statement()], lambda s: bytes(s.encode())),
    "a journal": Decoder(parse_journal, lambda: [encode(_JOURNAL)], encode),
    "a frame's body": Decoder(decode_frame, _bodies, lambda f: encode_frame(f)[4:]),
    "frames": Decoder(_frames, _stream, lambda bodies: b"".join(map(frame, bodies))),
    "a session": Decoder(_session, lambda: list(map(encode_frame, seeds.frames()[1:]))),
    "a frontier": Decoder(_frontier, lambda: [seeds.frontier_part()], _encode_frontier),
    "a peer record": Decoder(
        lambda data: read_record(data, seeds.LEDGER),
        lambda: [seeds.record().encoded],
        lambda record: record.encoded,
    ),
    "an entry of the peer book": Decoder(
        lambda data: decode_peer(seeds.NODES[0], data), lambda: [seeds.peer_entry()], encode_peer
    ),
    "a bundle's frames": Decoder(
        of_file(lambda path: list(read_frames(path, BUNDLE_MAGIC, "a bundle"))),
        lambda: [written(_bundle)],
    ),
    "a proof file": Decoder(of_file(verify_file), _proof_files),
    "a genesis file": Decoder(
        of_file(read_genesis_file), lambda: [genesis_document(seeds.founding()).encode()]
    ),
    "an invitation": Decoder(of_file(read_invitation), lambda: [_invitation_seed()]),
    "a seat file": Decoder(of_file(_seat), lambda: [_seat_seed()]),
    "an address": Decoder(
        _text(PeerAddress.parse), lambda: [f"{seeds.NODES[0].hex()}@[2001:db8::1]:9000".encode()]
    ),
    "an endpoint": Decoder(_text(Endpoint.parse), lambda: [b"node.example.org:9000"]),
    "a did:key": Decoder(
        _text(parse_did_key),
        lambda: [did_key(seeds.DEVICE.public.raw).encode()],
        lambda raw: did_key(raw).encode(),
    ),
    "an account's short name": Decoder(_text(parse_account_short), lambda: [b"acct-0000-0000"]),
}
