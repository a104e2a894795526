"""C7 under the policy `trained_on`: unattributed parts, by what models say they were trained on.

- Of a receipt's unattributed part u, u * w0 // W goes back to the payer: W is the sum of the
  model's declared weights, w0 that of what has no taker. A contribution takes; a datanet takes if
  it has tokens from epochs before the model's. The rest of u is added to the model's sum of the
  epoch.
- Once an epoch each model's sum is apportioned over what it names and has takers, by weights.
- What so falls to a datanet is added up by the models' epochs and apportioned over the earlier
  epochs in which members came, by their tokens, key = the epoch; what falls to the members of an
  epoch is added up again and apportioned over them by tokens. Every salt is the cut's id.

So an epoch costs its receipts, what the models used in it name, and each datanet's members once:
however many receipts and models name the same large datanet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from openledger_node.credit.apportion import apportion
from openledger_node.credit.overlay import Tables
from openledger_node.credit.state_records import Shares, epoch_key


class Declaration(NamedTuple):
    """What a model named: contributions and datanets that take, with their weights and sums."""

    epoch: int
    takers: Shares
    untaken: int
    whole: int

    def refund(self, unattributed: int) -> int:
        """What of a receipt's unattributed part goes back to its payer."""
        return unattributed * self.untaken // self.whole if self.whole else unattributed


class Members(NamedTuple):
    """The members of a datanet who came in one epoch, with their tokens."""

    tokens: int
    shares: list[tuple[bytes, int]]


class Part(NamedTuple):
    """What a contribution takes: by a model's naming it (`source`) or as a datanet's member."""

    contribution: bytes
    amount: int
    source: bytes


class Declarations:
    """What models declare, each model and each datanet read once."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._models: dict[bytes, Declaration] = {}
        self._datanets: dict[bytes, dict[int, Members]] = {}

    def of(self, model_id: bytes) -> Declaration:
        """The declaration of a model; empty for one that names nothing."""
        known = self._models.get(model_id)
        if known is None:
            known = self._models[model_id] = self._read(model_id)
        return known

    def _read(self, model_id: bytes) -> Declaration:
        model = self._tables.models.known(model_id)
        record = self._tables.trained_on.get(model_id)
        named = () if record is None else record.items
        takers = tuple(
            (some_id, weight) for some_id, weight in named if self._takes(some_id, model.epoch)
        )
        whole = sum(weight for _, weight in named)
        return Declaration(model.epoch, takers, whole - sum(weight for _, weight in takers), whole)

    def _takes(self, some_id: bytes, model_epoch: int) -> bool:
        if self._tables.datanets.get(some_id) is None:
            return True
        members = self._members(some_id)
        return any(each.tokens for epoch, each in members.items() if epoch < model_epoch)

    def _members(self, datanet: bytes) -> dict[int, Members]:
        """A datanet's members by the epoch in which they came."""
        known = self._datanets.get(datanet)
        if known is None:
            shares: dict[int, list[tuple[bytes, int]]] = {}
            for key, member in self._tables.members.items(datanet):
                shares.setdefault(member.epoch, []).append((key[32:], member.tokens))
            known = self._datanets[datanet] = {
                epoch: Members(sum(tokens for _, tokens in came), came)
                for epoch, came in shares.items()
            }
        return known

    def parts(self, sums: Mapping[bytes, int], cut_id: bytes) -> Iterator[Part]:
        """Who takes the epoch's sums, by model; a contribution may come several times."""
        to_datanets: dict[tuple[bytes, int], int] = {}
        for model_id, amount in sums.items():
            model = self.of(model_id)
            shares = apportion(amount, model.takers, cut_id)
            for (some_id, _), share in zip(model.takers, shares, strict=True):
                if self._tables.datanets.get(some_id) is None:
                    yield Part(some_id, share, model_id)
                elif share:
                    key = some_id, model.epoch
                    to_datanets[key] = to_datanets.get(key, 0) + share
        yield from self._to_members(to_datanets, cut_id)

    def _to_members(
        self, to_datanets: Mapping[tuple[bytes, int], int], cut_id: bytes
    ) -> Iterator[Part]:
        to_epochs: dict[tuple[bytes, int], int] = {}
        for (datanet, model_epoch), amount in to_datanets.items():
            earlier = [
                (epoch, came.tokens)
                for epoch, came in self._members(datanet).items()
                if epoch < model_epoch
            ]
            weights = [(epoch_key(epoch), tokens) for epoch, tokens in earlier]
            for (epoch, _), share in zip(earlier, apportion(amount, weights, cut_id), strict=True):
                to_epochs[datanet, epoch] = to_epochs.get((datanet, epoch), 0) + share
        for (datanet, epoch), amount in to_epochs.items():
            came = self._members(datanet)[epoch].shares
            for (member, _), share in zip(came, apportion(amount, came, cut_id), strict=True):
                if share:
                    yield Part(member, share, datanet)
