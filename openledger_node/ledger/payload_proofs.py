"""Proofs that bytes are leaves of a payload, for whoever does not hold the payload.

- P4 A proof of a leaf, or of adjacent leaves, carries their inner hashes, never the salt: whoever
  has proofs of some leaves cannot guess the others.

A proof leads from the leaves to their document's root and from there to `payload_commit` (P2, P3);
that an event with this commitment stands in a log is for other proofs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from openledger_node.ledger import merkle
from openledger_node.ledger.encoding import H, encode
from openledger_node.ledger.payload import (
    MAX_LEAF_BYTES,
    Count,
    DocumentTree,
    Hash,
    Payload,
    PayloadDocument,
    inner_hash,
)

MAX_PATH_HASHES: Final = 64
MAX_RUN_LEAVES: Final = 15_627
"""In one proof: as many as a span of the longest output can lie in."""

_Path = Annotated[tuple[Hash, ...], msgspec.Meta(max_length=MAX_PATH_HASHES)]
_RunPath = Annotated[tuple[Hash, ...], msgspec.Meta(max_length=2 * MAX_PATH_HASHES)]


class PayloadLeafProof(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """That `data` is leaf `leaf` of document `document` (of `documents`) of a payload (P4)."""

    document: Count
    documents: Count
    tree: DocumentTree
    document_path: _Path
    leaf: Count
    inner: Hash
    data: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_LEAF_BYTES)]
    leaf_path: _Path

    def verify(self, commit: bytes, account: bytes) -> bool:
        """Whether the leaf stands under this `payload_commit` in an event of this account.

        `account` is that of the log that holds the event. The commitment binds `leaf` and
        everything in `tree`. It binds `document` only together with the number of documents, which
        the event beside it states: compare `documents` with it.
        """
        return merkle.verify_inclusion(
            merkle.leaf_hash(self.inner + self.data),
            self.leaf,
            self.tree.leaf_count,
            self.leaf_path,
            self.tree.root,
        ) and _stands(self.tree, self.document, self.documents, self.document_path, commit, account)


class ShownLeaf(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A leaf in a proof of several: its inner hash and its bytes."""

    inner: Hash
    data: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_LEAF_BYTES)]


class PayloadRunProof(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """That `leaves` are those of a document from leaf `first` on (P4): one path for all of them.

    What it binds is said at `PayloadLeafProof`.
    """

    document: Count
    documents: Count
    tree: DocumentTree
    document_path: _Path
    first: Count
    leaves: Annotated[tuple[ShownLeaf, ...], msgspec.Meta(min_length=1, max_length=MAX_RUN_LEAVES)]
    path: _RunPath

    @property
    def data(self) -> bytes:
        """The bytes of all leaves shown."""
        return b"".join(leaf.data for leaf in self.leaves)

    def verify(self, commit: bytes, account: bytes) -> bool:
        """Whether the leaves stand under this `payload_commit` in an event of this account."""
        hashes = [merkle.leaf_hash(leaf.inner + leaf.data) for leaf in self.leaves]
        root = merkle.run_root(hashes, self.first, self.tree.leaf_count, self.path)
        return root == self.tree.root and _stands(
            self.tree, self.document, self.documents, self.document_path, commit, account
        )


def _stands(
    tree: DocumentTree,
    document: int,
    documents: int,
    path: Sequence[bytes],
    commit: bytes,
    account: bytes,
) -> bool:
    """Whether a document's tree stands under a `payload_commit` (P3)."""
    found = merkle.inclusion_root(merkle.leaf_hash(encode(tree)), document, documents, path)
    return found is not None and H("payload", account, found) == commit


def prove_leaf(payload: Payload, document: int, leaf: int) -> PayloadLeafProof:
    """The proof of one leaf (P4). ValueError when the payload has no such leaf."""
    source, document_path = _document_to_prove(payload, document)
    leaf_path = merkle.inclusion_path(payload.leaf_source(document), leaf, len(source.slices))
    return PayloadLeafProof(
        document,
        len(payload.documents),
        payload.trees[document],
        document_path,
        leaf,
        inner_hash(source.salt, leaf),
        source.slices[leaf],
        tuple(leaf_path),
    )


def prove_run(payload: Payload, document: int, first: int, stop: int) -> PayloadRunProof:
    """The proof of leaves [first, stop) of a document (P4).

    ValueError when the payload has no such leaves, or for more than MAX_RUN_LEAVES.
    """
    source, document_path = _document_to_prove(payload, document)
    if stop - first > MAX_RUN_LEAVES:
        raise ValueError(f"{stop - first:,} leaves: at most {MAX_RUN_LEAVES:,} in one proof")
    path = merkle.run_path(payload.leaf_source(document), first, stop, len(source.slices))
    return PayloadRunProof(
        document,
        len(payload.documents),
        payload.trees[document],
        document_path,
        first,
        tuple(
            ShownLeaf(inner_hash(source.salt, leaf), source.slices[leaf])
            for leaf in range(first, stop)
        ),
        tuple(path),
    )


def _document_to_prove(
    payload: Payload, document: int
) -> tuple[PayloadDocument, tuple[bytes, ...]]:
    """A document of a payload with its path. ValueError when it is not there, or was erased."""
    if not 0 <= document < len(payload.documents):
        raise ValueError(f"no document {document} among {len(payload.documents)}")
    source = payload.documents[document]
    if source.erased is not None:
        raise ValueError(f"document {document} was erased")
    count = len(payload.documents)
    return source, tuple(merkle.inclusion_path(payload.tree_source, document, count))
