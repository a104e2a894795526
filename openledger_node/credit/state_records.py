"""The records of the state: what is stored under which key, as canonical msgpack arrays.

A key is one prefix byte and then ids or a big-endian epoch (docs/spec/credit.md lists them byte for
byte). Amounts are integers in micro-credits, flags are 0 or 1, and every id is 32 bytes. The state
is trusted input: whoever stores it checks its bytes, and the digest of each epoch covers every
change.
"""

from __future__ import annotations

from typing import Final

import msgspec

from openledger_node.ledger.genesis import Params

# Single records.
DIGEST: Final = b"h"
EPOCH: Final = b"e"
TOTALS: Final = b"t"
RULES: Final = b"r"
# By id.
CHAIN: Final = b"K"
PURSE: Final = b"B"
LOG: Final = b"L"
DEVICE_LOG: Final = b"l"
CONTRIBUTION: Final = b"C"
MODEL: Final = b"M"
TRAINED_ON: Final = b"T"
AGENT: Final = b"G"
DATANET: Final = b"N"
MEMBER: Final = b"n"
DERIVATION: Final = b"V"
GRANT: Final = b"F"
RECEIPT: Final = b"R"
REDEEM: Final = b"O"
STANDING: Final = b"S"
PAYOUT: Final = b"Z"
ESCROW: Final = b"X"
PARKED: Final = b"P"
VOID: Final = b"v"
AGENDA: Final = b"Q"
VERDICTS: Final = b"Y"
PROPOSED_SET: Final = b"W"
READY: Final = b"w"

HELD: Final = 0
MATURED: Final = 1
CANCELLED: Final = 2
POOLED: Final = 3
UPHELD: Final = 4
RECEIPT_STATES: Final = ("held", "matured", "cancelled", "pooled", "upheld")

DERIVATION_PENDING: Final = 0
DERIVATION_COUNTS: Final = 1
DERIVATION_UPHELD: Final = 2
DERIVATION_STATES: Final = ("pending", "counts", "upheld")

Shares = tuple[tuple[bytes, int], ...]
"""[(id, integer), ...]: creators with shares, floors with basis points, receipts with ppm."""


class Record(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    """Base of the records: arrays in fixed order, changed in place while an epoch is folded."""


class EpochMark(Record):
    """The last epoch folded."""

    epoch: int
    cut_id: bytes


class Totals(Record):
    """Sums over the whole ledger. `serial` counts contributions as they are registered."""

    issued: int
    burned: int
    pool: int
    escrow: int
    serial: int


class Rules(Record):
    """The rules in force, changed by witness sets (A10). `past_issuers` may still pay out."""

    number: int
    version: int
    params: Params
    seats: tuple[tuple[bytes, bytes], ...]
    issuers: Shares
    past_issuers: tuple[bytes, ...]


class Chain(Record):
    """An account's key chain (K4). `devices` in the order they were enrolled."""

    n: int
    digest: bytes
    root_keys: tuple[bytes, ...]
    threshold: int
    next_commitment: bytes
    devices: tuple[tuple[bytes, Shares | None], ...]


class Purse(Record):
    """An account's money: what is free, what is locked, and sums since the account began."""

    balance: int
    locked: int
    earned_data: int
    earned_model: int
    earned_agent: int
    refunds: int
    units_paid: int
    units_unpaid: int


PURSE_SUMS: Final = Purse.__struct_fields__[2:]
MAX_SUM: Final = 2**63 - 1
"""Where a purse's sums since the account began stop."""


class Log(Record):
    """How far a log counts. `account` nil: its leaf 0 is bad, it is never read.

    `mark` is its size in the last cut, `read_to` how many of its leaves were read, `closed_at`
    where it ends for ever.
    """

    account: bytes | None
    device: bytes | None
    mark: int
    read_to: int
    authorised: int
    closed_at: int | None


class Listed(Record):
    """Of an index: the key says it all."""


class Contribution(Record):
    """A registered body of data. `creators` () is the account alone; `accepted` gives each
    creator's epoch, or nil.

    `floors` are the effective ones of C8. `serial` is its place among all contributions.
    """

    account: bytes
    epoch: int
    serial: int
    withdrawn_epoch: int | None
    creators: Shares
    accepted: tuple[int | None, ...]
    floors: Shares
    datanet: bytes | None
    tokens: int
    erased: int
    commons: int
    share: str | tuple[bytes, ...] | None


class Model(Record):
    """A registered model; the weights of its `trained_on` lie under their own key."""

    account: bytes
    epoch: int
    creators: Shares
    accepted: tuple[int | None, ...]
    floors: Shares
    trained_on: int


class TrainedOn(Record):
    items: Shares


class Agent(Record):
    account: bytes
    epoch: int
    operator: bytes
    models: tuple[bytes, ...]


class Datanet(Record):
    account: bytes
    epoch: int


class Member(Record):
    """A contribution of a datanet."""

    epoch: int
    tokens: int


class Derivation(Record):
    account: bytes
    epoch: int
    contribution: bytes
    status: int
    challenged: int


class Grant(Record):
    payer: bytes
    provider: bytes
    epoch: int
    expiry_epoch: int | None
    amount: int
    remaining: int


class Receipt(Record):
    """A use and the fee held for it; its amounts were fixed when it was filed (C4).

    `payer` nil: without a grant.
    """

    payer: bytes | None
    provider: bytes
    grant: bytes | None
    model: bytes
    agent: bytes | None
    epoch: int
    matures: int
    uses: int
    unattributed: int
    weights: Shares
    network: int
    data: int
    model_part: int
    agent_part: int
    status: int
    confirmed: int
    released: int
    counted: int
    disputed_until: int | None
    held_until: int | None
    challenged: int

    @property
    def fee(self) -> int:
        return self.network + self.data + self.model_part + self.agent_part

    @property
    def held(self) -> int:
        """What of the fee is still held, in micro-credits."""
        if self.status != HELD:
            return 0
        parts = 0 if self.released else self.model_part + self.agent_part
        return self.network + self.data + parts


class Redeem(Record):
    """Credits locked for an issuer. `open` is what no payout has burned yet; `standing` 1: made by
    a standing order.
    """

    account: bytes
    issuer: bytes
    open: int
    standing: int


class Standing(Record):
    """The standing order of an (account, issuer)."""

    redeem: bytes
    minimum: int


class Payout(Record):
    issuer: bytes
    epoch: int
    items: Shares
    reverses: bytes | None
    reversed: int


class Amount(Record):
    """Escrow of an (artefact, account)."""

    amount: int


class Parked(Record):
    """An event that waits for the id `awaits`; nil: that id is known, and its phase comes in the
    next epoch.
    """

    awaits: bytes | None
    kind: str
    account: bytes
    device: bytes
    log_id: bytes
    order: bytes
    seq: int
    epoch: int
    body: bytes


class Void(Record):
    rule: str
    code: str


class Agenda(Record):
    """What falls due at the end of an epoch. Entries that were settled earlier stay and are passed
    over.
    """

    maturing: list[bytes]
    disputes: list[bytes]
    holds: list[bytes]
    grants: list[bytes]


class Verdicts(Record):
    """First vote of each seat on a target, in ledger order: [(seat's device, upheld)]."""

    votes: Shares


class ProposedSet(Record):
    """A `witness.set` body with the devices of the current seats that filed it."""

    body: bytes
    seats: tuple[bytes, ...]


class Ready(Record):
    """Numbers of the sets that a device said it is ready for: the last one."""

    number: int


def epoch_key(epoch: int) -> bytes:
    """Eight bytes big-endian, so that keys sort by epoch."""
    return epoch.to_bytes(8, "big")
