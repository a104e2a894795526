"""What a node does about forks: file the proof as an event, and leave an own log that forked.

A fork closes a log when its `log.fork` is final. Whoever finds one files it; the seat of a ledger
with one witness also files what it only heard of, since its cut decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.forks import ForkEvidence
from openledger_node.node.core import NodeCore
from openledger_node.node.reading import Located, body_of, events_of

FILED_AT_ONCE: Final = 64
"""Proofs appended in one transaction: 1 MiB of the largest."""


def _forked(found: Located) -> bytes | None:
    """The log of which an event says that it is forked."""
    try:
        proof: ForkEvidence = body_of(found)
    except BadInput:
        return None
    return proof.head_a.log_id


def file_forks(core: NodeCore, found: Sequence[tuple[ForkEvidence, bool]]) -> int:
    """Appends `log.fork` for proofs, those found here and those only heard of; how many.

    Of a log that some `log.fork` held here is of, none is filed. All leaves are read once, however
    many proofs there are.
    """
    logs = {proof.head_a.log_id for proof, _ in found}
    with core.store.read() as snapshot:
        own = snapshot.current_log
        decides = core.is_solo_seat(snapshot)
        fresh = {proof.head_a.log_id: proof for proof, here in found if here or decides}
        if fresh:
            for event in events_of(snapshot, "log.fork"):
                fresh.pop(_forked(event) or b"", None)
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
