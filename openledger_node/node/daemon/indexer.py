"""Keeping the index of text up to date in the background: the daemon's least urgent task.

It owns the index's files while it works, and waits a moment for more before it begins: documents
come in numbers. A home whose text is too little to be looked up in an index has none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from openledger_node.ledger.errors import OlnError
from openledger_node.node.core import NodeCore
from openledger_node.node.indexing import update_if_large

GATHER_S: Final = 2.0

Io = Callable[..., Awaitable[Any]]


class Indexer:
    """One task, woken by documents that were stored."""

    def __init__(self, core: NodeCore, io: Io, log: Any) -> None:
        self._core = core
        self._io = io
        self._log = log
        self._wake = trio.Event()

    def poke(self) -> None:
        """There may be text that is not indexed."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        self._wake.set()
        while True:
            await self._wake.wait()
            await trio.sleep(GATHER_S)
            self._wake = trio.Event()
            try:
                changed = await self._io(update_if_large, self._core)
            except OlnError as error:
                self._log.error("cannot_index", reason=error.message, hint=error.hint)
            else:
                if changed:
                    self._log.info("indexed", contributions=changed)
