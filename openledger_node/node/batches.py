"""Many uses at once: merged into as few receipts as the rules allow.

Uses of one (grant, model, agent, snapshot, method) become one receipt with counts and fees summed;
then R4 over all their tokens. Each use keeps its document under the output root. A receipt holds at
most 10,000 uses. The keys of its uses become durable with it; a key that was used before, in an
earlier call or earlier in the batch, records nothing again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from openledger_node.attribution.canon import CanonText
from openledger_node.ledger.errors import UsageError
from openledger_node.ledger.genesis import MAX_AMOUNT_MICRO
from openledger_node.ledger.kinds import MAX_USES, UseReceipt
from openledger_node.node.core import NodeCore, Progress, no_progress
from openledger_node.node.finality import make_final
from openledger_node.node.results import Used, UsedBatch
from openledger_node.node.retrieval import Retrieved
from openledger_node.node.scopes import Gathered
from openledger_node.node.uses import (
    Method,
    Resolved,
    UseRequest,
    all_final,
    attribute_one,
    check_use,
    earlier_use,
    earns_note,
    key_bytes,
    output_text,
    receipt_draft,
    resolve,
    scope_of,
    shown_use,
)
from openledger_node.store.snapshot import Snapshot
from openledger_node.store.writer import Draft

MAX_BATCH_USES: Final = 1_000_000
PROGRESS_USES: Final = 64
"""How many uses go by between two words of progress."""
MAX_RECEIPT_BYTES: Final = 64 * 2**20
"""Output bytes that one receipt gathers before the next one begins."""

_Group = tuple[bytes | None, bytes | None, Method]
_Ids = tuple[str | None, str | None, tuple[str, ...]]
_Item = tuple[UseRequest, CanonText]


@dataclass(slots=True)
class _Gathering:
    """The uses of one receipt to be."""

    resolved: Resolved
    items: list[_Item] = field(default_factory=list)
    retrieved: set[Retrieved] = field(default_factory=set)
    size_bytes: int = 0

    @property
    def fee_micro(self) -> int:
        return sum(request.fee_micro for request, _ in self.items)

    @property
    def keys(self) -> tuple[bytes, ...]:
        return tuple(key_bytes(request.key) for request, _ in self.items if request.key is not None)

    def has_room(self, size_bytes: int) -> bool:
        return len(self.items) < MAX_USES and self.size_bytes + size_bytes <= MAX_RECEIPT_BYTES

    def add(self, item: _Item, retrieved: Sequence[Retrieved]) -> None:
        self.items.append(item)
        self.retrieved.update(retrieved)
        self.size_bytes += len(item[0].output)


def _request(model: str, number: int, use: Any) -> UseRequest:
    """One line of a batch. UsageError names its number and what is wrong."""
    if not isinstance(use, Mapping):
        raise UsageError(f"use {number} of the batch is not an object with an output")
    output = use.get("output")
    fee_micro = use.get("fee_micro", 0)
    retrieved = use.get("retrieved") or ()
    if not isinstance(output, (str, bytes)):
        raise UsageError(f"use {number} of the batch has no output text")
    if type(fee_micro) is not int or not 0 <= fee_micro <= MAX_AMOUNT_MICRO:
        raise UsageError(f"use {number} of the batch has no usable fee_micro: {fee_micro!r}")
    for name in ("grant", "agent", "key"):
        if not isinstance(use.get(name), (str, type(None))):
            raise UsageError(f"use {number} of the batch has a {name} that is no text")
    if not isinstance(retrieved, (list, tuple)) or not all(isinstance(t, str) for t in retrieved):
        raise UsageError(f"use {number} of the batch has retrieved ids that are no list of texts")
    return UseRequest(
        model,
        output.encode("utf-8", "surrogatepass") if isinstance(output, str) else output,
        use.get("grant"),
        fee_micro,
        use.get("agent"),
        tuple(retrieved),
        use.get("key"),
    )


def use_batch(
    core: NodeCore,
    model: str,
    uses: Iterable[Mapping[str, Any]],
    progress: Progress = no_progress,
) -> UsedBatch:
    """Attributes and records many uses; all of them become durable together, or none.

    A use whose key was recorded before is left out, and its first receipt is answered.
    """
    items: list[_Item] = []
    for number, use in enumerate(uses, 1):
        if number > MAX_BATCH_USES:
            raise UsageError(f"a batch has at most {MAX_BATCH_USES:,} uses")
        request = _request(model, number, use)
        try:
            items.append((request, output_text(core, request.output)))
        except UsageError as error:
            error.message = f"use {number} of the batch: {error.message}"
            raise
        if number % PROGRESS_USES == 0:
            progress(number, None, "uses read")
    with core.use_lock:
        fresh, repeated = _without_repeats(core, items)
        receipts = _record(core, fresh, progress) if fresh else []
    done = (*repeated, *receipts)
    return UsedBatch(done, sum(item.uses for item in done), sum(item.fee_micro for item in done))


def _without_repeats(core: NodeCore, items: Sequence[_Item]) -> tuple[list[_Item], list[Used]]:
    """The uses to record, and the receipts, each once, of those that were recorded before."""
    fresh: list[_Item] = []
    repeated: dict[str, Used] = {}
    seen: set[str] = set()
    for request, text in items:
        before = earlier_use(core, request.key)
        if before is not None:
            repeated.setdefault(before.receipt_id, before)
        elif request.key is None or request.key not in seen:
            fresh.append((request, text))
        if request.key is not None:
            seen.add(request.key)
    return fresh, list(repeated.values())


def _record(core: NodeCore, items: Sequence[_Item], progress: Progress) -> list[Used]:
    with core.store.read() as snapshot:
        named = {_ids(request): resolve(snapshot, request) for request, _ in items}
        pending = not all(all_final(snapshot, resolved) for resolved in named.values())
    if pending:
        make_final(core, progress)
    with core.store.read() as snapshot:
        gatherings = _gathered(items, named)
        _check_fees(core, snapshot, gatherings)
        prepared = []
        done = 0

        def told(number: int) -> None:
            if number % PROGRESS_USES == 0:
                progress(done + number, len(items), "uses attributed")

        for gathering in gatherings:
            body, draft = _receipt(core, snapshot, gathering, named, told)
            prepared.append((body, draft, earns_note(snapshot, core, body)))
            done += len(gathering.items)
            progress(done, len(items), "uses attributed")
    recorded = core.append([draft for _, draft, _ in prepared])
    return [
        shown_use(record.event_id, body, note, repeated=False)
        for record, (body, _, note) in zip(recorded, prepared, strict=True)
    ]


def _ids(request: UseRequest) -> _Ids:
    """What a request names, as given: uses that name the same are looked up once."""
    return request.grant, request.agent, request.retrieved


def _gathered(items: Sequence[_Item], named: Mapping[_Ids, Resolved]) -> list[_Gathering]:
    """The receipts to be, in the order of their first uses."""
    groups: dict[_Group, list[_Gathering]] = {}
    for item in items:
        resolved = named[_ids(item[0])]
        group = groups.setdefault((resolved.grant, resolved.agent, resolved.method), [])
        if not group or not group[-1].has_room(len(item[0].output)):
            group.append(_Gathering(resolved))
        group[-1].add(item, resolved.retrieved)
    return [gathering for group in groups.values() for gathering in group]


def _check_fees(core: NodeCore, snapshot: Snapshot, gatherings: Sequence[_Gathering]) -> None:
    """The rules on each receipt; receipts on one grant must fit into it together."""
    totals_micro: dict[bytes | None, int] = {}
    for item in gatherings:
        grant = item.resolved.grant
        totals_micro[grant] = totals_micro.get(grant, 0) + item.fee_micro
    for item in gatherings:
        check_use(core, snapshot, item.resolved, totals_micro[item.resolved.grant])


def _receipt(
    core: NodeCore,
    snapshot: Snapshot,
    gathering: _Gathering,
    named: Mapping[_Ids, Resolved],
    told: Callable[[int], None],
) -> tuple[UseReceipt, Draft]:
    """Attributes the uses of a receipt, each over its own scope, and writes it over all of them.

    `told` hears how many are done.
    """
    model = gathering.resolved.model
    scopes: dict[tuple[Retrieved, ...], Gathered] = {}

    def scope(retrieved: tuple[Retrieved, ...]) -> Gathered:
        if retrieved not in scopes:
            scopes[retrieved] = scope_of(core, snapshot, model, retrieved, no_progress)
        return scopes[retrieved]

    found = []
    for number, (request, text) in enumerate(gathering.items, 1):
        found.append(attribute_one(request.output, text, scope(named[_ids(request)].retrieved)))
        told(number)
    whole = scope(tuple(sorted(gathering.retrieved)))
    return receipt_draft(
        core, snapshot, gathering.resolved, found, whole, gathering.fee_micro, gathering.keys
    )
