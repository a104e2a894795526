"""A few seeds of the simulator, and that its checks can fail."""

from __future__ import annotations

from typing import Any

import pytest

from openledger_node.node.replication.engine import Hub
from openledger_node.sync.replica import Replica
from scripts.simulation.world import Outcome, run_seed

SEEDS = range(12)


@pytest.mark.rule("X1", "X2", "X3", "X4", "X5", "X6")
@pytest.mark.parametrize("seed", SEEDS)
def test_after_the_storm_all_nodes_hold_the_same_and_nothing_acknowledged_is_lost(
    seed: int,
) -> None:
    outcome = run_seed(seed)
    assert outcome.problems == []
    assert outcome.appends and outcome.crashes and outcome.partitions


def test_the_seeds_of_the_suite_include_forks_and_old_disks() -> None:
    assert sum(run_seed(seed).forks for seed in range(6)) > 0


def test_a_seed_plays_the_same_run_again() -> None:
    assert run_seed(3) == run_seed(3)
    assert run_seed(3).trace != run_seed(4).trace


def problems(seeds: range = range(8)) -> list[str]:
    return [problem for seed in seeds for problem in run_seed(seed).problems]


def test_nodes_that_never_compare_histories_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "suspicious", lambda *arguments: None)
    assert problems()


def test_nodes_that_keep_proofs_to_themselves_are_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Replica, "fork_known", lambda self, proof: False)
    assert problems(range(4, 5))


def test_nodes_that_do_not_ask_for_what_is_longer_are_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(self: Any, *arguments: Any) -> None:
        return None

    monkeypatch.setattr(Replica, "_plain", refuse)
    assert problems(range(2))


def test_an_outcome_names_its_seed_and_its_trace() -> None:
    outcome = run_seed(5, 3)
    assert isinstance(outcome, Outcome)
    assert outcome.seed == 5
    assert len(outcome.trace) == 16
