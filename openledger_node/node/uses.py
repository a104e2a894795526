"""Attributing outputs and recording uses.

A use becomes one `use.receipt`: the fee, the weights, and two commitments: to the output (one
salted document a use) and to the evidence (one branch a contribution). Both payloads stay here,
served to those they concern; receipt and payloads become durable together, under the caller's
idempotency key.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from openledger_node.attribution.canon import CANON_VERSION, CanonText, canonical_text
from openledger_node.attribution.evidence import (
    Branch,
    Passage,
    SpanProof,
    encode_evidence,
    prove_span,
)
from openledger_node.attribution.leaves import cut_document, cut_text
from openledger_node.attribution.reference import MAX_OUTPUT_TOKENS, Attribution
from openledger_node.attribution.weights import Weights, count_tokens, weigh
from openledger_node.credit import views
from openledger_node.ledger.errors import BadInput, Refused, UsageError
from openledger_node.ledger.events import event_id, parse_event
from openledger_node.ledger.genesis import MAX_AMOUNT_MICRO
from openledger_node.ledger.kinds import MAX_USES, UseReceipt, parse_body
from openledger_node.ledger.names import account_short
from openledger_node.ledger.payload import (
    PayloadDocument,
    decode_payload,
    encode_payload,
    payload_commitment,
)
from openledger_node.node.core import NodeCore, Progress, no_progress
from openledger_node.node.derivation_maps import maps_in_force
from openledger_node.node.finality import make_final
from openledger_node.node.lookup import find_id
from openledger_node.node.reading import body_of, find_event
from openledger_node.node.results import Attributed, Span, Used
from openledger_node.node.retrieval import Retrieved, find_retrieved, in_documents, prompt_scope
from openledger_node.node.scopes import Gathered, Placed, everything_held, model_scope
from openledger_node.store.snapshot import Snapshot
from openledger_node.store.store import SMALL_PAYLOAD_BYTES
from openledger_node.store.writer import IDEMPOTENCY_FACT, Draft

MAX_KEY_BYTES: Final = 256
MAX_SPAN_TEXT_CHARS: Final = 200
SALT_BYTES: Final = 32
Method = Literal["spans", "retrieved"]


@dataclass(frozen=True, slots=True)
class UseRequest:
    """One use as asked for; ids as text."""

    model: str
    output: bytes
    grant: str | None = None
    fee_micro: int = 0
    agent: str | None = None
    retrieved: tuple[str, ...] = ()
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """The ids behind a request."""

    model: bytes
    grant: bytes | None
    agent: bytes | None
    retrieved: tuple[Retrieved, ...]

    @property
    def method(self) -> Method:
        return "retrieved" if self.retrieved else "spans"


@dataclass(frozen=True, slots=True)
class AttributedOutput:
    """One output with its tokens' places, its spans, and what stood in its prompt."""

    data: bytes
    text: CanonText
    attribution: Attribution
    passages: tuple[Placed, ...] = ()


def output_text(core: NodeCore, output: bytes) -> CanonText:
    """The canonical text of an output. UsageError when it is too long or not text."""
    if len(output) > core.config.output_bytes:
        raise UsageError(
            f"the output has {len(output):,} bytes; limits.output_bytes is "
            f"{core.config.output_bytes:,}",
            hint="record it in parts, or raise the limit in node.toml",
            code="output_too_long",
        )
    text = canonical_text(output)
    if text is None:
        raise UsageError(
            "the output is not UTF-8 text, so nothing can be matched in it",
            hint="give the text of the output; other content cannot be attributed yet",
            code="not_text",
        )
    if len(text) > MAX_OUTPUT_TOKENS:
        raise UsageError(f"the output has {len(text):,} tokens, over {MAX_OUTPUT_TOKENS:,}")
    return text


def attribute_one(output: bytes, text: CanonText, gathered: Gathered) -> AttributedOutput:
    """R1 and R2 for one output, whose canonical text is `text`."""
    found = gathered.find(text.tokens())
    if gathered.passages:
        found = in_documents(found, gathered.passages)
    return AttributedOutput(output, text, found, gathered.passages)


def scope_of(
    core: NodeCore,
    snapshot: Snapshot,
    model: bytes,
    retrieved: tuple[Retrieved, ...],
    progress: Progress,
) -> Gathered:
    """What an output is matched against: what stood in its prompt, else the model's data."""
    if retrieved:
        return prompt_scope(core, snapshot, retrieved, progress)
    return model_scope(core, snapshot, model, progress)


