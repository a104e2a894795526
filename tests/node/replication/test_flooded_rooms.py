"""Strangers who fill every seat's room with other logs keep no seat from voting, and no home from
following.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from openledger_node.node.caches import Recent
from openledger_node.node.epochs import missing_logs
from openledger_node.node.replication import admission as admissions
from openledger_node.node.replication.admission import STRANGERS_ROOMS
from tests.kit.nodes import World, play_world
from tests.node.replication.test_admission import genesis, head, made, refusal
from tests.node.test_crowded_rounds import Council, council

__all__ = ["council"]


@pytest.mark.rule("X9")
@pytest.mark.parametrize("policy", ["open", "vouched", "listed"])
def test_what_a_frontier_names_is_stored_up_to_a_room_for_each_seat(policy: str) -> None:
    admission = made(policy, unknown_bytes=100)
    logs = [genesis(f"stranger-{n}") for n in range(3)]
    admission.stored(genesis("crowd"), 10**9)
    assert all(refusal(admission, log) for log in logs)
    named = {0: [logs[0].log_id, logs[1].log_id], 1: [logs[1].log_id]}
    assert admission.named_by_frontiers(named) == {logs[0].log_id, logs[1].log_id}
    assert admission.named_by_frontiers(named) == set()
    assert [bool(refusal(admission, log)) for log in logs] == [False, False, True]
    assert admission.stored(logs[0], 100 * STRANGERS_ROOMS)
    assert not admission.stored(logs[0], 1)
    assert refusal(admission, logs[0]), "the seat that names it has used its room"
    assert not refusal(admission, logs[1]), "another seat names it too"
    assert admission.stored(logs[1], 50)


@pytest.mark.rule("X9")
def test_a_seat_s_room_is_free_again_when_the_ledger_knows_who_filled_it() -> None:
    known: set[Any] = set()
    admission = made(unknown_bytes=1, known=known)
    first, second = genesis("first"), genesis("second")
    admission.stored(genesis("crowd"), 10**9)
    admission.named_by_frontiers({0: [first.log_id]})
    assert not admission.stored(first, 10**6)
    admission.named_by_frontiers({0: [second.log_id]})
    assert refusal(admission, second)
    known.add(admissions.owner_of(first))
    assert admission.refusal(second, head(second)) is None


@pytest.mark.rule("X9", "A4")
def test_a_log_that_was_refused_is_fetched_once_a_frontier_or_a_cut_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admissions, "MAX_STRANGERS_LOGS", 0)

    async def play(world: World) -> None:
        a, b = await world.node("a"), await world.node("b")
        a.append(3)
        b.append(4)
        world.connect(a, b)
        await world.settle()
        ours, theirs = a.genesis.log_id, b.genesis.log_id
        assert ours not in b.hub.replica.marks and theirs not in a.hub.replica.marks
        b.hub.admit([], {2: {ours}})
        a.hub.admit({theirs}, {})
        await world.settle()
        assert b.hub.replica.marks[ours] == a.hub.replica.marks[ours]
        assert a.hub.replica.marks[theirs] == b.hub.replica.marks[theirs]
        assert not a.faults and not b.faults

    play_world(play)


@pytest.mark.rule("A4", "X9")
def test_a_seat_asks_for_the_logs_that_frontiers_name_and_anybody_for_those_of_a_cut(
    council: Council,
) -> None:
    seat = council.ledger.accounts["seat-1"]
    stranger = council.leader.log
    for log in council.ledger.logs.by_id.values():
        if log is not stranger:
            council.hold(log)

    looked: Recent[Any] = Recent(16)

    def asked(account: bytes, device: bytes) -> Any:
        core: Any = SimpleNamespace(
            ledger_id=council.ledger.id, account_id=account, device=device, looked=looked
        )
        with council.store.read() as snapshot:
            return missing_logs(core, snapshot)

    mine = seat.id, seat.device.public.raw
    others = [council.seats.seats.index(each) for each in council.seats.seats]
    leader = council.seats.index_of(council.leader.id, council.leader.device.public.raw)
    expected = {index: {stranger.log_id} for index in others if index != leader}
    assert asked(*mine) == (set(), expected)
    assert asked(bytes(32), bytes(32)) == (set(), {})
    # The leader's other log, which is held, has the proposal; then the cut is known, its data not.
    other = council.other_log()
    other.append("witness.propose", council.true)
    council.vote()
    council.hold(*(log for log in council.ledger.logs.by_id.values() if log is not stranger))
    assert council.decision() is not None
    assert asked(bytes(32), bytes(32)) == ({stranger.log_id}, {})
