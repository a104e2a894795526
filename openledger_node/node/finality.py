"""When a command needs final figures, and what the rules make of an event before it is written.

On a solo ledger with `epoch.auto_close`, an epoch closes before a command that reads an id or a
balance that is not final; never after each append, so bulk stays fast. A home that is not the
ledger's only seat cannot close; its commands read what is final and say what is pending. What
merely falls due with the next epoch waits for one: looking at a balance lets no time pass.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from openledger_node.credit.rules import reason_sentence
from openledger_node.ledger.errors import BadInput, Refused, UsageError
from openledger_node.ledger.kinds import BODY_TYPES
from openledger_node.node.core import NodeCore, Progress, no_progress
from openledger_node.node.epochs import close_epoch, has_pending, knows_rules
from openledger_node.node.pending import Judged, judge
from openledger_node.node.results import Recorded
from openledger_node.store.writer import Draft

_LENGTH: Final = re.compile(r"of length (<=|>=) (\d+) - at `\$\[(\d+)\]`")
"""How msgspec says that a text or list of a body, named by its place, is too long or too short."""


def may_close(core: NodeCore) -> bool:
    """Whether this home closes epochs by itself when a command needs it.

    A copy does not: it shows what is final until it is told to go on as the seat. Nor one whose
    program does not know the rules that the next epoch follows.
    """
    if not core.config.auto_close or core.is_copy():
        return False
    with core.store.read() as snapshot:
        return core.is_solo_seat(snapshot) and knows_rules(snapshot)


def make_final(core: NodeCore, progress: Progress = no_progress) -> bool:
    """Closes an epoch when this home may and something is pending; whether it did."""
    if not may_close(core):
        return False
    with core.store.read() as snapshot:
        if not has_pending(snapshot):
            return False
    close_epoch(core, progress=progress)
    return True


def judged_append(
    core: NodeCore,
    kind: str,
    body: Any,
    *,
    commit: bytes | None = None,
    payload: bytes = b"",
) -> Recorded:
    """Appends one event that the rules, as far as this home can see, will honour.

    Else refuses it. A payload is kept before its event, which could never be served without it,
    and not at all when the event is refused.
    """
    try:
        draft = core.draft(kind, body, commit, len(payload))
    except BadInput as error:
        raise _misused(kind, error) from None
    verdict = _judge(core, draft)
    if verdict is not None and (verdict.rule or verdict.parked) and make_final(core):
        verdict = _judge(core, draft)
    if verdict is not None and verdict.rule:
        refuse(verdict.rule, verdict.reason or "", kind)
    if commit is not None:
        core.store.put_payload(commit, payload)
    return core.append([draft])[0]


def _misused(kind: str, error: BadInput) -> UsageError:
    """What the shape of a body refuses, said of what the user gave: it came from nobody else."""
    found = _LENGTH.search(error.message)
    if found is None:
        return UsageError(error.message, hint="make it shorter, or give it in another form")
    order, number, field = found.groups()
    name = BODY_TYPES[kind].__struct_fields__[int(field)].replace("_", " ")
    if order == ">=":
        return UsageError(f"the {name} is empty", hint=f"a {kind} has one")
    return UsageError(f"the {name} is too long", hint=f"it may have {int(number):,} characters")


def _judge(core: NodeCore, draft: Draft) -> Judged | None:
    log_id = core.writer().log_id
    with core.store.read() as snapshot:
        judged: Sequence[Judged] = judge(core, snapshot, log_id, [draft])
    return judged[0] if judged else None


def refuse(rule: str, reason: str, kind: str) -> None:
    """Raises what the fold would have said."""
    raise Refused(
        f"rule {rule} would make this {kind} void: {reason_sentence(rule, reason)}",
        hint="`oln help rules` has the rules; nothing was written",
        code=rule,
    )
