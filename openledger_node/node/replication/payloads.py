"""Payloads over links: what is asked of whom, what is served to whom.

A payload is asked of one link at a time; what has come of it is kept when the link fails, and the
rest is asked of another. Who may have a payload is the holder's policy, judged when it is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from openledger_node.ledger.payload import decode_payload
from openledger_node.sync import events as e
from openledger_node.sync.messages import Document, PayloadHead, Piece, Reason
from openledger_node.sync.payloads import PayloadIntake, plan

if TYPE_CHECKING:
    from openledger_node.node.replication.engine import Hub
    from openledger_node.node.replication.link import LinkRunner

MAX_PAYLOAD_FRAME_BYTES: Final = 2**20
Part = PayloadHead | Document | Piece
Came = e.PayloadHeadCame | e.DocumentCame | e.PieceCame


@dataclass(frozen=True, slots=True)
class Sought:
    """A payload that this node may have and wants: of which event, and how long at most."""

    event_id: bytes
    account: bytes
    commit: bytes
    size_bytes: int


class PayloadSeeker:
    """What a node looks for among its links, by event: two may name one commitment in vain."""

    def __init__(self) -> None:
        self._sought: dict[bytes, Sought] = {}
        self._intakes: dict[bytes, PayloadIntake] = {}
        self._asked: dict[bytes, set[int]] = {}
        self._under_way: dict[tuple[int, int], bytes] = {}
        self.taken = 0

    def seek(self, payloads: Iterable[Sought]) -> None:
        """These are wanted, and nothing else any more."""
        self._sought = {item.event_id: item for item in payloads}
        self._intakes = {e: intake for e, intake in self._intakes.items() if e in self._sought}

    def ask(self, runner: LinkRunner) -> bool:
        """Asks a link for the next payload it has not been asked for; one at a time."""
        link = runner.number
        if any(number == link for number, _ in self._under_way):
            return False
        busy = set(self._under_way.values())
        for event_id, item in self._sought.items():
            asked = self._asked.setdefault(event_id, set())
            if event_id in busy or link in asked:
                continue
            asked.add(link)
            intake = self._intakes.get(event_id)
            if intake is None:
                intake = PayloadIntake(item.commit, item.account, item.size_bytes)
                self._intakes[event_id] = intake
            point = intake.resume_point
            intake.restart()
            want_id = runner.session.send_payload_want(event_id, item.commit, *point)
            self._under_way[link, want_id] = event_id
            return True
        return False

    def is_idle(self, link: int) -> bool:
        """Whether a link owes nothing and there is nothing left to ask it for."""
        return not any(number == link for number, _ in self._under_way) and not any(
            link not in self._asked.get(event_id, ()) for event_id in self._sought
        )

    def came(self, runner: LinkRunner, hub: Hub, event: Came) -> None:
        """A part of a payload. PeerFault when it does not verify."""
        key = runner.number, event.want_id
        event_id = self._under_way.get(key)
        intake = self._intakes.get(event_id) if event_id is not None else None
        if event_id is None or intake is None:
            runner.session.consumed(event.frame_bytes)
            return
        intake.take(event)
        runner.session.consumed(event.frame_bytes)
        if intake.is_whole:
            runner.session.payload_done(event.want_id)
            commit = self._sought[event_id].commit
            del self._under_way[key], self._intakes[event_id], self._sought[event_id]
            hub.start(self._keep, hub, commit, intake.container())

    async def _keep(self, hub: Hub, commit: bytes, container: bytes) -> None:
        await hub.lane.write(hub.holder.put_payload, commit, container)
        self.taken += 1
        hub.payload_stored(commit)

    def missing(self, link: int, want_id: int) -> bool:
        """A link does not supply what it was asked for; False when that was no payload."""
        return self._under_way.pop((link, want_id), None) is not None

    def link_down(self, link: int) -> None:
        for key in [key for key in self._under_way if key[0] == link]:
            del self._under_way[key]
        for asked in self._asked.values():
            asked.discard(link)


class PayloadServer:
    """One link's answers to PAYLOAD_WANTs, one after another."""

    def __init__(self, runner: LinkRunner, hub: Hub) -> None:
        self._runner = runner
        self._hub = hub
        self._wants: list[e.PayloadWanted] = []
        self._parts: Iterator[Part] | None = None
        self._part: Part | None = None
        self._want_id = -1

    @property
    def is_idle(self) -> bool:
        return not self._wants and self._parts is None

    def wanted(self, want: e.PayloadWanted) -> None:
        self._wants.append(want)

    def cancelled(self, want_id: int) -> None:
        self._wants = [want for want in self._wants if want.want_id != want_id]
        if want_id == self._want_id:
            self._parts, self._part = None, None

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
            self._parts = None
            return True
        if session.credit_bytes < MAX_PAYLOAD_FRAME_BYTES:
            return False
        session.send_payload_frame(self._part)
        self._part = None
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
        payload = await hub.io(decode_payload, data)
        self._want_id = want.want_id
        self._parts = plan(want.want_id, payload, want.document, want.leaf)
