"""The scope of an output: the documents it may draw from, in the order of positions.

The order of positions is (ledger order of the contribution, document, token). Ledger order is
(epoch, SHA-256(cut_id || log_id), seq); contributions that are still pending come last, by
(log id, seq), which `pending_order` gives. Documents of `data.commons` contributions are no
sources: they only cut (R1).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

LedgerOrder = tuple[int, bytes, int]
PENDING_EPOCH: Final = 2**63 - 1


def pending_order(log_id: bytes, seq: int) -> LedgerOrder:
    """The order of a contribution that is not final: after all that are."""
    return PENDING_EPOCH, log_id, seq


@dataclass(frozen=True, slots=True)
class ScopeDocument:
    """One text of the scope. `document` is its index in its contribution's payload."""

    contribution_id: bytes
    order: LedgerOrder
    document: int
    owner: bytes
    tokens: list[bytes]
    commons: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """Sources in the order of positions, and the common texts that cut."""

    sources: tuple[ScopeDocument, ...]
    commons: tuple[ScopeDocument, ...]


def make_scope(documents: Iterable[ScopeDocument]) -> Scope:
    """The scope over documents given in any order."""
    ordered = sorted(documents, key=lambda item: (item.order, item.document))
    return Scope(
        tuple(item for item in ordered if not item.commons),
        tuple(item for item in ordered if item.commons),
    )
