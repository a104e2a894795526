"""The records of the naive fold: mutable and plain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from openledger_node.ledger.genesis import BASIS_POINTS, Params


class Void(Exception):
    """The event is void: rule id and reason code."""

    def __init__(self, rule: str, code: str) -> None:
        super().__init__(rule, code)
        self.rule, self.code = rule, code


class Unknown(Exception):
    """The event names an id that is not known yet."""

    def __init__(self, unknown: bytes) -> None:
        super().__init__(unknown.hex())
        self.id = unknown


@dataclass
class LogRecord:
    """A log of the cut; `usable` = it opens well, and on this ledger."""

    id: bytes
    mark: int
    usable: bool = True
    account: bytes = b""
    device: bytes = b""
    read_to: int = 0


@dataclass
class Entry:
    """One event as it is read; `order` = (epoch, SHA-256(cut id, log id), seq)."""

    id: bytes
    order: tuple[int, bytes, int]
    log: LogRecord
    seq: int
    kind: str = ""
    raw: Any = b""
    body: Any = None

    @property
    def epoch(self) -> int:
        return self.order[0]

    @property
    def author(self) -> bytes:
        return self.log.account


@dataclass
class Thing:
    """What an event made: contribution, model, agent, datanet, derivation, receipt, grant, ..."""

    type: str
    account: bytes
    epoch: int
    body: Any
    withdrawn: int | None = None


@dataclass
class Derivation:
    contribution: bytes
    counts: bool
    challenged: bool = False
    votes: dict[Any, int] = field(default_factory=dict)


@dataclass
class Grant:
    provider: bytes
    remaining: int
    expiry: int | None


@dataclass
class Receipt:
    """A receipt; `parts` is what is still held of its fee, by where it goes."""

    body: Any
    payer: bytes | None
    provider: bytes
    matures: int = 0
    status: str = "held"
    confirmed: bool = False
    counted: bool = False
    challenged: bool = False
    disputed_until: int | None = None
    hold_until: int | None = None
    votes: dict[Any, int] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)

    def split(self, params: Params, salt: bytes, apportion: Callable[..., Any]) -> None:
        """C5 and C6, by the params of the epoch in which the receipt is handled."""
        fee = self.body.fee_micro
        network = fee * params.network_fee_bp // BASIS_POINTS
        data, model, agent = params.role_bp
        if self.body.agent is None:
            model, agent = model + agent, 0
        weights = [(b"data", data), (b"model", model), (b"agent", agent)]
        if self.body.agent is None:
            weights.pop()
        roles = apportion(fee - network, weights, salt)
        self.parts = {"network": network}
        for role in ("data", "model", "agent"):
            self.parts[role] = roles.get(role.encode(), 0)

    def take(self, *names: str) -> int:
        """What is still held under these names; it is held no longer."""
        return sum(self.parts.pop(name, 0) for name in names)


@dataclass
class Due:
    """What one epoch pays and counts."""

    @dataclass
    class Redeem:
        issuer: bytes
        open: int

    @dataclass
    class Payout:
        body: Any
        reversed: bool = False

    units_paid: dict[bytes, int] = field(default_factory=lambda: defaultdict(int))
    units_unpaid: dict[bytes, int] = field(default_factory=lambda: defaultdict(int))
    refunds: dict[bytes, int] = field(default_factory=lambda: defaultdict(int))
    declared: dict[bytes, int] = field(default_factory=lambda: defaultdict(int))
    data: dict[bytes, int] = field(default_factory=lambda: defaultdict(int))
    model: dict[bytes, int] = field(default_factory=lambda: defaultdict(int))
    earned: dict[tuple[bytes, str], int] = field(default_factory=lambda: defaultdict(int))
    escrow: list[tuple[bytes, bytes]] = field(default_factory=list)


@dataclass
class Result:
    """One epoch: statement rows and root, the events that became void, who waits, the totals,
    how many receipts have each status, how many logs are closed, the number of the witness set.
    """

    epoch: int
    rows: list[list[Any]]
    root: bytes
    void: dict[bytes, tuple[str, str]]
    parked: set[bytes]
    totals: dict[str, int]
    receipts: dict[str, int]
    closed_logs: int
    set_number: int
