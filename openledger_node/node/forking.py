"""What a node does about forks: file the proof as an event, and leave an own log that forked.

A fork closes a log when its `log.fork` is final. Whoever finds one files it; the seat of a ledger
with one witness also files what it only heard of, since its cut decides.
"""

from __future__ import annotations

from collections.abc import Mapping

from openledger_node.credit import views
from openledger_node.ledger.errors import BadInput, VerificationFailed
from openledger_node.ledger.forks import ForkEvidence, verify_fork
from openledger_node.node.core import NodeCore
from openledger_node.node.reading import Located, body_of, events_of
from openledger_node.node.sharing import is_enrolled
from openledger_node.store.snapshot import Snapshot


def is_filed(core: NodeCore, log_id: bytes) -> bool:
    """Whether some log held here has a `log.fork` of this log that closes it, or has closed it.

    One with false evidence does not, nor one that no fold will read: whoever forked its log could
    file it to keep others from doing so.
    """
    with core.store.read() as snapshot:
        record = views.log_record(snapshot.state, log_id)
        if record is not None and record.closed_at is not None:
            return True
        forked = {proof.head_a.log_id: proof.common for proof in snapshot.forks()}
        return any(
            _is_of(found, log_id) and _will_be_read(snapshot, found, forked)
            for found in events_of(snapshot, "log.fork")
        )


def _is_of(found: Located, log_id: bytes) -> bool:
    try:
        proof: ForkEvidence = body_of(found)
        return proof.head_a.log_id == log_id and verify_fork(proof).log_id == log_id
    except (BadInput, VerificationFailed):
        return False


def _will_be_read(snapshot: Snapshot, found: Located, forked: Mapping[bytes, int]) -> bool:
    owner = found.log.genesis
    record = views.log_record(snapshot.state, owner.log_id)
    closed_at = record.closed_at if record is not None else None
    is_open = closed_at is None or found.seq < closed_at
    is_whole = found.seq < forked.get(owner.log_id, found.seq + 1)
    return is_open and is_whole and is_enrolled(snapshot, owner.account_id, owner.device)


def file_fork(core: NodeCore, proof: ForkEvidence, here: bool) -> bool:
    """Appends `log.fork` for a proof found here, unless it is filed; whether it did."""
    log_id = proof.head_a.log_id
    with core.store.read() as snapshot:
        own = snapshot.current_log
        decides = core.is_solo_seat(snapshot)
    if own == log_id:
        core.leave_log()
    if not (here or decides) or is_filed(core, log_id):
        return False
    core.append_one("log.fork", proof)
    return True


def leave_if_current(core: NodeCore, log_id: bytes) -> bool:
    """Goes on in a new log when this one, which has grown elsewhere, is the current one."""
    with core.store.read() as snapshot:
        if snapshot.current_log != log_id:
            return False
    core.leave_log()
    return True
