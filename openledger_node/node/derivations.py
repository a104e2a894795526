"""Finding what a contribution derives from among the texts held here, and declaring it (R3).

`data add` looks before it registers, and declares what it finds in a `data.derivation` of the same
account, which counts at once. `data derive` looks again later, when this home holds more, and for
anybody's contribution: for another account's the claim counts when that one accepts it or the
witnesses uphold it. Of what is held only final contributions of earlier epochs can be sources.

A claim is what is found among the contributions that it names and no others: then whoever holds
these, the copy, and what the copier has registered before, finds the same map.
"""

from __future__ import annotations

import secrets
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from openledger_node.attribution.derivation import Subject, derive
from openledger_node.attribution.derivation_map import (
    MapEntry,
    encode_map_payload,
    map_root,
    tokens_by_source,
)
from openledger_node.attribution.leaves import registered_text
from openledger_node.attribution.redirect import resolve
from openledger_node.attribution.scope import ScopeDocument
from openledger_node.credit import views
from openledger_node.ledger.errors import BadInput, Refused
from openledger_node.ledger.kinds import PPM, DataContribute, DataDerivation
from openledger_node.ledger.payload import PayloadDocument, decode_payload, payload_commitment
from openledger_node.node.claims import own_payload
from openledger_node.node.core import NodeCore, Progress, no_progress
from openledger_node.node.derivation_maps import COUNTING, derivations_of, maps_in_force
from openledger_node.node.finality import judged_append
from openledger_node.node.lookup import called, find_id
from openledger_node.node.reading import body_of, events_of, find_event, must_find
from openledger_node.node.results import Derived, DerivedFrom, Recorded
from openledger_node.store.snapshot import Snapshot

SALT_BYTES: Final = 32
MAX_LOOKS: Final = 8
"""How often a claim is looked at again among fewer contributions, until it names them all."""
PART_TOKENS: Final = 2**20
"""Tokens of a contribution that are compared at a time: they take up to 200 MB."""


@dataclass(frozen=True, slots=True)
class Work:
    """The contribution looked at: its account, its epoch and its documents.

    `contribution_id` is None before it is registered.
    """

    contribution_id: bytes | None
    owner: bytes
    epoch: int
    documents: Sequence[PayloadDocument]

    @property
    def tokens(self) -> int:
        return sum(item.tokens for item in self.documents)

    def parts(self) -> Iterator[tuple[int, Subject]]:
        """(first document, that and the next ones), a part of the tokens in memory at a time."""
        first, texts, tokens = 0, list[Sequence[bytes]](), 0
        for index, item in enumerate(self.documents):
            if texts and tokens + item.tokens > PART_TOKENS:
                yield first, Subject(self.owner, self.epoch, texts)
                first, texts, tokens = index, [], 0
            text = registered_text(item.slices, item.tokens)
            texts.append(text.tokens() if text is not None else ())
            tokens += item.tokens
        if texts:
            yield first, Subject(self.owner, self.epoch, texts)


def find_derived(
    snapshot: Snapshot,
    work: Work,
    progress: Progress = no_progress,
    among: Container[bytes] | None = None,
) -> tuple[MapEntry, ...]:
    """The map of a contribution over all texts held here, or over those of others `among` some.

    Documents derive one by one, so a large contribution is looked at in parts. Texts of its own
    account only take anchors away: they are read only when there are any.
    """
    others, own = _earlier(snapshot, work)
    if among is not None:
        others = [view for view in others if view.contribution_id in among]
    if not others:
        return ()
    both = sorted([*others, *own], key=lambda view: (view.epoch, view.serial))
    entries: list[MapEntry] = []
    for first, subject in work.parts():
        found = derive(subject, _documents(snapshot, others, progress))
        if found and own:
            found = derive(subject, _documents(snapshot, both, progress))
        entries += [msgspec.structs.replace(e, document=first + e.document) for e in found]
    if not entries:
        return ()
    maps = maps_in_force(snapshot, tokens_by_source(entries), epoch=work.epoch - 1)
    return resolve(entries, maps.redirect, maps.orders)


def _earlier(
    snapshot: Snapshot, work: Work
) -> tuple[list[views.ContributionView], list[views.ContributionView]]:
    """The contributions of earlier epochs: others' that may be sources, and the owner's."""
    others, own = [], []
    for view in views.contributions(snapshot.state):
        if view.epoch >= work.epoch or view.erased or view.contribution_id == work.contribution_id:
            continue
        if view.account == work.owner:
            own.append(view)
        elif view.withdrawn_epoch is None and not view.commons:
            others.append(view)
    others.sort(key=lambda view: (view.epoch, view.serial))
    return others, own


def _documents(
    snapshot: Snapshot, chosen: Sequence[views.ContributionView], progress: Progress
) -> Iterator[ScopeDocument]:
    """The texts held of contributions, tokens of one document in memory at a time."""
    for done, view in enumerate(chosen, 1):
        order = (view.epoch, b"", view.serial)
        for index, item in enumerate(_held(snapshot, view.contribution_id)):
            text = registered_text(item.slices, item.tokens)
            if text is not None:
                yield ScopeDocument(view.contribution_id, order, index, view.account, text.tokens())
        progress(done, len(chosen), "contributions compared")


def _held(snapshot: Snapshot, contribution_id: bytes) -> Sequence[PayloadDocument]:
    """The documents of a contribution; none when they are not here, or are another account's."""
    found = find_event(snapshot, contribution_id)
    if found is None:
        return ()
    data = own_payload(snapshot, found.log.genesis.account_id, found.event.payload_commit)
    return decode_payload(data).documents if data is not None else ()


