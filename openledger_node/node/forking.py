"""What a node does about forks: file the proof as an event, and leave an own log that forked.

A fork closes a log when its `log.fork` is final. Whoever finds one files it; the seat of a ledger
with one witness also files what it only heard of, since its cut decides.
"""

from __future__ import annotations

from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.forks import ForkEvidence
from openledger_node.node.core import NodeCore
from openledger_node.node.reading import Located, body_of, events_of


def is_filed(core: NodeCore, log_id: bytes) -> bool:
    """Whether some log held here has a `log.fork` of this log."""
    with core.store.read() as snapshot:
        return any(_is_of(found, log_id) for found in events_of(snapshot, "log.fork"))


def _is_of(found: Located, log_id: bytes) -> bool:
    try:
        proof: ForkEvidence = body_of(found)
    except BadInput:
        return False
    return proof.head_a.log_id == log_id


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
