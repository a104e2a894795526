"""The state of the naive fold, and what all its phases use: waiting, finding, spending."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from openledger_node.ledger import accounts, genesis, kinds
from openledger_node.ledger.errors import OlnError
from tests.credit.naive_records import (
    Due,
    Entry,
    LogRecord,
    Thing,
    Unknown,
    Void,
)

PHASE = {
    **dict.fromkeys(("account.accept", "datanet.create", "model.register", "agent.register"), 2),
    **{kind: 2 for kind in kinds.BODY_TYPES if kind.startswith("data.")},
    **dict.fromkeys(("money.issue", "money.transfer", "money.grant"), 3),
    "use.receipt": 4,
    **dict.fromkeys(("use.confirm", "use.cancel", "use.dispute"), 5),
    **dict.fromkeys(("audit.challenge", "audit.verdict"), 5),
    **dict.fromkeys(("money.redeem", "money.payout"), 7),
    **dict.fromkeys(("witness.set", "witness.ready"), 8),
}


def apportion(total: int, weights: Sequence[tuple[bytes, int]], salt: bytes) -> dict[bytes, int]:
    """Largest remainder with Fractions; nothing is paid when all weights are 0."""
    whole = sum(weight for _, weight in weights)
    if whole == 0:
        return {}
    exact = {key: Fraction(total * weight, whole) for key, weight in weights}
    paid = {key: part.numerator // part.denominator for key, part in exact.items()}
    order = sorted(
        exact, key=lambda key: (paid[key] - exact[key], hashlib.sha256(salt + key).digest())
    )
    for key in order[: total - sum(paid.values())]:
        paid[key] += 1
    return paid


@dataclass
class Rules:
    """The witness set in force, with what changes with it."""

    number: int
    seats: tuple[tuple[bytes, bytes], ...]
    version: int
    params: genesis.Params
    issuers: dict[bytes, int]


@dataclass
class NaiveState:
    """Everything that the ledger knows after the epochs replayed so far."""

    genesis: genesis.Genesis
    leaves: Mapping[bytes, Sequence[bytes]]
    epoch: int = 0
    cut_id: bytes = b""
    chains: dict[bytes, accounts.KeyChain] = field(default_factory=dict)
    logs: dict[bytes, LogRecord] = field(default_factory=dict)
    closed: dict[bytes, int] = field(default_factory=dict)
    things: dict[bytes, Thing] = field(default_factory=dict)
    accepted: set[tuple[bytes, bytes]] = field(default_factory=set)
    balance: dict[bytes, int] = field(default_factory=lambda: defaultdict(int))
    escrow: dict[tuple[bytes, bytes], int] = field(default_factory=lambda: defaultdict(int))
    issued: int = 0
    pool: int = 0
    burned: int = 0
    standing: dict[tuple[bytes, bytes], tuple[bytes, int]] = field(default_factory=dict)
    past_issuers: set[bytes] = field(default_factory=set)
    set_votes: dict[bytes, tuple[Any, set[Any]]] = field(default_factory=dict)
    ready: set[tuple[bytes, bytes]] = field(default_factory=set)
    void: dict[bytes, tuple[str, str]] = field(default_factory=dict)
    waiting: dict[bytes, list[Entry]] = field(default_factory=dict)
    woken: list[Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        g = self.genesis
        self.rules = Rules(0, g.seat_keys, g.rules_version, g.params, dict(g.issuers))
        self.past_issuers = set(self.rules.issuers)
        self.old_balance: dict[bytes, int] = {}
        self.spent: dict[bytes, int] = {}
        self.due = Due()
        self.phase = 0

    def run_phase(self, own: list[Entry]) -> None:
        earlier = [entry for entry in self.woken if PHASE[entry.kind] == self.phase]
        self.woken = [entry for entry in self.woken if PHASE[entry.kind] != self.phase]
        for entry in sorted(earlier, key=lambda entry: entry.order) + own:
            self.handle(entry)

    def handle(self, entry: Entry) -> None:
        """One event: done, void, or put to wait."""
        if entry.body is None and not self.parse(entry):
            return
        handler = getattr(self, "do_" + entry.kind.replace(".", "_"))
        try:
            handler(entry, entry.body)
        except Unknown as unknown:
            self.waiting.setdefault(unknown.id, []).append(entry)
            return
        except Void as why:
            self.set_void(entry.id, why.rule, why.code)
            return
        self.wake(entry.id)

    def set_void(self, event_id: bytes, rule: str, code: str) -> None:
        self.void[event_id] = (rule, code)
        self.wake(event_id)

    def wake(self, known: bytes) -> None:
        if known not in self.things and known not in self.void and known not in self.chains:
            return
        for entry in sorted(self.waiting.pop(known, []), key=lambda entry: entry.order):
            if PHASE[entry.kind] == self.phase:
                self.handle(entry)
            else:
                self.woken.append(entry)

    def find(self, wanted: bytes, rule: str, *types: str) -> Thing:
        """What an id names; raises Unknown, or Void when it is void or of another type."""
        if wanted in self.void:
            raise Void(rule, "names_void")
        if wanted not in self.things:
            raise Unknown(wanted)
        if types and self.things[wanted].type not in types:
            raise Void(rule, "wrong_type")
        return self.things[wanted]

    def make(self, entry: Entry, kind: str, body: Any) -> None:
        self.things[entry.id] = Thing(kind, entry.author, self.epoch, body)

    def parse(self, entry: Entry) -> bool:
        if len(memoryview(entry.raw)) > kinds.max_body_bytes(entry.kind):
            self.set_void(entry.id, "L2", "too_long")
            return False
        try:
            entry.body = kinds.parse_raw_body(entry.kind, entry.raw)
        except OlnError:
            self.set_void(entry.id, "L2", "malformed")
            return False
        return True

    def check_distinct(self, pairs: Sequence[tuple[bytes, int]], rule: str) -> None:
        if len({key for key, _ in pairs}) != len(pairs):
            raise Void(rule, "duplicate")

    def creators(self, artefact: bytes) -> Sequence[tuple[bytes, int]]:
        thing = self.things[artefact]
        return thing.body.creators or ((thing.account, 1),)

    def floors(self, direct: Sequence[tuple[bytes, int]]) -> dict[bytes, int]:
        """The largest floor per distinct ancestor, own and inherited."""
        merged = dict(direct)
        for base, _ in direct:
            body = self.things[base].body
            inherited = body.bases if self.things[base].type == "model" else body.derived_from
            for ancestor, bp in self.floors(inherited).items():
                merged[ancestor] = max(bp, merged.get(ancestor, 0))
        return merged

    def spend(self, account: bytes, amount: int) -> None:
        if amount > self.spendable(account):
            raise Void("C1", "balance")
        self.spent[account] += amount
        self.balance[account] -= amount

    def spendable(self, account: bytes) -> int:
        return self.old_balance.get(account, 0) - self.spent[account]
