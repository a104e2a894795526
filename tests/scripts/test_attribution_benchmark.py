"""The attribution benchmark, run small: what it takes as text, what it counts, what it prints."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from openledger_node.attribution.canon import canonical_text
from openledger_node.attribution.matching import attribute_indexed
from openledger_node.attribution.reference import Attribution, Span, attribute
from openledger_node.attribution.scope import ScopeDocument, make_scope
from openledger_node.attribution.segment import build_segment
from scripts.benchmarks import attribution as bench
from scripts.benchmarks import infini
from scripts.benchmarks.__main__ import main
from scripts.benchmarks.corpora import OUTPUT_TOKENS, Output, Piece, make_outputs, read_texts
from scripts.benchmarks.indexing_run import (
    document_id,
    missed_pieces,
    run,
    scope_over,
    searchable_texts,
)
from scripts.benchmarks.planted import NOBODY, PlainSearch, said, truth, variation

WORDS = 400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    dice = random.Random(3)
    place = tmp_path / "texts"
    place.mkdir()
    for number in range(6):
        words = [f"w{dice.randrange(900)}" for _ in range(WORDS)]
        (place / f"{number}.txt").write_text(" ".join(words))
    (place / "again.txt").write_text((place / "0.txt").read_text())
    (place / "binary.txt").write_bytes(b"\xff\xfe" * 400)
    (place / "short.txt").write_text("short")
    return place


def tokens_of(texts: list[bytes]) -> list[list[bytes]]:
    found = [canonical_text(data) for data in texts]
    return [text.tokens() for text in found if text is not None]


def test_each_text_counts_once_and_what_is_no_text_never(folder: Path) -> None:
    texts = read_texts(folder, 10**6)
    assert len(texts) == 6 == len(set(texts))
    assert sum(len(data) for data in read_texts(folder, 3_000)) == 3_000
    assert read_texts(folder, 10) == []


def test_outputs_say_where_their_pieces_stand(folder: Path) -> None:
    texts = tokens_of(read_texts(folder, 10**6))
    for output in make_outputs(texts, 5, random.Random(1)):
        assert len(output.tokens) >= OUTPUT_TOKENS
        for piece in output.pieces:
            shown = output.tokens[piece.start : piece.start + piece.length]
            assert shown == texts[piece.document][piece.token : piece.token + piece.length]
    with pytest.raises(ValueError, match="no text is long enough"):
        make_outputs([[b"a"]], 1, random.Random(1))


def test_what_is_measured_gives_what_the_reference_gives(folder: Path) -> None:
    texts = read_texts(folder, 10**6)
    tokenised = tokens_of(texts)
    for of in (slice(None), slice(0, None, 3)):
        numbers = range(len(texts))[of]
        scope = make_scope(
            ScopeDocument(document_id(n), (1, b"", n), 0, document_id(n), tokenised[n])
            for n in numbers
        )
        indexed = scope_over([build_segment(list(searchable_texts(texts)))], of)
        for output in make_outputs(tokenised, 4, random.Random(2)):
            assert attribute_indexed(output.tokens, indexed) == attribute(output.tokens, scope)


def test_a_piece_with_a_token_of_nobody_is_missed() -> None:
    output = Output([b"x"] * 30, (Piece(2, 8, 0, 0), Piece(15, 10, 1, 0)))
    spans = (Span(2, 8, 0, bytes(32), 0, 0), Span(15, 9, 1, bytes(32), 0, 0))
    assert missed_pieces(output, Attribution(30, spans, ())) == 1
    assert missed_pieces(output, Attribution(30, (), ())) == 2
    light = Output(["天".encode()] * 15, (Piece(0, 15, 0, 0),))
    assert missed_pieces(light, Attribution(15, (), ())) == 0
    heavy = Output(["天".encode()] * 16, (Piece(0, 16, 0, 0),))
    assert missed_pieces(heavy, Attribution(16, (), ())) == 1


def test_the_truth_is_the_earliest_document_that_holds_a_piece() -> None:
    texts = [[b"a", b"b"], [b"b", b"c", b"d"], [b"a", b"b", b"c", b"d"]]
    search = PlainSearch(texts)
    assert search.first_document([b"b", b"c"]) == 1
    assert search.first_document([b"a", b"b", b"c"]) == 2
    assert search.first_document([b"b"]) == 0
    assert search.first_document([b"d", b"a"]) == NOBODY  # never across documents
    output = Output([b"new", b"c", b"d", b"new"], (Piece(1, 2, 2, 2),))
    assert truth(output, search) == [NOBODY, 1, 1, NOBODY]


def test_weightings_differ_by_half_the_sum_of_their_differences() -> None:
    assert variation([0, 0, 1, NOBODY], [0, 0, 1, NOBODY]) == 0
    assert variation([0, 0, 1, NOBODY], [0, 0, 0, 0]) == 0.5
    assert said(Attribution(3, (Span(1, 2, 4, bytes(32), 0, 0),), ())) == [NOBODY, 4, 4]


def test_a_run_has_every_figure_that_has_a_goal(folder: Path) -> None:
    figures = {figure.name: figure.value for figure in run(10**6, folder, 100)}
    assert set(bench.GOALS) <= set(figures)
    assert figures["random windows"] >= 100
    assert figures["windows with a token missed"] == 0
    assert figures["documents"] == 6
    assert figures["planted: token accuracy"] > 0.97


def test_the_table_has_a_column_a_size_and_says_what_was_missed(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(infini, "is_installed", lambda: False)
    file = tmp_path / "figures.json"
    asked = ["attribution", "--texts", str(folder), "--megabytes", "1", "--windows", "50"]
    assert main([*asked, "--json", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "infini-gram is not installed" in shown
    assert "MB of text were found for 1 MB" in shown
    kept = json.loads(file.read_text())
    assert {item["megabytes"] for item in kept} == {1}
    assert all(item["figure"] in shown for item in kept)


def test_goals_are_held_to_the_size_that_they_are_for() -> None:
    row = ("attribution", "index over tokens", "bytes")
    assert "missed" in bench.table({row: {100: 14.0}}, [100])
    assert "missed" not in bench.table({row: {100: 13.0}}, [100])
    assert "missed" not in bench.table({row: {1: 14.0}}, [1])


def test_infini_gram_is_compared_at_the_largest_size() -> None:
    found = {
        ("attribution", "text", "MB"): {1: 1.0, 10: 10.0},
        ("attribution", "build, tokenising included", "MB/s"): {1: 5.0, 10: 12.0},
        ("attribution", "query, all in scope: median", "ms"): {1: 1.0, 10: 5.0},
        ("infini-gram on bytes", "build, tokenising excluded", "MB/s"): {10: 2.0},
        ("infini-gram on bytes", "query: median", "ms"): {10: 60.0},
    }
    assert bench.remarks(found, [1, 10]) == [
        "beside infini-gram on bytes at 10 MB: build 6.0 x as fast, query 12.0 x"
    ]


def test_a_run_that_fails_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="indexing_run"):
        bench.attribution([1], tmp_path, 1, None)
