"""The scope of an output, gathered from the state and the payloads held here.

With a model: its `trained_on` contributions (a datanet stands for those registered in an earlier
epoch than the model), all of them final by the snapshot epoch and not withdrawn or erased by then.
What was placed in a prompt has a scope of its own (retrieval.py). Contributions listed as
`data.commons` by then only cut (R1). Without a
model: all text held here, pending contributions last. A contribution that names another account's
payload (P3) has no text, wherever it stands in ledger order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from openledger_node.attribution.leaves import registered_text
from openledger_node.attribution.matching import IndexedScope, attribute_indexed
from openledger_node.attribution.reference import Attribution, attribute
from openledger_node.attribution.scope import (
    LedgerOrder,
    Scope,
    ScopeDocument,
    make_scope,
    pending_order,
)
from openledger_node.credit import views
from openledger_node.credit.inputs import StateReader
from openledger_node.ledger.errors import Refused
from openledger_node.ledger.payload import Payload, decode_payload
from openledger_node.node.core import NodeCore, Progress
from openledger_node.node.reading import find_event
from openledger_node.node.registry import bodies
from openledger_node.store.snapshot import Snapshot


@dataclass(frozen=True, slots=True, order=True)
class Placed:
    """Tokens [first, end) of a document that stood in a prompt."""

    contribution_id: bytes
    document: int
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Gathered:
    """A scope with the order and commitment of each contribution, and what is not held here.

    Where `indexed` is given, `scope` is empty: the text is read from the index.
    `payloads` fills with the decoded payloads that proofs were made from, `unfollowed` with the
    derivations that counted in the last weights and whose maps are not held here. Of a scope of
    passages (retrieval.py) the n-th source is the n-th of `passages`.
    """

    scope: Scope
    orders: dict[bytes, LedgerOrder]
    commits: dict[bytes, bytes]
    missing: tuple[bytes, ...]
    payloads: dict[bytes, Payload] = field(default_factory=dict)
    unfollowed: set[bytes] = field(default_factory=set)
    passages: tuple[Placed, ...] = ()
    indexed: IndexedScope | None = None

    def find(self, tokens: list[bytes]) -> Attribution:
        """R1 and R2 for an output: by the index where the scope is large, else by reading it."""
        if self.indexed is not None:
            return attribute_indexed(tokens, self.indexed)
        return attribute(tokens, self.scope)

    def lacking(self) -> tuple[str, ...]:
        """Ids of what was due to be looked at and is not held here: contributions, derivations."""
        return tuple(item.hex() for item in (*self.missing, *sorted(self.unfollowed)))


def model_scope(
    core: NodeCore, snapshot: Snapshot, model_id: bytes, progress: Progress
) -> Gathered:
    """The scope of a model's output."""
    key = (b"model", snapshot.last_epoch(), model_id)
    held: Gathered | None = core.scopes.get(key)
    if held is not None:
        return held
    model = views.model(snapshot.state, model_id)
    if model is None:
        raise Refused(
            f"model {model_id.hex()[:12]} is not final yet",
            hint="close an epoch over its registration first",
            code="not_final",
        )
    named: list[bytes] = []
    for source, _ in model.trained_on:
        if views.datanet(snapshot.state, source) is None:
            named.append(source)
            continue
        members = views.members(snapshot.state, source)
        named += [m.contribution_id for m in members if m.epoch < model.epoch]
    gathered = gather(core, snapshot, named, progress)
    core.scopes.put(key, gathered)
    return gathered


def gather(
    core: NodeCore, snapshot: Snapshot, named: Sequence[bytes], progress: Progress
) -> Gathered:
    """The scope over named contributions and the ledger's common texts, as of the last epoch."""
    state = snapshot.state
    chosen = sorted({*named, *commons_of(core, snapshot)})
    key = (b"final", snapshot.last_epoch(), *chosen)
    held: Gathered | None = core.scopes.get(key)
    if held is not None:
        return held
    parts = _Parts(core, snapshot, progress)
    for contribution_id in chosen:
        view = final_contribution(state, contribution_id)
        if in_scope(view):
            order = (view.epoch, b"", view.serial)
            parts.add(contribution_id, view.account, order, commons=view.commons)
    gathered = parts.gathered()
    core.scopes.put(key, gathered)
    return gathered


