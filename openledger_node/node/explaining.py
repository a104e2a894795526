"""Why a credit row, a receipt or a void event is what it is, down to rules and spans.

The derivation is the credit layer's, computed again from the epoch's journal with the fold's own
functions, and refused when it does not add up. Here it gets names for ids, the spans of a receipt's
evidence, and the licences of C9.
"""

from __future__ import annotations

from typing import Final

from openledger_node.attribution.evidence import Branch, decode_evidence, erased_branches
from openledger_node.attribution.reference import Span
from openledger_node.attribution.weights import UNATTRIBUTED_KEY
from openledger_node.credit import views
from openledger_node.credit.explain import (
    MICRO,
    ExplainNode,
    explain_receipt,
    explain_row,
    explain_void,
)
from openledger_node.credit.journal import Journal, parse_journal
from openledger_node.credit.statement import Row
from openledger_node.ledger.errors import BadInput, Refused, StoreDamaged
from openledger_node.ledger.names import account_short
from openledger_node.node.claims import own_payload
from openledger_node.node.core import NodeCore
from openledger_node.node.derivation_maps import derivations_of, maps_in_force
from openledger_node.node.derivations import derived_from
from openledger_node.node.finality import make_final
from openledger_node.node.lookup import find_id, known_account, must_be_final
from openledger_node.node.reading import Located, body_of, find_event, must_find, outcome
from openledger_node.node.registry import effective_licences
from openledger_node.node.reports import stored_statement
from openledger_node.node.results import Explained, Explanation
from openledger_node.store.snapshot import Snapshot

MAX_EPOCHS_SEARCHED: Final = 10_000
MAX_SPANS_SHOWN: Final = 32

_STANDING: Final = {
    "pending": "waiting for its contributor or the witnesses",
    "counts": "in force",
    "upheld": "upheld by the witnesses",
}
"""What the status of a derivation means."""


def explain(core: NodeCore, text: str, epoch: int | None = None) -> Explanation:
    """The derivation behind an id: an account (its row of `epoch`, or of the last it moved in), a
    receipt, a void event, or what became of any other event.
    """
    make_final(core)
    with core.store.read() as snapshot:
        account = known_account(snapshot, text)
        if account is not None:
            must_be_final(snapshot, account)
            return _explain_account(core, snapshot, account, epoch)
        event_id = find_id(snapshot, text)
        if views.account(snapshot.state, event_id) is not None:
            return _explain_account(core, snapshot, event_id, epoch)
        void = explain_void(snapshot.state, event_id)
        if void is not None:
            return Explanation(event_id.hex(), "void event", _named(snapshot, void))
        if views.receipt(snapshot.state, event_id) is not None:
            return _explain_receipt(snapshot, event_id)
        found = must_find(snapshot, event_id)
        return Explanation(event_id.hex(), found.event.kind, _explain_other(snapshot, found))


def _journal(snapshot: Snapshot, epoch: int) -> Journal:
    stored = snapshot.journal(epoch)
    if stored is None:
        raise StoreDamaged(f"the journal of epoch {epoch} is missing", hint="run `oln check`")
    return parse_journal(stored)


def _explain_account(
    core: NodeCore, snapshot: Snapshot, account: bytes, epoch: int | None
) -> Explanation:
    number = _last_moved(snapshot, account) if epoch is None else epoch
    if number < 1:
        raise Refused(
            f"account {account_short(account)} has no credits on this ledger yet",
            hint="it earns when a use that draws on its work is paid or confirmed",
            code="nothing_to_explain",
        )
    _, statement = stored_statement(snapshot, number)
    _, before = stored_statement(snapshot, number - 1)
    node = explain_row(
        snapshot.state, statement, _journal(snapshot, number), account, before.row(account)
    )
    if node is None:
        raise Refused(f"the account has no row in the statement of epoch {number}")
    shown = _named(snapshot, node)
    title = f"epoch {number}: {shown.title}"
    return Explanation(
        account.hex(),
        "credit row",
        Explained(title, shown.rule, shown.amount_micro, shown.children),
    )


