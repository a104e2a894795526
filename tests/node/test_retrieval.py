"""What stood in a prompt: naming it, weighing against just that, listing it in the evidence."""

from __future__ import annotations

import pytest

from openledger_node.attribution.evidence import Branch, Passage, decode_evidence
from openledger_node.ledger.errors import UsageError
from openledger_node.node.retrieval import (
    MAX_RETRIEVED,
    HeldTexts,
    Retrieved,
    find_retrieved,
    place,
)
from openledger_node.node.scopes import Placed
from tests.kit.homes import HARBOUR, Coop, Ready, words

ID = bytes(31) + b"\1"


def evidence(stage: Ready, receipt: str) -> dict[str, Branch]:
    """The branches of a receipt's evidence by contribution."""
    with stage.coop["maker"].core.store.read() as snapshot:
        shown = stage.coop["maker"].show(receipt)
        assert shown.payload_commit is not None
        data = snapshot.payload(bytes.fromhex(shown.payload_commit))
    assert data is not None
    return {branch.contribution_id.hex(): branch for branch in decode_evidence(data)}


def test_an_output_is_weighed_against_just_what_was_retrieved(stage: Ready) -> None:
    output = words("harbour", 20, 40) + " " + words("baker", 20, 9)
    both = stage.use(output)
    assert both.ppm == {stage.harbour: 500_000, stage.bakers: 500_000}
    one = stage.use(output, retrieved=[stage.bakers])
    assert (one.ppm, one.unattributed_ppm) == ({stage.bakers: 500_000}, 500_000)
    part = stage.use(output, retrieved=[f"{stage.bakers}:0:9-19", f"{stage.harbour}:0:0-45"])
    assert part.ppm == {stage.bakers: 250_000}  # 10 tokens; the 5 of harbour are too few


@pytest.mark.rule("T12")
def test_the_evidence_lists_what_was_retrieved_and_counts_spans_in_documents(stage: Ready) -> None:
    output = words("harbour", 20, 40) + " " + words("nobody", 3)
    used = stage.use(output, retrieved=[f"{stage.harbour}:0:30-50", f"{stage.bakers}:0:0-10"])
    assert used.ppm == {stage.harbour: 434_783}
    branches = evidence(stage, used.receipt_id)
    assert branches[stage.bakers].spans == ()
    assert branches[stage.bakers].passages == (Passage(0, 0, 0, 10),)
    assert branches[stage.harbour].passages == (Passage(0, 0, 30, 50),)
    (span,) = branches[stage.harbour].spans
    assert (span.start, span.length, span.document, span.token) == (0, 10, 0, 40)


@pytest.mark.rule("T12")
def test_each_output_of_a_batch_has_its_own_passages(stage: Ready) -> None:
    one, two = words("harbour", 20, 40), words("baker", 20, 9)
    done = stage.use_batch(
        [
            {"output": one, "retrieved": [stage.harbour]},
            {"output": one, "retrieved": [stage.bakers]},
            {"output": two, "retrieved": [f"{stage.bakers}:0:0-19"]},
        ]
    )
    (receipt,) = done.receipts
    # 20 tokens of the first output, none of the second, 10 of the third: 30 of 60.
    assert receipt.ppm == {stage.harbour: 333_333, stage.bakers: 166_667}
    branches = evidence(stage, receipt.receipt_id)
    assert branches[stage.harbour].passages == (Passage(0, 0, 0, 200),)
    assert branches[stage.bakers].passages == (Passage(1, 0, 0, 200), Passage(2, 0, 0, 19))


def test_attributing_with_passages_records_nothing_and_reports_the_method(stage: Ready) -> None:
    maker = stage.coop["maker"]
    shown = maker.attribute(HARBOUR.encode(), retrieved=[f"{stage.harbour}:0:100-150"])
    assert (shown.method, shown.unattributed_ppm) == ("retrieved", 750_000)
    (span,) = shown.spans
    assert (span.start, span.end, span.token) == (100, 150, 100)
    assert maker.log(kind="use.receipt").events == ()


@pytest.mark.parametrize(
    "tail",
    [":", ":x", ":0:", ":0:5", ":0:5-", ":0:5-5", ":0:9-5", ":-1", ":0:0-1:2", ":0:5-" + "9" * 11],
)
def test_a_passage_that_is_malformed_is_refused(stage: Ready, tail: str) -> None:
    with pytest.raises(UsageError, match="passage"):
        stage.use("words", retrieved=[stage.harbour + tail])


@pytest.mark.parametrize("tail", [":1", ":0:0-201", ":0:200-201"])
def test_a_passage_past_the_text_is_refused(stage: Ready, tail: str) -> None:
    with pytest.raises(UsageError) as caught:
        stage.use("words", retrieved=[stage.harbour + tail])
    assert caught.value.code == "bad_passage"


def test_more_passages_than_a_use_names_are_refused(stage: Ready) -> None:
    with stage.coop["maker"].core.store.read() as snapshot:
        most = [f"{stage.harbour}:0:{n}-{n + 1}" for n in range(MAX_RETRIEVED)]
        assert len(find_retrieved(snapshot, most)) == MAX_RETRIEVED
        with pytest.raises(UsageError, match="1,001"):
            find_retrieved(snapshot, [*most, stage.harbour])


def test_passages_that_touch_or_overlap_become_one() -> None:
    held = HeldTexts(ID, ID, ((0, [b"a"] * 30), (2, [b"b"] * 10)))
    asked = [Retrieved(ID, 0, 5, 9), Retrieved(ID, 0, 9, 12), Retrieved(ID, 0, 20, 25)]
    assert place(asked, ID, held) == [Placed(ID, 0, 5, 12), Placed(ID, 0, 20, 25)]
    whole = [*asked, Retrieved(ID)]
    assert place(whole, ID, held) == [Placed(ID, 0, 0, 30), Placed(ID, 2, 0, 10)]
    assert place([Retrieved(bytes(32))], ID, held) == []


def test_a_match_runs_within_one_passage(coop: Coop) -> None:
    named = coop.add_text("coop", "long", words("long", 100))
    coop["coop"].epoch_close()
    shown = coop["coop"].attribute(
        words("long", 20, 40).encode(), retrieved=[f"{named}:0:30-50", f"{named}:0:51-70"]
    )
    assert [(span.start, span.end, span.token) for span in shown.spans] == [
        (0, 10, 40),
        (11, 20, 51),
    ]
    assert shown.unattributed_ppm == 50_000
