"""Whose word counts for a payload when events of several accounts name its commitment.

A commitment stands in the open in every log, so anybody can name somebody else's in an event of its
own, and then ask for its erasure or share it with all. An event speaks for a payload only when no
event of another account names it in the same epoch or an earlier one (pending events come last);
and for what an own event names, the own account speaks alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.kinds import UseReceipt
from openledger_node.node.reading import Located, body_of, well_formed
from openledger_node.store.snapshot import Snapshot

CHUNK_LEAVES: Final = 4_096
_PENDING: Final = 2**63


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


def speaking(
    snapshot: Snapshot, own_account: bytes, events: Iterable[Located]
) -> list[tuple[Located, bytes]]:
    """[(event, commitment)] of those of `events` whose account speaks for what they name.

    Costs a pass over all leaves, if there are any.
    """
    asked = [(found, commit) for found in events for commit in commits_of(found)]
    claims = _claims(snapshot, {commit for _, commit in asked}) if asked else {}
    kept = []
    for found, commit in asked:
        account = found.log.genesis.account_id
        by_account = claims[commit]
        if own_account in by_account:
            stands = account == own_account
        else:
            mine = by_account[account]
            stands = all(mine < epoch for other, epoch in by_account.items() if other != account)
        if stands:
            kept.append((found, commit))
    return kept


def _claims(snapshot: Snapshot, wanted: set[bytes]) -> dict[bytes, dict[bytes, int]]:
    """{commitment: {account: the first epoch in which an event of it names the commitment}}."""
    claims: dict[bytes, dict[bytes, int]] = {commit: {} for commit in wanted}
    for log in snapshot.logs():
        account = log.genesis.account_id
        for first in range(0, log.size, CHUNK_LEAVES):
            leaves = snapshot.leaves(log.log_id, first, min(first + CHUNK_LEAVES, log.size))
            for seq, leaf in enumerate(leaves, first):
                event = well_formed(leaf)
                if event is None or not (event.payload_commit or event.kind == "use.receipt"):
                    continue
                for commit in wanted.intersection(commits_of(Located(log, seq, b"", event))):
                    epoch = snapshot.epoch_of(log.log_id, seq)
                    named = claims[commit]
                    at = _PENDING if epoch is None else epoch
                    named[account] = min(at, named.get(account, at))
    return claims
