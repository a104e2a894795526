"""Payloads over links: what is asked of whom, what is served to whom.

A payload is asked of one link at a time; what has come of it is kept when the link fails, and the
rest is asked of another. Who may have a payload is the holder's policy, judged when it is asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from openledger_node.ledger.payload import decode_payload
from openledger_node.sync import events as e
from openledger_node.sync.messages import Document, PayloadHead, Piece, Reason
from openledger_node.sync.payloads import PayloadIntake, plan

if TYPE_CHECKING:
    from openledger_node.node.replication.engine import Hub
    from openledger_node.node.replication.link import LinkRunner

MAX_PAYLOAD_FRAME_BYTES: Final = 2**20
AGAIN_MS: Final = 1_000
MAX_AGAIN_MS: Final = 3_600_000
MAX_SERVED_BYTES: Final = 256 * 2**20
"""Of payloads being served on all links: they are in memory meanwhile. A longer one goes alone."""
MAX_BEGUN_BYTES: Final = 256 * 2**20
"""Of payloads that came in part and are not under way: kept to go on with, the newest of them."""
GRANT_WAIT_MS: Final = 60_000
"""An answer whose asker grants no credit for so long makes room for others."""
Part = PayloadHead | Document | Piece
Came = e.PayloadHeadCame | e.DocumentCame | e.PieceCame


@dataclass(frozen=True, slots=True)
class Sought:
    """A payload that this node may have and wants: of which event, and how long at most.

    `may_lack`: how many of its documents may have been erased (P6).
    """

    event_id: bytes
    account: bytes
    commit: bytes
    size_bytes: int
    may_lack: int = 0

    @property
    def key(self) -> bytes:
        """Names it: a receipt has two payloads, and two events may name one in vain."""
        return self.event_id + self.commit


@dataclass(slots=True)
class _Line:
    """What one link is to be asked for: now, and again later what it did not supply."""

    waiting: deque[bytes] = field(default_factory=deque)
    again: list[tuple[int, bytes]] = field(default_factory=list)
    refusals: dict[bytes, int] = field(default_factory=dict)


class PayloadSeeker:
    """What a node looks for among its links, by event and commitment.

    - X7 Each link is asked for one payload at a time. What it does not supply it is asked for again
      after AGAIN_MS, then after twice as long, up to MAX_AGAIN_MS: a peer that does not hold a
      payload today may have it from another tomorrow, and nobody tells. So is one that supplied
      evidence with branches gone, should that be wanted again: others are asked first.
    """

    def __init__(self) -> None:
        self._short: set[tuple[int, bytes]] = set()
        self._sought: dict[bytes, Sought] = {}
        self._intakes: dict[bytes, PayloadIntake] = {}
        self._lines: dict[int, _Line] = {}
        self._under_way: dict[tuple[int, int], bytes] = {}
        self.taken = 0

    def seek(self, payloads: Iterable[Sought]) -> None:
        """These are wanted, and nothing else any more."""
        before = self._sought
        self._sought = {item.key: item for item in payloads}
        self._intakes = {key: each for key, each in self._intakes.items() if key in self._sought}
        fresh = [key for key in self._sought if key not in before]
        for line in self._lines.values():
            line.waiting.extend(fresh)

    def ask(self, runner: LinkRunner, now_ms: int) -> bool:
        """Asks a link for the next payload that it may supply; one at a time."""
        link = runner.number
        if not self._sought:
            return False
        if any(number == link for number, _ in self._under_way):
            return False
        line = self._lines.get(link)
        if line is None:
            line = self._lines[link] = _Line(deque(self._sought))
        while line.again and line.again[0][0] <= now_ms:
            line.waiting.append(heappop(line.again)[1])
        busy = set(self._under_way.values())
        for _ in range(len(line.waiting)):
            key = line.waiting.popleft()
            item = self._sought.get(key)
            if item is None:
                line.refusals.pop(key, None)
            elif key in busy:
                line.waiting.append(key)
            elif (link, key) in self._short:
                self._short.remove((link, key))
                self._put_off(line, key, now_ms)
            else:
                self._ask_for(runner, item)
                return True
        return False

    def _ask_for(self, runner: LinkRunner, item: Sought) -> None:
        intake = self._intakes.pop(item.key, None)
        if intake is None:
            intake = PayloadIntake(
                item.commit, item.account, item.size_bytes, may_lack=item.may_lack
            )
        self._intakes[item.key] = intake  # as the newest
        point = intake.resume_point
        intake.restart()
        want_id = runner.session.send_payload_want(item.event_id, item.commit, *point)
        self._under_way[runner.number, want_id] = item.key

    def next_ask_ms(self, link: int) -> int | None:
        """When a link may be asked again for something that it did not supply."""
        line = self._lines.get(link)
        return line.again[0][0] if line is not None and line.again else None

    def is_idle(self, link: int) -> bool:
        """Whether a link owes nothing, and was asked once for all that is wanted."""
        if any(number == link for number, _ in self._under_way):
            return False
        line = self._lines.get(link)
        waiting = self._sought if line is None else line.waiting
        return not any(key in self._sought for key in waiting)

    def came(self, runner: LinkRunner, hub: Hub, event: Came) -> None:
        """A part of a payload. PeerFault when it does not verify."""
        want = runner.number, event.want_id
        key = self._under_way.get(want)
        intake = self._intakes.get(key) if key is not None else None
        if key is None or intake is None:
            runner.session.consumed(event.frame_bytes)
            return
        intake.take(event)
        runner.session.consumed(event.frame_bytes)
        if intake.is_whole:
            runner.session.payload_done(event.want_id)
            commit = self._sought[key].commit
            if intake.lacks:
                self._short.add((runner.number, key))
            del self._under_way[want], self._intakes[key], self._sought[key]
            hub.start(self._keep, hub, commit, intake.container())

    async def _keep(self, hub: Hub, commit: bytes, container: bytes) -> None:
        await hub.lane.write(hub.holder.put_payload, commit, container)
        self.taken += 1
        hub.payload_stored(commit)

    def missing(self, link: int, want_id: int, now_ms: int) -> bool:
        """A link does not supply what it was asked for; False when that was no payload."""
        key = self._under_way.pop((link, want_id), None)
        self._drop_begun()
        line = self._lines.get(link)
        if key is None or line is None:
            return False
        self._put_off(line, key, now_ms)
        return True

    def _put_off(self, line: _Line, key: bytes, now_ms: int) -> None:
        refusals = line.refusals[key] = line.refusals.get(key, 0) + 1
        delay_ms = min(AGAIN_MS << min(refusals - 1, 32), MAX_AGAIN_MS)
        heappush(line.again, (now_ms + delay_ms, key))

    def link_down(self, link: int) -> None:
        self._short = {pair for pair in self._short if pair[0] != link}
        for want in [want for want in self._under_way if want[0] == link]:
            del self._under_way[want]
        self._drop_begun()
        self._lines.pop(link, None)

    def _drop_begun(self) -> None:
        """Forgets what came of payloads that nobody goes on with, past what is kept of them."""
        busy, left_bytes = set(self._under_way.values()), MAX_BEGUN_BYTES
        for key in reversed([key for key in self._intakes if key not in busy]):
            left_bytes -= self._sought[key].size_bytes
            if left_bytes < 0:
                del self._intakes[key]


class PayloadServer:
    """One link's answers to PAYLOAD_WANTs, one after another.

    - X10 Payloads being served take MAX_SERVED_BYTES at most over all links; who comes on top is
      told to ask again (MISSING, busy), and so is who grants no credit for GRANT_WAIT_MS.
    """

    def __init__(self, runner: LinkRunner, hub: Hub) -> None:
        self._runner = runner
        self._hub = hub
        self._wants: list[e.PayloadWanted] = []
        self._parts: Iterator[Part] | None = None
        self._part: Part | None = None
        self._want_id = -1
        self._size_bytes = 0
        self._waits_since_ms: int | None = None

    @property
    def is_idle(self) -> bool:
        return not self._wants and self._parts is None

    def close(self) -> None:
        """The answer under way is over, or its link."""
        self._hub.served_bytes -= self._size_bytes
        self._size_bytes, self._waits_since_ms = 0, None
        self._parts, self._part = None, None

    def wanted(self, want: e.PayloadWanted) -> None:
        self._wants.append(want)

    def cancelled(self, want_id: int) -> None:
        self._wants = [want for want in self._wants if want.want_id != want_id]
        if want_id == self._want_id:
            self.close()

    async def step(self) -> bool:
        """Queues one frame more; False when it has to wait."""
        session = self._runner.session
        if self._parts is None:
            if not self._wants:
                return False
            await self._begin(self._wants.pop(0))
            return True
        if self._part is None:
            self._part = next(self._parts, None)
        if self._part is None:
            session.payload_sent(self._want_id)
            self.close()
            return True
        if session.credit_bytes < MAX_PAYLOAD_FRAME_BYTES:
            return self._give_way()
        session.send_payload_frame(self._part)
        self._part, self._waits_since_ms = None, None
        return True

    def _give_way(self) -> bool:
        """Ends an answer that waited too long for credit; whether it did."""
        now_ms = self._hub.now_ms()
        if self._waits_since_ms is None:
            self._waits_since_ms = now_ms
        if now_ms - self._waits_since_ms < GRANT_WAIT_MS:
            return False
        self._runner.session.send_missing(self._want_id, Reason.BUSY)
        self.close()
        return True

    async def _begin(self, want: e.PayloadWanted) -> None:
        hub, peer = self._hub, self._runner.peer
        if peer is None:
            return
        who = peer.peer.account, peer.peer.device
        data = await hub.io(hub.holder.payload_for, *who, want.event_id, want.commit)
        if data is None:
            self._runner.session.send_missing(want.want_id, Reason.NOT_SERVED)
            return
        if hub.served_bytes and hub.served_bytes + len(data) > MAX_SERVED_BYTES:
            self._runner.session.send_missing(want.want_id, Reason.BUSY)
            return
        self._size_bytes = len(data)
        hub.served_bytes += self._size_bytes
        payload = await hub.io(decode_payload, data)
        self._want_id = want.want_id
        self._parts = plan(want.want_id, payload, want.document, want.leaf)
