"""The statement: an epoch's table of credits, its root, and the proof of one row.

- A row is `[account, units paid, units unpaid, earned as data, as model, as agent, refunds,
  balance, locked]`: units, what was earned and refunded in this epoch; balance and locked at its
  end. Rows ascend by account; there is one for every account where any figure is not zero.
- Root = RFC 6962 over the rows' canonical bytes. Statement = `[1, epoch, cut_id, [rows]]`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from openledger_node.credit import state_records
from openledger_node.credit.inputs import StateReader
from openledger_node.credit.overlay import PurseTable
from openledger_node.credit.state_records import Purse
from openledger_node.ledger import merkle
from openledger_node.ledger.encoding import decode_as, encode
from openledger_node.ledger.errors import BadInput, VerificationFailed
from openledger_node.ledger.events import Id

STATEMENT_VERSION: Final = 1
MAX_ROW_BYTES: Final = 256
MAX_PROOF_HASHES: Final = 64
"""A path has at most 40 hashes at 2^40 accounts."""

Figure = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Row(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """One account's credits in an epoch. Units are ppm x uses, everything else micro-credits."""

    account: Id
    units_paid: Figure
    units_unpaid: Figure
    earned_data_micro: Figure
    earned_model_micro: Figure
    earned_agent_micro: Figure
    refunds_micro: Figure
    balance_micro: Figure
    locked_micro: Figure


class RowProof(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """That `row` is the `index`-th of the `size` rows under a statement's root."""

    row: Row
    index: Annotated[int, Meta(ge=0, le=2**40)]
    size: Annotated[int, Meta(ge=1, le=2**40)]
    path: Annotated[tuple[Id, ...], Meta(max_length=MAX_PROOF_HASHES)]

    def verify(self, root: bytes) -> Row:
        """The row, proved to stand under `root`. VerificationFailed when it does not."""
        leaf = merkle.leaf_hash(encode(self.row))
        if not merkle.verify_inclusion(leaf, self.index, self.size, self.path, root):
            raise VerificationFailed("the row is not one of the statement with this root")
        return self.row


class _Encoded(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    version: Annotated[int, Meta(ge=1, le=1)]
    epoch: Annotated[int, Meta(ge=0, le=2**40)]
    cut_id: Id
    rows: tuple[Row, ...]


_decoder = msgspec.msgpack.Decoder(_Encoded)


@dataclass(frozen=True)
class Statement:
    """An epoch's rows, ascending by account."""

    epoch: int
    cut_id: bytes
    rows: tuple[Row, ...]

    @cached_property
    def row_bytes(self) -> list[bytes]:
        """Each row's canonical bytes: the leaves of the statement's tree."""
        return [encode(row) for row in self.rows]

    @cached_property
    def root(self) -> bytes:
        """RFC 6962 root over the rows; of none, SHA-256 of nothing."""
        return merkle.root(self.row_bytes)

    def encode(self) -> bytes:
        """The statement's canonical bytes."""
        return encode(_Encoded(STATEMENT_VERSION, self.epoch, self.cut_id, self.rows))

    def row(self, account: bytes) -> Row | None:
        """The account's row, None when all its figures are zero."""
        index = bisect_left(self.rows, account, key=lambda row: row.account)
        if index < len(self.rows) and self.rows[index].account == account:
            return self.rows[index]
        return None

    def row_proof(self, account: bytes) -> RowProof | None:
        """The proof of the account's row under `root`, None without a row."""
        row = self.row(account)
        if row is None:
            return None
        index = bisect_left(self.rows, account, key=lambda each: each.account)
        hashes = [merkle.leaf_hash(data) for data in self.row_bytes]
        return RowProof(row, index, len(hashes), tuple(merkle.inclusion_proof(hashes, index)))


def parse_statement(data: bytes) -> Statement:
    """The statement in `data`. BadInput when it is malformed or its rows do not ascend."""
    parsed = decode_as(_decoder, data, "the statement")
    accounts = [row.account for row in parsed.rows]
    if any(left >= right for left, right in pairwise(accounts)):
        raise BadInput("the statement's rows do not ascend by account")
    return Statement(parsed.epoch, parsed.cut_id, parsed.rows)


_purse_decoder = msgspec.msgpack.Decoder(Purse)


def make_rows(state: StateReader, purses: PurseTable) -> tuple[Row, ...]:
    """The rows after an epoch: the purses it changed over all those stored before it."""
    rows = [row for row in _unchanged_rows(state, purses.changed) if row is not None]
    for account in purses.changed:
        purse, opening = purses.live[account], purses.opening[account]
        if purse is None:
            continue
        row = Row(
            account,
            purse.units_paid - opening[6],
            purse.units_unpaid - opening[7],
            purse.earned_data - opening[2],
            purse.earned_model - opening[3],
            purse.earned_agent - opening[4],
            purse.refunds - opening[5],
            purse.balance,
            purse.locked,
        )
        if any(msgspec.structs.astuple(row)[1:]):
            rows.append(row)
    rows.sort(key=lambda row: row.account)
    return tuple(rows)


def _unchanged_rows(state: StateReader, changed: dict[bytes, None]) -> Iterator[Row | None]:
    decode = _purse_decoder.decode
    for key, raw in state.scan(state_records.PURSE):
        account = key[1:]
        if account not in changed:
            purse = decode(raw)
            if purse.balance or purse.locked:
                yield Row(account, 0, 0, 0, 0, 0, 0, purse.balance, purse.locked)
