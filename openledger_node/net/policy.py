"""Whom a node links with: the policy that every handshake asks (N7).

- N16 A node refuses its own id; where it has an allow list, everybody who is not on it; and
  everybody whom the peer book keeps out (N13). An empty list is an open node.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from openledger_node.net.book import PeerBook


class Gate:
    """The policy of a node, open or closed. `now_ms` is the clock that bans are judged by."""

    def __init__(
        self,
        own_id: bytes,
        book: PeerBook,
        *,
        now_ms: Callable[[], int],
        allow: Collection[bytes] = (),
    ) -> None:
        self._own_id = own_id
        self._book = book
        self._now_ms = now_ms
        self._allow = frozenset(allow)

    def accepts(self, node_id: bytes) -> str | None:
        """Why the node is refused, or None."""
        if node_id == self._own_id:
            return "it is this node itself"
        if self._allow and node_id not in self._allow:
            return "it is not on the allow list"
        return self._book.refusal(node_id, self._now_ms())
