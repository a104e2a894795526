"""Following the ledger: folding what the witnesses decided, voting, honouring erasures.

One worker thread at a time, woken by what the lane stored or the watcher saw. On a ledger with one
witness, its daemon closes an epoch whenever one is due and `epoch_ms` has passed; with `epoch_ms`
= 0 epochs are closed by commands, when a figure is asked for that is not final. The daemon of one
of several witnesses says what the rules ask of its seat, woken by its timers too.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import trio

from openledger_node.credit import views
from openledger_node.ledger.errors import OlnError
from openledger_node.ledger.heads import Mark
from openledger_node.node.core import NodeCore
from openledger_node.node.epochs import (
    catch_up,
    close_epoch,
    file_verdicts,
    missing_logs,
    missing_marks,
)
from openledger_node.node.erasing import honour_erasures
from openledger_node.node.replication.payloads import Sought
from openledger_node.node.sharing import WishList
from openledger_node.node.voting import Voter

LOOK_FOR_SEAT_S: Final = 5.0
COMPARE_S: Final = 15.0
"""How often a restored seat asks the others whether they hold the same: peers allow a DIGEST every
ten seconds (Y9), and the rounds of replication need some of them.
"""
LOOK_FOR_ANSWERS_S: Final = 1.0
LOOK_ON_S: Final = 1.0
"""Between two looks at challenges and claims, where one left some: others may speak meanwhile."""
GATHER_S: Final = 0.02
MAX_GATHER_S: Final = 1.0
"""What arrives together is folded together. Where that takes long, as with very many logs, half of
the time is left for others.
"""

Io = Callable[..., Awaitable[Any]]


class Follower:
    """The tasks that fold. `needed(marks)` hears of marks that a cut names and no log here has,
    `admit` of logs that are to be taken in, whoever wrote them.

    `said()` hears that the own log grew by votes, `compare()` that a seat waits to hear who holds
    what this home holds.
    """

    def __init__(
        self,
        core: NodeCore,
        io: Io,
        log: Any,
        needed: Callable[[Sequence[Mark]], None],
        seek: Callable[[Sequence[Sought]], None],
        *,
        admit: Callable[[set[bytes], dict[int, set[bytes]]], None],
        voter: Voter,
        said: Callable[[], None],
        compare: Callable[[], None],
    ) -> None:
        self._core = core
        self._io = io
        self._log = log
        self._needed = needed
        self._admit = admit
        self._seek = seek
        self._wishes = WishList(core)
        self._voter = voter
        self._said = said
        self._compare = compare
        self._vote_at_s = math.inf
        self._cannot_vote = False
        self._compare_at_s = -math.inf
        self._accused: set[tuple[int, int, str]] = set()
        self._looked_at = -1
        self._took_s = 0.0
        """How long the last pass took."""
        self._wake = trio.Event()
        self._erasures = True
        self._turn = trio.Lock()
        self.failure = ""

    def poke(self, *, erasures: bool = False) -> None:
        """Something new is stored."""
        self._erasures = self._erasures or erasures
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        self._wake.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._close_when_due)
            while True:
                with trio.move_on_at(self._vote_at_s):
                    await self._wake.wait()
                await trio.sleep(max(GATHER_S, self._took_s))
                self._wake = trio.Event()
                began_s = trio.current_time()
                await self._guarded(self._follow)
                self._took_s = min(trio.current_time() - began_s, MAX_GATHER_S)

    async def _close_when_due(self) -> None:
        """While this home is the only witness; the set may change."""
        while True:
            with self._core.store.read() as snapshot:
                epoch_s = views.rules(snapshot.state).params.epoch_ms / 1000
                solo = self._core.is_solo_seat(snapshot)
            if solo and epoch_s:
                await trio.sleep(epoch_s)
                await self._guarded(self._close)
            else:
                await trio.sleep(LOOK_FOR_SEAT_S)

    async def _guarded(self, step: Callable[[], Awaitable[None]]) -> None:
        """An error of the ledger or the store stops the step, not the daemon; it is said once."""
        try:
            async with self._turn:
                await step()
        except OlnError as error:
            if error.message != self.failure:
                self._log.error("cannot_follow", reason=error.message, code=error.code)
            self.failure = error.message
        else:
            self.failure = ""

    async def _follow(self) -> None:
        erasures, self._erasures = self._erasures, False
        epochs = await self._io(catch_up, self._core)
        if erasures:
            await self._io(honour_erasures, self._core)
        epoch = await self._io(self._epoch)
        if epochs:
            self._log.info("epochs_final", epochs=epochs, epoch=epoch)
        if epoch != self._looked_at:  # another process may have folded it
            self._looked_at = epoch
            self._seek(await self._io(self._wishes.look))
        marks, logs = await self._io(self._missing)
        self._admit(*logs)
        self._needed(marks)
        await self._vote()

    async def _vote(self) -> None:
        """Says what the rules ask of this seat, until others are to speak or a timer is due."""
        self._vote_at_s = math.inf
        if not await self._io(self._voter.is_seated):
            return
        if not await self._io(self._voter.may_vote):
            if not self._cannot_vote:
                self._log.warning("seat_waits", reason="copied or restored: waits for all others")
            self._cannot_vote = True
            if trio.current_time() >= self._compare_at_s:
                self._compare_at_s = trio.current_time() + COMPARE_S
                self._compare()
            self._vote_at_s = trio.current_time() + LOOK_FOR_ANSWERS_S
            return
        more = await self._io(file_verdicts, self._core)
        wait_ms = await self._io(self._voter.step)
        self._said()
        for epoch, seat, what in sorted(self._voter.accused - self._accused):
            self._log.warning("seat_contradicts_itself", epoch=epoch, seat=seat, what=what)
        self._accused = set(self._voter.accused)
        if await self._io(catch_up, self._core):
            self.poke()  # the own vote decided the epoch
        elif wait_ms is not None or more:
            waits_s = LOOK_ON_S if wait_ms is None else wait_ms / 1000
            self._vote_at_s = trio.current_time() + (min(LOOK_ON_S, waits_s) if more else waits_s)

    async def _close(self) -> None:
        closed = await self._io(close_epoch, self._core)
        if closed.closed:
            self._log.info("epoch_closed", epoch=closed.epoch, events=closed.events)

    def _epoch(self) -> int:
        with self._core.store.read() as snapshot:
            return snapshot.last_epoch()

    def _missing(self) -> tuple[list[Mark], tuple[set[bytes], dict[int, set[bytes]]]]:
        with self._core.store.read() as snapshot:
            return missing_marks(self._core, snapshot), missing_logs(self._core, snapshot)
