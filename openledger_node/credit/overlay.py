"""The books of one epoch: decoded records of what the epoch touches, over the stored state.

A record is decoded when it is first touched, changed in place, and encoded once, when the epoch is
done: so the cost of an epoch follows what it touches. Nothing here iterates in an order that
depends on arrival: the delta is sorted by key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec

from openledger_node.credit import state_records as records
from openledger_node.credit.inputs import StateReader
from openledger_node.credit.state_records import (
    Agenda,
    Amount,
    Purse,
    Receipt,
    Record,
    Rules,
    Totals,
    epoch_key,
)

R = TypeVar("R", bound=Record)
Delta = list[tuple[bytes, bytes | None]]
encode_into = msgspec.msgpack.Encoder().encode_into
_NOT_LIVE: Any = object()


@cache
def _decoder(record_type: type[R]) -> Callable[[bytes], R]:
    """One for each type of record, made when it is first needed."""
    return msgspec.msgpack.Decoder(record_type).decode


class Table(Generic[R]):
    """Records of one type by the rest of their key; `live` holds what was touched, None where there
    is nothing. `filed` has records that are written already and seldom looked at again: an epoch's
    receipts take their own bytes, not many objects each.
    """

    __slots__ = ("buffer", "changed", "decode", "filed", "live", "prefix", "read", "state")

    def __init__(self, state: StateReader, prefix: bytes, record_type: type[R]) -> None:
        self.state = state
        self.read = state.get
        self.prefix = prefix
        self.decode: Callable[[bytes], R] = _decoder(record_type)
        self.live: dict[bytes, R | None] = {}
        self.changed: dict[bytes, None] = {}
        self.filed: dict[bytes, bytes] = {}
        self.buffer = bytearray()

    def get(self, key: bytes) -> R | None:
        """The record under `key` as it is now, to read; call `touch` after changing it."""
        found = self.live.get(key, _NOT_LIVE)
        if found is not _NOT_LIVE:
            return found
        raw = self.filed.get(key) or self.read(self.prefix + key)
        record = self.live[key] = None if raw is None else self.decode(raw)
        return record

    def known(self, key: bytes) -> R:
        """The record under `key`, which must be there: something in the state names it."""
        record = self.live.get(key) or self.get(key)
        if record is None:
            raise KeyError(f"the state names {self.prefix!r} {key.hex()} and does not hold it")
        return record

    def put(self, key: bytes, record: R) -> None:
        self.live[key] = record
        self.changed[key] = None

    def file(self, key: bytes, record: R) -> None:
        """Writes a record that nothing is likely to look at again in this epoch, and lets go of it.

        It is encoded into one buffer and copied out: a value takes exactly its own bytes, where the
        encoder's own results begin with room for more and are cut.
        """
        encode_into(record, self.buffer)
        self.filed[key] = bytes(self.buffer)
        self.live.pop(key, None)
        self.changed.pop(key, None)

    def remove(self, key: bytes) -> None:
        self.live[key] = None
        self.changed[key] = None

    def touch(self, key: bytes) -> None:
        self.changed[key] = None

    def items(self, start: bytes = b"") -> Iterator[tuple[bytes, R]]:
        """All records whose key begins with `start`, ascending, as they are now."""
        keys = {key[1:] for key, _ in self.state.scan(self.prefix + start)}
        keys.update(key for key in self.live if key.startswith(start))
        keys.update(key for key in self.filed if key.startswith(start))
        for key in sorted(keys):
            record = self.get(key)
            if record is not None:
                yield key, record

    def delta(self) -> Delta:
        """The changes, ascending. A record made and removed within the epoch leaves none."""
        prefix, live, values = self.prefix, self.live, self.filed
        gone = []
        for key in self.changed:
            record = live[key]
            if record is not None:
                encode_into(record, self.buffer)
                values[key] = bytes(self.buffer)
                continue
            values.pop(key, None)
            if self.read(prefix + key) is not None:
                gone.append(key)
        if gone:
            return sorted(
                [(prefix + key, value) for key, value in values.items()]
                + [(prefix + key, None) for key in gone]
            )
        return [(prefix + key, values[key]) for key in sorted(values)]


class GroupedTable(Table[R]):
    """A table whose records are asked for by the first `group_bytes` of their keys, with what this
    epoch added under each: so asking costs what is found, however much else is new.
    """

    __slots__ = ("added", "group_bytes")

    def __init__(
        self, state: StateReader, prefix: bytes, record_type: type[R], group_bytes: int
    ) -> None:
        super().__init__(state, prefix, record_type)
        self.group_bytes = group_bytes
        self.added: dict[bytes, list[bytes]] = {}

    def put(self, key: bytes, record: R) -> None:
        if self.live.get(key) is None:
            self.added.setdefault(key[: self.group_bytes], []).append(key)
        super().put(key, record)

    def items(self, start: bytes = b"") -> Iterator[tuple[bytes, R]]:
        if len(start) != self.group_bytes:
            yield from super().items(start)
            return
        keys = {key[1:] for key, _ in self.state.scan(self.prefix + start)}
        keys.update(self.added.get(start, ()))
        for key in sorted(keys):
            record = self.get(key)
            if record is not None:
                yield key, record


class PurseTable(Table[Purse]):
    """Purses, with what each held when the epoch began and what it has spent since (C1)."""

    __slots__ = ("opening", "spent")

    def __init__(self, state: StateReader) -> None:
        super().__init__(state, records.PURSE, Purse)
        self.opening: dict[bytes, tuple[int, ...]] = {}
        self.spent: dict[bytes, int] = {}

    def get(self, key: bytes) -> Purse | None:
        purse = self.live.get(key)
        if purse is None and key not in self.live:
            purse = super().get(key)
            if purse is not None:
                self.opening[key] = msgspec.structs.astuple(purse)
        return purse

    def open_account(self, account: bytes) -> None:
        """The empty purse of an account that was just created."""
        self.put(account, Purse(0, 0, 0, 0, 0, 0, 0, 0))
        self.opening[account] = (0,) * 8

    def known(self, key: bytes) -> Purse:
        """The purse of an account that exists, about to be changed."""
        self.changed[key] = None
        return self.live.get(key) or super().known(key)

    def spendable(self, account: bytes) -> int:
        """What C1 lets an account still spend in this epoch, in micro-credits."""
        if self.get(account) is None:
            return 0
        return self.opening[account][0] - self.spent.get(account, 0)

    def spend(self, account: bytes, amount: int) -> bool:
        """Takes `amount` from the account's balance if C1 allows it."""
        if amount > self.spendable(account):
            return False
        self.spent[account] = self.spent.get(account, 0) + amount
        self.known(account).balance -= amount
        return True

    def delta(self) -> Delta:
        """The changes. Sums since the beginning stop at what they may come to: the same credits can
        be earned again and again, and nobody may so bring the ledger to an integer past E1.
        """
        for key in self.changed:
            purse = self.live[key]
            if purse is not None:
                for name in records.PURSE_SUMS:
                    if getattr(purse, name) > records.MAX_SUM:
                        setattr(purse, name, records.MAX_SUM)
        return super().delta()


