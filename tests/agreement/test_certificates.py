"""Certificates: q distinct seats on one ballot, and everything that only looks like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.agreement.certificates import (
    Ballot,
    Certified,
    SeatSet,
    Word,
    make_certificate,
    sign_vote,
    verify_certificate,
)
from openledger_node.ledger.errors import VerificationFailed
from tests.agreement.council import LEDGER, key_of, seat_set

ID = bytes(range(32))
BALLOT = Ballot("notar", LEDGER, 7, 0, ID)


def votes(count: int, ballot: Ballot = BALLOT) -> tuple[SeatSet, dict[int, bytes]]:
    seats, keys = seat_set(count)
    return seats, {
        index: sign_vote(
            key, ballot.word, ballot.ledger_id, ballot.epoch, ballot.view, ballot.named
        )
        for index, key in enumerate(keys)
    }


@pytest.mark.rule("A5", "G3")
@given(st.integers(1, 13))
def test_q_seats_make_a_certificate_and_one_fewer_do_not(count: int) -> None:
    seats, cast = votes(count)
    needed = 2 * count // 3 + 1
    assert seats.quorum == needed
    fewer = dict(list(cast.items())[: needed - 1])
    assert make_certificate(BALLOT, fewer, seats) is None
    enough = dict(list(cast.items())[:needed])
    certificate = make_certificate(BALLOT, enough, seats)
    assert certificate is not None
    assert verify_certificate(BALLOT, certificate, seats).certificate == certificate


def test_a_certified_ballot_is_made_by_verifying_alone() -> None:
    with pytest.raises(TypeError, match="verify_certificate"):
        Certified(BALLOT, (), object())


@pytest.mark.parametrize(
    "evil",
    [
        "a seat twice",
        "seats out of order",
        "a seat that is not there",
        "a negative seat",
        "too few",
        "none",
        "a signature of another seat",
        "a signature cut short",
        "a signature with a flipped bit",
    ],
)
def test_what_only_looks_like_a_certificate_is_refused(evil: str) -> None:
    seats, cast = votes(4)
    good = tuple(sorted(cast.items()))[:3]
    (a, sig_a), (b, sig_b), (c, sig_c) = good
    flipped = bytes([sig_c[0] ^ 1]) + sig_c[1:]
    wrong: dict[str, tuple[tuple[int, bytes], ...]] = {
        "a seat twice": ((a, sig_a), (a, sig_a), (b, sig_b)),
        "seats out of order": ((b, sig_b), (a, sig_a), (c, sig_c)),
        "a seat that is not there": ((a, sig_a), (b, sig_b), (9, sig_c)),
        "a negative seat": ((-1, sig_c), (a, sig_a), (b, sig_b)),
        "too few": good[:2],
        "none": (),
        "a signature of another seat": ((a, sig_a), (b, sig_b), (c, sig_b)),
        "a signature cut short": ((a, sig_a), (b, sig_b), (c, sig_c[:63])),
        "a signature with a flipped bit": ((a, sig_a), (b, sig_b), (c, flipped)),
    }
    verify_certificate(BALLOT, good, seats)
    with pytest.raises(VerificationFailed):
        verify_certificate(BALLOT, wrong[evil], seats)


@pytest.mark.parametrize("word", ["notar", "final", "skip"])
def test_votes_on_another_ballot_make_no_certificate(word: Word) -> None:
    seats, cast = votes(4)
    good = tuple(sorted(cast.items()))[:3]
    others = [
        Ballot("final", LEDGER, 7, 0, ID),
        Ballot("notar", bytes(32), 7, 0, ID),
        Ballot("notar", LEDGER, 8, 0, ID),
        Ballot("notar", LEDGER, 7, 1, ID),
        Ballot("notar", LEDGER, 7, 0, bytes(32)),
        Ballot(word, LEDGER, 7, 0, None),
    ]
    for other in others:
        with pytest.raises(VerificationFailed):
            verify_certificate(other, good, seats)


def test_a_stranger_has_no_seat() -> None:
    seats, _ = seat_set(4)
    stranger = key_of("stranger")
    assert seats.index_of(bytes(32), stranger.public.raw) is None
    account, device = seats.seats[2]
    assert seats.index_of(account, device) == 2
    assert seats.index_of(account, stranger.public.raw) is None


@pytest.mark.rule("A2")
def test_the_lead_goes_round_by_epoch_and_view() -> None:
    seats, _ = seat_set(4)
    assert [seats.leader(5, view) for view in range(5)] == [1, 2, 3, 0, 1]
    assert [seats.leader(epoch, 0) for epoch in range(5)] == [0, 1, 2, 3, 0]
