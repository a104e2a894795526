"""Every kind's body: what fits, what fits just, and what no longer does."""

from __future__ import annotations

from typing import Any

import pytest

from openledger_node.ledger import kinds
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.events import MAX_BODY_BYTES, MAX_LEAF_BYTES, encode_event, parse_event
from tests.ledger import naive_msgpack as naive
from tests.vectors import make

ID = make.digest("id")
SHORT = ID[:31]
TOP = 2**53 - 1


def ids(count: int) -> list[bytes]:
    return [make.digest("id", i) for i in range(count)]


def pairs(count: int, second: int = 1) -> list[list[Any]]:
    return [[one, second] for one in ids(count)]


CHAIN = [naive.decode(encode(event)) for event in make.chain(make.document().ledger_id)]
MINIMAL: dict[str, list[Any]] = {
    "log.open": naive.decode(encode(make.log_genesis())),
    "log.fork": naive.decode(encode(make.fork())),
    "account.create": CHAIN[0],
    "account.add_device": CHAIN[1],
    "account.rotate": CHAIN[2],
    "account.retire_device": CHAIN[3],
    "account.accept": [ID],
    "datanet.create": ["n", "", ""],
    "data.contribute": [None, "t", "", "", 0, 0, 0, 0, [], []],
    "data.share": [ID, "none"],
    "data.derivation": [ID, ID, []],
    "data.commons": [ID],
    "data.withdraw": [ID, ""],
    "data.erase": [ID, ""],
    "model.register": ["m", [], [], [], [], ""],
    "agent.register": ["a", ID, None, [], []],
    "money.issue": [ID, 1, ""],
    "money.transfer": [ID, 1, ""],
    "money.grant": [ID, 1, None],
    "money.redeem": [ID, None, 0],
    "money.payout": [[], "", None],
    "use.receipt": [None, ID, None, 0, 1, ID, 0, [], 0, "spans"],
    "use.confirm": [ID],
    "use.cancel": [ID],
    "use.dispute": [ID],
    "audit.challenge": [ID, "inclusion"],
    "audit.verdict": [ID, 0],
}

# (kind, index of the item, a value at its limit, a value past it)
LIMITS: list[tuple[str, int, Any, Any]] = [
    ("account.retire_device", 4, pairs(256), pairs(257)),
    ("account.retire_device", 4, pairs(1, 2**40), pairs(1, 2**40 + 1)),
    ("account.retire_device", 4, pairs(1, 1), pairs(1, 0)),
    ("account.add_device", 1, 2**20, 2**20 + 1),
    ("account.create", 1, 0, 1),
    ("account.create", 2, None, ID),
    ("account.accept", 0, ID, SHORT),
    ("datanet.create", 0, "\u00e9" * 512, "x" * 513),
    ("datanet.create", 0, "x", ""),
    ("datanet.create", 1, "x" * 8192, "x" * 8193),
    ("datanet.create", 2, "x" * 128, "x" * 129),
    ("data.contribute", 0, ID, ID + b"\0"),
    ("data.contribute", 1, "x" * 512, "x" * 513),
    ("data.contribute", 1, "x", ""),
    ("data.contribute", 2, "x" * 128, "x" * 129),
    ("data.contribute", 3, "x" * 128, "x" * 129),
    ("data.contribute", 4, 2**16, 2**16 + 1),
    ("data.contribute", 5, TOP, TOP + 1),
    ("data.contribute", 6, TOP, -1),
    ("data.contribute", 7, TOP, TOP + 1),
    ("data.contribute", 8, pairs(256), pairs(257)),
    ("data.contribute", 8, pairs(1, 2**16), pairs(1, 2**16 + 1)),
    ("data.contribute", 8, pairs(1), pairs(1, 0)),
    ("data.contribute", 9, pairs(64), pairs(65)),
    ("data.contribute", 9, pairs(1, 10_000), pairs(1, 10_001)),
    ("data.contribute", 9, pairs(1), pairs(1, 0)),
    ("data.share", 1, "all", "some"),
    ("data.share", 1, ids(256), ids(257)),
    ("data.share", 1, [], [SHORT]),
    ("data.derivation", 1, ID, SHORT),
    ("data.derivation", 2, pairs(256), pairs(257)),
    ("data.derivation", 2, pairs(1, TOP), pairs(1, TOP + 1)),
    ("data.commons", 0, ID, None),
    ("data.withdraw", 1, "x" * 1024, "x" * 1025),
    ("data.erase", 1, "x" * 1024, "x" * 1025),
    ("model.register", 0, "x" * 512, ""),
    ("model.register", 1, [bytes(64)] * 1024, [bytes(64)] * 1025),
    ("model.register", 1, [bytes(32)], [bytes(31)]),
    ("model.register", 1, [bytes(64)], [bytes(65)]),
    ("model.register", 2, pairs(64), pairs(65)),
    ("model.register", 3, pairs(8192), pairs(8193)),
    ("model.register", 3, pairs(1, 2**32), pairs(1, 2**32 + 1)),
    ("model.register", 3, pairs(1), pairs(1, 0)),
    ("model.register", 4, pairs(256), pairs(257)),
    ("model.register", 5, "x" * 128, "x" * 129),
    ("agent.register", 0, "x" * 512, "x" * 513),
    ("agent.register", 1, ID, SHORT),
    ("agent.register", 2, bytes(64), bytes(65)),
    ("agent.register", 3, ["x" * 128] * 64, ["x"] * 65),
    ("agent.register", 3, ["x" * 128], ["x" * 129]),
    ("agent.register", 4, ids(64), ids(65)),
    ("money.issue", 1, TOP, TOP + 1),
    ("money.issue", 1, 1, 0),
    ("money.issue", 1, 1, -1),
    ("money.issue", 2, "x" * 1024, "x" * 1025),
    ("money.transfer", 1, TOP, TOP + 1),
    ("money.transfer", 1, 1, 0),
    ("money.grant", 1, TOP, 0),
    ("money.grant", 2, 2**40, 2**40 + 1),
    ("money.redeem", 1, 0, -1),
    ("money.redeem", 1, TOP, TOP + 1),
    ("money.redeem", 2, TOP, TOP + 1),
    ("money.redeem", 2, 0, None),
    ("money.payout", 0, pairs(384), pairs(385)),
    ("money.payout", 0, pairs(1), pairs(1, 0)),
    ("money.payout", 2, ID, SHORT),
    ("use.receipt", 0, ID, SHORT),
    ("use.receipt", 1, ID, None),
    ("use.receipt", 2, ID, SHORT),
    ("use.receipt", 3, 2**40, 2**40 + 1),
    ("use.receipt", 4, 10_000, 10_001),
    ("use.receipt", 4, 1, 0),
    ("use.receipt", 6, TOP, TOP + 1),
    ("use.receipt", 7, pairs(256), pairs(257)),
    ("use.receipt", 7, pairs(1, 10**6), pairs(1, 10**6 + 1)),
    ("use.receipt", 7, pairs(1), pairs(1, 0)),
    ("use.receipt", 8, 10**6, 10**6 + 1),
    ("use.receipt", 9, "retrieved", "guessed"),
    ("use.confirm", 0, ID, SHORT),
    ("use.cancel", 0, ID, SHORT),
    ("use.dispute", 0, ID, SHORT),
    *[("audit.challenge", 1, ground, "mood") for ground in kinds.GROUNDS],
    ("audit.verdict", 1, 1, 2),
]


