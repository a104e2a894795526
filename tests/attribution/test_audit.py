"""V1 to V6: what an auditor finds in a receipt, and that it never accuses the honest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.attribution.audit import (
    Claims,
    Finding,
    Ground,
    Known,
    Member,
    compare,
)
from openledger_node.attribution.evidence import Branch, SpanProof, prove_span
from openledger_node.attribution.reference import Attribution, Span, attribute
from openledger_node.attribution.scope import Scope, ScopeDocument, make_scope
from openledger_node.attribution.weights import Derivation, Weights, count_tokens, weigh
from openledger_node.ledger.kinds import GROUNDS
from openledger_node.ledger.payload import Payload
from tests.attribution.build import AUTHOR, contribution_id, document, payload, words

A, B, C = contribution_id(1), contribution_id(2), contribution_id(3)


def sentence(name: str, count: int, start: int = 0) -> str:
    return " ".join(f"{name}{n}" for n in range(start, start + count))


@dataclass(frozen=True)
class Stage:
    """A scope of texts, an output of it, and what an honest provider says of it."""

    texts: Mapping[bytes, Payload]
    scope: Scope
    outputs: tuple[list[bytes], ...]
    known: Known

    def attributions(self, scope: Scope | None = None) -> list[Attribution]:
        return [attribute(tokens, scope or self.scope) for tokens in self.outputs]

    def spans(self) -> list[tuple[int, Span]]:
        return [(n, span) for n, a in enumerate(self.attributions()) for span in a.spans]

    def claims(
        self,
        spans: Sequence[tuple[int, Span]] | None = None,
        derivation: Derivation | None = None,
    ) -> Claims:
        """The claims of a provider that found `spans`; by default, those that are there."""
        chosen = self.spans() if spans is None else spans
        rows: list[list[Span]] = [[] for _ in self.outputs]
        proofs: dict[bytes, list[SpanProof]] = {}
        for output, span in chosen:
            rows[output].append(span)
            proved = prove_span(span, self.texts[span.contribution_id], output)
            proofs.setdefault(span.contribution_id, []).append(proved)
        attributions = [
            Attribution(len(tokens), tuple(row), ())
            for tokens, row in zip(self.outputs, rows, strict=True)
        ]
        counts, rest = count_tokens(attributions, derivation)
        orders = {key: member.order for key, member in self.known.members.items()}
        weights = weigh(counts, rest, orders)
        branches = tuple(Branch(key, tuple(found)) for key, found in sorted(proofs.items()))
        return Claims(weights, branches)

    def audit(self, claims: Claims, derivation: Derivation | None = None) -> tuple[Finding, ...]:
        return compare(claims, self.outputs, self.attributions(), self.known, derivation)

    def without(self, *missing: bytes) -> Stage:
        """As an auditor sees it that lacks these texts."""
        held = [item for item in self.scope.sources if item.contribution_id not in missing]
        known = replace(self.known, missing=frozenset(missing))
        return replace(self, scope=Scope(tuple(held), self.scope.commons), known=known)


def stage_of(texts: Mapping[bytes, Sequence[str]], *outputs: str, commons: str = "") -> Stage:
    payloads = {key: payload(*(t.encode() for t in found)) for key, found in texts.items()}
    documents: list[ScopeDocument] = []
    members: dict[bytes, Member] = {}
    for number, (key, found) in enumerate(texts.items(), 1):
        members[key] = Member(AUTHOR, payloads[key].commit, len(found), (number, b"", 0))
        for index, text in enumerate(found):
            documents.append(document(number, words(text), index=index))
    if commons:
        documents.append(document(99, words(commons), commons=True))
    tokens = tuple(words(text) for text in outputs)
    return Stage(payloads, make_scope(documents), tokens, Known(members))


@pytest.fixture
def stage() -> Stage:
    """B's text has a passage of A's, so that there is something to move a span to."""
    return stage_of(
        {
            A: [sentence("a", 150)],
            B: [sentence("b", 100) + " " + sentence("a", 40, 60), sentence("z", 90)],
            C: [sentence("c", 70)],
        },
        " ".join([sentence("a", 30, 65), "own words", sentence("b", 20, 70), sentence("z", 12, 5)]),
        sentence("c", 12, 3) + " nothing else here",
    )


def grounds(findings: Sequence[Finding]) -> list[str]:
    return [str(finding.ground) for finding in findings]


def test_the_grounds_are_those_of_the_event() -> None:
    assert {str(ground) for ground in Ground} == set(GROUNDS)


@pytest.mark.rule("V1", "V2", "V3", "V4", "V5")
def test_an_honest_receipt_has_nothing_wrong(stage: Stage) -> None:
    claims = stage.claims()
    assert len(list(claims.spans())) == 4
    assert stage.audit(claims) == ()


def test_the_order_of_weights_and_branches_means_nothing(stage: Stage) -> None:
    claims = stage.claims()
    turned = Weights(claims.weights.contributions[::-1], claims.weights.unattributed_ppm)
    assert stage.audit(Claims(turned, claims.branches[::-1])) == ()


@pytest.mark.rule("V3")
def test_a_span_left_out_is_found(stage: Stage) -> None:
    spans = stage.spans()
    for index in range(len(spans)):
        findings = stage.audit(stage.claims(spans[:index] + spans[index + 1 :]))
        assert grounds(findings) == ["better_span"]
        assert "left out" in findings[0].what
        assert findings[0].contribution_id == spans[index][1].contribution_id


@pytest.mark.rule("V3")
def test_a_span_moved_to_a_later_copy_is_found(stage: Stage) -> None:
    (_, first), *rest = stage.spans()
    assert first.contribution_id == A
    moved = Span(0, 30, 1, B, 0, 100 + 5)
    (finding,) = stage.audit(stage.claims([(0, moved), *rest]))
    assert (finding.ground, finding.contribution_id) == (Ground.BETTER_SPAN, A)
    assert "tokens 0 to 29" in finding.what


@pytest.mark.rule("V3")
def test_a_match_that_is_too_short_to_qualify_is_found() -> None:
    stage = stage_of({A: [sentence("a", 30)]}, sentence("a", 7, 3) + " and so on")
    assert stage.audit(stage.claims()) == ()
    findings = stage.audit(stage.claims([(0, Span(0, 7, 0, A, 0, 3))]))
    assert grounds(findings) == ["better_span"]
    assert "no match there qualifies" in findings[0].what


@pytest.mark.rule("V3")
def test_what_a_common_text_cuts_may_not_be_claimed() -> None:
    stage = stage_of({A: [sentence("a", 60)]}, sentence("a", 30, 5), commons=sentence("a", 9, 10))
    assert stage.audit(stage.claims()) == ()
    findings = stage.audit(stage.claims([(0, Span(0, 30, 0, A, 0, 5))]))
    assert grounds(findings) == ["better_span"]


@pytest.mark.rule("V2")
def test_an_invented_span_is_found(stage: Stage) -> None:
    claims = stage.claims()
    branch, *others = claims.branches
    span = branch.spans[0]
    inventions = {
        "other output tokens": msgspec.structs.replace(span, start=span.start + 1),
        "an output that is not there": msgspec.structs.replace(span, output=2),
        "tokens past the output": msgspec.structs.replace(span, start=10_000),
        "another document": msgspec.structs.replace(
            span, run=msgspec.structs.replace(span.run, document=1)
        ),
        "another place": msgspec.structs.replace(span, token=span.token + 1),
        "other bytes": msgspec.structs.replace(
            span,
            run=msgspec.structs.replace(
                span.run,
                leaves=(
                    msgspec.structs.replace(span.run.leaves[0], data=b"x"),
                    *span.run.leaves[1:],
                ),
            ),
        ),
    }
    for name, invented in inventions.items():
        changed = Branch(branch.contribution_id, (invented,))
        findings = stage.audit(replace(claims, branches=(changed, *others)))
        assert findings[0].ground is Ground.INCLUSION, name
        assert findings[0].contribution_id == branch.contribution_id, name


@pytest.mark.rule("V2")
def test_a_proof_of_a_document_past_those_of_the_contribution_is_found(stage: Stage) -> None:
    claims = stage.claims()
    member = replace(stage.known.members[C], documents=2)
    known = replace(stage.known, members={**stage.known.members, C: member})
    assert grounds(replace(stage, known=known).audit(claims))[0] == "inclusion"


@pytest.mark.rule("V2")
def test_a_contribution_without_text_has_no_span(stage: Stage) -> None:
    claims = stage.claims()
    member = replace(stage.known.members[C], commit=None)
    known = replace(stage.known, members={**stage.known.members, C: member})
    assert grounds(replace(stage, known=known).audit(claims))[0] == "inclusion"


@pytest.mark.rule("V2")
def test_a_token_that_two_spans_claim_is_found(stage: Stage) -> None:
    spans = stage.spans()
    for extra in (spans[0][1], Span(29, 1, 1, B, 0, 100 + 34)):
        findings = stage.audit(stage.claims([*spans, (0, extra)]))
        assert grounds(findings) == ["inclusion"]
        assert "two spans" in findings[0].what


@pytest.mark.rule("V1")
def test_a_span_outside_the_scope_of_the_snapshot_is_found(stage: Stage) -> None:
    claims = stage.claims()
    members = {key: member for key, member in stage.known.members.items() if key != C}
    scope = Scope(tuple(s for s in stage.scope.sources if s.contribution_id != C), ())
    known = replace(stage.known, members=members)
    findings = replace(stage, scope=scope, known=known).audit(claims)
    assert (findings[0].ground, findings[0].contribution_id) == (Ground.SNAPSHOT, C)


@pytest.mark.rule("V5")
def test_weights_that_are_not_the_apportionment_are_found(stage: Stage) -> None:
    claims = stage.claims()
    (first, ppm), *rest = claims.weights.contributions
    left = claims.weights.unattributed_ppm
    for weights in (
        Weights(((first, ppm + 1), *rest), left - 1),
        Weights(((first, ppm - 1), *rest), left + 1),
        Weights(((first, ppm + left), *rest), 0),
        Weights(tuple(rest), left + ppm),
        Weights((), 1_000_000),
    ):
        assert grounds(stage.audit(replace(claims, weights=weights))) == ["arithmetic"]


def halves(span: Span) -> list[tuple[bytes, int]]:
    """What B's document holds of A's goes to C here, so that a map shows."""
    if span.contribution_id != B:
        return [(span.contribution_id, span.length)]
    return [(C, span.length // 2), (B, span.length - span.length // 2)]


@pytest.mark.rule("V4", "R3")
def test_a_derivation_that_was_ignored_is_found(stage: Stage) -> None:
    assert stage.audit(stage.claims(derivation=halves), halves) == ()
    assert grounds(stage.audit(stage.claims(), halves)) == ["derivation"]
    assert grounds(stage.audit(stage.claims(derivation=halves))) == ["arithmetic"]
    other = stage.claims([span for span in stage.spans() if span[1].contribution_id != B])
    weights = replace(stage.claims(), weights=other.weights)
    assert grounds(stage.audit(weights, halves)) == ["arithmetic"]


def test_an_origin_outside_the_scope_has_the_order_that_it_is_given(stage: Stage) -> None:
    origin = contribution_id(7)

    def passed_on(span: Span) -> list[tuple[bytes, int]]:
        return [(origin if span.contribution_id == B else span.contribution_id, span.length)]

    known = replace(stage.known, orders={origin: (0, b"", 0)})
    known_stage = replace(stage, known=known)
    members = {**known.members, origin: Member(AUTHOR, None, 0, (0, b"", 0))}
    maker = replace(stage, known=replace(known, members=members))
    claims = maker.claims(derivation=passed_on)
    assert origin in dict(claims.weights.contributions)
    assert known_stage.audit(claims, passed_on) == ()
    assert grounds(stage.audit(claims, passed_on)) == ["arithmetic"]


@pytest.mark.rule("V3")
def test_what_is_missing_here_is_passed_over_and_the_rest_is_checked(stage: Stage) -> None:
    claims = stage.claims()
    for missing in ((A,), (B,), (C,), (A, B), (A, B, C)):
        assert stage.without(*missing).audit(claims) == ()
    left_out = stage.claims([each for each in stage.spans() if each[1].contribution_id != C])
    assert grounds(stage.without(A, B).audit(left_out)) == ["better_span"]
    assert stage.without(C).audit(left_out) == ()


@pytest.mark.rule("V3")
def test_nothing_is_compared_while_a_common_text_is_missing(stage: Stage) -> None:
    left_out = stage.claims(stage.spans()[1:])
    blind = replace(stage, known=replace(stage.known, commons_missing=True))
    assert blind.audit(left_out) == ()


@pytest.mark.rule("V5")
def test_an_erased_branch_leaves_the_rest_checkable(stage: Stage) -> None:
    claims = stage.claims()
    kept = tuple(branch for branch in claims.branches if branch.contribution_id != C)
    erased = replace(stage.known, erased=frozenset([C]), missing=frozenset([C]))
    seen = replace(stage.without(C), known=erased)
    assert seen.audit(replace(claims, branches=kept)) == ()
    (first, ppm), *rest = claims.weights.contributions
    lie = Weights(((first, ppm + 9), *rest), claims.weights.unattributed_ppm - 9)
    assert grounds(seen.audit(Claims(lie, kept))) == ["arithmetic"]


@pytest.mark.rule("V4", "V5")
def test_weights_are_not_judged_while_a_map_is_missing(stage: Stage) -> None:
    lie = replace(stage.claims(), weights=Weights((), 1_000_000))
    blind = replace(stage, known=replace(stage.known, maps_missing=True))
    assert grounds(stage.audit(lie)) == ["arithmetic"]
    assert blind.audit(lie) == ()


@pytest.mark.rule("V5")
def test_weights_are_not_judged_when_maps_may_have_moved_what_was_erased(stage: Stage) -> None:
    claims = stage.claims(derivation=halves)
    kept = tuple(branch for branch in claims.branches if branch.contribution_id != B)
    erased = replace(stage.known, erased=frozenset([B]), missing=frozenset([B]))
    seen = replace(stage.without(B), known=erased)
    assert seen.audit(replace(claims, branches=kept), halves) == ()


def test_outputs_and_attributions_must_be_as_many(stage: Stage) -> None:
    with pytest.raises(ValueError, match="2 outputs with 1"):
        compare(stage.claims(), stage.outputs, stage.attributions()[:1], stage.known)


def test_an_output_without_tokens_claims_nothing() -> None:
    stage = stage_of({A: [sentence("a", 30)]}, "...")
    assert stage.audit(stage.claims()) == ()
    assert stage.claims().weights == Weights((), 1_000_000)


@pytest.mark.rule("V6")
def test_withheld_evidence_is_the_gravest_ground() -> None:
    assert next(iter(Ground)) is Ground.EVIDENCE_WITHHELD


texts = st.lists(st.sampled_from("pqrs"), min_size=0, max_size=60).map(" ".join)


@pytest.mark.rule("V3")
@settings(max_examples=80, deadline=None)
@given(st.data())
def test_the_honest_are_never_accused_whatever_texts_are_missing(data: st.DataObject) -> None:
    """Few words, so that matches overlap, tie and nest in every way."""
    keys = [contribution_id(n) for n in range(1, 5)]
    corpus = {key: data.draw(st.lists(texts, min_size=1, max_size=2)) for key in keys}
    stage = stage_of(corpus, data.draw(texts), commons=data.draw(st.sampled_from(["", "p q " * 6])))
    claims = stage.claims()
    assert stage.audit(claims) == ()
    missing = data.draw(st.sets(st.sampled_from(keys)))
    assert stage.without(*missing).audit(claims) == ()


@pytest.mark.rule("V3", "V5")
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_span_is_dropped_or_moved_is_found(data: st.DataObject) -> None:
    keys = [contribution_id(n) for n in range(1, 4)]
    corpus = {key: [data.draw(texts)] for key in keys}
    stage = stage_of(corpus, data.draw(texts))
    spans = stage.spans()
    if not spans:
        return
    chosen = data.draw(st.integers(0, len(spans) - 1))
    output, span = spans[chosen]
    others = [
        Span(span.start, span.length, 0, source.contribution_id, source.document, token)
        for source in stage.scope.sources
        for token in range(len(source.tokens) - span.length + 1)
        if source.tokens[token : token + span.length]
        == stage.outputs[0][span.start : span.start + span.length]
        and (source.contribution_id, token) != (span.contribution_id, span.token)
    ]
    replaced = data.draw(st.sampled_from([None, *others]))
    kept = spans[:chosen] + ([(output, replaced)] if replaced else []) + spans[chosen + 1 :]
    assert Ground.BETTER_SPAN in [f.ground for f in stage.audit(stage.claims(kept))]
