"""Across links: what this node holds, what each peer offers, who is asked for what, who is told.

The node's tasks carry out what `Replica` decides and report back. It reads no log, keeps no event
and waits for nothing: a peer, however slow, costs it marks (a size and a root for each log).

- X1 A log that a peer offers longer than it is held, or that is not held, is fetched from one peer
  at a time; when that link fails, another link that offers it is asked for the rest. Logs that are
  new here are asked for on one link at a time until their heads have come: only then is it known
  under which names other links offer them. A link whose heads take longer than OPENING_MS, or that
  offers what it does not supply or nobody takes, keeps the others waiting no more, now or later.
- X2 An offer in a FRONTIER is followed at once. One in a HAVE waits PUSH_WAIT_MS first, since the
  events themselves are usually on their way.
- X3 Equal size under another tag makes a log *suspect* on that link: its spine is fetched and
  compared, and one segment of it, until the fork is proved or the peer is caught lying. Meanwhile
  the log is fetched from others as ever: a suspicion is one peer's word.
- X4 A log known to be forked counts in digests as its common prefix; past that prefix it is neither
  offered nor wanted. A branch of it that a cut names is asked for by that mark, from every peer in
  turn, and after ROUND_MS again: a peer that had no such branch may have it by then.
- X5 What grows here is pushed to peers known to hold all but the new part; the others are told the
  new mark. What came from a peer is told at once and pushed after a drawn delay of up to
  PUSH_DELAY_MS to those that have not said by then that they have it.
- X6 Every ROUND_MS, give or take half, one peer is asked for its digests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from openledger_node.ledger.events import MAX_SEQ
from openledger_node.ledger.forks import ForkEvidence
from openledger_node.ledger.heads import Mark
from openledger_node.sync.faults import fault
from openledger_node.sync.frontier import fork_digest, frontier_digest, proof_rank
from openledger_node.sync.peer_state import Fetch, PeerState, Tell
from openledger_node.sync.rounds import ROUND_MS, Draw, Rounds
from openledger_node.sync.table import MAX_TABLE_LOGS, Offer, PeerTable

PUSH_WAIT_MS: Final = 120
PUSH_DELAY_MS: Final = 24
OPENING_MS: Final = 1_000
"""How long one link's new logs hold up those of the others: several round trips of the globe."""
MAX_FETCHES_A_LINK: Final = 32
"""WANTs in flight on a link: enough to fill it with short logs, far below the protocol's 256."""
MAX_NAMED_LOGS: Final = 4_000_000
"""Named by all peers together, besides those held here: at 150 to 250 bytes, up to 1 GB."""
MAX_PUSHED_EVENTS: Final = 256


