"""Two ends of a link, and one valid message of every frame type."""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from openledger_node.ledger import merkle
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.heads import SignedHead
from openledger_node.ledger.keys import SigningKey
from openledger_node.sync import messages as m
from openledger_node.sync import session as s
from openledger_node.sync.frames import frame
from tests.vectors import make

LEDGER = b"L" * 32
NODES = (b"\x01" * 32, b"\x02" * 32)
DEVICES = (SigningKey(b"\x0a" * 32), SigningKey(b"\x0b" * 32))
LOG = b"g" * 32
HEAD = SignedHead(LOG, 300, b"r" * 32, b"s" * 64)
NOW_MS = 1_000_000


def lengths_of(leaves: list[bytes]) -> bytes:
    return struct.pack(f">{len(leaves)}I", *map(len, leaves))


def head_of(size: int, log: bytes = LOG) -> SignedHead:
    return SignedHead(log, size, b"r" * 32, b"s" * 64)


def local(side: int, **changes: Any) -> s.Local:
    """This side of the link between NODES, as `Local` says it."""
    device = changes.pop("key", DEVICES[side])
    fields: dict[str, Any] = {
        "ledger_id": LEDGER,
        "node_id": NODES[side],
        "account": b"A" * 32,
        "device": device.public.raw,
        "signature": s.sign_link(
            device, changes.get("ledger_id", LEDGER), NODES[side], NODES[1 - side]
        ),
        "fork_digest": None,
        "frontier_digest": bytes([side]) * 32,
    }
    return s.Local(**{**fields, **changes})


def session(side: int, **changes: Any) -> s.Session:
    """One end, whose HELLO is queued."""
    return s.Session(local(side, **changes), NODES[1 - side])


def sent(end: s.Session) -> bytes:
    return b"".join(end.data_to_send())


def greeted() -> tuple[s.Session, s.Session]:
    """Both ends after HELLO."""
    one, other = session(0), session(1)
    hello, answer = sent(one), sent(other)
    other.receive_bytes(hello, NOW_MS)
    one.receive_bytes(answer, NOW_MS)
    return one, other


def deliver(source: s.Session, target: s.Session, now_ms: int = NOW_MS) -> list[s.Event]:
    """What `target` makes of all that `source` has queued."""
    return target.receive_bytes(sent(source), now_ms)


def raw(*fields: Any) -> bytes:
    """A frame of any fields, whether they make sense or not."""
    return frame(encode(fields))


def asked_log(**changes: Any) -> tuple[s.Session, s.Session, int]:
    """(asker, answerer, want id) after a WANT for LOG from its first leaf on."""
    asker, answerer = greeted()
    fields = {"log": LOG, "first": 0, "stop": None, "root": None, "spine": None, **changes}
    want_id = asker.send_want(**fields)
    deliver(asker, answerer)
    return asker, answerer, want_id


SAMPLES: dict[m.FrameType, m.Frame] = {
    m.FrameType.HELLO: local(0).hello(),
    m.FrameType.FRONTIER: m.Frontier(0, 1, b"n" * 8 + b"\x00\x05" + b"tagt"),
    m.FrameType.NEWS: m.News(HEAD, 298, lengths_of([b"a", b"bc"]), b"abc"),
    m.FrameType.WANT: m.Want(0, b"n" * 8, 0, 300, b"r" * 32, 0),
    m.FrameType.HEAD: m.Head(0, b"opening", HEAD),
    m.FrameType.SPINE: m.Spine(0, 1, b"r" * 64),
    m.FrameType.LEAVES: m.Leaves(0, 256, lengths_of([b"a", b"bc"]), b"abc"),
    m.FrameType.MISSING: m.Missing(0, 3),
    m.FrameType.GRANT: m.Grant(2**21),
    m.FrameType.FORKS: m.Forks((make.fork(),)),
    m.FrameType.HAVE: m.Have(b"n" * 8, 300, b"tagt"),
    m.FrameType.DIGEST: m.Digest(None, b"f" * 32),
    m.FrameType.DIGEST_ANSWER: m.DigestAnswer(b"k" * 32, b"f" * 32),
    m.FrameType.PEERS: m.Peers((b"record", b"another")),
    m.FrameType.PAYLOAD_WANT: m.PayloadWant(0, b"e" * 32, b"c" * 32, 0, 0),
    m.FrameType.PAYLOAD_HEAD: m.PayloadHead(0, 0, 1, 1, encode([[merkle.EMPTY_ROOT, 0, 0, 0]])),
    m.FrameType.DOCUMENT: m.Document(0, 0, 0, b"s" * 32, lengths_of([b"a"]), b"h" * 32),
    m.FrameType.PIECE: m.Piece(0, 0, 0, b"data"),
    m.FrameType.CANCEL: m.Cancel(0),
    m.FrameType.BYE: m.Bye("bye", "it was good"),
}
replace = msgspec.structs.replace
