"""Evidence: what shows that the spans of a receipt stand where it says, without the corpus.

- T6 A span proof shows that output tokens [start, start + length) equal tokens
  [token, token + length) of one document under a contribution's `payload_commit`: it carries the
  leaves that hold them with their proof (P4). Leaf i holds tokens from 64i on (T4). A
  commitment of another account's payload (P3) has no span.
- T7 Evidence is a payload whose documents are branches, one a contribution, in the order of ids: a
  branch is the canonical array `[contribution id, [span proof, ...], [passage, ...]]`, cut at 4,096
  bytes. A branch can so be served, proved and erased alone.
- T12 A passage `[output, document, first, end]` says that tokens [first, end) of that document
  stood in the prompt of that output. Passages of one branch ascend and do not overlap; those of
  one evidence have 134,217,728 tokens together at most, which whoever audits it has to read.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from openledger_node.attribution.canon import CANON_VERSION, canonical_text
from openledger_node.attribution.leaves import LEAF_TOKENS
from openledger_node.attribution.reference import MAX_OUTPUT_TOKENS, Span
from openledger_node.ledger.encoding import decode_as, encode
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.payload import (
    Payload,
    PayloadDocument,
    cut_binary,
    decode_payload,
    encode_payload,
    erase_documents,
)
from openledger_node.ledger.payload_proofs import PayloadRunProof, prove_run

MAX_SPANS: Final = MAX_OUTPUT_TOKENS
MAX_PASSAGES: Final = 100_000
MAX_PASSAGE_TOKENS: Final = 2**27
"""Of all prompts of a receipt: 10,000 of 13,000 tokens each; an audit reads them in a minute."""

Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
Token = Annotated[int, Meta(ge=0, le=2**30)]


class _Array(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Base of the arrays here."""


class SpanProof(_Array, frozen=True):
    """T6. `output` counts the outputs of a receipt from 0; `run` shows the document's leaves."""

    output: Annotated[int, Meta(ge=0, lt=10_000)]
    start: Token
    length: Annotated[int, Meta(ge=1, le=MAX_OUTPUT_TOKENS)]
    token: Token
    run: PayloadRunProof

    @property
    def document(self) -> int:
        """The document's index in its contribution."""
        return self.run.document

    def verify(self, commit: bytes, account: bytes, output_tokens: Sequence[bytes]) -> bool:
        """Whether the span stands in `account`'s contribution with `commit` and in this output."""
        first = self.token // LEAF_TOKENS
        last = (self.token + self.length - 1) // LEAF_TOKENS
        if (self.run.first, len(self.run.leaves)) != (first, last - first + 1):
            return False
        if self.start + self.length > len(output_tokens) or not self.run.verify(commit, account):
            return False
        text = canonical_text(self.run.data)
        if text is None:
            return False
        begin = self.token - first * LEAF_TOKENS
        shown: list[bytes] = text.tokens()[begin : begin + self.length]
        return shown == list(output_tokens[self.start : self.start + self.length])


class Passage(_Array, frozen=True, order=True):
    """T12. A stretch of a document that was placed in the prompt of an output."""

    output: Annotated[int, Meta(ge=0, lt=10_000)]
    document: Token
    first: Token
    end: Annotated[int, Meta(ge=1, le=2**30)]


class Branch(_Array, frozen=True):
    """The spans of one contribution, and its passages that were placed in prompts (T7, T12)."""

    contribution_id: Hash
    spans: Annotated[tuple[SpanProof, ...], Meta(max_length=MAX_SPANS)]
    passages: Annotated[tuple[Passage, ...], Meta(max_length=MAX_PASSAGES)] = ()


_span_decoder = msgspec.msgpack.Decoder(SpanProof)
_branch_decoder = msgspec.msgpack.Decoder(Branch)


def prove_span(span: Span, payload: Payload, output: int = 0) -> SpanProof:
    """The proof of a span, from the payload of its contribution."""
    first = span.token // LEAF_TOKENS
    last = (span.token + span.length - 1) // LEAF_TOKENS
    run = prove_run(payload, span.document, first, last + 1)
    return SpanProof(output, span.start, span.length, span.token, run)


def decode_span_proof(data: bytes) -> SpanProof:
    """BadInput when `data` is not a canonical span proof."""
    return decode_as(_span_decoder, data, "the span proof")


def encode_evidence(
    account: bytes, branches: Sequence[Branch], salts: Mapping[bytes, bytes]
) -> bytes:
    """The evidence payload of a receipt of this account (T7).

    `salts` has a fresh salt of 32 bytes for each contribution id. BadInput when the passages break
    a rule.
    """
    check_passages(branches)
    documents = [
        PayloadDocument(salts[branch.contribution_id], cut_binary(encode(branch)), 0)
        for branch in sorted(branches, key=lambda branch: branch.contribution_id)
    ]
    return encode_payload(account, CANON_VERSION, documents)


def decode_evidence(data: bytes) -> tuple[Branch, ...]:
    """The branches of an evidence payload but for those that were erased (P6).

    BadInput says what is wrong with it.
    """
    branches = tuple(
        decode_as(_branch_decoder, document.data, "an evidence branch")
        for document in decode_payload(data).documents
        if document.erased is None
    )
    ids = [branch.contribution_id for branch in branches]
    if sorted(set(ids)) != ids:
        raise BadInput("the branches of the evidence are not in the order of distinct ids")
    check_passages(branches)
    return branches


def erased_branches(data: bytes) -> int:
    """How many branches of an evidence payload were erased."""
    return sum(document.erased is not None for document in decode_payload(data).documents)


def without_branches(data: bytes, gone: Container[bytes]) -> bytes | None:
    """The evidence payload without the branches of some contributions; None if it has none of them.

    Its commitment stays (P6). BadInput when it is malformed.
    """
    payload = decode_payload(data)
    chosen = [
        index
        for index, document in enumerate(payload.documents)
        if document.erased is None
        and decode_as(_branch_decoder, document.data, "an evidence branch").contribution_id in gone
    ]
    return erase_documents(payload, chosen) if chosen else None


def check_passages(branches: Sequence[Branch]) -> None:
    """BadInput unless the passages of each branch ascend, have tokens and do not overlap, and all
    of them are few enough to be read again (T12).
    """
    total = 0
    for branch in branches:
        total += sum(passage.end - passage.first for passage in branch.passages)
        _check_order(branch.passages)
    if total > MAX_PASSAGE_TOKENS:
        raise BadInput(
            f"{total:,} tokens stood in the prompts of one receipt; at most "
            f"{MAX_PASSAGE_TOKENS:,} are allowed",
            hint="record fewer uses at a time, or name shorter passages",
        )


def _check_order(passages: Sequence[Passage]) -> None:
    for passage in passages:
        if passage.first >= passage.end:
            raise BadInput("a passage of the evidence has no tokens")
    for one, other in pairwise(passages):
        place = (other.output, other.document)
        if (one.output, one.document) > place or (
            (one.output, one.document) == place and one.end > other.first
        ):
            raise BadInput("the passages of the evidence overlap or do not ascend")
