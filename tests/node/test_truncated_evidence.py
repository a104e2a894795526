"""Evidence of which somebody took branches out, to have its provider found guilty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from openledger_node.attribution.evidence import without_branches
from openledger_node.ledger.payload import decode_payload
from openledger_node.node import auditing, erasing
from openledger_node.node.core import no_progress
from openledger_node.node.replication.payloads import PayloadSeeker, Sought
from openledger_node.node.sharing import WishList
from openledger_node.sync.payloads import PayloadIntake, plan
from tests.kit.homes import CREDIT, WITNESS, Coop, Ready, ready, words
from tests.node.replication.test_payload_seeking import Runner
from tests.sync.test_payloads import event_of

FEE = 10 * CREDIT


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Ready]:
    made = ready(tmp_path, params="maturity_epochs = 6\ndispute_epochs = 4\n")
    with made.coop:
        yield made


def evidence(coop: Coop, receipt: str, home: str) -> bytes:
    shown = coop[home].show(receipt)
    with coop[home].core.store.read() as snapshot:
        data = snapshot.payload(bytes.fromhex(shown.payload_commit or ""))
    assert data is not None
    return data


@pytest.mark.rule("V5", "V6")
@pytest.mark.parametrize("method", ["spans", "retrieved"])
def test_a_branch_taken_out_is_not_laid_to_the_provider_because_another_work_was_erased(
    slow: Ready, method: str
) -> None:
    """The receipt draws on one text; another text of its scope was erased, so a branch may be
    missing. The payer takes out the one there is, and hands that to the seat.
    """
    coop = slow.coop
    options = {"retrieved": [slow.bakers]} if method == "retrieved" else {}
    receipt = slow.use(words("baker", 40, 64), FEE, **options).receipt_id
    coop.settle()
    bundle = coop.file()
    coop["maker"].bundle_export(bundle, evidence=[receipt])
    assert not coop[WITNESS].bundle_import(bundle).refused
    coop["alice"].data_erase(slow.harbour)
    for home in coop:
        if home != "alice":
            coop.carry("alice", home)
    coop.settle()
    whole = evidence(coop, receipt, WITNESS)
    less = without_branches(whole, [bytes.fromhex(slow.bakers)])
    assert less is not None
    store = coop[WITNESS].core.store
    store.replace_payload(decode_payload(whole).commit, less)
    with store.read() as snapshot:
        found = auditing.audit_receipt(snapshot, bytes.fromhex(receipt))
    assert (found.absent, [str(each.ground) for each in found.findings]) == (
        True,
        ["evidence_withheld"],
    )
    erasing.keep_payload(store, decode_payload(whole).commit, whole)
    with store.read() as snapshot:
        found = auditing.audit_receipt(snapshot, bytes.fromhex(receipt))
    assert found.findings == ()


@pytest.mark.rule("X7", "V6")
def test_a_seat_that_was_given_truncated_evidence_looks_for_the_whole_elsewhere(
    slow: Ready,
) -> None:
    coop = slow.coop
    receipt = slow.use(words("baker", 40, 64), FEE).receipt_id
    coop["alice"].data_erase(slow.harbour)
    for home in coop:
        if home != "alice":
            coop.carry("alice", home)
    coop.settle()
    coop["user"].challenge(receipt, "arithmetic")
    coop.settle()
    witness = coop[WITNESS].core
    whole = evidence(coop, receipt, "maker")
    commit = decode_payload(whole).commit
    wishes = WishList(witness)
    (wanted,) = [item for item in wishes.look() if item.commit == commit]
    assert wanted.may_lack == 1
    less = without_branches(whole, [bytes.fromhex(slow.bakers)])
    assert less is not None
    intake = PayloadIntake(commit, wanted.account, wanted.size_bytes, may_lack=1)
    for frame in plan(1, decode_payload(less)):
        intake.take(event_of(frame))
    assert intake.lacks
    erasing.keep_payload(witness.store, commit, intake.container())
    assert auditing.judge_challenges(witness) == []
    assert [item for item in wishes.look() if item.commit == commit] == [wanted]
    erasing.keep_payload(witness.store, commit, whole)
    assert [item for item in wishes.look() if item.commit == commit] == []


@pytest.mark.rule("J2", "A10")
def test_rules_that_hold_longer_from_now_on_cut_short_nobody_s_time_to_show_evidence(
    slow: Ready,
) -> None:
    coop = slow.coop
    receipt = slow.use(words("baker", 40, 64), FEE).receipt_id
    coop.settle()
    coop["user"].challenge(receipt, "arithmetic")
    coop.settle()
    with coop[WITNESS].core.store.read() as snapshot:
        scopes = auditing.PastScopes(snapshot, no_progress)
        for hold_epochs in (4, 100_000):
            given = snapshot, bytes.fromhex(receipt), hold_epochs, scopes
            assert auditing._vote(*given) == (None, False)


class Link(Runner):
    """A link over which the payload comes that was asked for last."""

    def payload_done(self, want_id: int) -> None:
        pass

    def consumed(self, size_bytes: int) -> None:
        pass

    def gives(self, seeker: PayloadSeeker, data: bytes) -> None:
        hub: Any = SimpleNamespace(start=lambda *given: None)
        for frame in plan(len(self.asked), decode_payload(data)):
            seeker.came(cast("Any", self), hub, event_of(frame))


@pytest.mark.rule("X7")
def test_who_supplied_truncated_evidence_is_asked_again_after_the_others(slow: Ready) -> None:
    receipt = slow.use(words("baker", 40, 64), FEE).receipt_id
    whole = evidence(slow.coop, receipt, "maker")
    less = without_branches(whole, [bytes.fromhex(slow.bakers)])
    assert less is not None
    account = bytes.fromhex(slow.coop.ids["maker"])
    item = Sought(bytes.fromhex(receipt), account, decode_payload(whole).commit, len(whole), 1)
    seeker, thief, maker = PayloadSeeker(), Link(1), Link(2)
    seeker.seek([item])
    assert thief.ask(seeker) == item.event_id
    assert maker.ask(seeker) is None
    thief.gives(seeker, less)
    seeker.seek([item])
    assert thief.ask(seeker) is None
    assert maker.ask(seeker) == item.event_id
    maker.gives(seeker, whole)
    seeker.seek([])
    seeker.seek([item])
    assert maker.ask(seeker) == item.event_id
