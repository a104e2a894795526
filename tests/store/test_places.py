"""A new home is made whole aside, and moved to its place at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from openledger_node.store.places import move_into_place, staging_for


def made(home: Path) -> Path:
    staging = staging_for(home, "init")
    (staging / "ledger").mkdir(parents=True)
    (staging / "keys").mkdir()
    return staging


def test_a_home_is_made_beside_its_place_and_renamed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    staging = made(home)
    assert staging.parent == tmp_path
    assert not home.exists()
    move_into_place(staging, home)
    assert sorted(entry.name for entry in home.iterdir()) == ["keys", "ledger"]
    assert list(tmp_path.iterdir()) == [home]


@pytest.mark.parametrize("name", [".", "", "../here"])
def test_a_home_can_begin_in_the_folder_where_the_user_stands(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    move_into_place(made(Path(name)), Path(name))
    assert sorted(entry.name for entry in Path().iterdir()) == ["keys", "ledger"]
    assert list(tmp_path.iterdir()) == [here]


def test_an_empty_folder_is_filled_and_not_replaced(tmp_path: Path) -> None:
    """It may be a volume that was mounted."""
    volume = tmp_path / "volume"
    volume.mkdir()
    before = volume.stat().st_ino
    (tmp_path / "link").symlink_to(volume)
    move_into_place(made(tmp_path / "link"), tmp_path / "link")
    assert (volume.stat().st_ino, (tmp_path / "link").is_symlink()) == (before, True)
    assert (volume / "ledger").is_dir()