def attribute(
    core: NodeCore,
    output: bytes,
    model: str | None = None,
    retrieved: Sequence[str] = (),
    progress: Progress = no_progress,
) -> Attributed:
    """Which data a text draws from; records nothing."""
    text = output_text(core, output)
    with core.store.read() as snapshot:
        passages = find_retrieved(snapshot, retrieved)
        model_id = find_id(snapshot, model, "model.register") if model else None
        final = model_id is None or all_final(snapshot, Resolved(model_id, None, None, passages))
    if not final:
        make_final(core, progress)
    with core.store.read() as snapshot:
        if passages:
            gathered = prompt_scope(core, snapshot, passages, progress)
        elif model_id is not None:
            gathered = model_scope(core, snapshot, model_id, progress)
        else:
            gathered = everything_held(core, snapshot, progress)
        found = attribute_one(output, text, gathered)
        weights = _weights(core, snapshot, [found], gathered)
        titles, owners = _named(snapshot, found, weights)
        return Attributed(
            ppm={key.hex(): ppm for key, ppm in weights.contributions},
            unattributed_ppm=weights.unattributed_ppm,
            tokens=found.attribution.token_count,
            spans=tuple(_shown_spans(found)),
            method="retrieved" if passages else "spans",
            model_id=model_id.hex() if model_id else None,
            snapshot_epoch=snapshot.last_epoch(),
            names=titles,
            owners=owners,
            missing=gathered.lacking(),
        )


def _named(
    snapshot: Snapshot, found: AttributedOutput, weights: Weights
) -> tuple[dict[str, str], dict[str, str]]:
    """Titles and the names of accounts, by contribution."""
    titles, owners = {}, {}
    petnames = snapshot.petnames()
    spans = found.attribution.spans
    for key in {key for key, _ in weights.contributions} | {s.contribution_id for s in spans}:
        located = find_event(snapshot, key)
        if located is not None:
            account = located.log.genesis.account_id
            titles[key.hex()] = body_of(located).title
            owners[key.hex()] = petnames.get(account, account_short(account))
    return titles, owners


def _shown_spans(found: AttributedOutput) -> list[Span]:
    shown = []
    for span in found.attribution.spans:
        start_byte = int(found.text.starts[span.start])
        end_byte = int(found.text.ends[span.start + span.length - 1])
        text = found.data[start_byte:end_byte].decode("utf-8", "replace")
        shown.append(
            Span(
                span.start,
                span.start + span.length,
                start_byte,
                end_byte,
                span.contribution_id.hex(),
                span.document,
                span.token,
                text if len(text) <= MAX_SPAN_TEXT_CHARS else text[:MAX_SPAN_TEXT_CHARS] + "...",
            )
        )
    return shown


def _weights(
    core: NodeCore, snapshot: Snapshot, outputs: Sequence[AttributedOutput], gathered: Gathered
) -> Weights:
    """R3 over the maps held here, and R4."""
    found = [item.attribution for item in outputs]
    drawn_on = {span.contribution_id for item in found for span in item.spans}
    maps = maps_in_force(snapshot, drawn_on, cache=core.maps)
    gathered.unfollowed.clear()
    gathered.unfollowed.update(maps.missing)
    counts, unattributed = count_tokens(found, maps.redirect)
    return weigh(counts, unattributed, gathered.orders | maps.orders)


def resolve(snapshot: Snapshot, request: UseRequest) -> Resolved:
    return Resolved(
        find_id(snapshot, request.model, "model.register"),
        find_id(snapshot, request.grant, "money.grant") if request.grant else None,
        find_id(snapshot, request.agent, "agent.register") if request.agent else None,
        find_retrieved(snapshot, request.retrieved),
    )


def use(core: NodeCore, request: UseRequest, progress: Progress = no_progress) -> Used:
    """Attributes an output and records its receipt, durable with its payloads."""
    text = output_text(core, request.output)
    with core.use_lock:
        before = earlier_use(core, request.key)
        if before is not None:
            return before
        with core.store.read() as snapshot:
            resolved = resolve(snapshot, request)
            prepared = None
            if all_final(snapshot, resolved):
                prepared = _prepare(core, snapshot, resolved, request, text, progress)
        if prepared is None:
            make_final(core, progress)
            with core.store.read() as snapshot:
                prepared = _prepare(core, snapshot, resolved, request, text, progress)
        body, draft, note, gathered = prepared
        done = core.append([draft])[0]
    shown = shown_use(done.event_id, body, note, repeated=False)
    return replace(shown, missing=gathered.lacking())


