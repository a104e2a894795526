"""A seat's part in an epoch that several witnesses decide (A1 to A8).

`Voter.step` says everything that the rules ask of this seat now, durable before it returns, and
gives the time until one of its timers may ask for more. It is called when something new is stored
and when such a time has passed; in between nothing is remembered but since when a view is under
way: all that the seat has said is read back from its logs, so after a crash it goes on from the
last event that it wrote.

- A home that was copied or restored may have said things that its disk forgot. Its seat votes again
  once this home has agreed with every other witness's node since: then it holds all that any of
  them could have seen (own events are durable before a byte of them leaves). Or once a cut holds
  the log that it opened since: the epochs after that one began later than anything forgotten.
- An epoch is due when `epoch_ms` has passed since the seat signed the last one's state, by its own
  clock, and something is pending or falls due (A1).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from openledger_node.agreement import machine
from openledger_node.agreement.certificates import SeatSet
from openledger_node.agreement.evidence import evidence_of
from openledger_node.agreement.machine import current_view, next_event
from openledger_node.agreement.rounds import Round
from openledger_node.credit import views
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.events import parse_event
from openledger_node.ledger.kinds import parse_body
from openledger_node.ledger.votes import WitnessState
from openledger_node.node.core import NodeCore
from openledger_node.node.epochs import is_due, say, sign_missing_states, unproved_epochs
from openledger_node.node.frontiers import held_by
from openledger_node.node.witness_logs import load_round, seat_set, seat_set_of
from openledger_node.store.lock import one_at_a_time
from openledger_node.store.snapshot import Snapshot

MAX_SAID_A_STEP: Final = 64
"""Events that one step says at most; a seat says five in a good epoch, two more a skipped view."""
MAX_DOUBLINGS: Final = 6
"""The timer of view v runs T0 * 2^min(v, 6) (A2)."""

_STATE: Final = b"witness.state"
_KIND_WINDOW_BYTES: Final = 32

Device = tuple[bytes, bytes]
"""(account, device key), as a seat is named."""


class Voter:
    """One home's seat. `agreeing` gives the devices whose nodes hold what this home holds."""

    def __init__(
        self,
        core: NodeCore,
        *,
        now_ms: Callable[[], int],
        agreeing: Callable[[], Collection[Device]] = tuple,
    ) -> None:
        self._core = core
        self._now_ms = now_ms
        self._agreeing = agreeing
        self._agreed: set[Device] = set()
        self.accused: set[tuple[int, int, str]] = set()
        """(epoch, seat, what) of the evidence in the last round that was looked at."""
        self._view: tuple[int, int] | None = None
        self._since_ms = 0

    def is_seated(self) -> bool:
        """Whether this device is one of several witnesses, or was in an epoch that is to be signed.

        Whose seat an epoch took away still signs that epoch's statement.
        """
        with self._core.store.read() as snapshot:
            epochs = {snapshot.last_epoch(), *unproved_epochs(snapshot)}
            sets = [seat_set(snapshot), *(seat_set_of(snapshot, epoch) for epoch in epochs)]
        if all(len(seats.seats) == 1 for seats in sets):
            return False
        return any(self._index(seats) is not None for seats in sets)

    def may_vote(self) -> bool:
        """Whether nothing that this seat may have said before is unknown here."""
        if not self._core.is_copy():
            return True
        with self._core.store.read() as snapshot:
            seats = set(seat_set(snapshot).seats)
            began_since = self._a_cut_holds_the_new_log(snapshot)
        self._agreed.update(self._agreeing())
        others = seats - {(self._core.account_id, self._core.device)}
        if not (began_since or others <= self._agreed):
            return False
        self._core.resume()
        return True

    def _a_cut_holds_the_new_log(self, snapshot: Snapshot) -> bool:
        """A copy's own log is the one that it opened when it found that it is one (invariant 5)."""
        own = snapshot.current_log
        opened = own is not None and self._core.store.is_original()
        return opened and snapshot.cut_mark(own or b"") is not None

    def step(self, *, closing: bool = False) -> int | None:
        """Says what the rules ask; milliseconds until a timer may ask for more, None without one.

        `closing`: somebody wants this epoch now, however short the last one lies back.
        """
        if not self.is_seated() or not self.may_vote():
            return None
        with one_at_a_time(self._core.home / "ledger", "epoch"):
            sign_missing_states(self._core)
            for _ in range(MAX_SAID_A_STEP):
                said, wait_ms = self._next(closing)
                if said is None:
                    return wait_ms
                say(self._core, said)
        return 0

    def _index(self, seats: SeatSet) -> int | None:
        return seats.index_of(self._core.account_id, self._core.device)

    def _next(self, closing: bool) -> tuple[machine.Said | None, int | None]:
        """The event to say now, or how long to wait."""
        core = self._core
        with core.store.read() as snapshot:
            epoch = snapshot.last_epoch() + 1
            round_ = load_round(core, snapshot, epoch)
            self.accused = {(epoch, one.seat, one.what) for one in evidence_of(round_)}
            if round_.decision(snapshot.cut_marks()) is not None:
                return None, None  # it is folded next, and then another epoch begins
            seat = machine.seat_of(round_.seats, core.account_id, core.device, core.key("device"))
            if seat is None:
                return None, None
            due_in_ms = 0 if closing else self._due_in_ms(snapshot, epoch)
            due = due_in_ms == 0 and is_due(snapshot)
            elapsed_ms = self._elapsed_ms(round_)
            t0_ms = views.rules(snapshot.state).params.t0_ms
            timer_ms = t0_ms << min(self._view[1] if self._view else 0, MAX_DOUBLINGS)
            said = next_event(
                round_,
                seat,
                held_by(snapshot),
                due=due,
                waited=elapsed_ms >= t0_ms,
                expired=elapsed_ms >= timer_ms,
            )
            if said is not None:
                return said, None
            if self._view is None:
                waits = due_in_ms > 0 and is_due(snapshot)
                return None, due_in_ms if waits else None
        ahead = [limit_ms - elapsed_ms for limit_ms in (t0_ms, timer_ms) if limit_ms > elapsed_ms]
        return None, min(ahead, default=None)

    def _elapsed_ms(self, round_: Round) -> int:
        """How long this seat has been in the current view; views begin at q frontiers (A2)."""
        view = None
        if len(round_.frontiers) >= round_.seats.quorum:
            view = (round_.epoch, current_view(round_))
        if view != self._view:
            self._view, self._since_ms = view, self._now_ms()
        return self._now_ms() - self._since_ms if view is not None else 0

    def _due_in_ms(self, snapshot: Snapshot, epoch: int) -> int:
        """How long until `epoch_ms` has passed since this seat signed the last epoch's state."""
        signed_ms = _signed_ms(self._core, snapshot, epoch - 1)
        if signed_ms is None:
            return 0
        epoch_ms = views.rules(snapshot.state).params.epoch_ms
        passed_ms = self._core.clock_ms() - signed_ms
        # A clock that was set back must not hold the epoch up for longer than one.
        return min(epoch_ms, max(0, epoch_ms - passed_ms))


def _signed_ms(core: NodeCore, snapshot: Snapshot, epoch: int) -> int | None:
    """When this device says that it signed the state of an epoch; None when it has not."""
    for log in snapshot.logs():
        mine = (log.genesis.account_id, log.genesis.device) == (core.account_id, core.device)
        if not mine or log.head is None:
            continue
        mark = snapshot.cut_mark(log.log_id)
        for leaf in snapshot.leaves(log.log_id, mark.size if mark else 0, log.head.size):
            if _STATE not in leaf[:_KIND_WINDOW_BYTES]:
                continue
            try:
                event = parse_event(leaf)
                body = parse_body(event)
            except BadInput:
                continue
            if isinstance(body, WitnessState) and body.epoch == epoch:
                return event.time_ms
    return None
