"""R3 as docs/spec/attribution.md words it, with dictionaries and loops: slow, and easy to check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from openledger_node.attribution.scope import ScopeDocument

Gram = tuple[bytes, ...]
Place = tuple[int, int, bytes, int, int]
"""(document, token, source contribution, source document, source token)"""


@dataclass
class Anchor:
    token: int
    source: int
    place: int
    enough: int
    """A quarter of the grams of its block, rounded up."""


def derived_tokens(
    owner: bytes,
    epoch: int,
    texts: Sequence[Sequence[bytes]],
    sources: Sequence[ScopeDocument],
    min_chain: int,
) -> list[Place]:
    """Every derived token of the subject, with where it stands in its direct source."""
    having = _Having(owner, epoch, sources)
    found: list[Place] = []
    for document, text in enumerate(texts):
        anchors = [
            anchor
            for first in range(0, len(text), 512)
            for anchor in _anchors_of_block(having, text, first)
        ]
        anchors = _in_chains(anchors, min_chain)
        for token in range(len(text)):
            before = [k for k, anchor in enumerate(anchors) if anchor.token <= token]
            if not before:
                continue
            anchor = anchors[before[-1]]
            after = anchors[before[-1] + 1] if before[-1] + 1 < len(anchors) else None
            if token < anchor.token + 5 or (after is not None and _linked(anchor, after)):
                item = having.documents[anchor.source]
                place = anchor.place + token - anchor.token
                found.append((document, token, item.contribution_id, item.document, place))
    return found


class _Having:
    """Which documents have which grams, for the subject."""

    def __init__(self, owner: bytes, epoch: int, sources: Sequence[ScopeDocument]) -> None:
        self.documents = sorted(sources, key=lambda item: (item.order, item.document))
        self.places = [_places(item.tokens) for item in self.documents]
        own: dict[Gram, int] = {}
        for item, places in zip(self.documents, self.places, strict=True):
            if item.owner == owner:
                for gram in places:
                    own[gram] = min(own.get(gram, epoch), item.order[0])
        self._own, self._owner, self._epoch = own, owner, epoch

    def has(self, number: int, gram: Gram) -> bool:
        item = self.documents[number]
        return (
            gram in self.places[number]
            and item.owner != self._owner
            and not item.commons
            and item.order[0] < self._own.get(gram, self._epoch)
        )


def _anchors_of_block(having: _Having, text: Sequence[bytes], first: int) -> list[Anchor]:
    block = text[first : first + 512]
    left = {i: tuple(block[i : i + 5]) for i in range(len(block) - 4)}
    enough = (len(left) + 3) // 4
    anchors: list[Anchor] = []
    for _ in range(32):
        votes: dict[int, int] = {}
        for gram in left.values():
            having_it = [n for n in range(len(having.documents)) if having.has(n, gram)]
            for number in having_it[:16]:
                votes[number] = votes.get(number, 0) + 1
        source = min(votes, key=lambda number: (-votes[number], number), default=None)
        if source is None or votes[source] < min(5, enough):
            break
        last = -1
        for i, gram in list(left.items()):
            if having.has(source, gram):
                places = having.places[source][gram]
                last = next((place for place in places if place > last), places[0])
                anchors.append(Anchor(first + i, source, last, enough))
                del left[i]
    return sorted(anchors, key=lambda anchor: anchor.token)


def _in_chains(anchors: Sequence[Anchor], min_chain: int) -> list[Anchor]:
    """Those of chains that count, in order of token."""
    chains: list[list[Anchor]] = []
    last: dict[int, list[Anchor]] = {}
    for anchor in anchors:
        chain = last.get(anchor.source)
        if chain is None or not _linked(chain[-1], anchor):
            chain = last[anchor.source] = []
            chains.append(chain)
        chain.append(anchor)
    kept = [a for chain in chains if len(chain) >= min(min_chain, chain[0].enough) for a in chain]
    return sorted(kept, key=lambda anchor: anchor.token)


def _places(tokens: Sequence[bytes]) -> dict[Gram, list[int]]:
    places: dict[Gram, list[int]] = {}
    for i in range(len(tokens) - 4):
        places.setdefault(tuple(tokens[i : i + 5]), []).append(i)
    return places


def _linked(anchor: Anchor, after: Anchor) -> bool:
    return (
        anchor.source == after.source
        and after.token - anchor.token <= 45
        and 0 < after.place - anchor.place <= 45
    )
