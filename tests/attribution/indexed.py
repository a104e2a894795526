"""Scopes behind segments, for tests: cut into segments in any way."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from openledger_node.attribution.matching import IndexedScope, Source
from openledger_node.attribution.scope import Scope
from openledger_node.attribution.segment import (
    AFTER_DOCUMENT,
    NOWHERE,
    Segment,
    View,
    build_segment,
    tokens_as_text,
)


def indexed(
    scope: Scope, cuts: Sequence[int] = (), others: Sequence[list[bytes]] = ()
) -> IndexedScope:
    """A scope whose documents, and `others` that are outside it, lie in segments.

    `cuts` are the numbers of documents after which a new segment begins; documents stand in the
    order of their ids, which is not the scope's.
    """
    documents = [
        (item.contribution_id, item.document, item.tokens)
        for item in (*scope.sources, *scope.commons)
    ]
    documents += [(bytes([0xEE, n]) * 16, n, tokens) for n, tokens in enumerate(others)]
    documents.sort(key=lambda item: (item[0], item[1]))
    sources = [Source(item.contribution_id, item.document) for item in scope.sources]
    commons = [Source(item.contribution_id, item.document) for item in scope.commons]
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(documents)}), len(documents)]
    segments = [
        build_segment(
            [(c, d, tokens_as_text(tokens) + AFTER_DOCUMENT) for c, d, tokens in documents[a:b]]
        )
        for a, b in pairwise(edges)
    ]
    return IndexedScope(
        tuple(view(segment, sources) for segment in segments),
        tuple(view(segment, commons) for segment in segments),
        tuple(sources),
    )


def view(segment: Segment, sources: Sequence[Source]) -> View:
    ranks = {source: rank for rank, source in enumerate(sources)}
    found = [ranks.get(Source(p.contribution_id, p.document), NOWHERE) for p in segment.places]
    return View(segment, np.array(found, np.int64))
