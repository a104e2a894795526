"""Span proofs: an output's stretch stands in a contribution, shown without either text."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from openledger_node.api import verify_file
from openledger_node.attribution.evidence import SpanProof
from openledger_node.exchange.proofs import ProofFile
from openledger_node.exchange.span_proofs import SpanParts, check_span, output_tokens
from openledger_node.ledger import merkle
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput, OlnError, Refused, UsageError
from openledger_node.ledger.kinds import UseReceipt
from openledger_node.ledger.payload import DocumentTree, commitment
from openledger_node.ledger.payload_proofs import PayloadRunProof, ShownLeaf
from tests.kit.homes import Ready, words

# Tokens 0 to 19 are harbour 60 to 79, which straddle two leaves; 20 to 39 are baker 5 to 24.
OUTPUT = words("harbour", 20, start=60) + " " + words("baker", 20, start=5)


@pytest.fixture
def proved(stage: Ready) -> tuple[Ready, str, list[Path]]:
    """A final receipt with two spans, and the proof of each."""
    receipt = stage.use(OUTPUT, 1_000_000).receipt_id
    stage.coop.settle()
    files = []
    for span in range(2):
        file = stage.coop.file("proof")
        stage.coop["maker"].prove(receipt, file, span=span)
        files.append(file)
    return stage, receipt, files


def parts_of(file: Path) -> SpanParts:
    whole = msgspec.msgpack.decode(file.read_bytes(), type=ProofFile)
    return msgspec.msgpack.decode(whole.parts, type=SpanParts)


@pytest.mark.rule("T6")
def test_each_span_of_a_receipt_is_proved_from_its_file_alone(
    proved: tuple[Ready, str, list[Path]],
) -> None:
    stage, receipt, files = proved
    shown = [verify_file(file, stage.coop.genesis) for file in files]
    assert all(item.valid and item.what == "span" for item in shown), shown
    by_title = {item.facts["title"]: item.facts for item in shown}
    assert by_title["harbour"]["contribution_id"] == stage.harbour
    assert by_title["harbour"]["tokens"] == [0, 20]
    assert by_title["harbour"]["document_tokens"] == [60, 80]
    assert by_title["bakers"]["tokens"] == [20, 40]
    assert by_title["bakers"]["document_tokens"] == [5, 25]
    for facts in by_title.values():
        assert facts["receipt_id"] == receipt
        assert facts["final"]
        assert facts["text"] == OUTPUT


def test_a_span_proof_altered_anywhere_proves_no_more_than_a_part_of_the_span(
    proved: tuple[Ready, str, list[Path]],
) -> None:
    stage, _, files = proved
    good = verify_file(files[0], stage.coop.genesis).facts
    data = files[0].read_bytes()
    altered = stage.coop.file("proof")
    for at in range(0, len(data), 3):
        altered.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        try:
            found = verify_file(altered, stage.coop.genesis)
        except OlnError:
            continue
        if found.valid:
            start, stop = found.facts["tokens"]
            assert good["tokens"][0] <= start <= stop <= good["tokens"][1]
            assert {k: v for k, v in found.facts.items() if "tokens" not in k} == {
                k: v for k, v in good.items() if "tokens" not in k
            }


@pytest.mark.parametrize(
    "evil",
    [
        "a longer span",
        "a span moved in the output",
        "a span moved in the document",
        "another document",
        "another output",
        "another contribution",
        "another receipt",
        "no receipt at all",
        "an output leaf left out",
        "a leaf of the document left out",
    ],
)
def test_a_span_that_does_not_stand_is_refused(
    proved: tuple[Ready, str, list[Path]], evil: str
) -> None:
    stage, _, files = proved
    genesis = stage.coop["maker"].core.genesis
    a, b = parts_of(files[0]), parts_of(files[1])
    check_span(genesis, a)

    def with_span(**changes: int) -> SpanParts:
        return msgspec.structs.replace(a, span=msgspec.structs.replace(a.span, **changes))

    def with_run(**changes: object) -> SpanParts:
        run = msgspec.structs.replace(a.span.run, **changes)
        return msgspec.structs.replace(a, span=msgspec.structs.replace(a.span, run=run))

    wrong = {
        "a longer span": lambda: with_span(length=a.span.length + 1),
        "a span moved in the output": lambda: with_span(start=a.span.start + 1),
        "a span moved in the document": lambda: with_span(token=a.span.token + 1),
        "another document": lambda: with_run(document=1),
        "another output": lambda: with_span(output=1),
        "another contribution": lambda: msgspec.structs.replace(a, contribution=b.contribution),
        "another receipt": lambda: msgspec.structs.replace(a, receipt=a.contribution),
        "no receipt at all": lambda: msgspec.structs.replace(
            a, receipt=a.contribution, contribution=a.receipt
        ),
        "an output leaf left out": lambda: msgspec.structs.replace(
            a, output=msgspec.structs.replace(a.output, leaves=a.output.leaves[1:])
        ),
        "a leaf of the document left out": lambda: with_run(leaves=a.span.run.leaves[1:]),
    }
    with pytest.raises((OlnError, BadInput)):
        check_span(genesis, wrong[evil]())


def test_a_span_that_is_not_there_is_wrong_usage(proved: tuple[Ready, str, list[Path]]) -> None:
    stage, receipt, _ = proved
    with pytest.raises(UsageError, match="2 spans"):
        stage.coop["maker"].prove(receipt, stage.coop.file("proof"), span=2)


def test_only_a_receipt_has_spans(proved: tuple[Ready, str, list[Path]]) -> None:
    stage, _, _ = proved
    with pytest.raises(UsageError, match="is a model"):
        stage.coop["maker"].prove(stage.model, stage.coop.file("proof"), span=0)


def test_who_does_not_hold_the_evidence_cannot_prove_a_span(
    proved: tuple[Ready, str, list[Path]],
) -> None:
    stage, receipt, _ = proved
    with pytest.raises(Refused, match="not held here"):
        stage.coop["coop"].prove(receipt, stage.coop.file("proof"), span=0)


def test_a_span_proof_of_another_ledger_is_refused(
    proved: tuple[Ready, str, list[Path]], tmp_path: Path
) -> None:
    _, _, files = proved
    whole = msgspec.msgpack.decode(files[0].read_bytes(), type=ProofFile)
    other = msgspec.structs.replace(
        whole, genesis=msgspec.structs.replace(whole.genesis, name="another")
    )
    file = tmp_path / "other.proof"
    file.write_bytes(encode(other))
    found = verify_file(file)
    assert not found.valid
    assert "another ledger" in found.reasons[0]


def test_an_output_that_claims_a_place_at_token_2_to_the_30_costs_no_memory() -> None:
    """Its root, and so the number of its leaves, is whatever the receipt's author made up."""
    data, beside = b"quay tide salt rope mast", bytes(32)
    root = merkle.node_hash(beside, merkle.leaf_hash(bytes(32) + data))
    tree = DocumentTree(root, 2**24 + 1, 2**30 + 5, 2**34)
    shown = PayloadRunProof(0, 1, tree, (), 2**24, (ShownLeaf(bytes(32), data),), (beside,))
    provider = b"provider" + bytes(24)
    commit = commitment(provider, [tree])
    use = UseReceipt(None, bytes(32), None, 1, 1, commit, 0, (), 1_000_000, "spans")
    span = SpanProof(0, 2**30, 5, 0, shown)
    tokens, text = output_tokens(shown, span, use, provider)
    assert tokens == [b"quay", b"tide", b"salt", b"rope", b"mast"]
    assert text == data.decode()
