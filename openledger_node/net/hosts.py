"""Which nodes of the peer book are known at a host by records: found without reading the book.

Entries of the book change in many places, so what stands here is a hint that is held to the book
when it is read: a node that is no longer at the host is dropped then.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from openledger_node.net.limits import address_key
from openledger_node.net.peer import Peer, Source

MAX_HOSTS: Final = 32_768
"""Twice as many as a full book can name by records; past that the hints are made anew."""

_key_of: Final = lru_cache(maxsize=8_192)(address_key)


class HostIndex:
    """Node ids by host (N17)."""

    def __init__(self, peers: Mapping[bytes, Peer]) -> None:
        self._peers = peers
        self._nodes: dict[str, set[bytes]] = {}

    def note(self, peer: Peer) -> None:
        """The entry of a node may have new addresses by records."""
        if len(self._nodes) > MAX_HOSTS:
            self._nodes.clear()
            for other in self._peers.values():
                self._put(other)
        self._put(peer)

    def _put(self, peer: Peer) -> None:
        for key in _hosts_of(peer):
            self._nodes.setdefault(key, set()).add(peer.node_id)

    def count(self, host: str, besides: bytes) -> int:
        """How many nodes but one are known at a host by records."""
        key = _key_of(host)
        nodes = self._nodes.pop(key, None)
        if nodes is None:
            return 0
        there = {
            node_id
            for node_id in nodes
            if (peer := self._peers.get(node_id)) is not None and key in _hosts_of(peer)
        }
        if there:
            self._nodes[key] = there
        return len(there - {besides})


def _hosts_of(peer: Peer) -> set[str]:
    return {
        _key_of(endpoint.host)
        for endpoint, place in peer.places.items()
        if place.source is Source.RECORD
    }
