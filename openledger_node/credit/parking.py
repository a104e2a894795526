"""Parking: events that name an id nobody has seen yet wait for it (credit.md, "Order").

- An event waits for one id at a time, the first unknown one in the order its body lists them. When
  that id becomes known (or void), its waiters are handled: at once if their phase is the running
  one, at the beginning of their phase if it is still to come, at the beginning of their phase in
  the next epoch if it is past.
- Waiters go in ledger order (epoch, SHA-256(cut_id || log_id), seq), each with all that waits for
  it right after it.
- What is still parked at the end of phase 6 of its own epoch + `park_epochs` is void.

Money events and key events never park.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from openledger_node.credit.overlay import Table
from openledger_node.credit.state_records import Parked


class Item(msgspec.Struct, gc=False, frozen=True):
    """An event to handle: who wrote it, where it stands, its raw body. `epoch` is its own, the one
    of its first cut.
    """

    event_id: bytes
    kind: str
    account: bytes
    device: bytes
    log_id: bytes
    order: bytes
    seq: int
    epoch: int
    body: msgspec.Raw | bytes


def ledger_order(item: Item) -> tuple[int, bytes, int]:
    """Where an event stands among all events."""
    return item.epoch, item.order, item.seq


class Parking:
    """Who waits for what while an epoch is folded."""

    def __init__(self, parked: Table[Parked], phase_of: Mapping[str, int]) -> None:
        self.parked = parked
        self.phase_of = phase_of
        self.phase = 0
        self.waiting: dict[bytes, list[bytes]] = {}
        self.stack: list[Item] = []
        self._ready: dict[int, list[bytes]] = {}
        self._later: dict[bytes, Iterator[bytes]] = {}
        for event_id, record in parked.items():
            if record.awaits is None:
                self._ready.setdefault(phase_of[record.kind], []).append(event_id)
            else:
                self.waiting.setdefault(record.awaits, []).append(event_id)

    def begin(self, phase: int) -> list[Item]:
        """Enters `phase`; returns the events that waited for it, in ledger order."""
        self.phase = phase
        return sorted(self._take(self._ready.pop(phase, [])), key=ledger_order)

    def park(self, item: Item, awaits: bytes, later: Iterator[bytes] | None = None) -> None:
        """`item` waits for `awaits`, which is neither known nor void.

        `later` gives the ids that it waits for one after the other from then on, and ends when it
        is to be handled: who names thousands of ids is so not read anew for each of them.
        """
        record = Parked(
            awaits,
            item.kind,
            item.account,
            item.device,
            item.log_id,
            item.order,
            item.seq,
            item.epoch,
            bytes(item.body),
        )
        self.parked.put(item.event_id, record)
        self.waiting.setdefault(awaits, []).append(item.event_id)
        if later is not None:
            self._later[item.event_id] = later

    def waits_again(self, item: Item) -> bool:
        """Whether `item`, just woken, names another unknown id; then it is parked for that one."""
        later = self._later.get(item.event_id)
        awaits = None if later is None else next(later, None)
        if awaits is None:
            return False
        self.park(item, awaits)
        return True

    def wake(self, known_id: bytes) -> None:
        """`known_id` became known or void: its waiters go on the stack, or wait for their phase."""
        now = []
        for event_id in self.waiting.pop(known_id):
            record = self.parked.get(event_id)
            if record is None:
                continue
            record.awaits = None
            self.parked.touch(event_id)
            phase = self.phase_of[record.kind]
            if phase == self.phase:
                now.append(event_id)
            elif phase > self.phase:
                self._ready.setdefault(phase, []).append(event_id)
        self.stack += sorted(self._take(now), key=ledger_order, reverse=True)

    def lapsing(self, epoch: int, park_epochs: int) -> list[Item]:
        """The events whose time ends with `epoch`, in ledger order, no longer parked."""
        ids = [
            event_id
            for event_id, record in self.parked.items()
            if record.epoch + park_epochs <= epoch
        ]
        return sorted(self._take(ids), key=ledger_order)

    def _take(self, event_ids: list[bytes]) -> list[Item]:
        items = []
        for event_id in event_ids:
            record = self.parked.get(event_id)
            if record is None:
                continue
            self.parked.remove(event_id)
            items.append(
                Item(
                    event_id,
                    record.kind,
                    record.account,
                    record.device,
                    record.log_id,
                    record.order,
                    record.seq,
                    record.epoch,
                    record.body,
                )
            )
        return items
