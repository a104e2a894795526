"""Daemons of four witnesses, one of which says two things, or comes back from an old backup."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from openledger_node.agreement.certificates import sign_vote
from openledger_node.agreement.rounds import Evidence
from openledger_node.api import restore
from openledger_node.ledger.votes import WitnessFinal, WitnessNotar, WitnessSkip
from openledger_node.node.witness_logs import all_evidence
from tests.kit.daemons import Town
from tests.kit.seats import begin_together

WITNESSES = ["ana", "bo", "cy", "di"]
HONEST = WITNESSES[:3]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    begin_together(tmp_path, WITNESSES, epoch_ms=200, t0_ms=400)
    with Town(tmp_path) as made:
        yield made


def issue(town: Town, name: str = "ana") -> None:
    with town.home(name) as home:
        home.issue(1_000_000, "ana")


def epoch(town: Town, name: str) -> int:
    return int(town.status(name).epoch)


def evidence(town: Town, name: str) -> list[tuple[int, Evidence]]:
    with town.home(name) as home, home.core.store.read() as snapshot:
        return all_evidence(home.core, snapshot)


def until_epoch(town: Town, names: list[str], wanted: int) -> None:
    town.until(
        lambda: all(epoch(town, name) >= wanted for name in names), f"epoch {wanted} at {names}"
    )


def until_same_statement(town: Town, names: list[str]) -> None:
    town.until(lambda: len({town.statement(name) for name in names}) == 1, "one statement")


def contradict(town: Town, name: str, at_epoch: int) -> None:
    """The seat votes for two proposals that nobody made, and says skip and final of one view."""
    with town.home(name) as home:
        core = home.core
        key = core.key("device")
        drafts = []
        for number in (1, 2):
            slot = at_epoch, 0, bytes([number]) * 32
            notar = WitnessNotar(*slot, sign_vote(key, "notar", core.ledger_id, *slot))
            drafts.append(core.draft("witness.notar", notar))
        final = WitnessFinal(*slot, sign_vote(key, "final", core.ledger_id, *slot), ())
        skip = sign_vote(key, "skip", core.ledger_id, at_epoch, 0, None)
        drafts.append(core.draft("witness.final", final))
        drafts.append(core.draft("witness.skip", WitnessSkip(at_epoch, 0, None, skip)))
        core.append(drafts)


@pytest.mark.rule("A9")
def test_a_witness_that_contradicts_itself_is_proved_and_stops_nobody(town: Town) -> None:
    contradict(town, "di", at_epoch=1)
    for index, name in enumerate(WITNESSES):
        town.start(name, *WITNESSES[:index])
    issue(town)
    until_epoch(town, WITNESSES, 1)
    issue(town)
    until_epoch(town, WITNESSES, 2)
    until_same_statement(town, WITNESSES)
    for name in HONEST:
        found = evidence(town, name)
        assert {(number, one.seat) for number, one in found} == {(1, WITNESSES.index("di"))}
        assert {one.what for _, one in found} >= {"two votes notar", "skip and final"}


@pytest.mark.rule("A9", "A4")
def test_a_witness_restored_from_an_old_backup_never_votes_twice(town: Town) -> None:
    for index, name in enumerate(WITNESSES):
        town.start(name, *WITNESSES[:index])
    issue(town)
    until_epoch(town, WITNESSES, 1)
    with town.home("di") as home:
        home.backup(town.place / "di.backup")
    for number in (2, 3):
        issue(town)
        until_epoch(town, WITNESSES, number)
    town.kill("di")
    shutil.move(town.path("di"), town.place / "lost")
    restore(town.place / "di.backup", town.path("di"))
    shutil.copytree(town.place / "lost" / "keys", town.path("di") / "keys", dirs_exist_ok=True)

    town.kill("cy")
    town.start("di", "ana", "bo")
    town.until(lambda: "seat_waits" in town.logged("di"), "the restored seat waits")
    issue(town)
    town.until(lambda: town.marks("di") == town.marks("ana"), "the restored home has caught up")
    before = epoch(town, "ana")
    assert before == 3, "two seats and one that waits decide nothing"

    town.start("cy", "ana", "bo", "di")
    until_epoch(town, WITNESSES, 4)
    town.kill("bo")
    issue(town)
    rest = ["ana", "cy", "di"]
    until_epoch(town, rest, 5)  # with the restored seat's votes
    until_same_statement(town, rest)
    assert evidence(town, "ana") == []
