"""What one seat that follows no rule can do to the others: nothing that lasts, and it is proved."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.agreement import machine
from openledger_node.agreement.certificates import SeatSet, sign_vote
from openledger_node.agreement.cut import cut_id_of, makes_cut
from openledger_node.agreement.evidence import evidence_of, unjustified_votes
from openledger_node.agreement.machine import Said, current_view, next_event, own_cut
from openledger_node.agreement.rounds import (
    MAX_FALSE_VOTES,
    MAX_VARIANTS,
    Evidence,
    Round,
    Witnessed,
)
from openledger_node.ledger.heads import Mark, SignedHead
from openledger_node.ledger.votes import (
    SkipCertificate,
    WitnessFinal,
    WitnessFrontier,
    WitnessNotar,
    WitnessPropose,
    WitnessSkip,
    WitnessState,
    proposal_id,
)
from tests.agreement.council import LEDGER, Member, council, head_of, log_of, root_of, witnessed
from tests.agreement.council import seat_set as seats_of

HEADS = [head_of(log_of("x"), 7), head_of(log_of("y"), 3)]
MARKS = tuple(sorted(head.mark for head in HEADS))
LIAR = 3


def meet(epoch: int = 3) -> tuple[list[Member], Member]:
    """Four seats whose frontiers are known to all; the last is the liar, which leads epoch 3."""
    members = council(4, HEADS, epoch=epoch)
    for member in members:
        member.step()
    for one, other in itertools.permutations(members, 2):
        one.round.add(other.said[0])
    return members[:LIAR], members[LIAR]


def root_proposal(liar: Member, view: int = 0, leave_out: int | None = None) -> WitnessPropose:
    named = {seat: event_id for seat, (event_id, _) in liar.round.frontiers.items()}
    chosen = tuple(sorted(named[seat] for seat in named if seat != leave_out))
    return WitnessPropose(
        liar.round.epoch, view, None, None, (), (), chosen, MARKS, cut_id_of(MARKS)
    )


def id_of(body: WitnessPropose) -> bytes:
    return proposal_id(LEDGER, body.epoch, body.view, body.parent_id, body.frontiers, body.cut_id)


_numbers = itertools.count(1_000)


def lie(liar: Member, kind: str, body: Any) -> Witnessed:
    return witnessed(liar.seat.index, Said(kind, body), next(_numbers))


def vote(liar: Member, word: str, view: int, named: bytes | None) -> Witnessed:
    slot = liar.round.epoch, view, named
    signature = sign_vote(liar.seat.key, word, LEDGER, *slot)  # type: ignore[arg-type]
    bodies: dict[str, Any] = {
        "notar": lambda: WitnessNotar(*slot, signature),  # type: ignore[arg-type]
        "final": lambda: WitnessFinal(*slot, signature, ()),  # type: ignore[arg-type]
        "skip": lambda: WitnessSkip(liar.round.epoch, view, None, signature),
    }
    return lie(liar, f"witness.{word}", bodies[word]())


def gossip(honest: list[Member], rounds: int = 12, *, expire: bool = True) -> None:
    """The honest hear all of each other, and nothing more of the liar; timers run out."""
    for _ in range(rounds):
        for member in honest:
            while member.step(waited=True):
                pass
        for one, other in itertools.permutations(honest, 2):
            for event in other.said:
                one.round.add(event)
        if expire and not any(member.step(waited=True) for member in honest):
            for member in honest:
                member.step(waited=True, expired=True)


def decided_cuts(members: list[Member]) -> set[bytes | None]:
    found = [member.decision() for member in members]
    return {None if decided is None else decided.cut_id for decided in found}


@pytest.mark.rule("A2", "A5")
def test_a_vote_that_one_seat_alone_was_shown_reaches_the_others_with_its_final() -> None:
    honest, liar = meet()
    one, other = root_proposal(liar), root_proposal(liar, leave_out=0)
    for member, body in zip(honest, (one, one, other), strict=True):
        member.round.add(lie(liar, "witness.propose", body))
        assert member.step()
    honest[0].round.add(honest[1].said[-1])
    honest[0].round.add(vote(liar, "notar", 0, id_of(one)))
    assert honest[0].step()
    final = honest[0].said[-1]
    assert final.kind == "witness.final"
    for member in honest[1:]:
        member.step(expired=True)
        assert member.said[-1].kind == "witness.skip"
    # Two skips and one final: without the certificate in the final, view 0 would never end.
    assert current_view(honest[2].round) == 0
    honest[2].round.add(final)
    assert current_view(honest[2].round) == 1
    gossip(honest)
    assert len(decided_cuts(honest)) == 1
    assert None not in decided_cuts(honest)


@pytest.mark.rule("A3")
def test_a_parent_that_its_leader_hid_is_proved_by_its_id() -> None:
    honest, liar = meet()
    body = root_proposal(liar)
    for member in honest[:2]:
        member.round.add(lie(liar, "witness.propose", body))
        member.step()
    for member in honest:
        for event in (honest[0].said[-1], honest[1].said[-1], vote(liar, "notar", 0, id_of(body))):
            member.round.add(event)
    assert id_of(body) not in honest[2].round.proposals
    gossip(honest, 3, expire=False)
    parents = {
        body.parent_id for member in honest for (body, *_) in member.round.proposals.values()
    }
    assert id_of(body) in parents
    gossip(honest)
    assert decided_cuts(honest) == {cut_id_of(MARKS)}


@pytest.mark.rule("A3", "A4")
def test_the_same_proposal_with_false_marks_first_does_not_hide_the_true_one() -> None:
    honest, liar = meet()
    good = root_proposal(liar)
    bad = msgspec_replace(good, cut_delta=(Mark(log_of("x"), 7, bytes(32)),))
    assert id_of(bad) == id_of(good)
    for member in honest:
        member.round.add(lie(liar, "witness.propose", bad))
        assert not member.step()
        member.round.add(lie(liar, "witness.propose", good))
        assert member.step()
    gossip(honest)
    decisions = {member.decision() for member in honest}
    assert {decided.changed for decided in decisions if decided} == {MARKS}
    assert LIAR in {found.seat for found in honest[0].round.evidence}


def msgspec_replace(body: WitnessPropose, **changes: Any) -> WitnessPropose:
    fields = {name: getattr(body, name) for name in body.__struct_fields__}
    return WitnessPropose(**(fields | changes))


@pytest.mark.rule("A7")
@pytest.mark.parametrize(
    ("defect", "delta"),
    [
        ("out of order", MARKS[::-1]),
        ("a log twice", (MARKS[0], MARKS[0], MARKS[1])),
        ("a mark that did not grow", (*MARKS, Mark(b"\xff" * 32, 5, bytes(32)))),
        ("a log left out", MARKS[:1]),
    ],
)
def test_a_change_of_the_cut_is_written_in_one_way_only(
    defect: str, delta: tuple[Mark, ...]
) -> None:
    before = {b"\xff" * 32: Mark(b"\xff" * 32, 5, bytes(32))}
    whole = cut_id_of([*before.values(), *MARKS])
    assert makes_cut(before, MARKS, whole)
    assert not makes_cut(before, delta, whole), defect


@pytest.mark.rule("A4", "A7")
def test_heads_that_no_device_signed_do_not_count_in_a_frontier() -> None:
    honest, liar = meet()
    log_id = log_of("x")
    forged = SignedHead(log_id, 1, root_of(log_id, 1, "other"), b"\1" * 64)
    event = lie(liar, "witness.frontier", WitnessFrontier(3, (forged,)))
    fresh = Round(LEDGER, 3, honest[0].round.seats)
    for member in honest:
        fresh.add(member.said[0])
    fresh.add(event)
    assert own_cut(fresh, honest[0].held, sorted(fresh.reports)) == MARKS


@pytest.mark.rule("A4")
def test_a_frontier_of_data_that_nobody_supplies_delays_nobody() -> None:
    members = council(4, HEADS, epoch=1)
    liar = members[LIAR]
    strange = SignedHead(log_of("nobody's"), 9, bytes(32), bytes(64))
    claim = lie(liar, "witness.frontier", WitnessFrontier(1, (strange,)))
    honest = members[:LIAR]
    for member in honest:
        held = member.held
        member.held = type(held)(**{**vars(held), "holds": lambda mark: mark in MARKS})
        member.round.add(claim)
    gossip(honest, 4, expire=False)
    assert decided_cuts(honest) == {cut_id_of(MARKS)}
    assert {member.decision().view for member in honest if member.decision()} == {0}  # type: ignore[union-attr]


# -- evidence ------------------------------------------------------------------------------------


def a_round() -> tuple[Round, Member]:
    honest, liar = meet()
    return honest[0].round, liar


def pairs(round_: Round, *events: Witnessed) -> list[Evidence]:
    for event in events:
        round_.add(event)
    return round_.evidence


@pytest.mark.rule("A9")
@pytest.mark.parametrize("word", ["notar", "final"])
def test_two_votes_of_one_word_in_one_view_are_a_pair_of_evidence(word: str) -> None:
    round_, liar = a_round()
    one, other = (vote(liar, word, 0, bytes([n]) * 32) for n in (1, 2))
    assert pairs(round_, one, other, one) == [
        Evidence(LIAR, f"two votes {word}", one.event_id, other.event_id)
    ]


@pytest.mark.rule("A9")
@pytest.mark.parametrize("swapped", [False, True])
def test_skip_and_final_in_one_view_are_a_pair_of_evidence(swapped: bool) -> None:
    round_, liar = a_round()
    said = [vote(liar, "skip", 0, None), vote(liar, "final", 0, bytes(32))]
    found = pairs(round_, *(said[::-1] if swapped else said))
    ids = sorted(event.event_id for event in said)
    assert found == [Evidence(LIAR, "skip and final", *ids)]


@pytest.mark.rule("A1", "A9")
def test_two_frontiers_are_a_pair_of_evidence_and_both_can_be_named() -> None:
    round_, liar = a_round()
    first = round_.frontiers[LIAR][0]
    other = lie(liar, "witness.frontier", WitnessFrontier(3, tuple(HEADS[:1])))
    assert pairs(round_, other) == [Evidence(LIAR, "two frontiers", first, other.event_id)]
    assert {first, other.event_id} <= set(round_.reports)


@pytest.mark.rule("A3", "A9")
def test_two_proposals_of_one_view_are_a_pair_of_evidence() -> None:
    round_, liar = a_round()
    one = lie(liar, "witness.propose", root_proposal(liar))
    other = lie(liar, "witness.propose", root_proposal(liar, leave_out=1))
    assert pairs(round_, one, other) == [
        Evidence(LIAR, "two proposals", one.event_id, other.event_id)
    ]


@pytest.mark.rule("A8", "A9")
def test_two_states_of_one_epoch_are_a_pair_of_evidence() -> None:
    round_, liar = a_round()
    events = []
    for root in (b"\1" * 32, b"\2" * 32):
        unsigned = WitnessState(
            3, bytes(32), root, bytes(32), 1, bytes(32), None, bytes(64), 0, bytes(32), ()
        )
        parts = (LEDGER, *(getattr(unsigned, n) for n in unsigned.__struct_fields__[:7]))
        fields = {name: getattr(unsigned, name) for name in unsigned.__struct_fields__}
        signature = liar.seat.key.sign_parts("state", *parts)
        events.append(
            lie(liar, "witness.state", WitnessState(**(fields | {"signature": signature})))
        )
    assert [found.what for found in pairs(round_, *events)] == ["two states"]


@pytest.mark.rule("A4", "A9")
@pytest.mark.parametrize("defect", ["too few", "unsorted", "two of one seat", "another cut"])
def test_a_vote_for_a_proposal_that_no_certificate_could_justify_is_evidence(defect: str) -> None:
    round_, liar = a_round()
    good = root_proposal(liar)
    second = lie(liar, "witness.frontier", WitnessFrontier(3, tuple(HEADS[:1])))
    bodies = {
        "too few": msgspec_replace(good, frontiers=good.frontiers[:2]),
        "unsorted": msgspec_replace(good, frontiers=good.frontiers[::-1]),
        "two of one seat": msgspec_replace(
            good, frontiers=tuple(sorted((*good.frontiers, second.event_id)))
        ),
        "another cut": msgspec_replace(
            good, view=4, parent_view=0, parent_id=id_of(good), cut_id=bytes(32)
        ),
    }
    bad = bodies[defect]
    ballot = vote(liar, "notar", bad.view, id_of(bad))
    for event in (second, lie(liar, "witness.propose", good), lie(liar, "witness.propose", bad)):
        round_.add(event)
    assert unjustified_votes(round_) == []
    round_.add(ballot)
    assert Evidence(
        LIAR, "notar for an unjustified proposal", id_of(bad), ballot.event_id
    ) in evidence_of(round_)


@pytest.mark.rule("A9")
@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_the_honest_are_never_in_evidence_and_agree_whatever_the_liar_shows_to_whom(
    seed: int,
) -> None:
    order = random.Random(seed)
    honest, liar = meet(order.choice([1, 2, 3, 4]))
    bodies = [root_proposal(liar, v, leave_out=o) for v in range(3) for o in (None, 0, 2)]
    for _ in range(60):
        member, other = order.choice(honest), order.choice(honest)
        chance = order.random()
        if chance < 0.3:
            body = order.choice(bodies)
            member.round.add(lie(liar, "witness.propose", body))
        elif chance < 0.6:
            known = [named for one in honest for named in one.round.proposals]
            if known:
                named = order.choice(known)
                view = next(
                    one.round.proposals[named][0].view
                    for one in honest
                    if named in one.round.proposals
                )
                member.round.add(vote(liar, order.choice(["notar", "final"]), view, named))
            member.round.add(vote(liar, "skip", order.randrange(3), None))
        elif chance < 0.8:
            hurry = order.random() < 0.5
            member.step(waited=hurry, expired=hurry)
        elif member is not other:
            for event in other.said:
                member.round.add(event)
    gossip(honest, 40)
    assert len(decided_cuts(honest)) == 1
    assert None not in decided_cuts(honest), "the honest alone are a quorum"
    for member in honest:
        assert {found.seat for found in evidence_of(member.round)} <= {LIAR}


# -- limits and shapes ---------------------------------------------------------------------------


@pytest.mark.rule("A9")
def test_a_seat_that_votes_for_everything_is_counted_so_often_and_no_more() -> None:
    round_, liar = a_round()
    for number in range(MAX_VARIANTS + 5):
        round_.add(vote(liar, "notar", 0, number.to_bytes(32, "big")))
    assert len(round_.votes) == MAX_VARIANTS
    body = root_proposal(liar)
    for number in range(MAX_VARIANTS + 5):
        skips = (SkipCertificate(number, ()),)
        round_.add(lie(liar, "witness.propose", msgspec_replace(body, skips=skips)))
    assert len(round_.proposals[id_of(body)]) == MAX_VARIANTS


def test_false_votes_in_certificates_stop_being_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    round_, liar = a_round()
    checks = []
    monkeypatch.setattr(
        SeatSet, "key", lambda self, seat: checks.append(seat) or liar.seat.key.public
    )
    for view in range(MAX_FALSE_VOTES):
        false = tuple((seat, bytes(64)) for seat in range(4))
        signed = vote(liar, "final", view, bytes(32)).body
        body = WitnessFinal(3, view, bytes(32), signed.signature, false)
        round_.add(lie(liar, "witness.final", body))
    own = MAX_FALSE_VOTES
    assert len(checks) == MAX_FALSE_VOTES + own
    assert all(word == "final" for word, _, _ in round_.votes)


IDS = st.sampled_from([bytes([n]) * 32 for n in range(4)])
SIGNATURES = st.just(bytes(64))
VIEWS = st.integers(0, 5) | st.just(2**20)
CERTIFICATES = st.lists(st.tuples(st.integers(0, 30), SIGNATURES), max_size=4).map(tuple)
HEADS_OF_ALL_SORTS = st.builds(SignedHead, IDS, st.integers(0, 2**40), IDS, SIGNATURES)
MARKS_OF_ALL_SORTS = st.builds(Mark, IDS, st.integers(0, 2**40), IDS)
BODIES = st.one_of(
    st.builds(WitnessFrontier, st.just(3), st.lists(HEADS_OF_ALL_SORTS, max_size=4).map(tuple)),
    st.builds(
        WitnessPropose,
        st.just(3),
        VIEWS,
        st.none() | VIEWS,
        st.none() | IDS,
        CERTIFICATES,
        st.lists(st.builds(SkipCertificate, VIEWS, CERTIFICATES), max_size=3).map(tuple),
        st.lists(IDS, min_size=1, max_size=4).map(tuple),
        st.lists(MARKS_OF_ALL_SORTS, max_size=3).map(tuple),
        IDS,
    ),
    st.builds(WitnessNotar, st.just(3), VIEWS, IDS, SIGNATURES),
    st.builds(WitnessFinal, st.just(3), VIEWS, IDS, SIGNATURES, CERTIFICATES),
    st.builds(WitnessSkip, st.just(3), VIEWS, st.none(), SIGNATURES),
    st.builds(
        WitnessState,
        st.just(3),
        IDS,
        IDS,
        IDS,
        st.just(1),
        IDS,
        st.none(),
        SIGNATURES,
        VIEWS,
        IDS,
        CERTIFICATES,
    ),
)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), BODIES), max_size=12), st.booleans())
def test_bodies_of_any_shape_never_raise(said: list[tuple[int, Any]], hurry: bool) -> None:
    seats, keys = seats_of(4)
    member = council(4, HEADS, epoch=3)[0]
    round_ = member.round
    for number, (seat, body) in enumerate(said):
        round_.add(Witnessed(seat, number.to_bytes(32, "big"), "witness.any", body))
    next_event(round_, member.seat, member.held, due=True, waited=hurry, expired=hurry)
    round_.decision({})
    evidence_of(round_)
    assert len(seats.seats) == len(keys)


@pytest.mark.rule("A2", "A6")
def test_a_seat_that_left_a_view_by_a_skip_certificate_says_skip_too() -> None:
    honest, liar = meet()
    one, two, three = honest
    for member in (one, two):
        assert member.step(expired=True)
    for event in (one.said[-1], two.said[-1], vote(liar, "skip", 0, None)):
        three.round.add(event)
    assert current_view(three.round) == 1
    assert three.step()
    assert three.said[-1].kind == "witness.skip"
    # The others were not shown the liar's vote: with this one they need it no more.
    for member, other in ((one, two), (two, one)):
        member.round.add(other.said[-1])
        member.round.add(three.said[-1])
        assert current_view(member.round) == 1


def test_a_leader_proposes_nothing_that_no_event_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    honest, _ = meet(epoch=1)
    leader = honest[1]
    monkeypatch.setattr(machine, "MAX_PROPOSAL_BYTES", 100)
    assert not leader.step()
    monkeypatch.undo()
    assert leader.step()
    assert leader.said[-1].kind == "witness.propose"


@pytest.mark.rule("A5")
def test_two_final_certificates_for_two_cuts_are_seen() -> None:
    honest, liar = meet()
    round_ = honest[0].round
    keys = seats_of(4)[1]
    good = root_proposal(liar)
    bad = msgspec_replace(good, cut_id=bytes(32), cut_delta=())
    for body in (good, bad):
        assert round_.final_cuts() == ({good.cut_id} if body is bad else set())
        round_.add(lie(liar, "witness.propose", body))
        for seat, key in enumerate(keys[:3]):
            slot = 3, 0, id_of(body)
            final = WitnessFinal(*slot, sign_vote(key, "final", LEDGER, *slot), ())
            round_.add(witnessed(seat, Said("witness.final", final), next(_numbers)))
    assert round_.final_cuts() == {good.cut_id, bad.cut_id}
