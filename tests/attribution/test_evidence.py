"""T6, T7: spans are checked from a few leaves; evidence falls into branches that stand alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.attribution.evidence import (
    MAX_PASSAGES,
    Branch,
    Passage,
    SpanProof,
    decode_evidence,
    decode_span_proof,
    encode_evidence,
    prove_span,
)
from openledger_node.attribution.reference import Span, attribute
from openledger_node.attribution.scope import make_scope
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.payload import (
    PayloadDocument,
    cut_binary,
    decode_payload,
    encode_payload,
)
from openledger_node.ledger.payload_proofs import MAX_RUN_LEAVES, ShownLeaf, prove_leaf, prove_run
from tests.attribution.build import AUTHOR, contribution_id, document, payload, words

PROVIDER = b"provider" + bytes(24)
TEXT = " ".join(f"w{n}" for n in range(300))
CORPUS = payload(b"another document", TEXT.encode(), b"\xff\xfe not text")
OUTPUT = words("x y " + " ".join(f"w{n}" for n in range(60, 200)))


def span_of(start: int, token: int, length: int, document_index: int = 1) -> Span:
    return Span(start, length, 0, contribution_id(1), document_index, token)


def proof() -> SpanProof:
    """Of output tokens 2 to 142, which are tokens 60 to 200 of document 1: leaves 0 to 3."""
    scope = make_scope([document(1, words(TEXT), index=1)])
    (span,) = attribute(OUTPUT, scope).spans
    return prove_span(span, CORPUS)


@pytest.mark.rule("T6")
def test_a_span_is_checked_from_its_leaves_alone() -> None:
    shown = decode_span_proof(encode(proof()))
    assert (shown.document, shown.run.first, len(shown.run.leaves)) == (1, 0, 4)
    assert shown.verify(CORPUS.commit, AUTHOR, OUTPUT)
    assert not shown.verify(bytes(32), AUTHOR, OUTPUT)
    assert not shown.verify(CORPUS.commit, AUTHOR, OUTPUT[1:])
    assert not shown.verify(CORPUS.commit, AUTHOR, OUTPUT[:-1])
    assert not shown.verify(CORPUS.commit, AUTHOR, [])


@pytest.mark.rule("T6")
def test_a_changed_span_proof_never_verifies() -> None:
    shown = proof()
    run, leaves = shown.run, shown.run.leaves
    changes: dict[str, dict[str, Any]] = {
        "start before": {"start": shown.start - 1},
        "start after": {"start": shown.start + 1},
        "longer": {"length": shown.length + 1},
        "token before": {"token": shown.token - 1},
        "token after": {"token": shown.token + 1},
        "a leaf too many": {"run": prove_run(CORPUS, 1, 0, 5)},
        "a leaf too few": {"run": prove_run(CORPUS, 1, 0, 3)},
        "leaves from the next one on": {"run": prove_run(CORPUS, 1, 1, 5)},
        "leaves of another document": {"run": prove_run(CORPUS, 0, 0, 1)},
    }
    runs: dict[str, dict[str, Any]] = {
        "another document": {"document": 0},
        "a leaf missing": {"leaves": leaves[1:]},
        "a leaf twice": {"leaves": (leaves[0], leaves[0], *leaves[2:])},
        "leaves in another order": {"leaves": tuple(reversed(leaves))},
        "other leaves": {"first": 1},
        "no path": {"path": ()},
        "a longer path": {"path": (*run.path, bytes(32))},
        "other bytes": {
            "leaves": (msgspec.structs.replace(leaves[0], data=b"w60 " * 64), *leaves[1:])
        },
    }
    changes |= {
        name: {"run": msgspec.structs.replace(run, **fields)} for name, fields in runs.items()
    }
    for name, fields in changes.items():
        assert not msgspec.structs.replace(shown, **fields).verify(CORPUS.commit, AUTHOR, OUTPUT), (
            name
        )


@pytest.mark.rule("T6", "P3")
def test_a_span_is_not_proved_under_another_account_s_commitment() -> None:
    """A copier's contribution carries the commitment; its own log has another account."""
    shown = proof()
    assert shown.verify(CORPUS.commit, AUTHOR, OUTPUT)
    for account in (PROVIDER, bytes(32), b""):
        assert not shown.verify(CORPUS.commit, account, OUTPUT)


