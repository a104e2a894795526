"""What a copier gets, and how many honest blocks are taken for copies: the table behind R3.

A copier takes a third of the documents, hides that, and registers them after their owners. Outputs
are verbatim pieces of what was copied, so every one of their tokens is somebody else's. `share` is
the part of those tokens that R1 to R4 credit to the copier.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from openledger_node.attribution.derivation import BLOCK_TOKENS, MIN_CHAIN, Subject, derive
from openledger_node.attribution.redirect import HeldMap, Redirect, resolve
from openledger_node.attribution.reference import Attribution, attribute
from openledger_node.attribution.scope import LedgerOrder, ScopeDocument, make_scope
from openledger_node.attribution.weights import count_tokens
from scripts.benchmarks.laundering import (
    THEFTS,
    Copy,
    Owned,
    Tokens,
    plain,
    texts_of_folder,
    texts_of_machine,
)
from scripts.benchmarks.machine import this_machine

RATES: Final = (0.0, 0.05, 0.15, 0.30)
DEFAULT_CHAINS: Final = (MIN_CHAIN,)
OUTPUTS: Final = 200
OUTPUT_TOKENS: Final = 200
TAKEN_PART: Final = 3
SEED: Final = 7
THIEF, FENCE = 10_001, 10_002
COPY_OF_A_COPY: Final = "copy of a copy"


def _id(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _documents(texts: Sequence[Owned]) -> list[ScopeDocument]:
    """One contribution an owner, one epoch a contribution, in the order of owners."""
    counts: dict[int, int] = {}
    made = []
    for item in texts:
        index = counts.get(item.owner, 0)
        counts[item.owner] = index + 1
        order = (item.owner + 1, b"", 0)
        made.append(ScopeDocument(_id(item.owner), order, index, _id(item.owner), item.tokens))
    return made


@dataclass
class Ledger:
    """Contributions with their documents and the maps that were declared for them."""

    documents: list[ScopeDocument]
    orders: dict[bytes, LedgerOrder]
    maps: list[HeldMap]
    chain: int

    def add(self, owner: int, texts: Sequence[Tokens]) -> bytes:
        """Registers a contribution in an epoch of its own, and declares what it derives from."""
        epoch = 1 + max(order[0] for order in self.orders.values())
        named, order = _id(owner), (epoch, b"", 0)
        found = derive(Subject(named, epoch, texts), self.documents, self.chain)
        self.orders[named] = order
        entries = resolve(found, Redirect(self.maps, self.orders), self.orders)
        self.maps.append(HeldMap(named, entries))
        self.documents += [
            ScopeDocument(named, order, index, named, tokens) for index, tokens in enumerate(texts)
        ]
        return named


def _ledger(originals: list[ScopeDocument], chain: int) -> Ledger:
    orders = {item.contribution_id: item.order for item in originals}
    return Ledger(list(originals), orders, [], chain)


def _output(copies: Sequence[Copy], dice: random.Random) -> tuple[Tokens, int]:
    """Verbatim pieces of what was copied, each followed by a token that stands nowhere."""
    ranges = [(copy, a, b) for copy in copies for a, b in copy.copied if b > a]
    weights = [b - a for _, a, b in ranges]
    output: Tokens = []
    drawn = 0
    for number, (copy, first, end) in enumerate(dice.choices(ranges, weights, k=OUTPUTS)):
        start = dice.randrange(first, max(first, end - OUTPUT_TOKENS) + 1)
        piece = copy.tokens[start : min(end, start + OUTPUT_TOKENS)]
        drawn += len(piece)
        output += [*piece, b"between%d" % number]
    return output, drawn


def _share(counts: Mapping[bytes, int], copiers: Sequence[bytes], drawn: int) -> float:
    return sum(counts.get(copier, 0) for copier in copiers) / drawn


@dataclass(frozen=True, slots=True)
class Row:
    theft: str
    rate: float
    chain: int
    share: float
    share_without: float


def thefts(texts: Sequence[Owned], chains: Sequence[int]) -> Iterator[Row]:
    """The copier's share for each way, rate and chain; with maps, and with R2 alone."""
    originals = _documents(texts)
    words = sorted({token for item in originals for token in item.tokens})
    taken = [item.tokens for item in originals][::TAKEN_PART]
    for name in (*THEFTS, COPY_OF_A_COPY):
        for rate in RATES:
            dice = random.Random(SEED)
            copies = THEFTS.get(name, plain)(taken, rate, words, dice)
            again = plain([item.tokens for item in copies], rate, words, dice)
            contributions = [(THIEF, [item.tokens for item in copies])]
            if name == COPY_OF_A_COPY:
                contributions.append((FENCE, [item.tokens for item in again]))
            output, drawn = _output(again if name == COPY_OF_A_COPY else copies, dice)
            found: Attribution | None = None
            for chain in chains:
                ledger = _ledger(originals, chain)
                copiers = [ledger.add(*item) for item in contributions]
                if found is None:  # R1 and R2 do not depend on maps
                    found = attribute(output, make_scope(ledger.documents))
                counts, _ = count_tokens([found], Redirect(ledger.maps, ledger.orders))
                without, _ = count_tokens([found])
                shares = _share(counts, copiers, drawn), _share(without, copiers, drawn)
                yield Row(name, rate, chain, *shares)


