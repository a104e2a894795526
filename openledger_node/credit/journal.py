"""The journal of an epoch: what happened in it, for explaining its statement. Not part of the
state.

It names receipts with what became of them in this epoch, movements of money, escrow that was paid,
void and parked events. Splits are not in it: `explain` computes them again with the functions the
fold used (`splits`).
"""

from __future__ import annotations

from typing import Final

import msgspec

from openledger_node.ledger.encoding import decode_as, encode

JOURNAL_VERSION: Final = 1

UNITS: Final = 1
RELEASED: Final = 2
SETTLED: Final = 4
REFUNDED: Final = 8
POOLED: Final = 16

ISSUE: Final = "issue"
TRANSFER: Final = "transfer"
GRANT: Final = "grant"
GRANT_RETURNED: Final = "grant_returned"
REDEEM: Final = "redeem"
BURN: Final = "burn"
UNBURN: Final = "unburn"


class Entry(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    """Base of the journal's arrays."""


class ReceiptEntry(Entry):
    """What became of a receipt in this epoch: a sum of UNITS, RELEASED, SETTLED, REFUNDED, POOLED.

    `moved` are the micro-credits of REFUNDED and POOLED; all else is fixed in the receipt's record.
    """

    receipt_id: bytes
    effects: int
    moved: int


class Movement(Entry):
    """Money that moved in phases 3, 6 and 7. `source` and `target` are accounts, nil where there is
    none.
    """

    what: str
    event_id: bytes
    source: bytes | None
    target: bytes | None
    amount: int


class EscrowPaid(Entry):
    artefact: bytes
    account: bytes
    as_data: int
    amount: int


class VoidEntry(Entry):
    event_id: bytes
    rule: str
    code: str


class ParkedEntry(Entry):
    event_id: bytes
    awaits: bytes


class Journal(Entry):
    """Everything `explain` needs of an epoch beside the state."""

    version: int
    epoch: int
    cut_id: bytes
    unattributed: str
    receipts: list[ReceiptEntry]
    movements: list[Movement]
    escrow_paid: list[EscrowPaid]
    voids: list[VoidEntry]
    parked: list[ParkedEntry]

    def encode(self) -> bytes:
        return encode(self)


_decoder = msgspec.msgpack.Decoder(Journal)


def parse_journal(data: bytes) -> Journal:
    """The journal in `data`. BadInput when it is none."""
    return decode_as(_decoder, data, "the journal of an epoch")
