"""The scope that a receipt was due to be matched against: as of the snapshot epoch that it names.

A home that audits reads the state as it is now, and what it says of then: a contribution was in
scope at the end of epoch e when it was handled in an epoch <= e and not withdrawn or erased in one
<= e; a text was common from the epoch of its first valid `data.commons` on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from openledger_node.attribution.audit import Known, Member
from openledger_node.attribution.evidence import Branch
from openledger_node.attribution.matching import IndexedScope, attribute_indexed
from openledger_node.attribution.reference import Attribution
from openledger_node.attribution.scope import LedgerOrder, Scope, ScopeDocument, make_scope
from openledger_node.attribution.together import attribute_together
from openledger_node.credit import views
from openledger_node.ledger.errors import BadInput, UsageError
from openledger_node.ledger.kinds import DataContribute, UseReceipt
from openledger_node.node.core import NodeCore, Progress
from openledger_node.node.derivation_maps import MapsInForce, maps_in_force
from openledger_node.node.reading import body_of, events_read, find_event
from openledger_node.node.retrieval import (
    HeldTexts,
    Retrieved,
    held_texts,
    in_documents,
    passage_sources,
    place,
)
from openledger_node.node.scopes import Placed
from openledger_node.store.snapshot import Snapshot


class PastScopes:
    """Scopes of past epochs over one snapshot of the store; each text is read once."""

    def __init__(
        self, snapshot: Snapshot, progress: Progress, core: NodeCore | None = None
    ) -> None:
        """With `core` large scopes are looked up in the home's index, else all are read."""
        self._snapshot = snapshot
        self._progress = progress
        self._core = core
        self._texts: dict[bytes, HeldTexts | None] = {}
        self._common_since = _common_since(snapshot)
        self._of_models: dict[tuple[bytes, int], PastScope] = {}

    def of_model(self, model_id: bytes, epoch: int) -> PastScope:
        """What a model's outputs are matched against with method `spans`."""
        key = model_id, epoch
        if key not in self._of_models:
            named = _trained_on(self._snapshot, model_id)
            self._of_models[key] = PastScope(self, named, epoch, None)
        return self._of_models[key]

    def of_passages(self, branches: Sequence[Branch], epoch: int) -> PastScope:
        """What outputs are matched against with method `retrieved`."""
        listed: dict[int, list[Retrieved]] = {}
        for branch in branches:
            for each in branch.passages:
                item = Retrieved(branch.contribution_id, each.document, each.first, each.end)
                listed.setdefault(each.output, []).append(item)
        named = {branch.contribution_id for branch in branches if branch.passages}
        return PastScope(self, sorted(named), epoch, listed)

    def texts(self, contribution_id: bytes) -> HeldTexts | None:
        if contribution_id not in self._texts:
            self._texts[contribution_id] = held_texts(self._snapshot, contribution_id)
            self._progress(len(self._texts), None, "contributions read")
        return self._texts[contribution_id]

    def holds(self, contribution_id: bytes) -> bool:
        """Whether the payload of a contribution is here; what is not needed is not read."""
        found = find_event(self._snapshot, contribution_id)
        commit = found.event.payload_commit if found is not None else None
        return commit is not None and self._snapshot.has_payload(commit)

    def indexed(
        self, orders: Mapping[bytes, LedgerOrder], commons: Iterable[bytes]
    ) -> IndexedScope | None:
        """The scope of contributions in the index; None when it is small or not all there."""
        if self._core is None:
            return None
        from openledger_node.node import indexing

        sources = {key: order for key, order in orders.items() if self._bytes_of(key)}
        common = {key: (0, b"", 0) for key in commons if self._bytes_of(key)}
        size_bytes = sum(map(self._bytes_of, (*sources, *common)))
        if size_bytes < self._core.config.index_from_bytes:
            return None
        indexing.update(self._core, self._progress)
        return indexing.indexed_scope(self._core, sources, common)

    def _bytes_of(self, contribution_id: bytes) -> int:
        """The size of a payload that is held here and is its contribution's own; else 0."""
        found = find_event(self._snapshot, contribution_id)
        commit = found.event.payload_commit if found is not None else None
        if found is None or commit is None:
            return 0
        own = self._snapshot.payload_account(commit) == found.log.genesis.account_id
        return found.event.payload_len if own else 0

    def maps(self, subjects: Iterable[bytes], epoch: int) -> MapsInForce:
        return maps_in_force(self._snapshot, subjects, epoch=epoch)

    def view(self, contribution_id: bytes, epoch: int) -> views.ContributionView | None:
        """A contribution, when it was in scope at the end of an epoch."""
        view = views.contribution(self._snapshot.state, contribution_id)
        if view is None or view.epoch > epoch:
            return None
        left = view.withdrawn_epoch
        return None if left is not None and left <= epoch else view

    def is_erased(self, contribution_id: bytes) -> bool:
        view = views.contribution(self._snapshot.state, contribution_id)
        return view is not None and view.erased

    def commons(self, epoch: int) -> list[bytes]:
        """The texts in scope at the end of an epoch that only cut."""
        listed = sorted(key for key, since in self._common_since.items() if since <= epoch)
        return [key for key in listed if self.view(key, epoch) is not None]

    def member(self, contribution_id: bytes, view: views.ContributionView) -> Member:
        """What the contribution's own event says of it."""
        found = find_event(self._snapshot, contribution_id)
        body = body_of(found) if found is not None else None
        documents = body.documents if isinstance(body, DataContribute) else 0
        commit = found.event.payload_commit if found is not None else None
        return Member(view.account, commit, documents, (view.epoch, b"", view.serial))


