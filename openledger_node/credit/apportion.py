"""Exact division of a total among weights: the largest-remainder rule that every split of the ledger uses.

x_i = total * w_i // S with S the sum of weights; the units left over go, one each, to the largest remainders
total * w_i mod S, ties to the least SHA-256(salt || key). The parts sum to exactly `total` (C13). With S = 0 nothing is
paid: every part is 0, and the caller's rule says where the total goes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def apportion(total: int, weights: Sequence[tuple[bytes, int]], salt: bytes) -> list[int]:
    """The parts of `total` (a non-negative integer), in the order of `weights` = [(key, weight)].

    Keys are distinct, weights non-negative. The result does not depend on the order of `weights`.
    """
    whole = sum([weight for _, weight in weights])
    if whole == 0:
        return [0] * len(weights)
    parts = [total * weight // whole for _, weight in weights]
    left = total - sum(parts)
    if left == 0:
        return parts
    ranked = sorted(
        [
            (-(total * weight % whole), hashlib.sha256(salt + key).digest(), index)
            for index, (key, weight) in enumerate(weights)
        ]
    )
    for _, _, index in ranked[:left]:
        parts[index] += 1
    return parts
