"""Random ledgers under siege: few things, many answers, and every rule pulled at in turn.

`Play` draws wide ledgers, in which what needs several right steps in a row hardly ever happens: a
dispute that a confirm ends, a confirm that waits under a challenge, a set of witnesses that changes
while both hold a fee. `Siege` draws those. Its cuts take parts of logs, so events come in at odd
sizes and wait for each other; its fees tie; its sets change every figure of the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from msgspec import structs

from openledger_node.credit import views
from openledger_node.credit.inputs import Cut
from openledger_node.ledger import forks, kinds, merkle
from openledger_node.ledger.accounts import KEY_EVENT_KINDS
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.genesis import Params
from openledger_node.ledger.heads import sign_head
from openledger_node.ledger.votes import WitnessReady, WitnessSet
from tests.credit.strategies import Play
from tests.kit.ledgerkit import (
    MemoryLog,
    TestAccount,
    contribution,
    digest,
    key,
    model,
    receipt,
)

EVEN = (2, 4, 5, 8, 10)
PERIODS = (0, 0, 1, 1, 2, 3)


class Siege(Play):
    """One ledger under siege."""

    def __init__(self, rng: Random, **params: Any) -> None:
        figures: dict[str, Any] = {
            "maturity_epochs": rng.choice([0, 1, 2, 2, 3]),
            "dispute_epochs": rng.choice([0, 1, 1, 2, 3]),
            "park_epochs": rng.choice([1, 2, 4]),
            "network_fee_bp": rng.choice([0, 500, 3_333]),
            "role_bp": rng.choice(
                [(5_000, 5_000, 0), (3_334, 3_333, 3_333), (4_000, 3_500, 2_500)]
            ),
        }
        super().__init__(rng, **{**figures, **params})
        self.set_number = 1
        self.spares: dict[bytes, list[MemoryLog]] = {}
        self.named: dict[bytes, list[bytes]] = {}
        self.hidden: list[MemoryLog] = []
        self.heirs = self._heirs()

    def _heirs(self) -> list[tuple[TestAccount, MemoryLog]]:
        """Accounts that enrolled a seat's device too: a set may give them its seat."""
        found = []
        for seat, heir in zip(self.seats[:2], self.people[-2:], strict=False):
            heir.file(heir.add_device_event(seat.device))
            found.append((heir, self.ledger.open_log(heir.id, seat.device, "heir", heir.name)))
        return found

    # --- what is fought over --------------------------------------------------------------------

    def recent(self, name: str, count: int = 4) -> bytes | None:
        """One of the last things of a type, those of this epoch among them."""
        found = (self.ids[name] + self.fresh[name])[-count:]
        return self.rng.choice(found) if found else None

    def tied_use(self) -> None:
        """A receipt whose parts tie: even weights, a fee of a few micro-credits, or of all."""
        state, epoch, draw = self.ledger.state, self.ledger.epoch + 1, self.rng.choice
        live = [
            (each, of.remaining_micro)
            for each in self.ids["grant"][-20:]
            if (of := views.grant(state, each)) is not None and of.remaining_micro
        ]
        if not live:
            return
        grant, remaining = draw(live)
        payer: TestAccount | None = None
        payer, provider = self.grants[grant]
        named = [
            each
            for each in self.ids["contribution"][-30:]
            if (work := views.contribution(state, each)) is not None and not work.withdrawn_epoch
        ]
        named = self.rng.sample(named, min(len(named), draw(EVEN), self.rng.randint(0, 9)))
        share = kinds.PPM // (len(named) + draw([0, 1]) or 1)
        body = receipt(
            self.some("model", evil=0.0),
            [(each, share) for each in sorted(named)],
            grant=grant,
            fee=min(draw([0, 1, 2, 3, 9, 101, 2_000, 2**40]), remaining),
            agent=self.some("agent", evil=0.0) if self.rng.random() < 0.4 else None,
            snapshot=max(0, epoch - draw([1, 1, 1, 2])),
        )
        if self.rng.random() < 0.1:
            body = structs.replace(body, fee_micro=0, grant=None)
            payer = None
        made = self.file(provider, "use.receipt", body, "receipt")
        self.uses[made] = (payer, provider)

    def held(self) -> bytes | None:
        """A receipt that is held, or one of this epoch."""
        state = self.ledger.state
        found = [
            each
            for each in self.ids["receipt"][-40:]
            if (use := views.receipt(state, each)) is not None and use.status == "held"
        ]
        found = [*found, *self.fresh["receipt"][-2:]] if self.rng.random() < 0.9 else []
        return self.rng.choice(found) if found else self.recent("receipt")

    def duel(self) -> None:
        """Several answers to one receipt at once, each mostly from who may give it."""
        target = self.held()
        if target is None:
            return
        payer, provider = self.uses[target]
        moves: list[Callable[[], object]] = [
            lambda: self.file(payer or self.person(), "use.confirm", (target,)),
            lambda: self.file(payer or self.person(), "use.dispute", (target,)),
            lambda: self.file(provider, "use.cancel", (target,)),
            lambda: self.file(self.person(), "audit.challenge", (target, "arithmetic")),
            lambda: self.jury(target),
        ]
        for move in self.rng.choices(moves, (4, 4, 1, 4, 3), k=self.rng.randint(1, 4)):
            move()

    def jury(self, target: bytes) -> None:
        """Verdicts of most seats, most of one mind."""
        mind = self.rng.choice([0, 0, 1])
        for seat in self.seats:
            if self.rng.random() < 0.85:
                vote = mind if self.rng.random() < 0.9 else 1 - mind
                self.file(seat, "audit.verdict", (target, vote))
        for _, log in self.heirs:
            if self.rng.random() < 0.3:
                log.append("audit.verdict", (target, mind))

    def claim(self) -> None:
        """A derivation of somebody's contribution, with what owner and seats say of it."""
        target = self.recent("contribution")
        if target is None:
            return
        body = (target, digest("map"), ((digest("source"), 5),))
        made = self.file(self.person(), "data.derivation", body, "derivation")
        if self.rng.random() < 0.5:
            self.jury(made)
        if self.rng.random() < 0.5:
            self.file(self.owner(target), "account.accept", (made,))

    def shared_work(self) -> None:
        """Work of several creators who accept late or never, some of them nobody."""
        names = sorted({self.account_id() for _ in range(self.rng.choice(EVEN))})
        creators = [(name, self.rng.choice([1, 1, 65_536])) for name in names]
        if self.rng.random() < 0.5:
            bases = [(b, 3_000) for b in {self.recent("contribution")} if b]
            body: Any = contribution(creators=creators, derived_from=bases)
            made = self.file(self.person(), "data.contribute", body, "contribution")
        else:
            bases = [(b, 3_000) for b in {self.recent("model")} if b]
            made = self.file(
                self.person(), "model.register", model(bases=bases, creators=creators), "model"
            )
        self.named[made] = names

    def late_accept(self) -> None:
        if self.named:
            target = self.rng.choice(list(self.named))
            who = [person for person in self.people if person.id in self.named[target]]
            if who:
                self.file(self.rng.choice(who), "account.accept", (target,))

    def crowd_of_bases(self) -> None:
        """Sixty-odd bases of one bp each: about as many ancestors as there may be."""
        found = self.ids["contribution"][-66:]
        if len(found) > 60:
            body = contribution(derived_from=[(each, 1) for each in found[:64]])
            first = self.file(self.person(), "data.contribute", body, "contribution")
            body = contribution(derived_from=[(first, 1)])
            self.file(self.person(), "data.contribute", body, "contribution")

    # --- money ----------------------------------------------------------------------------------

    def settle_up(self) -> None:
        """Payouts by the right issuer of what is open, reversals, and both in one."""
        redeems = (self.ids["redeem"] + self.fresh["redeem"])[-6:]
        count = min(len(redeems), self.rng.choice([0, 1, 2, 3]))
        items = tuple((each, self.amount(400)) for each in self.rng.sample(redeems, count))
        reverses = self.recent("payout") if self.rng.random() < 0.5 else None
        who = self.makers.get(reverses or b"", self.rng.choice(self.mint))
        body = kinds.MoneyPayout(items, "", reverses)
        self.file(who, "money.payout", body, "payout")

    def short_grant(self) -> None:
        """A grant that expires soon, now and then to nobody."""
        payer, provider = self.person(), self.person()
        to = provider.id if self.rng.random() < 0.9 else digest("stranger", 9)
        expiry = self.ledger.epoch + self.rng.choice([1, 2, 2, 3])
        body = kinds.MoneyGrant(to, self.rng.choice([1, 3, 100, 5_000]), expiry)
        self.grants[self.file(payer, "money.grant", body, "grant")] = (payer, provider)

    # --- rules, logs, keys ----------------------------------------------------------------------

    def rules(self) -> None:
        """A set that changes every figure; two that compete; seats that change accounts."""
        number = self.set_number if self.rng.random() < 0.9 else self.rng.choice([1, 2, 3, 4])
        for _ in range(self.rng.choice([1, 1, 2])):
            self._propose(number)
        if self.rng.random() < 0.8:
            self.set_number += 1

    def _propose(self, number: int) -> None:
        seats = tuple((seat.id, seat.device.public.raw) for seat in self.seats)
        if self.rng.random() < 0.5:
            seats = tuple(self.rng.sample(seats, self.rng.randint(1, len(seats))))
        if self.rng.random() < 0.4:
            heir, log = self.rng.choice(self.heirs)
            device = log.key.public.raw
            seats = (*(seat for seat in seats if seat[1] != device), (heir.id, device))
        old, draw = self.ledger.genesis.params, self.rng.choice
        params = Params(
            old.epoch_ms,
            old.t0_ms,
            draw([0, 700, 10_000]),
            draw([(0, 0, 10_000), (3_333, 3_333, 3_334), (10_000, 0, 0), (1, 2, 3)]),
            draw(["refund", "trained_on"]),
            draw(PERIODS),
            draw(PERIODS),
            draw([0, 1, 3]),
            draw([(), (self.person().id,)]),
        )
        issuers = tuple((who.id, draw([0, 50, 10**9])) for who in self.mint[: draw([0, 1, 2])])
        if self.rng.random() < 0.05:
            issuers += issuers
        if self.rng.random() < 0.05:
            seats += ((digest("seat"), bytes(32)),)
        body = WitnessSet(number, seats, 1, params, issuers)
        for seat in self.seats:
            if self.rng.random() < 0.9:
                self.file(seat, "witness.set", body)
            if self.rng.random() < 0.95:
                self.file(seat, "witness.ready", WitnessReady(number))
        for _, log in self.heirs:
            if self.rng.random() < 0.5:
                log.append("witness.set", body)
            log.append("witness.ready", WitnessReady(number))

    def strange_log(self) -> None:
        """A log that opens badly, of another ledger, or of a device that nobody enrolled."""
        who, device = self.person(), key("strange", len(self.everything))
        log = self.ledger.open_log(who.id, device, "strange", len(self.everything))
        roll = self.rng.random()
        if roll < 0.3:
            log.leaves[0] = self.rng.choice(
                [b"\x90", encode([1, 0, "use.confirm", 0, [], None, 0])]
            )
        elif roll < 0.5:
            foreign = structs.replace(log.genesis, ledger_id=digest("elsewhere"))
            log.leaves[0] = encode([1, 0, "log.open", 0, foreign, None, 0])
        log.append("data.contribute", contribution())
        log.append("money.transfer", kinds.MoneyTransfer(who.id, 1, ""))
        log.append_leaf(b"\x91\xa8account.")
        log.append_leaf(encode([1, len(log.leaves), "account.rotate", 0, [], None, 0]))
        if roll > 0.6:
            self.spares.setdefault(who.id, []).append(log)

    def enrol_late(self) -> None:
        """A log that lay in cuts unread is read from its first leaf."""
        who = self.person()
        if self.spares.get(who.id):
            log = self.spares[who.id].pop()
            who.file(who.add_device_event(log.key))
            self.logs[who.id].append(log)

    def unseen_fork(self) -> None:
        """A fork of any log, or of one that no cut has named and that comes later."""
        log = self.rng.choice(list(self.ledger.logs.by_id.values()))
        if self.rng.random() < 0.5:
            who = self.person()
            device = who.device if self.rng.random() < 0.6 else key("unseen", len(self.everything))
            log = self.ledger.open_log(who.id, device, "unseen", len(self.everything))
            log.append("data.contribute", contribution())
            log.append("money.transfer", kinds.MoneyTransfer(self.person().id, 1, ""))
            self.hidden.append(log)
        if log.leaves[0][:1] != b"\x97" or len(log.leaves) < 2:
            return
        for common in {self.rng.randint(0, len(log.leaves) - 1) for _ in range(2)}:
            other = [*log.leaves[:common], b"\x90", b"\x91\xc0"]
            twin = sign_head(log.key, log.genesis, len(other), merkle.root(other))
            ours, theirs = merkle.leaf_hashes(log.leaves), merkle.leaf_hashes(other)
            self.file(self.person(), "log.fork", forks.prove_fork(log.head(), ours, twin, theirs))

    def race(self) -> None:
        """Of one account at once: retire a device and rotate, or enrol, or retire it elsewhere."""
        who = self.person()
        if len(self.logs[who.id]) < 2:
            return self.keys()
        log = self.rng.choice(self.logs[who.id][1:])
        size = self.rng.randint(1, len(log.leaves) + 3)
        events: list[Any] = [
            who.retire_event(log.key, [(log.log_id, size)]),
            who.retire_event(log.key),
            who.rotate_event(),
            who.add_device_event(key("racer", len(self.everything))),
        ]
        kinds_of = {shape: kind for kind, shape in KEY_EVENT_KINDS.items()}
        for event in self.rng.sample(events, self.rng.randint(1, 3)):
            self.rng.choice(self.logs[who.id]).append(kinds_of[type(event)], event)
        return None

    # --- epochs ---------------------------------------------------------------------------------

    def steps(self) -> Sequence[tuple[int, Callable[[], None]]]:
        return (
            *((weight // 2 or 1, move) for weight, move in super().steps() if move != self.rules),
            (30, self.tied_use),
            (30, self.duel),
            (3, self.claim),
            (6, self.shared_work),
            (5, self.late_accept),
            (1, self.crowd_of_bases),
            (6, self.settle_up),
            (6, self.short_grant),
            (3, self.rules),
            (2, self.strange_log),
            (2, self.enrol_late),
            (1, self.unseen_fork),
            (2, self.race),
        )

    def close(self, late: float = 0.15) -> None:
        """Closes the epoch by a cut that takes a part of some logs."""
        hidden = {log.log_id: log for log in self.hidden}
        for log_id in hidden:
            self.ledger.logs.by_id.pop(log_id, None)
        self._close(late)
        self.ledger.logs.by_id.update(hidden)
        self.hidden = [log for log in self.hidden if self.rng.random() < 0.5]

    def _close(self, late: float) -> None:
        if late and self.rng.random() < 0.4:
            marks = {}
            for log_id, log in self.ledger.logs.by_id.items():
                held = self.ledger._cut[log_id].size if log_id in self.ledger._cut else 0
                if len(log.leaves) > held:
                    size = self.rng.choice(
                        [len(log.leaves), self.rng.randint(held, len(log.leaves))]
                    )
                    if size > held:
                        marks[log_id] = log.mark(size)
            whole = {**self.ledger._cut, **marks}
            cut_id = merkle.root([encode(whole[log_id]) for log_id in sorted(whole)])
            changed = tuple(marks[log_id] for log_id in sorted(marks))
            self.ledger.close_epoch(Cut(self.ledger.epoch + 1, cut_id, changed))
            self._sort_out()
        else:
            super().close(late)


def crowded(rng: Random) -> Siege:
    """A siege with contributions enough for a lineage past its limit."""
    siege = Siege(rng)
    for _ in range(66):
        siege.file(siege.person(), "data.contribute", contribution(), "contribution")
    return siege


__all__ = ["Siege", "TestAccount", "crowded"]
