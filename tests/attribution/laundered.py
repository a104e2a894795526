"""Contributions that copy one another, for the tests of derivation: short ways to make them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from openledger_node.attribution.derivation import Subject, derive
from openledger_node.attribution.derivation_map import MapEntry
from openledger_node.attribution.redirect import HeldMap, Redirect, resolve
from openledger_node.attribution.reference import attribute
from openledger_node.attribution.scope import LedgerOrder, ScopeDocument, make_scope
from openledger_node.attribution.weights import count_tokens
from tests.attribution.build import contribution_id

Tokens = list[bytes]
Flat = tuple[int, int, bytes, int, int]


def text(name: str, count: int, start: int = 0) -> Tokens:
    """Tokens that no text of another name has."""
    return [b"%s%d" % (name.encode(), index) for index in range(start, start + count)]


def edited(tokens: Sequence[bytes], rate: float, seed: int = 1) -> Tokens:
    """A copy with about that part of its tokens replaced, left out, or preceded by another."""
    dice = random.Random(seed)
    done: Tokens = []
    for index, token in enumerate(tokens):
        if dice.random() >= rate:
            done.append(token)
            continue
        kind = dice.randrange(3)
        if kind < 2:
            done.append(b"edit%d_%d" % (seed, index))
        if kind == 1:
            done.append(token)
    return done


def flat(entries: Iterable[MapEntry]) -> list[Flat]:
    """A map token by token."""
    return [
        (e.document, e.start + k, e.contribution, e.source_document, e.source_token + k)
        for e in entries
        for k in range(e.length)
    ]


class Shelf:
    """Contributions in the order in which they were registered, each with its declared map."""

    def __init__(self) -> None:
        self.documents: list[ScopeDocument] = []
        self.orders: dict[bytes, LedgerOrder] = {}
        self.maps: list[HeldMap] = []

    def add(
        self,
        number: int,
        *texts: Tokens,
        owner: int | None = None,
        epoch: int | None = None,
        declare: bool = True,
        commons: bool = False,
    ) -> tuple[MapEntry, ...]:
        """Registers contribution `number`, by default of an account and an epoch of its own."""
        named = contribution_id(number)
        account = contribution_id(1_000 + (number if owner is None else owner))
        order = (number if epoch is None else epoch, b"", number)
        subject = Subject(account, order[0], texts)
        found = derive(subject, make_scope(self.documents).sources)
        self.orders[named] = order
        entries = resolve(found, Redirect(self.maps, self.orders), self.orders)
        if declare:
            self.maps.append(HeldMap(named, entries))
        self.documents += [
            ScopeDocument(named, order, index, account, tokens, commons)
            for index, tokens in enumerate(texts)
        ]
        return entries

    def credited(self, output: Tokens, *, gone: frozenset[bytes] = frozenset()) -> dict[int, int]:
        """{number: tokens} of an output after R1 to R3."""
        found = attribute(output, make_scope(self.documents))
        counts, _ = count_tokens([found], Redirect(self.maps, self.orders, gone))
        return {int.from_bytes(named, "big"): tokens for named, tokens in counts.items()}

    def share(self, output: Tokens, *numbers: int) -> float:
        """The part of an output's tokens that contributions are credited with."""
        counts = self.credited(output)
        return sum(counts.get(number, 0) for number in numbers) / len(output)
