"""The shapes of `witness.*` and what votes and states sign."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from openledger_node.ledger import kinds, votes
from openledger_node.ledger.encoding import encode, signing_bytes
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.events import MAX_LEAF_BYTES, encode_event
from tests.ledger import naive_msgpack as naive
from tests.vectors import make

ID = make.digest("id")
SIG = bytes(64)
DOCUMENT = make.document()
PARAMS = naive.decode(encode(DOCUMENT.params))
HEAD = naive.decode(encode(make.signed_head(make.history(3)).signed))
CERTIFICATE = [[seat, SIG] for seat in range(31)]

BODIES: dict[str, list[Any]] = {
    "witness.frontier": [1, [HEAD]],
    "witness.propose": [1, 2, 1, ID, CERTIFICATE, [[0, CERTIFICATE]], [ID], [HEAD[:3]], ID],
    "witness.notar": [1, 0, ID, SIG],
    "witness.final": [1, 0, ID, SIG, CERTIFICATE],
    "witness.skip": [1, 0, None, SIG],
    "witness.state": [1, ID, ID, ID, 1, ID, None, SIG, 0, ID, CERTIFICATE],
    "witness.set": [1, [[ID, ID]], 1, PARAMS, [[ID, 5]]],
    "witness.ready": [1],
}
LIMITS: list[tuple[str, int, Any, Any]] = [
    ("witness.frontier", 0, 2**40, 0),
    ("witness.frontier", 1, [HEAD] * 3000, [HEAD] * 3001),
    ("witness.propose", 1, 2**20, 2**20 + 1),
    ("witness.propose", 2, None, -1),
    ("witness.propose", 4, [], [*CERTIFICATE, [0, SIG]]),
    ("witness.propose", 4, [[30, SIG]], [[31, SIG]]),
    ("witness.propose", 4, [[0, SIG]], [[0, SIG[1:]]]),
    ("witness.propose", 6, [ID] * 31, [ID] * 32),
    ("witness.propose", 6, [ID], []),
    ("witness.propose", 7, [HEAD[:3]] * 5000, [HEAD[:3]] * 5001),
    ("witness.notar", 2, ID, None),
    ("witness.final", 2, ID, None),
    ("witness.skip", 2, None, ID),
    ("witness.skip", 0, 2**40, 2**40 + 1),
    ("witness.state", 4, 2**16, 0),
    ("witness.state", 6, ID, ID[1:]),
    ("witness.set", 0, 2**40, 0),
    ("witness.set", 1, [[ID, ID]] * 31, [[ID, ID]] * 32),
    ("witness.set", 1, [[ID, ID]], []),
    ("witness.set", 4, [[ID, 5]] * 64, [[ID, 5]] * 65),
    ("witness.set", 4, [[ID, 2**53 - 1]], [[ID, 2**53]]),
    ("witness.ready", 0, 2**40, 0),
]


def test_every_kind_of_the_witnesses_has_a_body_here() -> None:
    assert set(BODIES) == set(votes.VOTE_KINDS)


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_reads_back_as_the_same_bytes(kind: str) -> None:
    raw = naive.encode(BODIES[kind])
    assert encode(kinds.parse_raw_body(kind, raw)) == raw


@pytest.mark.parametrize(("kind", "at", "good", "bad"), LIMITS)
def test_a_value_at_its_limit_is_taken_and_past_it_is_not(
    kind: str, at: int, good: Any, bad: Any
) -> None:
    for value, fits in ((good, True), (bad, False)):
        body = list(BODIES[kind])
        body[at] = value
        if fits:
            kinds.check_body(kind, body)
        else:
            with pytest.raises(BadInput, match=f"the body of {kind} is malformed"):
                kinds.check_body(kind, body)


def test_a_full_frontier_and_a_full_cut_fit_an_event() -> None:
    wide = [ID, 2**40, ID, SIG]
    assert len(encode_event(2**40, "witness.frontier", 0, [2**40, [wide] * 3000])) < MAX_LEAF_BYTES
    proposal = [2**40, 2**20, 0, ID, CERTIFICATE, [], [ID] * 31, [wide[:3]] * 5000, ID]
    assert len(encode_event(2**40, "witness.propose", 0, proposal)) < MAX_LEAF_BYTES


def test_a_proposal_s_id_binds_all_that_was_proposed() -> None:
    parts: dict[str, Any] = {
        "ledger_id": ID,
        "epoch": 4,
        "view": 1,
        "parent_id": None,
        "frontiers": (ID,),
        "cut_id": ID,
    }
    raw = naive.encode(["oln/proposal/1", ID, 4, 1, None, [ID], ID])
    assert votes.proposal_id(**parts) == hashlib.sha256(raw).digest()
    other = make.digest("other")
    changes: dict[str, Any] = {
        "ledger_id": other,
        "epoch": 5,
        "view": 2,
        "parent_id": ID,
        "frontiers": (ID, other),
        "cut_id": other,
    }
    made = {votes.proposal_id(**{**parts, name: value}) for name, value in changes.items()}
    assert len(made | {votes.proposal_id(**parts)}) == len(changes) + 1


def test_a_state_s_signature_covers_every_figure_but_the_certificate() -> None:
    state = kinds.parse_raw_body("witness.state", naive.encode(BODIES["witness.state"]))
    signed = signing_bytes("state", *votes.state_parts(ID, state))
    assert signed == naive.encode(["oln/state/1", ID, *BODIES["witness.state"][:7]])
    same = msgspec.structs.replace(state, final_certificate=(), final_view=3)
    assert signing_bytes("state", *votes.state_parts(ID, same)) == signed


def test_a_set_s_digest_names_everything_that_changes_with_it() -> None:
    seats, issuers = DOCUMENT.seat_keys, DOCUMENT.issuers
    digest = votes.seat_set_digest(0, seats, 1, DOCUMENT.params, issuers)
    parts = [0, [list(seat) for seat in seats], 1, PARAMS, [list(issuer) for issuer in issuers]]
    assert digest == hashlib.sha256(naive.encode(["oln/witness-set/1", *parts])).digest()
    other = msgspec.structs.replace(DOCUMENT.params, t0_ms=7)
    assert votes.seat_set_digest(0, seats, 1, other, issuers) != digest
