"""One valid thing of every form, for altering: small, and the same in every run."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

from openledger_node.ledger import accounts, events, forks, genesis, heads, merkle
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.keys import SigningKey
from openledger_node.ledger.payload import PayloadDocument, cut_binary, encode_payload
from openledger_node.net.address import Endpoint
from openledger_node.net.peer import Peer, Source, encode_peer
from openledger_node.net.records import PeerRecord, sign_record
from openledger_node.sync import messages as m
from openledger_node.sync.frontier_entries import encode_entries
from openledger_node.sync.session import Local, sign_link
from openledger_node.sync.table import Offer

TIME_MS = 1_700_000_000_000


def digest(*names: object) -> bytes:
    """32 bytes that follow from names."""
    return hashlib.sha256("/".join(map(str, names)).encode()).digest()


DEVICE = SigningKey(digest("device"))
ROOTS = [SigningKey(digest("root", number)) for number in range(4)]
NODES = SigningKey(digest("node")).public.raw, SigningKey(digest("peer")).public.raw
LEDGER = digest("ledger")


def inception() -> accounts.Inception:
    now, later = ([key.public.raw for key in ROOTS[at : at + 2]] for at in (0, 2))
    commitment = accounts.next_commitment(later, 2)
    return accounts.Inception(1, tuple(now), 2, commitment, digest("salt")[:16])


def account_create() -> accounts.AccountCreate:
    first = inception()
    account, device = first.account_id, DEVICE.public.raw
    consent = accounts.device_signature(DEVICE, LEDGER, account)
    plain: list[Any] = [account, 0, None, _listed(first), device, consent]
    signatures = accounts.root_signatures(LEDGER, plain, list(enumerate(ROOTS[:2])))
    return accounts.AccountCreate(account, 0, None, first, device, consent, signatures)


def _listed(value: Any) -> Any:
    from openledger_node.ledger.encoding import decode

    return decode(encode(value))


def founding() -> genesis.Genesis:
    account = inception().account_id
    params = genesis.solo_params(account)
    seats = ((inception(), DEVICE.public.raw),)
    issuers = ((account, 10**12),)
    return genesis.Genesis(
        1, "fuzz", digest("salt")[:16], genesis.RULES_VERSION, params, seats, issuers
    )


def log_genesis() -> events.LogGenesis:
    account, device = inception().account_id, DEVICE.public.raw
    return events.LogGenesis(1, LEDGER, account, device, digest("nonce")[:16], None)


def leaves(count: int, word: str = "one") -> list[bytes]:
    """A log whose first two leaves never change."""
    made = [events.encode_event(0, "log.open", TIME_MS, log_genesis())]
    for seq in range(1, count):
        note = word if seq > 1 else "same"
        made.append(events.encode_event(seq, "money.issue", TIME_MS, [digest("to"), seq, note]))
    return made


def head(of: list[bytes]) -> heads.VerifiedHead:
    return heads.sign_head(DEVICE, log_genesis(), len(of), merkle.root(of))


def fork() -> forks.ForkEvidence:
    one, other = leaves(4), leaves(6, "other")
    proof = forks.prove_fork(
        head(one), merkle.leaf_hashes(one), head(other), merkle.leaf_hashes(other)
    )
    if proof is None:
        raise AssertionError("two histories that part are a fork")
    return proof


def event_leaves() -> list[bytes]:
    """Events of kinds whose bodies have a form of their own."""
    bodies: list[tuple[str, Any]] = [
        ("account.create", account_create()),
        ("log.fork", fork()),
        ("money.issue", [digest("to"), 5, "note"]),
    ]
    made = [events.encode_event(seq, *_with_time(*body)) for seq, body in enumerate(bodies)]
    return [*leaves(3), *made]


def _with_time(kind: str, body: Any) -> tuple[str, int, Any]:
    return kind, TIME_MS, body


def payload() -> bytes:
    documents = [
        PayloadDocument(digest("salt"), (b"one", b"two"), 2),
        PayloadDocument(digest("salt", 2), (), 0),
        PayloadDocument(digest("salt", 3), cut_binary(bytes(5_000)), 0),
    ]
    return encode_payload(digest("author"), 1, documents)


def record() -> PeerRecord:
    places = [Endpoint("node.example.org", 9_000), Endpoint("203.0.113.7", 9_001)]
    return sign_record(SigningKey(digest("node")), LEDGER, places, TIME_MS)


def peer_entry() -> bytes:
    peer = Peer(NODES[0], True, TIME_MS, 60, TIME_MS, TIME_MS, "flood", TIME_MS, record().encoded)
    peer.add_place(Endpoint("node.example.org", 9_000), Source.PERSON)
    return encode_peer(peer)


def frontier_part() -> bytes:
    offers = [(digest("log", n)[:8], Offer(1 + 300 * n * n * n, b"tagt")) for n in range(20)]
    return encode_entries(offers)[0]


def local() -> Local:
    """The peer's end of a link, as the other end has to hear it."""
    signature = sign_link(DEVICE, LEDGER, *reversed(NODES))
    account = inception().account_id
    return Local(LEDGER, NODES[1], account, DEVICE.public.raw, signature, None, digest("held"))


def frames() -> list[m.Frame]:
    """One frame of every type, HELLO first and BYE last."""
    whole = leaves(5)
    lengths = struct.pack(f">{len(whole)}I", *map(len, whole))
    signed, log = head(whole).signed, log_genesis().log_id
    hashes = b"".join(merkle.leaf_hashes(whole))
    return [
        local().hello(),
        m.Frontier(0, 1, frontier_part()),
        m.News(signed, 0, lengths, b"".join(whole)),
        m.Want(0, log, 0, 5, signed.root, 0),
        m.Head(0, whole[0], signed),
        m.Spine(0, 0, signed.root),
        m.Leaves(0, 0, lengths, b"".join(whole)),
        m.Missing(0, 3),
        m.Grant(2**21),
        m.Forks((fork(),)),
        m.Have(log, 5, signed.root),
        m.Have(log[:8], 5, b"tagt"),
        m.Digest(None, digest("held")),
        m.DigestAnswer(digest("forks"), digest("held")),
        m.Peers((record().encoded,)),
        m.PayloadWant(1, digest("event"), digest("commit"), 0, 0),
        m.PayloadHead(1, 0, 1, 1, encode([[merkle.EMPTY_ROOT, 0, 0, 0]])),
        m.Document(1, 0, 0, digest("salt"), lengths, hashes),
        m.Piece(1, 0, 0, b"data"),
        m.Cancel(0),
        m.Bye("bye", "it was good"),
    ]