def _last_moved(snapshot: Snapshot, account: bytes) -> int:
    """The last epoch in which the account's row was not what it had been."""
    last = snapshot.last_epoch()
    row: Row | None = stored_statement(snapshot, last)[1].row(account)
    for number in range(last, max(0, last - MAX_EPOCHS_SEARCHED), -1):
        before = stored_statement(snapshot, number - 1)[1].row(account)
        if row != before or _earned(row):
            return number if row is not None else 0
        row = before
    return 0


def _earned(row: Row | None) -> bool:
    return row is not None and any(
        (
            row.units_paid,
            row.units_unpaid,
            row.earned_data_micro,
            row.earned_model_micro,
            row.earned_agent_micro,
            row.refunds_micro,
        )
    )


def _explain_receipt(snapshot: Snapshot, receipt_id: bytes) -> Explanation:
    journals = []
    view = views.receipt(snapshot.state, receipt_id)
    first = view.epoch if view else 1
    for number in range(first, snapshot.last_epoch() + 1):
        journals.append(_journal(snapshot, number))
    node = explain_receipt(snapshot.state, receipt_id, journals)
    if node is None:
        raise Refused("the receipt is not final yet", hint="close an epoch first")
    tree = _named(snapshot, node)
    found = find_event(snapshot, receipt_id)
    extra = (
        (*_spans(snapshot, found), *_moved(snapshot, found), *_licences(snapshot, found))
        if found
        else ()
    )
    return Explanation(
        receipt_id.hex(),
        "receipt",
        Explained(tree.title, tree.rule, tree.amount_micro, (*tree.children, *extra)),
    )


def _spans(snapshot: Snapshot, found: Located) -> list[Explained]:
    """The receipt's evidence, when it is held here; spans are counted as `prove --span` does."""
    data = own_payload(snapshot, found.log.genesis.account_id, found.event.payload_commit)
    if data is None:
        title = "its evidence is not held here: payer and witnesses are served it"
        return [Explained(title, "R2", None, ())]
    try:
        branches, gone = decode_evidence(data), erased_branches(data)
    except BadInput as error:
        return [Explained(f"its evidence is malformed: {error.message}", "R2", None, ())]
    shown = []
    first = 0
    for branch in branches:
        name = _subject(snapshot, branch.contribution_id)
        lines = _lines_of(branch, first)
        first += len(branch.spans)
        shown.append(Explained(f"spans in {name}: {len(branch.spans)}", "R2", None, lines))
    if gone:
        title = f"branches that were erased with their contributions: {gone}"
        shown.append(Explained(title, "P6", None, ()))
    return shown


def _lines_of(branch: Branch, first: int) -> tuple[Explained, ...]:
    """What stood in the prompts, and the spans, counted from `first` on."""
    placed = [
        f"output {passage.output}: tokens {passage.first} to {passage.end - 1} of document "
        f"{passage.document} stood in its prompt"
        for passage in branch.passages[:MAX_SPANS_SHOWN]
    ]
    spans = [
        f"span {number}: output {span.output}, tokens {span.start} to "
        f"{span.start + span.length - 1} are tokens {span.token} to "
        f"{span.token + span.length - 1} of document {span.document}"
        for number, span in enumerate(branch.spans[:MAX_SPANS_SHOWN], first)
    ]
    return (
        *(Explained(line, "T12", None, ()) for line in placed),
        *(Explained(line, "R2", None, ()) for line in spans),
    )