def changed(kind: str, at: int, value: Any) -> list[Any]:
    body = list(MINIMAL[kind])
    body[at] = value
    return body


def test_every_kind_but_the_witnesses_own_has_a_body_here() -> None:
    assert set(MINIMAL) == {kind for kind in kinds.BODY_TYPES if not kind.startswith("witness.")}


@pytest.mark.parametrize("kind", MINIMAL)
def test_a_body_reads_back_as_the_same_bytes(kind: str) -> None:
    raw = naive.encode(MINIMAL[kind])
    assert encode(kinds.parse_raw_body(kind, raw)) == raw
    event = parse_event(encode_event(3, kind, 0, MINIMAL[kind]))
    assert encode(kinds.parse_body(event)) == raw


@pytest.mark.parametrize(("kind", "at", "good", "bad"), LIMITS)
def test_a_value_at_its_limit_is_taken_and_past_it_is_not(
    kind: str, at: int, good: Any, bad: Any
) -> None:
    kinds.check_body(kind, changed(kind, at, good))
    with pytest.raises(BadInput, match=f"the body of {kind} is malformed"):
        kinds.check_body(kind, changed(kind, at, bad))


@pytest.mark.parametrize("kind", MINIMAL)
def test_a_body_with_an_item_more_or_less_or_of_no_array_is_refused(kind: str) -> None:
    body = MINIMAL[kind]
    for bad in ([*body, None], body[:-1], None, 5, "text", b"bytes", []):
        with pytest.raises(BadInput, match="malformed"):
            kinds.parse_raw_body(kind, naive.encode(bad))


@pytest.mark.parametrize("kind", MINIMAL)
def test_an_item_of_a_wrong_type_is_refused(kind: str) -> None:
    """No item of any body may be an array of arrays of nil."""
    for at in range(len(MINIMAL[kind])):
        with pytest.raises(BadInput, match="malformed"):
            kinds.parse_raw_body(kind, naive.encode(changed(kind, at, [[None]])))


@pytest.mark.parametrize("amount", [1.0, 0.5, float("nan"), float("inf"), True, "1", b"1"])
def test_an_amount_is_an_integer_and_nothing_like_one(amount: Any) -> None:
    with pytest.raises(BadInput):
        kinds.check_body("money.issue", [ID, amount, ""])


def test_a_body_past_its_bytes_is_refused_and_a_model_may_fill_the_leaf() -> None:
    long = [ID, ID, [[one, 1] for one in ids(256)]]
    assert len(naive.encode(long)) < MAX_BODY_BYTES
    kinds.check_body("data.derivation", long)
    capabilities = ["\u00e9" * 128] * 64
    with pytest.raises(BadInput, match=r"the body has .* agent.register may have 16384"):
        kinds.check_body("agent.register", ["a", ID, None, capabilities, ids(64)])
    kinds.check_body("model.register", ["m", [], [], pairs(8192), [], ""])
    assert kinds.max_body_bytes("model.register") == MAX_LEAF_BYTES
    assert kinds.max_body_bytes("use.receipt") == MAX_BODY_BYTES


def test_an_unknown_kind_has_no_body() -> None:
    for kind in ("no.such.kind", "", "USE.RECEIPT"):
        with pytest.raises(BadInput, match="not one of rules version 1"):
            kinds.parse_raw_body(kind, b"\x90")


def test_the_largest_receipt_and_payout_fit_a_body() -> None:
    receipt = [ID, ID, ID, 2**40, 10_000, ID, TOP, pairs(256, 3_906), 64, "retrieved"]
    kinds.check_body("use.receipt", receipt)
    kinds.check_body("money.payout", [pairs(384, 2**31), "x" * 64, ID])
