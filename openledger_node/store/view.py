"""What every part of a view of the store reads from: an LMDB transaction and the home's folder."""

from __future__ import annotations

from pathlib import Path

from openledger_node.store.environment import Txn


class View:
    """One read transaction on one home."""

    def __init__(self, txn: Txn, home: Path) -> None:
        self._txn = txn
        self._home = home
