"""Erasing payloads: one's own on demand, and others' when their owners asked for it.

An erasure is an event of the account that wrote the erased one. It takes the bytes and the salts
away wherever it is honoured; events, receipts and credits stay as they are. Of a receipt both its
evidence and its outputs go. A payload that was erased here is not taken in again. An event that
names another account's payload has nothing erased by it (claims.py).

With a contribution go its branches of all evidence held here, since they carry its text (P6), and
its part of the index; the other branches stay provable. What outputs quote of it stays: outputs are
their providers' own.
"""

from __future__ import annotations

from typing import Final

from openledger_node.attribution.evidence import (
    decode_evidence,
    erased_branches,
    without_branches,
)
from openledger_node.credit import views
from openledger_node.ledger.errors import BadInput, Refused, StoreDamaged
from openledger_node.ledger.kinds import DataErase, UseReceipt
from openledger_node.node.claims import backing, own_payload
from openledger_node.node.core import NodeCore
from openledger_node.node.data import DOCUMENT_FACT
from openledger_node.node.finality import judged_append
from openledger_node.node.lookup import find_id
from openledger_node.node.pending import pending_view
from openledger_node.node.reading import (
    Located,
    body_of,
    events_of,
    find_event,
    must_find,
    was_read,
)
from openledger_node.node.results import Recorded
from openledger_node.store.snapshot import Snapshot
from openledger_node.store.store import Store

BRANCHES_FACT: Final = "branches-erased"
"""Local fact: the contribution's branches were taken out of all evidence held here."""
_CONTRIBUTE: Final = "data.contribute"


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
    if found.event.kind == _CONTRIBUTE:
        _forget_branches(core, [found.event_id])
        _forget_index(core)
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
            void = views.void_reason(state, erasure.event_id) is not None
            if was_read(state, erasure) and not void:
                honoured[target.event_id] = target, commits
    for target, commits in honoured.values():
        _forget(core, target, commits)
    erased = [t.event_id for t, _ in honoured.values() if t.event.kind == _CONTRIBUTE]
    _forget_branches(core, erased)
    if erased:
        _forget_index(core)
    return len(honoured)


def _held_target(snapshot: Snapshot, erasure: Located) -> tuple[Located, list[bytes]] | None:
    """What an erasure names, with its payloads held here, when all is of the same account.

    None when there is nothing left to do for it.
    """
    try:
        target = find_event(snapshot, body_of(erasure).target)
    except BadInput:
        return None
    account = erasure.log.genesis.account_id
    if target is None or target.log.genesis.account_id != account:
        return None
    held = [c for c in commits_of(target) if snapshot.payload_account(c) == account]
    branches = target.event.kind == _CONTRIBUTE and not snapshot.fact(
        BRANCHES_FACT, target.event_id
    )
    return (target, held) if held or branches else None


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


def _forget_index(core: NodeCore) -> None:
    """Takes erased text out of the index's files, where this home has an index."""
    if not (core.home / "index").is_dir():
        return
    from openledger_node.node import indexing  # loads numpy: only where there is an index

    indexing.take_out_erased(core)


def _forget_branches(core: NodeCore, gone: list[bytes]) -> None:
    """Takes the branches of erased contributions out of all evidence held here."""
    if not gone:
        return
    with core.store.read() as snapshot:
        receipts = [
            (receipt.log.genesis.account_id, receipt.event.payload_commit)
            for receipt in events_of(snapshot, "use.receipt")
        ]
    for account, commit in receipts:
        with core.store.read() as snapshot:
            left = _without(snapshot, account, commit, gone)
        if commit is not None and left is not None:
            core.store.replace_payload(commit, left)
    core.store.set_facts(BRANCHES_FACT, [(named, b"1") for named in gone])


def _without(
    snapshot: Snapshot, account: bytes, commit: bytes | None, gone: list[bytes]
) -> bytes | None:
    """What is left of some evidence; None when it stays as it is, or is not held here."""
    try:
        data = own_payload(snapshot, account, commit)
        if data is None or not any(named in data for named in gone):
            return None
        return without_branches(data, gone)
    except (BadInput, StoreDamaged):
        return None  # `oln check` names what is damaged; what is no evidence has no branches


def keep_payload(store: Store, commit: bytes, data: bytes) -> None:
    """Keeps a payload that came in: without the branches of contributions that were erased before.

    What is held less whole than it comes, or damaged, is replaced. The caller has checked the
    commitment.
    """
    with store.read() as snapshot:
        data = _cleaned(snapshot, data)
        try:
            held = snapshot.payload(commit)
        except StoreDamaged:
            held, worse = b"", True
        else:
            worse = held is not None and erased_branches(data) < erased_branches(held)
    if held is None:
        store.put_payload(commit, data)
    elif worse:
        store.replace_payload(commit, data)


def _cleaned(snapshot: Snapshot, data: bytes) -> bytes:
    """Evidence without the branches of erased contributions; any other payload as it is."""
    try:
        named = [branch.contribution_id for branch in decode_evidence(data)]
    except BadInput:
        return data
    gone = [
        contribution_id
        for contribution_id in named
        if (view := views.contribution(snapshot.state, contribution_id)) is not None and view.erased
    ]
    return without_branches(data, gone) or data


def _forget(core: NodeCore, found: Located, commits: list[bytes]) -> None:
    for commit in commits:
        core.store.erase_payload(commit)
    core.store.drop_facts(DOCUMENT_FACT, found.event_id)
    core.scopes.clear()
