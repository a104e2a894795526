"""Receipts (phase 4), answers to them (5), maturing and splitting (6) of the naive fold."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from openledger_node.ledger import genesis, kinds
from tests.credit.naive_records import (
    Entry,
    Receipt,
    Thing,
    Void,
)
from tests.credit.naive_state import NaiveState, apportion

ZERO = bytes(32)


class UsePhases(NaiveState):
    """Phases 4, 5 and 6."""

    def do_use_receipt(self, entry: Entry, body: Any) -> None:
        if sum(ppm for _, ppm in body.weights) + body.unattributed_ppm != kinds.PPM:
            raise Void("R4", "sum")
        self.check_distinct(body.weights, "R4")
        if not entry.epoch - 4 <= body.snapshot_epoch <= entry.epoch - 1:
            raise Void("C3", "snapshot")
        if body.grant is None and body.fee_micro:
            raise Void("C3", "no_grant")
        grant = None if body.grant is None else self.grant_for(entry, body)
        self.find(body.model, "C6", "model")
        if body.agent is not None:
            self.find(body.agent, "C6", "agent")
        for named, _ in body.weights:
            contribution = self.find(named, "C7", "contribution")
            if contribution.epoch > body.snapshot_epoch:
                raise Void("C3", "not_final")
            gone = contribution.withdrawn
            if gone is not None and gone <= body.snapshot_epoch:
                raise Void("C3", "withdrawn")
        if grant is not None:
            grant.body.remaining -= body.fee_micro
        receipt = Receipt(body, grant.account if grant else None, entry.author)
        receipt.matures = self.epoch + self.rules.params.maturity_epochs
        receipt.split(self.rules.params, entry.id, apportion)
        self.make(entry, "receipt", receipt)

    def grant_for(self, entry: Entry, body: Any) -> Thing:
        grant = self.things.get(body.grant)
        if grant is None or grant.type != "grant":
            raise Void("C3", "unknown_grant")
        if grant.body.provider != entry.author:
            raise Void("C3", "other_provider")
        if not grant.epoch < entry.epoch:
            raise Void("C3", "grant_not_final")
        if grant.body.expiry is not None and self.epoch > grant.body.expiry:
            raise Void("C3", "grant_expired")
        if body.fee_micro > grant.body.remaining:
            raise Void("C3", "grant_spent")
        return grant

    def do_use_confirm(self, entry: Entry, body: Any) -> None:
        receipt: Receipt = self.find(body.receipt, "C4", "receipt").body
        rule = "C15" if receipt.payer is None else "C4"
        if receipt.payer is None and entry.author == receipt.provider:
            raise Void("C15", "own_receipt")
        if receipt.payer is not None and entry.author != receipt.payer:
            raise Void("C4", "not_the_payer")
        if receipt.status not in ("held", "matured"):
            raise Void(rule, "settled")
        if receipt.confirmed:
            raise Void(rule, "confirmed_before")
        receipt.confirmed, receipt.disputed_until = True, None
        if receipt.hold_until is None:
            self.confirm_counts(body.receipt, receipt)

    def confirm_counts(self, receipt_id: bytes, receipt: Receipt) -> None:
        """Units at once; the model and agent parts too, while the fee is held."""
        side = self.due.units_unpaid if receipt.payer is None else self.due.units_paid
        for named, ppm in receipt.body.weights:
            side[self.things[named].account] += ppm * receipt.body.uses
        if receipt.status == "held":
            self.release_model_and_agent(receipt)
        receipt.counted = True

    def release_model_and_agent(self, receipt: Receipt) -> None:
        self.due.model[receipt.body.model] += receipt.take("model")
        if receipt.body.agent is not None:
            operator = self.things[receipt.body.agent].body.operator
            self.due.earned[operator, "agent"] += receipt.take("agent")

    def refund(self, receipt: Receipt, status: str) -> None:
        """Everything that is still held goes back to the payer."""
        amount = receipt.take("network", "data", "model", "agent")
        receipt.status, receipt.disputed_until, receipt.hold_until = status, None, None
        if receipt.payer is not None:
            self.balance[receipt.payer] += amount
            self.due.refunds[receipt.payer] += amount

    def do_use_dispute(self, entry: Entry, body: Any) -> None:
        receipt: Receipt = self.find(body.receipt, "C4", "receipt").body
        if receipt.payer is None or entry.author != receipt.payer:
            raise Void("C4", "not_the_payer")
        if receipt.status != "held":
            raise Void("C4", "settled")
        if receipt.confirmed:
            raise Void("C4", "confirmed_before")
        if receipt.disputed_until is not None:
            raise Void("C4", "disputed_before")
        receipt.disputed_until = self.epoch + self.rules.params.dispute_epochs

    def do_use_cancel(self, entry: Entry, body: Any) -> None:
        receipt: Receipt = self.find(body.receipt, "C4", "receipt").body
        if entry.author != receipt.provider:
            raise Void("C4", "not_the_provider")
        if receipt.confirmed:
            raise Void("C4", "confirmed_before")
        if receipt.status != "held" and not (receipt.payer is None and receipt.status == "matured"):
            raise Void("C4", "settled")
        self.refund(receipt, "cancelled")

    def do_audit_challenge(self, entry: Entry, body: Any) -> None:
        target = self.find(body.target, "CH", "receipt", "derivation")
        if target.body.challenged:
            raise Void("CH", "challenged_before")
        if target.type == "derivation":
            target.body.challenged = True
            return
        receipt: Receipt = target.body
        if receipt.status != "held":
            raise Void("CH", "settled")
        receipt.challenged = True
        receipt.hold_until = self.epoch + self.rules.params.dispute_epochs

    def do_audit_verdict(self, entry: Entry, body: Any) -> None:
        if (entry.author, entry.log.device) not in self.rules.seats:
            raise Void("CH", "not_a_seat")
        target = self.find(body.target, "CH", "receipt", "derivation")
        if target.type == "receipt" and target.body.hold_until is None:
            raise Void("CH", "no_challenge")
        if entry.log.device in target.body.votes:
            raise Void("CH", "voted_before")
        target.body.votes[entry.log.device] = body.upheld
        seats = {device for _, device in self.rules.seats}
        agreeing = sum(
            vote == body.upheld and voter in seats for voter, vote in target.body.votes.items()
        )
        if agreeing >= genesis.quorum(len(seats)):
            self.decide(body.target, target, body.upheld == 1)

    def decide(self, target_id: bytes, target: Thing, upheld: bool) -> None:
        if target.type == "derivation":
            target.body.counts = target.body.counts or upheld
        elif upheld:
            provider = target.body.provider
            for thing in self.things.values():
                if thing.type != "receipt" or thing.body.provider != provider:
                    continue
                if thing.body.status == "held":
                    self.refund(thing.body, "upheld")
        else:
            self.end_hold(target_id, target.body)

    def end_hold(self, receipt_id: bytes, receipt: Receipt) -> None:
        receipt.hold_until = None
        if receipt.confirmed and not receipt.counted:
            self.confirm_counts(receipt_id, receipt)

    def phase_6(self) -> None:
        receipts = {i: t.body for i, t in self.things.items() if t.type == "receipt"}
        held = {i: receipt for i, receipt in receipts.items() if receipt.status == "held"}
        for receipt_id, receipt in held.items():
            if receipt.hold_until is not None and receipt.hold_until <= self.epoch:
                self.end_hold(receipt_id, receipt)
        for receipt_id, receipt in held.items():
            if receipt.hold_until is not None:
                continue
            if receipt.disputed_until is not None:
                if receipt.disputed_until <= self.epoch:
                    self.pool += receipt.take("network", "data", "model", "agent")
                    receipt.status, receipt.disputed_until = "pooled", None
            elif receipt.matures <= self.epoch:
                self.mature(receipt_id, receipt)
        for thing in self.things.values():
            if thing.type == "grant" and thing.body.expiry == self.epoch:
                self.balance[thing.account] += thing.body.remaining
                thing.body.remaining = 0
        self.divide_declared()
        self.split("contribution", "data", self.due.data)
        self.split("model", "model", self.due.model)
        for artefact, account in self.due.escrow:
            role = "data" if self.things[artefact].type == "contribution" else "model"
            self.due.earned[account, role] += self.escrow.pop((artefact, account), 0)
        for (account, _), amount in self.due.earned.items():
            self.balance[account] += amount
        self.lapse()

    def mature(self, receipt_id: bytes, receipt: Receipt) -> None:
        receipt.status = "matured"
        self.pool += receipt.take("network")
        self.release_model_and_agent(receipt)
        weights = [*sorted(receipt.body.weights), (ZERO, receipt.body.unattributed_ppm)]
        parts = apportion(receipt.take("data"), weights, receipt_id)
        rest = parts.pop(ZERO, 0)
        if self.rules.params.unattributed == "trained_on":
            to_declared = rest - self.untaken(receipt.body.model, rest)
            self.due.declared[receipt.body.model] += to_declared
            rest -= to_declared
        for named, amount in parts.items():
            self.due.data[named] += amount
        if receipt.payer is not None:
            self.balance[receipt.payer] += rest
            self.due.refunds[receipt.payer] += rest

    def members_by_epoch(self, datanet: bytes, model_epoch: int) -> dict[int, dict[bytes, int]]:
        """The tokens of a datanet's members of epochs before a model's."""
        found: dict[int, dict[bytes, int]] = defaultdict(dict)
        for member, thing in self.things.items():
            is_member = thing.type == "contribution" and thing.body.datanet == datanet
            if is_member and thing.epoch < model_epoch:
                found[thing.epoch][member] = thing.body.tokens
        return found

    def has_taker(self, named: bytes, model_epoch: int) -> bool:
        if self.things[named].type == "contribution":
            return True
        return any(any(t.values()) for t in self.members_by_epoch(named, model_epoch).values())

    def untaken(self, model_id: bytes, rest: int) -> int:
        """What of an unattributed part is refunded, because what the model names has no taker."""
        model = self.things[model_id]
        weights = [(w, self.has_taker(named, model.epoch)) for named, w in model.body.trained_on]
        if not weights:
            return rest
        share = Fraction(sum(w for w, takes in weights if not takes), sum(w for w, _ in weights))
        return math.floor(rest * share)

    def divide_declared(self) -> None:
        """Who takes the unattributed parts of the epoch, by the models' declarations."""
        to_datanet: dict[tuple[bytes, int], int] = defaultdict(int)
        for model_id, amount in self.due.declared.items():
            model = self.things[model_id]
            takers = [
                (named, weight)
                for named, weight in model.body.trained_on
                if self.has_taker(named, model.epoch)
            ]
            for named, part in apportion(amount, takers, self.cut_id).items():
                if self.things[named].type == "contribution":
                    self.due.data[named] += part
                else:
                    to_datanet[named, model.epoch] += part
        to_members: dict[tuple[bytes, int], int] = defaultdict(int)
        for (datanet, model_epoch), amount in to_datanet.items():
            members = self.members_by_epoch(datanet, model_epoch)
            tokens = [(e.to_bytes(8, "big"), sum(t.values())) for e, t in members.items()]
            for key, part in apportion(amount, tokens, self.cut_id).items():
                to_members[datanet, int.from_bytes(key, "big")] += part
        for (datanet, epoch), amount in to_members.items():
            came = self.members_by_epoch(datanet, epoch + 1)[epoch]
            for member, part in apportion(amount, list(came.items()), self.cut_id).items():
                self.due.data[member] += part

    def split(self, kind: str, role: str, released: Mapping[bytes, int]) -> None:
        """C8, then C10, for all artefacts of one type."""
        total: dict[bytes, int] = defaultdict(int)
        for artefact, amount in released.items():
            body = self.things[artefact].body
            direct = body.bases if kind == "model" else body.derived_from
            rest = amount
            for ancestor, bp in self.floors(direct).items():
                total[ancestor] += amount * bp // genesis.BASIS_POINTS
                rest -= amount * bp // genesis.BASIS_POINTS
            total[artefact] += rest
        for artefact, amount in total.items():
            for account, part in apportion(amount, self.creators(artefact), self.cut_id).items():
                if (artefact, account) in self.accepted:
                    self.due.earned[account, role] += part
                else:
                    self.escrow[artefact, account] += part

    def lapse(self) -> None:
        """What has waited park_epochs is void, also when it was woken for the next epoch."""
        limit = self.epoch - self.rules.params.park_epochs
        late = [entry for entry in self.woken if entry.epoch <= limit]
        self.woken = [entry for entry in self.woken if entry.epoch > limit]
        for awaited, entries in list(self.waiting.items()):
            late += [entry for entry in entries if entry.epoch <= limit]
            self.waiting[awaited] = [entry for entry in entries if entry.epoch > limit]
        for entry in late:
            self.set_void(entry.id, "PARK", "lapsed")
