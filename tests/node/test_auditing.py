"""Cheating providers: each is caught, its receipt void, the payer refunded, nothing lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from openledger_node.api import verify_file
from openledger_node.attribution.redirect import Redirect
from openledger_node.attribution.reference import Attribution, Span
from openledger_node.attribution.weights import Weights, weigh
from openledger_node.credit import views
from openledger_node.ledger.errors import Refused, StoreDamaged, UsageError
from openledger_node.ledger.kinds import DataDerivation
from openledger_node.node import auditing, derivations, uses
from openledger_node.node.derivation_maps import MapsInForce
from openledger_node.node.uses import AttributedOutput
from tests.kit.homes import CREDIT, HARBOUR, WITNESS, Coop, Ready, ready, words

FEE = 10 * CREDIT
OUTPUT = " ".join([words("harbour", 30, 40), words("nobody", 5), words("baker", 20, 100)])
TRUE_PPM = (545_455, 363_636)
SLOW = "maturity_epochs = 6\ndispute_epochs = 4\n"

Change = Callable[[Attribution], Attribution]


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Ready]:
    """Receipts mature in 6 epochs, a challenge holds for 4."""
    made = ready(tmp_path, params=SLOW)
    with made.coop:
        yield made


def spans_changed(change: Callable[[list[Span]], Sequence[Span]]) -> Change:
    return lambda found: replace(found, spans=tuple(change(list(found.spans))))


def cheat(
    stage: Ready,
    monkeypatch: pytest.MonkeyPatch,
    change: Change = lambda found: found,
    weights: Callable[[Weights], Weights] = lambda weights: weights,
    output: str = OUTPUT,
    **options: Any,
) -> str:
    """A receipt of a provider that changed what attribution gave it; final on every home."""
    attribute_one, weigh = uses.attribute_one, uses._weights

    def changed(*arguments: Any) -> AttributedOutput:
        found = attribute_one(*arguments)
        return replace(found, attribution=change(found.attribution))

    with monkeypatch.context() as patch:
        patch.setattr(uses, "attribute_one", changed)
        patch.setattr(uses, "_weights", lambda *arguments: weights(weigh(*arguments)))
        used = stage.use(output, FEE, **options)
    stage.coop.settle()
    return used.receipt_id


def hand_over(coop: Coop, receipt: str, *homes: str) -> None:
    """The provider gives the evidence and the outputs to some homes."""
    bundle = coop.file()
    coop["maker"].bundle_export(bundle, evidence=[receipt])
    for home in homes:
        assert not coop[home].bundle_import(bundle).refused


def receipt_status(coop: Coop, receipt: str, home: str = WITNESS) -> str:
    with coop[home].core.store.read() as snapshot:
        found = views.receipt(snapshot.state, bytes.fromhex(receipt))
    assert found is not None
    return found.status


def caught(stage: Ready, receipt: str, ground: str) -> None:
    """The payer challenges with what it was given; the witness upholds; all homes agree."""
    coop = stage.coop
    hand_over(coop, receipt, "user", WITNESS)
    before = coop.balances()
    done = coop["user"].challenge(receipt)
    assert (done.filed, done.ground) == (True, ground), done.faults
    coop.settle()
    assert receipt_status(coop, receipt) == "held"
    coop.settle()
    for home in coop:
        assert receipt_status(coop, receipt, home) == "upheld"
        assert coop.conserved(home)
    after = coop.balances()
    assert after["user"].balance_micro == before["user"].balance_micro + FEE
    for name in ("alice", "bert", "maker"):
        assert after[name].balance_micro == 0
        assert after[name].units == 0


def test_an_honest_receipt_is_not_challenged(slow: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    receipt = cheat(slow, monkeypatch)
    hand_over(slow.coop, receipt, "user")
    done = slow.coop["user"].challenge(receipt)
    assert (done.filed, done.event_id, done.ground, done.faults) == (False, None, None, ())
    assert (done.outputs, done.missing) == (1, ())
    assert slow.coop["user"].log(kind="audit.challenge").events == ()


@pytest.mark.rule("V3", "J1")
def test_a_provider_that_leaves_a_span_out_is_caught(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = cheat(slow, monkeypatch, spans_changed(lambda spans: spans[:1]))
    caught(slow, receipt, "better_span")


@pytest.mark.rule("V3", "J1")
def test_a_provider_that_moves_a_span_to_a_later_copy_is_caught(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    coop = slow.coop
    copy = coop.add_text("maker", "copy", words("harbour", 80, 20) + words(" mine", 9))
    coop.settle()
    model = coop["maker"].model_register("copier", trained_on=[(slow.harbour, 1), (copy, 1)])
    coop.settle()
    stage = replace(slow, model=model.model_id)

    def moved(spans: list[Span]) -> list[Span]:
        return [replace(spans[0], contribution_id=bytes.fromhex(copy), token=40 - 20)]

    assert stage.use(OUTPUT).ppm == {slow.harbour: TRUE_PPM[0]}
    receipt = cheat(stage, monkeypatch, spans_changed(moved))
    caught(stage, receipt, "better_span")


@pytest.mark.rule("V2", "J1")
def test_a_provider_that_invents_a_span_is_caught(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    def invented(spans: list[Span]) -> list[Span]:
        return [*spans, replace(spans[1], start=30, length=5, token=3)]

    caught(slow, cheat(slow, monkeypatch, spans_changed(invented)), "inclusion")


@pytest.mark.rule("V1", "J1")
def test_a_provider_that_names_a_snapshot_of_another_scope_is_caught(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names an epoch in which a text was in scope, and weighs as if it had left by then."""
    coop = slow.coop
    named = coop["maker"].status().epoch
    coop["bert"].data_withdraw(slow.bakers)
    coop.settle()
    draft = uses.receipt_draft

    def older(core: Any, snapshot: Any, *rest: Any) -> Any:
        body, made = draft(core, snapshot, *rest)
        body = msgspec.structs.replace(body, snapshot_epoch=named)
        return body, msgspec.structs.replace(made, body=body)

    with monkeypatch.context() as patch:
        patch.setattr(uses, "receipt_draft", older)
        receipt = cheat(slow, monkeypatch)
    caught(slow, receipt, "snapshot")