class Tables:
    """Every table of the state, and the single records."""

    def __init__(self, state: StateReader) -> None:
        self.state = state
        self.purses = PurseTable(state)
        self.receipts = Table(state, records.RECEIPT, Receipt)
        self.chains = Table(state, records.CHAIN, records.Chain)
        self.logs = Table(state, records.LOG, records.Log)
        self.device_logs = GroupedTable(state, records.DEVICE_LOG, records.Listed, 64)
        self.contributions = Table(state, records.CONTRIBUTION, records.Contribution)
        self.models = Table(state, records.MODEL, records.Model)
        self.trained_on = Table(state, records.TRAINED_ON, records.TrainedOn)
        self.agents = Table(state, records.AGENT, records.Agent)
        self.datanets = Table(state, records.DATANET, records.Datanet)
        self.members = GroupedTable(state, records.MEMBER, records.Member, 32)
        self.derivations = Table(state, records.DERIVATION, records.Derivation)
        self.grants = Table(state, records.GRANT, records.Grant)
        self.redeems = Table(state, records.REDEEM, records.Redeem)
        self.standing = Table(state, records.STANDING, records.Standing)
        self.payouts = Table(state, records.PAYOUT, records.Payout)
        self.escrow = Table(state, records.ESCROW, Amount)
        self.parked = Table(state, records.PARKED, records.Parked)
        self.voids = Table(state, records.VOID, records.Void)
        self.agendas = Table(state, records.AGENDA, Agenda)
        self.verdicts = Table(state, records.VERDICTS, records.Verdicts)
        self.proposed_sets = Table(state, records.PROPOSED_SET, records.ProposedSet)
        self.ready = Table(state, records.READY, records.Ready)
        self._totals = Table(state, records.TOTALS, Totals)
        self._rules = Table(state, records.RULES, Rules)
        self._epoch = Table(state, records.EPOCH, records.EpochMark)
        self.by_kind: tuple[tuple[str, Table[Any]], ...] = (
            ("contribution", self.contributions),
            ("model", self.models),
            ("agent", self.agents),
            ("datanet", self.datanets),
            ("derivation", self.derivations),
            ("receipt", self.receipts),
            ("grant", self.grants),
            ("redeem", self.redeems),
            ("payout", self.payouts),
            ("void", self.voids),
        )
        self.totals = self._single(self._totals)
        self.rules = self._single(self._rules)
        self.last = self._single(self._epoch)

    @staticmethod
    def _single(table: Table[R]) -> R:
        record = table.get(b"")
        if record is None:
            raise KeyError(f"the state has no record {table.prefix!r}: it was never begun")
        return record

    def agenda(self, epoch: int) -> Agenda:
        """What falls due at the end of `epoch`, about to be added to."""
        key = epoch_key(epoch)
        agenda = self.agendas.get(key)
        if agenda is None:
            agenda = Agenda([], [], [], [])
        self.agendas.put(key, agenda)
        return agenda

    def set_rules(self, rules: Rules) -> None:
        """The rules of the next epoch."""
        self._rules.put(b"", rules)

    def next_rules(self) -> Rules:
        """The rules that the next epoch will follow."""
        return self._single(self._rules)

    def delta(self) -> Delta:
        """All changes of the epoch, sorted by key."""
        self._totals.touch(b"")
        self._epoch.touch(b"")
        tables = [table for table in vars(self).values() if isinstance(table, Table)]
        changes: Delta = []
        for table in sorted(tables, key=lambda each: each.prefix):
            changes += table.delta()
        return changes
