"""The genesis document: what a ledger is, before anything has happened on it.

- G1 Genesis = `[1, name, salt, rules_version, params, [[inception, device key], ... seats],
  [[issuer account, cap_micro per epoch], ...]]`; `ledger_id = H("genesis", genesis)`. Seats' and
  issuers' accounts are created by `account.create` like all others.
- G2 Params, in this order: epoch_ms, t0_ms, network_fee_bp, role_bp [data, model, agent],
  unattributed (`refund` or `trained_on`), maturity_epochs, dispute_epochs, park_epochs,
  commons_accounts.
- G3 n seats tolerate f = (n - 1) // 3 and decide with q = 2n // 3 + 1; n <= 3 needs all.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from openledger_node.ledger.accounts import Inception, Salt
from openledger_node.ledger.encoding import H, decode_as
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.events import Id, Key
from openledger_node.ledger.keys import PublicKey

RULES_VERSION: Final = 1
BASIS_POINTS: Final = 10_000
MAX_SEATS: Final = 31
MAX_ISSUERS: Final = 64
MAX_COMMONS_ACCOUNTS: Final = 64
MAX_AMOUNT_MICRO: Final = 2**53 - 1
MAX_GENESIS_BYTES: Final = 64 * 1024
MAX_EPOCH_MS: Final = 366 * 24 * 3600 * 1000
MAX_PERIOD_EPOCHS: Final = 100_000

Bp = Annotated[int, Meta(ge=0, le=BASIS_POINTS)]
Period = Annotated[int, Meta(ge=0, le=MAX_PERIOD_EPOCHS)]


class Params(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The figures of a ledger (G2)."""

    epoch_ms: Annotated[int, Meta(ge=0, le=MAX_EPOCH_MS)]
    t0_ms: Annotated[int, Meta(ge=1, le=MAX_EPOCH_MS)]
    network_fee_bp: Bp
    role_bp: tuple[Bp, Bp, Bp]
    unattributed: Literal["refund", "trained_on"]
    maturity_epochs: Period
    dispute_epochs: Period
    park_epochs: Period
    commons_accounts: Annotated[tuple[Id, ...], Meta(max_length=MAX_COMMONS_ACCOUNTS)]


class Genesis(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A ledger's first document (G1)."""

    version: Annotated[int, Meta(ge=1, le=1)]
    name: Annotated[str, Meta(min_length=1, max_length=128)]
    salt: Salt
    rules_version: Annotated[int, Meta(ge=1, le=2**16)]
    params: Params
    seats: Annotated[tuple[tuple[Inception, Key], ...], Meta(min_length=1, max_length=MAX_SEATS)]
    issuers: Annotated[
        tuple[tuple[Id, Annotated[int, Meta(ge=0, le=MAX_AMOUNT_MICRO)]], ...],
        Meta(max_length=MAX_ISSUERS),
    ]

    @property
    def ledger_id(self) -> bytes:
        return H("genesis", self)

    @property
    def seat_keys(self) -> tuple[tuple[bytes, bytes], ...]:
        """(account_id, device key) of each seat, by seat index."""
        return tuple((inception.account_id, device) for inception, device in self.seats)


class Succession(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The last statement of a ledger that another one goes on from (A11).

    The new genesis's salt is `salt`: its ledger id is bound to the old ledger's end.
    """

    nonce: Annotated[bytes, Meta(min_length=16, max_length=16)]
    ledger_id: Id
    epoch: Annotated[int, Meta(ge=1, le=2**40)]
    statement_root: Id

    @property
    def salt(self) -> bytes:
        return H("succeeds", self.nonce, self.ledger_id, self.epoch, self.statement_root)


_genesis_decoder = msgspec.msgpack.Decoder(Genesis)


def solo_params(own_account: bytes) -> Params:
    """The defaults of a ledger of one: epochs close on demand and fees mature at once."""
    return Params(0, 1_000, 500, (4_000, 3_500, 2_500), "refund", 0, 4, 8, (own_account,))


def network_params(commons_accounts: tuple[bytes, ...]) -> Params:
    """The defaults of a ledger of several witnesses."""
    return Params(
        3_600_000, 5_000, 500, (4_000, 3_500, 2_500), "refund", 4, 12, 8, commons_accounts
    )


def quorum(seats: int) -> int:
    """q of G3: how many seats' votes make a certificate."""
    return 2 * seats // 3 + 1


def faults_tolerated(seats: int) -> int:
    """f of G3."""
    return (seats - 1) // 3


def params_fault(params: Params) -> str:
    """Why `params` cannot be a ledger's, or an empty text."""
    if sum(params.role_bp) != BASIS_POINTS:
        return f"role_bp sums to {sum(params.role_bp)}, not {BASIS_POINTS}"
    if len(set(params.commons_accounts)) != len(params.commons_accounts):
        return "an account is listed twice in commons_accounts"
    return ""


def genesis_fault(genesis: Genesis) -> str:
    """Why `genesis` cannot begin a ledger, or an empty text."""
    fault = params_fault(genesis.params)
    if fault:
        return fault
    devices = [device for _, device in genesis.seats]
    accounts = [inception.account_id for inception, _ in genesis.seats]
    if len(set(devices)) != len(devices) or len(set(accounts)) != len(accounts):
        return "two seats share an account or a device key"
    issuers = [account for account, _ in genesis.issuers]
    if len(set(issuers)) != len(issuers):
        return "an issuer is listed twice"
    for device in devices:
        try:
            PublicKey.parse(device)
        except BadInput as error:
            return f"a seat's device key is unusable: {error.message}"
    return ""


def parse_genesis(data: bytes) -> Genesis:
    """The genesis in `data`. BadInput when it is malformed or could not begin a ledger."""
    if len(data) > MAX_GENESIS_BYTES:
        raise BadInput(f"a genesis has at most {MAX_GENESIS_BYTES:,} bytes, this one {len(data):,}")
    genesis = decode_as(_genesis_decoder, data, "the genesis")
    fault = genesis_fault(genesis)
    if fault:
        raise BadInput(f"not a usable genesis: {fault}")
    return genesis
