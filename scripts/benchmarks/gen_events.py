"""A ledger's events made up for benchmarks: the mix of the design, seeded, epoch by epoch.

Mix: 40 % contributions, 10 % registrations (models, agents, datanets, shares), 15 % money (issues,
transfers, grants), 35 % receipts of 4 contributions each. Every receipt draws a fee on a grant of
an earlier epoch and names contributions of any earlier epoch, by Zipf's law; nothing is void.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator
from typing import Any, Final

from openledger_node.ledger import kinds
from openledger_node.ledger.accounts import (
    AccountCreate,
    Inception,
    device_signature,
    next_commitment,
    root_signatures,
)
from openledger_node.ledger.events import LogGenesis, encode_event, event_id
from openledger_node.ledger.genesis import Genesis, Params
from openledger_node.ledger.keys import SigningKey

CREDIT: Final = 1_000_000
CYCLE: Final = (
    "crgcrcrtcmrcrcdrcgrcacrcrtcrmcrcgrcrcirctcrmcrcgrc"
    "rcrcgrctrcmcrcrcrgcrdcrctrcmrcacrgcrcrcrtcmrcgrcrc"
)
"""The order of kinds: c contribution, r receipt, m d a registrations, t g i money."""


class _Author:
    """An account with one device and one log."""

    def __init__(self, name: str) -> None:
        def key(word: str) -> SigningKey:
            return SigningKey(hashlib.sha256(f"{name}/{word}".encode()).digest())

        self.root, self.device = key("root"), key("device")
        commitment = next_commitment([key("next").public.raw], 1)
        self.inception = Inception(1, (self.root.public.raw,), 1, commitment, bytes(16))
        self.account = self.inception.account_id
        self.log_id = b""
        self.size = 0
        self.leaves: list[bytes] = []
        self.grants: list[tuple[bytes, int]] = []

    def begin(self, ledger_id: bytes) -> None:
        genesis = LogGenesis(1, ledger_id, self.account, self.device.public.raw, bytes(16), None)
        self.log_id = genesis.log_id
        self.add("log.open", genesis)
        consent = device_signature(self.device, ledger_id, self.account)
        so_far = [self.account, 0, None, self.inception, self.device.public.raw, consent]
        self.add(
            "account.create",
            AccountCreate(
                self.account,
                0,
                None,
                self.inception,
                self.device.public.raw,
                consent,
                root_signatures(ledger_id, so_far, [(0, self.root)]),
            ),
        )

    def add(self, kind: str, body: Any) -> bytes:
        leaf = encode_event(self.size, kind, 1_700_000_000_000 + self.size, body)
        self.leaves.append(leaf)
        self.size += 1
        return event_id(self.log_id, self.size - 1, leaf)

    def take(self) -> list[bytes]:
        leaves, self.leaves = self.leaves, []
        return leaves


class Ids:
    """Many ids in little memory."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __len__(self) -> int:
        return len(self._bytes) // 32

    def __getitem__(self, index: int) -> bytes:
        first = 32 * (index % len(self))
        return bytes(self._bytes[first : first + 32])

    def add(self, ids: Iterable[bytes]) -> None:
        self._bytes += b"".join(ids)


