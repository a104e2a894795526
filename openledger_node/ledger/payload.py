"""Payloads: bytes kept beside the log under a commitment, erasable without a trace in the log.

- P1 A payload is a list of documents; a document is a 32-byte salt of its own, its bytes cut into
  leaves that cover them in order, and its number of text tokens (0 when it is not text).
- P2 The inner hash of leaf i is SHA-256(salt || u32 big-endian i). The document root is RFC 6962
  over leaves whose data is inner hash || leaf bytes.
- P3 `payload_commit` is H("payload", account_id, root): the account of the event that carries it,
  and RFC 6962 over msgpack [document root, leaves, tokens, bytes] of each document. In an event of
  any other account it commits to nothing: that event's payload is unbacked.
- P4 Salts never leave the container, and are erased with it: the commitment that stays in the log
  then links to nothing. Proofs of leaves are `payload_proofs`.
- P5 The container, in which a payload is kept and carried, is canonical msgpack
  ["oln/payload/1", canon version, account_id, [[salt, [leaf lengths], document bytes, tokens],
  ...]]. No leaf is empty; an empty document has none.
- P6 A document can be erased alone. It then stands in the container as [document root, leaves,
  bytes, tokens], with which the commitment is what it was; salt, leaves and text are gone.

Where documents are cut is the business of the layer that knows what they are: text as
docs/spec/attribution.md says, everything else by `cut_binary`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Annotated, Final

import msgspec

from openledger_node.ledger import merkle
from openledger_node.ledger.encoding import H, decode_as, encode
from openledger_node.ledger.errors import BadInput

CONTAINER: Final = "oln/payload/1"
SALT_BYTES: Final = 32
ACCOUNT_BYTES: Final = 32
BINARY_LEAF_BYTES: Final = 4_096

MAX_PAYLOAD_BYTES: Final = 2**32
"""A whole container; msgpack lengths end there too."""
MAX_DOCUMENTS: Final = 1_000_000
MAX_DOCUMENT_BYTES: Final = 2**30
MAX_LEAF_BYTES: Final = 512 * 1_024
"""As the largest event: what a peer must hold in memory to check one leaf."""
MAX_DOCUMENT_LEAVES: Final = 2**24
"""A text leaf but the last holds 64 tokens and so at least 127 bytes: 1 GiB has fewer than 2^24."""
MAX_CANON_VERSION: Final = 2**16 - 1

Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**32)]
_LeafLength = Annotated[int, msgspec.Meta(ge=1, le=MAX_LEAF_BYTES)]


@dataclass(frozen=True, slots=True)
class PayloadDocument:
    """One document with its salt (P1): `slices` are its leaves, in order and without gaps.

    Of one that was erased (P6) only `erased`, its tree, is left: no salt and no slices.
    """

    salt: bytes
    slices: tuple[bytes, ...]
    tokens: int
    erased: DocumentTree | None = None

    @property
    def data(self) -> bytes:
        """The document's bytes."""
        return b"".join(self.slices)

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.slices))