@pytest.mark.rule("T7", "P3")
def test_evidence_of_another_provider_has_another_commitment() -> None:
    branches = [Branch(contribution_id(1), (proof(),))]
    salts = {contribution_id(1): bytes(32)}
    own, other = (
        decode_payload(encode_evidence(account, branches, salts)) for account in (PROVIDER, AUTHOR)
    )
    assert (own.account, own.trees) == (PROVIDER, other.trees)
    assert own.commit != other.commit


@pytest.mark.rule("T6")
@settings(max_examples=40)
@given(st.integers(0, 299), st.integers(1, 299))
def test_every_part_of_a_document_can_be_proved(token: int, length: int) -> None:
    length = min(length, 300 - token)
    output = words(TEXT)[token : token + length]
    shown = prove_span(span_of(0, token, length), CORPUS)
    assert len(shown.run.leaves) == (token + length - 1) // 64 - token // 64 + 1
    assert shown.verify(CORPUS.commit, AUTHOR, output)
    assert not shown.verify(CORPUS.commit, AUTHOR, [*output[:-1], b"else"])


@pytest.mark.rule("T6")
def test_leaves_that_are_not_text_prove_no_span() -> None:
    shown = prove_span(span_of(0, 0, 2, document_index=2), CORPUS)
    assert not shown.verify(CORPUS.commit, AUTHOR, words("not text"))


@pytest.mark.rule("T6")
@pytest.mark.parametrize(("token", "leaves"), [(64 * 77, 1), (64 * 77 + 40, 2)])
def test_a_span_within_two_leaves_is_proved_in_less_than_1536_bytes(
    token: int, leaves: int
) -> None:
    """English prose: 64 tokens of 6 bytes; 128 documents, this one of 128 leaves."""
    prose = " ".join(f"word{n % 10}" for n in range(64 * 128)).encode()
    corpus = payload(prose, *[b"a"] * 127)
    shown = prove_span(span_of(0, token, 60, document_index=0), corpus)
    assert len(shown.run.leaves) == leaves
    assert len(encode(shown)) < 1_536


@pytest.mark.rule("T7")
def test_evidence_gives_back_its_branches_in_the_order_of_ids() -> None:
    branches = [Branch(contribution_id(n), (proof(),) * n) for n in (3, 1, 2)]
    salts = {contribution_id(n): bytes([n]) * 32 for n in range(4)}
    data = encode_evidence(PROVIDER, branches, salts)
    assert decode_evidence(data) == tuple(sorted(branches, key=lambda item: item.contribution_id))
    assert decode_evidence(encode_evidence(PROVIDER, [], {})) == ()


@pytest.mark.rule("T7")
def test_a_branch_is_a_document_of_its_own_that_is_proved_without_the_others() -> None:
    branches = [Branch(contribution_id(n), (proof(),)) for n in (1, 2)]
    salts = {contribution_id(n): bytes([n]) * 32 for n in (1, 2)}
    kept = decode_payload(encode_evidence(PROVIDER, branches, salts))
    raw = encode(branches[1])
    assert kept.documents[1].slices == cut_binary(raw)
    leaves = [prove_leaf(kept, 1, leaf) for leaf in range(len(cut_binary(raw)))]
    assert all(leaf.verify(kept.commit, PROVIDER) for leaf in leaves)
    assert b"".join(leaf.data for leaf in leaves) == raw
    shown = b"".join(map(encode, leaves))
    assert salts[contribution_id(1)] not in shown
    assert contribution_id(1) not in shown


def stored(*documents: bytes) -> bytes:
    """An evidence payload of these documents, whatever they are."""
    return encode_payload(
        PROVIDER, 1, [PayloadDocument(bytes(32), cut_binary(data), 0) for data in documents]
    )


ONE, TWO = (encode([contribution_id(n), [], []]) for n in (1, 2))
MALFORMED = {
    "no payload": b"",
    "a branch that is empty": stored(b""),
    "a branch that is text": stored(b"one two"),
    "a branch without spans": stored(encode([contribution_id(1)])),
    "a branch without passages": stored(encode([contribution_id(1), []])),
    "a branch with a field too many": stored(encode([contribution_id(1), [], [], 1])),
    "a short contribution id": stored(encode([contribution_id(1)[1:], [], []])),
    "a span without fields": stored(encode([contribution_id(1), [[]], []])),
    "a branch in a long form": stored(b"\xdc\x00\x03" + ONE[1:]),
    "bytes after a branch": stored(ONE + b"\0"),
    "branches in another order": stored(TWO, ONE),
    "a contribution twice": stored(ONE, ONE),
}


