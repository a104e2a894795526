"""What each command answers: frozen dataclasses whose fields are the JSON keys of `oln --json`.

Ids are hex text, amounts integers in micro-credits (`_micro`), shares in parts per million (`_ppm`)
or basis points. A field that does not apply is None. Lists are tuples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openledger_node.node.results_registry import (
    Account,
    Accounts,
    Added,
    Agent,
    Agents,
    Contribution,
    Contributions,
    Datanet,
    Datanets,
    Derived,
    DerivedFrom,
    Device,
    Devices,
    IndexShown,
    Model,
    Models,
    Skipped,
)

__all__ = [
    "Account",
    "Accounts",
    "Added",
    "Agent",
    "Agents",
    "Attributed",
    "BulkMoved",
    "BundleMoved",
    "Checked",
    "Compacted",
    "Contribution",
    "Contributions",
    "Credit",
    "Credits",
    "Datanet",
    "Datanets",
    "Derived",
    "DerivedFrom",
    "Device",
    "Devices",
    "EpochClosed",
    "EpochShown",
    "Epochs",
    "EventShown",
    "Events",
    "Explained",
    "Explanation",
    "FileWritten",
    "IndexShown",
    "Initialised",
    "LedgerShown",
    "Model",
    "Models",
    "MoneyMoved",
    "Payout",
    "Payouts",
    "Problem",
    "Proved",
    "Recorded",
    "Refusal",
    "Restored",
    "Skipped",
    "Span",
    "StatementRow",
    "StatementShown",
    "Status",
    "Used",
    "UsedBatch",
    "Verified",
    "as_json",
]


@dataclass(frozen=True, slots=True)
class Initialised:
    account_id: str
    account: str
    ledger_id: str
    log_id: str
    node_id: str
    home: str
    recovery_file: str
    name: str
    solo: bool


@dataclass(frozen=True, slots=True)
class Status:
    home: str
    account_id: str
    account: str
    name: str
    ledger_id: str
    ledger_name: str
    role: str
    events: int
    logs: int
    epoch: int
    pending_events: int
    parked_events: int
    peers: tuple[str, ...]
    node_id: str
    daemon: bool
    listening: tuple[str, ...]
    failure: str
    disk_bytes: int
    payload_bytes: int
    balance_micro: int
    locked_micro: int
    state_digest: str
    identity: str
    alarms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LedgerShown:
    ledger_id: str
    name: str
    rules: Mapping[str, Any]
    seats: tuple[Mapping[str, str], ...]
    issuers: tuple[Mapping[str, Any], ...]
    genesis_hex: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event was appended, durable and signed."""

    event_id: str
    kind: str
    log_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class FileWritten:
    file: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class MoneyMoved:
    """`issue`, `transfer`, `grant`, `redeem`: which of the ids is set depends on the command."""

    event_id: str
    amount_micro: int | None
    to: str
    account: str  # what `to` is called here
    grant_id: str | None = None
    redeem_id: str | None = None


@dataclass(frozen=True, slots=True)
class Payout:
    redeem_id: str
    account_id: str
    account: str
    amount_micro: int


@dataclass(frozen=True, slots=True)
class Payouts:
    payout_ids: tuple[str, ...]
    payouts: tuple[Payout, ...]
    total_micro: int
    file: str | None


@dataclass(frozen=True, slots=True)
class Span:
    """Output tokens [start, end) drawn from a document of a contribution."""

    start: int
    end: int
    start_byte: int
    end_byte: int
    contribution_id: str
    document: int
    token: int
    text: str


@dataclass(frozen=True, slots=True)
class Attributed:
    ppm: Mapping[str, int]
    unattributed_ppm: int
    tokens: int
    spans: tuple[Span, ...]
    method: str
    model_id: str | None
    snapshot_epoch: int
    names: Mapping[str, str] = field(default_factory=dict)  # titles by contribution
    missing: tuple[str, ...] = ()  # contributions and derivations whose text or map is not here
    owners: Mapping[str, str] = field(default_factory=dict)  # accounts' names by contribution


@dataclass(frozen=True, slots=True)
class Used:
    receipt_id: str
    ppm: Mapping[str, int]
    unattributed_ppm: int
    fee_micro: int
    uses: int
    grant_id: str | None
    snapshot_epoch: int
    earns: str  # "credits", "units", or "nothing", with the reason in `note`
    note: str
    repeated: bool  # an idempotency key answered with the first result
    missing: tuple[str, ...] = ()  # contributions and derivations whose text or map is not here


@dataclass(frozen=True, slots=True)
class UsedBatch:
    receipts: tuple[Used, ...]
    uses: int
    fee_micro: int


