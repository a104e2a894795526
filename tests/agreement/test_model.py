"""The vote rules hold in every order of every vote; each rule left out is refuted."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from openledger_node.agreement import cut as cut_module
from openledger_node.agreement.certificates import sign_vote
from openledger_node.agreement.cut import compute_cut
from openledger_node.agreement.machine import Said
from openledger_node.agreement.rounds import Witnessed
from openledger_node.ledger.heads import Mark, SignedHead
from openledger_node.ledger.votes import (
    WitnessFinal,
    WitnessNotar,
    WitnessPropose,
    WitnessSkip,
    proposal_id,
)
from tests.agreement.council import LEDGER, Member, council, head_of, log_of, witnessed
from tests.agreement.model import Action, Candidate, Model, Mutation, State

MUTANTS = [
    "final_after_skip",
    "skip_after_final",
    "no_skip_proof",
    "double_notar",
    "value_not_bound_to_parent",
    "no_parent_certificate",
    "final_without_certificate",
    "quorum_of_two",
    "restored_votes_at_once",
    "forked_log_read_by_seat",
]


@pytest.mark.rule("A3", "A4", "A5", "A6")
def test_no_order_of_the_votes_of_two_views_decides_two_values() -> None:
    outcome = Model(2).search(100_000)
    assert outcome.exhaustive
    assert outcome.steps is None
    assert outcome.states > 15_000


@pytest.mark.rule("A3", "A4", "A5", "A6")
def test_the_first_orders_of_the_votes_of_three_views_decide_one_value() -> None:
    assert Model(3, shortened=True).search(60_000).steps is None


@pytest.mark.rule("A2", "A3", "A4", "A5", "A6", "A9")
@pytest.mark.parametrize("name", MUTANTS)
def test_a_rule_left_out_is_refuted(name: str) -> None:
    assert Model(2, Mutation(**{name: True})).search(100_000).steps is not None


def test_every_mutation_has_its_refutation() -> None:
    assert list(Mutation.__dataclass_fields__) == MUTANTS


def test_shortening_the_last_view_leaves_no_conflict_between_views_out() -> None:
    for name in MUTANTS[:7]:
        assert Model(2, Mutation(**{name: True}), shortened=True).search(100_000).steps


# -- the machine takes only steps that the model allows ------------------------------------------


class Watched:
    """Three honest seats that run the machine, a fourth that votes for everything, and the model
    that follows what they say.
    """

    VIEWS = 3

    def __init__(self, seed: int) -> None:
        self.order = random.Random(seed)
        epoch = self.order.choice([1, 2, 3, 4])
        self.members = council(4, [head_of(log_of("x"), 7)], epoch=epoch)
        self.byzantine = self.members.pop()
        self.model = Model(self.VIEWS)
        self.state: State = (0, 0, 0)
        self.named: dict[bytes, int] = {}
        self.unheard: list[list[Witnessed]] = [[] for _ in self.members]
        self.words: set[str] = set()
        for member in (*self.members, self.byzantine):
            member.step()
        for member, other in itertools.product((*self.members, self.byzantine), repeat=2):
            if member is not other:
                member.round.add(other.said[0])

    def play(self, steps: int) -> None:
        for _ in range(steps):
            index = self.order.randrange(3)
            member = self.members[index]
            waiting = self.unheard[index]
            if waiting and self.order.random() < 0.6:
                member.round.add(waiting.pop(self.order.randrange(len(waiting))))
                continue
            said = len(member.said)
            hurry = self.order.random() < 0.2
            member.step(waited=hurry, expired=hurry)
            for event in member.said[said:]:
                if getattr(event.body, "view", 0) >= self.VIEWS:
                    return
                self.follow(index, event)
                self.spread(index, event)
                self.answer(event)

    def spread(self, source: int | None, event: Witnessed) -> None:
        for index, waiting in enumerate(self.unheard):
            if index != source:
                waiting.append(event)

    def answer(self, event: Witnessed) -> None:
        """The Byzantine seat hears everything at once, votes for it, and proposes both values."""
        round_, seat = self.byzantine.round, self.byzantine.seat
        round_.add(event)
        view = event.body.view
        for body in self.both_values(view):
            self.utter("witness.propose", body)
            self.name(body)
        for named, (body, *_) in list(round_.proposals.items()):
            slot = round_.epoch, body.view, named
            vote = sign_vote(seat.key, "notar", LEDGER, *slot)
            self.utter("witness.notar", WitnessNotar(*slot, vote))
            vote = sign_vote(seat.key, "final", LEDGER, *slot)
            self.utter("witness.final", WitnessFinal(*slot, vote, ()))
        skip = sign_vote(seat.key, "skip", LEDGER, round_.epoch, view, None)
        self.utter("witness.skip", WitnessSkip(round_.epoch, view, None, skip))

    def both_values(self, view: int) -> list[WitnessPropose]:
        round_ = self.byzantine.round
        if view or round_.seats.leader(round_.epoch, 0) != self.byzantine.seat.index:
            return []
        frontiers = sorted(event_id for event_id, _ in round_.frontiers.values())
        delta = compute_cut({}, self.byzantine.held.previous_cut_id, *self.reports())
        cut_id = cut_module.cut_id_of(delta)
        return [
            WitnessPropose(round_.epoch, 0, None, None, (), (), tuple(chosen), delta, cut_id)
            for chosen in (frontiers, frontiers[1:])
        ]

    def reports(self) -> tuple[list[tuple[SignedHead, ...]], dict[bytes, int], object]:
        heads = [body.heads for _, body in self.byzantine.round.frontiers.values()]
        return heads, {}, self.byzantine.held.histories

    def utter(self, kind: str, body: object) -> None:
        event = witnessed(3, Said(kind, body), len(self.byzantine.said))
        if all(event.body != said.body for said in self.byzantine.said):
            self.byzantine.said.append(event)
            self.byzantine.round.add(event)
            self.spread(None, event)

    def name(self, body: WitnessPropose) -> None:
        parent = None if body.parent_id is None else self.named[body.parent_id]
        value = "a" if len(body.frontiers) == 4 else "b"
        found = Candidate(body.view, value, parent)
        named = proposal_id(
            LEDGER, body.epoch, body.view, body.parent_id, body.frontiers, body.cut_id
        )
        self.named[named] = self.model.candidates.index(found)

    def follow(self, seat: int, event: Witnessed) -> None:
        body = event.body
        if isinstance(body, WitnessPropose):
            self.name(body)
            return
        word = event.kind.removeprefix("witness.")
        candidate = None if word == "skip" else self.named[body.proposal_id]
        action = Action(seat, word, body.view, candidate)
        assert self.model.allowed(self.state, action), action
        self.state = self.model.apply(self.state, action)
        self.words.add(f"{word} {body.view}")


@pytest.mark.rule("A4", "A5", "A6")
@pytest.mark.parametrize("first", range(0, 60, 20))
def test_whatever_the_machine_says_is_a_step_of_the_model(first: int) -> None:
    words: set[str] = set()
    for seed in range(first, first + 20):
        run = Watched(seed)
        begin(run)
        run.play(400)
        words |= run.words
        decided = {one.decision() for one in run.members} - {None}
        assert len({found.cut_id for found in decided if found}) <= 1
        assert len(run.model.decided(run.state)) <= 1
    assert {"notar 0", "final 0", "skip 0", "notar 1", "final 1", "skip 1"} <= words


def begin(run: Watched) -> None:
    """Where the Byzantine seat leads, it does not wait for anybody."""
    for body in run.both_values(0):
        run.utter("witness.propose", body)
        run.name(body)


# -- A7 over every history of a log that forks ---------------------------------------------------

DEPTH = 3
HISTORIES = ["".join(bits) for n in range(DEPTH + 1) for bits in itertools.product("01", repeat=n)]
LOG = log_of("forked")


@dataclass(frozen=True)
class Tree:
    """Every history of two kinds of leaves; a root is the history itself."""

    def common(self, log_id: bytes, a: tuple[int, bytes], b: tuple[int, bytes]) -> int:
        pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a[1], b[1], strict=False))
        return len(list(pairs))

    def root_at(self, log_id: bytes, size: int, under: tuple[int, bytes]) -> bytes:
        return under[1][:size]


def mark(history: str) -> Mark:
    return Mark(LOG, len(history), history.encode())


def head(history: str) -> SignedHead:
    return SignedHead(LOG, len(history), history.encode(), bytes(64))


def cut_of(previous: str, marks: Sequence[str]) -> str:
    """The history of the log in the next cut."""
    before: Mapping[bytes, Mark] = {LOG: mark(previous)} if previous else {}
    changed = compute_cut(before, bytes(32), [[head(name)] for name in marks], {}, Tree())
    assert len(changed) <= 1
    return changed[0].root.decode() if changed else previous


def extending_cuts() -> list[tuple[str, tuple[str, ...], str]]:
    nodes = [name for name in HISTORIES if name]
    return [
        (previous, marks, cut_of(previous, marks))
        for previous in HISTORIES
        for marks in itertools.combinations_with_replacement(nodes, 3)
    ]


def comparable(a: str, b: str) -> bool:
    return a.startswith(b) or b.startswith(a)


@pytest.mark.rule("A7")
def test_every_cut_extends_the_one_before_and_is_the_longest_that_its_marks_agree_on() -> None:
    for previous, marks, found in extending_cuts():
        left = [name for name in marks if comparable(name, previous)]
        candidates = [
            name
            for name in HISTORIES
            if name.startswith(previous)
            and any(other.startswith(name) for other in left)
            and all(comparable(name, other) for other in left)
        ]
        assert found.startswith(previous)
        assert len(found) == max(map(len, [*candidates, previous]))
        assert found in [*candidates, previous]


@pytest.mark.rule("A7")
def test_a_frontier_that_contradicts_the_last_cut_would_undo_it_if_it_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cut_module, "_comparable", lambda *arguments: True)
    assert any(not found.startswith(previous) for previous, _, found in extending_cuts())


def test_a_member_that_hears_nothing_says_no_vote() -> None:
    member: Member = council(4, [head_of(log_of("x"), 7)])[0]
    assert member.step()
    assert not member.step(waited=True, expired=True)
