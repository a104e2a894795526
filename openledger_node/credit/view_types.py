"""What the views of the state look like. Amounts are micro-credits and end in `_micro`, shares are
ppm or basis points.
"""

from __future__ import annotations

from dataclasses import dataclass

from openledger_node.credit.state_records import Shares
from openledger_node.ledger.genesis import Params
from openledger_node.ledger.votes import WitnessSet, seat_set_digest


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account's money now, and its sums since it was created."""

    account_id: bytes
    balance_micro: int
    locked_micro: int
    earned_data_micro: int
    earned_model_micro: int
    earned_agent_micro: int
    refunds_micro: int
    units_paid: int
    units_unpaid: int


@dataclass(frozen=True, slots=True)
class ContributionView:
    """`creators` () is the account alone; `accepted_epochs` says when each creator accepted.
    `serial` orders them all.
    """

    contribution_id: bytes
    account: bytes
    epoch: int
    serial: int
    datanet: bytes | None
    tokens: int
    creators: Shares
    accepted_epochs: tuple[int | None, ...]
    floors_bp: Shares
    withdrawn_epoch: int | None
    erased: bool
    commons: bool
    share: str | tuple[bytes, ...] | None


@dataclass(frozen=True, slots=True)
class ModelView:
    model_id: bytes
    account: bytes
    epoch: int
    creators: Shares
    accepted_epochs: tuple[int | None, ...]
    floors_bp: Shares
    trained_on: Shares


@dataclass(frozen=True, slots=True)
class AgentView:
    agent_id: bytes
    account: bytes
    epoch: int
    operator: bytes
    models: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class DatanetView:
    datanet_id: bytes
    account: bytes
    epoch: int


@dataclass(frozen=True, slots=True)
class MemberView:
    """A contribution of a datanet, registered in `epoch`."""

    contribution_id: bytes
    epoch: int
    tokens: int


@dataclass(frozen=True, slots=True)
class DerivationView:
    """`status`: pending, counts or upheld."""

    derivation_id: bytes
    account: bytes
    epoch: int
    contribution: bytes
    status: str
    challenged: bool


@dataclass(frozen=True, slots=True)
class GrantView:
    grant_id: bytes
    payer: bytes
    provider: bytes
    epoch: int
    expiry_epoch: int | None
    amount_micro: int
    remaining_micro: int


@dataclass(frozen=True, slots=True)
class ReceiptView:
    """`status`: held, matured, cancelled, pooled or upheld."""

    receipt_id: bytes
    payer: bytes | None
    provider: bytes
    grant: bytes | None
    model: bytes
    agent: bytes | None
    epoch: int
    matures_epoch: int
    uses: int
    weights_ppm: Shares
    unattributed_ppm: int
    fee_micro: int
    network_micro: int
    data_micro: int
    model_micro: int
    agent_micro: int
    held_micro: int
    status: str
    confirmed: bool
    disputed_until_epoch: int | None
    held_until_epoch: int | None
    challenged: bool


@dataclass(frozen=True, slots=True)
class RedeemView:
    redeem_id: bytes
    account: bytes
    issuer: bytes
    open_micro: int
    standing: bool


@dataclass(frozen=True, slots=True)
class StandingView:
    """An order in force that redeems what is spendable at the end of every epoch."""

    account: bytes
    issuer: bytes
    redeem_id: bytes
    minimum_micro: int


@dataclass(frozen=True, slots=True)
class PayoutView:
    payout_id: bytes
    issuer: bytes
    epoch: int
    items: Shares
    reverses: bytes | None
    reversed: bool


@dataclass(frozen=True, slots=True)
class EscrowView:
    """What waits for a named creator to accept."""

    artefact_id: bytes
    account: bytes
    amount_micro: int


@dataclass(frozen=True, slots=True)
class LogView:
    """`account` None: leaf 0 is bad, the log is never read. `closed_at`: where it ends for ever."""

    log_id: bytes
    account: bytes | None
    device: bytes | None
    mark_size: int
    read_to: int
    authorised: bool
    closed_at: int | None


@dataclass(frozen=True, slots=True)
class ProposedSetView:
    """A `witness.set` that current seats filed (A10), by its digest; `devices` are theirs."""

    digest: bytes
    body: WitnessSet
    devices: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RulesView:
    """The rules that the next epoch follows."""

    number: int
    version: int
    params: Params
    seats: tuple[tuple[bytes, bytes], ...]
    issuers: Shares
    past_issuers: tuple[bytes, ...]

    @property
    def set_digest(self) -> bytes:
        """Names the witness set with all that changes with it."""
        return seat_set_digest(self.number, self.seats, self.version, self.params, self.issuers)


@dataclass(frozen=True, slots=True)
class TotalsView:
    """balances + locked + escrow + pool + burned == issued."""

    issued_micro: int
    burned_micro: int
    pool_micro: int
    escrow_micro: int
    contributions: int


@dataclass(frozen=True, slots=True)
class ParkedView:
    """An event that waits; `awaits` None: for the next epoch only."""

    event_id: bytes
    kind: str
    account: bytes
    log_id: bytes
    seq: int
    epoch: int
    awaits: bytes | None
