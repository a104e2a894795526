"""Challenging a receipt: computed again first, and filed only with what was found.

A challenge that names nothing wrong would hold money for nothing, and use up the only challenge
that a receipt has. So without a ground of its own it is filed only when the audit finds one. A
contributor who was left out altogether is served no evidence: it names its ground, and the
witnesses compute the receipt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from openledger_node.ledger.errors import Refused, UsageError
from openledger_node.ledger.kinds import GROUNDS, AuditChallenge, Ground
from openledger_node.node.audit_scopes import PastScopes
from openledger_node.node.auditing import Audited, audit_receipt
from openledger_node.node.core import NodeCore, Progress, no_progress
from openledger_node.node.finality import judged_append
from openledger_node.node.lookup import find_id
from openledger_node.node.reading import must_find
from openledger_node.node.results import Challenged, ReceiptFault

MAX_FAULTS_SHOWN: Final = 100


def challenge(
    core: NodeCore,
    text: str,
    ground: str | None = None,
    outputs: Sequence[bytes] | None = None,
    progress: Progress = no_progress,
) -> Challenged:
    """Computes a receipt again and files a challenge with what it finds; else files nothing.

    With `ground` it is filed as it is. A derivation is challenged by its `ground` alone. `outputs`
    stand in for the receipt's outputs where this home does not hold them.
    """
    if ground is not None and ground not in GROUNDS:
        raise UsageError(
            f"{ground!r} is not a ground for a challenge", hint="grounds: " + ", ".join(GROUNDS)
        )
    with core.store.read() as snapshot:
        target = find_id(snapshot, text, "use.receipt", "data.derivation")
        if must_find(snapshot, target).event.kind == "data.derivation" and ground is None:
            ground = "derivation"
        audited = None
        if ground is None:
            scopes = PastScopes(snapshot, progress, core)
            audited = audit_receipt(snapshot, target, outputs, scopes=scopes)
            if audited.absent:
                raise _nothing_to_go_by(text)
    if audited is not None and audited.ground is None:
        return _shown(target, None, audited, None)
    chosen = str(audited.ground) if audited is not None else ground
    done = judged_append(core, "audit.challenge", AuditChallenge(target, cast(Ground, chosen)))
    return _shown(target, chosen, audited, done.event_id)


def _nothing_to_go_by(text: str) -> Refused:
    return Refused(
        "the evidence and outputs of the receipt are not held here, so nothing can be computed",
        hint=f"sync with its provider; if it serves them to nobody: `oln challenge {text} --ground "
        "evidence_withheld`",
        code="no_payload",
    )


def _shown(
    target: bytes, ground: str | None, audited: Audited | None, event_id: str | None
) -> Challenged:
    findings = audited.findings if audited is not None else ()
    return Challenged(
        target_id=target.hex(),
        filed=event_id is not None,
        event_id=event_id,
        ground=ground,
        faults=tuple(
            ReceiptFault(
                str(each.ground),
                each.what,
                each.contribution_id.hex() if each.contribution_id is not None else None,
            )
            for each in findings[:MAX_FAULTS_SHOWN]
        ),
        fault_count=len(findings),
        outputs=audited.checked_outputs if audited is not None else 0,
        missing=tuple(item.hex() for item in audited.missing) if audited is not None else (),
    )
