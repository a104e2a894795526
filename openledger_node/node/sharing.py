"""Which payloads go over the network: whom this node serves, and what it looks for.

A contribution's documents are served by its share policy as the *final* state has it, and not
before its epoch is final: nobody can register a copy first. A derivation's map, which holds no
text, is served to everybody once it is final. A receipt's evidence and outputs are served to its
payer and to the seats, of the evidence its own branches to whoever contributed or created what they
are about; a payer looks for those of its receipts while they are held, a seat for those that are
challenged. What an event of another account names is never served for it
(claims.py). The wish list follows the same rules from the other side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from openledger_node.attribution.evidence import (
    decode_evidence,
    erased_branches,
    without_branches,
)
from openledger_node.credit import views
from openledger_node.credit.view_types import ContributionView
from openledger_node.ledger.errors import BadInput, StoreDamaged
from openledger_node.ledger.events import Event, event_ids
from openledger_node.ledger.kinds import UseReceipt, parse_body
from openledger_node.node.audit_scopes import branches_erased, is_short
from openledger_node.node.claims import own_payload
from openledger_node.node.core import NodeCore
from openledger_node.node.erasing import commits_of
from openledger_node.node.reading import Located, body_of, find_event, well_formed
from openledger_node.node.replication.payloads import Sought
from openledger_node.store.snapshot import Snapshot
from openledger_node.store.view_logs import LogInfo

STRANGER: Final = b""
"""In place of the account of a peer whose device is not enrolled in it."""
MAX_SOUGHT: Final = 10_000
"""Payloads looked for at a time; the rest follow when these have come."""
MAX_EVIDENCE_SOUGHT: Final = 1_000
"""Receipts whose evidence a payer looks for at a time."""
_GRANT: Final = "money.grant"
_RECEIPT: Final = "use.receipt"
_OWN: Final = (_GRANT.encode(),)
_WITH_PAYLOADS: Final = (b"data.contribute", b"data.derivation")
_WITH_RECEIPTS: Final = (*_WITH_PAYLOADS, _RECEIPT.encode())
_KIND_WINDOW_BYTES: Final = 40
_READ_LEAVES: Final = 4_096


def may_have(contribution: ContributionView | None, account: bytes) -> bool:
    """Whether an account may be given a contribution's documents, by the final state."""
    if contribution is None or contribution.erased:
        return False
    share = contribution.share
    return (
        share == "all"
        or account == contribution.account
        or (isinstance(share, tuple) and account in share)
    )


def is_enrolled(snapshot: Snapshot, account: bytes, device: bytes) -> bool:
    """Whether a device speaks for an account, by the final state."""
    chain = views.chain(snapshot.state, account)
    return chain is not None and device in chain.devices and chain.devices[device] is None


def payload_for(
    snapshot: Snapshot, account: bytes, device: bytes, event_id: bytes, commit: bytes
) -> bytes | None:
    """The payload of an event, when the peer may have it and it is held here whole."""
    known = account if is_enrolled(snapshot, account, device) else STRANGER
    found = find_event(snapshot, event_id)
    if found is None or commit not in commits_of(found):
        return None
    try:
        if _may_be_served(snapshot, known, event_id):
            return own_payload(snapshot, found.log.genesis.account_id, commit)
        return _own_branches(snapshot, known, found, commit)
    except StoreDamaged:
        return None  # `oln check` names the damage; another peer can supply it


def _own_branches(
    snapshot: Snapshot, account: bytes, found: Located, commit: bytes
) -> bytes | None:
    """The evidence of a final receipt with the branches of an account's own work alone (P6)."""
    state = snapshot.state
    if commit != found.event.payload_commit or views.receipt(state, found.event_id) is None:
        return None
    data = own_payload(snapshot, found.log.genesis.account_id, commit)
    try:
        named = [b.contribution_id for b in decode_evidence(data)] if data is not None else []
    except BadInput:
        return None
    others = [key for key in named if not _is_work_of(views.contribution(state, key), account)]
    if data is None or len(others) == len(named):
        return None
    return without_branches(data, others) or data


def _is_work_of(contribution: ContributionView | None, account: bytes) -> bool:
    if contribution is None:
        return False
    return account == contribution.account or any(
        creator == account for creator, _ in contribution.creators
    )


def _may_be_served(snapshot: Snapshot, account: bytes, event_id: bytes) -> bool:
    state = snapshot.state
    receipt = views.receipt(state, event_id)
    if receipt is not None:
        seats = {seat for seat, _ in views.rules(state).seats}
        return account in (receipt.payer, receipt.provider) or account in seats
    if views.derivation(state, event_id) is not None:
        return True
    return may_have(views.contribution(state, event_id), account)


def _is_short(snapshot: Snapshot, body: UseReceipt, account: bytes, commit: bytes) -> bool:
    """Whether somebody may hold more of the evidence than is held here."""
    try:
        data = own_payload(snapshot, account, commit)
        return data is not None and is_short(
            snapshot, body, decode_evidence(data), erased_branches(data)
        )
    except (BadInput, StoreDamaged):
        return False  # what is no evidence is none for anybody; `oln check` names damage


@dataclass(frozen=True, slots=True)
class _Candidate:
    account: bytes
    commit: bytes
    size_bytes: int


