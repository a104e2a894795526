"""Framed files: the whole is read to its end, anything else refused; none is half-written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput, StoreUnavailable, UsageError
from openledger_node.store.frames import MAX_FRAME_BYTES, FrameWriter, read_frames

MAGIC = b"oln-sample/1\n"


def written(path: Path, *frames: list[object]) -> Path:
    with FrameWriter(path, MAGIC) as out:
        for frame in frames:
            out.write(*frame)
    return path


def read(path: Path) -> list[list[object]]:
    return list(read_frames(path, MAGIC, "a sample"))


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    return written(tmp_path / "sample", ["one", b"abc"], ["two", 2, ["x", None]], ["three"])


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    frames=st.lists(
        st.tuples(st.sampled_from(["a", "part"]), st.binary(max_size=300)).map(list), max_size=6
    )
)
def test_what_is_written_is_read(tmp_path: Path, frames: list[list[object]]) -> None:
    path = tmp_path / "sample"
    path.unlink(missing_ok=True)
    assert read(written(path, *frames)) == frames


def test_a_file_cut_anywhere_is_refused(sample: Path) -> None:
    whole = sample.read_bytes()
    for kept in range(len(whole)):
        sample.write_bytes(whole[:kept])
        with pytest.raises(BadInput):
            read(sample)


def test_a_file_with_any_bit_flipped_is_refused(sample: Path) -> None:
    whole = sample.read_bytes()
    for bit in range(len(whole) * 8):
        altered = bytearray(whole)
        altered[bit // 8] ^= 1 << bit % 8
        sample.write_bytes(altered)
        with pytest.raises(BadInput):
            read(sample)


def test_a_file_that_goes_on_after_its_end_is_refused(sample: Path) -> None:
    sample.write_bytes(sample.read_bytes() + b"\0")
    with pytest.raises(BadInput, match="its end does not fit"):
        read(sample)


def test_a_frame_left_out_or_put_in_twice_is_refused(sample: Path) -> None:
    whole = sample.read_bytes()
    frame = encode(["one", b"abc"])
    first = len(frame).to_bytes(4, "big") + frame
    assert whole.count(first) == 1
    for altered in (whole.replace(first, b""), whole.replace(first, first * 2)):
        sample.write_bytes(altered)
        with pytest.raises(BadInput, match="its end does not fit"):
            read(sample)


def test_a_frame_past_the_limit_is_neither_written_nor_read(tmp_path: Path) -> None:
    path = tmp_path / "sample"
    with pytest.raises(BadInput, match="exceeds"), FrameWriter(path, MAGIC) as out:
        out.write("part", bytes(MAX_FRAME_BYTES))
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(MAGIC + (MAX_FRAME_BYTES + 1).to_bytes(4, "big") + bytes(100))
    with pytest.raises(BadInput, match="a frame states 8,388,609 bytes"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"oln-sample/2\n", b"PK\x03\x04", b"\0" * 40])
def test_another_kind_of_file_is_named_as_such(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sample"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="is not a sample"):
        read(path)


def test_a_missing_file_and_a_folder_are_the_callers_fault(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(UsageError, match="cannot read"):
            read(path)


def test_an_existing_file_or_link_is_never_written_over(sample: Path) -> None:
    before = sample.read_bytes()
    link = sample.with_name("link")
    link.symlink_to("nowhere")
    for path in (sample, link):
        with pytest.raises(UsageError, match="exists already"):
            FrameWriter(path, MAGIC)
    assert sample.read_bytes() == before
    assert link.is_symlink()


def test_nothing_is_left_when_the_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), FrameWriter(tmp_path / "sample", MAGIC) as out:
        out.write("one")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_that_was_cut_off_left_is_named(tmp_path: Path) -> None:
    (tmp_path / "sample.partial").write_bytes(b"half")
    with pytest.raises(UsageError, match="left from a run that was cut off"):
        FrameWriter(tmp_path / "sample", MAGIC)


@pytest.mark.parametrize("failing", ["fsync", "rename"])
def test_a_disk_that_fails_at_the_very_end_leaves_no_file_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    out = FrameWriter(tmp_path / "sample", MAGIC)
    with pytest.raises(StoreUnavailable, match="No space left"), out:
        out.write("one")
        owner = os if failing == "fsync" else Path
        monkeypatch.setattr(owner, failing, fail)
    assert list(tmp_path.iterdir()) == []


def test_the_file_has_the_mode_that_was_asked_for(tmp_path: Path) -> None:
    with FrameWriter(tmp_path / "secret", MAGIC, mode=0o600) as out:
        out.write("key")
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
