"""Verifying each signature once in a run.

Seven simulated nodes verify the same heads and votes, and nodes that start again do it anew.
Whether a signature verifies follows from key, signature and message alone, so a run may remember
it; a fifth of its time went into nothing else. The program itself is as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from openledger_node.ledger.keys import PublicKey


@contextmanager
def verified_once() -> Iterator[None]:
    """Within this, no signature is verified twice."""
    known: dict[tuple[bytes, bytes, bytes], bool] = {}
    verifies = PublicKey.verifies

    def remembered(key: PublicKey, signature: bytes, message: bytes) -> bool:
        asked = key.raw, signature, message
        if asked not in known:
            known[asked] = verifies(key, signature, message)
        return known[asked]

    with patch.object(PublicKey, "verifies", remembered):
        yield
