"""Whose a payload is: a commitment in an event counts only with the account it is bound to.

A commitment stands in the open in every log, so anybody can name somebody else's in an event of its
own. It is bound to an account (P3), which the container names: an event of any other account is
unbacked. Nothing is attributed to it, served or shared for it, proved or erased by it.

Events of one account may name one commitment several times; each of them is backed, and each can
share or erase the one payload that they have.
"""

from __future__ import annotations

from typing import Literal

from openledger_node.ledger.payload import container_account
from openledger_node.store.snapshot import Snapshot

Backing = Literal["held", "erased", "absent", "unbacked"]


def backing(snapshot: Snapshot, account: bytes, commit: bytes) -> Backing:
    """What is here of the payload that an account's event names.

    `unbacked` when another account's is here under this commitment. Reads no more than its head.
    """
    if snapshot.is_erased(commit):
        return "erased"
    if not snapshot.has_payload(commit):
        return "absent"
    bound_to = snapshot.payload_account(commit)
    return "held" if bound_to in (account, None) else "unbacked"


def own_payload(snapshot: Snapshot, account: bytes, commit: bytes | None) -> bytes | None:
    """The payload that an account's event names; None when it is not held or is unbacked.

    StoreDamaged when the bytes are not those that were kept.
    """
    data = snapshot.payload(commit) if commit is not None else None
    return data if data is not None and container_account(data) == account else None
