"""R3: which tokens of a contribution derive from earlier contributions of other accounts.

A copy that is edited a little has the longer matches with what a model says after it, so "the first
to register wins" does not protect the copied. And a threshold on whole documents is beaten by
padding. So a block of 512 tokens derives by what stands in it alone, and a stock phrase here and
there is no copy:

- A *gram* is 5 consecutive tokens within one block. Of the grams of contribution X by account A, to
  be final in epoch E, let own(g) be the least epoch in which a contribution of A with g is final,
  and E when there is none. A document *has* g for X when g stands in it, it is another account's,
  it is no common text, and its contribution is final in an epoch before own(g). The last keeps a
  thief from becoming the source of what its owner registers again.
- Each gram of a block votes for the first 16 documents that have it, in the order of positions. The
  document with most votes, ties to the first in that order, is a *source* of the block if those are
  at least 5. The grams that it has are its *anchors*; without them the block's other grams vote
  again, up to 32 times, until no document has votes enough.
- The place of an anchor, in ascending order, is the least at which its source has it after the
  place of the block's anchor of that source before it; if there is none, the least of all.
- Anchors i < j that follow each other among those of one source in a document are *linked* when i
  and j are at most 45 apart, and so are their places, in the same order. A chain of linked anchors
  counts when it has MIN_CHAIN of them. All others are dropped.
- In place of 5 votes and of MIN_CHAIN anchors, a quarter of the block's grams, rounded up, is
  enough where that is less; for a chain, of the block in which it begins.
- A token t derives when the last anchor i at or before it in its document has t < i + 5, or is
  linked to the next anchor in the document. It stands at i's place + t - i of the source.

Then derivations of the source itself are followed (redirect.py): a copy of a copy pays the first.

The work is linear, up to sorting, in the sources and in X, whatever they hold: grams get exact
numbers (no hash is trusted), a gram votes at most 16 times in at most 32 rounds, and places are
found by bisection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from openledger_node.attribution.derivation_map import MapEntry
from openledger_node.attribution.grams import GRAM, GramNumbers
from openledger_node.attribution.scope import ScopeDocument

BLOCK_TOKENS: Final = 512
MAX_VOTES: Final = 16
MIN_VOTES: Final = 5
MAX_SOURCES_OF_A_BLOCK: Final = 32
MIN_CHAIN: Final = 10
MAX_STEP: Final = 45
"""Between linked anchors: so at most 40 tokens that no anchor covers."""
SMALL_PART: Final = 4
"""Of a small block the grams divided by this are enough, rounded up."""

BATCH_TOKENS: Final = 2**18
"""Tokens of sources that are looked at together: enough to make small documents cheap."""
BATCH_BLOCKS: Final = 2**11
"""Blocks whose votes are counted together: at most 2^24 votes."""
_PLACE_BITS: Final = 31
"""A document has at most 2^30 tokens."""

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Subject:
    """The contribution X: its account, its epoch, and the tokens of each of its documents.

    A document that is not text has none. `epoch` of a pending contribution is the next one.
    """

    owner: bytes
    epoch: int
    texts: Sequence[Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class _Blocks:
    """The grams of X: where each starts, in tokens over all its documents, and its block."""

    starts: Ints
    block_of: Ints
    document_of: Ints
    """By block."""
    bounds: Ints
    """First token of each document, and the end."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """Which documents have which grams. A pair is (gram, document); hits lie by pair, position."""

    documents: list[tuple[bytes, int]]
    """Their contributions and numbers: the tokens are let go once they were looked at."""
    pair_keys: Ints
    pair_document: Ints
    gram_pairs: Ints
    """First pair of each gram, and the end."""
    pair_hits: Ints
    """First hit of each pair, and the end."""
    hit_keys: Ints
    """pair << 31 | position."""

    def pairs_of(self, gram: Ints, document: Ints) -> Ints:
        """The number of each pair; -1 where the document does not have the gram."""
        if not len(self.pair_keys):
            return np.full(len(gram), -1, np.int64)
        keys = gram * len(self.documents) + document
        found = np.minimum(np.searchsorted(self.pair_keys, keys), len(self.pair_keys) - 1)
        return np.where(self.pair_keys[found] == keys, found, -1)


@dataclass(frozen=True, slots=True)
class _Anchors:
    """Anchors in ascending order of token, with their documents, sources and places there.

    `enough`: what part of the grams of each one's block is enough, where it is a small block.
    """

    tokens: Ints
    documents: Ints
    sources: Ints
    places: Ints
    enough: Ints

    def at(self, index: Ints) -> _Anchors:
        return _Anchors(
            self.tokens[index],
            self.documents[index],
            self.sources[index],
            self.places[index],
            self.enough[index],
        )

    def linked(self) -> Flags:
        """Which anchors but the last are linked to the one after it here."""
        step, moved = np.diff(self.tokens), np.diff(self.places)
        together = (np.diff(self.documents) == 0) & (np.diff(self.sources) == 0)
        near: Flags = together & (step <= MAX_STEP) & (moved > 0) & (moved <= MAX_STEP)
        return near


def derive(
    subject: Subject, sources: Iterable[ScopeDocument], min_chain: int = MIN_CHAIN
) -> tuple[MapEntry, ...]:
    """R3 up to following: what derives in `subject`, and where it stands in its direct sources.

    `sources` come in the order of positions and hold no document of the subject. Whether one may
    be a source is decided here; common texts and the owner's own documents may be among them.
    """
    blocks = _blocks_of(subject)
    numbers = GramNumbers(subject.texts, blocks.starts)
    standing = _look(subject, numbers, sources)
    anchors = _chained(_anchors(blocks, numbers.grams, standing), min_chain)
    return tuple(_entries(blocks, anchors, standing))


def _blocks_of(subject: Subject) -> _Blocks:
    lengths = np.array([len(text) for text in subject.texts], np.int64)
    bounds = np.concatenate(([0], np.cumsum(lengths)))
    tokens = np.arange(bounds[-1], dtype=np.int64)
    document = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    local = tokens - bounds[document]
    counts = -(-lengths // BLOCK_TOKENS)
    first_block = np.concatenate(([0], np.cumsum(counts)))
    inside = (local % BLOCK_TOKENS <= BLOCK_TOKENS - GRAM) & (local + GRAM <= lengths[document])
    starts = np.flatnonzero(inside)
    block_of = first_block[document[starts]] + local[starts] // BLOCK_TOKENS
    document_of = np.repeat(np.arange(len(lengths), dtype=np.int64), counts)
    return _Blocks(starts, block_of, document_of, bounds)


def _look(subject: Subject, numbers: GramNumbers, sources: Iterable[ScopeDocument]) -> _Standing:
    """Every place of X's grams in documents that have them."""
    documents: list[tuple[bytes, int]] = []
    epochs_of: list[int] = []
    own = np.full(numbers.count, subject.epoch, np.int64)
    grams, keys = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for batch in _batches(sources):
        gram, index, position = numbers.find([item.tokens for item in batch])
        owned = np.array([item.owner == subject.owner for item in batch], bool)[index]
        epochs = np.array([item.order[0] for item in batch], np.int64)[index]
        np.minimum.at(own, gram[owned], epochs[owned])
        others = ~owned & (epochs < subject.epoch)
        others &= ~np.array([item.commons for item in batch], bool)[index]
        grams.append(gram[others])
        keys.append((index[others] + len(documents)) << _PLACE_BITS | position[others])
        documents += [(item.contribution_id, item.document) for item in batch]
        epochs_of += [item.order[0] for item in batch]
    gram, key = np.concatenate(grams), np.concatenate(keys)
    epoch_of = np.array(epochs_of, np.int64)
    if len(key):
        early = epoch_of[key >> _PLACE_BITS] < own[gram]
        gram, key = gram[early], key[early]
    return _standing(documents, numbers.count, gram, key)


