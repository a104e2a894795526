"""Registrations (phase 2), money (3, 7) and the witness set (8) of the naive fold."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from openledger_node.ledger import genesis, kinds
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.keys import PublicKey
from openledger_node.ledger.votes import seat_set_digest
from tests.credit.naive_records import (
    Derivation,
    Due,
    Entry,
    Grant,
    Thing,
    Unknown,
    Void,
)
from tests.credit.naive_state import NaiveState, Rules


class FilingPhases(NaiveState):
    """Phases 2, 3, 7 and 8: one method for each kind."""

    def do_account_accept(self, entry: Entry, body: Any) -> None:
        thing = self.find(body.target, "C10", "contribution", "model", "derivation")
        if thing.type == "derivation":
            if self.things[thing.body.contribution].account != entry.author:
                raise Void("OWN", "not_the_owner")
            if thing.body.counts:
                raise Void("OWN", "accepted_before")
            thing.body.counts = True
            return
        if entry.author not in dict(thing.body.creators):
            raise Void("C10", "not_a_creator")
        if (body.target, entry.author) in self.accepted:
            raise Void("C10", "accepted_before")
        self.accepted.add((body.target, entry.author))
        self.due.escrow.append((body.target, entry.author))

    def do_datanet_create(self, entry: Entry, body: Any) -> None:
        self.make(entry, "datanet", body)

    def do_data_contribute(self, entry: Entry, body: Any) -> None:
        self.check_distinct(body.creators, "C10")
        if body.datanet is not None:
            self.find(body.datanet, "C7", "datanet")
        self.check_floors(body.derived_from, "contribution")
        self.make(entry, "contribution", body)
        self.accept_own(entry, body)

    def accept_own(self, entry: Entry, body: Any) -> None:
        if entry.author in dict(body.creators) or not body.creators:
            self.accepted.add((entry.id, entry.author))

    def check_floors(self, direct: Sequence[tuple[bytes, int]], kind: str) -> None:
        self.check_distinct(direct, "C8")
        for base, _ in direct:
            self.find(base, "C8", kind)
        floors = self.floors(direct)
        if len(floors) > kinds.MAX_FLOORS:
            raise Void("C8", "too_many")
        if sum(floors.values()) > kinds.MAX_FLOORS_BP:
            raise Void("C8", "too_much")

    def do_data_share(self, entry: Entry, body: Any) -> None:
        if self.find(body.contribution, "OWN", "contribution").account != entry.author:
            raise Void("OWN", "not_the_owner")

    def do_data_derivation(self, entry: Entry, body: Any) -> None:
        thing = self.find(body.contribution, "OWN", "contribution")
        self.make(entry, "derivation", Derivation(body.contribution, thing.account == entry.author))

    def do_data_commons(self, entry: Entry, body: Any) -> None:
        self.find(body.contribution, "R1", "contribution")
        if entry.author not in self.rules.params.commons_accounts:
            raise Void("R1", "not_named")

    def do_data_withdraw(self, entry: Entry, body: Any) -> None:
        self.withdraw(entry, self.find(body.target, "OWN", "contribution"))

    def do_data_erase(self, entry: Entry, body: Any) -> None:
        self.withdraw(entry, self.find(body.target, "OWN"))

    def withdraw(self, entry: Entry, thing: Thing) -> None:
        if thing.account != entry.author:
            raise Void("OWN", "not_the_owner")
        if thing.withdrawn is None:
            thing.withdrawn = self.epoch

    def do_model_register(self, entry: Entry, body: Any) -> None:
        self.check_distinct(body.trained_on, "C7")
        self.check_distinct(body.creators, "C10")
        self.check_floors(body.bases, "model")
        for named, _ in body.trained_on:
            self.find(named, "C7", "contribution", "datanet")
        self.make(entry, "model", body)
        self.accept_own(entry, body)

    def do_agent_register(self, entry: Entry, body: Any) -> None:
        if body.operator not in self.chains:
            raise Unknown(body.operator)
        for model in body.models:
            self.find(model, "C6", "model")
        self.make(entry, "agent", body)

    def do_money_issue(self, entry: Entry, body: Any) -> None:
        cap = self.rules.issuers.get(entry.author)
        if cap is None:
            raise Void("C1", "not_an_issuer")
        if body.to not in self.chains:
            raise Void("C1", "unknown_account")
        if self.issued_now[entry.author] + body.amount_micro > cap:
            raise Void("C1", "cap")
        if self.issued + body.amount_micro > genesis.MAX_AMOUNT_MICRO:
            raise Void("C1", "supply")
        self.issued_now[entry.author] += body.amount_micro
        self.issued += body.amount_micro
        self.balance[body.to] += body.amount_micro

    def do_money_transfer(self, entry: Entry, body: Any) -> None:
        if body.to not in self.chains:
            raise Void("C1", "unknown_account")
        self.spend(entry.author, body.amount_micro)
        self.balance[body.to] += body.amount_micro

    def do_money_grant(self, entry: Entry, body: Any) -> None:
        if body.provider not in self.chains:
            raise Void("C2", "unknown_account")
        if body.provider == entry.author:
            raise Void("C3", "own_grant")
        if body.expiry_epoch is not None and body.expiry_epoch <= self.epoch:
            raise Void("C2", "expired")
        self.spend(entry.author, body.amount_micro)
        self.make(entry, "grant", Grant(body.provider, body.amount_micro, body.expiry_epoch))

    def do_money_redeem(self, entry: Entry, body: Any) -> None:
        order = (entry.author, body.issuer)
        if body.amount_micro == 0:
            if order not in self.standing:
                raise Void("C16", "no_standing_order")
            del self.standing[order]
            return
        if body.issuer not in self.past_issuers:
            raise Void("C16", "not_an_issuer")
        if body.amount_micro is None:
            self.standing[order] = (entry.id, body.minimum_micro)
            self.make(entry, "redeem", Due.Redeem(body.issuer, 0))
            return
        if body.amount_micro < body.minimum_micro:
            raise Void("C16", "below_minimum")
        self.spend(entry.author, body.amount_micro)
        self.make(entry, "redeem", Due.Redeem(body.issuer, body.amount_micro))

    def do_money_payout(self, entry: Entry, body: Any) -> None:
        if not body.items and body.reverses is None:
            raise Void("C16", "empty")
        self.check_distinct(body.items, "C16")
        reversed_payout = None
        if body.reverses is not None:
            reversed_payout = self.things.get(body.reverses)
            if reversed_payout is None or reversed_payout.type != "payout":
                raise Void("C16", "not_own_payout")
            if reversed_payout.account != entry.author:
                raise Void("C16", "not_own_payout")
            if reversed_payout.body.reversed or reversed_payout.body.body.reverses is not None:
                raise Void("C16", "reversed_before")
        for redeem, amount in body.items:
            thing = self.things.get(redeem)
            if thing is None or thing.type != "redeem" or thing.body.issuer != entry.author:
                raise Void("C16", "not_own_redeem")
            if amount > self.old_open.get(redeem, 0) - self.taken[redeem]:
                raise Void("C16", "not_open")
        if reversed_payout is not None:
            reversed_payout.body.reversed = True
            for redeem, amount in reversed_payout.body.body.items:
                self.things[redeem].body.open += amount
                self.burned -= amount
        for redeem, amount in body.items:
            self.taken[redeem] += amount
            self.things[redeem].body.open -= amount
            self.burned += amount
        self.make(entry, "payout", Due.Payout(body))

    def do_witness_set(self, entry: Entry, body: Any) -> None:
        seat = (entry.author, entry.log.device)
        if seat not in self.rules.seats:
            raise Void("A10", "not_a_seat")
        if body.number != self.rules.number + 1:
            raise Void("A10", "number")
        devices = [device for _, device in body.seats]
        unique = (devices, [account for account, _ in body.seats], [i for i, _ in body.issuers])
        if genesis.params_fault(body.params) or any(len(set(u)) != len(u) for u in unique):
            raise Void("A10", "not_usable")
        if not all(map(self.is_key, devices)):
            raise Void("A10", "not_usable")
        digest = hashlib.sha256(encode(body)).digest()
        votes = self.set_votes.setdefault(digest, (body, set()))[1]
        if seat in votes:
            raise Void("A10", "voted_before")
        votes.add(seat)

    def is_key(self, raw: bytes) -> bool:
        try:
            PublicKey.parse(raw)
        except BadInput:
            return False
        return True

    def do_witness_ready(self, entry: Entry, body: Any) -> None:
        if body.number != self.rules.number + 1:
            raise Void("A10", "number")
        self.ready.add((entry.author, entry.log.device))

    def finish_money_and_rules(self) -> None:
        """Standing orders (phase 7), then a complete witness set (phase 8) for the next epoch."""
        for (account, _), (redeem, minimum) in sorted(self.standing.items()):
            amount = min(self.spendable(account), self.balance[account])
            if amount > 0 and amount >= minimum:
                self.spend(account, amount)
                self.things[redeem].body.open += amount
        complete = []
        for body, votes in self.set_votes.values():
            agreed = len(votes & set(self.rules.seats)) >= genesis.quorum(len(self.rules.seats))
            if agreed and all(seat in self.ready for seat in body.seats):
                parts = (body.number, body.seats, body.rules_version, body.params, body.issuers)
                complete.append((seat_set_digest(*parts), body))
        if complete:
            body = min(complete, key=lambda pair: pair[0])[1]
            issuers = dict(body.issuers)
            self.rules = Rules(body.number, body.seats, body.rules_version, body.params, issuers)
            self.past_issuers |= set(issuers)
            self.set_votes, self.ready = {}, set()
