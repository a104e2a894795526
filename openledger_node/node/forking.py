"""What a node does about forks: file the proof as an event, and leave an own log that forked.

A fork closes a log when its `log.fork` is final. Whoever finds one files it; the seat of a ledger
with one witness also files what it only heard of, since its cut decides.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from openledger_node.credit import views
from openledger_node.ledger.errors import BadInput, VerificationFailed
from openledger_node.ledger.forks import ForkEvidence, verify_fork
from openledger_node.node.core import NodeCore
from openledger_node.node.reading import Located, body_of, events_of
from openledger_node.node.sharing import is_enrolled
from openledger_node.store.snapshot import Snapshot

FILED_AT_ONCE: Final = 64
"""Proofs appended in one transaction: 1 MiB of the largest."""


def filed_of(snapshot: Snapshot, log_ids: Collection[bytes]) -> set[bytes]:
    """Those of some logs that are closed, or of which a log held here has a `log.fork` that will
    close them. All leaves are read once, however many logs are asked for.

    One with false evidence does not, nor one that no fold will read: whoever forked its log could
    file it to keep others from doing so.
    """
    filed = {log_id for log_id in log_ids if _closed_at(snapshot, log_id) is not None}
    if len(filed) < len(log_ids):
        forked = {proof.head_a.log_id: proof.common for proof in snapshot.forks()}
        for found in events_of(snapshot, "log.fork"):
            log_id = _forked(found, log_ids)
            if log_id and log_id not in filed and _will_be_read(snapshot, found, forked):
                filed.add(log_id)
    return filed


def _forked(found: Located, log_ids: Collection[bytes]) -> bytes | None:
    """The log of these that an event proves to be forked."""
    try:
        proof: ForkEvidence = body_of(found)
        return verify_fork(proof).log_id if proof.head_a.log_id in log_ids else None
    except (BadInput, VerificationFailed):
        return None


def _closed_at(snapshot: Snapshot, log_id: bytes) -> int | None:
    record = views.log_record(snapshot.state, log_id)
    return record.closed_at if record is not None else None


def _will_be_read(snapshot: Snapshot, found: Located, forked: Mapping[bytes, int]) -> bool:
    owner = found.log.genesis
    closed_at = _closed_at(snapshot, owner.log_id)
    is_open = closed_at is None or found.seq < closed_at
    is_whole = found.seq < forked.get(owner.log_id, found.seq + 1)
    # What this home has filed is not filed again while its account is new.
    will_count = found.log.own or is_enrolled(snapshot, owner.account_id, owner.device)
    return is_open and is_whole and will_count


def file_forks(core: NodeCore, found: Sequence[tuple[ForkEvidence, bool]]) -> int:
    """Appends `log.fork` for proofs, those found here and those only heard of; how many.

    None is filed of a log that is closed, or will be (`filed_of`).
    """
    logs = {proof.head_a.log_id for proof, _ in found}
    with core.store.read() as snapshot:
        own = snapshot.current_log
        decides = core.is_solo_seat(snapshot)
        fresh = {proof.head_a.log_id: proof for proof, here in found if here or decides}
        for log_id in filed_of(snapshot, fresh):
            del fresh[log_id]
    if own in logs:
        core.leave_log()
    proofs = list(fresh.values())
    for at in range(0, len(proofs), FILED_AT_ONCE):
        some = proofs[at : at + FILED_AT_ONCE]
        core.append([core.draft("log.fork", proof) for proof in some])
    return len(proofs)


def file_fork(core: NodeCore, proof: ForkEvidence, here: bool) -> bool:
    """As `file_forks`, for one."""
    return bool(file_forks(core, [(proof, here)]))


def leave_if_current(core: NodeCore, log_id: bytes) -> bool:
    """Goes on in a new log when this one, which has grown elsewhere, is the current one."""
    with core.store.read() as snapshot:
        if snapshot.current_log != log_id:
            return False
    core.leave_log()
    return True
