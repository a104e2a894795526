"""Whose logs are stored here: limits on what strangers may leave behind.

Sync keeps every log that verifies, and anybody can make an account. So a node limits what accounts
that the final state does not know may put into its store, and how many logs one account may have.
What a final cut names is stored in any case: without it this node could not follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal

from openledger_node.ledger.events import LogGenesis
from openledger_node.ledger.heads import SignedHead

Policy = Literal["open", "vouched", "listed"]

MAX_LOGS_AN_ACCOUNT: Final = 4_096
VOUCHED_BYTES: Final = 64 * 1024
"""Under `vouched`, enough for an unknown account to introduce itself."""


class Admission:
    """Judges logs by their account. `known(account)`: the final state has it."""

    def __init__(
        self,
        policy: Policy,
        *,
        listed: Iterable[bytes],
        unknown_bytes: int,
        known: Callable[[bytes], bool],
        held: Iterable[tuple[bytes, bytes]],
    ) -> None:
        self._policy = policy
        self._listed = frozenset(listed)
        self._limit_bytes = unknown_bytes if policy == "open" else VOUCHED_BYTES
        self._known = known
        self._logs: dict[bytes, set[bytes]] = {}
        self._spent_bytes: dict[bytes, int] = {}
        self._named: set[bytes] = set()
        for account, log_id in held:
            self._logs.setdefault(account, set()).add(log_id)

    def named_by_cut(self, log_ids: Iterable[bytes]) -> None:
        """These logs are stored whatever the policy."""
        self._named.update(log_ids)

    def refusal(self, genesis: LogGenesis, head: SignedHead) -> str | None:
        """Why this log is not taken in, or None."""
        account = genesis.account_id
        if head.log_id in self._named:
            return None
        if self._policy == "listed" and account not in self._listed:
            return "its account is not listed here"
        logs = self._logs.setdefault(account, set())
        if head.log_id not in logs and len(logs) >= MAX_LOGS_AN_ACCOUNT:
            return f"its account has {MAX_LOGS_AN_ACCOUNT:,} logs here already"
        if self._over(account):
            return "its account is not known to the ledger yet and has used its room here"
        logs.add(head.log_id)
        return None

    def spend(self, account: bytes, log_id: bytes, size_bytes: int) -> bool:
        """Counts bytes that came for an account; False when it is past its room."""
        if log_id in self._named or self._known(account):
            return True
        self._spent_bytes[account] = self._spent_bytes.get(account, 0) + size_bytes
        return not self._over(account)

    def _over(self, account: bytes) -> bool:
        if account not in self._spent_bytes:
            return False
        if self._known(account):
            del self._spent_bytes[account]
            return False
        return self._spent_bytes[account] > self._limit_bytes
