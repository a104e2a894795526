"""Single leaves of large segments, without reading the whole of them for each.

256 leaves of up to 512 KiB are one value (S6), and whoever may read the log may ask for one leaf of
it after another. So of segments past LARGE_BYTES the leaf hashes are remembered: the first reading
checks the whole segment by its seal, the next ones read the leaves they want and hold
each to its hash. Nothing is given out that was not checked when it was read (S1).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from openledger_node.ledger.merkle import leaf_hashes

LARGE_BYTES: Final = 2**20
"""Four of the runs in which leaves are served."""
KEPT_SEGMENTS: Final = 512
"""8 KiB of hashes each."""


class LeafHashes:
    """The leaf hashes of the large segments read last, by their keys. For any thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, list[bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def hold(self, key: bytes, first: int, leaves: list[bytes]) -> bool:
        """Whether leaves from `first` of a segment on are known to be what they were."""
        with self._lock:
            hashes = self._kept.get(key)
            if hashes is None:
                return False
            self._kept.move_to_end(key)
        return leaf_hashes(leaves) == hashes[first : first + len(leaves)]

    def keep(self, key: bytes, hashes: list[bytes]) -> None:
        """The segment was read and checked as a whole."""
        with self._lock:
            self._kept[key] = hashes
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT_SEGMENTS:
                self._kept.popitem(last=False)
