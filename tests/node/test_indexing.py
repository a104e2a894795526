"""A home's index of text: the same shares as without it, and nothing that was erased."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from openledger_node.node import indexing
from openledger_node.node.results import Attributed
from tests.kit.homes import WITNESS, Coop, words

PASSAGE = words("passage", 60)


@pytest.fixture
def coop(tmp_path: Path) -> Iterator[Coop]:
    """Three contributors; one passage stands in two of their texts."""
    with Coop(tmp_path) as made:
        made.join("alice", "bob")
        made.add_text("alice", "first", f"{words('a', 80)} {PASSAGE} {words('a', 40, 80)}")
        made.add_text("bob", "second", f"{PASSAGE} {words('b', 90)}")
        made.add_text(WITNESS, "third", words("c", 120))
        made.settle()
        yield made


def with_index(coop: Coop, name: str) -> None:
    """From now on this home looks every scope up in its index."""
    (coop[name].core.home / "node.toml").write_text("[index]\nfrom_bytes = 0\n")
    coop.reopen(name)


def asked(coop: Coop, output: str) -> Attributed:
    return coop[WITNESS].attribute(output.encode())


OUTPUTS = [
    f"new words here {PASSAGE} and {words('b', 30, 20)} and {words('c', 12, 50)} more",
    words("a", 120),
    "nothing that anybody wrote",
    "",
]


@pytest.mark.rule("R1", "R2")
def test_shares_and_spans_are_the_same_with_the_index_and_without(coop: Coop) -> None:
    coop[WITNESS].data_commons(coop.add_text(WITNESS, "header", words("a", 30, 5)))
    coop.settle()
    before = [asked(coop, output) for output in OUTPUTS]
    assert coop[WITNESS].index_status().contributions == 0
    with_index(coop, WITNESS)
    assert [asked(coop, output) for output in OUTPUTS] == before
    shown = coop[WITNESS].index_status()
    assert (shown.contributions, shown.waiting, shown.segments) == (4, 0, 1)
    assert before[0].spans


def test_text_that_came_later_is_found_too(coop: Coop) -> None:
    with_index(coop, WITNESS)
    assert asked(coop, words("late", 40)).ppm == {}
    late = coop.add_text("bob", "late", words("late", 80))
    coop.gather()
    assert coop[WITNESS].index_status().waiting == 1
    assert asked(coop, words("late", 40)).ppm.keys() == {late}


def test_what_is_erased_is_hidden_at_once_and_leaves_the_files(coop: Coop) -> None:
    with_index(coop, WITNESS)
    first = asked(coop, PASSAGE)
    (earliest,) = first.ppm
    owner = "alice" if coop["alice"].show(earliest).account_id == coop.ids["alice"] else "bob"
    # Several tokens, as a segment holds them: a short word also stands among hashes by chance.
    erased = words("a" if owner == "alice" else "b", 5, 70).encode().replace(b" ", b"\1")
    folder = coop[WITNESS].core.home / "index"
    assert erased in b"".join(path.read_bytes() for path in folder.iterdir())
    coop[owner].data_erase(earliest)
    bundle = coop.file()
    coop[owner].bundle_export(bundle, payloads=False)
    coop[WITNESS].bundle_import(bundle)
    coop[WITNESS].epoch_close()
    second = asked(coop, PASSAGE)
    assert earliest not in second.ppm and second.ppm
    assert all(erased not in path.read_bytes() for path in folder.iterdir())
    assert coop[WITNESS].index_status().erased == 0


def test_an_index_is_deleted_and_made_again(coop: Coop) -> None:
    with_index(coop, WITNESS)
    before = asked(coop, OUTPUTS[0])
    folder = coop[WITNESS].core.home / "index"
    for path in folder.iterdir():
        path.unlink()
    coop.reopen(WITNESS)
    assert asked(coop, OUTPUTS[0]) == before
    shown = coop[WITNESS].index_rebuild()
    assert (shown.contributions, shown.wrong) == (3, ())
    assert asked(coop, OUTPUTS[0]) == before


def test_verify_names_a_damaged_file_and_rebuild_mends_it(coop: Coop) -> None:
    with_index(coop, WITNESS)
    before = asked(coop, OUTPUTS[0])
    assert coop[WITNESS].index_verify().wrong == ()
    (path,) = (coop[WITNESS].core.home / "index").glob("*.segment")
    data = bytearray(path.read_bytes())
    data[65_536 + 40] ^= 1
    path.write_bytes(data)
    coop.reopen(WITNESS)
    (wrong,) = coop[WITNESS].index_verify().wrong
    assert path.name in wrong
    assert asked(coop, OUTPUTS[0]) == before, "it is not trusted, and made again"
    assert coop[WITNESS].index_verify().wrong == ()


def test_verify_holds_the_text_to_the_documents(coop: Coop) -> None:
    index = indexing.open_index(coop[WITNESS].core)
    with coop[WITNESS].core.store.read() as snapshot:
        (key, *_) = sorted(indexing._held(snapshot))
    index.change([(key, 0, b"made\x01up\x01\x00")])
    (wrong,) = coop[WITNESS].index_verify().wrong
    assert key.hex()[:12] in wrong


def test_content_that_is_no_text_is_indexed_as_nothing(coop: Coop) -> None:
    with_index(coop, WITNESS)
    path = coop.write("binary.bin", bytes(range(256)) * 4)
    added = coop[WITNESS].data_add([path], title="binary")
    assert added.contribution_id is not None
    asked(coop, OUTPUTS[0])
    shown = coop[WITNESS].index_status()
    assert (shown.contributions, shown.waiting) == (4, 0)
    assert coop[WITNESS].index_verify().wrong == ()


def test_a_small_home_is_not_indexed_in_the_background(coop: Coop) -> None:
    assert indexing.update_if_large(coop[WITNESS].core) == 0
    with_index(coop, WITNESS)
    assert indexing.update_if_large(coop[WITNESS].core) == 3
    assert indexing.update_if_large(coop[WITNESS].core) == 0
