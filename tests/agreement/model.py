"""The vote rules as an explicit-state model: every order of every vote, for a few views.

Four seats, quorum three. Seat 3 is Byzantine: it votes for everything, so that a certificate is two
votes of the three honest seats. Links are as bad as can be: an honest seat may act on whatever
exists anywhere, or never act. What it may do only grows with what it knows, so this covers every
delay, loss and order. Leaders may propose whatever the rules let an honest seat vote for.

A candidate is (view, value, parent): a value of frontiers ("a" or "b"), or an earlier candidate and
its value. One honest seat's state is the set of its votes, as bits: notar and final for each
candidate, skip for each view. Seats are alike and so are the two values; states that differ by
their names alone are one.

The property: two FINAL certificates never carry different values. Each field of `Mutation` breaks
one rule, and the model must then find a run that breaks the property, or it proves nothing.

Votes of the last view that can change nothing any more (skip, and final) are not played when
`shortened`: a NOTAR certificate there can always become a FINAL one. That is not so for two
certificates of the same view, which is why V views shortened are weaker than V views whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

HONEST: Final = 3
VALUES: Final = "ab"


@dataclass(frozen=True)
class Mutation:
    """Which rule is broken; none, and it is the protocol."""

    final_after_skip: bool = False
    skip_after_final: bool = False
    no_skip_proof: bool = False
    double_notar: bool = False
    value_not_bound_to_parent: bool = False
    no_parent_certificate: bool = False
    final_without_certificate: bool = False
    quorum_of_two: bool = False
    restored_votes_at_once: bool = False
    forked_log_read_by_seat: bool = False
    """A proposal names seats instead of the frontiers' ids: who reads another branch of a forked
    log reads another value under the same proposal id."""


@dataclass(frozen=True)
class Candidate:
    view: int
    value: str
    parent: int | None


@dataclass(frozen=True)
class Outcome:
    """`steps` of the shortest run that breaks the property, or None; how many states were seen."""

    steps: int | None
    states: int
    exhaustive: bool


@dataclass(frozen=True)
class Action:
    seat: int
    word: str
    view: int
    candidate: int | None


State = tuple[int, ...]


class Model:
    """The candidates of `views` views and what a seat may do with them."""

    def __init__(
        self, views: int, mutation: Mutation | None = None, *, shortened: bool = False
    ) -> None:
        self.views = views
        self.mutation = mutation or Mutation()
        self.shortened = shortened
        self.candidates: list[Candidate] = []
        for view in range(views):
            fresh = [Candidate(view, value, None) for value in VALUES]
            for index, parent in enumerate(self.candidates):
                bound = not self.mutation.value_not_bound_to_parent
                values = parent.value if bound else VALUES
                fresh += [Candidate(view, value, index) for value in values]
            self.candidates += fresh
        self.count = len(self.candidates)
        self.width = 2 * self.count + views
        self._mask = (1 << self.width) - 1
        self._twin = [self._same_but_value(index) for index in range(self.count)]
        self._notars = [self._of_view(view, 0) for view in range(views)]
        self._finals = [self._of_view(view, self.count) for view in range(views)]
        self._swap: dict[int, int] = {}

    def _of_view(self, view: int, base: int) -> int:
        return sum(1 << base + i for i, c in enumerate(self.candidates) if c.view == view)

    def _same_but_value(self, index: int) -> int:
        """The candidate that this one becomes when the two values change names."""
        one = self.candidates[index]
        parent = None if one.parent is None else self._same_but_value(one.parent)
        value = VALUES[1 - VALUES.index(one.value)]
        return self.candidates.index(Candidate(one.view, value, parent))

    # -- votes as bits --------------------------------------------------------------------------
    def notar(self, candidate: int) -> int:
        return 1 << candidate

    def final(self, candidate: int) -> int:
        return 1 << self.count + candidate

    def skip(self, view: int) -> int:
        return 1 << 2 * self.count + view

    def certified(self, state: State) -> int:
        """The votes that have a certificate: the Byzantine seat's and enough honest ones'."""
        a, b, c = (seat & self._mask for seat in state)
        if self.mutation.quorum_of_two:
            return a | b | c
        if self.mutation.forked_log_read_by_seat:
            a, b, c = (self._either_value(votes) for votes in (a, b, c))
        return (a & b) | (a & c) | (b & c)

    def _either_value(self, votes: int) -> int:
        """Votes for a value of frontiers count for both: one proposal id stands for them."""
        return votes | self._swapped(votes)

    def _swapped(self, votes: int) -> int:
        found = self._swap.get(votes)
        if found is None:
            found = votes >> 2 * self.count << 2 * self.count
            for index, twin in enumerate(self._twin):
                if votes & self.notar(index):
                    found |= self.notar(twin)
                if votes & self.final(index):
                    found |= self.final(twin)
            self._swap[votes] = found
        return found

    # -- rules ----------------------------------------------------------------------------------
    def actions(self, state: State) -> Iterator[Action]:
        """Everything that an honest seat may do now."""
        certified = self.certified(state)
        for seat in range(HONEST):
            if seat and state[seat] == state[seat - 1]:
                continue  # the same as its twin
            own = self._own(state[seat])
            for view in range(self.views):
                yield from self._actions_in(seat, own, certified, view)

    def allowed(self, state: State, action: Action) -> bool:
        """Whether a named seat may do this now."""
        own = self._own(state[action.seat])
        found = self._actions_in(action.seat, own, self.certified(state), action.view)
        return action in list(found)

    def _actions_in(self, seat: int, own: int, certified: int, view: int) -> Iterator[Action]:
        rule = self.mutation
        last = self.shortened and view == self.views - 1
        for index, candidate in enumerate(self.candidates):
            if candidate.view != view:
                continue
            free = rule.double_notar or not own & self._notars[view]
            if free and not own & self.notar(index) and self._is_valid(candidate, certified):
                yield Action(seat, "notar", view, index)
            if last or own & self._finals[view]:
                continue
            backed = rule.final_without_certificate or certified & self.notar(index)
            if backed and (rule.final_after_skip or not own & self.skip(view)):
                yield Action(seat, "final", view, index)
        may_skip = rule.skip_after_final or not own & self._finals[view]
        if not last and may_skip and not own & self.skip(view):
            yield Action(seat, "skip", view, None)

    def _is_valid(self, candidate: Candidate, certified: int) -> bool:
        """A3: the parent is certified, and every view between was skipped."""
        first = 0
        if candidate.parent is not None:
            if not (
                certified & self.notar(candidate.parent) or self.mutation.no_parent_certificate
            ):
                return False
            first = self.candidates[candidate.parent].view + 1
        skipped = all(certified & self.skip(view) for view in range(first, candidate.view))
        return skipped or self.mutation.no_skip_proof

    # -- seats, which may forget ----------------------------------------------------------------
    def _own(self, seat: int) -> int:
        if not self.mutation.restored_votes_at_once:
            return seat
        forgotten = seat >> self.width
        return seat & self._mask & ~forgotten

    def apply(self, state: State, action: Action) -> State:
        if action.word == "skip":
            bit = self.skip(action.view)
        else:
            assert action.candidate is not None
            bit = getattr(self, action.word)(action.candidate)
        seats = list(state)
        seats[action.seat] |= bit
        if self.mutation.restored_votes_at_once:
            seats[action.seat] &= ~(bit << self.width)
        return tuple(seats)

    def _restored(self, state: State) -> Iterator[State]:
        """One honest seat, once, forgets all that it said; its votes are out in the world."""
        if not self.mutation.restored_votes_at_once or any(seat >> self.width for seat in state):
            return
        for index, seat in enumerate(state):
            if seat:
                yield (*state[:index], seat | seat << self.width, *state[index + 1 :])

    # -- the search -----------------------------------------------------------------------------
    def decided(self, state: State) -> set[str]:
        """The values that have FINAL certificates."""
        certified = self.certified(state)
        found = set()
        for index, candidate in enumerate(self.candidates):
            last = self.shortened and candidate.view == self.views - 1
            bit = self.notar(index) if last else self.final(index)
            if certified & bit:
                found.add(candidate.value)
        return found

    def canonical(self, state: State) -> State:
        ordered = tuple(sorted(state))
        if self.mutation.restored_votes_at_once:
            return ordered
        return min(ordered, tuple(sorted(map(self._swapped, state))))

    def search(self, max_states: int) -> Outcome:
        """Breadth first over every order of votes."""
        start: State = (0,) * HONEST
        seen = {start}
        queue = deque([(start, 0)])
        while queue:
            state, steps = queue.popleft()
            after = [self.apply(state, action) for action in self.actions(state)]
            for state_after in (*after, *self._restored(state)):
                fresh = self.canonical(state_after)
                if fresh in seen:
                    continue
                if len(self.decided(fresh)) > 1:
                    return Outcome(steps + 1, len(seen), False)
                if len(seen) >= max_states:
                    return Outcome(None, len(seen), False)
                seen.add(fresh)
                queue.append((fresh, steps + 1))
        return Outcome(None, len(seen), True)
