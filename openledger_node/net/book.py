"""The peer book: who is known, whom to dial, who stays out.

- N14 The book holds at most 4,096 nodes, of which people may name 256. Past that it forgets, of the
  others, first those that this node never reached by dialling, the one that was linked with or
  banned longest ago before the rest; a node that is only heard of takes nobody else's place. By
  records, at most 16 nodes are known at one host.
- N15 Whom to dial: nodes that people named come first, then others in an order that chance and
  score make; never one that is connected, banned, below the least score, or without an address. A
  relayed address counts for 7 days.

The book lives in memory; `changes` hands what is to be stored to its owner and `load` takes it
back. It has no clock: every call that needs the time is given it, in milliseconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from random import Random
from typing import Final

from openledger_node.ledger.errors import BadInput, UsageError
from openledger_node.ledger.keys import KEY_BYTES
from openledger_node.net.address import Endpoint, PeerAddress, is_loopback
from openledger_node.net.hosts import HostIndex
from openledger_node.net.peer import (
    BAN_MS,
    FAULT_POINTS,
    MAX_REASON_CHARACTERS,
    Peer,
    Source,
    decode_peer,
    encode_peer,
)
from openledger_node.net.records import MAX_RECORDS, VALID_MS, PeerRecord

MAX_PEERS: Final = 4096
"""About 400 bytes each: 1.6 MB when full."""
MAX_KEPT: Final = 256
"""Nodes that people named; each is dialled for as long as the node runs."""
MAX_NODES_A_HOST: Final = 16
"""Known by records: so often this node dials a host for the sake of keys that anybody made."""
_NOTHING: Final = (False, False, 0)
"""What a node is worth that was only heard of."""
_SCORE_STEP: Final = 25
"""Scores this close together are a matter of chance."""


class PeerBook:
    """Peers by node id."""

    def __init__(self) -> None:
        self._peers: dict[bytes, Peer] = {}
        self._changed: dict[bytes, None] = {}
        self._hosts = HostIndex(self._peers)
        self._heard_of: OrderedDict[bytes, None] = OrderedDict()
        """The nodes that were only heard of, and some of which more is known by now."""

    # What is stored.

    def load(self, pairs: Iterable[tuple[bytes, bytes]]) -> int:
        """Takes (node id, entry) pairs back; says how many could not be read."""
        unreadable = 0
        for node_id, data in pairs:
            try:
                if len(node_id) != KEY_BYTES:
                    raise BadInput(f"a node id has {KEY_BYTES} bytes, not {len(node_id)}")
                peer = self._peers[node_id] = decode_peer(node_id, data)
                self._heard_of[node_id] = None
                self._hosts.note(peer)
            except BadInput:
                unreadable += 1
        return unreadable

    def changes(self) -> list[tuple[bytes, bytes | None]]:
        """What has changed since the last call: (node id, entry), None where it is forgotten."""
        changed, self._changed = self._changed, {}
        return [
            (node_id, encode_peer(peer) if (peer := self._peers.get(node_id)) else None)
            for node_id in changed
        ]

    # What is known.

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[Peer]:
        return iter(list(self._peers.values()))

    def get(self, node_id: bytes) -> Peer | None:
        """The entry of a node, to read."""
        return self._peers.get(node_id)

    def add(self, address: PeerAddress, source: Source = Source.PERSON, until_ms: int = 0) -> None:
        """Knows a node at an address; PERSON also keeps a link to it.

        UsageError past MAX_KEPT.
        """
        is_kept = source is Source.PERSON
        known = self._peers.get(address.node_id)
        if not is_kept and not self._has_room_for_hearsay(address.node_id):
            return
        kept_before = sum(peer.is_kept for peer in self._peers.values()) if is_kept else 0
        if kept_before >= MAX_KEPT and not (known and known.is_kept):
            raise UsageError(
                f"the peer book holds {MAX_KEPT} nodes that were added by hand already",
                hint="remove one with `oln peer remove`",
            )
        peer = self._entry(address.node_id)
        peer.is_kept = peer.is_kept or is_kept
        peer.add_place(address.endpoint(), source, until_ms)

    def remove(self, node_id: bytes) -> bool:
        """Forgets a node; says whether it was known."""
        if self._peers.pop(node_id, None) is None:
            return False
        self._changed[node_id] = None
        return True

    def heard(self, record: PeerRecord, now_ms: int, *, is_local: bool = False) -> bool:
        """Takes a verified record; says whether it is news. An older one changes nothing.

        `is_local`: it came from this machine; otherwise addresses of this machine are left out.
        """
        known = self._peers.get(record.node_id)
        if not record.is_fresh(now_ms) or (known and known.record_time_ms >= record.time_ms):
            return False
        addresses = [
            endpoint
            for endpoint in record.addresses
            if (is_local or not is_loopback(endpoint.host))
            and self._hosts.count(endpoint.host, record.node_id) < MAX_NODES_A_HOST
        ]
        if not addresses or not self._has_room_for_hearsay(record.node_id):
            return False
        peer = self._entry(record.node_id)
        peer.record, peer.record_time_ms = record.encoded, record.time_ms
        named = set(addresses)
        for endpoint, place in list(peer.places.items()):
            if place.source is Source.RECORD and endpoint not in named:
                del peer.places[endpoint]
        for endpoint in addresses:
            peer.add_place(endpoint, Source.RECORD, record.until_ms())
        self._hosts.note(peer)
        return True

    def seen(self, node_id: bytes, now_ms: int, endpoint: Endpoint | None = None) -> None:
        """A link to the node was up now, at `endpoint` if this node dialled it."""
        peer = self._entry(node_id)
        peer.last_seen_ms = now_ms
        place = peer.places.get(endpoint) if endpoint is not None else None
        if place is not None:
            place.last_up_ms = now_ms

    # How peers behave.

    def lower(self, node_id: bytes, now_ms: int, points: int = FAULT_POINTS) -> int:
        """Takes points from a node's score (N13) and gives what is left."""
        peer = self._entry(node_id)
        peer.score = max(0, peer.score_now(now_ms) - points)
        peer.score_at_ms = now_ms
        return peer.score

    def ban(self, node_id: bytes, reason: str, now_ms: int, ban_ms: int = BAN_MS) -> None:
        """Keeps a node out for an hour, or for `ban_ms`. A longer ban is not shortened."""
        peer = self._entry(node_id)
        if now_ms + ban_ms > peer.banned_until_ms:
            peer.banned_until_ms = now_ms + ban_ms
            peer.ban_reason = reason[:MAX_REASON_CHARACTERS]

    def pardon(self, node_id: bytes) -> None:
        """Lifts a ban."""
        if node_id in self._peers:
            peer = self._entry(node_id)
            peer.banned_until_ms, peer.ban_reason = 0, ""

    def refusal(self, node_id: bytes, now_ms: int) -> str | None:
        """Why a node stays out, or None."""
        peer = self._peers.get(node_id)
        return peer.refusal(now_ms) if peer is not None else None

    # Whom to dial, and whom to tell others of.

    def choose(
        self, count: int, now_ms: int, random: Random, skip: Collection[bytes] = ()
    ) -> list[Peer]:
        """At most `count` nodes to dial, best first (N15)."""
        self._drop_stale(now_ms)
        fit = [
            peer
            for peer in self._peers.values()
            if peer.places and peer.node_id not in skip and peer.refusal(now_ms) is None
        ]
        random.shuffle(fit)
        fit.sort(key=lambda peer: (not peer.is_kept, -(peer.score_now(now_ms) // _SCORE_STEP)))
        return fit[:count]

    def kept(self, now_ms: int, skip: Collection[bytes] = ()) -> list[Peer]:
        """The nodes that people named and that may be dialled now."""
        return [
            peer
            for peer in self._peers.values()
            if peer.is_kept
            and peer.places
            and peer.node_id not in skip
            and peer.refusal(now_ms) is None
        ]

    def records(self, now_ms: int, random: Random, count: int = MAX_RECORDS) -> list[bytes]:
        """Signed records to pass on: of nodes that were linked with, and that stay in."""
        known = [
            peer.record
            for peer in self._peers.values()
            if peer.record
            and peer.last_seen_ms
            and now_ms < peer.record_time_ms + VALID_MS
            and peer.refusal(now_ms) is None
        ]
        return random.sample(known, min(count, MAX_RECORDS, len(known)))

    # Inside.

    def _entry(self, node_id: bytes) -> Peer:
        """The entry of a node, made if needed, to be changed."""
        peer = self._peers.get(node_id)
        if peer is None:
            if len(self._peers) >= MAX_PEERS:
                self.remove(self._least().node_id)
            peer = self._peers[node_id] = Peer(node_id)
            self._heard_of[node_id] = None
        self._changed[node_id] = None
        return peer

    def _has_room_for_hearsay(self, node_id: bytes) -> bool:
        """Whether a node that is only heard of takes nobody else's place."""
        if node_id in self._peers or len(self._peers) < MAX_PEERS:
            return True
        return self._only_heard_of() is not None

    def _only_heard_of(self) -> Peer | None:
        """The node that was only heard of, and that before all others."""
        while self._heard_of:
            node_id = next(iter(self._heard_of))
            peer = self._peers.get(node_id)
            if peer is not None and peer.worth() == _NOTHING:
                return peer
            del self._heard_of[node_id]
        return None

    def _least(self) -> Peer:
        """The entry that a full book forgets first."""
        return self._only_heard_of() or min(self._peers.values(), key=Peer.worth)

    def _drop_stale(self, now_ms: int) -> None:
        for peer in self._peers.values():
            if peer.drop_stale(now_ms):
                self._changed[peer.node_id] = None
