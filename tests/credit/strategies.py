"""Random ledgers: honest and evil events of every kind, late logs, key changes, forks, new sets.

`Play(rng)` makes all decisions with the `random.Random` it is given, so the same code serves seeded
runs and Hypothesis (`st.randoms(use_true_random=False)`), which shrinks the decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from msgspec import structs

from openledger_node.credit.views import void_reason
from openledger_node.ledger import forks, kinds, merkle
from openledger_node.ledger.accounts import AccountRotate
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.genesis import Params
from openledger_node.ledger.heads import sign_head
from openledger_node.ledger.votes import WitnessReady, WitnessSet
from tests.kit.ledgerkit import (
    Ledger,
    MemoryLog,
    TestAccount,
    contribution,
    digest,
    key,
    model,
    receipt,
)

SEATS = ("seat-0", "seat-1", "seat-2", "seat-3")
PEOPLE = ("ada", "bob", "cy", "dee", "eve")
NAMED = ("contribution", "model", "agent", "datanet", "derivation", "receipt", "grant", "redeem")


class Play:
    """One random ledger, played epoch by epoch."""

    def __init__(self, rng: Random, **params: Any) -> None:
        self.rng = rng
        seats = SEATS[: rng.choice([1, 2, 4])]
        figures: dict[str, Any] = {
            "maturity_epochs": rng.choice([0, 0, 1, 2]),
            "dispute_epochs": rng.choice([0, 1, 2]),
            "park_epochs": rng.choice([0, 1, 2, 5]),
            "unattributed": rng.choice(["refund", "trained_on"]),
            "network_fee_bp": rng.choice([0, 500, 500, 10_000]),
            "role_bp": rng.choice([(4_000, 3_500, 2_500), (10_000, 0, 0), (1, 3_333, 6_666)]),
            "cap": rng.choice([100_000, 10**9, 10**9, 2**53 - 1]),
        }
        self.ledger = Ledger.network(seats, ["seat-0", "mint"], **{**figures, **params})
        self.people = [self.ledger.account(name) for name in ("seat-0", "mint", *seats[1:])]
        for name in PEOPLE:
            self.people.append(self.ledger.account(name, root_keys=rng.choice([1, 2])))
        self.seats = [self.ledger.accounts[name] for name in seats]
        self.mint = [self.ledger.accounts[name] for name in ("seat-0", "mint")]
        self.logs: dict[bytes, list[MemoryLog]] = {p.id: [p.log] for p in self.people}
        self.ids: dict[str, list[bytes]] = {name: [] for name in (*NAMED, "payout")}
        self.fresh: dict[str, list[bytes]] = {name: [] for name in self.ids}
        self.everything: list[bytes] = []
        self.makers: dict[bytes, TestAccount] = {}
        self.grants: dict[bytes, tuple[TestAccount, TestAccount]] = {}
        self.uses: dict[bytes, tuple[TestAccount | None, TestAccount]] = {}
        self.devices = 0

    # --- choices ------------------------------------------------------------------------------

    def some(self, *types: str, evil: float = 0.04) -> bytes:
        """An id of one of the types, mostly a final one; now and then another's or nobody's."""
        roll = self.rng.random()
        if roll < evil / 2 and self.everything:
            return self.rng.choice(self.everything)
        if roll < evil:
            return digest("nothing", self.rng.randrange(3))
        pools = (self.ids, self.fresh) if self.rng.random() < 0.85 else (self.fresh, self.ids)
        for pool in pools:
            if found := [one for name in types for one in pool[name]]:
                return self.rng.choice(found[-12:])
        return digest("nothing", self.rng.randrange(3))

    def person(self) -> TestAccount:
        return self.rng.choice(self.people)

    def account_id(self) -> bytes:
        if self.rng.random() < 0.05:
            return digest("stranger", self.rng.randrange(2))
        return self.person().id

    def owner(self, of: bytes) -> TestAccount:
        """Mostly who made it, sometimes somebody."""
        if self.rng.random() < 0.15 or of not in self.makers:
            return self.person()
        return self.makers[of]

    def amount(self, top: int = 10_000) -> int:
        return self.rng.choice([1, 2, 3, 7, self.rng.randint(1, top), self.rng.randint(1, top)])

    def parts(self, count: int, *types: str, top: int) -> list[tuple[bytes, int]]:
        found = {self.some(*types): self.rng.randint(1, top) for _ in range(count)}
        pairs = list(found.items())
        return pairs * 2 if self.rng.random() < 0.02 else pairs

    def file(self, who: TestAccount, kind: str, body: Any, makes: str = "") -> bytes:
        made = self.rng.choice(self.logs[who.id]).append(kind, body)
        self.everything.append(made)
        self.makers[made] = who
        if makes:
            self.fresh[makes].append(made)
        return made

    # --- registrations ------------------------------------------------------------------------

    def creators(self) -> list[tuple[bytes, int]]:
        if self.rng.random() < 0.5:
            return []
        return [(self.account_id(), self.rng.randint(1, 5)) for _ in range(self.rng.choice([1, 3]))]

    def datanet(self) -> None:
        self.file(self.person(), "datanet.create", ("net", "", ""), "datanet")

    def contribute(self) -> None:
        net = self.some("datanet") if self.rng.random() < 0.5 else None
        bases = self.parts(self.rng.choice([0, 0, 1, 2]), "contribution", top=5_000)
        body = contribution(
            tokens=self.rng.choice([0, 1, 50]),
            creators=self.creators(),
            derived_from=bases,
            datanet=net,
        )
        self.file(self.person(), "data.contribute", body, "contribution")

    def model(self) -> None:
        bases = self.parts(self.rng.choice([0, 0, 1, 2]), "model", top=5_000)
        trained = self.parts(self.rng.randint(0, 3), "contribution", "datanet", top=9)
        body = model(bases=bases, trained_on=trained, creators=self.creators())
        self.file(self.person(), "model.register", body, "model")

    def agent(self) -> None:
        models = [self.some("model") for _ in range(self.rng.randint(0, 2))]
        body = kinds.AgentRegister("a", self.account_id(), None, (), tuple(models))
        self.file(self.person(), "agent.register", body, "agent")

    def accept(self) -> None:
        target = self.some("contribution", "model", "contribution", "model", "derivation")
        self.file(self.person(), "account.accept", (target,))

    def ownership(self) -> None:
        target = self.some("contribution")
        kind = self.rng.choice(["data.share", "data.withdraw", "data.erase", "data.commons"])
        if kind == "data.erase" and self.rng.random() < 0.3:
            target = self.some(*NAMED)
        rest = {"data.share": ("all",), "data.commons": ()}.get(kind, ("reason",))
        if self.rng.random() < 0.4:
            self.file(self.owner(target), kind, (target, *rest))

    def derivation(self) -> None:
        target = self.some("contribution")
        body = (target, digest("map"), ((digest("source"), 5),))
        self.file(self.owner(target), "data.derivation", body, "derivation")

    # --- money --------------------------------------------------------------------------------

    def issue(self) -> None:
        who = self.rng.choice(self.mint) if self.rng.random() < 0.9 else self.person()
        body = kinds.MoneyIssue(self.account_id(), self.amount(20_000), "")
        if self.rng.random() < 0.03:
            body = kinds.MoneyIssue(self.account_id(), 2**53 - 1, "")
        self.file(who, "money.issue", body)

    def transfer(self) -> None:
        self.file(
            self.person(),
            "money.transfer",
            kinds.MoneyTransfer(self.account_id(), self.amount(), ""),
        )

    def grant(self) -> None:
        payer, provider = self.person(), self.person()
        expiry = self.rng.choice([None, None, self.ledger.epoch + self.rng.randint(1, 4)])
        body = kinds.MoneyGrant(provider.id, self.amount(), expiry)
        made = self.file(payer, "money.grant", body, "grant")
        self.grants[made] = (payer, provider)

    def redeem(self) -> None:
        amount = self.rng.choice([None, 0, self.amount(500), self.amount(5_000)])
        minimum = self.rng.choice([0, 0, 1, 100])
        issuer = self.rng.choice(self.mint).id if self.rng.random() < 0.9 else self.account_id()
        body = kinds.MoneyRedeem(issuer, amount, minimum)
        self.file(self.person(), "money.redeem", body, "redeem")

    def payout(self) -> None:
        who = self.rng.choice(self.mint) if self.rng.random() < 0.9 else self.person()
        items = [
            (self.some("redeem"), self.amount(200)) for _ in range(self.rng.choice([0, 1, 1, 2]))
        ]
        reverses = self.some("payout", evil=0.1) if self.rng.random() < 0.4 else None
        self.file(who, "money.payout", kinds.MoneyPayout(tuple(items), "", reverses), "payout")

    # --- uses ---------------------------------------------------------------------------------

    def use(self) -> None:
        grant, payer, provider = None, None, self.person()
        if self.rng.random() < 0.85:
            grant = self.some("grant")
            payer, provider = self.grants.get(grant, (None, provider))
            if self.rng.random() < 0.05:
                provider = self.person()
        fee = self.amount(2_000) if grant is not None or self.rng.random() < 0.02 else 0
        weights, left = [], kinds.PPM
        for named, _ in self.parts(self.rng.randint(0, 4), "contribution", top=9):
            ppm = self.rng.randint(1, max(1, left // 2))
            weights.append((named, ppm))
            left -= ppm
        body = receipt(
            self.some("model"),
            weights,
            grant=grant,
            fee=fee,
            agent=self.some("agent") if self.rng.random() < 0.4 else None,
            snapshot=max(0, self.ledger.epoch - self.rng.choice([0, 0, 0, 1, 3, 4, -1])),
            uses=self.rng.choice([1, 1, 10_000]),
            unattributed=max(0, left - (self.rng.random() < 0.02)),
        )
        made = self.file(provider, "use.receipt", body, "receipt")
        self.uses[made] = (payer, provider)

    def answer(self) -> None:
        target = self.some("receipt")
        payer, provider = self.uses.get(target, (None, self.person()))
        kind = self.rng.choice(["use.confirm", "use.confirm", "use.cancel", "use.dispute"])
        right = provider if kind == "use.cancel" else payer or self.person()
        who = right if self.rng.random() < 0.9 else self.person()
        self.file(who, kind, (target,))

    def challenge(self) -> None:
        target = self.some("receipt", "receipt", "derivation")
        self.file(self.person(), "audit.challenge", (target, self.rng.choice(kinds.GROUNDS)))
        for seat in self.seats:
            if self.rng.random() < 0.5:
                self.file(seat, "audit.verdict", (target, self.rng.choice([0, 1])))

    def verdict(self) -> None:
        who = self.rng.choice(self.seats) if self.rng.random() < 0.95 else self.person()
        target = self.some("receipt", "derivation")
        self.file(who, "audit.verdict", (target, self.rng.choice([0, 1, 1])))

    # --- devices, keys, forks, sets -----------------------------------------------------------

    def keys(self) -> None:
        who = self.person()
        if self.rng.random() < 0.4:
            self.devices += 1
            device = key("spare", self.devices)
            event: Any = who.add_device_event(device)
            log = self.ledger.open_log(who.id, device, "spare", self.devices)
            if self.rng.random() < 0.5:
                who.file(event, log)
            else:
                who.file(event)
            self.logs[who.id].append(log)
        elif self.rng.random() < 0.5:
            who.file(who.rotate_event())
        elif len(self.logs[who.id]) > 1:
            log = self.logs[who.id][-1]
            listed = [(log.log_id, self.rng.randint(1, len(log.leaves)))]
            who.file(who.retire_event(log.key, listed if self.rng.random() < 0.7 else ()))
            if self.rng.random() < 0.8:
                self.logs[who.id].remove(log)

    def rival_keys(self) -> None:
        """Two key events with equal n, in two logs where there are two."""
        who = self.person()
        first: Any = who.add_device_event(key("rival", len(self.everything)))
        second: Any = who.rotate_event()
        kind = "account.add_device"
        self.rng.choice(self.logs[who.id]).append(kind, first)
        if self.rng.random() < 0.7:
            who.file(second, self.rng.choice(self.logs[who.id]))
        else:
            who.chain.append(first)
            self.rng.choice(self.logs[who.id]).append("account.rotate", second)
        assert isinstance(second, AccountRotate)

    def borrowed_keys(self) -> None:
        """Key events in a log of another account, of no account, or a second time."""
        who, other = self.person(), self.person()
        log = self.rng.choice(self.logs[other.id])
        if self.rng.random() < 0.5:
            log.append("account.create", who.create_event())
        else:
            nobody = TestAccount(self.ledger, f"nobody-{len(self.everything)}")
            nobody.chain.append(nobody.create_event())
            event = nobody.add_device_event(key("nobody's"))
            self.rng.choice([nobody.log, log]).append("account.add_device", event)

    def fork(self) -> None:
        log = self.rng.choice(self.rng.choice(list(self.logs.values())))
        if len(log.leaves) < 3:
            return
        common = self.rng.randint(1, len(log.leaves) - 1)
        other = [*log.leaves[:common], b"\x90", b"\x91\xc0"]
        twin = sign_head(log.key, log.genesis, len(other), merkle.root(other))
        evidence = forks.prove_fork(
            log.head(), merkle.leaf_hashes(log.leaves), twin, merkle.leaf_hashes(other)
        )
        assert evidence is not None
        if self.rng.random() < 0.2:
            evidence = structs.replace(evidence, leaf_a=digest("forged"))
        elif self.rng.random() < 0.2:
            foreign = structs.replace(evidence.genesis, ledger_id=digest("elsewhere"))
            evidence = structs.replace(evidence, genesis=foreign)
        self.file(self.person(), "log.fork", evidence)

    def rules(self) -> None:
        number = self.rng.choice([1, 1, 2, 3])
        seats = tuple((seat.id, seat.device.public.raw) for seat in self.seats)
        if self.rng.random() < 0.3:
            seats = seats[1:] or seats
        old = self.ledger.genesis.params
        values = {name: getattr(old, name) for name in old.__struct_fields__}
        values["network_fee_bp"] = self.rng.choice([0, 700])
        if self.rng.random() < 0.1:
            values["role_bp"] = (1, 2, 3)
        body = WitnessSet(number, seats, 1, Params(**values), self.ledger.genesis.issuers)
        for seat in self.seats:
            self.file(seat, "witness.set", body)
            if self.rng.random() < 0.9:
                self.file(seat, "witness.ready", WitnessReady(number))

    def rubbish(self) -> None:
        log = self.rng.choice(self.logs[self.person().id])
        seq = len(log.leaves)
        self.everything.append(
            log.append_leaf(
                self.rng.choice(
                    [
                        encode([1, seq, "use.confirm", 0, [b"short"], None, 0]),
                        encode([1, seq, "money.issue", 0, None, None, 0]),
                        encode([2, seq, "use.confirm", 0, [bytes(32)], None, 0]),
                        encode([1, seq, "no.such.kind", 0, [], None, 0]),
                        encode([1, seq, "log.open", 0, [], None, 0]),
                        encode([1, seq, "log.fork", 0, [], None, 0]),
                        encode([1, seq, "account.rotate", 0, [], None, 0]),
                        encode([1, seq, "witness.ready", 0, [0], None, 0]),
                        encode([1, seq, "witness.notar", 0, [0], None, 0]),
                        encode([1, seq, "agent.register", 0, ["x" * 16_380], None, 0]),
                        encode([1, seq, "agent.register", 0, ["x" * 16_381], None, 0]),
                    ]
                )
            )
        )

    # --- epochs -------------------------------------------------------------------------------

    def steps(self) -> Sequence[tuple[int, Callable[[], None]]]:
        return (
            (2, self.datanet),
            (12, self.contribute),
            (8, self.model),
            (4, self.agent),
            (8, self.accept),
            (4, self.ownership),
            (3, self.derivation),
            (12, self.issue),
            (6, self.transfer),
            (14, self.grant),
            (5, self.redeem),
            (6, self.payout),
            (40, self.use),
            (24, self.answer),
            (5, self.challenge),
            (3, self.verdict),
            (3, self.keys),
            (1, self.rival_keys),
            (1, self.borrowed_keys),
            (1, self.fork),
            (1, self.rules),
            (2, self.rubbish),
        )

    def opening(self) -> None:
        """Two epochs in which everybody gets money, and there is something to use."""
        for person in self.people:
            self.file(self.mint[0], "money.issue", kinds.MoneyIssue(person.id, 10_000, ""))
        for move in (self.datanet, self.contribute, self.contribute, self.contribute, self.model):
            move()
        self.close(late=0.0)
        for move in (self.contribute, self.model, self.agent, *[self.grant] * 6):
            move()
        self.close(late=0.0)

    def close(self, late: float = 0.15) -> None:
        """Closes the epoch; some logs come late. Void things are named rarely from now on."""
        without = [log_id for log_id in self.ledger.logs.by_id if self.rng.random() < late]
        self.ledger.close_epoch(without=without)
        self._sort_out()

    def _sort_out(self) -> None:
        for name, made in self.fresh.items():
            self.ids[name] += [one for one in made if void_reason(self.ledger.state, one) is None]
        self.fresh = {name: [] for name in self.fresh}

    def run(self, epochs: int, count: int) -> Ledger:
        """The opening, then epochs of `count` random moves each."""
        self.opening()
        weights, moves = zip(*self.steps(), strict=True)
        for _ in range(epochs):
            for move in self.rng.choices(moves, weights, k=count):
                move()
            self.close()
        return self.ledger