class DocumentTree(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What the commitment says of one document (P3)."""

    root: Hash
    leaf_count: Count
    tokens: Count
    size_bytes: Count


@dataclass(frozen=True)
class Payload:
    """A payload in memory: what `decode_payload` made of a container that is well-formed."""

    canon_version: int
    account: bytes
    documents: tuple[PayloadDocument, ...]

    @cached_property
    def trees(self) -> tuple[DocumentTree, ...]:
        """What is committed of each document (P2, P3). Hashes every byte, once."""
        return tuple(map(document_tree, self.documents))

    @cached_property
    def tree_source(self) -> merkle.NodeSource:
        """The tree over the documents, worked out once: what proofs of them are made from."""
        return merkle.kept_source_of_hashes([merkle.leaf_hash(encode(t)) for t in self.trees])

    def leaf_source(self, document: int) -> merkle.NodeSource:
        """The tree over a document's leaves, worked out once."""
        if document not in self._leaf_sources:
            hashes = document_leaf_hashes(self.documents[document])
            self._leaf_sources[document] = merkle.kept_source_of_hashes(hashes)
        return self._leaf_sources[document]

    @cached_property
    def _leaf_sources(self) -> dict[int, merkle.NodeSource]:
        return {}

    @cached_property
    def commit(self) -> bytes:
        """`payload_commit` (P3): 32 bytes."""
        return commitment(self.account, self.trees)


class _DocumentRecord(
    msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False
):
    """P5; of an erased document (P6) root, leaves, bytes and tokens."""

    salt: Annotated[bytes, msgspec.Meta(min_length=SALT_BYTES, max_length=SALT_BYTES)]
    leaf_lengths: (
        Annotated[tuple[_LeafLength, ...], msgspec.Meta(max_length=MAX_DOCUMENT_LEAVES)]
        | Annotated[int, msgspec.Meta(ge=0, le=MAX_DOCUMENT_LEAVES)]
    )
    data: (
        Annotated[bytes, msgspec.Meta(max_length=MAX_DOCUMENT_BYTES)]
        | Annotated[int, msgspec.Meta(ge=0, le=MAX_DOCUMENT_BYTES)]
    )
    tokens: Count


class _Container(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    name: str
    canon_version: Annotated[int, msgspec.Meta(ge=1, le=MAX_CANON_VERSION)]
    account: Hash
    documents: Annotated[tuple[_DocumentRecord, ...], msgspec.Meta(max_length=MAX_DOCUMENTS)]


_container_decoder = msgspec.msgpack.Decoder(_Container)

_OPENING: Final = b"\x94" + encode(CONTAINER)
_SHORTEST_INTEGERS: Final = {0xCC: 2, 0xCD: 3}
"""First byte of a canon version -> its length, where it takes more than one byte."""
_ACCOUNT_HEADER: Final = bytes([0xC4, ACCOUNT_BYTES])
CONTAINER_HEAD_BYTES: Final = len(_OPENING) + 3 + len(_ACCOUNT_HEADER) + ACCOUNT_BYTES
"""As many bytes as `container_account` needs of any container."""


def inner_hash(salt: bytes, leaf: int) -> bytes:
    """What stands before a leaf's bytes in the document tree (P2)."""
    return hashlib.sha256(salt + leaf.to_bytes(4, "big")).digest()


def document_leaf_hashes(document: PayloadDocument) -> list[bytes]:
    """The Merkle leaf hashes of a document (P2)."""
    salt, sha256 = document.salt, hashlib.sha256
    return [
        sha256(b"\0" + sha256(salt + leaf.to_bytes(4, "big")).digest() + data).digest()
        for leaf, data in enumerate(document.slices)
    ]


def document_tree(document: PayloadDocument) -> DocumentTree:
    """What is committed of a document (P3)."""
    if document.erased is not None:
        return document.erased
    root = merkle.root_of_hashes(document_leaf_hashes(document))
    return DocumentTree(root, len(document.slices), document.tokens, document.size_bytes)


def commitment(account: bytes, trees: Sequence[DocumentTree]) -> bytes:
    """`payload_commit` of documents with these trees in an event of this account (P3): 32 bytes."""
    return H("payload", account, merkle.root([encode(tree) for tree in trees]))


def cut_binary(data: bytes) -> tuple[bytes, ...]:
    """The leaves of a document that is not text: 4,096 bytes each, the last what is left."""
    return tuple(
        data[start : start + BINARY_LEAF_BYTES] for start in range(0, len(data), BINARY_LEAF_BYTES)
    )


def encode_payload(
    account: bytes, canon_version: int, documents: Sequence[PayloadDocument]
) -> bytes:
    """The container of these documents, for an event of this account (P5).

    BadInput when they break a limit of this module.
    """
    _check_count(len(documents))
    if len(account) != ACCOUNT_BYTES:
        raise BadInput(f"an account id of {len(account)} bytes, not {ACCOUNT_BYTES}")
    if not 1 <= canon_version <= MAX_CANON_VERSION:
        raise BadInput(f"canon version {canon_version} is not within 1 to {MAX_CANON_VERSION}")
    records = [_record(index, document) for index, document in enumerate(documents)]
    data = encode(_Container(CONTAINER, canon_version, account, tuple(records)))
    _check_size(len(data))
    return data


def _record(index: int, document: PayloadDocument) -> _DocumentRecord:
    """A document as the container has it. BadInput when it breaks a limit."""
    tree = document.erased
    if tree is not None:
        record = _DocumentRecord(tree.root, tree.leaf_count, tree.size_bytes, tree.tokens)
        _check_record(index, record)
        return record
    lengths = tuple(map(len, document.slices))
    if len(document.salt) != SALT_BYTES:
        raise BadInput(f"document {index} has a salt of {len(document.salt)} bytes, not 32")
    if lengths and not 1 <= min(lengths) <= max(lengths) <= MAX_LEAF_BYTES:
        raise BadInput(
            f"document {index} has a leaf that is empty or larger than {MAX_LEAF_BYTES:,} bytes"
        )
    record = _DocumentRecord(document.salt, lengths, document.data, document.tokens)
    _check_record(index, record)
    return record


def erase_documents(payload: Payload, chosen: Collection[int]) -> bytes:
    """The container of a payload without some of its documents (P6): its commitment stays."""
    kept = [
        erased_document(tree) if index in chosen else document
        for index, (document, tree) in enumerate(zip(payload.documents, payload.trees, strict=True))
    ]
    return encode_payload(payload.account, payload.canon_version, kept)


def erased_document(tree: DocumentTree) -> PayloadDocument:
    """What is left of a document that was erased."""
    return PayloadDocument(b"", (), tree.tokens, tree)


def decode_payload(data: bytes) -> Payload:
    """The payload in a container (P5).

    BadInput when the bytes are malformed, not canonical, or past a limit of this module. That the
    payload is the one committed to is for the caller to compare: `Payload.commit`.
    """
    _check_size(len(data))
    container = decode_as(_container_decoder, data, "the payload")
    if container.name != CONTAINER:
        raise BadInput(f"the payload's container is not {CONTAINER}")
    documents = []
    for index, record in enumerate(container.documents):
        _check_record(index, record)
        if isinstance(record.leaf_lengths, int) or isinstance(record.data, int):
            tree = _erased_tree(index, record)
            documents.append(erased_document(tree))
            continue
        bounds = accumulate(record.leaf_lengths, initial=0)
        slices = tuple(record.data[start:end] for start, end in pairwise(bounds))
        documents.append(PayloadDocument(record.salt, slices, record.tokens))
    return Payload(container.canon_version, container.account, tuple(documents))


def payload_commitment(data: bytes) -> bytes:
    """The `payload_commit` of a container: 32 bytes. BadInput as `decode_payload`."""
    return decode_payload(data).commit


def container_account(head: bytes) -> bytes:
    """The account in a container's first CONTAINER_HEAD_BYTES; the rest is not looked at (P5).

    BadInput when no container begins so.
    """
    start = len(_OPENING)
    version_byte = head[start] if len(head) > start else 0
    start += _SHORTEST_INTEGERS.get(version_byte, 1)
    account_at = start + len(_ACCOUNT_HEADER)
    account = head[account_at : account_at + ACCOUNT_BYTES]
    if (
        not head.startswith(_OPENING)
        or head[start:account_at] != _ACCOUNT_HEADER
        or len(account) != ACCOUNT_BYTES
    ):
        raise BadInput(f"the payload's container is not {CONTAINER}")
    return account


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_PAYLOAD_BYTES:
        raise BadInput(
            f"a payload of {size_bytes:,} bytes; at most {MAX_PAYLOAD_BYTES:,} are allowed"
        )


def _check_count(documents: int) -> None:
    if documents > MAX_DOCUMENTS:
        raise BadInput(f"{documents:,} documents; a payload holds at most {MAX_DOCUMENTS:,}")


def _erased_tree(index: int, record: _DocumentRecord) -> DocumentTree:
    """The tree of an erased document (P6). BadInput when no document has such a one."""
    leaves, size_bytes = record.leaf_lengths, record.data
    if not isinstance(leaves, int) or not isinstance(size_bytes, int):
        raise BadInput(f"document {index} is neither whole nor erased")
    if not leaves <= size_bytes <= leaves * MAX_LEAF_BYTES:
        raise BadInput(f"document {index} has {size_bytes:,} bytes in {leaves:,} leaves")
    return DocumentTree(record.salt, leaves, record.tokens, size_bytes)


def _check_record(index: int, record: _DocumentRecord) -> None:
    """What the field types alone do not say, and what constructing a record does not check."""
    lengths = record.leaf_lengths
    leaves = lengths if isinstance(lengths, int) else len(lengths)
    size_bytes = record.data if isinstance(record.data, int) else len(record.data)
    if size_bytes > MAX_DOCUMENT_BYTES or leaves > MAX_DOCUMENT_LEAVES:
        raise BadInput(
            f"document {index} has {size_bytes:,} bytes in {leaves:,} leaves; at "
            f"most {MAX_DOCUMENT_BYTES:,} bytes in {MAX_DOCUMENT_LEAVES:,} leaves are allowed"
        )
    if not isinstance(lengths, int) and sum(lengths) != size_bytes:
        raise BadInput(f"document {index} has leaves that do not add up to its bytes")
    if not 0 <= record.tokens <= size_bytes:
        raise BadInput(f"document {index} counts {record.tokens} tokens in {size_bytes} bytes")