def _prepare(
    core: NodeCore,
    snapshot: Snapshot,
    resolved: Resolved,
    request: UseRequest,
    text: CanonText,
    progress: Progress,
) -> tuple[UseReceipt, Draft, tuple[str, str], Gathered]:
    """The receipt of one use, checked against the rules, with what it earns and its scope."""
    check_use(core, snapshot, resolved, request.fee_micro)
    gathered = scope_of(core, snapshot, resolved.model, resolved.retrieved, progress)
    found = attribute_one(request.output, text, gathered)
    keys = (key_bytes(request.key),) if request.key is not None else ()
    body, draft = receipt_draft(
        core, snapshot, resolved, [found], gathered, request.fee_micro, keys
    )
    return body, draft, earns_note(snapshot, core, body), gathered


def all_final(snapshot: Snapshot, resolved: Resolved) -> bool:
    """Whether every id that a use names is final."""
    state = snapshot.state
    return (
        views.model(state, resolved.model) is not None
        and (resolved.grant is None or views.grant(state, resolved.grant) is not None)
        and (resolved.agent is None or views.agent(state, resolved.agent) is not None)
        and all(
            views.contribution(state, item.contribution_id) is not None
            for item in resolved.retrieved
        )
    )


def check_use(core: NodeCore, snapshot: Snapshot, resolved: Resolved, fee_micro: int) -> None:
    """Refuses what the fold would void, without a fold: a use must cost little (C3)."""
    state = snapshot.state
    if not 0 <= fee_micro <= MAX_AMOUNT_MICRO:
        raise UsageError(f"a fee has 0 to {MAX_AMOUNT_MICRO:,} micro-credits, not {fee_micro}")
    if resolved.agent is not None and views.agent(state, resolved.agent) is None:
        raise Refused("the agent is not final yet", hint="close an epoch first", code="not_final")
    if resolved.grant is None:
        if fee_micro:
            raise Refused(
                "rule C3: a fee is drawn on a grant", hint="name one with --grant", code="C3"
            )
        return
    grant = views.grant(state, resolved.grant)
    if grant is None:
        raise Refused(
            "rule C3: the grant is not final yet",
            hint="close an epoch over it first; a receipt draws on grants of earlier epochs",
            code="C3",
        )
    if grant.provider != core.account_id:
        raise Refused("rule C3: the grant is for another provider", code="C3")
    next_epoch = snapshot.last_epoch() + 1
    if grant.expiry_epoch is not None and next_epoch > grant.expiry_epoch:
        raise Refused(f"rule C3: the grant expired with epoch {grant.expiry_epoch}", code="C3")
    free = grant.remaining_micro - reserved_micro(core, snapshot, resolved.grant)
    if fee_micro > free:
        raise Refused(
            f"rule C3: {fee_micro:,} micro-credits do not fit into the {free:,} left of the grant",
            hint="ask the payer for another grant",
            code="C3",
        )


def reserved_micro(core: NodeCore, snapshot: Snapshot, grant: bytes) -> int:
    """The fees of own receipts on a grant that are not final yet; reads only what is new."""
    held = core.reservations
    log_id = core.writer().log_id
    log = snapshot.log(log_id)
    size = log.size if log else 0
    if held.epoch != snapshot.last_epoch() or held.size > size:
        mark = snapshot.cut_mark(log_id)
        held.epoch, held.size, held.fees_micro = snapshot.last_epoch(), 0, {}
        held.size = mark.size if mark else 0
    for leaf in snapshot.leaves(log_id, held.size, size):
        if b"use.receipt" not in leaf[:32]:
            continue
        try:
            body = parse_body(parse_event(leaf))
        except BadInput:
            continue
        if body.grant is not None:
            held.fees_micro[body.grant] = held.fees_micro.get(body.grant, 0) + body.fee_micro
    held.size = size
    return held.fees_micro.get(grant, 0)


def receipt_draft(
    core: NodeCore,
    snapshot: Snapshot,
    resolved: Resolved,
    outputs: Sequence[AttributedOutput],
    gathered: Gathered,
    fee_micro: int,
    keys: tuple[bytes, ...],
) -> tuple[UseReceipt, Draft]:
    """The receipt of one or many outputs, with its two payloads."""
    if not 0 < len(outputs) <= MAX_USES:
        raise UsageError(f"a receipt has 1 to {MAX_USES:,} uses")
    weights = _weights(core, snapshot, outputs, gathered)
    documents = tuple(_document(item) for item in outputs)
    output_payload = encode_payload(core.account_id, CANON_VERSION, documents)
    output_root = payload_commitment(output_payload)
    evidence = _evidence(core, snapshot, outputs, gathered)
    commit = payload_commitment(evidence)
    body = UseReceipt(
        resolved.grant,
        resolved.model,
        resolved.agent,
        snapshot.last_epoch(),
        len(outputs),
        output_root,
        fee_micro,
        weights.contributions,
        weights.unattributed_ppm,
        resolved.method,
    )
    small = []
    for named, data in ((output_root, output_payload), (commit, evidence)):
        if len(data) <= SMALL_PAYLOAD_BYTES:
            small.append((named, data))
        else:
            core.store.put_payload(named, data)
    draft = Draft(
        "use.receipt",
        body,
        core.clock_ms(),
        commit,
        len(evidence),
        tuple(small),
        keys,
    )
    return body, draft