@pytest.mark.rule("V1", "J1")
def test_a_provider_that_draws_on_texts_outside_its_scope_is_caught(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    coop = slow.coop
    other = coop.add_text("maker", "other", words("nobody", 30))
    coop.settle()

    def outside(spans: list[Span]) -> list[Span]:
        return [*spans, Span(30, 5, 0, bytes.fromhex(other), 0, 0)]

    hold = uses._hold_payload

    def anything(core: Any, snapshot: Any, gathered: Any, named: bytes) -> None:
        if named == bytes.fromhex(other):
            shown = coop["maker"].show(other)
            gathered.commits[named] = bytes.fromhex(shown.payload_commit or "")
            gathered.orders[named] = (99, b"", 99)
        hold(core, snapshot, gathered, named)

    def ordered(counts: Any, rest: Any, orders: Any) -> Weights:
        return weigh(counts, rest, {**orders, bytes.fromhex(other): (99, b"", 99)})

    with monkeypatch.context() as patch:
        patch.setattr(uses, "_hold_payload", anything)
        patch.setattr(uses, "weigh", ordered)
        receipt = cheat(slow, monkeypatch, spans_changed(outside))
    caught(slow, receipt, "snapshot")


@pytest.mark.rule("V5", "J1")
def test_a_provider_whose_weights_are_not_the_apportionment_is_caught(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shifted(weights: Weights) -> Weights:
        (one, more), (two, less) = weights.contributions
        return Weights(((one, more + 1_000), (two, less - 1_000)), weights.unattributed_ppm)

    caught(slow, cheat(slow, monkeypatch, weights=shifted), "arithmetic")


@pytest.mark.rule("V3", "T12", "J1")
def test_a_provider_that_leaves_out_what_it_retrieved_is_caught(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = cheat(
        slow,
        monkeypatch,
        spans_changed(lambda spans: spans[1:]),
        retrieved=[f"{slow.harbour}:0:30-60", slow.bakers],
    )
    caught(slow, receipt, "better_span")


@pytest.mark.rule("V4", "R3", "J1")
def test_a_provider_that_ignores_a_derivation_is_caught(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    coop = slow.coop
    copy = coop.add_text("maker", "copy", words("own", 100) + " " + HARBOUR)
    coop.settle()
    model = coop["maker"].model_register("copier", trained_on=[(copy, 1)]).model_id
    coop.settle()
    stage = replace(slow, model=model)
    honest = stage.use(OUTPUT)
    assert honest.ppm == {slow.harbour: TRUE_PPM[0]}
    coop.settle()
    assert coop["maker"].challenge(honest.receipt_id).faults == ()

    def none_in_force(*_: Any, **__: Any) -> MapsInForce:
        return MapsInForce(Redirect([], {}), {}, ())

    with monkeypatch.context() as patch:
        patch.setattr(uses, "maps_in_force", none_in_force)
        receipt = cheat(stage, monkeypatch)
    assert dict(coop["maker"].show(receipt).body["weights"]) == {copy: TRUE_PPM[0]}
    caught(stage, receipt, "derivation")


@pytest.mark.rule("V6", "J2")
def test_a_provider_that_withholds_evidence_is_caught_when_half_the_hold_is_over(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    coop = slow.coop
    receipt = cheat(slow, monkeypatch)
    with pytest.raises(Refused) as caught_error:
        coop["user"].challenge(receipt)
    assert caught_error.value.code == "no_payload"
    done = coop["user"].challenge(receipt, "evidence_withheld")
    assert done.filed
    coop.settle()  # the challenge holds for 4 epochs from here on
    for _ in range(2):
        coop["alice"].datanet_create("something to close an epoch over")
        assert coop[WITNESS].log(kind="audit.verdict").events == ()
        coop.settle()
    assert receipt_status(coop, receipt) == "upheld"
    assert coop.conserved()


@pytest.mark.rule("J2")
def test_evidence_that_comes_in_time_clears_an_honest_provider(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    coop = slow.coop
    receipt = cheat(slow, monkeypatch)
    coop["user"].challenge(receipt, "evidence_withheld")
    coop.settle()
    hand_over(coop, receipt, WITNESS)
    coop.settle()
    (event,) = coop[WITNESS].log(kind="audit.verdict").events
    assert (event.body["upheld"], event.status) == (0, "final")
    assert receipt_status(coop, receipt) == "held"
    coop["user"].confirm(receipt)
    coop.settle()
    assert coop.balances()["maker"].balance_micro > 0


@pytest.mark.rule("V6", "J1")
def test_evidence_that_the_provider_had_erased_upholds_at_once(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    coop = slow.coop
    receipt = cheat(slow, monkeypatch)
    hand_over(coop, receipt, WITNESS)
    coop["maker"].data_erase(receipt)
    coop.settle()
    with pytest.raises(Refused):
        coop["maker"].bundle_export(coop.file(), evidence=[receipt])
    coop["user"].challenge(receipt, "evidence_withheld")
    coop.settle()
    coop.settle()
    assert receipt_status(coop, receipt) == "upheld"


@pytest.mark.rule("J1")
def test_an_upheld_challenge_refunds_all_unmatured_receipts_of_the_provider(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = slow.use(OUTPUT, FEE).receipt_id
    receipt = cheat(slow, monkeypatch, spans_changed(lambda spans: spans[:1]))
    hand_over(slow.coop, receipt, "alice", WITNESS)
    slow.coop["alice"].challenge(receipt)
    slow.coop.settle()
    slow.coop.settle()
    assert receipt_status(slow.coop, honest) == receipt_status(slow.coop, receipt) == "upheld"
    user = slow.coop.balances()["user"]
    assert user.refunds_micro == 2 * FEE


@pytest.mark.rule("J1")
def test_a_false_challenge_is_dismissed_and_the_receipt_cannot_be_challenged_again(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In version 1 it costs its author nothing but the receipt's only challenge."""
    coop = slow.coop
    receipt = cheat(slow, monkeypatch)
    hand_over(coop, receipt, WITNESS)
    before = coop.balances()
    coop["bert"].challenge(receipt, "better_span")
    coop.settle()
    coop.settle()
    (event,) = coop[WITNESS].log(kind="audit.verdict").events
    assert event.body["upheld"] == 0
    assert coop.balances() == before
    with pytest.raises(Refused) as refused:
        coop["alice"].challenge(receipt, "inclusion")
    assert refused.value.code == "CH"


@pytest.mark.rule("J1")
def test_a_seat_votes_once_on_a_receipt(slow: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    coop = slow.coop
    receipt = cheat(slow, monkeypatch)
    hand_over(coop, receipt, WITNESS)
    coop["bert"].challenge(receipt, "better_span")
    coop.settle()
    core = coop[WITNESS].core
    assert [draft.body.upheld for draft in auditing.judge_challenges(core)] == [0]
    assert auditing.file_verdicts(core) == 1
    assert auditing.judge_challenges(core) == []
    coop.settle()
    assert auditing.judge_challenges(core) == []
    assert len(coop[WITNESS].log(kind="audit.verdict").events) == 1


def test_a_home_without_a_seat_has_nothing_to_judge(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = cheat(slow, monkeypatch)
    hand_over(slow.coop, receipt, "alice", WITNESS)
    slow.coop["bert"].challenge(receipt, "better_span")
    slow.coop.settle()
    assert auditing.judge_challenges(slow.coop["alice"].core) == []
    assert auditing.judge_challenges(slow.coop[WITNESS].core) != []


@pytest.mark.rule("J2")
def test_a_seat_that_lacks_a_text_waits_for_it_and_passes_it_over_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ready(tmp_path, params=SLOW).coop as coop:
        secret = coop.add_text("maker", "secret", words("secret", 40), share="none")
        coop.settle()
        model = coop["maker"].model_register("own", trained_on=[(secret, 1)]).model_id
        grant = coop["user"].grant(coop.ids["maker"], FEE, expires=20).grant_id
        coop.settle()
        used = coop["maker"].use(model, words("secret", 20).encode(), grant=grant, fee_micro=FEE)
        coop.settle()
        hand_over(coop, used.receipt_id, "user", WITNESS)
        shown = coop["user"].challenge(used.receipt_id)
        assert (shown.filed, shown.missing) == (False, (secret,))
        coop["user"].challenge(used.receipt_id, "better_span")
        coop.settle()
        for _ in range(2):
            assert coop[WITNESS].log(kind="audit.verdict").events == ()
            coop["alice"].datanet_create("something to close an epoch over")
            coop.settle()
        (event,) = coop[WITNESS].log(kind="audit.verdict").events
        assert event.body["upheld"] == 0


def test_outputs_can_stand_in_for_those_that_are_not_held(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    coop = slow.coop
    receipt = cheat(slow, monkeypatch)
    hand_over(coop, receipt, "user")
    root = bytes.fromhex(coop["user"].show(receipt).body["output_root"])
    coop["user"].core.store.erase_payload(root)
    outputs = [OUTPUT.encode()]
    assert not coop["user"].challenge(receipt, outputs=outputs).filed
    with pytest.raises(UsageError, match="2 outputs were given"):
        coop["user"].challenge(receipt, outputs=outputs * 2)


def test_what_is_no_receipt_is_not_challenged(slow: Ready) -> None:
    with pytest.raises(UsageError) as caught_error:
        slow.coop["user"].challenge(slow.harbour)
    assert caught_error.value.code == "wrong_kind"


def test_a_receipt_of_a_batch_is_computed_over_all_its_outputs(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.use_batch(
        [
            {"output": OUTPUT, "grant": slow.grant, "fee_micro": FEE},
            {"output": words("baker", 30), "grant": slow.grant},
            {"output": "...", "grant": slow.grant},
        ]
    )
    (event,) = slow.coop["maker"].log(kind="use.receipt").events
    slow.coop.settle()
    done = slow.coop["maker"].challenge(event.event_id)
    assert (done.filed, done.outputs) == (False, 3)


@pytest.mark.rule("T12")
def test_each_output_of_a_receipt_is_computed_over_its_own_prompt(slow: Ready) -> None:
    one, two = words("harbour", 20, 40), words("baker", 20, 9)
    slow.use_batch(
        [
            {"output": f"{one} {two}", "retrieved": [f"{slow.harbour}:0:30-50", slow.bakers]},
            {"output": one, "retrieved": [slow.bakers]},
            {"output": two, "retrieved": [slow.bakers]},
            {"output": f"{two} {one}", "retrieved": [slow.bakers, f"{slow.harbour}:0:30-50"]},
        ]
    )
    (event,) = slow.coop["maker"].log(kind="use.receipt").events
    slow.coop.settle()
    done = slow.coop["maker"].challenge(event.event_id)
    assert (done.faults, done.outputs) == ((), 4)


@pytest.mark.rule("J2")
def test_a_seat_whose_own_store_is_damaged_does_not_vote(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    coop = slow.coop
    receipt = cheat(slow, monkeypatch)
    hand_over(coop, receipt, WITNESS)
    coop["bert"].challenge(receipt, "better_span")
    coop.settle()

    def damaged(*_: Any) -> bytes:
        raise StoreDamaged("a payload is damaged")

    with monkeypatch.context() as patch:
        patch.setattr(auditing, "own_payload", damaged)
        assert auditing.judge_challenges(coop[WITNESS].core) == []
    assert len(auditing.judge_challenges(coop[WITNESS].core)) == 1


def lines(node: Any) -> list[str]:
    return [node.title, *(line for child in node.children for line in lines(child))]


def test_explain_counts_spans_as_prove_does_and_lists_what_stood_in_prompts(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    coop = slow.coop
    asked = [f"{slow.harbour}:0:30-60", slow.bakers]
    receipt = cheat(slow, monkeypatch, retrieved=asked)
    shown = lines(coop["maker"].explain(receipt).tree)
    assert "output 0: tokens 30 to 59 of document 0 stood in its prompt" in shown
    numbers = [line.split(":")[0] for line in shown if line.startswith("span ")]
    assert numbers == ["span 0", "span 1"]
    for number in range(2):
        proof = coop.file("proof")
        coop["maker"].prove(receipt, proof, span=number)
        facts = verify_file(proof, coop.genesis).facts
        start, stop = facts["document_tokens"]
        (line,) = [line for line in shown if line.startswith(f"span {number}:")]
        assert f"are tokens {start} to {stop - 1} of document 0" in line


@pytest.mark.rule("J2")
def test_a_seat_that_waits_for_a_text_looks_once_an_epoch(
    slow: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    coop = slow.coop
    receipt = cheat(slow, monkeypatch)
    hand_over(coop, receipt, WITNESS)
    coop["bert"].challenge(receipt, "better_span")
    coop.settle()
    core = coop[WITNESS].core
    looked: list[bytes] = []
    audit = auditing.audit_receipt

    def seen(snapshot: Any, target: bytes, **options: Any) -> Any:
        looked.append(target)
        return replace(audit(snapshot, target, **options), missing=(bytes(32),))

    monkeypatch.setattr(auditing, "audit_receipt", seen)
    for _ in range(3):
        assert auditing.judge_challenges(core) == []
    assert len(looked) == 1
    coop["alice"].datanet_create("something to close an epoch over")
    coop.settle()
    assert len(looked) == 1
    assert [draft.body.upheld for draft in auditing.judge_challenges(core)] == [0]
    assert len(looked) == 2


# Claims of derivation.


@pytest.fixture
def copied(slow: Ready) -> tuple[Ready, str]:
    """bert has registered a copy of alice's text, and declares nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(derivations, "derived_in", lambda *given: ((), ()))
        copy = slow.coop.add_text("bert", "copy", words("own", 60) + " " + HARBOUR)
    assert not slow.coop["bert"].log(kind="data.derivation").events
    return slow, copy


def claimed(coop: Coop, contribution: str, home: str = "alice") -> str:
    """A claim by another account than the contributor, final."""
    done = coop[home].data_derive(contribution)
    assert done.derivation_id is not None
    coop.settle()
    return done.derivation_id


def derivation_status(coop: Coop, derivation: str) -> str:
    with coop[WITNESS].core.store.read() as snapshot:
        found = views.derivation(snapshot.state, bytes.fromhex(derivation))
    assert found is not None
    return found.status


@pytest.mark.rule("J3")
def test_a_seat_upholds_a_claim_that_it_finds_itself(copied: tuple[Ready, str]) -> None:
    coop = copied[0].coop
    coop.settle()
    claim = claimed(coop, copied[1])
    assert derivation_status(coop, claim) == "pending"
    coop.settle()
    assert derivation_status(coop, claim) == "upheld"
    coop["alice"].datanet_create("something to close an epoch over")
    coop.settle()
    assert len(coop[WITNESS].log(kind="audit.verdict").events) == 1


@pytest.mark.rule("J3")
def test_a_seat_says_nothing_to_a_claim_that_it_does_not_find(copied: tuple[Ready, str]) -> None:
    coop = copied[0].coop
    coop.settle()
    body = DataDerivation(bytes.fromhex(copied[1]), bytes(32), ())
    claim = coop["alice"].core.append_one("data.derivation", body).event_id
    for name in ("a", "b", "c", "d", "e"):
        coop["alice"].datanet_create(name)
        coop.settle()
    assert derivation_status(coop, claim) == "pending"
    assert coop[WITNESS].log(kind="audit.verdict").events == ()
