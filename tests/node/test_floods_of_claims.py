"""Claims and challenges cost nothing: a flood of them neither stops the seats nor hides an honest
one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from openledger_node.credit import views
from openledger_node.ledger.kinds import DataDerivation
from openledger_node.node import auditing, derivations, epochs
from openledger_node.node.auditing import MAX_CLAIMS_AT_ONCE, MAX_RECEIPTS_AT_ONCE
from tests.kit.homes import CREDIT, HARBOUR, WITNESS, Coop, Ready, ready, words

SLOW = "maturity_epochs = 6\ndispute_epochs = 4\n"


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Ready]:
    made = ready(tmp_path, params=SLOW)
    with made.coop:
        yield made


def copied(stage: Ready) -> str:
    """bert has registered a copy of alice's text, and declares nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(derivations, "derived_in", lambda *given: ((), ()))
        return stage.coop.add_text("bert", "copy", words("own", 60) + " " + HARBOUR)


def flood(coop: Coop, contribution: str, count: int) -> None:
    """False claims by an account that pays nothing for them."""
    core = coop["maker"].core
    for number in range(count):
        root = number.to_bytes(32, "big")
        core.append_one("data.derivation", DataDerivation(bytes.fromhex(contribution), root, ()))


@pytest.mark.rule("J3")
def test_a_seat_looks_into_a_few_claims_at_a_time_and_into_each_once_an_epoch(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    coop = slow.coop
    copy = copied(slow)
    coop.settle()
    flood(coop, copy, 3 * MAX_CLAIMS_AT_ONCE + 1)
    coop.settle()
    core = coop[WITNESS].core
    looked: list[bytes] = []

    def seen(snapshot: Any, claim: views.DerivationView, progress: Any) -> bool:
        looked.append(claim.derivation_id)
        return False

    monkeypatch.setattr(auditing, "_is_found_here", seen)
    for turn in range(1, 4):
        assert auditing.judge_challenges(core) == []
        assert len(looked) == turn * MAX_CLAIMS_AT_ONCE
        assert auditing.has_more_to_judge(core)
    for _ in range(3):
        assert auditing.judge_challenges(core) == []
    assert not auditing.has_more_to_judge(core)
    assert len(looked) == len(set(looked)) == 3 * MAX_CLAIMS_AT_ONCE + 1


@pytest.mark.rule("J3")
def test_an_honest_claim_among_many_false_ones_is_upheld(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room for a third of the claims in each epoch: which ones is the last cut's word."""
    monkeypatch.setattr(epochs, "LOOKS_AT_A_CLOSE", 1)
    coop = slow.coop
    copy = copied(slow)
    coop.settle()
    claim = coop["alice"].data_derive(copy)
    flood(coop, copy, 3 * MAX_CLAIMS_AT_ONCE - 1)
    coop.settle()
    orders = []
    for name in ("a", "b", "c", "d"):
        with coop[WITNESS].core.store.read() as snapshot:
            orders.append(auditing._claims(coop[WITNESS].core, snapshot, 4))
        coop["alice"].datanet_create(name)
        coop.settle()
    honest = bytes.fromhex(claim.derivation_id or "")
    assert len(set(orders)) > 1
    came = [order.index(honest) < MAX_CLAIMS_AT_ONCE for order in orders if honest in order]
    with coop[WITNESS].core.store.read() as snapshot:
        found = views.derivation(snapshot.state, honest)
    assert found is not None
    assert (found.status == "upheld") == any(came)


@pytest.mark.rule("J1", "J2")
def test_a_seat_audits_so_many_receipts_at_a_time_and_none_in_vain_twice(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing, "MAX_RECEIPTS_AT_ONCE", 2)
    assert MAX_RECEIPTS_AT_ONCE > 2
    coop = slow.coop
    uses = [slow.use(words("harbour", 20 + n), CREDIT).receipt_id for n in range(5)]
    coop.settle()
    for receipt in uses:
        coop["bert"].challenge(receipt, "better_span")
    coop.settle()
    core = coop[WITNESS].core
    looked: list[bytes] = []
    audit = auditing.audit_receipt

    def seen(snapshot: Any, target: bytes, **options: Any) -> Any:
        looked.append(target)
        return replace(
            audit(snapshot, target, **options), missing=(bytes(32),), absent=False, findings=()
        )

    monkeypatch.setattr(auditing, "audit_receipt", seen)
    for _ in range(5):
        assert auditing.judge_challenges(core) == []
    assert sorted(looked) == sorted(bytes.fromhex(receipt) for receipt in uses)


@pytest.mark.rule("J3")
def test_a_claim_about_much_text_is_looked_into_alone_and_one_about_too_much_never(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    coop = slow.coop
    copy = copied(slow)
    coop.settle()
    flood(coop, copy, 3)
    coop.settle()
    core = coop[WITNESS].core
    looked: list[bytes] = []

    def seen(snapshot: Any, claim: views.DerivationView, progress: Any) -> bool:
        looked.append(claim.derivation_id)
        return False

    monkeypatch.setattr(auditing, "_is_found_here", seen)
    monkeypatch.setattr(auditing, "MAX_CLAIM_TOKENS", 259)
    assert auditing.judge_challenges(core) == []
    assert (looked, auditing.has_more_to_judge(core)) == ([], False)
    monkeypatch.setattr(auditing, "MAX_CLAIM_TOKENS", 260)
    monkeypatch.setattr(auditing, "CLAIM_TOKENS_AT_ONCE", 300)
    for turn in range(1, 4):
        assert auditing.judge_challenges(core) == []
        assert len(looked) == turn
    assert not auditing.has_more_to_judge(core)