def _document(item: AttributedOutput) -> PayloadDocument:
    """An output as a document under the output root, with its own salt."""
    salt = secrets.token_bytes(SALT_BYTES)
    slices = cut_text(item.data, item.text)
    if slices is not None:
        return PayloadDocument(salt, slices, len(item.text))
    cut = cut_document(item.data)
    return PayloadDocument(salt, cut.slices, cut.tokens)


def _evidence(
    core: NodeCore, snapshot: Snapshot, outputs: Sequence[AttributedOutput], gathered: Gathered
) -> bytes:
    """One branch a contribution, with the proof of each of its spans."""
    proofs: dict[bytes, list[SpanProof]] = {}
    for index, item in enumerate(outputs):
        for span in item.attribution.spans:
            named = span.contribution_id
            if named not in proofs:
                _hold_payload(core, snapshot, gathered, named)
                proofs[named] = []
            proofs[named].append(prove_span(span, gathered.payloads[named], index))
    passages: dict[bytes, list[Passage]] = {}
    for index, item in enumerate(outputs):
        for each in item.passages:
            listed = passages.setdefault(each.contribution_id, [])
            listed.append(Passage(index, each.document, each.first, each.end))
    branches = [
        Branch(named, tuple(proofs.get(named, ())), tuple(sorted(passages.get(named, ()))))
        for named in sorted({*proofs, *passages})
    ]
    salts = {branch.contribution_id: secrets.token_bytes(SALT_BYTES) for branch in branches}
    return encode_evidence(core.account_id, branches, salts)


def _hold_payload(
    core: NodeCore, snapshot: Snapshot, gathered: Gathered, contribution_id: bytes
) -> None:
    """Keeps the decoded payload with its scope; refuses one that was erased meanwhile."""
    commit = gathered.commits[contribution_id]
    if not snapshot.has_payload(commit):
        core.scopes.clear()
        raise Refused(
            f"the payload of {contribution_id.hex()[:12]} was erased while it was in use",
            hint="try again: the next use does without it",
            code="no_payload",
        )
    if contribution_id not in gathered.payloads:
        data = snapshot.payload(commit)
        if data is not None:
            gathered.payloads[contribution_id] = decode_payload(data)


def key_bytes(key: str) -> bytes:
    """An idempotency key as stored."""
    raw = key.encode("utf-8", "surrogatepass")
    if not 0 < len(raw) <= MAX_KEY_BYTES:
        raise UsageError(f"an idempotency key has 1 to {MAX_KEY_BYTES} bytes")
    return raw


def earlier_use(core: NodeCore, key: str | None) -> Used | None:
    """The result that an idempotency key had before."""
    if key is None:
        return None
    with core.store.read() as snapshot:
        place = snapshot.fact(IDEMPOTENCY_FACT, key_bytes(key))
        if place is None:
            return None
        log_id, seq = place[:32], int.from_bytes(place[32:], "big")
        leaf = snapshot.leaves(log_id, seq, seq + 1)[0]
        named = event_id(log_id, seq, leaf)
        body = parse_body(parse_event(leaf))
        note = earns_note(snapshot, core, body)
    return shown_use(named.hex(), body, note, repeated=True)


def earns_note(snapshot: Snapshot, core: NodeCore, body: UseReceipt) -> tuple[str, str]:
    """(what a use earns, why): a ledger of one account can neither pay itself nor earn units."""
    if body.grant is not None and body.fee_micro:
        return "credits", "paid on a grant; units count when the payer confirms"
    others = any(
        account.account_id != core.account_id for account in views.accounts(snapshot.state)
    )
    if not others:
        return (
            "nothing",
            "this ledger has one account: it can neither pay itself nor confirm its own uses",
        )
    return "units", "without a fee it earns units only, when another account confirms it"


def shown_use(receipt_id: str, body: UseReceipt, note: tuple[str, str], *, repeated: bool) -> Used:
    return Used(
        receipt_id=receipt_id,
        ppm={key.hex(): ppm for key, ppm in body.weights},
        unattributed_ppm=body.unattributed_ppm,
        fee_micro=body.fee_micro,
        uses=body.uses,
        grant_id=body.grant.hex() if body.grant else None,
        snapshot_epoch=body.snapshot_epoch,
        earns=note[0],
        note=note[1],
        repeated=repeated,
    )
