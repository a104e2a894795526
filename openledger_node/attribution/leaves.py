"""Where a document is cut into leaves.

- T4 Leaf i of a text is its original bytes from the start of token 64 i to the start of token
  64 (i + 1); the first begins at byte 0, the last ends at the end. A text without tokens is one
  leaf, an empty one none.
- T5 A document that is not text is cut at every 4,096 bytes and has no tokens. So is a text whose
  separators would make a leaf larger than a payload takes.
- T8 Nothing is found in a registered document whose leaves or number of tokens differ from these.

A leaf begins and ends where tokens do, so its own bytes give the same tokens as the document does
there: a proof needs no bytes beyond the leaves it shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from openledger_node.attribution.canon import CanonText, canonical_text
from openledger_node.ledger.payload import MAX_LEAF_BYTES, cut_binary

LEAF_TOKENS: Final = 64


@dataclass(frozen=True, slots=True)
class CutDocument:
    """A document's leaves, which cover its bytes, and its number of tokens."""

    slices: tuple[bytes, ...]
    tokens: int
    is_text: bool


def cut_document(data: bytes) -> CutDocument:
    """The leaves of a document (T4, T5)."""
    text = canonical_text(data)
    slices = None if text is None else cut_text(data, text)
    if text is None or slices is None:
        return CutDocument(cut_binary(data), 0, False)
    return CutDocument(slices, len(text), True)


def cut_text(data: bytes, text: CanonText) -> tuple[bytes, ...] | None:
    """The leaves of a text whose tokens are known; None when one would be too large (T5)."""
    if not data:
        return ()
    inner = text.starts[LEAF_TOKENS::LEAF_TOKENS].tolist()
    slices = tuple(data[start:end] for start, end in pairwise([0, *inner, len(data)]))
    return slices if max(map(len, slices)) <= MAX_LEAF_BYTES else None


def registered_text(slices: tuple[bytes, ...], tokens: int) -> CanonText | None:
    """The text of a registered document; None when nothing may be found in it.

    That is so when it is not text, and when its leaves or its number of tokens are not those of T4:
    proofs find a token by its leaf.
    """
    data = b"".join(slices)
    text = canonical_text(data) if tokens else None
    if text is None or len(text) != tokens or cut_text(data, text) != slices:
        return None
    return text