def _batches(sources: Iterable[ScopeDocument]) -> Iterator[list[ScopeDocument]]:
    batch: list[ScopeDocument] = []
    tokens = 0
    for item in sources:
        batch.append(item)
        tokens += len(item.tokens)
        if tokens >= BATCH_TOKENS:
            yield batch
            batch, tokens = [], 0
    if batch:
        yield batch


def _standing(
    documents: list[tuple[bytes, int]], gram_count: int, gram: Ints, key: Ints
) -> _Standing:
    """Sorts hits, which came in the order of (document, position), by gram first."""
    order = np.argsort(gram, kind="stable")
    gram, key = gram[order], key[order]
    document = key >> _PLACE_BITS
    pair_key = gram * len(documents) + document
    first = np.flatnonzero(np.diff(pair_key, prepend=-1))
    pair_of_hit = np.repeat(np.arange(len(first), dtype=np.int64), np.diff(first, append=len(gram)))
    position = key & ((1 << _PLACE_BITS) - 1)
    return _Standing(
        documents,
        pair_key[first],
        document[first],
        np.searchsorted(gram[first], np.arange(gram_count + 1)),
        np.append(first, len(gram)),
        pair_of_hit << _PLACE_BITS | position,
    )


def _anchors(blocks: _Blocks, grams: Ints, standing: _Standing) -> _Anchors:
    """All anchors: round by round, the sources of blocks are chosen and take what they have."""
    sizes = np.bincount(blocks.block_of, minlength=len(blocks.document_of))
    enough = -(-sizes // SMALL_PART)
    left = np.arange(len(grams), dtype=np.int64)
    found, sources, places = ([np.empty(0, np.int64)] for _ in range(3))
    for _ in range(MAX_SOURCES_OF_A_BLOCK):
        if not len(left):
            break
        chosen = _choose_sources(blocks, grams, standing, left, np.minimum(MIN_VOTES, enough))
        left = left[chosen[blocks.block_of[left]] >= 0]
        source = chosen[blocks.block_of[left]]
        pair = standing.pairs_of(grams[left], source)
        taken = pair >= 0
        found.append(left[taken])
        sources.append(source[taken])
        places.append(_places(blocks.block_of[left[taken]], pair[taken], standing))
        left = left[~taken]
    index = np.concatenate(found)
    block = blocks.block_of[index]
    columns = (np.concatenate(sources), np.concatenate(places), enough[block])
    anchors = _Anchors(blocks.starts[index], blocks.document_of[block], *columns)
    return anchors.at(np.argsort(index))


def _chained(anchors: _Anchors, min_chain: int) -> _Anchors:
    """The anchors of chains that count."""
    if not len(anchors.tokens):
        return anchors
    order = np.lexsort((anchors.tokens, anchors.sources, anchors.documents))
    by_source = anchors.at(order)
    first = np.flatnonzero(np.concatenate(([True], ~by_source.linked())))
    lengths = np.diff(first, append=len(order))
    counts = lengths >= np.minimum(min_chain, by_source.enough[first])
    return anchors.at(np.sort(order[np.repeat(counts, lengths)]))


def _choose_sources(
    blocks: _Blocks, grams: Ints, standing: _Standing, left: Ints, needed: Ints
) -> Ints:
    """The document with most votes of the grams that are left, for each block; -1 for none."""
    chosen = np.full(len(needed), -1, np.int64)
    size = max(1, len(standing.documents))
    of_left = blocks.block_of[left]
    for first in range(int(of_left[0]), int(of_left[-1]) + 1, BATCH_BLOCKS):
        low, high = np.searchsorted(of_left, [first, first + BATCH_BLOCKS])
        batch = left[low:high]
        gram, block = grams[batch], of_left[low:high]
        begin = standing.gram_pairs[gram]
        votes = np.minimum(standing.gram_pairs[gram + 1] - begin, MAX_VOTES)
        within = np.arange(votes.sum()) - np.repeat(np.cumsum(votes) - votes, votes)
        document = standing.pair_document[np.repeat(begin, votes) + within]
        candidates, counts = np.unique(
            np.repeat(block, votes) * size + document, return_counts=True
        )
        # Candidates ascend by (block, document), so of equal counts the first document stays.
        best = np.lexsort((-counts, candidates // size))
        leads = best[np.flatnonzero(np.diff(candidates[best] // size, prepend=-1))]
        leads = leads[counts[leads] >= needed[candidates[leads] // size]]
        chosen[candidates[leads] // size] = candidates[leads] % size
    return chosen


def _places(block_of: Ints, pair: Ints, standing: _Standing) -> Ints:
    """The places of anchors that come in ascending order; each block has one source here."""
    places = np.zeros(len(pair), np.int64)
    last = np.full(int(block_of[-1]) + 1 if len(pair) else 0, -1, np.int64)
    for turn in _turns(block_of):
        block, here = block_of[turn], pair[turn]
        after = np.searchsorted(standing.hit_keys, here << _PLACE_BITS | (last[block] + 1))
        after = np.where(after < standing.pair_hits[here + 1], after, standing.pair_hits[here])
        places[turn] = last[block] = standing.hit_keys[after] & ((1 << _PLACE_BITS) - 1)
    return places


def _turns(block_of: Ints) -> Iterator[Ints]:
    """The first anchors of all blocks, then the second ones, ...: each turn has a block once."""
    if not len(block_of):
        return
    first = np.flatnonzero(np.diff(block_of, prepend=-1))
    rank = np.arange(len(block_of)) - np.repeat(first, np.diff(first, append=len(block_of)))
    order = np.argsort(rank, kind="stable")
    ends = np.cumsum(np.bincount(rank))
    begin = 0
    for end in ends.tolist():
        yield order[begin:end]
        begin = end


def _entries(blocks: _Blocks, anchors: _Anchors, standing: _Standing) -> Iterator[MapEntry]:
    """What derives: stretches of tokens that go on in both documents."""
    size = len(anchors.tokens)
    if not size:
        return
    lengths = np.full(size, GRAM, np.int64)
    step, moved = np.diff(anchors.tokens), np.diff(anchors.places)
    together = np.diff(anchors.documents) == 0
    linked = anchors.linked()
    lengths[:-1][together] = np.minimum(step, GRAM)[together]
    lengths[:-1][linked] = step[linked]
    joined = together & (np.diff(anchors.sources) == 0)
    joined &= (lengths[:-1] == step) & (moved == step)
    first = np.flatnonzero(np.concatenate(([True], ~joined)))
    final = np.append(first[1:] - 1, size - 1)
    begins = anchors.tokens[first]
    ends = anchors.tokens[final] + lengths[final]
    local = begins - blocks.bounds[anchors.documents[first]]
    rows = (anchors.documents[first], local, ends - begins, anchors.sources[first])
    columns = [column.tolist() for column in (*rows, anchors.places[first])]
    for document, start, length, source, place in zip(*columns, strict=True):
        contribution, number = standing.documents[source]
        yield MapEntry(document, start, length, contribution, number, place)
