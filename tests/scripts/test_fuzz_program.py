"""The fuzzing program, up to where atheris would begin."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scripts.fuzzing import __main__ as program
from scripts.fuzzing.decoders import DECODERS, Decoder


def test_without_atheris_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "find_spec", lambda name: None)
    assert program.main(["a payload"]) == 1
    assert "pip install atheris" in capsys.readouterr().err


def test_it_lists_the_decoders_and_knows_no_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--list"]) == 0
    assert capsys.readouterr().out.splitlines() == list(DECODERS)
    assert program.main(["no such thing"]) == 2
    assert "--list" in capsys.readouterr().err


def test_an_input_is_judged_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "crash-1"
    file.write_bytes(b"\xc1")
    assert program.main(["a payload", "--check", str(file)]) == 0
    assert program.main(["--check", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a payload: bad_input"
    assert len(lines) == 1 + len(DECODERS)


def test_seeds_are_written_for_one_decoder_or_for_all(tmp_path: Path) -> None:
    assert program.write_seeds(tmp_path / "one", "a frame's body") == 21
    count = program.write_seeds(tmp_path / "all", None)
    assert count == sum(len(decoder.seeds()) for decoder in DECODERS.values())
    for path in (tmp_path / "all").iterdir():
        program.judge_any(path.read_bytes())
    program.judge_any(b"")


def test_atheris_is_given_the_options_the_corpus_and_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Any] = []
    fake = SimpleNamespace(
        instrument_all=lambda: said.append("instrument"),
        Setup=lambda arguments, target: said.append((arguments[1:], target)),
        Fuzz=lambda: said.append("fuzz"),
    )
    monkeypatch.setattr(program, "import_module", lambda name: fake)
    monkeypatch.setattr(program, "find_spec", lambda name: fake)
    corpus = tmp_path / "corpus"
    assert program.main(["an event", "--corpus", str(corpus), "-max_total_time=9"]) == 0
    assert said[0] == "instrument" and said[2] == "fuzz"
    assert said[1][0] == ["-max_total_time=9", str(corpus)]
    said[1][1](b"\xc1")
    assert list(corpus.iterdir())


@pytest.mark.parametrize("name", ["raises", "two encodings"])
def test_what_is_a_bug_is_raised(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(data: bytes) -> bytes:
        raise KeyError(data)

    bad = {
        "raises": Decoder(fails, lambda: []),
        "two encodings": Decoder(lambda data: data, lambda: [], lambda value: value + b"!"),
    }
    monkeypatch.setattr(program, "DECODERS", bad)
    with pytest.raises((KeyError, program.NotOneEncoding)):
        program.judge(name, b"data")
