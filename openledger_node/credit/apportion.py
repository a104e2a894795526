"""Exact division of a total among weights: the largest-remainder rule that every split of the
ledger uses.

x_i = total * w_i // S with S the sum of weights; the units left over go, one each, to the largest
remainders total * w_i mod S, ties to the least SHA-256(salt || key). The parts sum to exactly
`total` (C13). With S = 0 nothing is paid: every part is 0, and the caller's rule says where the
total goes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def apportion(total: int, weights: Sequence[tuple[bytes, int]], salt: bytes) -> list[int]:
    """The parts of `total` (a non-negative integer), in the order of `weights` = [(key, weight)].

    Keys are distinct, weights non-negative. The result does not depend on the order of `weights`.
    """
    whole = 0
    for _, weight in weights:
        whole += weight
    if not whole:
        return [0] * len(weights)
    parts, rests, left = [], [], total
    for _, weight in weights:
        part, rest = divmod(total * weight, whole)
        parts.append(part)
        rests.append(rest)
        left -= part
    if left:
        for index in _largest(rests, left, weights, salt):
            parts[index] += 1
    return parts


def _largest(
    rests: list[int], count: int, weights: Sequence[tuple[bytes, int]], salt: bytes
) -> list[int]:
    """The indexes of the `count` largest remainders; hashes are made only to break a tie."""
    ranked = sorted(rests, reverse=True)
    least = ranked[count - 1]
    if ranked[count] != least:  # fewer units are left over than there are weights
        return [index for index, rest in enumerate(rests) if rest >= least]
    order = sorted(
        range(len(rests)),
        key=lambda index: (-rests[index], hashlib.sha256(salt + weights[index][0]).digest()),
    )
    return order[:count]
