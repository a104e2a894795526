"""The vote rules: one seat, four seats, lost seats, crashes, and seats that lie."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.agreement.certificates import sign_vote
from openledger_node.agreement.cut import cut_id_of
from openledger_node.agreement.machine import (
    FoldResult,
    current_view,
    proposal_fault,
    seat_of,
    state_event,
)
from openledger_node.agreement.rounds import Round, Witnessed
from openledger_node.ledger.heads import Mark
from openledger_node.ledger.votes import (
    SkipCertificate,
    WitnessFinal,
    WitnessNotar,
    WitnessPropose,
    WitnessSkip,
    proposal_id,
    state_parts,
)
from tests.agreement.council import (
    LEDGER,
    Member,
    council,
    head_of,
    held,
    log_of,
    run,
    seat_set,
    share_everything,
)

HEADS = [head_of(log_of(name), size) for name, size in (("a", 3), ("b", 5), ("own", 9))]
MARKS = tuple(sorted(head.mark for head in HEADS))


@pytest.mark.rule("A1", "A3", "A4", "A5")
def test_a_solo_seat_says_four_events_and_has_decided() -> None:
    (member,) = council(1, HEADS)
    while member.step():
        if member.decision() is not None:
            break
    assert [event.kind for event in member.said] == [
        "witness.frontier",
        "witness.propose",
        "witness.notar",
        "witness.final",
    ]
    decided = member.decision()
    assert decided is not None
    assert decided.changed == MARKS
    assert decided.cut_id == cut_id_of(MARKS)


@pytest.mark.rule("A1")
def test_nothing_is_said_while_nothing_is_due() -> None:
    (member,) = council(1, HEADS)
    assert not member.step(due=False)
    assert member.said == []


@pytest.mark.parametrize("crash_after", range(5))
def test_after_a_crash_a_seat_goes_on_from_the_last_event_it_said(crash_after: int) -> None:
    (before,) = council(1, HEADS)
    for _ in range(crash_after):
        before.step()
    (after,) = council(1, HEADS)
    for event in before.said:
        after.take(event)
    while after.decision() is None:
        assert after.step()
    kinds = Counter(event.kind for event in after.said)
    assert max(kinds.values()) == 1
    assert len(kinds) == 4


@pytest.mark.rule("A2", "A3", "A4", "A5")
@settings(max_examples=15)
@given(st.integers(0, 2**32))
def test_four_seats_decide_the_same_with_4n_plus_1_events(seed: int) -> None:
    members = council(4, HEADS)
    run(members, random.Random(seed))
    share_everything(members)
    decisions = {member.decision() for member in members}
    assert len({(d.cut_id, d.proposal_id, d.changed) for d in decisions if d}) == 1
    assert None not in decisions
    said = Counter(event.kind for member in members for event in member.said)
    # A seat that learns of the certificate before it voted has no need to vote for it any more.
    assert said.pop("witness.notar") in (3, 4)
    assert said == {"witness.frontier": 4, "witness.propose": 1, "witness.final": 4}
    # With the four states after the fold: 4n + 1 events in the good case, or fewer.


@pytest.mark.rule("A2", "A5")
@settings(max_examples=15)
@given(st.integers(0, 2**32), st.sampled_from([0, 2, 3]))
def test_one_silent_seat_that_does_not_lead_stops_nobody(seed: int, silent: int) -> None:
    members = council(4, HEADS)  # epoch 1: seat 1 leads view 0
    run(members, random.Random(seed), silent=[silent])
    awake = [member for member in members if member.seat.index != silent]
    share_everything(awake)
    assert all(member.decision() is not None for member in awake)


@pytest.mark.rule("A2", "A6")
@settings(max_examples=15)
@given(st.integers(0, 2**32))
def test_a_silent_leader_is_skipped_and_the_next_one_leads(seed: int) -> None:
    members = council(4, HEADS)
    awake = [member for member in members if member.seat.index != 1]
    order = random.Random(seed)
    run(members, order, silent=[1])
    assert all(member.decision() is None for member in awake)
    for member in awake:
        member.step(expired=True)
    run(members, order, silent=[1])
    share_everything(awake)
    decisions = [member.decision() for member in awake]
    assert all(decision is not None and decision.view == 1 for decision in decisions)
    assert len({decision.cut_id for decision in decisions if decision}) == 1


@pytest.mark.rule("A5", "A6")
@settings(max_examples=15)
@given(st.integers(0, 2**32), st.integers(1, 7))
def test_no_seat_says_both_skip_and_final_in_a_view_nor_anything_twice(
    seed: int, count: int
) -> None:
    members = council(count, HEADS)
    run(members, random.Random(seed), expire=True, steps=800)
    for member in members:
        slots = Counter((event.kind, getattr(event.body, "view", None)) for event in member.said)
        assert all(times == 1 for times in slots.values())
        finals = {view for kind, view in slots if kind == "witness.final"}
        skips = {view for kind, view in slots if kind == "witness.skip"}
        assert not finals & skips


@pytest.mark.rule("A4", "A7")
@settings(max_examples=15)
@given(st.integers(0, 2**32), st.integers(1, 7))
def test_decisions_never_disagree_whatever_the_order_and_the_timers(seed: int, count: int) -> None:
    members = council(count, HEADS)
    run(members, random.Random(seed), expire=True, steps=1_500)
    share_everything(members)
    cuts = {d.cut_id for member in members if (d := member.decision()) is not None}
    assert len(cuts) <= 1


@pytest.mark.rule("A3")
def test_votes_read_in_another_order_come_to_the_same_decision() -> None:
    members = council(4, HEADS)
    run(members, random.Random(5))
    events = [event for member in members for event in member.said]
    first = members[0].round
    seen = set()
    for seed in range(20):
        random.Random(seed).shuffle(events)
        fresh = Round(LEDGER, first.epoch, first.seats)
        for event in events:
            fresh.add(event)
        seen.add(fresh.decision({}))
    assert len(seen) == 1
    assert None not in seen


@pytest.mark.rule("A9")
def test_an_equivocating_seat_is_in_evidence_and_its_votes_still_count() -> None:
    seats, keys = seat_set(4)
    round_ = Round(LEDGER, 1, seats)
    for named in (bytes(32), bytes([1]) * 32):
        signature = sign_vote(keys[2], "notar", LEDGER, 1, 0, named)
        round_.add(Witnessed(2, named, "witness.notar", WitnessNotar(1, 0, named, signature)))
    assert [found.seat for found in round_.evidence] == [2]
    assert round_.votes["notar", 0, bytes(32)].keys() == {2}
    assert round_.votes["notar", 0, bytes([1]) * 32].keys() == {2}


def test_a_vote_with_a_wrong_signature_is_no_vote() -> None:
    seats, keys = seat_set(4)
    round_ = Round(LEDGER, 1, seats)
    stolen = sign_vote(keys[3], "final", LEDGER, 1, 0, bytes(32))
    round_.add(Witnessed(2, b"e", "witness.final", WitnessFinal(1, 0, bytes(32), stolen, ())))
    other_epoch = sign_vote(keys[2], "skip", LEDGER, 2, 0, None)
    round_.add(Witnessed(2, b"f", "witness.skip", WitnessSkip(1, 0, None, other_epoch)))
    assert round_.votes == {}
    assert round_.cast == {}


@pytest.mark.rule("A3")
def test_a_proposal_by_a_seat_that_does_not_lead_is_evidence_and_no_proposal() -> None:
    members = council(4, HEADS)
    leader = members[1]
    run(members, random.Random(1))
    proposal = next(e for e in leader.said if e.kind == "witness.propose")
    fresh = Round(LEDGER, 1, leader.round.seats)
    fresh.add(Witnessed(2, proposal.event_id, proposal.kind, proposal.body))
    assert fresh.proposals == {}
    assert [found.seat for found in fresh.evidence] == [2]


def proposal_of(member: Member) -> WitnessPropose:
    return next(e.body for e in member.said if e.kind == "witness.propose")


def altered(body: WitnessPropose, **changes: object) -> WitnessPropose:
    fields = {name: getattr(body, name) for name in body.__struct_fields__}
    return WitnessPropose(**(fields | changes))


@pytest.fixture
def settled_council() -> list[Member]:
    members = council(4, HEADS)
    run(members, random.Random(3))
    share_everything(members)
    return members


@pytest.mark.rule("A3", "A4")
@pytest.mark.parametrize(
    ("evil", "reason"),
    [
        ("another cut id", "cut id"),
        ("a mark left out", "not the one its frontiers make"),
        ("a mark made up", "not the one its frontiers make"),
        ("too few frontiers", "frontiers and needs"),
        ("frontiers out of order", "not sorted"),
        ("a frontier twice", "not sorted"),
        ("a frontier nobody published", "not held"),
        ("half a parent", "half a parent"),
        ("a parent of a later view", "earlier view"),
        ("a parent without certificate", "needs 3 of 4"),
        ("a later view without skips", "skipped"),
        ("a skip without certificate", "needs 3 of 4"),
    ],
)
def test_a_proposal_that_breaks_a_rule_gets_no_vote(
    settled_council: list[Member], evil: str, reason: str
) -> None:
    leader = settled_council[1]
    good = proposal_of(leader)
    changes: dict[str, dict[str, object]] = {
        "another cut id": {"cut_id": bytes(32)},
        "a mark left out": {"cut_delta": good.cut_delta[1:]},
        "a mark made up": {"cut_delta": (*good.cut_delta, Mark(b"\xff" * 32, 1, bytes(32)))},
        "too few frontiers": {"frontiers": good.frontiers[:2]},
        "frontiers out of order": {"frontiers": good.frontiers[::-1]},
        "a frontier twice": {"frontiers": (good.frontiers[0], *good.frontiers)},
        "a frontier nobody published": {"frontiers": tuple(sorted((*good.frontiers, bytes(32))))},
        "half a parent": {"parent_view": 0},
        "a parent of a later view": {"parent_view": 0, "parent_id": bytes(32)},
        "a parent without certificate": {
            "view": 1,
            "parent_view": 0,
            "parent_id": next(iter(leader.round.proposals)),
        },
        "a later view without skips": {"view": 1},
        "a skip without certificate": {"view": 1, "skips": (SkipCertificate(0, ()),)},
    }
    assert proposal_fault(leader.round, leader.held, good) == ""
    fault = proposal_fault(leader.round, leader.held, altered(good, **changes[evil]))
    assert reason in fault


@pytest.mark.rule("A4")
def test_a_proposal_naming_data_that_is_not_held_gets_no_vote(
    settled_council: list[Member],
) -> None:
    good = proposal_of(settled_council[1])
    poor = held(HEADS, lacks=[HEADS[0].log_id])
    assert "not held" in proposal_fault(settled_council[0].round, poor, good)


@pytest.mark.rule("A3")
def test_the_id_of_a_proposal_binds_all_that_it_says() -> None:
    base = (LEDGER, 1, 0, None, (bytes(32),), bytes(32))
    others = [
        (bytes(32), 1, 0, None, (bytes(32),), bytes(32)),
        (LEDGER, 2, 0, None, (bytes(32),), bytes(32)),
        (LEDGER, 1, 1, None, (bytes(32),), bytes(32)),
        (LEDGER, 1, 0, bytes(32), (bytes(32),), bytes(32)),
        (LEDGER, 1, 0, None, (b"\1" * 32,), bytes(32)),
        (LEDGER, 1, 0, None, (bytes(32),), b"\1" * 32),
    ]
    assert len({proposal_id(*item) for item in [base, *others]}) == 7


@pytest.mark.rule("A2")
def test_a_view_ends_with_a_certificate() -> None:
    seats, keys = seat_set(4)
    round_ = Round(LEDGER, 1, seats)
    assert current_view(round_) == 0
    for seat in range(3):
        signature = sign_vote(keys[seat], "skip", LEDGER, 1, 0, None)
        round_.add(Witnessed(seat, b"e", "witness.skip", WitnessSkip(1, 0, None, signature)))
        assert current_view(round_) == (1 if seat == 2 else 0)


@pytest.mark.rule("A8")
def test_a_state_is_signed_over_everything_it_states(settled_council: list[Member]) -> None:
    member = settled_council[0]
    decided = member.decision()
    assert decided is not None
    result = FoldResult(b"r" * 32, b"d" * 32, 1, b"n" * 32)
    said = state_event(LEDGER, decided, result, member.seat.key)
    body = said.body
    assert (body.cut_id, body.statement_root) == (decided.cut_id, b"r" * 32)
    key = member.round.seats.key(0)
    assert key.verifies_parts(body.signature, "state", *state_parts(LEDGER, body))
    for name, value in (("epoch", 2), ("cut_id", bytes(32)), ("state_digest", bytes(32))):
        fields = {field: getattr(body, field) for field in body.__struct_fields__}
        other = type(body)(**(fields | {name: value}))
        assert not key.verifies_parts(other.signature, "state", *state_parts(LEDGER, other))


def test_a_device_without_a_seat_has_none() -> None:
    seats, keys = seat_set(2)
    account, device = seats.seats[1]
    found = seat_of(seats, account, device, keys[1])
    assert found is not None
    assert found.index == 1
    assert seat_of(seats, account, keys[0].public.raw, keys[0]) is None
