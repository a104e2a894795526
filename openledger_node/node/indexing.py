"""The index of the text that this home holds: kept up to date, and asked for scopes.

Every contribution whose documents are held here, whole and under its own account's commitment, is
indexed; which of them an output may draw from is said by each query (ranks). So an epoch, a
withdrawal or a new share rebuilds nothing. What was erased leaves the files with the next update.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from openledger_node.attribution.leaves import registered_text
from openledger_node.attribution.matching import IndexedScope, Source
from openledger_node.attribution.scope import LedgerOrder
from openledger_node.attribution.segment import NOWHERE, Segment, View, searchable
from openledger_node.ledger.errors import StoreDamaged
from openledger_node.ledger.payload import decode_payload
from openledger_node.node.core import NodeCore, Progress, no_progress
from openledger_node.node.registry import bodies
from openledger_node.node.results_registry import IndexShown
from openledger_node.store.snapshot import Snapshot
from openledger_node.store.text_index import Text, TextIndex

LISTED: Final = 1_000


def open_index(core: NodeCore) -> TextIndex:
    """The home's index, opened once."""
    if core.index is None:
        core.index = TextIndex(core.home)
    return core.index


def update(core: NodeCore, progress: Progress = no_progress) -> int:
    """Indexes what is new and takes out what is erased; how many contributions changed."""
    index = open_index(core)
    with core.store.read() as snapshot:
        held = _held(snapshot)
        have = index.contributions()
        fresh = [key for key in held if key not in have]
        gone = have - held.keys()
        if not fresh and not gone:
            return 0
        total = sum(size for _, size in (held[key] for key in fresh))
        done = 0

        def built(size_bytes: int) -> None:
            nonlocal done
            done = min(total, done + size_bytes)
            progress(done, total, "bytes indexed")

        progress(0, total, "bytes indexed")
        index.change(_texts(snapshot, {key: held[key][0] for key in fresh}), gone, progress=built)
    return len(fresh) + len(gone)


def take_out_erased(core: NodeCore) -> int:
    """Rewrites the files without what is not held any more; how many contributions went.

    However little text is left: what was erased must not stay in the files of an index that is not
    used any more.
    """
    index = open_index(core)
    with core.store.read() as snapshot:
        gone = index.contributions() - _held(snapshot).keys()
    if gone:
        index.change((), gone)
    return len(gone)


def update_if_large(core: NodeCore, progress: Progress = no_progress) -> int:
    """As `update`, where there is text enough that scopes may be looked up."""
    with core.store.read() as snapshot:
        size_bytes = sum(size for _, size in _held(snapshot).values())
    return update(core, progress) if size_bytes >= core.config.index_from_bytes else 0


def _held(snapshot: Snapshot) -> dict[bytes, tuple[bytes, int]]:
    """Contributions whose payload is held whole: their commitment and the payload's bytes."""
    found = {}
    for located, _ in bodies(snapshot, "data.contribute"):
        commit = located.event.payload_commit
        if commit is not None and snapshot.has_payload(commit) and not snapshot.is_erased(commit):
            found[located.event_id] = commit, located.event.payload_len
    return found


def _texts(snapshot: Snapshot, commits: Mapping[bytes, bytes]) -> Iterator[Text]:
    """The searchable documents of contributions; those that are no text stand for none.

    A contribution without text has one empty document, so that it counts as looked at.
    """
    for key, commit in commits.items():
        try:
            data = snapshot.payload(commit)
        except StoreDamaged:
            continue  # `oln check` names it; it is indexed when it is held again
        if data is None:
            continue
        # A payload may be as large as all memory that is left: a document is let go of when read.
        documents = list(reversed(decode_payload(data).documents))
        del data
        count, empty = len(documents), True
        while documents:
            document = documents.pop()
            text = registered_text(document.slices, document.tokens)
            if text is not None and len(text):
                empty = False
                yield key, count - len(documents) - 1, searchable(text)
        if empty:
            yield key, 0, b"\0"


def indexed_scope(
    core: NodeCore,
    orders: Mapping[bytes, LedgerOrder],
    commons: Mapping[bytes, LedgerOrder],
) -> IndexedScope | None:
    """The scope of contributions by their ledger order; None when one of them is not indexed."""
    index = open_index(core)
    if not {*orders, *commons} <= index.contributions():
        return None
    segments = index.segments()
    sources = _sources(segments, orders)
    common = _sources(segments, commons)
    return IndexedScope(_views(segments, sources), _views(segments, common), tuple(sources))


def _sources(segments: Sequence[Segment], orders: Mapping[bytes, LedgerOrder]) -> list[Source]:
    """The documents of contributions in the order of positions."""
    found = [
        (orders[place.contribution_id], place.document, place.contribution_id)
        for segment in segments
        for place in segment.places
        if place.contribution_id in orders
    ]
    return [Source(key, document) for _, document, key in sorted(found)]


def _views(segments: Sequence[Segment], sources: Sequence[Source]) -> tuple[View, ...]:
    """The segments that have some of these documents, under their ranks."""
    ranks = {source: rank for rank, source in enumerate(sources)}
    views = []
    for segment in segments:
        found = [
            ranks.get(Source(place.contribution_id, place.document), NOWHERE)
            for place in segment.places
        ]
        if min(found, default=NOWHERE) < NOWHERE:
            views.append(View(segment, np.array(found, np.int64)))
    return tuple(views)


def status(core: NodeCore) -> IndexShown:
    """What is indexed and what waits for it."""
    index = open_index(core)
    with core.store.read() as snapshot:
        held = _held(snapshot)
    have = index.contributions()
    entries = index.entries()
    return IndexShown(
        contributions=len(have & held.keys()),
        waiting=len(held.keys() - have),
        erased=len(have - held.keys()),
        segments=len(entries),
        text_bytes=sum(entry.text_bytes for entry in entries),
        file_bytes=sum(entry.size for entry in entries),
        wrong=(),
    )


def rebuild(core: NodeCore, progress: Progress = no_progress) -> IndexShown:
    """Makes the index again from the payloads that are held."""
    open_index(core).clear()
    update(core, progress)
    return status(core)


def verify(core: NodeCore, progress: Progress = no_progress) -> IndexShown:
    """Reads every file, and holds every contribution's text to its payload."""
    index = open_index(core)
    wrong = index.verify()
    with core.store.read() as snapshot:
        held = _held(snapshot)
        segments = index.segments()
        shown: dict[bytes, dict[int, tuple[Segment, int]]] = {}
        for segment in segments:
            for number, place in enumerate(segment.places):
                shown.setdefault(place.contribution_id, {})[place.document] = segment, number
        for done, (key, documents) in enumerate(sorted(shown.items()), 1):
            progress(done, len(shown), "contributions compared")
            if key in held and not _is_true(snapshot, key, held[key][0], documents):
                wrong.append(f"contribution {key.hex()[:12]}: its text is not its payload's")
    found = status(core)
    return IndexShown(
        found.contributions,
        found.waiting,
        found.erased,
        found.segments,
        found.text_bytes,
        found.file_bytes,
        tuple(wrong[:LISTED]),
    )


def _is_true(
    snapshot: Snapshot, key: bytes, commit: bytes, documents: Mapping[int, tuple[Segment, int]]
) -> bool:
    texts = {number: text for _, number, text in _texts(snapshot, {key: commit})}
    indexed = {number: segment.text_of(at) for number, (segment, at) in documents.items()}
    return texts == indexed
