"""Whose logs are stored here: limits on what strangers may leave behind.

Sync keeps every log that verifies, and anybody can make an account, or a log that says it is of
somebody's account. So limits go by owner, the account together with the device key that signs: only
that key's holder can use up its room, and only with what verified, for what it costs is counted
when it is stored. Keys cost nothing, so strangers, the owners that the final state does not know,
share a room that is limited as a whole. What a final cut names is stored in any case: without it
this node could not follow.

A seat votes only when it holds what other seats' frontiers name. Strangers who fill every seat's
room with other logs would stop all epochs, so a seat takes in what a frontier names as well: up to
a room for each seat, in which a lying one has no more than that to fill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal

from openledger_node.ledger.events import LogGenesis
from openledger_node.ledger.heads import SignedHead

Policy = Literal["open", "vouched", "listed"]

MAX_LOGS_AN_OWNER: Final = 4_096
VOUCHED_BYTES: Final = 64 * 1024
"""Under `vouched`, enough for an unknown account to introduce itself."""
STRANGERS_ROOMS: Final = 16
"""What all strangers together may put here since the node began, in rooms of one."""
MAX_STRANGERS_LOGS: Final = 65_536
"""Of all strangers together: 16 of them with as many as an owner may have."""
LEAST_EVENT_BYTES: Final = 8
"""An array of seven: a log of so many events is no shorter, whatever its spine says."""
MAX_STRANGERS_FORKS: Final = 1_024
"""Fork proofs of logs of strangers that are not held here: a quarter of what a link carries."""

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
        self._strangers: dict[Owner, int] = {}
        """Owners with logs here that the final state did not know, and the bytes they spent."""
        self._strangers_bytes = 0
        self._strangers_logs = 0
        self._strangers_forks = 0
        self._knows_more = True
        """The final state may know some of `_strangers` by now."""
        self._named: set[bytes] = set()
        self._reported: dict[bytes, list[int]] = {}
        """Logs that frontiers name and that are not held so far, with the seats whose they are."""
        self._rooms: dict[int, dict[LogGenesis, int]] = {}
        """By seat, what was stored because its frontiers name it."""
        self._room_bytes = STRANGERS_ROOMS * unknown_bytes
        for genesis in held:
            self._count_log(genesis, False)

    def named_by_cut(self, log_ids: Iterable[bytes]) -> set[bytes]:
        """These logs are stored whatever the policy; and the final state is another one now. Those
        of them that are named anew.
        """
        fresh = set(log_ids) - self._named
        self._named |= fresh
        self._knows_more = True
        return fresh

    def named_by_frontiers(self, by_seat: Mapping[int, Iterable[bytes]]) -> set[bytes]:
        """These logs the seats' frontiers name now. Those of them that are named anew."""
        named: dict[bytes, list[int]] = {}
        for seat, log_ids in sorted(by_seat.items()):
            for log_id in log_ids:
                named.setdefault(log_id, []).append(seat)
        fresh = named.keys() - self._reported.keys()
        self._reported = named
        return fresh

    def _room_for(self, log_id: bytes) -> dict[LogGenesis, int] | None:
        """The room of a seat that names this log, if there is any left in one."""
        for seat in self._reported.get(log_id, ()):
            room = self._rooms.setdefault(seat, {})
            if sum(room.values()) > self._room_bytes:
                for genesis in [genesis for genesis in room if self._known(owner_of(genesis))]:
                    del room[genesis]
            if sum(room.values()) <= self._room_bytes:
                return room
        return None

    def refusal(self, genesis: LogGenesis, head: SignedHead, first: int = 0) -> str | None:
        """Why this log is not taken in from `first` on, or None.

        Counts nothing: the head may be false.
        """
        owner = owner_of(genesis)
        if head.log_id in self._named or self._room_for(head.log_id) is not None:
            return None
        if self._policy == "listed" and genesis.account_id not in self._listed:
            return "its account is not listed here"
        logs = self._logs.get(owner, set())
        if head.log_id not in logs and len(logs) >= MAX_LOGS_AN_OWNER:
            return f"its device has {MAX_LOGS_AN_OWNER:,} logs here already"
        if self._known(owner):
            return None
        left_bytes = self._limit_bytes - self._strangers.get(owner, 0)
        if left_bytes < 0:
            return "its device is not known to the ledger yet and has used its room here"
        if (head.size - first) * LEAST_EVENT_BYTES > left_bytes:
            return "its device is not known to the ledger yet and it is longer than its room here"
        if self._strangers_are_over(head.log_id in logs):
            return "devices not known to the ledger yet have used the room they share here"
        return None

    def stored(self, genesis: LogGenesis, size_bytes: int) -> bool:
        """Counts bytes of a log that were stored; False when its owner is past its room now."""
        owner = owner_of(genesis)
        is_known = self._known(owner)
        self._count_log(genesis, is_known)
        if is_known or genesis.log_id in self._named:
            return True
        room = self._room_for(genesis.log_id)
        if room is not None:
            room[genesis] = room.get(genesis, 0) + size_bytes
            return sum(room.values()) <= self._room_bytes
        self._strangers[owner] += size_bytes
        self._strangers_bytes += size_bytes
        return self._strangers[owner] <= self._limit_bytes

    def gave_back(self, genesis: LogGenesis, size_bytes: int) -> None:
        """What was counted was found to be false: it was not its owner who sent it."""
        owner = owner_of(genesis)
        size_bytes = min(size_bytes, self._strangers.get(owner, 0))
        if size_bytes:
            self._strangers[owner] -= size_bytes
            self._strangers_bytes -= size_bytes

    def takes_fork(self, genesis: LogGenesis, *, held: bool, ahead: int = 0) -> bool:
        """Whether a proof that this log is forked is kept; `held`: the log is here.

        `ahead`: so many proofs of logs that are not here are about to be kept.
        """
        has_room = self._strangers_forks + ahead < MAX_STRANGERS_FORKS
        return has_room or not self._is_strange(genesis, held)

    def kept_fork(self, genesis: LogGenesis, *, held: bool) -> None:
        """Counts a proof that was kept."""
        self._strangers_forks += self._is_strange(genesis, held)

    def _is_strange(self, genesis: LogGenesis, held: bool) -> bool:
        return not (held or genesis.log_id in self._named or self._known(owner_of(genesis)))

    def _count_log(self, genesis: LogGenesis, is_known: bool) -> None:
        owner = owner_of(genesis)
        logs = self._logs.setdefault(owner, set())
        if not is_known and owner not in self._strangers:
            self._strangers[owner] = 0
            self._strangers_logs += len(logs)
        if genesis.log_id not in logs:
            logs.add(genesis.log_id)
            self._strangers_logs += owner in self._strangers

    def _strangers_are_over(self, is_held: bool) -> bool:
        """Whether strangers may put no more here."""
        if self._knows_more and self._past_limits(is_held):
            self._knows_more = False
            for owner in [owner for owner in self._strangers if self._known(owner)]:
                self._strangers_bytes -= self._strangers.pop(owner)
                self._strangers_logs -= len(self._logs[owner])
        return self._past_limits(is_held)

    def _past_limits(self, is_held: bool) -> bool:
        return self._strangers_bytes > STRANGERS_ROOMS * self._limit_bytes or (
            not is_held and self._strangers_logs >= MAX_STRANGERS_LOGS
        )
