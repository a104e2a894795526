"""A few seeds of the agreement simulator, and that its checks can fail."""

from __future__ import annotations

from collections import Counter

import pytest

from openledger_node.agreement import machine
from openledger_node.agreement.certificates import SeatSet
from openledger_node.agreement.rounds import Round
from scripts.simulation import assembly
from scripts.simulation.assembly import Meeting, run_meeting
from scripts.simulation.auditing import fast_program

SEEDS = (17, 16, 13, 68, 18)
"""A copied home, a seat that forks and signs all, one that signs all, one that shows two histories,
and nobody dishonest; the first and the last meet every situation between them.
"""

_played: dict[int, Meeting] = {}


def played(seed: int) -> Meeting:
    if seed not in _played:
        _played[seed] = run_meeting(seed)
    return _played[seed]


@pytest.mark.rule("A1", "A2", "A3", "A5", "A6", "A7", "A8", "A9")
@pytest.mark.parametrize("seed", SEEDS)
def test_after_the_storm_every_honest_node_made_the_same_of_every_epoch(seed: int) -> None:
    outcome = played(seed)
    assert outcome.problems == []
    assert outcome.epochs >= 3


def test_the_seeds_of_the_suite_meet_what_agreement_is_for() -> None:
    met: Counter[str] = sum((played(seed).situations for seed in SEEDS), Counter())
    assert {name for name in assembly.NAMED if not met[name]} == set()


def test_a_seed_plays_the_same_run_again() -> None:
    assert run_meeting(17) == played(17)
    assert played(17).trace != played(18).trace


def test_seats_that_vote_without_a_certificate_are_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A quorum of one: every honest seat decides what it likes."""
    monkeypatch.setattr(SeatSet, "quorum", property(lambda self: 1))
    assert any(run_meeting(seed).problems for seed in (0, 3))


def test_finals_that_do_not_carry_their_certificate_are_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Round, "_pool", lambda self, *arguments: None)
    monkeypatch.setattr(machine, "_is_skipped", lambda round_, view: False)
    assert run_meeting(458).problems


def test_a_second_program_that_makes_other_statements_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The audit of what nodes hold in the end can fail: this fold moves all money twice."""
    fold = fast_program().Fold
    money = fold.phase_3
    monkeypatch.setattr(
        fold, "phase_3", lambda self, *said: money(self, *said[:4], said[4] * 2, said[5])
    )
    texts = run_meeting(68).problems
    assert any("the second program makes something else of epoch" in text for text in texts)
