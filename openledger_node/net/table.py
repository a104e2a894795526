"""The links of now: who is connected, how many, and which of two links between two nodes stays.

- N10 Two nodes that dial each other at the same moment end with one link: of two links in opposite
  directions that began within 10 s, the one that the lower node id dialled stays, and both sides
  close the other. Apart from that a peer may have up to 4 links, since a command may sync beside a
  running daemon, and since the far end of an old link may be gone unnoticed.

The table owns the life of a link from the end of its handshake: it runs the handler, cancels it
when the link loses, and closes the link in any case.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Literal

import trio

from openledger_node.ledger.errors import NetworkError
from openledger_node.net.link import Link

SAME_MOMENT_S: Final = 10
"""Links in opposite directions that began this close together were dialled at the same moment."""
MAX_LINKS_PER_PEER: Final = 4
RESERVED_SHARE: Final = 8
"""One link in so many is kept for nodes that this one dials: whoever comes in cannot shut it in."""
CLOSE_TIMEOUT_S: Final = 2
"""How long a link may take to close before it is dropped."""

_BROKEN: Final = (NetworkError, trio.BrokenResourceError, trio.ClosedResourceError)
"""How a link ends under its handler."""

Handler = Callable[[Link], Awaitable[None]]
"""Runs the protocol on one link; returns when it is over."""

Outcome = Literal["ended", "failed", "closed", "full", "too_many_links", "dialled_both_ways"]
"""How serving a link went: its handler returned, the link broke under it, this node closed it, or
why there was no place for it."""


@dataclass(eq=False, slots=True)
class _Held:
    """A link that is served."""

    link: Link
    began_s: float
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    outcome: Outcome = "ended"

    def end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.scope.cancel()


class LinkTable:
    """All links of a node, in and out, up to `max_links`."""

    def __init__(self, own_id: bytes, *, max_links: int = 64) -> None:
        self.own_id = own_id
        self.max_links = max_links
        self._held: list[_Held] = []
        self.max_inbound = max_links - max_links // RESERVED_SHARE
        self._watchers: list[Callable[[], None]] = []

    def watch(self, changed: Callable[[], None]) -> None:
        """Calls `changed` whenever a link has come or gone."""
        self._watchers.append(changed)

    def __len__(self) -> int:
        return len(self._held)

    def is_full(self, *, inbound: bool) -> bool:
        """Whether a further link would be turned away."""
        if inbound and len(self._held) - self.outbound() >= self.max_inbound:
            return True
        return len(self._held) >= self.max_links

    def links(self) -> list[Link]:
        """The links that are served now."""
        return [held.link for held in self._held]

    def peers(self) -> frozenset[bytes]:
        """The nodes at the other ends."""
        return frozenset(held.link.peer_id for held in self._held)

    def outbound(self) -> int:
        """How many links this node dialled."""
        return sum(held.link.is_outbound for held in self._held)

    def close_peer(self, node_id: bytes) -> int:
        """Ends the links to a node, for example when it is banned; says how many."""
        ended = [held for held in self._held if held.link.peer_id == node_id]
        for held in ended:
            held.end("closed")
        return len(ended)

    async def serve(self, link: Link, handler: Handler) -> Outcome:
        """Runs `handler` on the link while it may stay, then closes it. Says how it went.

        A broken link is how links end; any other error of the handler is passed on.
        """
        refused = self._admit(link)
        if refused is not None:
            await _close(link)
            return refused
        held = _Held(link, trio.current_time())
        self._held.append(held)
        self._changed()
        try:
            with held.scope:
                await handler(link)
        except _BROKEN as error:
            held.outcome = "failed"
            if link.fault is None and isinstance(error, NetworkError):
                link.fault = error
        except BaseExceptionGroup as errors:
            if errors.split(_BROKEN)[1] is not None:
                raise
            held.outcome = "failed"
        finally:
            self._held.remove(held)
            await _close(link)
            self._changed()
        return held.outcome

    def _admit(self, link: Link) -> Outcome | None:
        """Makes room for the link, or says why it may not stay."""
        same = [held for held in self._held if held.link.peer_id == link.peer_id]
        now_s = trio.current_time()
        for held in same:
            crossed = held.link.is_outbound != link.is_outbound
            if not crossed or now_s - held.began_s >= SAME_MOMENT_S:
                continue
            if self._dialled_by(held.link) < self._dialled_by(link):
                return "dialled_both_ways"
            held.end("dialled_both_ways")
        staying = sum(held.outcome == "ended" for held in same)
        if staying >= MAX_LINKS_PER_PEER:
            return "too_many_links"
        if staying == len(same) and self.is_full(
            inbound=not link.is_outbound
        ):  # otherwise it takes the place of another
            return "full"
        return None

    def _changed(self) -> None:
        for changed in self._watchers:
            changed()

    def _dialled_by(self, link: Link) -> bytes:
        return self.own_id if link.is_outbound else link.peer_id


async def _close(link: Link) -> None:
    """Closes properly if that goes at once, and in any case."""
    with trio.CancelScope(shield=True) as scope:
        scope.deadline = trio.current_time() + CLOSE_TIMEOUT_S
        try:
            await link.aclose()
        except trio.BrokenResourceError:
            return