class WishList:
    """The payloads that this home may have and does not hold.

    Every leaf is looked at once: what payloads there may be is remembered while the daemon runs.
    """

    def __init__(self, core: NodeCore) -> None:
        self._core = core
        self._seen: dict[bytes, int] = {}
        self._candidates: dict[bytes, _Candidate] = {}
        self._grants: set[bytes] = set()
        """Own grants; they are written before any receipt can name them."""
        self._receipts: set[bytes] = set()
        """Receipts on own grants whose evidence was not here when last looked for."""

    def look(self) -> list[Sought]:
        """What to look for now."""
        if self._core.config.sync_payloads == "none":
            return []
        with self._core.store.read() as snapshot:
            own = self._core.account_id
            for log in sorted(snapshot.logs(), key=lambda log: log.genesis.account_id != own):
                self._read(snapshot, log)
            return [*self._evidence(snapshot), *self._wanted(snapshot)]

    def _read(self, snapshot: Snapshot, log: LogInfo) -> None:
        size = log.head.size if log.head is not None else 0
        start = self._seen.get(log.log_id, 0)
        self._seen[log.log_id] = size
        own = log.genesis.account_id == self._core.account_id
        wanted = _OWN if own else _WITH_PAYLOADS if not self._grants else _WITH_RECEIPTS
        for first in range(start, size, _READ_LEAVES):
            leaves = snapshot.leaves(log.log_id, first, min(first + _READ_LEAVES, size))
            for seq, leaf in enumerate(leaves, first):
                if any(kind in leaf[:_KIND_WINDOW_BYTES] for kind in wanted):
                    self._note(log, seq, leaf)

    def _note(self, log: LogInfo, seq: int, leaf: bytes) -> None:
        event = well_formed(leaf)
        if event is not None and event.kind in (_GRANT, _RECEIPT):
            self._note_use(event_ids(log.log_id, seq, [leaf])[0], event)
            return
        limit = self._core.config.sync_payload_bytes
        if event is None or event.payload_commit is None or event.payload_len > limit:
            return
        event_id = event_ids(log.log_id, seq, [leaf])[0]
        self._candidates[event_id] = _Candidate(
            log.genesis.account_id, event.payload_commit, event.payload_len
        )

    def _note_use(self, event_id: bytes, event: Event) -> None:
        """An own grant, or a receipt that may be on one."""
        if event.kind == _GRANT:
            self._grants.add(event_id)
            return
        try:
            grant = parse_body(event).grant
        except BadInput:
            return
        if grant in self._grants:
            self._receipts.add(event_id)

    def _evidence(self, snapshot: Snapshot) -> Iterator[Sought]:
        """Of receipts that this account paid, while held; for a seat, of challenged ones."""
        state, account = snapshot.state, self._core.account_id
        if any(seat == account for seat, _ in views.rules(state).seats):
            for receipt in views.open_challenges(state):
                if receipt.receipt_id not in self._receipts:
                    yield from self._payloads_of(snapshot, receipt.receipt_id)
        sought = 0
        for receipt_id in sorted(self._receipts):
            paid = views.receipt(state, receipt_id)
            if paid is None:
                continue  # not final yet
            missing = list(self._payloads_of(snapshot, receipt_id))
            if paid.status != "held" or not missing:
                self._receipts.discard(receipt_id)
                continue
            yield from missing
            sought += 1
            if sought == MAX_EVIDENCE_SOUGHT:
                return

    def _payloads_of(self, snapshot: Snapshot, receipt_id: bytes) -> Iterator[Sought]:
        """The evidence and outputs of a receipt that are not held here."""
        found = find_event(snapshot, receipt_id)
        body = body_of(found) if found is not None else None
        if found is None or not isinstance(body, UseReceipt):
            return
        limit, account = self._core.config.sync_payload_bytes, found.log.genesis.account_id
        sizes = {body.output_root: limit}
        if found.event.payload_commit is not None and found.event.payload_len <= limit:
            sizes[found.event.payload_commit] = found.event.payload_len
        gone = branches_erased(snapshot, body)
        for commit, size_bytes in sizes.items():
            is_evidence = commit == found.event.payload_commit
            is_held = snapshot.has_payload(commit)
            if is_held and is_evidence and gone:
                is_held = not _is_short(snapshot, body, account, commit)
            if not is_held and not snapshot.is_erased(commit):
                yield Sought(receipt_id, account, commit, size_bytes, gone if is_evidence else 0)

    def _may_have(self, snapshot: Snapshot, event_id: bytes) -> bool:
        if views.derivation(snapshot.state, event_id) is not None:
            return True
        return may_have(views.contribution(snapshot.state, event_id), self._core.account_id)

    def _wanted(self, snapshot: Snapshot) -> Iterator[Sought]:
        """Of the candidates, those that the final state lets this account have."""
        found = 0
        for event_id, candidate in list(self._candidates.items()):
            commit = candidate.commit
            if snapshot.has_payload(commit) or snapshot.is_erased(commit):
                del self._candidates[event_id]
            elif self._may_have(snapshot, event_id):
                found += 1
                yield Sought(event_id, candidate.account, commit, candidate.size_bytes)
                if found == MAX_SOUGHT:
                    return
