"""Derivation maps: which tokens of a contribution stand in which earlier contribution, committed.

- T9 An entry [document, start, length, contribution, source document, source token] says that
  tokens [start, start + length) of a document belong to another contribution, where they stand from
  the source token on. A map is its entries, ascending by (document, start); no token is in two.
- T10 The map root is H("derivation", subject id, number of entries, RFC 6962 root over the entries'
  encodings). It has no salt: a map holds positions and ids, no text, and who computes the same map
  gets the same root. A proof of one entry is its index and path.
- T11 A map travels as the payload of the `data.derivation` that commits to it, in one document: the
  canonical array [subject id, [source id, ...], [[document, start, length, index of the source,
  source document, source token], ...]], cut at every 4,096 bytes, sources ascending.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from openledger_node.attribution.canon import CANON_VERSION
from openledger_node.ledger import merkle
from openledger_node.ledger.encoding import H, decode_as, encode
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.kinds import MAX_SOURCES
from openledger_node.ledger.payload import (
    MAX_DOCUMENTS,
    PayloadDocument,
    cut_binary,
    decode_payload,
    encode_payload,
)
from openledger_node.ledger.payload_proofs import MAX_PATH_HASHES

MAX_ENTRIES: Final = 2**21
"""About 32 MB of map: a text of 100 MB with an insertion or deletion at every tenth word."""
MAX_TOKEN: Final = 2**30
"""As many as the largest document has bytes."""

_Id = Annotated[bytes, Meta(min_length=32, max_length=32)]
_Token = Annotated[int, Meta(ge=0, le=MAX_TOKEN)]
_Length = Annotated[int, Meta(ge=1, le=MAX_TOKEN)]
_Document = Annotated[int, Meta(ge=0, lt=MAX_DOCUMENTS)]
_Count = Annotated[int, Meta(ge=0, le=MAX_ENTRIES)]
_Path = Annotated[tuple[_Id, ...], Meta(max_length=MAX_PATH_HASHES)]


class _Array(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """Base of the arrays here."""


class MapEntry(_Array, frozen=True):
    """T9. `contribution` owns the tokens; `source_document` is one of its documents."""

    document: _Document
    start: _Token
    length: _Length
    contribution: _Id
    source_document: _Document
    source_token: _Token

    @property
    def end(self) -> int:
        return self.start + self.length


class MapEntryProof(_Array, frozen=True):
    """That `entry` is number `index` of the `entries` of a map (T10)."""

    index: _Count
    entries: _Count
    entry: MapEntry
    path: _Path

    def verify(self, map_root: bytes, subject: bytes) -> bool:
        """Whether the entry stands in the map of `subject` with this root."""
        leaf = merkle.leaf_hash(encode(self.entry))
        found = merkle.inclusion_root(leaf, self.index, self.entries, self.path)
        return found is not None and H("derivation", subject, self.entries, found) == map_root


class _Row(_Array, frozen=True):
    document: _Document
    start: _Token
    length: _Length
    source: Annotated[int, Meta(ge=0, lt=MAX_SOURCES)]
    source_document: _Document
    source_token: _Token


class _Container(_Array, frozen=True):
    subject: _Id
    sources: Annotated[tuple[_Id, ...], Meta(max_length=MAX_SOURCES)]
    rows: Annotated[tuple[_Row, ...], Meta(max_length=MAX_ENTRIES)]


_container_decoder = msgspec.msgpack.Decoder(_Container)
_proof_decoder = msgspec.msgpack.Decoder(MapEntryProof)


def normal_form(entries: Iterable[MapEntry]) -> tuple[MapEntry, ...]:
    """Entries in order, those that go on in both documents joined.

    ValueError when a token is in two.
    """
    ordered: list[MapEntry] = []
    for entry in sorted(entries, key=lambda item: (item.document, item.start)):
        last = ordered[-1] if ordered else None
        if last is not None and last.document == entry.document:
            if last.end > entry.start:
                raise ValueError("a token stands twice in a derivation map")
            if _goes_on(last, entry):
                length = last.length + entry.length
                ordered[-1] = msgspec.structs.replace(last, length=length)
                continue
        ordered.append(entry)
    return tuple(ordered)


def _goes_on(last: MapEntry, entry: MapEntry) -> bool:
    return (
        last.end == entry.start
        and (last.contribution, last.source_document) == (entry.contribution, entry.source_document)
        and last.source_token + last.length == entry.source_token
    )


def tokens_by_source(entries: Iterable[MapEntry]) -> dict[bytes, int]:
    """{contribution id: tokens}, ids ascending: what a `data.derivation` states in the open."""
    counts: dict[bytes, int] = {}
    for entry in entries:
        counts[entry.contribution] = counts.get(entry.contribution, 0) + entry.length
    return dict(sorted(counts.items()))


def map_root(subject: bytes, entries: Sequence[MapEntry]) -> bytes:
    """The root that a `data.derivation` commits to (T10): 32 bytes."""
    return H("derivation", subject, len(entries), merkle.root([encode(item) for item in entries]))


def prove_entry(entries: Sequence[MapEntry], index: int) -> MapEntryProof:
    """The proof of one entry (T10). ValueError when there is none of this index."""
    if not 0 <= index < len(entries):
        raise ValueError(f"no entry {index} among {len(entries)}")
    hashes = merkle.leaf_hashes([encode(item) for item in entries])
    path = tuple(merkle.inclusion_proof(hashes, index))
    return MapEntryProof(index, len(entries), entries[index], path)


def parse_entry_proof(data: bytes) -> MapEntryProof:
    """A proof of an entry. BadInput when malformed."""
    return decode_as(_proof_decoder, data, "the proof of a derivation entry")


def encode_map(subject: bytes, entries: Sequence[MapEntry]) -> bytes:
    """The map as its payload's document has it (T11)."""
    sources = sorted({entry.contribution for entry in entries})
    number = {source: index for index, source in enumerate(sources)}
    rows = [
        [e.document, e.start, e.length, number[e.contribution], e.source_document, e.source_token]
        for e in entries
    ]
    return encode([subject, sources, rows])


