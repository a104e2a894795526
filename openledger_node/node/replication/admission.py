"""Whose logs are stored here: limits on what strangers may leave behind.

Sync keeps every log that verifies, and anybody can make an account, or a log that says it is of
somebody's account. So limits go by owner, the account together with the device key that signs: only
that key's holder can use up its room. Owners that the final state does not know may put little into
the store; each owner may have so many logs. What a final cut names is stored in any case: without
it this node could not follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal

from openledger_node.ledger.events import LogGenesis
from openledger_node.ledger.heads import SignedHead

Policy = Literal["open", "vouched", "listed"]

MAX_LOGS_AN_OWNER: Final = 4_096
VOUCHED_BYTES: Final = 64 * 1024
"""Under `vouched`, enough for an unknown account to introduce itself."""

Owner = tuple[bytes, bytes]
"""(account, device)."""


def owner_of(genesis: LogGenesis) -> Owner:
    return genesis.account_id, genesis.device


class Admission:
    """Judges logs by their owner. `known(owner)`: the device is enrolled, by the final state."""

    def __init__(
        self,
        policy: Policy,
        *,
        listed: Iterable[bytes],
        unknown_bytes: int,
        known: Callable[[Owner], bool],
        held: Iterable[LogGenesis],
    ) -> None:
        self._policy = policy
        self._listed = frozenset(listed)
        self._limit_bytes = unknown_bytes if policy == "open" else VOUCHED_BYTES
        self._known = known
        self._logs: dict[Owner, set[bytes]] = {}
        self._spent_bytes: dict[Owner, int] = {}
        self._named: set[bytes] = set()
        for genesis in held:
            self._logs.setdefault(owner_of(genesis), set()).add(genesis.log_id)

    def named_by_cut(self, log_ids: Iterable[bytes]) -> None:
        """These logs are stored whatever the policy."""
        self._named.update(log_ids)

    def refusal(self, genesis: LogGenesis, head: SignedHead) -> str | None:
        """Why this log is not taken in, or None."""
        owner = owner_of(genesis)
        if head.log_id in self._named:
            return None
        if self._policy == "listed" and genesis.account_id not in self._listed:
            return "its account is not listed here"
        logs = self._logs.setdefault(owner, set())
        if head.log_id not in logs and len(logs) >= MAX_LOGS_AN_OWNER:
            return f"its device has {MAX_LOGS_AN_OWNER:,} logs here already"
        if self._over(owner):
            return "its device is not known to the ledger yet and has used its room here"
        logs.add(head.log_id)
        return None

    def spend(self, genesis: LogGenesis, size_bytes: int) -> bool:
        """Counts bytes that came for an owner; False when it is past its room."""
        owner = owner_of(genesis)
        if self._known(owner) or genesis.log_id in self._named:
            return True
        self._spent_bytes[owner] = self._spent_bytes.get(owner, 0) + size_bytes
        return not self._over(owner)

    def _over(self, owner: Owner) -> bool:
        if owner not in self._spent_bytes:
            return False
        if self._known(owner):
            del self._spent_bytes[owner]
            return False
        return self._spent_bytes[owner] > self._limit_bytes
