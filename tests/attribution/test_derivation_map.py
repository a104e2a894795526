"""Derivation maps as committed and carried: their root, their bytes, proofs of single entries."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from openledger_node.attribution import derivation_map
from openledger_node.attribution.derivation_map import (
    MAX_ENTRIES,
    MapEntry,
    decode_map,
    decode_map_payload,
    encode_map,
    encode_map_payload,
    map_root,
    normal_form,
    parse_entry_proof,
    prove_entry,
    tokens_by_source,
)
from openledger_node.ledger import merkle
from openledger_node.ledger.encoding import H, decode, encode
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.payload import encode_payload
from tests.attribution.build import contribution_id

pytestmark = pytest.mark.rule("R3", "T9", "T10", "T11")

SUBJECT, OTHER = contribution_id(9), contribution_id(8)
ANN, BEN = contribution_id(1), contribution_id(2)
ACCOUNT, SALT = contribution_id(77), bytes(range(32))
ENTRIES = (
    MapEntry(0, 0, 64, ANN, 0, 10),
    MapEntry(0, 70, 5, BEN, 3, 0),
    MapEntry(0, 75, 9, ANN, 0, 85),
    MapEntry(4, 0, 1_000, BEN, 3, 6),
)
ROOT = map_root(SUBJECT, ENTRIES)
SOURCES = ((ANN, 73), (BEN, 1_005))


@st.composite
def maps(draw: st.DrawFn) -> tuple[MapEntry, ...]:
    entries, document, end = [], 0, 0
    for _ in range(draw(st.integers(0, 12))):
        if draw(st.booleans()):
            document, end = document + draw(st.integers(1, 3)), 0
        start, length = end + draw(st.integers(0, 5)), draw(st.integers(1, 50))
        source = contribution_id(draw(st.integers(1, 4)))
        place = draw(st.integers(0, 2)), draw(st.integers(0, 99))
        entries.append(MapEntry(document, start, length, source, *place))
        end = start + length
    return tuple(entries)


@given(maps())
@settings(max_examples=60, deadline=None)
def test_a_map_survives_its_encoding_and_its_payload(entries: tuple[MapEntry, ...]) -> None:
    assert decode_map(encode_map(SUBJECT, entries)) == (SUBJECT, entries)
    payload = encode_map_payload(ACCOUNT, SUBJECT, entries, SALT)
    sources = tuple(tokens_by_source(entries).items())
    assert decode_map_payload(payload, SUBJECT, map_root(SUBJECT, entries), sources) == entries


@given(maps(), st.data())
@settings(max_examples=60, deadline=None)
def test_every_entry_has_a_proof_that_holds_for_its_map_alone(
    entries: tuple[MapEntry, ...], data: st.DataObject
) -> None:
    if not entries:
        return
    index = data.draw(st.integers(0, len(entries) - 1))
    root = map_root(SUBJECT, entries)
    proof = parse_entry_proof(encode(prove_entry(entries, index)))
    assert proof.entry == entries[index]
    assert proof.verify(root, SUBJECT)
    assert not proof.verify(root, OTHER)
    assert not proof.verify(map_root(SUBJECT, entries[:-1]), SUBJECT)


def test_the_root_is_that_of_the_entries_with_their_number_and_subject() -> None:
    leaves = [encode([e.document, e.start, e.length, e.contribution, e.source_document,
                      e.source_token]) for e in ENTRIES]  # fmt: skip
    assert H("derivation", SUBJECT, 4, merkle.root(leaves)) == ROOT


def test_an_entry_proof_altered_in_any_byte_is_refused() -> None:
    proof = encode(prove_entry(ENTRIES, 2))
    for place in range(len(proof)):
        for flip in (1, 0x80, 0xFF):
            altered = bytearray(proof)
            altered[place] ^= flip
            try:
                found = parse_entry_proof(bytes(altered))
            except BadInput:
                continue
            assert not found.verify(ROOT, SUBJECT), (place, flip)


def test_a_map_payload_altered_in_any_byte_of_the_map_is_refused() -> None:
    data = encode_map(SUBJECT, ENTRIES)
    for place in range(len(data)):
        altered = bytearray(data)
        altered[place] ^= 1
        with pytest.raises(BadInput):
            subject, entries = decode_map(bytes(altered))
            payload = encode_map_payload(ACCOUNT, subject, entries, SALT)
            decode_map_payload(payload, SUBJECT, ROOT, SOURCES)


def test_a_proof_beyond_the_entries_is_not_made() -> None:
    for index in (-1, len(ENTRIES)):
        with pytest.raises(ValueError, match="no entry"):
            prove_entry(ENTRIES, index)


def rows_of(change: object) -> bytes:
    subject, sources, rows = decode(encode_map(SUBJECT, ENTRIES))
    return encode(change(subject, sources, rows))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s, o, r: [s, o, [r[1], r[0], *r[2:]]], "ascending order"),
        (lambda s, o, r: [s, o, [r[0], [0, 63, 5, 1, 3, 0], *r[1:]]], "overlap"),
        (lambda s, o, r: [s, o, [r[0], r[0], *r[1:]]], "overlap"),
        (lambda s, o, r: [s, [o[1], o[0]], r], "ascending order"),
        (lambda s, o, r: [s, [o[0], o[0]], r], "ascending order"),
        (lambda s, o, r: [s, o[:1], r], "does not list"),
        (lambda s, o, r: [s, [*o, contribution_id(5)], r], "no entry names"),
        (lambda s, o, r: [s, o, [[0, 0, 0, 0, 0, 0]]], "malformed"),
        (lambda s, o, r: [s, o, [[0, 0, 2**30 + 1, 0, 0, 0]]], "malformed"),
        (lambda s, o, r: [s, o, [[0, -1, 1, 0, 0, 0]]], "malformed"),
        (lambda s, o, r: [s[:-1], o, r], "malformed"),
        (lambda s, o, r: [s, o, r, []], "malformed"),
        (lambda s, o, r: [s, [contribution_id(n) for n in range(257)], []], "malformed"),
    ],
)
def test_a_map_that_is_not_in_its_form_is_refused(change: object, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        decode_map(rows_of(change))


def test_a_map_of_more_entries_than_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_ENTRIES == 2**21
    with pytest.raises(BadInput, match="malformed"):
        decode_map(encode([SUBJECT, [ANN], [[0, n, 1, 0, 0, 0] for n in range(MAX_ENTRIES + 1)]]))


def test_a_payload_counts_only_as_the_map_that_its_event_commits_to() -> None:
    payload = encode_map_payload(ACCOUNT, SUBJECT, ENTRIES, SALT)
    with pytest.raises(BadInput, match="committed"):
        decode_map_payload(payload, OTHER, ROOT, SOURCES)
    with pytest.raises(BadInput, match="committed"):
        decode_map_payload(payload, SUBJECT, bytes(32), SOURCES)
    for sources in (SOURCES[:1], SOURCES[::-1], ((ANN, 72), (BEN, 1_005))):
        with pytest.raises(BadInput, match="stated"):
            decode_map_payload(payload, SUBJECT, ROOT, sources)
    with pytest.raises(BadInput, match="one document"):
        decode_map_payload(encode_payload(ACCOUNT, 1, []), SUBJECT, ROOT, SOURCES)


def test_entries_that_go_on_in_both_documents_become_one() -> None:
    first, rest = MapEntry(0, 0, 5, ANN, 2, 10), MapEntry(0, 5, 7, ANN, 2, 15)
    assert normal_form([rest, first]) == (replace(first, length=12),)
    for other in (
        replace(rest, start=6),
        replace(rest, document=1),
        replace(rest, source_token=16),
        replace(rest, source_document=3),
        replace(rest, contribution=BEN),
    ):
        assert normal_form([first, other]) == (first, other)
    with pytest.raises(ValueError, match="twice"):
        normal_form([first, replace(rest, start=4)])


def test_the_tokens_stated_in_the_open_are_by_source_in_the_order_of_ids() -> None:
    assert list(tokens_by_source(ENTRIES).items()) == list(SOURCES)
    assert derivation_map.MAX_SOURCES == 256