def _trained_on(snapshot: Snapshot, model_id: bytes) -> list[bytes]:
    """The contributions that a model declares; a datanet stands for its earlier members."""
    state = snapshot.state
    model = views.model(state, model_id)
    named: list[bytes] = []
    for source, _ in model.trained_on if model is not None else ():
        if views.datanet(state, source) is None:
            named.append(source)
        elif model is not None:
            members = views.members(state, source)
            named += [m.contribution_id for m in members if m.epoch < model.epoch]
    return named


def branches_erased(snapshot: Snapshot, body: UseReceipt) -> int:
    """How many branches of a receipt's evidence may have gone with contributions, at most."""
    state = snapshot.state
    if body.method == "retrieved":
        return sum(view.erased for view in views.contributions(state))
    named = [views.contribution(state, key) for key in set(_trained_on(snapshot, body.model))]
    return sum(view is not None and view.erased for view in named)


def is_short(snapshot: Snapshot, body: UseReceipt, branches: Sequence[Branch], gone: int) -> bool:
    """Whether more branches are gone than went with erased contributions that the receipt names.

    The others may have gone with erased ones that it does not name; or somebody took them out, and
    whoever has the evidence as it was made can supply them.
    """
    shown = {branch.contribution_id for branch in branches}
    unseen = [views.contribution(snapshot.state, k) for k, _ in body.weights if k not in shown]
    return gone > sum(view is not None and view.erased for view in unseen)


def _common_since(snapshot: Snapshot) -> dict[bytes, int]:
    """{common text: the epoch that made it one}. Reads the logs only when there are any."""
    state = snapshot.state
    common = {view.contribution_id for view in views.contributions(state) if view.commons}
    since: dict[bytes, int] = {}
    if not common:
        return since
    for found, epoch in events_read(snapshot, "data.commons"):
        try:
            named = body_of(found).contribution
        except BadInput:
            continue
        if named in common:
            since[named] = min(epoch, since.get(named, epoch))
    return since


