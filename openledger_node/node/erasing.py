"""Erasing payloads: one's own on demand, and others' when their owners asked for it.

An erasure is an event of the account that wrote the erased one. It takes the bytes and the salts
away wherever it is honoured; events, receipts and credits stay as they are. Of a receipt both its
evidence and its outputs go. A payload that was erased here is not taken in again. An event that
names another account's payload has nothing erased by it (claims.py).
"""

from __future__ import annotations

from openledger_node.credit import views
from openledger_node.ledger.errors import BadInput, Refused
from openledger_node.ledger.kinds import DataErase, UseReceipt
from openledger_node.node.claims import backing
from openledger_node.node.core import NodeCore
from openledger_node.node.data import DOCUMENT_FACT
from openledger_node.node.finality import judged_append
from openledger_node.node.lookup import find_id
from openledger_node.node.pending import pending_view
from openledger_node.node.reading import Located, body_of, events_of, find_event, must_find
from openledger_node.node.results import Recorded
from openledger_node.store.snapshot import Snapshot


def erase(core: NodeCore, text: str, reason: str = "") -> Recorded:
    """Erases the payload of an own event here, and asks every node to."""
    with core.store.read() as snapshot:
        found = must_find(snapshot, find_id(snapshot, text))
    if found.log.genesis.account_id != core.account_id:
        raise Refused(
            f"{text} is the event of another account, which alone can have it erased",
            hint="ask its owner; `oln show` names the account",
            code="OWN",
        )
    done = judged_append(core, "data.erase", DataErase(found.event_id, reason))
    with core.store.read() as snapshot:
        commits = [
            commit
            for commit in commits_of(found)
            if backing(snapshot, core.account_id, commit) != "unbacked"
        ]
    _forget(core, found, commits)
    return done


def honour_erasures(core: NodeCore) -> int:
    """Erases what is held here and was erased by its owner, pending or final; how many events."""
    with core.store.read() as snapshot:
        asked = [
            (erasure, *held)
            for erasure in events_of(snapshot, "data.erase")
            if (held := _held_target(snapshot, erasure)) is not None
        ]
        if not asked:
            return 0
        state = pending_view(core, snapshot).state
        honoured = {}
        for erasure, target, commits in asked:
            chain = views.chain(state, erasure.log.genesis.account_id)
            enrolled = chain is not None and erasure.log.genesis.device in chain.devices
            if enrolled and views.void_reason(state, erasure.event_id) is None:
                honoured[target.event_id] = target, commits
    for target, commits in honoured.values():
        _forget(core, target, commits)
    return len(honoured)


def _held_target(snapshot: Snapshot, erasure: Located) -> tuple[Located, list[bytes]] | None:
    """What an erasure names, with its payloads held here, when all is of the same account."""
    try:
        target = find_event(snapshot, body_of(erasure).target)
    except BadInput:
        return None
    account = erasure.log.genesis.account_id
    if target is None or target.log.genesis.account_id != account:
        return None
    held = [c for c in commits_of(target) if snapshot.payload_account(c) == account]
    return (target, held) if held else None


def commits_of(found: Located) -> list[bytes]:
    """The commitments of everything that is kept beside an event."""
    commits = [found.event.payload_commit] if found.event.payload_commit else []
    if found.event.kind != "use.receipt":
        return commits
    try:
        body = body_of(found)
    except BadInput:
        return commits
    return [*commits, body.output_root] if isinstance(body, UseReceipt) else commits


def _forget(core: NodeCore, found: Located, commits: list[bytes]) -> None:
    for commit in commits:
        core.store.erase_payload(commit)
    core.store.drop_facts(DOCUMENT_FACT, found.event_id)
    core.scopes.clear()