class Replica:
    """The node's side of replication (X1 to X6). All times are milliseconds of one clock."""

    def __init__(self, marks: Iterable[Mark], forks: Iterable[ForkEvidence], draw: Draw) -> None:
        self.marks = {mark.log_id: mark for mark in marks}
        self.forks = {proof.head_a.log_id: proof for proof in forks}
        self._draw = draw
        self._links: dict[int, PeerState] = {}
        self._in_flight: dict[bytes, Fetch] = {}
        self._needed: dict[Mark, dict[int, int]] = {}
        self._own_logs: set[bytes] = set()
        self._digests: tuple[bytes, bytes | None] | None = None
        self.rounds = Rounds(draw)

    # What is held here.

    def digests(self) -> tuple[bytes, bytes | None]:
        """(frontier digest, fork digest or None)."""
        if self._digests is None:
            self._digests = (
                frontier_digest(self.shown_marks()),
                fork_digest(self.forks.values()),
            )
        return self._digests

    def shown_marks(self) -> Iterator[Mark]:
        """The marks that digests and frontiers are made of (X4)."""
        return filter(None, map(self._shown, self.marks))

    def _shown(self, log_id: bytes) -> Mark | None:
        """What this node says that it holds of a log: of a forked one, what its branches share."""
        mark = self.marks[log_id]
        proof = self.forks.get(log_id)
        if proof is None or mark.size < proof.common:
            return mark
        return Mark(log_id, proof.common, proof.common_root) if proof.common else None

    def own_log(self, log_id: bytes) -> None:
        """A log that this node writes: nobody else can be expected to push it."""
        self._own_logs.add(log_id)

    def advanced(self, mark: Mark, now_ms: int, *, link: int | None = None) -> None:
        """A log is durable here up to `mark`; it came over `link`, or was made on this machine."""
        known = self.marks.get(mark.log_id)
        if known is not None and known.size >= mark.size:
            return
        self.marks[mark.log_id] = mark
        self._digests = None
        if mark.log_id in self.forks:
            self._tell_of_prefix(mark.log_id, now_ms)
            return
        for number, other in self._links.items():
            if number == link:
                other.table.put(
                    other.table.name(mark.log_id), Offer(mark.size, other.table.tag(mark.root))
                )
                continue
            if other.table.size_of(mark.log_id) >= mark.size:
                other.untold.pop(mark.log_id)
                continue
            delay_ms = 0
            if link is not None and mark.log_id not in self._own_logs:
                delay_ms = PUSH_DELAY_MS // 2 + self._draw(PUSH_DELAY_MS // 2 + 1)
            other.untold.put(mark.log_id, now_ms + delay_ms, link)
            other.pushes.add(now_ms + delay_ms)
            other.hinted.discard(mark.log_id)

    def _tell_of_prefix(self, log_id: bytes, now_ms: int) -> None:
        """Of a forked log only what its branches share is told, and to those who lack it."""
        shown = self._shown(log_id) if log_id in self.marks else None
        for link in self._links.values():
            link.hinted.discard(log_id)
            if shown is None or link.table.size_of(log_id) >= shown.size:
                link.untold.pop(log_id)
            else:
                link.untold.put(log_id, now_ms, None)

    def replaced(self, mark: Mark) -> None:
        """Another branch of a forked log is its history here now (X4)."""
        self.marks[mark.log_id] = mark
        self._digests = None
        for needed in [n for n in self._needed if n.log_id == mark.log_id and n.size <= mark.size]:
            del self._needed[needed]

    def fork_known(self, proof: ForkEvidence) -> bool:
        """Keeps a verified proof; whether it is new or stronger than the one kept."""
        log_id = proof.head_a.log_id
        known = self.forks.get(log_id)
        if known is not None and proof_rank(known) <= proof_rank(proof):
            return False
        self.forks[log_id] = proof
        for state in self._links.values():
            state.suspects.pop(log_id, None)
        self._digests = None
        self._tell_of_prefix(log_id, 0)
        return True

    # Links.

    def link_up(self, link: int, key: bytes, *, in_sync: bool) -> None:
        """A peer has said HELLO. `in_sync`: its digests are ours."""
        self._links[link] = PeerState(PeerTable(key, self.marks))
        if in_sync:
            self._links[link].table.holds_all(self.marks.values())

    def link_down(self, link: int) -> None:
        """What it was asked for may be asked of others (X1)."""
        if self._links.pop(link, None) is None:
            return
        for log_id in [i for i, fetch in self._in_flight.items() if fetch.link == link]:
            del self._in_flight[log_id]
            self._offer_again(log_id)
        for asked in self._needed.values():
            asked.pop(link, None)

    def table(self, link: int) -> PeerTable:
        """What a link's peer is known to hold."""
        return self._links[link].table

    def entries(self, link: int) -> list[tuple[bytes, Offer]]:
        """The FRONTIER for this link: (short id, offer) of every log shown."""
        table = self._links[link].table
        return [
            (table.name(mark.log_id), Offer(mark.size, table.tag(mark.root)))
            for mark in self.shown_marks()
        ]

    def frontier_came(self, link: int, entries: Iterable[tuple[bytes, Offer]]) -> None:
        """The peer's whole frontier: every offer is followed at once (X2).

        PeerFault `too_many_logs`, as in `have_came`.
        """
        room = self._room()
        known = self._links[link].table.offers
        for name, offer in entries:
            before = len(known)
            if self._may_speak_of(link, name, room):
                self._offered(link, name, offer, 0)
                room -= len(known) - before

    def have_came(self, link: int, name: bytes, offer: Offer, now_ms: int) -> bool:
        """The peer says that it holds a log up to a size now. PeerFault `too_many_logs`.

        Whether that is to be followed at once.
        """
        if not self._may_speak_of(link, name, self._room()):
            return False
        state = self._links[link]
        log_id = state.table.log_of(name)
        mine = self.marks.get(log_id) if log_id is not None else None
        if mine is not None and offer.size >= mine.size:
            state.untold.pop(mine.log_id)
        return self._offered(link, name, offer, now_ms + PUSH_WAIT_MS)

    def offered(self, link: int, mark: Mark) -> None:
        """The peer has shown that it holds a log up to a mark, by a head of it (X1)."""
        state = self._links.get(link)
        if state is not None:
            table = state.table
            name, offer = table.name(mark.log_id), Offer(mark.size, table.tag(mark.root))
            if table.has_room(name):
                self._offered(link, name, offer, 0)

    def _room(self) -> int:
        """How many logs more may be named on all links together."""
        named = sum(len(state.table.offers) for state in self._links.values())
        return MAX_NAMED_LOGS + len(self.marks) * len(self._links) - named

    def _may_speak_of(self, link: int, name: bytes, room: int) -> bool:
        """Whether an offer is taken note of. PeerFault `too_many_logs` past the link's own limit.

        Where all links together name too many, new logs are passed over: a later round finds them.
        """
        table = self._links[link].table
        if not table.has_room(name):
            raise fault("too_many_logs", f"it speaks of more than {MAX_TABLE_LOGS:,} logs")
        return room > 0 or name in table.offers or table.log_of(name) in self.marks

    def _offered(self, link: int, name: bytes, offer: Offer, not_before_ms: int) -> bool:
        """Takes note of an offer; whether it makes the log suspect (X3)."""
        state = self._links[link]
        state.table.put(name, offer)
        log_id = state.table.log_of(name)
        mine = self.marks.get(log_id) if log_id is not None else None
        if not_before_ms:
            state.asks.add(not_before_ms)
        if log_id is None or mine is None:
            state.strange.setdefault(name, not_before_ms)
            return False
        proof = self.forks.get(log_id)
        if proof is not None:
            if mine.size < min(proof.common, offer.size):
                state.wanted.setdefault(name, not_before_ms)
        elif offer.size > mine.size:
            state.wanted.setdefault(name, not_before_ms)
        elif offer.size == mine.size and offer.tag != state.table.tag(mine.root):
            if state.compared.get(name) == offer.size:
                return False
            self._suspect(log_id, link)
            return True
        return False

    def _offer_again(self, log_id: bytes) -> None:
        """Every link that offers more of a log than is held may be asked for it."""
        for number, link in self._links.items():
            offer = link.table.offers.get(link.table.name(log_id))
            if offer is not None:
                self._offered(number, link.table.name(log_id), offer, 0)

    # Fetching.

    def next_fetch(self, link: int, now_ms: int) -> Fetch | None:
        """What this link is asked for next, now in flight; None when there is nothing to ask."""
        state = self._links[link]
        if not (state.wanted or state.strange or state.suspects or self._needed):
            return None
        if state.fetches >= MAX_FETCHES_A_LINK:
            return None
        fetch = self._special(link, state, now_ms) or self._plain(link, state, now_ms)
        if fetch is not None:
            state.fetches += 1
            if fetch.log_id is not None and fetch.purpose == "fork":
                state.comparing.add(fetch.log_id)
            elif fetch.log_id is not None:
                self._in_flight[fetch.log_id] = fetch
            else:
                if not state.opening:
                    state.opening_since_ms = now_ms
                state.opening += 1
        return fetch

    def _special(self, link: int, state: PeerState, now_ms: int) -> Fetch | None:
        for mark, asked in self._needed.items():
            is_due = now_ms - asked.get(link, now_ms - ROUND_MS) >= ROUND_MS
            if is_due and mark.log_id not in self._in_flight:
                asked[link] = now_ms
                name = state.table.name(mark.log_id)
                return Fetch(link, name, mark.log_id, 0, mark.size, "branch", mark)
        for log_id in state.suspects:
            offer = state.table.offers.get(state.table.name(log_id))
            if offer is not None and log_id not in state.comparing:
                return Fetch(link, state.table.name(log_id), log_id, 0, offer.size, "fork")
        return None

    def _plain(self, link: int, state: PeerState, now_ms: int) -> Fetch | None:
        found = self._first_due(link, state, state.wanted, now_ms)
        if found is None and state.strange and self._opening_until_ms(link, now_ms) is None:
            found = self._first_due(link, state, state.strange, now_ms)
        return found

    def _first_due(
        self, link: int, state: PeerState, names: dict[bytes, int], now_ms: int
    ) -> Fetch | None:
        """The first of `names` that is to be asked for; what is settled leaves them."""
        found: Fetch | None = None
        settled: list[bytes] = []
        for name, not_before_ms in names.items():
            if not_before_ms > now_ms:
                continue
            settled.append(name)
            log_id = state.table.log_of(name)
            offer = state.table.offers.get(name)
            mine = self.marks.get(log_id) if log_id is not None else None
            held = mine.size if mine else 0
            busy = log_id in self._in_flight or log_id in state.suspects
            if busy or offer is None or offer.size <= max(held, state.refused.get(name, 0)):
                continue
            found = Fetch(link, name, log_id, held, offer.size, "grow")
            break
        for name in settled:
            del names[name]
        return found

    def _opening_until_ms(self, link: int, now_ms: int) -> int | None:
        """Until when another link's new logs hold up those of this one, if any do (X1)."""
        until_ms: int | None = None
        for number, other in self._links.items():
            if not other.opening or number == link or other.is_slow:
                continue
            end_ms = other.opening_since_ms + OPENING_MS
            if end_ms <= now_ms:
                other.is_slow = True
            else:
                until_ms = max(until_ms or 0, end_ms)
        return until_ms

    def is_settled(self, link: int) -> bool:
        """Whether nothing is asked of this link, wanted of it, or left to tell it."""
        state = self._links.get(link)
        return state is None or not (state.fetches or state.wanted or state.strange or state.untold)

    def next_want_ms(self, link: int, now_ms: int) -> int | None:
        """When the next offer that waits (X1, X2) may be followed; None without one."""
        state = self._links[link]
        if not (state.wanted or state.strange) or state.fetches >= MAX_FETCHES_A_LINK:
            return None
        held_up_ms = self._opening_until_ms(link, now_ms) if state.strange else None
        times = [state.asks.after(now_ms), held_up_ms]
        return min((at_ms for at_ms in times if at_ms is not None), default=None)

    def opened(self, fetch: Fetch, log_id: bytes) -> bool:
        """The answer names the log; False when another link supplies it already."""
        known = self._in_flight.get(log_id)
        if known is not None and known is not fetch and fetch.purpose != "fork":
            return False
        if fetch.log_id is None:
            self._no_longer_opening(fetch)
            fetch.log_id = log_id
            self._in_flight[log_id] = fetch
            for link in self._links.values():
                link.table.name(log_id)
        return True

    def _no_longer_opening(self, fetch: Fetch) -> None:
        state = self._links.get(fetch.link)
        if state is not None and fetch.log_id is None:
            state.opening -= 1

    def fetched(self, fetch: Fetch) -> None:
        """The fetch ended, well or not; what is still wanted is asked again, of any link."""
        self._no_longer_opening(fetch)
        state = self._links.get(fetch.link)
        if state is not None:
            state.fetches -= 1
            if fetch.log_id is not None and fetch.purpose == "fork":
                state.comparing.discard(fetch.log_id)
        if fetch.log_id is not None and self._in_flight.get(fetch.log_id) is fetch:
            del self._in_flight[fetch.log_id]
            self._offer_again(fetch.log_id)

    def refused(self, fetch: Fetch, *, for_good: bool = False) -> None:
        """The peer did not supply it: not asked of it again until it offers more.

        An offer of a log that is new here is forgotten: it was a word, and nothing behind it.
        `for_good`: this node does not take it, however long it grows while the link lasts.
        """
        state = self._links.get(fetch.link)
        if state is not None and fetch.log_id is None:
            state.is_slow = True
        if state is not None and fetch.log_id is None and not for_good:
            state.table.offers.pop(fetch.name, None)
        elif state is not None and fetch.purpose == "grow":
            state.refused[fetch.name] = MAX_SEQ if for_good else fetch.offered
        self.fetched(fetch)

    def reconsider(self, log_id: bytes) -> None:
        """This node takes a log now that it may have refused for good."""
        for state in self._links.values():
            state.refused.pop(state.table.name(log_id), None)
        if log_id not in self._in_flight:
            self._offer_again(log_id)

    def suspect(self, mark: Mark, link: int) -> None:
        """A history shown on a link up to a signed mark does not extend the one held here (X3).

        So it may be with a log known to be forked: where this branch left the others before them.
        """
        state = self._links.get(link)
        if state is not None:
            table = state.table
            table.put(table.name(mark.log_id), Offer(mark.size, table.tag(mark.root)))
            self._suspect(mark.log_id, link)

    def _suspect(self, log_id: bytes, link: int) -> None:
        self._links[link].suspects[log_id] = None

    def cleared(self, fetch: Fetch, *, is_fork: bool = False) -> None:
        """A suspect's spine was compared, or could not be had.

        Where it shows no fork, what did not fit was false: the peer is not asked for it again until
        it offers more.
        """
        state = self._links.get(fetch.link)
        if state is not None and not is_fork:
            state.refused[fetch.name] = state.compared[fetch.name] = fetch.offered
        if state is not None and fetch.log_id is not None:
            state.suspects.pop(fetch.log_id, None)
            self._offer_again(fetch.log_id)

    def need(self, mark: Mark) -> None:
        """A cut names this mark, and the history held here does not have it (X4)."""
        self._needed.setdefault(mark, {})

    def needs(self) -> Mapping[Mark, Mapping[int, int]]:
        return self._needed

    # Telling.

    def next_tell(self, link: int, now_ms: int) -> Tell | None:
        """What this link's peer is to be told or sent next (X5)."""
        state = self._links[link]
        if not state.untold:
            return None
        found: Tell | None = None
        settled: list[bytes] = []
        # One log of each link that they came over, in turn: who brings many holds up nobody.
        for log_id, push_at_ms in state.untold.items():
            mark = self._shown(log_id)
            known = state.table.size_of(log_id)
            if mark is None or known >= mark.size:
                settled.append(log_id)
                continue
            forked = log_id in self.forks
            in_one_frame = mark.size - known <= MAX_PUSHED_EVENTS and not forked
            if not in_one_frame or push_at_ms <= now_ms:
                settled.append(log_id)
                found = Tell(mark, known if in_one_frame else None)
            elif log_id not in state.hinted:
                state.hinted.add(log_id)
                found = Tell(mark, None)
            if found is not None:
                break
        if found is not None:
            state.untold.served(found.mark.log_id)
        for log_id in settled:
            state.untold.pop(log_id)
        return found

    def has_to_tell(self, link: int) -> bool:
        """Whether there is something that this link's peer has not been told, or sent."""
        state = self._links.get(link)
        return state is not None and bool(state.untold)

    def next_push_ms(self, link: int, now_ms: int) -> int | None:
        """When the next delayed push is due."""
        return self._links[link].pushes.after(now_ms)

    def pushed(self, link: int, mark: Mark) -> None:
        """The events up to `mark` were sent: the peer holds them, or will say otherwise."""
        state = self._links.get(link)
        if state is not None:
            table = state.table
            table.put(table.name(mark.log_id), Offer(mark.size, table.tag(mark.root)))

    def round_due(self, now_ms: int) -> int | None:
        """A link to compare digests with now, when a round is due (X6)."""
        return self.rounds.due(self._links, now_ms)