def _moved(snapshot: Snapshot, found: Located) -> list[Explained]:
    """R3: tokens found in derived texts, and whose they are."""
    body = body_of(found)
    data = own_payload(snapshot, found.log.genesis.account_id, found.event.payload_commit)
    try:
        branches = decode_evidence(data) if data is not None else ()
    except BadInput:
        return []  # said among the spans
    spans = [(item.contribution_id, span) for item in branches for span in item.spans]
    epoch = min(body.snapshot_epoch, snapshot.last_epoch())
    maps = maps_in_force(snapshot, {named for named, _ in spans}, epoch=epoch)
    moved: dict[tuple[bytes, bytes], int] = {}
    for named, span in spans:
        drawn = Span(span.start, span.length, 0, named, span.document, span.token)
        for owner, tokens in maps.redirect(drawn):
            if owner != named:
                moved[named, owner] = moved.get((named, owner), 0) + tokens
    lines = []
    for (named, owner), tokens in sorted(moved.items()):
        whose = (
            _subject(snapshot, owner) if owner != UNATTRIBUTED_KEY else "nobody: it was withdrawn"
        )
        title = f"{tokens:,} tokens found in {_subject(snapshot, named)} belong to {whose}"
        lines.append(Explained(title, "R3", None, ()))
    return [Explained("tokens in derived texts", "R3", None, tuple(lines))] if lines else []


def _derivations(
    snapshot: Snapshot, contribution_id: bytes, derivation_id: bytes | None = None
) -> list[Explained]:
    """What was declared or claimed that a contribution derives from, or one such event of it."""
    lines = []
    for view, body in derivations_of(snapshot, contribution_id):
        if derivation_id not in (None, view.derivation_id):
            continue
        found = must_find(snapshot, contribution_id)
        for source in derived_from(snapshot, body.sources, body_of(found).tokens):
            by = _subject(snapshot, view.account)
            title = (
                f"{source.ppm / 10_000:.1f} % derives from {source.title} "
                f"{source.contribution_id[:12]}: declared by {by}, {_STANDING[view.status]}"
            )
            lines.append(Explained(title, "R3", None, ()))
    return lines


def _licences(snapshot: Snapshot, found: Located) -> list[Explained]:
    model = getattr(body_of(found), "model", None)
    if model is None:
        return []
    licences = effective_licences(snapshot, snapshot.state, model)
    return [Explained(f"licences over its lineage: {', '.join(licences)}", "C9", None, ())]


def _explain_other(snapshot: Snapshot, found: Located) -> Explained:
    result = outcome(snapshot, snapshot.state, found)
    place = f"event {found.seq} of log {found.log.log_id.hex()[:12]}"
    when = f", epoch {result.epoch}" if result.epoch is not None else ""
    children = [Explained(result.reason, result.rule, None, ())] if result.reason else []
    if views.model(snapshot.state, found.event_id) or views.contribution(
        snapshot.state, found.event_id
    ):
        licences = effective_licences(snapshot, snapshot.state, found.event_id)
        children.append(
            Explained(f"licences over its lineage: {', '.join(licences)}", "C9", None, ())
        )
        children += _derivations(snapshot, found.event_id)
    if views.derivation(snapshot.state, found.event_id) is not None:
        children += _derivations(snapshot, body_of(found).contribution, found.event_id)
    title = f"{found.event.kind}: {result.status}{when} ({place})"
    return Explained(title, None, None, tuple(children))


def _named(snapshot: Snapshot, node: ExplainNode) -> Explained:
    """A node with its subject named, and units written out."""
    title = node.title
    amount = node.amount_micro
    if node.unit != MICRO and amount is not None:
        title, amount = f"{title}: {amount:,} {node.unit}", None
    if node.subject is not None:
        title = f"{title} ({_subject(snapshot, node.subject)})"
    children = tuple(_named(snapshot, child) for child in node.children)
    return Explained(title, node.rule, amount, children)


def _subject(snapshot: Snapshot, some_id: bytes) -> str:
    """A petname, a title or a shortened id."""
    petname = snapshot.petnames().get(some_id)
    if petname:
        return petname
    if views.account(snapshot.state, some_id) is not None:
        return account_short(some_id)
    kind = views.what_is(snapshot.state, some_id)
    if kind in ("data.contribute", "model.register", "agent.register"):
        found = find_event(snapshot, some_id)
        if found is not None:
            body = body_of(found)
            title = getattr(body, "title", None) or getattr(body, "name", "")
            return f"{title} {some_id.hex()[:12]}"
    return some_id.hex()[:12]
