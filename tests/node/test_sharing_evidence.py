"""Evidence and outputs over the network: to the payer and the seats, and looked for by them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from openledger_node.attribution.evidence import (
    decode_evidence,
    erased_branches,
    without_branches,
)
from openledger_node.credit import views
from openledger_node.ledger.payload import decode_payload, payload_commitment
from openledger_node.node import sharing
from openledger_node.node.erasing import keep_payload
from openledger_node.node.replication.payloads import PayloadSeeker, Sought
from openledger_node.node.sharing import STRANGER, WishList, payload_for
from openledger_node.sync.payloads import PayloadIntake, plan
from tests.kit.homes import CREDIT, WITNESS, Coop, Ready, ready, words
from tests.node.replication.test_payload_seeking import Runner
from tests.sync.test_payloads import event_of

OUTPUT = " ".join([words("harbour", 12, 64), words("baker", 12, 64)])


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Ready]:
    made = ready(tmp_path, params="maturity_epochs = 6\ndispute_epochs = 4\n")
    with made.coop:
        yield made


@pytest.fixture
def used(slow: Ready) -> str:
    receipt = slow.use(OUTPUT, CREDIT).receipt_id
    slow.coop.settle()
    return receipt


def commits(coop: Coop, receipt: str) -> tuple[bytes, bytes]:
    """(evidence, outputs) as the receipt commits to them."""
    shown = coop["maker"].show(receipt)
    return bytes.fromhex(shown.payload_commit or ""), bytes.fromhex(shown.body["output_root"])


def given(coop: Coop, to: str, receipt: str, commit: bytes) -> bytes | None:
    """What the provider's node answers to somebody's."""
    peer = coop[to].core
    with coop["maker"].core.store.read() as snapshot:
        ids = bytes.fromhex(receipt), commit
        return payload_for(snapshot, peer.account_id, peer.device, *ids)


def fetched(coop: Coop, to: str) -> list[Sought]:
    """One look of a home's wish list, and everything on it taken over as a link would."""
    wanted = WishList(coop[to].core).look()
    for item in wanted:
        data = given(coop, to, item.event_id.hex(), item.commit)
        if data is None:
            continue
        intake = PayloadIntake(item.commit, item.account, item.size_bytes, may_lack=item.may_lack)
        for frame in plan(1, decode_payload(data)):
            intake.take(event_of(frame))
        keep_payload(coop[to].core.store, item.commit, intake.container())
    return wanted


def held(coop: Coop, home: str, commit: bytes) -> bool:
    with coop[home].core.store.read() as snapshot:
        return snapshot.has_payload(commit)


def test_the_payer_and_the_seats_are_served_and_nobody_else(slow: Ready, used: str) -> None:
    slow.coop.join("eve")
    slow.coop.settle()
    whole = {"coop", "maker", "user"}
    for commit in commits(slow.coop, used):
        with slow.coop["maker"].core.store.read() as snapshot:
            data = snapshot.payload(commit)
        answers = {name: given(slow.coop, name, used, commit) for name in slow.coop}
        assert {name for name, answer in answers.items() if answer == data} == whole
        assert answers["eve"] is None
        with slow.coop["maker"].core.store.read() as snapshot:
            ids = bytes.fromhex(used), commit
            assert payload_for(snapshot, STRANGER, slow.coop["user"].core.device, *ids) is None


@pytest.mark.rule("P6", "T7")
def test_contributors_are_served_the_branches_of_their_own_work(slow: Ready, used: str) -> None:
    evidence, outputs = commits(slow.coop, used)
    for name, own in (("alice", slow.harbour), ("bert", slow.bakers)):
        data = given(slow.coop, name, used, evidence)
        assert data is not None
        (branch,) = decode_evidence(data)
        assert branch.contribution_id.hex() == own
        assert (erased_branches(data), payload_commitment(data)) == (1, evidence)
        assert given(slow.coop, name, used, outputs) is None


@pytest.mark.rule("P6", "T7")
def test_named_creators_are_served_the_branch_too(slow: Ready) -> None:
    coop = slow.coop
    shares = [(coop.ids["alice"], 1), (coop.ids["bert"], 1)]
    text = coop.add_text("alice", "duet", words("duet", 60), creators=shares)
    coop.settle()
    model = coop["maker"].model_register("duet", trained_on=[(text, 1)]).model_id
    coop.settle()
    receipt = coop["maker"].use(model, words("duet", 20).encode()).receipt_id
    coop.settle()
    evidence, _ = commits(coop, receipt)
    for name in ("alice", "bert"):
        data = given(coop, name, receipt, evidence)
        assert data is not None
        assert erased_branches(data) == 0
    assert given(coop, "user", receipt, evidence) is None


def test_nothing_is_served_before_the_receipt_is_final(slow: Ready) -> None:
    receipt = slow.use(OUTPUT, CREDIT).receipt_id
    for commit in commits(slow.coop, receipt):
        assert given(slow.coop, "user", receipt, commit) is None
        assert given(slow.coop, "alice", receipt, commit) is None