@dataclass(frozen=True, slots=True)
class ReceiptFault:
    """One thing that is wrong with a receipt."""

    ground: str
    what: str
    contribution_id: str | None


@dataclass(frozen=True, slots=True)
class Challenged:
    """What computing a receipt again found, and the challenge that was filed, if any."""

    target_id: str
    filed: bool
    event_id: str | None
    ground: str | None
    faults: tuple[ReceiptFault, ...]
    fault_count: int
    outputs: int
    missing: tuple[str, ...]  # contributions of the scope whose text is not held here


@dataclass(frozen=True, slots=True)
class EpochClosed:
    closed: bool
    epoch: int
    cut_id: str
    statement_root: str
    state_digest: str
    events: int
    receipts: int
    void: int
    parked: int
    note: str


@dataclass(frozen=True, slots=True)
class EpochShown:
    epoch: int
    cut_id: str
    statement_root: str
    state_digest: str
    logs_changed: int
    rows: int
    signatures: int
    final: bool


@dataclass(frozen=True, slots=True)
class Epochs:
    epochs: tuple[EpochShown, ...]


@dataclass(frozen=True, slots=True)
class Credit:
    account_id: str
    account: str
    name: str | None
    balance_micro: int
    locked_micro: int
    escrow_micro: int
    earned_micro: int
    earned_data_micro: int
    earned_model_micro: int
    earned_agent_micro: int
    refunds_micro: int
    pending_micro: int | None
    units: int
    units_paid: int
    units_unpaid: int


@dataclass(frozen=True, slots=True)
class Credits:
    epoch: int
    pending: bool
    accounts: tuple[Credit, ...]
    issued_micro: int
    pool_micro: int
    escrow_micro: int
    burned_micro: int


@dataclass(frozen=True, slots=True)
class StatementRow:
    account_id: str
    name: str | None
    units_paid: int
    units_unpaid: int
    data_micro: int
    model_micro: int
    agent_micro: int
    refunds_micro: int
    balance_micro: int
    locked_micro: int


@dataclass(frozen=True, slots=True)
class StatementShown:
    epoch: int
    cut_id: str
    statement_root: str
    state_digest: str
    rules_version: int
    final: bool
    rows: tuple[StatementRow, ...]
    signatures: tuple[Mapping[str, str], ...]
    licences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """A node of an explanation tree: what, by which rule, how much, and why (children)."""

    title: str
    rule: str | None
    amount_micro: int | None
    children: tuple[Explained, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    id: str
    what: str
    tree: Explained


@dataclass(frozen=True, slots=True)
class EventShown:
    event_id: str
    log_id: str
    account_id: str
    account: str
    seq: int
    kind: str
    time_ms: int
    body: Mapping[str, Any]
    payload_commit: str | None
    payload_len: int
    payload: str
    epoch: int | None
    status: str  # final, pending, void, parked, unread
    rule: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Events:
    events: tuple[EventShown, ...]


@dataclass(frozen=True, slots=True)
class Proved:
    file: str
    what: str
    size_bytes: int
    ledger_id: str


@dataclass(frozen=True, slots=True)
class Verified:
    valid: bool
    what: str
    ledger_id: str
    ledger_name: str
    facts: Mapping[str, Any]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    part: str
    what: str
    hint: str


@dataclass(frozen=True, slots=True)
class Checked:
    ok: bool
    events: int
    logs: int
    payloads: int
    epochs: int
    problems: tuple[Problem, ...]
    repaired: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compacted:
    before_bytes: int
    after_bytes: int


@dataclass(frozen=True, slots=True)
class Restored:
    home: str
    ledger_id: str
    account_id: str
    events: int
    note: str


@dataclass(frozen=True, slots=True)
class Refusal:
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class BundleMoved:
    """`bundle export` and `bundle import`."""

    file: str
    events: int
    logs: int
    payloads: int
    size_bytes: int
    refused: tuple[Refusal, ...]
    epochs: int


@dataclass(frozen=True, slots=True)
class BulkMoved:
    """`import` and `export`."""

    file: str
    events: int
    refused: tuple[Refusal, ...]
    note: str


def as_json(result: object) -> Any:
    """A result as JSON-ready values.

    The keys are the field names (sizes of data and of the index also as `bytes`).
    """
    if isinstance(result, Mapping):
        return {str(key): as_json(value) for key, value in result.items()}
    if isinstance(result, (tuple, list)):
        return [as_json(value) for value in result]
    slots = getattr(type(result), "__dataclass_fields__", None)
    if slots is None:
        return result
    shown = {name: as_json(getattr(result, name)) for name in slots}
    if isinstance(result, Added | IndexShown):
        shown["bytes"] = result.bytes
    return shown
