"""Texts that were made to be slow: that each case is what it says, and has its row."""

from __future__ import annotations

import pytest

from scripts.benchmarks import hostile


def test_every_case_doubles_what_is_registered_or_asked() -> None:
    small, large = (list(hostile.cases(size)) for size in (1_000, 2_000))
    for (name, documents, output), (_, more, longer) in zip(small, large, strict=True):
        assert sum(map(len, more)) + len(longer) > sum(map(len, documents)) + len(output), name
    assert [name for name, *_ in small] == [
        "one token",
        "periodic",
        "headers",
        "long output",
        "no match",
    ]
    _, words, shuffled = small[-1]
    assert sorted(words[0].split()[:1_000]) == sorted(shuffled.split())


def test_the_table_has_a_row_for_each_case_and_size(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostile, "SIZES", (500, 1_000))
    assert hostile.hostile((500, 1_000)) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert len(rows) == 10
    assert all(row.split()[-4:] for row in rows[5:])
