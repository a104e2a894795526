"""What evidence costs, on a few small texts: the table, and that honest receipts pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.benchmarks.__main__ import main


def test_the_table_has_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for year in range(1801, 1804):
        words = " ".join(f"y{year}w{n}" for n in range(400))
        (tmp_path / f"{year}_owner{year}_x.txt").write_text(words)
    file = tmp_path / "figures.json"
    asked = ["evidence", "--texts", str(tmp_path), "--uses", "3", "--json", str(file)]
    assert main(asked) == 0
    shown = capsys.readouterr().out
    figures = json.loads(file.read_text())
    assert (figures["documents"], figures["uses"], figures["spans"]) == (3, 3, 6)
    assert 0 < figures["proof_bytes_median"] <= figures["proof_bytes_most"] < 2_000
    for name in figures:
        assert name == "machine" or name.replace("_", " ") in shown


def test_a_receipt_has_at_least_one_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["evidence", "--uses", "0"])
    assert caught.value.code == 2
    assert "less than 1" in capsys.readouterr().err
