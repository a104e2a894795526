"""The proof of a span: that a stretch of an output stands in a contribution.

`span`: `[contribution event, receipt event, output leaves, span proof]`. The two events are
proved as in proofs.py and bind the contribution's payload commitment and the receipt's output root,
each with the account that its log is of (P3); the output leaves show the output's tokens under that
root, the span proof the same tokens under the contribution's commitment. A contribution that names
another account's payload has no span. Neither text is needed beyond the leaves shown.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from openledger_node.attribution.canon import canonical_text
from openledger_node.attribution.evidence import SpanProof, decode_evidence
from openledger_node.attribution.leaves import LEAF_TOKENS
from openledger_node.exchange.proofs import EventProof, check_event, event_proof
from openledger_node.ledger.errors import Refused, UsageError, VerificationFailed
from openledger_node.ledger.events import parse_event
from openledger_node.ledger.genesis import Genesis
from openledger_node.ledger.kinds import DataContribute, UseReceipt, parse_body
from openledger_node.ledger.payload import decode_payload
from openledger_node.ledger.payload_proofs import PayloadRunProof, prove_run
from openledger_node.node.claims import own_payload
from openledger_node.node.core import NodeCore
from openledger_node.node.reading import Located, body_of, must_find
from openledger_node.store.snapshot import Snapshot

MAX_TEXT_SHOWN_CHARS: Final = 400


class SpanParts(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What a span proof carries."""

    contribution: EventProof
    receipt: EventProof
    output: PayloadRunProof
    span: SpanProof


def span_parts(core: NodeCore, snapshot: Snapshot, receipt: Located, number: int) -> SpanParts:
    """The proof of the `number`-th span (from 0) in the evidence of a receipt."""
    body = body_of(receipt)
    provider = receipt.log.genesis.account_id
    evidence = own_payload(snapshot, provider, receipt.event.payload_commit)
    output = own_payload(snapshot, provider, body.output_root)
    if evidence is None or output is None:
        raise Refused(
            "the output and evidence of this receipt are not held here",
            hint="its provider holds them, and can prove its spans",
            code="no_payload",
        )
    spans = [
        (branch.contribution_id, span)
        for branch in decode_evidence(evidence)
        for span in branch.spans
    ]
    if not 0 <= number < len(spans):
        raise UsageError(
            f"the receipt has {len(spans)} spans: there is no span {number}",
            hint="`oln explain RECEIPT` lists them; the first is 0",
        )
    contribution_id, span = spans[number]
    payload = decode_payload(output)
    first = span.start // LEAF_TOKENS
    last = (span.start + span.length - 1) // LEAF_TOKENS
    shown = prove_run(payload, span.output, first, last + 1)
    contribution = must_find(snapshot, contribution_id)
    return SpanParts(
        event_proof(core, snapshot, contribution),
        event_proof(core, snapshot, receipt),
        shown,
        span,
    )


def check_span(genesis: Genesis, parts: SpanParts) -> dict[str, Any]:
    """Facts of a span proof. VerificationFailed says what does not hold."""
    shown = check_event(genesis, parts.contribution)
    used = check_event(genesis, parts.receipt)
    source = parse_event(parts.contribution.leaf)
    receipt = parse_event(parts.receipt.leaf)
    contribution, use = parse_body(source), parse_body(receipt)
    if not isinstance(contribution, DataContribute) or not isinstance(use, UseReceipt):
        raise VerificationFailed("a span proof has a contribution and a receipt")
    provider = parts.receipt.genesis.account_id
    tokens, text = output_tokens(parts.output, parts.span, use, provider)
    span = parts.span
    # Counted from the first leaf shown: a file may claim a place at token 2^30.
    here = msgspec.structs.replace(span, start=span.start % LEAF_TOKENS)
    commit, contributor = source.payload_commit, parts.contribution.genesis.account_id
    if commit is None or not here.verify(commit, contributor, tokens):
        raise VerificationFailed("the span does not stand in the contribution and the output")
    if span.run.documents != contribution.documents:
        raise VerificationFailed("the span names a document outside the contribution")
    return {
        "receipt_id": used["event_id"],
        "contribution_id": shown["event_id"],
        "title": contribution.title,
        "contributor": shown["account"],
        "provider": used["account"],
        "output": span.output,
        "tokens": [span.start, span.start + span.length],
        "document": span.document,
        "document_tokens": [span.token, span.token + span.length],
        "text": text,
        "final": shown["final"] and used["final"],
    }


def output_tokens(
    shown: PayloadRunProof, span: SpanProof, use: UseReceipt, provider: bytes
) -> tuple[list[bytes], str]:
    """The tokens of the output's leaves shown, from their first on, and the text shown.

    `provider` is the account of the log that holds the receipt.
    """
    place = span.start // LEAF_TOKENS, span.output, use.uses
    fits = (shown.first, shown.document, shown.documents) == place
    if not fits or not shown.verify(use.output_root, provider):
        raise VerificationFailed("the output shown is not the one that the receipt names")
    text = canonical_text(shown.data)
    if text is None:
        raise VerificationFailed("the output shown is not text")
    return text.tokens(), shown.data.decode("utf-8", "replace")[:MAX_TEXT_SHOWN_CHARS]
