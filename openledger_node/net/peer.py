"""One peer of the book: where it listens, when it was seen, how it behaves.

- N13 A peer has a score of 0 to 100, and 100 at first. Faults take points from it; 10 an hour come
  back. Below 20 it is neither dialled nor let in. A banned peer stays out for an hour.

In the store an entry is `[1, kept, last seen, score, time of that score, banned until, reason, time
of the record, record or empty, [[host, port, source, until, last up], ...]]`, times in milliseconds
and 0 for never. The book is an aid, never a truth: an entry that cannot be read is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Annotated, Final, Literal

import msgspec

from openledger_node.ledger.encoding import decode_as, encode
from openledger_node.net.address import Endpoint, PeerAddress
from openledger_node.net.records import MAX_RECORD_BYTES, MAX_TIME_MS, VALID_MS

BEST_SCORE: Final = 100
REFUSED_BELOW: Final = 20
RECOVERY_PER_HOUR: Final = 10
FAULT_POINTS: Final = 20
"""What one broken promise or flood takes from a score."""
BAN_MS: Final = 3600 * 1000
HOUR_MS: Final = 3600 * 1000
MAX_PLACES: Final = 8
"""Addresses kept for one peer."""
MAX_REASON_CHARACTERS: Final = 64
MAX_ENTRY_BYTES: Final = 4096
"""Of one stored entry: a record, 8 of the longest addresses, and its figures."""


class Source(IntEnum):
    """Who named an address; a lower number is trusted more."""

    PERSON = 0
    LAN = 1
    RECORD = 2


@dataclass(slots=True)
class Place:
    """Where a peer may be dialled; `until_ms` 0 is without end."""

    source: Source
    until_ms: int = 0
    last_up_ms: int = 0


@dataclass(slots=True)
class Peer:
    """What is known of one node. `is_kept`: a person named it, and a link to it is wanted."""

    node_id: bytes
    is_kept: bool = False
    last_seen_ms: int = 0
    score: int = BEST_SCORE
    score_at_ms: int = 0
    banned_until_ms: int = 0
    ban_reason: str = ""
    record_time_ms: int = 0
    record: bytes = b""
    places: dict[Endpoint, Place] = field(default_factory=dict)

    def score_now(self, now_ms: int) -> int:
        """The score with what has come back since it was last lowered (N13)."""
        hours_back = max(0, now_ms - self.score_at_ms) * RECOVERY_PER_HOUR // HOUR_MS
        return min(BEST_SCORE, self.score + hours_back)

    def is_banned(self, now_ms: int) -> bool:
        return now_ms < self.banned_until_ms

    def refusal(self, now_ms: int) -> str | None:
        """Why the peer stays out, or None (N13)."""
        if self.is_banned(now_ms):
            return f"banned: {self.ban_reason}"
        score = self.score_now(now_ms)
        return f"its score is {score} of {BEST_SCORE}" if score < REFUSED_BELOW else None

    def addresses(self) -> Iterator[PeerAddress]:
        """Where to dial it: what was up last comes first, then what people named."""
        order = sorted(
            self.places.items(), key=lambda item: (-item[1].last_up_ms, item[1].source, item[0])
        )
        for endpoint, _ in order:
            yield PeerAddress(self.node_id, endpoint.host, endpoint.port)

    def add_place(self, endpoint: Endpoint, source: Source, until_ms: int = 0) -> None:
        """Knows an address; past MAX_PLACES the least trusted and longest unused one goes."""
        known = self.places.get(endpoint)
        if known is not None:
            if source <= known.source:
                known.source, known.until_ms = source, until_ms
            return
        self.places[endpoint] = Place(source, until_ms)
        if len(self.places) > MAX_PLACES:
            worst = max(
                self.places,
                key=lambda e: (self.places[e].source, -self.places[e].last_up_ms, e == endpoint),
            )
            del self.places[worst]

    def drop_stale(self, now_ms: int) -> bool:
        """Forgets addresses, a record and a ban whose time is over; says whether it had any."""
        stale = [e for e, place in self.places.items() if 0 < place.until_ms <= now_ms]
        for endpoint in stale:
            del self.places[endpoint]
        is_record_stale = bool(self.record) and self.record_time_ms + VALID_MS <= now_ms
        if is_record_stale:
            self.record = b""
        is_ban_over = 0 < self.banned_until_ms <= now_ms
        if is_ban_over:
            self.banned_until_ms, self.ban_reason = 0, ""
        return bool(stale) or is_record_stale or is_ban_over

    def was_reached(self) -> bool:
        """Whether this node dialled it, and it answered: that takes more than a key."""
        return any(place.last_up_ms for place in self.places.values())

    def worth(self) -> tuple[bool, bool, int]:
        """What a full book keeps it by: named by people, then reached, then heard of last (N14)."""
        heard_ms = max(self.last_seen_ms, self.banned_until_ms - BAN_MS, 0)
        return self.is_kept, self.was_reached(), heard_ms


_Flag = Annotated[int, msgspec.Meta(ge=0, le=1)]
_Time = Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]
_Score = Annotated[int, msgspec.Meta(ge=0, le=BEST_SCORE)]
_Reason = Annotated[str, msgspec.Meta(max_length=MAX_REASON_CHARACTERS)]
_Record = Annotated[bytes, msgspec.Meta(max_length=MAX_RECORD_BYTES)]
_StoredPlace = tuple[str, int, Source, _Time, _Time]
_Places = Annotated[tuple[_StoredPlace, ...], msgspec.Meta(max_length=MAX_PLACES)]


class _Stored(msgspec.Struct, array_like=True, frozen=True):
    version: Literal[1]
    is_kept: _Flag
    last_seen_ms: _Time
    score: _Score
    score_at_ms: _Time
    banned_until_ms: _Time
    ban_reason: _Reason
    record_time_ms: _Time
    record: _Record
    places: _Places


_decoder = msgspec.msgpack.Decoder(_Stored)


def encode_peer(peer: Peer) -> bytes:
    """The entry as it is stored, under the node id."""
    places = [
        [endpoint.host, endpoint.port, int(place.source), place.until_ms, place.last_up_ms]
        for endpoint, place in peer.places.items()
    ]
    return encode(
        [
            1,
            int(peer.is_kept),
            peer.last_seen_ms,
            peer.score,
            peer.score_at_ms,
            peer.banned_until_ms,
            peer.ban_reason,
            peer.record_time_ms,
            peer.record,
            places,
        ]
    )


def decode_peer(node_id: bytes, data: bytes) -> Peer:
    """The entry of `node_id`. BadInput when it is not one."""
    stored = decode_as(_decoder, data[: MAX_ENTRY_BYTES + 1], "an entry of the peer book")
    return Peer(
        node_id,
        bool(stored.is_kept),
        stored.last_seen_ms,
        stored.score,
        stored.score_at_ms,
        stored.banned_until_ms,
        stored.ban_reason,
        stored.record_time_ms,
        stored.record,
        {
            Endpoint(host, port): Place(source, until_ms, last_up_ms)
            for host, port, source, until_ms, last_up_ms in stored.places
        },
    )
