"""Files that users name: text is read, anything else is refused by name and reason."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from openledger_node.cli import inputs
from openledger_node.ledger.errors import UsageError
from openledger_node.node.config import SETTINGS


def refusal(name: str | Path) -> str:
    with pytest.raises(UsageError) as caught:
        inputs.read_output(str(name))
    assert caught.value.code == "bad_file"
    assert caught.value.hint
    return caught.value.message


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_text_is_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "answer.txt"
    file.write_bytes("ü\r\nend".encode())
    assert inputs.read_output(str(file)) == "ü\r\nend".encode()


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, b"from a pipe")
    assert inputs.read_output("-") == b"from a pipe"


def test_an_empty_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").touch()
    assert refusal(tmp_path / "empty").endswith("empty: it is empty")
    feed(monkeypatch, b"")
    assert refusal("-") == "cannot use standard input: it is empty"


def test_binary_is_refused_at_its_first_zero(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\x7fELF\x00\x01")
    assert "not text: byte 4 is zero" in refusal(tmp_path / "binary")


def test_wrong_utf8_is_refused_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("für".encode("latin-1"))
    assert "not UTF-8: byte 1 is wrong" in refusal(tmp_path / "latin")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "it is a folder" in refusal(tmp_path)


def test_what_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert "it does not exist" in refusal(tmp_path / "nothing")


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert "its links form a loop" in refusal(tmp_path / "a")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("words")
    (tmp_path / "secret").chmod(0)
    assert "permission denied" in refusal(tmp_path / "secret")


def test_a_name_with_a_zero_byte_is_refused() -> None:
    assert "null" in refusal("a\0b")


def test_a_file_past_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_OUTPUT_BYTES", 10)
    (tmp_path / "huge").write_bytes(b"x" * 11)
    assert "more than 10 bytes" in refusal(tmp_path / "huge")
    feed(monkeypatch, b"x" * 11)
    assert "more than 10 bytes" in refusal("-")


def test_the_limit_is_the_highest_that_a_home_can_set() -> None:
    assert SETTINGS["limits.output_bytes"].highest == inputs.MAX_OUTPUT_BYTES


def batch(tmp_path: Path, *lines: object) -> list[object]:
    file = tmp_path / "uses.jsonl"
    written = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    file.write_text("\n".join(written))
    return list(inputs.read_batch(str(file)))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 2: it is not JSON"),
        ("[" * 100_000, "line 2: it is not JSON"),
        ([1], "line 2: it is not a JSON object"),
        ({}, "no text under the key 'output'"),
        ({"output": ""}, "no text under the key 'output'"),
        ({"output": 7}, "no text under the key 'output'"),
        ({"output": "x", "fees": 1}, "unknown key 'fees'"),
        ({"output": "x", "retrieved": "id"}, "'retrieved' is not a list"),
        ({"output": "x", "retrieved": [1]}, "'retrieved' is not a list"),
        ({"output": "x", "grant": 1}, "'grant' is not text"),
        ({"output": "x", "fee": 1}, "'fee' is credits as text"),
        ({"output": "x", "fee": "nan"}, "'nan' is not an amount"),
        ({"output": "x", "fee": "1", "fee_micro": 1}, "stands without"),
        ({"output": "x", "fee_micro": -1}, "'fee_micro' is not a whole number"),
        ({"output": "x", "fee_micro": True}, "'fee_micro' is not a whole number"),
        ({"output": "x", "fee_micro": 1.5}, "'fee_micro' is not a whole number"),
        ('{"output": "x", "fee_micro": NaN}', "'fee_micro' is not a whole number"),
    ],
)
def test_a_line_that_is_not_a_use_is_refused_by_its_number(
    tmp_path: Path, line: object, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        batch(tmp_path, {"output": "good"}, line)
    assert "line 2" in caught.value.message


def test_an_empty_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="it is empty"):
        batch(tmp_path)


def test_a_batch_is_bounded_in_lines_and_in_their_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "MAX_BATCH_LINES", 2)
    with pytest.raises(UsageError, match="more than 2 lines"):
        batch(tmp_path, *[{"output": "x"}] * 3)
    monkeypatch.setattr(inputs, "MAX_BATCH_LINE_BYTES", 40)
    with pytest.raises(UsageError, match="line 1 has more than 40 bytes"):
        batch(tmp_path, {"output": "x" * 40})