def derived_in(
    core: NodeCore, documents: Sequence[PayloadDocument], progress: Progress
) -> tuple[tuple[MapEntry, ...], tuple[DerivedFrom, ...]]:
    """What documents that this account is about to register derive from, and that for people."""
    with core.store.read() as snapshot:
        last_epoch = snapshot.last_epoch()
        alone = b"alone", last_epoch  # looking through all contributions once an epoch
        work = Work(None, core.account_id, last_epoch + 1, documents)
        if core.maps.get(alone) or not _earlier(snapshot, work)[0]:
            core.maps.put(alone, True)
            return (), ()
        entries = find_derived(snapshot, work, progress)
        sources = tuple(tokens_by_source(entries).items())
        return entries, derived_from(snapshot, sources, work.tokens)


def declare(core: NodeCore, contribution_id: bytes, entries: Sequence[MapEntry]) -> Recorded:
    """Records what a contribution derives from; the map is the payload."""
    body = DataDerivation(
        contribution_id,
        map_root(contribution_id, entries),
        tuple(tokens_by_source(entries).items()),
    )
    salt = secrets.token_bytes(SALT_BYTES)
    payload = encode_map_payload(core.account_id, contribution_id, entries, salt)
    commit = payload_commitment(payload)
    return judged_append(core, "data.derivation", body, commit=commit, payload=payload)


def derived_from(
    snapshot: Snapshot, sources: Sequence[tuple[bytes, int]], tokens: int
) -> tuple[DerivedFrom, ...]:
    """For people: the sources of a map, most tokens first."""
    shown = []
    for source, count in sorted(sources, key=lambda item: (-item[1], item[0])):
        found = find_event(snapshot, source)
        body = body_of(found) if found is not None else None
        shown.append(
            DerivedFrom(
                contribution_id=source.hex(),
                account_id=found.log.genesis.account_id.hex() if found is not None else "",
                account=called(snapshot, found.log.genesis.account_id) if found is not None else "",
                title=body.title if isinstance(body, DataContribute) else "",
                tokens=count,
                ppm=min(PPM, count * PPM // tokens) if tokens else 0,
            )
        )
    return tuple(shown)


def data_derive(
    core: NodeCore, text: str, *, dry_run: bool = False, progress: Progress = no_progress
) -> Derived:
    """Looks for what a contribution derives from, and declares or claims what is found.

    Nothing is recorded when nothing is found, or when the same map was declared already.
    """
    with core.store.read() as snapshot:
        named = find_id(snapshot, text, "data.contribute")
        work = _work(snapshot, named)
        entries = find_derived(snapshot, work, progress)
        if work.owner != core.account_id:
            entries = _claimable(snapshot, work, entries, progress)
        known = _known(core, snapshot, named, entries) if entries else None
        sources = derived_from(snapshot, tuple(tokens_by_source(entries).items()), work.tokens)
    own = work.owner == core.account_id
    state = "nothing found" if not entries else "found" if dry_run else "declared before"
    if entries and known is None and not dry_run:
        known = declare(core, named, entries).event_id
        state = "declared" if own else "claimed"
    return Derived(
        contribution_id=named.hex(),
        derivation_id=known,
        state=state,
        tokens=work.tokens,
        derived_tokens=sum(entry.length for entry in entries),
        sources=sources,
    )


def _claimable(
    snapshot: Snapshot, work: Work, entries: tuple[MapEntry, ...], progress: Progress
) -> tuple[MapEntry, ...]:
    """A map that is found again among the contributions that it names."""
    for _ in range(MAX_LOOKS):
        before, entries = entries, find_derived(snapshot, work, progress, tokens_by_source(entries))
        if entries == before:
            break
    return entries


def is_borne_out(
    snapshot: Snapshot, claim: DataDerivation, progress: Progress = no_progress
) -> bool:
    """Whether this home finds a claimed map among the contributions that it names.

    False as well when the text of the contribution is not held here.
    """
    try:
        work = _work(snapshot, claim.contribution)
    except Refused:
        return False
    entries = find_derived(snapshot, work, progress, {named for named, _ in claim.sources})
    found = tuple(tokens_by_source(entries).items())
    return found == claim.sources and map_root(claim.contribution, entries) == claim.map_root


def _work(snapshot: Snapshot, contribution_id: bytes) -> Work:
    """A registered contribution. Refused when its text is not held here."""
    found = must_find(snapshot, contribution_id)
    view = views.contribution(snapshot.state, contribution_id)
    documents = _held(snapshot, contribution_id)
    if not any(item.tokens for item in documents):
        raise Refused(
            f"the text of {contribution_id.hex()[:12]} is not held here",
            hint="what it derives from can be found only where its text is",
            code="no_payload",
        )
    epoch = view.epoch if view is not None else snapshot.last_epoch() + 1
    return Work(contribution_id, found.log.genesis.account_id, epoch, documents)


def _known(
    core: NodeCore, snapshot: Snapshot, contribution_id: bytes, entries: Sequence[MapEntry]
) -> str | None:
    """The derivation that has this map: one that counts, or one of this account."""
    root = map_root(contribution_id, entries)
    for view, body in derivations_of(snapshot, contribution_id):
        if body.map_root == root and (view.status in COUNTING or view.account == core.account_id):
            return view.derivation_id.hex()
    for found in events_of(snapshot, "data.derivation"):
        if found.log.genesis.account_id != core.account_id:
            continue
        try:
            body = body_of(found)
        except BadInput:
            continue
        void = views.void_reason(snapshot.state, found.event_id) is not None
        if not void and (body.contribution, body.map_root) == (contribution_id, root):
            return found.event_id.hex()
    return None
