"""The derivation maps that count for a snapshot epoch, as far as this home holds them (R3).

A map counts when its own contribution's account declared it, when that account accepted it, or when
the witnesses upheld it. It is read from the payload of its `data.derivation`, and is no map when it
is not what the event commits to (T11). One that is not held here moves nothing: it is listed as
missing. Maps of what a map names are read too, since tokens are followed from map to map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from openledger_node.attribution.derivation_map import decode_map_payload
from openledger_node.attribution.redirect import HeldMap, Redirect
from openledger_node.attribution.scope import LedgerOrder
from openledger_node.credit import views
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.kinds import AccountAccept, DataDerivation
from openledger_node.node.caches import Recent
from openledger_node.node.claims import own_payload
from openledger_node.node.reading import body_of, events_read, find_event
from openledger_node.node.witness_logs import seat_set_of
from openledger_node.store.snapshot import Snapshot

COUNTING: Final = ("counts", "upheld")
NEVER: Final = 2**63 - 1

_Declared = dict[bytes, list[tuple[views.DerivationView, bool]]]

MapCache = Recent[Any]
"""What is kept between uses: maps, and which derivations count as of now."""


@dataclass(frozen=True, slots=True)
class MapsInForce:
    """`redirect` follows them; `orders` has every contribution that it can lead to.

    `missing`: derivations that count and whose maps are not held here.
    """

    redirect: Redirect
    orders: dict[bytes, LedgerOrder]
    missing: tuple[bytes, ...]


def maps_in_force(
    snapshot: Snapshot,
    subjects: Iterable[bytes],
    *,
    epoch: int | None = None,
    cache: MapCache | None = None,
) -> MapsInForce:
    """The maps of some contributions, and of what these lead to, as of the end of an epoch.

    The epoch is the last one unless another is named.
    """
    number = snapshot.last_epoch() if epoch is None else epoch
    declared = _declared(snapshot, None if number == snapshot.last_epoch() else number, cache)
    waiting = [subject for subject in subjects if subject in declared]
    seen = set(waiting)
    maps: list[HeldMap] = []
    missing: list[bytes] = []
    named: set[bytes] = set(waiting)
    while waiting:
        subject = waiting.pop()
        for view, upheld in declared[subject]:
            held = _held_map(snapshot, view, upheld, cache)
            if held is None:
                missing.append(view.derivation_id)
                continue
            maps.append(held)
            for source in held.sources:
                named.add(source)
                if source in declared and source not in seen:
                    seen.add(source)
                    waiting.append(source)
    orders, gone = _orders(snapshot, named, number)
    return MapsInForce(Redirect(maps, orders, gone), orders, tuple(sorted(missing)))


def derivations_of(
    snapshot: Snapshot, contribution_id: bytes
) -> Iterator[tuple[views.DerivationView, DataDerivation]]:
    """What was declared of a contribution in final epochs, counting or not."""
    for view in _ordered(snapshot):
        if view.contribution == contribution_id:
            body = _body(snapshot, view.derivation_id)
            if body is not None:
                yield view, body


def _ordered(snapshot: Snapshot) -> list[views.DerivationView]:
    found = views.derivations(snapshot.state)
    return sorted(found, key=lambda view: (view.epoch, view.derivation_id))


def _declared(snapshot: Snapshot, past_epoch: int | None, cache: MapCache | None) -> _Declared:
    """{contribution: [(derivation that counts, whether it is upheld)]}, by (epoch, id).

    As of now, or as of the end of a past epoch.
    """
    key = b"declared", snapshot.last_epoch()
    kept: _Declared | None = cache.get(key) if cache is not None and past_epoch is None else None
    if kept is not None:
        return kept
    declared: _Declared = {}
    history = _History(snapshot)
    for view in _ordered(snapshot):
        if view.status not in COUNTING:
            continue
        upheld = view.status == "upheld"
        if past_epoch is not None:
            counts_from, upheld_from = history.epochs_of(view)
            if counts_from > past_epoch:
                continue
            upheld = upheld and upheld_from <= past_epoch
        declared.setdefault(view.contribution, []).append((view, upheld))
    if cache is not None and past_epoch is None:
        cache.put(key, declared)
    return declared


class _History:
    """Since when derivations count, which the state does not say: from the events that made it so.

    The logs are read when a derivation is met that is not its own account's, or was upheld.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._accepted: dict[tuple[bytes, bytes], int] | None = None
        self._upheld: dict[bytes, list[tuple[int, bytes]]] = {}

    def epochs_of(self, view: views.DerivationView) -> tuple[int, int]:
        """(the epoch from which on it counts, and is upheld); NEVER where it does not."""
        contribution = views.contribution(self._snapshot.state, view.contribution)
        owner = contribution.account if contribution is not None else None
        own = view.epoch if view.account == owner else NEVER
        if own != NEVER and view.status != "upheld":
            return own, NEVER
        if self._accepted is None:
            self._accepted = self._read()
        accepted = self._accepted.get((view.derivation_id, owner or b""), NEVER)
        upheld = self._upheld_from(view)
        return max(view.epoch, min(own, accepted, upheld)), upheld

    def _upheld_from(self, view: views.DerivationView) -> int:
        """The epoch in which q of the seats in force then had voted for it."""
        votes = sorted(self._upheld.get(view.derivation_id, []))
        for epoch in sorted({epoch for epoch, _ in votes}):
            seats = seat_set_of(self._snapshot, epoch)
            devices = {device for _, device in seats.seats}
            voted = {device for voted_in, device in votes if voted_in <= epoch}
            if len(voted & devices) >= seats.quorum:
                return max(epoch, view.epoch)
        return NEVER

    def _read(self) -> dict[tuple[bytes, bytes], int]:
        accepted: dict[tuple[bytes, bytes], int] = {}
        for found, epoch in events_read(self._snapshot, "account.accept", "audit.verdict"):
            try:
                body = body_of(found)
            except BadInput:
                continue
            if isinstance(body, AccountAccept):
                key = body.target, found.log.genesis.account_id
                accepted[key] = min(epoch, accepted.get(key, epoch))
            elif body.upheld:
                vote = epoch, found.log.genesis.device
                self._upheld.setdefault(body.target, []).append(vote)
        return accepted