@dataclass(frozen=True, slots=True)
class Honest:
    chain: int
    blocks: int
    firing: int
    tokens: int
    moved: int


def honest(texts: Sequence[Owned], chains: Sequence[int]) -> Iterator[Honest]:
    """Each owner's contribution against all earlier ones: which blocks fire, what would move."""
    originals = _documents(texts)
    for chain in chains:
        blocks = firing = tokens = moved = 0
        for owner in sorted({item.owner for item in originals}):
            own = [item for item in originals if item.owner == owner]
            earlier = [item for item in originals if item.order < own[0].order]
            subject = Subject(own[0].owner, own[0].order[0], [item.tokens for item in own])
            entries = derive(subject, earlier, chain)
            blocks += sum(-(-len(item.tokens) // BLOCK_TOKENS) for item in own)
            tokens += sum(len(item.tokens) for item in own)
            moved += sum(entry.length for entry in entries)
            firing += len(
                {
                    (entry.document, block)
                    for entry in entries
                    for block in range(
                        entry.start // BLOCK_TOKENS, (entry.end - 1) // BLOCK_TOKENS + 1
                    )
                }
            )
        yield Honest(chain, blocks, firing, tokens, moved)


def derivation(folder: Path | None, chains: Sequence[int], json_file: Path | None) -> int:
    """Prints both tables; the exit status is 0 whatever they say."""
    texts = texts_of_folder(folder) if folder is not None else texts_of_machine()
    owners = len({item.owner for item in texts})
    count = sum(len(item.tokens) for item in texts)
    print(this_machine(Path.cwd()).text())
    print(f"{len(texts)} documents of {owners} owners, {count:,} tokens\n")
    print("blocks of honest owners that fire")
    print(f"{'chain':>10} {'blocks':>8} {'fire':>7} {'of blocks':>10} {'tokens moved':>13}")
    honest_rows = []
    for found in honest(texts, chains):
        honest_rows.append(found)
        print(
            f"{found.chain:>10} {found.blocks:>8,} {found.firing:>7,} "
            f"{found.firing / found.blocks:>10.2%} {found.moved / found.tokens:>13.2%}"
        )
    print("\nshare of a copier in outputs drawn from the copy")
    print(f"{'way':<18} {'edits':>6} {'R2 alone':>9} {'chain':>10} {'share':>7}")
    rows = []
    began = time.perf_counter()
    for row in thefts(texts, chains):
        rows.append(row)
        print(
            f"{row.theft:<18} {row.rate:>6.0%} {row.share_without:>9.3f} {row.chain:>10} "
            f"{row.share:>7.3f}",
            flush=True,
        )
    print(f"\n{time.perf_counter() - began:.0f} s")
    if json_file is not None:
        shown = {
            "honest": [{k: getattr(item, k) for k in Honest.__slots__} for item in honest_rows],
            "thefts": [{k: getattr(item, k) for k in Row.__slots__} for item in rows],
        }
        json_file.write_text(json.dumps(shown, indent=1) + "\n", encoding="utf-8")
    return 0
