"""Digests of what a node holds, and the short names that one link gives to logs and roots.

- Y4 `frontier_digest` is SHA-256 over the sorted `log_id || size u64 big-endian || root` of all
  logs held with a head; a log known to be forked stands with (common prefix i, root at i) instead,
  and not at all when i = 0.
- Y5 `fork_digest` is SHA-256 over the sorted `log_id || SHA-256(evidence)` of the proof kept of
  each forked log; nil when no fork is known. Of two proofs of one log the one with the lower
  (i, SHA-256(evidence)) is kept.
- Y6 `link key = H("link_key", a, b, digest of a, digest of b)` with a < b the two node ids and the
  frontier digests of their HELLOs. On the link `short_id = BLAKE2b(log_id, key, 8 bytes)` names a
  log and `tag = BLAKE2b(root, key, 4 bytes)` a root.

The key is made of both sides' digests, so that nobody can prepare logs whose names collide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from openledger_node.ledger.encoding import H, encode
from openledger_node.ledger.forks import ForkEvidence
from openledger_node.ledger.heads import Mark

SHORT_ID_BYTES: Final = 8
TAG_BYTES: Final = 4

_blake2b = hashlib.blake2b


def frontier_digest(marks: Iterable[Mark]) -> bytes:
    """Y4 over the marks a node shows (at most one a log): 32 bytes."""
    digest = hashlib.sha256()
    for entry in sorted(m.log_id + m.size.to_bytes(8, "big") + m.root for m in marks):
        digest.update(entry)
    return digest.digest()


def proof_rank(proof: ForkEvidence) -> tuple[int, bytes]:
    """Which of several proofs of one log is kept: the lowest of these (Y5)."""
    return proof.common, hashlib.sha256(encode(proof)).digest()


def fork_digest(proofs: Iterable[ForkEvidence]) -> bytes | None:
    """Y5 over the kept proofs (one a log): 32 bytes, or None when there are none."""
    entries = sorted(proof.head_a.log_id + proof_rank(proof)[1] for proof in proofs)
    return hashlib.sha256(b"".join(entries)).digest() if entries else None


def link_key(node_id: bytes, digest: bytes, other_id: bytes, other_digest: bytes) -> bytes:
    """Y6: 32 bytes, the same from both sides. Each node id comes with its frontier digest."""
    (low, low_digest), (high, high_digest) = sorted(((node_id, digest), (other_id, other_digest)))
    return H("link_key", low, high, low_digest, high_digest)


def short_id(key: bytes, log_id: bytes) -> bytes:
    """A log's name on the link with this key: 8 bytes (Y6)."""
    return _blake2b(log_id, key=key, digest_size=SHORT_ID_BYTES).digest()


def mark_tag(key: bytes, root: bytes) -> bytes:
    """What stands for a root on the link with this key: 4 bytes (Y6)."""
    return _blake2b(root, key=key, digest_size=TAG_BYTES).digest()