def _body(snapshot: Snapshot, derivation_id: bytes) -> DataDerivation | None:
    found = find_event(snapshot, derivation_id)
    body = body_of(found) if found is not None else None
    return body if isinstance(body, DataDerivation) else None


def _held_map(
    snapshot: Snapshot, view: views.DerivationView, upheld: bool, cache: MapCache | None
) -> HeldMap | None:
    """A map; None when it is not held here or is not what was committed to."""
    found = find_event(snapshot, view.derivation_id)
    commit = found.event.payload_commit if found is not None else None
    if found is None or commit is None or not snapshot.has_payload(commit):
        return None
    key = view.derivation_id, upheld
    kept: HeldMap | None = cache.get(key) if cache is not None else None
    if kept is not None:
        return kept
    data = own_payload(snapshot, found.log.genesis.account_id, commit)
    body = body_of(found)
    if data is None or not isinstance(body, DataDerivation):
        return None
    try:
        entries = decode_map_payload(data, body.contribution, body.map_root, body.sources)
    except BadInput:
        return None
    held = HeldMap(body.contribution, entries, upheld)
    if cache is not None:
        cache.put(key, held)
    return held


def _orders(
    snapshot: Snapshot, named: Iterable[bytes], epoch: int
) -> tuple[dict[bytes, LedgerOrder], frozenset[bytes]]:
    """The ledger orders of contributions final by an epoch, and which of them had left by then."""
    orders: dict[bytes, LedgerOrder] = {}
    gone = set()
    for contribution_id in named:
        view = views.contribution(snapshot.state, contribution_id)
        if view is None or view.epoch > epoch:
            continue
        orders[contribution_id] = (view.epoch, b"", view.serial)
        left = view.withdrawn_epoch
        if left is not None and left <= epoch:
            gone.add(contribution_id)
    return orders, frozenset(gone)
