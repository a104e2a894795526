"""R4: from spans to the weights of a receipt, in parts per million.

- R4: every token weighs 1. The 255 contributions with most tokens are kept (ties: ledger order),
  the rest joins what is unattributed; the sums are apportioned to exactly 1,000,000 ppm with the
  empty salt, the key being the contribution's id, and 32 zero bytes for what is unattributed. An
  output without tokens is all unattributed. A contribution whose part is 0 ppm is left out.

Derivation (R3) stands between spans and sums: `Derivation` maps a part of a document to the
contributions that the committed map of its own contribution names. Without one, every token stays
with the contribution it was found in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from openledger_node.attribution.reference import Attribution, Span
from openledger_node.attribution.scope import LedgerOrder
from openledger_node.credit.apportion import apportion

PPM: Final = 1_000_000
MAX_CONTRIBUTIONS: Final = 255
UNATTRIBUTED_KEY: Final = bytes(32)

Derivation = Callable[[Span], Sequence[tuple[bytes, int]]]
"""derivation(span) -> [(contribution id, tokens)], which add up to the span's length.

`UNATTRIBUTED_KEY` stands for nobody.
"""


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of a receipt: with `unattributed_ppm` they add up to 1,000,000."""

    contributions: tuple[tuple[bytes, int], ...]
    unattributed_ppm: int


def count_tokens(
    attributions: Iterable[Attribution], derivation: Derivation | None = None
) -> tuple[dict[bytes, int], int]:
    """({contribution id: tokens}, unattributed tokens) over the outputs of one receipt."""
    counts: dict[bytes, int] = {}
    unattributed = 0
    for attribution in attributions:
        unattributed += attribution.unattributed_tokens
        for span in attribution.spans:
            parts = derivation(span) if derivation else [(span.contribution_id, span.length)]
            if sum(tokens for _, tokens in parts) != span.length:
                raise ValueError("a derivation does not add up to the span it maps")
            for contribution_id, tokens in parts:
                if contribution_id == UNATTRIBUTED_KEY:
                    unattributed += tokens
                else:
                    counts[contribution_id] = counts.get(contribution_id, 0) + tokens
    return counts, unattributed


def weigh(
    counts: Mapping[bytes, int], unattributed: int, orders: Mapping[bytes, LedgerOrder]
) -> Weights:
    """R4 over token counts. `orders` has the ledger order of every contribution counted."""
    ranked = sorted(counts, key=lambda key: (-counts[key], orders[key]))
    kept = ranked[:MAX_CONTRIBUTIONS]
    rest = unattributed + sum(counts[key] for key in ranked[MAX_CONTRIBUTIONS:])
    if not kept:
        return Weights((), PPM)
    items = [*((key, counts[key]) for key in kept), (UNATTRIBUTED_KEY, rest)]
    parts = apportion(PPM, items, b"")
    return Weights(
        tuple((key, ppm) for key, ppm in zip(kept, parts[:-1], strict=True) if ppm), parts[-1]
    )
