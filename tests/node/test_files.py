"""Small files that a user names: read up to a limit, written whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from openledger_node.ledger.errors import OlnError, StoreUnavailable, UsageError
from openledger_node.node import files


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no endless device")
def test_no_more_of_an_endless_file_is_read_than_the_limit() -> None:
    assert len(files.read_bounded(Path("/dev/zero"), 100)) == 101


def test_a_new_file_is_written_whole_and_never_over_another(tmp_path: Path) -> None:
    place = tmp_path / "new"
    files.write_new(place, b"first")
    with pytest.raises(UsageError, match="exists already"):
        files.write_new(place, b"second")
    assert place.read_bytes() == b"first"


def test_a_private_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    files.write_new(tmp_path / "secret", b"", files.PRIVATE)
    assert (tmp_path / "secret").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("number", "kind", "status"),
    [
        (errno.ENOSPC, StoreUnavailable, 3),
        (errno.EDQUOT, StoreUnavailable, 3),
        (errno.EROFS, StoreUnavailable, 3),
        (errno.EACCES, UsageError, 2),
    ],
)
def test_a_file_that_cannot_be_finished_is_taken_away(
    number: int,
    kind: type[OlnError],
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(kind) as caught:
        files.write_new(tmp_path / "new", b"half")
    assert caught.value.exit_status == status
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "fault"),
    [(b"\xff", "it is not UTF-8 (byte 0)"), (b"[[[", "Invalid"), (b"a = " + b"[" * 5000, "")],
)
def test_what_is_not_toml_is_refused_with_its_place(data: bytes, fault: str) -> None:
    with pytest.raises(UsageError) as caught:
        files.parsed_toml(Path("f"), data)
    assert fault in caught.value.message
    assert caught.value.hint
