"""Payloads over a link: a payload as frames, and frames into a payload that is verified.

- Y19 An answer to PAYLOAD_WANT gives the trees of all documents (P3), then, from the document
  asked for on, each document: salt, leaf lengths and leaf hashes from leaf 0, in one or more
  DOCUMENT frames (one without leaves too); then its leaves in PIECE frames of whole leaves, in the
  first document from the leaf asked for on. A document that was erased (P6) is one DOCUMENT frame
  with a salt of zeros and no leaves.
- Y20 The trees must give the commitment together with the account of the event's log (P3), a
  document's leaf hashes its root, its lengths its bytes, and each leaf its hash (P2). Each is
  checked before anything that rests on it is kept. Of erased documents as many are taken as whoever
  asked allows.

The canon version is no part of the commitment: who has the event compares it with the event.

An intake holds the bytes of the documents so far and, of the one under way, 36 bytes a leaf. What
it may take is bounded before it comes: by the trees, against the size that the event states.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from openledger_node.ledger.encoding import decode_as, encode
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.merkle import HASH_BYTES, root_of_hashes
from openledger_node.ledger.payload import (
    MAX_DOCUMENT_BYTES,
    MAX_DOCUMENT_LEAVES,
    MAX_DOCUMENTS,
    MAX_LEAF_BYTES,
    MAX_PAYLOAD_BYTES,
    SALT_BYTES,
    DocumentTree,
    Payload,
    PayloadDocument,
    commitment,
    document_leaf_hashes,
    encode_payload,
    erased_document,
    inner_hash,
)
from openledger_node.sync.events import DocumentCame, PayloadHeadCame, PieceCame
from openledger_node.sync.faults import fault
from openledger_node.sync.messages import U32_BYTES, Document, PayloadHead, Piece

MAX_TREES_A_FRAME: Final = 8_192
"""About 50 bytes each."""
MAX_LEAVES_A_FRAME: Final = 8_192
"""36 bytes each in DOCUMENT."""
PIECE_BYTES: Final = 256 * 1_024
"""Of leaves in a PIECE, unless one leaf alone has more."""
ERASED_SALT: Final = bytes(SALT_BYTES)
DOCUMENT_OVERHEAD_BYTES: Final = 39
"""What a container has for a document besides its bytes and a byte for each leaf, at least (P5)."""

_Trees = Annotated[tuple[DocumentTree, ...], Meta(max_length=MAX_DOCUMENTS)]
_trees_decoder = msgspec.msgpack.Decoder(_Trees)


def plan(
    want_id: int, payload: Payload, document: int = 0, leaf: int = 0
) -> Iterator[PayloadHead | Document | Piece]:
    """The answer to a PAYLOAD_WANT that begins at a leaf of a document, frame by frame (Y19).

    A beginning past the payload's end gives the trees alone.
    """
    trees = payload.trees
    starts = range(0, len(trees), MAX_TREES_A_FRAME) or range(1)
    for part, start in enumerate(starts):
        yield PayloadHead(
            want_id,
            part,
            int(part + 1 == len(starts)),
            payload.canon_version,
            encode(trees[start : start + MAX_TREES_A_FRAME]),
        )
    for index, source in enumerate(payload.documents[document:], document):
        yield from _document_frames(want_id, index, source)
        yield from _pieces(want_id, index, source, leaf if index == document else 0)


def _document_frames(want_id: int, index: int, source: PayloadDocument) -> Iterator[Document]:
    if source.erased is not None:
        yield Document(want_id, index, 0, ERASED_SALT, b"", b"")
        return
    hashes = document_leaf_hashes(source)
    for first in range(0, len(hashes), MAX_LEAVES_A_FRAME) or range(1):
        stop = first + MAX_LEAVES_A_FRAME
        lengths = b"".join(
            len(leaf).to_bytes(U32_BYTES, "big") for leaf in source.slices[first:stop]
        )
        yield Document(want_id, index, first, source.salt, lengths, b"".join(hashes[first:stop]))


def _pieces(want_id: int, index: int, source: PayloadDocument, first: int) -> Iterator[Piece]:
    piece: list[bytes] = []
    size_bytes = 0
    for leaf in source.slices[first:]:
        if piece and size_bytes + len(leaf) > PIECE_BYTES:
            yield Piece(want_id, index, first, b"".join(piece))
            first += len(piece)
            piece, size_bytes = [], 0
        piece.append(leaf)
        size_bytes += len(leaf)
    if piece:
        yield Piece(want_id, index, first, b"".join(piece))


@dataclass(slots=True)
class _Half:
    """A document under way: `slices` are verified leaves; lengths and hashes are to come first."""

    slices: list[bytes] = field(default_factory=list)
    salt: bytes | None = None
    lengths: bytearray = field(default_factory=bytearray)
    hashes: bytearray = field(default_factory=bytearray)
    is_known: bool = False
    """All lengths and hashes have come, and are those of the tree."""

    def length(self, leaf: int) -> int:
        return int.from_bytes(self.lengths[U32_BYTES * leaf : U32_BYTES * (leaf + 1)], "big")

    def hash(self, leaf: int) -> bytes:
        return bytes(self.hashes[HASH_BYTES * leaf : HASH_BYTES * (leaf + 1)])


class PayloadIntake:
    """Takes a payload from one peer after another; every call verifies what it is given (Y20)."""

    def __init__(
        self,
        commit: bytes,
        account: bytes,
        max_bytes: int = MAX_PAYLOAD_BYTES,
        *,
        may_lack: int = 0,
    ) -> None:
        """The event's `payload_commit`, its log's account, and what its container may have.

        `may_lack`: how many documents may be erased (P6).
        """
        self._may_lack = may_lack
        self._commit = commit
        self._account = account
        self._max_bytes = min(max_bytes, MAX_PAYLOAD_BYTES)
        self._trees: list[DocumentTree] = []
        self._trees_are_whole = False
        self._least_bytes = 0
        self._canon_version = 0
        self._documents: list[PayloadDocument] = []
        self._half = _Half()

    @property
    def is_whole(self) -> bool:
        """Whether all has come."""
        return self._trees_are_whole and len(self._documents) == len(self._trees)

    @property
    def lacks(self) -> bool:
        """Whether documents of it have come as erased ones."""
        return any(document.erased is not None for document in self._documents)

    @property
    def resume_point(self) -> tuple[int, int]:
        """(document, leaf) from which another PAYLOAD_WANT asks for the rest."""
        return len(self._documents), len(self._half.slices)

    def restart(self) -> None:
        """Before the answer to another PAYLOAD_WANT, from `resume_point`: verified leaves stay."""
        self._trees, self._trees_are_whole, self._least_bytes = [], False, 0
        half = self._half
        self._half = _Half(half.slices, half.salt if half.slices else None)

    def container(self) -> bytes:
        """The whole payload's container (P5). ValueError before `is_whole`."""
        if not self.is_whole:
            raise ValueError("the payload is not whole")
        return encode_payload(self._account, self._canon_version, self._documents)

    def take(self, event: PayloadHeadCame | DocumentCame | PieceCame) -> None:
        """The next frame. PeerFault `bad_payload`, `too_large`, `lengths`, `order`, `malformed`."""
        if isinstance(event, PayloadHeadCame):
            self._take_trees(event)
        elif isinstance(event, DocumentCame):
            self._take_document(event)
        else:
            self._take_piece(event)

    def _take_trees(self, event: PayloadHeadCame) -> None:
        if self._trees_are_whole:
            raise fault("order", "trees of a payload after the last of them")
        try:
            trees = decode_as(_trees_decoder, event.trees, "a payload's trees")
        except BadInput as error:
            raise fault("malformed", error.message) from None
        if not trees and not event.is_last:
            raise fault("malformed", "a part of a payload's trees without any, and not the last")
        for tree in trees:
            _check_tree(tree)
            self._least_bytes += DOCUMENT_OVERHEAD_BYTES + tree.leaf_count + tree.size_bytes
        self._trees += trees
        if self._least_bytes > self._max_bytes or len(self._trees) > MAX_DOCUMENTS:
            raise fault("too_large", f"a payload of more than {self._max_bytes:,} bytes")
        if event.is_last:
            if commitment(self._account, self._trees) != self._commit:
                raise fault("bad_payload", "a payload's trees that do not give its commitment")
            self._trees_are_whole = True
            self._canon_version = event.canon_version

    def _current_tree(self, document: int) -> DocumentTree:
        if not self._trees_are_whole or self.is_whole or document != len(self._documents):
            raise fault("order", f"document {document} of a payload out of turn")
        return self._trees[document]

    def _take_document(self, event: DocumentCame) -> None:
        tree, half = self._current_tree(event.document), self._half
        if self._is_erased(event, tree):
            self._may_lack -= 1
            self._documents.append(erased_document(tree))
            self._half = _Half()
            return
        count, odd = divmod(len(event.lengths), U32_BYTES)
        if odd or len(event.hashes) != count * HASH_BYTES:
            raise fault("lengths", "leaf lengths and leaf hashes of different numbers")
        if half.is_known or event.first != len(half.lengths) // U32_BYTES:
            raise fault("order", f"leaf hashes from {event.first} on, out of turn")
        if half.salt not in {None, event.salt}:
            raise fault("bad_payload", "a document with two salts")
        if event.first + count > tree.leaf_count or (not count and tree.leaf_count):
            raise fault("bad_payload", "leaf hashes of another number than the tree has leaves")
        half.salt = event.salt
        half.lengths += event.lengths
        half.hashes += event.hashes
        if event.first + count == tree.leaf_count:
            self._check_half(tree)
            self._end_if_whole(tree)

    def _is_erased(self, event: DocumentCame, tree: DocumentTree) -> bool:
        bare = event.salt == ERASED_SALT and not event.lengths and not event.hashes
        return self._may_lack > 0 and bare and tree.leaf_count > 0 and not self._half.slices

    def _check_half(self, tree: DocumentTree) -> None:
        """All lengths and hashes of a document have come."""
        half = self._half
        lengths = list(map(half.length, range(tree.leaf_count)))
        if lengths and not 1 <= min(lengths) <= max(lengths) <= MAX_LEAF_BYTES:
            raise fault("lengths", f"a leaf has 1 to {MAX_LEAF_BYTES:,} bytes")
        if sum(lengths) != tree.size_bytes:
            raise fault("bad_payload", "leaf lengths that do not add up to the document")
        if lengths[: len(half.slices)] != list(map(len, half.slices)):
            raise fault("bad_payload", "other leaf lengths than those of the leaves at hand")
        if root_of_hashes(list(map(half.hash, range(tree.leaf_count)))) != tree.root:
            raise fault("bad_payload", "leaf hashes that do not give the document's root")
        half.is_known = True

    def _take_piece(self, event: PieceCame) -> None:
        tree, half = self._current_tree(event.document), self._half
        if not half.is_known or half.salt is None or event.first != len(half.slices):
            raise fault("order", f"leaf {event.first} of a payload's document out of turn")
        at = 0
        while at < len(event.data):
            leaf = len(half.slices)
            if leaf == tree.leaf_count:
                raise fault("lengths", "a piece that goes past its document")
            data = event.data[at : at + half.length(leaf)]
            inner = inner_hash(half.salt, leaf)
            if hashlib.sha256(b"\0" + inner + data).digest() != half.hash(leaf):
                raise fault(
                    "bad_payload", f"leaf {leaf} of document {event.document} is not its own"
                )
            half.slices.append(data)
            at += len(data)
        self._end_if_whole(tree)

    def _end_if_whole(self, tree: DocumentTree) -> None:
        half = self._half
        if half.salt is not None and len(half.slices) == tree.leaf_count:
            self._documents.append(PayloadDocument(half.salt, tuple(half.slices), tree.tokens))
            self._half = _Half()


def _check_tree(tree: DocumentTree) -> None:
    """What every container keeps to (P5), so that no holder of a payload can break it."""
    if tree.size_bytes > MAX_DOCUMENT_BYTES or tree.leaf_count > MAX_DOCUMENT_LEAVES:
        raise fault("too_large", f"a document of {tree.size_bytes:,} bytes")
    least, most = tree.leaf_count, tree.leaf_count * MAX_LEAF_BYTES
    if not least <= tree.size_bytes <= most or tree.tokens > tree.size_bytes:
        raise fault("bad_payload", "a document tree that no document has")
