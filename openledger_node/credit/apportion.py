"""Exact division of a total among weights: the largest-remainder rule that every split of the
ledger uses.

x_i = total * w_i // S with S the sum of weights; the units left over go, one each, to the largest
remainders total * w_i mod S, ties to the least SHA-256(salt || key). The parts sum to exactly
`total` (C13). With S = 0 nothing is paid: every part is 0, and the caller's rule says where the
total goes.

Keys and salt matter only when equal remainders compete for too few units: `untied_parts` divides by
the weights alone and says when it cannot, and only then are keys hashed. It goes through the
weights in plain loops: nearly every split is of two to eight parts, where setting up a
comprehension costs more than what it saves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

Weights = Sequence[tuple[bytes, int]]
"""[(key, weight), ...]: distinct keys, weights not negative."""


def apportion(total: int, weights: Weights, salt: bytes) -> list[int]:
    """The parts of `total` (a non-negative integer), in the order of `weights` = [(key, weight)].

    Keys are distinct, weights non-negative. The result does not depend on the order of `weights`.
    """
    parts = untied_parts(total, weights)
    if parts is None:
        return _tied_parts(total, weights, salt)
    parts.pop()
    return parts


def untied_parts(total: int, weights: Weights, others: int = 0) -> list[int] | None:
    """What `apportion` returns whatever the salt; None when a tie must be broken by it.

    `others` is the weight of one more key; its part comes last.
    """
    whole = others
    for _, weight in weights:
        whole += weight
    if not whole:
        return [0] * (len(weights) + 1)
    parts, rests, left = [], [], total
    for _, weight in weights:
        product = total * weight
        part = product // whole
        parts.append(part)
        rests.append(product % whole)
        left -= part
    product = total * others
    part = product // whole
    parts.append(part)
    rests.append(product % whole)
    left -= part
    # Each rest is below `whole` and they sum to left * whole: so more than `left` are not zero.
    if left == 1:
        least = max(rests)
        if rests.count(least) > 1:
            return None
        parts[rests.index(least)] += 1
    elif left:
        ranked = sorted(rests)
        least = ranked[-left]
        if ranked[-left - 1] == least:
            return None
        for index, rest in enumerate(rests):
            if rest >= least:
                parts[index] += 1
    return parts


def _tied_parts(total: int, weights: Weights, salt: bytes) -> list[int]:
    """As `apportion`, by hashing every key."""
    whole = sum(weight for _, weight in weights)
    parts = [total * weight // whole for _, weight in weights]
    order = sorted(
        (-(total * weight % whole), hashlib.sha256(salt + key).digest(), index)
        for index, (key, weight) in enumerate(weights)
    )
    for _, _, index in order[: total - sum(parts)]:
        parts[index] += 1
    return parts
