"""Whose logs are stored: limits go by owner, and nobody uses up another one's room."""

from __future__ import annotations

from typing import Any

import pytest

from openledger_node.ledger.events import LogGenesis
from openledger_node.ledger.heads import SignedHead
from openledger_node.node.replication import admission as admissions
from openledger_node.node.replication.admission import VOUCHED_BYTES, Admission, owner_of
from tests.kit.ledgerkit import digest, key


def genesis(account: str, device: str = "one", number: int = 0) -> LogGenesis:
    nonce = digest("nonce", account, device, number)[:16]
    return LogGenesis(1, digest("ledger"), digest(account), key(device).public.raw, nonce, None)


def head(log: LogGenesis) -> SignedHead:
    return SignedHead(log.log_id, 1, bytes(32), bytes(64))


def made(policy: Any = "open", **options: Any) -> Admission:
    known = options.pop("known", set())
    defaults: dict[str, Any] = {"listed": (), "unknown_bytes": 1_000, "held": ()}
    return Admission(policy, known=known.__contains__, **(defaults | options))


def test_an_unknown_owner_has_so_much_room_and_no_more() -> None:
    admission = made()
    log = genesis("stranger")
    assert admission.refusal(log, head(log)) is None
    assert admission.spend(log, 1_000)
    assert not admission.spend(log, 1)
    assert "used its room" in (admission.refusal(log, head(log)) or "")


def test_an_owner_that_became_known_has_room_again() -> None:
    known: set[tuple[bytes, bytes]] = set()
    admission = made(known=known)
    log = genesis("member")
    admission.spend(log, 5_000)
    known.add(owner_of(log))
    assert admission.refusal(log, head(log)) is None
    assert admission.spend(log, 10**9)


def test_logs_that_name_another_ones_account_do_not_use_up_its_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admissions, "MAX_LOGS_AN_OWNER", 3)
    admission = made(known={owner_of(genesis("victim"))})
    for number in range(5):
        forged = genesis("victim", "thief", number)
        admission.refusal(forged, head(forged))
        admission.spend(forged, 10_000)
    assert admission.refusal(genesis("victim"), head(genesis("victim"))) is None
    assert admission.spend(genesis("victim"), 10_000)
    late = genesis("victim", "thief", 9)
    assert admission.refusal(late, head(late)) is not None


def test_an_owner_has_a_limited_number_of_logs_counting_those_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admissions, "MAX_LOGS_AN_OWNER", 2)
    admission = made(held=[genesis("a", number=0)])
    assert admission.refusal(genesis("a", number=1), head(genesis("a", number=1))) is None
    assert admission.refusal(genesis("a", number=1), head(genesis("a", number=1))) is None
    refused = admission.refusal(genesis("a", number=2), head(genesis("a", number=2)))
    assert "2 logs here already" in (refused or "")


def test_vouched_leaves_strangers_room_to_introduce_themselves() -> None:
    admission = made("vouched", unknown_bytes=10**9)
    log = genesis("stranger")
    assert admission.spend(log, VOUCHED_BYTES)
    assert not admission.spend(log, 1)


def test_listed_takes_the_accounts_listed_alone() -> None:
    admission = made("listed", listed=[digest("friend")])
    assert admission.refusal(genesis("friend"), head(genesis("friend"))) is None
    assert "not listed" in (admission.refusal(genesis("other"), head(genesis("other"))) or "")


@pytest.mark.parametrize("policy", ["open", "vouched", "listed"])
def test_what_a_cut_names_is_stored_in_any_case(policy: str) -> None:
    admission = made(policy, unknown_bytes=0)
    log = genesis("stranger")
    admission.spend(log, 10**6)
    admission.named_by_cut([log.log_id])
    assert admission.refusal(log, head(log)) is None
    assert admission.spend(log, 10**6)
