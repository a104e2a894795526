"""Many uses at once: merged into as few receipts as the rules allow.

Uses of one (grant, model, agent, snapshot, method) become one receipt with counts and fees summed;
then R4 over all their tokens. Each use keeps its document under the output root. A receipt holds at
most 10,000 uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from openledger_node.ledger.errors import UsageError
from openledger_node.ledger.genesis import MAX_AMOUNT_MICRO
from openledger_node.ledger.kinds import MAX_USES
from openledger_node.node.core import NodeCore, Progress, no_progress
from openledger_node.node.finality import make_final
from openledger_node.node.results import Used, UsedBatch
from openledger_node.node.scopes import model_scope
from openledger_node.node.uses import (
    AttributedOutput,
    Method,
    Resolved,
    UseRequest,
    attribute_one,
    check_use,
    earlier_use,
    earns_note,
    output_text,
    receipt_draft,
    resolve,
    shown_use,
)

MAX_BATCH_USES: Final = 1_000_000
MAX_RECEIPT_BYTES: Final = 64 * 2**20
"""Output bytes that one receipt gathers before the next one begins."""

_Group = tuple[bytes | None, bytes | None, Method]


@dataclass(slots=True)
class _Gathering:
    """The uses of one receipt to be."""

    resolved: Resolved
    retrieved: set[bytes] = field(default_factory=set)
    outputs: list[AttributedOutput] = field(default_factory=list)
    fee_micro: int = 0
    size_bytes: int = 0


def _request(model: str, number: int, use: Mapping[str, Any]) -> UseRequest:
    """One line of a batch. UsageError names its number."""
    output = use.get("output")
    fee_micro = use.get("fee_micro", 0)
    retrieved = use.get("retrieved") or ()
    if not isinstance(output, (str, bytes)):
        raise UsageError(f"use {number} of the batch has no output text")
    if type(fee_micro) is not int or not 0 <= fee_micro <= MAX_AMOUNT_MICRO:
        raise UsageError(f"use {number} of the batch has no usable fee_micro: {fee_micro!r}")
    return UseRequest(
        model,
        output.encode() if isinstance(output, str) else output,
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
    requests: list[UseRequest] = []
    repeated: list[Used] = []
    for number, item in enumerate(uses, 1):
        if number > MAX_BATCH_USES:
            raise UsageError(f"a batch has at most {MAX_BATCH_USES:,} uses")
        request = _request(model, number, item)
        output_text(core, request.output)
        before = earlier_use(core, request.key)
        if before is None:
            requests.append(request)
        else:
            repeated.append(before)
    with core.use_lock:
        receipts = _record(core, requests, progress) if requests else []
    done = tuple([*repeated, *receipts])
    return UsedBatch(done, sum(item.uses for item in done), sum(item.fee_micro for item in done))


def _record(core: NodeCore, requests: Sequence[UseRequest], progress: Progress) -> list[Used]:
    make_final(core, progress)
    drafts = []
    bodies = []
    with core.store.read() as snapshot:
        groups: dict[_Group, list[_Gathering]] = {}
        for done, request in enumerate(requests, 1):
            resolved = resolve(snapshot, request)
            gathered = model_scope(
                core, snapshot, resolved.model, resolved.retrieved, lambda *_: None
            )
            found = attribute_one(core, request.output, gathered)
            key: _Group = (resolved.grant, resolved.agent, resolved.method)
            _add(groups.setdefault(key, []), resolved, request, found)
            progress(done, len(requests), "uses attributed")
        for gatherings in groups.values():
            total = sum(item.fee_micro for item in gatherings)
            check_use(core, snapshot, gatherings[0].resolved, total)
            for item in gatherings:
                scope = model_scope(
                    core, snapshot, item.resolved.model, sorted(item.retrieved), progress
                )
                body, draft = receipt_draft(
                    core, snapshot, item.resolved, item.outputs, scope, item.fee_micro, None
                )
                drafts.append(draft)
                bodies.append((body, earns_note(snapshot, core, body)))
    recorded = core.append(drafts)
    _remember(core, requests, recorded[0].log_id, recorded[0].seq)
    return [
        shown_use(record.event_id, body, note, repeated=False)
        for record, (body, note) in zip(recorded, bodies, strict=True)
    ]


def _add(
    gatherings: list[_Gathering],
    resolved: Resolved,
    request: UseRequest,
    found: AttributedOutput,
) -> None:
    last = gatherings[-1] if gatherings else None
    if (
        last is None
        or len(last.outputs) == MAX_USES
        or last.size_bytes + len(found.data) > MAX_RECEIPT_BYTES
    ):
        last = _Gathering(resolved)
        gatherings.append(last)
    last.outputs.append(found)
    last.retrieved |= set(resolved.retrieved)
    last.fee_micro += request.fee_micro
    last.size_bytes += len(found.data)


def _remember(core: NodeCore, requests: Sequence[UseRequest], log_id: str, seq: int) -> None:
    """Keys of a batch find the batch's first receipt again."""
    from openledger_node.node.uses import key_bytes
    from openledger_node.store.writer import IDEMPOTENCY_FACT

    place = bytes.fromhex(log_id) + seq.to_bytes(8, "big")
    facts = [(key_bytes(request.key), place) for request in requests if request.key]
    if facts:
        core.store.set_facts(IDEMPOTENCY_FACT, facts)
