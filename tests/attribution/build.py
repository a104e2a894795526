"""Short ways to make scopes, texts and payloads for the tests of attribution."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from openledger_node.attribution.canon import canonical_text
from openledger_node.attribution.leaves import cut_document
from openledger_node.attribution.reference import Attribution
from openledger_node.attribution.scope import Scope, ScopeDocument
from openledger_node.ledger.payload import Payload, PayloadDocument
from tests.attribution.oracles import tokens_of

AUTHOR = b"author" + bytes(26)

Place = tuple[bytes, int, int]
"""(contribution id, document, token)"""


def contribution_id(n: int) -> bytes:
    return n.to_bytes(32, "big")


def words(text: str | bytes) -> list[bytes]:
    """The canonical tokens of a text."""
    found = canonical_text(text.encode() if isinstance(text, str) else text)
    assert found is not None
    return found.tokens()


def document(
    n: int, tokens: list[bytes], *, commons: bool = False, index: int = 0
) -> ScopeDocument:
    """Document `index` of the n-th contribution in ledger order, owned by the n-th account."""
    return ScopeDocument(
        contribution_id(n), (n, b"", 0), index, contribution_id(n), tokens, commons
    )


def weights_of(tokens: Sequence[bytes]) -> list[int]:
    """What the tokens weigh, by the oracle."""
    read = tokens_of(b" ".join(tokens))
    assert read is not None
    return [weight for _, _, _, weight in read]


def places(found: Attribution, scope: Scope) -> list[Place | None]:
    """Where each output token comes from; checks that it belongs to one span, cut or neither."""
    result: list[Place | None] = [None] * found.token_count
    cut = {token for start, end in found.cuts for token in range(start, end)}
    for span in found.spans:
        source = scope.sources[span.source]
        assert (source.contribution_id, source.document) == (span.contribution_id, span.document)
        for k in range(span.length):
            assert result[span.start + k] is None, "a token belongs to two spans"
            assert span.start + k not in cut, "a token that is cut belongs to a span"
            result[span.start + k] = (span.contribution_id, span.document, span.token + k)
    assert found.unattributed_tokens == result.count(None)
    return result


def payload(*documents: bytes) -> Payload:
    """A payload of these documents for AUTHOR, with salts that follow from their places."""
    cuts = [cut_document(data) for data in documents]
    return Payload(
        1,
        AUTHOR,
        tuple(
            PayloadDocument(hashlib.sha256(b"salt %d" % index).digest(), cut.slices, cut.tokens)
            for index, cut in enumerate(cuts)
        ),
    )
