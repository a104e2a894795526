"""Whose logs are stored: limits go by owner, and nobody uses up another one's room."""

from __future__ import annotations

from typing import Any

import pytest

from openledger_node.ledger.events import LogGenesis
from openledger_node.ledger.heads import SignedHead
from openledger_node.node.replication import admission as admissions
from openledger_node.node.replication.admission import (
    LEAST_EVENT_BYTES,
    STRANGERS_ROOMS,
    VOUCHED_BYTES,
    Admission,
    owner_of,
)
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


def refusal(admission: Admission, log: LogGenesis) -> str:
    return admission.refusal(log, head(log)) or ""


def test_an_unknown_owner_has_so_much_room_and_no_more() -> None:
    admission = made()
    log = genesis("stranger")
    assert not refusal(admission, log)
    assert admission.stored(log, 1_000)
    assert not admission.stored(log, 1)
    assert "used its room" in refusal(admission, log)


def test_an_owner_that_became_known_has_room_again() -> None:
    known: set[tuple[bytes, bytes]] = set()
    admission = made(known=known)
    log = genesis("member")
    admission.stored(log, 5_000)
    known.add(owner_of(log))
    assert not refusal(admission, log)
    assert admission.stored(log, 10**9)


def test_logs_that_name_another_ones_account_do_not_use_up_its_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admissions, "MAX_LOGS_AN_OWNER", 5)
    admission = made(unknown_bytes=100_000)
    for number in range(5):
        admission.stored(genesis("victim", "thief", number), 10_000)
    assert not refusal(admission, genesis("victim"))
    assert admission.stored(genesis("victim"), 10_000)
    assert refusal(admission, genesis("victim", "thief", 5))


def test_logs_that_are_offered_and_never_stored_use_up_nobodys_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admissions, "MAX_LOGS_AN_OWNER", 2)
    admission = made(known={owner_of(genesis("victim"))})
    for number in range(50):
        assert not refusal(admission, genesis("victim", number=number))
    assert admission._logs == {} and admission._strangers == {}


def test_an_owner_has_so_many_logs_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admissions, "MAX_LOGS_AN_OWNER", 2)
    admission = made(held=[genesis("a", number=0)])
    admission.stored(genesis("a", number=1), 1)
    assert not refusal(admission, genesis("a", number=1))
    assert "2 logs here already" in refusal(admission, genesis("a", number=2))


def test_what_was_counted_for_false_events_is_given_back_and_no_more() -> None:
    admission = made()
    log = genesis("stranger")
    admission.stored(log, 900)
    admission.stored(log, 500)
    assert refusal(admission, log)
    admission.gave_back(log, 500)
    assert not refusal(admission, log)
    admission.gave_back(log, 10**9)
    assert admission.stored(log, 1_000)
    assert not admission.stored(log, 1)


def test_all_strangers_together_have_so_many_rooms_and_no_more() -> None:
    admission = made(known={owner_of(genesis("member"))})
    for number in range(STRANGERS_ROOMS):
        assert not refusal(admission, genesis(f"sybil {number}"))
        admission.stored(genesis(f"sybil {number}"), 1_001)
    assert "share here" in refusal(admission, genesis("newcomer"))
    assert not refusal(admission, genesis("member"))


def test_all_strangers_together_have_so_many_logs_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admissions, "MAX_STRANGERS_LOGS", 3)
    admission = made(held=[genesis("a"), genesis("b")])
    admission.stored(genesis("b", number=1), 1)
    assert "share here" in refusal(admission, genesis("c"))
    assert not refusal(admission, genesis("a")), "what is held may grow"


def test_strangers_that_became_known_leave_their_room_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admissions, "MAX_STRANGERS_LOGS", 2)
    known: set[tuple[bytes, bytes]] = set()
    admission = made(known=known, held=[genesis("a"), genesis("b")])
    assert refusal(admission, genesis("c"))
    known.add(owner_of(genesis("a")))
    admission.named_by_cut(())
    assert not refusal(admission, genesis("c"))
    admission.stored(genesis("c"), 1)
    admission.stored(genesis("a", number=1), 1)
    assert refusal(admission, genesis("d"))


def test_fork_proofs_of_strangers_logs_are_so_many_and_others_are_always_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admissions, "MAX_STRANGERS_FORKS", 2)
    admission = made(known={owner_of(genesis("member"))})
    for number in range(2):
        log = genesis(f"sybil {number}")
        assert admission.takes_fork(log, held=False)
        admission.kept_fork(log, held=False)
    assert not admission.takes_fork(genesis("sybil 2"), held=False)
    assert admission.takes_fork(genesis("sybil 2"), held=True)
    assert admission.takes_fork(genesis("member"), held=False)


def test_vouched_leaves_strangers_room_to_introduce_themselves() -> None:
    admission = made("vouched", unknown_bytes=10**9)
    log = genesis("stranger")
    assert admission.stored(log, VOUCHED_BYTES)
    assert not admission.stored(log, 1)


def test_listed_takes_the_accounts_listed_alone() -> None:
    admission = made("listed", listed=[digest("friend")])
    assert not refusal(admission, genesis("friend"))
    assert "not listed" in refusal(admission, genesis("other"))


@pytest.mark.parametrize("policy", ["open", "vouched", "listed"])
def test_what_a_cut_names_is_stored_in_any_case(policy: str) -> None:
    admission = made(policy, unknown_bytes=0)
    log = genesis("stranger")
    admission.stored(log, 10**6)
    admission.named_by_cut([log.log_id])
    assert not refusal(admission, log)
    assert admission.stored(log, 10**6)


def long_head(log: LogGenesis, size: int) -> SignedHead:
    return SignedHead(log.log_id, size, bytes(32), bytes(64))


def test_a_stranger_s_log_that_cannot_fit_its_room_is_refused_by_its_head() -> None:
    log = genesis("stranger")
    most = 1_000 // LEAST_EVENT_BYTES
    admission = made()
    assert admission.refusal(log, long_head(log, most)) is None
    assert "longer than its room" in (admission.refusal(log, long_head(log, most + 1)) or "")
    assert admission.refusal(log, long_head(log, 2 * most), first=most) is None
    admission.stored(log, 500)
    assert admission.refusal(log, long_head(log, most)) is not None
    assert made(known={owner_of(log)}).refusal(log, long_head(log, 10**9)) is None