def test_a_commitment_that_the_receipt_does_not_carry_is_not_served_for_it(
    slow: Ready, used: str
) -> None:
    shown = slow.coop["maker"].show(slow.harbour)
    foreign = bytes.fromhex(shown.payload_commit or "")
    assert held(slow.coop, "maker", foreign)
    assert given(slow.coop, "user", used, foreign) is None


def test_the_payer_looks_for_its_receipts_while_they_are_held(slow: Ready, used: str) -> None:
    coop = slow.coop
    wanted = fetched(coop, "user")
    assert {item.commit for item in wanted} == set(commits(coop, used))
    assert WishList(coop["user"].core).look() == []
    assert coop["user"].challenge(used).faults == ()


def test_a_payer_looks_no_more_for_what_is_settled(slow: Ready, used: str) -> None:
    coop = slow.coop
    wishes = WishList(coop["user"].core)
    assert len(wishes.look()) == 2
    coop["maker"].cancel(used)
    coop.settle()
    assert wishes.look() == []


def test_a_payer_looks_for_many_receipts_a_part_at_a_time(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "MAX_EVIDENCE_SOUGHT", 2)
    coop = slow.coop
    for _ in range(3):
        slow.use(OUTPUT, CREDIT)
    coop.settle()
    wishes = WishList(coop["user"].core)
    first = wishes.look()
    assert len(first) == 4
    for item in first:
        data = given(coop, "user", item.event_id.hex(), item.commit)
        assert data is not None
        keep_payload(coop["user"].core.store, item.commit, data)
    rest = wishes.look()
    assert len(rest) == 2
    assert {item.event_id for item in rest}.isdisjoint(item.event_id for item in first)


def test_a_grant_that_comes_after_the_first_look_counts_too(slow: Ready) -> None:
    coop = slow.coop
    wishes = WishList(coop["alice"].core)
    assert wishes.look() == []
    coop[WITNESS].issue(CREDIT, coop.ids["alice"], "a gift")
    coop.settle()
    grant = coop["alice"].grant(coop.ids["maker"], CREDIT, expires=20).grant_id
    coop.settle()
    coop["maker"].use(slow.model, OUTPUT.encode(), grant=grant, fee_micro=5)
    coop.settle()
    assert len(wishes.look()) == 2


def test_others_look_for_nothing_and_a_seat_for_what_is_challenged(slow: Ready, used: str) -> None:
    coop = slow.coop
    for name in ("alice", "bert", WITNESS):
        assert WishList(coop[name].core).look() == []
    coop["alice"].challenge(used, "better_span")
    coop.settle()
    assert {item.commit for item in fetched(coop, WITNESS)} == set(commits(coop, used))
    for name in ("alice", "bert"):
        assert WishList(coop[name].core).look() == []


@pytest.mark.rule("J1")
def test_a_seat_that_fetched_the_evidence_votes(slow: Ready, used: str) -> None:
    coop = slow.coop
    coop["alice"].challenge(used, "better_span")
    coop.settle()
    fetched(coop, WITNESS)
    coop.settle()
    (event,) = coop[WITNESS].log(kind="audit.verdict").events
    assert (event.body["upheld"], event.status) == (0, "final")


@pytest.mark.rule("P6")
def test_evidence_without_an_erased_branch_goes_over_a_link(slow: Ready, used: str) -> None:
    coop = slow.coop
    coop["alice"].data_erase(slow.harbour)
    for name in coop:
        if name != "alice":
            coop.carry("alice", name)
    coop.settle()
    evidence, _ = commits(coop, used)
    (item,) = [item for item in WishList(coop["user"].core).look() if item.commit == evidence]
    assert item.may_lack == 1
    fetched(coop, "user")
    with coop["user"].core.store.read() as snapshot:
        data = snapshot.payload(evidence)
    assert data is not None
    assert (erased_branches(data), payload_commitment(data)) == (1, evidence)
    assert coop["user"].challenge(used).faults == ()


def test_evidence_of_which_too_much_is_gone_is_not_taken_over_a_link(
    slow: Ready, used: str
) -> None:
    coop = slow.coop
    evidence, _ = commits(coop, used)
    with coop["maker"].core.store.read() as snapshot:
        whole = snapshot.payload(evidence)
        assert views.receipt(snapshot.state, bytes.fromhex(used)) is not None
    assert whole is not None
    less = without_branches(whole, [bytes.fromhex(slow.bakers)])
    assert less is not None
    coop["maker"].core.store.replace_payload(evidence, less)
    with pytest.raises(Exception, match="another number than the tree"):
        fetched(coop, "user")


@pytest.mark.rule("X7")
def test_a_link_is_asked_for_both_payloads_of_one_receipt() -> None:
    receipt, provider = bytes(32), bytes(32)
    items = [Sought(receipt, provider, bytes([n]) * 32, 1_000) for n in (1, 2)]
    seeker, link = PayloadSeeker(), Runner(1)
    seeker.seek(items)
    assert link.ask(seeker) == receipt
    link.refuse(seeker)
    assert link.ask(seeker) == receipt
    assert seeker.ask(cast("Any", Runner(2)), 0)
