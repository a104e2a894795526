"""The final epochs in a view of the store: records, cuts, journals, signed states."""

from __future__ import annotations

import msgspec

from openledger_node.ledger.encoding import decode
from openledger_node.ledger.errors import StoreDamaged
from openledger_node.ledger.heads import Mark
from openledger_node.ledger.votes import WitnessState
from openledger_node.store.view import View


class EpochRecord(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A final epoch as stored."""

    epoch: int
    cut_id: bytes
    changed: tuple[Mark, ...]
    statement: bytes
    statement_root: bytes
    state_digest: bytes
    rules_version: int
    next_set_digest: bytes
    events: int
    view: int
    proposal_id: bytes
    certificate: tuple[tuple[int, bytes], ...]


_epoch_decoder = msgspec.msgpack.Decoder(EpochRecord)
_state_decoder = msgspec.msgpack.Decoder(WitnessState)


def epoch_key(epoch: int) -> bytes:
    return epoch.to_bytes(8, "big")


class EpochsView(View):
    """What was decided, and what the fold made of it."""

    def last_epoch(self) -> int:
        last = self._txn.last("epochs")
        return int.from_bytes(last[0], "big") if last else 0

    def epoch(self, epoch: int) -> EpochRecord | None:
        stored = self._txn.get("epochs", epoch_key(epoch)) if epoch >= 0 else None
        return None if stored is None else _epoch_decoder.decode(stored)

    def must_epoch(self, epoch: int) -> EpochRecord:
        record = self.epoch(epoch)
        if record is None:
            raise StoreDamaged(f"the record of epoch {epoch} is missing", hint="run `oln check`")
        return record

    def journal(self, epoch: int) -> bytes | None:
        return self._txn.get("journal", epoch_key(epoch))

    def cut_mark(self, log_id: bytes) -> Mark | None:
        """The log's mark in the last cut."""
        stored = self._txn.get("cutmarks", log_id)
        return None if stored is None else _mark(log_id, stored)

    def cut_marks(self) -> dict[bytes, Mark]:
        """The whole last cut."""
        return {log_id: _mark(log_id, stored) for log_id, stored in self._txn.scan("cutmarks")}

    def epoch_of(self, log_id: bytes, seq: int) -> int | None:
        """The first epoch whose cut holds event `seq` of a log."""
        for key, size in self._txn.scan("cutsizes", log_id):
            if int.from_bytes(size, "big") > seq:
                return int.from_bytes(key[len(log_id) :], "big")
        return None

    def size_in_cut(self, log_id: bytes, epoch: int) -> int | None:
        """The log's size in the cut of an epoch in which it grew.

        None when it did not grow then.
        """
        stored = self._txn.get("cutsizes", log_id + epoch_key(epoch))
        return None if stored is None else int.from_bytes(stored, "big")

    def states(self, epoch: int) -> dict[int, WitnessState]:
        """The signed states of an epoch, by seat."""
        prefix = epoch_key(epoch)
        return {
            key[8]: _state_decoder.decode(stored)
            for key, stored in self._txn.scan("states", prefix)
        }


def _mark(log_id: bytes, stored: bytes) -> Mark:
    size, root = decode(stored)
    return Mark(log_id, size, root)