def final_contribution(state: StateReader, contribution_id: bytes) -> views.ContributionView:
    """A contribution as the final state has it. Refused when it is not final yet."""
    view = views.contribution(state, contribution_id)
    if view is None:
        raise Refused(
            f"contribution {contribution_id.hex()[:12]} is not final yet",
            hint="close an epoch over its registration first",
            code="not_final",
        )
    return view


def commons_of(core: NodeCore, snapshot: Snapshot) -> tuple[bytes, ...]:
    """The common texts in scope; looking through all contributions once an epoch."""
    epoch = snapshot.last_epoch()
    found = core.commons.get(epoch)
    if found is None:
        found = tuple(
            view.contribution_id
            for view in views.contributions(snapshot.state)
            if view.commons and in_scope(view)
        )
        core.commons.put(epoch, found)
    return found


def in_scope(view: views.ContributionView) -> bool:
    """Withdrawn and erased contributions leave the scope with the next snapshot (C3)."""
    return view.withdrawn_epoch is None and not view.erased


def everything_held(core: NodeCore, snapshot: Snapshot, progress: Progress) -> Gathered:
    """All text held on this node; what is pending comes last."""
    state: StateReader = snapshot.state
    parts = _Parts(core, snapshot, progress)
    for located, _ in bodies(snapshot, "data.contribute"):
        view = views.contribution(state, located.event_id)
        account = located.log.genesis.account_id
        if view is None:
            if views.void_reason(state, located.event_id) is None:
                order = pending_order(located.log.log_id, located.seq)
                parts.add(located.event_id, account, order, commons=False)
        elif in_scope(view):
            order = (view.epoch, b"", view.serial)
            parts.add(located.event_id, account, order, commons=view.commons)
    return parts.gathered()


@dataclass(frozen=True, slots=True)
class _Part:
    """A contribution of the scope whose payload is held here."""

    contribution_id: bytes
    owner: bytes
    order: LedgerOrder
    commons: bool
    commit: bytes
    size_bytes: int


class _Parts:
    """Collects contributions; then their text, by the index or from their payloads."""

    def __init__(self, core: NodeCore, snapshot: Snapshot, progress: Progress) -> None:
        self._core = core
        self._snapshot = snapshot
        self._progress = progress
        self._parts: list[_Part] = []
        self._missing: list[bytes] = []

    def add(
        self, contribution_id: bytes, owner: bytes, order: LedgerOrder, *, commons: bool
    ) -> None:
        found = find_event(self._snapshot, contribution_id)
        commit = found.event.payload_commit if found else None
        if found is None or commit is None or not self._snapshot.has_payload(commit):
            self._missing.append(contribution_id)
        elif self._snapshot.payload_account(commit) == owner:
            size_bytes = found.event.payload_len
            self._parts.append(_Part(contribution_id, owner, order, commons, commit, size_bytes))

    def gathered(self) -> Gathered:
        """The scope; large ones are looked up in the index, which is brought up to date first."""
        indexed = None
        if sum(part.size_bytes for part in self._parts) >= self._core.config.index_from_bytes:
            indexed = self._indexed()
        documents = [] if indexed is not None else self._documents()
        return Gathered(
            make_scope(documents),
            {part.contribution_id: part.order for part in self._parts},
            {part.contribution_id: part.commit for part in self._parts},
            tuple(self._missing),
            indexed=indexed,
        )

    def _indexed(self) -> IndexedScope | None:
        from openledger_node.node import indexing

        indexing.update(self._core, self._progress)
        return indexing.indexed_scope(
            self._core,
            {part.contribution_id: part.order for part in self._parts if not part.commons},
            {part.contribution_id: part.order for part in self._parts if part.commons},
        )

    def _documents(self) -> list[ScopeDocument]:
        """Every document's tokens; each payload is read, checked and tokenised once."""
        documents = []
        for done, part in enumerate(self._parts, 1):
            self._progress(done, len(self._parts), "contributions read")
            data = self._snapshot.payload(part.commit)
            if data is None:
                self._missing.append(part.contribution_id)
                continue
            for index, document in enumerate(decode_payload(data).documents):
                text = registered_text(document.slices, document.tokens)
                if text is not None:
                    documents.append(
                        ScopeDocument(
                            part.contribution_id,
                            part.order,
                            index,
                            part.owner,
                            text.tokens(),
                            part.commons,
                        )
                    )
        return documents
