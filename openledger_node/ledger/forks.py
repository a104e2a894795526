"""Fork proofs: two signed heads of one log that cannot both be prefixes of one history.

- L6 Evidence = `[log genesis, head a, head b, i, consistency path i -> a, consistency path i -> b,
  root at i, leaf hash a, path a, leaf hash b, path b]` with sizes m <= n and i < m the length of
  the longest common prefix: both heads extend the same prefix of i leaves, and hold different
  leaves at index i. With i = 0 the consistency paths are empty.
- L7 Both signatures, both consistency paths and both inclusion paths verify, and the two leaf
  hashes differ; then the log is closed at max(previous mark, i) once the `log.fork` that carries
  the evidence is final.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, final

import msgspec
from msgspec import Meta

from openledger_node.ledger.encoding import decode_as, encode
from openledger_node.ledger.errors import BadInput, VerificationFailed
from openledger_node.ledger.events import MAX_BODY_BYTES, MAX_SEQ, Id, LogGenesis
from openledger_node.ledger.heads import SignedHead, VerifiedHead, verify_head
from openledger_node.ledger.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    root_of_hashes,
    verify_consistency,
    verify_inclusion,
)

MAX_PATH_HASHES: Final = 128
"""A consistency path has at most 2 * 40 + 1 hashes at MAX_SEQ leaves."""

_MAKE: Final = object()
Path = Annotated[tuple[Id, ...], Meta(max_length=MAX_PATH_HASHES)]


class ForkEvidence(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The body of `log.fork` (L6), as it travels."""

    genesis: LogGenesis
    head_a: SignedHead
    head_b: SignedHead
    common: Annotated[int, Meta(ge=0, le=MAX_SEQ)]
    common_root: Id
    consistency_a: Path
    consistency_b: Path
    leaf_a: Id
    path_a: Path
    leaf_b: Id
    path_b: Path


@final
class VerifiedFork:
    """Evidence that passed L7. Made by `verify_fork` alone."""

    __slots__ = ("evidence", "log_id")

    def __init__(self, evidence: ForkEvidence, make: object) -> None:
        if make is not _MAKE:
            raise TypeError("a VerifiedFork is made by verify_fork")
        self.evidence = evidence
        self.log_id = evidence.head_a.log_id

    @property
    def common(self) -> int:
        return self.evidence.common


_decoder = msgspec.msgpack.Decoder(ForkEvidence)


def parse_fork(data: bytes) -> ForkEvidence:
    if len(data) > MAX_BODY_BYTES:
        raise BadInput(f"fork evidence has at most {MAX_BODY_BYTES} bytes, this one {len(data)}")
    return decode_as(_decoder, data, "the fork evidence")


def verify_fork(evidence: ForkEvidence) -> VerifiedFork:
    """`evidence`, checked (L7). VerificationFailed says what does not hold."""
    a, b, i = evidence.head_a, evidence.head_b, evidence.common
    verify_head(a, evidence.genesis)
    verify_head(b, evidence.genesis)
    if not i < a.size <= b.size:
        raise VerificationFailed("fork evidence needs common prefix < first size <= second size")
    if evidence.leaf_a == evidence.leaf_b:
        raise VerificationFailed("fork evidence shows the same leaf twice: no fork")
    for head, path in ((a, evidence.consistency_a), (b, evidence.consistency_b)):
        if not _extends(head, i, evidence.common_root, path):
            raise VerificationFailed(
                "a head of the fork evidence does not extend the common prefix"
            )
    if not (
        verify_inclusion(evidence.leaf_a, i, a.size, evidence.path_a, a.root)
        and verify_inclusion(evidence.leaf_b, i, b.size, evidence.path_b, b.root)
    ):
        raise VerificationFailed("a leaf of the fork evidence is not under its head")
    return VerifiedFork(evidence, _MAKE)


def _extends(head: SignedHead, size: int, root: bytes, path: Sequence[bytes]) -> bool:
    if size == 0:
        return root == EMPTY_ROOT and not path
    return verify_consistency(size, head.size, root, head.root, path)


def prove_fork(
    head_a: VerifiedHead,
    hashes_a: Sequence[bytes],
    head_b: VerifiedHead,
    hashes_b: Sequence[bytes],
) -> ForkEvidence | None:
    """Evidence from two verified heads and their leaf hashes.

    None when one history extends the other.
    """
    if head_a.log_id != head_b.log_id:
        raise BadInput("two heads of different logs are no fork")
    if head_a.size > head_b.size:
        head_a, hashes_a, head_b, hashes_b = head_b, hashes_b, head_a, hashes_a
    pairs = zip(hashes_a[: head_a.size], hashes_b[: head_b.size], strict=False)
    common = next((i for i, (left, right) in enumerate(pairs) if left != right), None)
    if common is None:
        return None
    left, right = list(hashes_a[: head_a.size]), list(hashes_b[: head_b.size])
    evidence = ForkEvidence(
        genesis=head_a.genesis,
        head_a=head_a.signed,
        head_b=head_b.signed,
        common=common,
        common_root=root_of_hashes(left[:common]),
        consistency_a=tuple(consistency_proof(left, common)) if common else (),
        consistency_b=tuple(consistency_proof(right, common)) if common else (),
        leaf_a=left[common],
        path_a=tuple(inclusion_proof(left, common)),
        leaf_b=right[common],
        path_b=tuple(inclusion_proof(right, common)),
    )
    if len(encode(evidence)) > MAX_BODY_BYTES:
        raise BadInput("the fork evidence exceeds the body of log.fork")
    return evidence
