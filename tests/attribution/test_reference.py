"""R1, R2 and R4 beside a search that tries every pair of places."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.attribution import evidence, reference
from openledger_node.attribution.canon import canonical_text
from openledger_node.attribution.leaves import cut_document
from openledger_node.attribution.reference import Attribution, attribute
from openledger_node.attribution.scope import Scope, ScopeDocument, make_scope, pending_order
from openledger_node.attribution.weights import PPM, count_tokens, weigh
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.payload import Payload, PayloadDocument

Owner = tuple[bytes, int, int]


def contribution(n: int) -> bytes:
    return n.to_bytes(32, "big")


def document(n: int, tokens: list[bytes], commons: bool = False, index: int = 0) -> ScopeDocument:
    return ScopeDocument(contribution(n), (n, b"", 0), index, contribution(n), tokens, commons)


def weight(token: bytes) -> int:
    return 1 if token == "中".encode() else 2


def brute(tokens: list[bytes], scope: Scope) -> list[Owner | str | None]:
    """What each token belongs to: (contribution, document, token), "cut" or None."""
    common = {tuple(d.tokens[k : k + 8]) for d in scope.commons for k in range(len(d.tokens) - 7)}
    cut = [False] * len(tokens)
    for k in range(len(tokens) - 7):
        if tuple(tokens[k : k + 8]) in common:
            cut[k : k + 8] = [True] * 8
    found = []
    for i in range(len(tokens)):
        longest: tuple[int, int, int, int] | None = None
        for s, source in enumerate(scope.sources):
            for t in range(len(source.tokens)):
                n = 0
                while (
                    i + n < len(tokens)
                    and t + n < len(source.tokens)
                    and not cut[i + n]
                    and tokens[i + n] == source.tokens[t + n]
                ):
                    n += 1
                key = (-n, s, t, i)
                if n and (longest is None or key < longest):
                    longest = key
        if longest and sum(map(weight, tokens[i : i - longest[0]])) >= 16:
            found.append(longest)
    result: list[Owner | str | None] = []
    for t in range(len(tokens)):
        over = [key for key in found if key[3] <= t < key[3] - key[0]]
        if cut[t]:
            result.append("cut")
        elif over:
            _, s, place, i = min(over)
            source = scope.sources[s]
            result.append((source.contribution_id, source.document, place + t - i))
        else:
            result.append(None)
    return result


def owners(found: Attribution) -> list[Owner | str | None]:
    result: list[Owner | str | None] = [None] * found.token_count
    for a, b in found.cuts:
        result[a:b] = ["cut"] * (b - a)
    for span in found.spans:
        for k in range(span.length):
            assert result[span.start + k] is None, "a token belongs to one thing only"
            result[span.start + k] = (span.contribution_id, span.document, span.token + k)
    return result


token_lists = st.one_of(
    st.lists(st.sampled_from([b"a", b"b", "中".encode()]), max_size=40),
    st.builds(
        lambda unit, n: unit * n,
        st.lists(st.sampled_from([b"a", b"b"]), max_size=3),
        st.integers(0, 14),
    ),
)
cases = st.tuples(st.lists(st.tuples(token_lists, st.booleans()), max_size=4), token_lists)


@pytest.mark.rule("R1", "R2")
@pytest.mark.parametrize("at_once", [1, 7, 4_000_000])
@settings(max_examples=60)
@given(case=cases, picks=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=3))
def test_each_token_belongs_to_what_trying_every_pair_gives(
    at_once: int,
    case: tuple[list[tuple[list[bytes], bool]], list[bytes]],
    picks: list[tuple[int, int]],
) -> None:
    texts, output = case
    for which, start in picks:
        if which < len(texts):
            output = output + texts[which][0][start : start + 12]
    scope = make_scope(
        document(n, tokens, commons and n == 3) for n, (tokens, commons) in enumerate(texts)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "PLACES_AT_ONCE", at_once)
        assert owners(attribute(output, scope)) == brute(output, scope)


def words(text: str) -> list[bytes]:
    found = canonical_text(text.encode())
    assert found is not None
    return found.tokens()


@pytest.mark.rule("R2")
def test_identical_documents_go_to_the_earlier_and_pending_ones_come_last() -> None:
    text = words("one two three four five six seven eight nine ten")
    pending = ScopeDocument(contribution(0), pending_order(b"", 0), 0, b"", text)
    scope = make_scope([pending, document(2, text), document(1, text)])
    (span,) = attribute(text, scope).spans
    assert (span.contribution_id, span.length) == (contribution(1), 10)


@pytest.mark.rule("R2")
@pytest.mark.parametrize(
    ("text", "spans"),
    [("a b c d e f g h", 1), ("a b c d e f g", 0), ("中" * 16, 1), ("中" * 15, 0), ("", 0)],
)
def test_a_match_qualifies_from_weight_16_on(text: str, spans: int) -> None:
    assert len(attribute(words(text), make_scope([document(1, words(text))])).spans) == spans


@pytest.mark.rule("R1")
def test_pieces_around_a_cut_are_not_joined() -> None:
    left, common, right = (words(f"{c}1 {c}2 {c}3 {c}4 {c}5 {c}6 {c}7 {c}8") for c in "lcr")
    scope = make_scope([document(1, left + right), document(2, common, commons=True)])
    found = attribute(left + common + right, scope)
    assert found.cuts == ((8, 16),)
    assert [(s.start, s.length, s.token) for s in found.spans] == [(0, 8, 0), (16, 8, 8)]
    assert found.unattributed_tokens == 8


@pytest.mark.rule("R4")
@given(st.dictionaries(st.integers(1, 400), st.integers(1, 50), max_size=300), st.integers(0, 99))
def test_weights_add_up_to_a_million_and_the_smallest_join_the_rest(
    counts: dict[int, int], rest: int
) -> None:
    named = {contribution(n): tokens for n, tokens in counts.items()}
    weights = weigh(named, rest, {contribution(n): (n, b"", 0) for n in counts})
    assert sum(ppm for _, ppm in weights.contributions) + weights.unattributed_ppm == PPM
    kept = [contribution(n) for n in sorted(counts, key=lambda n: (-counts[n], n))[:255]]
    assert [key for key, _ in weights.contributions] == kept
    whole = rest + sum(counts.values())
    for key, ppm in weights.contributions:
        assert abs(Fraction(PPM * named[key], whole) - ppm) < 1


@pytest.mark.rule("R4")
def test_an_output_without_tokens_is_all_unattributed() -> None:
    counts, rest = count_tokens([attribute([], make_scope([]))])
    weights = weigh(counts, rest, {})
    assert (weights.contributions, weights.unattributed_ppm) == ((), PPM)


@pytest.mark.rule("R4")
def test_a_derivation_must_add_up_to_its_span() -> None:
    text = words("one two three four five six seven eight")
    found = attribute(text, make_scope([document(1, text)]))
    moved, _ = count_tokens([found], lambda span: [(contribution(9), span.length)])
    assert moved == {contribution(9): 8}
    with pytest.raises(ValueError, match="add up"):
        count_tokens([found], lambda span: [])


@pytest.mark.rule("T6", "T7")
def test_a_span_is_checked_from_its_leaves_alone_and_no_other_is() -> None:
    data = " ".join(f"w{n}" for n in range(300)).encode()
    cut = cut_document(data)
    payload = Payload(1, (PayloadDocument(bytes(32), cut.slices, cut.tokens),))
    output = words("x y " + " ".join(f"w{n}" for n in range(60, 200)))
    (span,) = attribute(output, make_scope([document(1, words(data.decode()))])).spans
    proof = evidence.decode_span_proof(encode(evidence.prove_span(span, payload)))
    assert proof.verify(payload.commit, output)
    assert not proof.verify(bytes(32), output)
    assert not proof.verify(payload.commit, output[1:])
    for field, value in (
        ("start", 3),
        ("token", 61),
        ("document", 1),
        ("leaves", proof.leaves[1:]),
    ):
        changed = {name: getattr(proof, name) for name in proof.__struct_fields__} | {field: value}
        assert not evidence.SpanProof(**changed).verify(payload.commit, output)
    branch = evidence.Branch(contribution(1), (proof,))
    kept = evidence.encode_evidence([branch], {contribution(1): bytes(32)})
    assert evidence.decode_evidence(kept) == (branch,)