@pytest.mark.rule("T7")
@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_evidence_is_bad_input(name: str) -> None:
    assert decode_evidence(stored(ONE, TWO))
    with pytest.raises(BadInput):
        decode_evidence(MALFORMED[name])


def with_passages(*passages: tuple[int, int, int, int]) -> bytes:
    return stored(encode([contribution_id(1), [], passages]))


@pytest.mark.rule("T12")
def test_a_branch_lists_what_stood_in_the_prompts() -> None:
    listed = ((0, 0, 5, 9), (0, 0, 9, 12), (0, 2, 0, 1), (1, 0, 0, 2**27 - 8))
    (branch,) = decode_evidence(with_passages(*listed))
    assert branch.spans == ()
    assert branch.passages == tuple(Passage(*item) for item in listed)
    salts = {contribution_id(1): bytes(32)}
    assert decode_evidence(encode_evidence(PROVIDER, [branch], salts)) == (branch,)


@pytest.mark.rule("T12")
@pytest.mark.parametrize(
    "listed",
    [
        pytest.param([(0, 0, 5, 5)], id="without tokens"),
        pytest.param([(0, 0, 5, 4)], id="backwards"),
        pytest.param([(0, 0, 0, 9), (0, 0, 8, 12)], id="overlapping"),
        pytest.param([(0, 0, 5, 9), (0, 0, 0, 5)], id="descending tokens"),
        pytest.param([(0, 1, 0, 5), (0, 0, 0, 5)], id="descending documents"),
        pytest.param([(1, 0, 0, 5), (0, 0, 0, 5)], id="descending outputs"),
        pytest.param([(10_000, 0, 0, 5)], id="an output too many"),
        pytest.param([(0, 0, 0, 2**30 + 1)], id="an end past the largest document"),
        pytest.param([(0, 0, 0, 2**27), (1, 0, 0, 1)], id="more tokens than an audit reads"),
        pytest.param([(0, 0, n, n + 1) for n in range(MAX_PASSAGES + 1)], id="too many"),
    ],
)
def test_passages_that_break_a_rule_are_bad_input(listed: list[tuple[int, int, int, int]]) -> None:
    with pytest.raises(BadInput):
        decode_evidence(with_passages(*listed))


@pytest.mark.rule("T12")
def test_evidence_of_longer_prompts_than_an_audit_reads_is_not_written() -> None:
    half = Branch(contribution_id(1), (), (Passage(0, 0, 0, 2**26),))
    other = Branch(contribution_id(2), (), (Passage(0, 0, 0, 2**26),))
    more = Branch(contribution_id(3), (), (Passage(0, 0, 0, 1),))
    salts = {contribution_id(n): bytes(32) for n in (1, 2, 3)}
    assert decode_evidence(encode_evidence(PROVIDER, [half, other], salts)) == (half, other)
    with pytest.raises(BadInput, match="134,217,729 tokens"):
        encode_evidence(PROVIDER, [half, other, more], salts)


@pytest.mark.rule("T6")
@pytest.mark.parametrize(
    "fields",
    [
        {"length": 0},
        {"length": 1_000_001},
        {"start": -1},
        {"token": 2**30 + 1},
        {"output": 10_000},
        {"run": msgspec.structs.replace(proof().run, leaves=())},
    ],
)
def test_a_span_proof_past_a_limit_is_bad_input(fields: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        decode_span_proof(encode(msgspec.structs.replace(proof(), **fields)))


@pytest.mark.rule("T6")
def test_a_span_proof_of_too_many_leaves_is_bad_input() -> None:
    shown = proof()
    leaves = (ShownLeaf(bytes(32), b"a"),) * (MAX_RUN_LEAVES + 1)
    run = msgspec.structs.replace(shown.run, leaves=leaves)
    with pytest.raises(BadInput, match="malformed"):
        decode_span_proof(encode(msgspec.structs.replace(shown, run=run)))


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_bad_input_to_both_decoders(data: bytes) -> None:
    with pytest.raises(BadInput):
        decode_span_proof(data)
    with pytest.raises(BadInput):
        decode_evidence(stored(data))