def decode_map(data: bytes) -> tuple[bytes, tuple[MapEntry, ...]]:
    """(subject id, entries) of an encoded map. BadInput when malformed or not in order (T9)."""
    found = decode_as(_container_decoder, data, "a derivation map")
    if list(found.sources) != sorted(set(found.sources)):
        raise BadInput("a derivation map whose sources are not in ascending order")
    entries = []
    used = set()
    end = (0, 0)
    for row in found.rows:
        if row.source >= len(found.sources):
            raise BadInput("a derivation map names a source that it does not list")
        if (row.document, row.start) < end:
            raise BadInput("a derivation map whose entries overlap or are not in ascending order")
        end = row.document, row.start + row.length
        used.add(row.source)
        source = found.sources[row.source]
        entries.append(
            MapEntry(
                row.document, row.start, row.length, source, row.source_document, row.source_token
            )
        )
    if len(used) != len(found.sources):
        raise BadInput("a derivation map lists a source that no entry names")
    return found.subject, tuple(entries)


def encode_map_payload(
    account: bytes, subject: bytes, entries: Sequence[MapEntry], salt: bytes
) -> bytes:
    """The payload of a `data.derivation` by `account` (T11); `salt`: 32 random bytes."""
    document = PayloadDocument(salt, cut_binary(encode_map(subject, entries)), 0)
    return encode_payload(account, CANON_VERSION, [document])


def decode_map_payload(
    data: bytes, subject: bytes, root: bytes, sources: Sequence[tuple[bytes, int]]
) -> tuple[MapEntry, ...]:
    """The entries in a payload. BadInput unless they are what a `data.derivation` commits to.

    `subject`, `root` and `sources` are those of its body.
    """
    payload = decode_payload(data)
    if len(payload.documents) != 1:
        raise BadInput(f"a derivation's payload has one document, not {len(payload.documents)}")
    named, entries = decode_map(payload.documents[0].data)
    if named != subject or map_root(subject, entries) != root:
        raise BadInput("a derivation map that is not the one committed to")
    if list(tokens_by_source(entries).items()) != list(sources):
        raise BadInput("a derivation map whose tokens are not those stated")
    return entries
