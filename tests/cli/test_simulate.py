"""Attacks against the real rules: none pays but squatting, which is told as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from openledger_node import api
from openledger_node.cli.commands import simulating
from openledger_node.cli.simulate import attacks
from openledger_node.cli.simulate.attacks import ATTACKS, PIECES, Outcome, play
from openledger_node.cli.simulate.world import ANSWERS, FEE_MICRO, WAITING, world
from tests.cli.fakes import Terminal
from tests.kit.homes import no_waiting_for_the_disk


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with no_waiting_for_the_disk():
        yield


@pytest.mark.parametrize("seed", [2, 11])
@pytest.mark.parametrize("attack", sorted(set(ATTACKS) - {"squat", "sybil"}))
def test_an_attack_gains_nothing_over_honest_behaviour(
    attack: str, seed: int, tmp_path: Path
) -> None:
    outcomes = play(attack, api, tmp_path, seed)  # type: ignore[arg-type]
    assert [one.way for one in outcomes] == [way.name for way in ATTACKS[attack]]
    for one in outcomes:
        assert 0 <= one.attack_micro <= one.honest_micro
        assert one.honest_micro > 0


@pytest.mark.parametrize("seed", [1, 2, 11])
def test_a_text_cut_in_pieces_moves_less_than_a_millionth_of_a_fee_by_piece_and_receipt(
    seed: int, tmp_path: Path
) -> None:
    """Shares are whole millionths (R4), so where their remainders go depends on how many there are.
    With seed 2 that is 8 micro-credits of 7.5 credits, in favour of whoever cuts.
    """
    (outcome,) = play("sybil", api, tmp_path, seed)  # type: ignore[arg-type]
    most_micro = PIECES * ANSWERS * FEE_MICRO // 1_000_000
    assert abs(outcome.attack_micro - outcome.honest_micro) < most_micro
    assert not outcome.pays


def test_a_squatter_gets_the_absent_author_s_share_and_that_is_told(tmp_path: Path) -> None:
    (outcome,) = play("squat", api, tmp_path, seed=11)  # type: ignore[arg-type]
    assert (outcome.honest_micro, outcome.gain_ppm) == (0, None)
    assert 0 < outcome.attack_micro < ANSWERS * FEE_MICRO


def test_a_copier_and_a_provider_who_leaves_the_original_out_get_nothing(tmp_path: Path) -> None:
    copied, _ = play("collude", api, tmp_path, seed=3)  # type: ignore[arg-type]
    assert copied.attack_micro * 50 <= copied.honest_micro


@pytest.mark.rule("C11", "V6")
@pytest.mark.parametrize("attack", ["collude", "stall"])
def test_receipts_without_evidence_pay_neither_their_provider_nor_its_friend(
    attack: str, tmp_path: Path
) -> None:
    """The honest provider has 60 % of four fees less the network's 5 %, and its friend nothing."""
    _, outcome = play(attack, api, tmp_path, seed=4)  # type: ignore[arg-type]
    assert outcome.honest_micro == ANSWERS * FEE_MICRO * 95 // 100 * 60 // 100
    assert outcome.attack_micro == 0


@pytest.mark.parametrize("play_it", [attacks.misreport, attacks.withhold])
def test_a_false_receipt_that_nobody_challenges_is_paid(
    play_it: attacks.Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the plays above show what challenges do, and not that false receipts are void by form."""
    monkeypatch.setattr(attacks, "_challenged", lambda *_: None)
    with world(api, tmp_path / "world", 4, params=WAITING) as made:  # type: ignore[arg-type]
        assert play_it(made, True) > 0


def test_the_same_seed_plays_the_same_world(tmp_path: Path) -> None:
    first = play("wash", api, tmp_path / "a", seed=5)  # type: ignore[arg-type]
    assert play("wash", api, tmp_path / "b", seed=5) == first  # type: ignore[arg-type]


def test_a_gain_is_told_in_millionths_and_over_nothing_not_at_all() -> None:
    assert Outcome(1, "", 2_000_000, 1_000_000).gain_ppm == 500_000
    assert Outcome(1, "", 0, 5).gain_ppm is None


def test_an_attack_that_pays_ends_with_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()

    monkeypatch.setattr(attacks, "play", lambda name, *_: [Outcome(1, "w", 10_000, 20_000)])
    assert terminal.run("--json", "simulate", "wash", "--seeds", "2") == 1
    shown = json.loads(capsys.readouterr().out)
    assert shown["pays"] is True
    assert [world["gain_ppm"] for world in shown["worlds"]] == [2_000_000] * 2
    assert terminal.run("simulate", "squat", "--seeds", "1") == 0
    assert "2.000000" in capsys.readouterr().out


def test_the_names_of_the_command_are_those_of_the_attacks() -> None:
    assert set(simulating.NAMES) == set(ATTACKS)
