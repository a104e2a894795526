"""Filing proofs of forks: each log once, however many proofs come, and in few passes."""

from __future__ import annotations

import pytest

from openledger_node.node import forking
from openledger_node.node.reading import events_of
from tests.kit.homes import WITNESS, Coop
from tests.node.replication.test_evil_proofs import fork_of


def filed(coop: Coop) -> int:
    with coop[WITNESS].core.store.read() as snapshot:
        return len(list(events_of(snapshot, "log.fork")))


def test_many_proofs_are_filed_in_one_pass_over_the_leaves(
    coop: Coop, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = coop[WITNESS].core
    passes = [0]
    read = forking.events_of

    def count(*arguments: object) -> object:
        passes[0] += 1
        return read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(forking, "events_of", count)
    found = [(fork_of(f"log {number}"), True) for number in range(70)]
    assert forking.file_forks(core, [*found, found[0]]) == 70
    assert (filed(coop), passes[0]) == (70, 1)
    assert forking.file_forks(core, found) == 0, "each log is filed once"
    assert forking.file_forks(core, [*found, (fork_of("another"), True)]) == 1
    assert filed(coop) == 71


def test_a_proof_that_was_only_heard_of_is_filed_by_the_only_seat_alone(
    coop: Coop, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = coop[WITNESS].core
    monkeypatch.setattr(core, "is_solo_seat", lambda snapshot: False)
    assert forking.file_forks(core, [(fork_of("heard of"), False)]) == 0
    monkeypatch.undo()
    assert forking.file_forks(core, [(fork_of("heard of"), False)]) == 1