class EventSource:
    """Endless epochs of events by `accounts` accounts; the first one is seat and issuer."""

    def __init__(self, accounts: int = 100, seed: int = 1, maturity_epochs: int = 0) -> None:
        self.random = random.Random(seed)
        self.authors = [_Author(f"author {i}") for i in range(accounts)]
        first = self.authors[0]
        params = Params(
            0, 1_000, 500, (4_000, 3_500, 2_500), "refund", maturity_epochs, 4, 8, (first.account,)
        )
        self.genesis = Genesis(
            1, "benchmark", bytes(16), 1, params,
            ((first.inception, first.device.public.raw),),
            ((first.account, 2**50),),
        )  # fmt: skip
        for author in self.authors:
            author.begin(self.genesis.ledger_id)
        self.contributions = Ids()
        self.models: list[bytes] = []
        self.agents: list[bytes] = []
        self._new: list[bytes] = []
        self._new_models: list[bytes] = []
        self._new_agents: list[bytes] = []
        self._new_grants: list[tuple[_Author, bytes]] = []
        self.epoch = 1
        self._position = 0

    def epochs(self, events: int, per_epoch: int) -> Iterator[dict[bytes, list[bytes]]]:
        """New leaves by log id, epoch by epoch: first two short ones that set the ledger up."""
        yield self._close()
        self._set_up()
        yield self._close()
        for author in self.authors:
            self._grant(author)
        yield self._close()
        made = 0
        while made < events:
            count = min(per_epoch, events - made)
            for _ in range(count):
                self._next_event()
            made += count
            yield self._close()

    def receipts_epoch(self, receipts: int) -> dict[bytes, list[bytes]]:
        """One epoch of receipts alone."""
        for _ in range(receipts):
            self._receipt(self.random.choice(self.authors))
        return self._close()

    def _close(self) -> dict[bytes, list[bytes]]:
        self.contributions.add(self._new)
        self.models += self._new_models
        self.agents += self._new_agents
        self._new, self._new_models, self._new_agents = [], [], []
        for provider, grant in self._new_grants:
            provider.grants.append((grant, 400))
        self._new_grants = []
        self.epoch += 1
        return {author.log_id: author.take() for author in self.authors if author.leaves}

    def _set_up(self) -> None:
        for author in self.authors:
            body = kinds.MoneyIssue(author.account, 2**36, "opening")
            self.authors[0].add("money.issue", body)
            self._contribution(author)
            self._model(author)
            self._agent(author)

    def _next_event(self) -> None:
        kind = CYCLE[self._position % len(CYCLE)]
        self._position += 1
        author = self.random.choice(self.authors)
        if kind == "c":
            self._contribution(author)
        elif kind == "r":
            self._receipt(author)
        elif kind == "m":
            self._model(author)
        elif kind == "a":
            self._agent(author)
        elif kind == "d":
            author.add("datanet.create", kinds.DatanetCreate("A datanet", "Public texts", "CC"))
        elif kind == "t":
            other = self.random.choice(self.authors)
            author.add("money.transfer", kinds.MoneyTransfer(other.account, 1_000, "thanks"))
        elif kind == "g":
            self._grant(author)
        else:
            body = kinds.MoneyIssue(author.account, 10**9, "deposit")
            self.authors[0].add("money.issue", body)

    def _contribution(self, author: _Author) -> None:
        number = len(self.contributions) + len(self._new)
        body = kinds.DataContribute(
            None, f"Documentation of package {number}, release notes and guides", "CC-BY-4.0",
            "text/markdown", 1, 12, 48_000 + number, 8_000, (), (),
        )  # fmt: skip
        self._new.append(author.add("data.contribute", body))

    def _model(self, author: _Author) -> None:
        number = len(self.models) + len(self._new_models)
        weights = hashlib.sha256(b"weights" + number.to_bytes(8, "big")).digest()
        bases = ((self.models[number % len(self.models)], 10),) if self.models else ()
        trained_on = (
            ((self.contributions[number], 1), (self.contributions[number + 1], 1))
            if len(self.contributions) > 1
            else ()
        )
        body = kinds.ModelRegister(f"Model {number}", (weights,), bases, trained_on, (), "MIT")
        if number % 7:
            body = kinds.ModelRegister(f"Model {number}", (weights,), (), trained_on, (), "MIT")
        self._new_models.append(author.add("model.register", body))

    def _agent(self, author: _Author) -> None:
        body = kinds.AgentRegister("Helper", author.account, None, ("search", "answer"), ())
        self._new_agents.append(author.add("agent.register", body))

    def _grant(self, payer: _Author) -> None:
        provider = self.random.choice(self.authors)
        if provider is payer:
            provider = self.authors[(self.authors.index(payer) + 1) % len(self.authors)]
        body = kinds.MoneyGrant(provider.account, 400 * CREDIT // 100, None)
        self._new_grants.append((provider, payer.add("money.grant", body)))

    def _popular(self, count: int) -> list[int]:
        """Different contributions by Zipf's law: the n-th is used 1/n as often as the first."""
        chosen: dict[int, None] = {}
        while len(chosen) < count:
            chosen[int((len(self.contributions) + 1) ** self.random.random()) - 1] = None
        return list(chosen)

    def _receipt(self, provider: _Author) -> None:
        while not provider.grants:
            provider = self.random.choice(self.authors)
        grant, left = provider.grants[-1]
        if left == 1:
            provider.grants.pop()
        else:
            provider.grants[-1] = (grant, left - 1)
        chosen = self._popular(4)
        first = self.random.randrange(100_000, 400_000)
        shares = (first, 250_000, 150_000, 77_777)
        weights = tuple((self.contributions[c], s) for c, s in zip(chosen, shares, strict=True))
        number = self.random.randrange(2**64)
        body = kinds.UseReceipt(
            grant,
            self.random.choice(self.models),
            self.random.choice(self.agents) if number % 2 else None,
            self.epoch - 1,
            1,
            hashlib.sha256(number.to_bytes(8, "big")).digest(),
            10_000,
            weights,
            kinds.PPM - sum(shares),
            "spans",
        )
        provider.add("use.receipt", body)