class PastScope:
    """One scope: who belongs to it, and what outputs draw on in it, over the texts held here."""

    def __init__(
        self,
        scopes: PastScopes,
        named: Iterable[bytes],
        epoch: int,
        listed: dict[int, list[Retrieved]] | None,
    ) -> None:
        self._scopes = scopes
        self._epoch = epoch
        self._listed = listed
        commons = scopes.commons(epoch)
        self._members: dict[bytes, Member] = {}
        for contribution_id in sorted({*named} - {*commons}):
            view = scopes.view(contribution_id, epoch)
            if view is not None:
                self._members[contribution_id] = scopes.member(contribution_id, view)
        self.erased = frozenset(key for key in self._members if scopes.is_erased(key))
        self._missing = frozenset(key for key in self._members if not scopes.holds(key))
        self._common = commons
        self._commons_missing = not all(scopes.holds(key) for key in commons)
        self._whole_scope: Scope | None = None
        self._indexed: IndexedScope | None = None
        self._looked_up = False

    @property
    def missing(self) -> tuple[bytes, ...]:
        """Members whose text is not held here, though it was not erased."""
        return tuple(sorted(self._missing - self.erased))

    def maps(self, subjects: Iterable[bytes]) -> MapsInForce:
        """The derivation maps of some members that counted then (R3)."""
        return self._scopes.maps(subjects, self._epoch)

    def known(self, maps: MapsInForce, erased: frozenset[bytes]) -> Known:
        """What the audit may rely on. `erased`: contributions whose branch is gone with them."""
        return Known(
            self._members,
            self._missing,
            self._commons_missing,
            erased,
            bool(maps.missing),
            maps.orders,
        )

    def account_of(self, contribution_id: bytes) -> bytes | None:
        member = self._members.get(contribution_id)
        return member.account if member is not None else None

    def attribute(self, outputs: Sequence[Sequence[bytes]], separator: bytes) -> list[Attribution]:
        """What each output draws on. BadInput when a passage lies outside its contribution."""
        if self._listed is not None:
            return self._of_passages(self._listed, outputs, separator)
        if not self._looked_up:
            orders = {key: member.order for key, member in self._members.items()}
            self._indexed = self._scopes.indexed(orders, self._common)
            self._looked_up = True
        if self._indexed is not None:
            return [attribute_indexed(tokens, self._indexed) for tokens in outputs]
        if self._whole_scope is None:
            sources = [
                document
                for key, member in self._members.items()
                if (held := self._scopes.texts(key)) is not None
                for document in _whole(key, held, member)
            ]
            self._whole_scope = make_scope([*sources, *self._common_texts()])
        return attribute_together(outputs, self._whole_scope, separator)

    def _of_passages(
        self,
        listed: dict[int, list[Retrieved]],
        outputs: Sequence[Sequence[bytes]],
        separator: bytes,
    ) -> list[Attribution]:
        """Each output over its own passages; those that have the same go together."""
        alike: dict[tuple[Retrieved, ...], list[int]] = {}
        for number in range(len(outputs)):
            alike.setdefault(tuple(sorted(listed.get(number, ()))), []).append(number)
        found: dict[int, Attribution] = {}
        for asked, numbers in alike.items():
            scope, placed = self._prompt(asked)
            together = attribute_together([outputs[n] for n in numbers], scope, separator)
            for number, each in zip(numbers, together, strict=True):
                found[number] = in_documents(each, placed)
        return [found[number] for number in range(len(outputs))]

    def _prompt(self, asked: Sequence[Retrieved]) -> tuple[Scope, list[Placed]]:
        """The scope of a prompt, its n-th source being the n-th passage."""
        sources: list[ScopeDocument] = []
        placed: list[Placed] = []
        members = self._members
        ids = {item.contribution_id for item in asked} & members.keys()
        for contribution_id in sorted(ids, key=lambda key: members[key].order):
            held = self._scopes.texts(contribution_id)
            if held is None:
                continue
            try:
                found = place(asked, contribution_id, held)
            except UsageError as error:
                raise BadInput(error.message) from None
            placed += found
            sources += passage_sources(found, held, members[contribution_id].order)
        return make_scope([*sources, *self._common_texts()]), placed

    def _common_texts(self) -> list[ScopeDocument]:
        return [
            document
            for key in self._common
            if (held := self._scopes.texts(key)) is not None
            for document in _whole(key, held, commons=True)
        ]


def _whole(
    contribution_id: bytes, held: HeldTexts, member: Member | None = None, *, commons: bool = False
) -> list[ScopeDocument]:
    order = member.order if member is not None else (0, b"", 0)
    return [
        ScopeDocument(contribution_id, order, index, held.account, tokens, commons)
        for index, tokens in held.texts
    ]
