"""The table behind R3, on a few small texts: its shape, and that thefts copy what they say."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from scripts.benchmarks import laundering
from scripts.benchmarks.__main__ import main
from scripts.benchmarks.derivation import COPY_OF_A_COPY, RATES
from scripts.benchmarks.laundering import (
    FRAGMENT_TOKENS,
    JUNK_TIMES,
    THEFTS,
    Tokens,
    edited,
    texts_of_folder,
    texts_of_machine,
)

WORDS = [b"junk%d" % n for n in range(50)]
TEXTS: list[Tokens] = [[b"t%d_%d" % (t, n) for n in range(300)] for t in range(3)]


@pytest.mark.parametrize("name", list(THEFTS))
def test_a_theft_without_edits_holds_every_token_taken_and_says_where(name: str) -> None:
    copies = THEFTS[name](TEXTS, 0.0, WORDS, random.Random(1))
    taken = [t for copy in copies for a, b in copy.copied for t in copy.tokens[a:b]]
    assert sorted(taken) == sorted(token for text in TEXTS for token in text)
    others = sum(len(copy.tokens) for copy in copies) - len(taken)
    assert others == (JUNK_TIMES * len(taken) if name.startswith("padded") else 0)
    if name.startswith("documents"):
        assert max(len(copy.tokens) for copy in copies) == FRAGMENT_TOKENS


def test_edits_are_about_as_many_as_asked_for() -> None:
    text = [b"%d" % n for n in range(20_000)]
    kept = set(edited(text, 0.15, WORDS, random.Random(1))) & set(text)
    assert 0.89 < len(kept) / len(text) < 0.91  # a third of the edits only add a word


def test_owners_of_a_folder_are_those_of_its_file_names(tmp_path: Path) -> None:
    for name in ("1802_thomas_b_r", "1801_thomas_b_r", "1790_george_n"):
        (tmp_path / f"{name}.txt").write_text(" ".join(f"{name}w{n}" for n in range(250)))
    (tmp_path / "1803_thomas_b_r.txt").write_text("too short to count")
    assert [item.owner for item in texts_of_folder(tmp_path)] == [0, 1, 1]


def test_this_machine_has_texts_of_several_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laundering, "MAX_MODULES", 6)
    assert len({item.owner for item in texts_of_machine()}) > 5


def test_the_table_has_each_way_and_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for owner in range(4):
        words = " ".join(f"o{owner}w{n}" for n in range(400))
        (tmp_path / f"180{owner}_owner{owner}_x.txt").write_text(words)
    figures = tmp_path / "figures.json"
    assert main(["derivation", "--texts", str(tmp_path), "--json", str(figures)]) == 0
    assert "share of a copier" in capsys.readouterr().out
    found = json.loads(figures.read_text())
    (honest,) = found["honest"]
    assert (honest["blocks"], honest["firing"], honest["tokens"]) == (4, 0, 1_600)
    rows = {(row["theft"], row["rate"]): row for row in found["thefts"]}
    assert set(rows) == {(name, rate) for name in (*THEFTS, COPY_OF_A_COPY) for rate in RATES}
    for name in ("copy", "padded ten times"):
        assert rows[name, 0.05]["share"] <= 0.02
        assert rows[name, 0.15]["share"] <= 0.06
        assert rows[name, 0.05]["share_without"] > 0.9
