"""A8: a statement proved by q seats' signatures and the genesis alone, and what is refused."""

from __future__ import annotations

import random

import pytest

from openledger_node.agreement.certificates import genesis_seats
from openledger_node.agreement.machine import FoldResult, Seat, state_event
from openledger_node.agreement.rounds import Round, Witnessed, contradicting_seats, settle
from openledger_node.agreement.statement_proof import (
    ProvedStatement,
    SignedStatement,
    verify_statement,
)
from openledger_node.ledger.accounts import Inception, next_commitment
from openledger_node.ledger.errors import VerificationFailed
from openledger_node.ledger.genesis import Genesis, network_params
from openledger_node.ledger.keys import SigningKey
from openledger_node.ledger.votes import WitnessState
from tests.agreement.council import Member, head_of, held, key_of, log_of, run, share_everything

HEADS = [head_of(log_of("a"), 3)]
RESULT = FoldResult(b"r" * 32, b"d" * 32, 1, b"n" * 32)


def genesis_of(keys: list[SigningKey]) -> Genesis:
    seats = []
    for index, key in enumerate(keys):
        root = key_of(f"root {index}").public.raw
        inception = Inception(1, (root,), 1, next_commitment([root], 1), bytes(16))
        seats.append((inception, key.public.raw))
    # Accounts differ by their root keys.
    return Genesis(1, "four", bytes(16), 1, network_params(()), tuple(seats), ())


KEYS = [key_of(str(index)) for index in range(4)]
GENESIS = genesis_of(KEYS)


def states(result: FoldResult = RESULT) -> list[tuple[int, WitnessState]]:
    """The four seats' states of a decided epoch."""
    seats = genesis_seats(GENESIS)
    members = [
        Member(Seat(index, key), Round(GENESIS.ledger_id, 1, seats), held(HEADS))
        for index, key in enumerate(KEYS)
    ]
    run(members, random.Random(1))
    share_everything(members)
    decided = members[0].decision()
    assert decided is not None
    return [
        (index, state_event(GENESIS.ledger_id, decided, result, key).body)
        for index, key in enumerate(KEYS)
    ]


@pytest.mark.rule("A8")
@pytest.mark.parametrize("count", [3, 4])
def test_q_equal_states_prove_a_statement(count: int) -> None:
    proved = verify_statement(GENESIS, SignedStatement((), tuple(states()[:count])))
    assert proved.state.statement_root == b"r" * 32
    assert proved.seats == tuple(range(count))


@pytest.mark.rule("A8")
@pytest.mark.parametrize(
    "evil",
    [
        "too few",
        "none",
        "one seat three times",
        "out of order",
        "a seat that is not there",
        "another root among them",
        "a state signed by another seat",
        "a certificate of two",
        "a certificate of another proposal",
    ],
)
def test_what_does_not_prove_a_statement_is_refused(evil: str) -> None:
    good = states()[:3]
    other = states(FoldResult(b"x" * 32, b"d" * 32, 1, b"n" * 32))
    (_, first), second, third = good

    def changed(state: WitnessState, **fields: object) -> WitnessState:
        held_fields = {name: getattr(state, name) for name in state.__struct_fields__}
        return WitnessState(**(held_fields | fields))

    wrong: dict[str, list[tuple[int, WitnessState]]] = {
        "too few": good[:2],
        "none": [],
        "one seat three times": [(0, first)] * 3,
        "out of order": [second, (0, first), third],
        "a seat that is not there": [(0, first), second, (7, third[1])],
        "another root among them": [(0, first), second, other[2]],
        "a state signed by another seat": [(0, first), second, (3, third[1])],
        "a certificate of two": [
            (0, changed(first, final_certificate=first.final_certificate[:2])),
            second,
            third,
        ],
        "a certificate of another proposal": [
            (0, changed(first, final_proposal_id=bytes(32))),
            second,
            third,
        ],
    }
    with pytest.raises(VerificationFailed):
        verify_statement(GENESIS, SignedStatement((), tuple(wrong[evil])))


def test_another_ledgers_genesis_does_not_prove_it() -> None:
    other = genesis_of([key_of(f"other {index}") for index in range(4)])
    with pytest.raises(VerificationFailed):
        verify_statement(other, SignedStatement((), tuple(states()[:3])))


def test_a_proved_statement_is_made_by_verifying_alone() -> None:
    with pytest.raises(TypeError, match="verify_statement"):
        ProvedStatement(states()[0][1], (0,), object())


@pytest.mark.rule("A8")
def test_f_plus_one_other_roots_raise_an_alarm_and_fewer_do_not() -> None:
    ours, theirs = states(), states(FoldResult(b"x" * 32, b"d" * 32, 1, b"n" * 32))
    for others in range(4):
        round_ = Round(GENESIS.ledger_id, 1, genesis_seats(GENESIS))
        for index in range(4):
            state = theirs[index][1] if index < others else ours[index][1]
            round_.add(Witnessed(index, bytes([index]), "witness.state", state))
        own = ours[3][1]
        contradicting = contradicting_seats(round_, own.statement_root, own.state_digest)
        assert contradicting == list(range(others))
        assert (len(contradicting) > round_.seats.faults) == (others >= 2)
        assert settle(round_, own).final == (4 - others >= 3)


@pytest.mark.rule("A8", "A9")
def test_a_seat_that_signed_two_roots_counts_for_the_first_and_against_both() -> None:
    ours, theirs = states(), states(FoldResult(b"x" * 32, b"d" * 32, 1, b"n" * 32))
    for order in ((ours, theirs), (theirs, ours)):
        round_ = Round(GENESIS.ledger_id, 1, genesis_seats(GENESIS))
        for turn, signed in enumerate(order):
            for index in range(4):
                round_.add(
                    Witnessed(index, bytes([turn, index]), "witness.state", signed[index][1])
                )
        for mine in (ours, theirs):
            own = mine[0][1]
            found = contradicting_seats(round_, own.statement_root, own.state_digest)
            assert found == [0, 1, 2, 3]
            assert settle(round_, own).final == (mine is order[0])


def test_a_state_with_a_wrong_signature_is_not_counted() -> None:
    round_ = Round(GENESIS.ledger_id, 1, genesis_seats(GENESIS))
    round_.add(Witnessed(1, b"e", "witness.state", states()[0][1]))
    assert round_.states == {}
