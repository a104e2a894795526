"""The index on disk: torn, damaged, merged, erased; always the same text or none."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from openledger_node.attribution.segment import tokens_as_text
from openledger_node.store import text_index
from openledger_node.store.text_index import MAGIC, Text, TextIndex


def key(n: int) -> bytes:
    return n.to_bytes(32, "big")


def text(n: int, words: int = 20) -> bytes:
    return tokens_as_text([b"w%d-%d" % (n, i) for i in range(words)]) + b"\0"


def texts(*numbers: int, words: int = 20) -> list[Text]:
    return [
        (key(n), document, text(10 * n + document, words)) for n in numbers for document in (0, 1)
    ]


def held(index: TextIndex) -> dict[tuple[bytes, int], bytes]:
    """Every document that the index has."""
    return {
        (place.contribution_id, place.document): segment.text_of(at)
        for segment in index.segments()
        for at, place in enumerate(segment.places)
    }


def expected(*numbers: int, words: int = 20) -> dict[tuple[bytes, int], bytes]:
    return {(k, document): content for k, document, content in texts(*numbers, words=words)}


@pytest.mark.rule("I1")
def test_what_is_written_is_read_again_by_another_process(tmp_path: Path) -> None:
    TextIndex(tmp_path).change(texts(1, 2, 3))
    again = TextIndex(tmp_path)
    assert held(again) == expected(1, 2, 3)
    assert again.contributions() == {key(1), key(2), key(3)}
    (segment,) = again.segments()
    whole = segment.text[:]
    assert list(segment.suffixes) == sorted(segment.suffixes, key=lambda at: whole[at:])
    assert again.verify() == []


def test_no_index_is_an_empty_one(tmp_path: Path) -> None:
    index = TextIndex(tmp_path)
    assert (index.segments(), index.contributions(), index.verify()) == ([], set(), [])
    index.clear()
    assert not (tmp_path / "index").exists()


@pytest.mark.rule("I3")
def test_any_order_of_adding_and_erasing_ends_in_the_same_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_index, "MAX_TEXT_BYTES", 1_200)
    order = random.Random(5)
    for run in range(6):
        index = TextIndex(tmp_path / str(run))
        (tmp_path / str(run)).mkdir()
        there: set[int] = set()
        waiting = list(range(20))
        order.shuffle(waiting)
        while waiting:
            fresh = [waiting.pop() for _ in range(min(len(waiting), order.randrange(1, 5)))]
            gone = set(order.sample(sorted(there), min(len(there), order.randrange(2))))
            index.change(texts(*fresh), [key(n) for n in gone])
            there = (there | set(fresh)) - gone
            assert held(index) == expected(*there)
        files = {path.name for path in index.folder.glob("*.segment")}
        assert files == {entry.name for entry in index.entries()}


@pytest.mark.rule("I3")
def test_many_small_additions_leave_few_segments(tmp_path: Path) -> None:
    index = TextIndex(tmp_path)
    for n in range(64):
        index.change(texts(n))
    assert len(index.segments()) <= 8
    assert held(index) == expected(*range(64))


@pytest.mark.rule("I3")
def test_what_is_erased_is_in_no_file(tmp_path: Path) -> None:
    index = TextIndex(tmp_path)
    index.change(texts(1, 2, 3))
    index.change([], [key(2)])
    assert held(index) == expected(1, 3)
    for path in index.folder.iterdir():
        data = path.read_bytes()
        assert b"w20-3" not in data and key(2) not in data and key(2).hex().encode() not in data
    assert b"w10-3" in b"".join(path.read_bytes() for path in index.folder.iterdir())


@pytest.mark.rule("I2")
@pytest.mark.parametrize("step", ["segment written", "segment named", "manifest written"])
@pytest.mark.parametrize("at", [0, 1])
def test_a_crash_at_any_step_leaves_the_old_index_or_the_new_one(
    tmp_path: Path, step: str, at: int
) -> None:
    TextIndex(tmp_path).change(texts(1, 2))
    seen = 0

    def crash(name: str) -> None:
        nonlocal seen
        if name == step:
            seen += 1
            if seen > at:
                raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        TextIndex(tmp_path, step=crash).change(texts(3), [key(1)])
    after = TextIndex(tmp_path)
    assert held(after) in (expected(1, 2), expected(2), expected(2, 3))
    after.change(texts(3) if key(3) not in after.contributions() else [], [key(1)])
    assert held(after) == expected(2, 3)
    assert {p.name for p in after.folder.glob("*.new")} == set()


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES: Sequence[Callable[[Path], None]] = (
    torn,
    emptied,
    lambda path: path.unlink(),
    lambda path: flip(path, 3),
    lambda path: flip(path, len(MAGIC) + 1),
    lambda path: flip(path, len(MAGIC) + 30),
    lambda path: flip(path, 65_536 + 7),
    lambda path: flip(path, 2 * 65_536 + 5),
    lambda path: flip(path, path.stat().st_size - 1),
)


@pytest.mark.rule("I2")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_segment_is_dropped_and_made_again(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    index = TextIndex(tmp_path)
    index.change(texts(1, 2))
    (path,) = index.folder.glob("*.segment")
    damage(path)
    again = TextIndex(tmp_path)
    assert again.verify() != []
    assert held(again) == {}
    again.change(texts(1, 2))
    assert held(again) == expected(1, 2)
    assert again.verify() == []


@pytest.mark.rule("I2")
@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"version": 2, "segments": []}',
        b'{"version": 1, "segments": [{}]}',
        b'{"version": 1, "segments": [{"name": "../x", "size": 1, "time_ns": 1, "inode": 1, '
        b'"text_bytes": 1, "contributions": []}]}',
    ],
)
def test_a_manifest_that_is_none_means_an_empty_index(tmp_path: Path, manifest: bytes) -> None:
    index = TextIndex(tmp_path)
    index.change(texts(1))
    (index.folder / "manifest.json").write_bytes(manifest)
    again = TextIndex(tmp_path)
    assert held(again) == {}
    again.change(texts(1))
    assert held(again) == expected(1)


@pytest.mark.rule("I2")
def test_a_segment_under_another_s_name_is_not_taken(tmp_path: Path) -> None:
    index = TextIndex(tmp_path)
    index.change(texts(1))
    (one,) = index.folder.glob("*.segment")
    (tmp_path / "other").mkdir()
    other = TextIndex(tmp_path / "other")
    other.change(texts(2))
    (two,) = other.folder.glob("*.segment")
    one.write_bytes(two.read_bytes())
    assert held(TextIndex(tmp_path)) == {}


def test_a_copy_of_the_folder_is_checked_and_used(tmp_path: Path) -> None:
    import shutil

    TextIndex(tmp_path).change(texts(1))
    shutil.copytree(tmp_path / "index", tmp_path / "copy" / "index")
    assert held(TextIndex(tmp_path / "copy")) == expected(1)


def test_a_reader_sees_what_another_process_changed(tmp_path: Path) -> None:
    reader, writer = TextIndex(tmp_path), TextIndex(tmp_path)
    writer.change(texts(1))
    assert reader.contributions() == {key(1)}
    before = reader.segments()
    writer.change(texts(2), [key(1)])
    assert reader.contributions() == {key(2)}
    assert before[0].text_of(0) == text(10), "what was mapped stays readable"


@pytest.mark.rule("I3")
def test_a_contribution_that_is_split_counts_when_all_of_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_index, "MAX_TEXT_BYTES", 200)
    seen: list[set[bytes]] = []

    def look(name: str) -> None:
        if name == "manifest named":
            document = json.loads((tmp_path / "index" / "manifest.json").read_text())
            seen.append({k for item in document["segments"] for k in item["contributions"]})

    many = [(key(1), n, text(n)) for n in range(6)]
    TextIndex(tmp_path, step=look).change([*many, (key(2), 0, text(99))])
    assert seen[0] >= {key(1).hex()}
    assert held(TextIndex(tmp_path)).keys() == {(k, n) for k, n, _ in many} | {(key(2), 0)}
