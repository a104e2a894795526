"""What stood in a prompt: how it is named, and the scope that it makes.

`ID`, `ID:DOCUMENT` or `ID:DOCUMENT:FROM-TO`: a contribution, one of its documents (from 0), or its
tokens FROM up to but not including TO. With method `retrieved` an output is matched against these
passages alone, cut by the common texts (R1); the model's own training data is no part of it. The
evidence lists them (T12), so that others can compute the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from openledger_node.attribution.leaves import registered_text
from openledger_node.attribution.reference import Attribution
from openledger_node.attribution.scope import LedgerOrder, ScopeDocument, make_scope
from openledger_node.ledger.errors import UsageError
from openledger_node.ledger.payload import container_account, decode_payload
from openledger_node.node.core import NodeCore, Progress
from openledger_node.node.lookup import find_id
from openledger_node.node.reading import find_event
from openledger_node.node.scopes import (
    Gathered,
    Placed,
    commons_of,
    final_contribution,
    in_scope,
)
from openledger_node.store.snapshot import Snapshot

MAX_RETRIEVED: Final = 1_000
"""Passages that one use may name."""
_DIGITS: Final = 10
_NAMED: Final = re.compile(
    rf"([^:]*)(?::(\d{{1,{_DIGITS}}})(?::(\d{{1,{_DIGITS}}})-(\d{{1,{_DIGITS}}}))?)?"
)


@dataclass(frozen=True, slots=True, order=True)
class Retrieved:
    """What was placed in a prompt, as it was named: `document` -1 is all, `end` -1 the end."""

    contribution_id: bytes
    document: int = -1
    first: int = 0
    end: int = -1


@dataclass(frozen=True, slots=True)
class HeldTexts:
    """The texts of a contribution that are held here, by document; of which commitment."""

    account: bytes
    commit: bytes
    texts: tuple[tuple[int, list[bytes]], ...]


def find_retrieved(snapshot: Snapshot, named: Sequence[str]) -> tuple[Retrieved, ...]:
    """What the texts name, in order and each once. UsageError says what is wrong with one."""
    if len(named) > MAX_RETRIEVED:
        raise UsageError(f"{len(named):,} passages retrieved; a use names {MAX_RETRIEVED:,}")
    return tuple(sorted({_find(snapshot, text) for text in named}))


def _find(snapshot: Snapshot, text: str) -> Retrieved:
    match = _NAMED.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{text!r} names no passage",
            hint="as in ID, ID:DOCUMENT or ID:DOCUMENT:FROM-TO, with numbers from 0",
            code="bad_passage",
        )
    named = find_id(snapshot, match[1], "data.contribute")
    if match[2] is None:
        return Retrieved(named)
    if match[3] is None:
        return Retrieved(named, int(match[2]))
    first, end = int(match[3]), int(match[4])
    if first >= end:
        raise UsageError(
            f"{text!r}: a passage ends after it begins",
            hint="TO is not part of it",
            code="bad_passage",
        )
    return Retrieved(named, int(match[2]), first, end)


def held_texts(snapshot: Snapshot, contribution_id: bytes) -> HeldTexts | None:
    """The texts of a contribution, none for another account's payload (P3); None if not held."""
    found = find_event(snapshot, contribution_id)
    if found is None or found.event.payload_commit is None:
        return None
    account, commit = found.log.genesis.account_id, found.event.payload_commit
    data = snapshot.payload(commit)
    if data is None:
        return None
    if container_account(data) != account:
        return HeldTexts(account, commit, ())
    texts = []
    for index, document in enumerate(decode_payload(data).documents):
        text = registered_text(document.slices, document.tokens)
        if text is not None:
            texts.append((index, text.tokens()))
    return HeldTexts(account, commit, tuple(texts))


def place(asked: Sequence[Retrieved], contribution_id: bytes, held: HeldTexts) -> list[Placed]:
    """The passages of one contribution, ascending and apart. UsageError past its text."""
    wanted: dict[int, list[tuple[int, int]]] = {}
    lengths = {index: len(tokens) for index, tokens in held.texts}
    for item in asked:
        if item.contribution_id != contribution_id:
            continue
        if item.document >= 0 and item.document not in lengths:
            raise UsageError(
                f"contribution {contribution_id.hex()[:12]} has no text {item.document}",
                hint="`oln data show` counts its documents; the first is 0",
                code="bad_passage",
            )
        for index in lengths if item.document < 0 else (item.document,):
            end = lengths[index] if item.end < 0 else item.end
            if end > lengths[index]:
                raise UsageError(
                    f"document {index} of {contribution_id.hex()[:12]} ends before token {end:,}",
                    hint=f"it has {lengths[index]:,} tokens",
                    code="bad_passage",
                )
            if item.first < end:
                wanted.setdefault(index, []).append((item.first, end))
    return [
        Placed(contribution_id, index, first, end)
        for index in sorted(wanted)
        for first, end in _joined(sorted(wanted[index]))
    ]


def _joined(ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Ranges that touch or overlap as one: a match may run across them."""
    first, end = ranges[0]
    for start, stop in ranges[1:]:
        if start > end:
            yield first, end
            first, end = start, stop
        end = max(end, stop)
    yield first, end


def passage_sources(
    placed: Sequence[Placed], held: HeldTexts, order: LedgerOrder, *, commons: bool = False
) -> list[ScopeDocument]:
    """The sources that the passages of one contribution make, in their order."""
    texts = dict(held.texts)
    return [
        ScopeDocument(
            item.contribution_id,
            order,
            item.document,
            held.account,
            texts[item.document][item.first : item.end],
            commons,
        )
        for item in placed
    ]


def prompt_scope(
    core: NodeCore, snapshot: Snapshot, asked: tuple[Retrieved, ...], progress: Progress
) -> Gathered:
    """The scope of an output whose prompt held these passages."""
    key = (b"prompt", snapshot.last_epoch(), asked)
    kept: Gathered | None = core.scopes.get(key)
    if kept is not None:
        return kept
    commons = commons_of(core, snapshot)
    ids = sorted({item.contribution_id for item in asked} | set(commons))
    sources: list[ScopeDocument] = []
    passages: list[Placed] = []
    orders: dict[bytes, LedgerOrder] = {}
    commits: dict[bytes, bytes] = {}
    missing = []
    for done, contribution_id in enumerate(ids, 1):
        progress(done, len(ids), "contributions read")
        view = final_contribution(snapshot.state, contribution_id)
        if not in_scope(view):
            continue
        held = held_texts(snapshot, contribution_id)
        if held is None:
            missing.append(contribution_id)
            continue
        orders[contribution_id] = (view.epoch, b"", view.serial)
        commits[contribution_id] = held.commit
        wanted = asked if not view.commons else (Retrieved(contribution_id),)
        placed = place(wanted, contribution_id, held)
        sources += passage_sources(placed, held, orders[contribution_id], commons=view.commons)
        passages += placed if not view.commons else ()
    passages.sort(key=lambda item: (orders[item.contribution_id], item.document, item.first))
    gathered = Gathered(
        make_scope(sources), orders, commits, tuple(missing), passages=tuple(passages)
    )
    core.scopes.put(key, gathered)
    return gathered


def in_documents(found: Attribution, placed: Sequence[Placed]) -> Attribution:
    """An attribution over passages, with its spans counted from the beginning of documents."""
    spans = tuple(replace(s, token=s.token + placed[s.source].first) for s in found.spans)
    return replace(found, spans=spans)
