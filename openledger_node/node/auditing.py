"""Computing a receipt again, and the vote of a seat on what is challenged.

An audit needs the receipt's evidence and its outputs, which the provider serves to the payer and to
the seats, and the texts of its scope, as far as this home was given them. What it may conclude from
less is said in attribution/audit.py.

- J1 A seat votes once on each challenged receipt: 1 when its audit finds anything, 0 when it finds
  nothing and no text of the scope is missing here.
- J2 While evidence, outputs or texts are missing it waits for them, until half of the hold is over:
  then what is still withheld upholds the challenge (V6), and texts alone are passed over.
- J3 A seat votes 1 on a derivation that its contribution's account has not accepted when it finds
  the same map over the texts that it holds. It looks once an epoch, for the first `dispute_epochs`
  epochs, and never votes 0: it may hold fewer texts than whoever claimed it.

Challenges and claims cost nothing, and looking into one may take seconds. So a seat looks into some
at a time and votes on epochs in between; into claims in an order that the last cut gives, the same
for all seats, in which nobody can make sure to come first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from openledger_node.attribution.audit import Claims, Finding, Ground, compare
from openledger_node.attribution.canon import canonical_text
from openledger_node.attribution.evidence import Branch, decode_evidence, erased_branches
from openledger_node.attribution.reference import MAX_OUTPUT_TOKENS
from openledger_node.attribution.together import separator_of
from openledger_node.attribution.weights import Weights
from openledger_node.credit import views
from openledger_node.ledger.errors import BadInput, StoreDamaged, UsageError
from openledger_node.ledger.kinds import (
    MAX_SNAPSHOT_AGE_EPOCHS,
    AuditVerdict,
    DataDerivation,
    UseReceipt,
    parse_body,
)
from openledger_node.ledger.payload import decode_payload
from openledger_node.node.audit_scopes import PastScope, PastScopes, branches_erased, is_short
from openledger_node.node.claims import own_payload
from openledger_node.node.core import NodeCore, Progress, no_progress
from openledger_node.node.derivations import is_borne_out
from openledger_node.node.reading import Located, body_of, find_event, must_find, well_formed
from openledger_node.store.snapshot import Snapshot
from openledger_node.store.writer import Draft

MAX_RECEIPTS_AT_ONCE: Final = 100
"""Receipts that a seat audits before it looks after its epoch again."""
MAX_CLAIMS_AT_ONCE: Final = 4
"""Claims of derivation that it looks into, as long as they are of small contributions."""
CLAIM_TOKENS_AT_ONCE: Final = 2**21
"""Of all texts that claims are about; a claim about more is looked into alone."""
MAX_CLAIM_TOKENS: Final = 2**26
"""A claim about more is left to others: a minute or two of work that costs its author nothing."""


_BY_WHAT_IS_MISSING: Final = (Ground.BETTER_SPAN, Ground.DERIVATION, Ground.ARITHMETIC)
"""What an honest receipt can be found guilty of by evidence that somebody took branches out of."""
_MORE: Final = "more to judge"
_VERDICT: Final = b"audit.verdict"
_KIND_WINDOW_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Audited:
    """What an audit found. `absent`: the evidence or outputs are not here, and were not erased.
    `missing`: contributions of the scope whose text is not held here, and derivations whose map is
    not. `checked_outputs`: how many.
    """

    receipt_id: bytes
    findings: tuple[Finding, ...]
    missing: tuple[bytes, ...] = ()
    absent: bool = False
    checked_outputs: int = 0

    @property
    def ground(self) -> Ground | None:
        """The gravest thing found."""
        return self.findings[0].ground if self.findings else None


def audit_receipt(
    snapshot: Snapshot,
    receipt_id: bytes,
    outputs: Sequence[bytes] | None = None,
    progress: Progress = no_progress,
    scopes: PastScopes | None = None,
) -> Audited:
    """Everything that is wrong with a receipt, as far as this home can see.

    `outputs` stand in for those under the receipt's output root when these are not held here.
    `scopes` over the same snapshot serve several audits: they read a text once.
    UsageError when the id is no receipt's, or when `outputs` are not as many as its uses.
    """
    found = must_find(snapshot, receipt_id)
    body = body_of(found)
    if not isinstance(body, UseReceipt):
        raise UsageError(f"{receipt_id.hex()[:12]} is not a receipt", code="wrong_kind")
    provider = found.log.genesis.account_id
    evidence = own_payload(snapshot, provider, found.event.payload_commit)
    output = own_payload(snapshot, provider, body.output_root)
    if evidence is None or (output is None and outputs is None):
        return _withheld(snapshot, found, body)
    try:
        branches, gone = decode_evidence(evidence), erased_branches(evidence)
        tokens = _tokens(body, output, outputs)
    except BadInput as error:
        return Audited(receipt_id, _absent(error.message))
    held = _Held(receipt_id, body, provider, branches, gone, tokens)
    return _audit(snapshot, held, scopes or PastScopes(snapshot, progress))


def _withheld(snapshot: Snapshot, found: Located, body: UseReceipt) -> Audited:
    commits = [body.output_root]
    if found.event.payload_commit is None:
        return Audited(found.event_id, _absent("the receipt commits to no evidence"))
    commits.append(found.event.payload_commit)
    if any(snapshot.is_erased(commit) for commit in commits):
        return Audited(found.event_id, _absent("its provider had the evidence erased"))
    what = "the evidence and outputs of the receipt are not held here"
    return Audited(found.event_id, _absent(what), absent=True)


def _tokens(
    body: UseReceipt, output: bytes | None, given: Sequence[bytes] | None
) -> list[list[bytes]]:
    """The tokens of each output. BadInput when they are not text or not as many as the uses."""
    texts: Sequence[bytes] = given or ()
    if output is not None:
        texts = [document.data for document in decode_payload(output).documents]
    elif len(texts) != body.uses:
        raise UsageError(
            f"{len(texts)} outputs were given, and the receipt is of {body.uses}",
            hint="give every output of the receipt, in the order of its uses",
        )
    if len(texts) != body.uses:
        raise BadInput(f"{len(texts)} outputs under the output root, for {body.uses} uses")
    found = []
    for text in texts:
        canonical = canonical_text(text)
        if canonical is None or len(canonical) > MAX_OUTPUT_TOKENS:
            raise BadInput("an output of the receipt is not text, or is too long")
        found.append(canonical.tokens())
    return found


@dataclass(frozen=True, slots=True)
class _Held:
    """A receipt with all that its audit needs."""

    receipt_id: bytes
    body: UseReceipt
    provider: bytes
    branches: tuple[Branch, ...]
    gone: int
    tokens: list[list[bytes]]


def _audit(snapshot: Snapshot, held: _Held, scopes: PastScopes) -> Audited:
    body = held.body
    if held.gone > branches_erased(snapshot, body):
        return Audited(held.receipt_id, _absent("branches of the evidence are missing"), (), True)

    def scope_at(epoch: int) -> PastScope:
        if body.method == "retrieved":
            return scopes.of_passages(held.branches, epoch)
        return scopes.of_model(body.model, epoch)

    scope = scope_at(body.snapshot_epoch)
    findings = _findings(held, scope)
    doubtful = bool(findings) and findings[0].ground in _BY_WHAT_IS_MISSING
    if doubtful and is_short(snapshot, body, held.branches, held.gone):
        return Audited(held.receipt_id, _absent("branches of the evidence are missing"), (), True)
    if findings and findings[0].ground in (Ground.BETTER_SPAN, Ground.SNAPSHOT):
        for epoch in _other_epochs(snapshot, held.receipt_id, body):
            if not _findings(held, scope_at(epoch)):
                what = f"it names epoch {body.snapshot_epoch}, and has the weights of epoch {epoch}"
                findings = (Finding(Ground.SNAPSHOT, what), *findings)
                break
    missing = (*scope.missing, *scope.maps(b.contribution_id for b in held.branches).missing)
    return Audited(held.receipt_id, findings, missing, checked_outputs=len(held.tokens))


def _findings(held: _Held, scope: PastScope) -> tuple[Finding, ...]:
    """What is wrong with a receipt over one scope."""
    try:
        expected = scope.attribute(held.tokens, separator_of(held.receipt_id))
    except BadInput as error:
        return (Finding(Ground.INCLUSION, error.message),)
    shown = {branch.contribution_id for branch in held.branches}
    erased = scope.erased - shown if held.gone else frozenset()
    own = [key for key, _ in held.body.weights if key in erased]
    if any(scope.account_of(key) == held.provider for key in own):
        return _absent("the provider erased a contribution of its own with its branch")
    claims = Claims(Weights(held.body.weights, held.body.unattributed_ppm), held.branches)
    maps = scope.maps({contribution_id for contribution_id, _ in claims.spans()})
    known = scope.known(maps, erased)
    return compare(claims, held.tokens, expected, known, maps.redirect or None)


def _absent(what: str) -> tuple[Finding, ...]:
    return (Finding(Ground.EVIDENCE_WITHHELD, what),)


def _other_epochs(snapshot: Snapshot, receipt_id: bytes, body: UseReceipt) -> list[int]:
    """Epochs whose scope a provider could have matched against instead of the one it names."""
    view = views.receipt(snapshot.state, receipt_id)
    model = views.model(snapshot.state, body.model)
    own = view.epoch if view is not None else snapshot.last_epoch() + 1
    begun = model.epoch if model is not None else 0
    first = max(begun, body.snapshot_epoch - MAX_SNAPSHOT_AGE_EPOCHS)
    last = min(own - 1, body.snapshot_epoch + MAX_SNAPSHOT_AGE_EPOCHS, snapshot.last_epoch())
    return [epoch for epoch in range(first, last + 1) if epoch != body.snapshot_epoch]


def judge_challenges(core: NodeCore, progress: Progress = no_progress) -> list[Draft]:
    """The votes that this home's seat has to cast now (J1 to J3), as far as it comes at a time.

    What it looked at in vain it looks at again when another epoch is final, or when what was absent
    has come: a daemon asks often.
    """
    drafts, more = _judge(core, progress)
    core.looked.put(_MORE, more)
    return drafts


def file_verdicts(core: NodeCore, progress: Progress = no_progress) -> int:
    """Casts the votes that are due, as far as it comes at a time; how many."""
    drafts = judge_challenges(core, progress)
    if drafts:
        core.append(drafts)
    return len(drafts)


def has_more_to_judge(core: NodeCore) -> bool:
    """Whether the last look at challenges and claims left some for the next one."""
    return bool(core.looked.get(_MORE))


def _judge(core: NodeCore, progress: Progress) -> tuple[list[Draft], bool]:
    """(votes, whether there is more to look at)."""
    with core.store.read() as snapshot:
        rules = views.rules(snapshot.state)
        if (core.account_id, core.device) not in rules.seats:
            return [], False
        receipts = [receipt.receipt_id for receipt in views.open_challenges(snapshot.state)]
        claims = _claims(core, snapshot, rules.params.dispute_epochs)
        if not receipts and not claims:
            return [], False
        under_way = _votes_under_way(core, snapshot)
        epoch = snapshot.last_epoch()
        scopes: PastScopes | None = None
        drafts: list[Draft] = []
        room = {False: MAX_RECEIPTS_AT_ONCE, True: MAX_CLAIMS_AT_ONCE}
        at_once, compared, more = CLAIM_TOKENS_AT_ONCE, 0, False
        for target in (*receipts, *claims):
            voted = target in under_way or core.device in views.votes(snapshot.state, target)
            if voted or core.looked.get((epoch, target)):
                continue
            vote: bool | None
            claim = views.derivation(snapshot.state, target)
            tokens = 0 if claim is None else _tokens_of(snapshot, claim)
            if tokens > MAX_CLAIM_TOKENS:
                continue
            if not room[claim is not None] or (compared and compared + tokens > at_once):
                more = True
                continue
            compared += tokens
            if claim is not None:
                vote = _is_found_here(snapshot, claim, progress) or None
                is_idle = vote is None
            else:
                scopes = scopes or PastScopes(snapshot, progress, core)
                vote, is_idle = _vote(snapshot, target, rules.params.dispute_epochs, scopes)
            if vote is not None:
                drafts.append(core.draft("audit.verdict", AuditVerdict(target, int(vote))))
            elif is_idle:
                core.looked.put((epoch, target), True)
            if vote is not None or is_idle:  # what is only awaited was not looked into
                room[claim is not None] -= 1
    return drafts, more


def _claims(core: NodeCore, snapshot: Snapshot, hold_epochs: int) -> tuple[bytes, ...]:
    """The derivations that wait for votes; looking through all of them once an epoch."""
    epoch = snapshot.last_epoch()
    key = epoch, b"claims"
    found: tuple[bytes, ...] | None = core.looked.get(key)
    if found is None:
        cut_id = snapshot.must_epoch(epoch).cut_id
        waiting = [
            view.derivation_id
            for view in views.derivations(snapshot.state)
            if view.status == "pending" and view.epoch + hold_epochs > epoch
        ]
        found = tuple(sorted(waiting, key=lambda each: hashlib.sha256(cut_id + each).digest()))
        core.looked.put(key, found)
    return found


def _tokens_of(snapshot: Snapshot, claim: views.DerivationView) -> int:
    """The tokens of the texts that a claim is about, as they were registered."""
    found = find_event(snapshot, claim.derivation_id)
    body = body_of(found) if found is not None else None
    if not isinstance(body, DataDerivation):
        return 0
    named = [body.contribution, *(source for source, _ in body.sources)]
    texts = [views.contribution(snapshot.state, each) for each in named]
    return sum(view.tokens for view in texts if view is not None)


def _is_found_here(snapshot: Snapshot, claim: views.DerivationView, progress: Progress) -> bool:
    """Whether this home finds the map that somebody claimed (J3)."""
    found = find_event(snapshot, claim.derivation_id)
    body = body_of(found) if found is not None else None
    if not isinstance(body, DataDerivation):
        return False
    return is_borne_out(snapshot, body, progress)


def _votes_under_way(core: NodeCore, snapshot: Snapshot) -> frozenset[bytes]:
    """What this device voted on in events that are not final yet."""
    targets = set()
    for log in snapshot.logs():
        own = (log.genesis.account_id, log.genesis.device) == (core.account_id, core.device)
        if not own or log.head is None:
            continue
        mark = snapshot.cut_mark(log.log_id)
        start = mark.size if mark is not None else 0
        for leaf in snapshot.leaves(log.log_id, start, log.head.size):
            event = well_formed(leaf) if _VERDICT in leaf[:_KIND_WINDOW_BYTES] else None
            if event is not None and event.kind == "audit.verdict":
                targets.add(parse_body(event).target)
    return frozenset(targets)


def _vote(
    snapshot: Snapshot, receipt_id: bytes, hold_epochs: int, scopes: PastScopes
) -> tuple[bool | None, bool]:
    """(Whether this seat upholds the challenge, None while it waits (J2); whether looking again
    in this epoch would be in vain).
    """
    receipt = views.receipt(snapshot.state, receipt_id)
    until = receipt.held_until_epoch or 0 if receipt is not None else 0
    if receipt is not None:  # the rules may have come to hold challenges longer meanwhile
        hold_epochs = min(hold_epochs, until - receipt.epoch)
    waits = snapshot.last_epoch() + 1 < until - hold_epochs // 2
    try:
        audited = audit_receipt(snapshot, receipt_id, scopes=scopes)
    except StoreDamaged:
        return None, False  # this home's fault; `oln check` names it
    if audited.absent:
        return (None if waits else True), False
    if audited.findings:
        return True, False
    return (None, True) if audited.missing and waits else (False, False)
