"""The part of the Python interface that is about other nodes: peers, sync, the daemon.

`api.Home` is made of it. What it needs is loaded on first use: most commands never do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from openledger_node.node import results_network as n
from openledger_node.node.core import NodeCore, Progress, no_progress


class Peering:
    """One function for each command about other nodes."""

    core: NodeCore

    @property
    def node_id(self) -> str:
        """This node's id on links: 64 hex digits."""
        return self.core.key("transport").public.raw.hex()

    def peer_list(self) -> n.Peers:
        from openledger_node.node import peers

        return peers.peer_list(self.core)

    def peer_add(self, address: str) -> n.Peer:
        """Knows the node at `id@host:port`; a daemon keeps a link to it."""
        from openledger_node.node import peers

        return peers.peer_add(self.core, address)

    def peer_remove(self, node: str) -> n.Peer:
        from openledger_node.node import peers

        return peers.peer_remove(self.core, node)

    def peer_ban(self, node: str, *, hours: int = 24) -> n.Peer:
        """Keeps a node out for some hours; 0 lets it in again."""
        from openledger_node.node import peers

        return peers.peer_ban(self.core, node, hours)

    def sync(self, address: str | None = None, *, progress: Progress = no_progress) -> n.Synced:
        """One round with the node at an address, or with every peer that was added."""
        from openledger_node.node.daemon import round as rounds

        return rounds.sync_once(self.core, address, progress=progress)

    def run_node(
        self,
        *,
        listen: Sequence[str] = (),
        ready: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        """Runs the daemon until a signal; `ready` hears once where it listens."""
        from openledger_node.node.daemon import main

        main.run_node(self.core, listen=listen, ready=ready)
