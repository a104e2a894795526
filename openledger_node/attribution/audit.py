"""What is wrong with a receipt: its claims beside the attribution that an auditor computed again.

Claims are the weights in the receipt and the spans in its evidence. An auditor holds the outputs
and as many texts of the scope as it was given. The checks, and the ground each one gives:

- V1 `snapshot`: a span in a contribution outside the scope of the snapshot that the receipt names.
- V2 `inclusion`: a span whose proof (T6) fails against the contribution's commitment or the output;
  one outside the contribution or the output; a token claimed by two spans.
- V3 `better_span`: a token that belongs elsewhere by R1 and R2, or to nobody, or that was left out.
- V4 `derivation`: weights that follow from the claimed spans only when R3's maps are ignored.
- V5 `arithmetic`: weights that do not follow from the claimed spans by R4 at all.
- V6 `evidence_withheld`: evidence or outputs that are not to be had, or not well-formed.

Weights are not judged while a map is missing, nor when maps may have moved the tokens of a branch
that was erased.

V3 never accuses the honest, even when texts are missing here. A token claimed for a contribution
whose text is missing is passed over: its match may be longer than the leaves shown. Any other token
that belongs, among the texts held, to start i with (L, P), cannot belong to another held place in
the whole scope: there i has a match at least as long, and as early if it is as long. With a common
text missing nothing is compared, since a cut there may shorten any match.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from openledger_node.attribution.evidence import Branch, SpanProof
from openledger_node.attribution.reference import Attribution, Span
from openledger_node.attribution.scope import LedgerOrder, pending_order
from openledger_node.attribution.weights import PPM, Derivation, Weights, count_tokens, weigh

Place = tuple[bytes, int, int]
"""(contribution id, document, token): where an output token comes from."""

MAX_TOKENS_REBUILT: Final = PPM // 4
"""Up to so many tokens a part in ppm tells the number of tokens behind it without doubt."""


class Ground(StrEnum):
    """Why a receipt is wrong; the words of `audit.challenge`, gravest first."""

    EVIDENCE_WITHHELD = "evidence_withheld"
    SNAPSHOT = "snapshot"
    INCLUSION = "inclusion"
    BETTER_SPAN = "better_span"
    DERIVATION = "derivation"
    ARITHMETIC = "arithmetic"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, in a sentence, and the contribution it is about, if one."""

    ground: Ground
    what: str
    contribution_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A contribution of the scope: what its event and the state say of it."""

    account: bytes
    commit: bytes | None
    documents: int
    order: LedgerOrder


@dataclass(frozen=True, slots=True)
class Known:
    """What an auditor knows of a scope.

    `missing`: members whose text is not held here. `commons_missing`: so is that of a common text.
    `maps_missing`: so is a derivation map that counts. `erased`: contributions whose branch of the
    evidence was erased with them. `orders` has ledger orders of contributions outside the scope
    that derivation maps name.
    """

    members: Mapping[bytes, Member]
    missing: frozenset[bytes] = frozenset()
    commons_missing: bool = False
    erased: frozenset[bytes] = frozenset()
    maps_missing: bool = False
    orders: Mapping[bytes, LedgerOrder] | None = None


@dataclass(frozen=True, slots=True)
class Claims:
    """What a receipt says: its weights, and the branches of its evidence."""

    weights: Weights
    branches: tuple[Branch, ...]

    def spans(self) -> Iterator[tuple[bytes, SpanProof]]:
        for branch in self.branches:
            for span in branch.spans:
                yield branch.contribution_id, span


def compare(
    claims: Claims,
    outputs: Sequence[Sequence[bytes]],
    expected: Sequence[Attribution],
    known: Known,
    derivation: Derivation | None = None,
) -> tuple[Finding, ...]:
    """All that is wrong with a receipt (V1 to V5), gravest ground first; () if nothing is.

    `outputs` are the tokens of each output, `expected` the attribution of each over the texts held.
    ValueError when the two differ in number.
    """
    if len(outputs) != len(expected):
        raise ValueError(f"{len(outputs)} outputs with {len(expected)} attributions")
    findings: list[Finding] = []
    places: list[list[Place | None]] = [[None] * len(tokens) for tokens in outputs]
    for contribution_id, span in claims.spans():
        fault = _span_fault(contribution_id, span, outputs, known) or _mark(
            places, contribution_id, span
        )
        if fault is not None:
            findings.append(fault)
    if not known.commons_missing:
        for number, attribution in enumerate(expected):
            findings += _moved(number, places[number], attribution, known)
    if not any(finding.ground is Ground.INCLUSION for finding in findings):
        findings += _weights_fault(claims, [len(tokens) for tokens in outputs], known, derivation)
    order = list(Ground)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.ground)))


def _span_fault(
    contribution_id: bytes, span: SpanProof, outputs: Sequence[Sequence[bytes]], known: Known
) -> Finding | None:
    """V1 and V2 of one claimed span."""
    member = known.members.get(contribution_id)
    where = f"output {span.output}, tokens {span.start} to {span.start + span.length - 1}"
    if member is None:
        what = f"{where}: claimed for a contribution outside the scope of the snapshot"
        return Finding(Ground.SNAPSHOT, what, contribution_id)
    shown = span.output < len(outputs) and member.commit is not None
    if (
        not shown
        or span.run.documents != member.documents
        or not span.verify(member.commit or b"", member.account, outputs[span.output])
    ):
        what = f"{where}: not what document {span.document} has from token {span.token} on"
        return Finding(Ground.INCLUSION, what, contribution_id)
    return None


def _mark(
    places: list[list[Place | None]], contribution_id: bytes, span: SpanProof
) -> Finding | None:
    """Notes where the tokens of a span are claimed to come from; V2 when another claims one too."""
    row = places[span.output]
    for offset in range(span.length):
        if row[span.start + offset] is not None:
            what = f"output {span.output}, token {span.start + offset}: claimed by two spans"
            return Finding(Ground.INCLUSION, what, contribution_id)
        row[span.start + offset] = contribution_id, span.document, span.token + offset
    return None


def _places(attribution: Attribution) -> list[Place | None]:
    row: list[Place | None] = [None] * attribution.token_count
    for span in attribution.spans:
        for offset in range(span.length):
            row[span.start + offset] = span.contribution_id, span.document, span.token + offset
    return row


def _moved(
    number: int, claimed: Sequence[Place | None], expected: Attribution, known: Known
) -> Iterator[Finding]:
    """V3: one finding for each run of tokens that is claimed otherwise than R1 and R2 say."""
    places = _places(expected)
    start = 0
    while start < len(places):
        end = start + 1
        if not _differs(claimed[start], places[start], known):
            start = end
            continue
        said, found = _whose(claimed[start]), _whose(places[start])
        while (
            end < len(places)
            and _differs(claimed[end], places[end], known)
            and (_whose(claimed[end]), _whose(places[end])) == (said, found)
        ):
            end += 1
        what = f"output {number}, tokens {start} to {end - 1}: " + _sentence(said, found)
        yield Finding(Ground.BETTER_SPAN, what, found if found is not None else said)
        start = end


def _differs(claimed: Place | None, found: Place | None, known: Known) -> bool:
    if claimed == found:
        return False
    if claimed is not None:
        return claimed[0] not in known.missing
    # Left out, or shown by a branch that was erased with its contribution.
    return not known.erased


def _whose(place: Place | None) -> bytes | None:
    return place[0] if place is not None else None


def _sentence(said: bytes | None, found: bytes | None) -> str:
    if said is None:
        return "left out, though they match a contribution of the scope"
    if found is None:
        return "claimed for a contribution, though no match there qualifies"
    if said == found:
        return "claimed at another place of the contribution than the best match"
    return "claimed for another contribution than that of the best match"


def _weights_fault(
    claims: Claims,
    token_counts: Sequence[int],
    known: Known,
    derivation: Derivation | None,
) -> list[Finding]:
    """V4 and V5: whether the weights follow from the spans claimed."""
    attributions = [
        Attribution(count, tuple(spans), ())
        for count, spans in zip(token_counts, _by_output(claims, len(token_counts)), strict=True)
    ]
    orders = {**(known.orders or {}), **{key: m.order for key, m in known.members.items()}}
    for branch in claims.branches:
        orders.setdefault(branch.contribution_id, pending_order(branch.contribution_id, 0))
    erased = {key: ppm for key, ppm in claims.weights.contributions if key in known.erased}
    unsure = derivation is not None or sum(token_counts) > MAX_TOKENS_REBUILT
    if known.maps_missing or (known.erased and unsure):
        return []

    def weighed(maps: Derivation | None) -> Weights | None:
        counts, rest = count_tokens(attributions, maps)
        for key, ppm in erased.items():
            tokens = (ppm * sum(token_counts) + PPM // 2) // PPM
            counts[key] = tokens
            rest -= tokens
        if rest < 0 or any(key not in orders for key in counts):
            return None
        return weigh(counts, rest, orders)

    said = _sorted(claims.weights)
    due = weighed(derivation)
    if due is not None and _sorted(due) == said:
        return []
    plain = weighed(None) if derivation is not None else None
    if plain is not None and _sorted(plain) == said:
        what = "the weights leave out what the derivation maps pass on"
        return [Finding(Ground.DERIVATION, what)]
    return [Finding(Ground.ARITHMETIC, "the weights do not follow from the spans by rule R4")]


def _by_output(claims: Claims, outputs: int) -> list[list[Span]]:
    """The claimed spans of each output, as R4 counts them."""
    rows: list[list[Span]] = [[] for _ in range(outputs)]
    for contribution_id, span in claims.spans():
        if span.output < outputs:
            rows[span.output].append(
                Span(span.start, span.length, 0, contribution_id, span.document, span.token)
            )
    return rows


def _sorted(weights: Weights) -> tuple[list[tuple[bytes, int]], int]:
    """The order of the weights in a receipt means nothing."""
    return sorted(weights.contributions), weights.unattributed_ppm
