"""Daemons of four witnesses and two contributors on loopback: epochs close by themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from openledger_node.api import initialise, verify_file
from openledger_node.ledger.errors import Refused
from tests.kit.daemons import Town
from tests.kit.seats import begin_together

WITNESSES = ["ana", "bo", "cy", "di"]
CONTRIBUTORS = ["eve", "flo"]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    begin_together(tmp_path, WITNESSES, epoch_ms=200, t0_ms=400)
    with Town(tmp_path) as made:
        for name in CONTRIBUTORS:
            initialise(tmp_path / name, name=name, genesis_file=made.genesis)
        yield made


def start_all(town: Town, names: list[str]) -> None:
    """Every daemon keeps links to all that began before it."""
    for index, name in enumerate(names):
        town.start(name, *names[:index])


def epoch(town: Town, name: str) -> int:
    return int(town.status(name).epoch)


def contribute(town: Town, name: str, text: str) -> str:
    """Registers a text beside the daemon; the contribution's id."""
    file = town.place / f"{text}.txt"
    file.write_text(f"{name} wrote {text} on this ledger, word after word. " * 20)
    with town.home(name) as home:
        contribution = home.data_add([file], title=text).contribution_id
    assert contribution is not None
    return contribution


def status_of(town: Town, name: str, contribution: str) -> str:
    """What a home makes of a contribution: absent, pending or final."""
    with town.home(name) as home:
        found = [event for event in home.log(limit=None).events if event.event_id == contribution]
    return found[0].status if found else "absent"


def until_final(town: Town, contribution: str, names: list[str]) -> None:
    def is_final() -> bool:
        return all(status_of(town, name, contribution) == "final" for name in names)

    town.until(is_final, f"a contribution is final for {names}")


def until_same_statement(town: Town, names: list[str]) -> None:
    town.until(lambda: len({town.statement(name) for name in names}) == 1, "one statement")


@pytest.mark.rule("A1", "A2", "A6")
def test_epochs_close_by_themselves_while_a_quorum_of_the_witnesses_runs(town: Town) -> None:
    everybody = WITNESSES + CONTRIBUTORS
    start_all(town, everybody)
    with town.home("ana") as home:
        home.issue(7_000_000, "ana")
    until_final(town, contribute(town, "eve", "with-four"), everybody)
    until_same_statement(town, everybody)

    town.kill("di")
    rest = ["ana", "bo", "cy", *CONTRIBUTORS]
    until_final(town, contribute(town, "flo", "with-three"), rest)
    until_same_statement(town, rest)

    town.kill("cy")
    left = ["ana", "bo", *CONTRIBUTORS]
    pending = contribute(town, "eve", "with-two")
    town.until(
        lambda: all(status_of(town, name, pending) == "pending" for name in left),
        "it is known to all who run",
    )
    before = epoch(town, "ana")
    with town.home("flo") as home:
        assert home.credits(pending=True).pending
    assert {status_of(town, name, pending) for name in left} == {"pending"}
    assert epoch(town, "ana") == before

    town.start("di", "ana", "bo", "eve", "flo")
    back = [*left, "di"]
    until_final(town, pending, back)
    until_same_statement(town, back)
    assert epoch(town, "di") > before

    town.start("cy", "ana", "bo", "di", "eve", "flo")
    until_same_statement(town, everybody)
    proved: list[set[bytes]] = []

    def all_prove_the_same() -> bool:
        # While a statement is new there are homes that have not the signatures of enough seats yet.
        with contextlib.suppress(Refused):
            proved.append(proofs(town, everybody))
        return bool(proved) and len(proved[-1]) == 1

    town.until(all_prove_the_same, "the same proof from everybody")
    (proof,) = proved[-1]
    file = town.place / "ana.proof"
    file.write_bytes(proof)
    verified = verify_file(file, town.genesis)
    assert verified.valid, verified.reasons
    assert verified.facts["witnesses"] >= 3


def proofs(town: Town, names: list[str]) -> set[bytes]:
    """What homes prove of the first witness's row in the last statement, each by itself."""
    found = set()
    for name in names:
        file = town.place / f"{name}-{len(list(town.place.iterdir()))}.proof"
        with town.home("ana") as home:
            account = home.status().account_id
        with town.home(name) as home:
            home.prove(account, file)
        found.add(file.read_bytes())
    return found
